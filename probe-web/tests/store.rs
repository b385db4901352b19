//! What every store must do, run against each backend.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../src/testing.rs"]
mod testing;

use std::sync::Arc;

use greenroom_reports::schema::State;
use greenroom_web::ingest::read::record;
use greenroom_web::rollup::Sums;
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::*;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

/// A backend with nothing in it, and what must live as long.
async fn backends() -> Vec<(&'static str, Arc<dyn Store>, TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(folder.path()).await.unwrap();
    vec![("sqlite", Arc::new(sqlite), folder)]
}

fn after(minutes: i64) -> Timestamp {
    testing::start().checked_add(SignedDuration::from_mins(minutes)).unwrap()
}

fn nth(tenant: Tenant, n: u64, person: &str) -> Record {
    let mut report = testing::report(n);
    report.labels.insert("person".into(), person.into());
    report.labels.insert("ticket".into(), format!("T-{}", n % 2));
    report.labels.insert("site".into(), if n.is_multiple_of(3) { "Lyon" } else { "Oslo" }.into());
    let raw = serde_json::to_vec(&report).unwrap();
    record(tenant, &report, raw, after(60 * 24)).unwrap()
}

fn everything(resolution: Resolution) -> RollupQuery {
    let (from, to) = (after(-100_000), after(1_000_000));
    RollupQuery { resolution, from, to, site: None, endpoint: None }
}

async fn sums_of(store: &dyn Store, tenant: Tenant) -> Sums {
    let mut sums = Sums::default();
    for resolution in Resolution::ALL {
        let found = store.rollups(tenant, &everything(resolution)).await.unwrap();
        let key = |(bucket, name): (BucketKey, String)| (tenant, resolution, bucket, name);
        sums.sketches.extend(found.sketches.into_iter().map(|(k, sketch)| (key(k), sketch)));
        sums.tallies.extend(found.tallies.into_iter().map(|(k, n)| (key(k), n)));
    }
    sums
}

#[tokio::test]
async fn a_report_is_kept_once_and_read_as_it_was_sent() {
    for (name, store, _folder) in backends().await {
        let first = nth(Tenant::FIRST, 1, "Ada");
        let outcomes = store.ingest(vec![first.clone(), first.clone()]).await.unwrap();
        assert_eq!(outcomes, [Outcome::Accepted, Outcome::Duplicate], "{name}: twice in a batch");
        let again = store.ingest(vec![first.clone(), nth(Tenant::FIRST, 2, "Bob")]).await.unwrap();
        assert_eq!(again, [Outcome::Duplicate, Outcome::Accepted], "{name}");
        let id = first.summary.id;
        assert_eq!(store.summary(Tenant::FIRST, id).await.unwrap().as_ref(), Some(&first.summary), "{name}");
        assert_eq!(store.raw(Tenant::FIRST, id).await.unwrap(), Some(first.raw), "{name}");
        assert_eq!(store.raw(Tenant::FIRST, Uuid::from_u128(1)).await.unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    for (name, store, _folder) in backends().await {
        let other = store.add_tenant("other", after(0)).await.unwrap();
        assert_ne!(other, Tenant::FIRST);
        let record = nth(Tenant::FIRST, 1, "Ada");
        let id = record.summary.id;
        store.ingest(vec![record]).await.unwrap();
        assert_eq!(store.summary(other, id).await.unwrap(), None, "{name}");
        assert_eq!(store.raw(other, id).await.unwrap(), None, "{name}");
        assert!(store.list(other, &Filter::default(), None, 10).await.unwrap().is_empty(), "{name}");
        assert_eq!(sums_of(&*store, other).await, Sums::default(), "{name}");
        // The same id is another report there, and counts there.
        let theirs = nth(other, 1, "Eve");
        assert_eq!(store.ingest(vec![theirs]).await.unwrap(), [Outcome::Accepted], "{name}");
        let ours = store.summary(Tenant::FIRST, id).await.unwrap().unwrap();
        assert_eq!(ours.person.as_deref(), Some("Ada"), "{name}");
        let note = Note { at: after(1), by: "ann".into(), text: "called".into() };
        store.add_note(Tenant::FIRST, id, &note).await.unwrap();
        assert_eq!(store.notes(Tenant::FIRST, id).await.unwrap(), [note], "{name}");
        assert!(store.notes(other, id).await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn look_ups_find_what_matches_latest_first_page_by_page() {
    for (name, store, _folder) in backends().await {
        let people = ["Ada", "Bob"];
        let records = (0..20).map(|n| nth(Tenant::FIRST, n, people[usize::from(n >= 10)])).collect();
        store.ingest(records).await.unwrap();
        let list = async |filter: Filter, after, limit| {
            store.list(Tenant::FIRST, &filter, after, limit).await.unwrap()
        };
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = list(Filter::default(), cursor, 7).await;
            let Some(last) = page.last() else { break };
            cursor = Some(Cursor::behind(last));
            seen.extend(page.into_iter().map(|found| found.id));
        }
        let expected: Vec<_> = (0..20).rev().map(testing::id).collect();
        assert_eq!(seen, expected, "{name}");
        let count = async |filter| list(filter, None, 100).await.len();
        let code = Some(testing::report(4).code);
        assert_eq!(count(Filter { code, ..Filter::default() }).await, 1, "{name}");
        assert_eq!(count(Filter { person: Some("Ada".into()), ..Filter::default() }).await, 10, "{name}");
        assert_eq!(count(Filter { ticket: Some("T-1".into()), ..Filter::default() }).await, 10, "{name}");
        assert_eq!(count(Filter { site: Some("Lyon".into()), ..Filter::default() }).await, 7, "{name}");
        assert_eq!(count(Filter { site: Some(String::new()), ..Filter::default() }).await, 0, "{name}");
        let hour = Filter { from: Some(after(5)), to: Some(after(8)), ..Filter::default() };
        assert_eq!(count(hour).await, 3, "{name}");
        assert_eq!(count(Filter { overall: Some(State::Ready), ..Filter::default() }).await, 0, "{name}");
        // What looks like SQL is text.
        let odd = Filter { person: Some("' OR 1=1 --".into()), ..Filter::default() };
        assert_eq!(count(odd).await, 0, "{name}");
    }
}

#[tokio::test]
async fn figures_are_checked_later_and_marked() {
    for (name, store, _folder) in backends().await {
        let mut waiting = nth(Tenant::FIRST, 1, "Ada");
        waiting.summary.agreement = Agreement::Pending;
        let mut settled = nth(Tenant::FIRST, 2, "Ada");
        settled.summary.agreement = Agreement::NoSamples;
        let id = waiting.summary.id;
        store.ingest(vec![waiting, settled]).await.unwrap();
        assert_eq!(store.unchecked(9).await.unwrap(), [(Tenant::FIRST, id)], "{name}");
        let places = ["/verdict/overall".to_owned()];
        store.set_agreement(Tenant::FIRST, id, Agreement::Differs, &places).await.unwrap();
        assert!(store.unchecked(9).await.unwrap().is_empty(), "{name}");
        let found = store.summary(Tenant::FIRST, id).await.unwrap().unwrap();
        assert_eq!((found.agreement, found.differs.as_slice()), (Agreement::Differs, &places[..]), "{name}");
    }
}

#[tokio::test]
async fn what_is_personal_goes_and_sums_stay() {
    for (name, store, _folder) in backends().await {
        let old = nth(Tenant::FIRST, 1, "Ada");
        let mut young = nth(Tenant::FIRST, 2, "Bob");
        young.summary.received = after(60 * 24 * 20);
        let ids = [old.summary.id, young.summary.id];
        store.ingest(vec![old, young]).await.unwrap();
        let note = Note { at: after(1), by: "ann".into(), text: "Ada called".into() };
        store.add_note(Tenant::FIRST, ids[0], &note).await.unwrap();
        let sums = sums_of(&*store, Tenant::FIRST).await;
        let cleared = store.retire(after(60 * 24 * 10), after(60 * 24 * 30)).await.unwrap();
        assert_eq!(cleared, 1, "{name}");
        let header = store.summary(Tenant::FIRST, ids[0]).await.unwrap().unwrap();
        assert_eq!((header.person, header.ticket.as_deref()), (None, Some("T-1")), "{name}");
        assert_eq!(store.raw(Tenant::FIRST, ids[0]).await.unwrap(), None, "{name}");
        assert!(store.notes(Tenant::FIRST, ids[0]).await.unwrap().is_empty(), "{name}");
        assert!(store.raw(Tenant::FIRST, ids[1]).await.unwrap().is_some(), "{name}");
        assert_eq!(sums_of(&*store, Tenant::FIRST).await, sums, "{name}");
        let again = store.ingest(vec![nth(Tenant::FIRST, 1, "Ada")]).await.unwrap();
        assert_eq!(again, [Outcome::Duplicate], "{name}: still counted once");
    }
}

fn hash(n: u8) -> TokenHash {
    TokenHash([n; 32])
}

fn user(n: u128, name: &str, role: Role) -> NewUser {
    let user = User {
        tenant: Tenant::FIRST,
        id: Uuid::from_u128(n),
        name: name.into(),
        role: Some(role),
        created: after(0),
    };
    NewUser { user, password_hash: "$argon2id$…".into() }
}

#[tokio::test]
async fn the_first_admin_is_made_once() {
    for (name, store, _folder) in backends().await {
        assert!(!store.has_admin().await.unwrap(), "{name}");
        store.set_bootstrap(&hash(1), after(15)).await.unwrap();
        store.set_bootstrap(&hash(2), after(15)).await.unwrap();
        assert!(!store.bootstrap_is_good(&hash(1), after(1)).await.unwrap(), "{name}: replaced");
        assert!(!store.bootstrap_is_good(&hash(2), after(15)).await.unwrap(), "{name}: too late");
        assert!(store.bootstrap_is_good(&hash(2), after(14)).await.unwrap(), "{name}");
        let ann = user(1, "ann", Role::Admin);
        assert!(!store.use_bootstrap(&hash(2), after(16), &ann).await.unwrap(), "{name}");
        assert!(store.use_bootstrap(&hash(2), after(1), &ann).await.unwrap(), "{name}");
        let eve = user(2, "eve", Role::Admin);
        assert!(!store.use_bootstrap(&hash(2), after(1), &eve).await.unwrap(), "{name}");
        assert!(store.has_admin().await.unwrap(), "{name}");
        assert_eq!(store.users(Tenant::FIRST).await.unwrap().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn sessions_end_by_time_by_hand_and_with_the_role() {
    for (name, store, _folder) in backends().await {
        let ann = user(1, "ann", Role::Admin);
        store.add_user(&ann).await.unwrap();
        assert!(
            matches!(store.add_user(&user(2, "ann", Role::Support)).await, Err(StoreError::Taken(_))),
            "{name}"
        );
        let begin = async |n| {
            let session =
                Session { token: hash(n), tenant: Tenant::FIRST, user: ann.user.id, expires: after(60) };
            store.add_session(&session).await.unwrap();
        };
        let whose =
            async |n, at| store.session_user(&hash(n), after(at)).await.unwrap().map(|user| user.name);
        begin(1).await;
        assert_eq!(whose(1, 59).await.as_deref(), Some("ann"), "{name}");
        assert_eq!(whose(1, 60).await, None, "{name}");
        assert_eq!(whose(9, 1).await, None, "{name}");
        store.end_session(&hash(1)).await.unwrap();
        assert_eq!(whose(1, 1).await, None, "{name}");
        begin(2).await;
        assert!(store.set_password(Tenant::FIRST, ann.user.id, "$argon2id$other").await.unwrap(), "{name}");
        assert_eq!(whose(2, 1).await, None, "{name}: a new password ends sessions");
        begin(3).await;
        assert!(!store.set_role(Tenant(9), ann.user.id, None).await.unwrap(), "{name}: another tenant's");
        assert!(store.set_role(Tenant::FIRST, ann.user.id, None).await.unwrap(), "{name}");
        begin(4).await;
        assert_eq!(whose(4, 1).await, None, "{name}: shut out");
    }
}

#[tokio::test]
async fn keys_are_revoked_by_their_tenant_alone() {
    for (name, store, _folder) in backends().await {
        let key = ApiKey {
            tenant: Tenant::FIRST,
            id: "k1".into(),
            name: "laptops".into(),
            good_for: KeyUse::Metrics,
            secret: hash(1),
            created: after(0),
            revoked: None,
        };
        store.add_key(&key).await.unwrap();
        assert_eq!(store.key("k1").await.unwrap(), Some(key), "{name}");
        assert!(!store.revoke_key(Tenant(9), "k1", after(1)).await.unwrap(), "{name}");
        assert!(store.revoke_key(Tenant::FIRST, "k1", after(1)).await.unwrap(), "{name}");
        assert_eq!(store.keys(Tenant::FIRST).await.unwrap()[0].revoked, Some(after(1)), "{name}");
        assert!(store.keys(Tenant(9)).await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn the_audit_log_is_per_tenant_and_newest_first() {
    for (name, store, _folder) in backends().await {
        for n in 0..3 {
            let entry = AuditEntry {
                tenant: Tenant(1 + n % 2),
                at: after(n),
                actor: "ann".into(),
                action: "report.view".into(),
                subject: n.to_string(),
            };
            store.audit(&entry).await.unwrap();
        }
        let subjects = async |tenant, before| -> Vec<String> {
            let log = store.audit_log(tenant, before, 10).await.unwrap();
            log.into_iter().map(|entry| entry.subject).collect()
        };
        assert_eq!(subjects(Tenant(1), None).await, ["2", "0"], "{name}");
        assert_eq!(subjects(Tenant(1), Some(after(2))).await, ["0"], "{name}");
        assert_eq!(subjects(Tenant(2), None).await, ["1"], "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Reports in any order, sent any number of times, in any batches, before and after a restart: the same roll-ups.
    #[test]
    fn roll_ups_are_exact(
        sent in prop::collection::vec(0_u64..12, 1..40),
        batch in 1_usize..9,
        restart in any::<prop::sample::Index>(),
    ) {
        let mut expected = Sums::default();
        let distinct: std::collections::BTreeSet<u64> = sent.iter().copied().collect();
        for n in &distinct {
            expected.add(Tenant::FIRST, &nth(Tenant::FIRST, *n, "Ada").adds);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let batches: Vec<_> = sent.chunks(batch).collect();
            let restart = restart.index(batches.len());
            let mut store = SqliteStore::open(folder.path()).await.unwrap();
            for (index, numbers) in batches.into_iter().enumerate() {
                if index == restart {
                    store.close().await.unwrap();
                    store = SqliteStore::open(folder.path()).await.unwrap();
                }
                store.ingest(numbers.iter().map(|n| nth(Tenant::FIRST, *n, "Ada")).collect()).await.unwrap();
            }
            sums_of(&store, Tenant::FIRST).await
        });
        prop_assert_eq!(found, expected);
    }
}
