//! Reports and roll-ups that are made for the purpose, in the shape of real ones.

use std::collections::BTreeMap;

use greenroom::net::clock::Clock;
use greenroom_reports::assess::short_code;
use greenroom_reports::metrics::sketch::Sketch;
use greenroom_reports::schema::{Report, read};
use greenroom_reports::units::Micros;
use greenroom_web::ingest::read::record;
use greenroom_web::rollup::Sums;
use greenroom_web::store::sqlite::SqliteStore;
use greenroom_web::store::{BucketKey, Record, Resolution, Tenant, Upkeep as _};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use uuid::Builder;

use crate::Fallible;

/// A real check over an emulated link.
const REAL: &str = include_str!("../../../../../reports/tests/data/loss_15.json");

/// Sites of the fleet whose roll-ups are made, and agents at each.
const SITES: u64 = 100;
const AGENTS_EACH: u64 = 1_000;
/// A report each five minutes.
const REPORTS_AN_HOUR: u64 = 12;
const DAYS: i64 = 30;

/// Makes reports, each with an id and histograms of its own.
pub(in crate::performance) struct Maker {
    base: Report,
    random: StdRng,
    now: Timestamp,
    made: u64,
    size: usize,
}

impl Maker {
    pub(in crate::performance) fn new() -> Fallible<Self> {
        let mut base = read(REAL)?;
        base.trace = None;
        // What is told of each cause is most of a bad report, and few are bad.
        base.verdict.causes.truncate(1);
        let now = Clock::start().started();
        Ok(Self { base, random: StdRng::seed_from_u64(14), now, made: 0, size: 0 })
    }

    pub(in crate::performance) fn now(&self) -> Timestamp {
        self.now
    }

    /// Bytes of the last report.
    pub(in crate::performance) fn size(&self) -> usize {
        self.size
    }

    /// A report of one of so many sites.
    pub(in crate::performance) fn report(&mut self, sites: usize) -> Fallible<Report> {
        self.made += 1;
        let mut report = self.base.clone();
        let mut random = [0; 10];
        self.random.fill(&mut random[..2]);
        random[2..].copy_from_slice(&self.made.to_be_bytes());
        report.id = Builder::from_unix_timestamp_millis(self.now.as_millisecond().unsigned_abs(), &random)
            .into_uuid();
        report.code = short_code(report.id);
        let ago = self.random.random_range(0..240);
        report.started = self.now.checked_sub(SignedDuration::from_secs(ago))?;
        let site = self.random.random_range(0..sites);
        report.labels = BTreeMap::from([
            ("site".to_owned(), format!("site {site}")),
            ("person".to_owned(), format!("person {}", self.made % 10_000)),
            ("ticket".to_owned(), format!("T-{}", self.made)),
        ]);
        report.agent.id = Some(format!("agent-{}", self.made % 100_000));
        report.sketches = BTreeMap::new();
        for (name, least, samples) in
            [("rtt", 20_000, 1_500), ("pdv_up", 300, 1_500), ("pdv_down", 300, 1_500)]
        {
            report.sketches.insert(name.to_owned(), delays(&mut self.random, least, samples).encode());
        }
        Ok(report)
    }

    /// A report as a store takes it.
    pub(in crate::performance) fn record(&mut self, sites: usize) -> Fallible<Record> {
        let report = self.report(sites)?;
        let json = serde_json::to_vec(&report)?;
        self.size = json.len();
        let made = record(Tenant::FIRST, &report, json, self.now);
        made.map_err(|problem| problem.detail().to_owned().into())
    }

    /// The code of a report, and its JSON packed with zstd.
    pub(in crate::performance) fn packed(&mut self, sites: usize) -> Fallible<(String, Vec<u8>)> {
        let report = self.report(sites)?;
        let json = serde_json::to_vec(&report)?;
        Ok((report.code, zstd::bulk::compress(&json, 3)?))
    }

    /// Thirty whole days before today.
    pub(in crate::performance) fn thirty_days(&self) -> (Timestamp, Timestamp) {
        let end = Resolution::Day.bucket(self.now);
        let at = |second| Timestamp::from_second(second).unwrap_or(self.now);
        (at(end - DAYS * Resolution::Day.seconds()), at(end - 1))
    }

    /// Puts the roll-ups of thirty days of 100,000 agents into a store.
    pub(in crate::performance) async fn fleet(&mut self, store: &SqliteStore) -> Fallible<()> {
        let (from, _) = self.thirty_days();
        for day in 0..DAYS {
            let begin = from.as_second() + day * Resolution::Day.seconds();
            let mut sums = Sums::default();
            for site in 0..SITES {
                self.day(&mut sums, site, begin);
            }
            store.take_in(Vec::new(), Some(sums)).await?;
        }
        Ok(())
    }

    fn day(&mut self, sums: &mut Sums, site: u64, begin: i64) {
        let key = |bucket| BucketKey {
            bucket,
            site: format!("site {site}"),
            endpoint: "greenroom://probe.example".to_owned(),
        };
        let mut whole = Sketch::new();
        let reports = AGENTS_EACH * REPORTS_AN_HOUR;
        let add = |sums: &mut Sums, resolution, bucket, sketch: Sketch, reports: u64| {
            let at = |name: &str| (Tenant::FIRST, resolution, key(bucket), name.to_owned());
            sums.sketches.insert(at("rtt"), sketch);
            for (name, n) in [
                ("verdict:ready", reports / 10 * 9),
                ("verdict:degraded", reports / 10),
                ("up:sent", reports * 250),
                ("up:lost", reports),
                ("down:sent", reports * 250),
                ("down:lost", reports / 2),
            ] {
                sums.tallies.insert(at(name), n);
            }
        };
        for hour in 0..24 {
            // Ten thousand round trips stand for those of an hour's reports: as many buckets are filled, with smaller numbers.
            let sketch = delays(&mut self.random, 10_000 + 500 * i64::try_from(site).unwrap_or(0), 10_000);
            whole.merge(&sketch);
            add(sums, Resolution::Hour, begin + hour * Resolution::Hour.seconds(), sketch, reports);
        }
        add(sums, Resolution::Day, begin, whole, reports * 24);
    }
}

/// Delays in microseconds: most of them near the least, some far beyond.
fn delays(random: &mut StdRng, least: i64, samples: usize) -> Sketch {
    let mut sketch = Sketch::new();
    for _ in 0..samples {
        let some = random.random_range(0..1_000_000_i64);
        let few = (some / 1_000) * (some / 1_000) / 1_000 * (some / 1_000) / 1_000;
        sketch.record(Micros::new(least + some * least / 4_000_000 + few * least / 400));
    }
    sketch
}
