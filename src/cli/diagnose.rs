//! `greenroom diagnose`: the support run, in one file that can be sent.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use greenroom_reports::redact;
use greenroom_reports::render::terminal;
use greenroom_reports::schema::{Kind, Mode, Report, Use};

use super::args::{Global, NetworkArgs};
use super::exit::{CliError, Exit};
use super::settings::{self, Layer, Settings, TokenSource};
use super::targets::{Named, refuse_idle_turn_user};
use super::{check, output, report, values};
use crate::address::{Host, TargetUrl, Token};
use crate::bundle::{self, SUFFIX};
use crate::net::upload::{TicketLink, TicketLinkError, UploadUrl};
use crate::plan::Traffic;

#[derive(Debug, Args)]
pub(crate) struct DiagnoseArgs {
    /// What the call needs, as `greenroom check` takes it [default: the endpoint of the settings]
    #[arg(value_name = "TARGET", value_hint = ValueHint::Hostname)]
    targets: Vec<String>,

    /// What the call will use: audio, 360p, 720p, 1080p, screen [default: audio,720p]
    #[arg(long = "for", value_name = "USES", value_delimiter = ',', value_parser = values::use_)]
    uses: Option<Vec<Use>>,

    /// Devices that must work: mic, speaker, camera; none leaves them out [default: those that there are]
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    devices: Option<Vec<String>>,

    /// Thresholds to judge by: default, teams, meet, zoom, y1541, or a file [default: default]
    #[arg(long, value_name = "NAME|FILE")]
    profile: Option<String>,

    #[command(flatten)]
    network: NetworkArgs,

    /// File with the user name (first line) and the password (second line) for a TURN server; or set
    /// GREENROOM_TURN_USERNAME and GREENROOM_TURN_PASSWORD. The password itself is never sent
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Network")]
    turn_user_file: Option<PathBuf>,

    /// Write to this file [default: greenroom-CODE.greenroom.zip, here]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "File")]
    file: Option<PathBuf>,

    /// Hide nothing: whole addresses and the names of devices are in it too
    #[arg(long, help_heading = "File")]
    full: bool,

    /// Measure nothing: hide what is personal in this report or support file, and write that
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "File")]
    #[arg(conflicts_with_all = ["targets", "full", "ticket", "upload", "uses", "devices"])]
    redact: Option<PathBuf>,

    /// Send it to whoever gave you this link (- reads the link from standard input)
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

/// Where the result is sent, with what opens that.
type Recipient = (UploadUrl, Token);

pub(super) fn run(args: &DiagnoseArgs, global: &Global) -> Result<Exit, CliError> {
    if let Some(file) = &args.redact {
        return redact_file(file, args.file.as_deref());
    }
    let named = Named::read(&args.targets)?;
    let settings = settings::resolve(args.layer(&named)?, global.config.as_deref(), &settings::process_env)?;
    let settings = check::named_instead(settings, &named);
    refuse_idle_turn_user(&named, args.turn_user_file.as_deref())?;
    let named = with_the_way(named, &settings);
    let recipient = args.recipient(&settings)?;
    if let Some(file) = &args.file {
        output::check_writable(file)?;
    }
    let plan = check::plan_for(&settings, Traffic::Uses(settings.uses.clone(), settings.mode))?;
    let also = check::also(&plan, &named, args.turn_user_file.as_deref())?;
    let beside = check::beside(&settings);
    check::announce(&plan, &also, global);
    check::announce_devices(&beside, global);
    let (mut report, interrupted) = check::watched_run(plan, also, beside, global)?;
    report.kind = Kind::Diagnose;
    report.labels.extend(settings.labels.clone());
    let given = if args.full { report.clone() } else { redacted(&report)? };
    output::to_stdout(&terminal::render(&report, output::terminal_options(global)))?;
    let file = write(&given, args.file.as_deref());
    if let Ok(file) = &file {
        tell(&format!("Saved to {}. {}", file.display(), what_is_in_it(args.full)), global);
    }
    if let Some((url, key)) = recipient.filter(|_| !interrupted) {
        check::send(&given, &url, &key, global)?;
    }
    file?;
    Ok(check::exit_of(&report, interrupted))
}

impl DiagnoseArgs {
    fn layer(&self, named: &Named) -> Result<Layer, CliError> {
        let devices = self.devices.as_deref().map(values::devices).transpose().map_err(CliError::Usage)?;
        // Endpoints are measured in turn, and nobody should wait longer than a minute.
        let mode = if named.endpoints.len() > 1 { Mode::Quick } else { Mode::Deep };
        Ok(Layer {
            devices,
            uses: self.uses.as_ref().map(|uses| uses.iter().copied().collect::<BTreeSet<_>>()),
            mode: Some(mode),
            profile: self.profile.clone(),
            labels: self.labels.iter().cloned().collect(),
            upload: self.upload.clone(),
            upload_key: self.key_file.clone().map(TokenSource::File),
            ..self.network.layer()?
        })
    }

    /// Where it is sent; known before anything is measured.
    fn recipient(&self, settings: &Settings) -> Result<Option<Recipient>, CliError> {
        let Some(link) = &self.ticket else {
            return check::upload_of(self.key_file.is_some(), settings);
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
        Ok(Some((link.server, link.token)))
    }
}

/// What is asked beside: how the endpoint's name is looked up, the hops on the way to it and the largest packet that gets there.
fn with_the_way(mut named: Named, settings: &Settings) -> Named {
    let (name, kinds): (_, &[_]) = match settings.endpoint.as_ref().map(|endpoint| &endpoint.host) {
        Some(Host::Name(name)) if name != "localhost" => (name.clone(), &["dns", "path", "mtu"]),
        Some(Host::Address(IpAddr::V4(ip))) if !ip.is_loopback() => (ip.to_string(), &["path", "mtu"]),
        Some(Host::Address(IpAddr::V6(ip))) if !ip.is_loopback() => (format!("[{ip}]"), &["path", "mtu"]),
        _ => return named,
    };
    for kind in kinds {
        if let Ok(TargetUrl::Other(asked)) = format!("{kind}:{name}").parse()
            && !named.others.contains(&asked)
        {
            named.others.push(asked);
        }
    }
    named
}

fn redacted(report: &Report) -> Result<Report, CliError> {
    redact::for_support(report)
        .ok_or_else(|| CliError::Internal("a report without what is personal is none".to_owned()))
}

fn what_is_in_it(full: bool) -> &'static str {
    if full {
        "It holds whole addresses and the names of your devices."
    } else {
        "Whole addresses and the names of your devices are hidden; report.html in it shows what it says."
    }
}

/// Hides what is personal in a file that exists; the file itself stays as it is.
fn redact_file(from: &Path, to: Option<&Path>) -> Result<Exit, CliError> {
    let report = redacted(&report::read(from)?)?;
    let written = write(&report, to)?;
    output::to_stdout(&format!(
        "Saved to {}. {} is as it was.\n{}\n",
        written.display(),
        from.display(),
        what_is_in_it(false)
    ))?;
    Ok(Exit::Ready)
}

fn write(report: &Report, to: Option<&Path>) -> Result<PathBuf, CliError> {
    let usual = || PathBuf::from(format!("greenroom-{}{SUFFIX}", report.code));
    let file = to.map_or_else(usual, Path::to_owned);
    let bytes = bundle::pack(report).map_err(|error| CliError::Internal(error.to_string()))?;
    output::write_file(&file, &bytes).map_err(|error| CliError::output(&file, error))?;
    Ok(file)
}

fn tell(line: &str, global: &Global) {
    if !global.quiet {
        // Without standard error nobody reads it.
        let _ = writeln!(io::stderr(), "{line}");
    }
}
