//! `greenroom devices loop`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use greenroom_reports::schema::{DeviceKind, Devices, LoopPair, Microphone, Speaker};

use super::report::{find, found, run_and_report};
use super::speaker::{on_which_side, say};
use crate::cli::args::{Global, OutputArgs};
use crate::cli::exit::{CliError, Exit};
use crate::devices::Clock;
use crate::devices::audio::Role;
use crate::devices::audio::acoustic::{Looped, test_loop};
use crate::devices::audio::native::NativeAudio;

#[derive(Debug, Args)]
pub(crate) struct LoopArgs {
    /// Which speaker plays: its name, a part of it, or its id [default: the one that programs get]
    #[arg(long, value_name = "ID")]
    speaker: Option<String>,

    /// Which microphone listens: its name, a part of it, or its id [default: the one that programs get]
    #[arg(long, value_name = "ID")]
    mic: Option<String>,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &LoopArgs, global: &Global) -> Result<Exit, CliError> {
    let system = NativeAudio::new(Clock::start());
    let asked = [DeviceKind::Microphone, DeviceKind::Speaker];
    let both = find(&system, Role::Speaker, args.speaker.as_deref()).and_then(|(listed, speaker)| {
        let (_, microphone) = find(&system, Role::Microphone, args.mic.as_deref())?;
        Ok((listed, speaker, microphone))
    });
    let (listed, speaker, microphone) = match both {
        Ok(both) => both,
        Err(instead) => return run_and_report(&asked, &args.output, global, move |_| Ok(*instead)),
    };
    let quiet = global.quiet;
    let test = move |_stop: Arc<AtomicBool>| {
        let channels = speaker.format.map_or(2, |format| format.channels);
        say(
            quiet,
            &format!(
                "{} plays, {} listens. A rising tone follows; be quiet meanwhile.",
                speaker.name, microphone.name
            ),
        );
        let mut tell = |channel: u16| say(quiet, &format!("Playing {}.", on_which_side(channel, channels)));
        let places = LoopPair { speaker: 0, microphone: 0 };
        let Looped { heard, at_fault } = test_loop(&system, &speaker, &microphone, places, &mut tell);
        let failed = |role| heard.failure.clone().filter(|_| at_fault == Some(role));
        let together = "it was tested together with the other one";
        let microphone = match failed(Role::Microphone) {
            Some(failure) => Microphone::failed(microphone.info(), failure),
            None => Microphone::not_tested(microphone.info(), together),
        };
        let speaker = match failed(Role::Speaker) {
            Some(failure) => Speaker::failed(speaker.info(), failure),
            None => Speaker::not_tested(speaker.info(), together),
        };
        Ok(Devices {
            microphones: vec![microphone],
            speakers: vec![speaker],
            acoustic_loop: heard,
            ..found(&listed)
        })
    };
    run_and_report(&asked, &args.output, global, test)
}
