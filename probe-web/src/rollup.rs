//! What a report adds to the roll-ups, and sums of many: pure, and the same in any order.

use std::collections::BTreeMap;

use greenroom_reports::fleet::RunFacts;
use greenroom_reports::metrics::sketch::{Sketch, SketchError};
use greenroom_reports::schema::{Kind, Report, Target};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize as _;

use crate::store::{BucketKey, Counted, Resolution, Tenant, name_of};

/// How long roll-ups are kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

/// How far a sender's clock may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// What one report adds, to one bucket of each resolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// When it began: decides the buckets.
    pub at: Timestamp,
    /// Its site; empty without one.
    pub site: String,
    /// The endpoint that its samples are of; empty without one.
    pub endpoint: String,
    /// Histograms by name.
    pub sketches: BTreeMap<String, Sketch>,
    /// Counts by name.
    pub tallies: BTreeMap<String, u64>,
}

impl Contribution {
    /// What a report adds. Site and endpoint are given as they stand in its header.
    ///
    /// # Errors
    /// The name of the sketch that cannot be read, and why.
    pub fn of(report: &Report, site: Option<&str>) -> Result<Self, (String, SketchError)> {
        let mut sketches = BTreeMap::new();
        for (name, text) in &report.sketches {
            let sketch = Sketch::decode(text).map_err(|error| (name.clone(), error))?;
            sketches.insert(name.clone(), sketch);
        }
        let mut tallies = BTreeMap::new();
        tallies.insert(format!("verdict:{}", name_of(&report.verdict.overall)), 1);
        count_run(report, &mut tallies);
        if let Some(target) = measured(report) {
            for (way, found) in [("up", &target.up.counts), ("down", &target.down.counts)] {
                if found.sent > 0 {
                    tallies.insert(format!("{way}:sent"), found.sent);
                    tallies.insert(format!("{way}:lost"), found.lost);
                }
            }
        }
        Ok(Self {
            at: report.started,
            site: site.unwrap_or_default().to_owned(),
            endpoint: endpoint(report).unwrap_or_default(),
            sketches,
            tallies,
        })
    }
}

/// Most runs that a report may say were skipped before it: more than a week of the shortest interval.
const MOST_SKIPPED: u64 = 100_000;

/// What the report of an agent's scheduled run says of how complete the fleet's reports are.
fn count_run(report: &Report, tallies: &mut BTreeMap<String, u64>) {
    if report.agent.id.is_none() || report.kind != Kind::Agent {
        return;
    }
    let facts = report.settings.run.get("agent").and_then(|facts| RunFacts::deserialize(facts).ok());
    let Some(facts) = facts else { return };
    if facts.due.is_some() {
        tallies.insert(RUNS.to_owned(), 1);
    }
    let skipped = facts.skipped.on_purpose().min(MOST_SKIPPED);
    if skipped > 0 {
        tallies.insert(SKIPPED.to_owned(), skipped);
    }
}

/// Name of the sum of agents' scheduled runs.
pub(crate) const RUNS: &str = "agent:runs";

/// Name of the sum of runs that agents left out on purpose.
pub(crate) const SKIPPED: &str = "agent:skipped";

/// Whether a report is counted: by its own clock it must lie between what is still kept and five minutes ahead.
pub fn counted(started: Timestamp, received: Timestamp) -> Counted {
    let age = received.duration_since(started);
    if age < -AHEAD {
        Counted::ClockAhead
    } else if age > KEPT {
        Counted::TooOld
    } else {
        Counted::Yes
    }
}

/// The endpoint that a report's samples are of, without its certificate's fingerprint: a new certificate is no new endpoint.
pub fn endpoint(report: &Report) -> Option<String> {
    let target = measured(report).or_else(|| report.targets.first())?;
    Some(target.url.split('#').next().unwrap_or_default().to_owned())
}

fn measured(report: &Report) -> Option<&Target> {
    report.targets.iter().find(|target| target.up.counts.planned > 0 || target.down.counts.planned > 0)
}

/// Key of a sum in a store: tenant, resolution, bucket, name.
pub type SumKey = (Tenant, Resolution, BucketKey, String);

/// What many reports add, by bucket.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sums {
    /// Merged histograms.
    pub sketches: BTreeMap<SumKey, Sketch>,
    /// Sums of counts.
    pub tallies: BTreeMap<SumKey, u64>,
}

impl Sums {
    /// Adds a report.
    pub fn add(&mut self, tenant: Tenant, adds: &Contribution) {
        for resolution in Resolution::ALL {
            self.add_to(resolution, tenant, adds);
        }
    }

    /// Adds a report to its bucket of five minutes alone. [`Sums::rolled_up`] makes of it what [`Sums::add`] would have made.
    pub fn add_finest(&mut self, tenant: Tenant, adds: &Contribution) {
        self.add_to(Resolution::FiveMinutes, tenant, adds);
    }

    fn add_to(&mut self, resolution: Resolution, tenant: Tenant, adds: &Contribution) {
        let key = BucketKey {
            bucket: resolution.bucket(adds.at),
            site: adds.site.clone(),
            endpoint: adds.endpoint.clone(),
        };
        for (name, sketch) in &adds.sketches {
            let sum = self.sketches.entry((tenant, resolution, key.clone(), name.clone()));
            sum.or_default().merge(sketch);
        }
        for (name, count) in &adds.tallies {
            let sum = self.tallies.entry((tenant, resolution, key.clone(), name.clone())).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Sums of five minutes with those of the hours and days that they are of.
    #[must_use]
    pub fn rolled_up(self) -> Self {
        let mut all = Self::default();
        for resolution in Resolution::ALL {
            let coarser = |(tenant, _, key, name): &SumKey| {
                let key = BucketKey { bucket: resolution.bucket_of(key.bucket), ..key.clone() };
                (*tenant, resolution, key, name.clone())
            };
            for (key, sketch) in &self.sketches {
                all.sketches.entry(coarser(key)).or_default().merge(sketch);
            }
            for (key, count) in &self.tallies {
                let sum = all.tallies.entry(coarser(key)).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        all
    }

    /// The same in parts of so many histograms at most: one takes some 20 kB.
    pub fn in_parts(mut self, most: usize) -> Vec<Self> {
        let mut parts = Vec::new();
        while let Some(key) = self.sketches.keys().nth(most).cloned() {
            let rest = self.sketches.split_off(&key);
            parts.push(Self {
                sketches: std::mem::replace(&mut self.sketches, rest),
                tallies: BTreeMap::new(),
            });
        }
        parts.push(self);
        parts
    }

    /// Adds all of other sums.
    pub fn merge(&mut self, other: Self) {
        for (key, sketch) in other.sketches {
            self.sketches.entry(key).or_default().merge(&sketch);
        }
        for (key, count) in other.tallies {
            let sum = self.tallies.entry(key).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Takes other sums out of these, as far as they are of buckets that are here. False where something is not all in these: what is
    /// left then is of no use.
    pub fn take_out(&mut self, other: &Self) -> bool {
        let mut all = true;
        for (key, sketch) in &other.sketches {
            if let Some(sum) = self.sketches.get_mut(key) {
                all &= sum.subtract(sketch);
            }
        }
        for (key, count) in &other.tallies {
            if let Some(sum) = self.tallies.get_mut(key) {
                all &= sum.checked_sub(*count).map(|rest| *sum = rest).is_some();
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_report_is_counted_once_per_resolution() {
        let report = testing::report(1);
        let adds = Contribution::of(&report, Some("Lyon")).unwrap();
        let mut sums = Sums::default();
        sums.add(Tenant::FIRST, &adds);
        let verdicts: Vec<_> =
            sums.tallies.iter().filter(|((.., name), _)| name.starts_with("verdict:")).collect();
        assert_eq!(verdicts.len(), 3);
        assert!(verdicts.iter().all(|((_, _, key, _), n)| key.site == "Lyon" && **n == 1));
        assert_eq!(sums.sketches.len(), 3 * report.sketches.len());
    }

    #[test]
    fn parts_are_together_what_they_were_made_of() {
        let mut sums = Sums::default();
        for n in 0..10 {
            let report = testing::report(n);
            sums.add(Tenant::FIRST, &Contribution::of(&report, Some(&format!("site {}", n % 7))).unwrap());
        }
        let whole = sums.sketches.len();
        for most in [1, 4, whole - 1, whole, whole + 1] {
            let parts = sums.clone().in_parts(most);
            assert_eq!(parts.len(), whole.div_ceil(most));
            assert!(parts.iter().all(|part| part.sketches.len() <= most));
            let mut again = Sums::default();
            parts.into_iter().for_each(|part| again.merge(part));
            assert_eq!(again, sums);
        }
        assert_eq!(Sums::default().in_parts(3), [Sums::default()]);
    }

    #[test]
    fn a_fingerprint_is_not_part_of_an_endpoint() {
        let mut report = testing::report(1);
        report.targets[0].url = "greenroom://probe.example#sha256=00".into();
        assert_eq!(endpoint(&report).as_deref(), Some("greenroom://probe.example"));
        report.targets.clear();
        assert_eq!(endpoint(&report), None);
    }

    #[test]
    fn clocks_ahead_and_the_distant_past_do_not_count() {
        let now: Timestamp = "2026-11-22T14:00:00Z".parse().unwrap();
        let at = |offset: SignedDuration| counted(now.checked_add(offset).unwrap(), now);
        assert_eq!(at(SignedDuration::from_mins(5)), Counted::Yes);
        assert_eq!(at(SignedDuration::from_mins(6)), Counted::ClockAhead);
        assert_eq!(at(SignedDuration::from_hours(-7 * 24)), Counted::Yes);
        assert_eq!(at(SignedDuration::from_hours(-401 * 24)), Counted::TooOld);
    }
}
