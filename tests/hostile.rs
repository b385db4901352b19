//! Runs against endpoints that lie, move, shout, or point at others.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets and look at the time")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use greenroom::address::{EndpointUrl, Host};
use greenroom::check::check;
use greenroom::net::clock::Clock;
use greenroom::net::identity::ServerIdentity;
use greenroom::net::link::Link;
use greenroom::net::pacing::{Driver, DriverOptions};
use greenroom::net::quic;
use greenroom::net::udp::{self, DatagramSocket, SendBatch, SocketEvent, StampSources, UdpOptions};
use greenroom::plan::{Against, Request, Traffic, plan};
use greenroom::proto::control::{self, Accept, EndpointInfo, Finished, Frame};
use greenroom::proto::machine::{Arrival, Departure, DepartureEvent, Machine, Transmit};
use greenroom::proto::reflector::{OpenStamp, Reflector, ReflectorConfig, SessionConfig};
use greenroom::proto::stamp::{SessionKey, TimestampFormat, WallAnchor};
use greenroom_reports::schema::{Report, State, Use};
use greenroom_reports::trace::{ClockInfo, ClockStep};
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::{Profile, TargetFailure};

/// What is wrong with an endpoint.
#[derive(Debug, Clone, Copy, Default)]
struct Twist {
    /// It says that packets came so much earlier than they did.
    backdates: Micros,
    /// It sends from another address after so long.
    moves_after: Option<Micros>,
    /// With each answer it sends garbage, replays and oversized datagrams.
    shouts: bool,
    /// It tells its clients to send their probes there.
    points_at: Option<IpAddr>,
}

const SSID: u16 = 7;

#[tokio::test(flavor = "multi_thread")]
async fn times_that_cannot_be_true_decide_nothing() {
    let endpoint = start(Twist { backdates: Micros::from_secs(9), ..Twist::default() });
    let report = run(endpoint, 2).await;
    assert_eq!(report.verdict.uses[&Use::Audio].state, State::Inconclusive, "{:?}", report.verdict);
    let others = report.verdict.uses.iter().filter(|(use_, _)| **use_ != Use::Audio);
    assert!(others.clone().all(|(_, found)| found.state == State::NotTested), "{:?}", report.verdict);
    assert_eq!(report.verdict.causes[0].code, "endpoint_lies");
    assert!(report.targets[0].rtt_ms.measured().is_none(), "no figure comes of a lie");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_moves_ends_the_run_with_what_was_measured() {
    let twist = Twist { moves_after: Some(Micros::from_millis(1_500)), ..Twist::default() };
    let report = run(start(twist), 10).await;
    let target = &report.targets[0];
    assert_eq!(target.failure, Some(TargetFailure::AddressChanged));
    assert!(!report.complete && report.trace.is_some());
    assert!(target.rtt_ms.measured().is_some_and(|rtt| rtt.n >= 25), "{:?}", target.rtt_ms);
    assert!(report.verdict.causes.iter().any(|cause| cause.code == "address_changed"));
    assert_eq!(report.verdict.uses[&Use::Audio].state, State::Inconclusive, "{:?}", report.verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_replays_and_oversized_datagrams_change_nothing() {
    let quiet = run(start(Twist::default()), 2).await;
    let loud = run(start(Twist { shouts: true, ..Twist::default() }), 2).await;
    for report in [&quiet, &loud] {
        let target = &report.targets[0];
        assert_eq!(target.failure, None);
        for counts in [target.up.counts, target.down.counts] {
            assert_eq!((counts.planned, counts.lost, counts.corrupt), (100, 0, 0), "{counts:?}");
        }
    }
    for report in [quiet, loud] {
        assert_eq!(report.verdict.uses[&Use::Audio].state, State::Ready, "{:?}", report.verdict);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_direct_probes_at_a_third_party() {
    let elsewhere = IpAddr::from([127, 0, 0, 3]);
    let twist = Twist { points_at: Some(elsewhere), ..Twist::default() };
    let (url, port) = start_with_port(twist);
    let victim = UdpSocket::bind((elsewhere, port)).expect("another loopback address is free");
    victim.set_nonblocking(true).expect("a socket");
    let report = run(EndpointUrl { pin: None, ..url }, 1).await;
    let target = &report.targets[0];
    assert_eq!(target.failure, None, "it was measured where control was");
    assert!(target.rtt_ms.measured().is_some());
    let got = victim.recv_from(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(got.map(|(len, _)| len), Err(io::ErrorKind::WouldBlock));
}

async fn run(endpoint: EndpointUrl, seconds: i64) -> Report {
    let request = Request {
        against: Against { endpoint: Some(endpoint), ..Against::default() },
        traffic: Traffic::Chosen { media: vec![], duration: Micros::from_secs(seconds) },
        profile: Profile::default(),
        max_bytes: None,
    };
    let report = check(plan(&request).expect("small")).await;
    for direction in [&report.targets[0].up, &report.targets[0].down] {
        let counts = direction.counts;
        assert_eq!(counts.planned, counts.sent + counts.send_failed + counts.not_sent, "{counts:?}");
    }
    report
}

fn start(twist: Twist) -> EndpointUrl {
    start_with_port(twist).0
}

/// Starts an endpoint like ours, but for its twist. Also says where its probes go.
fn start_with_port(twist: Twist) -> (EndpointUrl, u16) {
    let clock = Clock::start();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let inner = udp::open(&UdpOptions::new(any), clock).expect("a free port");
    let port = inner.local_addr().port();
    let elsewhere = UdpSocket::bind(("127.0.0.2", 0)).expect("another loopback address");
    let reflector = Reflector::new(ReflectorConfig {
        anchor: WallAnchor::from_unix_micros(clock.started().as_microsecond()),
        timestamps: TimestampFormat::Ntp,
        clock: ClockInfo::default(),
        secret: [3; 32],
        open: OpenStamp::Off,
        log_cap: 10_000,
    });
    let machine = Backdating { reflector, by: twist.backdates };
    let socket = Twisted { inner, elsewhere, clock, twist, moves_at: None };
    let driver = Driver::start(machine, vec![Box::new(socket)], clock, &DriverOptions::relaxed("hostile"))
        .expect("a thread");

    let identity = ServerIdentity::self_made(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let config = quic::server_config(&identity, &[quic::ALPN]).expect("a usable certificate");
    let listener = quic::listen(any, config).expect("a free port");
    let control = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let connection = listener.accept().await.expect("open").await.expect("a client that speaks QUIC");
        let (send, receive) = connection.accept_bi().await.expect("a control stream");
        serve(Link::quic(send, receive), &driver, port, twist).await;
        connection.closed().await;
    });
    let url = EndpointUrl {
        host: Host::Address(control.ip()),
        port: control.port(),
        pin: Some(identity.fingerprint()),
    };
    (url, port)
}

/// One session from hello to the end; no log is sent.
async fn serve(mut link: Link, driver: &Driver<Backdating>, stamp_port: u16, twist: Twist) {
    let Ok(Some(Frame::Hello(hello))) = link.receive().await else { panic!("no hello") };
    let key = SessionKey::new([5; 32]);
    let limits = hello.wants;
    let config = SessionConfig {
        ssid: SSID,
        key: key.clone(),
        expires: Micros::from_secs(60),
        max_pps: limits.max_pps,
        max_bitrate: limits.max_bitrate_bps,
    };
    let opened = driver.call(move |machine, now| {
        machine.reflector.open_session(now, &config).map(|()| machine.reflector.session(SSID))
    });
    let status = opened.await.expect("alive").expect("free").expect("just opened");
    let accept = Accept {
        version: control::VERSION,
        session: "hostile".to_owned(),
        ssid: SSID,
        key,
        stamp_addr: twist.points_at,
        stamp_port,
        validated: false,
        limits,
        anchor_unix_us: status.anchor,
        timestamps: TimestampFormat::Ntp,
        stamps: control::StampSources::default(),
        endpoint: EndpointInfo { name: "hostile".to_owned(), version: "0".to_owned() },
    };
    link.send(&Frame::Accept(Box::new(accept))).await.expect("it listens");
    while let Ok(Some(frame)) = link.receive().await {
        if matches!(frame, Frame::Finish(_)) {
            // It may have had enough.
            let _ = link.send(&Frame::Finished(Finished::default())).await;
        }
    }
}

/// A reflector that says that packets came earlier than they did.
struct Backdating {
    reflector: Reflector,
    by: Micros,
}

impl Machine for Backdating {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        let arrival = Arrival { at: arrival.at - self.by, ..*arrival };
        self.reflector.handle_datagram(now, &arrival, payload);
    }

    fn handle_departure(&mut self, departure: &Departure) {
        self.reflector.handle_departure(departure);
    }

    fn handle_drops(&mut self, now: Micros, total: u64) {
        self.reflector.handle_drops(now, total);
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        self.reflector.poll_transmit(now, payload)
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.reflector.next_deadline()
    }

    fn is_finished(&self) -> bool {
        self.reflector.is_finished()
    }
}

/// A socket that moves, or shouts.
struct Twisted {
    inner: Box<dyn DatagramSocket>,
    elsewhere: UdpSocket,
    clock: Clock,
    twist: Twist,
    /// Set with the first answer.
    moves_at: Option<Micros>,
}

impl Twisted {
    fn has_moved(&mut self) -> bool {
        let Some(after) = self.twist.moves_after else { return false };
        let now = self.clock.now();
        now >= *self.moves_at.get_or_insert(now + after)
    }

    /// Beside each answer: itself again and again, itself damaged, noise, and far too much of it.
    fn shout(&mut self, batch: &SendBatch) {
        for (transmit, payload) in batch.iter() {
            let transmit = Transmit { stamp: false, ..*transmit };
            let mut noise = SendBatch::default();
            for _ in 0..12 {
                noise.push(transmit, payload);
            }
            let mut damaged = payload.to_vec();
            damaged[17] ^= 1;
            noise.push(transmit, &damaged);
            for len in [0, 1, 44, 112, 1_400, 9_000, 20_000] {
                noise.push(transmit, &vec![0xa5; len]);
            }
            self.inner.send(&noise, &mut |_| ());
        }
    }
}

impl DatagramSocket for Twisted {
    fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }

    fn stamp_sources(&self) -> StampSources {
        self.inner.stamp_sources()
    }

    fn receive_buffer(&self) -> usize {
        self.inner.receive_buffer()
    }

    fn send(&mut self, batch: &SendBatch, departed: &mut dyn FnMut(Departure)) {
        if self.has_moved() {
            for (transmit, payload) in batch.iter() {
                self.elsewhere.send_to(payload, transmit.to).expect("loopback");
                let event = DepartureEvent::Handed(self.clock.now());
                departed(Departure { key: transmit.key, event });
            }
            return;
        }
        self.inner.send(batch, departed);
        if self.twist.shouts {
            self.shout(batch);
        }
    }

    fn receive(&mut self, deliver: &mut dyn FnMut(Micros, &Arrival, &[u8])) -> io::Result<usize> {
        self.inner.receive(deliver)
    }

    fn read_errors(&mut self, report: &mut dyn FnMut(SocketEvent)) {
        self.inner.read_errors(report);
    }

    fn queue_drops(&mut self) -> Option<u64> {
        self.inner.queue_drops()
    }

    fn oversized(&self) -> u64 {
        self.inner.oversized()
    }

    fn clock_steps(&self) -> &[ClockStep] {
        self.inner.clock_steps()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    fn wait_readable(&mut self, timeout: Duration) -> io::Result<()> {
        self.inner.wait_readable(timeout)
    }
}
