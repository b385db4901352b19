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
    let (mut outlet, inlet) = tunnel.split();
    let sending = async {
        while let Some(datagram) = outlet.next().await {
            if !send(connection, datagram) {
                return;
            }
        }
    };
    let receiving = async {
        while let Ok(datagram) = connection.read_datagram().await {
            inlet.deliver(datagram);
        }
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
}

/// The same over a WebTransport session, whose datagrams begin with its number (RFC 9297).
pub async fn carry_session(session: &Session, tunnel: TunnelEnd) {
    congestion::carry_probes(session);
    let (mut outlet, inlet) = tunnel.split();
    let sending = async {
        while let Some(datagram) = outlet.next().await {
            match session.send_datagram(datagram) {
                Ok(()) => {}
                Err(SessionError::SendDatagramError(SendDatagramError::TooLarge)) => {
                    tracing::debug!("a probe is larger than the path lets through");
                }
                Err(_) => return,
            }
        }
    };
    let receiving = async {
        while let Ok(datagram) = session.read_datagram().await {
            inlet.deliver(datagram);
        }
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
}

/// Sends one; one that cannot leave is lost as it would be in a full queue. `false`: nothing more can be sent.
fn send(connection: &Connection, datagram: Bytes) -> bool {
    match connection.send_datagram(datagram) {
        Ok(()) => true,
        Err(SendDatagramError::TooLarge) => {
            tracing::debug!("a probe is larger than the path lets through");
            true
        }
        Err(SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled) => false,
        Err(SendDatagramError::ConnectionLost(_)) => false,
    }
}
