//! UDP on Linux: stamps by SO_TIMESTAMPING, drops by SO_MEMINFO and SO_RXQ_OVFL, errors by IP_RECVERR, in batches.
//!
//! Departure stamps are asked for per datagram, because each costs two messages on the error queue (TX_SCHED as it enters
//! the local queue, TX_SOFTWARE as it leaves). Since Linux 6.13 a datagram carries its own stamp number (SCM_TS_OPT_ID);
//! before, the kernel counts, and a send that failed leaves its count in doubt, so the counter is started again.

mod address;
mod cmsg;
mod errors;
mod receive;
mod send;
mod verify;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use greenroom_reports::trace::{ClockStep, StampSource};
use greenroom_reports::units::Micros;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use super::bind::{bind, bound_address};
use super::{DatagramSocket, OpenError, SendBatch, SocketEvent, StampSources, UdpOptions};
use crate::net::clock::Clock;
use crate::net::stamps::StampClock;
use crate::proto::machine::{Arrival, Departure};
use address::ReplySources;
use receive::Receiver;
use send::{Sender, StampNumbers};

/// After so many arrivals or asked departures without a single kernel stamp, the source is called what it is.
const SILENT_AFTER: u64 = 8;

/// A UDP socket with the kernel's stamps and counters.
pub(super) struct LinuxSocket {
    socket: Socket,
    local: SocketAddr,
    clock: Clock,
    stamp_clock: StampClock<Clock>,
    capabilities: Capabilities,
    receive_buffer: usize,
    receiver: Receiver,
    sender: Sender,
    /// Which of this machine's addresses each peer asked; only for sockets bound to any address.
    sources: Option<ReplySources>,
    drops: DropCounter,
}

/// What the kernel was seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Capabilities {
    rx: bool,
    tx: bool,
    numbers: StampNumbers,
}

impl LinuxSocket {
    pub(super) fn open(options: &UdpOptions, clock: Clock) -> Result<Self, OpenError> {
        Self::open_with(options, clock, verify::capabilities())
    }

    fn open_with(options: &UdpOptions, clock: Clock, capabilities: Capabilities) -> Result<Self, OpenError> {
        let socket = bind(options)?;
        let local = bound_address(&socket, options)?;
        ask_for_everything(&socket, local);
        // The kernel reports twice what it lets programs use.
        let receive_buffer = socket.recv_buffer_size().unwrap_or(0) / 2;
        Ok(Self {
            socket,
            local,
            clock,
            stamp_clock: StampClock::new(clock),
            capabilities,
            receive_buffer,
            receiver: Receiver::new(),
            sender: Sender::new(capabilities.numbers),
            sources: local.ip().is_unspecified().then(ReplySources::new),
            drops: DropCounter::default(),
        })
    }
}

impl DatagramSocket for LinuxSocket {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn stamp_sources(&self) -> StampSources {
        let source = |able: bool, asked: u64, seen: u64| match able && (seen > 0 || asked < SILENT_AFTER) {
            true => StampSource::Kernel,
            false => StampSource::User,
        };
        StampSources {
            tx: source(self.capabilities.tx, self.sender.asked, self.sender.stamped),
            rx: source(self.capabilities.rx, self.receiver.arrived, self.receiver.stamped),
        }
    }

    fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    fn send(&mut self, batch: &SendBatch, departed: &mut dyn FnMut(Departure)) {
        let Self { socket, clock, sender, sources, capabilities, .. } = self;
        let stamp = capabilities.tx;
        sender.send(socket, clock, sources.as_ref(), stamp, batch, departed);
    }

    fn receive(&mut self, deliver: &mut dyn FnMut(Micros, &Arrival, &[u8])) -> io::Result<usize> {
        let Self { socket, stamp_clock, receiver, sources, drops, .. } = self;
        receiver.receive(socket, stamp_clock, sources.as_mut(), drops, deliver)
    }

    fn read_errors(&mut self, report: &mut dyn FnMut(SocketEvent)) {
        let Self { socket, local, stamp_clock, sender, .. } = self;
        errors::read(socket, local.is_ipv4(), stamp_clock, sender, report);
    }

    fn queue_drops(&mut self) -> Option<u64> {
        if let Some(drops) = memory_drops(&self.socket) {
            self.drops.read(drops);
        }
        Some(self.drops.total)
    }

    fn oversized(&self) -> u64 {
        self.receiver.oversized
    }

    fn clock_steps(&self) -> &[ClockStep] {
        self.stamp_clock.steps()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn wait_readable(&mut self, timeout: Duration) -> io::Result<()> {
        let millis = u16::try_from(timeout.as_millis()).unwrap_or(u16::MAX).max(1);
        let mut waited = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waited, PollTimeout::from(millis)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The kernel counts drops in 32 bits.
#[derive(Debug, Default)]
struct DropCounter {
    last: u32,
    total: u64,
}

impl DropCounter {
    fn read(&mut self, count: u32) {
        let fresh = count.wrapping_sub(self.last);
        // A smaller number is an older reading: control messages carry the count of when their datagram was queued.
        if fresh < u32::MAX / 2 {
            self.last = count;
            self.total += u64::from(fresh);
        }
    }
}

/// Asks for stamps, drop counts, TOS, TTL and errors. What an old kernel refuses is missing from its arrivals.
fn ask_for_everything(socket: &Socket, local: SocketAddr) {
    let stamps = libc::SOF_TIMESTAMPING_RX_SOFTWARE
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_ID
        | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    let _ = set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, stamps.cast_signed());
    let _ = set_option(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    let wanted: &[(i32, i32)] = if local.is_ipv4() {
        &[
            (libc::IPPROTO_IP, libc::IP_RECVTOS),
            (libc::IPPROTO_IP, libc::IP_RECVTTL),
            (libc::IPPROTO_IP, libc::IP_RECVERR),
            (libc::IPPROTO_IP, libc::IP_PKTINFO),
        ]
    } else {
        &[
            (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        ]
    };
    for &(level, name) in wanted {
        if let Err(error) = set_option(socket, level, name, 1) {
            tracing::debug!(level, name, %error, "socket option refused");
        }
    }
}

fn set_option(socket: &Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<i32>()).expect("an i32 has four octets");
    // SAFETY: `value` lives through the call and `length` is its size.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(&value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Drops of the receive queue by SO_MEMINFO (Linux 4.12): also those after the last datagram that got through.
fn memory_drops(socket: &Socket) -> Option<u32> {
    const SO_MEMINFO: i32 = 55;
    const DROPS: usize = 8;
    let mut values = [0_u32; DROPS + 1];
    let mut length = libc::socklen_t::try_from(size_of_val(&values)).expect("a few bytes");
    // SAFETY: `values` has `length` bytes; the kernel writes at most as many and says how many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (result == 0 && length as usize == size_of_val(&values)).then_some(values[DROPS])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::udp::tests::check_stamps;

    #[test]
    fn stamps_find_their_datagram_however_they_are_numbered() {
        let seen = verify::capabilities();
        assert!(seen.rx && seen.tx, "this kernel does not stamp: {seen:?}");
        for numbers in [seen.numbers, StampNumbers::Counted] {
            let clock = Clock::start();
            let options = UdpOptions::new("127.0.0.1:0".parse().unwrap());
            let with = Capabilities { numbers, ..seen };
            let mut sender = LinuxSocket::open_with(&options, clock, with).unwrap();
            let mut receiver = LinuxSocket::open_with(&options, clock, with).unwrap();
            check_stamps(&mut sender, &mut receiver, clock);
        }
    }

    #[test]
    fn a_refused_datagram_does_not_shift_the_stamps_of_the_next() {
        let clock = Clock::start();
        let options = UdpOptions::new("127.0.0.1:0".parse().unwrap());
        let with = Capabilities { numbers: StampNumbers::Counted, ..verify::capabilities() };
        let mut sender = LinuxSocket::open_with(&options, clock, with).unwrap();
        let mut receiver = LinuxSocket::open_with(&options, clock, with).unwrap();
        // Larger than any UDP datagram: EMSGSIZE.
        let mut batch = SendBatch::default();
        let to = receiver.local_addr();
        let key = crate::proto::machine::TransmitKey(999);
        let transmit =
            crate::proto::machine::Transmit { to, key, intended: Micros::ZERO, tos: 0, stamp: true };
        batch.push(transmit, &[0; 65_536]);
        let mut events = Vec::new();
        sender.send(&batch, &mut |departure| events.push(departure.event));
        let refused = crate::proto::machine::DepartureEvent::Failed(Some(libc::EMSGSIZE));
        assert_eq!(events, [refused]);
        check_stamps(&mut sender, &mut receiver, clock);
    }

    #[test]
    fn the_drop_counter_wraps_and_ignores_older_readings() {
        let mut drops = DropCounter::default();
        drops.read(7);
        drops.read(5);
        assert_eq!(drops.total, 7);
        drops.last = u32::MAX;
        drops.read(2);
        assert_eq!(drops.total, 10);
    }
}
