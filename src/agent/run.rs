//! One run of a schedule: its plan, and its report as a fleet's server wants it.

use std::collections::BTreeSet;

use greenroom_reports::fleet::{RunFacts, Schedule};
use greenroom_reports::schema::{Kind, Report, Source, State};
use greenroom_reports::verdict::Profile;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::address::{EndpointUrl, OtherKind, OtherUrl, TargetUrl, Token};
use crate::check::{self, Also, Beside, Watch};
use crate::plan::{self, Against, Plan, Request, Traffic};

/// Of the runs that found nothing wrong, one of so many keeps its samples.
const SAMPLED: u128 = 20;

/// A clock that is off by less is as right as anybody can tell over the way to a server.
const OFF: SignedDuration = SignedDuration::from_secs(2);

/// Who an agent is on this computer, and from where it measures.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// What lets it in at endpoints. Only sent to one that proved who it is.
    pub token: Option<Token>,
    /// The network interface to send from.
    pub interface: Option<String>,
}

/// What a schedule's run does.
///
/// # Errors
/// Why it cannot be run by this version on this computer, in a sentence.
pub fn plan_of(schedule: &Schedule, local: &Local) -> Result<(Plan, Also), String> {
    let (endpoints, others) = targets_of(schedule)?;
    let mut endpoints = endpoints.into_iter();
    let request = Request {
        against: Against {
            endpoint: endpoints.next(),
            token: local.token.clone(),
            interface: local.interface.clone(),
            ..Against::default()
        },
        traffic: Traffic::Uses(BTreeSet::from_iter(schedule.uses.iter().copied()), schedule.mode),
        profile: Profile::default(),
        max_bytes: None,
    };
    let plan = plan::plan(&request).map_err(|error| error.to_string())?;
    let others: Result<_, String> = others
        .iter()
        .map(|other| plan::plan_beside(&plan, other).map_err(|error| error.to_string()))
        .collect();
    Ok((plan, Also { endpoints: endpoints.collect(), others: others?, ..Also::default() }))
}

fn targets_of(schedule: &Schedule) -> Result<(Vec<EndpointUrl>, Vec<OtherUrl>), String> {
    let (mut endpoints, mut others) = (Vec::new(), Vec::new());
    for text in &schedule.targets {
        match text.parse::<TargetUrl>().map_err(|error| format!("schedule {}: {error}", schedule.id))? {
            TargetUrl::Greenroom(endpoint) => endpoints.push(endpoint),
            TargetUrl::Other(other) => match other.kind {
                // These need a secret, or a file, of whoever runs them.
                OtherKind::Whip | OtherKind::Turn | OtherKind::Turns | OtherKind::Service => {
                    return Err(format!("schedule {}: agents do not measure {other}", schedule.id));
                }
                _ => others.push(other),
            },
        }
    }
    match endpoints.is_empty() && others.is_empty() {
        true => Err(format!("schedule {} has no target", schedule.id)),
        false => Ok((endpoints, others)),
    }
}

/// Runs it. A run that `stop` ended is `complete: false`.
pub(super) async fn run(plan: Plan, also: &Also, stop: CancellationToken) -> Report {
    check::check_all(plan, also, Watch::unseen(stop), Beside::nothing()).await
}

/// Which of an agent's reports a report is.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    pub(super) agent: Uuid,
    pub(super) boot: Uuid,
    pub(super) seq: u64,
    pub(super) site: Option<String>,
}

/// A run's report as the agent sends it.
pub(super) fn finished(report: Report, numbered: &Numbered, facts: &RunFacts) -> Report {
    let behind = facts.clock_behind_ms.map(SignedDuration::from_millis).filter(|off| off.abs() > OFF);
    let mut report = without_samples(report);
    report.kind = Kind::Agent;
    report.tool.source = Source::Agent;
    report.started = behind.map_or(report.started, |off| moved(report.started, off));
    report.agent.id = Some(numbered.agent.to_string());
    report.agent.boot = Some(numbered.boot.to_string());
    report.agent.seq = Some(numbered.seq);
    if let Some(site) = &numbered.site {
        report.labels.insert("site".to_owned(), site.clone());
    }
    let facts = serde_json::to_value(facts).unwrap_or_default();
    report.settings.run.insert("agent".to_owned(), facts);
    report
}

fn moved(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(at)
}

/// Samples are ten times all else. They go along where something is wrong, and with some of the others, so that figures can be computed
/// again.
fn without_samples(report: Report) -> Report {
    if report.verdict.overall != State::Ready || report.id.as_u128().is_multiple_of(SAMPLED) {
        return report;
    }
    Report { trace: None, further_traces: Vec::new(), ..report }
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::{Mode, Use};

    use super::*;

    fn schedule(targets: &[&str]) -> Schedule {
        Schedule {
            id: "calls".into(),
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            uses: vec![Use::Audio],
            mode: Mode::Quick,
            every_s: 300,
            start: None,
            until: None,
            max_runs: None,
            in_call: false,
            metered: false,
        }
    }

    #[test]
    fn a_plan_is_what_a_check_of_the_same_targets_would_be() {
        let (plan, also) =
            plan_of(&schedule(&["stun:stun.example", "a.example", "b.example"]), &Local::default()).unwrap();
        assert_eq!(plan.against.endpoint.unwrap().to_string(), "greenroom://a.example");
        assert_eq!((also.endpoints.len(), also.others.len()), (1, 1));
    }

    #[test]
    fn what_an_agent_does_not_measure_is_said() {
        for target in ["turn:relay.example", "service:x", "gopher://x", "whip:https://x.example/y"] {
            assert!(plan_of(&schedule(&[target]), &Local::default()).is_err(), "{target}");
        }
        assert!(plan_of(&schedule(&[]), &Local::default()).unwrap_err().contains("no target"));
    }
}
