//! From what a run brought to light to its report.

use std::collections::BTreeMap;

use greenroom_reports::assess::{
    Equipment, Frame, Probed, Question, assemble, assess, with_devices, with_surroundings,
};
use greenroom_reports::schema::{
    AgentRef, DeviceKind, Devices, EncodedTrace, Environment, Judged, Report, Settings, Source, Tool,
};
use greenroom_reports::trace::{Trace, encoding};
use greenroom_reports::units::DataSize;
use serde_json::json;

use super::best::Candidate;
use super::several::Found;
use crate::devices::host::Watched;
use crate::net::clock::Clock;
use crate::plan::Plan;
use crate::system;

/// Judges a run and puts its report together.
///
/// Each router stands behind the endpoint that it leads to. `seen` is what this machine did meanwhile; `by_name` are the kinds of devices that were asked for by name.
pub(super) fn of(
    (plan, candidates): (&Plan, &[Candidate]),
    clock: Clock,
    found: &Found,
    seen: Option<Watched>,
    devices: Devices,
    by_name: Vec<DeviceKind>,
) -> Report {
    let at_cap = found.is_complete();
    let question = Question { profile: &plan.profile, asked: &plan.uses, mode: plan.mode, at_cap };
    let probed = probed(found);
    let assessment = assess(&probed, &question);
    let assessment = with_surroundings(assessment, found.surroundings.as_ref(), &question);
    let machine = seen.map_or_else(|| assessment.host.machine.clone(), |seen| seen.machine);
    let equipment = Equipment { devices: &devices, machine: &machine, asked: &by_name };
    let assessment = with_devices(assessment, equipment, &question);
    let frame = Frame {
        id: clock.new_id(),
        kind: plan.kind,
        parent: None,
        complete: at_cap,
        started: clock.started(),
        duration_ms: clock.now().as_ms(),
        bytes_used: (found.bytes() + candidates.iter().map(|it| it.spent).sum::<DataSize>()).bytes(),
        labels: BTreeMap::new(),
        agent: AgentRef::default(),
        tool: tool(),
        environment: environment(plan, found),
        profile: plan.profile.clone(),
        settings: settings((plan, candidates), &probed, at_cap, by_name),
        devices,
        traces: traces(&probed),
    };
    assemble(frame, assessment)
}

/// All that was measured, in the order in which the report tells it.
fn probed(found: &Found) -> Vec<Probed<'_>> {
    let endpoints = found.endpoints.iter().flat_map(|(measured, router)| {
        let endpoint = measured.target.iter().map(|meta| Probed { meta, trace: measured.trace.as_ref() });
        endpoint.chain(router.iter().map(|meta| Probed { meta, trace: None }))
    });
    endpoints
        .chain(found.others.iter().map(|other| Probed { meta: &other.meta, trace: other.trace.as_ref() }))
        .collect()
}

/// The samples of each endpoint that has some, as they go into a report.
pub(super) fn traces(probed: &[Probed<'_>]) -> Vec<(usize, EncodedTrace)> {
    let traces = probed.iter().enumerate().filter_map(|(at, it)| Some((at, encoded(it.trace?)?)));
    traces.collect()
}

/// This program.
pub(super) fn tool() -> Tool {
    Tool {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        source: Source::Cli,
    }
}

/// A trace as it goes into a report.
fn encoded(trace: &Trace) -> Option<EncodedTrace> {
    encoding::encode(trace)
        .inspect_err(|error| tracing::warn!("the report goes without its samples: {error}"))
        .ok()
}

fn environment(plan: &Plan, found: &Found) -> Environment {
    let interface = plan.against.interface.as_ref().map(|name| ("interface".to_owned(), json!(name)));
    Environment {
        os: Some(system::os_name()),
        arch: Some(std::env::consts::ARCH.to_owned()),
        network: interface.into_iter().collect(),
        surroundings: found.surroundings.clone(),
    }
}

/// The endpoints that somebody named: no router.
fn named<'a>(probed: &[Probed<'a>]) -> impl Iterator<Item = &'a str> {
    probed.iter().filter(|it| it.meta.kind != "gateway").map(|it| it.meta.url.as_str())
}

/// What was asked for and what it was made into. No token, and no name of one.
fn settings(
    (plan, candidates): (&Plan, &[Candidate]),
    probed: &[Probed<'_>],
    at_cap: bool,
    by_name: Vec<DeviceKind>,
) -> Settings {
    let tried = candidates.iter().map(Candidate::as_json).collect::<Vec<_>>();
    let tried = (!tried.is_empty()).then(|| ("candidates".to_owned(), json!(tried)));
    let uses: Vec<&str> = plan.uses.iter().map(|use_| use_.name()).collect();
    let endpoint = plan.against.endpoint.as_ref().map(ToString::to_string);
    let targets: Vec<&str> = named(probed).collect();
    let several = (targets.len() > 1).then(|| ("targets".to_owned(), json!(targets)));
    let asked = [("endpoint".to_owned(), json!(endpoint)), ("uses".to_owned(), json!(uses))];
    Settings {
        asked: asked.into_iter().chain(several).collect(),
        run: [
            ("longest_ms".to_owned(), json!(plan.longest().as_ms())),
            ("planned_bytes".to_owned(), json!(plan.bytes.bytes())),
            ("max_bytes".to_owned(), json!(plan.max_bytes.bytes())),
        ]
        .into_iter()
        .chain(tried)
        .collect(),
        judged: Judged {
            uses: plan.uses.iter().copied().collect(),
            devices: by_name,
            mode: plan.mode,
            at_cap,
        },
    }
}
