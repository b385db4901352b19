//! `greenroom simulate`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::args::Global;
use super::exit::{CliError, Exit};
use super::settings::{self, TokenSource};
use super::signals::Signals;
use super::{block_on, output};
use crate::address::Token;
use crate::net::clock::Clock;
use crate::net::upload::UploadUrl;
use crate::simulate::model::{Fleet, FleetSpec};
use crate::simulate::{self, SimulateError, Target, Told};

pub(super) const EXAMPLES: &str = "\
Examples:
  greenroom simulate --agents 1000 --minutes 10 --to http://127.0.0.1:8080 --key-file key
  greenroom simulate --agents 100000 --minutes 5 --to https://test.example --key-file key --truth truth.jsonl
  greenroom simulate --agents 1000 --backlog-minutes 30 --to http://127.0.0.1:8080 --key-file key

The reports are made up: nothing is measured. Send them to a server that is there for tests.
The file of --truth has a line for each thing that goes wrong: who, scope, from, until, what, agents.

Exit codes:
  0 all were kept, 1 some were not, 64 wrong usage, 66 the key cannot be read, 73 a file cannot be written,
  130 stopped";

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// The server that gets the reports: https://HOST, or http:// on this computer
    #[arg(long, value_name = "URL")]
    to: UploadUrl,

    /// File with a key to send reports, which stands for all agents [env: GREENROOM_UPLOAD_KEY]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key_file: Option<PathBuf>,

    /// How many agents
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    agents: u32,

    /// How long
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=43_200))]
    minutes: u32,

    /// Seconds from run to run of an agent; a second schedule runs each hour besides
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    every: u32,

    /// The same seed gives the same fleet and the same trouble [default: by chance, and told]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Write what goes wrong into this file, a JSON object a line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    truth: Option<PathBuf>,

    /// The fleet was cut off for so long before: what it made then is sent beside
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_440))]
    backlog_minutes: u32,

    /// How many of these a second [default: twice as many as come anyway]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    backlog_rate: Option<u32>,

    /// Requests at once
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    connections: u16,

    /// Send each report so many times: it has to count once
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    times: u32,

    /// Write the figures as JSON to this file (- for standard output) at the end
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,
}

pub(super) fn run(args: &SimulateArgs, global: &Global) -> Result<Exit, CliError> {
    let key = args.key()?;
    for file in [&args.truth, &args.json].into_iter().flatten().filter(|file| *file != Path::new("-")) {
        output::check_writable(file)?;
    }
    let clock = Clock::start();
    let fleet = Fleet::new(args.spec(&clock));
    if let Some(file) = &args.truth {
        write_truth(file, &fleet)?;
    }
    say(global, &args.announcement(&fleet));
    let target = args.target(key);
    let stop = CancellationToken::new();
    let told = block_on(async {
        let mut signals = Signals::listen()
            .map_err(|error| CliError::Internal(format!("cannot listen for signals: {error}")))?;
        let ends = stop.clone();
        tokio::spawn(async move {
            signals.next().await;
            ends.cancel();
        });
        let mut before = Told::default();
        let mut tell = |told: &Told| {
            say(global, &line(told, &before));
            before = told.clone();
        };
        simulate::run(&fleet, &target, &clock, &stop, &mut tell).await.map_err(|error| match error {
            SimulateError::Key(_) => CliError::Usage(error.to_string()),
            SimulateError::Pack(_) => CliError::Internal(error.to_string()),
        })
    })??;
    args.finish(&told, stop.is_cancelled())
}

fn say(global: &Global, text: &str) {
    if !global.quiet {
        // Without standard error nobody reads it.
        let _ = writeln!(io::stderr(), "{text}");
    }
}

fn write_truth(file: &Path, fleet: &Fleet) -> Result<(), CliError> {
    let mut lines = String::new();
    for incident in fleet.incidents() {
        let line = serde_json::to_string(incident)
            .map_err(|error| CliError::Internal(format!("the truth is no JSON: {error}")))?;
        lines += &line;
        lines.push('\n');
    }
    std::fs::write(file, lines).map_err(|error| CliError::output(file, error))
}

/// Ten seconds in a line.
fn line(told: &Told, before: &Told) -> String {
    let kept = |told: &Told| told.accepted + told.duplicate;
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    let rate = (kept(told) - kept(before)) as f64 / (told.took_s - before.took_s).max(0.001);
    let ms = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1}"));
    format!(
        "{:>6.0} s  {rate:>7.1} kept/s  {} kept, {} put off, {} unanswered, {} refused, {} wait  202 after {} / {} / {} ms (p50/p95/p99)  own {} of a core",
        told.took_s,
        kept(told),
        told.put_off,
        told.unanswered,
        told.refused,
        told.left,
        ms(told.to_202_p50_ms),
        ms(told.to_202_p95_ms),
        ms(told.to_202_p99_ms),
        told.cpu_ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.0} %", 100.0 * ratio)),
    )
}

impl SimulateArgs {
    fn key(&self) -> Result<Token, CliError> {
        let by_env = || settings::process_env("GREENROOM_UPLOAD_KEY").and_then(|key| key.into_string().ok());
        match &self.key_file {
            Some(file) => settings::load_token(TokenSource::File(file.clone())),
            None => by_env().and_then(Token::new).ok_or_else(|| {
                CliError::Usage(format!(
                    "{} takes reports with a key alone: give --key-file FILE, or set GREENROOM_UPLOAD_KEY",
                    self.to
                ))
            }),
        }
    }

    fn spec(&self, clock: &Clock) -> FleetSpec {
        let from = clock.wall();
        let lasts = SignedDuration::from_mins(i64::from(self.minutes));
        // Of a new id 62 bits are chance.
        let seed = self.seed.unwrap_or_else(|| clock.new_id().as_u64_pair().1 % 1_000_000);
        let until = from.saturating_add(lasts).unwrap_or(from);
        FleetSpec { seed, agents: self.agents, every_s: self.every, hourly: true, from, until }
    }

    /// Reports a second when nothing is wrong.
    fn per_second(&self) -> f64 {
        f64::from(self.agents) * (1.0 / f64::from(self.every) + 1.0 / 3_600.0)
    }

    fn target(&self, key: Token) -> Target {
        Target {
            url: self.to.clone(),
            key,
            connections: usize::from(self.connections),
            times: self.times,
            backlog_ms: 60_000 * i64::from(self.backlog_minutes),
            backlog_per_s: self.backlog_rate.map_or_else(|| 2.0 * self.per_second(), f64::from),
        }
    }

    fn announcement(&self, fleet: &Fleet) -> String {
        format!(
            "{} agents that do not exist report to {} for {} min, {:.1} reports/s. Seed {}; {} things go wrong.",
            self.agents,
            self.to,
            self.minutes,
            self.per_second(),
            fleet.spec().seed,
            fleet.incidents().len(),
        )
    }

    fn finish(&self, told: &Told, stopped: bool) -> Result<Exit, CliError> {
        let json = serde_json::to_string_pretty(told)
            .map_err(|error| CliError::Internal(format!("the figures are no JSON: {error}")))?;
        match self.json.as_deref() {
            Some(file) if file != Path::new("-") => {
                std::fs::write(file, json).map_err(|error| CliError::output(file, error))?;
            }
            Some(_) => output::to_stdout(&format!("{json}\n"))?,
            None => output::to_stdout(&format!("{}\n", line(told, &Told::default()).trim_start()))?,
        }
        if let Some(trouble) = &told.last_trouble {
            tracing::warn!("the last trouble was: {trouble}");
        }
        Ok(match told.left + told.refused {
            _ if stopped => Exit::Interrupted,
            0 => Exit::Ready,
            _ => Exit::Degraded,
        })
    }
}
