//! `greenroom agent enroll`.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueHint};
use greenroom_reports::fleet::AgentState;

use super::super::args::Global;
use super::super::exit::{CliError, Exit};
use super::super::respond::warn_if_shared;
use super::super::settings::{self, TokenSource};
use super::super::{block_on, output};
use super::{StateArgs, agent_error};
use crate::address::Token;
use crate::agent;
use crate::net::upload::{UploadUrl, UploadUrlError};

#[derive(Debug, Args)]
pub(crate) struct EnrollArgs {
    /// Server to report to: https://HOST[:PORT][#sha256=FINGERPRINT]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    server: String,

    /// File with the enrollment token (- for standard input); or set GREENROOM_ENROLL_TOKEN
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,

    /// What the server calls this computer [default: its own name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Enroll anew, with a new key, as another agent
    #[arg(long)]
    again: bool,

    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &EnrollArgs, global: &Global) -> Result<Exit, CliError> {
    let url: UploadUrl =
        args.server.parse().map_err(|error: UploadUrlError| CliError::Usage(format!("--server: {error}")))?;
    let token = args.token()?;
    let name =
        args.name.clone().or_else(host_name).ok_or_else(|| {
            CliError::Usage("this computer has no name; give it one with --name".to_owned())
        })?;
    let place = args.state.open()?;
    let enrolled = block_on(agent::enroll(&place, (&args.server, &url), &token, &name, args.again))?
        .map_err(|error| agent_error(&place, error))?;
    if global.quiet {
        return Ok(Exit::Ready);
    }
    let mut text = format!("Enrolled at {url} as {name}, agent {}.\n", enrolled.agent);
    let before = match enrolled.state {
        AgentState::Active => "Start it with:",
        _ => "An admin has to approve it on the page Agents; it may be started meanwhile:",
    };
    let state = args.state.state.as_ref().map(|state| format!(" --state {}", state.display()));
    text += &format!("{before} greenroom agent run{}\n", state.unwrap_or_default());
    output::to_stdout(&text)?;
    Ok(Exit::Ready)
}

impl EnrollArgs {
    fn token(&self) -> Result<Token, CliError> {
        if let Some(path) = &self.token_file {
            warn_if_shared(path);
            return settings::load_token(TokenSource::File(path.clone()));
        }
        if let Some(value) = settings::process_env("GREENROOM_ENROLL_TOKEN") {
            let text = value.into_string().map_err(|_| {
                CliError::Usage("GREENROOM_ENROLL_TOKEN is not valid text (UTF-8)".to_owned())
            })?;
            if let Some(token) = Token::new(text.trim()) {
                return Ok(token);
            }
        }
        // Somebody at a terminal would not know that this waits.
        let _ = writeln!(
            io::stderr(),
            "An enrollment token is needed; an admin makes one on the page Agents of the server."
        );
        Err(CliError::Usage(
            "give --token-file FILE (- for standard input), or set GREENROOM_ENROLL_TOKEN".to_owned(),
        ))
    }
}

/// What the system calls this computer.
fn host_name() -> Option<String> {
    let told = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| {
        settings::process_env("COMPUTERNAME")
            .or_else(|| settings::process_env("HOSTNAME"))?
            .into_string()
            .ok()
    });
    told.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}
