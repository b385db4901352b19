//! Reports moved from one store to another, of any kind.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "../../tests/support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "../src/testing.rs"]
mod testing;

use std::collections::BTreeSet;
use std::path::Path;

use greenroom_reports::fleet::AgentState;
use greenroom_web::ingest::read::record;
use greenroom_web::rollup::Sums;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::*;
use greenroom_web::transfer::{Settings, TransferError, Unreadable, check_whole, export, import};
use greenroom_web::verify::verify;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

const DAY: i64 = 60 * 24;

fn after(minutes: i64) -> Timestamp {
    testing::start().checked_add(SignedDuration::from_mins(minutes)).unwrap()
}

/// When these tests look.
fn now() -> Timestamp {
    after(DAY * 4)
}

/// A report; every tenth one had its clock ahead and is in no sum.
fn nth(tenant: Tenant, n: u64) -> Record {
    let mut report = testing::report(n);
    report.labels.insert("person".into(), format!("Ada\u{a0}{}", n % 3));
    report.labels.insert("ticket".into(), format!("T-{}", n % 2));
    report.labels.insert("site".into(), if n.is_multiple_of(3) { "Lyon" } else { "Oslo \"Nord\"" }.into());
    report.agent.id = (n % 2 == 1).then(|| format!("agent-{}", n % 3));
    // A number of which some readers lose the last digit.
    report.duration_ms = 5_012.000_000_000_1 + f64::from(u32::try_from(n).unwrap()) / 7.0;
    let raw = serde_json::to_vec_pretty(&report).unwrap();
    let received = if n % 10 == 9 { after(-60) } else { after(60 + i64::try_from(n).unwrap()) };
    record(tenant, &report, raw, received).unwrap()
}

async fn sqlite(folder: &Path) -> SqliteStore {
    SqliteStore::open(folder).await.unwrap()
}

async fn file_of(store: &dyn Store) -> Vec<u8> {
    let mut file = Vec::new();
    let done = export(store, Settings::Included, now(), &mut file, &mut |_| {}).await.unwrap();
    assert!(done.problems.told.is_empty(), "{done:?}");
    assert_eq!(check_whole(&file[..]).unwrap(), done.reports + done.headers_alone);
    file
}

/// All lines but the first, which says when it was written.
fn content(file: &[u8]) -> Vec<String> {
    let text = String::from_utf8(zstd::decode_all(file).unwrap()).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

async fn read_in(store: &dyn Store, file: &[u8]) -> (u64, u64) {
    let done = import(store, file, &mut |_| {}).await.unwrap();
    assert!(done.problems.told.is_empty(), "{done:?}");
    (done.new, done.here)
}

async fn sums_of(store: &dyn Store, tenant: Tenant) -> Sums {
    let mut sums = Sums::default();
    for resolution in Resolution::ALL {
        let (from, to) = (after(-100_000), after(1_000_000));
        let query = RollupQuery { resolution, from, to, site: None, endpoint: None };
        let found = store.rollups(tenant, &query).await.unwrap();
        let key = |(bucket, name): (BucketKey, String)| (Tenant::FIRST, resolution, bucket, name);
        sums.sketches.extend(found.sketches.into_iter().map(|(k, sketch)| (key(k), sketch)));
        sums.tallies.extend(found.tallies.into_iter().map(|(k, n)| (key(k), n)));
    }
    sums
}

/// Reports of two tenants, some with their header alone, one with notes, one of a link.
async fn fill(store: &dyn Store) -> Tenant {
    let other = store.add_tenant("other", after(1)).await.unwrap();
    let mut batch: Vec<_> = (0..40).map(|n| nth(Tenant::FIRST, n)).collect();
    batch.extend((30..45).map(|n| nth(other, n)));
    let link = CheckLink {
        tenant: Tenant::FIRST,
        id: "l1".into(),
        token: TokenHash([1; 32]),
        ticket: "T-9".into(),
        person: None,
        target: None,
        author: "ann".into(),
        created: after(0),
        expires: after(60 * 24 * 7),
        most: 3,
        used: 0,
        revoked: None,
    };
    store.add_check_link(&link).await.unwrap();
    batch.push(nth(Tenant::FIRST, 50).through(&link));
    // These are received three days later, and outlive the others.
    for record in batch.iter_mut().filter(|record| record.summary.id.as_bytes()[15] % 4 == 0) {
        record.summary.received = after(DAY * 3);
    }
    set_up(store, other).await;
    store.ingest(batch).await.unwrap();
    store.retire(after(DAY * 2), now()).await.unwrap();
    for words in ["called", "called \"again\"\n"] {
        let note = Note { at: after(1), by: "ann".into(), text: words.into() };
        store.add_note(Tenant::FIRST, testing::id(4), &note).await.unwrap();
    }
    other
}

fn user(tenant: Tenant, name: &str) -> NewUser {
    let id = uuid::Builder::from_random_bytes([u8::try_from(name.len()).unwrap(); 16]).into_uuid();
    let user = User { tenant, id, name: name.into(), role: Some(Role::Admin), created: after(2) };
    NewUser { user, password_hash: format!("$argon2id${name}") }
}

/// What people of two tenants set up.
async fn set_up(store: &dyn Store, other: Tenant) {
    store.give_code(other, "k7q4m2xp").await.unwrap();
    store.add_user(&user(Tenant::FIRST, "ann")).await.unwrap();
    store.add_user(&user(other, "ben w.")).await.unwrap();
    let by_provider = user(other, "cleo");
    store.sign_in_by("https://id.example", "4711", &by_provider).await.unwrap().unwrap();
    let key = ApiKey {
        tenant: other,
        id: "k1".into(),
        name: "probes \"all\"".into(),
        good_for: KeyUse::Send,
        secret: TokenHash([0xfe; 32]),
        created: after(3),
        revoked: None,
    };
    store.add_key(&key).await.unwrap();
    let hook = Webhook {
        tenant: other,
        id: "w1".into(),
        name: "desk".into(),
        url: "https://desk.example/".into(),
        secret: WebhookSecret(vec![0, 255, 7]),
        personal: true,
        kind: WebhookKind::Verdicts,
        author: "ann".into(),
        created: after(4),
        paused: None,
    };
    store.add_webhook(&hook).await.unwrap();
    assert!(store.pause_webhook(other, "w1", Some(after(5))).await.unwrap());
    let token = EnrollToken {
        tenant: other,
        id: "e1".into(),
        token: TokenHash([9; 32]),
        name: "laptops".into(),
        site: None,
        approve: false,
        author: "ann".into(),
        created: after(0),
        expires: after(DAY * 7),
        most: 3,
        used: 0,
        revoked: None,
    };
    store.add_enroll_token(&token).await.unwrap();
    store.enroll(&agent(other), after(6)).await.unwrap();
    store.give_bearer(agent(other).id, after(7), &TokenHash([8; 32]), after(22)).await.unwrap();
    let plan = FleetPlan { targets: vec!["greenroom://probe.example".into()], ..FleetPlan::default() };
    assert!(store.set_fleet_plan(other, &plan, after(8)).await.unwrap());
    for subject in ["person Ada", "person Ada", "report 7"] {
        let (actor, action) = ("ann".into(), "report.search".into());
        store
            .audit(&AuditEntry { tenant: other, at: after(9), actor, action, subject: subject.into() })
            .await
            .unwrap();
    }
}

fn agent(tenant: Tenant) -> Agent {
    Agent {
        tenant,
        id: testing::id(900),
        name: "desk-7".into(),
        site: Some("Lyon".into()),
        state: AgentState::Active,
        public_key: [5; 32],
        version: "0.1.0".into(),
        token: "e1".into(),
        enrolled: after(6),
        active: Some(after(6)),
        bearer: None,
        seen: None,
        config: 0,
        waiting: 2,
        dropped: 0,
        trouble: None,
        wanted: None,
    }
}

/// Every account, key, webhook and agent is what it was, so that people, programs and computers go on with the new store.
#[tokio::test]
async fn what_people_set_up_goes_along_unless_it_is_to_stay() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (from, to, bare) =
        (sqlite(folders[0].path()).await, sqlite(folders[1].path()).await, sqlite(folders[2].path()).await);
    let theirs = fill(&from).await;
    // Somebody else has that name here, and another tenant the number.
    to.add_tenant("before", after(1)).await.unwrap();
    let mut namesake = user(Tenant::FIRST, "ann");
    namesake.user.id = testing::id(901);
    namesake.password_hash = "$argon2id$other".into();
    to.add_user(&namesake).await.unwrap();
    let file = file_of(&from).await;
    let done = import(&to, &file[..], &mut |_| {}).await.unwrap();
    assert!(done.problems.told.is_empty(), "{done:?}");
    assert_eq!(done.settings_here, 1, "the name that is taken: {done:?}");
    let named = to.named_tenants().await.unwrap();
    let ours = named.iter().find(|named| named.name == "other").unwrap().tenant;
    assert_ne!(ours, theirs);
    assert_eq!(to.user_by_name("ann").await.unwrap().unwrap().1, "$argon2id$other", "stays as it is");
    let (ben, hash) = to.user_by_name("ben w.").await.unwrap().unwrap();
    assert_eq!((ben.tenant, ben.role, hash.as_str()), (ours, Some(Role::Admin), "$argon2id$ben w."));
    let cleo =
        to.sign_in_by("https://id.example", "4711", &user(ours, "someone else")).await.unwrap().unwrap();
    assert_eq!(cleo.name, "cleo", "the provider's word counts as before");
    assert_eq!(to.key("k1").await.unwrap().unwrap().secret, TokenHash([0xfe; 32]));
    let hook = to.webhook(ours, "w1").await.unwrap().unwrap();
    assert_eq!((hook.secret.0, hook.paused), (vec![0, 255, 7], Some(after(5))));
    assert_eq!(to.tenant_by_code("k7q4m2xp").await.unwrap(), Some(ours));
    let moved = to.agent(testing::id(900)).await.unwrap().unwrap();
    let before = from.agent(testing::id(900)).await.unwrap().unwrap();
    assert!(before.bearer.is_some());
    assert_eq!(moved, Agent { tenant: ours, bearer: None, ..before }, "without what lets it in for a while");
    assert_eq!(to.enroll_token(&TokenHash([9; 32])).await.unwrap().unwrap().used, 1);
    assert_eq!(to.fleet_plan(ours).await.unwrap().targets, ["greenroom://probe.example"]);
    assert_eq!(
        to.audit_log(ours, None, 10).await.unwrap().len(),
        3,
        "also what was looked at twice in a moment"
    );

    let mut file = Vec::new();
    export(&from, Settings::LeftOut, now(), &mut file, &mut |_| {}).await.unwrap();
    assert!(!content(&file).iter().any(|line| line.contains("argon2id")));
    read_in(&bare, &file).await;
    assert!(!bare.has_admin().await.unwrap());
}

#[tokio::test]
async fn from_sqlite_to_postgres_and_back_all_is_the_same() {
    let (folder, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cluster = postgres::shared();
    let url = cluster.database();
    let lite = sqlite(folder.path()).await;
    let big = PostgresStore::open(&PostgresUrl::read(&url).unwrap()).await.unwrap();
    let last = sqlite(back.path()).await;
    fill(&lite).await;
    let file = file_of(&lite).await;
    let lines = content(&file);
    assert!(lines.iter().any(|line| line.starts_with("{\"sums\"")), "the test has sums to move");
    assert!(lines.iter().any(|line| line.contains("\"figures\"")), "agents made some of them");
    let mut from: &dyn Store = &lite;
    for to in [&big as &dyn Store, &last] {
        let file = file_of(from).await;
        assert_eq!(read_in(to, &file).await, (56, 0));
        assert_eq!(content(&file_of(to).await), lines);
        assert_eq!(read_in(to, &file).await, (0, 56), "a second time is none");
        assert_eq!(content(&file_of(to).await), lines);
        let named = to.named_tenants().await.unwrap();
        assert_eq!(named.iter().map(|named| named.name.as_str()).collect::<Vec<_>>(), ["first", "other"]);
        for (theirs, ours) in lite.tenants().await.unwrap().into_iter().zip(to.tenants().await.unwrap()) {
            assert_eq!(sums_of(to, ours).await, sums_of(&lite, theirs).await);
        }
        for n in 0..=50 {
            let id = testing::id(n);
            assert_eq!(
                to.summary(Tenant::FIRST, id).await.unwrap(),
                lite.summary(Tenant::FIRST, id).await.unwrap()
            );
            assert_eq!(
                to.raw(Tenant::FIRST, id).await.unwrap(),
                lite.raw(Tenant::FIRST, id).await.unwrap(),
                "as it was sent"
            );
        }
        let runs = async |store: &dyn Store| {
            store.runs(Tenant::FIRST, Timestamp::MIN, now(), None, 1_000).await.unwrap()
        };
        assert_eq!(runs(to).await, runs(&lite).await, "incidents are found by these");
        let notes = to.notes(Tenant::FIRST, testing::id(4)).await.unwrap();
        assert_eq!(notes, lite.notes(Tenant::FIRST, testing::id(4)).await.unwrap());
        let found = verify(to, now()).await.unwrap();
        assert!(found.is_sound(), "{found:?}");
        from = to;
    }
    assert_eq!(lite.check_link(&TokenHash([1; 32])).await.unwrap().unwrap().used, 1, "looked at, not used");
}

/// Breaks an import off once it has told of so many reports.
async fn broken_off(store: &dyn Store, file: &[u8], most: u64) {
    let (tell, mut told) = tokio::sync::watch::channel(0);
    let mut tell = |n| {
        // Who does not listen any more has broken it off.
        let _ = tell.send(n);
    };
    tokio::select! {
        biased;
        _ = told.wait_for(|n| *n >= most) => {}
        _ = import(store, file, &mut tell) => {}
    }
}

/// Whatever was there before, and wherever an import was broken off: in the end every report is there once, and so it is in the sums.
#[test]
fn an_import_may_be_repeated_and_meet_what_is_there() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let there = prop::collection::btree_set(0_u64..60, 0..20);
    proptest!(ProptestConfig::with_cases(10), |(there in there, most in 0_u64..60)| {
        runtime.block_on(async {
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (from, to) = (sqlite(from.path()).await, sqlite(to.path()).await);
            // By their header alone: all that stands in one day, of both places.
            from.ingest((0..20).map(|n| nth(Tenant::FIRST, n)).collect()).await.unwrap();
            from.retire(after(DAY * 2), now()).await.unwrap();
            from.ingest((20..60).map(|n| nth(Tenant::FIRST, n)).collect()).await.unwrap();
            // What is there by itself is none of those whose share nobody knows any more.
            let there: BTreeSet<u64> = there.into_iter().filter(|n| *n >= 20).chain(60..63).collect();
            to.ingest(there.iter().map(|n| nth(Tenant::FIRST, *n)).collect()).await.unwrap();
            let file = file_of(&from).await;
            broken_off(&to, &file, most).await;
            read_in(&to, &file).await;
            let mut expected = Sums::default();
            for n in (0..63).filter(|n| n % 10 != 9) {
                expected.add(Tenant::FIRST, &nth(Tenant::FIRST, n).adds);
            }
            assert_eq!(sums_of(&to, Tenant::FIRST).await, expected);
            let found = verify(&to, now()).await.unwrap();
            assert!(found.is_sound(), "{found:?}");
        });
    });
}

#[tokio::test]
async fn shares_that_nobody_can_tell_apart_are_left_out_and_named() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (sqlite(from.path()).await, sqlite(to.path()).await);
    from.ingest((0..6).map(|n| nth(Tenant::FIRST, n)).collect()).await.unwrap();
    from.retire(after(DAY * 2), now()).await.unwrap();
    let file = file_of(&from).await;
    // One of Lyon's two is here.
    to.ingest(vec![nth(Tenant::FIRST, 3)]).await.unwrap();
    let before = sums_of(&to, Tenant::FIRST).await;
    let done = import(&to, &file[..], &mut |_| {}).await.unwrap();
    assert_eq!((done.new, done.here, done.problems.told.len()), (4, 1, 1), "{done:?}");
    assert!(done.problems.told[0].contains("\"Lyon\""), "{done:?}");
    let lyon = |sums: Sums| {
        sums.tallies.into_iter().filter(|((_, _, key, _), _)| key.site == "Lyon").collect::<Vec<_>>()
    };
    assert_eq!(lyon(sums_of(&to, Tenant::FIRST).await), lyon(before));
    assert!(verify(&to, now()).await.unwrap().is_sound());
}

#[tokio::test]
async fn a_damaged_report_is_named_and_its_header_and_share_are_moved() {
    let (folder, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from = sqlite(folder.path()).await;
    from.ingest((0..6).map(|n| nth(Tenant::FIRST, n)).collect()).await.unwrap();
    let day = std::fs::read_dir(folder.path().join("raw")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&day).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&day, bytes).unwrap();
    let mut file = Vec::new();
    let done = export(&from, Settings::Included, now(), &mut file, &mut |_| {}).await.unwrap();
    assert_eq!((done.reports, done.headers_alone, done.problems.told.len()), (5, 1, 1), "{done:?}");
    assert!(done.problems.told[0].contains(&testing::id(5).to_string()), "{done:?}");
    let to = sqlite(to.path()).await;
    assert_eq!(read_in(&to, &file).await, (6, 0));
    assert_eq!(sums_of(&to, Tenant::FIRST).await, sums_of(&from, Tenant::FIRST).await);
}

#[tokio::test]
async fn what_is_no_whole_export_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path()).await;
    store.ingest((0..6).map(|n| nth(Tenant::FIRST, n)).collect()).await.unwrap();
    let file = file_of(&store).await;
    for cut in [10, file.len() / 2, file.len() - 1] {
        let Err(error) = check_whole(&file[..cut]) else { panic!("{cut} of {} bytes are whole", file.len()) };
        assert!(matches!(error, Unreadable::CutOff | Unreadable::Io(_) | Unreadable::Content(_)), "{error}");
    }
    let packed = |lines: &[&str]| zstd::encode_all(lines.join("\n").as_bytes(), 1).unwrap();
    let head = r#"{"export":{"format":"greenroom.export/1","written":"2026-11-22T14:00:00Z","by":"x"}}"#;
    assert!(matches!(check_whole(&packed(&[head, ""])[..]), Err(Unreadable::CutOff)));
    let later = head.replace("export/1", "export/2");
    assert!(matches!(check_whole(&packed(&[&later, ""])[..]), Err(Unreadable::Format(_))));
    assert!(check_whole(&b"PK"[..]).is_err());
    assert!(check_whole(&packed(&["{}", ""])[..]).is_err());
    let sums = r#"{"sums":{"site":"","endpoint":"","reports":1,"buckets":[]}}"#;
    let end = r#"{"end":{"reports":0}}"#;
    for odd in
        [&[head, sums, end, ""][..], &[head, end.replace("end", "and").as_str(), ""], &[head, head, ""]]
    {
        let done = import(&store, &packed(odd)[..], &mut |_| {}).await;
        assert!(matches!(done, Err(TransferError::Read(_))), "{odd:?}");
    }
}
