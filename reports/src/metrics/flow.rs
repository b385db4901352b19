//! One direction of one stream: both halves of a trace joined, each packet with its fate.

use crate::trace::{Direction, Media, StampSource, StreamId};
use crate::units::{Bitrate, Micros};

/// One direction of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// The stream.
    pub stream: StreamId,
    /// What it carries.
    pub media: Media,
    /// The direction looked at.
    pub direction: Direction,
    /// Nominal rate.
    pub rate: Bitrate,
    /// Every packet that was planned and attempted, in order of sequence number.
    pub packets: Vec<Packet>,
    /// First copies in order of arrival: indices into `packets`.
    pub arrivals: Vec<usize>,
    /// How many ended how.
    pub counts: Counts,
    /// Who stamped departures.
    pub tx_source: StampSource,
    /// Who stamped arrivals.
    pub rx_source: StampSource,
}

/// One packet of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// The sender's number.
    pub seq: u32,
    /// When it was to leave, on the sender's clock.
    pub intended: Micros,
    /// When it left (kernel, else user), on the sender's clock. `None`: not sent.
    pub departed: Option<Micros>,
    /// When it first arrived, on the receiver's clock.
    pub arrived: Option<Micros>,
    /// When the receiving program had the first copy.
    pub arrived_user: Option<Micros>,
    /// Size at the IP layer.
    pub bytes: u16,
    /// How it ended.
    pub fate: Fate,
    /// Arrivals beyond the first.
    pub extra_copies: u16,
}

/// How a packet ended: exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Arrived within the limit.
    OnTime,
    /// Arrived after it had been given up.
    Late,
    /// Did not arrive, and the network is where it was lost.
    Lost,
    /// Arrived damaged.
    Corrupt,
    /// Reached a computer that dropped it (receive queue), or never left the one that sent it (local queue).
    HostDropped,
    /// The run was cut short before it could be given up.
    Awaited,
    /// The kernel refused it.
    SendFailed,
    /// Its turn never came.
    NotSent,
}

/// How many packets ended how.
///
/// `planned = sent + send_failed + not_sent` and
/// `sent = on_time + late + lost + corrupt + host_dropped + awaited`; duplicates are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Packets that the run was to send.
    pub planned: u64,
    /// Packets that the kernel took.
    pub sent: u64,
    /// See [`Fate::OnTime`].
    pub on_time: u64,
    /// See [`Fate::Late`].
    pub late: u64,
    /// See [`Fate::Lost`].
    pub lost: u64,
    /// See [`Fate::Corrupt`].
    pub corrupt: u64,
    /// See [`Fate::HostDropped`].
    pub host_dropped: u64,
    /// See [`Fate::Awaited`].
    pub awaited: u64,
    /// See [`Fate::SendFailed`].
    pub send_failed: u64,
    /// See [`Fate::NotSent`].
    pub not_sent: u64,
    /// Arrivals beyond the first of each packet.
    pub duplicate: u64,
    /// Packets reordered on the way (RFC 4737 type-P-reordered, first copies).
    pub reordered: u64,
}

/// When a packet that has not arrived is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossPolicy {
    /// Quick runs: once three later packets have arrived and `max(300 ms, 2 × rtt_p99)` has passed since it left.
    Quick,
    /// Deep runs: Tmax (3 s) after it left.
    After(Micros),
}

impl LossPolicy {
    /// The deep runs' Tmax of 3 s.
    pub const DEEP: Self = Self::After(Micros::from_secs(3));
}
