//! Secrets of 256 bits: given away once, kept as a hash.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;

use crate::clock::random;
use crate::store::TokenHash;

/// A secret as it is given away. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes one: 43 characters that need no escaping in a URL.
    pub fn mint() -> Self {
        Self(URL_SAFE_NO_PAD.encode(random::<32>()))
    }

    /// The secret itself, to be given away.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> TokenHash {
        hash(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// SHA-256 of a secret that somebody shows. A slow hash is for passwords, which can be guessed; 256 random bits cannot.
pub fn hash(text: &str) -> TokenHash {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    TokenHash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_do_not_show() {
        let (one, two) = (Secret::mint(), Secret::mint());
        assert_ne!(one, two);
        assert_eq!(one.reveal().len(), 43);
        assert_eq!(one.hash(), hash(one.reveal()));
        assert!(!format!("{one:?} {:?}", one.hash()).contains(&one.reveal()[..8]));
    }
}
