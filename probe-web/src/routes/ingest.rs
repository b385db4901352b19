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
use crate::auth::key;
use crate::ingest::body::{self, MAX_BODY};
use crate::ingest::read;
use crate::ingest::writer::WriteError;
use crate::problem::Problem;
use crate::store::Outcome;

/// How long a body may take to come.
const DEADLINE: Duration = Duration::from_secs(30);

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
pub(crate) async fn ingest(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let key = key::bearer(&*state.store, &headers).await?;
    let packing = body::packing(&headers)?;
    let packed = whole(body).await?;
    let received = state.clock.now();
    let record = {
        let _turn =
            state.reading.acquire().await.map_err(|_| Problem::unavailable("the server is stopping"))?;
        let read = tokio::task::spawn_blocking(move || {
            let json = body::unpack(packing, &packed)?;
            let report = read::report(&json)?;
            read::record(key.tenant, &report, json, received)
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
        Outcome::Duplicate => "duplicate",
    };
    let url = format!("{}/reports/{id}", state.config.base_url);
    Ok((StatusCode::ACCEPTED, Json(Kept { id, code, status, url })).into_response())
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
