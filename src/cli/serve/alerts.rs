//! How `greenroom serve` tells of incidents by mail, and whom it takes for whose provider.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use greenroom_web::incidents::Providers;
use greenroom_web::webhooks::Mailer;

use super::gate::given;
use super::warn_if_shared;
use crate::cli::exit::CliError;
use crate::cli::settings;

#[derive(Debug, Args)]
pub(super) struct AlertArgs {
    /// Send alerts by this mail server: smtps://HOST[:PORT], or smtp://HOST[:PORT] for STARTTLS [env: GREENROOM_SMTP]
    #[arg(long, value_name = "URL", help_heading = "Alerts")]
    smtp: Option<String>,

    /// Whom mail is from: 'Greenroom <greenroom@example.org>' [env: GREENROOM_SMTP_FROM]
    #[arg(long, value_name = "ADDR", help_heading = "Alerts")]
    smtp_from: Option<String>,

    /// Name to sign in to the mail server with [env: GREENROOM_SMTP_USER]
    #[arg(long, value_name = "NAME", help_heading = "Alerts")]
    smtp_user: Option<String>,

    /// File with the password for that; also as GREENROOM_SMTP_PASSWORD
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Alerts")]
    smtp_password_file: Option<PathBuf>,

    /// Who provides which addresses, to tell providers apart: lines of prefix,asn,name with commas or tabs. Read at the start
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Alerts")]
    asn_file: Option<PathBuf>,
}

impl AlertArgs {
    /// What sends mail, if anything is to.
    pub(super) fn mail(&self, env: settings::Env<'_>) -> Result<Option<Mailer>, CliError> {
        let Some(server) = given(self.smtp.as_ref(), env, "GREENROOM_SMTP")? else { return Ok(None) };
        let from = given(self.smtp_from.as_ref(), env, "GREENROOM_SMTP_FROM")?.ok_or_else(|| {
            CliError::Usage("say with --smtp-from whom mail is from: greenroom@example.org".to_owned())
        })?;
        let password = match &self.smtp_password_file {
            Some(path) => {
                warn_if_shared(path);
                let text = std::fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
                Some(text.trim().to_owned())
            }
            None => given(None, env, "GREENROOM_SMTP_PASSWORD")?,
        };
        let user = match (given(self.smtp_user.as_ref(), env, "GREENROOM_SMTP_USER")?, password) {
            (Some(name), Some(password)) => Some((name, password)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(CliError::Usage(
                    "--smtp-user needs a password: --smtp-password-file, or GREENROOM_SMTP_PASSWORD"
                        .to_owned(),
                ));
            }
            (None, Some(_)) => {
                return Err(CliError::Usage("a password for mail needs a name: --smtp-user".to_owned()));
            }
        };
        let mailer = Mailer::new(&server, &from, user);
        mailer.map(Some).map_err(|error| CliError::Usage(format!("--smtp: {error}")))
    }

    /// Who provides which addresses.
    pub(super) fn providers(&self) -> Result<Providers, CliError> {
        let Some(path) = &self.asn_file else { return Ok(Providers::default()) };
        let text = std::fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
        Providers::read(&text).map_err(|error| CliError::input(path, &error))
    }
}
