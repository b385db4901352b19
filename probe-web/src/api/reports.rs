//! Reports found, and one of them whole.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use greenroom_reports::schema::{FaultDirection, Kind, Place, Source, State as Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::document::{ReportBody, of_report};
use super::params::{Named, Params};
use super::reader::Reader;
use super::refusals::{NoReader, NoStore};
use crate::app::AppState;
use crate::problem::Problem;
use crate::routes::report::as_seen;
use crate::store::{Agreement, Counted, Cursor, Filter, Summary};

/// Reports of a page, unless asked for otherwise, and at most.
const AT_ONCE: u32 = 50;
const MOST: u32 = 500;

/// Most characters of what is looked for.
const MAX_NAME: usize = 256;

/// A report's header.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Header {
    /// The report.
    id: Uuid,
    /// The code that is said on the phone.
    code: String,
    /// What kind of run it was.
    #[schema(schema_with = kind)]
    kind: Kind,
    /// Where it was made.
    #[schema(schema_with = source)]
    source: Source,
    /// When it began, by the sender's clock.
    started: Timestamp,
    /// When it was received.
    received: Timestamp,
    /// How long it took, in milliseconds.
    duration_ms: f64,
    /// The verdict.
    #[schema(schema_with = state)]
    verdict: Verdict,
    /// Whether intervals decided it.
    certain: bool,
    /// The verdict in a sentence.
    say: String,
    /// The leading cause's stable name, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Where the fault is, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = place)]
    place: Option<Place>,
    /// Which way it is seen, where it is seen one way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = direction)]
    direction: Option<FaultDirection>,
    /// Label `site`.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// Label `ticket`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
    /// The endpoint that its samples are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// Label `person`. Personal: only for who may see that.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    /// The fleet agent. Personal: only for who may see that.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// Whether its figures follow from its own samples.
    agreement: Agreement,
    /// Whether the figures of the fleet count it.
    counted: Counted,
}

fn kind() -> RefOr<Schema> {
    of_report("Kind")
}

fn source() -> RefOr<Schema> {
    of_report("Source")
}

pub(super) fn state() -> RefOr<Schema> {
    of_report("State")
}

fn place() -> RefOr<Schema> {
    of_report("Place")
}

fn direction() -> RefOr<Schema> {
    of_report("FaultDirection")
}

impl From<Summary> for Header {
    fn from(summary: Summary) -> Self {
        Self {
            id: summary.id,
            code: summary.code,
            kind: summary.kind,
            source: summary.source,
            started: summary.started,
            received: summary.received,
            duration_ms: summary.duration_ms,
            verdict: summary.overall,
            certain: summary.certain,
            say: summary.say,
            cause: summary.cause,
            place: summary.place,
            direction: summary.direction,
            site: summary.site,
            ticket: summary.ticket,
            endpoint: summary.endpoint,
            person: summary.person,
            agent: summary.agent,
            agreement: summary.agreement,
            counted: summary.counted,
        }
    }
}

/// What to look for. All that is given must be so.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Exactly this code: `K7Q4-M2XP`.
    code: Option<String>,
    /// Exactly this ticket.
    ticket: Option<String>,
    /// Exactly this person. For keys and roles that see what is personal.
    person: Option<String>,
    /// Exactly this fleet agent. For keys and roles that see what is personal.
    agent: Option<String>,
    /// Exactly this site; empty for reports without one.
    site: Option<String>,
    /// Exactly this endpoint; empty for reports without one.
    endpoint: Option<String>,
    /// This verdict.
    #[param(schema_with = state)]
    verdict: Option<Verdict>,
    /// Begun at or after (RFC 3339).
    from: Option<Timestamp>,
    /// Begun before (RFC 3339).
    to: Option<Timestamp>,
    /// `next` of the page before.
    after: Option<String>,
    /// Reports of a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
}

impl Asked {
    fn names(&self) -> [(&'static str, Option<&String>); 6] {
        [
            ("code", self.code.as_ref()),
            ("ticket", self.ticket.as_ref()),
            ("person", self.person.as_ref()),
            ("agent", self.agent.as_ref()),
            ("site", self.site.as_ref()),
            ("endpoint", self.endpoint.as_ref()),
        ]
    }

    /// What the audit log says of it.
    fn told(&self) -> String {
        let given = self.names().into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    fn check(&self, reader: &Reader) -> Result<(), Problem> {
        let too_long = |value: Option<&String>| value.is_some_and(|value| value.chars().count() > MAX_NAME);
        if let Some((name, _)) = self.names().into_iter().find(|(_, value)| too_long(*value)) {
            return Err(Problem::bad_request(format!("{name} has more than {MAX_NAME} characters")));
        }
        if !(1..=MOST).contains(&self.limit.unwrap_or(AT_ONCE)) {
            return Err(Problem::bad_request(format!("limit is from 1 to {MOST}")));
        }
        if !reader.personal && (self.person.is_some() || self.agent.is_some()) {
            return Err(Problem::not_allowed(
                "finding people and agents needs a key that is good to read what is personal",
            ));
        }
        Ok(())
    }
}

/// Reports, latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Found {
    /// The reports of this page.
    reports: Vec<Header>,
    /// What to ask for as `after` to go on; not there on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Finds reports.
///
/// Latest first, page by page. A report that comes in meanwhile moves no other from one page to another.
#[utoipa::path(
    get, path = "/api/v1/reports", tag = "reports", params(Asked),
    security(("read_key" = []), ("session" = [])),
    responses(
        (status = 200, description = "Those that match", body = Found, headers(("ETag" = String, description = "Of exactly this answer"))),
        (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not with this key or role", body = Problem, content_type = "application/problem+json"),
        NoReader, NoStore,
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    reader: Reader,
    Params(asked): Params<Asked>,
) -> Result<Json<Found>, Problem> {
    asked.check(&reader)?;
    let after = match &asked.after {
        Some(text) => {
            let cursor = text.parse::<Cursor>();
            Some(cursor.map_err(|()| Problem::bad_request("after is not what a page before gave as next"))?)
        }
        None => None,
    };
    let told = asked.told();
    reader.audit(&state, if told.is_empty() { "report.list" } else { "report.search" }, told).await?;
    let limit = asked.limit.unwrap_or(AT_ONCE);
    let filter = Filter {
        code: asked.code,
        ticket: asked.ticket,
        person: asked.person,
        agent: asked.agent,
        site: asked.site,
        endpoint: asked.endpoint,
        overall: asked.verdict,
        from: asked.from,
        to: asked.to,
    };
    let mut found = state.store.list(reader.tenant, &filter, after, limit + 1).await?;
    let more = u32::try_from(found.len()).is_ok_and(|n| n > limit);
    if more {
        found.pop();
    }
    let next = found.last().filter(|_| more).map(|last| Cursor::behind(last).to_string());
    let reports = found.into_iter().map(|summary| reader.sees(summary).into()).collect();
    Ok(Json(Found { reports, next }))
}

/// One report, whole.
///
/// Without what is personal, unless the key or the role may see that. 404 also when its time was over and it was deleted.
#[utoipa::path(
    get, path = "/api/v1/reports/{id}", tag = "reports", params(("id" = Uuid, Path, description = "The report")),
    security(("read_key" = []), ("session" = [])),
    responses(
        (status = 200, description = "The report", body = ReportBody, headers(("ETag" = String, description = "Of exactly this answer"))),
        (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, description = "The path cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "It cannot be shown without what is personal", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such report, or no longer", body = Problem, content_type = "application/problem+json"),
        NoReader, NoStore,
    )
)]
pub(super) async fn one(
    State(state): State<AppState>,
    reader: Reader,
    Named(id): Named,
) -> Result<Response, Problem> {
    let nothing = || Problem::not_found("there is no such report, or no longer");
    let id = Uuid::try_parse(&id).map_err(|_| nothing())?;
    let summary = state.store.summary(reader.tenant, id).await?.ok_or_else(nothing)?;
    reader.audit(&state, "report.view", id.to_string()).await?;
    let raw = state.store.raw(reader.tenant, id).await?.ok_or_else(nothing)?;
    let _turn = state.reading.acquire().await.map_err(|_| Problem::unavailable("the server is stopping"))?;
    let personal = reader.personal;
    let work = tokio::task::spawn_blocking(move || {
        let report = as_seen(&raw, &summary, personal)?;
        serde_json::to_vec(&report).ok()
    });
    let json = work
        .await
        .ok()
        .flatten()
        .ok_or_else(|| Problem::not_allowed("this report cannot be shown without what is personal"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}
