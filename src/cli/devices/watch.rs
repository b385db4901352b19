//! `greenroom devices watch`.

use std::time::Duration;

use clap::Args;

use crate::cli::args::Global;
use crate::cli::exit::{CliError, Exit};
use crate::cli::{block_on, output};
use crate::devices::audio::changes::{Change, changes};
use crate::devices::audio::native::NativeAudio;
use crate::devices::audio::{AudioDevice, AudioSystem as _};
use crate::devices::{Clock, DeviceError, Os};

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// How often is looked. No library tells of changes on every system, and a look takes a millisecond.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn run(args: &WatchArgs, global: &Global) -> Result<Exit, CliError> {
    let system = NativeAudio::new(Clock::start());
    let first = system.devices();
    if !global.quiet && !args.json {
        let count = first.as_ref().map_or(0, Vec::len);
        output::to_stdout(&format!("Watching {count} sound devices. Ctrl-C stops it.\n"))?;
    }
    block_on(async {
        let mut watch = Watch { json: args.json, known: Vec::new(), trouble: None };
        watch.start(first)?;
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Ready),
                _ = ticks.tick() => {
                    let looking = system.clone();
                    let looked = tokio::task::spawn_blocking(move || looking.devices()).await;
                    watch.tell(looked.map_err(|error| CliError::Internal(error.to_string()))?)?;
                }
            }
        }
    })?
}

/// What was last seen.
struct Watch {
    json: bool,
    known: Vec<AudioDevice>,
    trouble: Option<DeviceError>,
}

impl Watch {
    fn start(&mut self, looked: Result<Vec<AudioDevice>, DeviceError>) -> Result<(), CliError> {
        match looked {
            Ok(devices) => self.known = devices,
            Err(error) => self.trouble_is(error)?,
        }
        Ok(())
    }

    fn tell(&mut self, looked: Result<Vec<AudioDevice>, DeviceError>) -> Result<(), CliError> {
        match looked {
            Ok(now) => {
                if self.trouble.take().is_some() {
                    self.line("The sound devices can be reached again", || {
                        r#"{"event":"reached"}"#.to_owned()
                    })?;
                }
                for change in changes(&self.known, &now) {
                    self.line(&sentence(&change), || serde_json::to_string(&change).unwrap_or_default())?;
                }
                self.known = now;
                Ok(())
            }
            Err(error) => self.trouble_is(error),
        }
    }

    /// Tells a trouble once.
    fn trouble_is(&mut self, error: DeviceError) -> Result<(), CliError> {
        if self.trouble.as_ref().map(DeviceError::code) != Some(error.code()) {
            let json =
                serde_json::json!({ "event": "unreachable", "code": error.code(), "say": error.say() });
            self.line(&format!("{error}. {}", error.fix(Os::HERE)), || json.to_string())?;
        }
        self.trouble = Some(error);
        Ok(())
    }

    fn line(&self, text: &str, json: impl FnOnce() -> String) -> Result<(), CliError> {
        let line = if self.json { json() } else { text.to_owned() };
        output::to_stdout(&(line + "\n"))
    }
}

fn sentence(change: &Change) -> String {
    let called = |device: &AudioDevice| format!("{} ({})", device.name, device.role.word());
    match change {
        Change::Added(device) => format!("+ {}", called(device)),
        Change::Removed(device) => format!("- {}", called(device)),
        Change::Default { role, device: Some(device) } => {
            format!("The default {} is now {}", role.word(), device.name)
        }
        Change::Default { role, device: None } => format!("There is no default {} any more", role.word()),
        Change::Muted(device) => format!("{} was muted", called(device)),
        Change::Unmuted(device) => format!("{} is not muted any more", called(device)),
    }
}
