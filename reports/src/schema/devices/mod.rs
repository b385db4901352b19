//! Microphones, speakers, cameras and the acoustic loop: what each was opened as, what its signal says, why it failed.
//!
//! # Shape
//!
//! Each device is a [`DeviceInfo`] (which one), a `state` (opened as what, or the reason why not), a typed
//! [`DeviceFailure`] beside it when it failed before or during the test, and its figures, each a [`Value`]. What a
//! microphone's samples say is a [`SoundFigures`], filled by [`crate::signals::sound`]; what a camera's frames say is a
//! [`PictureFigures`] and a [`FrameFigures`], filled by [`crate::signals::picture`].
//!
//! The lists hold the devices that were *found*; how the looking went stands in [`Devices::sound`] and
//! [`Devices::pictures`]: an empty list with `state: measured` is a computer without that device, one with `not_tested`
//! was never looked at. A device that was found and not tried has `state: not_tested(reason)`.
//!
//! Levels are dB relative to full scale (a full-scale square wave has rms 0 dBFS, a full-scale sine −3.01 dBFS) and
//! never below −150, which stands for digital silence: JSON has no infinity.

/// A section of figures that are measured together, and the way to say of all of them why they were not.
macro_rules! figures {
    ($(#[$about:meta])* pub struct $name:ident { $($(#[$what:meta])* pub $figure:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$what])* pub $figure: $kind,)* }

        impl $name {
            /// Nothing was measured, for `reason`.
            pub fn not_tested(reason: &str) -> Self {
                Self { $($figure: Value::not_tested(reason),)* }
            }
        }
    };
}

mod camera;
mod failure;
mod sound;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use camera::*;
pub use failure::*;
pub use sound::*;

use super::{Exact, Value};

/// Microphones, speakers, cameras.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// The family of operating systems, which decides what advice helps.
    pub system: System,
    /// How looking for microphones and speakers went.
    pub sound: Listing,
    /// How looking for cameras went.
    pub pictures: Listing,
    /// The microphones found.
    pub microphones: Vec<Microphone>,
    /// The speakers found.
    pub speakers: Vec<Speaker>,
    /// The cameras found.
    pub cameras: Vec<Camera>,
    /// A speaker heard by a microphone.
    pub acoustic_loop: AcousticLoop,
}

impl Devices {
    /// No device was looked for, for `reason`.
    pub fn not_tested(reason: &str) -> Self {
        Self {
            system: System::Other,
            sound: Listing::not_tested(reason),
            pictures: Listing::not_tested(reason),
            microphones: Vec::new(),
            speakers: Vec::new(),
            cameras: Vec::new(),
            acoustic_loop: AcousticLoop::not_tested(reason),
        }
    }

    /// Takes out what names a person's devices: names and ids, of the devices and of whoever keeps them busy.
    pub fn redact(&mut self) {
        let infos = (self.microphones.iter_mut().map(|d| (&mut d.device, &mut d.failure)))
            .chain(self.speakers.iter_mut().map(|d| (&mut d.device, &mut d.failure)))
            .chain(self.cameras.iter_mut().map(|d| (&mut d.device, &mut d.failure)));
        for (info, failure) in infos {
            info.id = None;
            info.name = None;
            if let Some(failure) = failure {
                failure.redact();
            }
        }
        let listings = [&mut self.sound.failure, &mut self.pictures.failure, &mut self.acoustic_loop.failure];
        for failure in listings.into_iter().flatten() {
            failure.redact();
        }
    }
}

impl Default for Devices {
    fn default() -> Self {
        Self::not_tested("devices were not asked for")
    }
}

/// A family of operating systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// Linux.
    Linux,
    /// macOS.
    Macos,
    /// Windows.
    Windows,
    /// Another one, or not told.
    Other,
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// What hears.
    Microphone,
    /// What sounds.
    Speaker,
    /// What sees.
    Camera,
}

impl DeviceKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Microphone, Self::Speaker, Self::Camera];

    /// Its name in JSON and in sentences: `microphone`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Microphone => "microphone",
            Self::Speaker => "speaker",
            Self::Camera => "camera",
        }
    }
}

/// How looking for devices went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// By which system they were found, or why they could not be looked for.
    pub state: Value<Listed>,
    /// Why they could not be looked for.
    pub failure: Option<DeviceFailure>,
}

impl Listing {
    /// Nobody looked, for `reason`.
    pub fn not_tested(reason: &str) -> Self {
        Self { state: Value::not_tested(reason), failure: None }
    }

    /// Looking failed.
    pub fn failed(failure: DeviceFailure) -> Self {
        Self { state: Value::failed(failure.reason()), failure: Some(failure) }
    }
}

/// By which system devices were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// `pulseaudio`, `alsa`, `coreaudio`, `wasapi`, `v4l2`, `nokhwa`, …
    pub backend: String,
    /// Entries of the system's own lists that are no devices of their own: duplicates, stand-ins, nodes that are no cameras.
    pub left_out: u64,
}

/// Which device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceInfo {
    /// Its stable id, as the command line takes it: `alsa:hw:CARD=Headset,DEV=0`, `/dev/video0`. `None` when redacted.
    pub id: Option<String>,
    /// Its name as the system shows it. `None` when redacted.
    pub name: Option<String>,
    /// Whether it is the one that the system uses when nobody chooses.
    pub default: bool,
    /// How it is connected.
    pub connection: Value<Exact<Connection>>,
}

impl DeviceInfo {
    /// Its name, or its kind where that was taken out.
    pub fn shown(&self, kind: DeviceKind) -> &str {
        self.name.as_deref().unwrap_or(kind.name())
    }
}

/// How a device is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// Part of the computer.
    BuiltIn,
    /// By USB.
    Usb,
    /// By Bluetooth.
    Bluetooth,
    /// By a display cable.
    Display,
    /// Made of software.
    Virtual,
    /// Over the network.
    Network,
}
