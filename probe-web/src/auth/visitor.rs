//! Somebody who came in, as handlers get them.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::{cookie, secret};
use crate::app::AppState;
use crate::pages::{error_page, query, store_failed};
use crate::store::{AuditEntry, Role, StoreError, Summary, Tenant, User};

/// Somebody with a session.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Who.
    pub user: User,
    /// What they may do.
    pub role: Role,
}

impl Visitor {
    /// Whose data they see.
    pub fn tenant(&self) -> Tenant {
        self.user.tenant
    }

    /// Whether they may make tenants: admins of the first one, who run the server.
    pub fn makes_tenants(&self) -> bool {
        self.role.manages() && self.tenant() == Tenant::FIRST
    }

    /// A report's header as their role may see it.
    #[must_use]
    pub fn sees(&self, summary: Summary) -> Summary {
        if self.role.sees_personal() { summary } else { summary.redacted() }
    }

    /// Lets on who may do this.
    ///
    /// # Errors
    /// A page that says that they may not.
    #[expect(clippy::result_large_err, reason = "it is the answer, made once and sent")]
    pub fn must(&self, may: fn(Role) -> bool) -> Result<(), Response> {
        if may(self.role) { Ok(()) } else { Err(forbidden()) }
    }

    /// Writes down what they did. What is not written down is not done.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit(
        &self,
        state: &AppState,
        action: &str,
        subject: impl Into<String>,
    ) -> Result<(), StoreError> {
        let entry = AuditEntry {
            tenant: self.tenant(),
            at: state.clock.now(),
            actor: self.user.name.clone(),
            action: action.to_owned(),
            subject: subject.into(),
        };
        state.store.audit(&entry).await
    }
}

/// A page for somebody whose role does not reach.
pub fn forbidden() -> Response {
    error_page(
        axum::http::StatusCode::FORBIDDEN,
        "Not for your role",
        "Your role does not include this. An admin can change it on the page Users.",
    )
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let token = cookie::get(&parts.headers, state.config.secure);
        let user = match token {
            Some(token) => state
                .store
                .session_user(&secret::hash(token), state.clock.now())
                .await
                .map_err(|error| store_failed(&error))?,
            None => None,
        };
        match user.and_then(|user| Some((user.role?, user))) {
            Some((role, user)) => Ok(Self { user, role }),
            None => {
                let wanted = parts.uri.path_and_query().map_or("/", |uri| uri.as_str());
                let next = query("/login", &[("next", wanted)]);
                Err(Redirect::to(&next).into_response())
            }
        }
    }
}
