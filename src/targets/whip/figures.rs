//! From what happened to what is told.

use greenroom_reports::schema::{
    Value, WhipCandidate, WhipDetails, WhipMedia, WhipPair, WhipSteps, WhipStream, times,
};
use greenroom_reports::units::Micros;

use super::super::security::security;
use super::answer;
use super::http::Opened;
use super::session::Published;
use crate::address::OtherUrl;
use crate::net::clock::Clock;
use crate::net::rtcp::Feedback;

/// Why there is nothing about media that were not sent.
const NOT_SENT: &str = "the server did not take it";
/// Who is published to.
const WHO: &str = "the server";

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
        transport_feedback: feedback.transport(WHO),
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
            Some(stream) => stream.figures(codec.as_deref(), planned, WHO),
            None => not_sent(*media),
        }
    };
    published.codecs.iter().enumerate().map(of).collect()
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
