//! Rules and silences made, changed and removed by programs of an admin who signed in.
//!
//! No key is good for that. What another site's page asks in a browser never gets here with a session: its methods are not simple ones (Fetch,
//! CORS), and no other site is let use them.

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};

use super::agents::json;
use super::params::Named;
use super::refusals::{NoAdmin, NoStore, NotJson};
use crate::app::AppState;
use crate::auth::{cookie, secret};
use crate::incidents::{Rule, Silence, Wrong};
use crate::ingest::read::is_plain;
use crate::problem::Problem;
use crate::store::{AuditEntry, Kept, Role, User, WebhookKind};

/// Most rules of a tenant, and most silences.
const MOST: usize = 50;

/// An admin who signed in.
pub(super) struct Manager(User);

impl FromRequestParts<AppState> for Manager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let user = match cookie::get(&parts.headers, state.config.secure) {
            Some(token) => state.store.session_user(&secret::hash(token), state.clock.now()).await?,
            None => None,
        };
        let user = user.ok_or_else(|| Problem::unauthorized("an admin has to sign in for this"))?;
        match user.role.is_some_and(Role::manages) {
            true => Ok(Self(user)),
            false => Err(Problem::not_allowed("this is for admins")),
        }
    }
}

impl Manager {
    async fn audit(&self, state: &AppState, action: &str, subject: String) -> Result<(), Problem> {
        let entry = AuditEntry {
            tenant: self.0.tenant,
            at: state.clock.now(),
            actor: self.0.name.clone(),
            action: action.to_owned(),
            subject,
        };
        Ok(state.store.audit(&entry).await?)
    }

    /// What is to be kept under an id, in place of what is there.
    fn kept(
        &self,
        state: &AppState,
        id: String,
        there: &[Kept<serde_json::Value>],
        says: serde_json::Value,
    ) -> Result<Kept<serde_json::Value>, Problem> {
        let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 64 || !id.chars().all(known) || !is_plain(&id, 64) {
            return Err(Problem::bad_request("an id has 1 to 64 letters, digits, - or _"));
        }
        if let Some(before) = there.iter().find(|kept| kept.id == id) {
            return Ok(Kept { says, ..before.clone() });
        }
        if there.len() >= MOST {
            return Err(Problem::unfit("/", format!("there are {MOST} already; remove one first")));
        }
        let (tenant, author, created) = (self.0.tenant, self.0.name.clone(), state.clock.now());
        Ok(Kept { tenant, id, author, created, says })
    }
}

fn unfit(Wrong(field, why): Wrong) -> Problem {
    Problem::unfit(format!("/{field}"), why)
}

fn as_json<T: serde::Serialize>(value: &T) -> Result<serde_json::Value, Problem> {
    serde_json::to_value(value).map_err(|error| Problem::unavailable(format!("it cannot be kept: {error}")))
}

/// Keeps a rule under an id of the caller's choice, in place of the one that is there.
#[utoipa::path(
    put, path = "/api/v1/alerts/rules/{id}", tag = "incidents", security(("session" = [])),
    params(("id" = String, Path, description = "1 to 64 letters, digits, - or _")),
    request_body(content = Rule, content_type = "application/json"),
    responses(
        (status = 204, description = "It is kept"),
        (status = 400, description = "The body is no JSON, or that is no id", body = Problem, content_type = "application/problem+json"),
        NotJson, NoAdmin, NoStore,
    )
)]
pub(super) async fn put_rule(
    State(state): State<AppState>,
    manager: Manager,
    Named(id): Named,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let tenant = manager.0.tenant;
    let rule: Rule = json(&headers, body).await?;
    let receivers = state.store.webhooks(tenant).await?.into_iter();
    let receivers: Vec<String> =
        receivers.filter(|it| it.kind != WebhookKind::Verdicts).map(|it| it.id).collect();
    rule.check(&receivers).map_err(unfit)?;
    let there = state.store.alert_rules(tenant).await?;
    let kept = manager.kept(&state, id, &there, as_json(&rule)?)?;
    state.store.put_alert_rule(&kept).await?;
    manager.audit(&state, "alert_rule.put", format!("{} ({})", kept.id, rule.name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a rule. What it told stays told; its end is not.
#[utoipa::path(
    delete, path = "/api/v1/alerts/rules/{id}", tag = "incidents", security(("session" = [])),
    params(("id" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "That is no id", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        NoAdmin, NoStore,
    )
)]
pub(super) async fn remove_rule(
    State(state): State<AppState>,
    manager: Manager,
    Named(id): Named,
) -> Result<StatusCode, Problem> {
    if !state.store.remove_alert_rule(manager.0.tenant, &id).await? {
        return Err(Problem::not_found("there is no such rule"));
    }
    manager.audit(&state, "alert_rule.remove", id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps a silence or maintenance window under an id of the caller's choice, in place of the one that is there.
#[utoipa::path(
    put, path = "/api/v1/alerts/silences/{id}", tag = "incidents", security(("session" = [])),
    params(("id" = String, Path, description = "1 to 64 letters, digits, - or _")),
    request_body(content = Silence, content_type = "application/json"),
    responses(
        (status = 204, description = "It is kept"),
        (status = 400, description = "The body is no JSON, or that is no id", body = Problem, content_type = "application/problem+json"),
        NotJson, NoAdmin, NoStore,
    )
)]
pub(super) async fn put_silence(
    State(state): State<AppState>,
    manager: Manager,
    Named(id): Named,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let silence: Silence = json(&headers, body).await?;
    silence.check().map_err(unfit)?;
    let there = state.store.silences(manager.0.tenant).await?;
    let kept = manager.kept(&state, id, &there, as_json(&silence)?)?;
    state.store.put_silence(&kept).await?;
    manager.audit(&state, "silence.put", format!("{} ({})", kept.id, silence.why)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a silence or maintenance window.
#[utoipa::path(
    delete, path = "/api/v1/alerts/silences/{id}", tag = "incidents", security(("session" = [])),
    params(("id" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "That is no id", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        NoAdmin, NoStore,
    )
)]
pub(super) async fn remove_silence(
    State(state): State<AppState>,
    manager: Manager,
    Named(id): Named,
) -> Result<StatusCode, Problem> {
    if !state.store.remove_silence(manager.0.tenant, &id).await? {
        return Err(Problem::not_found("there is no such silence"));
    }
    manager.audit(&state, "silence.remove", id).await?;
    Ok(StatusCode::NO_CONTENT)
}
