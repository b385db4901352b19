//! The way that is left to a page where UDP gets nowhere: a WebSocket on the port that the page itself came from (RFC 6455 §4.2.2).
//!
//! Who may come is said twice: the page's origin here, its run grant by the endpoint that takes the stream.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncRead, AsyncWrite};

use super::embed;
use crate::app::AppState;
use crate::pages;
use crate::problem::Problem;

/// What RFC 6455 §1.3 puts behind a client's key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How long the connection may take to become a stream once that was answered.
const SWITCH: Duration = Duration::from_secs(5);

/// A stream both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Takes a stream that has become a WebSocket, server's side, and where it is from.
#[derive(Clone)]
pub struct Fallback(Arc<dyn Fn(Box<dyn Duplex>, SocketAddr) + Send + Sync>);

impl Fallback {
    /// One that hands streams on. It must not block.
    pub fn new(take: impl Fn(Box<dyn Duplex>, SocketAddr) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fallback(..)")
    }
}

/// `GET /check/media`.
pub(super) async fn open(State(state): State<AppState>, mut request: Request) -> Response {
    let Some(fallback) = state.media.as_ref().and_then(|media| media.fallback.clone()) else {
        return pages::not_found();
    };
    let headers = request.headers();
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    if !origin.is_some_and(|origin| embed::may_use(&state, headers, origin)) {
        return Problem::foreign_site("only pages that this server's operator named may measure here")
            .into_response();
    }
    let Some(accept) = accepted(headers) else {
        return Problem::bad_request("this is where a WebSocket begins (RFC 6455, version 13)")
            .into_response();
    };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    let peer = peer.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Problem::bad_request("this connection cannot become a WebSocket").into_response();
    };
    tokio::spawn(async move {
        match tokio::time::timeout(SWITCH, upgrade).await {
            Ok(Ok(stream)) => (fallback.0)(Box::new(TokioIo::new(stream)), peer),
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no WebSocket"),
            Err(_) => tracing::debug!(%peer, "no WebSocket in time"),
        }
    });
    let set = [
        (CONNECTION, "upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, set, Body::empty()).into_response()
}

/// What answers a handshake, if it is one.
fn accepted(headers: &HeaderMap) -> Option<String> {
    let has = |name: HeaderName, wanted: &str| {
        let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY)?.as_bytes();
    let is_one = has(CONNECTION, "upgrade") && has(UPGRADE, "websocket") && has(SEC_WEBSOCKET_VERSION, "13");
    (is_one && STANDARD.decode(key).is_ok_and(|key| key.len() == 16)).then(|| {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
        STANDARD.encode(hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    #[test]
    fn a_handshake_is_answered_and_nothing_else() {
        let headers = |key: &str, version: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, "keep-alive, Upgrade".parse().unwrap());
            headers.insert(UPGRADE, "websocket".parse().unwrap());
            headers.insert(SEC_WEBSOCKET_VERSION, version.parse().unwrap());
            headers.insert(SEC_WEBSOCKET_KEY, key.parse().unwrap());
            headers
        };
        let good = headers("dGhlIHNhbXBsZSBub25jZQ==", "13");
        assert_eq!(accepted(&good).as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for wrong in [headers("dGhlIHNhbXBsZSBub25jZQ==", "8"), headers("short", "13"), HeaderMap::new()] {
            assert_eq!(accepted(&wrong), None);
        }
    }
}
