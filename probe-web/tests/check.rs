//! The check page's own part of the application: its files, what a run begins with, and runs as pages, browsers and attackers send them.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use greenroom_reports::schema::{Kind, Place, Report, Source, State};
use greenroom_reports::trace::PhaseKind;
use greenroom_web::check::{Answer, EmbedOrigin, Media, Turn, Unanswered, WebRtc};
use greenroom_web::clock::Clock;
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::{ReportStore as _, Tenant};
use greenroom_web::{AppState, Config, app};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

#[path = "check/echo.rs"]
mod echo;

struct House {
    app: Router,
    store: Arc<SqliteStore>,
    _folder: TempDir,
}

impl House {
    async fn new(with_media: bool) -> Self {
        Self::start(with_media, None, None).await
    }

    async fn start(with_media: bool, web_rtc: Option<WebRtc>, turn: Option<Turn>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path()).await.unwrap());
        let config = Config { base_url: "http://127.0.0.1:8080".into(), secure: false, keep_days: 30 };
        let kept: Arc<SqliteStore> = Arc::clone(&store);
        let clock = Clock::from_fn(|| "2026-11-29T12:00:00Z".parse().unwrap());
        let state = AppState::start(config, kept, clock);
        let named = ["https://app.example"].map(|text| EmbedOrigin::parse(text).unwrap());
        let mut state = if with_media { state.with_embedders(named.to_vec()) } else { state };
        if with_media {
            let url = "https://192.0.2.1:7443/media".to_owned();
            let certificate = Arc::new(|| [0xab; 32]);
            state = state.with_media(Media { url, certificate, fallback: None, web_rtc, turn });
        }
        Self { app: app(state), store, _folder: folder }
    }

    async fn ask(&self, request: Request<Body>) -> (u16, HeaderMap, String) {
        let (status, headers, bytes) = self.octets(request).await;
        (status, headers, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn octets(&self, request: Request<Body>) -> (u16, HeaderMap, Bytes) {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes())
    }

    async fn get(&self, path: &str) -> (u16, HeaderMap, String) {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn session(&self) -> Value {
        serde_json::from_str(&self.get("/api/v1/session").await.2).unwrap()
    }

    async fn send(&self, run: &Value) -> (u16, Value) {
        self.post("/api/v1/runs", run).await
    }

    async fn post(&self, path: &str, run: &Value) -> (u16, Value) {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let (status, _, text) = self.ask(request.body(Body::from(run.to_string())).unwrap()).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    /// A run with the session's grant and these changes.
    async fn changed(&self, change: impl FnOnce(&mut Value)) -> (u16, Value) {
        let mut run = run(self.session().await["run"].as_str().unwrap());
        change(&mut run);
        self.send(&run).await
    }
}

/// Everything well, the connection not tested.
fn run(grant: &str) -> Value {
    let frames: Vec<Value> = (0..60)
        .map(|k| json!({ "at_ms": 200 + k * 50, "mean": 0.4, "spread": 0.2, "white": 0.0, "same": false }))
        .collect();
    json!({
        "run": grant,
        "duration_ms": 6_000.0,
        "browser": { "system": "Linux", "isolated": true, "hidden": 0 },
        "camera": { "label": "Camera", "failure": null, "first_ms": 200, "ran_ms": 3_300.0,
            "given": { "width": 1280, "height": 720, "fps": 20.0 }, "frames": frames },
        "microphone": { "label": "Microphone", "failure": null, "first_ms": 200, "ran_ms": 4_000.0, "rate_hz": 48_000, "channels": [voice()] },
        "speaker": { "label": "Speaker", "outcome": "heard" },
        "network": { "state": "not_tested", "reason": "none" },
    })
}

/// A voice at -20 dBFS, half of the time, in a room of -70.
fn voice() -> Value {
    let speaks = |k: &usize| k % 10 < 5;
    // Nobody speaks evenly.
    let loud = |k: usize| if k.is_multiple_of(2) { 1.5e-2 } else { 4e-3 };
    let frames: Vec<[f64; 2]> = (0..200).map(|k| [0.0, if speaks(&k) { loud(k) } else { 1e-7 }]).collect();
    let windows: Vec<[f64; 3]> =
        (0..120).map(|k| if speaks(&k) { [-20.0, 0.9, 0.2] } else { [-70.0, 0.1, 0.2] }).collect();
    json!({
        "samples": 192_000, "damaged": 0, "sum": 0.0, "squares": 960.0, "least": -0.4, "greatest": 0.4, "product": 0.0,
        "clipped": { "runs": 0, "samples": 0 }, "broken": { "gaps": 0, "gap_samples": 0, "repeats": 0, "repeated_samples": 0 },
        "active": { "squares": 960.0, "above": vec![96_000; 20] }, "frames": frames, "windows": windows,
    })
}

fn report(answer: Value) -> Report {
    serde_json::from_value(answer).unwrap()
}

fn codes(report: &Report) -> Vec<&str> {
    report.verdict.causes.iter().map(|cause| cause.code.as_str()).collect()
}

#[tokio::test]
async fn the_page_is_open_isolated_and_runs_its_own_scripts_alone() {
    let house = House::new(true).await;
    let (status, headers, page) = house.get("/check").await;
    assert_eq!(status, 200);
    assert!(page.contains("<greenroom-check>"), "{page}");
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("connect-src 'self' https://192.0.2.1:7443;"), "{policy}");
    assert_eq!(headers["cross-origin-embedder-policy"], "require-corp");
    assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
    let (status, headers, _) = house.get("/check/greenroom-check.js").await;
    assert_eq!(
        (status, &headers[header::CONTENT_TYPE]),
        (200, &"text/javascript; charset=utf-8".parse().unwrap())
    );
    let worker = house.get("/check/network-worker.js").await.1;
    assert_eq!(worker[header::CONTENT_SECURITY_POLICY].to_str().unwrap(), policy, "a worker has its own");
    assert_eq!(worker["cross-origin-embedder-policy"], "require-corp");
    let again =
        Request::get("/check/greenroom-check.js").header(header::IF_NONE_MATCH, &headers[header::ETAG]);
    let (status, _, body) = house.ask(again.body(Body::empty()).unwrap()).await;
    assert_eq!((status, body.as_str()), (304, ""));
    for nothing in ["/check/index.html", "/check/..%2f..%2fCargo.toml", "/check/none.js"] {
        assert_eq!(house.get(nothing).await.0, 404, "{nothing}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_get_what_the_operator_named_them_for() {
    let house = House::new(true).await;
    let ask = async |method: &str, path: &str, origin: &str, more: &[(&str, &str)]| {
        let request = Request::builder().method(method).uri(path).header("origin", origin);
        let request = more.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        house.ask(request.header("host", "127.0.0.1:8080").body(Body::empty()).unwrap()).await
    };
    let preflight =
        [("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")];
    let (named, own, other) = ("https://app.example", "http://127.0.0.1:8080", "https://evil.example");
    for path in ["/api/v1/session", "/check/greenroom-check.js", "/check/words/de.js"] {
        let (status, headers, _) = ask("GET", path, named, &[]).await;
        let allowed = headers.get("access-control-allow-origin").and_then(|value| value.to_str().ok());
        assert_eq!((status, allowed), (200, Some(named)), "{path}");
        assert!(headers.get_all("vary").iter().any(|value| value == "origin"), "{path}: {headers:?}");
        assert_eq!(headers["cross-origin-resource-policy"], "cross-origin", "{path}");
        let (status, headers, _) = ask("GET", path, own, &[]).await;
        assert_eq!((status, headers.get("access-control-allow-origin")), (200, None), "{path}");
    }
    for path in ["/api/v1/runs", "/api/v1/reports"] {
        let (status, headers, _) = ask("OPTIONS", path, named, &preflight).await;
        assert_eq!(status, 204, "{path}");
        assert_eq!(
            headers["access-control-allow-headers"], "authorization, content-encoding, content-type",
            "{path}"
        );
    }
    for foreign in [other, "null", "https://app.example.evil.example", "http://app.example"] {
        for (method, path) in [
            ("GET", "/api/v1/session"),
            ("OPTIONS", "/api/v1/runs"),
            ("POST", "/api/v1/runs"),
            ("OPTIONS", "/api/v1/reports"),
            ("POST", "/api/v1/reports"),
        ] {
            let (status, headers, body) = ask(method, path, foreign, &preflight).await;
            assert_eq!(
                (status, headers.get("access-control-allow-origin")),
                (403, None),
                "{method} {path} {foreign}"
            );
            assert!(body.contains("foreign-site") && body.contains("--embed-origin"), "{body}");
        }
        let (status, headers, _) = ask("GET", "/check/check.js", foreign, &[]).await;
        assert_eq!((status, headers.get("access-control-allow-origin")), (200, None), "{foreign}");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
    }
    // Nothing else is for other sites, named or not.
    for path in ["/reports", "/api/v1/reports", "/login"] {
        assert_eq!(ask("GET", path, named, &[]).await.1.get("access-control-allow-origin"), None, "{path}");
    }
    let policy = house.get("/check").await.1[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.ends_with("frame-ancestors https://app.example"), "{policy}");
    let nobody = House::new(false).await.get("/check").await.1[header::CONTENT_SECURITY_POLICY].clone();
    assert!(nobody.to_str().unwrap().ends_with("frame-ancestors 'none'"), "{nobody:?}");
}

#[tokio::test]
async fn a_web_socket_begins_where_there_is_an_endpoint_to_take_it() {
    // This house's endpoint takes none; the whole way is tests/check_page.rs.
    assert_eq!(House::new(true).await.get("/check/media").await.0, 404);
}

/// The endpoint is one that answers whoever shows the grant `good`, unless the offer is `odd`.
#[tokio::test]
async fn an_offer_of_a_page_goes_to_the_endpoint_and_its_answer_back() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&ended);
    let answer = |offer: greenroom_web::check::Offer| -> futures_util::future::BoxFuture<'static, _> {
        Box::pin(async move {
            match (offer.grant.as_str(), offer.sdp.as_str()) {
                ("good", "odd") => Err(Unanswered::Offer("not this".to_owned())),
                ("good", sdp) => Ok(Answer { sdp: format!("answer to {sdp}"), id: "c0ffee".to_owned() }),
                ("late", _) => Err(Unanswered::Busy("no room".to_owned())),
                _ => Err(Unanswered::Grant("no grant".to_owned())),
            }
        })
    };
    let web_rtc = WebRtc::new(answer, move |id| heard.lock().unwrap().push(id.to_owned()));
    let house = House::start(true, Some(web_rtc), None).await;
    assert_eq!(house.session().await["media"]["web_rtc"], true);
    let ask = async |origin: &str, kind: &str, grant: &str, body: &[u8]| {
        let request = Request::post("/check/rtc").header("host", "127.0.0.1:8080");
        let request =
            request.header("origin", origin).header("content-type", kind).header("authorization", grant);
        house.ask(request.body(Body::from(body.to_vec())).unwrap()).await
    };
    let (own, named, sdp) = ("http://127.0.0.1:8080", "https://app.example", "application/sdp");
    for origin in [own, named] {
        let (status, headers, body) = ask(origin, sdp, "Bearer good", b"an offer").await;
        assert_eq!((status, body.as_str()), (201, "answer to an offer"));
        assert_eq!(
            (&headers["location"], &headers["content-type"]),
            (&"rtc/c0ffee".parse().unwrap(), &sdp.parse().unwrap())
        );
        let may_read = headers.get("access-control-expose-headers").is_some_and(|value| value == "location");
        assert_eq!(may_read, origin == named, "{headers:?}");
    }
    for (origin, kind, grant, body, status) in [
        ("https://evil.example", sdp, "Bearer good", &b"an offer"[..], 403),
        ("", sdp, "Bearer good", b"an offer", 403),
        (own, "text/plain", "Bearer good", b"an offer", 415),
        (own, sdp, "", b"an offer", 401),
        (own, sdp, "Bearer ", b"an offer", 401),
        (own, sdp, "Bearer bad", b"an offer", 401),
        (own, sdp, "Bearer late", b"an offer", 503),
        (own, sdp, "Bearer good", b"odd", 400),
        (own, sdp, "Bearer good", b"\xff\xfe", 400),
        (own, sdp, "Bearer good", &vec![b'x'; 3 << 20], 413),
    ] {
        assert_eq!(ask(origin, kind, grant, body).await.0, status, "{origin} {kind} {grant} {}", body.len());
    }
    let delete = Request::delete("/check/rtc/c0ffee").body(Body::empty()).unwrap();
    assert_eq!(house.ask(delete).await.0, 204);
    assert_eq!(*ended.lock().unwrap(), ["c0ffee"]);
    let without = House::new(true).await;
    assert_eq!(without.session().await["media"]["web_rtc"], false);
    let request = Request::post("/check/rtc").header("origin", own).body(Body::empty()).unwrap();
    assert_eq!(without.ask(request).await.0, 404);
}

#[tokio::test]
async fn scripts_travel_packed_and_without_comments() {
    let house = House::new(false).await;
    let request = Request::get("/check/check.js").header(header::ACCEPT_ENCODING, "br, gzip");
    let (status, headers, _) = house.ask(request.body(Body::empty()).unwrap()).await;
    assert_eq!((status, &headers[header::CONTENT_ENCODING]), (200, &"gzip".parse().unwrap()));
    let (_, headers, plain) = house.get("/check/check.js").await;
    assert!(headers.get(header::CONTENT_ENCODING).is_none());
    assert!(plain.contains("export class Check") && !plain.contains("/**"), "{plain}");
}

#[tokio::test]
async fn what_a_page_sends_and_what_it_is_answered_travel_packed() {
    let house = House::new(false).await;
    let run = run(house.session().await["run"].as_str().unwrap()).to_string();
    for (path, status) in [("/api/v1/runs/look", 200), ("/api/v1/runs", 201)] {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(run.as_bytes()).unwrap();
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_ENCODING, "gzip")
            .header(header::ACCEPT_ENCODING, "gzip, deflate");
        let answer = house.octets(request.body(Body::from(packed.finish().unwrap())).unwrap()).await;
        assert_eq!((answer.0, &answer.1[header::CONTENT_ENCODING]), (status, &"gzip".parse().unwrap()));
        let mut json = String::new();
        GzDecoder::new(&*answer.2).read_to_string(&mut json).unwrap();
        assert!(json.len() > 3 * answer.2.len(), "{} of {}", answer.2.len(), json.len());
        assert_eq!(report(serde_json::from_str(&json).unwrap()).kind, Kind::Check);
    }
}

#[tokio::test]
async fn a_session_tells_where_to_measure_if_anywhere() {
    let with = House::new(true).await.session().await;
    assert_eq!(with["media"]["url"], "https://192.0.2.1:7443/media");
    assert_eq!(with["media"]["certificate_sha256"], "ab".repeat(32));
    assert!(with["limits"]["sound"]["too_quiet_dbfs"].is_number(), "{with}");
    assert!(with["limits"]["sound"]["clipped_ratio"].is_number(), "{with}");
    assert_eq!(with["media"]["web_socket"], false);
    assert_eq!(with["embedders"], json!(["https://app.example"]));
    assert_eq!(with["network"], Value::Null, "nobody knows from where this is");
    for figure in ["rtt_good_ms", "rtt_limit_ms", "loss_good_ratio", "loss_limit_ratio"] {
        assert!(with["limits"]["connection"][figure].is_number(), "{figure}: {with}");
    }
    assert_eq!(House::new(false).await.session().await["media"], Value::Null);
}

/// An endpoint that pages could come to by WebRTC.
fn web_rtc() -> WebRtc {
    WebRtc::new(|_| Box::pin(async { Err(Unanswered::Busy("no room".to_owned())) }), |_| ())
}

#[tokio::test]
async fn a_session_lets_its_page_use_the_relays_for_some_minutes() {
    let urls = ["turn:relay.example", "turns:relay.example:443"];
    let turn = || Some(Turn::new(urls.map(str::to_owned).to_vec(), "north-by-northwest"));
    let house = House::start(true, Some(web_rtc()), turn()).await;
    let (_, headers, session) = house.get("/api/v1/session").await;
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    assert!(!session.contains("north-by-northwest"), "{session}");
    let session: Value = serde_json::from_str(&session).unwrap();
    let servers = session["ice_servers"].as_array().unwrap();
    assert_eq!(
        servers.iter().map(|server| &server["urls"]).collect::<Vec<_>>(),
        [&json!([urls[0]]), &json!([urls[1]])]
    );
    let until: jiff::Timestamp = "2026-11-29T12:05:00Z".parse().unwrap();
    let begins = format!("{}:", until.as_second());
    assert!(
        servers.iter().all(|server| server["username"].as_str().unwrap().starts_with(&begins)),
        "{session}"
    );
    assert!(servers.iter().all(|server| server["credential"].as_str().unwrap().len() == 28), "{session}");
    assert_eq!(session["media"]["grants"].as_array().unwrap().len(), 4);
    for without in [House::start(true, None, turn()).await, House::start(true, Some(web_rtc()), None).await] {
        let session = without.session().await;
        assert_eq!((&session["ice_servers"], &session["media"]["grants"]), (&json!([]), &json!([])));
    }
}

/// The causes, without what is told of every page's clock.
fn of_the_way(report: &Report) -> Vec<&str> {
    codes(report).into_iter().filter(|code| *code != "no_kernel_timestamps").collect()
}

/// What a page tells of its ways, with these outcomes.
fn relays(ways: &[(&str, u16, &str)]) -> Value {
    let way = |(way, port, outcome): &(&str, u16, &str)| {
        let trips: Vec<Value> = (0..25).map(|k| json!([20_000 * k, 31_000])).collect();
        match *outcome == "works" {
            true => {
                json!({ "way": way, "host": "relay.example", "port": port, "outcome": outcome, "setup_ms": 80.0, "rtt_ms": 31.0, "trips": trips })
            }
            false => {
                json!({ "way": way, "host": "relay.example", "port": port, "outcome": outcome, "setup_ms": null, "rtt_ms": null, "trips": [] })
            }
        }
    };
    json!({ "ways": ways.iter().map(way).collect::<Vec<_>>(), "udp_ports": [7443, 7445] })
}

#[tokio::test]
async fn ways_through_relays_are_told_with_what_is_blocked() {
    let house = House::new(true).await;
    let ask = async |way: &str, ways: &[(&str, u16, &str)]| {
        let told = house.changed(|run| {
            run["network"] = second();
            run["network"]["way"] = json!(way);
            run["network"]["instead"] = json!("unreachable");
            run["relays"] = relays(ways);
        });
        let (status, answer) = told.await;
        assert_eq!(status, 201, "{answer}");
        let hidden = answer["targets"][0]["down"]["loss_ratio"]["state"] == "not_tested";
        assert_eq!(hidden, way != "turn-udp", "{way}");
        assert_eq!(answer["targets"][0]["state"]["transport"], way);
        (answer["targets"][0]["state"]["instead_of_udp"].clone(), report(answer))
    };
    let port = |works: &str| json!({ "code": "udp_port_blocked", "port": 7443, "works": works });
    let udp = |works: &str| json!({ "code": "udp_blocked", "works": works });
    let all = [
        ("turn-udp", 3478, "works"),
        ("turn-tcp", 3478, "works"),
        ("turn-tls", 443, "blocked"),
        ("websocket", 443, "works"),
    ];
    let (instead, found) = ask("turn-udp", &all).await;
    assert_eq!(instead, port("turn-udp/3478"));
    assert_eq!(found.settings.run["connection_blocked_ports"], json!(["udp/7443", "udp/7445", "tcp/443"]));
    assert_eq!(found.settings.run["connection_over_relay"], "unreachable");
    assert_eq!(found.settings.run["connection_ways"].as_array().unwrap().len(), 4);
    assert_eq!(found.targets.len(), 2);
    assert_eq!(found.verdict.overall, State::Degraded);
    assert_eq!(of_the_way(&found), ["udp_port_blocked"]);

    let (instead, found) =
        ask("turn-tls", &[("turn-udp", 3478, "blocked"), ("turn-tls", 443, "works")]).await;
    assert_eq!(instead, udp("turn-tls/443"));
    assert_eq!(found.verdict.overall, State::Degraded);
    assert!(codes(&found).contains(&"relay_without_udp"), "{:?}", codes(&found));

    // One of two ports of the same transport is enough.
    let (_, found) = ask("turn-udp", &[("turn-udp", 3478, "blocked"), ("turn-udp", 443, "works")]).await;
    assert_eq!(of_the_way(&found), ["udp_port_blocked"]);

    // Who says no is reached.
    let (instead, found) =
        ask("websocket", &[("turn-udp", 3478, "credentials"), ("turn-tcp", 3478, "blocked")]).await;
    assert_eq!(instead, port("turn-udp/3478"));
    let refused = found.verdict.causes.iter().find(|cause| cause.code == "relay_user_refused").unwrap();
    assert_eq!((refused.place, refused.target.as_deref()), (Place::Service, Some("turn:relay.example")));
    // What was measured says how a call would be; which relay could not be tried stands beside it.
    assert_eq!(found.verdict.overall, State::Degraded);

    for (outcome, code) in [("nothing_through", "relay_forwards_nothing"), ("declined", "relay_refused")] {
        let (_, found) = ask("websocket", &[("turn-tcp", 3478, outcome)]).await;
        assert!(codes(&found).contains(&code), "{:?}", codes(&found));
    }

    // Where an offer was not answered, no relay was asked.
    let (instead, found) = ask("websocket", &[("turn-udp", 3478, "broke")]).await;
    assert_eq!(instead, udp("https"));
    assert_eq!((found.targets.len(), of_the_way(&found)), (1, vec!["udp_blocked"]));

    // Relays that nothing came back from say no more than the endpoint does.
    let (instead, found) =
        ask("websocket", &[("turn-udp", 3478, "blocked"), ("turn-tcp", 3478, "blocked")]).await;
    assert_eq!(instead, udp("https"));
    assert_eq!((found.targets.len(), of_the_way(&found)), (1, vec!["udp_blocked"]));
}

#[tokio::test]
async fn a_run_becomes_a_report_that_is_kept() {
    let house = House::new(false).await;
    let (status, answer) = house.changed(|_| ()).await;
    assert_eq!(status, 201, "{answer}");
    let report = report(answer);
    assert_eq!(
        (report.tool.source, report.verdict.overall),
        (Source::Browser, State::Ready),
        "{:?}",
        report.verdict
    );
    assert_eq!(report.targets, []);
    assert_eq!(report.started.to_string(), "2026-11-29T11:59:54Z");
    let kept = house.store.raw(Tenant::FIRST, report.id).await.unwrap().unwrap();
    let kept: Report = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept, report);
}

#[tokio::test]
async fn a_grant_lets_one_result_in() {
    let house = House::new(false).await;
    let run = run(house.session().await["run"].as_str().unwrap());
    assert_eq!(house.send(&run).await.0, 201);
    assert_eq!(house.send(&run).await.0, 401);
    assert_eq!(house.changed(|run| run["run"] = json!("forged")).await.0, 401);
}

/// The report of a call as `monitor.js` makes it: tests/browser/monitor.test.mjs wrote it.
const CALL: &str = include_str!("data/call.json");

impl House {
    async fn send_call(&self, bearer: &str, call: &Value) -> (u16, Value) {
        let request = Request::post("/api/v1/reports").header(header::CONTENT_TYPE, "application/json");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        let (status, _, text) = self.ask(request.body(Body::from(call.to_string())).unwrap()).await;
        (status, serde_json::from_str(&text).unwrap())
    }
}

#[tokio::test]
async fn the_report_of_a_call_is_let_in_by_a_session_once() {
    let house = House::new(false).await;
    let call: Value = serde_json::from_str(CALL).unwrap();
    let grant = house.session().await["run"].as_str().unwrap().to_owned();
    let (status, answer) = house.send_call(&grant, &call).await;
    assert_eq!((status, &answer["code"]), (202, &call["code"]), "{answer}");
    let id = call["id"].as_str().unwrap().parse().unwrap();
    let kept = house.store.raw(Tenant::FIRST, id).await.unwrap().unwrap();
    let kept: Report = serde_json::from_slice(&kept).unwrap();
    assert_eq!((kept.kind, kept.parent.is_some()), (Kind::Monitor, true));
    // Neither another report nor a check's result by the same session.
    assert_eq!(house.send_call(&grant, &call).await.0, 401);
    assert_eq!(house.send(&run(&grant)).await.0, 401);
    let other = house.session().await["run"].as_str().unwrap().to_owned();
    assert_eq!(house.send_call(&other, &call).await.1["status"], "duplicate");
    assert_eq!(house.send_call("forged", &call).await.0, 401);
}

#[tokio::test]
async fn a_session_lets_in_no_report_but_of_a_call() {
    let house = House::new(false).await;
    let grant = house.session().await["run"].as_str().unwrap().to_owned();
    let target = |url: &str| {
        let mut call: Value = serde_json::from_str(CALL).unwrap();
        call["targets"][0]["url"] = json!(url);
        call["targets"].clone()
    };
    for (field, value, pointer) in [
        ("kind", json!("check"), "/kind"),
        ("tool", json!({ "name": "x", "version": "1", "source": "cli" }), "/tool/source"),
        ("labels", json!({ "site": "Bern" }), "/labels"),
        ("agent", json!({ "id": "a", "boot": null, "seq": null }), "/agent"),
        ("targets", target("greenroom://fleet.example"), "/targets"),
        ("sketches", json!({ "rtt": "" }), "/trace"),
    ] {
        let mut call: Value = serde_json::from_str(CALL).unwrap();
        call[field] = value;
        let (status, answer) = house.send_call(&grant, &call).await;
        assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!(pointer)), "{answer}");
    }
    // What was refused has not used the session up.
    assert_eq!(house.send_call(&grant, &serde_json::from_str(CALL).unwrap()).await.0, 202);
}

#[tokio::test]
async fn faults_of_devices_are_named_here_by_the_figures() {
    let house = House::new(false).await;
    let named = async |change: &dyn Fn(&mut Value)| {
        let (status, answer) = house.changed(change).await;
        assert_eq!(status, 201, "{answer}");
        let report = report(answer);
        (codes(&report).join(" "), report.verdict.overall)
    };
    let all = |run: &mut Value, name: &str, value: Value| {
        for frame in run["camera"]["frames"].as_array_mut().unwrap() {
            frame[name] = value.clone();
        }
    };
    let (codes, overall) = named(&|run| all(run, "same", json!(true))).await;
    assert_eq!((codes.as_str(), overall), ("camera_frozen", State::Blocked));
    let black = |run: &mut Value| {
        all(run, "mean", json!(0.001));
        all(run, "spread", json!(0.001));
    };
    assert_eq!(named(&black).await, ("camera_black".to_owned(), State::Blocked));
    let silent = |run: &mut Value| {
        let channel = &mut run["microphone"]["channels"][0];
        (channel["least"], channel["greatest"], channel["squares"]) = (json!(0.0), json!(0.0), json!(0.0));
    };
    assert_eq!(named(&silent).await, ("mic_muted_in_software".to_owned(), State::Blocked));
    let nothing = |rate: Value| {
        move |run: &mut Value| {
            run["microphone"]["channels"] = json!([]);
            run["microphone"]["rate_hz"] = rate.clone();
        }
    };
    // A page that was loaded before this server began sends figures that it does not read: nobody's microphone has stalled by that.
    let older = |run: &mut Value| {
        run["microphone"].as_object_mut().unwrap().remove("channels");
        run["microphone"]["levels_dbfs"] = json!([-20.0, -70.0]);
    };
    let (codes, overall) = named(&older).await;
    assert!(!codes.contains("stalled") && overall != State::Blocked, "{codes} {overall:?}");
    assert_eq!(named(&nothing(json!(48_000))).await, ("device_stalled".to_owned(), State::Blocked));
    // A browser that listens by what it plays, and plays nothing: nobody knows of the microphone.
    assert_eq!(named(&nothing(json!(null))).await, ("device_unknown".to_owned(), State::Inconclusive));
    let refused = |run: &mut Value| {
        run["camera"] = json!({ "label": "", "failure": "denied", "ran_ms": 0, "given": null, "frames": [] });
    };
    assert_eq!(named(&refused).await, ("device_permission_browser".to_owned(), State::PermissionDenied));
    let none = |run: &mut Value| {
        run["camera"] =
            json!({ "label": "", "failure": "not_found", "ran_ms": 0, "given": null, "frames": [] });
    };
    assert_eq!(named(&none).await, ("device_not_found".to_owned(), State::Blocked));
    let unheard = |run: &mut Value| run["speaker"]["outcome"] = json!("unheard");
    assert_eq!(named(&unheard).await, ("device_unheard".to_owned(), State::Blocked));
}

#[tokio::test]
async fn what_a_page_tells_besides_has_its_place() {
    let house = House::new(true).await;
    let everything = |run: &mut Value| {
        run["partial"] = json!(true);
        run["devices"] = json!(["microphone", "speaker"]);
        run["camera"] = Value::Null;
        run["speaker"]["echo"] = json!({ "confidence_db": 52.0, "delay_ms": 86.3, "return_db": -21.0 });
        run["screen"] = json!("black");
        run["machine"] = json!({ "cores": 8, "memory_gb": 8, "graphics": "A graphics processor", "software_drawing": false, "clock_step_us": 5.0,
            "can": { "secure_context": true, "web_transport": true },
            "encode": [{ "lines": 720, "codec": "vp8", "hardware": false, "times_real_time": 4.2, "frames": 15 },
                { "lines": 7, "codec": "vp8", "hardware": false, "times_real_time": 4.2, "frames": 15 }] });
    };
    let (status, answer) = house.changed(everything).await;
    assert_eq!(status, 201, "{answer}");
    let report = report(answer);
    assert!(!report.complete);
    assert_eq!(report.verdict.overall, State::Ready, "{:?}", report.verdict);
    let heard = &report.devices.acoustic_loop.channels[0];
    assert_eq!((heard.heard.fact(), heard.delay_ms.measured().unwrap().value), (Some(&true), 86.3));
    let machine = &report.host.machine;
    assert_eq!(machine.processor.measured().unwrap().threads, 8);
    assert_eq!(machine.encode.len(), 1, "a size that nobody asks for");
    assert!(!machine.screen_capture.measured().unwrap().possible);
    assert_eq!(report.settings.run["browser"]["can"]["web_transport"], true);
    assert_eq!(report.settings.run["screen_share"], "black");

    // Loud, and late; and what was too faint to be sure of says nothing.
    let loud = |run: &mut Value| {
        run["speaker"]["echo"] = json!({ "confidence_db": 60.0, "delay_ms": 600.0, "return_db": 3.0 });
    };
    let loud = House::new(false).await.changed(loud).await.1;
    let codes = codes(&self::report(loud)).join(" ");
    assert!(codes.contains("speaker_delay") && codes.contains("speaker_echo"), "{codes}");
    let faint = |run: &mut Value| {
        run["speaker"]["echo"] = json!({ "confidence_db": 30.0, "delay_ms": 600.0, "return_db": 3.0 });
    };
    let faint = self::report(house.changed(faint).await.1);
    assert!(faint.devices.acoustic_loop.channels.is_empty(), "{:?}", faint.devices.acoustic_loop);
}

#[tokio::test]
async fn sizes_and_fine_detail_of_the_camera_count() {
    let house = House::new(false).await;
    let given = |width, height| json!({ "width": width, "height": height, "fps": 30.0 });
    let tried = |run: &mut Value| {
        run["camera"]["sizes"] = json!([
            { "lines": 360, "given": given(640, 360), "came_fps": 29.9 },
            { "lines": 720, "given": given(1280, 720), "came_fps": 20.1 },
            { "lines": 1080, "given": null, "came_fps": null },
        ]);
        run["camera"]["frames"][0]["sharp"] = json!(0.03);
    };
    let fine = report(house.changed(tried).await.1);
    let camera = &fine.devices.cameras[0];
    assert_eq!(camera.formats.fact().unwrap().len(), 2);
    assert_eq!(camera.picture.sharpness.measured().unwrap().value, 0.03);
    assert_eq!(fine.settings.run["camera_sizes"][1]["came_fps"], 20.1);
    let blurred = |run: &mut Value| run["camera"]["frames"][0]["sharp"] = json!(0.001);
    assert_eq!(codes(&report(house.changed(blurred).await.1)), ["camera_blurred"]);
}

#[tokio::test]
async fn over_tcp_delays_are_told_and_losses_are_not() {
    let house = House::new(true).await;
    for (instead, blamed) in [("unreachable", true), ("unsupported", false)] {
        let (status, answer) = house
            .changed(|run| {
                run["network"] = second();
                run["network"]["instead"] = json!(instead);
            })
            .await;
        assert_eq!(status, 201, "{answer}");
        let report = report(answer);
        let target = &report.targets[0];
        assert_eq!(target.state.measured().unwrap().transport, "websocket");
        assert!(target.rtt_ms.measured().is_some());
        assert!([&target.up, &target.down].iter().all(|way| way.loss_ratio.measured().is_none()));
        assert_eq!(codes(&report).contains(&"udp_blocked"), blamed, "{:?}", codes(&report));
        assert_eq!(report.settings.run["connection_over_tcp"], instead);
    }
}

#[tokio::test]
async fn a_check_link_that_is_not_good_lets_nothing_in() {
    let house = House::new(false).await;
    let run = run(house.session().await["run"].as_str().unwrap());
    for shown in [format!("Bearer gc_{}", "x".repeat(43)), "Bearer gr_a_b".to_owned(), "nothing".to_owned()] {
        let request = Request::post("/api/v1/runs").header(header::CONTENT_TYPE, "application/json");
        let request =
            request.header(header::AUTHORIZATION, &shown).body(Body::from(run.to_string())).unwrap();
        assert_eq!(house.ask(request).await.0, 401, "{shown}");
    }
    assert_eq!(house.send(&run).await.0, 201, "none of them used the grant up");
}

#[tokio::test]
async fn a_connection_that_did_not_come_about_has_its_reason() {
    let house = House::new(true).await;
    for (reason, after_ms, code) in [
        ("unreachable", 4_020.0, "udp_blocked"),
        ("unreachable", 8.0, "endpoint_refused"),
        ("refused", 20.0, "endpoint_full"),
        ("broke", 900.0, "endpoint_died"),
    ] {
        let network = json!({ "state": "failed", "reason": reason, "after_ms": after_ms });
        let (status, answer) = house.changed(|run| run["network"] = network).await;
        assert_eq!(status, 201, "{answer}");
        let report = report(answer);
        assert_eq!(codes(&report)[0], code);
        assert_eq!(report.targets[0].url, "greenroom://192.0.2.1:7443");
    }
}

/// Sets a field that may not be there yet.
fn set(run: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match run.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        parent => parent[name] = value,
    }
}

/// A second of audio that all came back after 40 ms; the endpoint's own half did not come.
fn second() -> Value {
    let sent: Vec<Value> = (0..50).map(|k| json!([20_000 * k, 20_000 * k + 100, 212])).collect();
    let received: Vec<Value> = (0..50)
        .map(|k| json!([k, 20_000 * k + 40_100, 212, k, 20_000 * k + 520_000, 20_000 * k + 520_050]))
        .collect();
    json!({ "state": "measured", "setup_ms": 30.0, "planned": 50, "sent": sent, "received": received, "covered_until_us": 3_000_000,
        "complete": true, "corrupt": 0, "stalled_us": 300, "there": [] })
}

/// What a page tells of its way is what the report says; pages of before told less.
#[tokio::test]
async fn a_report_names_the_way_that_was_measured() {
    let house = House::new(true).await;
    for (told, transport, over_tcp, over_webrtc) in [
        (json!({}), "webtransport", None, None),
        (json!({ "instead": "unreachable" }), "websocket", Some("unreachable"), None),
        (json!({ "way": "webtransport", "instead": null }), "webtransport", None, None),
        (json!({ "way": "webrtc", "instead": "unsupported" }), "webrtc", None, Some("unsupported")),
        (
            json!({ "way": "webrtc", "instead": "unreachable", "on_page": true }),
            "webrtc",
            None,
            Some("unreachable"),
        ),
        (json!({ "way": "websocket", "instead": "unsupported" }), "websocket", Some("unsupported"), None),
    ] {
        let (status, answer) = house
            .changed(|run| {
                run["network"] = second();
                for (name, value) in told.as_object().unwrap() {
                    run["network"][name] = value.clone();
                }
            })
            .await;
        assert_eq!(status, 201, "{answer}");
        let target = &answer["targets"][0];
        assert_eq!(target["state"]["transport"], transport, "{told}");
        let hidden = target["down"]["loss_ratio"]["state"] == "not_tested";
        assert_eq!(hidden, transport == "websocket", "{told}: {}", target["down"]["loss_ratio"]);
        let blocked = transport == "websocket" && told["instead"] == "unreachable";
        assert_eq!(target["state"]["instead_of_udp"].is_object(), blocked, "{told}");
        let run = &answer["settings"]["run"];
        assert_eq!(run.get("connection_over_tcp").and_then(Value::as_str), over_tcp, "{told}");
        assert_eq!(run.get("connection_over_webrtc").and_then(Value::as_str), over_webrtc, "{told}");
        assert_eq!(run.get("connection_stamped_by").is_some(), told["on_page"] == true, "{told}");
    }
}

/// Twelve seconds of audio, and the connection filled up and down meanwhile: up a queue stands, and 5 Mbit/s come; down 20, without one.
fn filled() -> Value {
    let trip = |at: i64| if (2_000_000..6_000_000).contains(&at) { 140_000 } else { 40_000 };
    let at = |k: i64| 20_000 * k;
    let sent: Vec<Value> = (0..600).map(|k| json!([at(k), at(k), 212])).collect();
    let received: Vec<Value> =
        (0..600).map(|k| json!([k, at(k) + trip(at(k)), 212, k, at(k) + 500_000, at(k) + 500_050])).collect();
    // Slower at first, as all that looks for its rate.
    let octets = |k: u64, each: u64| (0..k).map(|n| if n < 10 { each / 10 } else { each }).sum::<u64>();
    // Octets of the stream, octets at the IP layer, packets.
    let told = |each: [u64; 3]| {
        let counts = (0..80).flat_map(|k| [50_000 * k].into_iter().chain(each.map(|each| octets(k, each))));
        STANDARD.encode(counts.flat_map(u64::to_be_bytes).collect::<Vec<u8>>())
    };
    let (up, down) = (told([28_000, 31_250, 25]), told([120_000, 125_000, 90]));
    json!({ "state": "measured", "setup_ms": 30.0, "way": "webtransport", "planned": 600, "sent": sent, "received": received,
        "covered_until_us": 13_000_000, "complete": true, "corrupt": 0, "stalled_us": 300, "there": [], "rung": null,
        "load": {
            "up": { "from_us": 2_000_000, "to_us": 6_000_000, "spent": false, "told": up },
            "down": { "from_us": 6_000_000, "to_us": 10_000_000, "spent": false, "told": down },
            "granted_bps": 100_000_000,
        } })
}

#[tokio::test]
async fn how_much_a_connection_carries_is_told_each_way_and_how_much_longer_answers_take() {
    let house = House::new(true).await;
    let (status, answer) = house.changed(|run| run["network"] = filled()).await;
    assert_eq!(status, 201, "{answer}");
    let report = report(answer);
    let target = &report.targets[0];
    let up = target.up.capacity_bps.measured().unwrap();
    assert!((up.value / 5e6 - 1.0).abs() < 0.001 && !up.at_least, "{up:?}");
    let down = target.down.capacity_bps.measured().unwrap();
    assert!((down.value / 20e6 - 1.0).abs() < 0.001 && down.at_least, "{down:?}");
    let longer = target.loaded.saturated_up_ms.measured().unwrap();
    assert!((longer.value - 100.0).abs() < 0.1, "{longer:?}");
    let as_ever = target.loaded.saturated_down_ms.measured().unwrap();
    assert!(as_ever.value.abs() < 0.1, "{as_ever:?}");
    // What was slow while the connection was filled is held against nothing.
    assert!(target.rtt_ms.measured().unwrap().max < 41.0);
    let kinds: Vec<PhaseKind> = target.phases.iter().map(|phase| phase.kind).collect();
    assert_eq!(
        kinds,
        [PhaseKind::Idle, PhaseKind::Capacity, PhaseKind::Settle, PhaseKind::Capacity, PhaseKind::Settle]
    );
}

#[tokio::test]
async fn a_page_that_was_loaded_before_its_server_was_renewed_is_heard() {
    let house = House::new(true).await;
    let older = |run: &mut Value| {
        run["network"] = filled();
        run["network"]["load"]["down"] = json!({ "from_us": 6_000_000, "to_us": 10_000_000, "spent": false,
            "packet": [1_480, 1_424], "counts": [[6_000_000, 0], [6_050_000, 120_000]] });
    };
    let (status, answer) = house.changed(older).await;
    assert_eq!(status, 201, "{answer}");
    let target = &report(answer).targets[0];
    assert!(target.up.capacity_bps.measured().is_some() && target.down.capacity_bps.measured().is_none());
}

#[tokio::test]
async fn a_queue_is_told_by_what_was_before_the_connection_was_filled_at_all() {
    let house = House::new(true).await;
    let queued_both_ways = |run: &mut Value| {
        run["network"] = filled();
        for k in 300..500 {
            run["network"]["received"][k][1] = json!(20_000 * k + 140_000);
        }
    };
    let (status, answer) = house.changed(queued_both_ways).await;
    assert_eq!(status, 201, "{answer}");
    let down = &report(answer).targets[0].down;
    assert!(!down.capacity_bps.measured().unwrap().at_least, "{:?}", down.capacity_bps);
}

#[tokio::test]
async fn a_connection_that_was_not_filled_has_its_reason() {
    let house = House::new(true).await;
    for why in ["save_data", "quick", "way", "late", "stopped", "broke"] {
        let unloaded = |run: &mut Value| {
            run["network"] = second();
            run["network"]["unloaded"] = json!(why);
        };
        let (status, answer) = house.changed(unloaded).await;
        assert_eq!((status, &answer["settings"]["run"]["capacity_not_tested"]), (201, &json!(why)));
        assert_eq!(answer["targets"][0]["up"]["capacity_bps"]["state"], "not_tested");
    }
}

#[tokio::test]
async fn what_fills_no_connection_is_refused() {
    let house = House::new(true).await;
    for (pointer, value) in [
        ("/network/load/up/told", json!("!")),
        ("/network/load/up/told", json!("A".repeat(100_000))),
        ("/network/load/up/told", json!(STANDARD.encode([255; 64]))),
        ("/network/load/up/from_us", json!(i64::MIN)),
        ("/network/load/up/to_us", json!(7_000_000)),
        ("/network/load/down/told", json!("A")),
        ("/network/load/down/told", json!("A".repeat(100_000))),
        ("/network/load/granted_bps", json!(-1)),
        ("/network/rung", json!({ "rate_bps": 1, "from_us": 0, "to_us": 1, "sent": [], "received": [] })),
        (
            "/network/rung",
            json!({ "rate_bps": 1_500_000, "from_us": 0, "to_us": 1, "sent": [[i64::MAX, 0, 0]], "received": [] }),
        ),
        (
            "/network/rung",
            json!({ "rate_bps": 1_500_000, "from_us": 3, "to_us": 1, "sent": [], "received": [] }),
        ),
    ] {
        let change = |run: &mut Value| {
            run["network"] = filled();
            set(run, pointer, value);
        };
        let (status, answer) = house.changed(change).await;
        assert_eq!(status, 422, "{pointer} {answer}");
    }
    // Sums of these do not fit; they are nobody's.
    let extremes = |run: &mut Value| {
        run["network"] = filled();
        run["network"]["load"]["granted_bps"] = json!(u64::MAX);
        let counts = [[0, 0, 0, 0], [1, 0, u64::MAX, 1], [2, 0, u64::MAX, u64::MAX], [3_000_000, 0, 1, 2]]
            .as_flattened();
        let told: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
        run["network"]["load"]["down"]["told"] = json!(STANDARD.encode(told));
        run["network"]["load"]["up"]["told"] = json!(STANDARD.encode([0; 32]));
    };
    let (status, answer) = house.changed(extremes).await;
    assert_eq!(status, 201, "{answer}");
}

#[tokio::test]
async fn a_run_is_looked_at_once_before_its_end_and_nothing_is_kept() {
    let house = House::new(true).await;
    let mut run = run(house.session().await["run"].as_str().unwrap());
    run["network"] = second();
    let (status, first) = house.post("/api/v1/runs/look", &run).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(
        house.get(&format!("/api/v1/reports/{}", first["id"].as_str().unwrap())).await.0,
        401,
        "not for everybody"
    );
    assert_eq!(house.post("/api/v1/runs/look", &run).await.0, 401, "once");
    run["network"] = filled();
    let (status, last) = house.send(&run).await;
    assert_eq!(status, 201, "{last}");
    assert_eq!(
        (&first["id"], &first["code"]),
        (&last["id"], &last["code"]),
        "who joins by the first tells the last one"
    );
    assert_eq!(house.send(&run).await.0, 401, "once");
    let other = house.session().await["run"].as_str().unwrap().to_owned();
    run["run"] = json!(other);
    let (status, another) = house.send(&run).await;
    assert_eq!(status, 201, "{another}");
    assert_ne!(another["id"], last["id"]);
}

#[tokio::test]
async fn what_held_this_computer_up_is_not_the_networks_fault() {
    let house = House::new(true).await;
    let (status, answer) = house.changed(|run| run["network"] = second()).await;
    assert_eq!(status, 201, "{answer}");
    let fine = report(answer);
    let rtt = fine.targets[0].rtt_ms.measured().unwrap().p50;
    assert!((rtt - 39.95).abs() < 0.06, "{rtt}");
    let late = |run: &mut Value| {
        let mut network = second();
        for k in 40..50 {
            network["sent"][k][1] = json!(20_000 * k + 31_000);
        }
        run["network"] = network;
    };
    let stalled = |run: &mut Value| {
        run["network"] = second();
        run["network"]["stalled_us"] = json!(251_000);
    };
    let hidden = |run: &mut Value| {
        run["network"] = second();
        run["browser"]["hidden"] = json!(1);
    };
    for disturbed in [&late as &dyn Fn(&mut Value), &stalled, &hidden] {
        let (status, answer) = house.changed(disturbed).await;
        assert_eq!(status, 201, "{answer}");
        let report = report(answer);
        assert_eq!(codes(&report), ["disturbed"]);
        assert_eq!(report.verdict.overall, State::Inconclusive);
        assert!(report.trace.is_none());
    }
}

#[tokio::test]
async fn what_no_run_has_is_refused() {
    let house = House::new(true).await;
    for (pointer, value) in [
        ("/duration_ms", json!(1e300)),
        ("/camera/label", json!("x".repeat(201))),
        ("/camera/frames/0/mean", json!("bright")),
        ("/camera/frames/0/mean", json!(-7)),
        ("/microphone/channels/0/squares", json!(1e200)),
        ("/microphone/channels/0/frames", json!(vec![[0, 0]; 20_001])),
        ("/microphone/channels/0/windows", json!([[1e39, 0, 0]])),
        ("/microphone/channels", json!(vec![voice(); 65])),
        ("/microphone/channels/0/damaged", json!(u64::MAX)),
        ("/microphone/channels/0/greatest", json!(1e15)),
        ("/microphone/channels/0/samples", json!(u64::MAX)),
        ("/speaker/outcome", json!("perhaps")),
        ("/network", json!({ "state": "measured" })),
        ("/browser/system", json!("a\u{0}b")),
        ("/devices", json!(["camera", "camera", "camera", "camera"])),
        ("/devices", json!(["toaster"])),
        ("/speaker/echo", json!({ "confidence_db": 1e9, "delay_ms": 1.0, "return_db": 0.0 })),
        ("/machine", json!({ "graphics": "x".repeat(201) })),
        (
            "/machine",
            json!({ "encode": vec![json!({ "lines": 720, "codec": "", "hardware": true, "times_real_time": 1.0, "frames": 1 }); 25] }),
        ),
        ("/screen", json!("perhaps")),
        ("/camera/sizes", json!([{ "lines": 720, "given": null, "came_fps": 1e300 }])),
        ("/camera/frames/0/sharp", json!(1e300)),
        ("/relays", json!({ "ways": [], "udp_ports": vec![1; 33] })),
        (
            "/relays",
            json!({ "ways": vec![relays(&[("turn-udp", 1, "blocked")])["ways"][0].clone(); 33], "udp_ports": [] }),
        ),
        ("/relays", relays(&[("turn-sctp", 1, "blocked")])),
        ("/relays", relays(&[("turn-udp", 1, "perhaps")])),
    ] {
        let (status, answer) = house.changed(|run| set(run, pointer, value)).await;
        assert_eq!(status, 422, "{pointer} {answer}");
    }
    for (name, value) in [
        ("host", json!("")),
        ("host", json!("relay.example/<b>")),
        ("rtt_ms", json!(1e300)),
        ("setup_ms", json!(-1)),
        ("trips", json!([[i64::MAX, i64::MAX]])),
        ("trips", json!([[0, -1]])),
        ("trips", json!(vec![[0, 1]; 201])),
    ] {
        let (status, answer) = house
            .changed(|run| {
                run["relays"] = relays(&[("turn-udp", 3478, "works")]);
                run["relays"]["ways"][0][name] = value.clone();
            })
            .await;
        assert_eq!(status, 422, "{name} {value}: {answer}");
    }
    for chunk in ["!", "AAAA", "//////////8="] {
        let (status, answer) = house
            .changed(|run| {
                run["network"] = second();
                run["network"]["there"] = json!([chunk]);
            })
            .await;
        assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/network/there")), "{chunk}");
    }
    let extremes = |run: &mut Value| {
        run["network"] = second();
        run["network"]["sent"][0] = json!([i64::MIN, i64::MAX, 65_535]);
        run["network"]["received"][0] = json!([u32::MAX, i64::MAX, 0, u32::MAX, i64::MIN, i64::MAX]);
    };
    let (status, answer) = house.changed(extremes).await;
    assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/network")));
}
