//! What goes wrong with a device, as something that the person in front of it can act on.

use std::fmt;

use greenroom_reports::schema::{self, DeviceFailure};
use greenroom_reports::units::Micros;
use thiserror::Error;

/// A device that could not be used, or not to the end.
///
/// `Display` says what happened in one sentence; [`DeviceError::fix`] says what to do about it on a given system.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", self.say())]
pub struct DeviceError {
    /// What is wrong.
    pub fault: Fault,
    /// The device as people know it ("the microphone Jabra Evolve2"), or what kind of device was looked for.
    pub device: String,
    /// What the system said, word for word. Empty: it said nothing beyond the fault.
    pub detail: String,
}

/// What is wrong with a device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// There is no such device (any more).
    NotFound,
    /// Somebody else holds it.
    Busy {
        /// Who. `None`: the system does not tell.
        by: Option<Who>,
    },
    /// The device is there, and this user may not use it.
    Permission(Permission),
    /// It went away while it was in use.
    Disconnected,
    /// It cannot do what was asked of it.
    Unsupported {
        /// What was asked: "48000 Hz, 2 channels".
        asked: String,
    },
    /// It is open and gives or takes nothing.
    Stalled {
        /// How long was waited.
        after: Micros,
    },
    /// It is open, and the system has it suspended: it lets no program use it.
    Suspended {
        /// The command that wakes it, where there is one.
        wake: Option<String>,
    },
    /// The sound server, through which the devices are reached, does not answer.
    ServerDown {
        /// Its name: "PulseAudio".
        server: String,
    },
    /// None of these; the detail says what the system said.
    Unknown,
}

/// A program that holds a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The program's name.
    pub name: String,
    /// Its process, where the system tells.
    pub pid: Option<u32>,
}

/// Which permission is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Permission {
    /// The device's file is for a group that this user is not in.
    Group {
        /// The group: `audio`, `video`.
        group: String,
        /// The file: `/dev/snd/controlC0`.
        file: String,
    },
    /// The device's file is closed to this user for another reason.
    File {
        /// The file.
        file: String,
    },
    /// The sound server turned this user away.
    Server {
        /// Its name: "PulseAudio".
        server: String,
    },
    /// The desktop's portal (sandboxed programs) did not grant it.
    Portal,
    /// The system's privacy setting for this kind of device.
    Privacy,
    /// The system said no and not why.
    Unknown,
}

/// A system, for what is to be done on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Os {
    /// Linux with whatever sound server and desktop.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

impl Os {
    /// The system that this program was built for.
    pub const HERE: Self = if cfg!(target_os = "windows") {
        Self::Windows
    } else if cfg!(target_os = "macos") {
        Self::MacOs
    } else {
        Self::Linux
    };
}

impl DeviceError {
    /// A fault of a device, about which the system said nothing further.
    pub fn new(fault: Fault, device: impl Into<String>) -> Self {
        Self { fault, device: device.into(), detail: String::new() }
    }

    /// Adds what the system said.
    #[must_use]
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = detail.to_string();
        self
    }

    /// The same for a report: what is wrong, without the device's name, which stands beside it there.
    pub fn failure(&self) -> DeviceFailure {
        let after_ms = |after: Micros| u64::try_from(after.get() / 1_000).unwrap_or(0);
        match &self.fault {
            Fault::NotFound => DeviceFailure::NotFound { wanted: Some(self.device.clone()) },
            Fault::Busy { by } => DeviceFailure::Busy { by: by.as_ref().map(ToString::to_string) },
            Fault::Permission(permission) => permission.failure(),
            Fault::Disconnected => DeviceFailure::Disconnected { after_ms: None },
            Fault::Unsupported { asked } => DeviceFailure::UnsupportedFormat { detail: asked.clone() },
            Fault::Stalled { after } => DeviceFailure::Stalled { after_ms: after_ms(*after) },
            Fault::Suspended { wake } => DeviceFailure::Suspended { wake: wake.clone() },
            Fault::ServerDown { server } => DeviceFailure::SoundServerDown { server: server.clone() },
            Fault::Unknown => DeviceFailure::Unknown { detail: self.detail.clone() },
        }
    }

    /// A stable name of the fault for reports and scripts.
    pub fn code(&self) -> &'static str {
        match &self.fault {
            Fault::NotFound => "not_found",
            Fault::Busy { .. } => "busy",
            Fault::Permission(_) => "permission",
            Fault::Disconnected => "disconnected",
            Fault::Unsupported { .. } => "unsupported",
            Fault::Stalled { .. } => "stalled",
            Fault::Suspended { .. } => "suspended",
            Fault::ServerDown { .. } => "server_down",
            Fault::Unknown => "unknown",
        }
    }

    /// What happened, in one sentence without its full stop.
    pub fn say(&self) -> String {
        let device = &self.device;
        let happened = match &self.fault {
            Fault::NotFound => format!("{device} was not found"),
            Fault::Busy { by: Some(who) } => format!("{device} is in use by {who}"),
            Fault::Busy { by: None } => format!("{device} is in use by another program"),
            Fault::Permission(permission) => format!("{device} may not be used: {permission}"),
            Fault::Disconnected => format!("{device} went away while it was in use"),
            Fault::Unsupported { asked } => format!("{device} does not do {asked}"),
            Fault::Stalled { after } => format!("{device} did nothing for {after}"),
            Fault::Suspended { .. } => format!("{device} is suspended: the system lets no program use it"),
            Fault::ServerDown { server } => format!("{device} cannot be reached: {server} does not answer"),
            Fault::Unknown => format!("{device} failed"),
        };
        match self.detail.as_str() {
            "" => happened,
            detail => format!("{happened} ({detail})"),
        }
    }

    /// What to do about it on `os`.
    pub fn fix(&self, os: Os) -> String {
        match &self.fault {
            Fault::NotFound => "Plug it in, or choose another one: greenroom devices list shows what there is.".into(),
            Fault::Busy { by: Some(who) } => format!("Close {}, or choose another device.", who.name),
            Fault::Busy { by: None } => busy_fix(os).into(),
            Fault::Permission(permission) => permission.fix(os),
            Fault::Disconnected => {
                "Check its cable, or charge and pair it again; then try once more. Another USB port helps when it happens often."
                    .into()
            }
            Fault::Unsupported { .. } => "Choose the device's own format in the sound settings, or another device.".into(),
            Fault::Stalled { .. } => "Unplug it and plug it in again. If that does not help, restart the computer.".into(),
            Fault::Suspended { wake: Some(wake) } => {
                format!("Close what keeps it for itself (pasuspender, JACK), or wake it: {wake}") + "."
            }
            Fault::Suspended { wake: None } => {
                "Wake the computer fully, then try again; if it stays, log out and in again.".into()
            }
            Fault::ServerDown { server } => server_fix(os, server),
            Fault::Unknown => {
                "Unplug it and plug it in again, and try once more. If it stays, what the system said helps whoever looks at it."
                    .into()
            }
        }
    }
}

impl Permission {
    fn failure(&self) -> DeviceFailure {
        let (which, detail) = match self {
            Self::Group { group, .. } => (schema::Permission::Group, Some(group.clone())),
            Self::Portal => (schema::Permission::Portal, None),
            Self::Privacy => (schema::Permission::PrivacySetting, None),
            Self::File { file } => (schema::Permission::Unknown, Some(file.clone())),
            Self::Server { server } => (schema::Permission::Unknown, Some(server.clone())),
            Self::Unknown => (schema::Permission::Unknown, None),
        };
        DeviceFailure::Permission { which, detail }
    }

    fn fix(&self, os: Os) -> String {
        match (self, os) {
            (Self::Group { group, .. }, _) => {
                format!("Add yourself to the group {group} (sudo usermod -aG {group} \"$USER\"), log out and in again.")
            }
            (Self::File { file }, _) => format!("Ask whoever runs this computer for access to {file}."),
            (Self::Server { server }, _) => {
                format!("Run this as the user who is logged in at the desktop: {server} belongs to that user.")
            }
            (Self::Portal, _) => "Allow the device in the desktop's privacy settings and answer its question with yes.".into(),
            (_, Os::MacOs) => {
                "System Settings, Privacy & Security: allow the device for your terminal program, then start that again.".into()
            }
            (_, Os::Windows) => {
                "Settings, Privacy & security: allow the device, and \"Let desktop apps access\" it below.".into()
            }
            (_, Os::Linux) => "Allow the device in the desktop's privacy settings, and check the groups audio and video.".into(),
        }
    }
}

fn busy_fix(os: Os) -> &'static str {
    match os {
        Os::Linux => {
            "Close other calls and recorders. As root, fuser -v /dev/snd/* /dev/video* says who holds it."
        }
        Os::MacOs => "Close other calls and recorders.",
        Os::Windows => {
            "Close other calls and recorders, or switch off \"exclusive mode\" in the device's properties."
        }
    }
}

fn server_fix(os: Os, server: &str) -> String {
    match os {
        Os::Linux if server == "ALSA" => "Check that the kernel sees a sound card: cat /proc/asound/cards.".into(),
        Os::Linux => {
            "Start it again: systemctl --user restart pipewire-pulse, or pulseaudio --start where there is no PipeWire.".into()
        }
        Os::MacOs => "Start it again: sudo killall coreaudiod.".into(),
        Os::Windows => "Start the service \"Windows Audio\" again.".into(),
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "{} (process {pid})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group { group, file } => {
                write!(f, "you are not in the group {group}, to which {file} belongs")
            }
            Self::File { file } => write!(f, "no access to {file}"),
            Self::Server { server } => write!(f, "{server} turned you away"),
            Self::Portal => f.write_str("the desktop's portal did not grant it"),
            Self::Privacy => f.write_str("the system's privacy settings forbid it"),
            Self::Unknown => f.write_str("the system does not say why"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<DeviceError> {
        let who = Who { name: "zoom".into(), pid: Some(4711) };
        let group = Permission::Group { group: "audio".into(), file: "/dev/snd/controlC0".into() };
        [
            Fault::NotFound,
            Fault::Busy { by: Some(who) },
            Fault::Busy { by: None },
            Fault::Permission(group),
            Fault::Permission(Permission::File { file: "/dev/video0".into() }),
            Fault::Permission(Permission::Server { server: "PulseAudio".into() }),
            Fault::Permission(Permission::Portal),
            Fault::Permission(Permission::Privacy),
            Fault::Permission(Permission::Unknown),
            Fault::Disconnected,
            Fault::Unsupported { asked: "192000 Hz".into() },
            Fault::Stalled { after: Micros::from_secs(2) },
            Fault::Suspended { wake: Some("pactl suspend-sink speaker 0".into()) },
            Fault::Suspended { wake: None },
            Fault::ServerDown { server: "PulseAudio".into() },
            Fault::Unknown,
        ]
        .map(|fault| DeviceError::new(fault, "the microphone Jabra"))
        .into()
    }

    #[test]
    fn every_fault_names_the_device_and_what_to_do_on_every_system() {
        for error in all() {
            assert!(error.to_string().starts_with("the microphone Jabra "), "{error}");
            for os in [Os::Linux, Os::MacOs, Os::Windows] {
                let fix = error.fix(os);
                assert!(fix.ends_with('.') && fix.len() > 20, "{error}: {fix}");
            }
        }
    }

    #[test]
    fn who_and_which_permission_are_said() {
        let said: Vec<String> = all().iter().map(DeviceError::say).collect();
        assert!(said[1].ends_with("is in use by zoom (process 4711)"));
        assert!(said[3].contains("not in the group audio, to which /dev/snd/controlC0 belongs"));
        assert!(all()[3].fix(Os::Linux).contains("usermod -aG audio"));
    }

    #[test]
    fn what_the_system_said_is_kept() {
        let error = DeviceError::new(Fault::Unknown, "the speaker").with_detail("Input/output error (5)");
        assert_eq!(error.to_string(), "the speaker failed (Input/output error (5))");
    }
}
