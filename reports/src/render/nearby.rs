//! What is nearest, as rows to show: the router, the link to it, and hosts that answer echo requests.

use super::details::{round_trip, text};
use super::figures::{Cell, Row, cell, once};
use super::{number, words};
use crate::schema::{GatewayDetails, IcmpDetails, LinkKind};

pub(super) fn icmp(icmp: &IcmpDetails) -> Vec<Row> {
    let mut rows = round_trip(&icmp.round_trip, ECHO);
    let strange = once(
        "Answers that do not count",
        "from another address, or damaged",
        Cell::bare(number::count(icmp.strange_answers)),
    );
    rows.push(if icmp.strange_answers > 0 { strange } else { strange.full() });
    rows
}

/// What the round trip of an echo request is.
const ECHO: &str = "one echo request, sent once, to its answer (RFC 792, RFC 4443)";

pub(super) fn gateway(gateway: &GatewayDetails) -> Vec<Row> {
    let link = &gateway.link;
    let mut rows = vec![
        once("Router", "the first one on the way", text(&gateway.address)),
        once(
            "Connected by",
            "interface",
            Cell::bare(format!("{}, {}", words::clean(&link.interface), kind(link.kind))),
        ),
    ];
    if let Some(speed) = link.speed_mbps.fact() {
        rows.push(once("Cable's speed", "link speed", Cell::bare(format!("{speed} Mbit/s"))));
    }
    rows.push(
        once(
            "Longest packet",
            "MTU of the interface",
            cell(&link.mtu_bytes, |mtu| Cell::bare(format!("{} bytes", mtu.value))),
        )
        .full(),
    );
    if gateway.address.fact().is_some() {
        rows.extend(round_trip(&gateway.round_trip, ECHO));
    }
    rows
}

/// What an interface is, in words.
const fn kind(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Wired => "a cable",
        LinkKind::Wireless => "Wi-Fi",
        LinkKind::Cellular => "a mobile network",
        LinkKind::Tunnel => "a VPN or tunnel",
        LinkKind::Virtual => "a virtual network",
        LinkKind::Loopback => "this computer itself",
        LinkKind::Unknown => "of a kind that the system does not tell",
    }
}
