//! Whole runs against endpoints on loopback: what is measured, and the typed reason for everything that can go wrong.

#![expect(clippy::disallowed_methods, reason = "tests open sockets and look at the time")]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenroom::address::Fingerprint;
use greenroom::address::{EndpointUrl, Host};
use greenroom::check::{Progress, Watch, check, check_watched};
use greenroom::endpoint::{self, Config, Running};
use greenroom::net::identity::ServerIdentity;
use greenroom::net::link::Link;
use greenroom::net::trust::Trust;
use greenroom::net::udp::Interface;
use greenroom::net::{quic, tls, ws};
use greenroom::plan::{Against, Plan, PlannedSearch, Request, Token, Traffic, plan};
use greenroom::proto::admission::{Access, TokenSet};
use greenroom::proto::control::{Frame, Refuse, RefuseCode, VERSION};
use greenroom_reports::assess::{Agreement, recompute};
use greenroom_reports::schema::{Identity, Mode, Place, Report, State, Use};
use greenroom_reports::trace::{SearchEnd, StampSource};
use greenroom_reports::units::{Bitrate, Micros};
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
        against: Against {
            endpoint: Some(endpoint),
            token: token.and_then(Token::new),
            ..Against::default()
        },
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
    #[cfg(target_os = "linux")]
    assert!(
        report.host.machine.processor.measured().is_some() && report.host.machine.memory.measured().is_some()
    );
    assert!(report.bytes_used > 20_000 && report.bytes_used <= 10_000_000, "{}", report.bytes_used);
}

/// A deep check of audio whose searches end at `ceiling`: with a second of audio alone, and no long wait for stragglers.
fn deep_to(endpoint: EndpointUrl, ceiling: Bitrate) -> Plan {
    let against = Against { endpoint: Some(endpoint), ..Against::default() };
    let traffic = Traffic::Uses([Use::Audio].into(), Mode::Deep);
    let request = Request { against, traffic, profile: Profile::default(), max_bytes: None };
    let mut plan = plan(&request).expect("fits");
    let idle = plan.phases[0].to - Micros::from_secs(1);
    plan.phases[0].to = Micros::from_secs(1);
    for phase in &mut plan.phases[1..] {
        (phase.from, phase.to) = (phase.from - idle, phase.to - idle);
    }
    plan.streams[0].to = plan.traffic_ends();
    plan.search = plan.search.map(|search| PlannedSearch { ceiling, ..search });
    plan.drain = Micros::from_millis(500);
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_check_searches_the_capacity_each_way_and_keeps_it_apart() {
    let running = endpoint_with(Access::Open).await;
    let ceiling = Bitrate::from_kbps(5_000);
    let report = check(deep_to(pinned(&running), ceiling)).await;
    assert!(report.complete);
    let target = &report.targets[0];
    for direction in [&target.up, &target.down] {
        let found = direction.capacity_bps.measured().expect("it was searched for");
        assert_eq!((found.ended, found.at_least), (Some(SearchEnd::Ceiling), true), "{found:?}");
        assert!((4.5e6..=5.2e6).contains(&found.value), "{found:?}");
        // 10.5 s of audio, 8 s of them during searches.
        assert_eq!(direction.counts.planned, 525);
        let judged = direction.loss_ratio.measured().expect("audio was sent").n;
        assert!((100..=130).contains(&judged), "{judged} packets outside of the searches");
    }
    assert!(target.loaded.saturated_up_ms.measured().is_some());
    assert!(target.loaded.saturated_down_ms.measured().is_some());
    // A second at 5 Mbit/s each way at least, and the ramps.
    assert!(report.bytes_used > 1_250_000, "{}", report.bytes_used);
    assert_eq!(recompute(&report).expect("it has its samples"), Agreement::Agrees);
    let text = greenroom_reports::render::terminal::render(
        &report,
        greenroom_reports::render::terminal::Options::default(),
    );
    assert!(text.contains("at least"), "{text}");
}

fn over(interface: &str, plan: Plan) -> Plan {
    Plan { against: Against { interface: Some(interface.to_owned()), ..plan.against }, ..plan }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn an_interface_that_is_not_there_is_named_with_what_to_do() {
    let running = endpoint_with(Access::Open).await;
    let report = check(over("nosuch0", audio(pinned(&running), 1, None))).await;
    match failure_of(&report) {
        Some(TargetFailure::Local { detail }) => {
            assert!(detail.contains("interface nosuch0") && detail.contains("ip address"), "{detail}");
        }
        other => panic!("not named: {other:?}"),
    }
    let (interface, trust) = (Interface::parse("nosuch0"), Trust::measuring(None));
    let patience = Duration::from_secs(5);
    let refused = ws::connect_over(Some(&interface), control_of(&running), "localhost", &trust, patience);
    let refused = refused.await.expect_err("no such interface");
    assert!(refused.to_string().contains("interface nosuch0"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn every_way_leaves_by_the_interface_asked_for() {
    let running = endpoint_with(Access::Open).await;
    for interface in ["lo", "127.0.0.1"] {
        let report = check(over(interface, audio(pinned(&running), 1, None))).await;
        assert_eq!(failure_of(&report), None, "{interface}");
        assert_eq!(report.targets[0].up.counts.lost, 0);
    }
    // The fallback as well, which was left out with an interface before.
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = relay_tcp(here, control_of(&running)).await;
    let _udp = std::net::UdpSocket::bind(address).expect("UDP ports are numbered apart");
    let report = check(over("lo", audio(url(address, Some(running.fingerprint())), 1, None))).await;
    let reached = report.targets[0].state.measured().expect("it was reached");
    assert_eq!(reached.transport, "websocket");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_it_says_that_nothing_is_known_of_the_internet() {
    let request = Request { against: Against::default(), ..audio_request(1) };
    let report = check(plan(&request).expect("small")).await;
    assert!(report.complete);
    assert!(report.targets[0].in_process);
    assert!(report.targets[0].up.counts.on_time > 0);
    assert_eq!(report.verdict.overall, State::NotTested);
    assert!(report.verdict.uses.values().all(|use_| use_.state == State::NotTested), "{:?}", report.verdict);
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

/// Listens on TCP and leads to `to` all who come.
async fn relay_tcp(from: SocketAddr, to: SocketAddr) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(from).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(to).await.expect("it listens");
                // Either end may leave.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

/// Listens on UDP and leads to `to` all who come, each through a socket of its own; through another one once `rebind` is
/// set, as a NAT does that has forgotten its client.
async fn relay_udp(from: SocketAddr, to: SocketAddr, rebind: Arc<AtomicBool>) {
    let near = Arc::new(tokio::net::UdpSocket::bind(from).await.expect("a free port"));
    tokio::spawn(async move {
        let mut ways: HashMap<SocketAddr, Arc<tokio::net::UdpSocket>> = HashMap::new();
        let mut buffer = vec![0; 65_536];
        while let Ok((len, client)) = near.recv_from(&mut buffer).await {
            if rebind.swap(false, Ordering::Relaxed) {
                ways.clear();
            }
            let way = match ways.entry(client) {
                Entry::Occupied(known) => Arc::clone(known.get()),
                Entry::Vacant(new) => Arc::clone(new.insert(open_way(Arc::clone(&near), client, to).await)),
            };
            way.send(&buffer[..len]).await.expect("loopback");
        }
    });
}

/// Opens a socket towards `to` whose answers go back to `client`.
async fn open_way(
    near: Arc<tokio::net::UdpSocket>,
    client: SocketAddr,
    to: SocketAddr,
) -> Arc<tokio::net::UdpSocket> {
    let far = Arc::new(tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port"));
    far.connect(to).await.expect("loopback");
    let answers = Arc::clone(&far);
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(len) = answers.recv(&mut buffer).await {
            near.send_to(&buffer[..len], client).await.expect("loopback");
        }
    });
    far
}

/// The run went another way than UDP, has its figures, and says what stood in the way.
fn assert_detour(report: &Report, transport: &str, blocked: &TargetFailure, evidence: [&str; 2]) {
    let target = &report.targets[0];
    assert!(report.complete && target.failure.is_none(), "{:?}", target.failure);
    let reached = target.state.measured().expect("it was reached");
    assert_eq!((reached.transport.as_str(), reached.instead_of_udp.as_ref()), (transport, Some(blocked)));
    assert_eq!((target.timestamps.here, target.timestamps.there), (StampSource::User, StampSource::User));
    assert_eq!(target.identity, Some(Identity::Verified));
    for counts in [target.up.counts, target.down.counts] {
        assert_eq!((counts.planned, counts.lost, counts.duplicate), (50, 0, 0), "{counts:?}");
        assert!(counts.on_time >= 40, "{counts:?}");
    }
    assert!(target.rtt_ms.measured().is_some());
    // A measurement asks for no use; the one that it shows is degraded at best.
    assert_eq!(report.verdict.uses[&Use::Audio].state, State::Degraded, "{:?}", report.verdict);
    let cause = report.verdict.causes.iter().find(|cause| cause.code == blocked.code()).expect("said");
    assert_eq!((cause.place, cause.state), (Place::Relay, State::Degraded));
    let lines = cause.evidence.join("; ");
    assert!(evidence.iter().all(|words| lines.contains(words)), "{lines}");
    assert_eq!(recompute(report).expect("it has its samples"), Agreement::Agrees);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_firewall_without_udp_the_web_socket_is_measured() {
    let running = endpoint_with(Access::Open).await;
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = relay_tcp(here, control_of(&running)).await;
    // UDP to the same port is swallowed.
    let _udp = std::net::UdpSocket::bind(address).expect("UDP ports are numbered apart");
    let report = check(audio(url(address, Some(running.fingerprint())), 1, None)).await;
    let works = format!("tls/{}", address.port());
    let blocked = TargetFailure::UdpBlocked { works: Some(works.clone()) };
    assert_detour(&report, "websocket", &blocked, [&works, "nothing came back over UDP"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn media_pass_through_the_web_socket_both_ways() {
    let running = endpoint_with(Access::Open).await;
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // UDP to this port is refused: nobody has it.
    let address = relay_tcp(here, control_of(&running)).await;
    let plan = plan(&Request::quick(url(address, Some(running.fingerprint())))).expect("fits");
    let report = check(plan).await;
    let target = &report.targets[0];
    assert_eq!(target.failure, None);
    assert_eq!(target.state.measured().map(|reached| reached.transport.as_str()), Some("websocket"));
    assert_eq!(target.streams.len(), 2, "720p up and down");
    for stream in &target.streams {
        assert!(stream.figures.counts.on_time > 20, "{stream:?}");
    }
    assert_eq!(report.verdict.overall, State::Degraded, "{:?}", report.verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn a_firewall_that_lets_quic_through_and_not_the_probes_is_named_by_port() {
    let running = endpoint_with(Access::Open).await;
    let control = control_of(&running);
    // Another loopback address leads to the control port alone.
    let firewall = SocketAddr::from(([127, 0, 0, 2], control.port()));
    relay_tcp(firewall, control).await;
    relay_udp(firewall, control, Arc::default()).await;
    let port = running.listeners()[0].stamp.port();
    let _probes = std::net::UdpSocket::bind((firewall.ip(), port)).expect("a free port");
    let report = check(audio(url(firewall, Some(running.fingerprint())), 1, None)).await;
    let works = format!("quic/{}", control.port());
    let blocked = TargetFailure::UdpPortBlocked { port, works: works.clone() };
    assert_detour(&report, "quic-datagram", &blocked, [&works, &format!("UDP port {port}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_taken_by_the_program_are_said_to_be() {
    let running = endpoint_with(Access::Open).await;
    let against = Against { endpoint: Some(pinned(&running)), program_stamps: true, ..Against::default() };
    let report = check(plan(&Request { against, ..audio_request(1) }).expect("small")).await;
    let target = &report.targets[0];
    assert_eq!((target.failure.as_ref(), target.timestamps.here), (None, StampSource::User));
    assert!(target.up.counts.on_time >= 40, "{:?}", target.up.counts);
    assert!(report.verdict.causes.iter().any(|cause| cause.code == "no_kernel_timestamps"));
}

/// Answers every hello with `answer`, over QUIC.
fn fake_endpoint(answer: Frame) -> EndpointUrl {
    let identity = ServerIdentity::self_made(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let config = quic::server_config(&identity, &[quic::ALPN]).expect("a usable certificate");
    let endpoint = quic::listen((Ipv4Addr::LOCALHOST, 0).into(), config).expect("a free port");
    let address = endpoint.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let connection = incoming.await.expect("a client that speaks QUIC");
            let Ok((send, receive)) = connection.accept_bi().await else { continue };
            let mut link = Link::quic(send, receive);
            let hello = link.receive().await.expect("a frame");
            assert!(matches!(hello, Some(Frame::Hello(_))), "{hello:?}");
            link.send(&answer).await.expect("it listens");
            // Until the client has left.
            while let Ok(Some(_)) = link.receive().await {}
        }
    });
    url(address, Some(identity.fingerprint()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_version_is_named() {
    let say = "this endpoint speaks version 9 of the control protocol.".to_owned();
    let refuse = Refuse { code: RefuseCode::Version, say: say.clone(), retry_after_us: None };
    let plan = plan(&Request::quick(fake_endpoint(Frame::Refuse(refuse)))).expect("fits");
    let report = check(plan).await;
    let expected = TargetFailure::ProtocolVersion { theirs: Some(say), ours: VERSION.to_string() };
    assert_eq!(failure_of(&report), Some(&expected));
    assert_eq!(report.verdict.overall, State::Inconclusive);
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
#[cfg(target_os = "linux")]
async fn a_nat_that_changes_this_ends_address_is_told_and_what_was_measured_is_kept() {
    let running = endpoint_with(Access::Open).await;
    let (control, stamp) = (control_of(&running), running.listeners()[0].stamp);
    // Another loopback address leads to both ports.
    let nat = |port| SocketAddr::from(([127, 0, 0, 4], port));
    let rebind = Arc::new(AtomicBool::new(false));
    relay_udp(nat(control.port()), control, Arc::default()).await;
    relay_udp(nat(stamp.port()), stamp, Arc::clone(&rebind)).await;
    let plan = audio(url(nat(control.port()), Some(running.fingerprint())), 3, None);
    let watch = after_a_second(move || rebind.store(true, Ordering::Relaxed), CancellationToken::new());
    let report = check_watched(plan, watch).await;
    assert_eq!(failure_of(&report), Some(&TargetFailure::AddressChanged));
    assert!(!report.complete);
    let target = &report.targets[0];
    assert!(target.up.counts.on_time >= 100 && target.rtt_ms.measured().is_some(), "{:?}", target.up.counts);
    assert!(report.verdict.causes.iter().any(|cause| cause.code == "address_changed"));
    assert_eq!(report.verdict.uses[&Use::Audio].state, State::Inconclusive);
    assert_eq!(recompute(&report).expect("it has its samples"), Agreement::Agrees);
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
