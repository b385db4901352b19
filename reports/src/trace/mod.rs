//! Raw samples as measured: what every probe, native or browser, hands over.
//!
//! A [`Trace`] has two halves: what this end saw (`here`) and what the endpoint saw (`there`). Each half logs what it sent
//! and what it received, on its own clock. Nothing in a trace is derived; everything in a report is.
//!
//! # Clocks
//!
//! All points in one half are [`Micros`] on that end's monotonic clock since that half's anchor. Kernel stamps, which the
//! kernel takes on the wall clock, are moved to the monotonic clock by the shell before they get here. The offset between
//! the halves is unknown; nothing may assume it.
//!
//! # Precision
//!
//! A trace counts whole microseconds. A report is computed from the trace as encoded, so that whoever receives both can
//! compute the same summary again.

pub mod encoding;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Bitrate, Micros};

/// Both ends' logs of one run against one target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Trace {
    /// What the agent saw.
    pub here: Half,
    /// What the endpoint saw. `None` when it cannot tell (a router's STAMP reflector) or died before it did: then loss
    /// per direction is known by count at best (a stateful reflector's own numbering), never by packet.
    pub there: Option<Half>,
    /// What was going on when, on the agent's clock.
    pub phases: Vec<Phase>,
    /// Capacity stages: counters, not packets.
    pub capacity: Vec<CapacityInterval>,
    /// How the capacity searches ended; one that was cut short has no entry.
    pub searches: Vec<CapacitySearch>,
}

/// One end's log.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Half {
    /// How this end's points were taken.
    pub clock: ClockInfo,
    /// One log per stream that this end took part in, in ascending order of id.
    pub streams: Vec<StreamLog>,
    /// Datagrams that this end's own receive queue dropped: cumulative counts as read, in time order.
    pub queue_drops: Vec<QueueDrops>,
    /// The log is complete up to here; what was sent later than one round trip before is still awaited.
    pub covered_until: Micros,
    /// Whether the run came to its planned end at this end.
    pub complete: bool,
    /// CPU share of everything else on this machine while it ran, and time stolen by a hypervisor, where known.
    pub host_load: Option<HostLoad>,
}

impl Half {
    /// Notes a reading of the drop counter of a socket that this run has for itself; one that says nothing new is left out.
    pub fn note_drops(&mut self, at: Micros, total: u64) {
        if self.queue_drops.last().map_or(0, |last| last.total) != total {
            self.queue_drops.push(QueueDrops { at, total, shared: false });
        }
    }

    /// Adds a chunk of a growing half: the records since the chunk before, and the counts (`planned`, `corrupt`) since the
    /// beginning.
    pub fn append(&mut self, chunk: Self) {
        for log in chunk.streams {
            match self.streams.binary_search_by_key(&log.id, |known| known.id) {
                Ok(at) => self.streams[at].append(log),
                Err(at) => self.streams.insert(at, log),
            }
        }
        self.clock = chunk.clock;
        self.queue_drops.extend(chunk.queue_drops);
        self.covered_until = chunk.covered_until;
        self.complete = chunk.complete;
        self.host_load = chunk.host_load.or(self.host_load);
    }
}

impl StreamLog {
    fn append(&mut self, chunk: Self) {
        self.spec = chunk.spec;
        self.planned = chunk.planned;
        self.corrupt = chunk.corrupt;
        self.tx.extend(chunk.tx);
        self.rx.extend(chunk.rx);
    }
}

/// How one end's points in time were taken, and what happened to its clock meanwhile.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClockInfo {
    /// Where transmit points come from.
    pub tx: StampSource,
    /// Where receive points come from.
    pub rx: StampSource,
    /// Steps of the wall clock that were noticed (and taken out) during the run.
    pub steps: Vec<ClockStep>,
}

/// Who took a time stamp.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum StampSource {
    /// The network card.
    Hardware,
    /// The kernel, as the packet passed.
    Kernel,
    /// The program, before or after the system call: includes its own scheduling delay.
    User,
    /// Nobody said.
    #[default]
    Unknown,
}

/// A step of the wall clock during the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStep {
    /// When it was noticed.
    pub at: Micros,
    /// By how much the wall clock moved ahead of the monotonic one.
    pub by: Micros,
}

/// A reading of a socket's drop counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDrops {
    /// When it was read.
    pub at: Micros,
    /// Datagrams dropped since the run began.
    pub total: u64,
    /// Whether other sessions share the socket: then the count is an upper bound.
    pub shared: bool,
}

/// What the machine was doing beside the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HostLoad {
    /// Share of all cores that was busy, 0..=1.
    pub busy_ratio: f64,
    /// Share of time that a hypervisor took away, 0..=1.
    pub steal_ratio: f64,
    /// Cores that the run could use.
    pub cores: u16,
}

/// Identifies a stream within a run. The audio stream (STAMP, both ways) is 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct StreamId(pub u16);

impl StreamId {
    /// The audio stream.
    pub const AUDIO: Self = Self(0);
}

/// One end's log of one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamLog {
    /// Which stream.
    pub id: StreamId,
    /// What it carries.
    pub spec: StreamSpec,
    /// Packets that this end was to send in all, had the run come to its end.
    pub planned: u32,
    /// What this end sent or failed to send, in order of intention.
    pub tx: Vec<TxRecord>,
    /// What this end received, in order of arrival, duplicates included.
    pub rx: Vec<RxRecord>,
    /// Packets that arrived damaged (bad authentication, wrong length) and cannot be counted to a sequence number.
    pub corrupt: u32,
}

/// What a stream carries and at what rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// Whose traffic it imitates.
    pub media: Media,
    /// `None`: both ways (each packet is reflected). Otherwise one way, never reflected.
    pub direction: Option<Direction>,
    /// Nominal rate at the IP layer.
    pub rate: Bitrate,
}

/// Whose traffic a stream imitates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Media {
    /// 50 packets per second of Opus size, reflected.
    Audio,
    /// 30 frames per second, key frames larger.
    Video,
    /// Few, large frames.
    Screen,
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the agent to the endpoint.
    Up,
    /// From the endpoint to the agent.
    Down,
}

impl Direction {
    /// Both, `Up` first.
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];
}

/// One packet that an end meant to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxRecord {
    /// The sender's own number, from 0, without gaps.
    pub seq: u32,
    /// When it was to leave.
    pub intended: Micros,
    /// When the program handed it to the kernel. `None` when it never did.
    pub user: Option<Micros>,
    /// When it entered the local queue (Linux TX_SCHED).
    pub sched: Option<Micros>,
    /// When it left the local queue for the device (Linux TX_SOFTWARE or hardware).
    pub kernel: Option<Micros>,
    /// Size at the IP layer, header included.
    pub bytes: u16,
    /// For a reply: the number of the packet that it answers.
    pub reply_to: Option<u32>,
    /// What came of it.
    pub outcome: TxOutcome,
}

impl TxRecord {
    /// A packet that is to leave at `intended`; nothing is known of it yet but that it will be tried.
    pub const fn planned(seq: u32, intended: Micros, bytes: u16) -> Self {
        Self {
            seq,
            intended,
            user: None,
            sched: None,
            kernel: None,
            bytes,
            reply_to: None,
            outcome: TxOutcome::Sent,
        }
    }

    /// The best point known for its departure: the kernel's, else the program's.
    pub fn departed(&self) -> Option<Micros> {
        self.kernel.or(self.user)
    }
}

/// What came of a packet that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxOutcome {
    /// The kernel took it.
    Sent,
    /// The kernel refused it (full buffer, no route); the error number where there is one.
    Failed(Option<i32>),
    /// The kernel took it and then dropped it locally (a full queueing discipline).
    DroppedLocally,
    /// The run ended before its turn.
    NotSent,
}

/// One arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RxRecord {
    /// The sender's number, as carried by the packet.
    pub seq: u32,
    /// When it arrived: the kernel's point where there is one, else the program's.
    pub at: Micros,
    /// When the program had it. The difference to `at` is this computer's own delay.
    pub user: Option<Micros>,
    /// Size at the IP layer, header included.
    pub bytes: u16,
    /// DSCP and ECN as they arrived (the TOS or traffic-class octet), where the system tells.
    pub tos: Option<u8>,
    /// TTL or hop limit as it arrived, where the system tells.
    pub ttl: Option<u8>,
    /// For a reply: what the reflector says.
    pub reply: Option<ReplyStamps>,
}

/// What a STAMP reply says of the packet that it answers. Times are on the reflector's clock (the `there` half's anchor).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyStamps {
    /// The number of the packet answered.
    pub of: u32,
    /// T2: when the reflector received it.
    pub received: Micros,
    /// T3: when the reflector sent the reply, as known when it was written.
    pub sent: Micros,
    /// Follow-Up Telemetry: an earlier reply's number and its true departure.
    pub follow_up: Option<(u32, Micros)>,
    /// TTL of the packet answered, as it reached the reflector.
    pub ttl: Option<u8>,
    /// DSCP and ECN of the packet answered, as they reached the reflector (Class of Service TLV).
    pub tos: Option<u8>,
}

/// What load was offered from when to when, on the agent's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What it was for.
    pub kind: PhaseKind,
    /// Its beginning.
    pub from: Micros,
    /// Its end; packets intended before it belong to it.
    pub to: Micros,
    /// Media load offered upward, audio left out.
    pub offered_up: Bitrate,
    /// Media load offered downward, audio left out.
    pub offered_down: Bitrate,
}

/// What a phase was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseKind {
    /// Audio alone.
    Idle,
    /// Audio with the media of the rungs asked for.
    Media,
    /// A capacity search.
    Capacity,
    /// Audio alone again, so that the floor is seen at both ends of a run.
    Settle,
}

/// How a capacity search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacitySearch {
    /// The direction that was searched.
    pub direction: Direction,
    /// What ended it.
    pub end: SearchEnd,
}

/// What ended a capacity search. Unless it converged, the path may carry more than was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchEnd {
    /// The path's own limit was found and held.
    Converged,
    /// The highest rate allowed was carried.
    Ceiling,
    /// The bytes were spent.
    Budget,
    /// The time was up.
    Deadline,
    /// The receiver fell silent.
    Silent,
}

/// One interval of a capacity stage (50 ms): counters of packets, not packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityInterval {
    /// Its direction.
    pub direction: Direction,
    /// Its beginning, on the receiver's clock.
    pub at: Micros,
    /// How long it was.
    pub lasted: Micros,
    /// The rate the sender aimed at.
    pub offered: Bitrate,
    /// Bytes received at the IP layer.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u32,
    /// Packets found missing by sequence.
    pub lost_packets: u32,
    /// Packets that arrived out of order or twice.
    pub disordered_packets: u32,
    /// Least and greatest delay variation within the interval, over the least of the stage.
    pub delay_range: Option<(Micros, Micros)>,
}
