//! `greenroom agent install`.

use std::env;
use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::super::exit::{CliError, Exit};
use super::super::output;
use crate::agent::service::{STATE, UNIT, unit};

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// Print the unit and write nothing
    #[arg(long)]
    print: bool,

    /// Where units are
    #[arg(long, value_name = "DIR", default_value = "/etc/systemd/system", value_hint = ValueHint::DirPath)]
    unit_dir: PathBuf,
}

pub(super) fn run(args: &InstallArgs) -> Result<Exit, CliError> {
    let program = env::current_exe()
        .map_err(|error| CliError::Internal(format!("this program does not know where it is: {error}")))?;
    let program =
        program.to_str().filter(|path| !path.contains([' ', '"', '\\', '%', '$'])).ok_or_else(|| {
            CliError::Usage(format!(
                "move this program to a path that a unit can name, such as /usr/local/bin/greenroom: {}",
                program.display()
            ))
        })?;
    let text = unit(program);
    if args.print {
        output::to_stdout(&text)?;
        return Ok(Exit::Ready);
    }
    let path = args.unit_dir.join(UNIT);
    fs::write(&path, text).map_err(|error| CliError::output(&path, error))?;
    output::to_stdout(&format!(
        "Wrote {}. Next:\n  greenroom agent enroll --server URL --token-file FILE --state {STATE}\n  systemctl daemon-reload\n  systemctl enable --now {UNIT}\n",
        path.display()
    ))?;
    Ok(Exit::Ready)
}
