//! Which device is meant.

use super::{AudioDevice, Role};
use crate::devices::error::{DeviceError, Fault};

/// Finds the device of `role` that `wanted` names: by its id, its id without the sound server's name, its name, or a part of its
/// name that no other has. Without `wanted` it is the default; a monitor is only taken when it is named.
///
/// # Errors
///
/// [`Fault::NotFound`], whose detail says what there is.
pub fn choose<'a>(
    devices: &'a [AudioDevice],
    role: Role,
    wanted: Option<&str>,
) -> Result<&'a AudioDevice, DeviceError> {
    let candidates: Vec<&AudioDevice> = devices.iter().filter(|device| device.role == role).collect();
    match wanted {
        Some(wanted) => named(&candidates, role, wanted),
        None => {
            let mut real = candidates.iter().filter(|device| !device.is_monitor);
            let first = real.clone().next();
            real.find(|device| device.is_default)
                .or(first)
                .copied()
                .ok_or_else(|| none_at_all(&candidates, role))
        }
    }
}

fn named<'a>(
    candidates: &[&'a AudioDevice],
    role: Role,
    wanted: &str,
) -> Result<&'a AudioDevice, DeviceError> {
    let folded = wanted.to_lowercase();
    let by_id = |device: &&&AudioDevice| {
        device.id == wanted || device.id.split_once(':').is_some_and(|(_, rest)| rest == wanted)
    };
    let by_name = |device: &&&AudioDevice| device.name.to_lowercase() == folded;
    if let Some(device) = candidates.iter().find(by_id).or_else(|| candidates.iter().find(by_name)) {
        return Ok(device);
    }
    let parts: Vec<&&AudioDevice> =
        candidates.iter().filter(|device| device.name.to_lowercase().contains(&folded)).collect();
    let title = format!("the {} {wanted:?}", role.word());
    match parts.as_slice() {
        [device] => Ok(device),
        [] => Err(DeviceError::new(Fault::NotFound, title).with_detail(there_is(candidates))),
        several => Err(DeviceError::new(Fault::NotFound, title)
            .with_detail(format!("several are called so: {}", names(several.iter().copied())))),
    }
}

fn none_at_all(candidates: &[&AudioDevice], role: Role) -> DeviceError {
    let error = DeviceError::new(Fault::NotFound, format!("a {}", role.word()));
    match candidates {
        [] => error,
        monitors => error.with_detail(format!(
            "there are only monitors, which hear what a speaker is sent: {}",
            names(monitors.iter())
        )),
    }
}

fn there_is(candidates: &[&AudioDevice]) -> String {
    match candidates {
        [] => "there is none at all".to_owned(),
        some => format!("there is {}", names(some.iter())),
    }
}

fn names<'a>(devices: impl Iterator<Item = &'a &'a AudioDevice>) -> String {
    devices.map(|device| format!("{:?}", device.name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, name: &str, role: Role) -> AudioDevice {
        AudioDevice {
            id: id.into(),
            name: name.into(),
            role,
            is_default: false,
            is_monitor: name.starts_with("Monitor"),
            attached: None,
            format: None,
            muted: None,
            volume_ratio: None,
            suspended: None,
        }
    }

    fn desk() -> Vec<AudioDevice> {
        let mut devices = vec![
            device("pulseaudio:out.monitor", "Monitor of Speakers", Role::Microphone),
            device("pulseaudio:in.builtin", "Built-in Microphone", Role::Microphone),
            device("pulseaudio:in.usb", "Jabra Evolve2 Microphone", Role::Microphone),
            device("pulseaudio:out", "Speakers", Role::Speaker),
        ];
        devices[2].is_default = true;
        devices
    }

    #[test]
    fn a_device_is_found_by_whatever_names_it_and_only_it() {
        let desk = desk();
        let id = |wanted| choose(&desk, Role::Microphone, wanted).map(|device| device.id.as_str());
        assert_eq!(id(None), Ok("pulseaudio:in.usb"), "the default");
        assert_eq!(id(Some("pulseaudio:in.builtin")), Ok("pulseaudio:in.builtin"));
        assert_eq!(id(Some("in.builtin")), Ok("pulseaudio:in.builtin"));
        assert_eq!(id(Some("jabra")), Ok("pulseaudio:in.usb"));
        assert_eq!(id(Some("out.monitor")), Ok("pulseaudio:out.monitor"), "a monitor that was named");
        let several = id(Some("microphone")).expect_err("two have it in their names");
        assert!(several.detail.contains("several"), "{several}");
        let none = id(Some("Rode")).expect_err("there is none");
        assert_eq!(none.fault, Fault::NotFound);
        assert!(none.detail.contains("Jabra"), "{none}");
    }

    #[test]
    fn a_monitor_is_no_microphone() {
        let monitors: Vec<AudioDevice> = desk().into_iter().filter(|device| device.is_monitor).collect();
        let error = choose(&monitors, Role::Microphone, None).expect_err("there is no microphone");
        assert!(error.detail.contains("only monitors"), "{error}");
        let empty = choose(&[], Role::Speaker, None).expect_err("there is nothing");
        assert_eq!(empty.to_string(), "a speaker was not found");
    }
}
