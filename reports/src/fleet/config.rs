//! What an agent is told to do. Data, never code; and whatever a server says, within bounds that the agent itself looks at.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::schedule::{Occasion, Schedule};

/// Most schedules of a fleet, targets of a schedule and stretches without runs.
const MOST_SCHEDULES: usize = 16;
const MOST_TARGETS: usize = 8;
const MOST_SUPPRESSIONS: usize = 64;
/// Most characters of a target.
const MOST_TEXT: usize = 256;
/// Shortest and longest interval.
const EVERY_S: std::ops::RangeInclusive<u32> = 10..=604_800;
const CHECK_IN_S: std::ops::RangeInclusive<u32> = 5..=3_600;

/// What an agent is told to do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Counts up with every change; 0 before the first.
    pub version: i64,
    /// The site that its reports are of.
    pub site: Option<String>,
    /// How often it asks, in seconds, while it has nothing to send.
    pub check_in_s: u32,
    /// What it runs.
    pub schedules: Vec<Schedule>,
    /// When it does not.
    pub suppressions: Vec<Suppression>,
}

/// A stretch of time in which scheduled runs are not made: maintenance, or a switch to stop a fleet at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suppression {
    /// From here on.
    pub from: Timestamp,
    /// Until before here; `None`: until it is taken away.
    pub until: Option<Timestamp>,
    /// Of one schedule; `None`: of all.
    pub schedule: Option<String>,
}

impl Suppression {
    /// Whether it stops an occasion of a schedule.
    pub fn stops(&self, schedule: &str, at: Timestamp) -> bool {
        self.from <= at
            && self.until.is_none_or(|until| at < until)
            && self.schedule.as_deref().is_none_or(|one| one == schedule)
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// Where, as a path: `schedules/calls/every_s`.
    pub place: String,
    /// What, to stand behind the place.
    pub detail: &'static str,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, self.detail)
    }
}

impl AgentConfig {
    /// All that is beyond a bound. The server keeps no configuration that has faults, and an agent obeys none.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let mut fault = |place: &str, detail| faults.push(ConfigFault { place: place.to_owned(), detail });
        if !CHECK_IN_S.contains(&self.check_in_s) {
            fault("check_in_s", "must be 5 to 3600 seconds");
        }
        if self.schedules.len() > MOST_SCHEDULES {
            fault("schedules", "has more than 16 entries");
        }
        if self.suppressions.len() > MOST_SUPPRESSIONS {
            fault("suppressions", "has more than 64 entries");
        }
        for (index, schedule) in self.schedules.iter().enumerate() {
            let place = |field: &str| format!("schedules/{}/{field}", schedule.id);
            if !is_id(&schedule.id) {
                fault(&format!("schedules/{index}/id"), "must be 1 to 64 of a to z, 0 to 9, - and _");
            }
            if self.schedules.iter().take(index).any(|other| other.id == schedule.id) {
                fault(&place("id"), "is there twice");
            }
            if schedule.targets.is_empty() || schedule.targets.len() > MOST_TARGETS {
                fault(&place("targets"), "must be 1 to 8");
            }
            if schedule.targets.iter().any(|target| !is_target(target)) {
                fault(
                    &place("targets"),
                    "must be as greenroom check takes them, without spaces, in at most 256 characters",
                );
            }
            if !EVERY_S.contains(&schedule.every_s) {
                fault(&place("every_s"), "must be 10 seconds to a week");
            }
            if schedule.uses.is_empty() {
                fault(&place("uses"), "must name one at least");
            }
            if schedule.max_runs.is_some() && schedule.start.is_none() {
                fault(&place("max_runs"), "needs a start to count from");
            }
        }
        faults
    }

    /// Whether a run that a schedule has on this occasion is to be made.
    pub fn wants(&self, schedule: &Schedule, agent: Uuid, occasion: Occasion) -> bool {
        schedule.allows(agent, occasion)
            && !self.suppressions.iter().any(|it| it.stops(&schedule.id, occasion.at))
    }

    /// How many runs an agent has to make from `from` until before `to`.
    pub fn due_between(&self, agent: Uuid, from: Timestamp, to: Timestamp) -> u64 {
        let due = |schedule: &Schedule| {
            schedule.occasions(agent, from, to).filter(|it| self.wants(schedule, agent, *it)).count()
        };
        self.schedules.iter().map(due).sum::<usize>().try_into().unwrap_or(u64::MAX)
    }
}

/// Whether a text can name a schedule.
fn is_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    (1..=64).contains(&text.len()) && text.chars().all(plain)
}

fn is_target(text: &str) -> bool {
    !text.is_empty() && text.len() <= MOST_TEXT && text.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::super::schedule::tests::{every, time};
    use super::*;

    fn good() -> AgentConfig {
        AgentConfig { version: 1, check_in_s: 300, schedules: vec![every(300)], ..AgentConfig::default() }
    }

    #[test]
    fn what_is_beyond_a_bound_is_named() {
        assert!(good().faults().is_empty());
        let faults = |change: &dyn Fn(&mut AgentConfig)| {
            let mut config = good();
            change(&mut config);
            config.faults().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(faults(&|c| c.schedules[0].every_s = 1)[0].starts_with("schedules/calls/every_s must be"));
        assert_eq!(faults(&|c| c.schedules[0].targets.clear()).len(), 1);
        assert_eq!(faults(&|c| c.schedules[0].targets = vec!["a b".into()]).len(), 1);
        assert_eq!(faults(&|c| c.schedules[0].targets = vec!["a".into(); 9]).len(), 1);
        assert_eq!(faults(&|c| c.schedules[0].id = "../x".into()).len(), 1);
        assert_eq!(faults(&|c| c.schedules[0].uses.clear()).len(), 1);
        assert_eq!(faults(&|c| c.schedules[0].max_runs = Some(1)).len(), 1);
        assert_eq!(faults(&|c| c.schedules.push(every(300))), ["schedules/calls/id is there twice"]);
        assert_eq!(faults(&|c| c.check_in_s = 0).len(), 1);
    }

    #[test]
    fn what_is_suppressed_is_not_due() {
        let agent = Uuid::from_u128(3);
        let (from, to) = (time("2026-11-22T00:00:00Z"), time("2026-11-23T00:00:00Z"));
        let due = |suppressions: Vec<Suppression>| {
            AgentConfig { suppressions, ..good() }.due_between(agent, from, to)
        };
        let noon = time("2026-11-22T12:00:00Z");
        let whole = due(Vec::new());
        assert!((287..=289).contains(&whole), "{whole}");
        let half = due(vec![Suppression { from, until: Some(noon), schedule: None }]);
        assert!((143..=145).contains(&half), "{half}");
        assert_eq!(due(vec![Suppression { from, until: None, schedule: Some("calls".into()) }]), 0);
        assert_eq!(due(vec![Suppression { from, until: None, schedule: Some("other".into()) }]), whole);
    }
}
