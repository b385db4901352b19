//! Run grants: what lets a page measure against the media endpoint once, and hand in one result.
//!
//! Signed with Ed25519. The endpoint verifies the first kind by itself (its `proto::grant` has the format); the second is verified here,
//! and by any node that has the same key from the store. Which results were handed in stands in the store, too.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use uuid::{Builder, Uuid};

use crate::clock::random;
use crate::store::{Store, StoreError, Tenant};

const FOR_MEDIA: &[u8] = b"greenroom run grant/1\n";
const FOR_RESULT: &[u8] = b"greenroom run result/2\n";
const NONCE: usize = 16;
const SIGNATURE: usize = 64;

/// Most octets of a grant, in base64.
const LONGEST: usize = 4_096;

/// Runs that may begin within a minute, all visitors together. Each keeps one report at most.
const PER_MINUTE: u32 = 300;

/// Makes grants, and reads those for results.
pub struct Grants {
    pair: Ed25519KeyPair,
    /// When a minute began, and how many runs did since.
    minute: Mutex<Option<(Timestamp, u32)>>,
}

/// What a grant for a result says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForResult {
    /// What tells it from others.
    pub(crate) nonce: [u8; NONCE],
    /// How long it is good.
    pub(crate) until: Timestamp,
    /// Whose report it becomes.
    pub(crate) tenant: Tenant,
    /// What the page measures against; empty for nothing.
    pub(crate) media: String,
}

impl ForResult {
    /// The id of the report that comes of it: the same for a first look and for the result.
    pub(crate) fn report_id(&self) -> Uuid {
        // NONCE octets, which are more than these.
        let (head, _) = self.nonce.split_first_chunk().expect("a nonce is longer");
        let began = self.until.checked_sub(super::RUN_LASTS).unwrap_or(self.until);
        let ms = u64::try_from(began.as_millisecond()).unwrap_or(0);
        Builder::from_unix_timestamp_millis(ms, head).into_uuid()
    }

    /// What is noted once it was looked at.
    pub(crate) fn for_a_look(&self) -> [u8; NONCE] {
        self.nonce.map(|octet| !octet)
    }
}

impl Grants {
    /// Makes a key that lives as long as this process.
    ///
    /// # Panics
    /// When the system has no random source, without which no secret can be made.
    pub fn start() -> Self {
        Self::read_key(&new_key()).expect("it was made so")
    }

    /// With the key that the store keeps, which is made where there is none yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn kept(store: &dyn Store, now: Timestamp) -> Result<Self, StoreError> {
        let key = store.grant_key(&new_key(), now).await?;
        Self::read_key(&key).ok_or_else(|| StoreError::Damaged("the key of run grants is none".to_owned()))
    }

    fn read_key(pkcs8: &[u8]) -> Option<Self> {
        Some(Self { pair: Ed25519KeyPair::from_pkcs8(pkcs8).ok()?, minute: Mutex::default() })
    }

    /// The key by which an endpoint verifies them.
    pub fn public_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        key
    }

    /// Whether one more run may begin now; counts it.
    pub(crate) fn may_begin(&self, now: Timestamp) -> bool {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = minute.get_or_insert((now, 0));
        if now.duration_since(minute.0).abs() > SignedDuration::from_mins(1) {
            *minute = (now, 0);
        }
        minute.1 += 1;
        minute.1 <= PER_MINUTE
    }

    pub(crate) fn for_media(&self, until: Timestamp) -> String {
        self.mint(FOR_MEDIA, until, &[])
    }

    pub(crate) fn for_result(&self, until: Timestamp, tenant: Tenant, media: &str) -> String {
        self.mint(FOR_RESULT, until, &[&tenant.0.to_be_bytes(), media.as_bytes()].concat())
    }

    /// What a grant for a result says, if it is good. Whether it was used before the store knows.
    pub(crate) fn read_result(&self, grant: &str, now: Timestamp) -> Option<ForResult> {
        if grant.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(grant).ok()?;
        let (body, signature) = bytes.split_at_checked(bytes.len().checked_sub(SIGNATURE)?)?;
        let key = UnparsedPublicKey::new(&ED25519, self.pair.public_key().as_ref());
        key.verify(&[FOR_RESULT, body].concat(), signature).ok()?;
        let (nonce, rest) = body.split_first_chunk::<NONCE>()?;
        let (until, rest) = rest.split_first_chunk::<8>()?;
        let (tenant, media) = rest.split_first_chunk::<8>()?;
        let until = Timestamp::from_millisecond(i64::try_from(u64::from_be_bytes(*until)).ok()?).ok()?;
        let tenant = Tenant(i64::from_be_bytes(*tenant));
        let media = String::from_utf8(media.to_vec()).ok()?;
        (until >= now).then_some(ForResult { nonce: *nonce, until, tenant, media })
    }

    fn mint(&self, purpose: &[u8], until: Timestamp, more: &[u8]) -> String {
        let nonce: [u8; NONCE] = random();
        let until = u64::try_from(until.as_millisecond()).unwrap_or(0);
        let body = [&nonce[..], &until.to_be_bytes(), more].concat();
        let signature = self.pair.sign(&[purpose, &body].concat());
        URL_SAFE_NO_PAD.encode([&body, signature.as_ref()].concat())
    }
}

/// A new key as PKCS #8.
fn new_key() -> Vec<u8> {
    let document =
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("the system has a random source");
    document.as_ref().to_vec()
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
    fn a_grant_is_good_in_its_time_and_for_its_purpose() {
        let grants = Grants::start();
        let one = grants.for_result(after(60), Tenant(7), "https://192.0.2.1:7443/media");
        assert_eq!(grants.read_result(&one, after(61)), None, "too late");
        let read = grants.read_result(&one, after(60)).unwrap();
        assert_eq!(
            (read.tenant, read.media.as_str(), read.until),
            (Tenant(7), "https://192.0.2.1:7443/media", after(60))
        );
        assert_eq!(grants.read_result(&grants.for_media(after(60)), start()), None, "for something else");
        assert_eq!(Grants::start().read_result(&one, start()), None, "somebody else's");
        let mut bytes = URL_SAFE_NO_PAD.decode(&one).unwrap();
        bytes[31] ^= 1;
        assert_eq!(grants.read_result(&URL_SAFE_NO_PAD.encode(bytes), start()), None, "of another tenant");
        for wrong in ["", "x", "AAAA", "ä", &"A".repeat(10_000)] {
            assert_eq!(grants.read_result(wrong, start()), None, "{wrong}");
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
