//! What samples say about a use: taken under its own load they may blame and clear, under heavier load only clear, under
//! lighter load only blame.

use crate::confidence::loss::{self, LossRuns};
use crate::confidence::{self, LEVEL};
use crate::metrics::percentile::{Quantile, Sorted};
use crate::schema::State;
use crate::units::Micros;
use crate::verdict::{Band, Judgement, Reach, rank};

/// A figure's samples, in order of sending.
#[derive(Debug, Clone)]
pub(super) enum Sample {
    /// The share that is true (lost, late, dropped) is judged.
    Share(Vec<bool>),
    /// A quantile in milliseconds is judged, less a reference known to lie within bounds.
    Quantile {
        /// In order of sending.
        values: Vec<Micros>,
        /// Which.
        q: Quantile,
        /// What is subtracted: least, likeliest, greatest.
        less: [Micros; 3],
    },
}

/// A figure judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Finding {
    /// What the evidence says.
    pub(super) judgement: Judgement,
    /// The point estimate in the figure's unit; `None` when only others' evidence speaks.
    pub(super) value: Option<f64>,
    /// Where the estimate lies at 95 %, for display; `None` when it is not bounded on both sides.
    pub(super) interval: Option<(f64, f64)>,
    /// Samples of the use's own time.
    pub(super) n: usize,
}

/// The samples that bear on one figure of one use.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// Taken while the load was the use's own.
    pub(super) own: Option<Sample>,
    /// Taken under lighter load; asked only while there is nothing of its own.
    pub(super) lighter: Option<Sample>,
    /// Taken under loads up to heavier and heavier ones, each holding the ones before it.
    pub(super) heavier: Vec<Sample>,
}

impl Sample {
    /// A quantile with nothing to subtract.
    pub(super) fn quantile(values: Vec<Micros>, q: Quantile) -> Self {
        Self::Quantile { values, q, less: [Micros::ZERO; 3] }
    }

    fn len(&self) -> usize {
        match self {
            Self::Share(marks) => marks.len(),
            Self::Quantile { values, .. } => values.len(),
        }
    }

    /// The point estimate in the figure's unit (share or milliseconds); `None` of nothing.
    pub(super) fn value(&self) -> Option<f64> {
        match self {
            Self::Share(marks) => {
                let runs: LossRuns = marks.iter().copied().collect();
                (runs.n() > 0).then(|| confidence::real(runs.lost()) / confidence::real(runs.n()))
            }
            Self::Quantile { values, q, less } => {
                let sorted: Sorted = values.iter().copied().collect();
                Some((sorted.at(*q)? - less[1]).as_ms())
            }
        }
    }

    /// Where the estimate lies at the displayed level; `None` when the samples do not bound it on both sides.
    fn interval(&self) -> Option<(f64, f64)> {
        match self {
            Self::Share(marks) if marks.is_empty() => None,
            Self::Share(marks) => {
                let interval = loss::displayed_bursty(&marks.iter().copied().collect(), LEVEL);
                Some((interval.low, interval.high))
            }
            Self::Quantile { values, q, less } => {
                let sorted: Sorted = values.iter().copied().collect();
                let bounds = confidence::quantile::bounds(sorted.as_slice(), q.share(), LEVEL);
                Some(((bounds.low? - less[2]).as_ms(), (bounds.high? - less[0]).as_ms()))
            }
        }
    }

    /// Which states its two intervals reach: the one that holds at every look, and the one for a single look.
    fn reach(&self, band: &Band) -> (Reach, Reach) {
        let good = self.against(band.good);
        let limit = band.limit.map(|limit| self.against(limit));
        let reach = |pick: fn(&Against) -> Sides| {
            let (good, limit) = (pick(&good), limit.as_ref().map(pick));
            Reach {
                best: match limit {
                    Some(limit) if limit.beyond => State::Blocked,
                    _ if good.beyond => State::Degraded,
                    _ => State::Ready,
                },
                worst: match limit {
                    _ if good.within => State::Ready,
                    Some(limit) if !limit.within => State::Blocked,
                    _ => State::Degraded,
                },
            }
        };
        (reach(|against| against.always), reach(|against| against.once))
    }

    /// On which side of a threshold the figure lies, as far as its intervals tell.
    fn against(&self, threshold: f64) -> Against {
        match self {
            Self::Share(marks) => {
                let runs: LossRuns = marks.iter().copied().collect();
                Against::of([&runs, &runs], threshold)
            }
            // A quantile lies beyond t exactly when more than 1 - q of all lie beyond t.
            Self::Quantile { values, q, less } => {
                let beyond = |reference: Micros| -> LossRuns {
                    let at = Micros::from_ms_f64(threshold).map_or(Micros::MAX, |t| t + reference);
                    values.iter().map(|value| *value > at).collect()
                };
                let (least, greatest) = (beyond(less[0]), beyond(less[2]));
                Against::of([&greatest, &least], 1.0 - q.share())
            }
        }
    }
}

/// The side of a threshold, by the interval that holds at every look and by the one for a single look.
struct Against {
    always: Sides,
    once: Sides,
}

#[derive(Clone, Copy)]
struct Sides {
    /// The whole interval lies beyond the threshold.
    beyond: bool,
    /// The whole interval lies within it.
    within: bool,
}

impl Against {
    /// `cautious` counts what is beyond in any case, `generous` what might be.
    fn of([cautious, generous]: [&LossRuns; 2], share: f64) -> Self {
        let sides = |interval: fn(&LossRuns, f64) -> confidence::Interval| {
            let low = interval(cautious, LEVEL).low;
            let high =
                if cautious == generous { interval(cautious, LEVEL) } else { interval(generous, LEVEL) }.high;
            Sides { beyond: low > share, within: high <= share }
        };
        Self { always: sides(loss::verdict_interval), once: sides(loss::displayed_bursty) }
    }
}

impl Evidence {
    /// Judges the figure; `None` when nothing was measured that bears on it.
    pub(super) fn judge(&self, band: &Band, at_cap: bool) -> Option<Finding> {
        let present = |sample: &&Sample| sample.len() > 0;
        let own = self.own.as_ref().filter(present);
        let heavier: Vec<_> = self.heavier.iter().filter(present).collect();
        let (mut always, mut once, mut point) = (Reach::ALL, Reach::ALL, None);
        match (own, self.lighter.as_ref().filter(present)) {
            (Some(own), _) => {
                (always, once) = own.reach(band);
                point = own.value().map(|value| state_of(value, band));
            }
            (None, Some(lighter)) => {
                let (lighter_always, lighter_once) = lighter.reach(band);
                always.best = lighter_always.best;
                once.best = lighter_once.best;
            }
            (None, None) if heavier.is_empty() => return None,
            (None, None) => {}
        }
        for sample in &heavier {
            let (heavier_always, heavier_once) = sample.reach(band);
            clear(&mut always, heavier_always);
            clear(&mut once, heavier_once);
            if own.is_none() && sample.value().is_some_and(|value| value <= band.good) {
                point = Some(State::Ready);
            }
        }
        Some(Finding {
            judgement: Judgement::of_reach(always, at_cap.then_some((once, point))),
            value: own.or(self.lighter.as_ref()).and_then(Sample::value),
            interval: own.or(self.lighter.as_ref()).and_then(Sample::interval),
            n: own.map_or(0, Sample::len),
        })
    }
}

/// What holds under heavier load holds under this one: the worst that is possible is no worse.
fn clear(reach: &mut Reach, heavier: Reach) {
    if rank(heavier.worst) < rank(reach.worst) {
        reach.worst = if rank(heavier.worst) < rank(reach.best) { reach.best } else { heavier.worst };
    }
}

/// Where a value lies.
fn state_of(value: f64, band: &Band) -> State {
    match band.limit {
        _ if value <= band.good => State::Ready,
        Some(limit) if value > limit => State::Blocked,
        _ => State::Degraded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn band() -> Band {
        Band { good: 0.02, limit: Some(0.10), source: "test".into() }
    }

    fn lost(n: usize, every: usize) -> Option<Sample> {
        Some(Sample::Share((0..n).map(|i| every > 0 && i % every == every - 1).collect()))
    }

    fn judged(evidence: &Evidence, at_cap: bool) -> (State, bool) {
        let judgement = evidence.judge(&band(), at_cap).unwrap().judgement;
        (judgement.state, judgement.certain())
    }

    #[test]
    fn nothing_measured_is_no_finding() {
        assert_eq!(Evidence::default().judge(&band(), true), None);
        let empty = Evidence { own: Some(Sample::Share(Vec::new())), ..Evidence::default() };
        assert_eq!(empty.judge(&band(), true), None);
    }

    #[test]
    fn own_time_blames_and_clears() {
        let clean = Evidence { own: lost(3_000, 0), ..Evidence::default() };
        assert_eq!(judged(&clean, false), (State::Ready, true));
        let bad = Evidence { own: lost(600, 3), ..Evidence::default() };
        assert_eq!(judged(&bad, false), (State::Blocked, true));
    }

    #[test]
    fn heavier_load_clears() {
        let evidence =
            Evidence { own: lost(50, 0), heavier: vec![lost(3_000, 0).unwrap()], ..Evidence::default() };
        assert_eq!(judged(&evidence, false), (State::Ready, true));
        let none_of_its_own = Evidence { heavier: vec![lost(3_000, 0).unwrap()], ..Evidence::default() };
        assert_eq!(judged(&none_of_its_own, false), (State::Ready, true));
    }

    #[test]
    fn heavier_load_never_blames() {
        let alone = Evidence { own: lost(3_000, 0), ..Evidence::default() };
        let failing = Evidence { heavier: vec![lost(600, 2).unwrap()], ..alone.clone() };
        assert_eq!(failing.judge(&band(), true), alone.judge(&band(), true));
        let none_of_its_own = Evidence { heavier: vec![lost(600, 2).unwrap()], ..Evidence::default() };
        for at_cap in [false, true] {
            assert_eq!(judged(&none_of_its_own, at_cap), (State::Inconclusive, false));
        }
    }

    #[test]
    fn lighter_load_blames_and_never_clears() {
        let failing = Evidence { lighter: lost(600, 3), ..Evidence::default() };
        assert_eq!(judged(&failing, false), (State::Blocked, true));
        let fine = Evidence { lighter: lost(3_000, 0), ..Evidence::default() };
        assert_eq!(judged(&fine, true), (State::Inconclusive, false));
    }

    #[test]
    fn at_the_cap_a_short_clean_run_is_ready_but_not_certainly() {
        let short = Evidence { own: lost(200, 0), ..Evidence::default() };
        assert_eq!(judged(&short, false), (State::Inconclusive, false));
        assert_eq!(judged(&short, true), (State::Ready, false));
        let shorter = Evidence { own: lost(20, 0), ..Evidence::default() };
        assert_eq!(judged(&shorter, true), (State::Inconclusive, false), "0 of 20 reaches beyond 10 %");
    }

    #[test]
    fn a_quantile_is_judged_by_the_share_beyond() {
        let delay = Band { good: 60.0, limit: Some(200.0), source: "test".into() };
        let with = |ms: i64, one_in: usize, less: [Micros; 3]| {
            let values = (0..2_000)
                .map(|i| if i % one_in == 0 { Micros::from_millis(ms) } else { Micros::ZERO })
                .collect();
            let own = Some(Sample::Quantile { values, q: Quantile::P95, less });
            Evidence { own, ..Evidence::default() }.judge(&delay, false).unwrap()
        };
        let none = [Micros::ZERO; 3];
        assert_eq!(with(300, 100, none).judgement.state, State::Ready, "1 % spikes leave p95 alone");
        assert_eq!(with(300, 5, none).judgement.state, State::Blocked);
        assert_eq!(with(100, 5, none).judgement.state, State::Degraded);
        let less = [39, 40, 41].map(Micros::from_millis);
        assert_eq!(with(100, 5, less).judgement.state, State::Inconclusive, "60 +- 1 ms against 60 ms");
        assert_eq!(with(102, 5, less).judgement.state, State::Degraded);
        assert_eq!(with(100, 5, less).value, Some(60.0));
    }
}
