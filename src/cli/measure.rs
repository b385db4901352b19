//! `greenroom measure`.

use std::io::{self, Write as _};

use greenroom_reports::schema::Report;

use super::args::{Global, MeasureArgs};
use super::check;
use super::exit::{CliError, Exit};
use super::settings;
use super::values::TrafficItem;
use crate::address::{Credentials, OtherKind, OtherUrl, TargetUrl, TargetUrlError};
use crate::check::{Beside, probe as run_probe};
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
    let turn = turn_user(&target, args)?;
    args.output.check_writable()?;
    let request = ProbeRequest {
        target,
        duration: args.duration,
        interval: args.interval,
        interface: settings.interface,
        turn,
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

/// Who this computer is to a TURN server, if it was said.
fn turn_user(target: &OtherUrl, args: &MeasureArgs) -> Result<Option<Credentials>, CliError> {
    let is_turn = matches!(target.kind, OtherKind::Turn | OtherKind::Turns);
    match (&args.turn_user_file, is_turn) {
        (Some(_), false) => {
            Err(CliError::Usage(format!("--turn-user-file is for TURN servers, which {target} is not")))
        }
        (Some(path), true) => {
            // The content is not repeated in any message.
            let text = std::fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
            let mut lines = text.lines();
            let (name, password) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            let wrong = "the first line must be the user name and the second the password";
            Credentials::new(name.trim_end(), password.trim_end_matches('\r'))
                .map(Some)
                .ok_or_else(|| CliError::input(path, &wrong))
        }
        (None, true) => {
            let given = |name| settings::process_env(name).and_then(|value| value.into_string().ok());
            let user = given("GREENROOM_TURN_USERNAME").zip(given("GREENROOM_TURN_PASSWORD"));
            Ok(user.and_then(|(name, password)| Credentials::new(name, password)))
        }
        (None, false) => Ok(None),
    }
}

fn announcement(plan: &ProbePlan) -> String {
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
