//! The media endpoint that others measure against: STAMP reflector, control over QUIC, bulk, and a WebSocket fallback.
//!
//! | port | what |
//! |---|---|
//! | base, UDP (7443) | QUIC: control stream, bulk transfers (ALPN `greenroom/1`); WebTransport for browsers (ALPN `h3`) |
//! | base, TCP (7443) | TLS: a WebSocket that carries control and probes, for clients whose UDP is blocked |
//! | base + 1, UDP (7444) | STAMP and media streams |
//! | base + 2, UDP (7445) | WebRTC for browsers, where asked for ([`Config::web_rtc`]) |
//! | own loopback listener (9443) | health and metrics |
//!
//! What it does for strangers is bounded: [`crate::proto::admission`] says how many, how fast and how long, and the
//! reflector sends nothing to an address that has not echoed a nonce.

mod browser;
mod bulk;
mod config;
mod fallback;
mod health;
mod load;
mod rtc;
mod session;
mod stats;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use greenroom_reports::trace::ClockInfo;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use browser::PATH as BROWSER_PATH;
pub use bulk::{BulkRequest, BulkResult, LoadTold};
pub use config::{Config, LOOPBACK, available_loopback};
pub use fallback::WebSockets;
pub use health::http;
pub use rtc::{Answer, Unanswered, WebRtc};
pub use stats::Stats;

use crate::address::Fingerprint;
use crate::net::clock::Clock;
use crate::net::identity::IdentityError;
use crate::net::pacing::{Driver, DriverOptions};
use crate::net::peers::DoorError;
use crate::net::short_lived::ForBrowsers;
use crate::net::udp::{self, OpenError, StampMode, StampSources, UdpOptions};
use crate::net::{quic, tcp, tls};
use crate::proto::admission::Admission;
use crate::proto::control;
use crate::proto::reflector::{Reflector, ReflectorConfig};
use crate::proto::stamp::{TimestampFormat, WallAnchor};
use session::{Shared, Transport};

/// Bytes asked for the STAMP socket's receive buffer: a tenth of a second of 100,000 packets/s.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Records that a session may log between two chunks: what fits into one control frame.
const LOG_CAP: usize = 16_000;
/// How often counters are copied from the reflector.
const COUNT_INTERVAL: Duration = Duration::from_millis(500);
/// How many ports are tried for one that is free for UDP and TCP, where none was asked for.
const PORT_ATTEMPTS: u32 = 16;

/// Why an endpoint does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A UDP port cannot be had.
    #[error(transparent)]
    Udp(#[from] OpenError),
    /// A port cannot be had.
    #[error(
        "cannot listen on {address} ({protocol}): {source}. Choose another address or port with --listen."
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The port for health and metrics cannot be had.
    #[error(
        "cannot serve health and metrics on {address}: {source}. Choose another address with --health ADDR:PORT, or \
         leave them out with --health off."
    )]
    Health {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Certificate and key are of no use.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The pacing thread could not be started.
    #[error(transparent)]
    Thread(#[from] crate::net::pacing::StartError),
    /// There is no way in for WebRTC.
    #[error(transparent)]
    WebRtc(#[from] DoorError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers; keys cannot be made")]
    Random,
    /// Nothing to listen on.
    #[error("an endpoint needs at least one address to listen on")]
    NoAddress,
    /// A closed endpoint without a token lets nobody in.
    #[error(
        "the token file holds no token: nobody could measure. Write one token per line, or leave --token-file out."
    )]
    NoToken,
}

/// An endpoint at work. Dropping it stops it at once; [`Running::shut_down`] lets sessions end first.
pub struct Running {
    listeners: Vec<Listener>,
    fingerprint: Fingerprint,
    for_browsers: Arc<ForBrowsers>,
    web_rtc: Option<WebRtc>,
    health: Option<SocketAddr>,
    stamps: StampSources,
    stats: Arc<Stats>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The ports of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// QUIC, and TLS on the same number.
    pub control: SocketAddr,
    /// STAMP and media streams.
    pub stamp: SocketAddr,
}

impl Running {
    /// Where it listens, in the order of the configuration.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The fingerprint of its certificate, for `greenroom://HOST#sha256=…`.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The certificate that browsers are shown, whose hash a page gives to `WebTransport`. It is renewed: ask each time.
    pub fn for_browsers(&self) -> &Arc<ForBrowsers> {
        &self.for_browsers
    }

    /// What serves browsers whose UDP is blocked, over WebSockets that a web server hands on.
    pub fn web_sockets(&self) -> WebSockets {
        WebSockets::new(Arc::clone(&self.shared), self.stop.clone(), self.tasks.clone())
    }

    /// What answers browsers that come by WebRTC, where that was asked for.
    pub fn web_rtc(&self) -> Option<&WebRtc> {
        self.web_rtc.as_ref()
    }

    /// Where health and metrics are served.
    pub fn health(&self) -> Option<SocketAddr> {
        self.health
    }

    /// Who takes the stamps of the STAMP ports.
    pub fn stamps(&self) -> StampSources {
        self.stamps
    }

    /// Sessions open at this moment.
    pub fn open_sessions(&self) -> usize {
        self.shared.open_sessions()
    }

    /// What it counts. Gauges are up to half a second old.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Admits nobody any more, waits until the open sessions have ended or `grace` has passed, and stops.
    pub async fn shut_down(self, grace: Duration) {
        self.shared.drain();
        let emptied = async {
            while self.shared.open_sessions() > 0 {
                self.shared.session_ended().await;
            }
        };
        // What has not ended by then is cut off: the clients have their own half.
        let _ = tokio::time::timeout(grace, emptied).await;
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts an endpoint. Everything listens when this returns.
///
/// # Errors
///
/// A [`StartError`] for each thing that is missing; nothing keeps running then.
pub async fn start(config: Config) -> Result<Running, StartError> {
    if config.listen.is_empty() {
        return Err(StartError::NoAddress);
    }
    if config.lets_nobody_in() {
        return Err(StartError::NoToken);
    }
    let clock = Clock::start();
    let for_browsers = ForBrowsers::start(&config.identity, clock.started())?;
    let mut sockets = Vec::new();
    let mut bound = Vec::new();
    for ip in &config.listen {
        let server = quic::server_config_of(for_browsers.server_config(&[control::ALPN, quic::H3])?);
        let (endpoint, tcp) = bind_control(*ip, config.port, &server)?;
        let at = endpoint.local_addr().map_err(|source| listen_error(*ip, config.port, "UDP", source))?;
        let stamp_port = if config.port == 0 { 0 } else { config.port.saturating_add(1) };
        let options = UdpOptions {
            receive_buffer: RECEIVE_BUFFER,
            send_buffer: RECEIVE_BUFFER / 2,
            stamps: if config.user_stamps { StampMode::User } else { StampMode::Kernel },
            ..UdpOptions::new(SocketAddr::new(*ip, stamp_port))
        };
        let socket = udp::open(&options, clock)?;
        bound.push((endpoint, tcp, Listener { control: at, stamp: socket.local_addr() }));
        sockets.push(socket);
    }
    let door = rtc::open(&config, clock)?;
    let stamps = sockets[0].stamp_sources();
    let reflector = Reflector::new(ReflectorConfig {
        anchor: WallAnchor::from_unix_micros(clock.started().as_microsecond()),
        timestamps: TimestampFormat::Ntp,
        clock: ClockInfo { tx: stamps.tx, rx: stamps.rx, steps: Vec::new() },
        secret: random_bytes()?,
        open: config.open_stamp,
        log_cap: LOG_CAP,
    });
    let driver = Driver::start(reflector, sockets, clock, &DriverOptions::relaxed("stamp"))?;
    let acceptor = tls::acceptor(&config.identity, &[b"http/1.1"])?;
    let stats = Arc::new(Stats::default());
    let shared = Arc::new(Shared::new(
        driver,
        clock,
        Admission::new(config.capacity, config.access.clone()).with_wall(clock.started()),
        config.external_ip,
        Arc::clone(&stats),
    ));
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let listeners = bound.iter().map(|(_, _, listener)| *listener).collect();
    for (endpoint, tcp, listener) in bound {
        let transport = Transport { stamp_port: listener.stamp.port(), stamps };
        tasks.spawn(accept_quic(endpoint, Arc::clone(&shared), transport, stop.clone(), tasks.clone()));
        tasks.spawn(fallback::accept(
            tcp,
            acceptor.clone(),
            Arc::clone(&shared),
            stop.clone(),
            tasks.clone(),
        ));
    }
    let most = config.capacity.max_sessions;
    let web_rtc = door.map(|door| WebRtc::new(door, Arc::clone(&shared), most, stop.clone(), tasks.clone()));
    let health = match config.health {
        Some(address) => Some(health::listen(address, Arc::clone(&stats), stop.clone(), &tasks)?),
        None => None,
    };
    tasks.spawn(count(Arc::clone(&shared), stop.clone()));
    tasks.spawn(browser::renew(Arc::clone(&for_browsers), clock, stop.clone()));
    Ok(Running {
        listeners,
        fingerprint: config.identity.fingerprint(),
        for_browsers,
        web_rtc,
        health,
        stamps,
        stats,
        shared,
        stop,
        tasks,
    })
}

/// Opens QUIC and TCP on one port number. With port 0, on one that is free for both.
fn bind_control(
    ip: IpAddr,
    port: u16,
    server: &quinn::ServerConfig,
) -> Result<(quinn::Endpoint, TcpListener), StartError> {
    let mut attempts = if port == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match bind_both(ip, port, server.clone()) {
            // What is free for UDP may be an outgoing connection's port for TCP.
            Err(StartError::Listen { source, .. })
                if source.kind() == ErrorKind::AddrInUse && attempts > 0 => {}
            bound => return bound,
        }
    }
}

fn bind_both(
    ip: IpAddr,
    port: u16,
    server: quinn::ServerConfig,
) -> Result<(quinn::Endpoint, TcpListener), StartError> {
    let endpoint = quic::listen(SocketAddr::new(ip, port), server)
        .map_err(|source| listen_error(ip, port, "UDP", source))?;
    let port = endpoint.local_addr().map_err(|source| listen_error(ip, port, "UDP", source))?.port();
    let tcp =
        tcp::listen(SocketAddr::new(ip, port)).map_err(|source| listen_error(ip, port, "TCP", source))?;
    Ok((endpoint, tcp))
}

fn listen_error(ip: IpAddr, port: u16, protocol: &'static str, source: std::io::Error) -> StartError {
    StartError::Listen { address: SocketAddr::new(ip, port), protocol, source }
}

/// Octets from the system's random source.
fn random_bytes<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StartError::Random)?;
    Ok(bytes)
}

async fn accept_quic(
    endpoint: quinn::Endpoint,
    shared: Arc<Shared>,
    transport: Transport,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let incoming = tokio::select! {
            () = stop.cancelled() => break,
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
        };
        // Whoever cannot be reached at its address costs nothing but this answer (RFC 9000 §8.1).
        if !incoming.remote_address_validated() && shared.is_busy() {
            let _ = incoming.retry();
            continue;
        }
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = session::serve_quic(incoming, &shared, transport) => {}
            }
        });
    }
    endpoint.close(quinn::VarInt::from_u32(0), b"shutting down");
    endpoint.wait_idle().await;
}

/// Copies the reflector's counters into the metrics until stopped.
async fn count(shared: Arc<Shared>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(COUNT_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => shared.copy_counters().await,
        }
    }
}
