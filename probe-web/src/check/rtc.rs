//! How a page comes to the media endpoint by WebRTC: its offer is posted here, the answer is what it connects by, and the session can be
//! deleted, as WHIP has it (RFC 9725 sections 4.2 and 4.3). Media goes to the endpoint's own port, not through here.
//!
//! Who may come is said twice, as for the WebSocket: the page's origin here, its run grant by the endpoint.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;

use super::embed;
use crate::app::AppState;
use crate::ingest::body;
use crate::pages;
use crate::problem::Problem;

const SDP: &str = "application/sdp";

/// A page's offer.
#[derive(Clone, PartialEq, Eq)]
pub struct Offer {
    /// The session description.
    pub sdp: String,
    /// The run grant for the media endpoint.
    pub grant: String,
}

/// What is told to a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The session description.
    pub sdp: String,
    /// What the session is ended by: letters and digits.
    pub id: String,
}

/// Why an offer is not answered, in words for whoever looks after the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// The grant is not good.
    Grant(String),
    /// There is no room at the moment.
    Busy(String),
    /// The offer cannot be answered.
    Offer(String),
}

type Answering = dyn Fn(Offer) -> BoxFuture<'static, Result<Answer, Unanswered>> + Send + Sync;

/// Takes offers, and ends what came of them.
#[derive(Clone)]
pub struct WebRtc {
    answer: Arc<Answering>,
    end: Arc<dyn Fn(&str) + Send + Sync>,
}

impl WebRtc {
    /// One that hands offers on, and names of sessions that are to end.
    pub fn new(
        answer: impl Fn(Offer) -> BoxFuture<'static, Result<Answer, Unanswered>> + Send + Sync + 'static,
        end: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self { answer: Arc::new(answer), end: Arc::new(end) }
    }
}

impl fmt::Debug for WebRtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebRtc(..)")
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("sdp", &self.sdp).finish_non_exhaustive()
    }
}

/// `POST /check/rtc`: 201 with the answer, and where the session is.
pub(super) async fn offer(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Response {
    let Some(web_rtc) = web_rtc(&state) else { return pages::not_found() };
    match answered(&state, &web_rtc, &headers, body).await {
        Ok(answer) => {
            // Relative: a proxy may have this server below a path of its own.
            let set = [(CONTENT_TYPE, SDP.to_owned()), (LOCATION, format!("rtc/{}", answer.id))];
            (StatusCode::CREATED, set, answer.sdp).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// `DELETE /check/rtc/…`: whoever knows a session's name has it ended. Of one that has ended by itself the answer is the same: afterwards it
/// is over.
pub(super) async fn end(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    let Some(web_rtc) = web_rtc(&state) else { return pages::not_found() };
    (web_rtc.end)(&id);
    StatusCode::NO_CONTENT.into_response()
}

fn web_rtc(state: &AppState) -> Option<WebRtc> {
    state.media.as_ref().and_then(|media| media.web_rtc.clone())
}

async fn answered(
    state: &AppState,
    web_rtc: &WebRtc,
    headers: &HeaderMap,
    body: Body,
) -> Result<Answer, Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !embed::may_use(state, headers, text(ORIGIN)) {
        return Err(Problem::foreign_site("only pages that this server's operator named may measure here"));
    }
    let kind = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(SDP) {
        return Err(Problem::unsupported("send the offer as Content-Type: application/sdp"));
    }
    let (scheme, grant) = text(AUTHORIZATION).split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") || grant.trim().is_empty() {
        return Err(Problem::unauthorized("send the session's grant: Authorization: Bearer GRANT"));
    }
    let grant = grant.trim().to_owned();
    let sdp = body::whole(body).await?;
    let sdp =
        String::from_utf8(sdp.to_vec()).map_err(|_| Problem::bad_request("an offer is text in UTF-8"))?;
    (web_rtc.answer)(Offer { sdp, grant }).await.map_err(|unanswered| match unanswered {
        Unanswered::Grant(why) => Problem::unauthorized(why),
        Unanswered::Busy(why) => Problem::unavailable(why),
        Unanswered::Offer(why) => Problem::bad_request(why),
    })
}
