//! Figures that a server reported of media published to it (RTCP), in the places of the common figures.
//!
//! Their definitions differ from those of a Greenroom endpoint: the loss is a sum that the server counted and says nothing of which packets,
//! and what was lost, late or out of order is not told apart.

use crate::schema::{Counts, Details, DirectionReport, StreamReport, Target, Use, WhipMedia, WhipStream};
use crate::trace::{Direction, StampSource};
use crate::units::Bitrate;

/// Why a server's report leaves a figure open.
pub(super) const NOT_TOLD: &str = "a WebRTC server does not tell it";

/// Puts what a server reported in the places of the common figures.
pub(super) fn fill(target: &mut Target) {
    let Some(Details::Whip(whip)) = target.details.clone() else { return };
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
                received_bps: crate::schema::Value::not_tested(NOT_TOLD),
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
