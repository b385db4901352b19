//! What agents ask: to be let in, to be told what to do; and what others may know of them.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use greenroom_reports::fleet::{self as messages, AgentState, CONFIG_HEADER, RAN_HEADER};
use greenroom_reports::schema::{Kind, Report};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::params::Params;
use super::reader::Reader;
use super::refusals::{NoReader, NoStore, NotJson, NotNow};
use crate::app::AppState;
use crate::auth::agent::{self, BEARER_LASTS};
use crate::clock::{new_id, random};
use crate::completeness::{Completeness, completeness_of};
use crate::ingest::body;
use crate::ingest::read::is_plain;
use crate::problem::Problem;
use crate::store::{Agent, AgentRun, AuditEntry, Enrollment, Tenant};

/// Most characters of a computer's name and of what an agent says.
const MAX_TEXT: usize = 256;

/// Most characters of a version.
const MAX_VERSION: usize = 64;

/// Agents of an answer.
const AT_ONCE: u32 = 500;

/// Enrolls an agent: its key is known from now on, and it may report at once or when somebody approves.
///
/// A key that is known already is answered as the first time, and uses nothing up.
#[utoipa::path(
    post, path = "/api/v1/agents", tag = "agents", security(("enroll_token" = [])),
    request_body(content = Object, content_type = "application/json", description = "`public_key`, `name`, `version`, `signature`"),
    responses(
        (status = 201, description = "`agent`, `state` and `server_time`", body = Object),
        (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The enrollment token or the signature is not good", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The enrollment token is used up", body = Problem, content_type = "application/problem+json"),
        NotJson, NotNow,
    )
)]
pub(crate) async fn enroll(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    if state.agent_limits.enrollments.take((), 1.0, now).is_err() {
        return Err(Problem::too_often("many agents enroll at this moment; try again in a minute"));
    }
    let (shown, token) = agent::enroll_token(&*state.store, &headers, now).await?;
    let asked: messages::Enroll = json(&headers, body).await?;
    let Some(public_key) = agent::octets::<32>(&asked.public_key) else {
        return Err(Problem::unfit("/public_key", "must be 32 octets in base64url"));
    };
    let name = asked.name.trim();
    if name.is_empty() || !is_plain(name, MAX_TEXT) {
        return Err(Problem::unfit("/name", "must be 1 to 256 characters, none of them control characters"));
    }
    if !is_plain(&asked.version, MAX_VERSION) {
        return Err(Problem::unfit(
            "/version",
            "must be at most 64 characters, none of them control characters",
        ));
    }
    if !agent::has_signed(&public_key, &messages::enrollment(&shown, &public_key), &asked.signature) {
        return Err(Problem::unauthorized("the signature is not of this key, or not of this token"));
    }
    let new = Agent {
        tenant: token.tenant,
        id: new_id(now),
        name: name.to_owned(),
        site: token.site.clone(),
        state: if token.approve { AgentState::Pending } else { AgentState::Active },
        public_key,
        version: asked.version,
        token: token.id.clone(),
        enrolled: now,
        active: (!token.approve).then_some(now),
        bearer: None,
        seen: None,
        config: 0,
        waiting: 0,
        dropped: 0,
        trouble: None,
        wanted: None,
    };
    let (agent, standing) = match state.store.enroll(&new, now).await? {
        Enrollment::New => {
            let words = format!("{} ({name})", new.id);
            note(&state, token.tenant, format!("token {}", token.id), "agent.enroll", words).await?;
            (new.id, new.state)
        }
        Enrollment::Known(known) => (known.id, known.state),
        Enrollment::NotAllowed => {
            return Err(Problem::used_up(
                "this enrollment token made as many agents as it may; ask an admin for a new one",
            ));
        }
    };
    let answer = messages::Enrolled { agent, state: standing, server_time: now };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// A challenge for an agent to sign, good once, for a minute. It is given for any id: it does not tell whether there is such an agent.
#[utoipa::path(
    post, path = "/api/v1/agents/challenge", tag = "agents",
    request_body(content = Object, content_type = "application/json", description = "`agent`"),
    responses(
        (status = 200, description = "`challenge` and `server_time`", body = Object),
        (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
        NotJson, NotNow,
    )
)]
pub(crate) async fn challenge(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<serde_json::Value>, Problem> {
    let now = state.clock.now();
    if state.agent_limits.challenges.take((), 1.0, now).is_err() {
        return Err(Problem::too_often("many agents come in at this moment; try again in a minute"));
    }
    let asked: messages::ChallengeAsked = json(&headers, body).await?;
    let challenge = agent::challenge(&challenge_key(&state).await?, asked.agent, now);
    told_as_json(&messages::Challenge { challenge, server_time: now })
}

/// A bearer for a signed challenge, good for 15 minutes, in place of the one before.
#[utoipa::path(
    post, path = "/api/v1/agents/bearer", tag = "agents",
    request_body(content = Object, content_type = "application/json", description = "`agent`, `challenge`, `signature`"),
    responses(
        (status = 200, description = "`bearer`, `lasts_s` and `server_time`", body = Object),
        (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The challenge or the signature is not good", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The agent waits for approval, or was revoked: the `type` says which", body = Problem, content_type = "application/problem+json"),
        NotJson, NotNow,
    )
)]
pub(crate) async fn bearer(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<serde_json::Value>, Problem> {
    let now = state.clock.now();
    if state.agent_limits.challenges.take((), 1.0, now).is_err() {
        return Err(Problem::too_often("many agents come in at this moment; try again in a minute"));
    }
    let asked: messages::BearerAsked = json(&headers, body).await?;
    let key = challenge_key(&state).await?;
    let Some(issued) = agent::issued(&key, asked.agent, &asked.challenge, now) else {
        return Err(Problem::unauthorized(
            "this challenge is not for this agent, or it is older than a minute; ask for a new one",
        ));
    };
    let statement = messages::token_request(asked.agent, &asked.challenge);
    let found = state.store.agent(asked.agent).await?;
    let found =
        found.filter(|found| agent::has_signed(&found.public_key, &statement, &asked.signature)).ok_or_else(
            || Problem::unauthorized("this agent is not known here, or the signature is not of its key"),
        )?;
    match found.state {
        AgentState::Active => {}
        AgentState::Pending => {
            return Err(Problem::agent_waits("an admin has to approve this agent on the page Agents"));
        }
        AgentState::Revoked => {
            return Err(Problem::agent_revoked(
                "an admin shut this agent out; enroll it again with a new token",
            ));
        }
    }
    let (bearer, hash) = agent::mint_bearer(found.id);
    if !state.store.give_bearer(found.id, issued, &hash, state.later(BEARER_LASTS)).await? {
        return Err(Problem::unauthorized("this challenge was answered before; ask for a new one"));
    }
    let lasts_s = u32::try_from(BEARER_LASTS.as_secs()).unwrap_or(0);
    told_as_json(&messages::Bearer { bearer, lasts_s, server_time: now })
}

/// A new key of an agent in place of the old one, signed with both.
#[utoipa::path(
    post, path = "/api/v1/agents/key", tag = "agents", security(("agent_bearer" = [])),
    request_body(content = Object, content_type = "application/json", description = "`public_key`, `old_signature`, `new_signature`"),
    responses(
        (status = 204, description = "The new key is the agent's key"),
        (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The bearer or a signature is not good", body = Problem, content_type = "application/problem+json"),
        NotJson, NotNow,
    )
)]
pub(crate) async fn new_key(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let found = agent::of_bearer(&*state.store, &headers, state.clock.now()).await?;
    let_through(&state, &found)?;
    let asked: messages::NewKey = json(&headers, body).await?;
    let Some(new) = agent::octets::<32>(&asked.public_key) else {
        return Err(Problem::unfit("/public_key", "must be 32 octets in base64url"));
    };
    if new == found.public_key {
        // The answer to the first time was lost.
        return Ok(StatusCode::NO_CONTENT);
    }
    let statement = messages::new_key(found.id, &new);
    if !agent::has_signed(&found.public_key, &statement, &asked.old_signature)
        || !agent::has_signed(&new, &statement, &asked.new_signature)
    {
        return Err(Problem::unauthorized(
            "a new key is signed with the old one and with itself, and one of these is not",
        ));
    }
    if !state.store.change_agent_key(found.id, &found.public_key, &new).await? {
        return Err(Problem::unauthorized("the key was changed meanwhile"));
    }
    note(&state, found.tenant, format!("agent {}", found.id), "agent.key", found.id.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An agent that has nothing to send tells of itself and asks what to do.
#[utoipa::path(
    post, path = "/api/v1/agents/check-in", tag = "agents", security(("agent_bearer" = [])),
    request_body(content = Object, content_type = "application/json",
        description = "`config` (its version), `version`, `waiting`, `oldest`, `dropped`, `ran`, `trouble`"),
    responses(
        (status = 200, description = "`server_time`; `config` where its version differs; `run_now` where somebody wants a run", body = Object),
        (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The bearer is not good", body = Problem, content_type = "application/problem+json"),
        NotJson, NotNow,
    )
)]
pub(crate) async fn check_in(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<serde_json::Value>, Problem> {
    let now = state.clock.now();
    let found = agent::of_bearer(&*state.store, &headers, now).await?;
    let_through(&state, &found)?;
    let said: messages::CheckIn = json(&headers, body).await?;
    if !is_plain(&said.version, MAX_VERSION) {
        return Err(Problem::unfit(
            "/version",
            "must be at most 64 characters, none of them control characters",
        ));
    }
    if said.trouble.as_ref().is_some_and(|words| !is_plain(words, MAX_TEXT)) {
        return Err(Problem::unfit(
            "/trouble",
            "must be at most 256 characters, none of them control characters",
        ));
    }
    state.store.note_check_in(found.id, &said, now).await?;
    told_as_json(&told(&state, &found, said.config, said.ran).await?)
}

/// Which agents are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Those behind this one.
    after: Option<Uuid>,
}

/// An agent as programs see it.
#[derive(Serialize, ToSchema)]
pub(super) struct Listed {
    id: Uuid,
    name: String,
    site: Option<String>,
    /// `pending`, `active` or `revoked`.
    #[schema(value_type = String)]
    state: AgentState,
    version: String,
    #[schema(value_type = String, format = DateTime)]
    enrolled: Timestamp,
    /// When it last asked without a report.
    #[schema(value_type = Option<String>, format = DateTime)]
    seen: Option<Timestamp>,
    /// The version of its configuration.
    config: i64,
    /// Reports that wait at it, as it last said.
    waiting: u64,
    /// What keeps it from running, as it last said.
    trouble: Option<String>,
}

/// Agents by id, 500 at most; `after` goes on.
#[utoipa::path(
    get, path = "/api/v1/agents", tag = "agents", security(("read_key" = []), ("session" = [])), params(Wanted),
    responses(
        (status = 200, description = "Agents", body = Vec<Listed>),
        (status = 400, description = "The query is not understood", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Names of computers are personal: not with this key or role", body = Problem, content_type = "application/problem+json"),
        NoReader, NoStore,
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    reader: Reader,
    Params(wanted): Params<Wanted>,
) -> Result<Json<Vec<Listed>>, Problem> {
    if !reader.personal {
        return Err(Problem::not_allowed(
            "names of computers are personal; use a key or a role that may read whole reports",
        ));
    }
    reader.audit(&state, "agent.list", String::new()).await?;
    let found = state.store.agents(reader.tenant, wanted.after, AT_ONCE).await?;
    Ok(Json(found.into_iter().map(listed).collect()))
}

fn listed(agent: Agent) -> Listed {
    Listed {
        id: agent.id,
        name: agent.name,
        site: agent.site,
        state: agent.state,
        version: agent.version,
        enrolled: agent.enrolled,
        seen: agent.seen,
        config: agent.config,
        waiting: agent.waiting,
        trouble: agent.trouble,
    }
}

/// How complete the reports of the last hour are: what agents had to run, and what is here. No agent is named.
#[utoipa::path(
    get, path = "/api/v1/fleet/completeness", tag = "agents", security(("read_key" = []), ("session" = [])),
    responses(
        (status = 200, description = "Runs due, received and left out on purpose", body = Completeness),
        NoReader, NoStore,
    )
)]
pub(super) async fn completeness(
    State(state): State<AppState>,
    reader: Reader,
) -> Result<Json<Completeness>, Problem> {
    Ok(Json(completeness_of(&*state.store, reader.tenant, state.clock.now()).await?))
}

/// Which of its reports a report is that an agent sends.
///
/// # Errors
/// 403 when it is not its own, 422 when it does not say which.
pub(crate) fn run_of(agent: &Agent, report: &Report) -> Result<AgentRun, Problem> {
    if report.agent.id.as_deref() != Some(agent.id.to_string().as_str()) {
        return Err(Problem::not_allowed("an agent sends its own reports: /agent/id is not its id"));
    }
    if report.kind != Kind::Agent {
        return Err(Problem::field("/kind", "must be \"agent\" in a report that an agent sends"));
    }
    let boot = report.agent.boot.clone().filter(|boot| !boot.is_empty() && is_plain(boot, 64));
    let boot = boot.ok_or_else(|| Problem::field("/agent/boot", "must be 1 to 64 characters"))?;
    let seq = report.agent.seq.filter(|seq| (1..=1 << 40).contains(seq));
    let seq = seq.ok_or_else(|| Problem::field("/agent/seq", "must count the agent's reports from 1"))?;
    Ok(AgentRun { agent: agent.id, boot, seq })
}

/// Whether an agent may ask now.
///
/// # Errors
/// 429 when it asks too often.
pub(crate) fn let_through(state: &AppState, agent: &Agent) -> Result<(), Problem> {
    let may = state.agent_limits.of_agents.take(agent.id, 1.0, state.clock.now());
    may.map_err(|_| Problem::too_often("this agent asks too often"))
}

/// What an agent is told with the answer to a report.
///
/// # Errors
/// When the store fails.
pub(crate) async fn told_with_report(
    state: &AppState,
    agent: &Agent,
    headers: &HeaderMap,
) -> Result<messages::Told, Problem> {
    fn said<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
        headers.get(name)?.to_str().ok()?.parse().ok()
    }
    let config = said(headers, CONFIG_HEADER).unwrap_or(-1);
    // What it says with each report is written down where it is news.
    if config != agent.config {
        state.store.note_config(agent.id, config).await?;
    }
    told(state, agent, config, said(headers, RAN_HEADER)).await
}

async fn told(
    state: &AppState,
    agent: &Agent,
    config: i64,
    ran: Option<Uuid>,
) -> Result<messages::Told, Problem> {
    let wanted = agent.wanted.clone();
    if let Some(run) = ran.filter(|run| wanted.as_ref().is_some_and(|wanted| wanted.id == *run)) {
        state.store.ran(agent.id, run).await?;
    }
    let config = match state.store.fleet_version(agent.tenant).await? == config {
        true => None,
        false => Some(state.store.fleet_plan(agent.tenant).await?.told(agent.site.as_deref())),
    };
    let run_now = wanted.filter(|wanted| Some(wanted.id) != ran);
    Ok(messages::Told { server_time: state.clock.now(), config, run_now })
}

async fn challenge_key(state: &AppState) -> Result<[u8; 32], Problem> {
    let made = state.challenge_key.get_or_try_init(async || state.store.challenge_key(&random()).await);
    Ok(*made.await?)
}

async fn note(
    state: &AppState,
    tenant: Tenant,
    actor: String,
    action: &str,
    subject: String,
) -> Result<(), Problem> {
    let entry = AuditEntry { tenant, at: state.clock.now(), actor, action: action.to_owned(), subject };
    Ok(state.store.audit(&entry).await?)
}

/// A body of an agent, if it is this.
/// What a body says.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let packing = body::packing(headers)?;
    let text = body::unpack(packing, &body::whole(body).await?)?;
    let mut parser = serde_json::Deserializer::from_slice(&text);
    serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let inner = error.inner();
        match inner.is_syntax() || inner.is_eof() {
            true => Problem::bad_request(format!("the body is not JSON: {inner}")),
            false => Problem::unfit(crate::ingest::read::pointer(error.path()), inner.to_string()),
        }
    })
}

fn told_as_json<T: Serialize>(answer: &T) -> Result<Json<serde_json::Value>, Problem> {
    serde_json::to_value(answer)
        .map(Json)
        .map_err(|error| Problem::unavailable(format!("the answer cannot be written: {error}")))
}
