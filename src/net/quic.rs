//! QUIC by quinn: configurations for measuring, and connecting with a typed reason for every failure.
//!
//! Datagrams have user-space stamps only and queue locally; their send buffer is small, so that what cannot leave is refused
//! rather than delayed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, ServerConfig, TokioRuntime,
};
use quinn::{TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use super::congestion;
use super::identity::{IdentityError, ServerIdentity};
use super::knock::{Knocked, TurnedAway, knock};
use super::trust::{Identity, Refusal, Trust, client_config};
use super::udp::{Interface, OpenError, use_interface};

mod look;

pub use look::{Held, Seen, hold, look};

/// Application protocol of Greenroom's own control, grants and bulk.
pub const ALPN: &[u8] = b"greenroom/1";
/// Application protocol of HTTP/3, over which browsers speak WebTransport (RFC 9114).
pub const H3: &[u8] = b"h3";
/// How long a connection attempt may stay without an answer.
pub const CONNECT_DEADLINE: Duration = Duration::from_millis(2_500);
/// After this silence a connection is given up.
pub const IDLE: Duration = Duration::from_secs(5);

/// A lost handshake packet costs three times this before it is sent again (RFC 9002: PTO of 3 x the initial RTT less what
/// is known), where the default of 333 ms would cost a second. On paths of more than 180 ms the first packets go twice, which
/// costs some kilobytes and is undone by the first round trip that is measured.
const INITIAL_RTT: Duration = Duration::from_millis(60);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Bytes asked for the socket's receive buffer, which is that of all connections: what the system has by default are some hundred packets,
/// a few milliseconds of five hundred clients.
const RECEIVE_BUFFER: usize = 8 << 20;
const DATAGRAM_SEND_BUFFER: usize = 16 * 1_024;
const DATAGRAM_RECEIVE_BUFFER: usize = 256 * 1_024;
/// TLS alert 120, no_application_protocol, as a QUIC crypto error (RFC 9001 section 4.8).
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// The transport settings of both ends.
pub fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .initial_rtt(INITIAL_RTT)
        .max_idle_timeout(Some(IDLE.try_into().expect("five seconds are a valid idle timeout")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .congestion_controller_factory(Arc::new(congestion::Factory::default()))
        .datagram_send_buffer_size(DATAGRAM_SEND_BUFFER)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER));
    transport
}

/// A server configuration that speaks these application protocols as this identity.
///
/// # Errors
///
/// When certificate and key cannot be used.
pub fn server_config(identity: &ServerIdentity, alpn: &[&[u8]]) -> Result<ServerConfig, IdentityError> {
    Ok(server_config_of(identity.server_config(alpn, true)?))
}

/// A server configuration over one of TLS, which must know TLS 1.3.
pub fn server_config_of(tls: Arc<rustls::ServerConfig>) -> ServerConfig {
    let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3 by ring has the initial cipher suite");
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    config
}

/// The application protocol that was agreed on.
pub fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    let data = connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
    data.protocol
}

/// Opens an endpoint that accepts connections on an address. An IPv6 address carries IPv6 alone.
///
/// # Errors
///
/// When the address cannot be bound.
pub fn listen(local: SocketAddr, config: ServerConfig) -> io::Result<Endpoint> {
    let socket = udp_socket(local)?;
    socket.bind(&local.into())?;
    endpoint(socket, Some(config))
}

/// Opens an endpoint for outgoing connections of the family of `to`, over `interface` when given.
///
/// # Errors
///
/// When the interface cannot be used or no address bound.
pub fn dial(interface: Option<&Interface>, to: SocketAddr) -> Result<Endpoint, OpenError> {
    let any = any_of_family(to);
    let failed = |source| OpenError::Bind { local: any, source };
    let socket = udp_socket(any).map_err(failed)?;
    let local = use_interface(&socket, interface, any)?;
    socket.bind(&local.into()).map_err(|source| OpenError::Bind { local, source })?;
    endpoint(socket, None).map_err(failed)
}

/// A connection and who is at its other end.
#[derive(Debug, Clone)]
pub struct Connected {
    /// The connection.
    pub connection: Connection,
    /// Who is there.
    pub identity: Identity,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// This machine cannot even try: no route, no socket.
    #[error("this computer cannot send to {to}: {reason}")]
    Local {
        /// Where to.
        to: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// A firewall on this machine does not let this program send there.
    #[error("this computer's firewall does not let this program send to {to}")]
    Forbidden {
        /// Where to.
        to: SocketAddr,
    },
    /// A firewall on the way says that it lets nothing through.
    #[error("a firewall on the way, {by}, says that it does not let {to} be reached")]
    Prohibited {
        /// Where to.
        to: SocketAddr,
        /// Who said so.
        by: IpAddr,
    },
    /// A router on the way knows no way.
    #[error("a router on the way, {by}, says that it knows no way to {to}")]
    NoWay {
        /// Where to.
        to: SocketAddr,
        /// Who said so.
        by: IpAddr,
    },
    /// The next hop does not answer on its own link.
    #[error("nobody answers this computer on the way to {to}, not even its router")]
    NextHopSilent {
        /// Where to.
        to: SocketAddr,
    },
    /// The host is there and nobody listens (ICMP, or a TCP reset).
    #[error(
        "{to} refuses: the host is there, but nothing listens on that port. Is `greenroom respond` running?"
    )]
    Refused {
        /// Where to.
        to: SocketAddr,
    },
    /// Nothing came back.
    #[error("{to} does not answer within {} s: the host is down, or a firewall drops what is sent", after.as_secs_f32())]
    Silent {
        /// Where to.
        to: SocketAddr,
        /// How long was waited.
        after: Duration,
    },
    /// The other end speaks another version of QUIC or TLS.
    #[error("{to} speaks another version of the transport; update the older of the two ends")]
    Version {
        /// Where to.
        to: SocketAddr,
    },
    /// The other end does not speak this application protocol.
    #[error("{to} answers but does not speak this protocol; is it a Greenroom endpoint of this version?")]
    Protocol {
        /// Where to.
        to: SocketAddr,
    },
    /// Its certificate was refused.
    #[error(transparent)]
    Certificate(#[from] Refusal),
    /// The name cannot stand in a TLS handshake.
    #[error("{name} is not a valid host name")]
    Name {
        /// The name.
        name: String,
    },
    /// The other end closed at once.
    #[error("{to} closed the connection: {reason}")]
    Closed {
        /// Where to.
        to: SocketAddr,
        /// What it said.
        reason: String,
    },
}

/// Connects and checks who is there, within `deadline`.
///
/// Beside the handshake single bytes go to the same port from a connected socket: only there does every system tell that a
/// port is closed, or who says no on the way. A QUIC server ignores them (RFC 9000 section 5.2.2).
///
/// # Errors
///
/// A [`ConnectError`] for each way to fail; none takes longer than `deadline`.
pub async fn connect(
    endpoint: &Endpoint,
    to: SocketAddr,
    name: &str,
    trust: &Trust,
    alpn: &[&[u8]],
    deadline: Duration,
) -> Result<Connected, ConnectError> {
    let (tls, finding) = client_config(trust, alpn, true);
    let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3 by ring has the initial cipher suite");
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    let knocked = knocked(to, endpoint).await?;
    let connecting = endpoint.connect_with(config, to, name).map_err(|error| match error {
        quinn::ConnectError::InvalidServerName(name) => ConnectError::Name { name },
        other => ConnectError::Local { to, reason: other.to_string() },
    })?;
    let handshake = tokio::time::timeout(deadline, connecting);
    tokio::select! {
        biased;
        shaken = handshake => match shaken {
            Ok(Ok(connection)) => {
                let identity = finding
                    .take()
                    .and_then(Result::ok)
                    .ok_or_else(|| ConnectError::Closed { to, reason: "it showed no certificate".to_owned() })?;
                Ok(Connected { connection, identity })
            }
            Ok(Err(error)) => Err(match finding.take() {
                Some(Err(refusal)) => refusal.into(),
                _ => reason(to, deadline, error),
            }),
            Err(_) => Err(ConnectError::Silent { to, after: deadline }),
        },
        why = knocked.turned_away() => Err(turned_away(to, why)),
    }
}

fn reason(to: SocketAddr, after: Duration, error: ConnectionError) -> ConnectError {
    match error {
        ConnectionError::TimedOut => ConnectError::Silent { to, after },
        ConnectionError::VersionMismatch => ConnectError::Version { to },
        ConnectionError::ConnectionClosed(close)
            if u64::from(close.error_code) == NO_APPLICATION_PROTOCOL =>
        {
            ConnectError::Protocol { to }
        }
        ConnectionError::TransportError(error) if u64::from(error.code) == NO_APPLICATION_PROTOCOL => {
            ConnectError::Protocol { to }
        }
        other => ConnectError::Closed { to, reason: other.to_string() },
    }
}

/// Knocks at the port. An error when this machine cannot send there.
async fn knocked(to: SocketAddr, endpoint: &Endpoint) -> Result<Knocked, ConnectError> {
    knock(to, endpoint.local_addr().ok()).await.map_err(|why| turned_away(to, why))
}

fn turned_away(to: SocketAddr, why: TurnedAway) -> ConnectError {
    match why {
        TurnedAway::Closed => ConnectError::Refused { to },
        TurnedAway::Forbidden => ConnectError::Forbidden { to },
        TurnedAway::Prohibited { by } => ConnectError::Prohibited { to, by },
        TurnedAway::NoWay { by } => ConnectError::NoWay { to, by },
        TurnedAway::NextHopSilent => ConnectError::NextHopSilent { to },
        TurnedAway::Local(reason) => ConnectError::Local { to, reason },
    }
}

fn udp_socket(local: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    Ok(socket)
}

fn endpoint(socket: Socket, config: Option<ServerConfig>) -> io::Result<Endpoint> {
    Endpoint::new(EndpointConfig::default(), config, socket.into(), Arc::new(TokioRuntime))
}

pub(super) fn any_of_family(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Ends a connection without a complaint.
pub fn close(connection: &Connection) {
    connection.close(VarInt::from_u32(0), b"done");
}

#[cfg(test)]
mod tests;
