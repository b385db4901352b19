//! What a page sent beside the audio: video at the rate of a call, and, one way after the other, as much as its connection carries.
//!
//! What a stream of a WebTransport session carried becomes the counters of a capacity search, as the endpoint counted it every 50 ms: what it
//! received, and what the browser acknowledged. A stream sends again what is lost and tells no delay: nothing is missing in these counters,
//! and how long packets took meanwhile is told by the audio beside it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use greenroom_reports::metrics::percentile::{Quantile, Sorted};
use greenroom_reports::schema::Use;
use greenroom_reports::trace::{
    CapacityInterval, CapacitySearch, Direction, Media, Phase, PhaseKind, RxRecord, SearchEnd, StreamId,
    StreamLog, StreamSpec, Trace, TxOutcome, TxRecord,
};
use greenroom_reports::units::{Bitrate, DataSize, Micros};
use greenroom_reports::verdict::Profile;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::read::Samples;
use crate::problem::Problem;

/// The streams of video, as the page numbers them.
const UP: StreamId = StreamId(1);
const DOWN: StreamId = StreamId(2);
/// Most packets of video each way: ten seconds of 3 Mbit/s have some 4,000.
const MOST_PACKETS: usize = 20_000;
/// Most counts of a transfer: one every 50 ms.
const MOST_COUNTS: usize = 1_000;
/// Most octets between two counts: sums of them stay far from what a number holds.
const MOST_OCTETS: u64 = 1 << 40;
/// Octets of one count of the endpoint.
const TOLD: usize = 32;
/// Half of the round trips this much above those before show that the link itself was full.
const QUEUED: Micros = Micros::from_millis(5);
/// The share of what was granted that counts as all of it.
const CEILING_PERCENT: u64 = 95;

/// Video at the rate of a use.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RungRun {
    pub(super) rate_bps: u64,
    pub(super) from_us: i64,
    /// When a queue that it left was empty again.
    pub(super) to_us: i64,
    /// Intended, handed over (or nothing), octets at the IP layer.
    pub(super) sent: Vec<(i64, Option<i64>, u16)>,
    /// Number, arrival, octets at the IP layer.
    pub(super) received: Vec<(u32, i64, u16)>,
}

/// As much as goes, each way.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadRun {
    pub(super) up: Transfer,
    pub(super) down: Transfer,
    /// What the endpoint let pass at most.
    pub(super) granted_bps: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transfer {
    pub(super) from_us: i64,
    /// When the queue that it left was empty again.
    pub(super) to_us: i64,
    /// Whether the octets ran out before the time.
    #[serde(default)]
    pub(super) spent: bool,
    /// The endpoint's counts, base64.
    #[serde(default)]
    pub(super) told: String,
    /// What pages counted that were loaded before this server was: its endpoint has told them nothing that they could read.
    #[serde(default, rename = "packet")]
    _packet: IgnoredAny,
    #[serde(default, rename = "counts")]
    _counts: IgnoredAny,
}

/// Why the connection was not filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unloaded {
    /// The person wants to save data, as the browser tells.
    SaveData,
    /// Who was here before needs two seconds only.
    Quick,
    /// Only WebTransport has the streams for it.
    Way,
    /// The person was asked for devices for longer than packets go on.
    Late,
    /// The person stopped it.
    Stopped,
    /// It broke off.
    Broke,
}

impl RungRun {
    pub(super) fn check(&self) -> Result<(), Problem> {
        self.use_().ok_or_else(|| Problem::field("/network/rung/rate_bps", "is the rate of no use"))?;
        let sent = self.sent.iter().flat_map(|(intended, user, _)| [*intended, user.unwrap_or(0)]);
        let received = self.received.iter().map(|(_, at, _)| *at);
        points("/network/rung", sent.chain(received).chain([self.from_us, self.to_us]))?;
        few("/network/rung", self.sent.len().max(self.received.len()), MOST_PACKETS)
    }

    /// The use whose rate it is.
    pub(super) fn use_(&self) -> Option<Use> {
        let profile = Profile::default();
        let is_it =
            |(use_, rate): &(Use, Bitrate)| use_.media() == Media::Video && rate.bps() == self.rate_bps;
        profile.uses.iter().map(|(use_, limits)| (*use_, limits.rate_bps)).find(is_it).map(|(use_, _)| use_)
    }

    fn logs(&self) -> [StreamLog; 2] {
        let tx: Vec<TxRecord> = (0..)
            .zip(&self.sent)
            .map(|(seq, (intended, user, bytes))| TxRecord {
                user: user.map(Micros::new),
                outcome: if user.is_some() { TxOutcome::Sent } else { TxOutcome::NotSent },
                ..TxRecord::planned(seq, Micros::new(*intended), *bytes)
            })
            .collect();
        let rx = self.received.iter().map(|(seq, at, bytes)| {
            let at = Micros::new(*at);
            RxRecord { seq: *seq, at, user: Some(at), bytes: *bytes, tos: None, ttl: None, reply: None }
        });
        let spec = |direction| StreamSpec {
            media: Media::Video,
            direction: Some(direction),
            rate: Bitrate::from_bps(self.rate_bps),
        };
        let planned = u32::try_from(tx.len()).unwrap_or(u32::MAX);
        [
            StreamLog { id: UP, spec: spec(Direction::Up), planned, tx, rx: Vec::new(), corrupt: 0 },
            StreamLog {
                id: DOWN,
                spec: spec(Direction::Down),
                planned: 0,
                tx: Vec::new(),
                rx: rx.collect(),
                corrupt: 0,
            },
        ]
    }
}

impl LoadRun {
    pub(super) fn check(&self) -> Result<(), Problem> {
        let Self { up, down, .. } = self;
        let ends = [up.from_us, up.to_us, down.from_us, down.to_us];
        points("/network/load", ends.into_iter())?;
        few("/network/load/up/told", up.told.len(), MOST_COUNTS * TOLD * 2)?;
        few("/network/load/down/told", down.told.len(), MOST_COUNTS * TOLD * 2)
    }
}

/// Adds to a trace of audio what was sent beside it.
///
/// # Errors
/// 422 for what cannot be read.
pub(super) fn add(trace: &mut Trace, samples: &Samples) -> Result<(), Problem> {
    if let Some(rung) = &samples.rung {
        trace.here.streams.extend(rung.logs());
    }
    trace.phases = phases(trace, samples)?;
    let Some(load) = &samples.load else { return Ok(()) };
    for (direction, transfer) in [(Direction::Up, &load.up), (Direction::Down, &load.down)] {
        let found = transfer.carried(direction)?;
        let Some(end) = ended(&found, transfer, load, samples) else { continue };
        trace.capacity.extend(found);
        trace.searches.push(CapacitySearch { direction, end });
    }
    Ok(())
}

/// What was going on when: audio alone, video, and the connection filled up and down, with audio alone between them.
fn phases(trace: &Trace, samples: &Samples) -> Result<Vec<Phase>, Problem> {
    let audio = trace.here.streams.first().map(|log| log.tx.as_slice()).unwrap_or_default();
    let from = audio.first().map_or(Micros::ZERO, |first| first.intended);
    let end = audio.last().map_or(Micros::ZERO, |last| last.intended + Micros::from_millis(20));
    let none = Bitrate::from_bps(0);
    let granted = |load: &LoadRun| Bitrate::from_bps(load.granted_bps.max(1));
    let rung = samples.rung.as_ref().map(|rung| {
        let rate = Bitrate::from_bps(rung.rate_bps);
        (PhaseKind::Media, rung.from_us, rung.to_us, rate, rate)
    });
    let up = samples
        .load
        .as_ref()
        .map(|load| (PhaseKind::Capacity, load.up.from_us, load.up.to_us, granted(load), none));
    let down = samples
        .load
        .as_ref()
        .map(|load| (PhaseKind::Capacity, load.down.from_us, load.down.to_us, none, granted(load)));
    let mut phases: Vec<Phase> = Vec::new();
    let mut at = from;
    let alone = |first: bool| if first { PhaseKind::Idle } else { PhaseKind::Settle };
    for (kind, begins, ends, offered_up, offered_down) in rung.into_iter().chain(up).chain(down) {
        let (begins, ends) = (Micros::new(begins), Micros::new(ends));
        if begins < at || ends < begins {
            return Err(Problem::field("/network", "one thing began before the one before it had ended"));
        }
        let first = phases.is_empty();
        phases.push(Phase { kind: alone(first), from: at, to: begins, offered_up: none, offered_down: none });
        phases.push(Phase { kind, from: begins, to: ends, offered_up, offered_down });
        at = ends;
    }
    let first = phases.is_empty();
    if first || at < end {
        phases.push(Phase { kind: alone(first), from: at, to: end, offered_up: none, offered_down: none });
    }
    Ok(phases)
}

impl Transfer {
    /// What the whole connection carried meanwhile.
    fn carried(&self, direction: Direction) -> Result<Vec<CapacityInterval>, Problem> {
        let field = match direction {
            Direction::Up => "/network/load/up/told",
            Direction::Down => "/network/load/down/told",
        };
        let wrong = || Problem::field(field, "is not what an endpoint tells");
        let told = STANDARD.decode(&self.told).map_err(|_| wrong())?;
        let mut counts = Vec::new();
        for count in told.chunks_exact(TOLD) {
            let value = |place: usize| {
                let octets = count.get(place * 8..place * 8 + 8)?;
                Some(u64::from_be_bytes(octets.try_into().ok()?))
            };
            // The second is what the stream carried; the link carried more.
            let (Some(at), Some(octets), Some(packets)) = (value(0), value(2), value(3)) else {
                return Err(wrong());
            };
            let at = i64::try_from(at).ok().filter(|at| *at < 1_000_000_000).ok_or_else(wrong)?;
            counts.push((Micros::new(at), octets, packets));
        }
        let adjoining = counts.iter().zip(counts.iter().skip(1));
        let intervals = adjoining.filter_map(|((from, octets, packets), (to, more, further))| {
            let (octets, packets) = (more.checked_sub(*octets)?, further.checked_sub(*packets)?);
            interval(direction, *from, *to, octets, packets)
        });
        Ok(intervals.collect())
    }
}

fn interval(
    direction: Direction,
    from: Micros,
    to: Micros,
    octets: u64,
    packets: u64,
) -> Option<CapacityInterval> {
    let lasted = Some(to - from).filter(|lasted| *lasted > Micros::ZERO && octets < MOST_OCTETS)?;
    Some(CapacityInterval {
        direction,
        at: from,
        lasted,
        // As much as goes.
        offered: Bitrate::of(DataSize::from_bytes(octets), lasted)?,
        received_bytes: octets,
        received_packets: u32::try_from(packets).unwrap_or(u32::MAX),
        lost_packets: 0,
        disordered_packets: 0,
        delay_range: None,
    })
}

/// What ended it. Only where a queue stood before it was the link itself full, and no more would have gone; otherwise something else may
/// have held back: losses, this computer, the bounds of the check.
fn ended(
    found: &[CapacityInterval],
    transfer: &Transfer,
    load: &LoadRun,
    samples: &Samples,
) -> Option<SearchEnd> {
    let (Some(first), Some(last)) = (found.first(), found.last()) else { return None };
    let Transfer { from_us: from, spent, .. } = *transfer;
    let lasted = last.at + last.lasted - first.at;
    let to = from.saturating_add(lasted.get());
    let idle_ends = samples.rung.as_ref().map_or(load.up.from_us, |rung| rung.from_us);
    let median = |begins: i64, ends: i64| trips(samples, begins, ends).at(Quantile::P50);
    // The first third is the beginning, which is slow.
    let full = median(to.saturating_sub(lasted.get() / 3 * 2), to)?;
    let carried: DataSize = found.iter().map(|one| DataSize::from_bytes(one.received_bytes)).sum();
    let most = Bitrate::from_bps(load.granted_bps.saturating_mul(CEILING_PERCENT) / 100);
    Some(match median(i64::MIN, idle_ends) {
        Some(idle) if full > idle + QUEUED => SearchEnd::Converged,
        _ if Bitrate::of(carried, lasted) >= Some(most) => SearchEnd::Ceiling,
        _ if spent => SearchEnd::Budget,
        _ => SearchEnd::Deadline,
    })
}

/// Round trips of audio that was to leave within a time.
fn trips(samples: &Samples, from: i64, to: i64) -> Sorted {
    let trip = |(_, at, _, of, ..): &(u32, i64, u16, u32, i64, i64)| {
        let (intended, user, _) = samples.sent.get(usize::try_from(*of).ok()?)?;
        (from <= *intended && *intended < to).then_some(Micros::new(at.saturating_sub((*user)?)))
    };
    samples.received.iter().filter_map(trip).collect()
}

fn points(pointer: &str, mut all: impl Iterator<Item = i64>) -> Result<(), Problem> {
    // An hour.
    match all.all(|at| (-3_600_000_000..=3_600_000_000).contains(&at)) {
        true => Ok(()),
        false => Err(Problem::field(pointer, "has a point in time that no run has")),
    }
}

fn few(pointer: &str, count: usize, most: usize) -> Result<(), Problem> {
    match count <= most {
        true => Ok(()),
        false => Err(Problem::field(pointer, "has more entries than any run")),
    }
}
