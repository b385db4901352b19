//! Ten thousand requests of somebody who means ill: bodies that were fuzzed, bombs, forged cookies and keys, ids and links of another
//! tenant, links that are over. Nothing breaks, nothing leaks, memory stays bounded. A seed makes them; it is printed, and
//! `GREENROOM_SEED` makes the same ones again.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "house/mod.rs"]
mod house;
#[path = "../src/testing.rs"]
mod testing;

use std::io::Write as _;

use axum::body::Body;
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HOST, IF_NONE_MATCH, ORIGIN,
};
use axum::http::{HeaderName, HeaderValue, Method, Request};
use flate2::Compression;
use flate2::write::GzEncoder;
use greenroom_web::store::*;
use house::{House, now, report};
use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

const REQUESTS: usize = 10_000;

/// A person of the other tenant, whom no answer may name.
const HIDDEN: &str = "Zenobia";

/// Most memory that the whole attack may take besides what the process had, in KiB: the bounds of some bodies at once.
const MEMORY_KIB: u64 = 192 << 10;

/// What somebody knows who wants in: addresses, keys that are good for little, ids that are another's.
struct Attacker {
    random: StdRng,
    paths: Vec<String>,
    keys: Vec<String>,
    cookies: Vec<String>,
    bodies: Vec<Vec<u8>>,
}

impl Attacker {
    /// Some come as far as they can, each in its way; some are wrong from the first line on.
    fn request(&mut self) -> Request<Body> {
        match self.random.random_range(0..10) {
            0..4 => self.report(),
            4..6 => self.read(),
            6..8 => self.form(),
            _ => self.anything(),
        }
    }

    /// A report, or what is sent as one, with a key that is good.
    fn report(&mut self) -> Request<Body> {
        let path = if self.random.random_bool(0.8) { "/api/v1/reports" } else { "/api/v1/runs" };
        let (body, packing) = self.body();
        let packing = if self.random.random_bool(0.95) { packing } else { "br" };
        Request::post(path)
            .header(AUTHORIZATION, format!("Bearer {}", self.keys[0]))
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_ENCODING, packing)
            .body(Body::from(body))
            .unwrap()
    }

    /// A page or an answer, with a key or a session that is good.
    fn read(&mut self) -> Request<Body> {
        let path = self.path();
        let request = match self.random.random_bool(0.5) {
            true => Request::get(path).header(AUTHORIZATION, format!("Bearer {}", self.keys[1])),
            false => Request::get(path).header(COOKIE, &self.cookies[0]),
        };
        request.body(Body::empty()).unwrap()
    }

    /// A form of this site, of somebody who may do little.
    fn form(&mut self) -> Request<Body> {
        let mut words = b"name=eve&password=correct+horse+battery&role=admin&days=1&ticket=T&words=x&good_for=read_personal".to_vec();
        if self.random.random_bool(0.7) {
            self.bend(&mut words);
        }
        Request::post(self.path())
            .header(COOKIE, &self.cookies[0])
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .body(Body::from(words))
            .unwrap()
    }

    fn anything(&mut self) -> Request<Body> {
        let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS];
        let method = self.one(&methods);
        let path = self.path();
        let body = if method == Method::GET { Vec::new() } else { self.body().0 };
        let mut request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
        for name in
            [AUTHORIZATION, COOKIE, CONTENT_TYPE, CONTENT_ENCODING, ACCEPT, ORIGIN, HOST, IF_NONE_MATCH]
        {
            if self.random.random_bool(0.6) {
                let value = self.header(&name);
                request.headers_mut().append(name, value);
            }
        }
        if self.random.random_bool(0.3) {
            let site = self.one(&["same-origin", "cross-site", "none", "x"]);
            request.headers_mut().insert("sec-fetch-site", HeaderValue::from_static(site));
        }
        request
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of.choose(&mut self.random).unwrap().clone()
    }

    fn path(&mut self) -> String {
        let paths = self.paths.clone();
        let mut path = self.one(&paths);
        if self.random.random_bool(0.3) {
            let more = [
                "?after=%00",
                "?limit=-1",
                "?q='--",
                "?person=Ada",
                "?range=%FF",
                "?from=9999999999999",
                "/../..",
                "/%2e%2e/",
                "?site=%F0%9F%92%A9",
            ];
            path.push_str(self.one(&more));
        }
        path
    }

    fn header(&mut self, name: &HeaderName) -> HeaderValue {
        let text = match *name {
            AUTHORIZATION => {
                let keys = self.keys.clone();
                let key = self.one(&keys);
                format!("{} {}", self.one(&["Bearer", "bearer", "Basic"]), self.bent(key.into_bytes()))
            }
            COOKIE => {
                let cookies = self.cookies.clone();
                let cookie = self.one(&cookies);
                self.bent(cookie.into_bytes())
            }
            CONTENT_TYPE => self
                .one(&["application/json", "application/x-www-form-urlencoded", "text/html", "a/b; c"])
                .into(),
            CONTENT_ENCODING => self.one(&["gzip", "zstd", "identity", "br", "gzip, gzip"]).into(),
            ORIGIN => self.one(&["http://127.0.0.1:8080", "https://evil.example", "null"]).into(),
            _ => self.one(&["*/*", "text/html", "127.0.0.1:8080", "\"x\"", "*"]).into(),
        };
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("x"))
    }

    /// Text as it was, or with some of it changed.
    fn bent(&mut self, mut bytes: Vec<u8>) -> String {
        if self.random.random_bool(0.5) {
            self.bend(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect()
    }

    fn bend(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.random.random_range(1..8) {
            if bytes.is_empty() {
                return;
            }
            let at = self.random.random_range(0..bytes.len());
            match self.random.random_range(0..4) {
                0 => bytes[at] ^= 1 << self.random.random_range(0..8),
                1 => bytes.truncate(at),
                2 => {
                    let digits = self.one(&[
                        "-1",
                        "1e999",
                        "18446744073709551616",
                        "null",
                        "\"\\u0000\"",
                        "[[[[",
                        "{}",
                    ]);
                    bytes.splice(at..at, digits.bytes());
                }
                _ => bytes[at] = self.random.next_u32().to_le_bytes()[0],
            }
        }
    }

    /// A body, and how it says to be packed.
    fn body(&mut self) -> (Vec<u8>, &'static str) {
        let bodies = self.bodies.clone();
        let mut body = self.one(&bodies);
        if self.random.random_bool(0.7) {
            self.bend(&mut body);
        }
        match self.random.random_range(0..6) {
            0 => (gzip(&body), "gzip"),
            1 => (zstd::bulk::compress(&body, 1).unwrap(), "zstd"),
            2 => (body, "gzip"),
            3 => (body, "zstd"),
            _ => (body, "identity"),
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The most memory that this process had so far, in KiB. `None` where the system does not tell.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
}

/// A house with two tenants, and what an outsider of the second one could know.
async fn besieged() -> (House, Attacker) {
    let house = House::new().await;
    let other = house.store.add_tenant("other", now()).await.unwrap();
    let (send, hidden) = (house.key(Tenant::FIRST).await, house.key(other).await);
    assert_eq!(house.send(&send, &report(1, "Ada")).await.status, 202);
    assert_eq!(house.send(&hidden, &report(2, HIDDEN)).await.status, 202);
    let read = house.key_for(Tenant::FIRST, KeyUse::ReadPersonal).await;
    let revoked = house.key_for(other, KeyUse::ReadPersonal).await;
    let id = revoked.split('_').nth(1).unwrap();
    assert!(house.store.revoke_key(other, id, now()).await.unwrap());
    let viewer = house.sign_in(Tenant::FIRST, "vic", Role::SupportNoPii).await;
    let gone = house.sign_in(Tenant::FIRST, "ada", Role::Admin).await;
    assert!(house.form("/logout", &gone, &[]).await.status < 400);
    let share = house.sign_in(Tenant::FIRST, "sue", Role::Support).await;
    let made = house.form(&format!("/reports/{}/shares", testing::id(1)), &share, &[("days", "1")]).await;
    let link = &made.text[made.text.find("/s/gs_").unwrap()..];
    let link: String =
        link.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-')).collect();
    // What was shared is over by now, and so is the session of who shared it.
    house.pass(SignedDuration::from_hours(25));
    let viewer_again =
        house.form("/login", "", &[("name", "vic"), ("password", house::PASSWORD)]).await.cookie();
    let mut paths: Vec<String> = [
        "/",
        "/login",
        "/account",
        "/reports",
        "/fleet",
        "/links",
        "/users",
        "/keys",
        "/audit",
        "/incidents",
        "/incidents?before=x",
        "/incidents/00000000-0000-0000-0000-000000000000",
        "/alerts",
        "/alerts/x",
        "/alerts/silences/x/end",
        "/api/v1/incidents?limit=0",
        "/api/v1/alerts",
        "/webhooks",
        "/webhooks/0123456789ab",
        "/webhooks/0123456789ab/messages/00000000-0000-0000-0000-000000000000",
        "/tenants",
        "/login/oidc?next=//evil.example",
        "/login/oidc/callback?state=x&code=y",
        "/login/oidc/out",
        "/api/v1/session?tenant=2",
        "/metrics",
        "/healthz",
        "/readyz",
        "/check",
        "/check/..%2f..%2fetc%2fpasswd",
        "/c/gc_x",
        "/first/x",
        "/nowhere",
        "/assets/greenroom.css",
        "/api/v1/events?x",
        "/api/v1/reports",
        "/api/v1/reports",
        "/api/v1/reports",
        "/api/v1/runs",
        "/api/v1/session",
        "/api/v1/openapi.json",
        "/api/v1/fleet?from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z&step=5m",
        "/keys/x/revoke",
        "/links/x/revoke",
        "/shares/x/revoke",
        "/users/00000000-0000-0000-0000-000000000076",
        "/login?next=//evil.example",
    ]
    .map(str::to_owned)
    .into();
    for n in [1, 2] {
        let id = testing::id(n);
        paths.extend(["", "/json", "/notes", "/shares"].map(|part| format!("/reports/{id}{part}")));
        paths.extend([
            format!("/api/v1/reports/{id}"),
            format!("/reports/{id}/compare/{}", testing::id(3 - n)),
        ]);
    }
    paths.push(link);
    let good = serde_json::to_vec(&report(3, "Eve")).unwrap();
    let bodies = vec![
        good.clone(),
        good,
        b"name=ada&password=x&role=admin&days=1&words=x".to_vec(),
        vec![b'['; 100_000],
        format!("{{\"labels\":{{\"person\":\"{}\"}}}}", "x".repeat(1 << 20)).into_bytes(),
        vec![b' '; 3 << 20],
        gzip(&vec![b' '; 64 << 20]),
        zstd::bulk::compress(&vec![b'0'; 64 << 20], 3).unwrap(),
        Vec::new(),
    ];
    let keys = vec![send, read, revoked, "gr_x_y".into(), "gc_x".into(), "gr_".into(), "x".repeat(9_000)];
    let cookies = vec![
        viewer,
        viewer_again,
        gone,
        share,
        "greenroom=x".into(),
        "greenroom=a; greenroom=b".into(),
        "__Host-greenroom=x".into(),
    ];
    let seed =
        std::env::var("GREENROOM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("GREENROOM_SEED={seed}");
    (house, Attacker { random: StdRng::seed_from_u64(seed), paths, keys, cookies, bodies })
}

#[tokio::test]
async fn ten_thousand_hostile_requests_break_nothing_and_learn_nothing() {
    let (house, mut attacker) = besieged().await;
    let before = peak_kib();
    let mut seen = std::collections::BTreeMap::new();
    for n in 0..REQUESTS {
        let request = attacker.request();
        let what = format!("request {n}: {} {} {:?}", request.method(), request.uri(), request.headers());
        let answer = house.app.clone();
        let answer = tower::ServiceExt::oneshot(answer, request).await.unwrap();
        let (status, kind) = (answer.status().as_u16(), answer.headers().get(CONTENT_TYPE).cloned());
        assert!(status < 500 || status == 503, "{what}: {status}");
        *seen.entry(status).or_insert(0_u32) += 1;
        if kind.is_some_and(|kind| kind == "text/event-stream") {
            continue;
        }
        let bytes = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(HIDDEN), "{what}: {text}");
    }
    println!("{seen:?}");
    for status in [200, 202, 303, 400, 401, 403, 404, 405, 410, 413, 415, 422] {
        assert!(seen.contains_key(&status), "the attack never came as far as {status}: {seen:?}");
    }
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        assert!(after - before < MEMORY_KIB, "{before} KiB before, {after} KiB after");
    }
    // All is as it was: the hidden report is there for its own, and nobody became an admin.
    let other = house.key_for(Tenant(2), KeyUse::ReadPersonal).await;
    let request =
        Request::get("/api/v1/reports?person=Zenobia").header(AUTHORIZATION, format!("Bearer {other}"));
    let answer = house.ask(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.json()["reports"].as_array().unwrap().len(), 1, "{}", answer.text);
    let users = house.store.users(Tenant::FIRST).await.unwrap();
    assert_eq!(users.iter().filter(|user| user.role == Some(Role::Admin)).count(), 1, "{users:?}");
}
