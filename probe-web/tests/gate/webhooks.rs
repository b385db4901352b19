//! Webhooks: told of changed verdicts, signed, at least once, and nowhere that they should not go.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use greenroom_reports::schema::{Report, State};
use greenroom_web::Gate;
use greenroom_web::outbound::{Outbound, Resolver};
use greenroom_web::store::*;
use jiff::SignedDuration;
use ring::hmac;
use serde_json::Value;
use tokio::sync::mpsc;

use super::house;
use super::house::{House, report};
use super::testing;

/// What a receiver got.
#[derive(Debug, Clone)]
struct Got {
    id: String,
    at: i64,
    signature: String,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// As a receiver does it.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let tag = STANDARD.decode(self.signature.strip_prefix("v1,").unwrap()).unwrap();
        let text = format!("{}.{}.{}", self.id, self.at, self.body);
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes(), &tag).is_ok()
    }
}

/// A receiver, which answers as it is told.
struct Receiver {
    at: SocketAddr,
    status: Arc<AtomicU16>,
    got: mpsc::UnboundedReceiver<Got>,
    elsewhere: Arc<Mutex<u32>>,
}

type Inside = (Arc<AtomicU16>, mpsc::UnboundedSender<Got>, Arc<Mutex<u32>>);

impl Receiver {
    async fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test is a server, too")]
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (sender, got) = mpsc::unbounded_channel();
        let (status, elsewhere) = (Arc::new(AtomicU16::new(204)), Arc::default());
        let receiver = Self { at: listener.local_addr().unwrap(), status, got, elsewhere };
        let inside: Inside = (Arc::clone(&receiver.status), sender, Arc::clone(&receiver.elsewhere));
        let app = Router::new()
            .route("/hook", post(take))
            .route(
                "/elsewhere",
                post(|Shared(inside): Shared<Inside>| async move { *inside.2.lock().unwrap() += 1 }),
            )
            .with_state(inside);
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.at)
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The next message; it comes, or the test fails.
    async fn next(&mut self) -> Got {
        tokio::time::timeout(Duration::from_secs(120), self.got.recv())
            .await
            .expect("a message comes")
            .unwrap()
    }
}

async fn take(Shared((status, got, _)): Shared<Inside>, headers: HeaderMap, body: String) -> Response {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let at = text("webhook-timestamp").parse().unwrap();
    got.send(Got { id: text("webhook-id"), at, signature: text("webhook-signature"), body }).unwrap();
    let status = StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap();
    (status, [(header::LOCATION, "/elsewhere")], "a secret of the receiver's").into_response()
}

async fn open_house() -> House {
    House::behind(Gate { allow_private_webhooks: true, ..Gate::default() }).await
}

/// Makes a webhook; its id and its secret as the page shows it.
async fn webhook(house: &House, cookie: &str, url: &str, personal: bool) -> (String, String) {
    let mut form = vec![("name", "on call"), ("url", url)];
    form.extend(personal.then_some(("personal", "yes")));
    let page = house.form("/webhooks", cookie, &form).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let secret = page.text.split("whsec_").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let id = page.text.split("href=\"/webhooks/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    (id, format!("whsec_{secret}"))
}

fn judged(n: u64, person: &str, overall: State) -> Report {
    let mut report = report(n, person);
    report.verdict.overall = overall;
    report
}

async fn send(house: &House, key: &str, n: u64, person: &str, overall: State) {
    let answer = house.send(key, &judged(n, person, overall)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

/// Waits until a page says something.
async fn until_it_says(house: &House, path: &str, cookie: &str, words: &str) -> String {
    let wait = async {
        loop {
            let page = house.get(path, cookie).await.text;
            if page.contains(words) {
                return page;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), wait)
        .await
        .unwrap_or_else(|_| panic!("{path} never says {words}"))
}

#[tokio::test]
async fn a_changed_verdict_is_told_and_nothing_else_is() {
    let (house, mut receiver) = (open_house().await, Receiver::start().await);
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let key = house.key(Tenant::FIRST).await;
    let (id, secret) = webhook(&house, &admin, &receiver.url(), false).await;
    send(&house, &key, 1, "Ada", State::Ready).await;
    send(&house, &key, 2, "Bob", State::Blocked).await;
    send(&house, &key, 3, "Ada", State::Ready).await;
    send(&house, &key, 4, "Ada", State::Blocked).await;
    send(&house, &key, 4, "Ada", State::Blocked).await;
    let first = receiver.next().await;
    send(&house, &key, 5, "Bob", State::Blocked).await;
    send(&house, &key, 6, "Ada", State::Ready).await;
    let second = receiver.next().await;
    let told = first.json();
    assert_eq!(
        (&told["type"], &told["data"]["verdict"]),
        (&"verdict.changed".into(), &"blocked".into()),
        "{told}"
    );
    assert_eq!(told["data"]["before"]["verdict"], "ready");
    assert_eq!(told["data"]["before"]["id"], testing::id(3).to_string());
    assert_eq!(told["data"]["report"]["id"], testing::id(4).to_string());
    assert_eq!(told["data"]["report"]["url"], format!("http://127.0.0.1:8080/reports/{}", testing::id(4)));
    assert_eq!(second.json()["data"]["verdict"], "ready");
    assert_eq!(second.json()["data"]["series"], told["data"]["series"], "receivers tell series apart");
    for got in [&first, &second] {
        assert!(got.is_signed_with(&secret), "{got:?}");
        assert!(got.id.starts_with("msg_") && got.id.len() == 36, "{got:?}");
        assert!(!got.body.contains("Ada") && !got.body.contains("person"), "{}", got.body);
    }
    assert_ne!(first.id, second.id);
    let page = until_it_says(&house, &format!("/webhooks/{id}"), &admin, "blocked → ready").await;
    assert!(page.contains("ready → blocked") && !page.contains("a secret of the receiver"), "{page}");
    assert!(!house.get("/webhooks", &admin).await.text.contains("whsec_"), "shown once");
    house.state.stop().await;
    assert!(receiver.got.try_recv().is_err(), "two changes, two messages");
}

#[tokio::test]
async fn persons_are_named_where_that_was_asked_for_and_old_reports_are_no_news() {
    let (house, mut receiver) = (open_house().await, Receiver::start().await);
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let key = house.key(Tenant::FIRST).await;
    webhook(&house, &admin, &receiver.url(), true).await;
    let old = |n: u64, overall| {
        let mut old = judged(n, "Zoe", overall);
        old.started = old.started.checked_sub(SignedDuration::from_hours(48)).unwrap();
        old
    };
    for old in [old(1, State::Ready), old(2, State::Blocked)] {
        assert_eq!(house.send(&key, &old).await.status, 202);
    }
    send(&house, &key, 3, "Ada", State::Ready).await;
    send(&house, &key, 4, "Ada", State::Degraded).await;
    let told = receiver.next().await.json();
    assert_eq!(told["data"]["person"], "Ada", "{told}");
}

#[tokio::test]
async fn a_receiver_that_is_down_gets_the_same_message_when_it_is_back() {
    let (house, mut receiver) = (open_house().await, Receiver::start().await);
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let key = house.key(Tenant::FIRST).await;
    let (id, secret) = webhook(&house, &admin, &receiver.url(), false).await;
    receiver.answers(503);
    send(&house, &key, 1, "Ada", State::Ready).await;
    send(&house, &key, 2, "Ada", State::Blocked).await;
    let first = receiver.next().await;
    let path = format!("/webhooks/{id}");
    until_it_says(&house, &path, &admin, "503").await;
    receiver.answers(200);
    house.pass(SignedDuration::from_secs(6));
    let again = receiver.next().await;
    assert_eq!((&again.id, &again.body), (&first.id, &first.body), "a receiver knows it by its id");
    assert_eq!(again.at, first.at + 6);
    assert!(again.is_signed_with(&secret));
    until_it_says(&house, &path, &admin, "delivered").await;
}

#[tokio::test]
async fn a_message_is_given_up_after_days_and_sent_again_by_hand() {
    let (house, mut receiver) = (open_house().await, Receiver::start().await);
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let (id, _) = webhook(&house, &admin, &receiver.url(), false).await;
    let path = format!("/webhooks/{id}");
    receiver.answers(500);
    assert_eq!(house.form(&path, &admin, &[("do", "try")]).await.status, 303);
    let first = receiver.next().await;
    assert_eq!(first.json()["type"], "test");
    for tries in 1..10 {
        // Settled before its time passes. The session would end with the days.
        let settled = async {
            loop {
                let message = house.store.deliveries(Tenant::FIRST, &id, 1).await.unwrap().remove(0);
                if message.tries == tries
                    && message.answer.as_deref() == Some("500")
                    && message.due > house.state.clock.now()
                {
                    let wait = message.due.duration_since(house.state.clock.now());
                    // The claim that a message is being sent looks alike, for less than half a minute.
                    if !(6..=25).contains(&wait.as_secs()) {
                        return;
                    }
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), settled).await.expect("it is settled");
        house.pass(SignedDuration::from_hours(25));
        assert_eq!(receiver.next().await.id, first.id, "try {tries}");
    }
    let given_up = async {
        loop {
            let message = house.store.deliveries(Tenant::FIRST, &id, 1).await.unwrap().remove(0);
            if message.state == DeliveryState::GivenUp {
                return message;
            }
            tokio::task::yield_now().await;
        }
    };
    let message = tokio::time::timeout(Duration::from_secs(120), given_up).await.expect("it is given up");
    assert_eq!(message.tries, 10);
    let admin = house.form("/login", "", &[("name", "ann"), ("password", house::PASSWORD)]).await.cookie();
    receiver.answers(200);
    let again = house.form(&format!("{path}/messages/{}", message.id), &admin, &[]).await;
    assert_eq!(again.status, 303, "{}", again.text);
    assert_eq!(receiver.next().await.id, first.id);
    until_it_says(&house, &path, &admin, "delivered").await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_who_is_gone_is_left_alone() {
    let (house, mut receiver) = (open_house().await, Receiver::start().await);
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let (id, _) = webhook(&house, &admin, &receiver.url(), false).await;
    let path = format!("/webhooks/{id}");
    receiver.answers(307);
    house.form(&path, &admin, &[("do", "try")]).await;
    receiver.next().await;
    until_it_says(&house, &path, &admin, "redirects, which is not followed").await;
    assert_eq!(*receiver.elsewhere.lock().unwrap(), 0);
    receiver.answers(410);
    house.form(&path, &admin, &[("do", "try")]).await;
    receiver.next().await;
    until_it_says(&house, &path, &admin, "paused <time").await;
    receiver.answers(200);
    assert_eq!(house.form(&path, &admin, &[("do", "resume")]).await.status, 303);
    house.pass(SignedDuration::from_mins(1));
    receiver.next().await;
}

#[tokio::test]
async fn what_leads_inside_is_not_asked() {
    let mut receiver = Receiver::start().await;
    let inside = receiver.at;
    // A name of the outside that its owner has lead to this computer.
    let resolver: Resolver = Arc::new(move |_, _| Box::pin(async move { Ok(vec![inside]) }));
    let house = House::behind(Gate { outbound: Outbound::resolving(resolver), ..Gate::default() }).await;
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    for url in [
        "http://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/",
        "http://hooks.example/",
        "ftp://hooks.example/",
        "https://u:p@hooks.example/",
        "",
    ] {
        let refused = house.form("/webhooks", &admin, &[("name", "x"), ("url", url)]).await;
        assert_eq!(refused.status, 422, "{url}");
        assert!(refused.text.contains("The address cannot be used"), "{url}");
    }
    let (id, _) = webhook(&house, &admin, "https://hooks.example/hook", false).await;
    let path = format!("/webhooks/{id}");
    house.form(&path, &admin, &[("do", "try")]).await;
    until_it_says(&house, &path, &admin, "127.0.0.1 is a private address").await;
    assert!(receiver.got.try_recv().is_err());
}

#[tokio::test]
async fn a_new_secret_makes_the_one_before_worthless() {
    let (house, mut receiver) = (open_house().await, Receiver::start().await);
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let (id, old) = webhook(&house, &admin, &receiver.url(), false).await;
    let page = house.form(&format!("/webhooks/{id}"), &admin, &[("do", "secret")]).await;
    let new = page.text.split("whsec_").nth(1).unwrap().split('<').next().unwrap();
    house.form(&format!("/webhooks/{id}"), &admin, &[("do", "try")]).await;
    let got = receiver.next().await;
    assert!(got.is_signed_with(&format!("whsec_{new}")) && !got.is_signed_with(&old));
}

#[tokio::test]
async fn webhooks_are_for_admins_and_each_tenant_s_own() {
    let (house, mut receiver) = (open_house().await, Receiver::start().await);
    let admin = house.sign_in(Tenant::FIRST, "ann", Role::Admin).await;
    let support = house.sign_in(Tenant::FIRST, "sam", Role::Support).await;
    let other = house.store.add_tenant("Acme", house::now()).await.unwrap();
    let theirs = house.sign_in(other, "zed", Role::Admin).await;
    let (id, secret) = webhook(&house, &admin, &receiver.url(), false).await;
    let path = format!("/webhooks/{id}");
    for path in ["/webhooks", &path] {
        assert_eq!(house.get(path, &support).await.status, 403, "{path}");
        assert_eq!(house.get(path, "").await.status, 303, "{path}");
    }
    assert_eq!(house.get(&path, &theirs).await.status, 404);
    for what in ["pause", "remove", "secret", "try"] {
        assert_eq!(house.form(&path, &theirs, &[("do", what)]).await.status, 404, "{what}");
    }
    let nil = "00000000-0000-0000-0000-000000000000";
    assert_eq!(house.form(&format!("{path}/messages/{nil}"), &theirs, &[]).await.status, 404);
    let key = house.key(other).await;
    send(&house, &key, 1, "Eve", State::Ready).await;
    send(&house, &key, 2, "Eve", State::Blocked).await;
    let mine = house.key(Tenant::FIRST).await;
    send(&house, &mine, 3, "Ada", State::Ready).await;
    send(&house, &mine, 4, "Ada", State::Blocked).await;
    let got = receiver.next().await;
    assert!(got.is_signed_with(&secret));
    assert_eq!(
        got.json()["data"]["report"]["id"],
        testing::id(4).to_string(),
        "another tenant's is not told"
    );
    let bad = house.form(&path, &admin, &[("do", "explode")]).await;
    assert_eq!(bad.status, 404);
    assert_eq!(house.form(&path, &admin, &[("do", "remove")]).await.location(), "/webhooks");
    assert_eq!(house.get(&path, &admin).await.status, 404);
}
