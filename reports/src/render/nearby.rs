//! What is nearest, as rows to show: the router, the link to it, and hosts that answer echo requests.

use super::details::{round_trip, text};
use super::figures::{Cell, Row, cell, once};
use super::{number, words};
use crate::schema::{GatewayDetails, IcmpDetails, LinkKind, WifiDetails};

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
    rows.extend(link.wifi.iter().flat_map(wifi));
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

fn wifi(wifi: &WifiDetails) -> Vec<Row> {
    let name =
        wifi.ssid.as_deref().map_or_else(|| "not told".to_owned(), |name| words::clean(name).into_owned());
    let channel = match (wifi.frequency_mhz.fact(), wifi.width_mhz.fact()) {
        (Some(at), Some(width)) => format!("{at} MHz, {width} MHz wide"),
        (Some(at), None) => format!("{at} MHz"),
        (None, _) => "not told".to_owned(),
    };
    let rate = |mbps: f64| Cell::bare(format!("{} Mbit/s", number::plain(mbps, 1)));
    let again = match (wifi.tx_retries.fact(), wifi.tx_packets.fact()) {
        (Some(retries), Some(packets)) => format!("{retries} times, of {packets} packets"),
        _ => "not told".to_owned(),
    };
    vec![
        once("Wi-Fi", "name of the network", Cell::bare(name)).full(),
        once(
            "Wi-Fi signal",
            "as heard here; -67 dBm or more is good for calls",
            cell(&wifi.signal_dbm, |found| Cell::bare(format!("{} dBm", found.value))),
        ),
        once("Wi-Fi channel", "frequency and width", Cell::bare(channel)),
        once(
            "Wi-Fi rate up",
            "last packet sent, on the air",
            cell(&wifi.tx_rate_mbps, |found| rate(found.value)),
        ),
        once("Wi-Fi rate down", "last packet received", cell(&wifi.rx_rate_mbps, |found| rate(found.value))),
        once("Sent again", "on the air, since the network was joined", Cell::bare(again)).full(),
    ]
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
