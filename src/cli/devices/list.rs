//! `greenroom devices list`.

use std::fmt::Write as _;

use clap::Args;
use greenroom_reports::schema::Connection;
use serde::Serialize;
use serde_json::json;

use crate::cli::args::Global;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output;
use crate::devices::audio::native::NativeAudio;
use crate::devices::audio::{AudioDevice, AudioSystem as _, Role};
use crate::devices::{Clock, DeviceError, Os};

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print it as JSON: what there is, for scripts. It is no report, since nothing was tested
    #[arg(long)]
    json: bool,

    /// Show monitors too, which hear what a speaker is sent
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &ListArgs, _global: &Global) -> Result<Exit, CliError> {
    let mut devices = NativeAudio::new(Clock::start()).devices().map_err(|error| unavailable(&error))?;
    devices.retain(|device| args.all || !device.is_monitor);
    let cameras = cameras()?;
    if args.json {
        let json = serde_json::to_string_pretty(&json!({ "sound": devices, "cameras": cameras }));
        output::to_stdout(&(json.map_err(|error| CliError::Internal(error.to_string()))? + "\n"))?;
    } else {
        output::to_stdout(
            &(text_of_sound(&devices) + &text_of_cameras(&cameras) + legend(&devices, &cameras)),
        )?;
    }
    Ok(Exit::Ready)
}

/// A camera as listed.
#[derive(Debug, Serialize)]
struct Camera {
    id: String,
    name: String,
    is_default: bool,
    /// The greatest picture that it offers, or why it does not say.
    offers: String,
}

#[cfg(feature = "camera")]
fn cameras() -> Result<Vec<Camera>, CliError> {
    use crate::devices::camera::test::formats;

    let (system, _) = crate::devices::camera::system(Clock::start());
    let listed = system.list().map_err(|error| unavailable(&error))?;
    let camera = |listed: crate::devices::camera::Listed| {
        let offers = match &listed.offers {
            Ok(offers) => formats(offers)
                .iter()
                .max_by_key(|format| u64::from(format.width) * u64::from(format.height))
                .map_or_else(
                    || "offers nothing".to_owned(),
                    |best| format!("up to {}x{}", best.width, best.height),
                ),
            Err(error) => error.say(),
        };
        Camera { id: listed.id, name: listed.name, is_default: listed.default, offers }
    };
    Ok(listed.into_iter().map(camera).collect())
}

#[cfg(not(feature = "camera"))]
fn cameras() -> Result<Vec<Camera>, CliError> {
    Ok(Vec::new())
}

/// A device error that ends a command.
pub(super) fn unavailable(error: &DeviceError) -> CliError {
    CliError::Unavailable(format!("{error}. {}", error.fix(Os::HERE)))
}

fn text_of_sound(devices: &[AudioDevice]) -> String {
    let mut text = String::new();
    for (role, heading) in [(Role::Microphone, "Microphones"), (Role::Speaker, "Speakers")] {
        let of_role: Vec<&AudioDevice> = devices.iter().filter(|device| device.role == role).collect();
        if of_role.is_empty() {
            let _ = writeln!(text, "{heading}: none");
            continue;
        }
        let _ = writeln!(text, "{heading}:");
        for device in of_role {
            let mark = if device.is_default { '*' } else { ' ' };
            let _ = writeln!(text, "{mark} {}", device.name);
            let _ = writeln!(text, "    {}", details(device).join(", "));
            let _ = writeln!(text, "    {}", device.id);
        }
    }
    text
}

fn text_of_cameras(cameras: &[Camera]) -> String {
    if cameras.is_empty() {
        return "Cameras: none\n".to_owned();
    }
    let line = |camera: &Camera| {
        let mark = if camera.is_default { '*' } else { ' ' };
        format!("{mark} {}\n    {}\n    {}\n", camera.name, camera.offers, camera.id)
    };
    "Cameras:\n".to_owned() + &cameras.iter().map(line).collect::<String>()
}

fn legend(devices: &[AudioDevice], cameras: &[Camera]) -> &'static str {
    let marked =
        devices.iter().any(|device| device.is_default) || cameras.iter().any(|camera| camera.is_default);
    if marked { "* is what programs get unless they choose\n" } else { "" }
}

fn details(device: &AudioDevice) -> Vec<String> {
    let attached = device.attached.map(|attached| {
        let word = match attached {
            Connection::BuiltIn => "built in",
            Connection::Usb => "USB",
            Connection::Bluetooth => "Bluetooth",
            Connection::Display => "display cable",
            Connection::Virtual => "made of software",
            Connection::Network => "over the network",
        };
        word.to_owned()
    });
    let muted = device.muted.and_then(|muted| muted.then(|| "MUTED".to_owned()));
    let volume = device.volume_ratio.map(|volume| format!("volume {:.0} %", volume * 100.0));
    let format = device.format.map(|format| format.to_string());
    let monitor = device.is_monitor.then(|| "hears what a speaker is sent".to_owned());
    [muted, monitor, attached, format, volume].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::audio::fake::{FakeAudio, FakeMicrophone, FakeSpeaker, Hears};

    #[test]
    fn the_list_is_what_a_person_can_use() {
        let mut microphone = FakeMicrophone::hearing(Hears::DigitalSilence);
        microphone.device.muted = Some(true);
        microphone.device.attached = Some(Connection::Usb);
        let system = FakeAudio::new(vec![microphone.into(), FakeSpeaker::stereo().into()]);
        let devices = system.devices().expect("the server runs");
        let cameras = [Camera {
            id: "usb:1".into(),
            name: "Fake camera".into(),
            is_default: true,
            offers: "up to 1280x720".into(),
        }];
        let text = text_of_sound(&devices) + &text_of_cameras(&cameras) + legend(&devices, &cameras);
        insta::assert_snapshot!(text, @r"
        Microphones:
        * Fake microphone
            MUTED, USB, 48000 Hz, 1 channel, volume 100 %
            fake:microphone
        Speakers:
        * Fake speaker
            48000 Hz, 2 channels, volume 100 %
            fake:speaker
        Cameras:
        * Fake camera
            up to 1280x720
            usb:1
        * is what programs get unless they choose
        ");
        assert_eq!(text_of_sound(&[]), "Microphones: none\nSpeakers: none\n");
        assert_eq!(text_of_cameras(&[]) + legend(&[], &[]), "Cameras: none\n");
    }
}
