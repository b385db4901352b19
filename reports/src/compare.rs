//! Two reports side by side: what changed, and whether it is more than doubt.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::schema::{Cause, Distribution, Estimate, Report, State, Target, Use, UseVerdict, Value};
use crate::verdict::rank;

/// What changed from one report to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The overall states.
    pub overall: States,
    /// Uses whose state changed.
    pub uses: BTreeMap<Use, States>,
    /// Figures that both reports measured, in order of the report.
    pub figures: Vec<Change>,
    /// Causes that came.
    pub causes_new: Vec<Told>,
    /// Causes that went.
    pub causes_gone: Vec<Told>,
    /// Why figures may not be comparable: another endpoint, another profile.
    pub caveats: Vec<String>,
}

/// A state in both reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct States {
    /// In the earlier one.
    pub before: State,
    /// In the later one.
    pub after: State,
}

/// A cause as the report told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its stable code.
    pub code: String,
    /// Its sentence.
    pub say: String,
}

/// One figure in both reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where in the report: `up.loss_ratio`, `rtt_ms.p50`.
    pub figure: String,
    /// Its value before.
    pub before: f64,
    /// Its value after.
    pub after: f64,
    /// What to make of it.
    pub trend: Trend,
}

/// What to make of a change. In all figures compared, less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// The intervals do not touch, and the later one lies lower.
    Better,
    /// The intervals do not touch, and the later one lies higher.
    Worse,
    /// The intervals overlap, or one of them is not known.
    WithinDoubt,
}

/// Compares two reports; the first is the earlier one. Endpoints are compared in order.
pub fn compare(before: &Report, after: &Report) -> Comparison {
    let mut caveats = Vec::new();
    if before.profile != after.profile {
        caveats.push("they were judged with different thresholds".to_owned());
    }
    let urls = |report: &Report| report.targets.iter().map(|target| target.url.clone()).collect::<Vec<_>>();
    if urls(before) != urls(after) {
        caveats.push("they were measured against different endpoints".to_owned());
    }
    let (old, new) = (&before.verdict.causes, &after.verdict.causes);
    Comparison {
        overall: States { before: before.verdict.overall, after: after.verdict.overall },
        uses: changed_uses(before, after),
        figures: before
            .targets
            .iter()
            .zip(&after.targets)
            .flat_map(|(before, after)| changes(before, after))
            .collect(),
        causes_new: without(new, old),
        causes_gone: without(old, new),
        caveats,
    }
}

impl Comparison {
    /// Whether the later report is worse: in its verdict, else in a figure beyond doubt and in none better.
    pub fn worse(&self) -> bool {
        let States { before, after } = self.overall;
        let any = |trend| self.figures.iter().any(|change| change.trend == trend);
        match rank(after).cmp(&rank(before)) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => any(Trend::Worse) && !any(Trend::Better),
        }
    }
}

/// Those causes whose code is not among the others.
fn without(these: &[Cause], others: &[Cause]) -> Vec<Told> {
    let known = |code: &str| others.iter().any(|other| other.code == code);
    let told = |cause: &Cause| Told { code: cause.code.clone(), say: cause.say.clone() };
    these.iter().filter(|cause| !known(&cause.code)).map(told).collect()
}

fn changed_uses(before: &Report, after: &Report) -> BTreeMap<Use, States> {
    let later = &after.verdict.uses;
    let states = |(use_, old): (&Use, &UseVerdict)| {
        Some((*use_, States { before: old.state, after: later.get(use_)?.state }))
    };
    before.verdict.uses.iter().filter_map(states).filter(|(_, found)| found.before != found.after).collect()
}

fn changes(before: &Target, after: &Target) -> Vec<Change> {
    let mut found = Vec::new();
    found.extend(of_median("rtt_ms.p50", &before.rtt_ms, &after.rtt_ms));
    for (way, before, after) in [("up", &before.up, &after.up), ("down", &before.down, &after.down)] {
        let late = (&before.late_loss_ratio.adaptive, &after.late_loss_ratio.adaptive);
        found.extend(of_estimate(format!("{way}.loss_ratio"), &before.loss_ratio, &after.loss_ratio));
        found.extend(of_estimate(format!("{way}.late_loss_ratio.adaptive"), late.0, late.1));
        found.extend(of_p95(format!("{way}.pdv_ms.p95"), &before.pdv_ms, &after.pdv_ms));
    }
    for (use_, increase) in &before.loaded.rtt_increase_ms {
        if let Some(later) = after.loaded.rtt_increase_ms.get(use_) {
            found.extend(of_estimate(format!("loaded.rtt_increase_ms.{}", use_.name()), increase, later));
        }
    }
    found
}

/// A value with the ends of its interval, where they are known.
type Known = (f64, Option<f64>, Option<f64>);

fn of_estimate(figure: String, before: &Value<Estimate>, after: &Value<Estimate>) -> Option<Change> {
    let known = |value: &Value<Estimate>| value.measured().map(|e| (e.value, e.low, e.high));
    Some(change(figure, known(before)?, known(after)?))
}

fn of_median(figure: &str, before: &Value<Distribution>, after: &Value<Distribution>) -> Option<Change> {
    let known = |value: &Value<Distribution>| {
        value.measured().map(|d| (d.p50, d.p50_bounds.map(|b| b.low), d.p50_bounds.and_then(|b| b.high)))
    };
    Some(change(figure.to_owned(), known(before)?, known(after)?))
}

fn of_p95(figure: String, before: &Value<Distribution>, after: &Value<Distribution>) -> Option<Change> {
    let known = |value: &Value<Distribution>| {
        let d = value.measured()?;
        Some((d.p95?, d.p95_bounds.map(|b| b.low), d.p95_bounds.and_then(|b| b.high)))
    };
    Some(change(figure, known(before)?, known(after)?))
}

fn change(figure: String, before: Known, after: Known) -> Change {
    let lies_below =
        |lower: Known, upper: Known| matches!((lower.2, upper.1), (Some(high), Some(low)) if high < low);
    let trend = if lies_below(after, before) {
        Trend::Better
    } else if lies_below(before, after) {
        Trend::Worse
    } else {
        Trend::WithinDoubt
    };
    Change { figure, before: before.0, after: after.0, trend }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Bounds, read};

    fn golden() -> Report {
        read(include_str!("../tests/golden/measured.json")).unwrap()
    }

    #[test]
    fn a_report_does_not_differ_from_itself() {
        let same = compare(&golden(), &golden());
        assert_eq!(
            (same.uses, same.causes_new, same.causes_gone, same.caveats),
            (BTreeMap::new(), vec![], vec![], vec![])
        );
        assert_eq!(same.figures.len(), 9, "rtt, three each way, two rtt increases");
        assert!(
            same.figures
                .iter()
                .all(|change| change.trend == Trend::WithinDoubt && change.before == change.after)
        );
    }

    #[test]
    fn only_what_lies_beyond_doubt_is_better_or_worse() {
        let (before, mut after) = (golden(), golden());
        let Value::Measured(loss) = &mut after.targets[0].up.loss_ratio else { panic!("measured") };
        *loss = Estimate { value: 0.2, low: Some(0.15), high: Some(0.25), n: 500 };
        let Value::Measured(rtt) = &mut after.targets[0].rtt_ms else { panic!("measured") };
        rtt.p50 = 22.3;
        rtt.p50_bounds = Some(Bounds { low: 22.15, high: Some(22.4) });
        after.targets[0].down.pdv_ms = Value::failed("cut short");
        let found = compare(&before, &after);
        let trend = |figure: &str| found.figures.iter().find(|c| c.figure == figure).map(|c| c.trend);
        assert_eq!(trend("up.loss_ratio"), Some(Trend::Worse));
        assert_eq!(trend("rtt_ms.p50"), Some(Trend::WithinDoubt), "22.0-22.2 and 22.15-22.4 overlap");
        assert_eq!(trend("down.pdv_ms.p95"), None, "not measured in both");
        assert!(found.worse());
        assert!(!compare(&after, &before).worse());
    }

    #[test]
    fn states_causes_and_caveats_are_told() {
        let (before, mut after) = (golden(), golden());
        after.verdict.overall = State::Ready;
        after.verdict.uses.get_mut(&Use::Audio).unwrap().state = State::Ready;
        after.verdict.causes.remove(0);
        after.targets[0].url = "greenroom://other.example".into();
        after.profile.version = 2;
        let found = compare(&before, &after);
        let changed = States { before: State::Degraded, after: State::Ready };
        assert_eq!(found.uses, BTreeMap::from([(Use::Audio, changed)]));
        assert_eq!(found.causes_gone.iter().map(|told| told.code.as_str()).collect::<Vec<_>>(), ["loss_up"]);
        assert_eq!(found.caveats.len(), 2);
        assert!(!found.worse());
    }
}
