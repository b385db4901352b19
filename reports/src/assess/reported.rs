//! Figures of media that their two ends counted and reported (RTP, RTCP), in the places of the common figures.
//!
//! Their definitions differ from those of a Greenroom endpoint's own packets. Of media published to a server, the loss is a sum that the server
//! counted and says nothing of which packets, and what was lost, late or out of order is not told apart. Of media that went to an endpoint and
//! back, each end counted what it sent and what came.

use crate::schema::{
    Counts, Details, DirectionReport, EchoDetails, EchoHere, EchoReceived, Estimate, ReportedLoss,
    StreamReport, Target, Use, Value, WhipDetails, WhipMedia, WhipStream, reported_loss,
};
use crate::trace::{Direction, StampSource};
use crate::units::Bitrate;

/// Why a server's report leaves a figure open.
pub(super) const NOT_TOLD: &str = "a WebRTC server does not tell it";

/// Why counts leave a figure open.
pub(super) const NOT_COUNTED: &str = "counts of RTP do not tell it";

/// Puts what was reported in the places of the common figures.
pub(super) fn fill(target: &mut Target) {
    match target.details.clone() {
        Some(Details::Whip(whip)) => published(target, &whip),
        Some(Details::Echo(echo)) => returned(target, &echo),
        _ => {}
    }
}

fn published(target: &mut Target, whip: &WhipDetails) {
    // The times at this end are the program's.
    target.timestamps.here = StampSource::User;
    for stream in &whip.streams {
        match stream.media {
            WhipMedia::Audio => {
                target.rtt_ms = stream.rtt_ms.clone();
                target.up = direction(stream);
            }
            WhipMedia::Video => target.streams.push(StreamReport {
                use_: Use::Video360p,
                direction: Direction::Up,
                rung_bps: RUNG.bps(),
                received_bps: Value::not_tested(NOT_TOLD),
                figures: direction(stream),
            }),
        }
    }
}

/// The rate of the picture that is sent.
const RUNG: Bitrate = Bitrate::from_kbps(600);

fn direction(stream: &WhipStream) -> DirectionReport {
    let expected = stream.expected.min(stream.sent_packets);
    let lost = stream.lost.min(expected);
    DirectionReport {
        counts: Counts {
            planned: stream.planned_packets,
            sent: stream.sent_packets,
            on_time: expected - lost,
            lost,
            awaited: stream.sent_packets - expected,
            not_sent: stream.planned_packets.saturating_sub(stream.sent_packets),
            ..Counts::default()
        },
        loss_ratio: stream.loss_ratio.clone(),
        jitter_rfc3550_ms: stream.jitter_rfc3550_ms.clone(),
        ..DirectionReport::not_tested(NOT_TOLD)
    }
}

fn returned(target: &mut Target, echo: &EchoDetails) {
    (target.timestamps.here, target.timestamps.there) = (StampSource::User, StampSource::User);
    let timed = echo.there.returned.iter().filter_map(|stream| stream.rtt_ms.measured());
    if let Some(most) = timed.max_by_key(|found| found.n) {
        target.rtt_ms = Value::Measured(*most);
    }
    for here in &echo.here {
        let came = echo.there.received.iter().find(|stream| stream.media == here.media);
        let back = echo.there.returned.iter().find(|stream| stream.media == here.media);
        let (up, down) = (sent_up(here, came), sent_down(here, back));
        match here.media {
            WhipMedia::Audio => (target.up, target.down) = (up, down),
            WhipMedia::Video => {
                let lines = here.picture.map_or(0, |picture| picture.height);
                let ways =
                    [(Direction::Up, up, here.sent_bytes), (Direction::Down, down, here.received_bytes)];
                target.streams.extend(ways.map(|(direction, figures, octets)| StreamReport {
                    use_: use_of(lines),
                    direction,
                    rung_bps: rate(octets, echo.sent_for_ms),
                    received_bps: Value::not_tested(NOT_COUNTED),
                    figures,
                }));
            }
        }
    }
}

/// What the browser sent, and the endpoint counted.
fn sent_up(here: &EchoHere, came: Option<&EchoReceived>) -> DirectionReport {
    let counts = counts(here.sent_packets, here.sent_packets, came.map_or(0, |came| came.packets));
    let Some(came) = came else {
        return DirectionReport { counts, ..DirectionReport::not_tested(NOT_COUNTED) };
    };
    let all = came.expected == here.sent_packets;
    DirectionReport {
        counts: Counts { duplicate: came.duplicates, reordered: came.reordered, ..counts },
        // With all between the first and the last, it is known which; the rest is a sum.
        loss_ratio: if all { came.loss_ratio.clone() } else { loss(&counts) },
        jitter_rfc3550_ms: came.jitter_rfc3550_ms.clone(),
        ..DirectionReport::not_tested(NOT_COUNTED)
    }
}

/// What the endpoint sent back, and the browser counted.
fn sent_down(here: &EchoHere, back: Option<&WhipStream>) -> DirectionReport {
    let Some(back) = back else { return DirectionReport::not_tested(NOT_COUNTED) };
    let counts = counts(back.planned_packets, back.sent_packets, here.received_packets);
    DirectionReport {
        counts,
        loss_ratio: loss(&counts),
        jitter_rfc3550_ms: back.jitter_rfc3550_ms.clone(),
        ..DirectionReport::not_tested(NOT_COUNTED)
    }
}

fn counts(planned: u64, sent: u64, came: u64) -> Counts {
    let came = came.min(sent);
    Counts {
        planned: planned.max(sent),
        sent,
        on_time: came,
        lost: sent - came,
        not_sent: planned.saturating_sub(sent),
        ..Counts::default()
    }
}

fn loss(counts: &Counts) -> Value<Estimate> {
    let whole = ReportedLoss { expected: counts.sent, lost: counts.lost };
    reported_loss(&[whole]).map_or_else(|| Value::failed("nothing was sent"), Value::Measured)
}

fn use_of(lines: u32) -> Use {
    match lines {
        0..=360 => Use::Video360p,
        361..=720 => Use::Video720p,
        _ => Use::Video1080p,
    }
}

/// So many octets in so many milliseconds, in bits per second.
fn rate(octets: u64, ms: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate; a cast from a float saturates, and NaN becomes 0"
    )]
    let bps = (octets as f64 * 8_000.0 / ms.max(1.0)).round() as u64;
    bps
}
