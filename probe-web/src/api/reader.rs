//! Who reads: a program with a key, or somebody who signed in.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::app::AppState;
use crate::auth::{cookie, key, secret};
use crate::problem::Problem;
use crate::store::{AuditEntry, KeyUse, StoreError, Summary, Tenant};

/// Somebody who may read reports.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    /// Whose reports.
    pub(super) tenant: Tenant,
    /// With what is personal in them.
    pub(super) personal: bool,
    /// How the audit log calls them.
    actor: String,
}

impl Reader {
    /// A report's header as they may see it.
    pub(super) fn sees(&self, summary: Summary) -> Summary {
        if self.personal { summary } else { summary.redacted() }
    }

    /// Writes down what they looked at. What is not written down is not shown.
    pub(super) async fn audit(
        &self,
        state: &AppState,
        action: &str,
        subject: String,
    ) -> Result<(), StoreError> {
        let entry = AuditEntry {
            tenant: self.tenant,
            at: state.clock.now(),
            actor: self.actor.clone(),
            action: action.to_owned(),
            subject,
        };
        state.store.audit(&entry).await
    }
}

impl FromRequestParts<AppState> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        if parts.headers.contains_key(AUTHORIZATION) {
            let uses = [KeyUse::Read, KeyUse::ReadPersonal];
            let key = key::of_program(&*state.store, &parts.headers, &uses).await?;
            let personal = key.good_for == KeyUse::ReadPersonal;
            return Ok(Self { tenant: key.tenant, personal, actor: format!("key {}", key.id) });
        }
        let user = match cookie::get(&parts.headers, state.config.secure) {
            Some(token) => state.store.session_user(&secret::hash(token), state.clock.now()).await?,
            None => None,
        };
        let user = user.and_then(|user| Some((user.role?, user)));
        let (role, user) = user.ok_or_else(|| {
            Problem::unauthorized(
                "send Authorization: Bearer KEY with a key that is good to read reports, or sign in",
            )
        })?;
        Ok(Self { tenant: user.tenant, personal: role.sees_personal(), actor: user.name })
    }
}
