//! What samples say about a use: taken under its own load they may blame and clear, under heavier load only clear, under
//! lighter load only blame. At the end of a run, what was seen under heavier load may blame too, uncertainly, where nothing
//! speaks for the load being why.

use crate::confidence::loss::{self, LossRuns, Side};
use crate::confidence::{self, FINAL_LEVEL, LEVEL};
use crate::metrics::percentile::{Quantile, Sorted};
use crate::schema::State;
use crate::units::Micros;
use crate::verdict::{Band, Judgement, Reach};

/// Level of the interval that has to lie within good for a share of packets to be called ready where nothing else decides: of links
/// that look like this, three of four are no worse. Chosen by simulation: see docs/accuracy/verdicts.md.
const LEAN: f64 = 0.5;

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
    /// Samples that the estimate is made of.
    pub(super) n: usize,
    /// Whether some of them were taken under heavier load, which made no difference.
    pub(super) pooled: bool,
}

/// The samples that bear on one figure of one use.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// The use's own, taken while the load was at most its own.
    pub(super) own: Option<Sample>,
    /// Those of all streams in that time: what goes wrong at such a load goes wrong for the use.
    pub(super) within: Option<Sample>,
    /// Those of all streams under loads up to heavier and heavier ones, each holding the ones before it.
    pub(super) heavier: Vec<Heavier>,
}

/// Samples taken under loads up to one above the use's own.
#[derive(Debug, Clone)]
pub(super) struct Heavier {
    pub(super) sample: Sample,
    /// Whether delays show that the load filled a queue: then it is to blame for what went wrong.
    pub(super) queued: bool,
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

    /// The state to go by where intervals leave ready and degraded open; `None` of nothing.
    ///
    /// Between two that are about as likely it is the worse: who was promised a good call and gets a bad one is worse off than who was
    /// warned for nothing.
    fn likely(&self, band: &Band) -> Option<State> {
        let state = state_of(self.value()?, band);
        match self {
            Self::Share(marks) if state == State::Ready => {
                let runs: LossRuns = marks.iter().copied().collect();
                let nearly = loss::displayed_bursty(&runs, LEAN).high <= band.good;
                Some(if nearly { State::Ready } else { State::Degraded })
            }
            _ => Some(state),
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
    fn reach(&self, band: &Band) -> Reaches {
        let good = self.against(band.good);
        let limit = band.limit.map(|limit| self.against(limit));
        let reach = |pick: fn(&Against) -> Ends| {
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
        Reaches { always: reach(|against| against.always), once: reach(|against| against.once) }
    }

    /// On which side of a threshold the figure lies, as far as its intervals tell.
    fn against(&self, threshold: f64) -> Against {
        let (runs, share) = self.beyond(threshold);
        Against::of(&runs, share)
    }

    /// Which samples lie beyond a threshold, counted cautiously (beyond in any case) and generously (perhaps), and the share of
    /// them at which the figure itself does.
    fn beyond(&self, threshold: f64) -> ([LossRuns; 2], f64) {
        match self {
            Self::Share(marks) => {
                let runs: LossRuns = marks.iter().copied().collect();
                ([runs, runs], threshold)
            }
            // A quantile lies beyond t exactly when more than 1 - q of all lie beyond t.
            Self::Quantile { values, q, less } => {
                let beyond = |reference: Micros| -> LossRuns {
                    let at = Micros::from_ms_f64(threshold).map_or(Micros::MAX, |t| t + reference);
                    values.iter().map(|value| *value > at).collect()
                };
                ([beyond(less[2]), beyond(less[0])], 1.0 - q.share())
            }
        }
    }

    /// Whether these samples do no better than others that include them and more.
    fn no_better_than(&self, others: &Self, threshold: f64) -> bool {
        let ([few, _], [all, _]) = (self.beyond(threshold).0, others.beyond(threshold).0);
        loss::no_better(&few, &all)
    }
}

/// What is possible by the interval that holds at every look, and by the one for a single look.
#[derive(Clone, Copy)]
struct Reaches {
    always: Reach,
    once: Reach,
}

impl Reaches {
    const ALL: Self = Self { always: Reach::ALL, once: Reach::ALL };

    /// Takes in what fails at a load that this use makes at least.
    fn blame(&mut self, other: Self) {
        self.always = self.always.at_best(other.always.best);
        self.once = self.once.at_best(other.once.best);
    }

    /// Takes in what got through at a load that this use makes at most.
    fn clear(&mut self, other: Self) {
        self.always = self.always.at_worst(other.always.worst);
        self.once = self.once.at_worst(other.once.worst);
    }
}

/// The side of a threshold, by the interval that holds at every look and by the one for a single look.
struct Against {
    always: Ends,
    once: Ends,
}

#[derive(Clone, Copy)]
struct Ends {
    /// The whole interval lies beyond the threshold.
    beyond: bool,
    /// The whole interval lies within it.
    within: bool,
}

impl Against {
    fn of([cautious, generous]: &[LossRuns; 2], share: f64) -> Self {
        let ends = |side: fn(&LossRuns, f64, f64) -> Side, level| {
            let low = side(cautious, level, share);
            let high = if cautious == generous { low } else { side(generous, level, share) };
            Ends { beyond: low == Side::Beyond, within: high == Side::Within }
        };
        Self { always: ends(loss::verdict_side, LEVEL), once: ends(loss::final_side, FINAL_LEVEL) }
    }
}

impl Evidence {
    /// Judges the figure; `None` when nothing was measured that bears on it.
    pub(super) fn judge(&self, band: &Band, at_cap: bool) -> Option<Finding> {
        let present = |sample: &&Sample| sample.len() > 0;
        let own = self.own.as_ref().filter(present);
        let within = self.within.as_ref().filter(present);
        let heavier: Vec<_> = self.heavier.iter().filter(|heavier| heavier.sample.len() > 0).collect();
        if own.is_none() && within.is_none() && heavier.is_empty() {
            return None;
        }
        let mut reaches = own.map_or(Reaches::ALL, |own| own.reach(band));
        if let Some(within) = within {
            reaches.blame(within.reach(band));
        }
        let mut point = own.and_then(|own| own.likely(band));
        for Heavier { sample, .. } in &heavier {
            reaches.clear(sample.reach(band));
            if own.is_none() && sample.value().is_some_and(|value| value <= band.good) {
                point = Some(State::Ready);
            }
        }
        let pooled = own.and_then(|own| pooled(own, &heavier, band));
        if let Some(pooled) = pooled {
            reaches.once = reaches.once.at_best(pooled.reach(band).once.best);
            point = pooled.likely(band);
        }
        let told = pooled.or(own);
        let shown = told.or(within);
        Some(Finding {
            judgement: Judgement::of_reach(reaches.always, (reaches.once, point), at_cap),
            value: shown.and_then(Sample::value),
            interval: shown.and_then(Sample::interval),
            n: told.map_or(0, Sample::len),
            pooled: pooled.is_some(),
        })
    }
}

/// The samples under the heaviest load of which nothing says that it made a difference; `None` when there is none.
///
/// A quick check hears a use alone for little more than a second, far too short to tell 2 % loss from 3 %. Trouble that a
/// load does not explain (no queue filled, and what was seen without the load was no better) was there without it, too. A load that
/// does harm is mistaken for none only when the samples without it do not show the difference. Delays are left out: load always
/// adds to them.
fn pooled<'a>(own: &Sample, heavier: &[&'a Heavier], band: &Band) -> Option<&'a Sample> {
    if matches!(own, Sample::Quantile { .. }) {
        return None;
    }
    let alike = |heavier: &&&Heavier| !heavier.queued && own.no_better_than(&heavier.sample, band.good);
    heavier.iter().take_while(alike).last().map(|heavier| &heavier.sample)
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

    fn heavier(n: usize, every: usize) -> Vec<Heavier> {
        lost(n, every).into_iter().map(|sample| Heavier { sample, queued: false }).collect()
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
        let evidence = Evidence { own: lost(50, 0), heavier: heavier(3_000, 0), ..Evidence::default() };
        assert_eq!(judged(&evidence, false), (State::Ready, true));
        let none_of_its_own = Evidence { heavier: heavier(3_000, 0), ..Evidence::default() };
        assert_eq!(judged(&none_of_its_own, false), (State::Ready, true));
    }

    #[test]
    fn heavier_load_never_blames() {
        let alone = Evidence { own: lost(3_000, 0), ..Evidence::default() };
        let failing = Evidence { heavier: heavier(3_600, 12), ..alone.clone() };
        assert_eq!(failing.judge(&band(), true), alone.judge(&band(), true));
        let none_of_its_own = Evidence { heavier: heavier(600, 2), ..Evidence::default() };
        for at_cap in [false, true] {
            assert_eq!(judged(&none_of_its_own, at_cap), (State::Inconclusive, false));
        }
    }

    #[test]
    fn trouble_that_the_load_does_not_explain_blames_uncertainly() {
        let short = Evidence { own: lost(75, 0), ..Evidence::default() };
        let same = Evidence { heavier: heavier(600, 29), ..short.clone() };
        assert_eq!(judged(&same, true), (State::Degraded, false), "0 of 75 is no better than 20 of 600");
        assert_eq!(judged(&same, false), (State::Inconclusive, false), "nothing to stop for");
        let finding = same.judge(&band(), true).unwrap();
        assert_eq!((finding.n, finding.pooled, finding.value), (600, true, Some(20.0 / 600.0)));

        let by_load = Evidence { heavier: heavier(600, 8), ..short.clone() };
        assert_eq!(judged(&by_load, true), (State::Ready, false), "0 of 75 is better than 75 of 600");
        let mut queued = same.clone();
        queued.heavier[0].queued = true;
        assert_eq!(judged(&queued, true), (State::Ready, false), "the load filled a queue");
    }

    #[test]
    fn what_all_streams_suffer_blames_a_use_of_its_own() {
        let own = Evidence { own: lost(60, 6), ..Evidence::default() };
        assert_eq!(judged(&own, false), (State::Degraded, false), "10 of 60 may be less than 10 %");
        let with_audio = Evidence { within: lost(600, 6), ..own };
        assert_eq!(judged(&with_audio, false), (State::Blocked, true));
    }

    #[test]
    fn lighter_load_blames_and_never_clears() {
        let failing = Evidence { within: lost(600, 3), ..Evidence::default() };
        assert_eq!(judged(&failing, false), (State::Blocked, true));
        let fine = Evidence { within: lost(3_000, 0), ..Evidence::default() };
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
