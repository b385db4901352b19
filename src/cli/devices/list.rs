//! `greenroom devices list`.

use std::fmt::Write as _;

use clap::Args;
use greenroom_reports::schema::Connection;

use crate::cli::args::Global;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output;
use crate::devices::audio::native::NativeAudio;
use crate::devices::audio::{AudioDevice, AudioSystem as _, Role};
use crate::devices::{Clock, DeviceError, Os};

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print it as JSON
    #[arg(long)]
    json: bool,

    /// Show monitors too, which hear what a speaker is sent
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &ListArgs, _global: &Global) -> Result<Exit, CliError> {
    let mut devices = NativeAudio::new(Clock::start()).devices().map_err(|error| unavailable(&error))?;
    devices.retain(|device| args.all || !device.is_monitor);
    if args.json {
        let json = serde_json::to_string_pretty(&devices);
        output::to_stdout(&(json.map_err(|error| CliError::Internal(error.to_string()))? + "\n"))?;
    } else {
        output::to_stdout(&text(&devices))?;
    }
    Ok(Exit::Ready)
}

/// A device error that ends a command.
pub(super) fn unavailable(error: &DeviceError) -> CliError {
    CliError::Unavailable(format!("{error}. {}", error.fix(Os::HERE)))
}

fn text(devices: &[AudioDevice]) -> String {
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
    if devices.iter().any(|device| device.is_default) {
        text.push_str("* is what programs get unless they choose\n");
    }
    text
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
        insta::assert_snapshot!(text(&devices), @r"
        Microphones:
        * Fake microphone
            MUTED, USB, 48000 Hz, 1 channel, volume 100 %
            fake:microphone
        Speakers:
        * Fake speaker
            48000 Hz, 2 channels, volume 100 %
            fake:speaker
        * is what programs get unless they choose
        ");
        assert_eq!(text(&[]), "Microphones: none\nSpeakers: none\n");
    }
}
