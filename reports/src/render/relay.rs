//! What a TURN server tells, as rows to show: its ways beside each other.

use super::details::{moment, text};
use super::figures::{Cell, Found, Row, cell, p50, p95, share, smoothed, time};
use super::{number, services, words};
use crate::schema::{RoundTrip, TurnDetails, TurnTransport};
use crate::verdict::TargetFailure;
use crate::verdict::words as sentences;

/// Name, definition, whether it is for full detail only, and the figure of one way. `None`: that way has none of the kind.
type Figure = (&'static str, &'static str, bool, fn(&TurnTransport) -> Option<Cell>);

const FIGURES: [Figure; 19] = [
    ("Result", "of this way alone", false, |way| Some(Cell::bare(result(way)))),
    ("Connected after", "TCP, and the TLS handshake where there is one", false, |way| {
        (way.transport != "udp").then(|| moment(&way.setup_ms))
    }),
    ("First answer", "Allocate request to the answer that asks for credentials (RFC 8656)", false, |way| {
        Some(moment(&way.challenge_ms))
    }),
    ("Relayed address after", "first Allocate request to the allocation", false, |way| {
        Some(moment(&way.allocate_ms))
    }),
    ("Audio, round trip, median", "up to the relay and down again, p50", false, |way| {
        relayed(way, |audio| p50(&audio.rtt_ms))
    }),
    ("Audio, round trip, p95", "the same, p95", false, |way| relayed(way, |audio| p95(&audio.rtt_ms))),
    ("Audio lost, there or back", "loss_ratio", false, |way| relayed(way, |audio| share(&audio.loss_ratio))),
    ("Audio, delay variation, p95", "PDV (RFC 5481) of the round trip, p95", false, |way| {
        relayed(way, |audio| p95(&audio.pdv_ms))
    }),
    ("Audio, packet-to-packet change", "IPDV (RFC 3393) of the round trip, mean absolute", false, |way| {
        relayed(way, |audio| time(&audio.ipdv_mean_abs_ms))
    }),
    ("Audio, smoothed jitter, p95", "jitter_rfc3550 (RFC 3550 A.8) of the round trip", false, |way| {
        relayed(way, |audio| smoothed(&audio.jitter_rfc3550_ms))
    }),
    ("Audio, packets back of sent", "relayed", false, |way| relayed(way, counts)),
    ("Other end, round trip, median", "relayed_back: the same from the other relayed address", true, |way| {
        back(way, |audio| p50(&audio.rtt_ms))
    }),
    ("Other end, packets back of sent", "relayed_back", true, |way| back(way, counts)),
    ("Out of order", "packets behind a later one (RFC 4737 type P)", true, |way| {
        relayed(way, |_| Cell::bare(number::count(way.reordered)))
    }),
    ("Come twice", "packets that came again", true, |way| {
        relayed(way, |_| Cell::bare(number::count(way.duplicated)))
    }),
    ("Relayed address", "XOR-RELAYED-ADDRESS", true, |way| Some(text(&way.relayed_address))),
    ("Your address as seen there", "XOR-MAPPED-ADDRESS", true, |way| Some(text(&way.reflexive_address))),
    ("Kept for", "LIFETIME", true, |way| {
        Some(cell(&way.lifetime_s, |found| Cell::bare(format!("{} s", number::count(found.value)))))
    }),
    (
        "Audio goes",
        "relayed_by: between two relayed addresses, from one to itself, or to the endpoint",
        true,
        |way| Some(text(&way.relayed_by)),
    ),
];

/// What does not exist of a way. Why stands in its first row.
const NOTHING: &str = "–";

pub(super) fn turn(turn: &TurnDetails) -> Vec<Row> {
    let mut rows: Vec<Row> = FIGURES.iter().filter_map(|figure| row(turn, figure)).collect();
    if let Some(security) = turn.transports.iter().find_map(|way| way.security.as_ref()) {
        rows.extend(services::verdict(security));
        // TURN has no protocol to agree on but itself.
        rows.extend(services::security(security).into_iter().filter(|row| row.name != "Protocol agreed on"));
    }
    rows
}

fn row(turn: &TurnDetails, &(name, exact, full_only, of): &Figure) -> Option<Row> {
    let cells = turn.transports.iter().map(|way| {
        // Of a way that failed, what is missing is so for that reason.
        of(way).filter(|cell| way.failure.is_none() || matches!(cell, Cell::Figure { .. }))
    });
    let cells: Vec<Option<Cell>> = cells.collect();
    cells.iter().any(Option::is_some).then(|| {
        let ways = turn.transports.iter().zip(cells);
        let ways =
            ways.map(|(way, cell)| (head(way), cell.unwrap_or_else(|| Cell::bare(NOTHING.to_owned()))));
        Row { name: name.to_owned(), exact, found: Found::PerWay(ways.collect()), full_only }
    })
}

/// `TLS 5349`.
fn head(way: &TurnTransport) -> String {
    let port = way.address.rsplit(':').next().unwrap_or_default();
    format!("{} {}", way.transport.to_uppercase(), words::clean(port))
}

fn result(way: &TurnTransport) -> String {
    match &way.failure {
        None if way.security.as_ref().is_some_and(|security| security.verified.fact() == Some(&false)) => {
            "works, untrusted".to_owned()
        }
        None if way.relayed.is_some() => "works".to_owned(),
        None => "gives an address".to_owned(),
        // In the words of who knows, else in ours.
        Some(
            TargetFailure::Refused { detail }
            | TargetFailure::RelayRefused { detail, .. }
            | TargetFailure::WrongProtocol { detail, .. },
        ) => words::clean(detail).into_owned(),
        Some(other) => sentences::short(other.code()).to_owned(),
    }
}

/// A figure of the audio that was relayed.
fn relayed(way: &TurnTransport, of: impl Fn(&RoundTrip) -> Cell) -> Option<Cell> {
    way.relayed.as_ref().map(of)
}

/// The same of the other end.
fn back(way: &TurnTransport, of: impl Fn(&RoundTrip) -> Cell) -> Option<Cell> {
    way.relayed_back.as_ref().map(of)
}

fn counts(audio: &RoundTrip) -> Cell {
    Cell::bare(format!("{} of {}", number::count(audio.answered), number::count(audio.sent)))
}
