//! What a link does to packets, and when that changes.

use std::time::Duration;

use greenroom_reports::units::{Bitrate, DataSize, Micros};
use rand::RngExt;
use rand::distr::OpenClosed01;
use rand::rngs::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::packet::{PacketInfo, Protocol};

/// What a link does to packets at one time. The default is a perfect wire.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conditions {
    /// Propagation delay, one way.
    pub delay: Duration,
    /// Variation of the delay.
    pub jitter: Jitter,
    /// Loss that does not depend on load.
    pub loss: Loss,
    /// Duplication.
    pub duplicate: Option<Duplicate>,
    /// Deliberate reordering.
    pub reorder: Option<Reorder>,
    /// The slowest part of the link. `None`: packets take no time and there is no queue.
    pub bottleneck: Option<Bottleneck>,
    /// What else goes through the bottleneck.
    pub cross: CrossTraffic,
    /// Largest packet that passes; larger ones vanish without a word.
    pub mtu_bytes: Option<u32>,
    /// Bits of the TOS or traffic-class octet that are cleared on the way.
    pub clear_tos: u8,
    /// Packets that never pass.
    pub block: Vec<Selector>,
    /// Nothing passes.
    pub cut: bool,
}

/// Variation of the delay.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Jitter {
    /// The same delay for all.
    #[default]
    None,
    /// Between nothing and `max` on top, all equally likely.
    Uniform {
        /// The most that is added.
        max: Duration,
        /// Whether a packet may overtake another.
        reorders: bool,
    },
    /// Gaussian around the delay, cut off at `limit_sigmas` (RFC 8868 section 3.2's bounded PDV; there 5 ms and 3).
    Normal {
        /// Standard deviation before the cut.
        sigma: Duration,
        /// Where both tails are cut, in standard deviations.
        limit_sigmas: f64,
        /// Whether a packet may overtake another. RFC 8868 says no.
        reorders: bool,
    },
    /// Heavy tail on top of the delay: `scale × (U^(-1/shape) - 1)` (Pareto of the second kind), at most `cap`.
    Pareto {
        /// Scale; with shape 1 the median.
        scale: Duration,
        /// Tail index: the smaller, the heavier.
        shape: f64,
        /// The most that is added.
        cap: Duration,
        /// Whether a packet may overtake another.
        reorders: bool,
    },
}

impl Jitter {
    /// Draws the delay of one packet, given the propagation delay. Never negative.
    pub fn delay(&self, base: Duration, rng: &mut ChaCha8Rng) -> Duration {
        match *self {
            Self::None => base,
            Self::Uniform { max, .. } => base + max.mul_f64(rng.random::<f64>()),
            Self::Normal { sigma, limit_sigmas, .. } => {
                let sigmas = truncated_normal(limit_sigmas, rng);
                let shift = sigma.mul_f64(sigmas.abs());
                if sigmas < 0.0 { base.saturating_sub(shift) } else { base + shift }
            }
            Self::Pareto { scale, shape, cap, .. } => {
                let u: f64 = rng.sample(OpenClosed01);
                let times = u.powf(-1.0 / shape) - 1.0;
                let capped = (scale.as_secs_f64() * times).min(cap.as_secs_f64());
                base + Duration::from_secs_f64(capped)
            }
        }
    }

    /// Whether a packet may overtake another by it.
    pub fn reorders(&self) -> bool {
        match *self {
            Self::None => false,
            Self::Uniform { reorders, .. }
            | Self::Normal { reorders, .. }
            | Self::Pareto { reorders, .. } => reorders,
        }
    }
}

/// Draws again until within the limit: the conditional distribution, as RFC 8868 means by truncated.
fn truncated_normal(limit_sigmas: f64, rng: &mut ChaCha8Rng) -> f64 {
    loop {
        let z: f64 = rng.sample(StandardNormal);
        if z.abs() <= limit_sigmas {
            return z;
        }
    }
}

/// Loss that does not depend on load.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each packet on its own.
    Random {
        /// Share of packets lost.
        ratio: f64,
    },
    /// A two-state chain that steps once per packet (Gilbert-Elliott).
    GilbertElliott {
        /// Probability of going from good to bad after a packet.
        to_bad: f64,
        /// Probability of going from bad to good after a packet; its inverse is the mean stay in packets.
        to_good: f64,
        /// Share lost while good.
        good_loss: f64,
        /// Share lost while bad.
        bad_loss: f64,
    },
}

impl Loss {
    /// Bursts of `mean_packets` on average that lose `ratio` of all packets (Gilbert's model: all lost while bad).
    pub fn bursts(ratio: f64, mean_packets: f64) -> Self {
        let to_good = 1.0 / mean_packets;
        Self::GilbertElliott {
            to_bad: ratio * to_good / (1.0 - ratio),
            to_good,
            good_loss: 0.0,
            bad_loss: 1.0,
        }
    }

    /// The share lost in the long run.
    pub fn ratio(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Random { ratio } => ratio,
            Self::GilbertElliott { to_bad, to_good, good_loss, bad_loss } => {
                let bad_share = to_bad / (to_bad + to_good);
                bad_share * bad_loss + (1.0 - bad_share) * good_loss
            }
        }
    }
}

/// Duplication.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Duplicate {
    /// Share of packets that come out twice.
    pub ratio: f64,
    /// How long after the first the second comes out.
    pub gap: Duration,
}

/// Deliberate reordering: a share of packets is held back while later ones pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    /// Share of packets held back.
    pub ratio: f64,
    /// For how long.
    pub extra: Duration,
}

/// The slowest part of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bottleneck {
    /// Rate at the IP layer.
    pub rate: Bitrate,
    /// How much may wait (the packet being sent included); what comes beyond is dropped.
    pub queue: QueueLimit,
}

/// How much may wait at a bottleneck. One packet always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueLimit {
    /// As much as passes in this time at the current rate.
    Time(Duration),
    /// This much.
    Size(DataSize),
}

impl Bottleneck {
    /// How many bytes may wait.
    pub fn limit(&self) -> DataSize {
        match self.queue {
            QueueLimit::Time(time) => self.rate.in_time(Micros::from_duration(time)),
            QueueLimit::Size(size) => size,
        }
    }
}

/// What else goes through a bottleneck, as a fluid: it fills the queue but is not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum CrossTraffic {
    /// Nothing.
    #[default]
    None,
    /// A constant rate.
    Constant {
        /// The rate.
        rate: Bitrate,
    },
    /// A rate that is on and off in turn, on first.
    OnOff {
        /// The rate while on.
        rate: Bitrate,
        /// How long it is on.
        on: Duration,
        /// How long it is off.
        off: Duration,
    },
    /// Long downloads that probe for capacity: the window grows by a segment per round trip, halves when the queue is full.
    Aimd {
        /// How many.
        flows: u32,
        /// Round-trip time without the queue.
        rtt: Duration,
    },
}

/// Chooses packets; what is `None` matches all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Selector {
    /// Transport protocol.
    pub protocol: Option<Protocol>,
    /// Either port.
    pub port: Option<u16>,
    /// Size at the IP layer, at least.
    pub min_bytes: Option<u32>,
    /// Size at the IP layer, at most.
    pub max_bytes: Option<u32>,
}

impl Selector {
    /// Whether a packet is chosen.
    pub fn matches(&self, packet: &PacketInfo) -> bool {
        self.protocol.is_none_or(|protocol| protocol == packet.flow.protocol)
            && self.port.is_none_or(|port| port == packet.flow.from_port || port == packet.flow.to_port)
            && self.min_bytes.is_none_or(|min| packet.bytes >= min)
            && self.max_bytes.is_none_or(|max| packet.bytes <= max)
    }
}

/// Drops a run of the packets that a selector chooses, counted as they are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetedDrop {
    /// Which packets count.
    pub select: Selector,
    /// The first to be dropped, from 0.
    pub from: u64,
    /// How many are dropped.
    pub count: u64,
}

/// What a link does to packets, from when on.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// In order of time; the first from zero on.
    steps: Vec<(Duration, Conditions)>,
    /// Drops aimed at single packets.
    pub drops: Vec<TargetedDrop>,
}

impl Schedule {
    /// The same conditions throughout.
    pub fn constant(conditions: Conditions) -> Self {
        Self { steps: vec![(Duration::ZERO, conditions)], drops: Vec::new() }
    }

    /// Adds conditions that hold from `at` on, until the next.
    #[must_use]
    pub fn then(mut self, at: Duration, conditions: Conditions) -> Self {
        self.steps.push((at, conditions));
        self.steps.sort_by_key(|step| step.0);
        self
    }

    /// The conditions at `now`.
    pub fn at(&self, now: Duration) -> &Conditions {
        self.segment(now).0
    }

    /// The conditions at `now`, and until when they hold (`None`: for good).
    pub fn segment(&self, now: Duration) -> (&Conditions, Option<Duration>) {
        let after = self.steps.partition_point(|step| step.0 <= now).max(1);
        (&self.steps[after - 1].1, self.steps.get(after).map(|step| step.0))
    }

    /// All conditions with the time from which they hold.
    pub fn steps(&self) -> &[(Duration, Conditions)] {
        &self.steps
    }
}
