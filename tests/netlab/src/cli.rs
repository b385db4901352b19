//! The command line: list the scenarios, run commands at both ends of a link, measure what the lab itself adds.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use greenroom_netlab::lab::{Lab, LabError, one_way};
use greenroom_netlab::scenario::{Problem, Scenario};
use greenroom_netlab::truth::Truth;
use greenroom_reports::trace::Direction;

/// Emulated links with ground truth.
#[derive(Parser)]
#[command(name = "netlab", version)]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Names the scenarios and says what each stands for.
    List,
    /// Runs a command at the agent's end of a link and writes down what the link did.
    Run(Run),
    /// Opens a shell at the agent's end of a link.
    Shell(LinkChoice),
    /// Measures what the lab itself adds to the delay of a link.
    Floor(Floor),
}

#[derive(Args)]
struct LinkChoice {
    /// A scenario by its name, or a TOML file.
    scenario: String,
    /// Gives the same link again.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    link: LinkChoice,
    /// Runs this shell command at the endpoint's end meanwhile.
    #[arg(long, value_name = "COMMAND")]
    there: Option<String>,
    /// Writes what became of every packet to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// The command at the agent's end. The endpoint is 10.203.0.2 and fd00:203::2.
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

#[derive(Args)]
struct Floor {
    #[command(flatten)]
    link: LinkChoice,
    /// Packets to send.
    #[arg(long, default_value_t = 1_000)]
    count: u32,
    /// Milliseconds between them.
    #[arg(long, default_value_t = 5)]
    gap_ms: u64,
}

/// Why a job was not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Scenario(#[from] Problem),
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("cannot {0}: {1}")]
    Step(String, io::Error),
}

impl Failure {
    /// As in the main program: 3 nothing can be said, 66 no input, 69 unavailable, 70 internal.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Lab(LabError::Late { .. } | LabError::Overrun { .. }) => 3,
            Self::Scenario(_) => 66,
            Self::Lab(LabError::NotPrivileged | LabError::NoTun(_)) => 69,
            Self::Lab(_) | Self::Step(..) => 70,
        }
    }
}

pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            // Whoever closed the output does not want to read it.
            let _ = error.print();
            return if usage { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.job {
        Job::List => list(),
        Job::Run(job) => run(job),
        Job::Shell(link) => shell(&link),
        Job::Floor(job) => floor(&job),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("netlab: {failure}");
        ExitCode::from(failure.exit_code())
    })
}

fn list() -> Result<ExitCode, Failure> {
    for scenario in Scenario::all()? {
        println!("{:28} {} [{}]", scenario.name, scenario.why, scenario.source);
    }
    Ok(ExitCode::SUCCESS)
}

fn run(job: Run) -> Result<ExitCode, Failure> {
    let lab = start(&job.link)?;
    let there = job.there.map(|command| Background::start(&lab, &command)).transpose()?;
    let (program, arguments) = job.command.split_first().expect("clap asks for at least one");
    let mut command = lab.here().command(program);
    command.args(arguments);
    let status = attend(&mut command)?;
    drop(there);
    let (truth, void) = split_void(lab.finish())?;
    summarize(&truth);
    if let Some(path) = job.truth {
        let file = std::fs::File::create(&path);
        let file = file.map_err(|error| Failure::Step(format!("write {}", path.display()), error))?;
        serde_json::to_writer(io::BufWriter::new(file), &truth)
            .map_err(|error| Failure::Step(format!("write {}", path.display()), error.into()))?;
    }
    void.map_or(Ok(exit_code(status)), |error| Err(error.into()))
}

fn shell(link: &LinkChoice) -> Result<ExitCode, Failure> {
    let lab = start(link)?;
    println!("This shell is at the agent's end; the endpoint is {}.", lab.there().ipv4());
    println!("For the other end, in another terminal: ip netns exec {} bash", lab.there().name());
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let status = attend(&mut lab.here().command(shell))?;
    let (truth, void) = split_void(lab.finish())?;
    summarize(&truth);
    void.map_or(Ok(exit_code(status)), |error| Err(error.into()))
}

fn floor(job: &Floor) -> Result<ExitCode, Failure> {
    let lab = start(&job.link)?;
    let linger = Duration::from_millis(500);
    let (packets, _) = one_way::send(&lab, job.count, Duration::from_millis(job.gap_ms), linger)
        .map_err(|error| Failure::Step("send packets through the lab".into(), error))?;
    let (truth, void) = split_void(lab.finish())?;
    let told = truth.up.iter().filter(|packet| packet.has_port(one_way::PORT));
    let mut unseen: Vec<Duration> = packets
        .iter()
        .zip(told)
        .filter_map(|(seen, told)| {
            let delay = seen.received.first()?.checked_sub(seen.sent?)?;
            delay.checked_sub(told.delay()?)
        })
        .collect();
    unseen.sort_unstable();
    let rank = |percent: usize| unseen.get((unseen.len() * percent).div_ceil(100).saturating_sub(1));
    let micros =
        |at: Option<&Duration>| at.map_or("none".into(), |at| format!("{:.1}", at.as_secs_f64() * 1e6));
    println!(
        "kernel to kernel beyond the truth, µs: p50 {} p95 {} p99 {} max {} (n {})",
        micros(rank(50)),
        micros(rank(95)),
        micros(rank(99)),
        micros(unseen.last()),
        unseen.len()
    );
    summarize(&truth);
    void.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}

fn start(link: &LinkChoice) -> Result<Lab, Failure> {
    let scenario = if link.scenario.ends_with(".toml") {
        Scenario::load(link.scenario.as_ref())?
    } else {
        Scenario::named(&link.scenario)?
    };
    Ok(Lab::start(&scenario, link.seed)?)
}

/// Runs a command to its end. Ctrl-C is for the command: this program stays to take the lab down.
fn attend(command: &mut Command) -> Result<ExitStatus, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    // SAFETY: SIG_IGN installs no handler, so no code of ours runs in signal context.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    let default = || {
        // SAFETY: as above; restores what the command expects to inherit, between fork and exec.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        Ok(())
    };
    // SAFETY: the closure calls signal only, which is safe between fork and exec.
    unsafe { command.pre_exec(default) };
    command.status().map_err(|error| Failure::Step(format!("run {name}"), error))
}

/// A void run still has a truth to show.
fn split_void(finished: Result<Truth, LabError>) -> Result<(Truth, Option<LabError>), Failure> {
    match finished {
        Ok(truth) => Ok((truth, None)),
        Err(LabError::Late { p99, truth }) => {
            Ok((truth.as_ref().clone(), Some(LabError::Late { p99, truth })))
        }
        Err(LabError::Overrun { dropped, truth }) => {
            Ok((truth.as_ref().clone(), Some(LabError::Overrun { dropped, truth })))
        }
        Err(error) => Err(error.into()),
    }
}

fn summarize(truth: &Truth) {
    for (name, direction) in [("up", Direction::Up), ("down", Direction::Down)] {
        let counts = truth.counts(direction, |_| true);
        eprintln!(
            "{name}: {} offered, {} delivered, {} dropped {:?}, {} duplicated, {} under way",
            counts.offered,
            counts.delivered,
            counts.lost(),
            counts.dropped,
            counts.duplicated,
            counts.under_way
        );
    }
    if let Some(late) = truth.lateness {
        eprintln!("link's own lateness: p50 {:?}, p99 {:?}, max {:?}", late.p50, late.p99, late.max);
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(70))
}

/// A command at the endpoint's end, ended with everything it started when the run is over.
struct Background(Child);

impl Background {
    fn start(lab: &Lab, command: &str) -> Result<Self, Failure> {
        let mut shell = lab.there().command("sh");
        shell.args(["-c", command]).process_group(0);
        shell.spawn().map(Self).map_err(|error| Failure::Step(format!("run {command}"), error))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.0.id()) {
            let group = nix::unistd::Pid::from_raw(group);
            // It may have ended by itself; then there is nothing to end.
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}
