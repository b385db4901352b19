//! Signing in by an OpenID Connect provider: authorization code with PKCE (OpenID Connect Core 1.0, RFC 7636, RFC 9700).
//!
//! What the way there and back needs to be told from a forgery (state, nonce, verifier) follows from one secret that stands in a cookie of
//! the browser that began: nothing is kept here meanwhile, so that any node may take the answer and strangers cannot fill a table.
//! Signatures are checked by `jsonwebtoken`; what a token says is checked in [`token`], by this server's clock.

mod attempt;
mod discovery;
mod rules;
mod token;

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::outbound::{Answer, Bounds, Outbound, OutboundError, check_url};
use crate::store::{Role, Tenant};

pub use attempt::Attempt;
use discovery::Documents;
pub use rules::{RoleRule, RuleError};

/// What a provider may cost for each answer.
const TIME: Duration = Duration::from_secs(10);
const OCTETS: usize = 512 << 10;

/// Most characters of what a provider calls somebody.
const SUBJECT: usize = 255;

/// Settings.
#[derive(Clone)]
pub struct OidcConfig {
    /// The provider, exactly as it calls itself.
    pub issuer: String,
    /// What it calls this server.
    pub client_id: String,
    /// What this server shows it; none for a public client.
    pub secret: Option<String>,
    /// What the button says behind "Sign in with".
    pub name: String,
    /// What is asked for, besides `openid`.
    pub scopes: Vec<String>,
    /// Where in the claims the groups stand: names with dots between them.
    pub groups_claim: String,
    /// Who may do what. The first rule that fits counts; whom none fits is not let in.
    pub rules: Vec<RoleRule>,
    /// Whether the provider may stand at a private address.
    pub allow_private: bool,
}

impl fmt::Debug for OidcConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcConfig")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// A provider that people sign in by.
#[derive(Debug)]
pub struct Oidc {
    config: OidcConfig,
    outbound: Outbound,
    documents: Mutex<Documents>,
}

/// Somebody whom the provider knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// How the provider tells them from everybody else, for good.
    pub subject: String,
    /// What they are called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whose data they see.
    pub tenant: Tenant,
}

/// Why somebody was not let in. What is meant for them says what to do; the rest is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// The provider does not answer, or not as it should.
    #[error("the sign-in provider cannot be asked ({what}): {why}")]
    Provider {
        /// What was asked for.
        what: &'static str,
        /// What went wrong.
        why: String,
    },
    /// The answer belongs to no sign-in of this browser.
    #[error(
        "this answer belongs to no sign-in that this browser began, or to one from more than ten minutes ago"
    )]
    NotBegun,
    /// The provider said no.
    #[error("the sign-in provider refused: {0}")]
    Refused(String),
    /// What the provider says of somebody is not to be believed.
    #[error("what the sign-in provider says cannot be trusted: {0}")]
    Untrusted(String),
    /// Somebody without a role here.
    #[error("{0} belongs to no group that may come in")]
    NoRole(String),
}

impl OidcError {
    /// For whoever wants in: what happened, and what to do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Provider { .. } => {
                "The sign-in provider did not answer as it should. Try again in a minute; if it stays so, tell an admin: the server's log says why."
            }
            Self::NotBegun => {
                "This sign-in was not begun in this browser, or more than ten minutes ago. Begin again."
            }
            Self::Refused(_) => "The sign-in provider did not let you in. Begin again, or ask an admin.",
            Self::Untrusted(_) => {
                "The sign-in provider's answer could not be trusted, so nobody was let in. Begin again; if it stays so, tell an admin: the server's log says why."
            }
            Self::NoRole(_) => {
                "The sign-in provider knows you, but none of your groups may come in here. Ask an admin to give you one that may."
            }
        }
    }
}

type Claims = Map<String, Value>;

/// What a provider gives for a code.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    #[serde(default)]
    access_token: String,
}

/// How a provider refuses (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Oidc {
    /// With nothing asked yet.
    ///
    /// # Errors
    /// When the issuer's address is none that can be asked, or there is no rule by which anybody is let in.
    pub fn new(config: OidcConfig, outbound: Outbound) -> Result<Self, String> {
        check_url(&config.issuer, config.allow_private).map_err(|error| format!("the issuer: {error}"))?;
        if config.rules.is_empty() {
            return Err("no group is given a role, so nobody could come in".to_owned());
        }
        Ok(Self { config, outbound, documents: Mutex::default() })
    }

    /// What the button says.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Who the provider is: its people are told from those of others by it.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// Where a browser goes to sign in.
    ///
    /// # Errors
    /// When the provider does not tell.
    pub async fn begin(&self, attempt: &Attempt, back_to: &str, now: Timestamp) -> Result<String, OidcError> {
        let metadata = self.metadata(now).await?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([
            ("response_type", "code"),
            ("client_id", self.config.client_id.as_str()),
            ("redirect_uri", back_to),
            ("scope", &self.scope()),
            ("state", &attempt.state()),
            ("nonce", &attempt.nonce()),
            ("code_challenge", &attempt.challenge()),
            ("code_challenge_method", "S256"),
        ]);
        let joint = if metadata.authorization_endpoint.contains('?') { '&' } else { '?' };
        Ok(format!("{}{joint}{}", metadata.authorization_endpoint, query.finish()))
    }

    /// Who comes back with a code.
    ///
    /// # Errors
    /// Why they are not let in.
    pub async fn finish(
        &self,
        attempt: &Attempt,
        code: &str,
        back_to: &str,
        now: Timestamp,
    ) -> Result<Person, OidcError> {
        let tokens = self.tokens(attempt, code, back_to, now).await?;
        let claims = self.verified(&tokens.id_token, now).await?;
        token::check(&claims, &self.config.issuer, &self.config.client_id, &attempt.nonce(), now)?;
        let subject = text(&claims, "sub").filter(|subject| (1..=SUBJECT).contains(&subject.len()));
        let subject = subject.ok_or_else(|| untrusted("it names nobody (sub)"))?.to_owned();
        let claims = self.with_groups(claims, &subject, &tokens.access_token, now).await?;
        let name = ["preferred_username", "email", "name"]
            .into_iter()
            .find_map(|claim| text(&claims, claim).filter(|name| !name.is_empty()));
        let name = name.unwrap_or(&subject).to_owned();
        let groups = rules::groups(&claims, &self.config.groups_claim);
        match self.config.rules.iter().find(|rule| groups.contains(&rule.group)) {
            Some(rule) => Ok(Person { subject, name, role: rule.role, tenant: rule.tenant }),
            None => Err(OidcError::NoRole(name)),
        }
    }

    /// Whether an answer's `iss` is this provider's (RFC 9207): one provider must not answer for another.
    ///
    /// # Errors
    /// When it is not, or is missing though the provider says that it sends it.
    pub async fn check_sender(&self, iss: Option<&str>, now: Timestamp) -> Result<(), OidcError> {
        match iss {
            Some(iss) if iss == self.config.issuer => Ok(()),
            Some(_) => Err(untrusted("the answer came from another provider (iss)")),
            None if self.metadata(now).await?.authorization_response_iss_parameter_supported => {
                Err(untrusted("the answer does not say which provider it is from (iss)"))
            }
            None => Ok(()),
        }
    }

    /// Where somebody signs out at the provider, if it has such a place.
    ///
    /// # Errors
    /// When the provider does not tell.
    pub async fn sign_out(&self, back_to: &str, now: Timestamp) -> Result<Option<String>, OidcError> {
        let Some(place) = self.metadata(now).await?.end_session_endpoint else { return Ok(None) };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([
            ("client_id", self.config.client_id.as_str()),
            ("post_logout_redirect_uri", back_to),
        ]);
        let joint = if place.contains('?') { '&' } else { '?' };
        Ok(Some(format!("{place}{joint}{}", query.finish())))
    }

    fn scope(&self) -> String {
        let more = self.config.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
        ["openid"].into_iter().chain(more).collect::<Vec<_>>().join(" ")
    }

    async fn tokens(
        &self,
        attempt: &Attempt,
        code: &str,
        back_to: &str,
        now: Timestamp,
    ) -> Result<Tokens, OidcError> {
        const WHAT: &str = "token";
        let metadata = self.metadata(now).await?;
        let verifier = attempt.verifier();
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", back_to),
            ("code_verifier", &verifier),
        ];
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        match &self.config.secret {
            Some(secret) if metadata.takes_basic() => {
                headers.insert(AUTHORIZATION, basic(&self.config.client_id, secret)?);
            }
            secret => {
                pairs.push(("client_id", &self.config.client_id));
                pairs.extend(secret.as_ref().map(|secret| ("client_secret", secret.as_str())));
            }
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes();
        let answer = self.ask(WHAT, Method::POST, &metadata.token_endpoint, headers, body).await?;
        if !answer.status.is_success() {
            let refusal = serde_json::from_slice::<Refusal>(&answer.body).ok();
            let words = refusal.map(|refusal| format!("{} {}", refusal.error, refusal.error_description));
            return Err(OidcError::Refused(match words {
                Some(words) => plain(&words),
                None => format!("status {} for the code", answer.status.as_u16()),
            }));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| provider(WHAT, format!("its answer holds no ID token: {error}")))
    }

    /// What a token says, once a key of the provider verified it.
    async fn verified(&self, id_token: &str, now: Timestamp) -> Result<Claims, OidcError> {
        let header = token::header(id_token)?;
        let keys = self.keys(now, false).await?;
        if let Some(claims) = token::verify(id_token, &header, &keys)? {
            return Ok(claims);
        }
        // The provider may have changed its keys since.
        let keys = self.keys(now, true).await?;
        token::verify(id_token, &header, &keys)?
            .ok_or_else(|| untrusted("it is signed by a key that the provider does not show"))
    }

    /// The claims with those that the provider tells of only when asked, where the groups are among these.
    async fn with_groups(
        &self,
        mut claims: Claims,
        subject: &str,
        access: &str,
        now: Timestamp,
    ) -> Result<Claims, OidcError> {
        const WHAT: &str = "userinfo";
        if !rules::groups(&claims, &self.config.groups_claim).is_empty() || access.is_empty() {
            return Ok(claims);
        }
        let Some(place) = self.metadata(now).await?.userinfo_endpoint else { return Ok(claims) };
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::try_from(format!("Bearer {access}"))
            .map_err(|_| provider(WHAT, "its access token cannot be sent"))?;
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.ask(WHAT, Method::GET, &place, headers, Vec::new()).await?;
        if !answer.status.is_success() {
            return Err(provider(WHAT, format!("status {}", answer.status.as_u16())));
        }
        let more: Claims =
            serde_json::from_slice(&answer.body).map_err(|error| provider(WHAT, error.to_string()))?;
        if text(&more, "sub") != Some(subject) {
            return Err(untrusted("userinfo is of somebody else (sub)"));
        }
        for (claim, value) in more {
            claims.entry(claim).or_insert(value);
        }
        Ok(claims)
    }

    async fn ask(
        &self,
        what: &'static str,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answer, OidcError> {
        let bounds = Bounds { allow_private: self.config.allow_private, time: TIME, octets: OCTETS };
        let asked = self.outbound.ask(method, url, headers, body, bounds).await;
        asked.map_err(|error: OutboundError| provider(what, error.to_string()))
    }
}

fn basic(client: &str, secret: &str) -> Result<HeaderValue, OidcError> {
    // Both are form-encoded first (RFC 6749 section 2.3.1).
    let coded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", coded(client), coded(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {pair}"))
        .map_err(|_| provider("token", "the client's secret cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn text<'a>(claims: &'a Claims, claim: &str) -> Option<&'a str> {
    claims.get(claim).and_then(Value::as_str)
}

fn provider(what: &'static str, why: impl Into<String>) -> OidcError {
    OidcError::Provider { what, why: plain(&why.into()) }
}

fn untrusted(why: impl Into<String>) -> OidcError {
    OidcError::Untrusted(plain(&why.into()))
}

/// A peer's words, so that they cannot write lines of their own into a log.
fn plain(words: &str) -> String {
    words.trim().chars().filter(|c| !c.is_control()).take(300).collect()
}
