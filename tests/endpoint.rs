//! The endpoint over real sockets on loopback, spoken to as a client would.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use greenroom::address::Token;
use greenroom::endpoint::{self, BulkRequest, BulkResult, Config, Running};
use greenroom::net::clock::Clock;
use greenroom::net::link::Link;
use greenroom::net::pacing::{Driver, DriverOptions};
use greenroom::net::trust::Trust;
use greenroom::net::udp::{self, DatagramSocket, UdpOptions};
use greenroom::net::{quic, tunnel, ws};
use greenroom::proto::admission::{Access, TokenSet};
use greenroom::proto::capacity::End;
use greenroom::proto::control::{
    self, Accept, CapacityResult, ClientInfo, Finish, Frame, Hello, Limits, ProbeCarrier, RefuseCode,
    StartStream,
};
use greenroom::proto::sender::{AudioPlan, Sender, SenderConfig};
use greenroom::proto::stamp::WallAnchor;
use greenroom::targets::capacity;
use greenroom_reports::metrics;
use greenroom_reports::metrics::capacity::Bounds;
use greenroom_reports::metrics::flow::{LossPolicy, flows};
use greenroom_reports::trace::encoding::HalfAssembler;
use greenroom_reports::trace::{ClockInfo, Direction, Half, Media, StreamId, Trace};
use greenroom_reports::units::{Bitrate, DataSize, Micros};

const DEADLINE: Duration = Duration::from_secs(5);
const WANTS: Limits = Limits {
    max_bitrate_bps: Bitrate::from_kbps(5_000),
    max_pps: 1_000,
    max_duration_us: Micros::from_secs(30),
};

#[tokio::test]
async fn a_session_over_udp_gives_both_halves_of_the_truth() {
    let running = start(|_| ()).await;
    let mut client = Client::quic(&running, None).await;
    let accept = client.accepted().await;
    assert!(!accept.validated, "where the packets will come from, nobody knows yet");
    let clock = Clock::start();
    let at = running.listeners()[0].stamp;
    let socket = udp::open(&UdpOptions::new(SocketAddr::new(at.ip(), 0)), clock).expect("a socket");
    let trace = client.measure(&accept, at, socket, clock, true).await;
    assert_counts(&trace, 50);
    let down = stream(&trace, StreamId(7), Direction::Down);
    assert!(down.counts.sent > 30, "media came down: {:?}", down.counts);
    assert_eq!(down.counts.on_time, down.counts.sent);
    running.shut_down(DEADLINE).await;
}

#[tokio::test]
async fn the_same_session_passes_through_a_web_socket() {
    let running = start(|_| ()).await;
    let control = running.listeners()[0].control;
    let (socket, identity) =
        ws::connect(control, "localhost", &Trust::measuring(None), DEADLINE).await.expect("a WebSocket");
    assert!(!identity.is_verified());
    let clock = Clock::start();
    let (near, far) = tunnel::tunnel(control, control, clock).expect("descriptors");
    let mut client = Client { link: Link::web_socket(socket, far), connection: None, _endpoint: None };
    client.hello(None, vec![control::VERSION]).await;
    let accept = client.accepted().await;
    assert!(accept.validated, "the connection has shown who it is");
    let trace = client.measure(&accept, control, Box::new(near), clock, false).await;
    assert_counts(&trace, 50);
    running.shut_down(DEADLINE).await;
}

#[tokio::test]
async fn a_capacity_search_each_way_ends_at_its_ceiling() {
    let running = start(|_| ()).await;
    let mut client = Client::dial(&running).await;
    let limits = Limits { max_bitrate_bps: Bitrate::from_kbps(30_000), max_pps: 5_000, ..WANTS };
    client.hello_wanting(None, vec![control::VERSION], limits).await;
    let accept = client.accepted().await;
    let clock = Clock::start();
    let at = running.listeners()[0].stamp;
    let socket = udp::open(&UdpOptions::new(SocketAddr::new(at.ip(), 0)), clock).expect("a socket");
    let driver = drive(&accept, at, socket, clock, Micros::from_secs(15));
    until_validated(&driver).await;
    let ceiling = Bitrate::from_kbps(20_000);
    let config =
        capacity::within(accept.limits, ceiling, DataSize::from_bytes(20_000_000), Micros::from_secs(5));

    let up = capacity::up(&driver, StreamId(8), config).await.expect("alive").expect("not cut short");
    assert_eq!((up.end, up.at_least), (End::Ceiling, true));
    assert_reached(up.capacity, ceiling);

    client.link.send(&capacity::request(StreamId(9), &config)).await.expect("sent");
    let down = client.capacity_result().await;
    assert_eq!((down.stream, down.end, down.at_least), (StreamId(9), End::Ceiling, true));
    assert_reached(down.capacity_bps, ceiling);

    let outcome = driver.stop().await.expect("ends");
    let bounds = Bounds { loss_ratio: 0.02, delay_range: Micros::from_millis(90) };
    for direction in Direction::BOTH {
        let found = metrics::capacity::capacity(
            outcome.machine.capacity_intervals(),
            direction,
            bounds,
            metrics::capacity::WINDOW,
        );
        let found = found.expect("a second of it was counted");
        assert_reached(found.rate, ceiling);
    }
}

#[tokio::test]
async fn a_capacity_search_before_validation_is_refused_by_name() {
    let running = start(|_| ()).await;
    let mut client = Client::quic(&running, None).await;
    let accept = client.accepted().await;
    let (budget, duration) = (DataSize::from_bytes(1_000_000), Micros::from_secs(5));
    let config = capacity::within(accept.limits, Bitrate::from_kbps(1_000), budget, duration);
    client.link.send(&capacity::request(StreamId(9), &config)).await.expect("sent");
    loop {
        match client.link.receive().await.expect("the link holds") {
            Some(Frame::Error(error)) => {
                assert_eq!((error.code, error.stream), (RefuseCode::BadRequest, Some(StreamId(9))));
                break;
            }
            Some(Frame::HalfTrace(_)) => {}
            other => panic!("not refused: {other:?}"),
        }
    }
}

#[tokio::test]
async fn only_the_right_token_opens_a_closed_endpoint() {
    let running = start(|config| config.access = Access::Tokens(TokenSet::parse("right\n"))).await;
    for (token, code) in [(None, RefuseCode::TokenRequired), (Token::new("wrong"), RefuseCode::WrongToken)] {
        let mut client = Client::quic(&running, token).await;
        match client.link.receive().await.expect("an answer") {
            Some(Frame::Refuse(refuse)) => assert_eq!(refuse.code, code),
            other => panic!("not refused: {other:?}"),
        }
    }
    Client::quic(&running, Token::new("right")).await.accepted().await;
    let metrics = running.stats().to_prometheus();
    assert!(metrics.contains("greenroom_sessions_refused_total{reason=\"token\"} 2\n"), "{metrics}");
    assert!(!metrics.contains("right"), "no secret in the metrics");
}

#[tokio::test]
async fn an_unknown_version_is_refused_by_name() {
    let running = start(|_| ()).await;
    let mut client = Client::dial(&running).await;
    client.hello(None, vec![99]).await;
    match client.link.receive().await.expect("an answer") {
        Some(Frame::Refuse(refuse)) => {
            assert_eq!(refuse.code, RefuseCode::Version);
            assert!(refuse.say.contains("version 1"), "{}", refuse.say);
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn bulk_moves_what_was_asked_for_both_ways() {
    let running = start(|_| ()).await;
    let mut client = Client::quic(&running, None).await;
    client.accepted().await;
    let connection = client.connection.clone().expect("QUIC");
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    let request =
        BulkRequest::Download { bytes: DataSize::from_bytes(300_000), duration: Micros::from_secs(5) };
    send.write_all(&request.to_bytes()).await.expect("sent");
    assert_eq!(receive.read_to_end(1 << 20).await.expect("read").len(), 300_000);

    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    send.write_all(&BulkRequest::Upload.to_bytes()).await.expect("sent");
    send.write_all(&vec![7; 200_000]).await.expect("sent");
    send.finish().expect("open");
    let mut wire = [0; BulkResult::LEN];
    receive.read_exact(&mut wire).await.expect("a result");
    assert_eq!(BulkResult::from_bytes(wire).received, DataSize::from_bytes(200_000));
}

#[tokio::test]
async fn health_and_metrics_are_served_apart() {
    let running = start(|config| config.health = Some(SocketAddr::from(([127, 0, 0, 1], 0)))).await;
    let at = running.health().expect("served");
    for (path, wanted) in [("/healthz", "ok"), ("/metrics", "greenroom_sessions_open 0")] {
        let answer = http_get(at, path).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(wanted), "{path}: {answer}");
    }
}

#[tokio::test]
async fn an_endpoint_about_to_stop_lets_sessions_end_and_nobody_in() {
    let running = start(|_| ()).await;
    let mut client = Client::quic(&running, None).await;
    client.accepted().await;
    let control = running.listeners()[0].control;
    let stopping = tokio::spawn(running.shut_down(DEADLINE));
    // Draining begins with the task's first step; until then a newcomer may still be let in.
    let refused = loop {
        let mut late = Client::dial_to(control).await;
        late.hello(None, vec![control::VERSION]).await;
        match late.link.receive().await.expect("an answer") {
            Some(Frame::Refuse(refuse)) => break refuse,
            Some(Frame::Accept(_)) => late.link.finish().await,
            other => panic!("neither in nor out: {other:?}"),
        }
    };
    assert_eq!(refused.code, RefuseCode::Draining);
    client.link.send(&Frame::Finish(Finish {})).await.expect("still served");
    assert!(client.rest().await.complete_at_end, "the first session ended in peace");
    stopping.await.expect("stopped");
}

async fn start(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::loopback().expect("a certificate");
    change(&mut config);
    endpoint::start(config).await.expect("loopback can be listened on")
}

struct Client {
    link: Link,
    connection: Option<quinn::Connection>,
    _endpoint: Option<quinn::Endpoint>,
}

/// What came after the client had finished.
struct Rest {
    half: Half,
    complete_at_end: bool,
}

impl Client {
    async fn quic(running: &Running, token: Option<Token>) -> Self {
        let mut client = Self::dial(running).await;
        client.hello(token, vec![control::VERSION]).await;
        client
    }

    async fn dial(running: &Running) -> Self {
        Self::dial_to(running.listeners()[0].control).await
    }

    async fn dial_to(to: SocketAddr) -> Self {
        let endpoint = quic::dial(None, to).expect("a socket");
        let connected =
            quic::connect(&endpoint, to, "localhost", &Trust::measuring(None), &[control::ALPN], DEADLINE)
                .await
                .expect("connects");
        let (send, receive) = connected.connection.open_bi().await.expect("a stream");
        Self {
            link: Link::quic(send, receive),
            connection: Some(connected.connection),
            _endpoint: Some(endpoint),
        }
    }

    async fn hello(&mut self, token: Option<Token>, versions: Vec<u16>) {
        self.hello_wanting(token, versions, WANTS).await;
    }

    async fn hello_wanting(&mut self, token: Option<Token>, versions: Vec<u16>, wants: Limits) {
        let hello = Hello {
            versions,
            token,
            client: ClientInfo { name: "test".into(), version: "0".into() },
            wants,
            search: None,
            probes: ProbeCarrier::OwnPort,
        };
        self.link.send(&Frame::Hello(hello)).await.expect("sent");
    }

    async fn accepted(&mut self) -> Accept {
        match self.link.receive().await.expect("an answer") {
            Some(Frame::Accept(accept)) => *accept,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// One second of audio, with half a second of video down where asked; both halves of the trace.
    async fn measure(
        &mut self,
        accept: &Accept,
        reflector: SocketAddr,
        socket: Box<dyn DatagramSocket>,
        clock: Clock,
        video: bool,
    ) -> Trace {
        let mut driver = drive(accept, reflector, socket, clock, Micros::from_secs(1));
        if video {
            until_validated(&driver).await;
            let start = StartStream {
                stream: StreamId(7),
                media: Media::Video,
                rate_bps: Bitrate::from_kbps(1_000),
                duration_us: Micros::from_millis(500),
                seed: 1,
            };
            self.link.send(&Frame::StartStream(start)).await.expect("sent");
        }
        let outcome = driver.finished().await.expect("ends");
        self.link.send(&Frame::Finish(Finish {})).await.expect("sent");
        let rest = self.rest().await;
        assert!(rest.complete_at_end);
        Trace { here: outcome.machine.half().clone(), there: Some(rest.half), ..Trace::default() }
    }

    async fn capacity_result(&mut self) -> CapacityResult {
        loop {
            match self.link.receive().await.expect("the link holds") {
                Some(Frame::CapacityResult(result)) => return result,
                Some(Frame::HalfTrace(_)) => {}
                other => panic!("no result: {other:?}"),
            }
        }
    }

    async fn rest(&mut self) -> Rest {
        let mut half = HalfAssembler::new();
        loop {
            match self.link.receive().await.expect("the link holds") {
                Some(Frame::HalfTrace(chunk)) => half.push(&chunk).expect("a chunk that fits"),
                Some(Frame::Finished(finished)) => {
                    assert_eq!(finished.dropped_records, 0);
                    return Rest { half: half.into_half(), complete_at_end: true };
                }
                Some(_) => {}
                None => return Rest { half: half.into_half(), complete_at_end: false },
            }
        }
    }
}

/// Starts the client's side of a session, with audio for `audio`.
fn drive(
    accept: &Accept,
    reflector: SocketAddr,
    socket: Box<dyn DatagramSocket>,
    clock: Clock,
    audio: Micros,
) -> Driver<Sender> {
    let stamps = socket.stamp_sources();
    let sender = Sender::new(
        SenderConfig {
            reflector,
            ssid: accept.ssid,
            key: accept.key.clone(),
            anchor_here: WallAnchor::from_unix_micros(clock.started().as_microsecond()),
            anchor_there: accept.anchor_unix_us,
            timestamps_there: accept.timestamps,
            clock: ClockInfo { tx: stamps.tx, rx: stamps.rx, steps: Vec::new() },
            validate_until: clock.now() + Micros::from_secs(2),
            audio: AudioPlan { start_phase: Micros::ZERO, duration: audio, tos: 0 },
            straggler_wait: Micros::from_millis(300),
        },
        clock.now(),
    );
    Driver::start(sender, vec![socket], clock, &DriverOptions::precise("test")).expect("a thread")
}

async fn until_validated(driver: &Driver<Sender>) {
    let validated = || driver.call(|sender, _| sender.is_validated());
    while !validated().await.expect("alive") {
        tokio::task::yield_now().await;
    }
}

/// Never above the ceiling but for the edges of intervals; how exact a search is, the tests in virtual time say.
fn assert_reached(found: Bitrate, ceiling: Bitrate) {
    let share = found.bps() * 100 / ceiling.bps();
    assert!((75..=103).contains(&share), "{} bit/s under a ceiling of {}", found.bps(), ceiling.bps());
}

fn stream(trace: &Trace, id: StreamId, direction: Direction) -> greenroom_reports::metrics::flow::Flow {
    flows(trace, LossPolicy::Quick)
        .into_iter()
        .find(|flow| flow.stream == id && flow.direction == direction)
        .expect("the flow was measured")
}

fn assert_counts(trace: &Trace, packets: u64) {
    for direction in Direction::BOTH {
        let counts = stream(trace, StreamId::AUDIO, direction).counts;
        assert_eq!(counts.sent, packets, "{direction:?}: {counts:?}");
        assert_eq!((counts.on_time, counts.lost), (packets, 0), "{direction:?}: {counts:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test speaks for itself")]
async fn http_get(at: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(at).await.expect("listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer
}

#[test]
fn loopback_is_where_an_endpoint_listens_unless_asked() {
    assert!(endpoint::LOOPBACK.iter().all(IpAddr::is_loopback));
}
