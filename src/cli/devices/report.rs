//! The report of a test of devices, from what was found to what is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use greenroom_reports::schema::{DeviceKind, Devices};
use greenroom_reports::verdict;

use crate::check::devices::{Found, report_of, this_system};
use crate::cli::args::{Global, OutputArgs};
use crate::cli::block_on;
use crate::cli::exit::{CliError, Exit};
use crate::net::clock::Clock;

#[cfg(feature = "audio")]
mod sound;
#[cfg(feature = "audio")]
pub(super) use sound::{find, found};

/// Runs `test` on a thread of its own and writes the report of what it found. Ctrl-C ends it early, with what was found until then.
///
/// `test` is given a flag that is set when it should stop.
pub(super) fn run_and_report(
    asked: &[DeviceKind],
    output: &OutputArgs,
    global: &Global,
    test: impl FnOnce(Arc<AtomicBool>) -> Result<Devices, CliError> + Send + 'static,
) -> Result<Exit, CliError> {
    output.check_writable()?;
    let clock = Clock::start();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let devices = block_on(async {
        let mut running = tokio::task::spawn_blocking(move || test(flag));
        loop {
            tokio::select! {
                tested = &mut running => break tested,
                pressed = tokio::signal::ctrl_c() => {
                    // The second one ends the program at once.
                    if stop.swap(true, Ordering::Relaxed) || pressed.is_err() {
                        std::process::exit(i32::from(Exit::Interrupted as u8));
                    }
                }
            }
        }
        .map_err(|error| CliError::Internal(error.to_string()))
    })???;
    let interrupted = stop.load(Ordering::Relaxed);
    let report = report_of(clock, Found { devices, machine: None }, asked, !interrupted);
    output.write(&report, "", global)?;
    Ok(match verdict::exit_code(report.verdict.overall) {
        _ if interrupted => Exit::Interrupted,
        0 => Exit::Ready,
        1 => Exit::Degraded,
        2 => Exit::Blocked,
        _ => Exit::Inconclusive,
    })
}

/// A section in which nothing was looked for yet.
pub(super) fn unlooked() -> Devices {
    Devices { system: this_system(), ..Devices::not_tested("not asked for") }
}
