//! Why a device could not be tested, or not to the end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Place, State};

/// Why a device could not be tested, or not to the end. Each reason has its words, per system, in
/// [`crate::verdict::words`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case", deny_unknown_fields)]
pub enum DeviceFailure {
    /// There is no such device, or it went away between being listed and being opened.
    NotFound {
        /// What was looked for. `None`: any device of its kind.
        wanted: Option<String>,
    },
    /// Another program has it.
    Busy {
        /// The program, where the system tells: `zoom (4711)`.
        by: Option<String>,
    },
    /// This program may not use it.
    Permission {
        /// What stands in the way.
        which: Permission,
        /// The group, the setting or the file, where the system tells: `audio`.
        detail: Option<String>,
    },
    /// It was there, and went away during the test.
    Disconnected {
        /// How long after it was opened.
        after_ms: Option<u64>,
    },
    /// It does not offer what was asked for.
    UnsupportedFormat {
        /// What was asked for, and what it offers.
        detail: String,
    },
    /// It was opened, and then nothing came for too long.
    Stalled {
        /// How long nothing came.
        after_ms: u64,
    },
    /// It was opened, and the system has it suspended: it lets no program use it.
    Suspended {
        /// The command that wakes it, where there is one: `pactl suspend-sink headset 0`.
        wake: Option<String>,
    },
    /// The system's sound server does not answer, or died during the test.
    SoundServerDown {
        /// Which one: `PulseAudio`, `PipeWire`, …
        server: String,
    },
    /// It played, and the person did not hear it.
    Unheard,
    /// Something else.
    Unknown {
        /// What the system said.
        detail: String,
    },
}

/// What keeps a program from using a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// The user is not in the group that may (Linux: `audio`, `video`).
    Group,
    /// The desktop portal or sandbox did not grant it (Flatpak, Snap).
    Portal,
    /// The system's privacy setting denies it (macOS, Windows).
    PrivacySetting,
    /// The person, the site or the address does not let a page in a browser use it.
    Browser,
    /// The system said no more than that.
    Unknown,
}

impl DeviceFailure {
    /// The stable code: `not_found`, `busy`, … (in a verdict's cause it follows the device's kind: `camera_busy`).
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Busy { .. } => "busy",
            Self::Permission { which: Permission::Group, .. } => "permission_group",
            Self::Permission { which: Permission::Portal, .. } => "permission_portal",
            Self::Permission { which: Permission::PrivacySetting, .. } => "permission_privacy",
            Self::Permission { which: Permission::Browser, .. } => "permission_browser",
            Self::Permission { which: Permission::Unknown, .. } => "permission",
            Self::Disconnected { .. } => "disconnected",
            Self::UnsupportedFormat { .. } => "unsupported_format",
            Self::Stalled { .. } => "stalled",
            Self::Suspended { .. } => "suspended",
            Self::SoundServerDown { .. } => "sound_server_down",
            Self::Unheard => "unheard",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Why, in a few words: the reason of the values that are missing because of it.
    pub fn reason(&self) -> String {
        let by = |by: &Option<String>| by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        match self {
            Self::NotFound { wanted: Some(wanted) } => format!("there is no device `{wanted}`"),
            Self::NotFound { wanted: None } => "there is none".to_owned(),
            Self::Busy { by: who } => format!("it is in use{}", by(who)),
            Self::Permission { which: Permission::Group, detail: Some(group) } => {
                format!("no permission: this user is not in the group `{group}`")
            }
            Self::Permission { which: Permission::Group, detail: None } => {
                "no permission: this user is not in the group that may".to_owned()
            }
            Self::Permission { which: Permission::Portal, .. } => {
                "no permission: the desktop did not grant it".to_owned()
            }
            Self::Permission { which: Permission::PrivacySetting, .. } => {
                "no permission: the system's privacy setting denies it".to_owned()
            }
            Self::Permission { which: Permission::Browser, detail } => {
                let why = detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
                format!("no permission: the page in the browser may not use it{why}")
            }
            Self::Permission { which: Permission::Unknown, .. } => "no permission".to_owned(),
            Self::Disconnected { .. } => "it was disconnected during the test".to_owned(),
            Self::UnsupportedFormat { detail } => format!("it does not offer the format: {detail}"),
            Self::Stalled { after_ms } => format!("it stopped delivering: nothing came for {after_ms} ms"),
            Self::Suspended { .. } => "the system has it suspended".to_owned(),
            Self::SoundServerDown { server } => format!("{server} does not answer"),
            Self::Unheard => "the person did not hear it".to_owned(),
            Self::Unknown { detail } => detail.clone(),
        }
    }

    /// Where the fault is.
    pub const fn place(&self) -> Place {
        match self {
            Self::Busy { .. }
            | Self::Permission { .. }
            | Self::Suspended { .. }
            | Self::SoundServerDown { .. } => Place::Computer,
            Self::NotFound { .. }
            | Self::Disconnected { .. }
            | Self::UnsupportedFormat { .. }
            | Self::Stalled { .. }
            | Self::Unheard
            | Self::Unknown { .. } => Place::Device,
        }
    }

    /// What it makes of the uses that need the device.
    pub const fn state(&self) -> State {
        match self {
            Self::Permission { .. } => State::PermissionDenied,
            // What this program cannot do with it says little of what a call's program can.
            Self::UnsupportedFormat { .. } | Self::Unknown { .. } => State::Inconclusive,
            Self::NotFound { .. }
            | Self::Busy { .. }
            | Self::Disconnected { .. }
            | Self::Stalled { .. }
            | Self::Suspended { .. }
            | Self::Unheard
            | Self::SoundServerDown { .. } => State::Blocked,
        }
    }

    /// Takes out what names devices and programs.
    pub fn redact(&mut self) {
        match self {
            Self::NotFound { wanted } => *wanted = None,
            Self::Busy { by } => *by = None,
            Self::Suspended { wake } => *wake = None,
            Self::UnsupportedFormat { detail } | Self::Unknown { detail } => {
                "redacted".clone_into(detail);
            }
            Self::Permission { .. }
            | Self::Disconnected { .. }
            | Self::Stalled { .. }
            | Self::Unheard
            | Self::SoundServerDown { .. } => {}
        }
    }
}
