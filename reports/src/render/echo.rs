//! What media that went to an endpoint and back told, as rows to show.

use super::figures::{Cell, Row, cell, once, p50, row, share, smoothed, time};
use super::{number, words};
use crate::schema::{EchoDetails, EchoHere, EchoLimit, EchoSource, WhipMedia};

pub(super) fn echo(echo: &EchoDetails) -> Vec<Row> {
    let mut rows: Vec<Row> = echo.here.iter().flat_map(|here| stream(echo, here)).collect();
    rows.push(match &echo.there.transport_feedback {
        crate::schema::Value::Measured(found) => once(
            "Lost on the way back, packet by packet",
            "transport-wide feedback of the browser",
            share(&found.loss_ratio),
        ),
        other => once(
            "Lost on the way back, packet by packet",
            "transport-wide feedback of the browser",
            cell(other, |_| Cell::bare(String::new())),
        ),
    });
    rows.push(once("Round trip of that way, mean", "STUN checks (RFC 7675)", time(&echo.pair_rtt_ms)));
    if let Some(pair) = &echo.pair {
        let relay = pair.relay_transport.as_ref().map(|by| format!(", relay over {by}")).unwrap_or_default();
        let text = format!("{} to {}, {}{relay}", pair.local, pair.remote, pair.transport);
        let way = Cell::bare(words::clean(&text).into_owned());
        rows.push(once("The way that media took", "kinds of ICE candidates (RFC 8445)", way).full());
    }
    rows
}

/// The rows of a stream, each named after it.
fn stream(echo: &EchoDetails, here: &EchoHere) -> Vec<Row> {
    let (name, device) = match here.media {
        WhipMedia::Audio => ("Audio", "the microphone"),
        WhipMedia::Video => ("Video", "the camera"),
    };
    let came = echo.there.received.iter().find(|stream| stream.media == here.media);
    let back = echo.there.returned.iter().find(|stream| stream.media == here.media);
    let none = || Cell::bare("none".to_owned());
    let of = |n: u64, whole: u64| Cell::bare(format!("{} of {}", number::count(n), number::count(whole)));
    let mut rows = vec![
        row(
            format!("{name}: packets that arrived"),
            "RTP, of those sent",
            came.map_or_else(none, |came| of(came.packets, here.sent_packets)),
            back.map_or_else(none, |back| of(here.received_packets, back.sent_packets)),
        ),
        row(
            format!("{name}: smoothed jitter, p95"),
            "RFC 3550 A.8",
            came.map_or_else(none, |came| smoothed(&came.jitter_rfc3550_ms)),
            back.map_or_else(none, |back| smoothed(&back.jitter_rfc3550_ms)),
        ),
    ];
    if let Some(came) = came {
        rows.push(once(
            format!("{name}: lost on the way out"),
            "by sequence numbers at the endpoint",
            share(&came.loss_ratio),
        ));
        let codec = words::clean(&came.codec).into_owned();
        rows.push(once(format!("{name}: codec"), "agreed on", Cell::bare(codec)));
    }
    if let Some(back) = back {
        let exact = "by the browser's receiver reports (RFC 3550 section 6.4.1)";
        rows.push(once(format!("{name}: round trip, median"), exact, p50(&back.rtt_ms)));
    }
    let source = match here.source {
        EchoSource::Device => device,
        EchoSource::Synthetic => "made by the page",
    };
    rows.push(once(format!("{name}: source"), "track", Cell::bare(source.to_owned())).full());
    if let Some(picture) = &here.picture {
        let limit = match picture.limited_by {
            None | Some(EchoLimit::None) => "",
            Some(EchoLimit::Cpu) => ", limited by the processor",
            Some(EchoLimit::Bandwidth) => ", limited by the rate",
            Some(EchoLimit::Other) => ", limited",
        };
        let text =
            format!("{}, {} × {}{limit}", number::count(picture.frames), picture.width, picture.height);
        rows.push(once("Video: pictures sent", "frames, size of the last one", Cell::bare(text)).full());
    }
    rows
}
