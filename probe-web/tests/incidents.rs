//! Reports in, incident out, told to every kind of receiver, once; and its end.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::post;
use greenroom_reports::schema::{Kind, Place, Report, State, Value as Figure};
use greenroom_web::Gate;
use greenroom_web::clock::{Clock, new_id};
use greenroom_web::incidents::Keeper;
use greenroom_web::ingest::read::record;
use greenroom_web::store::*;
use greenroom_web::webhooks::Mailer;
use house::{House, empty_store, now};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Runs of five minutes that are history: a day and something.
const HISTORY: i64 = 300;

/// A fleet: six computers in Berlin, four in Lyon.
const AGENTS: [&str; 10] = ["b0", "b1", "b2", "b3", "b4", "b5", "l0", "l1", "l2", "l3"];

fn site(agent: &str) -> &'static str {
    if agent.starts_with('b') { "Berlin" } else { "Lyon" }
}

/// The begin of the interval that is so many after the one of [`now`].
fn at(interval: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_secs(interval * 300)).unwrap()
}

/// A run: its round trip, and its verdict.
fn run(random: &mut StdRng, agent: &str, interval: i64, rtt: f64, verdict: (State, Option<Place>)) -> Record {
    let mut report: Report = testing::report(1);
    report.started =
        at(interval).checked_add(SignedDuration::from_secs(random.random_range(0..200))).unwrap();
    report.id = new_id(report.started);
    report.code = greenroom_reports::assess::short_code(report.id);
    report.kind = Kind::Agent;
    report.agent.id = Some(agent.to_owned());
    report.labels = [("site".to_owned(), site(agent).to_owned())].into();
    (report.trace, report.sketches) = (None, [].into());
    (report.verdict.overall, report.verdict.place) = verdict;
    for target in &mut report.targets {
        if let Figure::Measured(found) = &mut target.rtt_ms {
            found.p50 = rtt + random.random_range(0.0..2.0);
        }
    }
    record(Tenant::FIRST, &report, b"{}".to_vec(), report.started).unwrap()
}

const GOOD: (State, Option<Place>) = (State::Ready, None);
const BAD: (State, Option<Place>) = (State::Degraded, Some(Place::LocalNetwork));

/// Keeps the runs of some intervals, worse at a site.
async fn keep(store: &dyn Store, random: &mut StdRng, from: i64, to: i64, worse: Option<&str>) {
    for interval in from..to {
        let runs = AGENTS.iter().map(|agent| match worse == Some(site(agent)) {
            true => run(random, agent, interval, 80.0, BAD),
            false => run(random, agent, interval, 20.0, GOOD),
        });
        store.ingest(runs.collect()).await.unwrap();
    }
}

/// What receivers over HTTP got: at which path, with which id, and what.
type Got = (String, Option<String>, Value);

async fn receivers() -> (SocketAddr, mpsc::UnboundedReceiver<Got>) {
    #[expect(clippy::disallowed_methods, reason = "a test is a server, too")]
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let (sender, got) = mpsc::unbounded_channel();
    let take = |Shared(sender): Shared<mpsc::UnboundedSender<Got>>,
                uri: axum::http::Uri,
                headers: axum::http::HeaderMap,
                body: String| async move {
        let id = headers.get("webhook-id").map(|id| id.to_str().unwrap().to_owned());
        sender.send((uri.path().to_owned(), id, serde_json::from_str(&body).unwrap())).unwrap();
    };
    let app = Router::new().fallback(post(take)).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (at, got)
}

/// A mail server that lets one user in (RFC 5321, RFC 4954) and hands on what it takes: to whom, and the message.
async fn mail_server() -> (SocketAddr, mpsc::UnboundedReceiver<(String, String)>) {
    #[expect(clippy::disallowed_methods, reason = "a test is a server, too")]
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let (sender, got) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                let (mut to, mut signed_in) = (String::new(), false);
                write.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
                while let Ok(Some(line)) = lines.next_line().await {
                    let verb = line.to_ascii_uppercase();
                    let answer = match verb.split([' ', ':']).next().unwrap_or_default() {
                        "EHLO" => "250-mail.test\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n",
                        "AUTH" => {
                            // \0greenroom\0secret
                            signed_in = line == "AUTH PLAIN AGdyZWVucm9vbQBzZWNyZXQ=";
                            if signed_in { "235 welcome\r\n" } else { "535 no\r\n" }
                        }
                        "MAIL" if !signed_in => "530 sign in first\r\n",
                        "RCPT" => {
                            to = line;
                            "250 ok\r\n"
                        }
                        "DATA" => {
                            write.write_all(b"354 go on\r\n").await.unwrap();
                            let mut message = String::new();
                            while let Ok(Some(line)) = lines.next_line().await {
                                if line == "." {
                                    break;
                                }
                                message += &format!("{line}\n");
                            }
                            sender.send((to.clone(), message)).unwrap();
                            "250 taken\r\n"
                        }
                        "QUIT" => "221 bye\r\n",
                        _ => "250 ok\r\n",
                    };
                    write.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (at, got)
}

/// What comes next; it comes, or the test fails.
async fn next<T>(got: &mut mpsc::UnboundedReceiver<T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), got.recv()).await.expect("something comes").unwrap()
}

/// Waits until incidents are so, and asks the API for them.
async fn until(house: &House, key: &str, words: &str, is: impl Fn(&[Incident]) -> bool) -> Vec<Value> {
    let wait = async {
        while !is(&house.store.incidents(Tenant::FIRST, false, None, 100).await.unwrap()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), wait).await.unwrap_or_else(|_| panic!("never: {words}"));
    let request = axum::http::Request::get("/api/v1/incidents")
        .header("authorization", format!("Bearer {key}"))
        .body(axum::body::Body::empty())
        .unwrap();
    house.ask(request).await.json()["incidents"].as_array().unwrap().clone()
}

/// Makes a receiver and a rule for it.
async fn rule(house: &House, cookie: &str, kind: &str, url: &str) {
    let page = house.form("/webhooks", cookie, &[("name", kind), ("url", url), ("kind", kind)]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let receivers = house.store.webhooks(Tenant::FIRST).await.unwrap();
    let id = &receivers.iter().find(|it| it.name == kind).unwrap().id;
    let form = [("name", kind), ("receiver", id), ("severity", "warning"), ("resolve_after_minutes", "15")];
    let page = house.form("/alerts", cookie, &form).await;
    assert_eq!(page.status, 303, "{}", page.text);
}

#[tokio::test]
async fn one_outage_is_one_alert_with_its_cause_to_every_kind_of_receiver() {
    let seed = 11;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (store, kept) = empty_store().await;
    keep(&*store, &mut random, -HISTORY, 0, None).await;
    let (http, mut got) = receivers().await;
    let (smtp, mut mail) = mail_server().await;
    let user = Some(("greenroom".to_owned(), "secret".to_owned()));
    let mailer = Mailer::new(&format!("smtp://{smtp}"), "Greenroom <greenroom@example.org>", user).unwrap();
    let gate = Gate { allow_private_webhooks: true, mail: Some(mailer), ..Gate::default() };
    let house = House::with_gate(store.clone(), kept, gate);
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let reader = house.sign_in(Tenant::FIRST, "sam", Role::SupportNoPii).await;
    let key = house.key_for(Tenant::FIRST, KeyUse::Read).await;
    assert!(house.get("/alerts", &admin).await.text.contains("No rule yet"));
    rule(&house, &admin, "alerts", &format!("http://{http}/signed")).await;
    rule(&house, &admin, "slack", &format!("http://{http}/slack")).await;
    rule(&house, &admin, "alertmanager", &format!("http://{http}/api/v2/alerts")).await;
    rule(&house, &admin, "mail", "mailto:oncall@example.org").await;
    let quiet = [("why", "cables"), ("site", "Lyon"), ("day", "now"), ("hours", "48")];
    assert_eq!(house.form("/alerts/silences", &admin, &quiet).await.status, 303);
    assert_eq!(house.get("/alerts", &reader).await.status, 403);

    // Rules as data, for admins alone.
    let receiver = store.webhooks(Tenant::FIRST).await.unwrap()[0].id.clone();
    let put = |cookie: String, body: Value| {
        let request = axum::http::Request::put("/api/v1/alerts/rules/by-api")
            .header("cookie", cookie)
            .header("content-type", "application/json")
            .body(axum::body::Body::from(body.to_string()))
            .unwrap();
        house.ask(request)
    };
    let rule = json!({ "name": "never", "match": { "site": "Oslo" }, "receivers": [receiver] });
    assert_eq!(put(reader.clone(), rule.clone()).await.status, 403);
    assert_eq!(put(String::new(), rule.clone()).await.status, 401);
    let unknown = put(admin.clone(), json!({ "name": "never", "receivers": ["nobody"] })).await;
    assert_eq!((unknown.status, &unknown.json()["errors"][0]["pointer"]), (422, &json!("/receivers")));
    assert_eq!(put(admin.clone(), rule.clone()).await.status, 204);
    assert_eq!(store.alert_rules(Tenant::FIRST).await.unwrap().len(), 5);

    // Berlin gets worse.
    keep(&*store, &mut random, 0, 6, Some("Berlin")).await;
    house.pass(SignedDuration::from_mins(33));
    let found = until(&house, &key, "an incident", |found| !found.is_empty()).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((&found[0]["scope"], &found[0]["site"]), (&json!("site"), &json!("Berlin")), "{found:#?}");
    assert_eq!((&found[0]["agents"], &found[0]["of_agents"]), (&json!(6), &json!(6)));
    assert_eq!(found[0]["place"], "local_network");
    let since: Timestamp = found[0]["since"].as_str().unwrap().parse().unwrap();
    assert!(since.duration_since(at(0)).abs() <= SignedDuration::from_mins(5), "{since}");
    let mut paths = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (path, id, body) = next(&mut got).await;
        assert!(body.to_string().contains("Berlin") && body.to_string().contains("local network"), "{body}");
        ids.extend(id);
        paths.push(path);
    }
    paths.sort();
    assert_eq!(paths, ["/api/v2/alerts", "/signed", "/slack"]);
    assert_eq!(ids.len(), 1, "the signed one has an id");
    let (to, message) = next(&mut mail).await;
    assert!(to.contains("<oncall@example.org>"), "{to}");
    assert!(message.contains("Subject: [Greenroom] warning: Site Berlin"), "{message}");

    // Who may see what.
    let incident = format!("/incidents/{}", found[0]["id"].as_str().unwrap());
    let page = house.get(&incident, &reader).await.text;
    assert!(page.contains("got worse since") && page.contains("As a table"), "{page}");
    assert!(!page.contains(">b0<") && house.get(&incident, &admin).await.text.contains(">b0<"));
    assert!(house.get("/fleet", &reader).await.text.contains("Site Berlin"));
    let metrics = house.key_for(Tenant::FIRST, KeyUse::Metrics).await;
    let request = axum::http::Request::get("/metrics").header("authorization", format!("Bearer {metrics}"));
    let told = house.ask(request.body(axum::body::Body::empty()).unwrap()).await.text;
    assert!(told.contains("greenroom_incidents_open{scope=\"site\"} 1\n"), "{told}");

    // It is over, and Lyon gets worse, of which nobody is told.
    keep(&*store, &mut random, 6, 8, None).await;
    keep(&*store, &mut random, 8, 26, Some("Lyon")).await;
    house.pass(SignedDuration::from_mins(100));
    let found =
        until(&house, &key, "its end", |found| found.len() == 2 && found.iter().any(|it| it.over.is_some()))
            .await;
    assert_eq!(found.len(), 2, "{found:#?}");
    let mut states = Vec::new();
    for _ in 0..3 {
        let (path, id, body) = next(&mut got).await;
        assert!(body.to_string().contains("Berlin"), "{body}");
        if path == "/signed" {
            assert_ne!(id, ids.first().cloned());
            states.push(body["type"].clone());
        }
    }
    assert_eq!(states, ["alert.resolved"]);
    assert!(next(&mut mail).await.1.contains("Subject: [Greenroom] over: Site Berlin"));

    // After a new start all is as it was, and nothing is told again.
    house.state.stop().await;
    let before = store.incidents(Tenant::FIRST, false, None, 100).await.unwrap();
    // Later than the turn of who was before lasts.
    let time = at(26).checked_add(SignedDuration::from_mins(6)).unwrap();
    let mut keeper = Keeper::new(store.clone(), Clock::from_fn(move || time), "http://127.0.0.1:8080");
    while keeper.round().await.unwrap() {}
    let after = store.incidents(Tenant::FIRST, false, None, 100).await.unwrap();
    assert_eq!(
        before.iter().map(|it| it.id).collect::<Vec<_>>(),
        after.iter().map(|it| it.id).collect::<Vec<_>>()
    );
    assert!(got.try_recv().is_err() && mail.try_recv().is_err());
    for webhook in store.webhooks(Tenant::FIRST).await.unwrap() {
        let told = store.deliveries(Tenant::FIRST, &webhook.id, 100).await.unwrap();
        assert_eq!(told.len(), 2, "{}: {told:#?}", webhook.name);
    }
}

#[tokio::test]
async fn a_turn_is_one_node_s_and_an_interval_is_taken_in_once() {
    let (store, _kept) = empty_store().await;
    let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let take = |who: Uuid, from: i64| {
        let store = Arc::clone(&store);
        async move { store.take_turn("x", who, at(from), at(from + 1)).await.unwrap() }
    };
    assert!(take(one, 0).await);
    assert!(!take(other, 0).await && take(one, 1).await, "it is kept");
    assert!(!take(other, 1).await);
    assert!(take(other, 3).await, "it ended");
    assert!(!take(one, 3).await);

    let to = |taken| Detector { taken, knows: Knows::default() };
    let advance = |from: Option<i64>, taken: i64| {
        let store = Arc::clone(&store);
        async move { store.advance(Tenant::FIRST, from, &to(taken), &[]).await.unwrap() }
    };
    assert!(advance(None, 5).await && !advance(None, 5).await);
    assert!(advance(Some(5), 6).await && !advance(Some(5), 6).await);
    assert_eq!(store.detector(Tenant::FIRST).await.unwrap(), Some(to(6)));
}

#[tokio::test]
async fn rules_and_silences_are_a_tenant_s_own() {
    let (store, _kept) = empty_store().await;
    let other = store.add_tenant("other", now()).await.unwrap();
    let kept = Kept {
        tenant: Tenant::FIRST,
        id: "r1".to_owned(),
        author: "ann".to_owned(),
        created: now(),
        says: json!({ "name": "on call" }),
    };
    store.put_alert_rule(&kept).await.unwrap();
    store.put_silence(&kept).await.unwrap();
    assert_eq!(store.alert_rules(Tenant::FIRST).await.unwrap(), std::slice::from_ref(&kept));
    assert_eq!(store.silences(Tenant::FIRST).await.unwrap(), [kept]);
    assert!(
        store.alert_rules(other).await.unwrap().is_empty() && store.silences(other).await.unwrap().is_empty()
    );
    assert!(
        !store.remove_alert_rule(other, "r1").await.unwrap()
            && !store.remove_silence(other, "r1").await.unwrap()
    );
    let alert = Alert {
        tenant: Tenant::FIRST,
        rule: "r1".to_owned(),
        incident: Uuid::from_u128(9),
        over: None,
        sent: [("w1".to_owned(), 2)].into(),
        fired: now(),
    };
    store.put_alert(&alert).await.unwrap();
    assert_eq!(store.alerts(Tenant::FIRST).await.unwrap(), std::slice::from_ref(&alert));
    let over = Alert { over: Some(now()), ..alert };
    store.put_alert(&over).await.unwrap();
    assert!(store.alerts(Tenant::FIRST).await.unwrap().is_empty());
    assert_eq!(store.alerts_of(Tenant::FIRST, Uuid::from_u128(9)).await.unwrap(), [over]);
    assert!(store.remove_alert_rule(Tenant::FIRST, "r1").await.unwrap());
    assert!(store.alerts_of(Tenant::FIRST, Uuid::from_u128(9)).await.unwrap().is_empty());
}
