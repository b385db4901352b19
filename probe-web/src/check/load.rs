//! What a page sent beside the audio: video at the rate of a call, and, one way after the other, as much as its connection carries.
//!
//! What a stream of a WebTransport session carried becomes the counters of a capacity search, as the endpoint or the page counted it every
//! 50 ms. A stream sends again what is lost and tells no delay: nothing is missing in these counters, and how long packets took meanwhile
//! is told by the audio beside it.

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
/// What a datagram of QUIC adds to a packet (RFC 9000 section 17.3.1, RFC 9221 section 4, RFC 9297 section 2.1).
const AROUND_DATAGRAM: u64 = 23;
/// Half of the round trips this much above those before show that the link itself was full.
const QUEUED: Micros = Micros::from_millis(5);
/// An interval with less than this share of the whole transfer's rate is a stall, which lasts until it is made up for.
const STALLED_PERCENT: u64 = 50;
const MADE_UP_PERCENT: u64 = 90;
/// A stall that is longer is an outage.
const LONGEST_STALL: Micros = Micros::from_secs(1);
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
    pub(super) up: UploadRun,
    pub(super) down: DownloadRun,
    /// What the endpoint let pass at most.
    pub(super) granted_bps: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadRun {
    pub(super) from_us: i64,
    /// When the queue that it left was empty again.
    pub(super) to_us: i64,
    /// Whether the octets ran out before the time.
    #[serde(default)]
    pub(super) spent: bool,
    /// The endpoint's counts, base64.
    #[serde(default)]
    pub(super) told: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DownloadRun {
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    #[serde(default)]
    pub(super) spent: bool,
    /// Octets of a full packet at the IP layer, and of the stream in it.
    #[serde(default)]
    pub(super) packet: Option<(u16, u16)>,
    /// When, and octets of the stream that had come by then.
    #[serde(default)]
    pub(super) counts: Vec<(i64, u64)>,
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
        points("/network/load", down.counts.iter().map(|(at, _)| *at).chain(ends))?;
        few("/network/load/down/counts", down.counts.len(), MOST_COUNTS)?;
        few("/network/load/up/told", up.told.len(), MOST_COUNTS * TOLD * 2)?;
        match down.packet {
            Some((ip, stream)) if stream == 0 || ip < stream => {
                Err(Problem::field("/network/load/down/packet", "has more octets of the stream than in all"))
            }
            _ => Ok(()),
        }
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
    for (direction, found) in
        [(Direction::Up, uploaded(&load.up)?), (Direction::Down, downloaded(&load.down, samples))]
    {
        let Some(end) = ended(&found, direction, load, samples) else { continue };
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

/// What the endpoint counted of the whole connection.
fn uploaded(run: &UploadRun) -> Result<Vec<CapacityInterval>, Problem> {
    let wrong = || Problem::field("/network/load/up/told", "is not what an endpoint tells");
    let told = STANDARD.decode(&run.told).map_err(|_| wrong())?;
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
        interval(Direction::Up, *from, *to, octets, packets)
    });
    Ok(intervals.collect())
}

/// What the page counted of the stream, in packets, and of the answers beside it.
///
/// Where nothing came for a while, this computer was held up or the link; what comes at once after it belongs to that time, too.
fn downloaded(run: &DownloadRun, samples: &Samples) -> Vec<CapacityInterval> {
    let Some((ip, stream)) = run.packet else { return Vec::new() };
    let mut intervals = Vec::new();
    let mut last: Option<(Micros, u64)> = None;
    for (at, came) in &run.counts {
        let at = Micros::new(*at);
        let Some((from, before)) = last else {
            last = Some((at, *came));
            continue;
        };
        // Clocks of some browsers go in steps of 100 ms: what came meanwhile is counted with the next step.
        let Some(octets) = came.checked_sub(before).filter(|octets| *octets > 0 && at > from) else {
            continue;
        };
        let packets = octets.div_ceil(u64::from(stream));
        let beside = samples.received.iter().filter(|(_, arrived, ..)| {
            let arrived = Micros::new(*arrived);
            from <= arrived && arrived < at
        });
        let beside: Vec<u64> =
            beside.map(|(_, _, octets, ..)| u64::from(*octets) + AROUND_DATAGRAM).collect();
        let octets = octets.saturating_mul(u64::from(ip)) / u64::from(stream);
        let octets = octets.saturating_add(beside.iter().sum());
        let packets = packets.saturating_add(u64::try_from(beside.len()).unwrap_or(0));
        intervals.extend(interval(Direction::Down, from, at, octets, packets));
        last = Some((at, *came));
    }
    whole(intervals)
}

/// Puts a stall and what makes up for it together.
///
/// A stream hands on octets in order: behind one that was lost they wait, though they have come, and then all are there at once. A second
/// that began in between would have more than the link carries. The beginning, which is slow by itself, stays as it is.
fn whole(intervals: Vec<CapacityInterval>) -> Vec<CapacityInterval> {
    let rate = |one: &CapacityInterval| Bitrate::of(DataSize::from_bytes(one.received_bytes), one.lasted);
    let octets = intervals.iter().map(|one| DataSize::from_bytes(one.received_bytes)).sum();
    let Some(mean) = Bitrate::of(octets, intervals.iter().map(|one| one.lasted).sum()) else {
        return intervals;
    };
    let below = |one: &CapacityInterval, percent: u64| {
        rate(one).is_none_or(|rate| rate.bps() < mean.bps().saturating_mul(percent) / 100)
    };
    let (mut put, mut begun): (Vec<CapacityInterval>, bool) = (Vec::new(), false);
    let mut stalled = false;
    for one in intervals {
        begun |= !below(&one, STALLED_PERCENT);
        match put.last_mut().filter(|_| stalled) {
            Some(last) => {
                last.lasted += one.lasted;
                last.received_bytes = last.received_bytes.saturating_add(one.received_bytes);
                last.received_packets = last.received_packets.saturating_add(one.received_packets);
            }
            None => {
                stalled = begun && below(&one, STALLED_PERCENT);
                put.push(one);
            }
        }
        stalled &= put.last().is_some_and(|last| last.lasted < LONGEST_STALL && below(last, MADE_UP_PERCENT));
    }
    put
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
    direction: Direction,
    load: &LoadRun,
    samples: &Samples,
) -> Option<SearchEnd> {
    let (Some(first), Some(last)) = (found.first(), found.last()) else { return None };
    let (from, spent) = match direction {
        Direction::Up => (load.up.from_us, load.up.spent),
        Direction::Down => (load.down.from_us, load.down.spent),
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Intervals of 50 ms with so many thousand octets.
    fn intervals(thousands: impl IntoIterator<Item = u64>) -> Vec<CapacityInterval> {
        let at = |n: i64| Micros::from_millis(50 * n);
        (0..)
            .zip(thousands)
            .map(|(n, thousand)| {
                interval(Direction::Down, at(n), at(n + 1), thousand * 1_000, thousand).expect("it lasts")
            })
            .collect()
    }

    #[test]
    fn a_stall_and_what_makes_up_for_it_are_one() {
        // Slow at first; then half a second in which next to nothing can be handed on, and all of it at once.
        let stalled = (0..10).map(|_| 1).chain((0..10).map(|n| if n == 9 { 91 } else { 1 }));
        let found = whole(intervals((0..5).map(|_| 1).chain((0..20).map(|_| 10)).chain(stalled)));
        assert_eq!(
            found.iter().map(|one| one.received_bytes).sum::<u64>(),
            5_000 + 200_000 + 10_000 + 100_000
        );
        let most = found.iter().filter_map(|one| {
            Bitrate::of(DataSize::from_bytes(one.received_bytes), one.lasted).map(Bitrate::mbps)
        });
        assert!(most.fold(0.0, f64::max) <= 1.7, "{found:?}");
        assert!(found.windows(2).all(|two| two[0].at + two[0].lasted == two[1].at), "nothing is left out");
    }

    #[test]
    fn a_steady_transfer_stays_as_it_is() {
        let steady = intervals((0..5).map(|n| n + 1).chain((0..40).map(|n| 9 + n % 3)));
        assert_eq!(whole(steady.clone()), steady);
        assert_eq!(whole(Vec::new()), Vec::new());
    }
}
