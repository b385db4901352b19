//! `greenroom report`: show, validate, compare, merge.

use std::fs;
use std::io;
use std::path::Path;

use greenroom_reports::schema::{self, Report};

use super::args::{Global, ReportCommand};
use super::exit::{CliError, Exit};

pub(super) fn run(command: &ReportCommand, global: &Global) -> Result<Exit, CliError> {
    match command {
        ReportCommand::Show { file, output } => {
            output.check_writable()?;
            output.write(&read(file)?, "", global)?;
            Ok(Exit::Ready)
        }
        ReportCommand::Validate { .. } | ReportCommand::Compare { .. } | ReportCommand::Merge { .. } => {
            Err(CliError::Internal("not built yet".into()))
        }
    }
}

/// Greatest report that is read: far above what any run writes, far below what would hurt.
const MAX_REPORT_BYTES: u64 = 64 << 20;

fn read(path: &Path) -> Result<Report, CliError> {
    let text = read_text(path)?;
    let report: Report = serde_json::from_str(&text).map_err(|error| CliError::input(path, &error))?;
    if report.schema != schema::SCHEMA {
        let problem = format!("it is a `{}`; this version reads `{}`", report.schema, schema::SCHEMA);
        return Err(CliError::input(path, &problem));
    }
    Ok(report)
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
