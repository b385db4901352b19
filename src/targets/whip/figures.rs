//! From what happened to what is told.

use greenroom_reports::confidence::{LEVEL, loss};
use greenroom_reports::metrics::percentile::{Quantile, nearest_rank};
use greenroom_reports::schema::{
    Estimate, Exact, SmoothedJitter, Value, WhipCandidate, WhipDetails, WhipMedia, WhipPair, WhipSteps,
    WhipStream, WhipTransport, reported_loss, times,
};
use greenroom_reports::units::{Bitrate, Micros};

use super::super::security::security;
use super::answer;
use super::feedback::{Feedback, Stream};
use super::http::Opened;
use super::session::Published;
use crate::address::OtherUrl;
use crate::net::clock::Clock;

/// Why there is nothing about media that were sent.
const NO_REPORT: &str = "the server sent no receiver report (RTCP) about it";
const NOT_SENT: &str = "the server did not take it";
const NO_TRANSPORT: &str = "the server sends no transport-wide feedback";

pub(super) fn details(
    opened: &Opened,
    published: &Published,
    ended: Option<bool>,
    target: &OtherUrl,
    clock: Clock,
) -> WhipDetails {
    let feedback = &published.feedback;
    let candidates = answer::candidates(&opened.sdp);
    WhipDetails {
        steps: steps(opened, published),
        redirects: opened.redirects.clone(),
        ice_servers: opened.ice_servers.clone(),
        ended: match ended {
            Some(ended) => Value::exact(ended),
            None => Value::not_tested("the server named no address of the session (Location)"),
        },
        broke_off: published.broke_off.clone(),
        pair: pair(feedback, &candidates),
        pair_rtt_ms: times(feedback.pair_rtts.clone(), "no check was answered in the course of the run"),
        candidates,
        streams: streams(published),
        transport_feedback: transport(feedback),
        remb_bps: feedback.remb.map_or_else(|| Value::not_tested("the server does not tell"), Value::exact),
        security: match &opened.agreed {
            Some(agreed) => Value::Measured(security(std::iter::once(agreed), target, clock)),
            None => Value::not_tested("the connection to this computer itself is not encrypted"),
        },
    }
}

fn steps(opened: &Opened, published: &Published) -> WhipSteps {
    let exact = |time: Micros| Value::exact(time.as_ms());
    let handshake = opened.handshake.unwrap_or_default();
    WhipSteps {
        connect_ms: exact(opened.connect),
        handshake_ms: opened.handshake.map_or_else(|| Value::not_tested("it is not encrypted"), exact),
        answer_ms: exact(opened.answer),
        ice_ms: exact(published.ice),
        dtls_ms: exact(published.dtls),
        first_feedback_ms: published
            .feedback
            .first_feedback()
            .map_or_else(|| Value::failed("the server said nothing about the media"), exact),
        total_ms: exact(opened.connect + handshake + opened.answer + published.ice + published.dtls),
    }
}

fn pair(feedback: &Feedback, candidates: &[WhipCandidate]) -> Value<WhipPair> {
    let Some(pair) = &feedback.pair else { return Value::failed("the run was too short to tell") };
    let (transport, remote) = (pair.protocol.to_string(), pair.remote.addr.to_string());
    let known =
        candidates.iter().find(|candidate| candidate.address == remote && candidate.transport == transport);
    let of = |kind: &str, address: String| WhipCandidate {
        transport: transport.clone(),
        kind: kind.to_owned(),
        address,
    };
    Value::Measured(WhipPair {
        local: of("host", pair.local.addr.to_string()),
        // One that the answer did not name was found by its packets.
        remote: known.cloned().unwrap_or_else(|| of("prflx", remote)),
    })
}

fn streams(published: &Published) -> Vec<WhipStream> {
    let of = |(index, (media, codec)): (usize, &(WhipMedia, Option<String>))| {
        let planned = published.planned.get(index).copied().unwrap_or_default();
        match published.feedback.streams.iter().find(|stream| stream.media == *media) {
            Some(stream) => sent(stream, codec.as_deref(), planned),
            None => not_sent(*media),
        }
    };
    published.codecs.iter().enumerate().map(of).collect()
}

fn sent(stream: &Stream, codec: Option<&str>, planned: u64) -> WhipStream {
    let reports = &stream.reports;
    let missing = if reports.count() == 0 { NO_REPORT } else { "the server's reports do not tell" };
    WhipStream {
        media: stream.media,
        codec: codec.map_or_else(|| Value::failed(NOT_SENT), |codec| Value::exact(codec.to_owned())),
        planned_packets: planned.max(reports.packets()),
        sent_packets: reports.packets(),
        sent_bytes: stream.bytes,
        repairs: stream.repairs,
        reports: reports.count(),
        expected: reports.expected(),
        lost: reports.lost(),
        loss_ratio: reported_loss(reports.intervals())
            .map_or_else(|| Value::failed(missing), Value::Measured),
        rtt_ms: times(reports.rtts().to_vec(), missing),
        jitter_rfc3550_ms: jitter(stream).map_or_else(|| Value::failed(missing), Value::Measured),
        nacked_packets: stream.nacked,
        plis: stream.plis,
        firs: stream.firs,
    }
}

fn not_sent(media: WhipMedia) -> WhipStream {
    WhipStream {
        media,
        codec: Value::failed(NOT_SENT),
        planned_packets: 0,
        sent_packets: 0,
        sent_bytes: 0,
        repairs: 0,
        reports: 0,
        expected: 0,
        lost: 0,
        loss_ratio: Value::not_tested(NOT_SENT),
        rtt_ms: Value::not_tested(NOT_SENT),
        jitter_rfc3550_ms: Value::not_tested(NOT_SENT),
        nacked_packets: 0,
        plis: 0,
        firs: 0,
    }
}

/// The values that reports told, in time: what has more ticks than an hour is none.
fn jitter(stream: &Stream) -> Option<SmoothedJitter> {
    let hour = stream.clock.saturating_mul(3_600);
    let told = stream.reports.jitters().iter().filter(|ticks| **ticks < hour);
    let ms = |ticks: u32| rounded(f64::from(ticks) / f64::from(stream.clock) * 1e3);
    let in_order: Vec<u32> = told.copied().collect();
    let mut sorted = in_order.clone();
    sorted.sort_unstable();
    Some(SmoothedJitter {
        n: stream.reports.expected(),
        last: ms(*in_order.last()?),
        p95: ms(nearest_rank(&sorted, Quantile::P95)?),
        max: ms(*sorted.last()?),
    })
}

fn transport(feedback: &Feedback) -> Value<WhipTransport> {
    let (packets, lost) = feedback.arrivals.counts();
    if packets == 0 {
        return Value::not_tested(NO_TRANSPORT);
    }
    let shown = loss::displayed_bursty(&feedback.arrivals.runs(), LEVEL);
    #[expect(clippy::cast_precision_loss, reason = "counts of packets")]
    let value = rounded(lost as f64 / packets as f64);
    let (low, high) = (Some(rounded(shown.low)), Some(rounded(shown.high)));
    let rate = |rate: Option<Bitrate>| -> Value<Exact<u64>> {
        rate.map_or_else(
            || Value::failed("too little was said for an estimate"),
            |rate| Value::exact(rate.bps()),
        )
    };
    Value::Measured(WhipTransport {
        packets,
        lost,
        loss_ratio: Value::Measured(Estimate { value, low, high, n: packets }),
        estimate_bps: rate(feedback.estimates.last().copied()),
        least_estimate_bps: rate(feedback.estimates.iter().min().copied()),
    })
}

/// Six digits behind the point, as everywhere in a report.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
