//! `greenroom devices host`.

use clap::Args;

use crate::cli::args::Global;
use crate::cli::exit::{CliError, Exit};

#[derive(Debug, Args)]
pub(crate) struct HostArgs {}

pub(super) fn run(_args: &HostArgs, _global: &Global) -> Result<Exit, CliError> {
    Err(CliError::Unavailable("not in this build".to_owned()))
}
