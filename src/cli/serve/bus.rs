//! `greenroom serve --bus`: which stream reports go through.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use greenroom_web::bus::nats::{Nats, NatsConfig, NatsError};

use crate::cli::exit::CliError;
use crate::cli::settings;

/// The stream that reports go through.
#[derive(Debug, Args)]
pub(super) struct BusArgs {
    /// Take reports through NATS JetStream: nats://HOST:4222 or tls://HOST:4222, several with commas between. Reports are taken while the
    /// database is away. With a password: in GREENROOM_BUS [default: straight into the store]
    #[arg(long, value_name = "URL", help_heading = "What is kept")]
    bus: Option<String>,

    /// File with the credentials for --bus (JWT and nkey, as `nsc` writes it)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "What is kept")]
    bus_credentials: Option<PathBuf>,

    /// Certificates in PEM of the authority that the servers of --bus have theirs from [default: those that this system trusts]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "What is kept")]
    bus_ca: Option<PathBuf>,
}

impl BusArgs {
    pub(super) fn is_given(&self) -> bool {
        self.bus.is_some()
    }

    /// Connects, where a bus is named.
    pub(super) async fn connect(&self, env: settings::Env<'_>) -> Result<Option<Nats>, CliError> {
        let by_env = || env("GREENROOM_BUS").filter(|value| !value.is_empty());
        let servers = match &self.bus {
            Some(text) => text.clone(),
            None => match by_env().map(std::ffi::OsString::into_string) {
                Some(Ok(text)) => text,
                Some(Err(_)) => {
                    return Err(CliError::Usage("GREENROOM_BUS is not valid text (UTF-8)".to_owned()));
                }
                None if self.bus_credentials.is_some() || self.bus_ca.is_some() => {
                    return Err(CliError::Usage(
                        "--bus-credentials and --bus-ca need --bus URL, to know where to".to_owned(),
                    ));
                }
                None => return Ok(None),
            },
        };
        if !servers
            .split(',')
            .all(|one| ["nats://", "tls://"].iter().any(|scheme| one.trim().starts_with(scheme)))
        {
            return Err(CliError::Usage(
                "--bus: write nats://HOST:4222 or tls://HOST:4222, several with commas between".to_owned(),
            ));
        }
        let config =
            NatsConfig { servers, credentials: self.bus_credentials.clone(), authority: self.bus_ca.clone() };
        let connected = Nats::connect(&config).await.map_err(|error| match error {
            NatsError::File { path, problem } => CliError::Input { path, problem },
            NatsError::Address(_) => CliError::Usage(format!("--bus: {error}")),
            NatsError::Connect(_) | NatsError::Stream(_) => CliError::Unavailable(error.to_string()),
        });
        connected.map(Some)
    }
}
