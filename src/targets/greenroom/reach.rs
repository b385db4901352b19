//! Reaching an endpoint: name, addresses, QUIC, consent, address validation; and when UDP gets nowhere, whether TCP does.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use greenroom_reports::schema::{Identity, Reached};
use greenroom_reports::trace::ClockInfo;
use greenroom_reports::units::{Bitrate, Micros};
use greenroom_reports::verdict::TargetFailure;

use super::Session;
use super::link::Link;
use crate::net::clock::Clock;
use crate::net::host::CpuTicks;
use crate::net::pacing::{Driver, DriverOptions};
use crate::net::quic::{self, ConnectError, Connected};
use crate::net::resolve::{self, Family, ResolveError};
use crate::net::trust::{Refusal, Trust};
use crate::net::udp::{self, Interface, UdpOptions};
use crate::net::url::EndpointUrl;
use crate::net::ws;
use crate::plan::{Against, Plan};
use crate::proto::control::{Accept, ClientInfo, Frame, Hello, Limits, Refuse, RefuseCode, Token, VERSION};
use crate::proto::sender::{AudioPlan, Sender, SenderConfig, SenderState};
use crate::proto::stamp::WallAnchor;

/// The longest that it takes until a silent endpoint is given up.
pub const REACH: Duration = Duration::from_millis(2_900);

const RESOLVE: Duration = Duration::from_millis(2_500);
/// RFC 8305 section 5 recommends 250 ms from one attempt to the next.
const STAGGER: Duration = Duration::from_millis(250);
const CONNECT: Duration = Duration::from_millis(2_500);
/// TCP is tried when UDP has not answered for so long; on most paths it is never needed.
const TCP_AFTER: Duration = Duration::from_millis(700);
const TCP: Duration = Duration::from_millis(1_800);
const CONSENT: Duration = Duration::from_millis(1_500);
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
    let from = clock.now();
    let against = &plan.against;
    let addresses = addresses_of(endpoint).await?;
    let trust = Trust::measuring(endpoint.pin);
    let (connected, address) = connect(&addresses, endpoint, &trust, against).await?;
    let identity = match connected.identity.is_verified() {
        true => Identity::Verified,
        false => Identity::Unverified,
    };
    let unreached = |failure| Unreached { failure, identity: Some(identity) };
    let token = token_for(against, identity).map_err(unreached)?;
    let opened = tokio::time::timeout(CONSENT, consent(&connected, plan, token)).await;
    let (accept, link) = opened.unwrap_or(Err(TargetFailure::Died)).map_err(unreached)?;
    let driver = start_driver(plan, &accept, address, clock).map_err(unreached)?;
    validated(&driver).await.map_err(unreached)?;
    Ok(Session {
        reached: Reached {
            transport: "udp".to_owned(),
            address: Some(address.to_string()),
            setup_ms: Some((clock.now() - from).as_ms()),
        },
        identity,
        connection: connected.connection,
        link,
        driver,
        cpu_before: CpuTicks::read(),
    })
}

async fn addresses_of(endpoint: &EndpointUrl) -> Result<Vec<SocketAddr>, TargetFailure> {
    let resolved = resolve::resolve(&endpoint.host, endpoint.port, Family::Any, RESOLVE).await;
    let resolved = resolved.map_err(|error| match error {
        ResolveError::NoIpv4 { .. } => TargetFailure::NoIpv4,
        ResolveError::NoIpv6 { .. } => TargetFailure::NoIpv6,
        other => TargetFailure::UnknownHost { detail: other.to_string() },
    })?;
    let all = resolved.ordered();
    let usable: Vec<SocketAddr> = all.iter().copied().filter(|to| resolve::has_route(*to)).collect();
    if !usable.is_empty() {
        return Ok(usable);
    }
    Err(match (resolved.v4.is_empty(), resolved.v6.is_empty()) {
        (true, false) => TargetFailure::NoIpv6,
        (false, true) => TargetFailure::NoIpv4,
        _ => TargetFailure::NoNetwork,
    })
}

/// Tries the addresses one after the other, each a little after the one before (RFC 8305), and TCP beside them.
async fn connect(
    addresses: &[SocketAddr],
    endpoint: &EndpointUrl,
    trust: &Trust,
    against: &Against,
) -> Result<(Connected, SocketAddr), TargetFailure> {
    let name = endpoint.host.server_name();
    let local = match against.interface.as_deref().map(Interface::parse) {
        Some(Interface::Address(address)) => Some(address),
        _ => None,
    };
    let mut attempts: FuturesUnordered<_> = addresses
        .iter()
        .filter(|to| local.is_none_or(|local| local.is_ipv4() == to.is_ipv4()))
        .zip(0_u32..)
        .map(|(to, number)| {
            let name = name.as_str();
            async move {
                tokio::time::sleep(STAGGER * number).await;
                let from = local.map(|address| SocketAddr::new(address, 0));
                let dialer = quic::dial(from, *to)
                    .map_err(|error| ConnectError::Local { to: *to, reason: error.to_string() })?;
                let alpn = [quic::ALPN];
                quic::connect(&dialer, *to, name, trust, &alpn, CONNECT.saturating_sub(STAGGER * number))
                    .await
                    .map(|connected| (connected, *to))
            }
        })
        .collect();
    let over_tcp = tcp_gets_through(addresses, &name, trust);
    tokio::pin!(over_tcp);
    let mut tcp = None;
    let mut worst: Option<ConnectError> = None;
    loop {
        tokio::select! {
            biased;
            attempt = attempts.next() => match attempt {
                Some(Ok(found)) => return Ok(found),
                Some(Err(error)) => worst = Some(most_telling(worst, error)),
                None => break,
            },
            through = &mut over_tcp, if tcp.is_none() => tcp = Some(through),
        }
    }
    match worst {
        Some(ConnectError::Silent { .. }) => {
            let through = match tcp {
                Some(through) => through,
                None => over_tcp.await,
            };
            Err(if through {
                TargetFailure::UdpBlocked { works: Some(format!("tls/{}", endpoint.port)) }
            } else {
                TargetFailure::Silent
            })
        }
        Some(error) => Err(failure_of(&error)),
        None => Err(TargetFailure::NoNetwork),
    }
}

/// Whether the endpoint's fallback answers over TCP and TLS.
async fn tcp_gets_through(addresses: &[SocketAddr], name: &str, trust: &Trust) -> bool {
    tokio::time::sleep(TCP_AFTER).await;
    let mut attempts: FuturesUnordered<_> =
        addresses.iter().map(|to| ws::connect(*to, name, trust, TCP)).collect();
    while let Some(attempt) = attempts.next().await {
        if attempt.is_ok() {
            return true;
        }
    }
    false
}

/// Of two reasons the one that says more: somebody who answers says more than silence.
fn most_telling(known: Option<ConnectError>, new: ConnectError) -> ConnectError {
    fn rank(error: &ConnectError) -> u8 {
        match error {
            ConnectError::Local { .. } => 0,
            ConnectError::Silent { .. } => 1,
            ConnectError::Refused { .. } => 2,
            _ => 3,
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

/// The token, if there is one and the endpoint may have it.
fn token_for(against: &Against, identity: Identity) -> Result<Option<Token>, TargetFailure> {
    match (&against.token, identity) {
        (None, _) => Ok(None),
        (Some(token), Identity::Verified) => Ok(Some(token.clone())),
        (Some(_), Identity::Unverified) => Err(TargetFailure::TokenWithheld),
    }
}

/// Asks for a session.
async fn consent(
    connected: &Connected,
    plan: &Plan,
    token: Option<Token>,
) -> Result<(Accept, Link), TargetFailure> {
    let (send, recv) = connected.connection.open_bi().await.map_err(|_| TargetFailure::Died)?;
    let mut link = Link::new(send, recv);
    link.tell(&Frame::Hello(hello(plan, token))).await;
    match link.next().await {
        Some(Frame::Accept(accept)) if accept.version == VERSION => Ok((*accept, link)),
        Some(Frame::Accept(accept)) => Err(TargetFailure::ProtocolVersion {
            theirs: Some(accept.version.to_string()),
            ours: VERSION.to_string(),
        }),
        Some(Frame::Refuse(refuse)) => Err(refusal(refuse)),
        Some(_) => Err(TargetFailure::NotThisKind { detail: "it spoke out of turn".to_owned() }),
        None => Err(link.failure.unwrap_or(TargetFailure::Died)),
    }
}

/// What is asked for: what the plan sends at most, each way, and half as much again for bursts and key frames.
fn hello(plan: &Plan, token: Option<Token>) -> Hello {
    let media = plan.phases.iter().map(|phase| phase.offered_up.max(phase.offered_down)).max();
    let audio: Bitrate =
        plan.streams.iter().filter(|s| s.spec.direction.is_none()).map(|s| s.spec.rate).sum();
    let bps = (media.unwrap_or_default() + audio).bps() * 3 / 2;
    Hello {
        versions: vec![VERSION],
        token,
        client: ClientInfo {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        wants: Limits {
            max_bitrate_bps: Bitrate::from_bps(bps),
            // Packets of 500 bytes on average at least, and room for audio.
            max_pps: u32::try_from(bps / 4_000 + 100).unwrap_or(u32::MAX),
            max_duration_us: plan.longest() + Micros::from_secs(5),
        },
    }
}

fn refusal(refuse: Refuse) -> TargetFailure {
    let retry_after_s = refuse.retry_after_us.and_then(|after| u64::try_from(after.get() / 1_000_000).ok());
    match refuse.code {
        RefuseCode::TokenRequired => TargetFailure::TokenRequired,
        RefuseCode::WrongToken => TargetFailure::WrongToken,
        RefuseCode::Version => {
            TargetFailure::ProtocolVersion { theirs: Some(refuse.say), ours: VERSION.to_string() }
        }
        RefuseCode::Busy | RefuseCode::Quota | RefuseCode::Rate => TargetFailure::Quota { retry_after_s },
        RefuseCode::Draining | RefuseCode::Expired | RefuseCode::BadRequest | RefuseCode::Other => {
            TargetFailure::Refused { detail: refuse.say }
        }
    }
}

fn start_driver(
    plan: &Plan,
    accept: &Accept,
    address: SocketAddr,
    clock: Clock,
) -> Result<Driver<Sender>, TargetFailure> {
    let local = |what: &str, error: &dyn std::fmt::Display| TargetFailure::Local {
        detail: format!("{what}: {error}"),
    };
    let reflector = SocketAddr::new(accept.stamp_addr.unwrap_or(address.ip()), accept.stamp_port);
    let any: SocketAddr = match reflector {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let options = UdpOptions {
        interface: plan.against.interface.as_deref().map(Interface::parse),
        ..UdpOptions::new(any)
    };
    let socket = udp::open(&options, clock).map_err(|error| local("opening a socket", &error))?;
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
    Driver::start(Sender::new(config, now), vec![socket], clock, &DriverOptions::precise("greenroom-probe"))
        .map_err(|error| local("starting the measuring thread", &error))
}

/// Below 20 ms, so that audio does not beat with periodic events of the network (RFC 3432 section 3).
#[expect(clippy::disallowed_methods, reason = "the shell draws what the core takes as an argument")]
fn random_phase() -> Micros {
    use rand::RngExt as _;
    Micros::new(rand::rng().random_range(0..20_000))
}

/// Waits until the endpoint has validated this end's address.
async fn validated(driver: &Driver<Sender>) -> Result<(), TargetFailure> {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    loop {
        tick.tick().await;
        match driver.call(|sender, _| sender.state()).await {
            Ok(SenderState::Validating) => {}
            // The QUIC port answered and the one for probes did not: a firewall that lets single ports through.
            Ok(SenderState::Unreachable) => {
                return Err(TargetFailure::UdpBlocked { works: Some("quic".to_owned()) });
            }
            Ok(_) => return Ok(()),
            Err(ended) => return Err(TargetFailure::Local { detail: ended.to_string() }),
        }
    }
}
