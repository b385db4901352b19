//! A trace taken apart once: flows, each packet marked with everything that is judged of it, and the phases of load.

use std::collections::BTreeSet;

use crate::metrics::delay;
use crate::metrics::flow::{self, Fate, Flow, LossPolicy, RoundTrips};
use crate::metrics::skew::{self, Drift, Skew};
use crate::playout::{self, Adaptive};
use crate::schema::Mode;
use crate::trace::{Direction, Media, Phase, PhaseKind, Trace};
use crate::units::{Bitrate, Micros};

/// A trace taken apart. What happened during a capacity search is kept apart: it fills the link on purpose, so nothing
/// else that is told or judged may see it.
pub(super) struct Observed<'a> {
    pub(super) trace: &'a Trace,
    pub(super) streams: Vec<Observation>,
    pub(super) trips: RoundTrips,
    pub(super) drift: Drift,
    /// The whole run, searches included, where there were any.
    pub(super) whole: Option<Whole>,
}

/// The whole run, capacity searches included.
pub(super) struct Whole {
    pub(super) streams: Vec<Observation>,
    pub(super) trips: RoundTrips,
}

/// A flow and its packets' marks.
pub(super) struct Observation {
    pub(super) flow: Flow,
    /// What to take out of its delays.
    pub(super) skew: Option<Skew>,
    /// Settled packets, in order of number.
    pub(super) marks: Vec<Mark>,
}

/// What is judged of one packet.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    /// When it was to leave, on the agent's clock.
    pub(super) at: Micros,
    /// Lost on the network.
    pub(super) lost: bool,
    /// Dropped by a computer.
    pub(super) host_dropped: bool,
    /// Lost wherever, or too late for the adaptive buffer.
    pub(super) unplayed: bool,
    /// Delay over the flow's least. `None` when it did not come or its times are not known.
    pub(super) pdv: Option<Micros>,
}

impl<'a> Observed<'a> {
    pub(super) fn new(trace: &'a Trace, mode: Mode) -> Self {
        let policy = match mode {
            Mode::Quick => LossPolicy::Quick,
            Mode::Deep => LossPolicy::DEEP,
        };
        let (flows, trips) = (flow::flows(trace, policy), flow::round_trips(trace));
        let is_search = |at| searches(trace).any(|phase| phase.from <= at && at < phase.to);
        let searched = searches(trace).next().is_some();
        let whole = searched.then(|| (flows.clone(), trips.clone()));
        let flows: Vec<Flow> = match searched {
            true => flows.iter().map(|flow| without(flow, is_search)).collect(),
            false => flows,
        };
        // What nobody sent, and what cannot be true, belongs to no time.
        let trips = RoundTrips { implausible: trips.implausible, ..trips.restrict(|at| !is_search(at)) };
        let audio = |direction| flows.iter().find(|f| f.media == Media::Audio && f.direction == direction);
        let drift = match (audio(Direction::Up), audio(Direction::Down)) {
            (Some(up), Some(down)) => skew::drift(up, down),
            _ => Drift::NotEnough,
        };
        let observe =
            |flows: Vec<Flow>| flows.into_iter().map(|flow| Observation::new(flow, drift)).collect();
        let whole = whole.map(|(flows, trips)| Whole { streams: observe(flows), trips });
        let streams = observe(flows);
        Self { trace, streams, trips, drift, whole }
    }

    /// Every stream of the whole run, capacity searches included.
    pub(super) fn whole_streams(&self) -> &[Observation] {
        self.whole.as_ref().map_or(&self.streams, |whole| &whole.streams)
    }

    /// Every round trip of the whole run, capacity searches included.
    pub(super) fn whole_trips(&self) -> &RoundTrips {
        self.whole.as_ref().map_or(&self.trips, |whole| &whole.trips)
    }

    /// Round trips while a search filled one direction.
    pub(super) fn trips_under_search(&self, direction: Direction) -> RoundTrips {
        let fills = |phase: &&Phase| match direction {
            Direction::Up => phase.offered_up > phase.offered_down,
            Direction::Down => phase.offered_down > phase.offered_up,
        };
        let within = |at| searches(self.trace).filter(fills).any(|p| p.from <= at && at < p.to);
        self.whole_trips().restrict(within)
    }

    /// The audio stream in one direction.
    pub(super) fn audio(&self, direction: Direction) -> Option<&Observation> {
        self.streams.iter().find(|s| s.flow.media == Media::Audio && s.flow.direction == direction)
    }

    /// One-way media in one direction.
    pub(super) fn media(&self, direction: Direction) -> impl Iterator<Item = &Observation> {
        self.streams.iter().filter(move |s| s.flow.media != Media::Audio && s.flow.direction == direction)
    }

    /// The time in which at most this much media was offered either way. Without phases, all of it was audio alone.
    pub(super) fn time_up_to(&self, rate: Bitrate) -> Time<'a> {
        Time { phases: &self.trace.phases, most: rate }
    }

    /// The loads offered above `rate`, ascending.
    pub(super) fn loads_above(&self, rate: Bitrate) -> BTreeSet<Bitrate> {
        let phases = self.trace.phases.iter().filter(|phase| phase.kind != PhaseKind::Capacity);
        phases.map(load).filter(|load| *load > rate).collect()
    }
}

fn searches(trace: &Trace) -> impl Iterator<Item = &Phase> {
    trace.phases.iter().filter(|phase| phase.kind == PhaseKind::Capacity)
}

/// A flow without the packets of the time that `is_search` names.
fn without(flow: &Flow, is_search: impl Fn(Micros) -> bool) -> Flow {
    Flow { unexplained: flow.unexplained, ..flow.restrict(|at| !is_search(at)) }
}

/// The time in which at most so much was offered.
#[derive(Clone, Copy)]
pub(super) struct Time<'a> {
    phases: &'a [Phase],
    most: Bitrate,
}

impl Time<'_> {
    /// Whether a point on the agent's clock belongs to it.
    pub(super) fn holds(self, at: Micros) -> bool {
        self.phases.is_empty() || self.phases.iter().any(|p| p.from <= at && at < p.to && self.covers(p))
    }

    fn covers(self, phase: &Phase) -> bool {
        load(phase) <= self.most
    }
}

/// The greater of the loads offered either way; a capacity search is heavier than anything.
pub(super) fn load(phase: &Phase) -> Bitrate {
    match phase.kind {
        PhaseKind::Capacity => Bitrate::from_bps(u64::MAX),
        PhaseKind::Idle | PhaseKind::Media | PhaseKind::Settle => phase.offered_up.max(phase.offered_down),
    }
}

impl Observation {
    fn new(flow: Flow, drift: Drift) -> Self {
        let skew = drift.of(flow.direction);
        let delays = delay::delays(&flow, skew);
        let floor = delay::floor(&delays);
        let mut pdv = vec![None; flow.packets.len()];
        if let Some(floor) = floor {
            for one in &delays {
                pdv[one.index] = Some(one.delay - floor);
            }
        }
        let settled: Vec<_> = (0..flow.packets.len()).filter(|i| flow.packets[*i].is_settled()).collect();
        let samples: Vec<playout::Sample> = settled
            .iter()
            .map(|i| {
                let packet = &flow.packets[*i];
                (packet.departed.unwrap_or(packet.intended), packet.arrived.filter(|_| packet.is_received()))
            })
            .collect();
        let late = playout::replay_adaptive(&samples, &buffer(flow.media)).late_flags;
        let marks = settled
            .iter()
            .enumerate()
            .map(|(place, i)| {
                let packet = &flow.packets[*i];
                // A packet that got through without a known time is in time.
                let missing = packet.is_bad() && packet.arrived.is_none();
                Mark {
                    at: packet.intended + flow.to_agent,
                    lost: matches!(packet.fate, Fate::Lost | Fate::Corrupt),
                    host_dropped: packet.fate == Fate::HostDropped,
                    unplayed: missing
                        || packet.fate == Fate::Late
                        || late.get(place).copied().unwrap_or(false),
                    pdv: pdv[*i],
                }
            })
            .collect();
        Self { flow, skew, marks }
    }

    /// The marks of packets that were to leave within a time.
    pub(super) fn during<'b>(&'b self, time: Time<'b>) -> impl Iterator<Item = &'b Mark> {
        self.marks.iter().filter(move |mark| time.holds(mark.at))
    }
}

/// The playout buffer of a kind of media.
pub(super) fn buffer(media: Media) -> Adaptive {
    match media {
        Media::Audio => Adaptive::default(),
        Media::Video | Media::Screen => Adaptive::with_frame(Micros::new(33_333)),
    }
}
