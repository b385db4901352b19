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

use crate::api::{ReportBody, agents};
use crate::app::AppState;
use crate::auth::key::{self, Sender};
use crate::ingest::body;
use crate::ingest::read;
use crate::limits;
use crate::problem::Problem;
use crate::store::{Outcome, Record};

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
#[utoipa::path(
    post, path = "/api/v1/reports", tag = "reports", security(("send_key" = []), ("agent_bearer" = [])),
    params(("Content-Encoding" = Option<String>, Header, description = "`gzip` or `zstd`; not there when it is not packed")),
    request_body(content = ReportBody, content_type = "application/json"),
    responses(
        (status = 202, description = "It is durable", body = Kept),
        (status = 400, description = "The body is not as its headers say, or no JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The key or the check link is not good", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The check link is used up, or it is another agent's report", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body took longer than 30 s", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 2 MiB, or more than 4 MiB unpacked", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON, or packed in a way that is not known", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No report; `errors` names the field", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Not now; `Retry-After` says when", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now; `Retry-After` says when", body = Problem, content_type = "application/problem+json"),
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
    let sender = key::sender(&*state.store, headers, state.clock.now()).await?;
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
    let (id, code) = (record.summary.id, record.summary.code.clone());
    let outcome = state.writer.write(record).await?;
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
    let told = match agent {
        Some(agent) => Some(agents::told_with_report(state, &agent, headers).await?),
        None => None,
    };
    Ok(Kept { id, code, status, url, told })
}
