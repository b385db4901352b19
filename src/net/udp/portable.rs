//! UDP with the program's own stamps: for systems without kernel stamps, and on Linux when asked for.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use greenroom_reports::trace::ClockStep;
use greenroom_reports::units::Micros;
use socket2::SockRef;

use super::bind::{bind, bound_address};
use super::{DatagramSocket, MAX_DATAGRAM, OpenError, SendBatch, SocketEvent, StampSources, UdpOptions};
use crate::net::clock::Clock;
use crate::proto::machine::{Arrival, Departure, DepartureEvent};

/// Datagrams delivered by one call.
const BATCH: usize = 64;

/// A UDP socket whose stamps are taken around the system calls. Knows neither drops nor TOS nor TTL of arrivals.
pub(super) struct PortableSocket {
    socket: UdpSocket,
    local: SocketAddr,
    clock: Clock,
    receive_buffer: usize,
    tos: u8,
    oversized: u64,
    buffer: Box<[u8]>,
}

impl PortableSocket {
    pub(super) fn open(options: &UdpOptions, clock: Clock) -> Result<Self, OpenError> {
        let socket = bind(options)?;
        let local = bound_address(&socket, options)?;
        let receive_buffer = socket.recv_buffer_size().unwrap_or(0);
        let buffer = vec![0; MAX_DATAGRAM + 1].into_boxed_slice();
        Ok(Self { socket: socket.into(), local, clock, receive_buffer, tos: 0, oversized: 0, buffer })
    }

    /// Sets the TOS of what follows; it stays until changed. Without it a probe is still worth sending.
    fn mark(&mut self, tos: u8) {
        if tos == self.tos {
            return;
        }
        let socket = SockRef::from(&self.socket);
        let set = if self.local.is_ipv4() {
            socket.set_tos_v4(u32::from(tos))
        } else {
            set_traffic_class(&socket, tos)
        };
        if set.is_ok() {
            self.tos = tos;
        }
    }
}

impl DatagramSocket for PortableSocket {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn stamp_sources(&self) -> StampSources {
        StampSources::USER
    }

    fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    fn send(&mut self, batch: &SendBatch, departed: &mut dyn FnMut(Departure)) {
        for (transmit, payload) in batch.iter() {
            self.mark(transmit.tos);
            let handed = self.clock.now();
            let event = match self.socket.send_to(payload, transmit.to) {
                Ok(_) => DepartureEvent::Handed(handed),
                Err(error) => DepartureEvent::Failed(error.raw_os_error()),
            };
            departed(Departure { key: transmit.key, event });
        }
    }

    fn receive(&mut self, deliver: &mut dyn FnMut(Micros, &Arrival, &[u8])) -> io::Result<usize> {
        let mut count = 0;
        while count < BATCH {
            let (length, from) = match self.socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if concerns_one_datagram(&error) => continue,
                Err(error) => return Err(error),
            };
            count += 1;
            if length > MAX_DATAGRAM {
                self.oversized += 1;
                continue;
            }
            let now = self.clock.now();
            let arrival = Arrival { from, at: now, kernel: false, tos: None, ttl: None };
            deliver(now, &arrival, &self.buffer[..length]);
        }
        Ok(count)
    }

    fn read_errors(&mut self, _: &mut dyn FnMut(SocketEvent)) {}

    fn queue_drops(&mut self) -> Option<u64> {
        None
    }

    fn oversized(&self) -> u64 {
        self.oversized
    }

    fn clock_steps(&self) -> &[ClockStep] {
        // Stamps are on the monotonic clock: a step of the wall clock does not touch them.
        &[]
    }

    #[cfg(unix)]
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.socket)
    }

    fn wait_readable(&mut self, timeout: Duration) -> io::Result<()> {
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(timeout.max(Duration::from_micros(1))))?;
        let waited = self.socket.peek(&mut self.buffer);
        self.socket.set_nonblocking(true)?;
        match waited {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(error) if concerns_one_datagram(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether an error of a receiving call tells of a datagram sent or received before, not of the socket. Windows reports an
/// ICMP "port unreachable" as a reset and a datagram longer than the buffer as an error.
fn concerns_one_datagram(error: &io::Error) -> bool {
    const WSAEMSGSIZE: i32 = 10_040;
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::Interrupted
    ) || (cfg!(windows) && error.raw_os_error() == Some(WSAEMSGSIZE))
}

#[cfg(unix)]
fn set_traffic_class(socket: &SockRef<'_>, tos: u8) -> io::Result<()> {
    socket.set_tclass_v6(u32::from(tos))
}

#[cfg(not(unix))]
fn set_traffic_class(_: &SockRef<'_>, _: u8) -> io::Result<()> {
    Err(io::Error::from(ErrorKind::Unsupported))
}
