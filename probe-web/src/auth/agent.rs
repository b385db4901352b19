//! Agents: tokens that enroll them, challenges that they sign, and bearers that let them in for a quarter of an hour.
//!
//! A bearer is 256 random bits and not a signed statement (JWT): the agent's row is read with every request anyway, for what it is to be
//! told, and so a revocation works at once. A challenge is not kept: it is what this server signed with a key that its nodes share, and the
//! time in it, which an agent's row remembers, makes it good once. No clock of an agent plays a part.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use greenroom_reports::fleet::AgentState;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use ring::signature::{ED25519, UnparsedPublicKey};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::key::bearer_of;
use super::link;
use super::secret::{self, Secret};
use crate::clock::random;
use crate::problem::Problem;
use crate::store::{Agent, EnrollToken, Standing, Store, Tenant, TokenHash};

/// How an enrollment token begins.
pub const ENROLL: &str = "ge_";

/// How an agent's bearer begins.
pub const BEARER: &str = "ga_";

/// How long a bearer lets its agent in.
pub const BEARER_LASTS: SignedDuration = SignedDuration::from_mins(15);

/// How long a challenge may be answered.
const CHALLENGE_LASTS: SignedDuration = SignedDuration::from_secs(60);

/// How far apart the clocks of two nodes may be.
const APART: SignedDuration = SignedDuration::from_secs(5);

/// What an enrollment token is made for.
#[derive(Debug, Clone)]
pub struct NewEnrollToken {
    /// What it is for.
    pub name: String,
    /// The site that its agents' reports are of.
    pub site: Option<String>,
    /// Whether somebody has to let each agent in.
    pub approve: bool,
    /// Who makes it.
    pub author: String,
    /// When it ends.
    pub expires: Timestamp,
    /// Most agents.
    pub most: u32,
}

/// A new enrollment token: itself, shown once, and what is stored.
pub fn mint_enroll(tenant: Tenant, new: NewEnrollToken, now: Timestamp) -> (String, EnrollToken) {
    let token = format!("{ENROLL}{}", Secret::mint().reveal());
    let NewEnrollToken { name, site, approve, author, expires, most } = new;
    let kept = EnrollToken {
        tenant,
        id: link::public_id(),
        token: secret::hash(&token),
        name,
        site,
        approve,
        author,
        created: now,
        expires,
        most,
        used: 0,
        revoked: None,
    };
    (token, kept)
}

/// The enrollment token that a request shows, and what is stored of it. One that is used up is let on: its agent may be there already.
///
/// # Errors
/// 401 when none that is good is shown, 503 when the store fails.
pub async fn enroll_token(
    store: &dyn Store,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<(String, EnrollToken), Problem> {
    let shown = bearer_of(headers)?;
    let hash = link::hash(shown, ENROLL).ok_or_else(|| {
        Problem::unauthorized(
            "this is no enrollment token; an admin makes them on the page Agents, and they begin with ge_",
        )
    })?;
    let found = store
        .enroll_token(&hash)
        .await?
        .ok_or_else(|| Problem::unauthorized("this enrollment token is not good; was all of it copied?"))?;
    match found.standing(now) {
        Standing::Good | Standing::UsedUp => Ok((shown.to_owned(), found)),
        Standing::Expired => Err(Problem::unauthorized(
            "the time of this enrollment token is over; ask an admin for a new one",
        )),
        Standing::Revoked => {
            Err(Problem::unauthorized("this enrollment token was revoked; ask an admin for a new one"))
        }
    }
}

/// Octets in base64url.
pub fn octets<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Whether the key's holder signed this.
pub fn has_signed(public_key: &[u8; 32], message: &[u8], signature: &str) -> bool {
    let Some(signature) = octets::<64>(signature) else { return false };
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, &signature).is_ok()
}

/// A challenge for an agent, whether or not there is such an agent.
pub fn challenge(key: &[u8; 32], agent: Uuid, now: Timestamp) -> String {
    let head = [now.as_millisecond().to_be_bytes().as_slice(), &random::<16>()].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &statement(agent, &head));
    URL_SAFE_NO_PAD.encode([head.as_slice(), tag.as_ref()].concat())
}

/// When a challenge was given to this agent, if it was and can still be answered.
pub fn issued(key: &[u8; 32], agent: Uuid, challenge: &str, now: Timestamp) -> Option<Timestamp> {
    let bytes = octets::<56>(challenge)?;
    let (head, tag) = bytes.split_at(24);
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &statement(agent, head), tag).ok()?;
    let at = Timestamp::from_millisecond(i64::from_be_bytes(*head.first_chunk()?)).ok()?;
    let age = now.duration_since(at);
    (age <= CHALLENGE_LASTS && age >= -APART).then_some(at)
}

fn statement(agent: Uuid, head: &[u8]) -> Vec<u8> {
    [b"greenroom challenge/1\n".as_slice(), agent.as_bytes(), head].concat()
}

/// A new bearer of an agent, and what is stored of it.
pub fn mint_bearer(agent: Uuid) -> (String, TokenHash) {
    let bearer = format!("{BEARER}{}_{}", agent.simple(), Secret::mint().reveal());
    let hash = secret::hash(&bearer);
    (bearer, hash)
}

/// The agent that a request's bearer is of.
///
/// # Errors
/// 401 when none that is good is shown, 503 when the store fails.
pub async fn of_bearer(store: &dyn Store, headers: &HeaderMap, now: Timestamp) -> Result<Agent, Problem> {
    let shown = bearer_of(headers)?;
    let not_good =
        || Problem::unauthorized("this bearer is not good, or no longer; sign a challenge for a new one");
    let id = shown.strip_prefix(BEARER).and_then(|rest| rest.split_once('_')).ok_or_else(not_good)?.0;
    let found = match Uuid::try_parse(id) {
        Ok(id) => store.agent(id).await?,
        Err(_) => None,
    };
    // Compared for unknown ones too, so that the time tells nothing.
    let stored = found.as_ref().and_then(|agent| agent.bearer);
    let (hash, expires) = stored.unwrap_or((TokenHash([0; 32]), Timestamp::MIN));
    let same = bool::from(secret::hash(shown).0.ct_eq(&hash.0));
    found.filter(|agent| same && expires > now && agent.state == AgentState::Active).ok_or_else(not_good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    fn later(seconds: i64) -> Timestamp {
        start().checked_add(SignedDuration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn a_challenge_is_good_for_its_agent_for_a_minute() {
        let (key, agent) = ([3; 32], Uuid::from_u128(5));
        let text = challenge(&key, agent, start());
        assert_eq!(issued(&key, agent, &text, later(59)), Some(start()));
        assert_eq!(issued(&key, agent, &text, later(-4)), Some(start()), "another node's clock");
        assert_eq!(issued(&key, agent, &text, later(61)), None);
        assert_eq!(issued(&key, agent, &text, later(-6)), None);
        assert_eq!(issued(&key, Uuid::from_u128(6), &text, start()), None);
        assert_eq!(issued(&[4; 32], agent, &text, start()), None);
        assert_ne!(challenge(&key, agent, start()), text);
        for index in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(issued(&key, agent, &changed, start()), None, "{index}");
        }
        for odd in ["", "x", "====", &"A".repeat(10_000)] {
            assert_eq!(issued(&key, agent, odd, start()), None);
        }
    }
}
