//! `greenroom agent`.

mod doctor;
mod enroll;
mod install;
mod run;
mod status;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::args::Global;
use super::exit::{CliError, Exit};
use super::settings;
use crate::agent::{AgentError, Place};

const ENROLL_EXAMPLES: &str = "\
Examples:
  greenroom agent enroll --server https://greenroom.example --token-file FILE
  greenroom agent enroll --server https://greenroom.example --token-file - < FILE
  GREENROOM_ENROLL_TOKEN=… greenroom agent enroll --server https://greenroom.example

An admin makes tokens on the page Agents of the server. The key of this computer is made here and stays here.

Exit codes:
  0 enrolled, 64 wrong usage, 66 the token cannot be read, 69 the server cannot be reached or says no, 73 cannot write";

const RUN_EXAMPLES: &str = "\
Examples:
  greenroom agent run                                 in the foreground, until Ctrl-C or SIGTERM
  greenroom agent run --state /var/lib/greenroom-agent

What it runs and how often is set on the page Schedules of the server.

Exit codes:
  0 stopped, 64 wrong usage, 66 this computer is not enrolled, 69 an agent runs here already";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  greenroom agent doctor                              what keeps this agent from its work?

Exit codes:
  0 nothing, 1 something, and what to do about it";

const INSTALL_EXAMPLES: &str = "\
Examples:
  greenroom agent install --print                     look at it first
  sudo greenroom agent install
  sudo greenroom agent enroll --server https://greenroom.example --token-file FILE --state /var/lib/greenroom-agent
  sudo systemctl daemon-reload && sudo systemctl enable --now greenroom-agent";

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Make this computer an agent of a server
    #[command(after_help = ENROLL_EXAMPLES)]
    Enroll(enroll::EnrollArgs),
    /// Check on schedule and send what is found, until stopped
    #[command(after_help = RUN_EXAMPLES)]
    Run(run::RunArgs),
    /// Say how the agent of this computer is doing
    Status(status::StatusArgs),
    /// Find out what keeps the agent of this computer from its work
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(doctor::DoctorArgs),
    /// Write the unit by which systemd runs the agent
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(install::InstallArgs),
}

pub(super) fn run(command: &AgentCommand, global: &Global) -> Result<Exit, CliError> {
    match command {
        AgentCommand::Enroll(args) => enroll::run(args, global),
        AgentCommand::Run(args) => run::run(args, global),
        AgentCommand::Status(args) => status::run(args),
        AgentCommand::Doctor(args) => doctor::run(args),
        AgentCommand::Install(args) => install::run(args),
    }
}

/// Where the agent keeps what it has.
#[derive(Debug, Args)]
struct StateArgs {
    /// Folder with the agent's key and its reports [default: where systemd says, else ~/.local/state/greenroom/agent]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    state: Option<PathBuf>,
}

impl StateArgs {
    fn folder(&self) -> Result<PathBuf, CliError> {
        self.state.clone().or_else(|| settings::agent_dir(&settings::process_env)).ok_or_else(|| {
            CliError::Usage(
                "say with --state where the agent keeps what it has: this user has no home".to_owned(),
            )
        })
    }

    fn open(&self) -> Result<Place, CliError> {
        let folder = self.folder()?;
        Place::open(&folder).map_err(|error| CliError::output(&folder, error))
    }
}

fn agent_error(place: &Place, error: AgentError) -> CliError {
    match error {
        AgentError::NotEnrolled | AgentError::Identity(_) | AgentError::Address(_) => {
            CliError::Input { path: place.folder().to_owned(), problem: error.to_string() }
        }
        AgentError::Enrolled(_) => CliError::Usage(error.to_string()),
        AgentError::Running(_) | AgentError::Server(_) => CliError::Unavailable(error.to_string()),
        AgentError::Folder { folder, source } => CliError::output(&folder, source),
    }
}
