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
/// `by_name` are the kinds of devices that somebody named. `test` is given a flag that is set when it should stop.
pub(super) fn run_and_report(
    by_name: &[DeviceKind],
    output: &OutputArgs,
    global: &Global,
    test: impl FnOnce(Arc<AtomicBool>) -> Result<Devices, CliError> + Send + 'static,
) -> Result<Exit, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let test = {
        let stop = Arc::clone(&stop);
        move || Ok(Found { devices: test(stop)?, machine: None })
    };
    until_interrupted(by_name, output, global, test, move || stopping.swap(true, Ordering::Relaxed))
}

/// As [`run_and_report`], for a test of the computer too. `stop` ends the test and says whether it had been told to before.
pub(super) fn until_interrupted(
    by_name: &[DeviceKind],
    output: &OutputArgs,
    global: &Global,
    test: impl FnOnce() -> Result<Found, CliError> + Send + 'static,
    stop: impl Fn() -> bool,
) -> Result<Exit, CliError> {
    output.check_writable()?;
    let clock = Clock::start();
    let mut interrupted = false;
    let found = block_on(async {
        let mut running = tokio::task::spawn_blocking(test);
        loop {
            tokio::select! {
                tested = &mut running => break tested,
                pressed = tokio::signal::ctrl_c() => {
                    interrupted = true;
                    // The second one ends the program at once.
                    if stop() || pressed.is_err() {
                        std::process::exit(i32::from(Exit::Interrupted as u8));
                    }
                }
            }
        }
        .map_err(|error| CliError::Internal(error.to_string()))
    })???;
    let report = report_of(clock, found, by_name, !interrupted);
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
