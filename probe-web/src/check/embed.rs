//! Pages of other sites that may use the check: those whose origins the operator named, and nobody else (CORS, Fetch standard §3.2).

use std::fmt;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::app::AppState;
use crate::problem::Problem;

/// Most octets of an origin: a host has at most 253.
const LONGEST: usize = 300;

/// What a page of another site may ask for, besides the files below `/check/`.
const SHARED: [&str; 3] = ["/api/v1/session", "/api/v1/runs", "/api/v1/runs/look"];
/// Where the report of a call goes. It may be sent there; what else is asked for there is not for other sites.
const REPORTS: &str = "/api/v1/reports";
const FILES: &str = "/check/";

/// An origin as browsers send it: `https://app.example`, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedOrigin(String);

/// Why a text is no origin that may embed the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Everybody is not named in words.
    #[error("name each origin in words: everybody's pages could use this server otherwise")]
    Everybody,
    /// It is no origin.
    #[error("write https://HOST[:PORT], without a path; http:// only for localhost and 127.0.0.1")]
    Malformed,
}

impl EmbedOrigin {
    /// Reads one. In the clear only this computer's own: elsewhere a page over `http` gets no camera, and anybody on the way could be it.
    ///
    /// # Errors
    /// [`OriginError`] for everything else.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text.contains('*') || text == "null" {
            return Err(OriginError::Everybody);
        }
        let text = text.trim_end_matches('/').to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").ok_or(OriginError::Malformed)?;
        let (host, port) = split(authority).ok_or(OriginError::Malformed)?;
        let is_local =
            host == "localhost" || host == "127.0.0.1" || host == "[::1]" || host.ends_with(".localhost");
        if text.len() > LONGEST || !(scheme == "https" || scheme == "http" && is_local) {
            return Err(OriginError::Malformed);
        }
        // Browsers leave out the port that a scheme has anyway.
        let usual = if scheme == "https" { 443 } else { 80 };
        Ok(Self(match port.filter(|port| *port != usual) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }

    /// As browsers send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmbedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Host and port of what stands behind the scheme, if it is nothing else.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let after = authority.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match authority.get(after..)?.rsplit_once(':') {
        Some((rest, port)) => (authority.get(..after + rest.len())?, Some(port.parse().ok()?)),
        None => (authority, None),
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    let is_address = |inner: &str| {
        !inner.is_empty() && inner.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'))
    };
    let good = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => is_address(inner),
        None => is_name(host),
    };
    good.then_some((host, port))
}

/// Whether a page of this origin may use the check: one of this server's own, or of a site that the operator named.
pub(crate) fn may_use(state: &AppState, headers: &HeaderMap, origin: &str) -> bool {
    is_own(state, headers, origin) || is_named(state, origin)
}

fn is_named(state: &AppState, origin: &str) -> bool {
    state.embedders.iter().any(|named| named.as_str() == origin)
}

/// By the name that the request went to, or the one that the operator gave: a proxy may change the first.
fn is_own(state: &AppState, headers: &HeaderMap, origin: &str) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    origin == state.config.base_url || authority.is_some() && authority == host
}

/// Answers pages of other sites: those that are named may read, all others may not.
pub(crate) async fn cors(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_file = path.starts_with(FILES);
    if !is_file && !SHARED.contains(&path) && !sends_report(&request) {
        return next.run(request).await;
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let text = origin.as_ref().map(|origin| origin.to_str().unwrap_or_default().to_owned());
    let named = text.as_deref().is_some_and(|origin| is_named(&state, origin));
    let may = text.as_deref().is_none_or(|origin| named || is_own(&state, request.headers(), origin));
    let asks =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (asks, may) {
        (true, true) => StatusCode::NO_CONTENT.into_response(),
        (false, true) => next.run(request).await,
        // The files are open to whoever looks; that other sites' pages may not run them, browsers see to.
        (false, false) if is_file => next.run(request).await,
        (_, false) => {
            let named = "this server's operator did not name that site's origin: greenroom serve --embed-origin https://SITE";
            Problem::foreign_site(named).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_name(ORIGIN));
    if let Some(origin) = origin.filter(|_| named) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        );
        // Where a WebRTC session is.
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("location"));
        if asks {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
            headers.insert(
                ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("authorization, content-encoding, content-type"),
            );
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
    response
}

/// Whether a page hands a report in, or its browser asks whether it may. Programs that send one name no origin.
fn sends_report(request: &Request) -> bool {
    let asked = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD);
    let posts = request.method() == Method::POST;
    let asks = request.method() == Method::OPTIONS && asked.is_some_and(|method| method == "POST");
    request.uri().path() == REPORTS && (posts || asks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_named_in_words_and_kept_as_browsers_send_them() {
        for (text, kept) in [
            ("https://app.example", "https://app.example"),
            ("https://App.Example/", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("https://app.example:8443", "https://app.example:8443"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
        ] {
            assert_eq!(EmbedOrigin::parse(text).map(|origin| origin.0), Ok(kept.to_owned()), "{text}");
        }
        for text in ["*", "https://*.example", "null"] {
            assert_eq!(EmbedOrigin::parse(text), Err(OriginError::Everybody), "{text}");
        }
        for text in [
            "",
            "app.example",
            "http://app.example",
            "ftp://app.example",
            "https://",
            "https://app.example/path",
            "https://app.example:x",
            "https://app.example:70000",
            "https://user@app.example",
            "https://a b",
            "https://[::1",
            "http://localhost.example",
        ] {
            assert_eq!(EmbedOrigin::parse(text), Err(OriginError::Malformed), "{text}");
        }
    }
}
