//! What a section measured, kept as a file so that documents can be rendered from it at any time.

use std::fs;
use std::path::PathBuf;

use greenroom_reports::units::Micros;
use serde::{Deserialize, Serialize};

use crate::Fallible;
use crate::machine::Conditions;

/// One subject, measured in one go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Section {
    /// Its name on the command line and in the templates.
    pub(crate) name: String,
    /// Machine and load; set at the end.
    pub(crate) conditions: Option<Conditions>,
    /// In the order in which they were first measured.
    pub(crate) rows: Vec<Row>,
    /// What a reader has to know of just this measurement.
    pub(crate) notes: Vec<String>,
}

/// One figure of one contender, once per round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// Of whom.
    pub(crate) who: String,
    /// The unit of `values`.
    pub(crate) unit: String,
    /// One value per round.
    pub(crate) values: Vec<f64>,
    /// What was set out for.
    pub(crate) goal: Option<Goal>,
}

/// What was set out for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// The median is to be at most this.
    AtMost(f64),
    /// The median is to be at least this.
    AtLeast(f64),
}

impl Section {
    /// Nothing measured yet.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), conditions: None, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds the value of one round.
    pub(crate) fn add(&mut self, what: &str, who: &str, unit: &str, value: f64) -> &mut Row {
        let known = self.rows.iter().position(|row| row.what == what && row.who == who);
        let at = known.unwrap_or_else(|| {
            let (what, who, unit) = (what.to_owned(), who.to_owned(), unit.to_owned());
            self.rows.push(Row { what, who, unit, values: Vec::new(), goal: None });
            self.rows.len() - 1
        });
        self.rows[at].values.push(value);
        &mut self.rows[at]
    }

    /// Puts the rows of one subject together, in the order in which subjects were first measured.
    pub(crate) fn group_by_what(&mut self) {
        let order: Vec<String> = self.rows.iter().map(|row| row.what.clone()).collect();
        self.rows.sort_by_key(|row| order.iter().position(|what| *what == row.what));
    }

    /// Adds something to know; once.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.notes.iter().any(|known| known == text) {
            self.notes.push(text.to_owned());
        }
    }

    /// The value of a figure in the round that runs, for ratios.
    pub(crate) fn last(&self, what: &str, who: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.what == what && row.who == who)?.values.last().copied()
    }

    /// Keeps it for rendering.
    pub(crate) fn save(&self) -> Fallible<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        let file = file(&self.name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(file, text)?)
    }

    /// What was measured last; `None` when it never was.
    pub(crate) fn load(name: &str) -> Fallible<Option<Self>> {
        match fs::read_to_string(file(name)) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Row {
    /// States what was set out for.
    pub(crate) fn goal(&mut self, goal: Goal) {
        self.goal = Some(goal);
    }

    /// Least, median (the lower of two in the middle) and greatest.
    pub(crate) fn spread(&self) -> Option<[f64; 3]> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        Some([*sorted.first()?, sorted[(sorted.len() - 1) / 2], *sorted.last()?])
    }
}

impl Goal {
    /// Whether a median meets it.
    pub(crate) fn is_met(self, median: f64) -> bool {
        match self {
            Self::AtMost(bound) => median <= bound,
            Self::AtLeast(bound) => median >= bound,
        }
    }
}

/// The value of a sample at a share of it by nearest rank, in microseconds.
pub(crate) fn percentile(values: &mut [Micros], percent: usize) -> Option<f64> {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).max(1) - 1;
    values.get(rank).map(|value| value.as_ms() * 1_000.0)
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")).join(name).with_extension("json")
}
