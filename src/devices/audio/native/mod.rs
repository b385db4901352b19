//! This machine's sound devices, through `cpal`: PulseAudio (which PipeWire speaks too) or ALSA on Linux, CoreAudio, WASAPI.
//!
//! What `cpal` and the systems below it do not tell, or get wrong, is mended here: devices that exist on paper only, one
//! device listed five times, missing permission that looks like "no device", calls that never return, and errors by the
//! thousand.

#[cfg(target_os = "linux")]
mod alsa_files;
mod bounded;
mod convert;
mod fault;
mod list;
#[cfg(target_os = "linux")]
mod pulse;
mod stream;

#[cfg(target_os = "linux")]
use std::sync::Arc;

use greenroom_reports::units::Micros;

use super::{AudioDevice, AudioInput, AudioOutput, AudioSystem, Inventory, Role, Want};
use crate::devices::clock::Clock;
use crate::devices::error::{DeviceError, Fault};

/// The sound devices of this machine. Copies share their connection to the sound server.
#[derive(Debug, Clone)]
pub struct NativeAudio {
    clock: Clock,
    hosts: stream::Hosts,
    #[cfg(target_os = "linux")]
    pulse: Arc<pulse::Server>,
}

impl NativeAudio {
    /// Stamps blocks on `clock`. Connects to nothing yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            hosts: stream::Hosts::default(),
            #[cfg(target_os = "linux")]
            pulse: Arc::default(),
        }
    }

    /// Says what became of a device that has gone quiet for `after`: gone, its server gone, suspended, or stalled.
    fn diagnose(&self, device: &AudioDevice, after: Micros) -> DeviceError {
        match self.devices() {
            Err(error) => error,
            Ok(devices) => {
                let is_it = |other: &&AudioDevice| other.id == device.id && other.role == device.role;
                match devices.iter().find(is_it) {
                    Some(now) => now.went_quiet(after),
                    None => DeviceError::new(Fault::Disconnected, device.title()),
                }
            }
        }
    }
}

impl AudioSystem for NativeAudio {
    fn inventory(&self) -> Result<Inventory, DeviceError> {
        let mut found = list::devices(self)?;
        let last =
            |device: &AudioDevice| (device.role == Role::Speaker, device.is_monitor, !device.is_default);
        found.devices.sort_by_key(last);
        Ok(found)
    }

    fn open_input(&self, device: &AudioDevice, want: Want) -> Result<Box<dyn AudioInput>, DeviceError> {
        Ok(Box::new(stream::Capture::open(self, device, want)?))
    }

    fn open_output(&self, device: &AudioDevice, want: Want) -> Result<Box<dyn AudioOutput>, DeviceError> {
        Ok(Box::new(stream::Playback::open(self, device, want)?))
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }
}
