//! `greenroom devices speaker`.

use std::io::{self, Write as _};

use clap::Args;
use greenroom_reports::schema::{DeviceKind, Devices};

use super::report::{find, found, run_and_report};
use crate::cli::args::{Global, OutputArgs};
use crate::cli::exit::{CliError, Exit};
use crate::devices::Clock;
use crate::devices::audio::Role;
use crate::devices::audio::native::NativeAudio;
use crate::devices::audio::speaker::{CLOCKED, Sound, test_speaker};

#[derive(Debug, Args)]
pub(crate) struct SpeakerArgs {
    /// Which speaker: its name, a part of it, or its id [default: the one that programs get]
    #[arg(long, value_name = "ID")]
    device: Option<String>,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &SpeakerArgs, global: &Global) -> Result<Exit, CliError> {
    let system = NativeAudio::new(Clock::start());
    let asked = [DeviceKind::Speaker];
    let (listed, device) = match find(&system, Role::Speaker, args.device.as_deref()) {
        Ok(found) => found,
        Err(instead) => return run_and_report(&asked, &args.output, global, move |_| Ok(*instead)),
    };
    let quiet = global.quiet;
    let test = move |_stop| {
        let channels = device.format.map_or(2, |format| format.channels);
        let mut tell = |channel: u16| {
            say(quiet, &format!("You should hear two notes {}.", on_which_side(channel, channels)));
        };
        let seconds = CLOCKED.as_secs();
        say(
            quiet,
            &format!(
                "Playing on {}: notes, then silence to measure its clock, {seconds:.0} s in all.",
                device.name
            ),
        );
        let speaker = test_speaker(&system, &device, Sound::Chime, &mut tell);
        if speaker.failure.is_none() {
            say(
                quiet,
                "Heard nothing? Then: greenroom devices loop finds out whether your microphone hears it.",
            );
        }
        Ok(Devices { speakers: vec![speaker], ..found(&listed) })
    };
    run_and_report(&asked, &args.output, global, test)
}

/// Tells somebody who sits in front of it. Without standard error nobody reads it.
pub(super) fn say(quiet: bool, line: &str) {
    if !quiet {
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// What a channel is called.
pub(super) fn on_which_side(channel: u16, of: u16) -> String {
    match (channel, of) {
        (_, 1) => "now".to_owned(),
        (0, 2) => "on the left".to_owned(),
        (1, 2) => "on the right".to_owned(),
        (channel, of) => format!("on channel {} of {of}", channel + 1),
    }
}
