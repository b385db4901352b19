//! Which devices there are: each once, and none that exists on paper only.

use super::NativeAudio;
use crate::devices::audio::Inventory;
#[cfg(target_os = "linux")]
use crate::devices::audio::{AudioDevice, Role};
use crate::devices::error::DeviceError;

/// The sound server's devices, and those cards of the kernel that it does not hold.
#[cfg(target_os = "linux")]
pub(super) fn devices(system: &NativeAudio) -> Result<Inventory, DeviceError> {
    use super::alsa_files::Files;
    use super::pulse::ServedList;
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
            ServedList::default()
        }
    };
    if served.devices.is_empty()
        && let Some(permission) = files.closed_file()
    {
        return Err(DeviceError::new(Fault::Permission(permission), "the sound devices"));
    }
    Ok(joined(served, cards, |id| files.number_of(id)))
}

/// The server's devices, and the cards that are none of them. `number_of` tells a card's number and device.
#[cfg(target_os = "linux")]
fn joined(
    served: super::pulse::ServedList,
    cards: Vec<AudioDevice>,
    number_of: impl Fn(&str) -> Option<(u32, u32)>,
) -> Inventory {
    let held: Vec<(Role, u32, u32)> = served
        .devices
        .iter()
        .filter_map(|served| served.card.map(|(card, device)| (served.device.role, card, device)))
        .collect();
    let devices = served.devices.into_iter().map(|served| served.device).collect();
    let mut found = Inventory { devices, left_out: served.stand_ins };
    for mut card in cards {
        let number = number_of(&card.id);
        if number.is_some_and(|(number, device)| held.contains(&(card.role, number, device))) {
            found.left_out += 1;
            continue;
        }
        // Without a sound server programs get the first card.
        card.is_default = !found.devices.iter().any(|other| other.role == card.role && other.is_default);
        found.devices.push(card);
    }
    found
}

/// The system's own list.
#[cfg(not(target_os = "linux"))]
pub(super) fn devices(_system: &NativeAudio) -> Result<Inventory, DeviceError> {
    let devices = super::bounded::bounded("the sound devices", super::bounded::LISTING, elsewhere::devices)??;
    // These systems list devices, and nothing beside them.
    Ok(Inventory { devices, left_out: 0 })
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::pulse::{Served, ServedList};
    use super::*;
    use crate::devices::audio::fake::{FakeMicrophone, FakeSpeaker, Hears};

    #[test]
    fn a_card_that_the_server_holds_is_left_out_and_counted() {
        let speaker = FakeSpeaker::stereo().device;
        let microphone = FakeMicrophone::hearing(Hears::DigitalSilence).device;
        let card = |device: &AudioDevice, id: &str| AudioDevice { id: id.to_owned(), ..device.clone() };
        let cards = vec![
            card(&microphone, "alsa:hw:CARD=Headset,DEV=0"),
            card(&speaker, "alsa:hw:CARD=Headset,DEV=0"),
            card(&speaker, "alsa:hw:CARD=PCH,DEV=3"),
        ];
        let number_of = |id: &str| Some(if id.contains("Headset") { (1, 0) } else { (0, 3) });
        let headset = Served { device: speaker.clone(), card: Some((1, 0)) };
        // The stand-in's sink and its monitor were there before the headset was.
        let served = ServedList { devices: vec![headset], stand_ins: 2 };
        let found = joined(served, cards, number_of);
        let ids: Vec<&str> = found.devices.iter().map(|device| device.id.as_str()).collect();
        let headset_microphone = "alsa:hw:CARD=Headset,DEV=0";
        assert_eq!(ids, [speaker.id.as_str(), headset_microphone, "alsa:hw:CARD=PCH,DEV=3"]);
        assert_eq!(found.left_out, 3, "the headset's speaker, and two stand-ins");
        assert!(found.devices[1].is_default && !found.devices[2].is_default, "{found:?}");
    }
}
