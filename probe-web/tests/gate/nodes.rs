//! Two nodes on one database: what one grants, the other one takes.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};
use greenroom_web::AppState;
use greenroom_web::check::Media;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use greenroom_web::store::*;
use serde_json::{Value, json};

use super::house::{Answer, House, postgres};

/// A node of its own on a database.
async fn node(url: &str, media: &str) -> House {
    let cluster = postgres::shared();
    let store = Arc::new(PostgresStore::open(&PostgresUrl::read(url).unwrap()).await.unwrap());
    let house = House::on(store, cluster);
    let state: AppState = house.state.clone().with_kept_grants().await.unwrap();
    let media = Media {
        url: media.to_owned(),
        certificate: Arc::new(|| [7; 32]),
        fallback: None,
        web_rtc: None,
        turn: None,
    };
    let state = state.with_media(media);
    state.meet_nodes().await.unwrap();
    house.with_state(state)
}

async fn session(house: &House) -> Value {
    house.get("/api/v1/session", "").await.json()
}

async fn hand_in(house: &House, grant: &str) -> Answer {
    let mut run: Value = serde_json::from_str(include_str!("../data/run.json")).unwrap();
    run["run"] = json!(grant);
    let request = Request::post("/api/v1/runs").header(header::CONTENT_TYPE, "application/json");
    house.ask(request.body(Body::from(run.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_page_of_one_node_hands_its_report_in_at_another() {
    let cluster = postgres::shared();
    let url = cluster.database();
    let (a, b) =
        (node(&url, "https://192.0.2.1:7443/media").await, node(&url, "https://192.0.2.2:7443/media").await);
    assert_eq!(
        a.state.grants.public_key(),
        b.state.grants.public_key(),
        "an endpoint of either takes grants of both"
    );
    let begun = session(&a).await;
    let grant = begun["run"].as_str().unwrap();
    let kept = hand_in(&b, grant).await;
    assert_eq!(kept.status, 201, "{}", kept.text);
    let id = kept.json()["id"].as_str().unwrap().parse().unwrap();
    let found = a.store.summary(Tenant::FIRST, id).await.unwrap().expect("kept");
    assert_eq!(found.endpoint, None, "nothing was measured");
    for node in [&a, &b] {
        let again = hand_in(node, grant).await;
        assert_eq!(again.status, 401, "one result a grant, at whatever node: {}", again.text);
    }
}

#[tokio::test]
async fn of_two_nodes_at_once_one_takes_a_grant() {
    let cluster = postgres::shared();
    let url = cluster.database();
    let (a, b) =
        (node(&url, "https://192.0.2.1:7443/media").await, node(&url, "https://192.0.2.2:7443/media").await);
    for _ in 0..10 {
        let begun = session(&b).await;
        let grant = begun["run"].as_str().unwrap();
        let (one, two) = tokio::join!(hand_in(&a, grant), hand_in(&b, grant));
        let mut told = [one.status, two.status];
        told.sort_unstable();
        assert_eq!(told, [201, 401]);
    }
}

#[tokio::test]
async fn a_page_may_measure_against_the_endpoint_of_any_node() {
    let cluster = postgres::shared();
    let url = cluster.database();
    let a = node(&url, "https://192.0.2.1:7443/media").await;
    let b = node(&url, "https://192.0.2.2:7443/media").await;
    let policy =
        b.get("/check", "").await.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.contains("connect-src 'self' https://192.0.2.1:7443 https://192.0.2.2:7443;"), "{policy}");
    // The first one hears of the second when it looks again, within seconds.
    a.state.meet_nodes().await.unwrap();
    let policy =
        a.get("/check", "").await.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.contains("https://192.0.2.2:7443"), "{policy}");
}

#[tokio::test]
async fn a_page_survives_a_new_start() {
    let cluster = postgres::shared();
    let url = cluster.database();
    let begun = session(&node(&url, "https://192.0.2.1:7443/media").await).await;
    let later = node(&url, "https://192.0.2.1:7443/media").await;
    assert_eq!(hand_in(&later, begun["run"].as_str().unwrap()).await.status, 201);
}
