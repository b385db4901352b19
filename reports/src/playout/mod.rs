//! One receiver model, replayed over a flow: what a jitter buffer would have played, what came too late, what it cost in
//! delay.
//!
//! Input is a flow's packets in order of sequence number, each with its departure on the sender's clock and its first
//! arrival on the receiver's, `None` if it never came. The unknown offset between the clocks cancels: delays count from the
//! least delay of the flow. Clock skew must be removed before.

mod adaptive;

pub use adaptive::{Adaptive, replay_adaptive};

use crate::confidence::real;
use crate::units::{Micros, Ratio};

/// A packet as the replay sees it: departed (sender's clock) and, if it came, arrived (receiver's clock).
pub type Sample = (Micros, Option<Micros>);

/// What a buffer made of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Playout {
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came after their time to be played.
    pub late: u64,
    /// Per packet, in the order given: came too late (lost ones did not).
    pub late_flags: Vec<bool>,
    /// Per packet: how long after the flow's least delay it was due to be played. Empty when nothing arrived.
    pub added: Vec<Micros>,
}

impl Playout {
    /// Packets looked at.
    pub const fn n(&self) -> u64 {
        self.late_flags.len() as u64
    }

    /// Share of all packets that was lost or late; `None` without packets.
    pub fn lost_or_late(&self) -> Option<Ratio> {
        Ratio::of(self.lost + self.late, self.n())
    }

    /// Share of all packets that came, but late; `None` without packets.
    pub fn late_ratio(&self) -> Option<Ratio> {
        Ratio::of(self.late, self.n())
    }

    /// Mean delay that the buffer added to the least delay; `None` when nothing arrived.
    pub fn mean_added(&self) -> Option<Micros> {
        let n = i64::try_from(self.added.len()).ok().filter(|n| *n > 0)?;
        Some(Micros::new(self.added.iter().copied().sum::<Micros>().get() / n))
    }

    /// The smallest added delay that at least share `q` of packets stayed within (nearest rank, RFC 2330 §11.3); `None`
    /// when nothing arrived.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the length")]
    pub fn added_quantile(&self, q: Ratio) -> Option<Micros> {
        let mut sorted = self.added.clone();
        sorted.sort_unstable();
        let rank = (q.get() * real(sorted.len() as u64)).ceil().max(1.0) as usize;
        sorted.get(rank - 1).copied()
    }
}

/// Replays a buffer of fixed depth: a packet is late when its delay exceeds the flow's least by more than `depth`.
pub fn replay_fixed(samples: &[Sample], depth: Micros) -> Playout {
    let Some(least) = least_delay(samples) else {
        return nothing_arrived(samples);
    };
    let late_flags: Vec<bool> =
        samples.iter().map(|sample| delay(sample).is_some_and(|d| d - least > depth)).collect();
    finish(samples, late_flags, vec![depth; samples.len()])
}

fn delay(&(departed, arrived): &Sample) -> Option<Micros> {
    arrived.map(|arrived| arrived - departed)
}

fn least_delay(samples: &[Sample]) -> Option<Micros> {
    samples.iter().filter_map(delay).min()
}

fn nothing_arrived(samples: &[Sample]) -> Playout {
    finish(samples, vec![false; samples.len()], Vec::new())
}

fn finish(samples: &[Sample], late_flags: Vec<bool>, added: Vec<Micros>) -> Playout {
    let lost = samples.iter().filter(|(_, arrived)| arrived.is_none()).count() as u64;
    let late = late_flags.iter().filter(|late| **late).count() as u64;
    Playout { lost, late, late_flags, added }
}

#[cfg(test)]
mod tests;
