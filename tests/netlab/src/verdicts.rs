//! Verdicts against labels: how often a check on a known network is right, how sure, and how quick.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use greenroom::plan::{Plan, Request, Traffic, plan};
use greenroom_reports::confidence::{LEVEL, loss};
use greenroom_reports::metrics::flow::{Fate, LossPolicy, flows};
use greenroom_reports::schema::{FaultDirection, Mode, State, Use};
use greenroom_reports::trace::{Direction, Trace};
use serde::Serialize;

use crate::scenario::{Expectation, Scenario};
use crate::sim::{Checked, Ending, check};

/// How often verdicts on one network were what.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// Checks.
    pub runs: u64,
    /// Checks whose states are all acceptable, or inconclusive.
    pub right: u64,
    /// A use asked for was said to be ready, and must not be.
    pub wrong_ready: u64,
    /// A use asked for was said to be blocked, and must not be.
    pub wrong_blocked: u64,
    /// A use asked for was said to be degraded, and is either ready or blocked.
    pub wrong_degraded: u64,
    /// Checks without an answer overall.
    pub inconclusive: u64,
    /// Checks whose answer is not certain.
    pub uncertain: u64,
    /// Checks that blamed something, and how many of those blamed an acceptable place and direction.
    pub placed: u64,
    /// See [`placed`](Self::placed).
    pub placed_right: u64,
    /// Checks that stopped before their time.
    pub early: u64,
    /// States of each use asked for.
    pub states: BTreeMap<Use, HashMap<State, u64>>,
    /// Leading causes by code.
    pub causes: BTreeMap<String, u64>,
    /// Why uses asked for have no certain answer.
    pub reasons: BTreeMap<String, u64>,
    /// From validation to the decision, in milliseconds, ascending.
    #[serde(skip)]
    pub decided_ms: Vec<f64>,
    /// From validation to the verdict, in milliseconds, ascending.
    #[serde(skip)]
    pub took_ms: Vec<f64>,
    /// Directions whose loss ratio is known from the link's parameters, and how many of their verdict intervals held it.
    pub intervals: u64,
    /// See [`intervals`](Self::intervals).
    pub intervals_held: u64,
}

/// The quick check of these uses, as `greenroom check --for` plans it.
///
/// # Panics
///
/// When the uses are none, or need more than a quick check's bytes.
pub fn quick_check(uses: &[Use]) -> Plan {
    let endpoint = "greenroom://netlab.example".parse().expect("a URL");
    let uses: BTreeSet<Use> = uses.iter().copied().collect();
    let request = Request { traffic: Traffic::Uses(uses, Mode::Quick), ..Request::quick(endpoint) };
    plan(&request).expect("within the cap")
}

/// Checks a network with each seed and counts.
pub fn tally(scenario: &Scenario, plan: &Plan, seeds: impl IntoIterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        tally.add(scenario, plan, &check(scenario, seed, plan));
    }
    tally.decided_ms.sort_by(f64::total_cmp);
    tally.took_ms.sort_by(f64::total_cmp);
    tally
}

impl Tally {
    fn add(&mut self, scenario: &Scenario, plan: &Plan, checked: &Checked) {
        let verdict = &checked.verdict;
        let mut wrong = [false; 3];
        for use_ in &plan.uses {
            let Some(found) = verdict.uses.get(use_) else { continue };
            *self.states.entry(*use_).or_default().entry(found.state).or_default() += 1;
            if let Some(reason) = &found.reason {
                *self.reasons.entry(format!("{}: {reason}", use_.short())).or_default() += 1;
            }
            let fair = scenario.expect.states(*use_);
            if !fair.is_empty() && !fair.contains(&found.state) {
                wrong[0] |= found.state == State::Ready;
                wrong[1] |= found.state == State::Blocked;
                // A check that stops because another use is blocked says of this one that it is degraded at least.
                let at_least = checked.ending == Ending::Decided && !found.certain;
                wrong[2] |= found.state == State::Degraded && !at_least;
            }
        }
        self.runs += 1;
        self.wrong_ready += u64::from(wrong[0]);
        self.wrong_blocked += u64::from(wrong[1]);
        self.wrong_degraded += u64::from(wrong[2]);
        self.right += u64::from(wrong == [false; 3]);
        self.inconclusive += u64::from(verdict.overall == State::Inconclusive);
        self.uncertain += u64::from(!verdict.certain);
        self.early += u64::from(checked.ending == Ending::Decided);
        if let (Some(place), Some(lead)) = (verdict.place, verdict.causes.first()) {
            let expected = &scenario.expect;
            let direction = verdict.direction.is_none_or(|found| {
                expected.directions().is_empty()
                    || expected.directions().contains(&found)
                    || part_of(expected)
            });
            if !expected.places().is_empty() {
                self.placed += 1;
                self.placed_right += u64::from(expected.places().contains(&place) && direction);
            }
            *self.causes.entry(lead.code.clone()).or_default() += 1;
        }
        self.decided_ms.push(checked.decided_after.as_ms());
        self.took_ms.push(checked.took.as_ms());
        if let Some(trace) = &checked.trace {
            self.count_intervals(scenario, trace);
        }
    }

    /// Whether verdict intervals of each stream hold the loss ratio that the link was made with.
    fn count_intervals(&mut self, scenario: &Scenario, trace: &Trace) {
        for flow in flows(trace, LossPolicy::Quick) {
            let Some(truth) = loss_of(scenario, flow.direction) else { continue };
            let fates = flow.packets.iter().filter(|packet| packet.is_settled());
            let runs = fates.map(|packet| packet.fate == Fate::Lost).collect();
            self.intervals += 1;
            let interval = loss::verdict_interval(&runs, LEVEL);
            self.intervals_held += u64::from((interval.low..=interval.high).contains(&truth));
        }
    }

    /// A share of the runs.
    #[expect(clippy::cast_precision_loss, reason = "counts of runs")]
    pub fn share(&self, count: u64) -> f64 {
        count as f64 / self.runs.max(1) as f64
    }
}

/// Both directions suffer, so blaming one of them is true as well.
fn part_of(expected: &Expectation) -> bool {
    expected.directions().contains(&FaultDirection::Both)
}

/// The loss ratio of a link that loses nothing else: without a bottleneck, and the same all the time.
pub fn loss_of(scenario: &Scenario, direction: Direction) -> Option<f64> {
    let schedule = scenario.schedule(direction);
    let now = schedule.at(Duration::ZERO);
    let steady = schedule.steps().len() == 1 && schedule.drops.is_empty();
    if !steady || now.bottleneck.is_some() || now.mtu_bytes.is_some() || !now.block.is_empty() || now.cut {
        return None;
    }
    Some(now.loss.ratio())
}

/// The nearest-rank percentile of an ascending list; `None` of nothing.
pub fn percentile(ascending: &[f64], percent: usize) -> Option<f64> {
    let rank = (ascending.len() * percent).div_ceil(100).max(1);
    ascending.get(rank - 1).copied()
}
