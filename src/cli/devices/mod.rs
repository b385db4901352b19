//! `greenroom devices`: one file per subcommand.

#[cfg(feature = "audio")]
mod acoustic;
mod all;
mod camera;
mod host;
#[cfg(feature = "audio")]
mod list;
#[cfg(feature = "audio")]
mod meter;
#[cfg(feature = "audio")]
mod mic;
mod report;
#[cfg(feature = "audio")]
mod speaker;
#[cfg(feature = "audio")]
mod watch;

use clap::{Args, Subcommand};

use super::args::Global;
use super::exit::{CliError, Exit};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DevicesArgs {
    #[command(subcommand)]
    command: Option<DevicesCommand>,

    #[command(flatten)]
    all: all::AllArgs,
}

#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// Show what there is, without touching it
    #[cfg(feature = "audio")]
    List(list::ListArgs),
    /// Test a microphone: speak, and see whether you are heard
    #[cfg(feature = "audio")]
    Mic(mic::MicArgs),
    /// Test a speaker: a sound on each channel
    #[cfg(feature = "audio")]
    Speaker(speaker::SpeakerArgs),
    /// Test speaker and microphone together: does the one hear the other?
    #[cfg(feature = "audio")]
    Loop(acoustic::LoopArgs),
    /// Test a camera
    Camera(camera::CameraArgs),
    /// Test this computer: processors, memory, power, how fast it encodes
    Host(host::HostArgs),
    /// Tell when something is plugged in or out, until Ctrl-C
    #[cfg(feature = "audio")]
    Watch(watch::WatchArgs),
}

pub(super) fn run(args: &DevicesArgs, global: &Global) -> Result<Exit, CliError> {
    match &args.command {
        #[cfg(feature = "audio")]
        Some(DevicesCommand::List(args)) => list::run(args, global),
        #[cfg(feature = "audio")]
        Some(DevicesCommand::Mic(args)) => mic::run(args, global),
        #[cfg(feature = "audio")]
        Some(DevicesCommand::Speaker(args)) => speaker::run(args, global),
        #[cfg(feature = "audio")]
        Some(DevicesCommand::Loop(args)) => acoustic::run(args, global),
        Some(DevicesCommand::Camera(args)) => camera::run(args, global),
        Some(DevicesCommand::Host(args)) => host::run(args, global),
        #[cfg(feature = "audio")]
        Some(DevicesCommand::Watch(args)) => watch::run(args, global),
        None => all::run(&args.all, global),
    }
}
