//! `greenroom devices camera`.

use clap::Args;

use crate::cli::args::{Global, OutputArgs};
use crate::cli::exit::{CliError, Exit};

#[cfg(all(feature = "camera", debug_assertions))]
mod live;
#[cfg(feature = "camera")]
mod preview;
#[cfg(feature = "camera")]
mod run;
#[cfg(feature = "camera")]
mod terminal;

#[derive(Debug, Args)]
#[cfg_attr(not(feature = "camera"), allow(dead_code, reason = "read only where cameras are built in"))]
pub(crate) struct CameraArgs {
    /// Which camera: its name, its id, its number [default: the first that works]
    #[arg(long, value_name = "ID")]
    pub(super) device: Option<String>,

    /// What to open it at: WIDTHxHEIGHT, @RATE, :FORMAT, such as 640x360@15:MJPG
    #[arg(long, value_name = "MODE", default_value = "1280x720@30")]
    pub(super) mode: String,

    /// How long to watch: 1s to 10m [default: 60 frames, 4 seconds at most]
    #[arg(long, value_name = "TIME", value_parser = crate::cli::values::duration)]
    pub(super) duration: Option<greenroom_reports::units::Micros>,

    /// List the cameras and what they offer, and test none
    #[arg(long, conflicts_with_all = ["preview", "still", "with_still"])]
    pub(super) list: bool,

    /// Show what it sees in the terminal, until Ctrl-C or for --duration
    #[arg(long)]
    pub(super) preview: bool,

    /// Keep the last picture in this file (JPEG)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) still: Option<std::path::PathBuf>,

    /// Put the last picture into the report. Without this, no picture leaves the camera test
    #[arg(long)]
    pub(super) with_still: bool,

    /// How cameras are reached: v4l2 (Linux), nokhwa [default: v4l2 on Linux, nokhwa elsewhere]
    #[arg(long, value_name = "NAME")]
    pub(super) backend: Option<String>,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[cfg(feature = "camera")]
pub(super) fn run(args: &CameraArgs, global: &Global) -> Result<Exit, CliError> {
    run::run(args, global)
}

#[cfg(not(feature = "camera"))]
pub(super) fn run(_args: &CameraArgs, _global: &Global) -> Result<Exit, CliError> {
    Err(CliError::Unavailable("this greenroom was built without cameras (cargo feature `camera`)".to_owned()))
}
