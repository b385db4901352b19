//! `greenroom devices`: one file per subcommand.

mod camera;
mod host;

use clap::{Args, Subcommand};

use super::args::Global;
use super::exit::{CliError, Exit};

#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    #[command(subcommand)]
    command: Option<DevicesCommand>,
}

#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// Test a camera
    Camera(camera::CameraArgs),
    /// Test this computer: processors, memory, power, how fast it encodes
    Host(host::HostArgs),
}

pub(super) fn run(args: &DevicesArgs, global: &Global) -> Result<Exit, CliError> {
    match &args.command {
        Some(DevicesCommand::Camera(args)) => camera::run(args, global),
        Some(DevicesCommand::Host(args)) => host::run(args, global),
        None => Err(CliError::Unavailable("choose what to test: greenroom devices --help".to_owned())),
    }
}
