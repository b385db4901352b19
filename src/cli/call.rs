//! What `check` and `diagnose` have in common: what the call needs, how it is judged, and to whom the result is sent.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use greenroom_reports::redact;
use greenroom_reports::schema::{Mode, Report, Use};

use super::args::{Global, NetworkArgs};
use super::block_on;
use super::exit::CliError;
use super::settings::{self, Layer, Settings, TokenSource};
use super::targets::With;
use super::values;
use crate::address::{Portal, Token};
use crate::net::upload::{self, TicketLink, TicketLinkError, UploadUrl};

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// Endpoint to check against: HOST, HOST:PORT or greenroom://HOST[:PORT][#sha256=FINGERPRINT], and whatever else
    /// the call needs, as `greenroom measure` takes it: all of them must work. Without any, this computer is tested by
    /// itself, which says nothing about the internet [default: the endpoint of the settings]
    #[arg(value_name = "TARGET", value_hint = ValueHint::Hostname)]
    pub(crate) targets: Vec<String>,

    /// What the call will use: audio, 360p, 720p, 1080p, screen [default: audio,720p]
    #[arg(long = "for", value_name = "USES", value_delimiter = ',', value_parser = values::use_)]
    pub(crate) uses: Option<Vec<Use>>,

    /// Devices that must work: mic, speaker, camera; none leaves them out [default: those that there are]
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub(crate) devices: Option<Vec<String>>,

    /// Thresholds to judge by: default, teams, meet, zoom, y1541, or a file [default: default]
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) profile: Option<String>,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    /// File with the user name (first line) and the password (second line) for a TURN server; or set
    /// GREENROOM_TURN_USERNAME and GREENROOM_TURN_PASSWORD. The password itself is never sent
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Network")]
    pub(crate) turn_user_file: Option<PathBuf>,

    /// Folder with your own entries for service:NAME, which come before those of the program
    /// [default: ~/.config/greenroom/services, where it exists]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Network")]
    pub(crate) catalog: Option<PathBuf>,

    /// Where a sign-in page is looked for: http://HOST/PATH of a page that answers 204, or off [default: at the endpoint's
    /// own host, whether or not it answers web requests]
    #[arg(long, value_name = "URL|off", help_heading = "Network")]
    pub(crate) portal_url: Option<Portal>,

    #[command(flatten)]
    pub(crate) send: SendArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Send it to whoever gave you this link (- reads the link from standard input), without whole addresses and the
    /// names of devices
    #[arg(long, value_name = "LINK", conflicts_with_all = ["upload", "key_file"], help_heading = "Send")]
    ticket: Option<String>,

    /// Send it to this greenroom serve: https://HOST[:PORT][#sha256=FINGERPRINT]
    #[arg(long, value_name = "URL", help_heading = "Send")]
    upload: Option<UploadUrl>,

    /// File with the key to send it with (- for standard input)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Send")]
    key_file: Option<PathBuf>,

    /// Say whose report this is, for whoever looks it up: site, person, ticket. Can be given more than once
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::label, help_heading = "Send")]
    labels: Vec<(String, String)>,
}

impl CallArgs {
    /// What some kinds of targets are measured with.
    pub(super) fn with(&self) -> With<'_> {
        With { turn_user_file: self.turn_user_file.as_deref(), catalog: self.catalog.as_deref() }
    }

    /// What the command line says of the settings.
    pub(super) fn layer(&self, mode: Option<Mode>) -> Result<Layer, CliError> {
        let devices = self.devices.as_deref().map(values::devices).transpose().map_err(CliError::Usage)?;
        Ok(Layer {
            devices,
            uses: self.uses.as_ref().map(|uses| uses.iter().copied().collect()),
            mode,
            profile: self.profile.clone(),
            portal: self.portal_url.clone(),
            labels: self.send.labels.iter().cloned().collect(),
            upload: self.send.upload.clone(),
            upload_key: self.send.key_file.clone().map(TokenSource::File),
            ..self.network.layer()?
        })
    }
}

/// Where a result is sent, with what opens that.
#[derive(Debug)]
pub(super) struct Recipient {
    url: UploadUrl,
    key: Token,
    /// Whether whoever reads it there is a stranger to this computer, to whom nothing personal is given.
    pub(super) is_stranger: bool,
}

impl SendArgs {
    /// Where it is sent; known before anything is measured.
    pub(super) fn recipient(&self, settings: &Settings) -> Result<Option<Recipient>, CliError> {
        let Some(link) = &self.ticket else {
            return self.own_server(settings);
        };
        let link = match link.as_str() {
            "-" => {
                io::read_to_string(io::stdin()).map_err(|error| CliError::input(Path::new("-"), &error))?
            }
            given => given.to_owned(),
        };
        // What is wrong is told without the link, which is for one person.
        let link: TicketLink = link
            .trim()
            .parse()
            .map_err(|error: TicketLinkError| CliError::Usage(format!("--ticket: {error}")))?;
        Ok(Some(Recipient { url: link.server, key: link.token, is_stranger: true }))
    }

    fn own_server(&self, settings: &Settings) -> Result<Option<Recipient>, CliError> {
        let Some(url) = settings.upload.clone() else {
            return match self.key_file {
                Some(_) => Err(CliError::Usage("--key-file needs --upload URL, to know where to".to_owned())),
                None => Ok(None),
            };
        };
        let Some(key) = settings.upload_key.clone() else {
            return Err(CliError::Usage(format!(
                "{url} takes reports with a key alone: give --key-file FILE, or set GREENROOM_UPLOAD_KEY"
            )));
        };
        Ok(Some(Recipient { url, key: settings::load_token(key)?, is_stranger: false }))
    }
}

impl Recipient {
    /// Sends a report, and says how it is found there.
    pub(super) fn send(&self, report: &Report, global: &Global) -> Result<(), CliError> {
        let json = serde_json::to_vec(report)
            .map_err(|error| CliError::Internal(format!("a report is no JSON: {error}")))?;
        let kept = block_on(upload::upload(&self.url, &self.key, &json))?
            .map_err(|error| CliError::Upload { to: self.url.to_string(), problem: error.to_string() })?;
        if !global.quiet {
            // Without standard error nobody reads it.
            let _ = writeln!(io::stderr(), "Sent to {}. Say {} to whoever helps you.", self.url, report.code);
            tracing::debug!(page = kept.url, "sent");
        }
        Ok(())
    }
}

/// A report without what is personal.
pub(super) fn redacted(report: &Report) -> Result<Report, CliError> {
    redact::for_support(report)
        .ok_or_else(|| CliError::Internal("a report without what is personal is none".to_owned()))
}
