//! Signing in by an OpenID Connect provider: to it, back from it, and out there, too.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::account::{Wanted, let_in, local};
use crate::app::AppState;
use crate::clock::new_id;
use crate::ingest::read::is_plain;
use crate::oidc::{Attempt, Oidc, OidcError, Person};
use crate::pages::{self, Paged};
use crate::store::{NewUser, StoreError, User};

/// Where the provider sends people back to.
pub(crate) const CALLBACK: &str = "/login/oidc/callback";

/// Most characters of a name.
const NAME: usize = 64;

/// Most octets of a code.
const CODE: usize = 4_096;

/// Sends somebody to the provider.
pub(crate) async fn begin(State(state): State<AppState>, Query(wanted): Query<Wanted>) -> Response {
    let Some(oidc) = &state.oidc else { return pages::not_found() };
    let attempt = Attempt::begin(&local(&wanted.next));
    match oidc.begin(&attempt, &back_to(&state), state.clock.now()).await {
        Ok(place) => ([(header::SET_COOKIE, attempt.cookie(state.config.secure))], Redirect::to(&place))
            .into_response(),
        Err(error) => refused(&error),
    }
}

/// What the provider sends somebody back with.
#[derive(Deserialize)]
pub(crate) struct Returned {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    iss: Option<String>,
    error: Option<String>,
    #[serde(default)]
    error_description: String,
}

/// Lets in who comes back from the provider.
pub(crate) async fn callback(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(returned): Query<Returned>,
) -> Paged {
    let Some(oidc) = state.oidc.clone() else { return Ok(pages::not_found()) };
    let secure = state.config.secure;
    let answer = match come_back(&state, &oidc, &headers, returned).await {
        Ok((person, next)) => enter(&state, &oidc, person, next).await?,
        Err(error) => refused(&error),
    };
    // One attempt, one answer.
    let mut answer = answer;
    answer.headers_mut().append(header::SET_COOKIE, Attempt::forget(secure));
    Ok(answer)
}

async fn come_back(
    state: &AppState,
    oidc: &Oidc,
    headers: &HeaderMap,
    returned: Returned,
) -> Result<(Person, String), OidcError> {
    let attempt = Attempt::from_cookie(headers, state.config.secure).ok_or(OidcError::NotBegun)?;
    if !attempt.is_answered_by(&returned.state) {
        return Err(OidcError::NotBegun);
    }
    let now = state.clock.now();
    oidc.check_sender(returned.iss.as_deref(), now).await?;
    if let Some(error) = returned.error {
        let words = format!("{error} {}", returned.error_description);
        return Err(OidcError::Refused(words.chars().filter(|c| !c.is_control()).take(300).collect()));
    }
    if returned.code.is_empty() || returned.code.len() > CODE {
        return Err(OidcError::Refused("it sent no code".to_owned()));
    }
    let person = oidc.finish(&attempt, &returned.code, &back_to(state), now).await?;
    Ok((person, attempt.next))
}

async fn enter(state: &AppState, oidc: &Oidc, person: Person, next: String) -> Result<Response, StoreError> {
    let now = state.clock.now();
    let name = if is_plain(&person.name, NAME) && !person.name.trim().is_empty() {
        person.name.trim()
    } else {
        "somebody"
    };
    let user = User {
        tenant: person.tenant,
        id: new_id(now),
        name: name.to_owned(),
        role: Some(person.role),
        created: now,
    };
    // Nobody's password has this hash.
    let new = NewUser { user, password_hash: String::new() };
    match state.store.sign_in_by(oidc.issuer(), &person.subject, &new).await? {
        Some(user) => let_in(state, &user, local(&next)).await,
        None => Ok(pages::error_page(
            StatusCode::FORBIDDEN,
            "Shut out",
            "The sign-in provider knows you, but an admin shut your account out here, or its tenant does not exist. Ask an admin.",
        )),
    }
}

/// Sends somebody on to sign out at the provider.
pub(crate) async fn sign_out(State(state): State<AppState>) -> Response {
    let Some(oidc) = &state.oidc else { return pages::not_found() };
    match oidc.sign_out(&format!("{}/login", state.config.base_url), state.clock.now()).await {
        Ok(Some(place)) => Redirect::to(&place).into_response(),
        Ok(None) => pages::error_page(
            StatusCode::NOT_FOUND,
            "No way to sign out there",
            "The sign-in provider has no page to sign out at. You are signed out here; sign out there by its own pages.",
        ),
        Err(error) => refused(&error),
    }
}

fn back_to(state: &AppState) -> String {
    format!("{}{CALLBACK}", state.config.base_url)
}

fn refused(error: &OidcError) -> Response {
    tracing::warn!(%error, "somebody could not sign in by the provider");
    let status = match error {
        OidcError::Provider { .. } => StatusCode::BAD_GATEWAY,
        OidcError::NotBegun => StatusCode::BAD_REQUEST,
        OidcError::Refused(_) | OidcError::Untrusted(_) | OidcError::NoRole(_) => StatusCode::FORBIDDEN,
    };
    let body = html! {
        h1 { "Not signed in" }
        p { (error.advice()) }
        p { a href="/login" { "To the sign-in page" } }
    };
    (status, pages::bare("Not signed in", &body)).into_response()
}
