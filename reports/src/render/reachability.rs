//! What of a service can be reached, as rows to show: its parts first, then every way.

use super::figures::{Cell, Row, once};
use super::{number, words};
use crate::schema::{PartState, Place, ServiceDetails, ServicePart, ServiceWay, WayOutcome, WayProtocol};

pub(super) fn service(service: &ServiceDetails) -> Vec<Row> {
    let mut rows: Vec<Row> = service.parts.iter().map(part).collect();
    rows.extend(service.ways.iter().map(way));
    let source = format!("{}, read on {}", service.source, service.read_on);
    rows.push(once("What it needs", "as the vendor publishes it", said(&source)));
    rows.extend(service.note.as_ref().map(|note| once("To be known of that", "note", said(note))));
    rows
}

fn said(text: &str) -> Cell {
    Cell::bare(words::prose(text))
}

fn part(part: &ServicePart) -> Row {
    let text = match (part.state, &part.why) {
        (PartState::Works, _) => "will work".to_owned(),
        (PartState::Unknown, _) => "cannot be told from here; nothing speaks against it".to_owned(),
        (PartState::Fails, why) => {
            let why = why.as_deref().unwrap_or("a way that it needs is not open");
            format!("will not work: {why} ({}). Without it {}", place(part.place), part.without)
        }
    };
    once(capital(&part.name), "part of the service", said(&text))
}

/// Whose fault it is, in words.
const fn place(place: Place) -> &'static str {
    match place {
        Place::Relay => "a firewall or proxy",
        Place::LocalNetwork => "DNS",
        Place::Computer => "this computer",
        _ => "whose doing it is does not show",
    }
}

fn way(way: &ServiceWay) -> Row {
    let protocol = match way.protocol {
        WayProtocol::Tls => "TLS over TCP",
        WayProtocol::Tcp => "TCP",
        WayProtocol::Stun => "STUN over UDP",
        WayProtocol::Udp => "UDP",
    };
    let name = words::clean(&format!("{} : {} : {protocol}", way.host, way.port)).into_owned();
    let mut text = outcome(way.outcome).to_owned();
    if let Some(rtt) = way.rtt_ms.fact() {
        text += &format!(", {}", number::ms(*rtt));
    }
    if let Some(detail) = &way.detail {
        text += &format!(" ({detail})");
    }
    once(name, "host, port, protocol", said(&text))
}

const fn outcome(outcome: WayOutcome) -> &'static str {
    match outcome {
        WayOutcome::Open => "open",
        WayOutcome::Refused => "refused",
        WayOutcome::Filtered => "filtered",
        WayOutcome::Intercepted => "intercepted",
        WayOutcome::NoAnswerKnown => "no answer, which it owes nobody: open or filtered",
        WayOutcome::Unresolved => "the name leads nowhere",
        WayOutcome::FailedHere => "this computer could not ask",
        WayOutcome::NotAsked => "not asked: no host is published",
    }
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    words::clean(&(first + rest.as_str())).into_owned()
}
