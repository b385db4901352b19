//! What programs ask, with keys and with sessions, of their own tenant and of others.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, ETAG, IF_NONE_MATCH};
use futures_util::StreamExt as _;
use greenroom_web::store::*;
use house::{Answer, House, report};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Asks as a program does.
async fn ask(house: &House, key: &str, path: &str) -> Answer {
    let request = Request::get(path).header(AUTHORIZATION, format!("Bearer {key}"));
    house.ask(request.body(Body::empty()).unwrap()).await
}

async fn with_reports(n: u64) -> (House, String) {
    let house = House::new().await;
    let key = house.key(Tenant::FIRST).await;
    for i in 1..=n {
        let answer = house.send(&key, &report(i, "Ada")).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let read = house.key_for(Tenant::FIRST, KeyUse::ReadPersonal).await;
    (house, read)
}

#[tokio::test]
async fn pages_follow_each_other_and_hold_every_report_once() {
    let (house, key) = with_reports(7).await;
    let (mut path, mut ids, mut pages) = ("/api/v1/reports?limit=3".to_owned(), Vec::new(), 0);
    loop {
        let answer = ask(&house, &key, &path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let found = answer.json();
        ids.extend(
            found["reports"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        let Some(next) = found["next"].as_str() else { break };
        path = format!("/api/v1/reports?limit=3&after={next}");
    }
    let latest_first: Vec<String> = (1..=7).rev().map(|n| testing::id(n).to_string()).collect();
    assert_eq!((ids, pages), (latest_first, 3));
}

#[tokio::test]
async fn what_is_asked_for_is_found_and_what_cannot_be_read_is_named() {
    let (house, key) = with_reports(2).await;
    let code = report(2, "Ada").code;
    for (query, n) in [
        (format!("code={code}"), 1),
        ("person=Ada".into(), 2),
        ("person=Eve".into(), 0),
        ("verdict=ready".into(), 0),
        (format!("from={}", report(2, "Ada").started), 1),
    ] {
        let answer = ask(&house, &key, &format!("/api/v1/reports?{query}")).await;
        assert_eq!(answer.json()["reports"].as_array().unwrap().len(), n, "{query}");
    }
    for (query, named) in [
        ("verdict=fine", "fine"),
        ("from=yesterday", "from"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("after=x", "after"),
        ("colour=red", "colour"),
    ] {
        let answer = ask(&house, &key, &format!("/api/v1/reports?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
        assert!(answer.json()["detail"].as_str().unwrap().contains(named), "{query}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_key_reads_what_it_is_for_and_nothing_of_others() {
    let (house, whole) = with_reports(1).await;
    let id = testing::id(1);
    let path = format!("/api/v1/reports/{id}");
    let without = house.key_for(Tenant::FIRST, KeyUse::Read).await;
    let answer = ask(&house, &whole, &path).await;
    assert_eq!((answer.status, &answer.json()["labels"]["person"]), (200, &json!("Ada")));
    let answer = ask(&house, &without, &path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(!answer.text.contains("Ada"));
    let answer = ask(&house, &without, "/api/v1/reports").await;
    assert!(answer.status == 200 && !answer.text.contains("Ada"), "{}", answer.text);
    assert_eq!(ask(&house, &without, "/api/v1/reports?person=Ada").await.status, 403);

    for good_for in [KeyUse::Send, KeyUse::Metrics] {
        let other = house.key_for(Tenant::FIRST, good_for).await;
        assert_eq!(ask(&house, &other, &path).await.status, 401, "{good_for:?}");
    }
    let tenant = house.store.add_tenant("other", house::now()).await.unwrap();
    let foreign = house.key_for(tenant, KeyUse::ReadPersonal).await;
    assert_eq!(ask(&house, &foreign, &path).await.status, 404);
    assert_eq!(ask(&house, &foreign, "/api/v1/reports").await.json(), json!({"reports": []}));
    for path in [
        "/api/v1/reports",
        "/api/v1/events",
        "/api/v1/fleet?from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z&step=1h",
    ] {
        let answer = house.get(path, "").await;
        assert_eq!(
            (answer.status, &answer.headers[CONTENT_TYPE]),
            (401, &"application/problem+json".parse().unwrap()),
            "{path}"
        );
    }
    for path in ["/api/v1/reports/1", "/api/v1/reports/%00", "/api/v1/reports/%ff"] {
        let answer = ask(&house, &whole, path).await;
        assert!([400, 404].contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
    }
    let log = house.store.audit_log(Tenant::FIRST, None, 100).await.unwrap();
    let views = log.iter().filter(|entry| entry.action == "report.view" && entry.subject == id.to_string());
    assert_eq!(views.count(), 2, "{log:?}");
}

#[tokio::test]
async fn who_has_an_answer_is_not_sent_it_again() {
    let (house, key) = with_reports(1).await;
    let path = format!("/api/v1/reports/{}", testing::id(1));
    let first = ask(&house, &key, &path).await;
    let tag = first.headers[ETAG].clone();
    assert_eq!(first.headers[CACHE_CONTROL], "private, no-cache");
    let again = |tag: &str| {
        let request =
            Request::get(&path).header(AUTHORIZATION, format!("Bearer {key}")).header(IF_NONE_MATCH, tag);
        house.ask(request.body(Body::empty()).unwrap())
    };
    let same = again(tag.to_str().unwrap()).await;
    assert_eq!((same.status, same.text.as_str(), &same.headers[ETAG]), (304, "", &tag));
    let other = again("\"other\"").await;
    assert_eq!((other.status, other.text), (200, first.text));
    assert!(house.get("/api/v1/openapi.json", "").await.headers.contains_key(ETAG));
}

#[tokio::test]
async fn figures_are_those_of_all_reports_together() {
    let (house, key) = with_reports(9).await;
    let path = "/api/v1/fleet?from=2026-11-22T00:00:00Z&to=2026-11-22T23:00:00Z&step=1h";
    let answer = ask(&house, &key, path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let told = answer.json();
    // The nth report has n + 1 round trips of n ms: 2 + 3 + … + 10.
    assert_eq!((&told["all"]["reports"], &told["all"]["rtt_samples"]), (&json!(9), &json!(54)));
    let p50 = told["all"]["rtt_ms"]["p50"].as_f64().unwrap();
    assert!((5.95..6.1).contains(&p50), "{p50}");
    assert_eq!(told["over_time"].as_array().unwrap().len(), 1);
    assert_eq!(told["over_time"][0]["begins"], "2026-11-22T14:00:00Z");
    for (query, named) in [
        ("from=2026-11-22T00:00:00Z&to=2026-11-21T00:00:00Z&step=1h", "before"),
        ("from=2025-11-22T00:00:00Z&to=2026-11-21T00:00:00Z&step=5m", "steps"),
        ("from=2025-11-22T00:00:00Z&step=5m", "to"),
        ("from=2025-11-22T00:00:00Z&to=2026-11-21T00:00:00Z&step=7m", "7m"),
        ("from=-009999-01-02T01:59:59Z&to=9999-12-30T22:00:00.999999999Z&step=1d", "steps"),
    ] {
        let answer = ask(&house, &key, &format!("/api/v1/fleet?{query}")).await;
        assert!(answer.status == 400 && answer.text.contains(named), "{query}: {}", answer.text);
    }
}

/// The next event's name and data.
async fn next(events: &mut BodyDataStream) -> (String, String) {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        text.push_str(std::str::from_utf8(&events.next().await.unwrap().unwrap()).unwrap());
    }
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default().to_owned()
    };
    (field("event"), field("data"))
}

async fn listen(house: &House, header: (axum::http::HeaderName, String)) -> BodyDataStream {
    let request = Request::get("/api/v1/events").header(header.0, header.1).body(Body::empty()).unwrap();
    let answer = house.app.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream");
    let mut events = answer.into_body().into_data_stream();
    assert_eq!(next(&mut events).await, (String::new(), String::new()), "a hello");
    events
}

#[tokio::test]
async fn who_listens_hears_of_reports_as_they_come_and_of_their_own_alone() {
    let house = House::new().await;
    let send = house.key(Tenant::FIRST).await;
    let tenant = house.store.add_tenant("other", house::now()).await.unwrap();
    let foreign = house.key(tenant).await;
    let read = house.key_for(Tenant::FIRST, KeyUse::Read).await;
    let mut program = listen(&house, (AUTHORIZATION, format!("Bearer {read}"))).await;
    let person = house.sign_in(Tenant::FIRST, "ada", Role::Support).await;
    let mut page = listen(&house, (COOKIE, person)).await;

    house.send(&foreign, &report(1, "Bob")).await;
    house.send(&send, &report(2, "Ada")).await;
    // Sent again, it is no news.
    house.send(&send, &report(2, "Ada")).await;
    house.send(&send, &report(3, "Ada")).await;
    for n in [2, 3] {
        let (name, data) = next(&mut program).await;
        let header: Value = serde_json::from_str(&data).unwrap();
        assert_eq!((name.as_str(), &header["id"]), ("report", &json!(testing::id(n))));
        assert!(header["person"].is_null(), "{data}");
        let (_, data) = next(&mut page).await;
        assert_eq!(serde_json::from_str::<Value>(&data).unwrap()["person"], "Ada");
    }
    house.state.stop().await;
    assert!(program.next().await.is_none(), "the stream ends with the server");
}

#[tokio::test]
async fn who_is_too_slow_is_told_how_much_they_missed() {
    let house = House::new().await;
    let send = house.key(Tenant::FIRST).await;
    let read = house.key_for(Tenant::FIRST, KeyUse::Read).await;
    let mut events = listen(&house, (AUTHORIZATION, format!("Bearer {read}"))).await;
    for n in 0..300 {
        assert_eq!(house.send(&send, &report(n, "Ada")).await.status, 202);
    }
    let (name, missed) = next(&mut events).await;
    assert_eq!((name.as_str(), missed.as_str()), ("missed", "44"));
    assert_eq!(next(&mut events).await.0, "report");
}

#[tokio::test]
async fn a_session_that_ended_hears_nothing() {
    let house = House::new().await;
    let person = house.sign_in(Tenant::FIRST, "ada", Role::Support).await;
    house.pass(SignedDuration::from_hours(13));
    assert_eq!(house.get("/api/v1/events", &person).await.status, 401);
}
