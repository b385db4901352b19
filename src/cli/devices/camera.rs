//! `greenroom devices camera`.

use clap::Args;

use crate::cli::args::Global;
use crate::cli::exit::{CliError, Exit};

#[derive(Debug, Args)]
pub(crate) struct CameraArgs {}

pub(super) fn run(_args: &CameraArgs, _global: &Global) -> Result<Exit, CliError> {
    Err(CliError::Unavailable("not in this build".to_owned()))
}
