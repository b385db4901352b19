//! `greenroom measure`.

use super::args::{Global, MeasureArgs};
use super::check;
use super::exit::{CliError, Exit};
use super::settings;
use super::values::TrafficItem;
use crate::check::Beside;
use crate::plan::{ChosenMedia, Traffic};

pub(super) fn run(args: &MeasureArgs, global: &Global) -> Result<Exit, CliError> {
    let layer = args.network.layer(args.endpoint.as_deref())?;
    let settings = settings::resolve(layer, global.config.as_deref(), &settings::process_env)?;
    if settings.endpoint.is_none() {
        return Err(CliError::Usage(
            "name the endpoint to measure against: greenroom measure ENDPOINT, or set it in the config file"
                .to_owned(),
        ));
    }
    args.output.check_writable()?;
    let plan = check::plan_for(&settings, traffic(args))?;
    check::announce(&plan, global);
    let (report, interrupted) = check::watched_run(plan, Beside::nothing(), global)?;
    args.output.write(&report, "", global)?;
    Ok(match (interrupted, check::failure_of(&report)) {
        (true, _) => Exit::Interrupted,
        (_, Some(_)) => Exit::Unavailable,
        _ => Exit::Ready,
    })
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
