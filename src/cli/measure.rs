//! `greenroom measure`.

use std::io::{self, Write as _};

use greenroom_reports::schema::Report;
use greenroom_reports::verdict::words::series;

use super::args::{Global, MeasureArgs};
use super::catalog;
use super::check;
use super::exit::{CliError, Exit};
use super::settings::{self, turn_user};
use super::targets::{Named, With};
use super::values::TrafficItem;
use crate::address::OtherKind;
use crate::check::{Also, Beside, probe_all};
use crate::plan::{self, ChosenMedia, ProbePlan, ProbeRequest, Traffic};

pub(super) fn run(args: &MeasureArgs, global: &Global) -> Result<Exit, CliError> {
    let named = Named::read(&args.targets)?;
    if named.endpoints.is_empty() && !named.others.is_empty() {
        return probe(&named, args, global);
    }
    if args.interval.is_some() && named.others.is_empty() {
        return Err(CliError::Usage("--interval is for targets that are no Greenroom endpoint".to_owned()));
    }
    refuse_idle(&named, args)?;
    let settings =
        settings::resolve(args.network.layer()?, global.config.as_deref(), &settings::process_env)?;
    let settings = check::named_instead(settings, &named);
    if settings.endpoint.is_none() {
        return Err(CliError::Usage(
            "name what to measure: greenroom measure TARGET, or set it in the config file".to_owned(),
        ));
    }
    args.output.check_writable()?;
    let plan = check::plan_for(&settings, traffic(args))?;
    let others = plans(&named, args, settings.interface.as_ref())?;
    let also = Also { endpoints: check::further(&named), others, ..Also::default() };
    check::announce(&plan, &also, global);
    let (report, interrupted) = check::watched_run(plan, also, Beside::nothing(), global)?;
    args.output.write(&report, "", global)?;
    Ok(exit_of(&report, interrupted))
}

/// Measures what is no Greenroom endpoint.
fn probe(named: &Named, args: &MeasureArgs, global: &Global) -> Result<Exit, CliError> {
    let endpoints_only = [
        ("--traffic", args.traffic.iter().any(|item| *item != TrafficItem::Audio)),
        ("--token-file", args.network.token_file.is_some()),
        ("--max-bytes", args.network.max_bytes.is_some()),
    ];
    if let Some((flag, _)) = endpoints_only.iter().find(|(_, given)| *given) {
        let told = named.told();
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        let (are, verb) = (series(&told, "and"), if told.len() == 1 { "is" } else { "are" });
        return Err(CliError::Usage(format!(
            "{flag} is for Greenroom endpoints alone, which {are} {verb} not"
        )));
    }
    refuse_idle(named, args)?;
    let settings =
        settings::resolve(args.network.layer()?, global.config.as_deref(), &settings::process_env)?;
    args.output.check_writable()?;
    let plans = plans(named, args, settings.interface.as_ref())?;
    if !global.quiet {
        // Without standard error nobody reads it.
        let _ = writeln!(io::stderr(), "{}", announcement(&plans));
    }
    let enough = plans.iter().map(ProbePlan::longest).max().unwrap_or_default();
    let (report, interrupted) =
        check::watched(enough, global, async move |watch| probe_all(&plans, &watch).await)?;
    args.output.write(&report, "", global)?;
    Ok(exit_of(&report, interrupted))
}

/// Refuses secrets that nobody would be shown, a catalog in which nothing would be looked up.
fn refuse_idle(named: &Named, args: &MeasureArgs) -> Result<(), CliError> {
    let idle = !named.others.iter().any(|target| target.kind == OtherKind::Whip);
    if args.whip_token_file.is_some() && idle {
        return Err(CliError::Usage("--whip-token-file is for whip:https://HOST/PATH alone".to_owned()));
    }
    let with = With { turn_user_file: args.turn_user_file.as_deref(), catalog: args.catalog.as_deref() };
    with.refuse_idle(named)
}

/// How each of them is asked.
fn plans(named: &Named, args: &MeasureArgs, interface: Option<&String>) -> Result<Vec<ProbePlan>, CliError> {
    let plans = named.others.iter().map(|target| {
        let request = ProbeRequest {
            target: target.clone(),
            duration: args.duration,
            interval: args.interval,
            interface: interface.cloned(),
            token: match target.kind {
                OtherKind::Whip => {
                    settings::whip_token(args.whip_token_file.as_deref(), &settings::process_env)?
                }
                _ => None,
            },
            turn: turn_user(target, args.turn_user_file.as_deref())?,
        };
        let planned = plan::plan_probe(&request).map_err(|error| CliError::Usage(error.to_string()))?;
        catalog::needs(planned, args.catalog.as_deref())
    });
    plans.collect()
}

fn announcement(plans: &[ProbePlan]) -> String {
    let longest = plans.iter().map(ProbePlan::longest).max().unwrap_or_default();
    let seconds = (longest.get() + 999_999) / 1_000_000;
    match plans {
        [ProbePlan { service: Some(service), count, .. }] => {
            format!("Asking what {} needs: {count} hosts and ports, once each.", service.title)
        }
        [plan] if plan.target.kind == OtherKind::Whip => format!(
            "Publishing silence and a still picture to {}, about 0.7 Mbit/s. This takes up to {seconds} s once they flow.",
            plan.target
        ),
        [plan] if plan.target.kind.is_relay() && plan.turn.is_some() => format!(
            "Sending audio through {}, each way that there is. This takes up to {seconds} s once it answers.",
            plan.target
        ),
        [plan] if plan.target.kind.is_relay() => {
            format!("Asking {} for its first answer alone, since no user name was given.", plan.target)
        }
        [plan] => {
            let ms = plan.interval.as_ms();
            format!(
                "Asking {} {} times, once every {ms} ms. This takes up to {seconds} s.",
                plan.target, plan.count
            )
        }
        _ => format!(
            "Asking {} targets, those at one host one after the other. This takes {seconds} s or more.",
            plans.len()
        ),
    }
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
