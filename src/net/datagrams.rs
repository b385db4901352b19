//! QUIC datagrams as the carrier of probes: for firewalls that let QUIC through and not the port of the probes.
//!
//! Each datagram is what UDP would carry. They are not sent again when lost, and leave when they are to ([`congestion`]), but have the
//! program's stamps only: figures that are taken over them say so.

use bytes::Bytes;
use quinn::{Connection, SendDatagramError};
use web_transport_quinn::{Session, SessionError};

use super::congestion;
use super::tunnel::TunnelEnd;

/// Octets that a datagram must hold for every probe to fit: a packet of 1,200 octets at the IP layer, over IPv4.
pub const LARGEST_PROBE: usize = 1_200 - 28;

/// Whether every probe fits into a datagram, as far as the path's MTU is known by now.
pub fn fit(connection: &Connection) -> bool {
    connection.max_datagram_size().is_some_and(|most| most >= LARGEST_PROBE)
}

/// Moves datagrams both ways until the connection ends or the machine behind the tunnel has.
pub async fn carry(connection: &Connection, tunnel: TunnelEnd) {
    congestion::carry_probes(connection);
    carry_by(
        tunnel,
        || async { connection.read_datagram().await.ok() },
        |datagram| match connection.send_datagram(datagram) {
            Err(error) => can_go_on(&error),
            Ok(()) => true,
        },
    )
    .await;
}

/// The same over a WebTransport session, whose datagrams begin with its number (RFC 9297).
pub async fn carry_session(session: &Session, tunnel: TunnelEnd) {
    congestion::carry_probes(session);
    carry_by(
        tunnel,
        || async { session.read_datagram().await.ok() },
        |datagram| match session.send_datagram(datagram) {
            Err(SessionError::SendDatagramError(error)) => can_go_on(&error),
            sent => sent.is_ok(),
        },
    )
    .await;
}

/// Moves datagrams both ways until there are no more (`read`), no more can be sent (`send`), or the machine has ended.
async fn carry_by<F: Future<Output = Option<Bytes>>>(
    tunnel: TunnelEnd,
    read: impl Fn() -> F,
    send: impl Fn(Bytes) -> bool,
) {
    let (mut outlet, inlet) = tunnel.split();
    loop {
        let mut leaving = tokio::select! {
            arrived = read() => match arrived {
                Some(datagram) => {
                    inlet.deliver(datagram);
                    outlet.try_next()
                }
                None => return,
            },
            leaving = outlet.next() => match leaving {
                Some(datagram) => Some(datagram),
                None => return,
            },
        };
        // Answers leave before the next question is read.
        while let Some(datagram) = leaving {
            if !send(datagram) {
                return;
            }
            leaving = outlet.try_next();
        }
    }
}

/// Whether more can be sent after one could not: that one is lost, as it would be in a full queue.
fn can_go_on(error: &SendDatagramError) -> bool {
    match error {
        SendDatagramError::TooLarge => {
            tracing::debug!("a probe is larger than the path lets through");
            true
        }
        SendDatagramError::UnsupportedByPeer
        | SendDatagramError::Disabled
        | SendDatagramError::ConnectionLost(_) => false,
    }
}
