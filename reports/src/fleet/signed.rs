//! The octets that an agent signs with its Ed25519 key (RFC 8032). Each kind begins with a name of its own, so that no signature is
//! good for another purpose.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// To enroll: that whoever shows the token holds the key. The token itself stands in it as its SHA-256.
pub fn enrollment(token: &str, public_key: &[u8; 32]) -> Vec<u8> {
    let token: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    [b"greenroom agent enroll/1\n".as_slice(), &token, public_key].concat()
}

/// To get a bearer: that the key's holder answers this challenge now.
pub fn token_request(agent: Uuid, challenge: &str) -> Vec<u8> {
    [b"greenroom agent token/1\n".as_slice(), agent.as_bytes(), challenge.as_bytes()].concat()
}

/// To change keys, signed with the old one and with the new one.
pub fn new_key(agent: Uuid, public_key: &[u8; 32]) -> Vec<u8> {
    [b"greenroom agent key/1\n".as_slice(), agent.as_bytes(), public_key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_is_another_one() {
        let (agent, key) = (Uuid::from_u128(1), [7; 32]);
        let all =
            [enrollment("x", &key), token_request(agent, "x"), new_key(agent, &key), enrollment("y", &key)];
        for (index, one) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|other| other != one));
        }
    }
}
