//! Many reports as one: counts add up, distributions merge by their sketches. Percentiles are never averaged.

use std::collections::BTreeMap;

use crate::metrics::percentile::Quantile;
use crate::metrics::sketch::{Sketch, SketchError};
use crate::schema::{Counts, Report, State, Use};

/// Reports merged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Merged {
    /// How many reports.
    pub reports: u64,
    /// How many ended in each state, overall.
    pub overall: Vec<(State, u64)>,
    /// The same per use, those not tested left out.
    pub uses: BTreeMap<Use, Vec<(State, u64)>>,
    /// Packets of the audio stream upward, over all endpoints.
    pub up: Counts,
    /// Packets of the audio stream downward.
    pub down: Counts,
    /// Merged distributions by name: `rtt`, `pdv_up`, `pdv_down`.
    pub distributions: BTreeMap<String, MergedDistribution>,
    /// How many reports told each cause, by code.
    pub causes: BTreeMap<String, u64>,
}

/// A merged distribution; each percentile is right to 1 %.
#[derive(Debug, Clone, PartialEq)]
pub struct MergedDistribution {
    /// Samples.
    pub n: u64,
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The sketch itself, so that what was merged can be merged again.
    pub sketch: String,
}

/// Why reports cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A report's sketch cannot be read.
    #[error("report {report}, distribution {name}: {source}")]
    Sketch {
        /// The report's id.
        report: String,
        /// Which distribution.
        name: String,
        /// What is wrong with it.
        source: SketchError,
    },
}

/// Merges reports, in any order.
///
/// # Errors
/// [`MergeError::Sketch`] names the report whose sketch cannot be read; nothing is left out silently.
pub fn merge<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Result<Merged, MergeError> {
    let mut merged = Merged::default();
    let mut sketches: BTreeMap<String, Sketch> = BTreeMap::new();
    for report in reports {
        merged.reports += 1;
        count(&mut merged.overall, report.verdict.overall);
        for (use_, verdict) in
            report.verdict.uses.iter().filter(|(_, verdict)| verdict.state != State::NotTested)
        {
            count(merged.uses.entry(*use_).or_default(), verdict.state);
        }
        for target in &report.targets {
            merged.up.merge(&target.up.counts);
            merged.down.merge(&target.down.counts);
        }
        for cause in &report.verdict.causes {
            *merged.causes.entry(cause.code.clone()).or_default() += 1;
        }
        for (name, text) in &report.sketches {
            let sketch = Sketch::decode(text).map_err(|source| MergeError::Sketch {
                report: report.id.to_string(),
                name: name.clone(),
                source,
            })?;
            sketches.entry(name.clone()).or_default().merge(&sketch);
        }
    }
    merged.overall.sort_by_key(|(state, _)| crate::verdict::rank(*state));
    for states in merged.uses.values_mut() {
        states.sort_by_key(|(state, _)| crate::verdict::rank(*state));
    }
    merged.distributions =
        sketches.into_iter().filter_map(|(name, sketch)| Some((name, distribution(&sketch)?))).collect();
    Ok(merged)
}

fn count(states: &mut Vec<(State, u64)>, state: State) {
    match states.iter_mut().find(|(known, _)| *known == state) {
        Some((_, n)) => *n += 1,
        None => states.push((state, 1)),
    }
}

fn distribution(sketch: &Sketch) -> Option<MergedDistribution> {
    let at = |q| sketch.at(q).map(crate::units::Micros::as_ms);
    Some(MergedDistribution {
        n: sketch.len(),
        p50_ms: at(Quantile::P50)?,
        p95_ms: at(Quantile::P95)?,
        p99_ms: at(Quantile::P99)?,
        sketch: sketch.encode(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::read;
    use crate::units::Micros;

    fn with(rtts_ms: impl Iterator<Item = i64>, overall: State) -> Report {
        let mut sketch = Sketch::new();
        for ms in rtts_ms {
            assert!(sketch.record(Micros::from_millis(ms)));
        }
        let mut report = read(include_str!("../tests/golden/measured.json")).unwrap();
        report.sketches = BTreeMap::from([("rtt".to_owned(), sketch.encode())]);
        report.verdict.overall = overall;
        report
    }

    /// 900 samples of 10 ms and 100 of 1 s: the p95 of all is 1 s, while the mean of the two p95 would be 505 ms.
    #[test]
    fn percentiles_are_those_of_all_samples_together() {
        let fast = with(std::iter::repeat_n(10, 900), State::Ready);
        let slow = with(std::iter::repeat_n(1_000, 100), State::Blocked);
        let merged = merge([&fast, &slow]).unwrap();
        let rtt = &merged.distributions["rtt"];
        assert_eq!(rtt.n, 1_000);
        assert!((rtt.p50_ms - 10.0).abs() <= 0.1, "{rtt:?}");
        assert!((rtt.p95_ms - 1_000.0).abs() <= 10.0, "{rtt:?}");
        assert_eq!(merged.overall, [(State::Ready, 1), (State::Blocked, 1)]);
        assert_eq!((merged.up.sent, merged.up.lost), (1_000, 34));
        assert_eq!(merged.causes["loss_up"], 2);
        assert_eq!(merged, merge([&slow, &fast]).unwrap(), "in any order");
    }

    #[test]
    fn a_damaged_sketch_is_named_and_nothing_is_merged() {
        let mut bad = with(std::iter::once(10), State::Ready);
        bad.sketches.insert("pdv_up".into(), "garbage".into());
        let error = merge([&bad]).unwrap_err().to_string();
        assert!(error.contains(&bad.id.to_string()) && error.contains("pdv_up"), "{error}");
        assert_eq!(merge([]).unwrap(), Merged::default());
    }
}
