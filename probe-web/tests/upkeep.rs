//! A whole store looked over, in each backend.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "../../tests/support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "../src/testing.rs"]
mod testing;

use std::fs;
use std::path::Path;

use greenroom_web::ingest::read::record;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::*;
use greenroom_web::verify::verify;
use jiff::{SignedDuration, Timestamp};

fn after(minutes: i64) -> Timestamp {
    testing::start().checked_add(SignedDuration::from_mins(minutes)).unwrap()
}

/// When these tests look: a day after the first report.
fn now() -> Timestamp {
    after(60 * 24)
}

fn nth(n: u64) -> Record {
    let mut report = testing::report(n);
    report.labels.insert("person".into(), "Ada".into());
    report.labels.insert("site".into(), if n.is_multiple_of(3) { "Lyon" } else { "Oslo" }.into());
    let raw = serde_json::to_vec(&report).unwrap();
    record(Tenant::FIRST, &report, raw, now()).unwrap()
}

async fn fill(store: &dyn Store, reports: u64) {
    let batch = (0..reports).map(nth).collect();
    assert!(store.ingest(batch).await.unwrap().iter().all(|outcome| *outcome == Outcome::Accepted));
}

async fn sqlite(folder: &Path) -> SqliteStore {
    SqliteStore::open(folder).await.unwrap()
}

#[tokio::test]
async fn a_sound_store_is_found_sound_and_every_bucket_is_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = postgres::shared();
    let url = cluster.database();
    let (lite, big) =
        (sqlite(folder.path()).await, PostgresStore::open(&PostgresUrl::read(&url).unwrap()).await.unwrap());
    let mut told = Vec::new();
    for store in [&lite as &dyn Store, &big] {
        assert!(verify(store, now()).await.unwrap().is_sound(), "an empty one");
        fill(store, 20).await;
        let found = verify(store, now()).await.unwrap();
        assert!(found.is_sound(), "{found:?}");
        assert_eq!((found.reports, found.headers_alone, found.buckets_open), (20, 0, 0), "{found:?}");
        // Two sites: four stretches of five minutes, one hour and one day each.
        assert_eq!(found.buckets, 2 * (4 + 1 + 1), "{found:?}");
        told.push(found);
        // Old reports go; their sums stay and can be computed no more.
        store.retire(after(60 * 24 * 2), after(60 * 24 * 2)).await.unwrap();
        let found = verify(store, now()).await.unwrap();
        assert!(found.is_sound(), "{found:?}");
        assert_eq!((found.reports, found.headers_alone, found.buckets, found.buckets_open), (0, 20, 0, 12));
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn a_damaged_byte_is_found_and_its_report_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path()).await;
    fill(&store, 3).await;
    store.close().await.unwrap();
    let day = fs::read_dir(folder.path().join("raw")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&day).unwrap();
    // The last byte is of the third report.
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&day, bytes).unwrap();
    let found = verify(&sqlite(folder.path()).await, now()).await.unwrap();
    assert_eq!(found.problems.len(), 1, "{found:?}");
    assert!(found.problems[0].contains(&testing::id(2).to_string()), "{found:?}");
    assert!(found.problems[0].contains(&testing::report(2).code), "{found:?}");
    assert_eq!(found.buckets_open, 3, "the site's five minutes, hour and day: {found:?}");
    assert_eq!(found.buckets, 3, "the other site's: {found:?}");
}

#[tokio::test]
async fn headers_and_sums_that_do_not_follow_from_reports_are_found() {
    let cluster = postgres::shared();
    let url = cluster.database();
    let store = PostgresStore::open(&PostgresUrl::read(&url).unwrap()).await.unwrap();
    fill(&store, 3).await;
    let problems = async || verify(&store, now()).await.unwrap().problems.join("\n");
    // Looking at them brings the sums up to date.
    assert_eq!(problems().await, "");
    cluster.ask(
        &url,
        "UPDATE tally SET n = n + 1 WHERE resolution = 3600 AND site = 'Lyon' AND name = 'up:lost'",
    );
    let told = problems().await;
    assert!(told.contains("hour") && told.contains("Lyon") && told.contains("add up"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    cluster.ask(
        &url,
        "UPDATE tally SET n = n - 1 WHERE resolution = 3600 AND site = 'Lyon' AND name = 'up:lost'",
    );
    cluster.ask(&url, &format!("UPDATE report SET say = 'All is well.' WHERE id = '{}'", testing::id(1)));
    let told = problems().await;
    assert!(told.contains(&testing::id(1).to_string()) && told.ends_with(": say"), "{told}");
    cluster.ask(&url, "DELETE FROM report_raw");
    let told = problems().await;
    assert_eq!(told.matches("its JSON is missing").count(), 3, "{told}");
}
