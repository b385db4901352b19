//! One direction of one stream: both halves of a trace joined, each packet with its fate.

mod drops;
mod join;
#[cfg(test)]
mod tests;
mod trip;

pub use join::flows;
pub use trip::{ClockOffset, RoundTrip, RoundTrips, clock_offset, round_trips};

pub use crate::schema::Counts;

use crate::metrics::reorder;
use crate::trace::{Direction, Media, Phase, StampSource, StreamId};
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
    /// Every packet that was attempted, in order of sequence number. Planned ones whose turn never came may be missing
    /// here; `counts.not_sent` has them.
    pub packets: Vec<Packet>,
    /// First copies in order of arrival: indices into `packets`.
    pub arrivals: Vec<usize>,
    /// How many ended how.
    pub counts: Counts,
    /// Who stamped departures.
    pub tx_source: StampSource,
    /// Who stamped arrivals.
    pub rx_source: StampSource,
    /// How it is known what was lost in this direction.
    pub attribution: Attribution,
    /// Whether `counts.host_dropped` is an upper bound, because other sessions share the receiving socket.
    pub host_drops_shared: bool,
    /// Arrivals that answer to no packet that was sent: damaged, foreign or invented.
    pub unexplained: u64,
    /// Add it to a point on the sender's clock to have it on the agent's, right to within half a round trip. Zero for
    /// upward flows.
    pub to_agent: Micros,
}

/// How it is known what was lost in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attribution {
    /// By packet: the receiver's log, or the sender's numbering as it arrived, says which.
    ByPacket,
    /// By count: the reflector's own numbering says how many were lost this way (all but the tail after the last reply, which
    /// is put down to the way there, RFC 8762 section 4.2.1); which ones, only where a stretch leaves no choice. Elsewhere the first ones of the stretch
    /// stand for them, and packets that got through without a known time have fate [`Fate::OnTime`] and no arrival.
    ByCount,
    /// Nobody tells the directions apart: what is lost in the upward flow was lost on the round trip, and the downward
    /// flow holds only what came back.
    RoundTrip,
}

/// One packet of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// The sender's number.
    pub seq: u32,
    /// When it was to leave, on the sender's clock. Taken from its neighbors when nobody logged it.
    pub intended: Micros,
    /// When the program handed it to the kernel, on the sender's clock.
    pub handed: Option<Micros>,
    /// When it entered the sender's local queue (TX_SCHED).
    pub queued: Option<Micros>,
    /// When it left the sender's local queue (kernel or hardware stamp).
    pub left: Option<Micros>,
    /// When it left (kernel, else user), on the sender's clock. `None`: not sent, or nobody logged it.
    pub departed: Option<Micros>,
    /// When it first arrived, on the receiver's clock.
    pub arrived: Option<Micros>,
    /// When the receiving program had the first copy.
    pub arrived_user: Option<Micros>,
    /// Size at the IP layer. `None` when neither end logged it.
    pub bytes: Option<u16>,
    /// How it ended.
    pub fate: Fate,
    /// Arrivals beyond the first.
    pub extra_copies: u16,
}

impl Packet {
    /// Whether it arrived intact, in time or late.
    pub fn is_received(&self) -> bool {
        matches!(self.fate, Fate::OnTime | Fate::Late)
    }

    /// Whether a listener had to do without it: lost, late, damaged or dropped by a computer.
    pub fn is_bad(&self) -> bool {
        matches!(self.fate, Fate::Lost | Fate::Late | Fate::Corrupt | Fate::HostDropped)
    }

    /// Whether its end is known and it had left: what shares of loss are taken of.
    pub fn is_settled(&self) -> bool {
        self.is_received() || self.is_bad()
    }

    /// Arrival less departure: the delay up to the unknown offset between the clocks.
    pub fn delay(&self) -> Option<Micros> {
        Some(self.arrived? - self.departed?)
    }
}

impl Flow {
    /// The same flow with only the packets whose intended departure, on the agent's clock, satisfies `keep`.
    ///
    /// Counts are taken again over what is kept; planned packets without a record belong to the whole flow only.
    /// Host-drop and attribution marks stay. Delays keep their clock, so that a floor of the whole flow serves its parts.
    #[must_use]
    pub fn restrict(&self, keep: impl Fn(Micros) -> bool) -> Self {
        let mut moved = vec![None; self.packets.len()];
        let mut packets = Vec::new();
        for (index, packet) in self.packets.iter().enumerate() {
            if keep(packet.intended + self.to_agent) {
                moved[index] = Some(packets.len());
                packets.push(*packet);
            }
        }
        let arrivals: Vec<usize> =
            self.arrivals.iter().filter_map(|index| moved.get(*index).copied().flatten()).collect();
        let counts = Counts::of(&packets, &arrivals);
        Self { packets, arrivals, counts, unexplained: 0, ..self.clone() }
    }

    /// The part within any of these phases (`from` included, `to` not).
    #[must_use]
    pub fn during(&self, phases: &[Phase]) -> Self {
        self.restrict(|at| phases.iter().any(|phase| phase.from <= at && at < phase.to))
    }
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

impl Counts {
    /// Counts packets by fate, their further copies, and reordering among `arrivals` (indices in order of arrival).
    pub fn of(packets: &[Packet], arrivals: &[usize]) -> Self {
        let mut counts = Self::default();
        for packet in packets {
            counts.planned += 1;
            counts.duplicate += u64::from(packet.extra_copies);
            let (count, was_sent) = match packet.fate {
                Fate::OnTime => (&mut counts.on_time, true),
                Fate::Late => (&mut counts.late, true),
                Fate::Lost => (&mut counts.lost, true),
                Fate::Corrupt => (&mut counts.corrupt, true),
                Fate::HostDropped => (&mut counts.host_dropped, true),
                Fate::Awaited => (&mut counts.awaited, true),
                Fate::SendFailed => (&mut counts.send_failed, false),
                Fate::NotSent => (&mut counts.not_sent, false),
            };
            *count += 1;
            counts.sent += u64::from(was_sent);
        }
        let seqs = arrivals.iter().filter_map(|index| packets.get(*index)).map(|packet| packet.seq);
        counts.reordered = reorder::reordered_count(seqs);
        debug_assert!(counts.is_consistent(), "{counts:?}");
        counts
    }

    /// Whether the sums hold that the type's documentation names.
    pub fn is_consistent(&self) -> bool {
        let ended = self.on_time + self.late + self.lost + self.corrupt + self.host_dropped + self.awaited;
        self.planned == self.sent + self.send_failed + self.not_sent && self.sent == ended
    }

    /// Adds the counts of another flow or run. Counts are sums, so the order of merging does not matter.
    pub fn merge(&mut self, other: &Self) {
        let sums = [
            (&mut self.planned, other.planned),
            (&mut self.sent, other.sent),
            (&mut self.on_time, other.on_time),
            (&mut self.late, other.late),
            (&mut self.lost, other.lost),
            (&mut self.corrupt, other.corrupt),
            (&mut self.host_dropped, other.host_dropped),
            (&mut self.awaited, other.awaited),
            (&mut self.send_failed, other.send_failed),
            (&mut self.not_sent, other.not_sent),
            (&mut self.duplicate, other.duplicate),
            (&mut self.reordered, other.reordered),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

/// When a packet that has not arrived is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossPolicy {
    /// Quick runs: once three later packets have arrived and `max(300 ms, 2 × rtt_p99)` has passed since it left. When
    /// nothing more will arrive (the receiver's log came to its planned end) the time alone decides, and so it does, doubled,
    /// when fewer than three later packets have arrived: else a dead path would never lose anything.
    Quick,
    /// Deep runs: Tmax (3 s) after it left.
    After(Micros),
}

impl LossPolicy {
    /// The deep runs' Tmax of 3 s.
    pub const DEEP: Self = Self::After(Micros::from_secs(3));
}
