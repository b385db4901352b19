//! The contract between a state machine and whatever drives it: a socket thread or a simulated link.
//!
//! A machine never reads a clock and never touches a socket. Its driver repeats: hand in what arrived
//! ([`Machine::handle_datagram`], [`Machine::handle_departure`], [`Machine::handle_drops`]), then drain
//! [`Machine::poll_transmit`] until `None`, then sleep until [`Machine::next_deadline`] or the next arrival.

use std::net::SocketAddr;

use greenroom_reports::trace::{TxOutcome, TxRecord};
use greenroom_reports::units::Micros;

/// A sender, a reflector, or a receiver of media, driven from outside.
pub trait Machine {
    /// Takes a datagram. `now` is when the program has it; `arrival.at` is when the kernel had it.
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]);

    /// Takes what became of a datagram handed out by [`Machine::poll_transmit`].
    ///
    /// Called once with the result of the system call and, where the kernel stamps departures, once more per stamp.
    fn handle_departure(&mut self, departure: &Departure);

    /// Takes the number of datagrams that the receive queue has dropped since it was opened.
    fn handle_drops(&mut self, now: Micros, total: u64);

    /// Writes the next datagram that is due at `now` into `payload` (cleared first) and says where it goes.
    ///
    /// `None`: nothing is due.
    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit>;

    /// When [`Machine::poll_transmit`] is to be asked again at the latest. `None`: only after an arrival.
    fn next_deadline(&self) -> Option<Micros>;

    /// Whether the machine has nothing left to do.
    fn is_finished(&self) -> bool;
}

/// A datagram to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// Names the datagram in the [`Departure`]s that follow. Unique within a machine.
    pub key: TransmitKey,
    /// When it was to leave.
    pub intended: Micros,
    /// DSCP and ECN to set (the TOS or traffic-class octet).
    pub tos: u8,
    /// Whether the kernel's departure stamp is wanted (it costs a message per datagram).
    pub stamp: bool,
}

/// Names a datagram between [`Transmit`] and [`Departure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransmitKey(pub u64);

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// Which.
    pub key: TransmitKey,
    /// What is known now.
    pub event: DepartureEvent,
}

impl DepartureEvent {
    /// Enters what is known into a log that counts from `epoch`.
    pub fn note(self, record: &mut TxRecord, epoch: Micros) {
        match self {
            Self::Handed(at) => record.user = Some(at - epoch),
            Self::Failed(error) => record.outcome = TxOutcome::Failed(error),
            Self::Queued(at) => record.sched = Some(at - epoch),
            Self::Left(at) => record.kernel = Some(at - epoch),
        }
    }
}

/// What is known of a departure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepartureEvent {
    /// The program handed it to the kernel at this point.
    Handed(Micros),
    /// The kernel refused it, with this error number where there is one.
    Failed(Option<i32>),
    /// It entered the local queue (TX_SCHED).
    Queued(Micros),
    /// It left the local queue for the device (TX_SOFTWARE or hardware).
    Left(Micros),
}

/// What is known of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Where from.
    pub from: SocketAddr,
    /// When it arrived: the kernel's point where there is one, else the program's.
    pub at: Micros,
    /// Whether `at` is the kernel's.
    pub kernel: bool,
    /// DSCP and ECN as they arrived, where the system tells.
    pub tos: Option<u8>,
    /// TTL or hop limit as it arrived, where the system tells.
    pub ttl: Option<u8>,
}
