//! What `cpal` says, as something to act on.

use cpal::ErrorKind;

use crate::devices::audio::AudioDevice;
use crate::devices::error::{DeviceError, Fault, Os, Permission};

/// Whether a stream that reports this gives nothing any more.
pub(super) fn ends_the_stream(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::DeviceNotAvailable
            | ErrorKind::HostUnavailable
            | ErrorKind::StreamInvalidated
            | ErrorKind::PermissionDenied
            | ErrorKind::DeviceBusy
    )
}

/// An error on opening `device`.
pub(super) fn on_opening(device: &AudioDevice, error: &cpal::Error) -> DeviceError {
    let fault = match error.kind() {
        ErrorKind::DeviceNotAvailable => Fault::NotFound,
        kind => of_kind(kind, device),
    };
    DeviceError::new(fault, device.title()).with_detail(error)
}

/// An error while `device` was streaming.
pub(super) fn while_streaming(device: &AudioDevice, error: &cpal::Error) -> DeviceError {
    let fault = match error.kind() {
        ErrorKind::DeviceNotAvailable => Fault::Disconnected,
        kind => of_kind(kind, device),
    };
    DeviceError::new(fault, device.title()).with_detail(error)
}

fn of_kind(kind: ErrorKind, device: &AudioDevice) -> Fault {
    match kind {
        ErrorKind::DeviceBusy => Fault::Busy { by: holder(device) },
        ErrorKind::PermissionDenied => Fault::Permission(permission(device)),
        // A stream of a sound server ends with its server; one of the kernel with its device.
        ErrorKind::HostUnavailable => Fault::ServerDown { server: server_of(device) },
        ErrorKind::StreamInvalidated if is_served(device) => Fault::ServerDown { server: server_of(device) },
        ErrorKind::StreamInvalidated => Fault::Disconnected,
        ErrorKind::UnsupportedConfig | ErrorKind::UnsupportedOperation | ErrorKind::InvalidInput => {
            Fault::Unsupported { asked: format!("what a {} must do", device.role.word()) }
        }
        _ => Fault::Unknown,
    }
}

/// Whether a sound server stands between this program and the device.
fn is_served(device: &AudioDevice) -> bool {
    device.id.starts_with("pulseaudio:")
}

/// The name of what the device is reached through.
pub(super) fn server_of(device: &AudioDevice) -> String {
    match (device.id.split_once(':').map(|(host, _)| host), Os::HERE) {
        (Some("pulseaudio"), _) => "PulseAudio",
        (_, Os::Linux) => "ALSA",
        (_, Os::MacOs) => "Core Audio",
        (_, Os::Windows) => "Windows Audio",
    }
    .to_owned()
}

#[cfg(target_os = "linux")]
fn permission(device: &AudioDevice) -> Permission {
    if is_served(device) {
        return Permission::Server { server: server_of(device) };
    }
    super::alsa_files::Files::system().closed_file().unwrap_or(Permission::Unknown)
}

#[cfg(not(target_os = "linux"))]
fn permission(_device: &AudioDevice) -> Permission {
    Permission::Privacy
}

#[cfg(target_os = "linux")]
fn holder(device: &AudioDevice) -> Option<crate::devices::error::Who> {
    super::alsa_files::Files::system().holder(&device.id, device.role)
}

#[cfg(not(target_os = "linux"))]
fn holder(_device: &AudioDevice) -> Option<crate::devices::error::Who> {
    None
}
