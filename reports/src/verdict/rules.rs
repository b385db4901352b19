//! From an interval and two thresholds to a state; from states to the worst of them.
//!
//! Per figure, with the interval `[low, high]`: ready if `high ≤ good`, blocked if `low > limit`, degraded if `low > good`.
//! An interval that none of these decides is open while the run goes on. At the cap the point estimate decides between
//! ready and degraded, uncertainly; an interval that reaches both ready and blocked is inconclusive.

use crate::schema::State;

/// An interval around a point estimate, in the figure's own unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Point estimate.
    pub value: f64,
    /// Upper end; infinite when the sample does not bound it.
    pub high: f64,
}

/// The states that the two ends of an interval lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The lower end's: `Ready`, `Degraded` or `Blocked`.
    pub best: State,
    /// The upper end's.
    pub worst: State,
}

impl Reach {
    /// Anything goes.
    pub const ALL: Self = Self { best: State::Ready, worst: State::Blocked };

    /// What remains possible when nothing better than `best` is.
    #[must_use]
    pub fn at_best(self, best: State) -> Self {
        let best = worse(self.best, best);
        Self { best, worst: worse(self.worst, best) }
    }

    /// What remains possible when nothing worse than `worst` is; what is certain stays so.
    #[must_use]
    pub fn at_worst(self, worst: State) -> Self {
        let worst = if rank(worst) < rank(self.worst) { worst } else { self.worst };
        Self { worst: worse(worst, self.best), ..self }
    }

    /// The rule; `point` decides between ready and degraded where it may.
    fn state(self, point: Option<State>) -> State {
        match (self.best, self.worst) {
            (State::Ready, State::Ready) => State::Ready,
            (State::Blocked, _) => State::Blocked,
            (State::Degraded, _) => State::Degraded,
            (_, State::Blocked) => State::Inconclusive,
            _ => point.unwrap_or(State::Inconclusive),
        }
    }
}

/// What an interval says of a figure, a use, or all uses asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The state.
    pub state: State,
    /// What it would be, were this all there is to come.
    at_cap: State,
    /// The best state that the evidence allows: `Ready`, `Degraded` or `Blocked`.
    best: State,
    /// The worst state that the evidence allows.
    worst: State,
    /// What an interval for a single look allows.
    once: Reach,
}

impl Judgement {
    /// Nothing speaks against it: where worsening starts from.
    pub const READY: Self = Self::certainly(State::Ready);
    /// Certainly out of the question, whatever the figures say (no connection at all).
    pub const BLOCKED: Self = Self::certainly(State::Blocked);
    /// Certainly no better than with trouble, whatever the figures say (media have to take a detour).
    pub const DEGRADED: Self = Self::certainly(State::Degraded);
    /// The evidence allows everything: too little of it, or spoiled by the measurement's own error.
    pub const OPEN: Self = Self {
        state: State::Inconclusive,
        at_cap: State::Inconclusive,
        best: State::Ready,
        worst: State::Blocked,
        once: Reach::ALL,
    };

    const fn certainly(state: State) -> Self {
        Self { state, at_cap: state, best: state, worst: state, once: Reach { best: state, worst: state } }
    }

    /// Judges a figure against what is good and where the limit is (`None`: it can degrade, never block).
    pub fn of(interval: Interval, good: f64, limit: Option<f64>, at_cap: bool) -> Self {
        let band = |x: f64| match limit {
            _ if x <= good => State::Ready,
            Some(limit) if x > limit => State::Blocked,
            _ => State::Degraded,
        };
        let reach = Reach { best: band(interval.low), worst: band(interval.high) };
        Self::of_reach(reach, (reach, Some(band(interval.value))), at_cap)
    }

    /// Judges what an interval reaches. `always` holds at every look and makes certain; at the cap, the reach of an
    /// interval for one look and the band of the point estimate (`None`: there is none to go by) decide the state between
    /// ready and degraded. Nothing is blocked but for certain: to send people away takes more than a single look.
    pub fn of_reach(always: Reach, (once, point): (Reach, Option<State>), at_cap: bool) -> Self {
        let Reach { best, worst } = always;
        let finally = match once.state(point) {
            _ if best == worst => best,
            State::Blocked => State::Degraded,
            state => worse(state, best),
        };
        Self { state: if at_cap { finally } else { always.state(None) }, at_cap: finally, best, worst, once }
    }

    /// Whether there would be an answer, were this all there is to come.
    pub fn answers(self) -> bool {
        self.at_cap != State::Inconclusive
    }

    /// Whether intervals for a single look tell ready from not ready, so that no point estimate has to.
    pub fn settled(self) -> bool {
        self.once.best != State::Ready || self.once.worst == State::Ready
    }

    /// Whether the intervals decided it: nothing that the evidence allows is better or worse.
    pub fn certain(self) -> bool {
        self.best == self.worst
    }

    /// Whether it is certainly not ready, be it degraded or worse.
    pub fn certainly_not_ready(self) -> bool {
        self.best != State::Ready
    }

    /// Whether it is blocked, and nothing more could change that.
    pub fn certainly_blocked(self) -> bool {
        self.best == State::Blocked
    }

    /// The worse of the two.
    #[must_use]
    pub fn worsened_by(self, other: Self) -> Self {
        Self {
            state: worse(self.state, other.state),
            at_cap: worse(self.at_cap, other.at_cap),
            best: worse(self.best, other.best),
            worst: worse(self.worst, other.worst),
            once: Reach {
                best: worse(self.once.best, other.once.best),
                worst: worse(self.once.worst, other.once.worst),
            },
        }
    }
}

/// The worse of two states: blocked > permission denied > degraded > inconclusive > ready. What was not tested never counts.
pub fn worse(a: State, b: State) -> State {
    if rank(b) > rank(a) { b } else { a }
}

/// How bad a state is; the order is the policy.
pub fn rank(state: State) -> u8 {
    match state {
        State::NotTested => 0,
        State::Ready => 1,
        State::Inconclusive => 2,
        State::Degraded => 3,
        State::PermissionDenied => 4,
        State::Blocked => 5,
    }
}

/// The process exit code of a verdict: 0 ready, 1 degraded, 2 blocked or permission denied, 3 inconclusive or nothing tested.
pub fn exit_code(state: State) -> u8 {
    match state {
        State::Ready => 0,
        State::Degraded => 1,
        State::Blocked | State::PermissionDenied => 2,
        State::Inconclusive | State::NotTested => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Blocked, Degraded, Inconclusive, NotTested, PermissionDenied, Ready};

    /// An interval against good 2 and limit 10; the state while running and at the cap; certain.
    type Row = ((f64, f64, f64), State, State, bool);

    const TABLE: [Row; 12] = [
        ((0.0, 1.0, 2.0), Ready, Ready, true),
        ((0.0, 0.0, 0.0), Ready, Ready, true),
        ((0.0, 1.0, 2.1), Inconclusive, Ready, false),
        ((1.0, 3.0, 9.0), Inconclusive, Degraded, false),
        ((2.0, 3.0, 9.0), Inconclusive, Degraded, false),
        ((0.0, 1.0, 11.0), Inconclusive, Inconclusive, false),
        ((0.0, 5.0, f64::INFINITY), Inconclusive, Inconclusive, false),
        ((2.1, 5.0, 10.0), Degraded, Degraded, true),
        ((2.1, 5.0, 10.1), Degraded, Degraded, false),
        ((2.1, 11.0, 20.0), Degraded, Degraded, false),
        ((10.0, 11.0, 12.0), Degraded, Degraded, false),
        ((10.1, 11.0, 12.0), Blocked, Blocked, true),
    ];

    #[test]
    fn an_interval_against_two_thresholds() {
        for ((low, value, high), running, at_cap, certain) in TABLE {
            let interval = Interval { low, value, high };
            for (cap, expected) in [(false, running), (true, at_cap)] {
                let judged = Judgement::of(interval, 2.0, Some(10.0), cap);
                assert_eq!(
                    (judged.state, judged.certain()),
                    (expected, certain),
                    "{interval:?} at cap {cap}"
                );
            }
        }
    }

    #[test]
    fn without_a_limit_nothing_blocks() {
        let judged = Judgement::of(Interval { low: 50.0, value: 60.0, high: 70.0 }, 2.0, None, false);
        assert_eq!((judged.state, judged.certain()), (Degraded, true));
        let open = Judgement::of(Interval { low: 0.0, value: 60.0, high: 70.0 }, 2.0, None, true);
        assert_eq!((open.state, open.certain()), (Degraded, false));
    }

    #[test]
    fn the_worst_decides_and_what_could_be_worse_takes_certainty_away() {
        let at = |low, value, high| Judgement::of(Interval { low, value, high }, 2.0, Some(10.0), true);
        let (ready, degraded, blocked) = (at(0.0, 0.0, 1.0), at(3.0, 4.0, 5.0), at(11.0, 12.0, 13.0));
        let leaning_ready = at(0.0, 1.0, 4.0);

        assert_eq!(ready.worsened_by(degraded), degraded);
        assert!(blocked.worsened_by(Judgement::OPEN).certain(), "nothing is worse than blocked");
        assert!(degraded.worsened_by(leaning_ready).certain(), "at worst it is degraded too");
        let both = degraded.worsened_by(Judgement::OPEN);
        assert_eq!((both.state, both.certain()), (Degraded, false));
        assert!(both.certainly_not_ready());
        let neither = ready.worsened_by(leaning_ready);
        assert_eq!((neither.state, neither.certain()), (Ready, false));
    }

    #[test]
    fn order_and_exit_codes() {
        let order = [NotTested, Ready, Inconclusive, Degraded, PermissionDenied, Blocked];
        for pair in order.windows(2) {
            assert_eq!(worse(pair[0], pair[1]), pair[1]);
            assert_eq!(worse(pair[1], pair[0]), pair[1]);
        }
        assert_eq!(order.map(exit_code), [3, 0, 3, 1, 2, 2]);
    }
}
