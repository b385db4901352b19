//! Keys for programs, as `Authorization: Bearer gr_ID_SECRET`: the id finds the row, the secret's hash is compared in constant time.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use super::secret::{self, Secret};
use crate::clock::random;
use crate::problem::Problem;
use crate::store::{ApiKey, Store, Tenant, TokenHash};

/// A new key, and what is stored of it. The key is shown once.
pub fn mint(tenant: Tenant, name: String, now: Timestamp) -> (String, ApiKey) {
    let id: String = random::<6>().iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = Secret::mint();
    let shown = format!("gr_{id}_{}", secret.reveal());
    (shown, ApiKey { tenant, id, name, secret: secret.hash(), created: now, revoked: None })
}

/// Whose key a request shows.
///
/// # Errors
/// 401 when there is none that is good, 503 when the store fails.
pub async fn bearer(store: &dyn Store, headers: &HeaderMap) -> Result<ApiKey, Problem> {
    let text = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = text
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, shown)) = shown else {
        return Err(Problem::unauthorized(
            "send Authorization: Bearer KEY; an admin makes keys on the page Keys",
        ));
    };
    let Some((id, token)) = shown.trim().strip_prefix("gr_").and_then(|rest| rest.split_once('_')) else {
        return Err(Problem::unauthorized("this is not a key; one begins with gr_"));
    };
    let found = store.key(id).await?;
    // The comparison is made for unknown ids too, so that its time tells nothing.
    let stored = found.as_ref().map_or(TokenHash([0; 32]), |key| key.secret);
    let same = bool::from(secret::hash(token).0.ct_eq(&stored.0));
    found
        .filter(|key| same && key.revoked.is_none())
        .ok_or_else(|| Problem::unauthorized("this key is not good, or no longer"))
}
