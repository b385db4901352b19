//! `greenroom check`.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::sync::Arc;

use greenroom_reports::schema::{DeviceKind, Report, State};
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::words::series;
use greenroom_reports::verdict::{self, TargetFailure};
use tokio_util::sync::CancellationToken;

use super::args::{CheckArgs, Global};
use super::catalog;
use super::exit::{CliError, Exit};
use super::progress::Live;
use super::settings::{self, Settings};
use super::targets::{Named, With};
use super::{block_on, call, history as history_view, output};
use crate::address::OtherKind;
use crate::check::{self, Also, Beside, Watch};
#[cfg(feature = "audio")]
use crate::devices::Clock;
use crate::devices::audio::choose::choose;
#[cfg(feature = "audio")]
use crate::devices::audio::native::NativeAudio;
use crate::devices::audio::{AudioSystem, Inventory, Role};
use crate::history::{self, Entry, Store};
use crate::plan::{self, Against, EndpointUrl, Plan, ProbePlan, Request, Traffic};
use crate::system::release_code;

pub(super) fn run(args: &CheckArgs, global: &Global) -> Result<Exit, CliError> {
    let named = Named::read(&args.call.targets)?;
    let settings = settings::resolve(args.layer()?, global.config.as_deref(), &settings::process_env)?;
    let settings = named_instead(settings, &named);
    let with = args.call.with();
    with.refuse_idle(&named)?;
    args.output.check_writable()?;
    let recipient = args.call.send.recipient(&settings)?;
    let plan = plan_for(&settings, Traffic::Uses(settings.uses.clone(), settings.mode))?;
    if args.pick_best && named.endpoints.len() < 2 {
        return Err(CliError::Usage("--pick-best needs two Greenroom endpoints or more".to_owned()));
    }
    let also = also(&plan, &named, with)?;
    let also = Also { pick_best: args.pick_best, portal: settings.portal.clone(), ..also };
    let beside = beside(&settings);
    announce(&plan, &also, global);
    announce_devices(&beside, global);
    let (mut report, interrupted) = watched_run(plan, also, beside, global)?;
    report.labels.extend(settings.labels.clone());
    let notes = picked_note(&report) + &remember(&report, &settings);
    let written = args.output.write(&report, &notes, global);
    match recipient.filter(|_| !interrupted) {
        Some(recipient) if recipient.is_stranger => recipient.send(&call::redacted(&report)?, global)?,
        Some(recipient) => recipient.send(&report, global)?,
        None => {}
    }
    written?;
    Ok(exit_of(&report, interrupted))
}

/// Who names what to measure means that and no other endpoint.
pub(super) fn named_instead(settings: Settings, named: &Named) -> Settings {
    match named.is_empty() {
        true => settings,
        false => Settings { endpoint: named.endpoints.first().cloned(), ..settings },
    }
}

/// What is measured beside the plan's own endpoint.
pub(super) fn also(plan: &Plan, named: &Named, with: With<'_>) -> Result<Also, CliError> {
    let others = named.others.iter().map(|target| {
        let planned = plan::plan_beside(plan, target).map_err(|error| CliError::Usage(error.to_string()))?;
        let token = match target.kind {
            OtherKind::Whip => settings::whip_token(None, &settings::process_env)?,
            _ => None,
        };
        let turn = settings::turn_user(target, with.turn_user_file)?;
        catalog::needs(ProbePlan { token, turn, ..planned }, with.catalog)
    });
    Ok(Also { endpoints: further(named), others: others.collect::<Result<_, _>>()?, ..Also::default() })
}

/// The endpoints behind the first.
pub(super) fn further(named: &Named) -> Vec<EndpointUrl> {
    named.endpoints.iter().skip(1).cloned().collect()
}

/// Plans a run with these settings.
pub(super) fn plan_for(settings: &Settings, traffic: Traffic) -> Result<Plan, CliError> {
    let request = Request {
        against: Against {
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
            interface: settings.interface.clone(),
            ..Against::default()
        },
        traffic,
        profile: settings.profile.clone(),
        max_bytes: settings.max_bytes,
    };
    plan::plan(&request).map_err(|error| CliError::Usage(error.to_string()))
}

/// Says what is going to happen and what it costs, before it happens.
pub(super) fn announce(plan: &Plan, also: &Also, global: &Global) {
    if !global.quiet {
        // Without standard error nobody reads it.
        let _ = writeln!(io::stderr(), "{}", announcement(plan, also));
    }
}

fn announcement(plan: &Plan, also: &Also) -> String {
    let endpoints: Vec<String> =
        plan.against.endpoint.iter().chain(&also.endpoints).map(ToString::to_string).collect();
    let others: Vec<String> = also.others.iter().map(|other| other.target.to_string()).collect();
    let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let what = match (&endpoints[..], &others[..]) {
        ([], []) => {
            "Testing this computer alone: no endpoint was given, so this says nothing about the internet"
                .to_owned()
        }
        ([], others) => {
            return format!("Asking {}. This takes a few seconds.", series(others, "and"));
        }
        ([one], []) => format!("Measuring against {one}"),
        (several, []) if also.pick_best => {
            let several = series(several, "and");
            format!("Looking for the best of {several} (a few seconds), then measuring against it")
        }
        (several, []) => format!("Measuring against {}, one after the other", series(several, "and")),
        (several, others) => {
            format!("Measuring against {}, and asking {}", series(several, "and"), series(others, "and"))
        }
    };
    let runs = if also.pick_best { 1 } else { i64::try_from(endpoints.len().max(1)).unwrap_or(1) };
    let each = if runs > 1 { " each" } else { "" };
    format!(
        "{what}. This {} and uses up to {}{each} (limit {}{each}).",
        how_long(plan, runs),
        plan.bytes,
        plan.max_bytes
    )
}

fn how_long(plan: &Plan, runs: i64) -> String {
    let [usual, longest] = [plan.usual(), plan.longest()].map(|time| whole_seconds(time * runs));
    if usual == longest {
        format!("takes up to {longest} s")
    } else {
        format!("takes {usual} s, up to {longest} s if the answer hangs,")
    }
}

fn whole_seconds(time: Micros) -> i64 {
    (time.get() + 999_999) / 1_000_000
}

/// The devices that are tested beside the network.
pub(super) fn beside(settings: &Settings) -> Beside {
    Beside {
        kinds: settings.devices.clone().unwrap_or_else(|| BTreeSet::from(DeviceKind::ALL)),
        by_name: settings.devices.clone().unwrap_or_default(),
        // Who names devices does not ask for the computer.
        encodes: settings.devices.is_none(),
        ..every_device()
    }
}

/// All devices of this machine that this program can test.
pub(super) fn every_device() -> Beside {
    Beside {
        sound: sound_system(),
        #[cfg(feature = "camera")]
        cameras: Some(check::devices::Cameras::here()),
        kinds: BTreeSet::from(DeviceKind::ALL),
        ..Beside::nothing()
    }
}

#[cfg(feature = "audio")]
fn sound_system() -> Option<Arc<dyn AudioSystem>> {
    Some(Arc::new(NativeAudio::new(Clock::start())))
}

#[cfg(not(feature = "audio"))]
fn sound_system() -> Option<Arc<dyn AudioSystem>> {
    None
}

/// Says which devices are used, and asks for what a microphone needs to be judged: somebody who speaks. Says nothing where there is
/// none of them.
pub(super) fn announce_devices(beside: &Beside, global: &Global) {
    if global.quiet {
        return;
    }
    let line = match (has_microphone(beside), has_camera(beside)) {
        (true, true) => {
            "Please say something meanwhile: your microphone and your camera are tried. Nothing of it is kept."
        }
        (true, false) => {
            "Please say something meanwhile: your microphone is listened to. Nothing of it is kept."
        }
        (false, true) => "Your camera is looked at meanwhile. No picture of it is kept.",
        (false, false) => return,
    };
    // Without standard error nobody reads it.
    let _ = writeln!(io::stderr(), "{line}");
}

fn has_microphone(beside: &Beside) -> bool {
    let listed = beside.sound_devices().filter(|_| beside.kinds.contains(&DeviceKind::Microphone));
    let there_is_one = |found: &Inventory| choose(&found.devices, Role::Microphone, None).is_ok();
    listed.is_some_and(|listed| listed.as_ref().is_ok_and(there_is_one))
}

#[cfg(feature = "camera")]
fn has_camera(beside: &Beside) -> bool {
    let listed = beside.cameras_there_are();
    listed.is_some_and(|listed| listed.as_ref().is_ok_and(|found| !found.cameras.is_empty()))
}

#[cfg(not(feature = "camera"))]
fn has_camera(_beside: &Beside) -> bool {
    false
}

/// Runs a plan with live progress; Ctrl-C ends it early, with what was measured until then.
///
/// Says whether it was ended so. A second Ctrl-C ends the program at once.
pub(super) fn watched_run(
    plan: Plan,
    also: Also,
    beside: Beside,
    global: &Global,
) -> Result<(Report, bool), CliError> {
    watched(plan.enough, global, async move |watch| check::check_all(plan, &also, watch, beside).await)
}

/// Runs something that usually takes until `enough` with live progress; Ctrl-C ends it early.
///
/// Says whether it was ended so. A second Ctrl-C ends the program at once.
pub(super) fn watched(
    enough: Micros,
    global: &Global,
    run: impl AsyncFnOnce(Watch) -> Report,
) -> Result<(Report, bool), CliError> {
    // The command line and the settings have been read.
    release_code();
    let seen = output::somebody_watches(global);
    let live = Live::start(enough, seen);
    let stop = CancellationToken::new();
    let teller = live.clone();
    // What is going on is logged where a watcher is told.
    let watch = match seen || global.verbose > 0 {
        true => Watch::new(stop.clone(), move |progress| teller.tell(&progress)),
        false => Watch::unseen(stop.clone()),
    };
    let ended = block_on(async {
        let stopped = stop.clone();
        let interrupts = tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(i32::from(Exit::Interrupted as u8));
            }
        });
        let report = run(watch).await;
        interrupts.abort();
        (report, stopped.is_cancelled())
    });
    live.end();
    // All is measured: what is left is to tell it.
    release_code();
    ended
}

/// Which endpoint was the best of several, and what was seen of each.
fn picked_note(report: &Report) -> String {
    let tried = report.settings.run.get("candidates").and_then(serde_json::Value::as_array);
    let Some(tried) = tried else { return String::new() };
    let mut text = String::from("  The best endpoint from here\n");
    for (place, candidate) in tried.iter().enumerate() {
        let picked = place == 0 && candidate["rtt_p50_ms"].is_number();
        let mark = if picked { "→" } else { " " };
        let name = candidate["endpoint"].as_str().unwrap_or_default();
        let seen = match (candidate["rtt_p50_ms"].as_f64(), candidate["loss_ratio"].as_f64()) {
            (Some(rtt), Some(loss)) => format!("round trip {rtt:.1} ms, {:.1} % lost", loss * 100.0),
            (Some(rtt), None) => format!("round trip {rtt:.1} ms"),
            (None, _) => candidate["failure"].as_str().unwrap_or("nothing came back").to_owned(),
        };
        text += &format!("  {mark} {name}  {seen}\n");
    }
    text + "\n"
}

/// Compares a result with past ones and keeps it. Trouble with the history is a warning: the result stands.
fn remember(report: &Report, settings: &Settings) -> String {
    let (Some(file), Some(now)) = (&settings.history_file, Entry::of(report)) else { return String::new() };
    // Of several endpoints there is no telling whose usual it would be.
    let measured = report.targets.iter().filter(|target| target.kind != "gateway").count();
    if settings.history_keep == 0 || settings.endpoint.is_none() || measured > 1 {
        return String::new();
    }
    let store = Store::new(file.clone(), settings.history_keep);
    let unusual = match store.read() {
        Ok(past) => history::worse_than_usual(&past.entries, &now),
        Err(error) => {
            tracing::warn!("cannot read past results in {}: {error}", file.display());
            Vec::new()
        }
    };
    // A run that was cut short would make the usual look unlike it is.
    if report.complete
        && let Err(error) = store.add(&now)
    {
        tracing::warn!("cannot keep this result in {}: {error}", file.display());
    }
    history_view::unusual_note(&unusual)
}

/// What a check ends with: its verdict, unless it was interrupted or the endpoint turned it away.
pub(super) fn exit_of(report: &Report, interrupted: bool) -> Exit {
    if interrupted {
        return Exit::Interrupted;
    }
    // Whoever was kept from the endpoint was not turned away by it.
    let kept_away = report.verdict.causes.first().is_some_and(|first| first.code == "captive_portal");
    if !kept_away
        && report.targets.iter().any(|target| {
            target.state.measured().is_none()
                && target.failure.as_ref().is_some_and(|failure| failure.state() == State::Inconclusive)
        })
    {
        return Exit::Unavailable;
    }
    match verdict::exit_code(report.verdict.overall) {
        0 => Exit::Ready,
        1 => Exit::Degraded,
        2 => Exit::Blocked,
        _ => Exit::Inconclusive,
    }
}

/// Why the first endpoint could not be measured at all; `None` when it was.
pub(super) fn failure_of(report: &Report) -> Option<&TargetFailure> {
    report.targets.iter().find(|t| t.state.measured().is_none()).and_then(|t| t.failure.as_ref())
}
