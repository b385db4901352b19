//! A run against something that is no Greenroom endpoint.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_reports::assess::{Equipment, Frame, Probed, Question, assemble, assess, with_devices};
use greenroom_reports::schema::{AgentRef, Devices, Environment, Judged, Kind, Mode, Report, Settings};
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::{Profile, TargetFailure};
use serde_json::json;

use super::{Progress, Watch, machine, report};
use crate::net::clock::Clock;
use crate::plan::ProbePlan;
use crate::{system, targets};

/// Measures something that is no Greenroom endpoint and reports. Never fails: what went wrong stands in the report.
///
/// It carries no media, so nothing of a call is judged. Must be called within a tokio runtime with time and I/O enabled.
pub async fn probe(plan: &ProbePlan, watch: &Watch) -> Report {
    let clock = Clock::start();
    let looking = tokio::task::spawn_blocking(|| machine::Watch::start(machine::here()));
    watch.tell(Progress::Asking);
    let targets::Measured { meta, trace, spent } = targets::probe(plan, clock, &watch.stop).await;
    watch.tell(Progress::Finishing);
    let seen = looking.await.ok().map(machine::Watch::end);

    let (profile, asked) = (Profile::default(), BTreeSet::new());
    let complete = meta.failure != Some(TargetFailure::Interrupted);
    let question = Question { profile: &profile, asked: &asked, mode: Mode::Deep, at_cap: complete };
    let assessment = assess(&[Probed { meta: &meta, trace: trace.as_ref() }], &question);
    let devices = Devices::default();
    let machine = seen.map_or_else(|| assessment.host.machine.clone(), |seen| seen.machine);
    let equipment = Equipment { devices: &devices, machine: &machine, asked: &[] };
    let assessment = with_devices(assessment, equipment, &question);
    let frame = Frame {
        id: clock.new_id(),
        kind: Kind::Measure,
        parent: None,
        complete,
        started: clock.started(),
        duration_ms: clock.now().as_ms(),
        bytes_used: spent.bytes(),
        labels: BTreeMap::new(),
        agent: AgentRef::default(),
        tool: report::tool(),
        environment: Environment {
            os: Some(system::os_name()),
            arch: Some(std::env::consts::ARCH.to_owned()),
            network: plan.interface.iter().map(|name| ("interface".to_owned(), json!(name))).collect(),
        },
        profile: profile.clone(),
        settings: settings(plan, complete),
        devices,
        trace: trace.as_ref().and_then(report::encoded),
    };
    assemble(frame, assessment)
}

fn settings(plan: &ProbePlan, at_cap: bool) -> Settings {
    let ms = |time: Micros| json!(time.as_ms());
    Settings {
        asked: BTreeMap::from([("target".to_owned(), json!(plan.target.to_string()))]),
        run: BTreeMap::from([
            ("interval_ms".to_owned(), ms(plan.interval)),
            ("questions".to_owned(), json!(plan.count)),
            ("longest_ms".to_owned(), ms(plan.longest())),
        ]),
        judged: Judged { uses: Vec::new(), devices: Vec::new(), mode: Mode::Deep, at_cap },
    }
}
