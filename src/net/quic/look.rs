//! One handshake with whoever is there, whatever certificate is shown, and what it told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use greenroom_reports::units::{DataSize, Micros};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig};
use quinn::{ClientConfig, Connection, Endpoint};
use rustls::pki_types::CertificateDer;

use super::{ConnectError, close, dial, knocked, reason, transport, turned_away};
use crate::net::clock::Clock;
use crate::net::udp::Interface;
use crate::net::witness::{Agreed, client_config};

/// The headers below QUIC: IPv4 and UDP, IPv6 and UDP.
const HEADERS_V4: u64 = 28;
const HEADERS_V6: u64 = 48;
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// What a handshake told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// From the first packet until data can be sent.
    pub handshake: Micros,
    /// The least round trip that QUIC measured (RFC 9002 section 5.2).
    pub rtt: Micros,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets held for lost.
    pub lost_packets: u64,
    /// Sent and received, at the IP layer.
    pub spent: DataSize,
    /// The longest datagram that the other end takes now; `None`: it takes none.
    pub max_datagram: Option<u64>,
    /// What was agreed on, and the certificates.
    pub agreed: Agreed,
}

/// Shakes hands once within `patience`, over an interface when given, and closes.
///
/// # Errors
///
/// A [`ConnectError`] for each way to fail.
pub async fn look(
    interface: Option<&Interface>,
    to: SocketAddr,
    name: &str,
    alpn: &[&[u8]],
    patience: Duration,
    clock: Clock,
) -> Result<Seen, ConnectError> {
    let held = hold(interface, to, name, alpn, patience, clock).await?;
    let seen = held.seen();
    held.end().await;
    Ok(seen)
}

/// A connection to whoever is there, whatever certificate is shown.
#[derive(Debug)]
pub struct Held {
    /// The connection.
    pub connection: Connection,
    /// From the first packet until data can be sent.
    pub handshake: Micros,
    endpoint: Endpoint,
    to: SocketAddr,
}

impl Held {
    /// What it told so far.
    pub fn seen(&self) -> Seen {
        seen(&self.connection, self.to, self.handshake)
    }

    /// Says goodbye.
    pub async fn end(self) {
        close(&self.connection);
        // The other end may not answer it.
        let _ = tokio::time::timeout(GOODBYE, self.endpoint.wait_idle()).await;
    }
}

/// Shakes hands once within `patience`, over an interface when given.
///
/// # Errors
///
/// A [`ConnectError`] for each way to fail.
pub async fn hold(
    interface: Option<&Interface>,
    to: SocketAddr,
    name: &str,
    alpn: &[&[u8]],
    patience: Duration,
    clock: Clock,
) -> Result<Held, ConnectError> {
    let local = |reason: String| ConnectError::Local { to, reason };
    let endpoint = dial(interface, to).map_err(|error| local(error.to_string()))?;
    let (tls, _) = client_config(alpn, true);
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| local(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    let knocked = knocked(to, &endpoint).await?;
    let begun = clock.now();
    let connecting = endpoint.connect_with(config, to, name).map_err(|error| match error {
        quinn::ConnectError::InvalidServerName(name) => ConnectError::Name { name },
        other => local(other.to_string()),
    })?;
    let connection = tokio::select! {
        biased;
        shaken = tokio::time::timeout(patience, connecting) => match shaken {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(reason(to, patience, error)),
            Err(_) => return Err(ConnectError::Silent { to, after: patience }),
        },
        why = knocked.turned_away() => return Err(turned_away(to, why)),
    };
    let handshake = clock.now() - begun;
    Ok(Held { connection, handshake, endpoint, to })
}

fn seen(connection: &Connection, to: SocketAddr, handshake: Micros) -> Seen {
    let stats = connection.stats();
    let headers = if to.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
    let packets = stats.udp_tx.datagrams + stats.udp_rx.datagrams;
    let octets = stats.udp_tx.bytes + stats.udp_rx.bytes + packets * headers;
    let handshake_data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let alpn = handshake_data.and_then(|data| data.protocol);
    let identity = connection.peer_identity();
    let chain = identity.and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    Seen {
        handshake,
        rtt: Micros::from_nanos(i64::try_from(stats.path.min_rtt.as_nanos()).unwrap_or(i64::MAX)),
        sent_packets: stats.path.sent_packets,
        lost_packets: stats.path.lost_packets,
        spent: DataSize::from_bytes(octets),
        max_datagram: connection.max_datagram_size().and_then(|size| u64::try_from(size).ok()),
        agreed: Agreed {
            // QUIC knows no other (RFC 9001 section 4.2).
            version: Some("TLS 1.3".to_owned()),
            // The library does not tell.
            cipher: None,
            alpn: alpn.map(|name| String::from_utf8_lossy(&name).into_owned()),
            chain: chain.map(|chain| *chain).unwrap_or_default(),
        },
    }
}
