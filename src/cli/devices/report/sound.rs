//! Which sound device is meant, and what the report says when there is none.

use greenroom_reports::schema::{
    DeviceFailure, DeviceInfo, Devices, Listed, Listing, Microphone, Speaker, Value,
};

use super::unlooked;
use crate::devices::DeviceError;
use crate::devices::audio::choose::choose;
use crate::devices::audio::{AudioDevice, AudioSystem, Inventory, Role};

/// Finds the device of `role` that is meant, among all that there are.
///
/// # Errors
///
/// What the report says instead: why nothing could be looked for, or that it is not there.
pub(in crate::cli::devices) fn find(
    system: &dyn AudioSystem,
    role: Role,
    wanted: Option<&str>,
) -> Result<(Inventory, AudioDevice), Box<Devices>> {
    let listed = system
        .inventory()
        .map_err(|error| Box::new(Devices { sound: Listing::failed(error.failure()), ..unlooked() }))?;
    match choose(&listed.devices, role, wanted) {
        Ok(device) => Ok((listed.clone(), device.clone())),
        Err(error) => Err(Box::new(missing(&listed, role, wanted, &error))),
    }
}

/// A section for sound devices that were looked for and found, none of them tested yet.
pub(in crate::cli::devices) fn found(listed: &Inventory) -> Devices {
    let state = Value::Measured(Listed { backend: listed.backend(), left_out: listed.left_out });
    Devices { sound: Listing { state, failure: None }, ..unlooked() }
}

fn missing(listed: &Inventory, role: Role, wanted: Option<&str>, error: &DeviceError) -> Devices {
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
