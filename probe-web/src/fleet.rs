//! What many reports say together: merged from roll-ups, never averaged. Pure.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_reports::confidence::proportion::wilson;
use greenroom_reports::metrics::percentile::Quantile;
use greenroom_reports::metrics::sketch::{Sketch, SketchError};
use greenroom_reports::units::Ratio;

use crate::store::{BucketKey, SeriesTotal, Totals};

/// How sure a difference has to be before it is called one.
const LEVEL: f64 = 0.95;

/// Least reports, before and now, of what is compared.
const LEAST_REPORTS: u64 = 5;

/// Least round trips, before and now, of what is compared.
const LEAST_TRIPS: u64 = 100;

/// A round trip is longer when its 95th percentile has grown by this factor and by this many milliseconds.
const LONGER: (f64, f64) = (1.25, 10.0);

/// What reports say together.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Reports by verdict's name.
    pub verdicts: BTreeMap<String, u64>,
    /// Round trips, `None` while there are none: a histogram takes some 20 kB.
    rtt: Option<Sketch>,
    /// Packets sent, and of them lost, each way.
    up: (u64, u64),
    down: (u64, u64),
}

impl Figures {
    /// Adds a sum of the roll-ups, by its name there.
    pub fn add(&mut self, name: &str, n: u64) {
        let sum = match name {
            "up:sent" => &mut self.up.0,
            "up:lost" => &mut self.up.1,
            "down:sent" => &mut self.down.0,
            "down:lost" => &mut self.down.1,
            _ => match name.strip_prefix("verdict:") {
                Some(verdict) => self.verdicts.entry(verdict.to_owned()).or_default(),
                None => return,
            },
        };
        *sum = sum.saturating_add(n);
    }

    /// Adds a histogram of round trips.
    pub fn add_trips(&mut self, trips: &Sketch) {
        self.rtt.get_or_insert_default().merge(trips);
    }

    /// Adds all of others.
    fn merge(&mut self, other: &Self) {
        for (verdict, n) in &other.verdicts {
            let sum = self.verdicts.entry(verdict.clone()).or_default();
            *sum = sum.saturating_add(*n);
        }
        if let Some(trips) = &other.rtt {
            self.add_trips(trips);
        }
        for (sums, more) in [(&mut self.up, other.up), (&mut self.down, other.down)] {
            *sums = (sums.0.saturating_add(more.0), sums.1.saturating_add(more.1));
        }
    }

    /// Reports.
    pub fn reports(&self) -> u64 {
        self.verdicts.values().sum()
    }

    /// Reports of a verdict.
    pub fn of(&self, verdict: &str) -> u64 {
        self.verdicts.get(verdict).copied().unwrap_or(0)
    }

    /// Reports that had trouble.
    pub fn bad(&self) -> u64 {
        self.of("degraded") + self.of("blocked")
    }

    /// Reports that tell good from bad.
    pub fn judged(&self) -> u64 {
        self.of("ready") + self.bad()
    }

    /// Reports that do not.
    pub fn unsure(&self) -> u64 {
        self.reports().saturating_sub(self.judged())
    }

    /// Share of those that had trouble among those that tell.
    pub fn bad_share(&self) -> Option<f64> {
        Ratio::of(self.bad(), self.judged()).map(Ratio::get)
    }

    /// The round trip at a quantile, in milliseconds.
    pub fn trip(&self, quantile: Quantile) -> Option<f64> {
        self.rtt.as_ref()?.at(quantile).map(greenroom_reports::units::Micros::as_ms)
    }

    /// How many round trips there were.
    pub fn trips(&self) -> u64 {
        self.rtt.as_ref().map_or(0, Sketch::len)
    }

    /// The histogram of round trips.
    pub fn trips_sketch(&self) -> Option<&Sketch> {
        self.rtt.as_ref()
    }

    /// Share lost on the way from agents to endpoints.
    pub fn lost_up(&self) -> Option<f64> {
        Ratio::of(self.up.1, self.up.0).map(Ratio::get)
    }

    /// Share lost on the way back.
    pub fn lost_down(&self) -> Option<f64> {
        Ratio::of(self.down.1, self.down.0).map(Ratio::get)
    }
}

/// Reports of one site to one endpoint. Empty: without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The site.
    pub site: String,
    /// The endpoint.
    pub endpoint: String,
}

/// A stretch of time, and as long a one before it.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// All together.
    pub all: Figures,
    /// All together, before.
    pub all_before: Figures,
    /// By site and endpoint, in the stretch and before.
    pub series: BTreeMap<Series, (Figures, Figures)>,
    /// By bucket of the stretch.
    pub over_time: BTreeMap<i64, Figures>,
}

/// Sums as the store has them.
#[cfg(test)]
pub(crate) type Tallies = BTreeMap<(BucketKey, String), u64>;

impl Fleet {
    /// Adds up what the store has from both stretches; the later one begins at `start`, in seconds since 1970.
    ///
    /// # Errors
    /// When a histogram cannot be read.
    #[cfg(test)]
    pub(crate) fn of(
        tallies: &Tallies,
        trips: &[(BucketKey, Vec<u8>)],
        start: i64,
    ) -> Result<Self, SketchError> {
        let mut fleet = Self::default();
        for ((key, name), n) in tallies {
            let (series, over_time) = fleet.parts(key, start);
            series.add(name, *n);
            if let Some(bucket) = over_time {
                bucket.add(name, *n);
            }
        }
        fleet.add_trips(trips, start)?;
        fleet.sum_up();
        Ok(fleet)
    }

    /// Adds sums. [`Self::sum_up`] is due after the last.
    pub fn add_totals(&mut self, totals: &Totals) {
        for SeriesTotal { site, endpoint, since, name, n } in &totals.of_series {
            let series = Series { site: site.clone(), endpoint: endpoint.clone() };
            let (now, before) = self.series.entry(series).or_default();
            if *since { now.add(name, *n) } else { before.add(name, *n) }
        }
        for (bucket, name, n) in &totals.of_buckets {
            self.over_time.entry(*bucket).or_default().add(name, *n);
        }
    }

    /// Adds histograms of round trips; buckets from `start` are those of now. [`Self::sum_up`] is due after the last.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn add_trips(&mut self, trips: &[(BucketKey, Vec<u8>)], start: i64) -> Result<(), SketchError> {
        for (key, bytes) in trips {
            let sketch = Sketch::from_bytes(bytes)?;
            let (series, over_time) = self.parts(key, start);
            series.add_trips(&sketch);
            if let Some(bucket) = over_time {
                bucket.add_trips(&sketch);
            }
        }
        Ok(())
    }

    /// The sums that a bucket is part of, but those of all together: its series', and its time's where that is after `start`.
    fn parts(&mut self, key: &BucketKey, start: i64) -> (&mut Figures, Option<&mut Figures>) {
        let series = Series { site: key.site.clone(), endpoint: key.endpoint.clone() };
        let (now, before) = self.series.entry(series).or_default();
        if key.bucket >= start {
            (now, Some(self.over_time.entry(key.bucket).or_default()))
        } else {
            (before, None)
        }
    }

    /// Makes the sums of all together, from those that are fewer.
    pub fn sum_up(&mut self) {
        (self.all, self.all_before) = (Figures::default(), Figures::default());
        for figures in self.over_time.values() {
            self.all.merge(figures);
        }
        for (_, before) in self.series.values() {
            self.all_before.merge(before);
        }
    }

    /// What got worse against the stretch before beyond doubt, worst first.
    pub fn movers(&self) -> Vec<Mover<'_>> {
        let mut movers: Vec<Mover<'_>> =
            self.series.iter().filter_map(|(series, (now, before))| Mover::of(series, now, before)).collect();
        movers.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
        movers
    }
}

/// A series that got worse.
#[derive(Debug, Clone, Copy)]
pub struct Mover<'a> {
    /// Which.
    pub series: &'a Series,
    /// What it says now.
    pub now: &'a Figures,
    /// What it said before.
    pub before: &'a Figures,
    /// Whether more of its reports had trouble.
    pub more_trouble: bool,
    /// Whether its round trip got longer.
    pub longer: bool,
}

impl<'a> Mover<'a> {
    fn of(series: &'a Series, now: &'a Figures, before: &'a Figures) -> Option<Self> {
        let enough = now.judged() >= LEAST_REPORTS && before.judged() >= LEAST_REPORTS;
        let trouble = |figures: &Figures| wilson(figures.bad(), figures.judged(), LEVEL);
        let more_trouble = enough && trouble(now).low > trouble(before).high;
        let p95 = |figures: &Figures| {
            (figures.trips() >= LEAST_TRIPS).then(|| figures.trip(Quantile::P95)).flatten()
        };
        let longer = match (p95(before), p95(now)) {
            (Some(old), Some(new)) => new >= old * LONGER.0 && new >= old + LONGER.1,
            _ => false,
        };
        (more_trouble || longer).then_some(Self { series, now, before, more_trouble, longer })
    }

    /// How much worse: by the share that has trouble, and where that is the same by how much longer its round trip is.
    fn weight(&self) -> f64 {
        let share = |figures: &Figures| figures.bad_share().unwrap_or(0.0);
        let trip = |figures: &Figures| figures.trip(Quantile::P95).unwrap_or(0.0);
        let slower = (trip(self.now) / trip(self.before).max(1.0)).clamp(0.0, 100.0) / 1_000.0;
        let trouble = if self.more_trouble { share(self.now) - share(self.before) } else { 0.0 };
        trouble + slower
    }
}

/// The sites and endpoints that there are, to choose from.
pub fn names(fleet: &Fleet) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let sites = fleet.series.keys().map(|series| series.site.as_str()).collect();
    let endpoints = fleet.series.keys().map(|series| series.endpoint.as_str()).collect();
    (sites, endpoints)
}

#[cfg(test)]
mod tests {
    use greenroom_reports::units::Micros;

    use super::*;

    fn key(bucket: i64, site: &str) -> BucketKey {
        BucketKey { bucket, site: site.into(), endpoint: "e".into() }
    }

    fn trips(ms: impl IntoIterator<Item = i64>) -> Vec<u8> {
        ms.into_iter().map(Micros::from_millis).collect::<Sketch>().to_bytes()
    }

    fn verdict(bucket: i64, site: &str, name: &str, n: u64) -> ((BucketKey, String), u64) {
        ((key(bucket, site), format!("verdict:{name}")), n)
    }

    #[test]
    fn percentiles_are_those_of_all_and_not_a_mean_of_percentiles() {
        // 1,000 short ones in one bucket, 10 long ones in the other: the mean of the p95s would be about 500 ms.
        let rows = [
            (key(300, "Lyon"), trips(std::iter::repeat_n(10, 1_000))),
            (key(600, "Lyon"), trips(std::iter::repeat_n(1_000, 10))),
        ];
        let fleet = Fleet::of(&Tallies::new(), &rows, 0).unwrap();
        let p95 = fleet.all.trip(Quantile::P95).unwrap();
        assert!((9.9..10.2).contains(&p95), "{p95}");
        assert_eq!(fleet.all.trips(), 1_010);
        assert_eq!(fleet.over_time.len(), 2);
    }

    #[test]
    fn shares_are_of_what_tells_and_what_does_not_tell_is_not_good() {
        let tallies = Tallies::from([
            verdict(300, "Lyon", "ready", 3),
            verdict(300, "Lyon", "blocked", 1),
            verdict(300, "Lyon", "inconclusive", 4),
            ((key(300, "Lyon"), "up:sent".into()), 200),
            ((key(300, "Lyon"), "up:lost".into()), 3),
            ((key(300, "Lyon"), "something:else".into()), 9),
        ]);
        let all = Fleet::of(&tallies, &[], 300).unwrap().all;
        assert_eq!((all.reports(), all.judged(), all.bad(), all.unsure()), (8, 4, 1, 4));
        assert_eq!(all.bad_share(), Some(0.25));
        assert_eq!(all.lost_up(), Some(0.015));
        assert_eq!(all.lost_down(), None, "nothing was sent that way");
        assert_eq!(Figures::default().bad_share(), None);
    }

    #[test]
    fn what_got_worse_is_told_beyond_doubt_worst_first() {
        let tallies = Tallies::from([
            verdict(0, "Lyon", "ready", 20),
            verdict(300, "Lyon", "blocked", 15),
            verdict(300, "Lyon", "ready", 5),
            // One more of a few is chance.
            verdict(0, "Oslo", "ready", 5),
            verdict(300, "Oslo", "ready", 4),
            verdict(300, "Oslo", "blocked", 1),
            // New: there is nothing to compare with.
            verdict(300, "Rome", "blocked", 20),
        ]);
        let rows = [
            (key(0, "Bonn"), trips(std::iter::repeat_n(20, 200))),
            (key(300, "Bonn"), trips(std::iter::repeat_n(80, 200))),
            (key(0, "Kyiv"), trips(std::iter::repeat_n(20, 200))),
            (key(300, "Kyiv"), trips(std::iter::repeat_n(22, 200))),
        ];
        let fleet = Fleet::of(&tallies, &rows, 300).unwrap();
        let movers: Vec<_> = fleet
            .movers()
            .iter()
            .map(|mover| (mover.series.site.clone(), mover.more_trouble, mover.longer))
            .collect();
        assert_eq!(movers, [("Lyon".to_owned(), true, false), ("Bonn".to_owned(), false, true)]);
    }
}
