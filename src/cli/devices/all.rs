//! `greenroom devices` without a subcommand: all of them, as a check tests them, and the computer.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::report::until_interrupted;
use crate::check::devices::Found;
use crate::cli::args::{Global, OutputArgs};
use crate::cli::check::{announce_devices, every_device};
use crate::cli::exit::{CliError, Exit};
use crate::devices::Clock;
use crate::devices::host::{self, Watch, encode};

#[derive(Debug, Args)]
pub(crate) struct AllArgs {
    /// Leave out how fast the computer encodes, which keeps one core busy for about a second
    #[arg(long)]
    no_encode: bool,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &AllArgs, global: &Global) -> Result<Exit, CliError> {
    args.output.check_writable()?;
    let devices = every_device();
    announce_devices(&devices, global);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let encodes = !args.no_encode;
    let test = move || {
        let watch = Watch::start(host::here());
        let devices = devices.test(&stop);
        let mut seen = watch.end();
        // Afterwards: a busy core would be the devices' fault otherwise.
        if encodes && !stop.is_cancelled() {
            seen.machine.encode = encode::headroom(Clock::start());
        }
        Ok(Found { devices, machine: Some(seen) })
    };
    let stop_it = move || {
        let already = stopping.is_cancelled();
        stopping.cancel();
        already
    };
    until_interrupted(&[], &args.output, global, test, stop_it)
}
