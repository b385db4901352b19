//! One direction of an emulated link: pure, seeded, in the time of its caller.
//!
//! A packet meets, in this order: a cut or a blocked port, a size limit, a drop aimed at it, loss, the bottleneck's
//! queue, propagation delay with jitter, deliberate reordering, duplication. Each mechanism draws from its own random
//! stream, so that switching one on leaves the others' draws as they were.

mod conditions;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

pub use conditions::{
    Bottleneck, Conditions, CrossTraffic, Duplicate, Jitter, Loss, QueueLimit, Reorder, Schedule, Selector,
    TargetedDrop,
};

use crate::packet::PacketInfo;
use queue::Queue;

/// One direction of an emulated link.
#[derive(Debug)]
pub struct Link {
    schedule: Arc<Schedule>,
    queue: Queue,
    /// Whether the Gilbert-Elliott chain is in its bad state.
    bad: bool,
    /// How many packets each targeted drop has matched so far.
    matched: Vec<u64>,
    /// The latest delivery among packets that keep their order.
    last_delivery: Duration,
    random: Streams,
}

/// What became of a packet offered to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It will come out.
    Delivered {
        /// When the first copy comes out.
        at: Duration,
        /// When a second copy comes out, where the link made one.
        again: Option<Duration>,
        /// DSCP and ECN as they come out.
        tos: u8,
        /// Whether it was held back on purpose so that later ones overtake it.
        held_back: bool,
    },
    /// It will not.
    Dropped(DropReason),
}

/// Why a link dropped a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The link was cut.
    Cut,
    /// Its protocol or port is blocked.
    Blocked,
    /// It is larger than the link takes, and nobody is told (MTU black hole).
    TooBig,
    /// The scenario named it.
    Targeted,
    /// Random loss, and the good state of a Gilbert-Elliott chain.
    RandomLoss,
    /// The bad state of a Gilbert-Elliott chain.
    BurstLoss,
    /// The bottleneck's queue was full (tail drop).
    QueueFull,
}

/// One random stream per mechanism.
#[derive(Debug)]
struct Streams {
    loss: ChaCha8Rng,
    jitter: ChaCha8Rng,
    reorder: ChaCha8Rng,
    duplicate: ChaCha8Rng,
}

impl Streams {
    /// `base` keeps the two directions apart.
    fn new(seed: u64, base: u64) -> Self {
        let stream = |number: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(base * 16 + number);
            rng
        };
        Self { loss: stream(0), jitter: stream(1), reorder: stream(2), duplicate: stream(3) }
    }
}

impl Link {
    /// Builds a link that follows `schedule`. The same seed and direction number give the same link.
    pub fn new(schedule: Schedule, seed: u64, direction: u64) -> Self {
        let matched = vec![0; schedule.drops.len()];
        Self {
            schedule: Arc::new(schedule),
            queue: Queue::default(),
            bad: false,
            matched,
            last_delivery: Duration::ZERO,
            random: Streams::new(seed, direction),
        }
    }

    /// Takes a packet at `now` (since the link began; must not decrease) and says what becomes of it.
    pub fn offer(&mut self, now: Duration, packet: &PacketInfo) -> Outcome {
        let schedule = Arc::clone(&self.schedule);
        let conditions = schedule.at(now);
        let targeted = self.is_targeted(packet);
        let lost = self.draw_loss(&conditions.loss);
        let refused = if conditions.cut {
            Some(DropReason::Cut)
        } else if conditions.block.iter().any(|selector| selector.matches(packet)) {
            Some(DropReason::Blocked)
        } else if conditions.mtu_bytes.is_some_and(|mtu| packet.bytes > mtu) {
            Some(DropReason::TooBig)
        } else if targeted {
            Some(DropReason::Targeted)
        } else {
            lost
        };
        if let Some(reason) = refused {
            return Outcome::Dropped(reason);
        }
        let Some(through) = self.queue.pass(&schedule, now, packet.bytes) else {
            return Outcome::Dropped(DropReason::QueueFull);
        };
        self.deliver(conditions, through, packet.tos)
    }

    /// Gives a packet that left the bottleneck at `through` its delay, its order and its copies.
    fn deliver(&mut self, conditions: &Conditions, through: Duration, tos: u8) -> Outcome {
        let delay = conditions.jitter.delay(conditions.delay, &mut self.random.jitter);
        let mut at = through + delay;
        if !conditions.jitter.reorders() {
            at = at.max(self.last_delivery);
        }
        let held_back =
            conditions.reorder.as_ref().filter(|reorder| self.random.reorder.random_bool(reorder.ratio));
        match held_back {
            Some(reorder) => at += reorder.extra,
            None => self.last_delivery = self.last_delivery.max(at),
        }
        let again = conditions
            .duplicate
            .as_ref()
            .filter(|duplicate| self.random.duplicate.random_bool(duplicate.ratio))
            .map(|duplicate| at + duplicate.gap);
        Outcome::Delivered { at, again, tos: tos & !conditions.clear_tos, held_back: held_back.is_some() }
    }

    fn is_targeted(&mut self, packet: &PacketInfo) -> bool {
        let mut hit = false;
        for (drop, matched) in self.schedule.drops.iter().zip(&mut self.matched) {
            if drop.select.matches(packet) {
                hit |= (drop.from..drop.from.saturating_add(drop.count)).contains(matched);
                *matched += 1;
            }
        }
        hit
    }

    fn draw_loss(&mut self, loss: &Loss) -> Option<DropReason> {
        let rng = &mut self.random.loss;
        match *loss {
            Loss::None => None,
            Loss::Random { ratio } => rng.random_bool(ratio).then_some(DropReason::RandomLoss),
            Loss::GilbertElliott { to_bad, to_good, good_loss, bad_loss } => {
                let (leave, loss, reason) = if self.bad {
                    (to_good, bad_loss, DropReason::BurstLoss)
                } else {
                    (to_bad, good_loss, DropReason::RandomLoss)
                };
                let lost = rng.random_bool(loss);
                self.bad ^= rng.random_bool(leave);
                lost.then_some(reason)
            }
        }
    }
}

#[cfg(test)]
mod tests;
