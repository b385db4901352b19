//! From what a run brought to light to its report.

use std::collections::BTreeMap;

use greenroom_reports::assess::{
    Equipment, Frame, Probed, Question, TargetMeta, assemble, assess, with_devices,
};
use greenroom_reports::schema::{
    AgentRef, DeviceKind, Devices, EncodedTrace, Environment, Judged, Report, Settings, Source, Tool,
};
use greenroom_reports::trace::{Trace, encoding};
use greenroom_reports::units::DataSize;
use serde_json::json;

use super::traffic::{Ending, Measured, bytes_of};
use crate::devices::host::Watched;
use crate::net::clock::Clock;
use crate::plan::Plan;
use crate::system;

/// Judges a run and puts its report together.
///
/// The router, with the bytes that asking it took, stands beside the endpoint. `seen` is what this machine did meanwhile; `by_name` are the kinds of devices that were asked for by name.
pub(super) fn of(
    plan: &Plan,
    clock: Clock,
    (measured, (router, asking)): (Measured, (Option<TargetMeta>, DataSize)),
    seen: Option<Watched>,
    devices: Devices,
    by_name: Vec<DeviceKind>,
) -> Report {
    let Measured { target, trace, ending, search_bytes } = measured;
    let at_cap = matches!(ending, Ending::Planned | Ending::Decided);
    let question = Question { profile: &plan.profile, asked: &plan.uses, mode: plan.mode, at_cap };
    let endpoint = target.iter().map(|meta| Probed { meta, trace: trace.as_ref() });
    let router = router.iter().map(|meta| Probed { meta, trace: None });
    let probed: Vec<Probed<'_>> = endpoint.chain(router).collect();
    let assessment = assess(&probed, &question);
    let machine = seen.map_or_else(|| assessment.host.machine.clone(), |seen| seen.machine);
    let equipment = Equipment { devices: &devices, machine: &machine, asked: &by_name };
    let assessment = with_devices(assessment, equipment, &question);
    let used = trace.as_ref().map_or(DataSize::default(), |trace| bytes_of(&trace.here));
    let used = used + search_bytes + asking;
    let frame = Frame {
        id: clock.new_id(),
        kind: plan.kind,
        parent: None,
        complete: at_cap,
        started: clock.started(),
        duration_ms: clock.now().as_ms(),
        bytes_used: used.bytes(),
        labels: BTreeMap::new(),
        agent: AgentRef::default(),
        tool: tool(),
        environment: environment(plan),
        profile: plan.profile.clone(),
        settings: settings(plan, at_cap, by_name),
        devices,
        trace: trace.as_ref().and_then(encoded),
    };
    assemble(frame, assessment)
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
pub(super) fn encoded(trace: &Trace) -> Option<EncodedTrace> {
    encoding::encode(trace)
        .inspect_err(|error| tracing::warn!("the report goes without its samples: {error}"))
        .ok()
}

fn environment(plan: &Plan) -> Environment {
    let interface = plan.against.interface.as_ref().map(|name| ("interface".to_owned(), json!(name)));
    Environment {
        os: Some(system::os_name()),
        arch: Some(std::env::consts::ARCH.to_owned()),
        network: interface.into_iter().collect(),
    }
}

/// What was asked for and what it was made into. No token, and no name of one.
fn settings(plan: &Plan, at_cap: bool, by_name: Vec<DeviceKind>) -> Settings {
    let uses: Vec<&str> = plan.uses.iter().map(|use_| use_.name()).collect();
    let endpoint = plan.against.endpoint.as_ref().map(ToString::to_string);
    Settings {
        asked: BTreeMap::from([("endpoint".to_owned(), json!(endpoint)), ("uses".to_owned(), json!(uses))]),
        run: BTreeMap::from([
            ("longest_ms".to_owned(), json!(plan.longest().as_ms())),
            ("planned_bytes".to_owned(), json!(plan.bytes.bytes())),
            ("max_bytes".to_owned(), json!(plan.max_bytes.bytes())),
        ]),
        judged: Judged {
            uses: plan.uses.iter().copied().collect(),
            devices: by_name,
            mode: plan.mode,
            at_cap,
        },
    }
}
