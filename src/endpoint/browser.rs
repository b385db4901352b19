//! The way in for browsers: WebTransport over HTTP/3, on the same UDP port as QUIC, told apart by ALPN.
//!
//! Its first bidirectional stream is the control protocol, further ones are bulk transfers, and its datagrams carry the same STAMP packets as everybody's, so a browser
//! is measured by the same machine, with stamps that say that the program took them. Each session has a reflector of its own, which runs on
//! the session's task ([`crate::net::inline`]), as those over a WebSocket have.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use web_transport_quinn::{Request, Session, http::StatusCode};

use super::session;
use super::session::{Beside, Broken, Shared};
use crate::net::clock::Clock;
use crate::net::datagrams;
use crate::net::link::{Link, LinkError};
use crate::net::short_lived::ForBrowsers;

/// The path that a page connects to.
pub const PATH: &str = "/media";

/// How long HTTP/3 may take after QUIC, and the page's control stream after HTTP/3.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// How often the certificate's age is looked at.
const LOOK: Duration = Duration::from_secs(3_600);

/// Serves one browser, whose handshake is over once `whole` comes.
pub(super) async fn serve(
    connection: quinn::Connection,
    whole: quinn::ZeroRttAccepted,
    shared: &Shared,
) -> Result<(), Broken> {
    let peer = connection.remote_address();
    let late = async {
        whole.await;
        tokio::time::sleep(HANDSHAKE).await;
    };
    let session = tokio::select! {
        greeted = greet(connection) => greeted?,
        () = late => return Err(Broken::Silent),
    };
    let opened = tokio::time::timeout(HANDSHAKE, session.accept_bi()).await.map_err(|_| Broken::Silent)?;
    let (send, receive) = opened.map_err(broken)?;
    let mut link = Link::web_transport(send, receive);
    let hello = session::read_hello(&mut link).await?;
    let (reflector, far) = session::reflector(peer, shared)?;
    tokio::select! {
        served = session::serve_alone(&mut link, hello, &reflector, peer, shared, Beside::Page(&session)) => served,
        () = datagrams::carry_session(&session, far) => Ok(()),
    }
}

/// Answers the page's request for a session.
async fn greet(connection: quinn::Connection) -> Result<Session, Broken> {
    let request = Request::accept(connection).await.map_err(broken)?;
    if request.url.path() != PATH {
        request.reject(StatusCode::NOT_FOUND).await.map_err(broken)?;
        return Err(LinkError::Broken("a request for another path".to_owned()).into());
    }
    Ok(request.ok().await.map_err(broken)?)
}

fn broken(error: impl std::fmt::Display) -> LinkError {
    LinkError::Broken(error.to_string())
}

/// Renews the certificate that browsers are shown until stopped.
pub(super) async fn renew(shown: Arc<ForBrowsers>, clock: Clock, stop: CancellationToken) {
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => match shown.renew(clock.wall()) {
                Ok(true) => tracing::info!(hash = %shown.hash(), "new certificate for browsers"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "no new certificate for browsers; the one before ends soon"),
            },
        }
    }
}
