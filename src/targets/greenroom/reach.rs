//! Reaching an endpoint: name, addresses, QUIC, consent, address validation; and when UDP gets nowhere, all of it over TCP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use greenroom_reports::schema::{Identity, Reached};
use greenroom_reports::trace::ClockInfo;
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::TargetFailure;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::super::find::addresses_of;
use super::consent::{self, reflector_of};
use super::link::Link;
use super::{Carrier, Session};
use crate::address::EndpointUrl;
use crate::net::clock::Clock;
use crate::net::datagrams;
use crate::net::link;
use crate::net::pacing::{Driver, DriverOptions, End, Ended};
use crate::net::quic::{self, ConnectError, Connected};
use crate::net::trust::{self, Refusal, Trust};
use crate::net::tunnel::tunnel;
use crate::net::udp::{self, DatagramSocket, Interface, StampMode, UdpOptions};
use crate::net::ws::{self, FrameSocket};
use crate::plan::Plan;
use crate::proto::control::{Accept, Limits, ProbeCarrier, VERSION};
use crate::proto::sender::{AudioPlan, Sender, SenderConfig, SenderState};
use crate::proto::stamp::WallAnchor;
use crate::system::{CpuTicks, release_code};

/// The longest that it takes until a silent endpoint is given up.
pub const REACH: Duration = Duration::from_millis(2_900);

/// RFC 8305 section 5 recommends 250 ms from one attempt to the next.
const STAGGER: Duration = Duration::from_millis(250);
const CONNECT: Duration = Duration::from_millis(2_500);
/// TCP is tried when UDP has not answered for so long; on most paths it is never needed.
const TCP_AFTER: Duration = Duration::from_millis(700);
const TCP: Duration = Duration::from_millis(1_800);
/// UDP may take so long before a fallback that stands is taken: QUIC has then sent its first packet four times.
const UDP_PATIENCE: Duration = Duration::from_millis(1_500);
/// QUIC looks for a larger MTU right after its handshake and needs a few round trips.
const MTU_KNOWN: Duration = Duration::from_millis(800);
const VALIDATE: Micros = Micros::from_millis(1_500);

/// Why there is no session.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreached {
    /// Why.
    pub failure: TargetFailure,
    /// Whether the endpoint proved who it is, as far as that came to be known.
    pub identity: Option<Identity>,
}

impl From<TargetFailure> for Unreached {
    fn from(failure: TargetFailure) -> Self {
        Self { failure, identity: None }
    }
}

/// Reaches an endpoint for what `plan` is going to send.
///
/// # Errors
///
/// [`Unreached`] with a typed reason.
pub async fn reach(plan: &Plan, endpoint: &EndpointUrl, clock: Clock) -> Result<Session, Unreached> {
    let attempt = Attempt {
        plan,
        port: endpoint.port,
        name: endpoint.host.server_name(),
        trust: Trust::measuring(endpoint.pin),
        clock,
        from: clock.now(),
    };
    match attempt.connect(&addresses_of(&endpoint.host, endpoint.port).await?).await? {
        Contact::Quic(connected, address) => match attempt.over_udp(connected, address).await {
            // A firewall that lets single ports through: QUIC's and not that of the probes.
            Err(Unreached {
                failure:
                    blocked @ (TargetFailure::UdpPortBlocked { .. } | TargetFailure::UdpBlockedHere { .. }),
                identity,
            }) => {
                if let Some(session) = attempt.over_datagrams(address, &blocked).await {
                    return Ok(session);
                }
                match attempt.web_socket(&[address]).await {
                    Some(opened) => attempt.over_web_socket(opened, blocked).await,
                    None => Err(Unreached { failure: blocked, identity }),
                }
            }
            reached_or_not => reached_or_not,
        },
        Contact::WebSocket(opened, blocked) => attempt.over_web_socket(*opened, blocked).await,
    }
}

/// An attempt to reach an endpoint.
struct Attempt<'a> {
    plan: &'a Plan,
    port: u16,
    name: String,
    trust: Trust,
    clock: Clock,
    from: Micros,
}

/// What got through first.
enum Contact {
    Quic(Connected, SocketAddr),
    /// The fallback, and what became of UDP.
    WebSocket(Box<Opened>, TargetFailure),
}

/// The endpoint's fallback, connected.
struct Opened {
    socket: FrameSocket<TlsStream<TcpStream>>,
    identity: trust::Identity,
    address: SocketAddr,
}

impl Attempt<'_> {
    /// Tries the addresses one after the other, each a little after the one before (RFC 8305), and TCP beside them. TCP is
    /// taken only when UDP does not get through.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<Contact, TargetFailure> {
        let mut attempts = addresses
            .iter()
            .filter(|to| self.local().is_none_or(|local| local.is_ipv4() == to.is_ipv4()))
            .zip(0_u32..)
            .map(|(to, number)| self.quic(*to, number))
            .collect::<FuturesUnordered<_>>();
        let udp_failed = CancellationToken::new();
        let over_tcp = async {
            // Whichever is first.
            let _ = tokio::time::timeout(TCP_AFTER, udp_failed.cancelled()).await;
            self.web_socket(addresses).await
        };
        tokio::pin!(over_tcp);
        let patience = tokio::time::sleep(UDP_PATIENCE);
        tokio::pin!(patience);
        let (mut fallback, mut tcp_settled) = (None, false);
        let (mut worst, mut udp_settled) = (None, false);
        loop {
            tokio::select! {
                biased;
                attempt = attempts.next(), if !udp_settled => match attempt {
                    Some(Ok((connected, address))) => return Ok(Contact::Quic(connected, address)),
                    Some(Err(error)) => worst = Some(most_telling(worst, error)),
                    None => {
                        udp_settled = true;
                        udp_failed.cancel();
                    }
                },
                opened = &mut over_tcp, if !tcp_settled => (fallback, tcp_settled) = (opened, true),
                () = &mut patience, if !patience.is_elapsed() => {}
            }
            if udp_settled && !worst.as_ref().is_some_and(may_be_blocked) {
                return Err(worst.as_ref().map_or(TargetFailure::NoNetwork, failure_of));
            }
            if udp_settled || patience.is_elapsed() {
                if let Some(opened) = fallback.take() {
                    return Ok(self.instead(opened, worst.as_ref()));
                }
                if udp_settled && tcp_settled {
                    return Err(worst.as_ref().map_or(TargetFailure::Silent, failure_of));
                }
            }
        }
    }

    /// The fallback instead of UDP, which failed for this reason.
    fn instead(&self, opened: Opened, udp: Option<&ConnectError>) -> Contact {
        let works = Some(format!("tls/{}", self.port));
        let blocked = match udp {
            Some(ConnectError::Forbidden { to }) => TargetFailure::UdpBlockedHere { port: to.port(), works },
            _ => TargetFailure::UdpBlocked { works },
        };
        Contact::WebSocket(Box::new(opened), blocked)
    }

    async fn quic(&self, to: SocketAddr, number: u32) -> Result<(Connected, SocketAddr), ConnectError> {
        let delay = STAGGER * number;
        tokio::time::sleep(delay).await;
        let interface = self.interface();
        let local = |error: udp::OpenError| ConnectError::Local { to, reason: error.to_string() };
        let dialer = quic::dial(interface.as_ref(), to).map_err(local)?;
        let deadline = CONNECT.saturating_sub(delay);
        let connected = quic::connect(&dialer, to, &self.name, &self.trust, &[quic::ALPN], deadline).await?;
        Ok((connected, to))
    }

    /// The interface that was asked for.
    fn interface(&self) -> Option<Interface> {
        self.plan.against.interface.as_deref().map(Interface::parse)
    }

    /// The address that was asked to send from.
    fn local(&self) -> Option<IpAddr> {
        match self.interface() {
            Some(Interface::Address(address)) => Some(address),
            _ => None,
        }
    }

    /// The first of these addresses whose fallback answers over TCP and TLS.
    async fn web_socket(&self, addresses: &[SocketAddr]) -> Option<Opened> {
        let interface = self.interface();
        let interface = interface.as_ref();
        let connect = |address: SocketAddr| async move {
            let connecting = ws::connect_over(interface, address, &self.name, &self.trust, TCP);
            let (socket, identity) = connecting.await.ok()?;
            Some(Opened { socket, identity, address })
        };
        let mut attempts: FuturesUnordered<_> = addresses.iter().copied().map(connect).collect();
        while let Some(opened) = attempts.next().await {
            if opened.is_some() {
                return opened;
            }
        }
        None
    }

    /// Sets the session up over QUIC and UDP.
    async fn over_udp(&self, connected: Connected, address: SocketAddr) -> Result<Session, Unreached> {
        let identity = identity_of(&connected.identity);
        let unreached = |failure| Unreached { failure, identity: Some(identity) };
        // Name service, certificates and handshakes are behind us,
        release_code();
        let opened = connected.connection.open_bi().await;
        let (send, receive) = opened.map_err(|_| unreached(TargetFailure::Died))?;
        let carrier = link::Link::quic(send, receive);
        let (accept, link) =
            consent::ask(carrier, self.plan, identity, ProbeCarrier::OwnPort).await.map_err(unreached)?;
        // and now so is what the session was agreed on with. Nothing is timed yet.
        release_code();
        let reflector = reflector_of(&accept, address, identity);
        let socket = self.open_udp(reflector).map_err(unreached)?;
        let mut driver = self.start_driver(&accept, reflector, socket).map_err(unreached)?;
        let (port, works) = (reflector.port(), format!("quic/{}", self.port));
        let blocked = match validated(&mut driver).await.map_err(unreached)? {
            Validation::Done => None,
            Validation::Unanswered => Some(TargetFailure::UdpPortBlocked { port, works }),
            Validation::Forbidden => Some(TargetFailure::UdpBlockedHere { port, works: Some(works) }),
        };
        if let Some(blocked) = blocked {
            quic::close(&connected.connection);
            return Err(unreached(blocked));
        }
        let reached = self.reached("udp", address, None);
        let carrier = Carrier::Quic(connected.connection);
        Ok(session(reached, identity, carrier, link, driver, accept.limits))
    }

    /// Sets the session up over QUIC alone, the port of the probes being blocked. `None`: it does not carry them.
    async fn over_datagrams(&self, address: SocketAddr, blocked: &TargetFailure) -> Option<Session> {
        // The connection whose probes were blocked carries a session already.
        let (connected, address) = self.quic(address, 0).await.ok()?;
        let connection = connected.connection;
        let identity = identity_of(&connected.identity);
        let (send, receive) = connection.open_bi().await.ok()?;
        let carrier = link::Link::quic(send, receive);
        let asked = consent::ask(carrier, self.plan, identity, ProbeCarrier::QuicDatagrams).await;
        let (accept, link) = asked.ok()?;
        let (near, far) = tunnel(address, address, self.clock).ok()?;
        let carried = connection.clone();
        tokio::spawn(async move { datagrams::carry(&carried, far).await });
        let mut driver = self.start_driver(&accept, address, Box::new(near)).ok()?;
        if validated(&mut driver).await.ok()? != Validation::Done || !probes_fit(&connection).await {
            quic::close(&connection);
            return None;
        }
        let reached = self.reached("quic-datagram", address, Some(blocked.clone()));
        let carrier = Carrier::Datagrams(connection);
        Some(session(reached, identity, carrier, link, driver, accept.limits))
    }

    /// Sets the session up over a WebSocket, UDP being blocked.
    async fn over_web_socket(&self, opened: Opened, blocked: TargetFailure) -> Result<Session, Unreached> {
        let Opened { socket, identity, address } = opened;
        let identity = identity_of(&identity);
        let unreached = |failure| Unreached {
            // What answers over TCP is of no use: that UDP is blocked says more.
            failure: match failure {
                TargetFailure::Died | TargetFailure::NotThisKind { .. } => blocked.clone(),
                telling => telling,
            },
            identity: Some(identity),
        };
        let local = |error: io::Error| TargetFailure::Local { detail: error.to_string() };
        let (near, far) = tunnel(address, address, self.clock).map_err(local).map_err(unreached)?;
        let asked = self.clock.now();
        let carrier = link::Link::web_socket(socket, far);
        let (accept, link) =
            consent::ask(carrier, self.plan, identity, ProbeCarrier::OwnPort).await.map_err(unreached)?;
        let round_trip = self.clock.now() - asked;
        let mut driver = self.start_driver(&accept, address, Box::new(near)).map_err(unreached)?;
        if validated(&mut driver).await.map_err(unreached)? != Validation::Done {
            return Err(unreached(TargetFailure::Died));
        }
        let reached = self.reached("websocket", address, Some(blocked.clone()));
        let carrier = Carrier::WebSocket { round_trip };
        Ok(session(reached, identity, carrier, link, driver, accept.limits))
    }

    fn reached(
        &self,
        transport: &str,
        address: SocketAddr,
        instead_of_udp: Option<TargetFailure>,
    ) -> Reached {
        Reached {
            transport: transport.to_owned(),
            address: Some(address.to_string()),
            setup_ms: Some((self.clock.now() - self.from).as_ms()),
            instead_of_udp,
        }
    }

    fn open_udp(&self, reflector: SocketAddr) -> Result<Box<dyn DatagramSocket>, TargetFailure> {
        let any: SocketAddr = match reflector {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let against = &self.plan.against;
        let options = UdpOptions {
            interface: self.interface(),
            stamps: if against.program_stamps { StampMode::User } else { StampMode::Kernel },
            ..match self.plan.search {
                Some(_) => {
                    UdpOptions { receive_buffer: 8 << 20, send_buffer: 4 << 20, ..UdpOptions::new(any) }
                }
                None => UdpOptions::new(any),
            }
        };
        udp::open(&options, self.clock)
            .map_err(|error| TargetFailure::Local { detail: format!("opening a socket: {error}") })
    }

    fn start_driver(
        &self,
        accept: &Accept,
        reflector: SocketAddr,
        socket: Box<dyn DatagramSocket>,
    ) -> Result<Driver<Sender>, TargetFailure> {
        let (plan, clock) = (self.plan, self.clock);
        let stamps = socket.stamp_sources();
        let now = clock.now();
        let config = SenderConfig {
            reflector,
            ssid: accept.ssid,
            key: accept.key.clone(),
            anchor_here: WallAnchor::from_unix_micros(clock.started().as_microsecond()),
            anchor_there: accept.anchor_unix_us,
            timestamps_there: accept.timestamps,
            clock: ClockInfo { tx: stamps.tx, rx: stamps.rx, steps: Vec::new() },
            validate_until: now + VALIDATE,
            audio: AudioPlan { start_phase: random_phase(), duration: plan.traffic_ends(), tos: 0 },
            straggler_wait: plan.drain,
        };
        let options = DriverOptions::precise("greenroom-probe");
        Driver::start(Sender::new(config, now), vec![socket], clock, &options).map_err(|error| {
            TargetFailure::Local { detail: format!("starting the measuring thread: {error}") }
        })
    }
}

/// Waits until QUIC has found out that the path takes the largest probe; for as long as that takes on most.
async fn probes_fit(connection: &quinn::Connection) -> bool {
    let found = async {
        while !datagrams::fit(connection) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(MTU_KNOWN, found).await.is_ok()
}

fn session(
    reached: Reached,
    identity: Identity,
    carrier: Carrier,
    link: Link,
    driver: Driver<Sender>,
    granted: Limits,
) -> Session {
    let cpu_before = CpuTicks::read();
    Session { reached, identity, carrier, link, driver, granted, searching: None, cpu_before }
}

fn identity_of(identity: &trust::Identity) -> Identity {
    if identity.is_verified() { Identity::Verified } else { Identity::Unverified }
}

/// Whether a firewall may be behind it: this computer's, one that says so, silence, or a refusal that it may have sent itself.
fn may_be_blocked(error: &ConnectError) -> bool {
    use ConnectError::{Forbidden, Prohibited, Refused, Silent};
    matches!(error, Silent { .. } | Refused { .. } | Forbidden { .. } | Prohibited { .. })
}

/// Of two reasons the one that says more: somebody who answers says more than this computer's firewall, and that more than
/// silence or a refusal, which another firewall may have sent.
fn most_telling(known: Option<ConnectError>, new: ConnectError) -> ConnectError {
    fn rank(error: &ConnectError) -> u8 {
        match error {
            ConnectError::Local { .. } => 0,
            ConnectError::NextHopSilent { .. } | ConnectError::NoWay { .. } => 1,
            ConnectError::Silent { .. } => 2,
            ConnectError::Refused { .. } => 3,
            ConnectError::Prohibited { .. } => 4,
            ConnectError::Forbidden { .. } => 5,
            _ => 6,
        }
    }
    match known {
        Some(known) if rank(&known) >= rank(&new) => known,
        _ => new,
    }
}

fn failure_of(error: &ConnectError) -> TargetFailure {
    let detail = error.to_string();
    match error {
        ConnectError::Silent { .. } => TargetFailure::Silent,
        ConnectError::Refused { .. } => TargetFailure::PortClosed,
        ConnectError::Forbidden { to } => TargetFailure::UdpBlockedHere { port: to.port(), works: None },
        ConnectError::Prohibited { by, .. } => TargetFailure::FirewallOnTheWay { by: by.to_string() },
        ConnectError::NoWay { by, .. } => TargetFailure::NoWay { by: by.to_string() },
        ConnectError::NextHopSilent { .. } => TargetFailure::NextHopSilent,
        ConnectError::Local { .. } => TargetFailure::Local { detail },
        ConnectError::Certificate(Refusal::Pin { .. } | Refusal::Untrusted { .. }) => {
            TargetFailure::TlsUnverified { detail }
        }
        ConnectError::Version { .. } => {
            TargetFailure::ProtocolVersion { theirs: None, ours: VERSION.to_string() }
        }
        ConnectError::Protocol { .. } | ConnectError::Name { .. } | ConnectError::Closed { .. } => {
            TargetFailure::NotThisKind { detail }
        }
    }
}

/// Below 20 ms, so that audio does not beat with periodic events of the network (RFC 3432 section 3).
#[expect(clippy::disallowed_methods, reason = "the shell draws what the core takes as an argument")]
fn random_phase() -> Micros {
    use rand::RngExt as _;
    Micros::new(rand::rng().random_range(0..20_000))
}

/// How the validation of this end's address ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validation {
    /// The endpoint knows the address.
    Done,
    /// Nothing came back.
    Unanswered,
    /// This computer does not let the probes out.
    Forbidden,
}

/// Waits until the endpoint has validated this end's address, or it is clear that it does not answer.
async fn validated(driver: &mut Driver<Sender>) -> Result<Validation, TargetFailure> {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    loop {
        tick.tick().await;
        match driver.call(|sender, _| sender.state()).await {
            Ok(SenderState::Validating) => {}
            // Its thread ends by itself.
            Ok(SenderState::Unreachable) => break,
            Ok(_) => return Ok(Validation::Done),
            // The thread of a sender that has given up ends.
            Err(Ended) => break,
        }
    }
    let local = |detail| TargetFailure::Local { detail };
    let outcome = driver.finished().await.map_err(|ended| local(ended.to_string()))?;
    match (outcome.machine.state(), outcome.end) {
        (SenderState::Unreachable, _) => {
            match outcome.machine.counters().probe_error {
                // An OUTPUT rule of this computer. EACCES may be a router's word, too (ICMPv6 "administratively prohibited").
                Some(libc::EPERM) => Ok(Validation::Forbidden),
                _ => Ok(Validation::Unanswered),
            }
        }
        (_, End::SocketFailed(detail)) => Err(local(detail)),
        _ => Err(local(Ended.to_string())),
    }
}
