//! What got worse.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::params::{Named, Params};
use super::reader::Reader;
use super::refusals::{NoReader, NoStore};
use crate::app::AppState;
use crate::incidents::{Rule, Silence, cause_words, headline};
use crate::problem::Problem;
use crate::store::{Incident, Kept, Severity, name_of};

/// Most incidents of an answer.
const MOST: u32 = 500;

/// Which incidents.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Those that are not over alone.
    #[serde(default)]
    open: bool,
    /// Those noticed before this (RFC 3339): `next` of the answer before.
    before: Option<Timestamp>,
    /// How many at most: 1 to 500.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// Something that got worse for those who have something in common.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownIncident {
    id: Uuid,
    /// What they have in common: `agent`, `site_to_endpoint`, `site`, `provider_to_endpoint`, `provider`, `endpoint`, `everybody`.
    scope: &'static str,
    /// The site, where it is one's.
    site: Option<String>,
    /// The provider, where it is one's.
    provider: Option<String>,
    /// The endpoint, where it is one's.
    endpoint: Option<String>,
    /// The agent, where it is one's. For keys and roles that see what is personal.
    agent: Option<String>,
    severity: Severity,
    /// When it began, as far as can be told.
    since: Timestamp,
    /// When it was noticed.
    noticed: Timestamp,
    /// Since when all is as usual again; null while it lasts.
    over: Option<Timestamp>,
    /// The incident that it turned out to be part of.
    part_of: Option<Uuid>,
    /// What got worse, the first one noticed first: `rtt_p50`, `up.loss_ratio`, …
    figures: Vec<&'static str>,
    /// Agents that got worse.
    agents: u64,
    /// Agents that the scope has.
    of_agents: u64,
    /// Where the fault is: `local_network`, `path`, `service`, …
    place: String,
    /// What got worse, in a sentence.
    say: String,
    /// Why, in a sentence.
    cause: String,
    /// What the reports of those that got worse say.
    evidence: ShownEvidence,
    /// Some of these reports.
    reports: Vec<Uuid>,
}

/// What reports say together.
#[derive(Debug, Serialize, ToSchema)]
struct ShownEvidence {
    /// Reports of those that got worse, since it began.
    reports: u64,
    /// Of these, with trouble.
    degraded: u64,
    /// Of these, that say that calls would not work.
    blocked: u64,
    /// Where they place the fault.
    places: BTreeMap<String, u64>,
    /// Their leading causes.
    causes: BTreeMap<String, u64>,
    /// Uses with trouble.
    uses: BTreeMap<String, u64>,
}

impl ShownIncident {
    fn of(incident: &Incident, reader: &Reader) -> Self {
        let told = &incident.told;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let agent = match &told.scope {
            crate::detect::Scope::Agent(agent) if reader.personal => Some(agent.clone()),
            _ => None,
        };
        let evidence = &told.evidence;
        Self {
            id: incident.id,
            scope: told.scope.kind(),
            site: owned(told.scope.site()),
            provider: owned(told.scope.provider()),
            endpoint: owned(told.scope.endpoint()),
            severity: told.severity,
            since: incident.since,
            noticed: incident.noticed,
            over: incident.over,
            part_of: told.part_of,
            figures: told.figures.iter().map(|figure| figure.name()).collect(),
            agents: told.agents,
            of_agents: told.of,
            place: name_of(&told.place),
            say: headline(incident, agent.as_deref()),
            cause: cause_words(told),
            evidence: ShownEvidence {
                reports: evidence.runs,
                degraded: evidence.degraded,
                blocked: evidence.blocked,
                places: evidence.places.iter().map(|(place, count)| (name_of(place), *count)).collect(),
                causes: evidence.causes.clone(),
                uses: evidence.uses.clone(),
            },
            reports: told.reports.clone(),
            agent,
        }
    }
}

/// Incidents found.
#[derive(Debug, Serialize, ToSchema)]
struct Incidents {
    incidents: Vec<ShownIncident>,
    /// `before` of the next question, where there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Timestamp>,
}

/// What got worse, for whom, since when, why: the latest noticed first.
#[utoipa::path(
    get, path = "/api/v1/incidents", tag = "incidents", params(Asked),
    security(("read_key" = []), ("session" = [])),
    responses(
        (status = 200, description = "Those found", body = Incidents),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
        NoReader, NoStore,
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    reader: Reader,
    Params(asked): Params<Asked>,
) -> Result<Json<impl Serialize>, Problem> {
    let limit = asked.limit.unwrap_or(50);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is 1 to {MOST}")));
    }
    let found = state.store.incidents(reader.tenant, asked.open, asked.before, limit).await?;
    reader.audit(&state, "incident.list", String::new()).await?;
    let full = u32::try_from(found.len()).is_ok_and(|n| n == limit);
    let next = found.last().filter(|_| full).map(|incident| incident.noticed);
    Ok(Json(Incidents { incidents: found.iter().map(|one| ShownIncident::of(one, &reader)).collect(), next }))
}

/// One incident.
#[utoipa::path(
    get, path = "/api/v1/incidents/{id}", tag = "incidents", params(("id" = Uuid, Path, description = "Which")),
    security(("read_key" = []), ("session" = [])),
    responses(
        (status = 200, description = "It", body = ShownIncident),
        (status = 400, description = "That is no id", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        NoReader, NoStore,
    )
)]
pub(super) async fn one(
    State(state): State<AppState>,
    reader: Reader,
    Named(id): Named,
) -> Result<Json<impl Serialize>, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::bad_request("that is no id"))?;
    let incident = state.store.incident(reader.tenant, id).await?;
    let incident = incident.ok_or_else(|| Problem::not_found("there is no such incident"))?;
    reader.audit(&state, "incident.view", id.to_string()).await?;
    Ok(Json(ShownIncident::of(&incident, &reader)))
}

/// A rule or a silence as it is kept.
#[derive(Debug, Serialize, ToSchema)]
struct KeptRule {
    id: String,
    author: String,
    created: Timestamp,
    rule: Rule,
}

/// A silence as it is kept.
#[derive(Debug, Serialize, ToSchema)]
struct KeptSilence {
    id: String,
    author: String,
    created: Timestamp,
    silence: Silence,
}

/// Who is told of incidents, and when nobody is.
#[derive(Debug, Serialize, ToSchema)]
struct Rules {
    rules: Vec<KeptRule>,
    silences: Vec<KeptSilence>,
}

/// Who is told of incidents, and when nobody is: rules and silences as data.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "incidents",
    security(("read_key" = []), ("session" = [])),
    responses(
        (status = 200, description = "Rules and silences", body = Rules),
        NoReader, NoStore,
    )
)]
pub(super) async fn rules(
    State(state): State<AppState>,
    reader: Reader,
) -> Result<Json<impl Serialize>, Problem> {
    let rule = |kept: Kept<serde_json::Value>| {
        let Kept { id, author, created, says, .. } = kept;
        serde_json::from_value(says).ok().map(|rule| KeptRule { id, author, created, rule })
    };
    let silence = |kept: Kept<serde_json::Value>| {
        let Kept { id, author, created, says, .. } = kept;
        serde_json::from_value(says).ok().map(|silence| KeptSilence { id, author, created, silence })
    };
    let rules = state.store.alert_rules(reader.tenant).await?.into_iter().filter_map(rule).collect();
    let silences = state.store.silences(reader.tenant).await?.into_iter().filter_map(silence).collect();
    reader.audit(&state, "alert_rule.list", String::new()).await?;
    Ok(Json(Rules { rules, silences }))
}
