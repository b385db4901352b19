//! Run grants: what lets a browser measure once. `greenroom serve` signs them (Ed25519, RFC 8032), an endpoint verifies them without
//! asking anybody and takes each one once.
//!
//! ```text
//! base64url(nonce: 16 octets | expires: u64, Unix ms, big endian | signature: 64 octets)
//! signed:   "greenroom run grant/1\n" | nonce | expires
//! ```

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::address::Token;

/// What stands before everything that is signed, so that the signature is good for nothing else.
const PURPOSE: &[u8] = b"greenroom run grant/1\n";
const NONCE: usize = 16;
const BODY: usize = NONCE + 8;
const WHOLE: usize = BODY + 64;
/// Grants remembered as used. A grant lives a minute, so this is more than any endpoint admits in that time.
const MOST_USED: usize = 100_000;
/// No grant is good for longer than this, whatever it says: one that was used must be remembered so long.
const LONGEST_MS: i64 = 10 * 60 * 1_000;

/// The public key of whoever may grant runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantKey(pub [u8; 32]);

/// Why a grant is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It is no grant, or signed by somebody else.
    #[error("this endpoint does not know the grant.")]
    Foreign,
    /// Its time is up.
    #[error("the grant is no longer good; ask for a new one.")]
    Expired,
    /// It was used before.
    #[error("the grant was used before; each is good for one run.")]
    Used,
}

/// The grants that were used and could be shown again.
#[derive(Debug, Default)]
pub struct UsedGrants(HashMap<[u8; NONCE], i64>);

impl UsedGrants {
    /// Takes a grant, if it is good and was not used before.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn take(&mut self, key: &GrantKey, token: &Token, now: Timestamp) -> Result<(), GrantError> {
        let (nonce, expires) = self.look(key, token, now)?;
        if self.0.len() >= MOST_USED {
            let now = now.as_millisecond();
            self.0.retain(|_, until| *until >= now);
        }
        // One that cannot be remembered could be used twice.
        if self.0.len() >= MOST_USED {
            return Err(GrantError::Used);
        }
        self.0.insert(nonce, expires);
        Ok(())
    }

    /// Whether a grant could be taken now. It stays good.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn check(&self, key: &GrantKey, token: &Token, now: Timestamp) -> Result<(), GrantError> {
        self.look(key, token, now).map(|_| ())
    }

    fn look(&self, key: &GrantKey, token: &Token, now: Timestamp) -> Result<([u8; NONCE], i64), GrantError> {
        let (nonce, expires) = read(key, token)?;
        let now = now.as_millisecond();
        if expires < now || expires > now.saturating_add(LONGEST_MS) {
            return Err(GrantError::Expired);
        }
        match self.0.contains_key(&nonce) {
            true => Err(GrantError::Used),
            false => Ok((nonce, expires)),
        }
    }
}

/// A grant's nonce and end, if it is signed by `key`.
fn read(key: &GrantKey, token: &Token) -> Result<([u8; NONCE], i64), GrantError> {
    let bytes = URL_SAFE_NO_PAD.decode(token.expose()).map_err(|_| GrantError::Foreign)?;
    if bytes.len() != WHOLE {
        return Err(GrantError::Foreign);
    }
    let (body, signature) = bytes.split_at(BODY);
    let signed = [PURPOSE, body].concat();
    UnparsedPublicKey::new(&ED25519, &key.0).verify(&signed, signature).map_err(|_| GrantError::Foreign)?;
    let (nonce, expires) = body.split_at(NONCE);
    let nonce = nonce.try_into().map_err(|_| GrantError::Foreign)?;
    let expires = expires.try_into().map(u64::from_be_bytes).map_err(|_| GrantError::Foreign)?;
    i64::try_from(expires).map(|expires| (nonce, expires)).map_err(|_| GrantError::Foreign)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn pair() -> (Ed25519KeyPair, GrantKey) {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let key = GrantKey(pair.public_key().as_ref().try_into().unwrap());
        (pair, key)
    }

    fn grant(pair: &Ed25519KeyPair, nonce: u8, expires: i64) -> Token {
        let body = [&[nonce; NONCE][..], &u64::try_from(expires).unwrap().to_be_bytes()].concat();
        let signature = pair.sign(&[PURPOSE, &body].concat());
        Token::new(URL_SAFE_NO_PAD.encode([&body, signature.as_ref()].concat())).unwrap()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn a_grant_is_good_once_and_for_its_time() {
        let (pair, key) = pair();
        let mut used = UsedGrants::default();
        let one = grant(&pair, 1, 60_000);
        assert_eq!(used.take(&key, &one, at(60_001)), Err(GrantError::Expired));
        assert_eq!(used.take(&key, &one, at(60_000)), Ok(()));
        assert_eq!(used.take(&key, &one, at(60_000)), Err(GrantError::Used));
        assert_eq!(used.take(&key, &grant(&pair, 2, 60_000), at(0)), Ok(()));
        let eternal = grant(&pair, 3, LONGEST_MS + 1);
        assert_eq!(used.take(&key, &eternal, at(0)), Err(GrantError::Expired));
    }

    #[test]
    fn nobody_else_can_make_or_change_one() {
        let ((pair, _), (_, other)) = (pair(), pair());
        let mut used = UsedGrants::default();
        let one = grant(&pair, 1, 60_000);
        assert_eq!(used.take(&other, &one, at(0)), Err(GrantError::Foreign));
        let (pair, key) = self::pair();
        let good = grant(&pair, 1, 60_000);
        for place in 0..good.expose().len() {
            let mut changed: Vec<char> = good.expose().chars().collect();
            changed[place] = if changed[place] == 'A' { 'B' } else { 'A' };
            let changed = Token::new(changed.into_iter().collect::<String>()).unwrap();
            // The last letter carries bits that nobody reads; a decoder may refuse them or not.
            if changed != good && place + 1 < good.expose().len() {
                assert_eq!(used.take(&key, &changed, at(0)), Err(GrantError::Foreign), "letter {place}");
            }
        }
        for wrong in ["x", "AAAA", "ä"] {
            assert_eq!(used.take(&key, &Token::new(wrong).unwrap(), at(0)), Err(GrantError::Foreign));
        }
    }
}
