//! Whether the kernel really stamps: some accept the option and never deliver.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use greenroom_reports::units::Micros;

use super::send::{StampNumbers, takes_numbers};
use super::{Capabilities, LinuxSocket};
use crate::net::clock::Clock;
use crate::net::udp::{DatagramSocket, SendBatch, SocketEvent, UdpOptions};
use crate::proto::machine::{DepartureEvent, Transmit, TransmitKey};

/// How long a stamp of a datagram to oneself may take. It takes microseconds; a loaded machine may need its time.
const PATIENCE: Duration = Duration::from_millis(100);

/// What this kernel was seen to do, by a datagram that a socket sent to itself. Found out once per process.
pub(super) fn capabilities() -> Capabilities {
    static SEEN: OnceLock<Capabilities> = OnceLock::new();
    *SEEN.get_or_init(|| {
        let seen = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            .into_iter()
            .find_map(|address| try_on(SocketAddr::new(address, 0)));
        seen.unwrap_or_else(|| {
            // No loopback to try on: the stamps that come will tell (see `LinuxSocket::stamp_sources`).
            tracing::debug!("no loopback to verify kernel stamps on");
            Capabilities { rx: true, tx: true, numbers: StampNumbers::Counted }
        })
    })
}

/// Sends one datagram to itself and looks which stamps come; `None` when it cannot even be sent.
fn try_on(local: SocketAddr) -> Option<Capabilities> {
    let clock = Clock::start();
    let hopeful = Capabilities { rx: true, tx: true, numbers: StampNumbers::Counted };
    let mut socket = LinuxSocket::open_with(&UdpOptions::new(local), clock, hopeful).ok()?;
    let to = socket.local_addr();
    let mut batch = SendBatch::default();
    let key = TransmitKey(0);
    batch.push(Transmit { to, key, intended: Micros::ZERO, tos: 0, stamp: true }, b"stamp?");
    let mut handed = false;
    socket.send(&batch, &mut |departure| handed = matches!(departure.event, DepartureEvent::Handed(_)));
    if !handed {
        return None;
    }
    let mut seen = Capabilities { rx: false, tx: false, numbers: StampNumbers::Counted };
    let until = clock.now() + Micros::from_duration(PATIENCE);
    let mut arrived = false;
    while clock.now() < until && !(arrived && seen.tx) {
        let _ = socket.wait_readable(Duration::from_millis(20));
        socket.read_errors(&mut |event| {
            seen.tx |=
                matches!(event, SocketEvent::Departure(d) if matches!(d.event, DepartureEvent::Left(_)));
        });
        let _ = socket.receive(&mut |_, arrival, _| {
            arrived = true;
            seen.rx |= arrival.kernel;
        });
    }
    if takes_numbers(&socket.socket, to) {
        seen.numbers = StampNumbers::Own;
    }
    Some(seen)
}
