//! What every store must do, run against each backend.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "../../tests/support/postgres.rs"]
mod postgres;
#[path = "../src/testing.rs"]
mod testing;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use greenroom_reports::schema::State;
use greenroom_web::ingest::read::record;
use greenroom_web::rollup::Sums;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::*;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

/// What must live as long as a store.
type Kept = Box<dyn Any + Send + Sync>;

/// Backends with nothing in them.
async fn backends() -> Vec<(&'static str, Arc<dyn Store>, Kept)> {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(folder.path()).await.unwrap();
    let cluster = postgres::shared();
    let postgres = postgres_store(&cluster.database()).await;
    vec![("sqlite", Arc::new(sqlite), Box::new(folder)), ("postgres", Arc::new(postgres), Box::new(cluster))]
}

async fn postgres_store(url: &str) -> PostgresStore {
    PostgresStore::open(&PostgresUrl::read(url).unwrap()).await.unwrap()
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

/// Sums of the roll-ups, added up here.
fn added_up(sums: &Rollups, start: i64) -> Totals {
    let (mut of_series, mut of_buckets) = (BTreeMap::new(), BTreeMap::new());
    for ((key, name), n) in &sums.tallies {
        let since = key.bucket >= start;
        *of_series.entry((&key.site, &key.endpoint, name, since)).or_insert(0) += n;
        if since {
            *of_buckets.entry((key.bucket, name)).or_insert(0) += n;
        }
    }
    let series = |((site, endpoint, name, since), n): ((&String, &String, &String, bool), u64)| SeriesTotal {
        site: site.clone(),
        endpoint: endpoint.clone(),
        since,
        name: name.clone(),
        n,
    };
    Totals {
        of_series: of_series.into_iter().map(series).collect(),
        of_buckets: of_buckets.into_iter().map(|((bucket, name), n)| (bucket, name.clone(), n)).collect(),
    }
}

#[tokio::test]
async fn totals_are_what_the_sums_come_to() {
    for (name, store, _folder) in backends().await {
        let batch = (1..20).map(|n| {
            let mut report = testing::report(n);
            report.started = after(i64::try_from(n).unwrap() * 40);
            report.labels.insert("site".into(), if n.is_multiple_of(3) { "Lyon" } else { "Oslo" }.into());
            let raw = serde_json::to_vec(&report).unwrap();
            record(Tenant(1 + i64::from(n == 5)), &report, raw, after(60 * 24)).unwrap()
        });
        store.ingest(batch.collect()).await.unwrap();
        store.settle().await.unwrap();
        for query in [
            everything(Resolution::Hour),
            RollupQuery { site: Some("Oslo".into()), ..everything(Resolution::FiveMinutes) },
            RollupQuery { from: after(200), to: after(500), ..everything(Resolution::Hour) },
        ] {
            for start in [i64::MIN, after(0).as_second(), after(400).as_second(), i64::MAX] {
                let all = store.rollups(Tenant::FIRST, &query).await.unwrap();
                let mut totals = store.totals(Tenant::FIRST, &query, start).await.unwrap();
                totals.of_series.sort_by(|a, b| {
                    (&a.site, &a.endpoint, &a.name, a.since).cmp(&(&b.site, &b.endpoint, &b.name, b.since))
                });
                totals.of_buckets.sort();
                assert!(!all.tallies.is_empty(), "{name}");
                assert_eq!(totals, added_up(&all, start), "{name}: {start}");
            }
        }
    }
}

/// Sends numbered reports in batches and closes and opens the store in between; the sums that it has then.
async fn sums_after<S: Store>(
    open: impl AsyncFn() -> S,
    close: impl AsyncFn(S),
    batches: &[&[u64]],
    restart: usize,
) -> Sums {
    let mut store = open().await;
    for (index, numbers) in batches.iter().enumerate() {
        if index == restart {
            close(store).await;
            store = open().await;
        }
        store.ingest(numbers.iter().map(|n| nth(Tenant::FIRST, *n, "Ada")).collect()).await.unwrap();
    }
    let sums = sums_of(&store, Tenant::FIRST).await;
    close(store).await;
    sums
}

/// Reports in any order, sent any number of times, in any batches, before and after a restart: the same roll-ups.
#[test]
fn roll_ups_are_exact() {
    let cluster = postgres::shared();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sent = prop::collection::vec(0_u64..12, 1..40);
    proptest!(ProptestConfig::with_cases(12), |(sent in sent, batch in 1_usize..9, restart in any::<prop::sample::Index>())| {
        let mut expected = Sums::default();
        let distinct: std::collections::BTreeSet<u64> = sent.iter().copied().collect();
        for n in &distinct {
            expected.add(Tenant::FIRST, &nth(Tenant::FIRST, *n, "Ada").adds);
        }
        let batches: Vec<_> = sent.chunks(batch).collect();
        let restart = restart.index(batches.len());
        let folder = tempfile::tempdir().unwrap();
        let sqlite = runtime.block_on(sums_after(
            async || SqliteStore::open(folder.path()).await.unwrap(),
            async |store| store.close().await.unwrap(),
            &batches,
            restart,
        ));
        prop_assert_eq!(&sqlite, &expected);
        let url = cluster.database();
        let postgres = runtime.block_on(sums_after(
            async || postgres_store(&url).await,
            PostgresStore::close,
            &batches,
            restart,
        ));
        prop_assert_eq!(&postgres, &expected);
    });
}

/// Two nodes are sent the same reports at the same time, each in its own order: each report is accepted once.
#[test]
fn two_nodes_count_a_report_once() {
    let cluster = postgres::shared();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let order = || Just((0..20).collect::<Vec<u64>>()).prop_shuffle();
    proptest!(ProptestConfig::with_cases(8), |(first in order(), second in order(), batch in 1_usize..9)| {
        let mut expected = Sums::default();
        for n in &first {
            expected.add(Tenant::FIRST, &nth(Tenant::FIRST, *n, "Ada").adds);
        }
        let url = cluster.database();
        let (accepted, sums) = runtime.block_on(async {
            // Both at once: one makes the tables, the other one waits for it.
            let (one, other) = tokio::join!(postgres_store(&url), postgres_store(&url));
            let (mine, theirs) =
                tokio::join!(accepted_of(&one, &first, batch), accepted_of(&other, &second, batch));
            (mine + theirs, sums_of(&one, Tenant::FIRST).await)
        });
        prop_assert_eq!(accepted, first.len());
        prop_assert_eq!(sums, expected);
    });
}

/// Sends numbered reports in batches; how many were accepted.
async fn accepted_of(store: &PostgresStore, numbers: &[u64], batch: usize) -> usize {
    let mut accepted = 0;
    for numbers in numbers.chunks(batch) {
        let records = numbers.iter().map(|n| nth(Tenant::FIRST, *n, "Ada")).collect();
        let outcomes = store.ingest(records).await.unwrap();
        accepted += outcomes.iter().filter(|outcome| **outcome == Outcome::Accepted).count();
    }
    accepted
}

#[tokio::test]
async fn of_two_nodes_one_makes_the_first_admin() {
    let cluster = postgres::shared();
    let url = cluster.database();
    let (one, other) = (postgres_store(&url).await, postgres_store(&url).await);
    one.set_bootstrap(&hash(1), after(15)).await.unwrap();
    other.set_bootstrap(&hash(2), after(15)).await.unwrap();
    let (ann, eve) = (user(1, "ann", Role::Admin), user(2, "eve", Role::Admin));
    let token = hash(2);
    let (first, second) =
        tokio::join!(one.use_bootstrap(&token, after(1), &ann), other.use_bootstrap(&token, after(1), &eve));
    assert!(first.unwrap() ^ second.unwrap(), "once");
    assert!(!one.use_bootstrap(&hash(1), after(1), &ann).await.unwrap(), "the later link alone is good");
    assert_eq!(other.users(Tenant::FIRST).await.unwrap().len(), 1);
}

#[tokio::test]
async fn partitions_are_made_and_dropped_as_a_whole() {
    let cluster = postgres::shared();
    let url = cluster.database();
    let store = postgres_store(&url).await;
    let partitions = || {
        let names = cluster.ask(
            &url,
            "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relname ~ '^report(_raw)?_[md][0-9]+$'",
        );
        names.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut late = nth(Tenant::FIRST, 2, "Bob");
    late.summary.received = after(60 * 24 * 10);
    let ids = [nth(Tenant::FIRST, 1, "Ada").summary.id, late.summary.id];
    store.ingest(vec![nth(Tenant::FIRST, 1, "Ada"), late]).await.unwrap();
    let made = partitions();
    for name in ["report_m202611", "report_m202612", "report_raw_d20261123", "report_raw_d20261202"] {
        assert!(made.iter().any(|made| made == name), "{name}: {made:?}");
    }
    store.retire(after(60 * 24 * 5), after(60 * 24 * 11)).await.unwrap();
    assert!(!partitions().contains(&"report_raw_d20261123".to_owned()));
    assert_eq!(store.raw(Tenant::FIRST, ids[0]).await.unwrap(), None);
    assert!(store.raw(Tenant::FIRST, ids[1]).await.unwrap().is_some());
    assert!(store.summary(Tenant::FIRST, ids[0]).await.unwrap().is_some(), "the header stays");
    // The month of the first goes when the last of its days is older than headers are kept, and its id with it.
    store.retire(after(60 * 24 * 400), after(60 * 24 * 415)).await.unwrap();
    assert!(!partitions().contains(&"report_m202611".to_owned()), "{:?}", partitions());
    assert_eq!(store.summary(Tenant::FIRST, ids[0]).await.unwrap(), None);
    assert_eq!(cluster.ask(&url, "SELECT count(*) FROM report_id"), "1");
    // A node that knew the partition makes it again for one who sends it once more.
    assert_eq!(store.ingest(vec![nth(Tenant::FIRST, 1, "Ada")]).await.unwrap(), [Outcome::Accepted]);
}

#[tokio::test]
async fn text_that_a_database_does_not_take_fails_nobody() {
    for (name, store, _folder) in backends().await {
        let mut odd = nth(Tenant::FIRST, 1, "Ada");
        odd.summary.say = "nothing\0 here".into();
        let outcomes = store.ingest(vec![odd, nth(Tenant::FIRST, 2, "Bob")]).await.unwrap();
        assert_eq!(outcomes, [Outcome::Accepted; 2], "{name}");
        let note = Note { at: after(1), by: "ann".into(), text: "a\0b".into() };
        store.add_note(Tenant::FIRST, testing::id(1), &note).await.unwrap();
    }
}

#[tokio::test]
async fn a_link_lets_in_as_many_as_it_may_also_at_two_nodes() {
    let cluster = postgres::shared();
    let url = cluster.database();
    let (one, other) = (postgres_store(&url).await, postgres_store(&url).await);
    let link = CheckLink {
        tenant: Tenant::FIRST,
        id: "l1".into(),
        token: hash(1),
        ticket: "T-1".into(),
        person: None,
        target: None,
        author: "ann".into(),
        created: after(0),
        expires: after(60 * 24 * 7),
        most: 3,
        used: 0,
        revoked: None,
    };
    one.add_check_link(&link).await.unwrap();
    let batch = |numbers: std::ops::Range<u64>| -> Vec<Record> {
        numbers.map(|n| nth(Tenant::FIRST, n, "Ada").through(&link)).collect()
    };
    let (mine, theirs) = tokio::join!(one.ingest(batch(0..4)), other.ingest(batch(2..6)));
    let count = |wanted| {
        let (mine, theirs) = (mine.as_ref().unwrap(), theirs.as_ref().unwrap());
        mine.iter().chain(theirs).filter(|outcome| **outcome == wanted).count()
    };
    assert_eq!(count(Outcome::Accepted), 3);
    assert_eq!(one.list(Tenant::FIRST, &Filter::default(), None, 9).await.unwrap().len(), 3);
    assert_eq!(one.check_link(&hash(1)).await.unwrap().unwrap().used, 3);
}
