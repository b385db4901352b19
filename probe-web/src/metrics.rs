//! What this process counted since it began, and the text that Prometheus reads.

use std::fmt::Write as _;
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

/// All that is told: the last hour of a tenant's roll-ups, and this process. `resident` is its memory in bytes, where known.
pub fn text(fleet: &Fleet, counters: &Counters, resident: Option<u64>) -> String {
    let mut out = Text::default();
    let mut series: Vec<_> = fleet.series.iter().filter(|(_, (now, _))| now.reports() > 0).collect();
    series.sort_by_key(|(series, (now, _))| (std::cmp::Reverse(now.reports()), (*series).clone()));
    let left_out = series.len().saturating_sub(MOST);
    series.truncate(MOST);
    let series: Vec<(&Series, &Figures)> =
        series.into_iter().map(|(series, (now, _))| (series, now)).collect();
    out.family("greenroom_reports", "gauge", "Reports that began in the last hour, by verdict.");
    for (of, found) in &series {
        for verdict in VERDICTS {
            out.sample("greenroom_reports", of, Some(("verdict", verdict)), &count(found.of(verdict)));
        }
    }
    out.family("greenroom_round_trip_seconds", "gauge", "Round trips of the last hour, merged, to 1 %.");
    for (of, found) in &series {
        for (name, quantile) in [("0.5", Quantile::P50), ("0.95", Quantile::P95), ("0.99", Quantile::P99)] {
            if let Some(ms) = found.trip(quantile) {
                out.sample(
                    "greenroom_round_trip_seconds",
                    of,
                    Some(("quantile", name)),
                    &format!("{}", ms / 1e3),
                );
            }
        }
    }
    out.family(
        "greenroom_loss_ratio",
        "gauge",
        "Share of packets lost in the last hour; up is on the way to the endpoint.",
    );
    for (of, found) in &series {
        for (way, lost) in [("up", found.lost_up()), ("down", found.lost_down())] {
            if let Some(lost) = lost {
                out.sample("greenroom_loss_ratio", of, Some(("direction", way)), &format!("{lost}"));
            }
        }
    }
    out.family(
        "greenroom_series_left_out",
        "gauge",
        "Sites and endpoints with fewer reports that are not told.",
    );
    out.line("greenroom_series_left_out", "", &left_out.to_string());
    process(&mut out, counters, resident);
    out.0
}

fn process(out: &mut Text, counters: &Counters, resident: Option<u64>) {
    let value = |counter: &AtomicU64| count(counter.load(Ordering::Relaxed));
    out.family(
        "greenroom_ingest_reports_total",
        "counter",
        "Reports sent since this process began, by what became of them.",
    );
    for (name, counter) in
        [("accepted", &counters.accepted), ("duplicate", &counters.duplicate), ("refused", &counters.refused)]
    {
        out.line("greenroom_ingest_reports_total", &format!("{{outcome=\"{name}\"}}"), &value(counter));
    }
    out.family(
        "greenroom_http_responses_total",
        "counter",
        "Answers since this process began, by class of status.",
    );
    for (digit, counter) in (1..).zip(&counters.answers) {
        out.line("greenroom_http_responses_total", &format!("{{class=\"{digit}xx\"}}"), &value(counter));
    }
    out.family("greenroom_build_info", "gauge", "Always 1; the label tells the version.");
    out.line("greenroom_build_info", concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), "1");
    out.family("process_start_time_seconds", "gauge", "When this process began, in seconds since 1970.");
    out.line("process_start_time_seconds", "", &counters.began.as_second().to_string());
    if let Some(bytes) = resident {
        out.family("process_resident_memory_bytes", "gauge", "Memory that this process has in use.");
        out.line("process_resident_memory_bytes", "", &count(bytes));
    }
}

/// Text in Prometheus' exposition format 0.0.4.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, of: &Series, more: Option<(&str, &str)>, value: &str) {
        let mut labels = format!("{{site=\"{}\",endpoint=\"{}\"", escaped(&of.site), escaped(&of.endpoint));
        if let Some((key, label)) = more {
            let _ = write!(labels, ",{key}=\"{label}\"");
        }
        labels.push('}');
        self.line(name, &labels, value);
    }

    fn line(&mut self, name: &str, labels: &str, value: &str) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn count(n: u64) -> String {
    n.to_string()
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

    #[test]
    fn what_senders_name_is_a_label_and_no_line_of_its_own() {
        let key = BucketKey { bucket: 300, site: "a\"b\\c\nd".into(), endpoint: "e".into() };
        let tallies = Tallies::from([
            ((key.clone(), "verdict:ready".into()), 3),
            ((key.clone(), "up:sent".into()), 100),
            ((key, "up:lost".into()), 1),
        ]);
        let fleet = Fleet::of(&tallies, &[], 0).unwrap();
        let told = text(&fleet, &Counters::new(start()), Some(4096));
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
        let told = text(&Fleet::of(&tallies, &[], 0).unwrap(), &Counters::new(start()), None);
        assert_eq!(told.matches("verdict=\"ready\"").count(), MOST);
        assert!(told.contains("greenroom_series_left_out 100\n"));
        assert!(told.contains("site=\"299\"") && !told.contains("site=\"0\""));
    }

    #[test]
    fn the_grafana_dashboard_asks_for_what_is_told() {
        let key = BucketKey { bucket: 300, site: "s".into(), endpoint: "e".into() };
        let tallies =
            Tallies::from([((key.clone(), "verdict:ready".into()), 3), ((key, "up:sent".into()), 100)]);
        let told = text(&Fleet::of(&tallies, &[], 0).unwrap(), &Counters::new(start()), None);
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
