//! Each use against its limits: which samples bear on which figure, and the worst of the findings.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{Evidence, Finding, Heavier, Sample};
use super::filling::{Filling, QUEUED};
use super::observed::{Mark, Observation, Observed, Time};
use crate::metrics::percentile::{Quantile, Sorted};
use crate::metrics::{burst, reorder};
use crate::schema::{FaultDirection, State, Use};
use crate::trace::{Direction, Media, PhaseKind, StampSource};
use crate::units::{Bitrate, Micros};
use crate::verdict::{Band, Interval, Judgement, Limits};

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Figure {
    Loss,
    /// The use's own stream: lost, or later than the delay variation that the use stands.
    Rate,
    LateLoss,
    BurstLoss,
    Rtt,
    Pdv,
    RttIncrease,
    Reordered,
    HostLoss,
    HostDelay,
    LocalQueue,
}

/// One figure of one use, judged.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) figure: Figure,
    /// `None` for round trips.
    pub(super) direction: Option<FaultDirection>,
    pub(super) band: Band,
    pub(super) finding: Finding,
}

/// A use against its limits.
pub(super) struct UseFindings {
    pub(super) judged: Vec<Judged>,
    /// Figures that the profile judges and the run did not measure.
    pub(super) missing: Vec<Figure>,
    /// Whether loads lighter than the use's own got through well, per direction: then it is the rate that fails.
    pub(super) lighter_is_fine: BTreeMap<Direction, bool>,
    /// The queue that the use's own stream filled, per direction in which it did and lighter loads did not suffer.
    pub(super) filling: BTreeMap<Direction, Filling>,
}

/// Judges one use. Self-error is looked at by `spoiled`: what share of a figure's threshold the measurement itself adds.
pub(super) fn judge(
    observed: &Observed<'_>,
    use_: Use,
    limits: &Limits,
    at_cap: bool,
    spoiled: impl Fn(Figure, Option<Direction>, &Band) -> bool,
) -> UseFindings {
    let view = View { observed, use_, rate: limits.rate_bps, pdv_limit: limits.pdv_p95_ms.as_ref() };
    let mut found = UseFindings {
        judged: Vec::new(),
        missing: Vec::new(),
        lighter_is_fine: BTreeMap::new(),
        filling: BTreeMap::new(),
    };
    let mut add =
        |figure: Figure, direction: Option<Direction>, band: &Band, finding: Option<Finding>| match finding {
            Some(mut finding) => {
                let blames = matches!(finding.judgement.state, State::Degraded | State::Blocked);
                if (blames || finding.judgement.certainly_not_ready()) && spoiled(figure, direction, band) {
                    finding.judgement = Judgement::OPEN;
                }
                let direction = direction.map(FaultDirection::from);
                found.judged.push(Judged { figure, direction, band: band.clone(), finding });
            }
            None => found.missing.push(figure),
        };
    for direction in Direction::BOTH {
        let way = Some(direction);
        if let Some(band) = &limits.loss_ratio {
            add(Figure::Loss, way, band, view.shares(direction, |mark| mark.lost).judge(band, at_cap));
            let host = view.shares(direction, |mark| mark.host_dropped).judge(band, at_cap);
            add(Figure::HostLoss, way, band, host);
            if use_ != Use::Audio && view.pdv_limit.is_some() {
                add(Figure::Rate, way, band, view.shortfall(direction).judge(band, at_cap));
            }
        }
        if let Some(band) = &limits.late_loss_ratio {
            add(
                Figure::LateLoss,
                way,
                band,
                view.shares(direction, |mark| mark.unplayed).judge(band, at_cap),
            );
        }
        if let Some(band) = &limits.pdv_p95_ms {
            add(Figure::Pdv, way, band, view.pdv(direction).judge(band, at_cap));
            for (figure, evidence) in view.host(direction) {
                // Not every system tells; what is not told is not missed.
                if let Some(finding) = evidence.judge(band, at_cap) {
                    add(figure, way, band, Some(finding));
                }
            }
        }
        if let Some(band) = &limits.burst_loss_200ms_ratio {
            add(Figure::BurstLoss, way, band, view.burst(direction, band, at_cap));
        }
        if let Some(band) = &limits.reordered_ratio {
            add(Figure::Reordered, way, band, view.reordered(direction).judge(band, at_cap));
        }
    }
    if let Some(band) = &limits.rtt_p50_ms {
        add(Figure::Rtt, None, band, view.rtt(Quantile::P50, [Micros::ZERO; 3]).judge(band, at_cap));
    }
    if let Some(band) = &limits.rtt_increase_ms {
        let finding = view.idle_median().and_then(|idle| view.rtt(Quantile::P95, idle).judge(band, at_cap));
        add(Figure::RttIncrease, None, band, finding);
    }
    for direction in Direction::BOTH {
        let lighter_is_fine = view.lighter_is_fine(direction, limits);
        found.lighter_is_fine.insert(direction, lighter_is_fine);
        found
            .filling
            .extend(view.filling(direction).filter(|_| lighter_is_fine).map(|filling| (direction, filling)));
    }
    for (direction, filling) in &found.filling {
        let grown = found.filling.values().map(|filling| filling.grown.as_ms()).sum();
        blame_rate(&mut found.judged, *direction, filling, grown);
    }
    found
}

/// Makes the rate of one direction as bad as what its queue did, and its figure the share that the link did not carry: packets
/// are late, and in the end lost, because too many are sent. `grown_ms` is by how much the queues of both directions grew.
fn blame_rate(judged: &mut [Judged], direction: Direction, filling: &Filling, grown_ms: f64) {
    let way = Some(FaultDirection::from(direction));
    let by_queue = |judged: &&Judged| match judged.figure {
        Figure::Loss | Figure::LateLoss | Figure::Pdv => judged.direction == way,
        // Most of what round trips gained has to be theirs.
        Figure::RttIncrease => judged.finding.value.is_some_and(|ms| 2.0 * grown_ms > ms),
        _ => false,
    };
    let worst = judged.iter().filter(by_queue).map(|judged| judged.finding.judgement);
    let worst = worst.reduce(Judgement::worsened_by);
    let rate = judged.iter_mut().find(|judged| judged.figure == Figure::Rate && judged.direction == way);
    if let (Some(rate), Some(worst)) = (rate, worst) {
        let [least, likeliest, greatest] = filling.missing;
        rate.finding.judgement = rate.finding.judgement.worsened_by(worst);
        rate.finding.value = Some(likeliest);
        rate.finding.interval = Some((least, greatest));
    }
}

/// What one use sees of a run.
struct View<'a> {
    observed: &'a Observed<'a>,
    use_: Use,
    rate: Bitrate,
    pdv_limit: Option<&'a Band>,
}

impl<'a> View<'a> {
    /// The time in which at most the use's own rung was offered.
    fn own_time(&self) -> Time<'a> {
        self.observed.time_up_to(self.own_load())
    }

    /// The load that the use makes. Audio is left out of what phases say was offered.
    fn own_load(&self) -> Bitrate {
        if self.use_ == Use::Audio { Bitrate::default() } else { self.rate }
    }

    fn is_own(&self, stream: &Observation) -> bool {
        stream.flow.media == self.use_.media()
            && (self.use_ == Use::Audio || near(stream.flow.rate, self.rate))
    }

    fn own_stream(&self, direction: Direction) -> Option<&'a Observation> {
        self.observed.streams.iter().find(|s| s.flow.direction == direction && self.is_own(s))
    }

    /// Whether a point lies in the use's own time and its own stream ran: for a use with a stream of its own, audio alone
    /// is a lighter load.
    fn while_own_stream_ran(&self) -> impl Fn(Micros) -> bool {
        let time = self.own_time();
        let spans: Vec<_> = Direction::BOTH
            .into_iter()
            .filter_map(|direction| {
                let packets = &self.own_stream(direction)?.marks;
                Some((packets.first()?.at, packets.last()?.at))
            })
            .collect();
        let any_time = self.use_ == Use::Audio;
        move |at| time.holds(at) && (any_time || spans.iter().any(|(from, to)| (*from..=*to).contains(&at)))
    }

    /// The evidence that a figure of marks makes, sampled by `sample`.
    fn evidence(
        &self,
        direction: Direction,
        sample: impl Fn(&mut dyn Iterator<Item = &Mark>) -> Sample,
    ) -> Evidence {
        let time = self.own_time();
        let heavier = self.loads_above().into_iter().map(|load| {
            let marks = self.marks_up_to(direction, load, |stream| {
                let heavier = stream.flow.media != Media::Audio && stream.flow.rate > self.rate;
                self.use_ == Use::Audio || self.is_own(stream) || heavier
            });
            Heavier { sample: sample(&mut marks.into_iter()), queued: self.queued(direction, load) }
        });
        // Audio alone is all that there is in its own time.
        let within = (self.use_ != Use::Audio).then(|| {
            let marks = self.marks_up_to(direction, self.rate, |stream| {
                stream.flow.media == Media::Audio || stream.flow.rate <= self.rate || self.is_own(stream)
            });
            sample(&mut marks.into_iter())
        });
        Evidence {
            own: self.own_stream(direction).map(|stream| sample(&mut stream.during(time))),
            within,
            heavier: heavier.collect(),
        }
    }

    /// Loads offered above the use's own, ascending.
    fn loads_above(&self) -> BTreeSet<Bitrate> {
        self.observed.loads_above(self.own_load())
    }

    /// Marks of streams one way while at most this load was offered, in order of sending: streams that share a path share its
    /// bursts.
    fn marks_up_to(
        &self,
        direction: Direction,
        load: Bitrate,
        counts: impl Fn(&Observation) -> bool,
    ) -> Vec<&'a Mark> {
        let time = self.observed.time_up_to(load);
        let streams = self.observed.streams.iter().filter(|s| s.flow.direction == direction && counts(s));
        let mut marks: Vec<&'a Mark> =
            streams.flat_map(|s| s.marks.iter()).filter(|mark| time.holds(mark.at)).collect();
        marks.sort_by_key(|mark| mark.at);
        marks
    }

    /// Whether a queue filled under loads up to this one: most of audio's packets waited longer than nearly all of them did under the
    /// use's own load.
    fn queued(&self, direction: Direction, load: Bitrate) -> bool {
        let (own, loaded) = (self.own_time(), self.observed.time_up_to(load));
        let delay = |keep: &dyn Fn(Micros) -> bool, q| {
            let marks = self.observed.audio(direction).into_iter().flat_map(|audio| &audio.marks);
            let delays = marks.filter(|mark| keep(mark.at)).filter_map(|mark| mark.pdv);
            delays.collect::<Sorted>().at(q)
        };
        let before = delay(&|at| own.holds(at), Quantile::P95);
        let under = delay(&|at| loaded.holds(at) && !own.holds(at), Quantile::P50);
        before.zip(under).is_some_and(|(before, under)| under > before + QUEUED)
    }

    /// The queue that the use's own stream filled.
    fn filling(&self, direction: Direction) -> Option<Filling> {
        let own = self.own_stream(direction).filter(|_| self.use_ != Use::Audio)?;
        let time = self.own_time();
        Filling::of(&own.flow.restrict(|at| time.holds(at)).packets, self.rate)
    }

    /// The evidence of a mark's share.
    fn shares(&self, direction: Direction, of: impl Fn(&Mark) -> bool) -> Evidence {
        self.evidence(direction, |marks| Sample::Share(marks.map(&of).collect()))
    }

    /// Lost on the way or later than the use stands: what of its rate did not get through.
    fn shortfall(&self, direction: Direction) -> Evidence {
        let stands = self.pdv_limit.and_then(|band| Micros::from_ms_f64(band.limit.unwrap_or(band.good)));
        let missed =
            |mark: &Mark| mark.lost || mark.pdv.zip(stands).is_some_and(|(pdv, stands)| pdv > stands);
        // Lighter load says nothing of the rate.
        Evidence { within: None, ..self.shares(direction, missed) }
    }

    fn pdv(&self, direction: Direction) -> Evidence {
        self.evidence(direction, |marks| {
            Sample::quantile(marks.filter_map(|mark| mark.pdv).collect(), Quantile::P95)
        })
    }

    /// The computers' own delays, over the whole run: they are no matter of load.
    fn host(&self, direction: Direction) -> [(Figure, Evidence); 2] {
        let p95 = |values: Vec<Micros>| {
            let own = (!values.is_empty()).then(|| Sample::quantile(values, Quantile::P95));
            Evidence { own, ..Evidence::default() }
        };
        let packets = self.observed.audio(direction).map(|s| &s.flow);
        let by_kernel =
            packets.is_some_and(|flow| matches!(flow.rx_source, StampSource::Kernel | StampSource::Hardware));
        let packets = packets.into_iter().flat_map(|flow| &flow.packets);
        let handed_up =
            packets.clone().filter_map(|p| Some(p.arrived_user? - p.arrived?)).filter(|_| by_kernel);
        let queued = packets.filter_map(|p| Some(p.left? - p.queued?));
        [(Figure::HostDelay, p95(handed_up.collect())), (Figure::LocalQueue, p95(queued.collect()))]
    }

    /// Round trips under the use's own load.
    fn rtt(&self, q: Quantile, less: [Micros; 3]) -> Evidence {
        let own = self.while_own_stream_ran();
        let time = self.own_time();
        let sample = |keep: &dyn Fn(Micros) -> bool| {
            let trips = self.observed.trips.samples.iter().filter(|trip| keep(trip.intended));
            Sample::Quantile { values: trips.map(|trip| trip.rtt).collect(), q, less }
        };
        Evidence {
            own: Some(sample(&own)),
            within: Some(sample(&|at| time.holds(at))),
            heavier: self
                .loads_above()
                .into_iter()
                .map(|load| {
                    let heavier = self.observed.time_up_to(load);
                    let sample = sample(&|at| own(at) || (heavier.holds(at) && !time.holds(at)));
                    let queued = Direction::BOTH.into_iter().any(|way| self.queued(way, load));
                    Heavier { sample, queued }
                })
                .collect(),
        }
    }

    /// The median round trip of audio alone: least, likeliest, greatest.
    fn idle_median(&self) -> Option<[Micros; 3]> {
        let idle = idle_trips(self.observed);
        let bounds = crate::confidence::quantile::bounds(idle.as_slice(), 0.5, crate::confidence::LEVEL);
        Some([bounds.low?, idle.at(Quantile::P50)?, bounds.high?])
    }

    /// The worst 200 ms are a fact, not an estimate: they can only get worse while the run goes on.
    fn burst(&self, direction: Direction, band: &Band, at_cap: bool) -> Option<Finding> {
        let time = self.own_time();
        let stream = self.own_stream(direction)?;
        let worst = burst::worst_block(&stream.flow.restrict(|at| time.holds(at)), burst::BLOCK)?;
        let value = worst.ratio()?.get();
        let high = if at_cap { value } else { f64::INFINITY };
        let judgement = Judgement::of(Interval { low: value, value, high }, band.good, band.limit, at_cap);
        Some(Finding { judgement, value: Some(value), interval: None, n: stream.marks.len(), pooled: false })
    }

    fn reordered(&self, direction: Direction) -> Evidence {
        let time = self.own_time();
        let own = self.own_stream(direction).map(|stream| {
            let kept = stream.flow.restrict(|at| time.holds(at));
            let mut marks = vec![false; kept.arrivals.len()];
            for packet in reorder::reordering(&kept).packets {
                if let Some(mark) = marks.get_mut(packet.index) {
                    *mark = true;
                }
            }
            Sample::Share(marks)
        });
        Evidence { own, ..Evidence::default() }
    }

    /// Whether audio alone and lighter rungs lost little, so that a loss under this rung is the rate's doing.
    fn lighter_is_fine(&self, direction: Direction, limits: &Limits) -> bool {
        let own = self.while_own_stream_ran();
        let time = self.own_time();
        let lighter: Vec<bool> = self
            .observed
            .audio(direction)
            .into_iter()
            .chain(self.observed.media(direction).filter(|s| s.flow.rate < self.rate))
            .flat_map(|s| s.during(time))
            .filter(|mark| !own(mark.at))
            .map(|mark| mark.lost)
            .collect();
        let good = limits.loss_ratio.as_ref().map_or(0.0, |band| band.good);
        self.use_ != Use::Audio
            && lighter.len() >= 20
            && Sample::Share(lighter).value().is_some_and(|value| value <= good)
    }
}

/// Round trips of audio alone, before any load; all of them when the trace has no phases.
pub(super) fn idle_trips(observed: &Observed<'_>) -> Sorted {
    let idle = |at: Micros| {
        let phases = &observed.trace.phases;
        phases.is_empty() || phases.iter().any(|p| p.kind == PhaseKind::Idle && p.from <= at && at < p.to)
    };
    observed.trips.samples.iter().filter(|trip| idle(trip.intended)).map(|trip| trip.rtt).collect()
}

/// Whether two rates are the same rung: within 2 %.
pub(super) fn near(a: Bitrate, b: Bitrate) -> bool {
    a.bps().abs_diff(b.bps()) * 50 <= b.bps()
}
