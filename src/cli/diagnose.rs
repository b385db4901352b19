//! `greenroom diagnose`: the support run, in one file that can be sent.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use greenroom_reports::render::terminal;
use greenroom_reports::schema::{Kind, Mode, Report};

use super::args::Global;
use super::call::{CallArgs, redacted};
use super::exit::{CliError, Exit};
use super::settings::{self, Settings};
use super::targets::Named;
use super::{check, output, report};
use crate::address::{Host, TargetUrl};
use crate::bundle::{self, SUFFIX};
use crate::check::Also;
use crate::plan::Traffic;

#[derive(Debug, Args)]
pub(crate) struct DiagnoseArgs {
    #[command(flatten)]
    call: CallArgs,

    /// Write to this file [default: greenroom-CODE.greenroom.zip, here]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "File")]
    file: Option<PathBuf>,

    /// Hide nothing: whole addresses and the names of devices are in it too
    #[arg(long, help_heading = "File")]
    full: bool,

    /// Also put the packets into it as a capture (pcapng) for Wireshark and tcpdump: when each left and came, without content
    #[arg(long, help_heading = "File")]
    pcap: bool,

    /// Measure nothing: hide what is personal in this report or support file, and write that
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "File")]
    #[arg(conflicts_with_all = ["targets", "full", "ticket", "upload", "uses", "devices"])]
    redact: Option<PathBuf>,
}

pub(super) fn run(args: &DiagnoseArgs, global: &Global) -> Result<Exit, CliError> {
    if let Some(file) = &args.redact {
        return redact_file(file, args);
    }
    let named = Named::read(&args.call.targets)?;
    let layer = args.call.layer(Some(mode(&named)))?;
    let settings = settings::resolve(layer, global.config.as_deref(), &settings::process_env)?;
    let settings = check::named_instead(settings, &named);
    let with = args.call.with();
    with.refuse_idle(&named)?;
    let named = with_the_way(named, &settings);
    let recipient = args.call.send.recipient(&settings)?;
    if let Some(file) = &args.file {
        output::check_writable(file)?;
    }
    let plan = check::plan_for(&settings, Traffic::Uses(settings.uses.clone(), settings.mode))?;
    let also = check::also(&plan, &named, with)?;
    let also = Also { portal: settings.portal.clone(), ..also };
    let beside = check::beside(&settings);
    check::announce(&plan, &also, global);
    check::announce_devices(&beside, global);
    let (mut report, interrupted) = check::watched_run(plan, also, beside, global)?;
    report.kind = Kind::Diagnose;
    report.labels.extend(settings.labels.clone());
    let given = if args.full { report.clone() } else { redacted(&report)? };
    output::to_stdout(&terminal::render(&report, output::terminal_options(global)))?;
    let file = write(&given, args);
    if let Ok(file) = &file {
        tell(&format!("Saved to {}. {}", file.display(), what_is_in_it(args.full)), global);
    }
    if let Some(recipient) = recipient.filter(|_| !interrupted) {
        recipient.send(&given, global)?;
    }
    file?;
    Ok(check::exit_of(&report, interrupted))
}

/// Endpoints are measured in turn, and nobody should wait longer than a minute.
fn mode(named: &Named) -> Mode {
    if named.endpoints.len() > 1 { Mode::Quick } else { Mode::Deep }
}

/// What is asked of the way to the endpoint: its hops, the largest packet that gets there, and what becomes of marks on packets.
const OF_THE_WAY: [&str; 4] = ["path", "mtu", "dscp", "ecn"];

/// What is asked beside: the way to the endpoint, and how its name is looked up.
fn with_the_way(mut named: Named, settings: &Settings) -> Named {
    let name = match settings.endpoint.as_ref().map(|endpoint| &endpoint.host) {
        Some(Host::Name(name)) if name != "localhost" => name.clone(),
        Some(Host::Address(IpAddr::V4(ip))) if !ip.is_loopback() => ip.to_string(),
        Some(Host::Address(IpAddr::V6(ip))) if !ip.is_loopback() => format!("[{ip}]"),
        _ => return named,
    };
    let looked_up = matches!(settings.endpoint.as_ref().map(|endpoint| &endpoint.host), Some(Host::Name(_)));
    let kinds = looked_up.then_some("dns").into_iter().chain(OF_THE_WAY);
    for kind in kinds {
        if let Ok(TargetUrl::Other(asked)) = format!("{kind}:{name}").parse()
            && !named.others.contains(&asked)
        {
            named.others.push(asked);
        }
    }
    named
}

fn what_is_in_it(full: bool) -> &'static str {
    if full {
        "It holds whole addresses and the names of your devices."
    } else {
        "Whole addresses and the names of your devices are hidden; report.html in it shows what it says."
    }
}

/// Hides what is personal in a file that exists; the file itself stays as it is.
fn redact_file(from: &Path, args: &DiagnoseArgs) -> Result<Exit, CliError> {
    let report = redacted(&report::read(from)?)?;
    let written = write(&report, args)?;
    output::to_stdout(&format!(
        "Saved to {}. {} is as it was.\n{}\n",
        written.display(),
        from.display(),
        what_is_in_it(false)
    ))?;
    Ok(Exit::Ready)
}

fn write(report: &Report, args: &DiagnoseArgs) -> Result<PathBuf, CliError> {
    let usual = || PathBuf::from(format!("greenroom-{}{SUFFIX}", report.code));
    let file = args.file.clone().unwrap_or_else(usual);
    let bytes = bundle::pack(report, args.pcap).map_err(|error| CliError::Internal(error.to_string()))?;
    output::write_file(&file, &bytes).map_err(|error| CliError::output(&file, error))?;
    Ok(file)
}

fn tell(line: &str, global: &Global) {
    if !global.quiet {
        // Without standard error nobody reads it.
        let _ = writeln!(io::stderr(), "{line}");
    }
}
