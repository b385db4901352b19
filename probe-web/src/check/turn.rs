//! Relays that pages try where the direct way to the endpoint fails, and what lets them in: user names that end by themselves, with passwords that
//! follow from a secret shared with the relay (draft-uberti-behave-turn-rest-00; coturn's `use-auth-secret`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::random;

/// How long a user name is good. A page uses it within a minute; the rest is for clocks that differ.
const LASTS: SignedDuration = SignedDuration::from_mins(5);

/// Relays that share a secret with this server.
#[derive(Clone)]
pub struct Turn {
    urls: Vec<String>,
    secret: hmac::Key,
}

/// How a page reaches a relay: an RTCIceServer (W3C WebRTC section 4.2.4).
#[derive(Serialize, ToSchema)]
pub(crate) struct IceServer {
    /// One URL (RFC 7065): the page tries each way by itself.
    urls: Vec<String>,
    /// When it ends, in seconds of Unix time, and a name that nobody else has.
    username: String,
    /// Base64 of the HMAC-SHA1 of the user name under the shared secret.
    credential: String,
}

impl Turn {
    /// A page tries them all at once, and tells of so many ways at most.
    pub const MOST: usize = 31;

    /// The relays of these URLs (`turn:HOST[:PORT][?transport=udp|tcp]`, `turns:HOST[:PORT]`), all with one secret: [`Self::MOST`] at most.
    pub fn new(urls: Vec<String>, secret: &str) -> Self {
        // What TURN's own message integrity is made of as well (RFC 8489 section 14.5); the relay computes the same.
        Self { urls, secret: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes()) }
    }

    /// How many ways there are.
    pub(crate) fn len(&self) -> usize {
        self.urls.len()
    }

    /// Lets one page in, for some minutes. A name of its own keeps a relay's quota per user from counting all pages together.
    pub(crate) fn ice_servers(&self, now: Timestamp) -> Vec<IceServer> {
        let until = now.checked_add(LASTS).unwrap_or(now).as_second();
        let name: String = random::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        self.urls.iter().map(|url| self.ice_server(url, format!("{until}:{name}"))).collect()
    }

    fn ice_server(&self, url: &str, username: String) -> IceServer {
        let credential = STANDARD.encode(hmac::sign(&self.secret, username.as_bytes()));
        IceServer { urls: vec![url.to_owned()], username, credential }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("urls", &self.urls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    /// By `printf %s 1795953900:alice | openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn a_password_is_what_the_relay_computes() {
        let turn = Turn::new(vec!["turn:relay.example".to_owned()], "north");
        let server = turn.ice_server("turn:relay.example", "1795953900:alice".to_owned());
        assert_eq!(server.credential, "TkUFBonSxgSMA8RSKB0/1sMfXN0=");
        assert!(!format!("{turn:?}").contains("north"), "{turn:?}");
    }

    #[test]
    fn each_page_has_a_name_of_its_own_that_ends() {
        let urls = ["turn:relay.example?transport=udp", "turns:relay.example"].map(str::to_owned);
        let turn = Turn::new(urls.to_vec(), "north");
        let (one, other) = (turn.ice_servers(start()), turn.ice_servers(start()));
        assert_eq!(one.iter().map(|server| server.urls[0].as_str()).collect::<Vec<_>>(), urls);
        let ends = |server: &IceServer| server.username.split(':').next().unwrap().parse::<i64>().unwrap();
        assert_eq!(ends(&one[0]), start().as_second() + 300);
        assert_eq!(one[0].username, one[1].username);
        assert_ne!(one[0].username, other[0].username);
    }
}
