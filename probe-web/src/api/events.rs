//! Reports as they come, as server-sent events.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::reader::Reader;
use super::refusals::NoReader;
use super::reports::Header;
use crate::app::AppState;
use crate::problem::Problem;
use crate::store::{Summary, Tenant};

/// News that a slow listener may be behind by, all tenants together, before it misses some.
const BEHIND: usize = 256;

/// Listeners at once.
const MOST_LISTENERS: usize = 4_000;

/// How long a listener stays: then it comes again by itself, and is let in or not as things are then.
const STAYS: Duration = Duration::from_secs(15 * 60);

/// How often a line that says nothing shows that both are there.
const ALIVE_EVERY: Duration = Duration::from_secs(20);

/// How soon a listener that was cut off comes again.
const COME_AGAIN: Duration = Duration::from_secs(3);

/// A report that came in, and whose it is.
type Item = Arc<(Tenant, Summary)>;

/// What came in.
#[derive(Debug, Clone)]
pub struct News {
    here: broadcast::Sender<Item>,
    /// Where other nodes are told.
    others: Arc<OnceLock<mpsc::Sender<Item>>>,
}

impl News {
    /// With no listener yet.
    pub fn new() -> Self {
        Self { here: broadcast::Sender::new(BEHIND), others: Arc::default() }
    }

    /// Whether anybody listens, here or at another node.
    pub fn is_heard(&self) -> bool {
        self.here.receiver_count() > 0 || self.others.get().is_some()
    }

    /// Tells of a report that is durable now.
    pub fn tell(&self, tenant: Tenant, summary: Summary) {
        let one = Arc::new((tenant, summary));
        if let Some(others) = self.others.get() {
            // Where they are not heard in time, they are seen at the next look.
            let _ = others.try_send(Arc::clone(&one));
        }
        // Nobody has to listen.
        let _ = self.here.send(one);
    }

    /// Another node told of a report.
    #[cfg(feature = "nats")]
    pub(crate) fn heard_of(&self, tenant: Tenant, summary: Summary) {
        let _ = self.here.send(Arc::new((tenant, summary)));
    }

    /// Has other nodes be told, too.
    #[cfg(feature = "nats")]
    pub(crate) fn also_to(&self, others: mpsc::Sender<Arc<(Tenant, Summary)>>) {
        // There is one bus.
        let _ = self.others.set(others);
    }
}

impl Default for News {
    fn default() -> Self {
        Self::new()
    }
}

/// Room for listeners.
#[derive(Debug, Clone)]
pub struct Listeners(Arc<Semaphore>);

impl Default for Listeners {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_LISTENERS)))
    }
}

/// Reports as they come.
///
/// `text/event-stream`. Each event `report` has a report's header as data; an event `missed` says how many were not told because the
/// listener was too slow. The stream ends after a quarter of an hour; browsers come again by themselves.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "reports",
    security(("read_key" = []), ("session" = [])),
    responses(
        (status = 200, description = "Events `report` with a header each, and `missed`", body = String, content_type = "text/event-stream"),
        (status = 503, description = "Too many listen, or the store does not answer", body = Problem, content_type = "application/problem+json"),
        NoReader,
    )
)]
pub(super) async fn listen(State(state): State<AppState>, reader: Reader) -> Result<Response, Problem> {
    let room = Arc::clone(&state.listeners.0).try_acquire_owned();
    let room = room.map_err(|_| Problem::unavailable("too many programs and pages listen already"))?;
    reader.audit(&state, "report.follow", String::new()).await?;
    let ends = state.stop.clone();
    let heard = heard(state.news.here.subscribe(), reader, room)
        .take_until(async move { ends.cancelled().await })
        .take_until(tokio::time::sleep(STAYS));
    let hello = stream::once(async { Ok(Event::default().retry(COME_AGAIN).comment("listening")) });
    let alive = KeepAlive::new().interval(ALIVE_EVERY);
    Ok(Sse::new(hello.chain(heard)).keep_alive(alive).into_response())
}

/// What this reader may hear of the news.
fn heard(
    news: broadcast::Receiver<Arc<(Tenant, Summary)>>,
    reader: Reader,
    room: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((news, reader, room), |(mut news, reader, room)| async move {
        loop {
            let event = match news.recv().await {
                Ok(one) if one.0 != reader.tenant => continue,
                Ok(one) => report(&reader, &one.1),
                Err(RecvError::Lagged(n)) => Some(Event::default().event("missed").data(n.to_string())),
                Err(RecvError::Closed) => return None,
            };
            if let Some(event) = event {
                return Some((Ok(event), (news, reader, room)));
            }
        }
    })
}

fn report(reader: &Reader, summary: &Summary) -> Option<Event> {
    let header = Header::from(reader.sees(summary.clone()));
    Event::default().event("report").id(summary.id.to_string()).json_data(header).ok()
}
