//! Whether the kernel really stamps: some accept the option and never deliver.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use greenroom_reports::units::Micros;
use socket2::Socket;

use super::send::{StampNumbers, takes_numbers};
use super::{Capabilities, LinuxSocket};
use crate::net::clock::Clock;
use crate::net::udp::{DatagramSocket, SendBatch, SocketEvent, UdpOptions};
use crate::proto::machine::{DepartureEvent, Transmit, TransmitKey};

/// How long stamps of datagrams to oneself may take. They take microseconds; a loaded machine may need its time.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long to wait for one datagram before another is sent.
const TRY: Duration = Duration::from_millis(20);

/// What this kernel was seen to do, by datagrams that a socket sent to itself. Found out once per process.
pub(super) fn capabilities() -> Capabilities {
    /// The kernel begins to stamp arrivals some time after the first socket of the whole machine asks for it, and stops
    /// with the last. This one stays open, so that no later socket's first arrivals go without.
    static SEEN: OnceLock<(Capabilities, Option<Socket>)> = OnceLock::new();
    let (seen, _) = SEEN.get_or_init(|| {
        let loopbacks = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        match loopbacks.into_iter().find_map(|address| try_on(SocketAddr::new(address, 0))) {
            Some((seen, socket)) => (seen, Some(socket)),
            None => {
                // The stamps that come will tell (see `LinuxSocket::stamp_sources`).
                tracing::debug!("no loopback to verify kernel stamps on");
                (Capabilities { rx: true, tx: true, numbers: StampNumbers::Counted }, None)
            }
        }
    });
    *seen
}

/// Sends datagrams to itself and looks which stamps come; `None` when they cannot even be sent.
fn try_on(local: SocketAddr) -> Option<(Capabilities, Socket)> {
    let clock = Clock::start();
    let hopeful = Capabilities { rx: true, tx: true, numbers: StampNumbers::Counted };
    let mut socket = LinuxSocket::open_with(&UdpOptions::new(local), clock, hopeful).ok()?;
    let to = socket.local_addr();
    // Nobody else's datagrams are taken from here on.
    socket.socket.connect(&to.into()).ok()?;
    let mut seen = Capabilities { rx: false, tx: false, numbers: StampNumbers::Counted };
    while clock.now() < Micros::from_duration(PATIENCE) && !(seen.rx && seen.tx) {
        if !send_to_itself(&mut socket, to) {
            return None;
        }
        let _ = socket.wait_readable(TRY);
        socket.read_errors(&mut |event| {
            seen.tx |=
                matches!(event, SocketEvent::Departure(d) if matches!(d.event, DepartureEvent::Left(_)));
        });
        let _ = socket.receive(&mut |_, arrival, _| seen.rx |= arrival.kernel);
    }
    if takes_numbers(&socket.socket, to) {
        seen.numbers = StampNumbers::Own;
    }
    Some((seen, socket.socket))
}

fn send_to_itself(socket: &mut LinuxSocket, to: SocketAddr) -> bool {
    let mut batch = SendBatch::default();
    let key = TransmitKey(0);
    batch.push(Transmit { to, key, intended: Micros::ZERO, tos: 0, stamp: true }, b"stamp?");
    let mut handed = false;
    socket.send(&batch, &mut |departure| handed = matches!(departure.event, DepartureEvent::Handed(_)));
    handed
}
