//! What to measure, against what, in which order, how long and with how many bytes. Pure: settings in, plan out.
//!
//! A run offers load in phases. Audio runs through all of them; it carries the round-trip times and keeps the session
//! alive. The first phase is audio alone and shows the floor of the delay. Then media climbs the rungs that were asked
//! for, both ways at once, each direction in streams of its own. A use is blamed only for what happened while the load
//! was at most its own rung, so the climb goes upward and no rung is offered beyond those asked for.

pub mod catalog;
mod probe;
mod timing;

use std::collections::BTreeSet;

use greenroom_reports::schema::{Kind, Mode, Use};
use greenroom_reports::trace::{Direction, Media, PhaseKind, StreamId, StreamSpec};
use greenroom_reports::units::{Bitrate, DataSize, Micros};
use greenroom_reports::verdict::Profile;
use thiserror::Error;

pub use crate::address::{EndpointUrl, Token};
pub use probe::{ProbePlan, ProbeRequest, least_interval, plan_beside, plan_probe};
use timing::{Timing, timing};

/// Byte cap of a quick check unless told otherwise.
pub const QUICK_MAX_BYTES: DataSize = DataSize::from_bytes(10_000_000);
/// Byte cap of a deep check unless told otherwise.
pub const DEEP_MAX_BYTES: DataSize = DataSize::from_bytes(100_000_000);

/// The highest rate that a deep check looks for, each way.
const SEARCH_CEILING: Bitrate = Bitrate::from_kbps(1_000_000);
/// A search with fewer bytes could not even tell what a slow link carries: it is left out.
const LEAST_SEARCH: DataSize = DataSize::from_bytes(1_000_000);
/// The phase of a search in one direction.
const SEARCH_PHASE: Micros = Micros::from_secs(4);
/// The search itself: what it has left in a queue is gone before the phase ends.
const SEARCH_TIME: Micros = Micros::from_millis(3_500);

/// What is wanted of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Against what.
    pub against: Against,
    /// Which traffic, for how long.
    pub traffic: Traffic,
    /// The thresholds to judge by: they say how many packets a verdict needs, and each use's rung.
    pub profile: Profile,
    /// Most bytes to send and receive at the IP layer. `None`: 10 MB quick, 100 MB deep.
    pub max_bytes: Option<DataSize>,
}

impl Request {
    /// A quick check of audio and 720p video against an endpoint.
    pub fn quick(endpoint: EndpointUrl) -> Self {
        Self {
            against: Against { endpoint: Some(endpoint), ..Against::default() },
            traffic: Traffic::Uses(BTreeSet::from([Use::Audio, Use::Video720p]), Mode::Quick),
            profile: Profile::default(),
            max_bytes: None,
        }
    }
}

/// What a run is made against, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Against {
    /// The endpoint. `None`: one within this program, on the loopback interface, which says nothing about the internet.
    pub endpoint: Option<EndpointUrl>,
    /// What lets this program in. Only sent to an endpoint that proved who it is.
    pub token: Option<Token>,
    /// Name or address of the network interface to send from. `None`: the system chooses.
    pub interface: Option<String>,
    /// Whether the program takes the times even where the system would: for comparing the two.
    pub program_stamps: bool,
}

/// Which traffic to offer, for how long.
#[derive(Debug, Clone, PartialEq)]
pub enum Traffic {
    /// What a verdict on these uses needs.
    Uses(BTreeSet<Use>, Mode),
    /// Audio and exactly these streams, all at once.
    Chosen {
        /// One-way media beside audio.
        media: Vec<ChosenMedia>,
        /// How long.
        duration: Micros,
    },
}

/// A one-way stream chosen by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChosenMedia {
    /// Whose traffic it imitates.
    pub media: Media,
    /// Its direction.
    pub direction: Direction,
    /// Its rate at the IP layer.
    pub rate: Bitrate,
}

/// What a run is going to do. Times count from the moment at which traffic may start.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Against what.
    pub against: Against,
    /// The thresholds to judge by.
    pub profile: Profile,
    /// Check or measure.
    pub kind: Kind,
    /// How thorough.
    pub mode: Mode,
    /// The uses that the verdict is asked for. Empty for a measurement of chosen traffic.
    pub uses: BTreeSet<Use>,
    /// Streams in ascending order of id.
    pub streams: Vec<PlannedStream>,
    /// Phases in order, without gaps, from zero.
    pub phases: Vec<PlannedPhase>,
    /// What the phases of kind [`PhaseKind::Capacity`] do: up first, then down.
    pub search: Option<PlannedSearch>,
    /// How long the endpoint may take until the session stands.
    pub reach: Micros,
    /// How long to listen for stragglers after the last packet.
    pub drain: Micros,
    /// Most bytes that this plan sends and receives at the IP layer.
    pub bytes: DataSize,
    /// The cap that it was made for.
    pub max_bytes: DataSize,
    /// Whether the run ends as soon as every use asked for is decided.
    pub stop_early: bool,
    /// When it ends if what was seen until then gives an answer that more of it would hardly change.
    pub enough: Micros,
}

impl Plan {
    /// When the last phase ends.
    pub fn traffic_ends(&self) -> Micros {
        self.phases.last().map_or(Micros::ZERO, |phase| phase.to)
    }

    /// How long the whole run takes unless the answer hangs: reaching the endpoint, traffic, stragglers.
    pub fn usual(&self) -> Micros {
        self.reach + self.enough + self.drain
    }

    /// The longest that the whole run takes.
    pub fn longest(&self) -> Micros {
        self.reach + self.traffic_ends() + self.drain
    }
}

/// A stream and when it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStream {
    /// Its id in the trace.
    pub id: StreamId,
    /// What it carries.
    pub spec: StreamSpec,
    /// The use whose rung it is. `None` for a rate chosen by hand.
    pub rung: Option<Use>,
    /// Its beginning.
    pub from: Micros,
    /// Its end.
    pub to: Micros,
}

impl PlannedStream {
    /// Bytes at the IP layer over its whole life, both ways where it is reflected.
    pub fn bytes(&self) -> DataSize {
        let one_way = self.spec.rate.in_time(self.to - self.from);
        if self.spec.direction.is_none() { one_way + one_way } else { one_way }
    }
}

/// Capacity searches, one each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedSearch {
    /// The stream of the search up.
    pub up: StreamId,
    /// The stream of the search down.
    pub down: StreamId,
    /// The highest rate that is looked for.
    pub ceiling: Bitrate,
    /// Bytes that each may spend at the IP layer.
    pub budget: DataSize,
    /// How long each may last.
    pub lasting: Micros,
}

impl PlannedSearch {
    /// The direction that a phase searches.
    pub fn direction(phase: &PlannedPhase) -> Direction {
        if phase.offered_up > phase.offered_down { Direction::Up } else { Direction::Down }
    }
}

/// A stretch of time with the load offered in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedPhase {
    /// What it is for.
    pub kind: PhaseKind,
    /// Its beginning.
    pub from: Micros,
    /// Its end.
    pub to: Micros,
    /// Media offered upward, audio left out; the ceiling of a capacity search.
    pub offered_up: Bitrate,
    /// Media offered downward, audio left out; the ceiling of a capacity search.
    pub offered_down: Bitrate,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// It would use more than the cap.
    #[error("this run would use up to {needed} and the cap is {cap}: {advice}")]
    OverCap {
        /// What it needs.
        needed: DataSize,
        /// The cap.
        cap: DataSize,
        /// What to do.
        advice: String,
    },
    /// Nothing was asked for.
    #[error("nothing to measure: name at least one of audio, 360p, 720p, 1080p, screen")]
    Nothing,
    /// The duration is out of bounds.
    #[error("the duration must be from {} s to {} s", SHORTEST.as_secs(), LONGEST.as_secs())]
    Duration,
    /// Somebody else's server would be asked too often, or not at all.
    #[error("what answers {kind} is asked every {} ms at most, and at least once in {} s", least.as_ms(), most.as_secs())]
    TooOften {
        /// What it is.
        kind: &'static str,
        /// The least time from question to question.
        least: Micros,
        /// The duration.
        most: Micros,
    },
    /// What is sent there has a pace of its own.
    #[error(
        "--interval is not for {kind}: media are sent at the pace of a call, 50 packets of sound a second"
    )]
    Paced {
        /// What it is.
        kind: &'static str,
    },
    /// A rate is out of bounds.
    #[error("the rate {0} is out of bounds: choose from {SLOWEST} to {FASTEST}")]
    Rate(Bitrate),
}

/// The rate of a use with 20 % headroom in the default profile, each way, at the IP layer.
pub const fn rung(use_: Use) -> Bitrate {
    Bitrate::from_kbps(match use_ {
        Use::Audio => 100,
        Use::Video360p | Use::Screen => 600,
        Use::Video720p => 1_500,
        Use::Video1080p => 3_000,
    })
}

/// Plans a run.
///
/// # Errors
///
/// [`PlanError`] when nothing was asked for, a bound is violated, or the run would use more bytes than its cap.
pub fn plan(request: &Request) -> Result<Plan, PlanError> {
    let plan = match &request.traffic {
        Traffic::Uses(uses, mode) => plan_uses(uses, *mode, request)?,
        Traffic::Chosen { media, duration } => plan_chosen(media, *duration, request)?,
    };
    if plan.bytes > plan.max_bytes {
        let advice = advice(&plan);
        return Err(PlanError::OverCap { needed: plan.bytes, cap: plan.max_bytes, advice });
    }
    Ok(plan)
}

/// Shortest and longest measurement of chosen traffic.
const SHORTEST: Micros = Micros::from_secs(1);
const LONGEST: Micros = Micros::from_secs(600);
/// Least and greatest rate of a stream chosen by hand.
const SLOWEST: Bitrate = Bitrate::from_kbps(50);
const FASTEST: Bitrate = Bitrate::from_kbps(50_000);

/// Audio at the IP layer: 50 packets a second of 184 octets in UDP over IPv6.
const AUDIO_RATE: Bitrate = Bitrate::from_bps(50 * (184 + 48) * 8);
/// QUIC handshake, control messages and the endpoint's half of the trace, generously.
const CONTROL_BYTES: DataSize = DataSize::from_bytes(200_000);

fn plan_uses(uses: &BTreeSet<Use>, mode: Mode, request: &Request) -> Result<Plan, PlanError> {
    if uses.is_empty() {
        return Err(PlanError::Nothing);
    }
    let timing = timing(mode);
    let plan = plan_rungs(uses, mode, &timing, request);
    if plan.search.is_some_and(|search| search.budget < LEAST_SEARCH) {
        return Ok(plan_rungs(uses, mode, &Timing { search: false, ..timing }, request));
    }
    Ok(plan)
}

fn plan_rungs(uses: &BTreeSet<Use>, mode: Mode, timing: &Timing, request: &Request) -> Plan {
    let rungs = rungs_in_order(uses, request);
    let mut builder = Builder::default();
    if rungs.is_empty() {
        builder.phase(PhaseKind::Idle, audio_alone(mode, timing), Bitrate::default());
    } else {
        builder.phase(PhaseKind::Idle, timing.idle, Bitrate::default());
        let each = rung_time(rungs.len(), timing);
        for use_ in &rungs {
            builder.rung(*use_, rate_of(*use_, request), each);
        }
    }
    if timing.search {
        builder.search();
    }
    if timing.settle > Micros::ZERO && (timing.search || !rungs.is_empty()) {
        builder.phase(PhaseKind::Settle, timing.settle, Bitrate::default());
    }
    let enough = builder.now();
    let max_bytes = request.max_bytes.unwrap_or(timing.max_bytes);
    builder.prolong(timing.more, max_bytes);
    let frame = Frame {
        kind: Kind::Check,
        mode,
        uses: uses.clone(),
        reach: timing.reach,
        drain: timing.drain,
        max_bytes,
        stop_early: mode == Mode::Quick,
        enough,
    };
    builder.finish(frame, request)
}

/// How long a check of audio alone sends: all the time that there is, or 12 s of a deep one.
fn audio_alone(mode: Mode, timing: &Timing) -> Micros {
    match mode {
        Mode::Quick => timing.traffic,
        Mode::Deep => Micros::from_secs(12),
    }
}

fn plan_chosen(media: &[ChosenMedia], duration: Micros, request: &Request) -> Result<Plan, PlanError> {
    if !(SHORTEST..=LONGEST).contains(&duration) {
        return Err(PlanError::Duration);
    }
    if let Some(stream) = media.iter().find(|m| !(SLOWEST..=FASTEST).contains(&m.rate)) {
        return Err(PlanError::Rate(stream.rate));
    }
    let offered = |direction| media.iter().filter(|m| m.direction == direction).map(|m| m.rate).sum();
    let mut builder = Builder::default();
    builder.phases.push(PlannedPhase {
        kind: if media.is_empty() { PhaseKind::Idle } else { PhaseKind::Media },
        from: Micros::ZERO,
        to: duration,
        offered_up: offered(Direction::Up),
        offered_down: offered(Direction::Down),
    });
    for chosen in media {
        let rung = rung_of(chosen);
        builder.stream(*chosen, rung, (Micros::ZERO, duration));
    }
    let deep = timing(Mode::Deep);
    Ok(builder.finish(
        Frame {
            kind: Kind::Measure,
            mode: Mode::Deep,
            uses: BTreeSet::new(),
            reach: deep.reach,
            drain: deep.drain,
            max_bytes: request.max_bytes.unwrap_or(deep.max_bytes),
            stop_early: false,
            enough: duration,
        },
        request,
    ))
}

/// The use whose rung a chosen stream matches exactly.
fn rung_of(chosen: &ChosenMedia) -> Option<Use> {
    let candidates: &[Use] = match chosen.media {
        Media::Audio => &[],
        Media::Video => &[Use::Video360p, Use::Video720p, Use::Video1080p],
        Media::Screen => &[Use::Screen],
    };
    candidates.iter().copied().find(|use_| rung(*use_) == chosen.rate)
}

/// Uses that offer media, lowest rate first.
fn rungs_in_order(uses: &BTreeSet<Use>, request: &Request) -> Vec<Use> {
    let mut rungs: Vec<Use> = uses.iter().copied().filter(|use_| *use_ != Use::Audio).collect();
    rungs.sort_by_key(|use_| rate_of(*use_, request));
    rungs
}

/// The rung of a use in the profile that judges it.
fn rate_of(use_: Use, request: &Request) -> Bitrate {
    request.profile.uses.get(&use_).map_or_else(|| rung(use_), |limits| limits.rate_bps)
}

fn rung_time(rungs: usize, timing: &Timing) -> Micros {
    let search = if timing.search { SEARCH_PHASE * 2 } else { Micros::ZERO };
    let left = timing.traffic - timing.settle - timing.idle - search;
    let each = Micros::new(left.get() / count(rungs.max(1)));
    // Whole milliseconds: plans are read by people.
    Micros::from_millis(each.get() / 1_000).min(timing.rung_max)
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[derive(Default)]
struct Builder {
    phases: Vec<PlannedPhase>,
    media: Vec<PlannedStream>,
}

/// What a plan has beside its phases and streams.
struct Frame {
    kind: Kind,
    mode: Mode,
    uses: BTreeSet<Use>,
    reach: Micros,
    drain: Micros,
    max_bytes: DataSize,
    stop_early: bool,
    enough: Micros,
}

impl Builder {
    fn now(&self) -> Micros {
        self.phases.last().map_or(Micros::ZERO, |phase| phase.to)
    }

    fn phase(&mut self, kind: PhaseKind, lasting: Micros, offered: Bitrate) {
        let from = self.now();
        self.phases.push(PlannedPhase {
            kind,
            from,
            to: from + lasting,
            offered_up: offered,
            offered_down: offered,
        });
    }

    /// Adds a phase with one use's media both ways.
    fn rung(&mut self, use_: Use, rate: Bitrate, lasting: Micros) {
        let from = self.now();
        self.phase(PhaseKind::Media, lasting, rate);
        for direction in Direction::BOTH {
            let chosen = ChosenMedia { media: use_.media(), direction, rate };
            self.stream(chosen, Some(use_), (from, from + lasting));
        }
    }

    /// Lets the last phase and its streams last longer, by `most` or as far as the bytes go.
    fn prolong(&mut self, most: Micros, max_bytes: DataSize) {
        let end = self.now();
        let last: Bitrate = self.media.iter().filter(|stream| stream.to == end).map(|s| s.spec.rate).sum();
        let rate = last + AUDIO_RATE + AUDIO_RATE;
        let left = max_bytes.bytes().saturating_sub(self.bytes().bytes());
        // In tenths of a second: plans are read by people.
        let affordable = i64::try_from(left * 80 / rate.bps().max(1)).unwrap_or(i64::MAX / 100_000);
        let more = most.min(Micros::from_millis(affordable.min(1_000_000) * 100));
        for stream in self.media.iter_mut().filter(|stream| stream.to == end) {
            stream.to = end + more;
        }
        if let Some(last) = self.phases.last_mut() {
            last.to = end + more;
        }
    }

    /// Adds a phase for the search up and one for the search down.
    fn search(&mut self) {
        for direction in Direction::BOTH {
            let from = self.now();
            let offered = |way| if way == direction { SEARCH_CEILING } else { Bitrate::default() };
            self.phases.push(PlannedPhase {
                kind: PhaseKind::Capacity,
                from,
                to: from + SEARCH_PHASE,
                offered_up: offered(Direction::Up),
                offered_down: offered(Direction::Down),
            });
        }
    }

    /// The searches of its phases, if there are any, and what each may spend of the bytes that are left.
    fn planned_search(&self, left: DataSize) -> Option<PlannedSearch> {
        self.phases.iter().find(|phase| phase.kind == PhaseKind::Capacity)?;
        let free = u16::try_from(self.media.len() + 1).unwrap_or(u16::MAX - 1);
        let most = SEARCH_CEILING.in_time(SEARCH_TIME);
        Some(PlannedSearch {
            up: StreamId(free),
            down: StreamId(free + 1),
            ceiling: SEARCH_CEILING,
            budget: DataSize::from_bytes(left.bytes() / 2).min(most),
            lasting: SEARCH_TIME,
        })
    }

    fn stream(&mut self, chosen: ChosenMedia, rung: Option<Use>, (from, to): (Micros, Micros)) {
        // Audio is 0, media follows. Plans have a handful of streams.
        let id = StreamId(u16::try_from(self.media.len() + 1).unwrap_or(u16::MAX));
        let spec = StreamSpec { media: chosen.media, direction: Some(chosen.direction), rate: chosen.rate };
        self.media.push(PlannedStream { id, spec, rung, from, to });
    }

    /// The stream that runs through all of it.
    fn audio(&self) -> PlannedStream {
        PlannedStream {
            id: StreamId::AUDIO,
            spec: StreamSpec { media: Media::Audio, direction: None, rate: AUDIO_RATE },
            rung: Some(Use::Audio),
            from: Micros::ZERO,
            to: self.now(),
        }
    }

    /// All but capacity searches, at the IP layer.
    fn bytes(&self) -> DataSize {
        let media: DataSize = self.media.iter().map(PlannedStream::bytes).sum();
        self.audio().bytes() + media + CONTROL_BYTES
    }

    fn finish(self, frame: Frame, request: &Request) -> Plan {
        let (audio, bytes) = (self.audio(), self.bytes());
        let left = DataSize::from_bytes(frame.max_bytes.bytes().saturating_sub(bytes.bytes()));
        let search = self.planned_search(left);
        let bytes = bytes + search.map_or(DataSize::default(), |search| search.budget + search.budget);
        let streams: Vec<PlannedStream> = std::iter::once(audio).chain(self.media).collect();
        Plan {
            against: request.against.clone(),
            profile: request.profile.clone(),
            kind: frame.kind,
            mode: frame.mode,
            uses: frame.uses,
            streams,
            phases: self.phases,
            search,
            reach: frame.reach,
            drain: frame.drain,
            bytes,
            max_bytes: frame.max_bytes,
            stop_early: frame.stop_early,
            enough: frame.enough,
        }
    }
}

/// What to do about a plan that needs more than its cap.
fn advice(plan: &Plan) -> String {
    let megabytes = plan.bytes.bytes().div_ceil(1_000_000);
    let raise = format!("allow it with --max-bytes {megabytes}MB");
    let costly = plan.streams.iter().filter(|s| s.spec.direction.is_some()).max_by_key(|s| s.bytes());
    match (plan.kind, costly.and_then(|stream| stream.rung)) {
        (Kind::Measure, _) => format!("{raise}, choose a shorter --duration or less --traffic"),
        (_, Some(use_)) if plan.uses.len() > 1 => {
            format!("{raise}, or leave {} out of --for", use_.short())
        }
        _ => raise,
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
