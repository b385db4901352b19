//! `greenroom report`: show, validate, compare, merge.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use greenroom_reports::assess::{self, Agreement, RecomputeError};
use greenroom_reports::compare;
use greenroom_reports::merge::{self, MergeError, Merged};
use greenroom_reports::render::comparison;
use greenroom_reports::schema::{self, Report, State};
use greenroom_reports::verdict::words;

use super::args::{Global, ReportCommand};
use super::exit::{CliError, Exit};
use super::history::state_name as name;
use super::output;
use crate::bundle;

pub(super) fn run(command: &ReportCommand, global: &Global) -> Result<Exit, CliError> {
    match command {
        ReportCommand::Show { file, output } => {
            output.check_writable()?;
            output.write(&read(file)?, "", global)?;
            Ok(Exit::Ready)
        }
        ReportCommand::Validate { files } => validate(files),
        ReportCommand::Compare { before, after, json } => {
            let comparison = compare::compare(&read(before)?, &read(after)?);
            let text = if *json {
                let json = serde_json::to_string_pretty(&comparison);
                json.map_err(|error| CliError::Internal(error.to_string()))? + "\n"
            } else {
                comparison::render(&comparison)
            };
            output::to_stdout(&text)?;
            Ok(Exit::Ready)
        }
        ReportCommand::Merge { files } => {
            let reports: Vec<Report> = files.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
            let merged = merge::merge(&reports).map_err(|error| {
                let MergeError::Sketch { report: id, .. } = &error;
                let damaged = files.iter().zip(&reports).find(|(_, report)| report.id.to_string() == *id);
                CliError::input(damaged.map_or(Path::new("a report"), |(file, _)| file), &error)
            })?;
            output::to_stdout(&merged_text(&merged))?;
            Ok(Exit::Ready)
        }
    }
}

fn merged_text(merged: &Merged) -> String {
    let states = |states: &[(State, u64)]| {
        states.iter().map(|(state, n)| format!("{n} {}", name(*state))).collect::<Vec<_>>().join(", ")
    };
    let reports = |n: u64| if n == 1 { "1 report".to_owned() } else { format!("{n} reports") };
    let mut text = format!("{}: {}\n", reports(merged.reports), states(&merged.overall));
    for (use_, found) in &merged.uses {
        text += &format!("{}: {}\n", use_.short(), states(found));
    }
    for (way, counts) in [("up", &merged.up), ("down", &merged.down)] {
        text += &format!("audio {way}: {} of {} packets lost\n", counts.lost, counts.sent);
    }
    for (name, found) in &merged.distributions {
        text += &format!(
            "{}: p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, n {}\n",
            distribution_name(name),
            found.p50_ms,
            found.p95_ms,
            found.p99_ms,
            found.n
        );
    }
    for (code, n) in &merged.causes {
        text += &format!("in {}: {}\n", reports(*n), words::general(code));
    }
    text
}

/// A merged distribution in words; one of a later version by its own name.
fn distribution_name(name: &str) -> &str {
    match name {
        "rtt" => "round trip",
        "pdv_up" => "delay variation up",
        "pdv_down" => "delay variation down",
        other => other,
    }
}

/// Greatest report that is read: far above what any run writes, far below what would hurt.
const MAX_REPORT_BYTES: u64 = 64 << 20;

/// Reads a report, or the one in a support file.
pub(super) fn read(path: &Path) -> Result<Report, CliError> {
    let text = read_text(path)?;
    schema::read(&text).map_err(|error| CliError::input(path, &error))
}

/// Says of each file whether it is a report and whether its figures follow from its samples.
///
/// All files are looked at, whatever is wrong with the first. A report without samples is valid as far as it can be told.
fn validate(files: &[PathBuf]) -> Result<Exit, CliError> {
    let mut text = String::new();
    let mut sound = true;
    for file in files {
        let (verdict, good) = match read(file) {
            Err(CliError::Input { problem, .. }) => (format!("not valid: {problem}"), false),
            Err(other) => return Err(other),
            Ok(report) => agreement(&report),
        };
        sound &= good;
        text += &format!("{}: {verdict}\n", file.display());
    }
    output::to_stdout(&text)?;
    Ok(if sound { Exit::Ready } else { Exit::NoInput })
}

fn agreement(report: &Report) -> (String, bool) {
    match assess::recompute(report) {
        Ok(Agreement::Agrees) => ("valid, and its figures follow from its samples".to_owned(), true),
        Ok(Agreement::Differs(paths)) => {
            (format!("not valid: its samples give other figures for {}", paths.join(", ")), false)
        }
        Err(RecomputeError::NoTrace | RecomputeError::NoTarget | RecomputeError::Targets { .. }) => {
            ("valid; it has no samples to compute its figures again from".to_owned(), true)
        }
        Err(error) => (format!("not valid: {error}"), false),
    }
}

fn read_text(path: &Path) -> Result<String, CliError> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let limit = MAX_REPORT_BYTES + 1;
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| CliError::input(path, &error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_REPORT_BYTES {
        return Err(CliError::input(path, &"it is larger than 64 MiB, which no report is"));
    }
    if bundle::is_archive(&bytes) {
        return bundle::report_json(&bytes).map_err(|error| CliError::input(path, &error));
    }
    String::from_utf8(bytes).map_err(|_| CliError::input(path, &"it is no text (UTF-8), so no report"))
}
