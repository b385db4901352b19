//! `greenroom agent doctor`: one line a finding, and what to do about it.

use std::fs;

use clap::Args;

use super::super::exit::{CliError, Exit};
use super::super::{block_on, output};
use super::StateArgs;
use crate::agent::Place;
use crate::agent::doctor::{Finding, look};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &DoctorArgs) -> Result<Exit, CliError> {
    let folder = args.state.folder()?;
    let mut findings = Vec::new();
    match fs::metadata(&folder) {
        Ok(found) if found.is_dir() => findings.extend(block_on(look(&Place::at(&folder)))?),
        Ok(_) => findings.push(Finding::bad(format!("{} is no folder", folder.display()))),
        Err(error) => findings.push(Finding::bad(format!(
            "{}: {error}. Enroll this computer: greenroom agent enroll --server URL --token-file FILE",
            folder.display()
        ))),
    }
    let text: String = findings.iter().map(|found| format!("{} {}\n", found.mark(), found.words)).collect();
    output::to_stdout(&text)?;
    Ok(if findings.iter().any(Finding::is_bad) { Exit::Degraded } else { Exit::Ready })
}
