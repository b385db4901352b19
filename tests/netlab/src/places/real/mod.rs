//! Situations in real time: network namespaces, the emulated link where the trouble is, servers that really do what is wrong, and the
//! real program at both ends.
//!
//! Needs root, `/dev/net/tun` and nftables.

mod answers;
mod authority;
mod beside;
mod program;
mod relay;
mod servers;
mod world;

use std::io;
use std::path::Path;
use std::time::Duration;

use greenroom_reports::schema::{self, Report};

use super::{Blamed, Situation};
use crate::lab::LabError;
use crate::scenario::{Problem, Scenario};
use program::{Endpoint, Run};
use world::{SECOND, World};

/// Fewer datagrams than this are a receive queue that is to overrun.
const SMALL_QUEUE: usize = 1_000;
/// The note that a certificate is not from a public authority. On this stage none is: there the program is right, and it is no fault.
const PRIVATE: &str = "certificate_private";
/// Notes on what else the computer does. Whatever else it does beside the lab is true, and not of the situation.
const LOAD: [&str; 3] = ["cpu_busy", "cpu_stolen", "send_late"];

/// A check that was made in a situation.
#[derive(Debug)]
pub struct Seen {
    /// What the program reported.
    pub report: Report,
    /// How long it ran.
    pub took: Duration,
    /// What was run at the computer.
    pub command: String,
    /// How late the link itself was (p99), where that was more than it may be.
    pub late: Option<Duration>,
    /// Whether the situation itself keeps the computer busy.
    loaded: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RealError {
    /// A network is unreadable or malformed.
    #[error(transparent)]
    Scenario(#[from] Problem),
    /// Namespaces or the link.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Something else could not be set up.
    #[error("cannot {step}: {source}")]
    Step {
        /// What.
        step: String,
        /// Why.
        source: io::Error,
    },
    /// The program said something else than a report.
    #[error("{command} made no report: {said}")]
    NoReport {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
}

/// What happens at intervals while a check runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disturbance {
    /// The router forgets whom it translated addresses for.
    ForgetMappings,
    /// The check is not given a processor for a while.
    Halt,
}

/// Makes the situation real and runs one check in it; `program` is `greenroom`. The same seed gives the same link.
///
/// # Errors
///
/// When it cannot be set up, or the program makes no report.
pub fn check(situation: &Situation, seed: u64, program: &Path) -> Result<Seen, RealError> {
    let scenario = Scenario::named(&situation.network)?;
    let folder =
        tempfile::tempdir().map_err(|source| RealError::Step { step: "make a folder".into(), source })?;
    let mut world = World::start(&scenario, situation.trouble, seed)?;
    if situation.second.is_some() {
        world.add_second()?;
    }
    if let Some(port) = situation.only_port {
        world.router().filter(&format!(
            "table ip firewall {{ chain through {{ type filter hook forward priority 0; \
             iifname \"near0\" meta l4proto tcp tcp dport != {port} drop; \
             iifname \"near0\" meta l4proto udp udp dport != {port} drop; }}; }}"
        ))?;
    }
    let mut stage = beside::stage(&situation.beside, &world, seed, folder.path())?;
    let small_buffers = scenario.hosts.here.receive_queue < SMALL_QUEUE;
    if small_buffers {
        let shim = program::small_buffers(folder.path())?;
        stage.environment.push(("LD_PRELOAD".to_owned(), shim.display().to_string()));
        stage.disturbances.push(Disturbance::Halt);
    }
    let of = |address: std::net::Ipv4Addr| match situation.only_port {
        Some(port) => format!("{address}:{port}"),
        None => address.to_string(),
    };
    let mut targets = vec![of(world.endpoint())];
    let mut endpoints = vec![Endpoint::start(world.servers(), program, &targets[0])?];
    if let Some(second) = world.second() {
        endpoints.push(Endpoint::start(second, program, &SECOND.to_string())?);
        targets.push(SECOND.to_string());
    }
    targets.append(&mut stage.targets);
    let run = Run { program, targets: &targets, stage: &stage, folder: folder.path() };
    let (text, took) = run.to_its_end(&world)?;
    drop(endpoints);
    let late = match world.finish() {
        Ok(_) => None,
        Err(LabError::Late { p99, .. }) => Some(p99),
        Err(error) => return Err(error.into()),
    };
    let command = run.told();
    let report = schema::read(&text)
        .map_err(|error| RealError::NoReport { command: command.clone(), said: error.to_string() })?;
    Ok(Seen { report, took, command, late, loaded: scenario.hosts.busy_loops > 0 })
}

impl Seen {
    /// What is blamed: the place of the leading cause, or of the first note where nothing is wrong and the note is not of the stage.
    pub fn blamed(&self) -> Blamed {
        let verdict = &self.report.verdict;
        let of_stage = |code: &str| code == PRIVATE || (!self.loaded && LOAD.contains(&code));
        let mut notes = verdict.causes.iter().filter(|note| !of_stage(&note.code));
        verdict.place.or_else(|| notes.next().map(|note| note.place))
    }
}
