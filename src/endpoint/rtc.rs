//! The way in for browsers by WebRTC, over a UDP port of its own: for those that know no WebTransport, and where QUIC is blocked.
//!
//! Signaling is what WHIP does (RFC 9725): an offer comes with the run grant, by HTTP, which somebody else speaks; the answer names a session,
//! which can be ended by that name. The session's control channel is the control protocol, whose hello uses the grant up, and its datagrams
//! are the same STAMP packets as everybody's. So a browser is measured by the same machine, with stamps that say that the program took them.
//! Sound and picture that it sends are counted and sent back, within the rates that its session was admitted for.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::digest;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::session::{self, Beside, Broken, Shared};
use super::{Config, StartError, random_bytes};
use crate::address::Token;
use crate::net::clock::Clock;
use crate::net::link::{Link, LinkError};
use crate::net::peers::{Door, OfferError, Peer};
use crate::net::udp::UdpOptions;
use crate::proto::admission::Refusal;

/// How long a browser may take from the answer until its channels stand.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Takes offers of browsers.
#[derive(Clone)]
pub struct WebRtc(Arc<Inner>);

struct Inner {
    door: Door,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Sessions that are not over, admitted or not, at once.
    most: usize,
    /// Sessions that are not over, by the name that the browser was told.
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    /// SHA-256 of the token that it came with.
    token: Option<[u8; 32]>,
    stop: CancellationToken,
}

/// An answer to an offer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The session description.
    pub sdp: String,
    /// What the session is ended by.
    pub id: String,
}

/// Why an offer is not answered.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Its token is not good, or there is no room.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A session came with this token, and is not over.
    #[error("this grant has a session already; each is good for one run")]
    Again,
    /// Too many sessions are not over.
    #[error("too many sessions at once; try again in a minute")]
    Full,
    /// It cannot be read.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// What was made of it broke.
    #[error("this offer could not be dealt with")]
    Broke,
}

impl WebRtc {
    /// Has room for twice the sessions that the endpoint admits.
    pub(super) fn new(
        door: Door,
        shared: Arc<Shared>,
        max_sessions: usize,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let most = max_sessions.saturating_mul(2);
        let inner = Arc::new(Inner { door, shared, stop, tasks, most, open: Mutex::default() });
        let (door, ends) = (inner.door.clone(), inner.stop.clone());
        inner.tasks.spawn(async move {
            tokio::select! {
                () = ends.cancelled() => {}
                received = door.receive() => if let Err(error) = received {
                    tracing::error!(%error, "the WebRTC port broke; browsers come by other ways");
                },
            }
        });
        Self(inner)
    }

    /// The addresses that browsers are told, the best first.
    pub fn candidates(&self) -> &[SocketAddr] {
        self.0.door.candidates()
    }

    /// Sessions that are not over, admitted or not.
    pub fn sessions(&self) -> usize {
        self.0.open().len()
    }

    /// Answers an offer of whoever shows a token that is good, and waits for them behind the caller. Admission is that of every session; the
    /// token stays good until the session's hello.
    ///
    /// # Errors
    ///
    /// [`Unanswered`], in words that can be shown.
    pub async fn answer(&self, offer: String, token: Option<Token>) -> Result<Answer, Unanswered> {
        self.0.shared.look(token.as_ref())?;
        let id = hex(&random_bytes::<16>().map_err(|_| Unanswered::Broke)?);
        let stop = self.0.stop.child_token();
        let place = self.take_place(id.clone(), token.as_ref(), stop.clone())?;
        let door = self.0.door.clone();
        // What strangers write is read apart: the library that does it was seen to panic.
        let answered = tokio::task::spawn_blocking(move || door.answer(&offer)).await;
        let (sdp, peer) = answered.map_err(|_| Unanswered::Broke)??;
        let shared = Arc::clone(&self.0.shared);
        self.0.tasks.spawn(async move {
            let _place = place;
            tokio::select! {
                () = stop.cancelled() => {}
                served = serve(peer, &shared) => if let Err(error) = served {
                    tracing::debug!(%error, "a WebRTC session broke");
                },
            }
        });
        Ok(Answer { sdp, id })
    }

    /// Ends a session; whether there was one of this name.
    pub fn end(&self, id: &str) -> bool {
        let found = self.0.open().get(id).map(|open| open.stop.clone());
        found.is_some_and(|stop| {
            stop.cancel();
            true
        })
    }

    fn take_place(
        &self,
        id: String,
        token: Option<&Token>,
        stop: CancellationToken,
    ) -> Result<Place, Unanswered> {
        let token = token.map(|token| {
            let mut bytes = [0; 32];
            bytes.copy_from_slice(digest::digest(&digest::SHA256, token.expose().as_bytes()).as_ref());
            bytes
        });
        let mut open = self.0.open();
        if open.len() >= self.0.most {
            return Err(Unanswered::Full);
        }
        if token.is_some() && open.values().any(|other| other.token == token) {
            return Err(Unanswered::Again);
        }
        open.insert(id.clone(), Open { token, stop });
        Ok(Place { id, inner: Arc::clone(&self.0) })
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds a place among the sessions.
struct Place {
    id: String,
    inner: Arc<Inner>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.open().remove(&self.id);
    }
}

/// Serves one browser, from its first packet on.
async fn serve(mut peer: Peer, shared: &Shared) -> Result<(), Broken> {
    let opened = tokio::time::timeout(HANDSHAKE, peer.open()).await.map_err(|_| Broken::Silent)?;
    let at = opened.map_err(|error| LinkError::Broken(error.to_string()))?;
    let (reflector, far) = session::reflector(at, shared)?;
    let echo = peer.echo().clone();
    let mut link = Link::web_rtc(peer, far);
    let hello = session::read_hello(&mut link).await?;
    session::serve_alone(&mut link, hello, &reflector, at, shared, Beside::Media(&echo)).await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The door of an endpoint where it is to have one: on the first of its addresses, the third port of its block.
pub(super) fn open(config: &Config, clock: Clock) -> Result<Option<Door>, StartError> {
    let Some(ip) = config.listen.first().filter(|_| config.web_rtc) else { return Ok(None) };
    let port = if config.port == 0 { 0 } else { config.port.saturating_add(2) };
    let options = UdpOptions::new(SocketAddr::new(*ip, port));
    Ok(Some(Door::open(&options, config.external_ip, clock)?))
}

#[cfg(test)]
mod tests;
