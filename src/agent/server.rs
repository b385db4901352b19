//! The server as an agent talks to it: bearers for signed challenges, reports, and what it is told in return.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use greenroom_reports::fleet::{
    self as messages, Bearer, CONFIG_HEADER, Challenge, CheckIn, RAN_HEADER, Told,
};
use greenroom_reports::units::Micros;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::identity::{Enrolled, IdentityError, Key};
use crate::address::Token;
use crate::net::clock::Clock;
use crate::net::upload::{Question, Reply, UploadError, UploadUrl, ask, plain};

/// A bearer is replaced so long before it ends.
const EARLY: Micros = Micros::from_secs(60);

/// Why a server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It cannot be reached, or what answers is no such server.
    #[error("{0}")]
    Unreachable(String),
    /// Not now.
    #[error("the server answered {status}: {detail}")]
    Later {
        /// The HTTP status.
        status: StatusCode,
        /// What it says of it.
        detail: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// What was shown does not let in.
    #[error("the server does not let this agent in: {0}")]
    Unauthorized(String),
    /// Somebody has to approve this agent.
    #[error("an admin has to approve this agent on the page Agents of the server")]
    Pending,
    /// This agent was shut out.
    #[error("this agent was revoked; enroll it again with a new token: greenroom agent enroll --again")]
    Revoked,
    /// Never, as it is.
    #[error("the server refused: {0}")]
    Refused(String),
    /// A key cannot be read or kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl ServerError {
    /// How long the server wants to be left alone, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Later { retry_after, .. } => *retry_after,
            Self::Pending => Some(Duration::from_secs(30)),
            Self::Revoked => Some(Duration::from_secs(600)),
            Self::Unreachable(_) | Self::Unauthorized(_) | Self::Refused(_) | Self::Identity(_) => None,
        }
    }
}

/// Enrolls a key by a token. The same key is the same agent, however often it is asked.
///
/// # Errors
/// When the server does not enroll it.
pub async fn enroll(
    url: &UploadUrl,
    token: &Token,
    key: &Key,
    name: &str,
) -> Result<messages::Enrolled, ServerError> {
    let asked = messages::Enroll {
        public_key: key.public_text(),
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        signature: key.sign(&messages::enrollment(token.expose(), &key.public())),
    };
    let bearer = bearer_header(token.expose())?;
    read(&post(url, "/api/v1/agents", Some(bearer), json(&asked)?).await?)
}

/// What is said with a report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    /// The version of the configuration.
    pub(super) config: i64,
    /// The run that was asked for and made.
    pub(super) ran: Option<Uuid>,
}

/// An agent at its server.
pub(super) struct Session {
    url: UploadUrl,
    agent: Uuid,
    keys: Keys,
    clock: Clock,
    bearer: Option<(HeaderValue, Micros)>,
    behind_ms: Option<i64>,
}

impl Session {
    pub(super) fn new(url: UploadUrl, enrolled: &Enrolled, keys: Keys, clock: Clock) -> Self {
        Self { url, agent: enrolled.agent, keys, clock, bearer: None, behind_ms: None }
    }

    /// How far this computer's clock is behind the server's, in milliseconds. `None`: not known yet.
    pub(super) const fn behind_ms(&self) -> Option<i64> {
        self.behind_ms
    }

    /// Sends a report, packed with zstd.
    pub(super) async fn send(&mut self, report: Vec<u8>, said: Said) -> Result<Told, ServerError> {
        /// What the server says of a report that it keeps.
        #[derive(Deserialize)]
        struct Kept {
            told: Told,
        }
        let config = HeaderValue::from(said.config);
        let ran = said.ran.and_then(|ran| HeaderValue::try_from(ran.to_string()).ok());
        let headers = [(CONFIG_HEADER, config)].into_iter().chain(ran.map(|ran| (RAN_HEADER, ran))).collect();
        let question = Question {
            path: "/api/v1/reports",
            bearer: None,
            packing: Some("zstd"),
            headers,
            body: Bytes::from(report),
        };
        let kept: Kept = self.with_bearer(question).await?;
        self.heard(kept.told.server_time);
        Ok(kept.told)
    }

    /// Tells of this agent and asks what to do.
    pub(super) async fn check_in(&mut self, said: &CheckIn) -> Result<Told, ServerError> {
        let question = Question {
            path: "/api/v1/agents/check-in",
            bearer: None,
            packing: None,
            headers: Vec::new(),
            body: json(said)?,
        };
        let told: Told = self.with_bearer(question).await?;
        self.heard(told.server_time);
        Ok(told)
    }

    /// A new key in place of the old one. Whatever happens between its steps, one of the two keys lets this agent in.
    pub(super) async fn change_key(&mut self) -> Result<(), ServerError> {
        let new = self.keys.next()?;
        let statement = messages::new_key(self.agent, &new.public());
        let asked = messages::NewKey {
            public_key: new.public_text(),
            old_signature: self.keys.current.sign(&statement),
            new_signature: new.sign(&statement),
        };
        let question = Question {
            path: "/api/v1/agents/key",
            bearer: None,
            packing: None,
            headers: Vec::new(),
            body: json(&asked)?,
        };
        let reply = self.ask_with_bearer(question).await?;
        match reply.status {
            StatusCode::NO_CONTENT => Ok(self.keys.advance(new)?),
            _ => Err(why_not(&reply)),
        }
    }

    async fn with_bearer<T: DeserializeOwned>(&mut self, question: Question) -> Result<T, ServerError> {
        read(&self.ask_with_bearer(question).await?)
    }

    /// Asks with a bearer; with a new one, where the server does not take the old one any more.
    async fn ask_with_bearer(&mut self, question: Question) -> Result<Reply, ServerError> {
        for is_last in [false, true] {
            let bearer = Some(self.bearer().await?);
            let reply = asked(&self.url, &Question { bearer, ..question.clone() }).await?;
            if reply.status != StatusCode::UNAUTHORIZED || is_last {
                return Ok(reply);
            }
            self.bearer = None;
        }
        Err(ServerError::Unreachable("nothing was asked".to_owned()))
    }

    /// Whether the server lets this agent in now.
    pub(super) async fn try_bearer(&mut self) -> Result<(), ServerError> {
        self.bearer().await.map(drop)
    }

    async fn bearer(&mut self) -> Result<HeaderValue, ServerError> {
        let now = self.clock.now();
        if let Some((bearer, ends)) = self.bearer.as_ref().filter(|(_, ends)| now + EARLY < *ends) {
            tracing::trace!(left_s = (*ends - now).as_secs(), "the bearer is still good");
            return Ok(bearer.clone());
        }
        let given = match self.bearer_for(&self.keys.current).await {
            // A change of keys was cut short: the server may have the new one already.
            Err(ServerError::Unauthorized(why)) => {
                let Some(next) = self.keys.kept_next()? else { return Err(ServerError::Unauthorized(why)) };
                let given = self.bearer_for(&next).await?;
                self.keys.advance(next)?;
                given
            }
            given => given?,
        };
        self.heard(given.server_time);
        let bearer = bearer_header(&given.bearer)?;
        self.bearer = Some((bearer.clone(), now + Micros::from_secs(given.lasts_s.into())));
        Ok(bearer)
    }

    async fn bearer_for(&self, key: &Key) -> Result<Bearer, ServerError> {
        let asked = json(&messages::ChallengeAsked { agent: self.agent })?;
        let given: Challenge = read(&post(&self.url, "/api/v1/agents/challenge", None, asked).await?)?;
        let signature = key.sign(&messages::token_request(self.agent, &given.challenge));
        let answer = messages::BearerAsked { agent: self.agent, challenge: given.challenge, signature };
        read(&post(&self.url, "/api/v1/agents/bearer", None, json(&answer)?).await?)
    }

    fn heard(&mut self, server_time: Timestamp) {
        let here = self.clock.wall();
        self.behind_ms = Some(server_time.as_millisecond().saturating_sub(here.as_millisecond()));
    }
}

/// The key that is in use, and where it and the next one are kept.
pub(super) struct Keys {
    current: Key,
    file: PathBuf,
}

impl Keys {
    /// The key in this file. `None`: there is none.
    pub(super) fn read(file: &Path) -> Result<Option<Self>, IdentityError> {
        Ok(Key::read(file)?.map(|current| Self { current, file: file.to_owned() }))
    }

    fn next_file(&self) -> PathBuf {
        self.file.with_extension("next")
    }

    fn kept_next(&self) -> Result<Option<Key>, IdentityError> {
        Key::read(&self.next_file())
    }

    /// The key that is to come, on the disk before the server learns of it.
    fn next(&self) -> Result<Key, IdentityError> {
        if let Some(next) = self.kept_next()? {
            return Ok(next);
        }
        let next = Key::make()?;
        next.keep(&self.next_file())?;
        Ok(next)
    }

    /// The next key is in use.
    fn advance(&mut self, next: Key) -> Result<(), IdentityError> {
        next.keep(&self.file)?;
        // One that stays behind is the same key.
        if let Err(error) = std::fs::remove_file(self.next_file()) {
            tracing::debug!(%error, "cannot remove the next key");
        }
        self.current = next;
        Ok(())
    }
}

async fn post(
    url: &UploadUrl,
    path: &'static str,
    bearer: Option<HeaderValue>,
    body: Bytes,
) -> Result<Reply, ServerError> {
    asked(url, &Question { path, bearer, packing: None, headers: Vec::new(), body }).await
}

async fn asked(url: &UploadUrl, question: &Question) -> Result<Reply, ServerError> {
    ask(url, question).await.map_err(|error: UploadError| ServerError::Unreachable(error.to_string()))
}

fn json<T: Serialize>(value: &T) -> Result<Bytes, ServerError> {
    let text = serde_json::to_vec(value).map_err(|error| ServerError::Refused(error.to_string()))?;
    Ok(Bytes::from(text))
}

fn bearer_header(secret: &str) -> Result<HeaderValue, ServerError> {
    let mut value = HeaderValue::try_from(format!("Bearer {secret}"))
        .map_err(|_| ServerError::Refused("the token holds characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, ServerError> {
    if !reply.status.is_success() {
        return Err(why_not(reply));
    }
    serde_json::from_slice(&reply.body).map_err(|error| {
        ServerError::Unreachable(format!("what answers there is no greenroom serve: {error}"))
    })
}

fn why_not(reply: &Reply) -> ServerError {
    /// The parts of a problem (RFC 9457) that matter here.
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Problem {
        #[serde(rename = "type")]
        kind: String,
        detail: String,
    }
    let status = reply.status;
    let Ok(problem) = serde_json::from_slice::<Problem>(&reply.body) else {
        // A proxy on the way, perhaps: what it says of the report means nothing.
        return ServerError::Later {
            status,
            detail: "what answers there is no greenroom serve".to_owned(),
            retry_after: reply.retry_after,
        };
    };
    let detail = plain(&problem.detail);
    match (status, problem.kind.rsplit(':').next().unwrap_or_default()) {
        (StatusCode::UNAUTHORIZED, _) => ServerError::Unauthorized(detail),
        (_, "agent-pending") => ServerError::Pending,
        (_, "agent-revoked") => ServerError::Revoked,
        (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::NOT_FOUND, _) => {
            ServerError::Later { status, detail, retry_after: reply.retry_after }
        }
        _ if status.is_client_error() => ServerError::Refused(detail),
        _ => ServerError::Later { status, detail, retry_after: reply.retry_after },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> ServerError {
        let status = StatusCode::from_u16(status).unwrap();
        let retry_after = Some(Duration::from_secs(7));
        why_not(&Reply { status, retry_after, body: Bytes::from(body.to_owned()) })
    }

    #[test]
    fn what_may_pass_and_what_never_will_are_told_apart() {
        let problem = |name: &str| format!(r#"{{"type":"urn:greenroom:problem:{name}","detail":"no"}}"#);
        assert!(matches!(reply(401, &problem("unauthorized")), ServerError::Unauthorized(_)));
        assert!(matches!(reply(403, &problem("agent-pending")), ServerError::Pending));
        assert!(matches!(reply(403, &problem("agent-revoked")), ServerError::Revoked));
        for status in [400, 413, 415, 422] {
            assert!(matches!(reply(status, &problem("invalid-report")), ServerError::Refused(_)), "{status}");
        }
        for status in [404, 408, 429, 500, 503] {
            let later = reply(status, &problem("x"));
            assert_eq!(later.retry_after(), Some(Duration::from_secs(7)), "{status}");
        }
        // A proxy's page says nothing of the report, which is kept.
        assert!(matches!(reply(403, "<html>"), ServerError::Later { .. }));
        assert!(matches!(reply(400, "<html>"), ServerError::Later { .. }));
    }

    #[test]
    fn a_change_of_keys_may_be_cut_short_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        Key::make().unwrap().keep(&file).unwrap();
        let mut keys = Keys::read(&file).unwrap().unwrap();
        let old = keys.current.public();
        let next = keys.next().unwrap().public();
        // Cut: the next start finds both.
        let again = Keys::read(&file).unwrap().unwrap();
        assert_eq!(again.current.public(), old);
        assert_eq!(again.next().unwrap().public(), next, "the same one");
        let kept = again.kept_next().unwrap().unwrap();
        keys.advance(kept).unwrap();
        assert_eq!(Keys::read(&file).unwrap().unwrap().current.public(), next);
        assert!(keys.kept_next().unwrap().is_none());
    }
}
