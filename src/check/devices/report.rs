//! The report of a test of devices by themselves.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_reports::assess::{Equipment, Frame, Question, assemble, assess, uses_of, with_devices};
use greenroom_reports::schema::{
    AgentRef, DeviceKind, Devices, Environment, Judged, Kind, Mode, Report, Settings, Use, Value,
};
use greenroom_reports::verdict::Profile;
use serde_json::json;

use crate::check::report::tool;
use crate::devices::host::Watched;
use crate::net::clock::Clock;
use crate::system;

/// What a test of devices by themselves found, without any network.
#[derive(Debug, Clone)]
pub struct Found {
    /// Microphones, speakers, cameras.
    pub devices: Devices,
    /// What the computer is and was busy with; `None` if it was not looked at.
    pub machine: Option<Watched>,
}

/// Judges devices by themselves, without any network.
///
/// `clock` was started when the test was. `by_name` are the kinds that were tested because somebody named them: one that is
/// missing counts. `complete`: nobody ended the test early.
pub fn report_of(clock: Clock, found: Found, by_name: &[DeviceKind], complete: bool) -> Report {
    let profile = Profile::default();
    let kinds = if by_name.is_empty() { &DeviceKind::ALL[..] } else { by_name };
    let uses: BTreeSet<Use> = kinds.iter().flat_map(|kind| uses_of(*kind)).copied().collect();
    let mode = Mode::Quick;
    let question = Question { profile: &profile, asked: &uses, mode, at_cap: complete };
    let mut assessment = assess(&[], &question);
    let Found { devices, machine } = found;
    if let Some(load) = machine.as_ref().and_then(|seen| seen.load) {
        assessment.host.cpu_busy_ratio = Value::estimate(load.busy_ratio, 1);
        assessment.host.cpu_steal_ratio = Value::estimate(load.steal_ratio, 1);
    }
    let machine = machine.map_or_else(|| assessment.host.machine.clone(), |seen| seen.machine);
    let equipment = Equipment { devices: &devices, machine: &machine, asked: by_name };
    let assessment = with_devices(assessment, equipment, &question);
    let names: Vec<&str> = by_name.iter().map(|kind| kind.name()).collect();
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
            surroundings: None,
        },
        settings: Settings {
            asked: BTreeMap::from([("devices".to_owned(), json!(names))]),
            run: BTreeMap::new(),
            judged: Judged {
                uses: uses.iter().copied().collect(),
                devices: by_name.to_vec(),
                mode,
                at_cap: complete,
            },
        },
        profile: profile.clone(),
        devices,
        traces: Vec::new(),
    };
    assemble(frame, assessment)
}
