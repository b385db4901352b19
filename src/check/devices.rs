//! The devices' part of a run.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_reports::assess::{Frame, Question, assemble, assess};
use greenroom_reports::schema::{
    AgentRef, DeviceKind, Devices, Environment, Judged, Kind, Mode, Report, Settings, System, Value,
};
use greenroom_reports::verdict::Profile;
use serde_json::json;

use super::report::tool;
use crate::devices::Os;
use crate::devices::host::Watched;
use crate::net::clock::Clock;
use crate::system;

/// The system that this program was built for.
pub fn this_system() -> System {
    match Os::HERE {
        Os::Linux => System::Linux,
        Os::MacOs => System::Macos,
        Os::Windows => System::Windows,
    }
}

/// The report of a look at this machine alone, begun when `clock` was started.
pub fn report_of_machine(clock: Clock, seen: Watched) -> Report {
    let mut report = report_of(clock, Devices::default(), &[], true);
    report.host.machine = seen.machine;
    if let Some(load) = seen.load {
        report.host.cpu_busy_ratio = Value::estimate(load.busy_ratio, 1);
        report.host.cpu_steal_ratio = Value::estimate(load.steal_ratio, 1);
    }
    report
}

/// Judges devices by themselves, without any network. `asked` are the kinds that were tested by name: one that is missing
/// counts.
pub fn report_of(clock: Clock, devices: Devices, asked: &[DeviceKind], complete: bool) -> Report {
    let profile = Profile::default();
    let uses = BTreeSet::new();
    let mode = Mode::Quick;
    let question = Question { profile: &profile, asked: &uses, mode, at_cap: complete };
    let assessment = assess(&[], &question);
    let names: Vec<&str> = asked.iter().map(|kind| kind.name()).collect();
    let frame = Frame {
        id: clock.new_id(),
        kind: Kind::Devices,
        parent: None,
        complete,
        started: clock.started(),
        duration_ms: clock.now().as_ms(),
        bytes_used: 0,
        labels: BTreeMap::new(),
        agent: AgentRef::default(),
        tool: tool(),
        environment: Environment {
            os: Some(system::os_name()),
            arch: Some(std::env::consts::ARCH.to_owned()),
            network: BTreeMap::new(),
        },
        profile: profile.clone(),
        settings: Settings {
            asked: BTreeMap::from([("devices".to_owned(), json!(names))]),
            run: BTreeMap::new(),
            judged: Judged { uses: Vec::new(), devices: asked.to_vec(), mode, at_cap: complete },
        },
        devices,
        trace: None,
    };
    assemble(frame, assessment)
}
