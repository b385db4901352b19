//! Shares of packets lost, by where and by when.

use super::delay::{delays, floor};
use super::flow::{Counts, Flow};
use super::skew::Skew;
use crate::units::{Micros, Ratio};

/// So many of so many: what an interval is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many it is about.
    pub part: u64,
    /// Of how many.
    pub whole: u64,
}

impl Share {
    /// The share; `None` of nothing.
    pub fn ratio(&self) -> Option<Ratio> {
        Ratio::of(self.part, self.whole)
    }
}

/// Lost on the network: `(lost + corrupt) / (sent − awaited)`. A packet that arrives damaged is lost (RFC 7680
/// section 2.6); one dropped by a computer is not the network's (section 2.8.3), see [`host_loss`].
pub fn network_loss(counts: &Counts) -> Share {
    Share { part: counts.lost + counts.corrupt, whole: counts.sent - counts.awaited }
}

/// Dropped by a computer at either end: `host_dropped / (sent − awaited)` (RFC 7680 section 2.8.3).
pub fn host_loss(counts: &Counts) -> Share {
    Share { part: counts.host_dropped, whole: counts.sent - counts.awaited }
}

/// Lost wherever, or too late for a playout buffer of this depth: PDV above `depth`, of all packets that left and whose
/// end is known.
///
/// A packet that got there without a known time (see [`super::flow::Attribution::ByCount`]) counts as in time.
pub fn late_loss(flow: &Flow, skew: Option<Skew>, depth: Micros) -> Share {
    let delays = delays(flow, skew);
    let floor = floor(&delays).unwrap_or(Micros::ZERO);
    let too_late = |index: usize, delay: Micros| delay - floor > depth && !flow.packets[index].is_bad();
    let late = delays.iter().filter(|delay| too_late(delay.index, delay.delay)).count();
    let bad = flow.packets.iter().filter(|packet| packet.is_bad()).count();
    let settled = flow.packets.iter().filter(|packet| packet.is_settled()).count();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Share { part: count(late + bad), whole: count(settled) }
}
