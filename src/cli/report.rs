//! `greenroom report`: show, validate, compare, merge.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use greenroom_reports::assess::{self, Agreement, RecomputeError};
use greenroom_reports::schema::{self, Report};

use super::args::{Global, ReportCommand};
use super::exit::{CliError, Exit};
use super::output;

pub(super) fn run(command: &ReportCommand, global: &Global) -> Result<Exit, CliError> {
    match command {
        ReportCommand::Show { file, output } => {
            output.check_writable()?;
            output.write(&read(file)?, "", global)?;
            Ok(Exit::Ready)
        }
        ReportCommand::Validate { files } => validate(files),
        ReportCommand::Compare { .. } | ReportCommand::Merge { .. } => {
            Err(CliError::Internal("this version cannot compare or merge reports yet".to_owned()))
        }
    }
}

/// Greatest report that is read: far above what any run writes, far below what would hurt.
const MAX_REPORT_BYTES: u64 = 64 << 20;

fn read(path: &Path) -> Result<Report, CliError> {
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
        Err(RecomputeError::NoTrace | RecomputeError::Targets(_)) => {
            ("valid; it has no samples to compute its figures again from".to_owned(), true)
        }
        Err(error) => (format!("not valid: {error}"), false),
    }
}

fn read_text(path: &Path) -> Result<String, CliError> {
    use io::Read as _;
    let mut text = String::new();
    let limit = MAX_REPORT_BYTES + 1;
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| CliError::input(path, &error))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_REPORT_BYTES {
        return Err(CliError::input(path, &"it is larger than 64 MiB, which no report is"));
    }
    Ok(text)
}
