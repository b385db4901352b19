//! The database goes away and comes back.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

use std::sync::Arc;

use axum::http::header::RETRY_AFTER;
use greenroom_web::store::Tenant;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use house::postgres::Cluster;
use house::{House, report};

#[tokio::test]
async fn without_its_database_nothing_is_acknowledged_and_all_goes_on_once_it_is_back() {
    let cluster = Arc::new(Cluster::start());
    let url = PostgresUrl::read(&cluster.database()).unwrap();
    let store = Arc::new(PostgresStore::open(&url).await.unwrap());
    let house = House::on(store.clone(), cluster.clone());
    let key = house.key(Tenant::FIRST).await;
    assert_eq!(house.send(&key, &report(1, "Ada")).await.status, 202);
    cluster.end();
    for _ in 0..3 {
        let refused = house.send(&key, &report(2, "Bob")).await;
        assert_eq!(refused.status, 503, "{}", refused.text);
        assert!(refused.headers.contains_key(RETRY_AFTER));
        assert!(!refused.text.contains("postgres"), "{}", refused.text);
    }
    assert_eq!(house.get("/readyz", "").await.status, 503);
    assert_eq!(house.get("/healthz", "").await.status, 200);
    cluster.begin();
    assert_eq!(house.get("/readyz", "").await.status, 200);
    let again = house.send(&key, &report(1, "Ada")).await;
    assert_eq!((again.status, again.json()["status"].as_str()), (202, Some("duplicate")));
    let kept = house.send(&key, &report(2, "Bob")).await;
    assert_eq!((kept.status, kept.json()["status"].as_str()), (202, Some("accepted")));
    house.state.stop().await;
}
