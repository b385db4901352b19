//! One sign-in that is under way, as the browser that began it keeps it.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use subtle::ConstantTimeEq as _;

use crate::auth::secret::Secret;

/// How long somebody may take at the provider, in seconds.
const LASTS_S: u32 = 600;

/// A sign-in that is under way. All that proves it follows from one secret.
#[derive(Clone)]
pub struct Attempt {
    secret: String,
    /// Where to go on afterwards.
    pub next: String,
}

impl Attempt {
    /// Begins one.
    pub fn begin(next: &str) -> Self {
        Self { secret: Secret::mint().reveal().to_owned(), next: next.to_owned() }
    }

    /// The one that the browser keeps, if it keeps one.
    pub fn from_cookie(headers: &HeaderMap, secure: bool) -> Option<Self> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut found = pairs.filter(|(key, _)| *key == name(secure)).map(|(_, value)| value);
        let value = found.next()?;
        // Of two, somebody planted one.
        if found.next().is_some() {
            return None;
        }
        let (secret, next) = value.split_once('.')?;
        let next = String::from_utf8(URL_SAFE_NO_PAD.decode(next).ok()?).ok()?;
        (secret.len() == 43).then(|| Self { secret: secret.to_owned(), next })
    }

    /// The header that has the browser keep it.
    pub fn cookie(&self, secure: bool) -> HeaderValue {
        let value = format!("{}.{}", self.secret, URL_SAFE_NO_PAD.encode(&self.next));
        line(&value, LASTS_S, secure)
    }

    /// The header that has the browser forget it.
    pub fn forget(secure: bool) -> HeaderValue {
        line("", 0, secure)
    }

    /// What comes back with the answer.
    pub fn state(&self) -> String {
        self.derive("state")
    }

    /// Whether an answer is this sign-in's.
    pub fn is_answered_by(&self, state: &str) -> bool {
        bool::from(self.state().as_bytes().ct_eq(state.as_bytes()))
    }

    /// What stands in the ID token.
    pub fn nonce(&self) -> String {
        self.derive("nonce")
    }

    /// What the code is good with alone (RFC 7636).
    pub fn verifier(&self) -> String {
        self.derive("verifier")
    }

    /// What the provider is told of that before.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.verifier().as_bytes()))
    }

    fn derive(&self, purpose: &str) -> String {
        let text = format!("greenroom oidc {purpose}\n{}", self.secret);
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
    }
}

fn name(secure: bool) -> &'static str {
    if secure { "__Host-greenroom-oidc" } else { "greenroom-oidc" }
}

fn line(value: &str, max_age: u32, secure: bool) -> HeaderValue {
    let more = if secure { "; Secure" } else { "" };
    // `Lax`: the provider sends the browser back from another site.
    let line = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{more}", name(secure));
    HeaderValue::try_from(line).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_from_its_cookie_and_proves_itself() {
        let attempt = Attempt::begin("/reports?q=ä");
        let line = attempt.cookie(true);
        let pair = line.to_str().unwrap().split(';').next().unwrap().to_owned();
        let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::try_from(pair.clone()).unwrap())]);
        let back = Attempt::from_cookie(&headers, true).unwrap();
        assert_eq!(back.next, "/reports?q=ä");
        assert!(back.is_answered_by(&attempt.state()));
        assert!(!back.is_answered_by(&Attempt::begin("/").state()) && !back.is_answered_by(""));
        let all = [attempt.state(), attempt.nonce(), attempt.verifier(), attempt.challenge()];
        assert!(all.iter().all(|one| one.len() == 43 && !line.to_str().unwrap().contains(one.as_str())));
        assert!(Attempt::from_cookie(&headers, false).is_none(), "the other name is not read");
        let two = HeaderMap::from_iter([(
            header::COOKIE,
            HeaderValue::try_from(format!("{pair}; {pair}")).unwrap(),
        )]);
        assert!(Attempt::from_cookie(&two, true).is_none());
    }
}
