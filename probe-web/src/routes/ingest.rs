//! `POST /api/v1/reports`: one report in JSON, packed with gzip, zstd or not at all.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use uuid::Uuid;

use crate::app::AppState;
use crate::auth::key::{self, Sender};
use crate::ingest::body::{self, MAX_BODY};
use crate::ingest::read;
use crate::ingest::writer::WriteError;
use crate::problem::Problem;
use crate::store::Outcome;

/// How long a body may take to come.
const DEADLINE: Duration = Duration::from_secs(30);

/// The status of a report that was there.
const DUPLICATE: &str = "duplicate";

/// What a sender is told of a report that is durable now.
#[derive(Serialize)]
struct Kept {
    id: Uuid,
    code: String,
    /// `accepted`, or `duplicate` when it was there already.
    status: &'static str,
    /// Its page, for those who may see it.
    url: String,
}

/// Keeps a report. 202 once it is durable, also when it was before.
pub(crate) async fn ingest(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Response {
    let (duplicate, answer) = match keep(&state, &headers, body).await {
        Ok(kept) => (kept.status == DUPLICATE, (StatusCode::ACCEPTED, Json(kept)).into_response()),
        Err(problem) => (false, problem.into_response()),
    };
    state.counters.report(answer.status().as_u16(), duplicate);
    answer
}

async fn keep(state: &AppState, headers: &HeaderMap, body: Body) -> Result<Kept, Problem> {
    let sender = key::sender(&*state.store, headers, state.clock.now()).await?;
    let packing = body::packing(headers)?;
    let packed = whole(body).await?;
    let received = state.clock.now();
    let record = {
        let _turn =
            state.reading.acquire().await.map_err(|_| Problem::unavailable("the server is stopping"))?;
        let read = tokio::task::spawn_blocking(move || {
            let json = body::unpack(packing, &packed)?;
            let report = read::report(&json)?;
            let record = read::record(sender.tenant(), &report, json, received)?;
            Ok::<_, Problem>(match &sender {
                Sender::Key(_) => record,
                Sender::Link(link) => record.through(link),
            })
        });
        // What makes the reading panic is no report.
        read.await.map_err(|_| Problem::invalid("the report cannot be read", Vec::new()))??
    };
    let (id, code) = (record.summary.id, record.summary.code.clone());
    let outcome = state.writer.write(record).await.map_err(|error| match error {
        WriteError::Busy => {
            Problem::too_often("too many reports are waiting to be written; send it again later")
        }
        WriteError::Store(error) => error.into(),
    })?;
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
    Ok(Kept { id, code, status, url })
}

/// A body, if it is not too long and does not take too long.
async fn whole(body: Body) -> Result<Bytes, Problem> {
    let collected = tokio::time::timeout(DEADLINE, Limited::new(body, MAX_BODY).collect()).await;
    match collected {
        Err(_) => Err(Problem::too_slow(format!("the body did not come within {} s", DEADLINE.as_secs()))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(format!(
            "the body has more than {} MiB; pack it with gzip or zstd",
            MAX_BODY >> 20
        ))),
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body broke off: {error}"))),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}
