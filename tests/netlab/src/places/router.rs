//! The first router, asked by echo while the endpoint is checked.

use std::net::IpAddr;
use std::time::Duration;

use greenroom_reports::assess::TargetMeta;
use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{Details, GatewayDetails, LinkDetails, LinkKind, Reached, RoundTrip, Value};
use greenroom_reports::trace::{Direction, StampSource};
use greenroom_reports::units::Micros;
use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp};
use serde::Deserialize;

use crate::link::Outcome;
use crate::packet::{FlowKey, PacketInfo, Protocol};
use crate::scenario::Scenario;
use crate::sim::Checked;
use crate::truth::PacketTruth;

/// Where a network's trouble lies, as far as the first router shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Between the computer and the router.
    Before,
    /// Behind the router.
    Beyond,
    /// The router answers nobody.
    Silent,
    /// Packets go into a VPN.
    Tunnel,
    /// The endpoint is on the computer's own network.
    Local,
    /// No router was asked.
    Unseen,
}

/// From question to question, as `check` asks.
const INTERVAL: Duration = Duration::from_millis(20);
/// A question on the wire: 20 octets of IPv4, 8 of ICMP, 56 of data.
const BYTES: u32 = 84;
/// What a router takes on average before it answers.
const LEISURE_MS: f64 = 0.6;

impl Trouble {
    /// What the router told, asked as long as the check went.
    pub(super) fn router(
        self,
        scenario: &Scenario,
        seed: u64,
        link: LinkKind,
        checked: &Checked,
    ) -> Option<TargetMeta> {
        let exchanges = match self {
            Self::Unseen => return None,
            Self::Before => through(scenario, seed, checked),
            Self::Beyond => at_once(seed, checked),
            Self::Silent => vec![Exchange::Lost; questions(checked).count()],
            Self::Tunnel | Self::Local => Vec::new(),
        };
        let address = match self {
            Self::Tunnel => {
                Value::not_tested("packets go into a VPN or tunnel, whose first router is not seen")
            }
            Self::Local => Value::not_tested("the endpoint is on this computer's own network"),
            _ => Value::exact("192.0.2.1".to_owned()),
        };
        let details = GatewayDetails {
            address,
            endpoint_is_local: self == Self::Local,
            round_trip: RoundTrip::of(&exchanges, StampSource::Kernel),
            unasked: None,
            link: LinkDetails {
                wifi: None,
                interface: "net0".to_owned(),
                kind: link,
                mtu_bytes: Value::exact(1_500),
                speed_mbps: Value::not_tested("only a cable has one"),
            },
        };
        let answered = details.round_trip.answered > 0;
        Some(TargetMeta {
            url: "gateway:192.0.2.1".to_owned(),
            kind: "gateway".to_owned(),
            reached: answered.then(|| Reached {
                transport: "icmp".to_owned(),
                address: None,
                setup_ms: None,
                instead_of_udp: None,
            }),
            identity: None,
            failure: None,
            details: Some(Details::Gateway(Box::new(details))),
            in_process: false,
        })
    }
}

/// When questions leave.
fn questions(checked: &Checked) -> impl Iterator<Item = Duration> + use<> {
    let took = checked.took.to_duration();
    (0u32..).map(|number| INTERVAL * number).take_while(move |at| *at < took)
}

fn leisure(seed: u64) -> impl FnMut() -> Duration {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x6761_7465_7761);
    let rate = Exp::new(1.0 / LEISURE_MS).expect("a positive rate");
    move || Duration::from_secs_f64((0.4 + rate.sample(&mut random).min(20.0)) / 1e3)
}

/// Answers of a router near by.
fn at_once(seed: u64, checked: &Checked) -> Vec<Exchange> {
    let mut leisure = leisure(seed);
    questions(checked).map(|at| answered(at, at + leisure())).collect()
}

/// Answers of a router behind the network: questions share it with the check's own packets, both ways.
fn through(scenario: &Scenario, seed: u64, checked: &Checked) -> Vec<Exchange> {
    let asked: Vec<(usize, Duration)> = questions(checked).enumerate().collect();
    let there = carried(scenario, seed, Direction::Up, &checked.truth.up, &asked);
    let mut leisure = leisure(seed);
    let answers: Vec<(usize, Duration)> = there.iter().map(|(at, came)| (*at, *came + leisure())).collect();
    let back = carried(scenario, seed, Direction::Down, &checked.truth.down, &answers);
    let mut exchanges = vec![Exchange::Lost; asked.len()];
    for (at, came) in back {
        exchanges[at] = answered(asked[at].1, came);
    }
    exchanges
}

/// When those of the packets come out that do.
fn carried(
    scenario: &Scenario,
    seed: u64,
    direction: Direction,
    others: &[PacketTruth],
    packets: &[(usize, Duration)],
) -> Vec<(usize, Duration)> {
    let mut link = scenario.link(direction, seed ^ 0x5eed);
    let mut offered: Vec<(Duration, Option<usize>, PacketInfo)> = others
        .iter()
        .map(|it| (it.offered, None, PacketInfo { flow: it.flow, tos: it.tos, bytes: it.bytes, seq: it.seq }))
        .chain(packets.iter().map(|(at, when)| (*when, Some(*at), echo())))
        .collect();
    offered.sort_by_key(|(when, at, _)| (*when, *at));
    let mut out = Vec::new();
    for (when, at, packet) in offered {
        let outcome = link.offer(when, &packet);
        if let (Some(at), Outcome::Delivered { at: came, .. }) = (at, outcome) {
            out.push((at, came));
        }
    }
    out.sort_by_key(|(_, came)| *came);
    out
}

fn echo() -> PacketInfo {
    let address = |last| IpAddr::from([192, 0, 2, last]);
    PacketInfo {
        flow: FlowKey {
            protocol: Protocol::Icmp,
            from: address(2),
            from_port: 0,
            to: address(1),
            to_port: 0,
        },
        tos: 0,
        bytes: BYTES,
        seq: None,
    }
}

fn answered(left: Duration, came: Duration) -> Exchange {
    let micros = Micros::from_duration;
    Exchange::Answered { at: micros(came), rtt: micros(came.saturating_sub(left)) }
}
