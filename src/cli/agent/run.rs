//! `greenroom agent run`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use tokio_util::sync::CancellationToken;

use super::super::args::Global;
use super::super::block_on;
use super::super::exit::{CliError, Exit};
use super::super::settings::{self, Layer, TokenSource};
use super::super::signals::Signals;
use super::{StateArgs, agent_error};
use crate::agent::run::Local;
use crate::agent::{self, Place};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    state: StateArgs,

    /// Name or address of the network interface to measure from [default: the system's choice]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,

    /// File with the endpoints' token. It is only sent to an endpoint that proved who it is
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
}

pub(super) fn run(args: &RunArgs, global: &Global) -> Result<Exit, CliError> {
    let layer = Layer {
        interface: args.interface.clone(),
        token: args.token_file.clone().map(TokenSource::File),
        ..Layer::default()
    };
    let settings = settings::resolve(layer, global.config.as_deref(), &settings::process_env)?;
    let local = Local { token: settings.token, interface: settings.interface };
    let folder = args.state.folder()?;
    let place = if folder.exists() { Place::at(&folder) } else { args.state.open()? };
    block_on(async {
        let mut signals = Signals::listen()
            .map_err(|error| CliError::Internal(format!("cannot listen for signals: {error}")))?;
        let stop = CancellationToken::new();
        let asked = stop.clone();
        let stopping = async {
            signals.next().await;
            asked.cancel();
            signals.next().await;
        };
        tokio::select! {
            ended = agent::run(&place, local, stop) => ended.map_err(|error| agent_error(&place, error))?,
            // Whoever asks twice is in a hurry. What was finished is on the disk.
            () = stopping => {}
        }
        Ok(Exit::Ready)
    })?
}
