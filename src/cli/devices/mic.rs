//! `greenroom devices mic`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueHint};
use greenroom_reports::schema::{DeviceKind, Devices};
use greenroom_reports::units::Micros;

use super::list::unavailable;
use super::meter::LiveMeter;
use super::report::{find, found, run_and_report};
use crate::cli::args::{Global, OutputArgs};
use crate::cli::exit::{CliError, Exit};
use crate::cli::{output, values};
use crate::devices::Clock;
use crate::devices::audio::choose::choose;
use crate::devices::audio::listen::Ear;
use crate::devices::audio::microphone::test_microphone;
use crate::devices::audio::native::NativeAudio;
use crate::devices::audio::wav::{self, Recorder, WavError};
use crate::devices::audio::{AudioSystem, Role, Want};

#[derive(Debug, Args)]
pub(crate) struct MicArgs {
    /// Which microphone: its name, a part of it, or its id [default: the one that programs get]
    #[arg(long, value_name = "ID")]
    device: Option<String>,

    /// How long to listen: 1s to 10m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = values::duration)]
    duration: Micros,

    /// Keep what was heard in this file (WAV)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    record: Option<PathBuf>,

    /// Play it back afterwards, on the speaker that programs get
    #[arg(long, requires = "record")]
    play_back: bool,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &MicArgs, global: &Global) -> Result<Exit, CliError> {
    let system = NativeAudio::new(Clock::start());
    let asked = [DeviceKind::Microphone];
    let (listed, device) = match find(&system, Role::Microphone, args.device.as_deref()) {
        Ok(found) => found,
        Err(instead) => return run_and_report(&asked, &args.output, global, move |_| Ok(*instead)),
    };
    let recorder = args.record.as_deref().map(Recorder::new);
    if !global.quiet {
        let seconds = args.duration.as_secs();
        // Without standard error nobody reads it.
        let _ = writeln!(io::stderr(), "Listening to {} for {seconds:.0} s: please speak.", device.name);
    }
    let lasting = args.duration;
    let (watched, color) = (output::somebody_watches(global), output::stderr_is_colored());
    let ascii = output::terminal_options(global).ascii;
    let play_back = args.record.clone().filter(|_| args.play_back);
    let test = move |stop: Arc<AtomicBool>| -> Result<Devices, CliError> {
        let mut meter = LiveMeter::new(watched, color, ascii, lasting, stop);
        let mut recorder = recorder;
        let mut ears: Vec<&mut dyn Ear> = vec![&mut meter];
        ears.extend(recorder.as_mut().map(|recorder| recorder as &mut dyn Ear));
        let microphone = test_microphone(&system, &device, lasting, &mut ears);
        meter.end();
        let recorded = recorder.map(Recorder::finish).transpose().map_err(|error| cannot_write(&error))?;
        if let Some(path) = play_back.filter(|_| recorded == Some(true)) {
            play(&system, &path)?;
        }
        Ok(Devices { microphones: vec![microphone], ..found(&listed) })
    };
    run_and_report(&asked, &args.output, global, test)
}

fn cannot_write(error: &WavError) -> CliError {
    let source = match &error.source {
        hound::Error::IoError(source) => io::Error::new(source.kind(), source.to_string()),
        other => io::Error::other(other.to_string()),
    };
    CliError::output(&error.path, source)
}

/// Plays a recording.
fn play(system: &NativeAudio, path: &std::path::Path) -> Result<(), CliError> {
    let (format, samples) = wav::read(path).map_err(|error| CliError::input(path, &error.source))?;
    let listed = system.devices().map_err(|error| unavailable(&error))?;
    let speaker = choose(&listed, Role::Speaker, None).map_err(|error| unavailable(&error))?;
    let want = Want { rate_hz: Some(format.rate_hz), channels: Some(format.channels), ..Want::default() };
    let mut output = system.open_output(speaker, want).map_err(|error| unavailable(&error))?;
    let _ = writeln!(io::stderr(), "Playing it back on {}.", speaker.name);
    output.play(samples.into()).map_err(|error| unavailable(&error))?;
    while !output.wait(Micros::from_secs(1)).map_err(|error| unavailable(&error))?.over {}
    output.stop();
    Ok(())
}
