//! `greenroom measure`.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use greenroom_reports::schema::Report;

use super::args::{Global, MeasureArgs};
use super::check;
use super::exit::{CliError, Exit};
use super::settings;
use super::values::TrafficItem;
use crate::address::{Host, OtherKind, OtherUrl, TargetUrl, TargetUrlError};
use crate::check::{Beside, probe as run_probe};
use crate::plan::catalogue::Service;
use crate::plan::{self, ChosenMedia, ProbePlan, ProbeRequest, Traffic};

pub(super) fn run(args: &MeasureArgs, global: &Global) -> Result<Exit, CliError> {
    if let Some(target) = other_target(args)? {
        return probe(target, args, global);
    }
    if args.interval.is_some() {
        return Err(CliError::Usage("--interval is for targets that are no Greenroom endpoint".to_owned()));
    }
    let layer = args.network.layer(args.endpoint.as_deref())?;
    let settings = settings::resolve(layer, global.config.as_deref(), &settings::process_env)?;
    if settings.endpoint.is_none() {
        return Err(CliError::Usage(
            "name what to measure: greenroom measure TARGET, or set it in the config file".to_owned(),
        ));
    }
    args.output.check_writable()?;
    let plan = check::plan_for(&settings, traffic(args))?;
    check::announce(&plan, global);
    let (report, interrupted) = check::watched_run(plan, Beside::nothing(), global)?;
    args.output.write(&report, "", global)?;
    Ok(exit_of(&report, interrupted))
}

/// What was named, if it is no Greenroom endpoint.
///
/// It is read here and not by clap, which repeats in its errors what it was given: it may be a secret.
fn other_target(args: &MeasureArgs) -> Result<Option<OtherUrl>, CliError> {
    let Some(text) = args.endpoint.as_deref() else { return Ok(None) };
    match text.parse().map_err(|error: TargetUrlError| CliError::Usage(error.to_string()))? {
        TargetUrl::Greenroom(_) => Ok(None),
        TargetUrl::Other(other) => Ok(Some(other)),
    }
}

/// Measures something that is no Greenroom endpoint.
fn probe(target: OtherUrl, args: &MeasureArgs, global: &Global) -> Result<Exit, CliError> {
    let endpoints_only = [
        ("--traffic", args.traffic.iter().any(|item| *item != TrafficItem::Audio)),
        ("--token-file", args.network.token_file.is_some()),
        ("--max-bytes", args.network.max_bytes.is_some()),
    ];
    if let Some((flag, _)) = endpoints_only.iter().find(|(_, given)| *given) {
        return Err(CliError::Usage(format!(
            "{flag} is for Greenroom endpoints alone, which {target} is not"
        )));
    }
    let settings =
        settings::resolve(args.network.layer(None)?, global.config.as_deref(), &settings::process_env)?;
    args.output.check_writable()?;
    let service = match target.kind {
        OtherKind::Service => Some(Arc::new(service(&target.host, args.catalogue.as_deref())?)),
        _ if args.catalogue.is_some() => {
            return Err(CliError::Usage("--catalogue is for service:NAME".to_owned()));
        }
        _ => None,
    };
    let request = ProbeRequest {
        target,
        duration: args.duration,
        interval: args.interval,
        interface: settings.interface,
        service,
    };
    let plan = plan::plan_probe(&request).map_err(|error| CliError::Usage(error.to_string()))?;
    if !global.quiet {
        // Without standard error nobody reads it.
        let _ = writeln!(io::stderr(), "{}", announcement(&plan));
    }
    let enough = plan.longest();
    let (report, interrupted) =
        check::watched(enough, global, async move |watch| run_probe(&plan, &watch).await)?;
    args.output.write(&report, "", global)?;
    Ok(exit_of(&report, interrupted))
}

/// The entry of this name: of the user's own, then of those that come with the program.
fn service(host: &Host, catalogue: Option<&Path>) -> Result<Service, CliError> {
    let usual = settings::services_dir(&settings::process_env).filter(|dir| dir.is_dir());
    let mut all = match catalogue.or(usual.as_deref()) {
        Some(dir) => services_in(dir)?,
        None => Vec::new(),
    };
    all.extend(Service::shipped().map_err(|error| CliError::Usage(error.to_string()))?);
    let wanted = host.to_string();
    if let Some(at) = all.iter().position(|service| service.name == wanted) {
        return Ok(all.swap_remove(at));
    }
    let mut names: Vec<&str> = all.iter().map(|service| service.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    Err(CliError::Usage(format!(
        "no service {wanted:?} is known; known are {}. Describe others in files of your own: --catalogue DIR",
        names.join(", ")
    )))
}

/// The entries in a folder: each file that ends in .toml.
fn services_in(dir: &Path) -> Result<Vec<Service>, CliError> {
    let listed = fs::read_dir(dir).map_err(|error| CliError::input(dir, &error))?;
    let mut files = Vec::new();
    for entry in listed {
        let path = entry.map_err(|error| CliError::input(dir, &error))?.path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
        settings::parse_toml(path, &text, Service::parse)
    };
    files.iter().map(read).collect()
}

fn announcement(plan: &ProbePlan) -> String {
    if let Some(service) = &plan.service {
        let ways = plan.count;
        return format!("Asking what {} needs: {ways} hosts and ports, once each.", service.title);
    }
    let seconds = (plan.longest().get() + 999_999) / 1_000_000;
    let ms = plan.interval.as_ms();
    format!("Asking {} {} times, once every {ms} ms. This takes up to {seconds} s.", plan.target, plan.count)
}

fn exit_of(report: &Report, interrupted: bool) -> Exit {
    match (interrupted, check::failure_of(report)) {
        (true, _) => Exit::Interrupted,
        (_, Some(_)) => Exit::Unavailable,
        _ => Exit::Ready,
    }
}

fn traffic(args: &MeasureArgs) -> Traffic {
    let media = args
        .traffic
        .iter()
        .filter_map(|item| match item {
            TrafficItem::Audio => None,
            TrafficItem::Media { media, rate } => Some((*media, *rate)),
        })
        .flat_map(|(media, rate)| {
            args.direction.directions().iter().map(move |direction| ChosenMedia {
                media,
                direction: *direction,
                rate,
            })
        })
        .collect();
    Traffic::Chosen { media, duration: args.duration }
}
