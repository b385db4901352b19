//! A run against what is no Greenroom endpoint.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_reports::assess::{Equipment, Frame, Probed, Question, assemble, assess, with_devices};
use greenroom_reports::schema::{AgentRef, Devices, Environment, Judged, Kind, Mode, Report, Settings};
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::{Profile, TargetFailure};
use serde_json::json;

use super::{Progress, Watch, machine, report};
use crate::net::clock::Clock;
use crate::plan::ProbePlan;
use crate::{system, targets};

/// Measures what is no Greenroom endpoint, side by side where they do not disturb each other, and reports. Never fails: what went wrong
/// stands in the report.
///
/// Nothing of a call is judged. Must be called within a tokio runtime with time and I/O enabled.
pub async fn probe_all(plans: &[ProbePlan], watch: &Watch) -> Report {
    let clock = Clock::start();
    let looking = tokio::task::spawn_blocking(|| machine::Watch::start(machine::here()));
    watch.tell(Progress::Asking);
    let measured = targets::all(plans, clock, &watch.stop).await;
    watch.tell(Progress::Finishing);
    let seen = looking.await.ok().map(machine::Watch::end);

    let (profile, asked) = (Profile::default(), BTreeSet::new());
    let complete = measured.iter().all(|it| it.meta.failure != Some(TargetFailure::Interrupted));
    let question = Question { profile: &profile, asked: &asked, mode: Mode::Deep, at_cap: complete };
    let probed: Vec<Probed<'_>> =
        measured.iter().map(|it| Probed { meta: &it.meta, trace: it.trace.as_ref() }).collect();
    let assessment = assess(&probed, &question);
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
        bytes_used: measured.iter().map(|it| it.spent).sum::<DataSize>().bytes(),
        labels: BTreeMap::new(),
        agent: AgentRef::default(),
        tool: report::tool(),
        environment: Environment {
            os: Some(system::os_name()),
            arch: Some(std::env::consts::ARCH.to_owned()),
            network: plans
                .iter()
                .filter_map(|plan| plan.interface.as_ref())
                .take(1)
                .map(|name| ("interface".to_owned(), json!(name)))
                .collect(),
            surroundings: None,
        },
        profile: profile.clone(),
        settings: settings(plans, complete),
        devices,
        traces: report::traces(&probed),
    };
    assemble(frame, assessment)
}

fn settings(plans: &[ProbePlan], at_cap: bool) -> Settings {
    let ms = |time: Micros| json!(time.as_ms());
    let targets: Vec<String> = plans.iter().map(|plan| plan.target.to_string()).collect();
    let asked = match &targets[..] {
        [one] => ("target".to_owned(), json!(one)),
        _ => ("targets".to_owned(), json!(targets)),
    };
    // How often each of several is asked follows from its kind.
    let run = match plans {
        [plan] => BTreeMap::from([
            ("interval_ms".to_owned(), ms(plan.interval)),
            ("questions".to_owned(), json!(plan.count)),
            ("longest_ms".to_owned(), ms(plan.longest())),
        ]),
        _ => BTreeMap::from([(
            "questions".to_owned(),
            json!(plans.iter().map(|plan| u64::from(plan.count)).sum::<u64>()),
        )]),
    };
    Settings {
        asked: BTreeMap::from([asked]),
        run,
        judged: Judged { uses: Vec::new(), devices: Vec::new(), mode: Mode::Deep, at_cap },
    }
}
