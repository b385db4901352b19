//! Calls into drivers and sound servers that may never return.

use std::sync::mpsc;
use std::thread;

use greenroom_reports::units::Micros;

use crate::devices::error::{DeviceError, Fault};

/// How long looking for devices may take: it comes after a stall of 3 s, and both together stay below 5 s.
pub(super) const LISTING: Micros = Micros::from_millis(1_500);
/// How long opening one may take. Bluetooth takes two seconds.
pub(super) const OPENING: Micros = Micros::from_secs(3);

/// Runs `work` on a thread of its own and waits up to `wait` for it.
///
/// A call that hangs keeps its thread until the program ends; its late result is dropped there.
///
/// # Errors
///
/// [`Fault::Stalled`] for `device` after `wait`.
pub(super) fn bounded<T: Send + 'static>(
    device: &str,
    wait: Micros,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DeviceError> {
    let (done, result) = mpsc::channel();
    let started = thread::Builder::new().name("device call".to_owned()).spawn(move || {
        quietly();
        // Nobody waits any more when this fails.
        let _ = done.send(work());
    });
    if let Err(error) = started {
        return Err(DeviceError::new(Fault::Unknown, device).with_detail(error));
    }
    result.recv_timeout(wait.to_duration()).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => DeviceError::new(Fault::Stalled { after: wait }, device),
        mpsc::RecvTimeoutError::Disconnected => {
            DeviceError::new(Fault::Unknown, device).with_detail("the driver's library crashed")
        }
    })
}

/// Keeps what ALSA's library has to say on this thread off the terminal: errors come back as results anyway.
pub(super) fn quietly() {
    #[cfg(target_os = "linux")]
    if let Err(error) = alsa::Output::local_error_handler() {
        tracing::debug!("ALSA's messages cannot be held back: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_a_stall_and_a_crash_is_told() {
        let (_keep, never) = mpsc::channel::<()>();
        let wait = Micros::from_millis(20);
        let stalled = bounded("the microphone", wait, move || never.recv().is_ok());
        assert_eq!(stalled, Err(DeviceError::new(Fault::Stalled { after: wait }, "the microphone")));
        assert_eq!(bounded("the microphone", OPENING, || 5), Ok(5));
        let crashed = bounded("the microphone", OPENING, || panic!("a driver's bug"));
        let crashed: Result<(), _> = crashed;
        assert!(crashed.is_err_and(|error| error.fault == Fault::Unknown));
    }
}
