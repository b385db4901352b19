//! TURN (RFC 8656), the client's side: what to ask for a relayed address, how to read the answers, and data through a channel.
//!
//! [`Client`] holds what the server challenged with and writes one request at a time; when to send it, and again, is its user's
//! business.

mod frame;

pub use frame::{Deframer, NotTurn, Piece, channel_data, write_channel_data};

use std::net::SocketAddr;

use super::stun::long_term::{Key, NONCE, REALM, USERNAME, Writer};
use super::stun::{Checked, Class, Message, TransactionId};
use crate::address::Credentials;
use greenroom_reports::units::Micros;

const CHANNEL_NUMBER: u16 = 0x000C;
const LIFETIME: u16 = 0x000D;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const ALTERNATE_SERVER: u16 = 0x8023;
/// The number of UDP among the protocols over IP.
const UDP: u8 = 17;

/// The first of the channels (RFC 8656 section 12).
pub const FIRST_CHANNEL: u16 = 0x4000;

/// What is asked of the server (RFC 8656 section 17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// A relayed address for UDP.
    Allocate,
    /// To keep the allocation for so many seconds; 0 gives it back.
    Refresh(u32),
    /// To let this peer's datagrams through.
    CreatePermission(SocketAddr),
    /// A short way of writing to this peer, which also lets its datagrams through.
    ChannelBind(u16, SocketAddr),
}

impl Ask {
    const fn method(self) -> u16 {
        match self {
            Self::Allocate => 0x003,
            Self::Refresh(_) => 0x004,
            Self::CreatePermission(_) => 0x008,
            Self::ChannelBind(..) => 0x009,
        }
    }
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It worked; what an allocation brought, of an Allocate request.
    Done(Option<Allocation>),
    /// The same is to be asked again: the challenge was new (401 to what was not signed, 438 to what was).
    AskAgain,
    /// It did not work.
    Refused(Refusal),
}

/// An allocation (RFC 8656 section 7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    /// The address on the server that peers send to.
    pub relayed: SocketAddr,
    /// This end's address as the server sees it.
    pub mapped: Option<SocketAddr>,
    /// How long it lasts without a refresh.
    pub lifetime: Micros,
}

/// Why the server did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 401 and nothing to sign with.
    #[error("it asks for a user name and a password")]
    NoCredentials,
    /// 401 to what was signed, or 441.
    #[error("it does not take this user name and password")]
    WrongCredentials,
    /// 300: another server is to be asked.
    #[error("it sends its clients to another server")]
    Elsewhere(Option<SocketAddr>),
    /// 403: not this peer, or not this client.
    #[error("it forbids that (403)")]
    Forbidden,
    /// 437: the server knows no such allocation, or another one of the same address.
    #[error("its allocation does not fit (437)")]
    Mismatch,
    /// 486: this user has as many as it may.
    #[error("this user has as many allocations as the server allows (486)")]
    Quota,
    /// 508: the server is full.
    #[error("it has no relayed address left (508)")]
    Full,
    /// Any other error.
    #[error("it answers with error {0}")]
    Other(u16),
    /// A success that lacks what it has to say, or an answer that is not signed as it has to be.
    #[error("its answer is not what the standard asks for")]
    Malformed,
}

/// What the server challenged with.
#[derive(Debug)]
struct Challenge {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: Key,
}

/// The client of one server over one transport.
#[derive(Debug)]
pub struct Client {
    credentials: Option<Credentials>,
    challenge: Option<Challenge>,
    renewals: u8,
}

/// REALM and NONCE have no more octets (RFC 8489 sections 14.9 and 14.10).
const LONGEST_TEXT: usize = 763;
/// So many nonces in a row may be stale: a server that finds every one stale never ends.
const RENEWALS: u8 = 3;

impl Client {
    /// With these credentials, or none: then the server's challenge is all there is to see.
    pub const fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials, challenge: None, renewals: 0 }
    }

    /// Whether the server has challenged, so that what is written from now on is signed.
    pub const fn is_challenged(&self) -> bool {
        self.challenge.is_some()
    }

    /// Writes a request, signed once the server has challenged.
    pub fn request(&self, ask: Ask, id: TransactionId) -> Vec<u8> {
        let mut writer = Writer::request(ask.method(), id);
        match ask {
            Ask::Allocate => writer.add(REQUESTED_TRANSPORT, &[UDP, 0, 0, 0]),
            Ask::Refresh(seconds) => writer.add(LIFETIME, &seconds.to_be_bytes()),
            Ask::CreatePermission(peer) => writer.add_xored_address(XOR_PEER_ADDRESS, peer),
            Ask::ChannelBind(channel, peer) => {
                let [high, low] = channel.to_be_bytes();
                writer.add(CHANNEL_NUMBER, &[high, low, 0, 0]);
                writer.add_xored_address(XOR_PEER_ADDRESS, peer);
            }
        }
        if let (Some(credentials), Some(challenge)) = (&self.credentials, &self.challenge) {
            writer.add(USERNAME, credentials.username().as_bytes());
            writer.add(REALM, &challenge.realm);
            writer.add(NONCE, &challenge.nonce);
            writer.sign(&challenge.key);
        }
        writer.finish()
    }

    /// Reads the answer to a request. `None`: it is none to this one.
    pub fn answer(&mut self, ask: Ask, id: TransactionId, message: &Message<'_>) -> Option<Answer> {
        if message.id != id || message.method != ask.method() {
            return None;
        }
        match message.class {
            Class::Success => Some(self.success(ask, message)),
            Class::Error => Some(self.error(message)),
            Class::Request | Class::Indication => None,
        }
    }

    fn success(&mut self, ask: Ask, message: &Message<'_>) -> Answer {
        self.renewals = 0;
        // What was asked with a signature is answered with one (RFC 8489 section 9.2.5).
        let forged = self
            .challenge
            .as_ref()
            .is_some_and(|challenge| message.integrity(challenge.key.expose()) != Checked::Fits);
        if forged {
            return Answer::Refused(Refusal::Malformed);
        }
        if ask != Ask::Allocate {
            return Answer::Done(None);
        }
        let lifetime = message.value(LIFETIME).and_then(|value| <[u8; 4]>::try_from(value).ok());
        match (message.xored_address(XOR_RELAYED_ADDRESS), lifetime) {
            (Some(relayed), Some(seconds)) => Answer::Done(Some(Allocation {
                relayed,
                mapped: message.mapped_address(),
                lifetime: Micros::from_secs(u32::from_be_bytes(seconds).into()),
            })),
            _ => Answer::Refused(Refusal::Malformed),
        }
    }

    fn error(&mut self, message: &Message<'_>) -> Answer {
        let refusal = match message.error_code() {
            Some(300) => Refusal::Elsewhere(message.plain_address(ALTERNATE_SERVER)),
            Some(401) if self.challenge.is_some() => Refusal::WrongCredentials,
            Some(401) => return self.challenged(message),
            Some(438) => return self.challenged(message),
            Some(403) => Refusal::Forbidden,
            Some(437) => Refusal::Mismatch,
            Some(441) => Refusal::WrongCredentials,
            Some(486) => Refusal::Quota,
            Some(508) => Refusal::Full,
            Some(other) => Refusal::Other(other),
            None => Refusal::Malformed,
        };
        Answer::Refused(refusal)
    }

    fn challenged(&mut self, message: &Message<'_>) -> Answer {
        let Some(credentials) = &self.credentials else { return Answer::Refused(Refusal::NoCredentials) };
        let (Some(realm), Some(nonce)) = (message.value(REALM), message.value(NONCE)) else {
            return Answer::Refused(Refusal::Malformed);
        };
        if self.renewals >= RENEWALS || realm.len() > LONGEST_TEXT || nonce.len() > LONGEST_TEXT {
            return Answer::Refused(Refusal::Malformed);
        }
        self.renewals += 1;
        let key = Key::of(credentials, realm);
        self.challenge = Some(Challenge { realm: realm.to_vec(), nonce: nonce.to_vec(), key });
        Answer::AskAgain
    }
}

#[cfg(test)]
mod tests;
