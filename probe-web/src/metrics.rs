//! What this process counted since it began, and the text that Prometheus reads.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use greenroom_reports::metrics::percentile::Quantile;
use jiff::Timestamp;

use crate::fleet::{Figures, Fleet, Series};

/// Sites and endpoints that are told at most, those with the most reports: each is some fifteen series.
pub const MOST: usize = 200;

/// Verdicts that are told, also when there are none.
const VERDICTS: [&str; 5] = ["ready", "degraded", "blocked", "permission_denied", "inconclusive"];

/// Counts since this process began.
#[derive(Debug)]
pub struct Counters {
    began: Timestamp,
    accepted: AtomicU64,
    duplicate: AtomicU64,
    refused: AtomicU64,
    /// Answers by the first digit of their status, 1 to 5.
    answers: [AtomicU64; 5],
}

impl Counters {
    /// Begins to count.
    pub fn new(now: Timestamp) -> Self {
        let zero = AtomicU64::default;
        let answers = std::array::from_fn(|_| zero());
        Self { began: now, accepted: zero(), duplicate: zero(), refused: zero(), answers }
    }

    /// When this process began.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// A report was sent: this became of it.
    pub fn report(&self, status: u16, duplicate: bool) {
        let counter = match status {
            202 if duplicate => &self.duplicate,
            202 => &self.accepted,
            _ => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered.
    pub fn answer(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        if let Some(counter) = self.answers.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Figures of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its name, as Prometheus has it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it says, in words.
    pub help: &'static str,
    /// Its figures.
    pub samples: Vec<Sample>,
}

/// What a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As it is now.
    Gauge,
    /// How often since the process began.
    Counter,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What it is of.
    pub labels: Vec<(&'static str, String)>,
    /// What it is.
    pub value: Number,
}

/// A whole number or another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// A ratio or a time.
    Real(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(n) => n.fmt(f),
            Self::Real(x) => x.fmt(f),
        }
    }
}

impl Family {
    pub(crate) fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, help, samples: Vec::new() }
    }

    pub(crate) fn add(&mut self, labels: Vec<(&'static str, String)>, value: Number) {
        self.samples.push(Sample { labels, value });
    }
}

/// The last hour of a tenant's roll-ups.
pub fn of_fleet(fleet: &Fleet) -> Vec<Family> {
    let mut series: Vec<_> = fleet.series.iter().filter(|(_, (now, _))| now.reports() > 0).collect();
    series.sort_by_key(|(series, (now, _))| (std::cmp::Reverse(now.reports()), (*series).clone()));
    let left_out = series.len().saturating_sub(MOST);
    series.truncate(MOST);
    let series: Vec<(&Series, &Figures)> =
        series.into_iter().map(|(series, (now, _))| (series, now)).collect();
    let labels = |of: &Series, key: &'static str, label: &str| {
        vec![("site", of.site.clone()), ("endpoint", of.endpoint.clone()), (key, label.to_owned())]
    };
    let mut reports =
        Family::new("greenroom_reports", Kind::Gauge, "Reports that began in the last hour, by verdict.");
    let mut trips = Family::new(
        "greenroom_round_trip_seconds",
        Kind::Gauge,
        "Round trips of the last hour, merged, to 1 %.",
    );
    let mut loss = Family::new(
        "greenroom_loss_ratio",
        Kind::Gauge,
        "Share of packets lost in the last hour; up is on the way to the endpoint.",
    );
    for (of, found) in &series {
        for verdict in VERDICTS {
            reports.add(labels(of, "verdict", verdict), Number::Whole(found.of(verdict)));
        }
        for (name, quantile) in [("0.5", Quantile::P50), ("0.95", Quantile::P95), ("0.99", Quantile::P99)] {
            if let Some(ms) = found.trip(quantile) {
                trips.add(labels(of, "quantile", name), Number::Real(ms / 1e3));
            }
        }
        for (way, lost) in [("up", found.lost_up()), ("down", found.lost_down())] {
            if let Some(lost) = lost {
                loss.add(labels(of, "direction", way), Number::Real(lost));
            }
        }
    }
    let mut rest = Family::new(
        "greenroom_series_left_out",
        Kind::Gauge,
        "Sites and endpoints with fewer reports that are not told.",
    );
    rest.add(Vec::new(), Number::Whole(u64::try_from(left_out).unwrap_or(u64::MAX)));
    vec![reports, trips, loss, rest]
}

/// What this process did. `resident` is its memory in bytes, where known.
pub fn of_process(counters: &Counters, resident: Option<u64>) -> Vec<Family> {
    let value = |counter: &AtomicU64| Number::Whole(counter.load(Ordering::Relaxed));
    let mut ingest = Family::new(
        "greenroom_ingest_reports_total",
        Kind::Counter,
        "Reports sent since this process began, by what became of them.",
    );
    for (name, counter) in
        [("accepted", &counters.accepted), ("duplicate", &counters.duplicate), ("refused", &counters.refused)]
    {
        ingest.add(vec![("outcome", name.to_owned())], value(counter));
    }
    let mut answers = Family::new(
        "greenroom_http_responses_total",
        Kind::Counter,
        "Answers since this process began, by class of status.",
    );
    for (digit, counter) in (1..).zip(&counters.answers) {
        answers.add(vec![("class", format!("{digit}xx"))], value(counter));
    }
    let mut build =
        Family::new("greenroom_build_info", Kind::Gauge, "Always 1; the label tells the version.");
    build.add(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], Number::Whole(1));
    let mut began = Family::new(
        "process_start_time_seconds",
        Kind::Gauge,
        "When this process began, in seconds since 1970.",
    );
    began.add(Vec::new(), Number::Whole(u64::try_from(counters.began.as_second()).unwrap_or(0)));
    let mut families = vec![ingest, answers, build, began];
    if let Some(bytes) = resident {
        let mut memory =
            Family::new("process_resident_memory_bytes", Kind::Gauge, "Memory that this process has in use.");
        memory.add(Vec::new(), Number::Whole(bytes));
        families.push(memory);
    }
    families
}

/// Figures in Prometheus' exposition format 0.0.4.
pub fn text(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families {
        let kind = match family.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing to a String cannot fail.
        let _ = write!(out, "# HELP {name} {}\n# TYPE {name} {kind}\n", family.help, name = family.name);
        for Sample { labels, value } in &family.samples {
            let labels: Vec<String> =
                labels.iter().map(|(key, label)| format!("{key}=\"{}\"", escaped(label))).collect();
            let _ = match labels.is_empty() {
                true => writeln!(out, "{} {value}", family.name),
                false => writeln!(out, "{}{{{}}} {value}", family.name, labels.join(",")),
            };
        }
    }
    out
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Memory of this process in bytes, from `VmRSS` of Linux' `/proc/self/status`.
pub fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Tallies;
    use crate::store::BucketKey;
    use crate::testing::start;

    fn told(fleet: &Fleet, resident: Option<u64>) -> String {
        text(&[of_fleet(fleet), of_process(&Counters::new(start()), resident)].concat())
    }

    #[test]
    fn what_senders_name_is_a_label_and_no_line_of_its_own() {
        let key = BucketKey { bucket: 300, site: "a\"b\\c\nd".into(), endpoint: "e".into() };
        let tallies = Tallies::from([
            ((key.clone(), "verdict:ready".into()), 3),
            ((key.clone(), "up:sent".into()), 100),
            ((key, "up:lost".into()), 1),
        ]);
        let fleet = Fleet::of(&tallies, &[], 0).unwrap();
        let told = told(&fleet, Some(4096));
        let line = r#"greenroom_reports{site="a\"b\\c\nd",endpoint="e",verdict="ready"} 3"#;
        assert!(told.lines().any(|found| found == line), "{told}");
        assert!(told.contains(
            "greenroom_loss_ratio{site=\"a\\\"b\\\\c\\nd\",endpoint=\"e\",direction=\"up\"} 0.01\n"
        ));
        assert!(told.contains("process_resident_memory_bytes 4096\n"));
        for line in told.lines() {
            assert!(
                line.starts_with("# ") || line.starts_with("greenroom_") || line.starts_with("process_"),
                "{line}"
            );
        }
    }

    #[test]
    fn series_are_bounded_and_those_left_out_counted() {
        let tallies: Tallies = (0..300)
            .map(|n| {
                let key = BucketKey { bucket: 300, site: n.to_string(), endpoint: String::new() };
                ((key, "verdict:ready".to_owned()), 1 + n)
            })
            .collect();
        let told = told(&Fleet::of(&tallies, &[], 0).unwrap(), None);
        assert_eq!(told.matches("verdict=\"ready\"").count(), MOST);
        assert!(told.contains("greenroom_series_left_out 100\n"));
        assert!(told.contains("site=\"299\"") && !told.contains("site=\"0\""));
    }

    #[test]
    fn the_grafana_dashboard_asks_for_what_is_told() {
        let key = BucketKey { bucket: 300, site: "s".into(), endpoint: "e".into() };
        let tallies =
            Tallies::from([((key.clone(), "verdict:ready".into()), 3), ((key, "up:sent".into()), 100)]);
        let told = told(&Fleet::of(&tallies, &[], 0).unwrap(), None);
        let dashboard = include_str!("../../docs/grafana/greenroom-fleet.json");
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let mut asked = 0;
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let words =
                    target["expr"].as_str().unwrap().split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                for name in words.filter(|word| word.starts_with("greenroom_")) {
                    asked += 1;
                    assert!(told.contains(&format!("# TYPE {name} ")), "{name}");
                }
            }
        }
        assert!(asked >= 10, "{asked}");
    }

    #[test]
    fn memory_is_read_as_linux_writes_it() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   1234 kB\nThreads:\t2\n"), Some(1234 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
