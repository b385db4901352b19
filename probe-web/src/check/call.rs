//! The report of a call that a page watched (`monitor.js`): finished when it comes, since what the browser counted is all there is of it.
//!
//! A page has no key. The grant of a session lets one report in, as it lets one result of a check in, and nothing but a call's: it names no
//! site, nobody, and no endpoint of the fleet's.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use greenroom_reports::schema::{AgentRef, Kind, Report, Source};
use jiff::Timestamp;

use super::Grants;
use super::grant::ForResult;
use crate::problem::Problem;

/// What a call stands for where endpoints stand.
const CALL: &str = "webrtc:call";
/// Fewest characters of a grant: more than a key, a check link's token or an agent's bearer has, of which none is looked at here.
const SHORTEST: usize = 128;

/// The grant that a request shows, if it shows one that is good. Keys and the tokens of check links and agents are none.
pub(crate) fn grant(grants: &Grants, headers: &HeaderMap, now: Timestamp) -> Option<ForResult> {
    let (scheme, shown) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let shown = shown.trim();
    let is_one = scheme.eq_ignore_ascii_case("bearer") && shown.len() >= SHORTEST;
    is_one.then(|| grants.read_result(shown, now))?
}

/// Whether it is a report that a page may send.
///
/// # Errors
/// 422, naming the field that says otherwise.
pub(crate) fn look(report: &Report) -> Result<(), Problem> {
    let refuse = |pointer: &str, words: &str| Err(Problem::field(pointer, words));
    if report.kind != Kind::Monitor {
        return refuse("/kind", "must be monitor: a session lets the report of a call in, and no other");
    }
    if report.tool.source != Source::Browser {
        return refuse("/tool/source", "must be browser");
    }
    if !report.labels.is_empty() {
        return refuse("/labels", "must be empty: a session says of nobody who they are; a check link does");
    }
    if report.agent != AgentRef::default() {
        return refuse("/agent", "must be empty: a page is no agent");
    }
    if report.targets.len() > 1 || report.targets.iter().any(|target| target.url != CALL) {
        return refuse("/targets", "must be one, with the url webrtc:call");
    }
    if report.trace.is_some() || !report.further_traces.is_empty() || !report.sketches.is_empty() {
        return refuse("/trace", "must be null, and sketches empty: a call has no samples of its own");
    }
    Ok(())
}
