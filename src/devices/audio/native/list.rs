//! Which devices there are: each once, and none that exists on paper only.

use super::NativeAudio;
use crate::devices::audio::AudioDevice;
use crate::devices::error::DeviceError;

/// The sound server's devices, and those cards of the kernel that it does not hold.
#[cfg(target_os = "linux")]
pub(super) fn devices(system: &NativeAudio) -> Result<Vec<AudioDevice>, DeviceError> {
    use super::alsa_files::Files;
    use crate::devices::audio::Role;
    use crate::devices::error::Fault;

    let files = Files::system();
    let cards = files.devices();
    let served = match system.pulse.devices() {
        Ok(served) => served.unwrap_or_default(),
        // A server that is gone keeps nobody from the cards themselves.
        Err(error) if cards.is_empty() || !matches!(error.fault, Fault::ServerDown { .. }) => {
            return Err(error);
        }
        Err(error) => {
            tracing::warn!("{error}; using the cards without it");
            Vec::new()
        }
    };
    if served.is_empty()
        && let Some(permission) = files.closed_file()
    {
        return Err(DeviceError::new(Fault::Permission(permission), "the sound devices"));
    }
    let mut devices: Vec<AudioDevice> = Vec::new();
    let held: Vec<(Role, u32, u32)> = served
        .iter()
        .filter_map(|served| served.card.map(|(card, device)| (served.device.role, card, device)))
        .collect();
    devices.extend(served.into_iter().map(|served| served.device));
    for mut card in cards {
        let number = files.number_of(&card.id);
        if number.is_some_and(|(number, device)| held.contains(&(card.role, number, device))) {
            continue;
        }
        // Without a sound server programs get the first card.
        card.is_default = !devices.iter().any(|other| other.role == card.role && other.is_default);
        devices.push(card);
    }
    Ok(devices)
}

/// The system's own list.
#[cfg(not(target_os = "linux"))]
pub(super) fn devices(_system: &NativeAudio) -> Result<Vec<AudioDevice>, DeviceError> {
    super::bounded::bounded("the sound devices", super::bounded::LISTING, elsewhere::devices)?
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use cpal::traits::{DeviceTrait as _, HostTrait as _};

    use greenroom_reports::schema::Connection;

    use crate::devices::audio::{AudioDevice, Format, Role};
    use crate::devices::error::{DeviceError, Fault};

    pub(super) fn devices() -> Result<Vec<AudioDevice>, DeviceError> {
        let host = cpal::default_host();
        let failed =
            |error: cpal::Error| DeviceError::new(Fault::Unknown, "the sound devices").with_detail(error);
        let default = |role| {
            let device = match role {
                Role::Microphone => host.default_input_device(),
                Role::Speaker => host.default_output_device(),
            };
            device.and_then(|device| device.id().ok())
        };
        let inputs = host.input_devices().map_err(failed)?.map(|device| (Role::Microphone, device));
        let outputs = host.output_devices().map_err(failed)?.map(|device| (Role::Speaker, device));
        let devices = inputs.chain(outputs).filter_map(|(role, device)| {
            let id = device.id().ok()?;
            let description = device.description().ok();
            let own = match role {
                Role::Microphone => device.default_input_config(),
                Role::Speaker => device.default_output_config(),
            };
            Some(AudioDevice {
                is_default: default(role).as_ref() == Some(&id),
                id: id.to_string(),
                name: description.as_ref().map_or_else(|| id.id().to_owned(), |d| d.name().to_owned()),
                role,
                is_monitor: false,
                attached: description.and_then(|description| attached(description.interface_type())),
                format: own.ok().map(|own| Format { rate_hz: own.sample_rate(), channels: own.channels() }),
                muted: None,
                volume_ratio: None,
                suspended: None,
            })
        });
        Ok(devices.collect())
    }

    fn attached(interface: cpal::InterfaceType) -> Option<Connection> {
        match interface {
            cpal::InterfaceType::BuiltIn => Some(Connection::BuiltIn),
            cpal::InterfaceType::Usb => Some(Connection::Usb),
            cpal::InterfaceType::Bluetooth => Some(Connection::Bluetooth),
            cpal::InterfaceType::Network => Some(Connection::Network),
            cpal::InterfaceType::Virtual => Some(Connection::Virtual),
            _ => None,
        }
    }
}
