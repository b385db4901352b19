//! From an assessment to a report, and from a report back to its own figures.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Assessment, Equipment, Probed, Question, TargetMeta, assess, with_devices, with_surroundings};
use crate::schema::{
    AgentRef, Details, Devices, EncodedTrace, Environment, FurtherTrace, Kind, Report, SCHEMA, Settings,
    Target, Tool, Value,
};
use crate::trace::Trace;
use crate::trace::encoding::{self, DecodeError};
use crate::verdict::{Profile, ProfileError};

/// Everything of a report that is not measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// UUIDv7, minted by the shell; its random bits make the report's short code.
    pub id: Uuid,
    /// What kind of run it was.
    pub kind: Kind,
    /// The report that this one follows.
    pub parent: Option<Uuid>,
    /// Whether the run came to its planned end.
    pub complete: bool,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub duration_ms: f64,
    /// Bytes sent and received at the IP layer.
    pub bytes_used: u64,
    /// As given by whoever ran it.
    pub labels: BTreeMap<String, String>,
    /// The fleet agent that ran it.
    pub agent: AgentRef,
    /// The program that made it.
    pub tool: Tool,
    /// The machine and network it ran on.
    pub environment: Environment,
    /// The thresholds it was judged with.
    pub profile: Profile,
    /// What was asked for, and what was run.
    pub settings: Settings,
    /// What was found and measured of the devices.
    pub devices: Devices,
    /// The traces of the endpoints that have one, as encoded, each with the endpoint's place among the targets.
    pub traces: Vec<(usize, EncodedTrace)>,
}

/// Puts a report together.
pub fn assemble(frame: Frame, assessment: Assessment) -> Report {
    let Frame {
        id,
        kind,
        parent,
        complete,
        started,
        duration_ms,
        bytes_used,
        labels,
        agent,
        tool,
        environment,
        profile,
        settings,
        devices,
        traces,
    } = frame;
    let mut traces = traces.into_iter();
    let trace = traces.next().map(|(_, trace)| trace);
    let further_traces = traces.map(|(target, trace)| FurtherTrace { target, trace }).collect();
    let Assessment { targets, verdict, host, sketches, decided: _, settled: _ } = assessment;
    Report {
        schema: SCHEMA.to_owned(),
        id,
        kind,
        parent,
        code: short_code(id),
        complete,
        started,
        duration_ms,
        bytes_used,
        labels,
        agent,
        tool,
        environment,
        profile,
        settings,
        verdict,
        targets,
        devices,
        host,
        join: BTreeMap::new(),
        trace,
        further_traces,
        sketches,
        redaction: None,
    }
}

/// What came of computing a report's summary again from its own trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// The same.
    Agrees,
    /// Not the same: the paths of what differs, as JSON pointers.
    Differs(Vec<String>),
}

/// Why a report's summary cannot be computed again.
#[derive(Debug, thiserror::Error)]
pub enum RecomputeError {
    /// It carries no trace.
    #[error("the report has no trace; only its sketches can be used")]
    NoTrace,
    /// Its trace cannot be read.
    #[error(transparent)]
    Trace(#[from] DecodeError),
    /// Its profile makes no sense.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// It has a trace and no endpoint that it could be of.
    #[error("the report has samples, and no endpoint that they could be of")]
    NoTarget,
    /// Samples are missing of an endpoint that has figures from them, or are of none.
    #[error(
        "{measured} endpoints have figures from samples, and there are samples of {traced}; it cannot be computed again"
    )]
    Targets {
        /// Endpoints with figures that only come from samples.
        measured: usize,
        /// Sets of samples that are of one of them.
        traced: usize,
    },
}

/// Computes a report's summary again from its trace and compares.
///
/// The trace is of the first endpoint that was measured by samples, the further traces are of the endpoints that they name.
///
/// # Errors
/// [`RecomputeError`] when there is nothing to compute from.
pub fn recompute(report: &Report) -> Result<Agreement, RecomputeError> {
    let trace = encoding::decode(report.trace.as_ref().ok_or(RecomputeError::NoTrace)?)?;
    report.profile.validate()?;
    let traces = traces(report, trace)?;
    let asked: BTreeSet<_> = report.settings.judged.uses.iter().copied().collect();
    let question = Question {
        profile: &report.profile,
        asked: &asked,
        mode: report.settings.judged.mode,
        at_cap: report.settings.judged.at_cap,
    };
    let metas: Vec<TargetMeta> = report.targets.iter().map(meta_of).collect();
    let probed = |(i, meta)| Probed { meta, trace: traces.get(&i) };
    let again = assess(&metas.iter().enumerate().map(probed).collect::<Vec<_>>(), &question);
    let again = with_surroundings(again, report.environment.surroundings.as_ref(), &question);
    // Of devices and computer there are figures, and no samples.
    let equipment = Equipment {
        devices: &report.devices,
        machine: &report.host.machine,
        asked: &report.settings.judged.devices,
    };
    let again = with_devices(again, equipment, &question);
    let mut differing = Vec::new();
    let as_json = |value: serde_json::Result<serde_json::Value>| value.unwrap_or(serde_json::Value::Null);
    for (name, theirs, ours) in [
        (
            "/targets",
            as_json(serde_json::to_value(&report.targets)),
            as_json(serde_json::to_value(&again.targets)),
        ),
        (
            "/verdict",
            as_json(serde_json::to_value(&report.verdict)),
            as_json(serde_json::to_value(&again.verdict)),
        ),
        ("/host", as_json(serde_json::to_value(&report.host)), as_json(serde_json::to_value(&again.host))),
        (
            "/sketches",
            as_json(serde_json::to_value(&report.sketches)),
            as_json(serde_json::to_value(&again.sketches)),
        ),
    ] {
        differences(name, &theirs, &ours, &mut differing);
    }
    Ok(if differing.is_empty() { Agreement::Agrees } else { Agreement::Differs(differing) })
}

/// The samples of each target that has some, by its place among the targets.
fn traces(report: &Report, first: Trace) -> Result<BTreeMap<usize, Trace>, RecomputeError> {
    if report.targets.is_empty() {
        return Err(RecomputeError::NoTarget);
    }
    let measured: BTreeSet<usize> =
        (0..report.targets.len()).filter(|i| was_measured(&report.targets[*i])).collect();
    let mut traces = BTreeMap::new();
    for further in &report.further_traces {
        traces.insert(further.target, encoding::decode(&further.trace)?);
    }
    // Where nothing came of the samples, they are of the first endpoint, as they are when a report is made.
    let rest = measured.iter().find(|at| !traces.contains_key(at)).copied();
    let at = rest.or_else(|| (0..report.targets.len()).find(|at| !traces.contains_key(at)));
    traces.insert(at.ok_or(RecomputeError::NoTarget)?, first);
    let complete = measured.iter().all(|at| traces.contains_key(at));
    let named = traces.keys().all(|at| *at < report.targets.len());
    if complete && named {
        Ok(traces)
    } else {
        Err(RecomputeError::Targets { measured: measured.len(), traced: traces.len() })
    }
}

/// Whether a target's figures came from samples.
fn was_measured(target: &Target) -> bool {
    if target.details.as_ref().is_some_and(Details::is_reported) {
        return false;
    }
    target.up.counts.planned > 0 || target.down.counts.planned > 0 || !target.streams.is_empty()
}

fn meta_of(target: &Target) -> TargetMeta {
    TargetMeta {
        url: target.url.clone(),
        kind: target.kind.clone(),
        reached: match &target.state {
            Value::Measured(reached) => Some(reached.clone()),
            Value::Failed { .. } | Value::NotTested { .. } => None,
        },
        identity: target.identity,
        failure: target.failure.clone(),
        details: target.details.clone(),
        in_process: target.in_process,
    }
}

/// Collects the paths at which two JSON values differ; numbers may differ by what writing and reading them costs.
fn differences(at: &str, a: &serde_json::Value, b: &serde_json::Value, found: &mut Vec<String>) {
    use serde_json::Value::{Array, Number, Object};
    match (a, b) {
        (Object(a), Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let null = serde_json::Value::Null;
                let [a, b] = [a, b].map(|map| map.get(key).unwrap_or(&null));
                differences(&format!("{at}/{key}"), a, b, found);
            }
        }
        (Array(a), Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{at}/{i}"), a, b, found);
            }
        }
        (Number(a), Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            let close = (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0);
            if !close {
                found.push(at.to_owned());
            }
        }
        _ if a == b => {}
        _ => found.push(at.to_owned()),
    }
}

/// A short name from the id's last 40 bits (random in a UUIDv7): `K7Q4-M2XP` in Crockford's base 32, which has no letters that
/// look like digits.
pub fn short_code(id: Uuid) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let bits = id.as_u128();
    let letter = |place: u32| {
        let five = usize::try_from((bits >> (5 * place)) & 31).unwrap_or(0);
        char::from(LETTERS[five])
    };
    let half = |from: u32| (from..from + 4).rev().map(letter).collect::<String>();
    format!("{}-{}", half(4), half(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_code_is_the_last_forty_bits() {
        let code = |bits: u128| short_code(Uuid::from_u128(bits));
        assert_eq!(code(0), "0000-0000");
        assert_eq!(code(31), "0000-000Z");
        assert_eq!(code(1 << 35), "1000-0000");
        assert_eq!(code(u128::MAX), "ZZZZ-ZZZZ");
    }

    #[test]
    fn differences_are_named_by_path() {
        let a = serde_json::json!({ "x": [1.0, { "y": "same" }], "z": 0.1 });
        let b = serde_json::json!({ "x": [2.0, { "y": "same" }], "z": 0.100_000_000_001, "new": 1 });
        let mut found = Vec::new();
        differences("", &a, &b, &mut found);
        assert_eq!(found, ["/new", "/x/0"]);
    }
}
