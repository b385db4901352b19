//! The first router on the way to an endpoint, asked by echo while the endpoint is measured: so that trouble of the local network is
//! told from trouble beyond it.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use greenroom_reports::assess::TargetMeta;
use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{
    Details, Exact, GatewayDetails, LinkDetails, LinkKind, RoundTrip, Value, WifiDetails,
};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::{asking, find, icmp};
use crate::address::Host;
use crate::net::clock::Clock;
use crate::net::route::{self, Link, Route, Wifi};
use crate::net::udp::Interface;
use crate::proto::asking::AskerConfig;

/// From question to question: 50 a second, as often as audio that its answers are held against. A short check that asks more seldom
/// hears too little to tell 3 % lost from nothing lost; systems that limit echo replies do so from 200 a second on (FreeBSD,
/// macOS: net.inet.icmp.icmplim).
const INTERVAL: Micros = Micros::from_millis(20);
/// More questions than any check lasts.
const COUNT: u32 = 50 * 60;
/// After so long a question is given up. A router is near.
const PATIENCE: Micros = Micros::from_secs(1);

/// Asks the first router on the way to `endpoint` until `stop` is cancelled. `None`: there is no such way, or it stays within this
/// computer. Adds the bytes sent and received at the IP layer to `spent`.
pub async fn watch(
    endpoint: (&Host, u16),
    interface: Option<&str>,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Option<TargetMeta> {
    let destination = find::addresses_unless(stop, endpoint.0, endpoint.1).await.ok()?.first()?.ip();
    let interface = interface.map(Interface::parse);
    let named = match &interface {
        Some(Interface::Name(name)) => Some(name.as_str()),
        _ => None,
    };
    let route = route::to(destination, named)
        .inspect_err(|error| tracing::debug!("the router is not asked: {error}"))
        .ok()?;
    let link = route::link(&route.interface);
    let kind = link.as_ref().map_or(LinkKind::Unknown, |link| link.kind);
    if destination.is_loopback() || kind == LinkKind::Loopback {
        return None;
    }
    let Some(gateway) = route.gateway else {
        return Some(without_router(&route, link));
    };
    let (round_trip, unasked) = match ask(gateway, &route, interface.as_ref(), clock, stop, spent).await {
        Ok(round_trip) => (round_trip, None),
        Err(TargetFailure::Local { detail }) => (nothing_asked(), Some(detail)),
        Err(other) => (nothing_asked(), Some(other.code().to_owned())),
    };
    let details = GatewayDetails {
        address: Value::exact(gateway.to_string()),
        endpoint_is_local: false,
        round_trip,
        unasked,
        link: link_details(&route, link),
    };
    let answered = details.round_trip.answered > 0;
    let reached = answered.then(|| asking::reached("icmp", SocketAddr::new(gateway, 0), None));
    Some(TargetMeta { reached, ..meta(&gateway.to_string(), details) })
}

/// Round trips to the router, of all questions that were asked until `stop`.
async fn ask(
    gateway: IpAddr,
    route: &Route,
    interface: Option<&Interface>,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<RoundTrip, TargetFailure> {
    let config = AskerConfig {
        server: on_link(gateway, route.index),
        start: clock.now(),
        interval: INTERVAL,
        patience: PATIENCE,
        // A router that is silent at first may be asleep.
        give_up: INTERVAL * i64::from(COUNT),
    };
    let (asker, socket) = icmp::prober(config, COUNT, interface, clock)?;
    let (outcome, _) = asking::run(asker, socket, clock, stop).await?;
    *spent += outcome.machine.bytes();
    let mut exchanges = outcome.machine.exchanges();
    // How many questions there would be was never planned.
    exchanges.truncate(exchanges.iter().rposition(|it| *it != Exchange::NotSent).map_or(0, |last| last + 1));
    Ok(RoundTrip::of(&exchanges, asking::stamped_by(&outcome)))
}

/// A router's link-local address is one of an interface.
fn on_link(gateway: IpAddr, interface: u32) -> SocketAddr {
    match gateway {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, 0, 0, interface).into(),
        other => SocketAddr::new(other, 0),
    }
}

/// The endpoint is on this computer's own network, or packets to it go into a tunnel.
fn without_router(route: &Route, link: Option<Link>) -> TargetMeta {
    let link = link_details(route, link);
    let tunnel = link.kind == LinkKind::Tunnel;
    let why = match tunnel {
        true => "packets go into a VPN or tunnel, whose first router is not seen",
        false => "the endpoint is on this computer's own network",
    };
    let details = GatewayDetails {
        address: Value::not_tested(why),
        endpoint_is_local: !tunnel,
        round_trip: nothing_asked(),
        unasked: None,
        link,
    };
    meta("none", details)
}

fn nothing_asked() -> RoundTrip {
    RoundTrip::of(&[], StampSource::default())
}

fn link_details(route: &Route, link: Option<Link>) -> LinkDetails {
    let told = |value: Option<u32>, why: &str| value.map_or_else(|| Value::not_tested(why), Value::exact);
    LinkDetails {
        interface: route.interface.clone(),
        kind: link.as_ref().map_or(LinkKind::Unknown, |link| link.kind),
        mtu_bytes: told(link.as_ref().and_then(|link| link.mtu), "the system does not tell"),
        speed_mbps: told(link.and_then(|link| link.speed_mbps), "only a cable has one"),
        wifi: route::wifi(route.index).map(wifi_details),
    }
}

fn wifi_details(wifi: Wifi) -> WifiDetails {
    fn told<T>(value: Option<T>) -> Value<Exact<T>> {
        value.map_or_else(|| Value::not_tested("the system does not tell"), Value::exact)
    }
    let mbps = |kbps: u32| f64::from(kbps) / 1_000.0;
    WifiDetails {
        ssid: wifi.ssid,
        frequency_mhz: told(wifi.frequency_mhz),
        width_mhz: told(wifi.width_mhz),
        signal_dbm: told(wifi.signal_dbm.map(i16::from)),
        tx_rate_mbps: told(wifi.tx_rate_kbps.map(mbps)),
        rx_rate_mbps: told(wifi.rx_rate_kbps.map(mbps)),
        tx_packets: told(wifi.tx_packets),
        tx_retries: told(wifi.tx_retries),
        tx_failed: told(wifi.tx_failed),
    }
}

fn meta(name: &str, details: GatewayDetails) -> TargetMeta {
    TargetMeta {
        url: format!("gateway:{name}"),
        kind: "gateway".to_owned(),
        reached: None,
        identity: None,
        failure: None,
        details: Some(Details::Gateway(Box::new(details))),
        in_process: false,
    }
}
