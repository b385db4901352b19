//! Whole runs against endpoints on loopback: what is measured, and the typed reason for everything that can go wrong.

#![expect(clippy::disallowed_methods, reason = "tests open sockets and look at the time")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use greenroom::check::{Progress, Watch, check, check_watched};
use greenroom::endpoint::{self, Config, Running};
use greenroom::net::fingerprint::Fingerprint;
use greenroom::net::identity::ServerIdentity;
use greenroom::net::url::{EndpointUrl, Host};
use greenroom::net::{tls, ws};
use greenroom::plan::{Against, Plan, Request, Token, Traffic, plan};
use greenroom::proto::admission::{Access, TokenSet};
use greenroom_reports::assess::{Agreement, recompute};
use greenroom_reports::schema::{Identity, Report, State};
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::{Profile, TargetFailure};
use tokio_util::sync::CancellationToken;

async fn endpoint_with(access: Access) -> Running {
    let config = Config { access, ..Config::loopback().expect("a certificate can be made") };
    endpoint::start(config).await.expect("loopback has free ports")
}

fn control_of(running: &Running) -> SocketAddr {
    running.listeners().first().expect("it listens").control
}

fn pinned(running: &Running) -> EndpointUrl {
    url(control_of(running), Some(running.fingerprint()))
}

fn url(address: SocketAddr, pin: Option<Fingerprint>) -> EndpointUrl {
    EndpointUrl { host: Host::Address(address.ip()), port: address.port(), pin }
}

/// Audio for so long.
fn audio(endpoint: EndpointUrl, seconds: i64, token: Option<&str>) -> Plan {
    let request = Request {
        against: Against { endpoint: Some(endpoint), token: token.and_then(Token::new), interface: None },
        traffic: Traffic::Chosen { media: vec![], duration: Micros::from_secs(seconds) },
        profile: Profile::default(),
        max_bytes: None,
    };
    plan(&request).expect("small")
}

fn failure_of(report: &Report) -> Option<&TargetFailure> {
    report.targets.first().expect("the endpoint stands in the report").failure.as_ref()
}

/// Ends a run by `act` once traffic has run for a second.
fn after_a_second(act: impl FnOnce() + Send + 'static, stop: CancellationToken) -> Watch {
    let act = Mutex::new(Some(act));
    Watch::new(stop, move |progress| {
        if let Progress::Figures(figures) = progress
            && figures.at >= Micros::from_secs(1)
            && let Some(act) = act.lock().expect("nobody panics with it").take()
        {
            act();
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_check_has_both_halves_and_follows_from_its_samples() {
    let running = endpoint_with(Access::Open).await;
    let plan = plan(&Request::quick(pinned(&running))).expect("fits");
    let from = Instant::now();
    let report = check(plan).await;
    assert!(from.elapsed() < Duration::from_secs(6), "{:?}", from.elapsed());

    assert!(report.complete);
    let target = &report.targets[0];
    assert_eq!(target.failure, None);
    assert_eq!(target.identity, Some(Identity::Verified));
    for direction in [&target.up, &target.down] {
        let counts = direction.counts;
        assert!(counts.on_time >= 50, "{counts:?}");
        assert_eq!((counts.lost, counts.duplicate, counts.reordered), (0, 0, 0), "{counts:?}");
        assert_eq!(counts.planned, counts.sent + counts.send_failed + counts.not_sent);
    }
    let directions: Vec<_> =
        target.streams.iter().map(|stream| (stream.use_.short(), stream.direction)).collect();
    assert_eq!(directions.len(), 2, "720p up and down: {directions:?}");
    for stream in &target.streams {
        assert!(stream.figures.counts.on_time > 20, "{stream:?}");
    }
    assert_eq!(recompute(&report).expect("it has its samples"), Agreement::Agrees);
    assert!(report.bytes_used > 20_000 && report.bytes_used <= 10_000_000, "{}", report.bytes_used);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_it_says_that_nothing_is_known_of_the_internet() {
    let request = Request { against: Against::default(), ..audio_request(1) };
    let report = check(plan(&request).expect("small")).await;
    assert!(report.complete);
    assert!(report.targets[0].in_process);
    assert!(report.targets[0].up.counts.on_time > 0);
    assert_ne!(report.verdict.overall, State::Ready);
}

fn audio_request(seconds: i64) -> Request {
    Request {
        against: Against::default(),
        traffic: Traffic::Chosen { media: vec![], duration: Micros::from_secs(seconds) },
        profile: Profile::default(),
        max_bytes: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_named() {
    // RFC 6761 section 6.4: no name below .invalid exists.
    let report = check(audio("nobody.invalid".parse().expect("a name"), 1, None)).await;
    assert!(matches!(failure_of(&report), Some(TargetFailure::UnknownHost { .. })), "{report:?}");
    assert!(!report.complete);
    assert_eq!(report.trace, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_is_told_from_silence() {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = socket.local_addr().expect("bound");

    let from = Instant::now();
    let silent = check(audio(url(address, None), 1, None)).await;
    assert_eq!(failure_of(&silent), Some(&TargetFailure::Silent));
    assert!(from.elapsed() <= Duration::from_secs(3), "{:?}", from.elapsed());

    drop(socket);
    let closed = check(audio(url(address, None), 1, None)).await;
    assert_eq!(failure_of(&closed), Some(&TargetFailure::PortClosed));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_udp_is_told_from_a_silent_host_by_tcp() {
    let tcp = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = tcp.local_addr().expect("bound");
    // UDP to the same port is swallowed.
    let _udp = std::net::UdpSocket::bind(address).expect("UDP ports are numbered apart");
    let identity = ServerIdentity::self_made(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let acceptor = tls::acceptor(&identity, &[b"http/1.1"]).expect("a usable certificate");
    tokio::spawn(async move {
        while let Ok((stream, _)) = tcp.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    // Held open until the other end leaves.
                    if let Ok(mut socket) = ws::accept(stream).await {
                        let _ = socket.next().await;
                    }
                }
            });
        }
    });
    let from = Instant::now();
    let report = check(audio(url(address, None), 1, None)).await;
    let works = Some(format!("tls/{}", address.port()));
    assert_eq!(failure_of(&report), Some(&TargetFailure::UdpBlocked { works }));
    assert!(from.elapsed() <= Duration::from_secs(3), "{:?}", from.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_asked_for_checked_and_never_given_to_strangers() {
    let running = endpoint_with(Access::Tokens(TokenSet::parse("opensesame\n"))).await;
    let stranger = url(control_of(&running), None);
    for (endpoint, token, expected) in [
        (pinned(&running), None, Some(TargetFailure::TokenRequired)),
        (pinned(&running), Some("guess"), Some(TargetFailure::WrongToken)),
        (stranger, Some("opensesame"), Some(TargetFailure::TokenWithheld)),
        (pinned(&running), Some("opensesame"), None),
    ] {
        let report = check(audio(endpoint, 1, token)).await;
        assert_eq!(failure_of(&report), expected.as_ref());
        let json = serde_json::to_string(&report).expect("a report is JSON");
        assert!(!json.contains("opensesame") && !json.contains("guess"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_than_the_pinned_one_is_refused() {
    let running = endpoint_with(Access::Open).await;
    let other = ServerIdentity::self_made(vec!["localhost".to_owned()]).expect("a certificate");
    let report = check(audio(url(control_of(&running), Some(other.fingerprint())), 1, None)).await;
    assert!(matches!(failure_of(&report), Some(TargetFailure::TlsUnverified { .. })), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_dies_leaves_what_was_measured() {
    let running = endpoint_with(Access::Open).await;
    let plan = audio(pinned(&running), 20, None);
    let watch = after_a_second(move || drop(running), CancellationToken::new());
    let from = Instant::now();
    let report = check_watched(plan, watch).await;
    assert!(from.elapsed() < Duration::from_secs(12), "{:?}", from.elapsed());
    assert!(failure_of(&report).is_some(), "{report:?}");
    assert!(!report.complete);
    assert!(report.targets[0].up.counts.on_time >= 25, "{:?}", report.targets[0].up.counts);
    assert!(report.trace.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_leaves_what_was_measured() {
    let running = endpoint_with(Access::Open).await;
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    let watch = after_a_second(move || stopper.cancel(), stop);
    let from = Instant::now();
    let report = check_watched(audio(pinned(&running), 60, None), watch).await;
    assert!(from.elapsed() < Duration::from_secs(6), "{:?}", from.elapsed());
    assert!(!report.complete);
    let counts = report.targets[0].up.counts;
    assert!(counts.on_time >= 25, "{counts:?}");
    assert_eq!(counts.planned, counts.sent + counts.send_failed + counts.not_sent, "{counts:?}");
}
