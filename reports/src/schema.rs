//! Report v1: the one format from browser to fleet.
//!
//! Fields carry their unit in their name. Every figure says whether it was `measured`, `failed` or `not_tested`; one that
//! was not measured has a reason and no value.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::trace::{Direction, Media, PhaseKind, StampSource};
use crate::verdict::{Profile, TargetFailure};

/// The schema's name, as it stands in every report.
pub const SCHEMA: &str = "greenroom.report/1";

/// A finished (or cut-short) run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `greenroom.report/1`.
    pub schema: String,
    /// UUIDv7, minted where the run was made.
    pub id: Uuid,
    /// What kind of run it was.
    pub kind: Kind,
    /// The report that this one follows (a post-call report names the pre-call one).
    pub parent: Option<Uuid>,
    /// Names the report to someone who may see it; opens nothing by itself. `K7Q4-M2XP`.
    pub code: String,
    /// Whether the run came to its planned end (an early stop because all was decided is a planned end).
    pub complete: bool,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub duration_ms: f64,
    /// Bytes sent and received at the IP layer.
    pub bytes_used: u64,
    /// Site, person, ticket and others, as given by whoever ran it.
    pub labels: BTreeMap<String, String>,
    /// The fleet agent that ran it.
    pub agent: AgentRef,
    /// The program that made it.
    pub tool: Tool,
    /// The machine and network it ran on.
    pub environment: Environment,
    /// The thresholds it was judged with, in full, so that it can be judged again.
    pub profile: Profile,
    /// What was asked for, and what was run.
    pub settings: Settings,
    /// Will it work, and if not, whose fault is it.
    pub verdict: Verdict,
    /// One entry per endpoint measured.
    pub targets: Vec<Target>,
    /// Microphones, speakers, cameras.
    pub devices: Devices,
    /// This computer while it ran.
    pub host: Host,
    /// The preflight of the application's join.
    pub join: BTreeMap<String, serde_json::Value>,
    /// Raw samples.
    pub trace: Option<EncodedTrace>,
    /// Mergeable histograms by metric name, each `hdr:us:1:60000000:2` in base64.
    pub sketches: BTreeMap<String, String>,
}

/// What kind of run a report is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Network and devices, with a verdict.
    Check,
    /// Network only, chosen traffic.
    Measure,
    /// Devices only.
    Devices,
    /// A scheduled run.
    Agent,
    /// The support run.
    Diagnose,
    /// A call watched while it ran.
    Monitor,
}

/// The fleet agent that ran it; all `None` for a person's run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AgentRef {
    /// The agent.
    pub id: Option<String>,
    /// Its start.
    pub boot: Option<String>,
    /// The run's number since then.
    pub seq: Option<u64>,
}

/// The program that made a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it ran.
    pub source: Source,
}

/// Where a report was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// On the command line.
    Cli,
    /// By a scheduled agent.
    Agent,
    /// In a browser.
    Browser,
}

/// The machine and network a run was made on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Operating system and version.
    pub os: Option<String>,
    /// Processor architecture.
    pub arch: Option<String>,
    /// Interface, addresses (truncated), connection kind.
    pub network: BTreeMap<String, serde_json::Value>,
}

/// What was asked for, and what was run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// As the person put it.
    pub asked: BTreeMap<String, serde_json::Value>,
    /// As it was resolved.
    pub run: BTreeMap<String, serde_json::Value>,
    /// What the verdict needs to know beside the trace and the profile.
    pub judged: Judged,
}

/// What the verdict needs to know beside the trace and the profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    /// The uses that count.
    pub uses: Vec<Use>,
    /// How long the run could be, and with it when a packet is lost.
    pub mode: Mode,
    /// Whether the run had its full time, so that point estimates decide what intervals leave open.
    pub at_cap: bool,
}

/// How long a run may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At most 6 s and 10 MB; stops early once all is decided.
    #[default]
    Quick,
    /// At most 30 s and 100 MB.
    Deep,
}

/// A use of a call that the verdict speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Speech.
    Audio,
    /// 640×360.
    #[serde(rename = "video_360p")]
    Video360p,
    /// 1280×720.
    #[serde(rename = "video_720p")]
    Video720p,
    /// 1920×1080.
    #[serde(rename = "video_1080p")]
    Video1080p,
    /// A shared screen.
    Screen,
}

impl Use {
    /// All, least rate first.
    pub const ALL: [Self; 5] =
        [Self::Audio, Self::Video360p, Self::Screen, Self::Video720p, Self::Video1080p];

    /// Its name in JSON: `audio`, `video_360p`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video360p => "video_360p",
            Self::Video720p => "video_720p",
            Self::Video1080p => "video_1080p",
            Self::Screen => "screen",
        }
    }

    /// Its short name, as a person types it: `audio`, `360p`, …
    pub fn short(self) -> &'static str {
        self.name().trim_start_matches("video_")
    }

    /// Whose traffic it sends.
    pub const fn media(self) -> Media {
        match self {
            Self::Audio => Media::Audio,
            Self::Video360p | Self::Video720p | Self::Video1080p => Media::Video,
            Self::Screen => Media::Screen,
        }
    }
}

impl std::str::FromStr for Use {
    type Err = UnknownUse;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|use_| text == use_.name() || text == use_.short())
            .ok_or_else(|| UnknownUse { text: text.to_owned() })
    }
}

/// A name that no use has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a use; choose from audio, 360p, 720p, 1080p, screen")]
pub struct UnknownUse {
    /// As given.
    pub text: String,
}

/// Will it work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It will.
    Ready,
    /// It will, with trouble.
    Degraded,
    /// It will not.
    Blocked,
    /// A permission is missing.
    PermissionDenied,
    /// The measurement cannot tell.
    Inconclusive,
    /// It was not looked at: never counts as good, nor as bad.
    NotTested,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// This computer: its processor, memory, queues.
    Computer,
    /// A microphone, speaker or camera.
    Device,
    /// Wi-Fi, cable, router.
    LocalNetwork,
    /// What lies between the router and the endpoint.
    Path,
    /// A relay, proxy or firewall.
    Relay,
    /// The endpoint or service itself.
    Service,
    /// The application's own way in.
    Join,
    /// The evidence does not say.
    Unknown,
}

/// Which way the fault is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultDirection {
    /// From the agent.
    Up,
    /// To the agent.
    Down,
    /// Both ways.
    Both,
}

impl From<Direction> for FaultDirection {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Up => Self::Up,
            Direction::Down => Self::Down,
        }
    }
}

/// Will it work, and if not, whose fault is it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The worst of the uses asked for.
    pub overall: State,
    /// Whether the intervals decided it, not the point estimates at the cap.
    pub certain: bool,
    /// Where the leading cause is.
    pub place: Option<Place>,
    /// Which way the leading cause is seen.
    pub direction: Option<FaultDirection>,
    /// One sentence for the person.
    pub say: String,
    /// One thing to do; `None` when there is nothing to do.
    pub fix: Option<String>,
    /// Each use looked at.
    pub uses: BTreeMap<Use, UseVerdict>,
    /// Why, worst first.
    pub causes: Vec<Cause>,
}

/// The verdict on one use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UseVerdict {
    /// The worst of its metrics.
    pub state: State,
    /// Whether the intervals decided it.
    pub certain: bool,
    /// Whether it was asked for (only then it counts in the overall verdict).
    pub asked: bool,
    /// Why it was not tested or is inconclusive.
    pub reason: Option<String>,
}

/// One reason for a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// Stable name, the key for translations: `loss_up`, `udp_blocked`, `host_delay`, …
    pub code: String,
    /// Numbers for the sentence.
    pub params: BTreeMap<String, serde_json::Value>,
    /// How bad it is by itself.
    pub state: State,
    /// Where it is.
    pub place: Place,
    /// Which way it is seen.
    pub direction: Option<FaultDirection>,
    /// The uses that it hurts.
    pub uses: Vec<Use>,
    /// Path of the figure that decided it: `up.loss_ratio`.
    pub metric: Option<String>,
    /// That figure.
    pub measured: Option<f64>,
    /// The profile's good value.
    pub good: Option<f64>,
    /// The profile's limit.
    pub limit: Option<f64>,
    /// How far past the good value, as a multiple of it (`measured / good`).
    pub margin: Option<f64>,
    /// One sentence for the person.
    pub say: String,
    /// One thing to do.
    pub fix: Option<String>,
    /// What speaks for it, for support.
    pub evidence: Vec<String>,
    /// What was looked at and is not the cause.
    pub ruled_out: Vec<String>,
}

/// What was looked at, or why it was not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Value<T> {
    /// Looked at; here it is.
    Measured(T),
    /// Tried, and it failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// Not tried.
    NotTested {
        /// Why not.
        reason: String,
    },
}

impl<T> Value<T> {
    /// Not tried, for this reason.
    pub fn not_tested(reason: impl Into<String>) -> Self {
        Self::NotTested { reason: reason.into() }
    }

    /// Tried and failed, for this reason.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into() }
    }

    /// The figure, if there is one.
    pub fn measured(&self) -> Option<&T> {
        match self {
            Self::Measured(value) => Some(value),
            Self::Failed { .. } | Self::NotTested { .. } => None,
        }
    }
}

/// A figure with its doubt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The point estimate.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: Option<f64>,
    /// Upper end of the 95 % interval.
    pub high: Option<f64>,
    /// Samples behind it.
    pub n: u64,
}

/// A distribution: exact percentiles of what was received (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// Samples.
    pub n: u64,
    /// Least.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile. `None` when n is too small to bound it (72).
    pub p95: Option<f64>,
    /// 99th percentile. `None` when n is too small to bound it (368).
    pub p99: Option<f64>,
    /// Greatest.
    pub max: f64,
    /// Distribution-free 95 % interval of the median.
    pub p50_bounds: Option<Bounds>,
    /// Distribution-free 95 % interval of the 95th percentile.
    pub p95_bounds: Option<Bounds>,
}

/// An interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bounds {
    /// Lower end.
    pub low: f64,
    /// Upper end; `None` when the sample does not bound it.
    pub high: Option<f64>,
}

/// One endpoint measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// `greenroom://probe.example`.
    pub url: String,
    /// `greenroom`, `stamp`, `turn`, …
    pub kind: String,
    /// Whether it could be measured, and if not why.
    pub state: Value<Reached>,
    /// Why it could not be measured, or not to the end; a run cut short has both figures and a failure.
    pub failure: Option<TargetFailure>,
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
pub struct Reached {
    /// Transport that carried the probes: `udp`, `quic`, `websocket`.
    pub transport: String,
    /// Address that answered.
    pub address: Option<String>,
    /// Time until the session stood.
    pub setup_ms: Option<f64>,
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
pub struct Timestamps {
    /// At the agent.
    pub here: StampSource,
    /// At the endpoint.
    pub there: StampSource,
}

/// One direction's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DirectionReport {
    /// How many packets ended how. `planned = sent + send_failed + not_sent`;
    /// `sent = on_time + late + lost + corrupt + host_dropped + awaited`.
    #[serde(flatten)]
    pub counts: CountsReport,
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
    pub capacity_bps: Value<Estimate>,
}

/// How many packets ended how, as reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "named as in metrics::flow::Counts, which says what each is")]
pub struct CountsReport {
    pub planned: u64,
    pub sent: u64,
    pub on_time: u64,
    pub late: u64,
    pub lost: u64,
    pub corrupt: u64,
    pub host_dropped: u64,
    pub awaited: u64,
    pub send_failed: u64,
    pub not_sent: u64,
    pub duplicate: u64,
    pub reordered: u64,
}

/// Smoothed interarrival jitter over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// RFC 4737 figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
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
pub struct Loaded {
    /// rtt p50 of audio alone.
    pub idle_rtt_p50_ms: Value<Estimate>,
    /// Per use: rtt p95 under load up to its own rung, less the idle median.
    pub rtt_increase_ms: BTreeMap<Use, Value<Estimate>>,
}

/// What a listener would say (E-model).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// Microphones, speakers, cameras.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "named for what they hold")]
pub struct Devices {
    pub microphones: Vec<serde_json::Value>,
    pub speakers: Vec<serde_json::Value>,
    pub cameras: Vec<serde_json::Value>,
    pub acoustic_loop: Option<serde_json::Value>,
}

/// This computer while it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Delay between kernel and program.
    pub delay_ms: Value<Distribution>,
    /// Share of all cores that was busy with other things.
    pub cpu_busy_ratio: Value<Estimate>,
    /// Share of time that a hypervisor took away.
    pub cpu_steal_ratio: Value<Estimate>,
}

/// Raw samples, packed (`trace::encoding` says how).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EncodedTrace {
    /// Name and version of the packing.
    pub encoding: String,
    /// The agent's half, phases and capacity stages, base64.
    pub here: String,
    /// The endpoint's half, base64.
    pub there: Option<String>,
}
