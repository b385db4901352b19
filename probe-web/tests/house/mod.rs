//! The whole application with nothing in it, for tests that ask it.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::any::Any;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Request};
use greenroom_reports::schema::Report;
use greenroom_web::auth::{key, password};
use greenroom_web::clock::Clock;
use greenroom_web::store::postgres::{PostgresStore, PostgresUrl};
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::*;
use greenroom_web::{AppState, Config, Gate, app};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::testing;

#[path = "../../../tests/support/postgres.rs"]
pub(crate) mod postgres;

/// An application with nothing in it.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) app: Router,
    pub(crate) state: AppState,
    pub(crate) store: Arc<dyn Store>,
    passed: Arc<Mutex<SignedDuration>>,
    _kept: Arc<dyn Any + Send + Sync>,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }

    /// The session that it sets.
    pub(crate) fn cookie(&self) -> String {
        let line = self.headers[SET_COOKIE].to_str().unwrap();
        line.split(';').next().unwrap().to_owned()
    }
}

/// When tests begin.
pub(crate) fn now() -> Timestamp {
    testing::start().checked_add(SignedDuration::from_hours(24)).unwrap()
}

/// A store with nothing in it, and what must live as long. The tests of a file `NAME_postgres.rs` are those of `NAME.rs` on PostgreSQL.
pub(crate) async fn empty_store() -> (Arc<dyn Store>, Arc<dyn Any + Send + Sync>) {
    if env!("CARGO_CRATE_NAME").ends_with("_postgres") {
        let cluster = postgres::shared();
        let url = PostgresUrl::read(&cluster.database()).unwrap();
        return (Arc::new(PostgresStore::open(&url).await.unwrap()), cluster);
    }
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(SqliteStore::open(folder.path()).await.unwrap()), Arc::new(folder))
}

impl House {
    pub(crate) async fn new() -> Self {
        let (store, kept) = empty_store().await;
        Self::on(store, kept)
    }

    /// An application on a store, and what must live as long.
    pub(crate) fn on(store: Arc<dyn Store>, kept: Arc<dyn Any + Send + Sync>) -> Self {
        Self::with_gate(store, kept, Gate::default())
    }

    /// With nothing in it, which meets others so.
    pub(crate) async fn behind(gate: Gate) -> Self {
        let (store, kept) = empty_store().await;
        Self::with_gate(store, kept, gate)
    }

    pub(crate) fn with_gate(store: Arc<dyn Store>, kept: Arc<dyn Any + Send + Sync>, gate: Gate) -> Self {
        let config = Config { base_url: "http://127.0.0.1:8080".into(), secure: false, keep_days: 30 };
        let passed = Arc::new(Mutex::new(SignedDuration::ZERO));
        let clock = Arc::clone(&passed);
        let time = move || now().checked_add(*clock.lock().unwrap()).unwrap();
        let state = AppState::start_with(config, store.clone(), Clock::from_fn(time), gate);
        Self { app: app(state.clone()), state, store, passed, _kept: kept }
    }

    /// The same with another state.
    pub(crate) fn with_state(self, state: AppState) -> Self {
        Self { app: app(state.clone()), state, ..self }
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: SignedDuration) {
        *self.passed.lock().unwrap() += time;
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let answer = self.app.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(crate) async fn key(&self, tenant: Tenant) -> String {
        self.key_for(tenant, KeyUse::Send).await
    }

    pub(crate) async fn key_for(&self, tenant: Tenant, good_for: KeyUse) -> String {
        let (shown, kept) = key::mint(tenant, "laptops".into(), good_for, now());
        self.store.add_key(&kept).await.unwrap();
        shown
    }

    pub(crate) async fn post(&self, key: &str, body: impl Into<Body>, encoding: Option<&str>) -> Answer {
        let mut request = Request::post("/api/v1/reports")
            .header(AUTHORIZATION, format!("Bearer {key}"))
            .header(CONTENT_TYPE, "application/json");
        if let Some(encoding) = encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        self.ask(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn send(&self, key: &str, report: &Report) -> Answer {
        self.post(key, serde_json::to_vec(report).unwrap(), None).await
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask(Request::get(path).header(COOKIE, cookie).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn form(&self, path: &str, cookie: &str, pairs: &[(&str, &str)]) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(pairs);
        let request = Request::post(path)
            .header(COOKIE, cookie)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        self.ask(request.body(Body::from(form.finish())).unwrap()).await
    }

    /// Somebody who signed in.
    pub(crate) async fn sign_in(&self, tenant: Tenant, name: &str, role: Role) -> String {
        let id = Uuid::from_u128(u128::from(name.as_bytes()[0]));
        let user = User { tenant, id, name: name.into(), role: Some(role), created: now() };
        let password_hash = password::hash(PASSWORD.into()).await.unwrap();
        self.store.add_user(&NewUser { user, password_hash }).await.unwrap();
        let answer = self.form("/login", "", &[("name", name), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        answer.cookie()
    }
}

/// Part of what the golden report says, without the number, whose space does not break on a page.
pub(crate) const SAID: &str = "of what you send is lost on the way";

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A report of somebody.
pub(crate) fn report(n: u64, person: &str) -> Report {
    let mut report = testing::report(n);
    report.labels.insert("person".into(), person.into());
    report
}
