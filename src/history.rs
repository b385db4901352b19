//! What past checks found, kept on this computer and nowhere else: bounded, and nothing that names a person.
//!
//! One JSON object per line, oldest first. With a few results for the same endpoint, a new one can be told from what is
//! usual here: by median and median absolute deviation, so that one bad evening does not move what "usual" means.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use greenroom_reports::schema::{Report, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Results kept unless told otherwise.
pub const KEEP: usize = 500;

/// One past result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The report's id.
    pub id: Uuid,
    /// When the run began.
    pub started: Timestamp,
    /// The endpoint's URL.
    pub endpoint: String,
    /// The verdict.
    pub overall: State,
    /// Figures by name (see [`FIGURES`]). One that was not measured is absent.
    pub figures: BTreeMap<String, f64>,
}

impl Entry {
    /// Takes from a report what is worth remembering. `None` when it measured no endpoint.
    pub fn of(report: &Report) -> Option<Self> {
        let target = report.targets.first()?;
        target.state.measured()?;
        let figures = FIGURES
            .iter()
            .filter_map(|figure| Some((figure.name.to_owned(), (figure.read)(report)?)))
            .filter(|(_, value)| value.is_finite())
            .collect();
        Some(Self {
            id: report.id,
            started: report.started,
            endpoint: target.url.clone(),
            overall: report.verdict.overall,
            figures,
        })
    }
}

/// A figure that history remembers, larger being worse.
#[derive(Debug)]
pub struct Figure {
    /// Its key in [`Entry::figures`]: the report's path with the unit.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Its unit for people.
    pub unit: &'static str,
    /// From the stored unit to that for people.
    pub scale: f64,
    /// A difference, in the stored unit, that nobody notices: never called worse.
    pub unnoticed: f64,
    read: fn(&Report) -> Option<f64>,
}

/// What history remembers.
pub const FIGURES: [Figure; 5] = [
    Figure {
        name: "rtt_p50_ms",
        title: "round trip",
        unit: "ms",
        scale: 1.0,
        unnoticed: 10.0,
        read: |report| Some(report.targets.first()?.rtt_ms.measured()?.p50),
    },
    Figure {
        name: "up.loss_ratio",
        title: "loss of what you send",
        unit: "%",
        scale: 100.0,
        unnoticed: 0.01,
        read: |report| Some(report.targets.first()?.up.loss_ratio.measured()?.value),
    },
    Figure {
        name: "down.loss_ratio",
        title: "loss of what you receive",
        unit: "%",
        scale: 100.0,
        unnoticed: 0.01,
        read: |report| Some(report.targets.first()?.down.loss_ratio.measured()?.value),
    },
    Figure {
        name: "up.pdv_p95_ms",
        title: "delay variation of what you send",
        unit: "ms",
        scale: 1.0,
        unnoticed: 5.0,
        read: |report| report.targets.first()?.up.pdv_ms.measured()?.p95,
    },
    Figure {
        name: "down.pdv_p95_ms",
        title: "delay variation of what you receive",
        unit: "ms",
        scale: 1.0,
        unnoticed: 5.0,
        read: |report| report.targets.first()?.down.pdv_ms.measured()?.p95,
    },
];

/// A figure that is worse than it usually is with this endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Unusual {
    /// The figure's name for people.
    pub title: &'static str,
    /// Its unit for people.
    pub unit: &'static str,
    /// What was measured, in that unit.
    pub now: f64,
    /// The median of past results, in that unit.
    pub usual: f64,
    /// Past results behind it.
    pub n: usize,
}

/// Past results that are looked at, and how many there must be before anything counts as usual.
const WINDOW: usize = 30;
const ENOUGH: usize = 5;
/// Median absolute deviations that count as worse; 1.4826 of them are a standard deviation under a normal law.
const DEVIATIONS: f64 = 3.0 * 1.4826;

/// Says which figures of `now` are worse than usual with the same endpoint.
pub fn worse_than_usual(past: &[Entry], now: &Entry) -> Vec<Unusual> {
    let same: Vec<&Entry> =
        past.iter().rev().filter(|e| e.endpoint == now.endpoint && e.id != now.id).take(WINDOW).collect();
    FIGURES.iter().filter_map(|figure| worse(&same, now, figure)).collect()
}

fn worse(past: &[&Entry], now: &Entry, figure: &Figure) -> Option<Unusual> {
    let value = *now.figures.get(figure.name)?;
    let values: Vec<f64> = past.iter().filter_map(|e| e.figures.get(figure.name).copied()).collect();
    if values.len() < ENOUGH {
        return None;
    }
    let usual = median(values.clone())?;
    let deviation = median(values.iter().map(|v| (v - usual).abs()).collect())?;
    let margin = (DEVIATIONS * deviation).max(figure.unnoticed);
    (value > usual + margin).then_some(Unusual {
        title: figure.title,
        unit: figure.unit,
        now: value * figure.scale,
        usual: usual * figure.scale,
        n: values.len(),
    })
}

/// The median; the lower of the middle pair.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// The file that past results are kept in.
#[derive(Debug, Clone)]
pub struct Store {
    file: PathBuf,
    keep: usize,
}

/// What a history file held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Past {
    /// Results, oldest first.
    pub entries: Vec<Entry>,
    /// Lines that could not be read (another version's, or damaged). They stay in the file.
    pub unreadable: usize,
}

impl Store {
    /// A store that keeps the newest `keep` results in `file`.
    pub const fn new(file: PathBuf, keep: usize) -> Self {
        Self { file, keep }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads all past results. A missing file holds none.
    ///
    /// # Errors
    ///
    /// What the system says when the file cannot be read.
    pub fn read(&self) -> io::Result<Past> {
        let mut past = Past::default();
        for line in self.lines()? {
            match serde_json::from_str(&line) {
                Ok(entry) => past.entries.push(entry),
                Err(_) => past.unreadable += 1,
            }
        }
        Ok(past)
    }

    /// Adds a result and drops the oldest beyond the bound. Other runs that do the same at once lose nothing.
    ///
    /// # Errors
    ///
    /// What the system says when the file cannot be written.
    pub fn add(&self, entry: &Entry) -> io::Result<()> {
        if self.keep == 0 {
            return Ok(());
        }
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir)?;
        }
        let _lock = self.lock()?;
        let mut lines = self.lines()?;
        lines.push(serde_json::to_string(entry)?);
        let newest = lines.len().saturating_sub(self.keep);
        self.replace(&lines[newest..])
    }

    /// Forgets everything.
    ///
    /// # Errors
    ///
    /// What the system says when the file cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn lines(&self) -> io::Result<Vec<String>> {
        match fs::read(&self.file) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes)
                .lines()
                .filter(|line| !line.trim().is_empty())
                .map(str::to_owned)
                .collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Held while the file is read and replaced. It lies beside the file, which is replaced as a whole.
    fn lock(&self) -> io::Result<File> {
        let lock = File::create(self.file.with_extension("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    /// Replaces the file in one step, so that a full disk or a crash leaves the old one.
    fn replace(&self, lines: &[String]) -> io::Result<()> {
        let new = self.file.with_extension("new");
        let written = File::create(&new).and_then(|mut file| {
            for line in lines {
                writeln!(file, "{line}")?;
            }
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&new, &self.file)).inspect_err(|_| {
            let _ = fs::remove_file(&new);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u128, endpoint: &str, rtt: Option<f64>) -> Entry {
        Entry {
            id: Uuid::from_u128(number),
            started: Timestamp::UNIX_EPOCH,
            endpoint: endpoint.to_owned(),
            overall: State::Ready,
            figures: rtt.map(|rtt| ("rtt_p50_ms".to_owned(), rtt)).into_iter().collect(),
        }
    }

    fn past(rtts: &[f64]) -> Vec<Entry> {
        rtts.iter().zip(0..).map(|(rtt, number)| entry(number, "a", Some(*rtt))).collect()
    }

    #[test]
    fn worse_is_told_by_median_and_deviation() {
        // Median 20, deviations 0 2 2 2 480: their median is 2, so worse begins at 20 + max(8.9, 10) = 30.
        let usual = past(&[18.0, 20.0, 22.0, 22.0, 500.0]);
        // Sorted 18 20 22 22 500: the median is 22.
        let now = |rtt| worse_than_usual(&usual, &entry(99, "a", Some(rtt)));
        assert_eq!(now(32.0), vec![]);
        let unusual = now(33.0);
        assert_eq!(unusual.len(), 1);
        assert_eq!((unusual[0].now, unusual[0].usual, unusual[0].n), (33.0, 22.0, 5));
    }

    #[test]
    fn a_scattered_past_needs_a_larger_difference() {
        // Median 30, deviations 20 10 0 10 20: median 10, so worse begins at 30 + 44.478.
        let usual = past(&[10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(worse_than_usual(&usual, &entry(99, "a", Some(74.4))), vec![]);
        assert_eq!(worse_than_usual(&usual, &entry(99, "a", Some(74.5))).len(), 1);
    }

    #[test]
    fn too_few_others_and_gaps_do_not_count() {
        let four = past(&[20.0; 4]);
        assert_eq!(worse_than_usual(&four, &entry(99, "a", Some(900.0))), vec![]);
        let elsewhere = past(&[20.0; 10]);
        assert_eq!(worse_than_usual(&elsewhere, &entry(99, "b", Some(900.0))), vec![]);
        assert_eq!(worse_than_usual(&elsewhere, &entry(99, "a", None)), vec![]);
    }

    #[test]
    fn the_file_is_bounded_and_keeps_the_newest() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::new(dir.path().join("deep/er/history.jsonl"), 3);
        assert_eq!(store.read().expect("missing is empty"), Past::default());
        for number in 0..5 {
            store.add(&entry(number, "a", Some(1.0))).expect("writable");
        }
        let ids: Vec<u128> = store.read().expect("readable").entries.iter().map(|e| e.id.as_u128()).collect();
        assert_eq!(ids, [2, 3, 4]);
        store.clear().expect("removable");
        store.clear().expect("nothing left to remove");
        assert_eq!(store.read().expect("missing is empty"), Past::default());
    }

    #[test]
    fn damaged_lines_are_counted_and_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::new(dir.path().join("history.jsonl"), 10);
        fs::write(store.file(), b"{\"half\": \n\xff\xfe\n\n").expect("writable");
        store.add(&entry(1, "a", None)).expect("writable");
        let past = store.read().expect("readable");
        assert_eq!((past.entries.len(), past.unreadable), (1, 2));
    }

    #[test]
    fn nothing_is_kept_when_off() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::new(dir.path().join("history.jsonl"), 0);
        store.add(&entry(1, "a", None)).expect("does nothing");
        assert!(!store.file().exists());
    }

    #[test]
    fn runs_at_the_same_time_lose_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::new(dir.path().join("history.jsonl"), 1_000);
        std::thread::scope(|scope| {
            for worker in 0..4_u128 {
                let store = &store;
                scope.spawn(move || {
                    for number in 0..20 {
                        store.add(&entry(worker * 100 + number, "a", None)).expect("writable");
                    }
                });
            }
        });
        assert_eq!(store.read().expect("readable").entries.len(), 80);
    }
}
