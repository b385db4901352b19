//! A target's figures, as the report tells them.

use std::collections::BTreeMap;

use super::observed::{Observation, Observed, buffer};
use super::uses::idle_trips;
use crate::confidence::loss::{self, LossRuns};
use crate::confidence::{LEVEL, quantile};
use crate::metrics::capacity::{self, Bounds as CapacityBounds};
use crate::metrics::loss::Share;
use crate::metrics::percentile::{Quantile, Sorted};
use crate::metrics::sketch::Sketch;
use crate::metrics::{burst, delay, host, reorder};
use crate::playout;
use crate::quality::{self, Codec, Conditions};
use crate::schema::{
    Burst, Capacity, Details, DirectionReport, Distribution, Estimate, Host, LateLoss, Loaded, Machine,
    PhaseReport, Quality, Reordering, SelfError, Series, SmoothedJitter, StreamReport, Target, Timestamps,
    Use, Value, tidy,
};
use crate::trace::{Direction, Media, PhaseKind, SearchEnd, StampSource, Trace};
use crate::units::{Bitrate, Micros, Ratio};
use crate::verdict::Profile;

use super::TargetMeta;

/// The codec that quality is told for.
const CODEC: Codec = Codec::OpusSwbVbr(34_000);
/// Length of a point of a series.
const STEP: Micros = Micros::from_millis(100);

/// All figures of an endpoint that was measured.
pub(super) fn target(
    meta: &TargetMeta,
    observed: &Observed<'_>,
    profile: &Profile,
    unusable: Vec<String>,
) -> Target {
    let half = |half: Option<&crate::trace::Half>| half.map_or(StampSource::Unknown, |half| half.clock.rx);
    let nothing = "no audio was sent";
    let audio = |direction| match observed.audio(direction) {
        Some(stream) => self::direction(stream, observed),
        None => DirectionReport::not_tested(nothing),
    };
    Target {
        state: super::reached(meta),
        url: meta.url.clone(),
        kind: meta.kind.clone(),
        failure: meta.failure.clone(),
        details: meta.details.clone(),
        in_process: meta.in_process,
        identity: meta.identity,
        timestamps: Timestamps {
            here: half(Some(&observed.trace.here)),
            there: half(observed.trace.there.as_ref()),
        },
        rtt_ms: distribution(&observed.trips.rtt(), "nothing came back"),
        reflector_hold_ms: distribution(&observed.trips.hold(), "nothing came back"),
        up: audio(Direction::Up),
        down: audio(Direction::Down),
        streams: streams(observed, profile),
        loaded: loaded(observed, profile),
        quality: quality(observed),
        self_error: self_error(observed, unusable),
        skew_ppm: match observed.drift.ppm() {
            Some(ppm) => estimate(ppm, None, observed.trips.samples.len()),
            None => Value::not_tested("too short a run, or queues hide the clocks' drift"),
        },
        phases: phases(observed.trace),
        series: series(observed),
    }
}

/// An endpoint that was not measured.
pub(super) fn unmeasured(meta: &TargetMeta, reason: &str) -> Target {
    Target {
        state: super::reached(meta),
        url: meta.url.clone(),
        kind: meta.kind.clone(),
        failure: meta.failure.clone(),
        details: meta.details.clone(),
        in_process: meta.in_process,
        identity: meta.identity,
        timestamps: Timestamps {
            here: meta
                .details
                .as_ref()
                .and_then(Details::round_trip)
                .map(|found| found.stamped_by)
                .unwrap_or_default(),
            ..Timestamps::default()
        },
        rtt_ms: Value::not_tested(reason),
        reflector_hold_ms: Value::not_tested(reason),
        up: DirectionReport::not_tested(reason),
        down: DirectionReport::not_tested(reason),
        streams: Vec::new(),
        loaded: Loaded {
            idle_rtt_p50_ms: Value::not_tested(reason),
            rtt_increase_ms: BTreeMap::new(),
            saturated_up_ms: Value::not_tested(reason),
            saturated_down_ms: Value::not_tested(reason),
        },
        quality: no_quality(reason),
        self_error: SelfError {
            send_lateness_ms: Value::not_tested(reason),
            late_sends: 0,
            host_delay_ms: Value::not_tested(reason),
            unusable: Vec::new(),
        },
        skew_ppm: Value::not_tested(reason),
        phases: Vec::new(),
        series: Vec::new(),
    }
}

/// This computer while it ran.
pub(super) fn host(observed: Option<&Observed<'_>>) -> Host {
    let told = observed.and_then(|o| o.trace.here.host_load);
    let share = |value: Option<f64>| match value {
        Some(value) => estimate(value, None, 1),
        None => Value::not_tested("the system did not tell"),
    };
    Host {
        delay_ms: match observed.and_then(|o| o.audio(Direction::Down)) {
            Some(stream) => distribution(&host::host_delay(&stream.flow), "times were taken by the program"),
            None => Value::not_tested("nothing was received"),
        },
        cpu_busy_ratio: share(told.map(|load| load.busy_ratio)),
        cpu_steal_ratio: share(told.map(|load| load.steal_ratio)),
        machine: Machine::not_tested("the computer was not looked at"),
    }
}

/// Mergeable histograms of round trips and of delay variation each way.
pub(super) fn sketches(observed: &Observed<'_>) -> BTreeMap<String, Sketch> {
    let mut sketches = BTreeMap::new();
    let mut add = |name: &str, values: &mut dyn Iterator<Item = Micros>| {
        let mut sketch = Sketch::new();
        values.for_each(|value| {
            sketch.record(value);
        });
        if !sketch.is_empty() {
            sketches.insert(name.to_owned(), sketch);
        }
    };
    add("rtt", &mut observed.trips.samples.iter().map(|trip| trip.rtt));
    for (name, direction) in [("pdv_up", Direction::Up), ("pdv_down", Direction::Down)] {
        if let Some(stream) = observed.audio(direction) {
            add(name, &mut stream.marks.iter().filter_map(|mark| mark.pdv));
        }
    }
    sketches
}

fn direction(stream: &Observation, observed: &Observed<'_>) -> DirectionReport {
    let flow = &stream.flow;
    let same =
        |other: &&Observation| (other.flow.stream, other.flow.direction) == (flow.stream, flow.direction);
    let whole = observed.whole_streams().iter().find(same).map_or(&flow.counts, |whole| &whole.flow.counts);
    let runs: LossRuns = stream.marks.iter().map(|mark| mark.lost).collect();
    let none = "nothing was sent, or all of it is still awaited";
    let lost = crate::metrics::loss::network_loss(&flow.counts);
    let ipdv = delay::ipdv_mean_abs(flow);
    let blocks = burst::burst_gap(flow, burst::GMIN);
    let order = reorder::reordering(flow);
    let (duplicated, received) = reorder::duplicated(flow);
    DirectionReport {
        counts: *whole,
        loss_ratio: match lost.ratio() {
            Some(ratio) => {
                let shown = loss::displayed_bursty(&runs, LEVEL);
                ratio_estimate(ratio, (shown.low, shown.high), lost.whole)
            }
            None => Value::not_tested(none),
        },
        host_loss_ratio: share(crate::metrics::loss::host_loss(&flow.counts), none),
        pdv_ms: distribution(
            &delay::pdv_sorted(flow, stream.skew),
            "no packet has both a departure and an arrival",
        ),
        ipdv_mean_abs_ms: match ipdv {
            Some(mean) => estimate(mean.ms, None, usize::try_from(mean.n).unwrap_or(usize::MAX)),
            None => Value::not_tested("no two neighbors arrived"),
        },
        jitter_rfc3550_ms: match delay::jitter_rfc3550(flow) {
            Some(j) => Value::Measured(SmoothedJitter {
                n: j.n,
                last: tidy(j.last_ms),
                p95: tidy(j.p95_ms),
                max: tidy(j.max_ms),
            }),
            None => Value::not_tested("fewer than two packets arrived"),
        },
        burst: if stream.marks.is_empty() {
            Value::not_tested(none)
        } else {
            Value::Measured(Burst {
                bursts: blocks.bursts,
                burst_density_ratio: blocks.in_bursts.ratio().map_or(0.0, |r| tidy(r.get())),
                gap_density_ratio: blocks.in_gaps.ratio().map_or(0.0, |r| tidy(r.get())),
                burst_duration_ms: blocks.burst_duration().map_or(0.0, Micros::as_ms),
                gap_duration_ms: blocks.gap_duration().map_or(0.0, Micros::as_ms),
                burst_ratio: burst::transitions(flow).burst_ratio().map(tidy),
            })
        },
        burst_loss_200ms_ratio: match burst::worst_block(flow, burst::BLOCK)
            .and_then(|s| Some((s.ratio()?, s.whole)))
        {
            Some((ratio, whole)) => estimate(ratio.get(), None, usize::try_from(whole).unwrap_or(usize::MAX)),
            None => Value::not_tested(none),
        },
        late_loss_ratio: late_loss(stream, none),
        reordering: match order.ratio() {
            Some(ratio) => Value::Measured(Reordering {
                ratio: tidy(ratio),
                extent_max: order.extent_max(),
                n_reordering_max: order.n_max(),
                late_time_max_ms: order.late_time_max().as_ms(),
            }),
            None => Value::not_tested("nothing arrived"),
        },
        duplicate_ratio: share(Share { part: duplicated, whole: received }, "nothing arrived"),
        host_delay_ms: distribution(
            &host::host_delay(flow),
            "the receiver's times were taken by the program",
        ),
        local_queue_ms: distribution(&host::local_queue(flow), "the sender's system does not tell"),
        capacity_bps: capacity(observed.trace, flow.direction, lost),
    }
}

/// What a second of a capacity search must meet to count: so much lost beyond what the link loses anyhow.
const CAPACITY_BOUNDS: CapacityBounds =
    CapacityBounds { loss_ratio: 0.02, delay_range: Micros::from_millis(90) };

/// Beyond that it is the load that was tried, and not the link, by which audio is lost.
const MOST_LOST_ANYHOW: f64 = 0.05;

/// What a direction's search found: over a second, or over less where it had ended before it held a rate for one. `anyhow` is what was lost
/// outside of the search.
fn capacity(trace: &Trace, direction: Direction, anyhow: Share) -> Value<Capacity> {
    if !trace.capacity.iter().any(|interval| interval.direction == direction) {
        return Value::not_tested("no capacity search was run");
    }
    let ended = trace.searches.iter().find(|search| search.direction == direction).map(|search| search.end);
    let anyhow = anyhow.ratio().map_or(0.0, Ratio::get).min(MOST_LOST_ANYHOW);
    let loss_ratio = CAPACITY_BOUNDS.loss_ratio + anyhow;
    let bounds = CapacityBounds { loss_ratio, ..CAPACITY_BOUNDS };
    let over = |lasting| capacity::capacity(&trace.capacity, direction, bounds, lasting);
    let at_least = ended != Some(SearchEnd::Converged);
    let found = over(capacity::WINDOW).or_else(|| over(capacity::SHORT_WINDOW).filter(|_| at_least));
    let Some(found) = found else {
        return Value::failed("no second of the search met the bounds on loss and delay");
    };
    Value::Measured(Capacity {
        #[expect(clippy::cast_precision_loss, reason = "rates stay far below 2^53 bit/s")]
        value: found.rate.bps() as f64,
        at_least,
        ended,
        window_ms: found.lasted.as_ms(),
        loss_ratio: found.loss.ratio().map_or(0.0, |ratio| tidy(ratio.get())),
        delay_range_ms: found.delay_range.map(Micros::as_ms),
        n: u64::try_from(found.intervals).unwrap_or(u64::MAX),
    })
}

fn late_loss(stream: &Observation, none: &str) -> LateLoss {
    let fixed =
        |ms| share(crate::metrics::loss::late_loss(&stream.flow, stream.skew, Micros::from_millis(ms)), none);
    let runs: LossRuns = stream.marks.iter().map(|mark| mark.unplayed).collect();
    let adaptive = Ratio::of(runs.lost(), runs.n());
    let samples: Vec<playout::Sample> = stream
        .flow
        .packets
        .iter()
        .filter(|packet| packet.is_settled())
        .map(|packet| {
            (packet.departed.unwrap_or(packet.intended), packet.arrived.filter(|_| packet.is_received()))
        })
        .collect();
    let added = playout::replay_adaptive(&samples, &buffer(stream.flow.media)).mean_added();
    LateLoss {
        fixed_40ms: fixed(40),
        fixed_60ms: fixed(60),
        fixed_100ms: fixed(100),
        fixed_200ms: fixed(200),
        adaptive: match adaptive {
            Some(ratio) => {
                let shown = loss::displayed_bursty(&runs, LEVEL);
                ratio_estimate(ratio, (shown.low, shown.high), runs.n())
            }
            None => Value::not_tested(none),
        },
        adaptive_delay_ms: match added {
            Some(added) => estimate(added.as_ms(), None, samples.len()),
            None => Value::not_tested("nothing arrived"),
        },
    }
}

/// Media streams, each named for the use whose rung it is: same kind of media, nearest rate.
fn streams(observed: &Observed<'_>, profile: &Profile) -> Vec<StreamReport> {
    let rung = |stream: &Observation| {
        let uses = profile.uses.iter().filter(|(use_, _)| use_.media() == stream.flow.media);
        uses.min_by_key(|(_, limits)| limits.rate_bps.bps().abs_diff(stream.flow.rate.bps()))
            .map(|(use_, _)| *use_)
    };
    let media = Direction::BOTH.into_iter().flat_map(|direction| observed.media(direction));
    media
        .filter_map(|stream| {
            Some(StreamReport {
                use_: rung(stream)?,
                direction: stream.flow.direction,
                rung_bps: stream.flow.rate.bps(),
                #[expect(clippy::cast_precision_loss, reason = "rates stay far below 2^53 bit/s")]
                received_bps: match host::received_rate(&stream.flow) {
                    Some(rate) => estimate(rate.bps() as f64, None, stream.flow.arrivals.len()),
                    None => Value::not_tested("fewer than two packets arrived"),
                },
                figures: direction(stream, observed),
            })
        })
        .collect()
}

fn loaded(observed: &Observed<'_>, profile: &Profile) -> Loaded {
    let idle = idle_trips(observed);
    let over_idle = |loaded: &Sorted| {
        let increase = delay::rtt_increase(&idle, loaded)?;
        let bounds = quantile::bounds(loaded.as_slice(), 0.95, LEVEL);
        let median = idle.at(Quantile::P50).unwrap_or(Micros::ZERO);
        let less = |end: Option<Micros>| end.map(|end| tidy((end - median).as_ms()));
        Some(Value::Measured(Estimate {
            value: tidy(increase.as_ms()),
            low: less(bounds.low),
            high: less(bounds.high),
            n: bounds.n,
        }))
    };
    let increase = |limits: &crate::verdict::Limits, use_: Use| {
        let most = if use_ == Use::Audio { Bitrate::default() } else { limits.rate_bps };
        let (time, quiet) = (observed.time_up_to(most), observed.time_up_to(Bitrate::default()));
        let own = |at| time.holds(at) && (use_ == Use::Audio || !quiet.holds(at));
        over_idle(&observed.trips.restrict(own).rtt())
            .unwrap_or_else(|| Value::not_tested("no round trip under this load, or none without"))
    };
    let saturated = |direction| match observed.whole {
        Some(_) => over_idle(&observed.trips_under_search(direction).rtt())
            .unwrap_or_else(|| Value::not_tested("no round trip during the search, or none before")),
        None => Value::not_tested("no capacity search was run"),
    };
    Loaded {
        idle_rtt_p50_ms: match idle.at(Quantile::P50) {
            Some(median) => {
                let bounds = quantile::bounds(idle.as_slice(), 0.5, LEVEL);
                Value::Measured(Estimate {
                    value: tidy(median.as_ms()),
                    low: bounds.low.map(|low| tidy(low.as_ms())),
                    high: bounds.high.map(|high| tidy(high.as_ms())),
                    n: bounds.n,
                })
            }
            None => Value::not_tested("no round trip of audio alone"),
        },
        rtt_increase_ms: profile.uses.iter().map(|(use_, limits)| (*use_, increase(limits, *use_))).collect(),
        saturated_up_ms: saturated(Direction::Up),
        saturated_down_ms: saturated(Direction::Down),
    }
}

/// What a listener would say: the worse direction.
fn quality(observed: &Observed<'_>) -> Quality {
    let Some(rtt) = observed.trips.rtt().at(Quantile::P50) else { return no_quality("nothing came back") };
    let rate = |direction| {
        let stream = observed.audio(direction)?;
        let unplayed: LossRuns = stream.marks.iter().map(|mark| mark.unplayed).collect();
        let samples: Vec<playout::Sample> = stream
            .flow
            .packets
            .iter()
            .filter_map(|p| Some((p.departed?, p.arrived.filter(|_| p.is_received()))))
            .collect();
        let conditions = Conditions {
            rtt,
            buffer: playout::replay_adaptive(&samples, &buffer(stream.flow.media)).mean_added()?,
            lost_or_late: Ratio::of(unplayed.lost(), unplayed.n())?,
            burst_ratio: burst::transitions(&stream.flow).burst_ratio(),
        };
        quality::rate(CODEC, &conditions).ok()
    };
    let worse = Direction::BOTH.into_iter().filter_map(rate).min_by(|a, b| a.mos.total_cmp(&b.mos));
    let n = observed.trips.samples.len();
    match worse {
        Some(score) => Quality {
            mos: estimate(score.mos, None, n),
            r: estimate(score.r, None, n),
            model: score.model.name().to_owned(),
            codec_source: score.source.to_owned(),
            ..no_quality("")
        },
        None => no_quality("nothing arrived in one direction"),
    }
}

fn no_quality(reason: &str) -> Quality {
    let entry = CODEC.entry();
    Quality {
        mos: Value::not_tested(reason),
        r: Value::not_tested(reason),
        model: entry.map_or_else(|_| "none".to_owned(), |entry| entry.model.name().to_owned()),
        codec: "Opus, super-wideband, 34 kbit/s".to_owned(),
        codec_source: entry.map_or_else(|unknown| unknown.to_string(), |entry| entry.source.to_owned()),
    }
}

fn self_error(observed: &Observed<'_>, unusable: Vec<String>) -> SelfError {
    let mut lateness = Vec::new();
    let mut late_sends = 0;
    for stream in observed.streams.iter().filter(|s| s.flow.direction == Direction::Up) {
        lateness.extend_from_slice(host::send_lateness(&stream.flow).as_slice());
        late_sends += host::late_sends(&stream.flow);
    }
    SelfError {
        send_lateness_ms: distribution(&Sorted::new(lateness), "nothing was sent"),
        late_sends,
        host_delay_ms: self::host(Some(observed)).delay_ms,
        unusable,
    }
}

fn phases(trace: &Trace) -> Vec<PhaseReport> {
    let phases =
        trace.phases.iter().filter(|phase| phase.kind != PhaseKind::Capacity || phase.to > phase.from);
    phases
        .map(|phase| PhaseReport {
            kind: phase.kind,
            from_ms: phase.from.as_ms(),
            to_ms: phase.to.as_ms(),
            offered_up_bps: phase.offered_up.bps(),
            offered_down_bps: phase.offered_down.bps(),
        })
        .collect()
}

/// Delay and loss over the whole time, capacity searches included: the greatest delay and the share lost of each tenth of
/// a second.
fn series(observed: &Observed<'_>) -> Vec<Series> {
    let mut all = Vec::new();
    let trips = observed.whole_trips().samples.iter().map(|trip| (trip.intended, trip.rtt.as_ms()));
    all.extend(steps("rtt", "ms", trips, f64::max, |value, _| value));
    for (direction, delay, loss) in
        [(Direction::Up, "delay_up", "loss_up"), (Direction::Down, "delay_down", "loss_down")]
    {
        let audio = |s: &&Observation| s.flow.media == Media::Audio && s.flow.direction == direction;
        let Some(stream) = observed.whole_streams().iter().find(audio) else { continue };
        let delays = stream.marks.iter().filter_map(|mark| Some((mark.at, mark.pdv?.as_ms())));
        all.extend(steps(delay, "ms", delays, f64::max, |value, _| value));
        let losses = stream.marks.iter().map(|mark| (mark.at, f64::from(u8::from(mark.lost))));
        all.extend(steps(loss, "ratio", losses, |a, b| a + b, |sum, n| sum / n));
    }
    all
}

/// One point per step from the first to the last, `None` where nothing falls into it.
fn steps(
    name: &str,
    unit: &str,
    points: impl Iterator<Item = (Micros, f64)>,
    join: impl Fn(f64, f64) -> f64,
    finish: impl Fn(f64, f64) -> f64,
) -> Option<Series> {
    let mut by_step: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for (at, value) in points {
        by_step
            .entry(at.get().div_euclid(STEP.get()))
            .and_modify(|(joined, n)| (*joined, *n) = (join(*joined, value), *n + 1.0))
            .or_insert((value, 1.0));
    }
    let (first, last) = (*by_step.first_key_value()?.0, *by_step.last_key_value()?.0);
    // A damaged trace may put points years apart; a plot ends somewhere.
    let last = last.min(first.saturating_add(MOST_STEPS));
    let values =
        (first..=last).map(|step| by_step.get(&step).map(|(joined, n)| tidy(finish(*joined, *n)))).collect();
    let at_ms = (first..=last).map(|step| (STEP * step).as_ms()).collect();
    Some(Series { name: name.to_owned(), unit: unit.to_owned(), at_ms, values })
}

/// An hour of steps.
const MOST_STEPS: i64 = 36_000;

/// A share with Wilson's interval.
fn share(share: Share, none: &str) -> Value<Estimate> {
    match share.ratio() {
        Some(ratio) => {
            let shown = loss::displayed(share.part, share.whole);
            ratio_estimate(ratio, (shown.low, shown.high), share.whole)
        }
        None => Value::not_tested(none),
    }
}

fn ratio_estimate(ratio: Ratio, (low, high): (f64, f64), n: u64) -> Value<Estimate> {
    Value::Measured(Estimate { value: tidy(ratio.get()), low: Some(tidy(low)), high: Some(tidy(high)), n })
}

fn estimate(value: f64, bounds: Option<(f64, f64)>, n: usize) -> Value<Estimate> {
    Value::Measured(Estimate {
        value: tidy(value),
        low: bounds.map(|(low, _)| tidy(low)),
        high: bounds.map(|(_, high)| tidy(high)),
        n: u64::try_from(n).unwrap_or(u64::MAX),
    })
}

/// Exact percentiles with their distribution-free intervals; those that so few samples do not bound are left out.
fn distribution(sorted: &Sorted, none: &str) -> Value<Distribution> {
    Distribution::of(sorted).map_or_else(|| Value::not_tested(none), Value::Measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Bounds;

    #[test]
    fn few_samples_have_no_far_percentiles() {
        let of = |n: i64| distribution(&Sorted::new((1..=n).map(Micros::from_millis).collect()), "none");
        let few = *of(71).measured().unwrap();
        assert_eq!((few.n, few.min, few.p50, few.p95, few.p99, few.max), (71, 1.0, 36.0, None, None, 71.0));
        let many = *of(500).measured().unwrap();
        assert_eq!((many.p95, many.p99), (Some(475.0), Some(495.0)));
        assert_eq!(many.p95_bounds, Some(Bounds { low: 465.0, high: Some(485.0) }));
        assert_eq!(of(0), Value::not_tested("none"));
    }
}
