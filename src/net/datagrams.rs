//! QUIC datagrams as the carrier of probes: for firewalls that let QUIC through and not the port of the probes.
//!
//! Each datagram is what UDP would carry. They are not sent again when lost, and leave when they are to ([`congestion`]), but have the
//! program's stamps only: figures that are taken over them say so.

use bytes::Bytes;
use quinn::{Connection, SendDatagramError};
use tokio::task::coop;
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
        // A peer whose datagrams never end would leave the rest of its own session, its end among it, and others no turn.
        coop::consume_budget().await;
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

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::net::clock::Clock;
    use crate::net::tunnel::tunnel;
    use crate::net::udp::{DatagramSocket as _, SendBatch};
    use crate::proto::machine::{Transmit, TransmitKey};

    fn ends() -> (crate::net::tunnel::TunnelSocket, TunnelEnd) {
        let address = SocketAddr::from(([192, 0, 2, 1], 9));
        tunnel(address, address, Clock::start()).expect("descriptors")
    }

    #[tokio::test]
    async fn a_peer_that_never_pauses_leaves_others_their_turn() {
        let (_machine, end) = ends();
        let flood = carry_by(end, || ready(Some(Bytes::from_static(b"x"))), |_| true);
        tokio::select! {
            () = flood => panic!("it has no end"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }

    #[tokio::test]
    async fn what_the_machine_sends_leaves_in_its_order_until_nothing_can() {
        let (mut machine, end) = ends();
        let mut batch = SendBatch::default();
        for part in [b"1", b"2", b"3"] {
            let to = machine.local_addr();
            let key = TransmitKey(0);
            batch.push(
                Transmit { to, key, intended: greenroom_reports::units::Micros::ZERO, tos: 0, stamp: false },
                part,
            );
        }
        machine.send(&batch, &mut |_| ());
        let left = Mutex::new(Vec::new());
        let send = |datagram| {
            let mut left = left.lock().expect("nobody panics with it");
            left.push(datagram);
            left.len() < 2
        };
        carry_by(end, std::future::pending, send).await;
        assert_eq!(*left.lock().expect("nobody panics with it"), [&b"1"[..], b"2"], "the third had no way");
    }
}
