//! What a provider tells of itself (OpenID Connect Discovery 1.0), and its keys (RFC 7517). Both are kept for a while.

use std::sync::PoisonError;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::Value;

use super::{Oidc, OidcError, provider, untrusted};
use crate::outbound::check_url;

/// How long what was told is good.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(1);

/// How soon keys are asked for again, where a token is signed by one that is not known: whoever sends such tokens must not make this
/// server ask all the time.
const KEYS_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// Most keys that are looked at.
const MOST_KEYS: usize = 100;

/// What is known of a provider.
#[derive(Debug, Default)]
pub(super) struct Documents {
    metadata: Option<(Metadata, Timestamp)>,
    keys: Option<(Vec<Jwk>, Timestamp)>,
}

/// What a provider tells of itself.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    pub(super) userinfo_endpoint: Option<String>,
    #[serde(default)]
    pub(super) end_session_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Whether a client shows its secret in a header; that is so where the provider says nothing.
    pub(super) fn takes_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }
}

impl Oidc {
    /// What the provider tells of itself, asked for at most once an hour. While it does not answer, what it told before is good.
    pub(super) async fn metadata(&self, now: Timestamp) -> Result<Metadata, OidcError> {
        let known = self.documents.lock().unwrap_or_else(PoisonError::into_inner).metadata.clone();
        if let Some((metadata, at)) = &known
            && is_fresh(*at, now, GOOD_FOR)
        {
            return Ok(metadata.clone());
        }
        match self.ask_metadata().await {
            Ok(metadata) => {
                let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
                documents.metadata = Some((metadata.clone(), now));
                Ok(metadata)
            }
            Err(error) => match known {
                Some((metadata, _)) => {
                    tracing::warn!(%error, "the sign-in provider is taken as it was");
                    Ok(metadata)
                }
                None => Err(error),
            },
        }
    }

    async fn ask_metadata(&self) -> Result<Metadata, OidcError> {
        const WHAT: &str = "discovery";
        let place = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
        let value = self.json(WHAT, &place).await?;
        let metadata: Metadata =
            serde_json::from_value(value).map_err(|error| provider(WHAT, error.to_string()))?;
        if metadata.issuer != self.config.issuer {
            return Err(untrusted(format!(
                "it calls itself {}, not {}",
                metadata.issuer, self.config.issuer
            )));
        }
        let more = [&metadata.userinfo_endpoint, &metadata.end_session_endpoint].into_iter().flatten();
        for url in [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri]
            .into_iter()
            .chain(more)
        {
            check_url(url, self.config.allow_private)
                .map_err(|error| provider(WHAT, format!("{url}: {error}")))?;
        }
        Ok(metadata)
    }

    /// The provider's keys, asked for at most once an hour, or again when one is missing.
    pub(super) async fn keys(&self, now: Timestamp, again: bool) -> Result<Vec<Jwk>, OidcError> {
        const WHAT: &str = "keys";
        let age = if again { KEYS_AGAIN } else { GOOD_FOR };
        let known = self.documents.lock().unwrap_or_else(PoisonError::into_inner).keys.clone();
        if let Some((keys, at)) = known
            && is_fresh(at, now, age)
        {
            return Ok(keys);
        }
        let place = self.metadata(now).await?.jwks_uri;
        let value = self.json(WHAT, &place).await?;
        let all = value
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| provider(WHAT, "there are no `keys`"))?;
        // One by one: a key of a kind that is not known here does not make the others unreadable.
        let keys: Vec<Jwk> =
            all.iter().take(MOST_KEYS).filter_map(|key| serde_json::from_value(key.clone()).ok()).collect();
        self.documents.lock().unwrap_or_else(PoisonError::into_inner).keys = Some((keys.clone(), now));
        Ok(keys)
    }

    async fn json(&self, what: &'static str, url: &str) -> Result<Value, OidcError> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))]);
        let answer = self.ask(what, Method::GET, url, headers, Vec::new()).await?;
        if !answer.status.is_success() {
            return Err(provider(what, format!("status {} at {url}", answer.status.as_u16())));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| provider(what, format!("no JSON at {url}: {error}")))
    }
}

fn is_fresh(at: Timestamp, now: Timestamp, age: SignedDuration) -> bool {
    now.duration_since(at).abs() < age
}
