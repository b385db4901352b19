//! Run grants: what lets a page measure against the media endpoint once, and hand in one result.
//!
//! Signed with Ed25519 by a key that lives as long as this process. The endpoint verifies the first kind by itself (its `proto::grant` has
//! the format); the second is verified here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::clock::random;

const FOR_MEDIA: &[u8] = b"greenroom run grant/1\n";
const FOR_RESULT: &[u8] = b"greenroom run result/1\n";
const NONCE: usize = 16;
const BODY: usize = NONCE + 8;

/// Runs that may begin within a minute, all visitors together. Each keeps one report at most.
const PER_MINUTE: u32 = 300;

/// Makes grants, and takes back those for results.
pub struct Grants {
    pair: Ed25519KeyPair,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// Results that were handed in, until their grant ends by itself.
    used: HashMap<[u8; NONCE], Timestamp>,
    minute: Option<(Timestamp, u32)>,
}

impl Grants {
    /// Makes a key.
    ///
    /// # Panics
    /// When the system has no random source, without which no secret can be made.
    pub fn start() -> Self {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("the system has a random source");
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("it was made so");
        Self { pair, book: Mutex::default() }
    }

    /// The key by which an endpoint verifies them.
    pub fn public_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        key
    }

    /// Whether one more run may begin now; counts it.
    pub(crate) fn may_begin(&self, now: Timestamp) -> bool {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = book.minute.get_or_insert((now, 0));
        if now.duration_since(minute.0).abs() > SignedDuration::from_mins(1) {
            *minute = (now, 0);
        }
        minute.1 += 1;
        minute.1 <= PER_MINUTE
    }

    pub(crate) fn for_media(&self, until: Timestamp) -> String {
        self.mint(FOR_MEDIA, until)
    }

    pub(crate) fn for_result(&self, until: Timestamp) -> String {
        self.mint(FOR_RESULT, until)
    }

    /// Takes the grant of a result; whether it is good and was not used before.
    pub(crate) fn take_result(&self, grant: &str, now: Timestamp) -> bool {
        let Some((nonce, until)) = self.read(FOR_RESULT, grant).filter(|(_, until)| *until >= now) else {
            return false;
        };
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.used.retain(|_, until| *until >= now);
        book.used.insert(nonce, until).is_none()
    }

    fn mint(&self, purpose: &[u8], until: Timestamp) -> String {
        let nonce: [u8; NONCE] = random();
        let until = u64::try_from(until.as_millisecond()).unwrap_or(0);
        let body = [&nonce[..], &until.to_be_bytes()].concat();
        let signature = self.pair.sign(&[purpose, &body].concat());
        URL_SAFE_NO_PAD.encode([&body, signature.as_ref()].concat())
    }

    fn read(&self, purpose: &[u8], grant: &str) -> Option<([u8; NONCE], Timestamp)> {
        let bytes = URL_SAFE_NO_PAD.decode(grant).ok()?;
        let (body, signature) = bytes.split_at_checked(BODY)?;
        let key = UnparsedPublicKey::new(&ED25519, self.pair.public_key().as_ref());
        key.verify(&[purpose, body].concat(), signature).ok()?;
        let (nonce, until) = body.split_at_checked(NONCE)?;
        let until = i64::try_from(u64::from_be_bytes(until.try_into().ok()?)).ok()?;
        Some((nonce.try_into().ok()?, Timestamp::from_millisecond(until).ok()?))
    }
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grants(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    fn after(seconds: i64) -> Timestamp {
        start().checked_add(SignedDuration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn one_result_per_grant_in_its_time_and_for_its_purpose() {
        let grants = Grants::start();
        let one = grants.for_result(after(60));
        assert!(!grants.take_result(&one, after(61)), "too late");
        assert!(grants.take_result(&one, after(60)));
        assert!(!grants.take_result(&one, after(60)), "twice");
        assert!(!grants.take_result(&grants.for_media(after(60)), start()), "for something else");
        assert!(!Grants::start().take_result(&grants.for_result(after(60)), start()), "somebody else's");
        for wrong in ["", "x", "AAAA", "ä"] {
            assert!(!grants.take_result(wrong, start()), "{wrong}");
        }
    }

    #[test]
    fn so_many_begin_within_a_minute() {
        let grants = Grants::start();
        assert!((0..PER_MINUTE).all(|_| grants.may_begin(start())));
        assert!(!grants.may_begin(after(59)));
        assert!(grants.may_begin(after(61)));
    }
}
