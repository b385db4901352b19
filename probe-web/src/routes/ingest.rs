//! `POST /api/v1/reports`: one report in JSON, packed with gzip, zstd or not at all.

use std::net::SocketAddr;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use greenroom_reports::fleet::Told;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::refusals::{NotNow, NotPacked};
use crate::api::{ReportBody, agents};
use crate::app::AppState;
use crate::auth::key::{self, Sender};
use crate::check::{ForResult, call};
use crate::ingest::body;
use crate::ingest::read;
use crate::limits;
use crate::problem::Problem;
use crate::store::{Agent, Outcome, Record};

/// The status of a report that was there.
const DUPLICATE: &str = "duplicate";

/// What a sender is told of a report that is durable now.
#[derive(Serialize, ToSchema)]
pub(crate) struct Kept {
    id: Uuid,
    code: String,
    /// `accepted`, or `duplicate` when it was there already.
    status: &'static str,
    /// Its page, for those who may see it.
    url: String,
    /// What an agent is told besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    told: Option<Told>,
}

/// Keeps a report. 202 once it is durable, also when it was before.
///
/// It may be sent any number of times: it is kept and counted once, by its id. Packed with gzip, zstd or not at all.
/// The report of a call that a page watched (kind `monitor`) is let in by the `run` of a session as well, once, and names nobody then.
#[utoipa::path(
    post, path = "/api/v1/reports", tag = "reports", security(("send_key" = []), ("agent_bearer" = [])),
    params(("Content-Encoding" = Option<String>, Header, description = "`gzip` or `zstd`; not there when it is not packed")),
    request_body(content = ReportBody, content_type = "application/json"),
    responses(
        (status = 202, description = "It is durable", body = Kept),
        (status = 401, description = "The key or the check link is not good", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The check link is used up, or it is another agent's report", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No report; `errors` names the field", body = Problem, content_type = "application/problem+json"),
        NotPacked, NotNow,
    )
)]
pub(crate) async fn ingest(
    State(state): State<AppState>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer);
    let (duplicate, answer) = match keep(&state, peer, &headers, body).await {
        Ok(kept) => (kept.status == DUPLICATE, (StatusCode::ACCEPTED, Json(kept)).into_response()),
        Err(problem) => (false, problem.into_response()),
    };
    state.counters.report(answer.status().as_u16(), duplicate);
    answer
}

async fn keep(
    state: &AppState,
    peer: Option<SocketAddr>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Kept, Problem> {
    if let Some(grant) = call::grant(&state.grants, headers, state.clock.now()) {
        return of_a_call(state, grant, headers, body).await;
    }
    let sender = sender(state, headers).await?;
    let agent = match &sender {
        Sender::Agent(agent) => Some((**agent).clone()),
        Sender::Key(_) | Sender::Link(_) => None,
    };
    if let Some(agent) = &agent {
        agents::let_through(state, agent)?;
    }
    let packing = body::packing(headers)?;
    let packed = body::whole(body).await?;
    let received = state.clock.now();
    let mut record = {
        let _turn =
            state.reading.acquire().await.map_err(|_| Problem::unavailable("the server is stopping"))?;
        let read = tokio::task::spawn_blocking(move || {
            let json = body::unpack(packing, &packed)?;
            let report = read::report(&json)?;
            let record = read::record(sender.tenant(), &report, json, received)?;
            match &sender {
                Sender::Key(_) => Ok::<_, Problem>(record),
                Sender::Link(link) => Ok(record.through(link)),
                Sender::Agent(agent) => Ok(Record { run: Some(agents::run_of(agent, &report)?), ..record }),
            }
        });
        // What makes the reading panic is no report.
        read.await.map_err(|_| Problem::invalid("the report cannot be read", Vec::new()))??
    };
    if record.figures.is_some() && record.provider.is_none() && !state.providers.is_empty() {
        let from = peer.map(|peer| limits::client(peer.ip(), headers, &state.trusted_proxies));
        record.provider = from.and_then(|from| state.providers.of(from)).map(str::to_owned);
    }
    let kept = hand_over(state, record).await?;
    let told = match agent {
        Some(agent) => Some(told(state, &agent, headers).await?),
        None => None,
    };
    Ok(Kept { told, ..kept })
}

/// Makes a record durable.
async fn hand_over(state: &AppState, record: Record) -> Result<Kept, Problem> {
    let (id, code) = (record.summary.id, record.summary.code.clone());
    // How often a check link was used only the store can say.
    let outcome = match record.summary.link.is_some() {
        true => state.writer.write(record).await?,
        false => state.bus.hand_over(record).await?,
    };
    let status = match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Duplicate => DUPLICATE,
        Outcome::NotAllowed => {
            return Err(Problem::used_up(
                "this link let in as many checks as it may; ask whoever sent it for a new one",
            ));
        }
    };
    let url = format!("{}/reports/{id}", state.config.base_url);
    Ok(Kept { id, code, status, url, told: None })
}

/// Keeps the report of a call that a page watched, by the grant of its session: one.
async fn of_a_call(
    state: &AppState,
    grant: ForResult,
    headers: &HeaderMap,
    body: Body,
) -> Result<Kept, Problem> {
    let packing = body::packing(headers)?;
    let packed = body::whole(body).await?;
    let received = state.clock.now();
    let record = {
        let _turn =
            state.reading.acquire().await.map_err(|_| Problem::unavailable("the server is stopping"))?;
        let read = tokio::task::spawn_blocking(move || {
            let json = body::unpack(packing, &packed)?;
            let report = read::report(&json)?;
            call::look(&report)?;
            read::record(grant.tenant, &report, json, received)
        });
        read.await.map_err(|_| Problem::invalid("the report cannot be read", Vec::new()))??
    };
    if !state.store.spend_grant(&grant.nonce, grant.until).await? {
        return Err(Problem::unauthorized("this session let a report in before; begin another one"));
    }
    hand_over(state, record).await
}

/// Who sends. While the store is away and reports can wait, whoever it knew lately.
async fn sender(state: &AppState, headers: &HeaderMap) -> Result<Sender, Problem> {
    let now = state.clock.now();
    if !state.bus.buffers() {
        return key::sender(&*state.store, headers, now).await;
    }
    if state.away.is_set()
        && let Some(known) = state.known.find(headers, now)
    {
        return Ok(known);
    }
    let found = key::sender(&*state.store, headers, now).await;
    match &found {
        Ok(sender) => state.known.remember(headers, sender, now),
        Err(problem) if problem.status() == StatusCode::SERVICE_UNAVAILABLE => {
            state.away.set();
            return state.known.find(headers, now).map_or(found, Ok);
        }
        Err(_) => state.known.forget(headers),
    }
    found
}

/// What an agent is told. While the store is away and reports can wait, the time alone.
async fn told(state: &AppState, agent: &Agent, headers: &HeaderMap) -> Result<Told, Problem> {
    let nothing = || Told { server_time: state.clock.now(), config: None, run_now: None };
    if state.bus.buffers() && state.away.is_set() {
        return Ok(nothing());
    }
    match agents::told_with_report(state, agent, headers).await {
        Err(_) if state.bus.buffers() => {
            state.away.set();
            Ok(nothing())
        }
        found => found,
    }
}
