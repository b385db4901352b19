//! Who sends a report, as `Authorization: Bearer TOKEN`.
//!
//! A key of a program is `gr_ID_SECRET`: the id finds the row, the secret's hash is compared in constant time. A check link's token
//! is `gc_SECRET`, what stands behind `/c/` in the link. An agent's bearer is `ga_AGENT_SECRET`.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use super::agent;
use super::link;
use super::secret::{self, Secret};
use crate::problem::Problem;
use crate::store::{Agent, ApiKey, CheckLink, KeyUse, Standing, Store, Tenant, TokenHash};

/// Who sends a report.
#[derive(Debug, Clone)]
pub enum Sender {
    /// A program with a key.
    Key(ApiKey),
    /// Somebody whom support sent a check link.
    Link(CheckLink),
    /// An agent of the fleet.
    Agent(Box<Agent>),
}

impl Sender {
    /// Whose reports it sends.
    pub fn tenant(&self) -> Tenant {
        match self {
            Self::Key(key) => key.tenant,
            Self::Link(link) => link.tenant,
            Self::Agent(agent) => agent.tenant,
        }
    }
}

/// A new key, and what is stored of it. The key is shown once.
pub fn mint(tenant: Tenant, name: String, good_for: KeyUse, now: Timestamp) -> (String, ApiKey) {
    let id = link::public_id();
    let secret = Secret::mint();
    let shown = format!("gr_{id}_{}", secret.reveal());
    (shown, ApiKey { tenant, id, name, good_for, secret: secret.hash(), created: now, revoked: None })
}

/// Who sends, by what the request shows. A link that is used up is let on: what it sends may be there already.
///
/// # Errors
/// 401 when nothing that is good is shown, 503 when the store fails.
pub async fn sender(store: &dyn Store, headers: &HeaderMap, now: Timestamp) -> Result<Sender, Problem> {
    let shown = bearer_of(headers)?;
    if shown.starts_with(agent::BEARER) {
        return agent::of_bearer(store, headers, now).await.map(|agent| Sender::Agent(Box::new(agent)));
    }
    let Some(hash) = link::hash(shown, link::CHECK) else {
        return key(store, shown, &[KeyUse::Send]).await.map(Sender::Key);
    };
    let found = store.check_link(&hash).await?.ok_or_else(|| {
        Problem::unauthorized("this link is not good; copy it whole, with all that stands behind /c/")
    })?;
    match found.standing(now) {
        Standing::Good | Standing::UsedUp => Ok(Sender::Link(found)),
        Standing::Expired => {
            Err(Problem::unauthorized("the time of this link is over; ask whoever sent it for a new one"))
        }
        Standing::Revoked => {
            Err(Problem::unauthorized("this link was revoked; ask whoever sent it for a new one"))
        }
    }
}

/// The key of a program that is good for one of these.
///
/// # Errors
/// 401 when none that is good for it is shown, 503 when the store fails.
pub async fn of_program(
    store: &dyn Store,
    headers: &HeaderMap,
    good_for: &[KeyUse],
) -> Result<ApiKey, Problem> {
    key(store, bearer_of(headers)?, good_for).await
}

pub(super) fn bearer_of(headers: &HeaderMap) -> Result<&str, Problem> {
    let text = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, shown)| shown.trim())
        .ok_or_else(|| {
            Problem::unauthorized("send Authorization: Bearer KEY; an admin makes keys on the page Keys")
        })
}

async fn key(store: &dyn Store, shown: &str, good_for: &[KeyUse]) -> Result<ApiKey, Problem> {
    let Some((id, token)) = shown.strip_prefix("gr_").and_then(|rest| rest.split_once('_')) else {
        return Err(Problem::unauthorized(
            "this is not a key; one begins with gr_, and what a check link holds with gc_",
        ));
    };
    let found = store.key(id).await?;
    // The comparison is made for unknown ids too, so that its time tells nothing.
    let stored = found.as_ref().map_or(TokenHash([0; 32]), |key| key.secret);
    let same = bool::from(secret::hash(token).0.ct_eq(&stored.0));
    let found = found
        .filter(|key| same && key.revoked.is_none())
        .ok_or_else(|| Problem::unauthorized("this key is not good, or no longer"))?;
    if !good_for.contains(&found.good_for) {
        let wanted: Vec<&str> = good_for.iter().map(|one| one.words()).collect();
        let words =
            format!("this key is there to {}, and not to {}", found.good_for.words(), wanted.join(" or to "));
        return Err(Problem::unauthorized(words));
    }
    Ok(found)
}
