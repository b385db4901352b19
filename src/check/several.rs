//! Everything that a run measures: endpoints in turn, since their traffic would disturb each other, and beside them what only asks.

use greenroom_reports::assess::TargetMeta;
use greenroom_reports::schema::{Kind, Surroundings};
use greenroom_reports::units::DataSize;
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::best::{self, Candidate};
use super::traffic::{self, Ending, Measured, bytes_of};
use super::{Progress, Watch};
use crate::address::{Host, Portal};
use crate::net::clock::Clock;
use crate::plan::{Against, EndpointUrl, Plan, ProbePlan};
use crate::targets::surroundings::{self, Way};
use crate::targets::{self, gateway};

/// What is measured beside the plan's own endpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Also {
    /// Further Greenroom endpoints, measured like the plan's.
    pub endpoints: Vec<EndpointUrl>,
    /// What is no Greenroom endpoint.
    pub others: Vec<ProbePlan>,
    /// Whether the best of all endpoints is found first, and the others are left out.
    pub pick_best: bool,
    /// Where a sign-in page is looked for.
    pub portal: Portal,
}

/// A plan against the endpoint that was chosen, where there was a choice.
pub(super) struct Chosen {
    pub(super) plan: Plan,
    pub(super) also: Also,
    /// The endpoints tried, the best first.
    pub(super) candidates: Vec<Candidate>,
}

/// Chooses the best endpoint where that was asked for.
pub(super) async fn choose(plan: Plan, also: &Also, clock: Clock, watch: &Watch) -> Chosen {
    let endpoints: Vec<EndpointUrl> = plan.against.endpoint.iter().chain(&also.endpoints).cloned().collect();
    if !also.pick_best || endpoints.len() < 2 {
        return Chosen { plan, also: also.clone(), candidates: Vec::new() };
    }
    watch.tell(Progress::Comparing);
    let candidates = best::first(&plan, &endpoints, clock, watch).await.unwrap_or_else(|error| {
        tracing::warn!("the endpoints were not compared: {error}");
        Vec::new()
    });
    let best = candidates.first().map(|best| best.endpoint.clone()).or(plan.against.endpoint.clone());
    let against = Against { endpoint: best, ..plan.against };
    let also = Also { endpoints: Vec::new(), ..also.clone() };
    Chosen { plan: Plan { against, ..plan }, also, candidates }
}

/// What a run brought to light.
pub(super) struct Found {
    /// Each endpoint with the first router on the way to it, where that was asked.
    pub(super) endpoints: Vec<(Measured, Option<TargetMeta>)>,
    pub(super) others: Vec<targets::Measured>,
    /// What stands in between; `None` where nobody looked.
    pub(super) surroundings: Option<Surroundings>,
    /// Bytes that asking routers and a sign-in page took.
    asking: DataSize,
}

impl Found {
    /// Whether all of it came to its end, planned or decided.
    pub(super) fn is_complete(&self) -> bool {
        let ended = |measured: &Measured| matches!(measured.ending, Ending::Planned | Ending::Decided);
        self.endpoints.iter().all(|(measured, _)| ended(measured))
            && self.others.iter().all(|other| other.meta.failure != Some(TargetFailure::Interrupted))
    }

    /// Bytes sent and received at the IP layer.
    pub(super) fn bytes(&self) -> DataSize {
        let endpoints = self.endpoints.iter().map(|(measured, _)| {
            let traced = measured.trace.as_ref().map_or(DataSize::default(), |trace| bytes_of(&trace.here));
            traced + measured.search_bytes
        });
        let others = self.others.iter().map(|other| other.spent);
        endpoints.chain(others).sum::<DataSize>() + self.asking
    }
}

/// Measures the plan's endpoint and all others, until `watch` stops it.
pub(super) async fn measure(plan: &Plan, also: &Also, clock: Clock, watch: &Watch) -> Found {
    let endpoints = in_turn(plan, also, clock, watch);
    let (((endpoints, asking), others), (surroundings, looking)) = tokio::join!(
        targets::all_beside(endpoints, &also.others, clock, &watch.stop),
        surroundings(plan, also, watch)
    );
    Found { endpoints, others, surroundings, asking: asking + looking }
}

/// What stands between this computer and what is measured. Only a verdict has a use for it.
async fn surroundings(plan: &Plan, also: &Also, watch: &Watch) -> (Option<Surroundings>, DataSize) {
    if plan.kind == Kind::Measure {
        return (None, DataSize::default());
    }
    let endpoints = plan.against.endpoint.iter().chain(&also.endpoints).map(|endpoint| &endpoint.host);
    let others = also.others.iter().map(|other| &other.target).filter(|target| target.kind.is_of_a_host());
    let mut hosts: Vec<Host> = Vec::new();
    for host in endpoints.chain(others.map(|target| &target.host)) {
        if !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    let way = Way { hosts, interface: plan.against.interface.clone(), portal: also.portal.clone() };
    let mut spent = DataSize::default();
    let found = surroundings::look(&way, &watch.stop, &mut spent).await;
    (Some(found), spent)
}

/// The endpoints one after the other.
async fn in_turn(
    plan: &Plan,
    also: &Also,
    clock: Clock,
    watch: &Watch,
) -> (Vec<(Measured, Option<TargetMeta>)>, DataSize) {
    let (mut found, mut asking) = (Vec::new(), DataSize::default());
    // Who named something else has no use for an endpoint within this program.
    if plan.against.endpoint.is_some() || also.others.is_empty() {
        found.push(network(plan, clock, watch, &mut asking).await);
    }
    for endpoint in &also.endpoints {
        let against = Against { endpoint: Some(endpoint.clone()), ..plan.against.clone() };
        let plan = Plan { against, ..plan.clone() };
        found.push(network(&plan, clock, watch, &mut asking).await);
    }
    (found, asking)
}

/// The endpoint, and beside it the first router on the way there, as long as the endpoint is measured.
async fn network(
    plan: &Plan,
    clock: Clock,
    watch: &Watch,
    asking: &mut DataSize,
) -> (Measured, Option<TargetMeta>) {
    let ended = CancellationToken::new();
    let endpoint = async {
        let _ended = ended.clone().drop_guard();
        traffic::measure(plan, clock, watch).await
    };
    tokio::join!(endpoint, router(plan, clock, &ended, asking))
}

/// The first router on the way to the endpoint, while it is measured. Only a verdict has a use for it.
async fn router(
    plan: &Plan,
    clock: Clock,
    ended: &CancellationToken,
    spent: &mut DataSize,
) -> Option<TargetMeta> {
    let endpoint = plan.against.endpoint.as_ref().filter(|_| plan.kind != Kind::Measure)?;
    let (to, interface) = ((&endpoint.host, endpoint.port), plan.against.interface.as_deref());
    gateway::watch(to, interface, clock, ended, spent).await
}
