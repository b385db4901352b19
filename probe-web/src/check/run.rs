//! `POST /api/v1/runs`: what a page measured becomes a report, is kept as any other, and the page is told what it says.
//!
//! Not `POST /api/v1/reports`, which takes finished reports from who has a key: a page has none and computes no score. It has the grant of
//! its session instead, which lets one result in.

use std::collections::BTreeSet;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use greenroom_reports::assess::{Equipment, Frame, Probed, Question, assemble, assess, with_devices};
use greenroom_reports::schema::{
    AgentRef, Environment, Judged, Kind, Mode, Report, Settings, Source, Tool, Use,
};
use greenroom_reports::trace::encoding;
use greenroom_reports::verdict::Profile;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::SemaphorePermit;

use super::grant::ForResult;
use super::load::RungRun;
use super::read::{NetworkRun, Run, Way};
use super::relays::RelaysRun;
use super::{application, assets, connection, devices, echo, machine, sound};
use crate::api::ReportBody;
use crate::api::refusals::{NotNow, NotPacked};
use crate::app::AppState;
use crate::auth::key::{self, Sender};
use crate::ingest::body;
use crate::ingest::read;
use crate::problem::Problem;
use crate::store::{CheckLink, Outcome};

/// Takes what the check page measured. 201 with the report that it makes, once that is durable.
#[utoipa::path(
    post, path = "/api/v1/runs", tag = "check",
    request_body(content = Object, content_type = "application/json", description = "The grant of the session, and raw samples"),
    responses(
        (status = 201, description = "The report", body = ReportBody),
        (status = 401, description = "The run has ended, or was sent before; or the check link is not good", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The check link is used up, or a page of a site that the operator did not name", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No run; `errors` names the field", body = Problem, content_type = "application/problem+json"),
        NotPacked, NotNow,
    )
)]
pub(crate) async fn take(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (link, packed) = (through(&state, &headers).await?, assets::takes_gzip(&headers));
    let Sent { run, grant, received, turn: _turn } = Sent::read(&state, &headers, body).await?;
    if !state.store.spend_grant(&grant.nonce, grant.until).await? {
        return Err(ended());
    }
    let made = apart(move || {
        let report = report(&run, &grant, received)?;
        let json = written(&report)?;
        let answer = answer(StatusCode::CREATED, &json, packed);
        // A link's report is its tenant's, whosever page it was opened on.
        let tenant = link.as_ref().map_or(grant.tenant, |link| link.tenant);
        let record = read::record(tenant, &report, json, received)?;
        let record = match &link {
            Some(link) => record.through(link),
            None => record,
        };
        Ok((record, answer))
    });
    let (record, answer) = made.await?;
    match state.writer.write(record).await? {
        Outcome::Accepted | Outcome::Duplicate => {}
        Outcome::NotAllowed => {
            return Err(Problem::used_up(
                "this link let in as many checks as it may; ask whoever sent it for a new one",
            ));
        }
    }
    Ok(answer)
}

/// What would come of a run as far as it is: a first verdict, while more is measured. Nothing is kept. The result itself has the same id
/// and code.
#[utoipa::path(
    post, path = "/api/v1/runs/look", tag = "check",
    request_body(content = Object, content_type = "application/json", description = "The grant of the session, and raw samples so far"),
    responses(
        (status = 200, description = "The report as it would be now", body = ReportBody),
        (status = 401, description = "The run has ended, or was looked at before", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A page of a site that the operator did not name", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No run; `errors` names the field", body = Problem, content_type = "application/problem+json"),
        NotPacked, NotNow,
    )
)]
pub(crate) async fn look(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Sent { run, grant, received, turn: _turn } = Sent::read(&state, &headers, body).await?;
    // Once, so that nobody has reports made for nothing. The result is let in all the same.
    if !state.store.spend_grant(&grant.for_a_look(), grant.until).await? {
        return Err(ended());
    }
    let packed = assets::takes_gzip(&headers);
    apart(move || Ok(answer(StatusCode::OK, &written(&report(&run, &grant, received)?)?, packed))).await
}

fn written(report: &Report) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(report).map_err(|_| Problem::unavailable("the report could not be written down"))
}

/// A report for its page, packed where that takes it so: down a narrow way a whole one takes its time.
fn answer(status: StatusCode, json: &[u8], packed: bool) -> Response {
    let kind = [(CONTENT_TYPE, "application/json"), (VARY, "accept-encoding")];
    let small = if packed { assets::gzip(json, Compression::default()) } else { Bytes::new() };
    match small.is_empty() {
        true => (status, kind, json.to_vec()).into_response(),
        false => (status, kind, [(CONTENT_ENCODING, "gzip")], small).into_response(),
    }
}

/// A run as it was sent, whose grant is good.
struct Sent<'a> {
    run: Run,
    grant: ForResult,
    received: Timestamp,
    /// Held until it is dealt with: so many at once are.
    turn: SemaphorePermit<'a>,
}

impl<'a> Sent<'a> {
    async fn read(state: &'a AppState, headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let packing = body::packing(headers)?;
        let body = body::whole(body).await?;
        let received = state.clock.now();
        let turn = state.reading.acquire().await;
        let turn = turn.map_err(|_| Problem::unavailable("the server is stopping"))?;
        let grants = state.grants.clone();
        let read = apart(move || {
            let json = body::unpack(packing, &body)?;
            let run = Run::read(&json)?;
            let grant = grants.read_result(&run.run, received).ok_or_else(ended)?;
            Ok((run, grant))
        });
        let (run, grant) = read.await?;
        Ok(Self { run, grant, received, turn })
    }
}

/// The check link that the page was opened by, if it was: its report is of the link's ticket.
async fn through(state: &AppState, headers: &HeaderMap) -> Result<Option<CheckLink>, Problem> {
    if !headers.contains_key(AUTHORIZATION) {
        return Ok(None);
    }
    match key::sender(&*state.store, headers, state.clock.now()).await? {
        Sender::Link(link) => Ok(Some(link)),
        Sender::Key(_) | Sender::Agent(_) => {
            Err(Problem::not_allowed("a page is opened by a check link, or by none"))
        }
    }
}

/// Does what would hold a worker up. What makes the reading panic is no run.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::invalid("the run cannot be read", Vec::new()))?
}

fn ended() -> Problem {
    Problem::unauthorized("this run has ended or was sent before; load the page again")
}

/// The endpoint's address as every other report has it.
fn endpoint_url(media: &str) -> String {
    if media.is_empty() {
        return String::new();
    }
    let host = media.split('/').nth(2).unwrap_or_default();
    format!("greenroom://{host}")
}

fn report(run: &Run, grant: &ForResult, received: Timestamp) -> Result<Report, Problem> {
    let url = &endpoint_url(&grant.media);
    let profile = Profile::default();
    let asked = asked(run);
    let kinds = run.devices.clone();
    let mode = Mode::Quick;
    let question = Question { profile: &profile, asked: &asked, mode, at_cap: true };
    let found = connection::of(run, url)?;
    let encoded = match found.as_ref().and_then(|(_, trace)| trace.as_ref()) {
        Some(trace) => {
            Some(encoding::encode(trace).map_err(|error| Problem::field("/network", error.to_string()))?)
        }
        None => None,
    };
    // Judged from what is kept, so that whoever computes it again finds the same.
    let kept = encoded.as_ref().map(encoding::decode).transpose();
    let kept = kept.map_err(|error| Problem::field("/network", error.to_string()))?;
    let relays = run.relays.as_ref().filter(|_| found.is_some());
    let relays = relays.map(RelaysRun::targets).unwrap_or_default();
    let media = echo::of(run, url);
    // Where no connection was looked at, good files are not to speak for it.
    let application = found.as_ref().and_then(|_| application::target(run.assets(), received));
    let beside = relays.iter().chain(&media).chain(&application).map(|meta| Probed { meta, trace: None });
    let probed: Vec<Probed<'_>> =
        found.iter().map(|(meta, _)| Probed { meta, trace: kept.as_ref() }).chain(beside).collect();
    let devices = devices::of(run);
    let machine = machine::of(run);
    let equipment = Equipment { devices: &devices, machine: &machine, asked: &kinds };
    let assessment = with_devices(assess(&probed, &question), equipment, &question);
    let bytes_used = echo::octets(run)
        + kept.as_ref().map_or(0, |trace| {
            let streams = trace.here.streams.iter();
            let octets =
                streams.flat_map(|log| log.tx.iter().map(|p| p.bytes).chain(log.rx.iter().map(|p| p.bytes)));
            // What filled the connection is known as far as it arrived.
            let filled: u64 = trace.capacity.iter().map(|interval| interval.received_bytes).sum();
            octets.map(u64::from).sum::<u64>() + filled
        });
    let told = connection_told(run).into_iter().chain(echo::told(run)).chain(machine::besides(run));
    let told = told.chain(run.microphone.as_ref().and_then(sound::told));
    let told = told.chain(run.relays.iter().flat_map(RelaysRun::told)).chain(application::told(run.assets()));
    let frame = Frame {
        id: grant.report_id(),
        kind: Kind::Check,
        parent: None,
        complete: !run.partial,
        started: began(received, run.duration_ms),
        duration_ms: run.duration_ms.max(0.0),
        bytes_used,
        labels: Default::default(),
        agent: AgentRef::default(),
        tool: Tool {
            name: "greenroom-check".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            source: Source::Browser,
        },
        environment: Environment {
            os: Some(run.browser.system.clone()).filter(|name| !name.is_empty()),
            arch: None,
            network: [("isolated_clock".to_owned(), json!(run.browser.isolated))].into_iter().collect(),
            surroundings: None,
        },
        settings: Settings {
            asked: [("uses".to_owned(), json!(asked))].into_iter().collect(),
            run: told.collect(),
            judged: Judged {
                uses: asked.iter().copied().collect(),
                devices: kinds.clone(),
                mode,
                at_cap: true,
            },
        },
        profile: profile.clone(),
        devices,
        traces: encoded.into_iter().map(|trace| (0, trace)).collect(),
    };
    Ok(assemble(frame, assessment))
}

/// The uses that the verdict speaks of: audio, and the video whose rate was sent.
fn asked(run: &Run) -> BTreeSet<Use> {
    let rung = match &run.network {
        NetworkRun::Measured(samples) => samples.rung.as_ref().filter(|rung| !rung.sent.is_empty()),
        NetworkRun::NotTested { .. } | NetworkRun::Failed { .. } => None,
    };
    rung.and_then(RungRun::use_).into_iter().chain([Use::Audio]).collect()
}

/// Why the connection was not tested, or not by the first way; and where the page's own thread stamped the packets, which other work of the
/// page can hold up.
fn connection_told(run: &Run) -> Vec<(String, serde_json::Value)> {
    let told = |name: &str, value| (name.to_owned(), value);
    match &run.network {
        NetworkRun::NotTested { reason } => vec![told("connection_not_tested", json!(reason))],
        NetworkRun::Failed { .. } => Vec::new(),
        NetworkRun::Measured(samples) => {
            let name = match samples.way() {
                Way::WebRtc => "connection_over_webrtc",
                Way::WebSocket | Way::WebTransport => "connection_over_tcp",
                Way::TurnUdp | Way::TurnTcp | Way::TurnTls => "connection_over_relay",
            };
            let instead = samples.instead.map(|why| told(name, json!(why)));
            let stamped = samples.on_page.then(|| told("connection_stamped_by", json!("page")));
            let unloaded = samples.unloaded.map(|why| told("capacity_not_tested", json!(why)));
            instead.into_iter().chain(stamped).chain(unloaded).collect()
        }
    }
}

/// When a run began, by this server's clock: nobody knows how right a browser's is.
fn began(received: Timestamp, duration_ms: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates, and NaN becomes 0")]
    let ms = duration_ms.clamp(0.0, 86_400_000.0).round() as i64;
    received.checked_sub(SignedDuration::from_millis(ms)).unwrap_or(received)
}
