//! Microphones and speakers.
//!
//! Sound is 32-bit float, interleaved by channel, full scale ±1. An input is read block by block and every block says when its first
//! sample was captured; an output is handed a whole sound. Both are pulled by the test that uses them, so that fakes run the
//! same tests in virtual time.

use std::fmt;
use std::sync::Arc;

use greenroom_reports::schema::{Connection, DeviceKind};
use greenroom_reports::units::Micros;
use serde::Serialize;

use super::error::{DeviceError, Fault};

pub mod acoustic;
pub mod changes;
pub mod choose;
pub mod fake;
pub mod listen;
pub mod microphone;
#[cfg(feature = "audio")]
pub mod native;
pub mod speaker;
#[cfg(feature = "audio")]
pub mod wav;

/// The block that tests ask for: 40 ms. Shorter ones drop out on a loaded machine, longer ones only cost time.
pub const BLOCK: Micros = Micros::from_millis(40);

/// Where sound devices are found and opened: this machine's sound server or kernel, or a fake.
pub trait AudioSystem: Send + Sync {
    /// Lists the devices there are: one entry per device and role, none that exists on paper only. Devices that are the
    /// default come first.
    ///
    /// # Errors
    ///
    /// The sound server is down, or this user may not look. No device at all is an empty list.
    fn inventory(&self) -> Result<Inventory, DeviceError>;

    /// The devices of [`AudioSystem::inventory`].
    ///
    /// # Errors
    ///
    /// As there.
    fn devices(&self) -> Result<Vec<AudioDevice>, DeviceError> {
        Ok(self.inventory()?.devices)
    }

    /// Opens a microphone and starts capturing.
    ///
    /// # Errors
    ///
    /// Whatever kept it from being opened, within [`LONGEST_WAIT`](super::LONGEST_WAIT).
    fn open_input(&self, device: &AudioDevice, want: Want) -> Result<Box<dyn AudioInput>, DeviceError>;

    /// Opens a speaker. It stays silent until [`AudioOutput::play`].
    ///
    /// # Errors
    ///
    /// Whatever kept it from being opened, within [`LONGEST_WAIT`](super::LONGEST_WAIT).
    fn open_output(&self, device: &AudioDevice, want: Want) -> Result<Box<dyn AudioOutput>, DeviceError>;

    /// The time on the clock that blocks are stamped with.
    fn now(&self) -> Micros;
}

/// The sound devices there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// Each once per role, the default ones first.
    pub devices: Vec<AudioDevice>,
    /// Entries of the system's own lists that are not among them: what it shows in place of a sound card, and cards that are there
    /// as devices of the sound server already.
    pub left_out: u64,
}

impl Inventory {
    /// Whom they were found by.
    pub fn backend(&self) -> String {
        self.devices.first().map_or_else(|| "none".to_owned(), AudioDevice::backend)
    }
}

/// A microphone that is open and captures.
pub trait AudioInput: Send {
    /// As what it was opened.
    fn opened(&self) -> Opened;

    /// Waits up to `wait` for the next block.
    ///
    /// # Errors
    ///
    /// [`Fault::Stalled`](super::Fault::Stalled) when nothing came, [`Fault::Disconnected`](super::Fault::Disconnected) and
    /// [`Fault::ServerDown`](super::Fault::ServerDown) when it went away. After an error other than a stall nothing comes any more.
    fn next(&mut self, wait: Micros) -> Result<Block, DeviceError>;

    /// Stops capturing. Never waits for a driver.
    fn stop(&mut self);
}

/// A speaker that is open.
pub trait AudioOutput: Send {
    /// As what it was opened.
    fn opened(&self) -> Opened;

    /// Begins to play `sound` (interleaved in the channels of [`AudioOutput::opened`]); what was playing ends.
    ///
    /// # Errors
    ///
    /// The device went away.
    fn play(&mut self, sound: Arc<[f32]>) -> Result<(), DeviceError>;

    /// Waits until all was played, up to `wait`, and says how far it is.
    ///
    /// # Errors
    ///
    /// The device went away, or has taken nothing for [`LONGEST_WAIT`](super::LONGEST_WAIT).
    fn wait(&mut self, wait: Micros) -> Result<Played, DeviceError>;

    /// Stops playing. Never waits for a driver.
    fn stop(&mut self);
}

/// What a sound device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It captures.
    Microphone,
    /// It plays.
    Speaker,
}

/// A sound device, as listed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AudioDevice {
    /// A name for programs, the same after a restart: `pulseaudio:alsa_input.usb-…`, `alsa:hw:CARD=Headset,DEV=0`.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Whether programs get it unless they ask for another.
    pub is_default: bool,
    /// Whether it is no microphone but hears what a speaker is sent.
    pub is_monitor: bool,
    /// How it is attached. `None`: the system does not tell.
    pub attached: Option<Connection>,
    /// Its own format. `None`: known only when it is open.
    pub format: Option<Format>,
    /// Whether it is muted in the system's mixer. `None`: there is none, or it does not tell.
    pub muted: Option<bool>,
    /// Where its slider stands in the system's mixer, 0..1, beyond 1 it amplifies; the loudest channel. `None`: as for `muted`.
    pub volume_ratio: Option<f64>,
    /// Whether the system has it suspended at this moment. One that nobody uses usually is; one that is in use must not be. `None`:
    /// the system does not tell.
    #[serde(skip)]
    pub suspended: Option<bool>,
}

/// The form of samples on the way to or from a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Format {
    /// Frames a second.
    pub rate_hz: u32,
    /// Samples per frame.
    pub channels: u16,
}

/// As what a device was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The form of samples on this side.
    pub format: Format,
    /// The form of one sample on the device's side: `f32`, `i16`.
    pub form: &'static str,
    /// Frames a block.
    pub block_frames: u32,
}

/// The form of samples that is wanted. What is left open is the device's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Frames a second.
    pub rate_hz: Option<u32>,
    /// Samples per frame.
    pub channels: Option<u16>,
    /// How long a block is. Never the driver's default, which is anything from 5 ms to 2 s.
    pub block: Micros,
}

impl Default for Want {
    fn default() -> Self {
        Self { rate_hz: None, channels: None, block: BLOCK }
    }
}

/// What a microphone captured in one go.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// When it was handed over by the driver.
    pub arrived: Micros,
    /// When its first sample was captured, as the driver has it.
    pub captured: Micros,
    /// The samples, interleaved.
    pub samples: Vec<f32>,
    /// Overruns that the driver reported before this block. 0 proves nothing: sound servers hide them.
    pub overruns: u32,
}

/// How far a sound has been played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Frames handed to the driver.
    pub frames: u64,
    /// When the last of them were. `None`: the driver has not asked for any yet.
    pub at: Option<Micros>,
    /// Frames of the sound.
    pub of: u64,
    /// When its first frame was handed to the driver. `None`: the driver has not asked for it yet.
    pub handed: Option<Micros>,
    /// When that frame was due at the speaker, as the driver has it.
    pub started: Option<Micros>,
    /// Whether all was handed over and had the time to sound.
    pub over: bool,
    /// Underruns that the driver reported.
    pub underruns: u32,
}

impl Role {
    /// The kind of device that has it.
    pub fn kind(self) -> DeviceKind {
        match self {
            Self::Microphone => DeviceKind::Microphone,
            Self::Speaker => DeviceKind::Speaker,
        }
    }

    /// The word for it: "microphone".
    pub fn word(self) -> &'static str {
        self.kind().name()
    }
}

impl AudioDevice {
    /// How errors call it: "the microphone Jabra Evolve2".
    pub fn title(&self) -> String {
        format!("the {} {}", self.role.word(), self.name)
    }

    /// What it means that it is there, open, and has done nothing for `after`: as listed now, it is suspended or has stalled.
    pub fn went_quiet(&self, after: Micros) -> DeviceError {
        let fault = match self.suspended {
            Some(true) => Fault::Suspended { wake: self.wake() },
            _ => Fault::Stalled { after },
        };
        DeviceError::new(fault, self.title())
    }

    /// The command that wakes it, where there is one.
    fn wake(&self) -> Option<String> {
        let name = self.id.strip_prefix("pulseaudio:")?;
        let what = match self.role {
            Role::Microphone => "source",
            Role::Speaker => "sink",
        };
        Some(format!("pactl suspend-{what} {name} 0"))
    }
}

impl Format {
    /// Samples in `time`, all channels together.
    pub fn samples_in(&self, time: Micros) -> usize {
        let frames = time.get().max(0).saturating_mul(i64::from(self.rate_hz)) / 1_000_000;
        usize::try_from(frames).unwrap_or(0).saturating_mul(usize::from(self.channels))
    }

    /// How long `samples` of all channels together last.
    pub fn time_of(&self, samples: usize) -> Micros {
        let frames = samples / usize::from(self.channels.max(1));
        let frames = i64::try_from(frames).unwrap_or(i64::MAX / 1_000_000);
        Micros::new(frames.saturating_mul(1_000_000) / i64::from(self.rate_hz.max(1)))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.channels {
            1 => write!(f, "{} Hz, 1 channel", self.rate_hz),
            channels => write!(f, "{} Hz, {channels} channels", self.rate_hz),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_time_are_two_sides_of_one_format() {
        let stereo = Format { rate_hz: 48_000, channels: 2 };
        assert_eq!(stereo.samples_in(BLOCK), 3_840);
        assert_eq!(stereo.time_of(3_840), BLOCK);
        let wide = Format { rate_hz: 192_000, channels: 32 };
        assert_eq!(wide.samples_in(Micros::from_secs(1)), 6_144_000);
        assert_eq!(
            Format { rate_hz: 0, channels: 0 }.time_of(10),
            Micros::from_secs(10),
            "no division by zero"
        );
        assert_eq!(stereo.samples_in(Micros::from_secs(-1)), 0);
    }
}
