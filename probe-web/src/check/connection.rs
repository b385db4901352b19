//! From a page's samples to a target and its trace.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use greenroom_reports::assess::TargetMeta;
use greenroom_reports::schema::{Identity, Reached};
use greenroom_reports::trace::encoding::HalfAssembler;
use greenroom_reports::trace::{
    ClockInfo, Half, Media, ReplyStamps, RxRecord, StampSource, StreamId, StreamLog, StreamSpec, Trace,
    TxOutcome, TxRecord,
};
use greenroom_reports::units::{Bitrate, Micros};
use greenroom_reports::verdict::TargetFailure;

use super::load;
use super::read::{Instead, NetworkRun, NoSession, Run, Samples, Way};
use super::relays::RelaysRun;
use crate::problem::Problem;

/// A browser gives up an address that does not answer after four seconds; a refusal comes at once.
const GIVEN_UP_MS: f64 = 2_500.0;
/// A packet that the browser held up for longer says nothing of the network any more.
const MOST_STALLED: Micros = Micros::from_millis(250);
/// Lateness of the packets' departure at the 95th percentile beyond which this computer, not the network, is measured.
const MOST_LATE: Micros = Micros::from_millis(30);

/// What was measured against the endpoint. `None`: there was nothing to measure against, or with.
pub(super) fn of(run: &Run, url: &str) -> Result<Option<(TargetMeta, Option<Trace>)>, Problem> {
    let meta = TargetMeta {
        url: url.to_owned(),
        kind: "greenroom".to_owned(),
        reached: None,
        // Its certificate's hash came from this server.
        identity: Some(Identity::Verified),
        failure: None,
        details: None,
        in_process: false,
    };
    match &run.network {
        NetworkRun::NotTested { .. } => Ok(None),
        NetworkRun::Failed { reason, after_ms } => {
            let failure = match reason {
                NoSession::Unreachable if *after_ms >= GIVEN_UP_MS => {
                    TargetFailure::UdpBlocked { works: Some("https".to_owned()) }
                }
                NoSession::Unreachable => TargetFailure::PortClosed,
                NoSession::Refused => TargetFailure::Quota { retry_after_s: Some(60) },
                NoSession::Broke => TargetFailure::Died,
            };
            Ok(Some((TargetMeta { failure: Some(failure), identity: None, ..meta }, None)))
        }
        NetworkRun::Measured(samples) => {
            let reached = Some(reached(samples, run.relays.as_ref(), url));
            if let Some(detail) = disturbance(run, samples) {
                let failure = Some(TargetFailure::Disturbed { detail });
                return Ok(Some((TargetMeta { reached, failure, ..meta }, None)));
            }
            let trace = trace(samples)?;
            let died = (!samples.complete).then_some(TargetFailure::Died);
            Ok(Some((TargetMeta { reached, failure: died, ..meta }, Some(trace))))
        }
    }
}

/// By what the packets travelled, and why not straight over UDP.
fn reached(samples: &Samples, relays: Option<&RelaysRun>, url: &str) -> Reached {
    let way = samples.way();
    let straight = matches!(way, Way::WebTransport | Way::WebRtc);
    Reached {
        transport: way.name().to_owned(),
        address: None,
        setup_ms: Some(samples.setup_ms),
        instead_of_udp: (!straight && samples.instead == Some(Instead::Unreachable))
            .then(|| blocked(way, relays, url)),
    }
}

/// What is blocked. Where UDP gets to a relay it is the endpoint's port alone; where it gets nowhere, the page itself shows that HTTPS does.
fn blocked(way: Way, relays: Option<&RelaysRun>, url: &str) -> TargetFailure {
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    match (relays.and_then(RelaysRun::over_udp), port) {
        (Some(works), Some(port)) => TargetFailure::UdpPortBlocked { port, works },
        _ => {
            let relay = relays.filter(|_| way.relayed_by().is_some()).and_then(|relays| relays.working(way));
            TargetFailure::UdpBlocked { works: Some(relay.unwrap_or_else(|| "https".to_owned())) }
        }
    }
}

/// What held the measurement up so much that its figures are this computer's own.
fn disturbance(run: &Run, samples: &Samples) -> Option<String> {
    if run.browser.hidden > 0 {
        return Some("the page was in the background meanwhile".to_owned());
    }
    // While the connection is filled, the computer is busy with that.
    let before = samples.load.as_ref().map_or(i64::MAX, |load| load.up.from_us);
    let mut late: Vec<i64> = samples
        .sent
        .iter()
        .filter(|(intended, ..)| *intended < before)
        .filter_map(|(intended, user, _)| Some((*user)?.saturating_sub(*intended)))
        .collect();
    late.sort_unstable();
    let p95 = late.get(late.len() * 95 / 100).copied().unwrap_or(0);
    if p95 > MOST_LATE.get() {
        return Some("this computer was too busy to send in time".to_owned());
    }
    if samples.stalled_us > MOST_STALLED.get() {
        return Some("the browser held packets back".to_owned());
    }
    None
}

fn trace(samples: &Samples) -> Result<Trace, Problem> {
    let mut there = HalfAssembler::new();
    for chunk in &samples.there {
        let octets = STANDARD.decode(chunk).map_err(|_| wrong("is not base64"))?;
        there.push(&octets).map_err(|error| wrong(error.to_string()))?;
    }
    let there = there.into_half();
    let there = (!there.streams.is_empty()).then_some(there);
    let tx: Vec<TxRecord> = (0_u32..)
        .zip(&samples.sent)
        .map(|(seq, (intended, user, bytes))| TxRecord {
            user: user.map(Micros::new),
            outcome: if user.is_some() { TxOutcome::Sent } else { TxOutcome::NotSent },
            ..TxRecord::planned(seq, Micros::new(*intended), *bytes)
        })
        .collect();
    let log = StreamLog {
        id: StreamId::AUDIO,
        spec: StreamSpec { media: Media::Audio, direction: None, rate: rate(samples) },
        planned: samples.planned.max(u32::try_from(tx.len()).unwrap_or(u32::MAX)),
        rx: samples.received.iter().map(received).collect(),
        tx,
        corrupt: samples.corrupt,
    };
    let user = StampSource::User;
    let here = Half {
        clock: ClockInfo { tx: user, rx: user, steps: Vec::new() },
        streams: vec![log],
        queue_drops: Vec::new(),
        covered_until: Micros::new(samples.covered_until_us),
        complete: samples.complete,
        host_load: None,
    };
    let mut trace = Trace { here, there, ..Trace::default() };
    load::add(&mut trace, samples)?;
    Ok(trace)
}

fn rate(samples: &Samples) -> Bitrate {
    let octets = samples.sent.first().map_or(212, |(.., octets)| u64::from(*octets));
    Bitrate::from_bps(octets * 8 * 50)
}

fn received(record: &(u32, i64, u16, u32, i64, i64)) -> RxRecord {
    let (seq, at, bytes, of, there, sent) = *record;
    let at = Micros::new(at);
    let reply = ReplyStamps {
        of,
        received: Micros::new(there),
        sent: Micros::new(sent),
        follow_up: None,
        ttl: None,
        tos: None,
    };
    RxRecord { seq, at, user: Some(at), bytes, tos: None, ttl: None, reply: Some(reply) }
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::field("/network/there", detail)
}
