//! The session's cookie.
//!
//! Over HTTPS it is `__Host-greenroom`: the prefix makes a browser refuse it unless it is `Secure`, for `/` and for this host alone,
//! so that a neighboring host cannot plant one. Over plain HTTP no browser takes a `__Host-` cookie for sure (Safari wants HTTPS even
//! on loopback), so there it is `greenroom`, without `Secure`. Which of the two a server uses follows from how it is reached, and it
//! never reads the other. Cookies do not tell ports apart: on plain loopback, what else runs on this computer could read it.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use jiff::SignedDuration;

use super::secret::Secret;

/// How long somebody stays signed in.
pub const LASTS: SignedDuration = SignedDuration::from_hours(12);

/// Name of the cookie.
pub const fn name(secure: bool) -> &'static str {
    if secure { "__Host-greenroom" } else { "greenroom" }
}

/// The header that sets it.
pub fn set(session: &Secret, secure: bool) -> HeaderValue {
    line(session.reveal(), LASTS.as_secs(), secure)
}

/// The header that takes it away.
pub fn clear(secure: bool) -> HeaderValue {
    line("", 0, secure)
}

/// What the browser sent. `None` when there is none, or more than one: then somebody planted one.
pub fn get(headers: &HeaderMap, secure: bool) -> Option<&str> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name(secure))
        .map(|(_, value)| value);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

fn line(value: &str, max_age: i64, secure: bool) -> HeaderValue {
    let (name, more) = (name(secure), if secure { "; Secure" } else { "" });
    let line = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{more}");
    // Secrets are base64url.
    HeaderValue::try_from(line).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_comes_back_from_among_others() {
        let secret = Secret::mint();
        let headers = |lines: &[String]| {
            lines.iter().map(|line| (COOKIE, HeaderValue::try_from(line).unwrap())).collect::<HeaderMap>()
        };
        let good = format!("a=b; greenroom={}; c=d", secret.reveal());
        assert_eq!(get(&headers(std::slice::from_ref(&good)), false), Some(secret.reveal()));
        assert_eq!(get(&headers(std::slice::from_ref(&good)), true), None, "the other name is not read");
        assert_eq!(get(&headers(&[good, "greenroom=x".into()]), false), None, "two");
        assert_eq!(get(&headers(&["xgreenroom=1".into()]), false), None);
    }

    #[test]
    fn over_https_it_has_the_prefix_and_what_that_asks_for() {
        let line = set(&Secret::mint(), true);
        let line = line.to_str().unwrap();
        assert!(line.starts_with("__Host-greenroom="));
        for part in ["; Path=/;", "; HttpOnly;", "; SameSite=Lax;", "; Secure"] {
            assert!(line.contains(part), "{part}");
        }
        assert!(!line.contains("Domain"));
        assert!(!set(&Secret::mint(), false).to_str().unwrap().contains("Secure"));
    }
}
