//! What an ID token has to say to be believed (OpenID Connect Core 1.0 section 3.1.3.7).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;

use super::{Claims, OidcError, text, untrusted};

/// How far the provider's clock may be from this server's.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Most octets of a token.
const LONGEST: usize = 64 << 10;

/// Algorithms that are taken: signatures by a key that the provider alone has. None with a shared secret, and not `none`.
const SIGNED_BY: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// How a token says that it is signed.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    by: Algorithm,
    key: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
}

/// How a token is signed, before its signature is looked at.
pub(super) fn header(token: &str) -> Result<Signed, OidcError> {
    if token.len() > LONGEST {
        return Err(untrusted("the ID token is too long"));
    }
    let unreadable = || untrusted("the ID token cannot be read");
    let first = token.split('.').next().unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(first).map_err(|_| unreadable())?;
    let header: Header = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
    let by = header.alg.parse().ok().filter(|alg| SIGNED_BY.contains(alg));
    let by = by.ok_or_else(|| {
        untrusted(format!("the ID token is signed with `{}`, which is not taken", header.alg))
    })?;
    Ok(Signed { by, key: header.kid })
}

/// What a token says, if one of these keys signed it; `None` where none could have.
///
/// # Errors
/// When the key that it names did not sign it.
pub(super) fn verify(token: &str, signed: &Signed, keys: &[Jwk]) -> Result<Option<Claims>, OidcError> {
    let mut validation = Validation::new(signed.by);
    // What it says is looked at by `check`, with this server's clock.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let mut tried = false;
    for key in keys.iter().filter(|key| may_sign(key, signed)) {
        let Ok(key) = DecodingKey::from_jwk(key) else { continue };
        tried = true;
        if let Ok(found) = jsonwebtoken::decode::<Claims>(token, &key, &validation) {
            return Ok(Some(found.claims));
        }
    }
    match signed.key {
        Some(_) if tried => Err(untrusted("the ID token's signature is wrong")),
        _ => Ok(None),
    }
}

/// Whether a key may have signed a token that says this of itself.
fn may_sign(key: &Jwk, signed: &Signed) -> bool {
    let common = &key.common;
    let is_named = match (&signed.key, &common.key_id) {
        (Some(wanted), Some(id)) => wanted == id,
        (Some(_), None) => false,
        (None, _) => true,
    };
    let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let fits = match (&key.algorithm, signed.by) {
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        (AlgorithmParameters::RSA(_), by) => {
            !matches!(by, Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA)
        }
        _ => false,
    };
    is_named && signs && fits
}

/// Looks at what a verified token says.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(
    claims: &Claims,
    issuer: &str,
    client: &str,
    nonce: &str,
    now: Timestamp,
) -> Result<(), OidcError> {
    if text(claims, "iss") != Some(issuer) {
        return Err(untrusted("the ID token is another provider's (iss)"));
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !audience.contains(&client) {
        return Err(untrusted("the ID token is for another program (aud)"));
    }
    let party = text(claims, "azp");
    if party.is_some_and(|party| party != client) || (audience.len() > 1 && party.is_none()) {
        return Err(untrusted("the ID token was given to another program (azp)"));
    }
    if text(claims, "nonce") != Some(nonce) {
        return Err(untrusted("the ID token belongs to another sign-in (nonce)"));
    }
    let expires = time(claims, "exp")
        .ok_or_else(|| untrusted("the ID token does not say how long it is good (exp)"))?;
    let ago = now.duration_since(expires);
    if ago > SKEW {
        return Err(untrusted(format!(
            "the ID token ended {} s ago (exp); are the clocks of this server and the provider right?",
            ago.as_secs()
        )));
    }
    let issued =
        time(claims, "iat").ok_or_else(|| untrusted("the ID token does not say when it was made (iat)"))?;
    for from in [Some(issued), time(claims, "nbf")].into_iter().flatten() {
        let ahead = from.duration_since(now);
        if ahead > SKEW {
            return Err(untrusted(format!(
                "the ID token is from {} s in the future; are the clocks of this server and the provider right?",
                ahead.as_secs()
            )));
        }
    }
    Ok(())
}

/// A point in time in seconds since 1970, whole or not.
fn time(claims: &Claims, claim: &str) -> Option<Timestamp> {
    let number = claims.get(claim)?;
    let seconds = match number.as_i64() {
        Some(seconds) => seconds,
        #[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates")]
        None => number.as_f64().filter(|seconds| seconds.is_finite())?.floor() as i64,
    };
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::start;

    fn good() -> Claims {
        let now = start().as_second();
        let claims = json!({"iss": "https://i.example", "aud": "us", "nonce": "n", "sub": "7", "iat": now, "exp": now + 300});
        claims.as_object().unwrap().clone()
    }

    fn with(claim: &str, value: Value) -> Result<(), OidcError> {
        let mut claims = good();
        claims.insert(claim.to_owned(), value);
        check(&claims, "https://i.example", "us", "n", start())
    }

    #[test]
    fn a_token_is_believed_only_as_a_whole() {
        let now = start().as_second();
        assert_eq!(with("aud", json!("us")), Ok(()));
        assert_eq!(with("aud", json!(["us"])), Ok(()));
        assert_eq!(with("exp", json!(now - 59)), Ok(()), "within what clocks may differ");
        assert_eq!(with("iat", json!(now + 59)), Ok(()));
        assert_eq!(with("exp", json!(1.8e9)), Ok(()), "a number with a point");
        for (claim, value, word) in [
            ("iss", json!("https://i.example/"), "iss"),
            ("aud", json!("them"), "aud"),
            ("aud", json!(["us", "them"]), "azp"),
            ("aud", json!(7), "aud"),
            ("azp", json!("them"), "azp"),
            ("nonce", json!("m"), "nonce"),
            ("nonce", json!(null), "nonce"),
            ("exp", json!(now - 61), "ended 61 s ago"),
            ("exp", json!("soon"), "exp"),
            ("exp", json!(1e300), "exp"),
            ("iat", json!(now + 3_600), "future"),
            ("iat", json!(null), "iat"),
            ("nbf", json!(now + 3_600), "future"),
        ] {
            let refused = with(claim, value.clone()).expect_err(claim).to_string();
            assert!(refused.contains(word), "{claim} {value}: {refused}");
        }
    }

    #[test]
    fn a_token_without_a_signature_of_the_provider_s_own_is_none() {
        let of = |header: &str| format!("{}.e30.", URL_SAFE_NO_PAD.encode(header));
        for wrong in
            [r#"{"alg":"none"}"#, r#"{"alg":"HS256"}"#, r#"{"alg":"None"}"#, r#"{"kid":"k"}"#, "x", ""]
        {
            assert!(header(&of(wrong)).is_err(), "{wrong}");
        }
        assert!(header(&of(r#"{"alg":"ES256","kid":"k"}"#)).is_ok());
        assert!(header(&"x".repeat(LONGEST + 1)).is_err());
    }
}
