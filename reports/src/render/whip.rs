//! What publishing to a WebRTC server told, as rows to show.

use super::details::moment;
use super::figures::{Cell, Row, cell, extremes, once, p50, share, smoothed};
use super::{number, services, words};
use crate::schema::{Exact, Value, WhipCandidate, WhipDetails, WhipMedia, WhipPair, WhipStream};

pub(super) fn whip(whip: &WhipDetails) -> Vec<Row> {
    let mut rows: Vec<Row> = whip.streams.iter().flat_map(stream).collect();
    if let Some(how) = &whip.broke_off {
        rows.insert(0, once("It ended before its time", "session", Cell::bare(words::prose(how))));
    }
    rows.extend(transport(whip));
    rows.push(once("The way that media took", "ICE pair (RFC 8445)", cell(&whip.pair, pair)));
    rows.push(once("Round trip of that way, median", "STUN checks (RFC 7675)", p50(&whip.pair_rtt_ms)));
    rows.extend(steps(whip));
    rows.extend(whip.redirects.iter().map(|redirect| {
        let said = format!("{} ({})", words::clean(&redirect.to), redirect.status);
        once("The offer was sent on to", "Location", Cell::bare(said))
    }));
    rows.extend(named(whip));
    rows.push(match &whip.ended {
        Value::Measured(Exact { value: true }) => {
            once("The session was ended", "DELETE (RFC 9725 section 4.2)", Cell::bare("yes".to_owned()))
                .full()
        }
        other => once(
            "The session was ended",
            "DELETE (RFC 9725 section 4.2)",
            cell(other, |_| Cell::bare("no: the server did not take it".to_owned())),
        ),
    });
    if let Some(security) = whip.security.measured() {
        rows.extend(services::verdict(security));
        rows.extend(services::security(security));
    }
    rows
}

/// The rows of a stream, each named after it.
fn stream(stream: &WhipStream) -> Vec<Row> {
    let name = match stream.media {
        WhipMedia::Audio => "Audio",
        WhipMedia::Video => "Video",
    };
    let row = |what: &str, exact, cell| once(format!("{name}{what}"), exact, cell);
    let codec = row(
        ": codec",
        "agreed on",
        cell(&stream.codec, |it| Cell::bare(words::clean(&it.value).into_owned())),
    );
    if stream.codec.measured().is_none() {
        return vec![codec];
    }
    let sent = format!(
        "{} of {}, {}",
        number::count(stream.sent_packets),
        number::count(stream.planned_packets),
        number::size(stream.sent_bytes)
    );
    let count = |what: &str, exact, n: u64| {
        let counted = row(what, exact, Cell::bare(number::count(n)));
        if n > 0 { counted } else { counted.full() }
    };
    let mut rows = vec![
        row(": round trip, median", "by receiver reports (RFC 3550 section 6.4.1)", p50(&stream.rtt_ms)),
        row(": round trip, min and max", "the same, minimum and maximum", extremes(&stream.rtt_ms)).full(),
        row(" lost", "as the server counts: cumulative, not which (RFC 3550 A.3)", share(&stream.loss_ratio)),
        row(
            ": smoothed jitter, p95",
            "as the server reports it (RFC 3550 A.8)",
            smoothed(&stream.jitter_rfc3550_ms),
        ),
        codec,
        row(": packets", "sent of planned, octets of RTP", Cell::bare(words::prose(&sent))),
        row(": receiver reports", "RTCP RR about it", Cell::bare(number::count(stream.reports))).full(),
        count(": packets asked for again", "NACK (RFC 4585)", stream.nacked_packets),
        count(": packets repeated or padding", "RTX (RFC 4588)", stream.repairs),
    ];
    if stream.media == WhipMedia::Video {
        rows.push(count(": pictures asked for", "PLI (RFC 4585), FIR (RFC 5104)", stream.plis + stream.firs));
    }
    rows
}

/// What the server said of all streams together.
fn transport(whip: &WhipDetails) -> Vec<Row> {
    let mut rows = Vec::new();
    match &whip.transport_feedback {
        Value::Measured(found) => rows.extend([
            once("Lost, packet by packet", "transport-wide feedback", share(&found.loss_ratio)),
            once(
                "Rate that the way carries",
                "estimate by transport-wide feedback; bounded by what is sent",
                rate(&found.estimate_bps),
            ),
            once("The same, at least", "the least estimate of the run", rate(&found.least_estimate_bps))
                .full(),
        ]),
        other => rows.push(once(
            "Rate that the way carries",
            "estimate by transport-wide feedback",
            cell(other, |_| Cell::bare(String::new())),
        )),
    }
    let remb = once("Rate that the server allows", "REMB", rate(&whip.remb_bps));
    rows.push(if whip.remb_bps.measured().is_some() { remb } else { remb.full() });
    rows
}

fn steps(whip: &WhipDetails) -> Vec<Row> {
    let steps = &whip.steps;
    vec![
        once("From the start to media", "connecting to keys", moment(&steps.total_ms)),
        once("Connecting", "TCP", moment(&steps.connect_ms)).full(),
        once("TLS handshake", "without connecting", moment(&steps.handshake_ms)).full(),
        once("Offer to answer", "POST to 201 (RFC 9725)", moment(&steps.answer_ms)),
        once("Finding a way for media", "answer to ICE connected", moment(&steps.ice_ms)),
        once("Agreeing on keys for media", "ICE connected to DTLS done", moment(&steps.dtls_ms)),
        once("First word about media", "first packet to first RTCP report", moment(&steps.first_feedback_ms)),
    ]
}

/// What the server named.
fn named(whip: &WhipDetails) -> Vec<Row> {
    let addresses: Vec<String> = whip.candidates.iter().map(candidate).collect();
    let servers: Vec<_> = whip.ice_servers.iter().map(|server| words::clean(server)).collect();
    let mut rows =
        vec![once("Addresses that the server names", "candidates", Cell::bare(addresses.join(", "))).full()];
    if !servers.is_empty() {
        rows.push(
            once(
                "Relays that the server names",
                "Link, rel=ice-server; not used",
                Cell::bare(servers.join(", ")),
            )
            .full(),
        );
    }
    rows
}

fn pair(pair: &WhipPair) -> Cell {
    Cell::bare(format!("{} to {}", candidate(&pair.local), candidate(&pair.remote)))
}

fn candidate(candidate: &WhipCandidate) -> String {
    let WhipCandidate { transport, kind, address } = candidate;
    words::clean(&format!("{transport} {kind} {address}")).into_owned()
}

fn rate(value: &Value<Exact<u64>>) -> Cell {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    cell(value, |found| Cell::bare(number::rate(found.value as f64)))
}
