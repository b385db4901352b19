//! How a run goes on: when which phase begins, when to look at what there is so far, and when to stop. Pure: whoever runs
//! it, over sockets or in virtual time, brings the clock and does what it is told.

use std::iter::Peekable;
use std::slice;

use greenroom_reports::assess::{Assessment, Probed, Question, TargetMeta, assess};
use greenroom_reports::schema::Use;
use greenroom_reports::trace::{PhaseKind, Trace};
use greenroom_reports::units::Micros;

use crate::plan::{Plan, PlannedPhase, PlannedStream};

/// How often the trace so far is looked at.
pub const LOOK: Micros = Micros::from_millis(100);
/// How often it is looked at once a run goes on beyond what is usually enough: then nothing changes fast.
pub const LATER_LOOK: Micros = Micros::from_millis(500);
/// How often a run that goes on beyond what is usually enough may end without a certain answer. Seldom: to stop at the first look at
/// which chance has it decided would favor what is wrong.
pub const REST: Micros = Micros::from_millis(1_500);
/// Phases and streams are announced so long before they are due.
pub const AHEAD: Micros = Micros::from_millis(20);
/// Audio is heard alone for so long at least, however much of it is lost.
pub const HEARD: Micros = Micros::from_millis(500);
/// Nothing from the endpoint for so long: it has died, or the path has. Beyond any outage that a call survives.
pub const DEAD: Micros = Micros::from_secs(3);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cue {
    /// This phase is about to begin, and with it its [streams](streams_of).
    Begin(PlannedPhase),
    /// Look at what there is so far.
    Look,
    /// Nothing before this point.
    Wait(Micros),
    /// All that was planned has been offered.
    Over,
}

/// Gives the cues of a run whose traffic has started.
#[derive(Debug, Clone)]
pub struct Conductor<'p> {
    plan: &'p Plan,
    start: Micros,
    zero: Micros,
    end: Micros,
    upcoming: Peekable<slice::Iter<'p, PlannedPhase>>,
    next_look: Micros,
    enough: Micros,
    /// When it is next asked whether what there is will do.
    next_rest: Micros,
    phase: PhaseKind,
}

impl<'p> Conductor<'p> {
    /// Conducts a plan whose traffic starts at `start`.
    pub fn new(plan: &'p Plan, start: Micros) -> Self {
        Self {
            plan,
            start,
            zero: start,
            end: start + plan.traffic_ends(),
            upcoming: plan.phases.iter().peekable(),
            next_look: start + LOOK,
            enough: start + plan.enough,
            next_rest: start + plan.enough,
            phase: PhaseKind::Idle,
        }
    }

    /// When traffic started.
    pub const fn start(&self) -> Micros {
        self.start
    }

    /// The point from which the times of the plan's phases and streams count: [`start`](Self::start), or earlier where media began
    /// before their time.
    pub const fn zero(&self) -> Micros {
        self.zero
    }

    /// What is being offered.
    pub const fn phase(&self) -> PhaseKind {
        self.phase
    }

    /// What is to be done next. Ask again at once until told to wait.
    pub fn cue(&mut self, now: Micros) -> Cue {
        let (zero, soon) = (self.zero, now + AHEAD);
        if let Some(phase) = self.upcoming.next_if(|phase| zero + phase.from <= soon) {
            self.phase = phase.kind;
            return Cue::Begin(*phase);
        }
        if now >= self.end {
            return Cue::Over;
        }
        if now >= self.next_look {
            self.next_look = now + if now < self.enough { LOOK } else { LATER_LOOK };
            return Cue::Look;
        }
        let phase = self.upcoming.peek().map_or(self.end, |phase| zero + phase.from - AHEAD);
        Cue::Wait(phase.min(self.next_look))
    }

    /// Takes in what a look has shown: where audio alone already loses too much, media begin at once; where what there is will do and
    /// the time for that has come, nothing more is offered.
    pub fn take_in(&mut self, now: Micros, so_far: &Assessment) {
        if self.phase == PhaseKind::Idle && now - self.start >= HEARD && loses_too_much(self.plan, so_far) {
            self.hasten(now);
        }
        self.rest(now, so_far);
    }

    /// Moves all that is still to come, as a whole, so that the next phase begins now.
    fn hasten(&mut self, now: Micros) {
        if let Some(next) = self.upcoming.peek() {
            let early = (self.zero + next.from) - (now + AHEAD);
            self.zero -= early.max(Micros::ZERO);
            self.end = self.end.min(self.zero + self.plan.traffic_ends());
        }
    }

    fn rest(&mut self, now: Micros, so_far: &Assessment) {
        if now < self.next_rest {
            return;
        }
        self.next_rest = now + REST;
        if so_far.settled {
            self.end = now;
        }
    }

    /// Whether the endpoint has been silent for too long, given when it was last heard.
    pub fn is_dead(&self, now: Micros, last_heard: Option<Micros>) -> bool {
        now - self.start > DEAD && last_heard.is_none_or(|heard| now - heard > DEAD)
    }
}

/// The media that begin with a phase.
pub fn streams_of(plan: &Plan, phase: PlannedPhase) -> impl Iterator<Item = &PlannedStream> {
    plan.streams.iter().filter(move |stream| stream.spec.direction.is_some() && stream.from == phase.from)
}

/// Judges what there is. `at_cap`: no more is to come, since all that was planned was sent or a longer run would change nothing.
pub fn judge(plan: &Plan, meta: &TargetMeta, trace: Option<&Trace>, at_cap: bool) -> Assessment {
    let question = Question { profile: &plan.profile, asked: &plan.uses, mode: plan.mode, at_cap };
    assess(&[Probed { meta, trace }], &question)
}

/// Whether audio alone loses more than is good for one of the media that were asked for, each way taken by itself. Then there is no
/// more to learn from listening to it alone: the media bring ten times as many packets to judge by.
fn loses_too_much(plan: &Plan, so_far: &Assessment) -> bool {
    let media = plan.uses.iter().filter(|use_| **use_ != Use::Audio);
    let good =
        media.filter_map(|use_| plan.profile.uses.get(use_)?.loss_ratio.as_ref()).map(|band| band.good);
    let Some(good) = good.reduce(f64::min) else { return false };
    let mut ways = so_far.targets.iter().flat_map(|target| [&target.up, &target.down]);
    plan.stop_early
        && ways.any(|way| way.loss_ratio.measured().and_then(|loss| loss.low).is_some_and(|low| low > good))
}

/// Whether a run may stop, given what there is so far.
pub fn may_stop(plan: &Plan, so_far: &Assessment) -> bool {
    plan.stop_early && so_far.decided
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::{Estimate, Value};

    use super::*;
    use crate::plan::{EndpointUrl, Request, plan};

    fn quick() -> Plan {
        let endpoint: EndpointUrl = "greenroom://probe.example".parse().expect("a URL");
        plan(&Request::quick(endpoint)).expect("fits")
    }

    /// A driver that does exactly as told.
    fn play(plan: &Plan, start: Micros) -> Vec<(Micros, Cue)> {
        let (mut conductor, mut now, mut cues) = (Conductor::new(plan, start), start, Vec::new());
        loop {
            let cue = conductor.cue(now);
            cues.push((now - start, cue));
            match cue {
                Cue::Wait(until) => {
                    assert!(until > now, "waits into the past");
                    now = until;
                }
                Cue::Over => return cues,
                Cue::Begin(_) | Cue::Look => {}
            }
        }
    }

    #[test]
    fn a_quick_check_begins_its_phases_ahead_and_looks_ten_times_a_second() {
        let plan = quick();
        let cues = play(&plan, Micros::from_secs(7));
        let begun: Vec<_> = cues
            .iter()
            .filter_map(|(at, cue)| matches!(cue, Cue::Begin(_)).then_some(at.get() / 1_000))
            .collect();
        assert_eq!(begun, [0, 1_480]);
        let looks: Vec<_> =
            cues.iter().filter(|(_, cue)| *cue == Cue::Look).map(|(at, _)| at.get() / 1_000).collect();
        let expected: Vec<_> =
            (1..=45).map(|look| look * 100).chain((10..36).map(|look| look * 500)).collect();
        assert_eq!(looks, expected);
        assert_eq!(cues.last(), Some(&(plan.traffic_ends(), Cue::Over)));
    }

    #[test]
    fn a_run_rests_only_where_it_will_do_and_then_seldom() {
        let plan = quick();
        let mut conductor = Conductor::new(&plan, Micros::ZERO);
        let so_far = |settled| Assessment { settled, ..judge(&plan, &meta(), None, false) };
        let (hangs, will_do) = (so_far(false), so_far(true));
        let ends = |conductor: &Conductor<'_>| conductor.end.get() / 1_000;
        conductor.rest(Micros::from_millis(4_400), &will_do);
        assert_eq!(ends(&conductor), 18_000, "too soon");
        conductor.rest(Micros::from_millis(4_500), &hangs);
        conductor.rest(Micros::from_millis(5_000), &will_do);
        assert_eq!(ends(&conductor), 18_000, "not asked again so soon");
        conductor.rest(Micros::from_millis(6_000), &will_do);
        assert_eq!(ends(&conductor), 6_000);
        assert_eq!(conductor.cue(Micros::from_millis(1)), Cue::Begin(plan.phases[0]));
    }

    #[test]
    fn media_begin_early_where_audio_alone_loses_too_much() {
        let plan = quick();
        let mut lossy = judge(&plan, &meta(), None, false);
        let loss = |low| Value::Measured(Estimate { value: 0.2, low: Some(low), high: Some(0.4), n: 50 });
        let begins = |so_far: &Assessment, at_ms| {
            let mut conductor = Conductor::new(&plan, Micros::ZERO);
            assert_eq!(conductor.cue(Micros::ZERO), Cue::Begin(plan.phases[0]));
            let at = Micros::from_millis(at_ms);
            conductor.take_in(at, so_far);
            let begun = (conductor.cue(at) == Cue::Begin(plan.phases[1])).then_some(plan.phases[1]);
            begun.map(|phase| (conductor.zero() + phase.from, conductor.end - conductor.zero()))
        };
        lossy.targets[0].down.loss_ratio = loss(0.015);
        assert_eq!(begins(&lossy, 700), None, "no more than is good for video");
        lossy.targets[0].down.loss_ratio = loss(0.016);
        assert_eq!(begins(&lossy, 499), None, "hardly heard");
        let (from, lasting) = begins(&lossy, 700).expect("begins");
        assert_eq!(from, Micros::from_millis(700) + AHEAD);
        assert_eq!(lasting, plan.traffic_ends(), "all of it, as planned");
    }

    fn meta() -> TargetMeta {
        TargetMeta {
            url: "greenroom://probe.example".to_owned(),
            kind: "greenroom".to_owned(),
            reached: None,
            identity: None,
            failure: None,
            details: None,
            in_process: false,
        }
    }

    #[test]
    fn each_stream_begins_once() {
        let plan = quick();
        let begun: usize = plan.phases.iter().map(|phase| streams_of(&plan, *phase).count()).sum();
        assert_eq!(begun, plan.streams.len() - 1, "all but audio, which runs from the start");
    }

    #[test]
    fn a_driver_that_slept_catches_up() {
        let plan = quick();
        let mut conductor = Conductor::new(&plan, Micros::ZERO);
        let late = plan.traffic_ends() + Micros::from_secs(1);
        let begun = plan.phases.iter().filter(|phase| conductor.cue(late) == Cue::Begin(**phase)).count();
        assert_eq!((begun, conductor.cue(late)), (plan.phases.len(), Cue::Over));
    }

    #[test]
    fn an_endpoint_is_dead_after_three_silent_seconds() {
        let plan = quick();
        let conductor = Conductor::new(&plan, Micros::from_secs(10));
        let dead = |now, heard: Option<i64>| {
            conductor.is_dead(Micros::from_millis(now), heard.map(Micros::from_millis))
        };
        assert!(!dead(13_000, None) && dead(13_001, None));
        assert!(!dead(14_000, Some(11_000)) && dead(14_001, Some(11_000)));
    }
}
