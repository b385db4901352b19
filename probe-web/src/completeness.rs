//! How complete the reports of a fleet are: what should have arrived, computed from the same schedules that agents run by, and what did.

use greenroom_reports::fleet::AgentState;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::metrics::{Family, Kind, Number};
use crate::rollup::{RUNS, SKIPPED};
use crate::store::{Agent, FleetPlan, Resolution, Result, RollupQuery, Store, Tenant};

/// The stretch that is looked at, and how long ago it ends: a run takes a while, and so does the way here.
const SPAN: SignedDuration = SignedDuration::from_hours(1);
const SETTLED: SignedDuration = SignedDuration::from_mins(5);

/// Agents read at a time.
const AT_ONCE: u32 = 5_000;

/// An active agent of which nothing was heard for so long is silent, or for so many times the time in which it is to ask: whichever is more.
const SILENT: SignedDuration = SignedDuration::from_mins(15);
const ASKED: u32 = 3;

/// How complete a fleet's reports are.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Completeness {
    /// Runs due from here on.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Until before here.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Agents that may report.
    pub active: u64,
    /// Agents that wait for approval.
    pub pending: u64,
    /// Agents that were shut out.
    pub revoked: u64,
    /// Active agents of which nothing was heard for a quarter of an hour, or three times as long as they may take to ask.
    pub silent: u64,
    /// Runs that were due.
    pub due: u64,
    /// Those that agents left out on purpose: a call was active, or the link is paid for by volume.
    pub skipped: u64,
    /// Those whose reports are here.
    pub received: u64,
    /// Received of those due and not left out. `None`: nothing was due.
    pub ratio: Option<f64>,
}

/// The time in which an agent's runs are expected: since it was let in, and since its schedules are what they are.
pub(crate) fn expected_from(agent: &Agent, plan: &FleetPlan, from: Timestamp) -> Timestamp {
    let since = [agent.active, plan.changed].into_iter().flatten().max();
    since.map_or(from, |since| since.max(from))
}

/// How many runs an agent had to make, by the schedules of now.
pub(crate) fn due(agent: &Agent, plan: &FleetPlan, from: Timestamp, to: Timestamp) -> u64 {
    if agent.state != AgentState::Active {
        return 0;
    }
    let from = expected_from(agent, plan, from);
    if from >= to { 0 } else { plan.told(None).due_between(agent.id, from, to) }
}

/// Received of those due and not left out.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(crate) fn ratio(due: u64, skipped: u64, received: u64) -> Option<f64> {
    let expected = due.saturating_sub(skipped);
    // Jitter may carry one more over the edge of a stretch than was due in it.
    (expected > 0).then(|| (received as f64 / expected as f64).min(1.0))
}

/// Of the last hour that is over.
///
/// # Errors
/// When the store fails.
pub async fn completeness_of(store: &dyn Store, tenant: Tenant, now: Timestamp) -> Result<Completeness> {
    let step = Resolution::FiveMinutes;
    let ended = now.checked_sub(SETTLED).unwrap_or(now);
    let to = Timestamp::from_second(step.bucket(ended)).unwrap_or(now);
    let from = to.checked_sub(SPAN).unwrap_or(to);
    let query = RollupQuery { resolution: step, from, to, site: None, endpoint: None };
    store.settle().await?;
    let tallies = store.tallies(tenant, &query).await?;
    let sum =
        |wanted: &str| tallies.iter().filter(|((_, name), _)| name == wanted).map(|(_, n)| *n).sum::<u64>();
    let (received, skipped) = (sum(RUNS), sum(SKIPPED));
    let plan = store.fleet_plan(tenant).await?;
    let silence = silent_after(&plan);
    let heard: std::collections::BTreeSet<Uuid> = store
        .boots_since(tenant, now.checked_sub(silence).unwrap_or(now))
        .await?
        .into_iter()
        .map(|boot| boot.agent)
        .collect();
    let (mut due_runs, mut silent) = (0, 0);
    let mut after = None;
    loop {
        let agents = store.agents(tenant, after, AT_ONCE).await?;
        let Some(last) = agents.last() else { break };
        after = Some(last.id);
        let plan = plan.clone();
        let counted = tokio::task::spawn_blocking(move || {
            agents.into_iter().map(|agent| (due(&agent, &plan, from, to), agent)).collect::<Vec<_>>()
        });
        let counted = counted
            .await
            .map_err(|error| crate::store::StoreError::Unavailable(format!("a helper thread: {error}")))?;
        for (runs, agent) in counted {
            due_runs += runs;
            silent += u64::from(!heard.contains(&agent.id) && is_silent(&agent, None, silence, now));
        }
    }
    let states = store.count_agents(tenant).await?;
    let count = |wanted| states.iter().find(|(state, _)| *state == wanted).map_or(0, |(_, n)| *n);
    Ok(Completeness {
        from,
        to,
        active: count(AgentState::Active),
        pending: count(AgentState::Pending),
        revoked: count(AgentState::Revoked),
        silent,
        due: due_runs,
        skipped,
        received,
        ratio: ratio(due_runs, skipped, received),
    })
}

/// How long nothing is heard of an agent before it counts as silent.
pub(crate) fn silent_after(plan: &FleetPlan) -> SignedDuration {
    SILENT.max(SignedDuration::from_secs(i64::from(plan.check_in_s) * i64::from(ASKED)))
}

/// Whether nothing was heard of an active agent for so long. `last`: when a report came.
pub(crate) fn is_silent(
    agent: &Agent,
    last: Option<Timestamp>,
    after: SignedDuration,
    now: Timestamp,
) -> bool {
    let recent = |at: Option<Timestamp>| at.is_some_and(|at| now.duration_since(at) < after);
    agent.state == AgentState::Active && ![last, agent.seen, agent.active].into_iter().any(recent)
}

/// What Prometheus is told: sums over all agents, none of them named.
pub(crate) fn families(found: &Completeness) -> Vec<Family> {
    let by = |name, help, key: &'static str, of: &[(&str, u64)]| {
        let mut family = Family::new(name, Kind::Gauge, help);
        for (label, n) in of {
            family.add(vec![(key, (*label).to_owned())], Number::Whole(*n));
        }
        family
    };
    let alone = |name, help, value| {
        let mut family = Family::new(name, Kind::Gauge, help);
        family.add(Vec::new(), value);
        family
    };
    let mut told = vec![
        by(
            "greenroom_agents",
            "Agents by state.",
            "state",
            &[("active", found.active), ("pending", found.pending), ("revoked", found.revoked)],
        ),
        alone(
            "greenroom_agents_silent",
            "Active agents of which nothing was heard for 15 minutes, or three times as long as they may take to ask.",
            Number::Whole(found.silent),
        ),
        by(
            "greenroom_agent_runs",
            "Runs of agents in the last hour that is over: due, left out on purpose, and received.",
            "of",
            &[("due", found.due), ("skipped", found.skipped), ("received", found.received)],
        ),
    ];
    told.extend(found.ratio.map(|ratio| {
        alone(
            "greenroom_agent_completeness_ratio",
            "Runs received of those due and not left out.",
            Number::Real(ratio),
        )
    }));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_take_an_hour_to_ask_is_not_silent_after_a_quarter_of_it() {
        let asked_within = |check_in_s| FleetPlan { check_in_s, ..FleetPlan::default() };
        assert_eq!(silent_after(&asked_within(5)), SignedDuration::from_mins(15));
        assert_eq!(silent_after(&asked_within(300)), SignedDuration::from_mins(15));
        assert_eq!(silent_after(&asked_within(3_600)), SignedDuration::from_hours(3));
    }
}
