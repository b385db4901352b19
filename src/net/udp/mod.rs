//! UDP as a measurement needs it: who stamped what, what was dropped here, and what came back as an error.
//!
//! On Linux a socket takes the kernel's departure and arrival stamps, drop counts, TOS and TTL, in batches;
//! elsewhere, and where the kernel does not deliver, a portable one stamps in user space and says so.
//!
//! # Why no library
//!
//! fast-talker 0.3 gives kernel stamps and drops but neither TX_SCHED for UDP, nor TOS, TTL and the asked address per
//! datagram, nor batched sending; nix 0.31 cannot ask for a stamp per send; quinn-udp 0.6 has no departure stamps. All
//! of it has to happen in the same system call, so the Linux side talks to libc itself.

mod bind;
mod echo;
#[cfg(target_os = "linux")]
mod linux;
mod portable;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use greenroom_reports::trace::{ClockStep, StampSource};
use greenroom_reports::units::Micros;

pub(super) use bind::{bind, bound_address, use_interface};
pub use echo::{EchoError, open_echo};

use super::clock::Clock;
use crate::proto::icmp::Carrier;
use crate::proto::machine::{Arrival, Departure, Transmit};

/// How a socket is to be opened.
#[derive(Debug, Clone)]
pub struct UdpOptions {
    /// The address to bind. Port 0: any.
    pub local: SocketAddr,
    /// The interface that traffic must use (`--interface`).
    pub interface: Option<Interface>,
    /// Bytes asked for the receive buffer. The system may grant less: [`DatagramSocket::receive_buffer`].
    pub receive_buffer: usize,
    /// Bytes asked for the send buffer.
    pub send_buffer: usize,
    /// Whether several sockets share the port (SO_REUSEPORT), to spread flows over threads.
    pub reuse_port: bool,
    /// Whether to ask for kernel stamps. `User` forces the portable socket.
    pub stamps: StampMode,
    /// What it carries.
    pub carries: Carries,
}

/// What a socket carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// UDP.
    Udp,
    /// ICMP, by this kind of socket ([`open_echo`]).
    Icmp(Carrier),
}

impl UdpOptions {
    /// Sizes for a probe: buffers of 1 MiB, kernel stamps.
    pub fn new(local: SocketAddr) -> Self {
        Self {
            local,
            interface: None,
            receive_buffer: 1 << 20,
            send_buffer: 1 << 20,
            reuse_port: false,
            stamps: StampMode::Kernel,
            carries: Carries::Udp,
        }
    }
}

/// The interface that traffic must use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interface {
    /// By name (SO_BINDTODEVICE).
    Name(String),
    /// By one of its addresses.
    Address(IpAddr),
}

impl Interface {
    /// Reads what a person gave for `--interface`: an IP address, else a name.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Address)
    }
}

/// Who is to take the stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampMode {
    /// The kernel where it does so, else the program.
    Kernel,
    /// The program.
    User,
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is not one of this machine's, is in use, or its family is missing.
    #[error("cannot open UDP on {local}: {source}. Choose another port or address.")]
    Bind {
        /// The address asked for.
        local: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The interface does not exist or may not be used.
    #[error("cannot use interface {interface}: {source}. {}", advice(source))]
    Interface {
        /// The interface asked for.
        interface: String,
        /// What the system said.
        source: io::Error,
    },
    /// The interface's address and the address to bind are not of one family.
    #[error("the interface address {interface} does not fit {local}: one is IPv4, the other IPv6")]
    Family {
        /// The interface's address.
        interface: IpAddr,
        /// The address to bind.
        local: SocketAddr,
    },
}

/// What to do about an interface that cannot be used.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "This system lets only root choose one by name: give its IP address instead, or run as root."
        }
        io::ErrorKind::Unsupported => "Give its IP address instead.",
        _ => "`ip address` lists the interfaces there are.",
    }
}

/// Opens a socket with the best stamps there are: verified by a real send to itself, user-space stamps otherwise.
///
/// # Errors
///
/// When the address cannot be bound or the interface cannot be used. Missing stamps are no error:
/// [`DatagramSocket::stamp_sources`] tells.
pub fn open(options: &UdpOptions, clock: Clock) -> Result<Box<dyn DatagramSocket>, OpenError> {
    #[cfg(target_os = "linux")]
    if options.stamps == StampMode::Kernel {
        return Ok(Box::new(linux::LinuxSocket::open(options, clock)?));
    }
    Ok(Box::new(portable::PortableSocket::open(options, clock)?))
}

/// A UDP socket that tells what a measurement needs to know. Never blocks.
pub trait DatagramSocket: Send {
    /// The address it is bound to.
    fn local_addr(&self) -> SocketAddr;

    /// Who takes the stamps.
    fn stamp_sources(&self) -> StampSources;

    /// Bytes of receive buffer that the system granted.
    fn receive_buffer(&self) -> usize;

    /// Sends a batch in order and reports each departure (handed or failed) once. A datagram that cannot be sent does
    /// not keep back those after it.
    fn send(&mut self, batch: &SendBatch, departed: &mut dyn FnMut(Departure));

    /// Delivers what has arrived, at most one batch, and returns how many datagrams that were. The first argument of
    /// `deliver` is when the program has it.
    ///
    /// # Errors
    ///
    /// When the socket is beyond use; errors that concern single datagrams go to [`DatagramSocket::read_errors`].
    fn receive(&mut self, deliver: &mut dyn FnMut(Micros, &Arrival, &[u8])) -> io::Result<usize>;

    /// Reports what has returned since: departure stamps and ICMP errors.
    fn read_errors(&mut self, report: &mut dyn FnMut(SocketEvent));

    /// Datagrams that the receive queue has dropped since the socket was opened; `None` where the system does not tell.
    fn queue_drops(&mut self) -> Option<u64>;

    /// Datagrams longer than any probe ([`MAX_DATAGRAM`]) that arrived and were thrown away.
    fn oversized(&self) -> u64;

    /// Steps of the wall clock noticed by this socket.
    fn clock_steps(&self) -> &[ClockStep];

    /// What to wait for arrivals on.
    #[cfg(unix)]
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_>;

    /// Blocks until a datagram has arrived or `timeout` has passed. For systems without a common wait for many sockets.
    ///
    /// # Errors
    ///
    /// When the socket is beyond use.
    fn wait_readable(&mut self, timeout: std::time::Duration) -> io::Result<()>;
}

/// The longest datagram that is delivered whole: a jumbo frame's worth.
pub const MAX_DATAGRAM: usize = 9_216;

/// Who takes a socket's stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StampSources {
    /// Departures.
    pub tx: StampSource,
    /// Arrivals.
    pub rx: StampSource,
}

impl StampSources {
    /// The program takes both.
    pub const USER: Self = Self { tx: StampSource::User, rx: StampSource::User };
}

/// What came back over the error queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketEvent {
    /// A departure stamp.
    Departure(Departure),
    /// A datagram did not get there.
    Unreachable(Unreachable),
}

/// An ICMP error, or a local one of the same meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable {
    /// When the program learned of it.
    pub at: Micros,
    /// Where the datagram was to go.
    pub to: SocketAddr,
    /// Who said so; `None` when this machine did.
    pub from: Option<IpAddr>,
    /// What was said.
    pub kind: UnreachableKind,
}

/// What an ICMP error says (RFC 792, RFC 1812 section 5.2.7, RFC 4443).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnreachableKind {
    /// Nobody listens on that port.
    Port,
    /// The host does not answer on its own network.
    Host,
    /// No route.
    Network,
    /// A firewall says no.
    Prohibited,
    /// Too long for a link on the way, which carries at most this many bytes (0: it did not say).
    TooBig(u32),
    /// It ran out of hops.
    HopLimit,
    /// Something else; the error number.
    Other(u32),
}

/// Datagrams to be sent in order, in one buffer.
#[derive(Debug, Default)]
pub struct SendBatch {
    bytes: Vec<u8>,
    items: Vec<(Transmit, Range<usize>)>,
}

impl SendBatch {
    /// The most datagrams in one batch.
    pub const CAPACITY: usize = 64;

    /// Appends a datagram.
    pub fn push(&mut self, transmit: Transmit, payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.items.push((transmit, start..self.bytes.len()));
    }

    /// Empties it and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }

    /// Whether there is no room for another.
    pub fn is_full(&self) -> bool {
        self.items.len() >= Self::CAPACITY
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The datagram at a place below [`SendBatch::len`].
    #[cfg(target_os = "linux")]
    fn get(&self, at: usize) -> (&Transmit, &[u8]) {
        let (transmit, range) = &self.items[at];
        (transmit, &self.bytes[range.clone()])
    }

    /// The datagrams in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Transmit, &[u8])> {
        self.items.iter().map(|(transmit, range)| (transmit, &self.bytes[range.clone()]))
    }
}
