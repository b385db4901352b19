//! `greenroom devices` without a subcommand: all of them, as a check tests them, and the computer.

use clap::Args;
use greenroom_reports::schema::{Devices, EncodeHeadroom};
use tokio_util::sync::CancellationToken;

use super::report::until_interrupted;
use crate::check::devices::{Beside, Found};
use crate::cli::args::{Global, OutputArgs};
use crate::cli::check::{announce_devices, every_device};
use crate::cli::exit::{CliError, Exit};
use crate::devices::host::encode::{self, Limit};
use crate::devices::host::{self, Watch};

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
    let test_all = move || {
        let watch = Watch::start(host::here());
        let (devices, times) = test(&devices, encodes, &stop);
        let mut seen = watch.end();
        seen.machine.encode = times;
        Ok(Found { devices, machine: Some(seen) })
    };
    let stop_it = move || {
        let already = stopping.is_cancelled();
        stopping.cancel();
        already
    };
    until_interrupted(&[], &args.output, global, test_all, stop_it)
}

/// Tests the devices, and how fast the computer encodes: beside them, or after them where a single core would be missing to them.
fn test(devices: &Beside, encodes: bool, stop: &CancellationToken) -> (Devices, Vec<EncodeHeadroom>) {
    let encode = || encode::headroom(&Limit::new(encode::LONGEST, stop.clone()));
    if !encodes {
        (devices.test(stop), Vec::new())
    } else if encode::can_run_beside() {
        std::thread::scope(|scope| {
            let encoding = scope.spawn(encode);
            let tested = devices.test(stop);
            // Without it the report says nothing about encoding, and all about the devices.
            (tested, encoding.join().unwrap_or_default())
        })
    } else {
        (devices.test(stop), encode())
    }
}
