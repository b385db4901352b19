//! One endpoint measured: reached how, and all its figures.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Details, Distribution, Estimate, Use, Value};
use crate::trace::{Direction, PhaseKind, SearchEnd, StampSource};
use crate::verdict::TargetFailure;

/// One endpoint measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `greenroom://probe.example`.
    pub url: String,
    /// `greenroom`, `stamp`, `turn`, …
    pub kind: String,
    /// Whether it could be measured, and if not why.
    pub state: Value<Reached>,
    /// Why it could not be measured, or not to the end; a run cut short has both figures and a failure.
    pub failure: Option<TargetFailure>,
    /// What an endpoint of this kind has to tell beside the figures below; left out for a kind that has nothing to add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// Whether it ran in the same program, on the same computer: then its figures say nothing of the internet path.
    pub in_process: bool,
    /// Whether the endpoint proved who it is.
    pub identity: Option<Identity>,
    /// Who stamped at each end.
    pub timestamps: Timestamps,
    /// Round-trip time without the reflector's hold.
    pub rtt_ms: Value<Distribution>,
    /// How long the reflector held packets (T3 − T2).
    pub reflector_hold_ms: Value<Distribution>,
    /// The audio stream, upward.
    pub up: DirectionReport,
    /// The audio stream, downward.
    pub down: DirectionReport,
    /// Media streams, per use, direction and rung.
    pub streams: Vec<StreamReport>,
    /// What load did to delay.
    pub loaded: Loaded,
    /// What a listener would say.
    pub quality: Quality,
    /// What the measurement itself adds.
    pub self_error: SelfError,
    /// How the endpoint's clock drifts against this one.
    pub skew_ppm: Value<Estimate>,
    /// What load was offered when, for plots.
    pub phases: Vec<PhaseReport>,
    /// Delay and loss over time, for plots.
    pub series: Vec<Series>,
}

/// What load was offered from when to when, in time since the run's start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PhaseReport {
    /// What it was for.
    pub kind: PhaseKind,
    /// Its beginning.
    pub from_ms: f64,
    /// Its end.
    pub to_ms: f64,
    /// Media load offered upward, audio left out.
    pub offered_up_bps: u64,
    /// Media load offered downward, audio left out.
    pub offered_down_bps: u64,
}

/// How an endpoint was reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// Transport that carried the probes: `udp`, `quic-datagram`, `websocket`.
    pub transport: String,
    /// Address that answered.
    pub address: Option<String>,
    /// Time until the session stood.
    pub setup_ms: Option<f64>,
    /// Why the probes did not travel over UDP, where they did not: the figures are those of the way that was left.
    pub instead_of_udp: Option<TargetFailure>,
}

/// Whether the endpoint proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// By a certificate authority or a pinned fingerprint.
    Verified,
    /// By a certificate it made itself.
    Unverified,
}

/// Who stamped at each end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timestamps {
    /// At the agent.
    pub here: StampSource,
    /// At the endpoint.
    pub there: StampSource,
}

/// One direction's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectionReport {
    /// How many packets of the whole run ended how; the figures below leave capacity searches out. `planned = sent + send_failed + not_sent`;
    /// `sent = on_time + late + lost + corrupt + host_dropped + awaited`.
    #[serde(flatten)]
    pub counts: Counts,
    /// Lost on the network, of what was sent and is no longer awaited.
    pub loss_ratio: Value<Estimate>,
    /// Dropped by a computer, not the network.
    pub host_loss_ratio: Value<Estimate>,
    /// Packet delay variation over the least delay (RFC 5481 PDV), skew removed.
    pub pdv_ms: Value<Distribution>,
    /// Mean absolute difference of consecutive delays (RFC 3393).
    pub ipdv_mean_abs_ms: Value<Estimate>,
    /// Smoothed interarrival jitter (RFC 3550 A.8).
    pub jitter_rfc3550_ms: Value<SmoothedJitter>,
    /// Exact RFC 3611 burst and gap segmentation, Gmin 16.
    pub burst: Value<Burst>,
    /// Greatest share lost within any 200 ms.
    pub burst_loss_200ms_ratio: Value<Estimate>,
    /// Lost or too late for a playout buffer.
    pub late_loss_ratio: LateLoss,
    /// RFC 4737 figures.
    pub reordering: Value<Reordering>,
    /// Packets that arrived more than once, of those received (RFC 5560).
    pub duplicate_ratio: Value<Estimate>,
    /// Delay between kernel and program at the receiving end.
    pub host_delay_ms: Value<Distribution>,
    /// Delay in the sender's own queue (TX_SCHED to TX_SOFTWARE).
    pub local_queue_ms: Value<Distribution>,
    /// Bits per second at the IP layer that got through with loss and delay in bounds (RFC 9097).
    pub capacity_bps: Value<Capacity>,
}

/// A rate that a direction carried (RFC 9097 Maximum_C), with what section 5.4 asks to tell beside it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Bits per second received at the IP layer over the best sub-interval.
    pub value: f64,
    /// Whether the path may carry more: something else than the path ended the search.
    pub at_least: bool,
    /// What ended the search. `None`: the run broke off before.
    pub ended: Option<SearchEnd>,
    /// Length of that sub-interval: a second, or less when the search ended before it had held a rate for one.
    pub window_ms: f64,
    /// Lost in it, of received and lost.
    pub loss_ratio: f64,
    /// Greatest less least one-way delay in it.
    pub delay_range_ms: Option<f64>,
    /// Intervals of counters behind it.
    pub n: u64,
}

impl DirectionReport {
    /// A direction of which nothing was measured, for `reason`.
    pub fn not_tested(reason: &str) -> Self {
        Self {
            counts: Counts::default(),
            loss_ratio: Value::not_tested(reason),
            host_loss_ratio: Value::not_tested(reason),
            pdv_ms: Value::not_tested(reason),
            ipdv_mean_abs_ms: Value::not_tested(reason),
            jitter_rfc3550_ms: Value::not_tested(reason),
            burst: Value::not_tested(reason),
            burst_loss_200ms_ratio: Value::not_tested(reason),
            late_loss_ratio: LateLoss::not_tested(reason),
            reordering: Value::not_tested(reason),
            duplicate_ratio: Value::not_tested(reason),
            host_delay_ms: Value::not_tested(reason),
            local_queue_ms: Value::not_tested(reason),
            capacity_bps: Value::not_tested(reason),
        }
    }
}

/// How many packets ended how.
///
/// `planned = sent + send_failed + not_sent` and
/// `sent = on_time + late + lost + corrupt + host_dropped + awaited`; duplicates are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Packets that the run was to send.
    pub planned: u64,
    /// Packets that the kernel took.
    pub sent: u64,
    /// Arrived before they were given up.
    pub on_time: u64,
    /// Arrived after they were given up.
    pub late: u64,
    /// Never arrived.
    pub lost: u64,
    /// Arrived damaged.
    pub corrupt: u64,
    /// Dropped by a computer, not the network.
    pub host_dropped: u64,
    /// Neither arrived nor given up when the run ended.
    pub awaited: u64,
    /// Refused by the local kernel.
    pub send_failed: u64,
    /// Their turn never came.
    pub not_sent: u64,
    /// Arrivals beyond the first of each packet.
    pub duplicate: u64,
    /// Packets reordered on the way (RFC 4737 type-P-reordered, first copies).
    pub reordered: u64,
}

/// Smoothed interarrival jitter over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmoothedJitter {
    /// Packets behind it.
    pub n: u64,
    /// The last value.
    pub last: f64,
    /// 95th percentile of the running value.
    pub p95: f64,
    /// Greatest running value.
    pub max: f64,
}

/// RFC 3611 burst and gap figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Bursts found.
    pub bursts: u64,
    /// Share bad within bursts.
    pub burst_density_ratio: f64,
    /// Share bad within gaps.
    pub gap_density_ratio: f64,
    /// Mean burst duration.
    pub burst_duration_ms: f64,
    /// Mean gap duration.
    pub gap_duration_ms: f64,
    /// Mean observed run of losses over the mean expected under random loss (G.107). `None` without loss.
    pub burst_ratio: Option<f64>,
}

/// Lost or too late, for fixed playout buffers and the adaptive one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "each field is the buffer's depth")]
#[serde(deny_unknown_fields)]
pub struct LateLoss {
    pub fixed_40ms: Value<Estimate>,
    pub fixed_60ms: Value<Estimate>,
    pub fixed_100ms: Value<Estimate>,
    pub fixed_200ms: Value<Estimate>,
    /// The replayed adaptive buffer.
    pub adaptive: Value<Estimate>,
    /// Mean delay that the adaptive buffer added.
    pub adaptive_delay_ms: Value<Estimate>,
}

impl LateLoss {
    fn not_tested(reason: &str) -> Self {
        Self {
            fixed_40ms: Value::not_tested(reason),
            fixed_60ms: Value::not_tested(reason),
            fixed_100ms: Value::not_tested(reason),
            fixed_200ms: Value::not_tested(reason),
            adaptive: Value::not_tested(reason),
            adaptive_delay_ms: Value::not_tested(reason),
        }
    }
}

/// RFC 4737 figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reordering {
    /// Reordered, of first copies received.
    pub ratio: f64,
    /// Greatest extent, in packets.
    pub extent_max: u64,
    /// Greatest n-reordering.
    pub n_reordering_max: u64,
    /// Greatest lateness.
    pub late_time_max_ms: f64,
}

/// A media stream's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamReport {
    /// The use whose rung it is.
    #[serde(rename = "use")]
    pub use_: Use,
    /// Its direction.
    pub direction: Direction,
    /// The rung.
    pub rung_bps: u64,
    /// Bits per second that arrived.
    pub received_bps: Value<Estimate>,
    /// Its figures.
    #[serde(flatten)]
    pub figures: DirectionReport,
}

/// What load did to delay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loaded {
    /// rtt p50 of audio alone.
    pub idle_rtt_p50_ms: Value<Estimate>,
    /// Per use: rtt p95 under load up to its own rung, less the idle median.
    pub rtt_increase_ms: BTreeMap<Use, Value<Estimate>>,
    /// rtt p95 while the capacity search filled the way up, less the idle median. No use is judged by it.
    pub saturated_up_ms: Value<Estimate>,
    /// The same for the way down.
    pub saturated_down_ms: Value<Estimate>,
}

/// What a listener would say (E-model).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Mean opinion score, conversational, the worse direction.
    pub mos: Value<Estimate>,
    /// Transmission rating.
    pub r: Value<Estimate>,
    /// `G.107`, `G.107.1`, `G.107.2`: their scales are not comparable.
    pub model: String,
    /// The codec assumed.
    pub codec: String,
    /// Where its impairment factors come from.
    pub codec_source: String,
}

/// What the measurement itself adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelfError {
    /// Actual less intended departure.
    pub send_lateness_ms: Value<Distribution>,
    /// Departures more than 1 ms late.
    pub late_sends: u64,
    /// Delay between kernel and program at this end.
    pub host_delay_ms: Value<Distribution>,
    /// Whether it is small enough against the thresholds, and if not which figures are unusable.
    pub unusable: Vec<String>,
}

/// Figures over time, for plots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// `rtt`; `delay_up`, `delay_down`: delay over the least of its direction; `loss_up`, `loss_down`: share lost from
    /// this point to the next.
    pub name: String,
    /// Unit of `values`.
    pub unit: String,
    /// Points in time since the run's start.
    pub at_ms: Vec<f64>,
    /// Values; `None` where there was none.
    pub values: Vec<Option<f64>>,
}
