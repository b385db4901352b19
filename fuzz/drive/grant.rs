use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use greenroom::address::Token;
use greenroom::proto::grant::{GrantKey, UsedGrants};
use jiff::Timestamp;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Shows the input as a grant: as it is, and signed by who may grant, so that what is signed is read, too. None is taken twice.
pub(crate) fn drive(data: &[u8]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let key = GrantKey(pair.public_key().as_ref().try_into().expect("32 octets"));
    let now = Timestamp::from_millisecond(1_800_000_000_000).expect("in range");
    let mut used = UsedGrants::default();
    if let Some(token) = std::str::from_utf8(data).ok().and_then(Token::new) {
        assert!(used.take(&key, &token, now).is_err(), "nobody can sign it");
    }
    let signature = pair.sign(&[b"greenroom run grant/1\n", data].concat());
    let text = URL_SAFE_NO_PAD.encode([data, signature.as_ref()].concat());
    let Some(token) = Token::new(&text) else { return };
    if used.take(&key, &token, now).is_ok() {
        assert_eq!(data.len(), 24, "a nonce and an end");
        assert!(used.take(&key, &token, now).is_err(), "it was used");
    }
}
