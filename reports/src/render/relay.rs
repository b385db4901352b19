//! What a TURN server tells, as rows to show: each figure of all transports beside each other.

use super::details::{moment, text};
use super::figures::{Cell, Row, cell, once, p50, p95, share, smoothed, time};
use super::{number, words};
use crate::schema::{RoundTrip, TurnDetails, TurnTransport};
use crate::verdict::TargetFailure;
use crate::verdict::words as sentences;

type Figure = (&'static str, &'static str, fn(&TurnTransport) -> Option<Cell>);

/// Why a transport failed: in the words of who knows, else in ours.
fn said(failure: &TargetFailure) -> String {
    match failure {
        TargetFailure::Refused { detail } | TargetFailure::WrongProtocol { detail, .. } => {
            words::clean(detail).into_owned()
        }
        other => sentences::short(other.code()).to_owned(),
    }
}

/// A figure of the audio that was relayed.
fn relayed(way: &TurnTransport, of: impl Fn(&RoundTrip) -> Cell) -> Option<Cell> {
    way.relayed.as_ref().map(of)
}

const FIGURES: [Figure; 13] = [
    ("what went wrong", "this transport alone", |way| {
        way.failure.as_ref().map(|failure| Cell::bare(said(failure)))
    }),
    ("connection stood after", "TCP, and the TLS handshake where there is one", |way| {
        (way.transport != "udp").then(|| moment(&way.setup_ms))
    }),
    ("first answer", "Allocate request to the answer that asks for credentials (RFC 8656)", |way| {
        Some(moment(&way.challenge_ms))
    }),
    ("relayed address after", "first Allocate request to the allocation", |way| {
        Some(moment(&way.allocate_ms))
    }),
    ("audio, round trip, median", "up to the relay and down again, 50 packets/s", |way| {
        relayed(way, |trips| p50(&trips.rtt_ms))
    }),
    ("audio, round trip, p95", "the same, p95", |way| relayed(way, |trips| p95(&trips.rtt_ms))),
    ("audio lost, there or back", "loss_ratio", |way| relayed(way, |trips| share(&trips.loss_ratio))),
    ("audio, delay variation, p95", "PDV (RFC 5481), p95", |way| relayed(way, |trips| p95(&trips.pdv_ms))),
    ("audio, packet-to-packet change", "IPDV (RFC 3393), mean absolute", |way| {
        relayed(way, |trips| time(&trips.ipdv_mean_abs_ms))
    }),
    ("audio, smoothed jitter, p95", "jitter_rfc3550 (RFC 3550 A.8)", |way| {
        relayed(way, |trips| smoothed(&trips.jitter_rfc3550_ms))
    }),
    ("audio of the other end, lost", "loss_ratio of relayed_back", |way| {
        way.relayed_back.as_ref().map(|trips| share(&trips.loss_ratio))
    }),
    ("relayed address", "XOR-RELAYED-ADDRESS", |way| Some(text(&way.relayed_address))),
    ("kept for", "LIFETIME", |way| {
        Some(cell(&way.lifetime_s, |found| Cell::bare(format!("{} s", number::count(found.value)))))
    }),
];

pub(super) fn turn(turn: &TurnDetails) -> Vec<Row> {
    let figure = |(name, exact, of): &Figure| -> Vec<Row> {
        let (name, exact) = (*name, *exact);
        let ways = turn.transports.iter();
        ways.filter_map(|way| {
            // What failed has none of the figures: the reason stands once.
            let cell =
                of(way).filter(|cell| way.failure.is_none() || !matches!(cell, Cell::Missing { .. }))?;
            Some(once(format!("{}: {name}", way.transport.to_uppercase()), exact, cell))
        })
        .collect()
    };
    FIGURES.iter().flat_map(figure).collect()
}
