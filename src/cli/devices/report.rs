//! The report of a test of devices, from what was found to what is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use greenroom_reports::schema::{
    DeviceFailure, DeviceInfo, DeviceKind, Devices, Listed, Listing, Microphone, Speaker, Value,
};
use greenroom_reports::verdict;

use crate::check::devices::{Found, report_of, this_system};
use crate::cli::args::{Global, OutputArgs};
use crate::cli::block_on;
use crate::cli::exit::{CliError, Exit};
use crate::devices::DeviceError;
use crate::devices::audio::choose::choose;
use crate::devices::audio::{AudioDevice, AudioSystem, Role};
use crate::net::clock::Clock;

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

/// Finds the device of `role` that is meant, among all that there are.
///
/// # Errors
///
/// What the report says instead: why nothing could be looked for, or that it is not there.
pub(super) fn find(
    system: &dyn AudioSystem,
    role: Role,
    wanted: Option<&str>,
) -> Result<(Vec<AudioDevice>, AudioDevice), Box<Devices>> {
    let listed = system
        .devices()
        .map_err(|error| Box::new(Devices { sound: Listing::failed(error.failure()), ..unlooked() }))?;
    match choose(&listed, role, wanted) {
        Ok(device) => Ok((listed.clone(), device.clone())),
        Err(error) => Err(Box::new(missing(&listed, role, wanted, &error))),
    }
}

/// A section for sound devices that were looked for and found, none of them tested yet.
pub(super) fn found(listed: &[AudioDevice]) -> Devices {
    let backend = listed.first().map_or_else(|| "none".to_owned(), AudioDevice::backend);
    let state = Value::Measured(Listed { backend, left_out: 0 });
    Devices { sound: Listing { state, failure: None }, ..unlooked() }
}

fn missing(listed: &[AudioDevice], role: Role, wanted: Option<&str>, error: &DeviceError) -> Devices {
    let wanted = wanted.map(str::to_owned);
    let failure = DeviceFailure::NotFound { wanted: wanted.clone() };
    let Some(name) = wanted else { return found(listed) };
    let connection = Value::not_tested(error.to_string());
    let device = DeviceInfo { id: None, name: Some(name), default: false, connection };
    match role {
        Role::Microphone => {
            Devices { microphones: vec![Microphone::failed(device, failure)], ..found(listed) }
        }
        Role::Speaker => Devices { speakers: vec![Speaker::failed(device, failure)], ..found(listed) },
    }
}

fn unlooked() -> Devices {
    Devices { system: this_system(), ..Devices::not_tested("not asked for") }
}
