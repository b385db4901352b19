//! What became of the relays that a page tried where the direct way failed: targets of a report as `greenroom check turn:…` has them, and which
//! ports nothing came back from.

use std::collections::BTreeMap;

use greenroom_reports::assess::TargetMeta;
use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{Details, Reached, RoundTrip, TurnDetails, TurnTransport, Value};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::TargetFailure;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::read::{Way, amount, name};
use super::turn::Turn;
use crate::problem::Problem;

/// Most ways: the relays that an operator may offer, and the WebSocket.
const MOST_WAYS: usize = Turn::MOST + 1;
/// Most packets of a moment.
const MOST_TRIPS: usize = 200;
/// Longest that a packet is awaited, and a way may take.
const LONGEST_MS: f64 = 60_000.0;
/// What a browser does not tell.
const UNTOLD: &str = "browsers do not tell";

/// The ways that a page tried beside each other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RelaysRun {
    pub(super) ways: Vec<WayRun>,
    /// The endpoint's UDP ports that nothing came back from.
    pub(super) udp_ports: Vec<u16>,
}

/// One way, by itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WayRun {
    pub(super) way: Way,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) outcome: Outcome,
    /// Until packets could be sent.
    pub(super) setup_ms: Option<f64>,
    pub(super) rtt_ms: Option<f64>,
    /// Departure and round trip (or nothing) of each packet, in microseconds.
    pub(super) trips: Vec<(i64, Option<i64>)>,
}

/// What became of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Works,
    /// Nothing came back from its port.
    Blocked,
    /// The relay does not take what this server handed out.
    Credentials,
    /// The relay gives no address for another reason.
    Declined,
    /// It gives one, and nothing comes through.
    NothingThrough,
    /// It stood and broke.
    Broke,
}

impl RelaysRun {
    /// Looks at what a stranger says.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let long = self.ways.len() > MOST_WAYS || self.udp_ports.len() > MOST_WAYS;
        if long || self.ways.iter().any(|way| way.trips.len() > MOST_TRIPS) {
            return Err(Problem::field("/relays", "has more entries than any run"));
        }
        for way in &self.ways {
            name("/relays/ways/host", &way.host)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
            if way.host.is_empty() || !way.host.chars().all(plain) {
                return Err(Problem::field("/relays/ways/host", "must be a host"));
            }
            for ms in [way.setup_ms, way.rtt_ms].into_iter().flatten() {
                amount("/relays/ways", ms, LONGEST_MS)?;
            }
            const MINUTES: i64 = 600_000_000;
            let mut points = way.trips.iter().flat_map(|(at, trip)| [*at, trip.unwrap_or(0)]);
            if points.any(|point| !(0..=MINUTES).contains(&point)) {
                return Err(Problem::field("/relays/ways/trips", "has a time that no run has"));
            }
        }
        Ok(())
    }

    /// A relay over UDP that answered, whatever it said: UDP gets through to there.
    pub(super) fn over_udp(&self) -> Option<String> {
        let mut answered = self.ways.iter().filter(|way| way.way == Way::TurnUdp && way.has_answered());
        answered.next().map(WayRun::named)
    }

    /// The way of this kind that works.
    pub(super) fn working(&self, kind: Way) -> Option<String> {
        let mut works = self.ways.iter().filter(|way| way.way == kind && way.outcome == Outcome::Works);
        works.next().map(WayRun::named)
    }

    /// The relays, each with its ways. One that was let through by nobody is left out: the endpoint itself tells of that.
    pub(super) fn targets(&self) -> Vec<TargetMeta> {
        let mut hosts: BTreeMap<&str, Vec<&WayRun>> = BTreeMap::new();
        for way in self.ways.iter().filter(|way| way.way.relayed_by().is_some()) {
            hosts.entry(way.host.as_str()).or_default().push(way);
        }
        hosts.into_iter().filter_map(|(host, ways)| target(host, ways)).collect()
    }

    /// What is told of it under the run's settings.
    pub(super) fn told(&self) -> [(String, Json); 2] {
        let ways = self.ways.iter().map(|way| {
            json!({ "way": way.way, "host": way.host, "port": way.port, "outcome": way.outcome, "setup_ms": way.setup_ms, "rtt_ms": way.rtt_ms })
        });
        let direct = self.udp_ports.iter().map(|port| format!("udp/{port}"));
        let closed = self
            .ways
            .iter()
            .filter(|way| way.outcome == Outcome::Blocked)
            .map(|way| format!("{}/{}", if way.way == Way::TurnUdp { "udp" } else { "tcp" }, way.port));
        [
            ("connection_ways".to_owned(), Json::from_iter(ways)),
            ("connection_blocked_ports".to_owned(), json!(direct.chain(closed).collect::<Vec<_>>())),
        ]
    }
}

impl WayRun {
    /// As what worked is named: `turn-udp/3478`.
    fn named(&self) -> String {
        format!("{}/{}", self.way.name(), self.port)
    }

    /// Whether anything came back from it. Where a way broke before it stood, nobody knows.
    fn has_answered(&self) -> bool {
        match self.outcome {
            Outcome::Works | Outcome::Credentials | Outcome::Declined | Outcome::NothingThrough => true,
            Outcome::Broke => self.setup_ms.is_some(),
            Outcome::Blocked => false,
        }
    }

    /// Why it does not work.
    fn failure(&self) -> Option<TargetFailure> {
        Some(match self.outcome {
            Outcome::Works => return None,
            Outcome::Blocked => TargetFailure::Silent,
            Outcome::Credentials => TargetFailure::RelayUserRefused,
            Outcome::Declined => TargetFailure::RelayRefused {
                detail: "it gives no address".to_owned(),
                advice: "Ask whoever runs the relay why; it may be full.".to_owned(),
            },
            Outcome::NothingThrough => TargetFailure::RelayForwardsNothing,
            Outcome::Broke => TargetFailure::Died,
        })
    }

    fn transport(&self) -> TurnTransport {
        let untold = || Value::not_tested(UNTOLD);
        let trips: Vec<Exchange> = self.trips.iter().map(|(at, trip)| exchange(*at, *trip)).collect();
        TurnTransport {
            transport: self.way.relayed_by().unwrap_or_default().to_owned(),
            address: format!("{}:{}", self.host, self.port),
            setup_ms: Value::not_tested(UNTOLD),
            challenge_ms: Value::not_tested(UNTOLD),
            allocate_ms: Value::not_tested(UNTOLD),
            relayed_address: untold(),
            reflexive_address: untold(),
            lifetime_s: Value::not_tested(UNTOLD),
            relayed_by: Value::exact("endpoint".to_owned()),
            relayed: (!trips.is_empty()).then(|| RoundTrip::of(&trips, StampSource::User)),
            relayed_back: None,
            reordered: 0,
            duplicated: 0,
            security: None,
            failure: self.failure(),
        }
    }
}

fn exchange(at: i64, trip: Option<i64>) -> Exchange {
    match trip {
        Some(trip) => Exchange::Answered { at: Micros::new(at + trip), rtt: Micros::new(trip) },
        None => Exchange::Lost,
    }
}

fn target(host: &str, mut ways: Vec<&WayRun>) -> Option<TargetMeta> {
    // UDP first, and of two ports over the same the one that works.
    ways.sort_by_key(|way| {
        (way.way.relayed_by().map(|by| by != "udp"), way.way.relayed_by(), way.outcome != Outcome::Works)
    });
    let best = ways.iter().find(|way| way.outcome == Outcome::Works);
    let said = ways.iter().find(|way| way.outcome != Outcome::Works && way.has_answered());
    let meta = TargetMeta {
        url: format!("turn:{host}"),
        kind: "turn".to_owned(),
        reached: None,
        identity: None,
        failure: None,
        details: None,
        in_process: false,
    };
    match (best, said) {
        (Some(best), _) => {
            let reached = Reached {
                transport: best.way.relayed_by()?.to_owned(),
                address: None,
                setup_ms: best.setup_ms,
                instead_of_udp: None,
            };
            let transports = ways.iter().map(|way| way.transport()).collect();
            let details = Details::Turn(Box::new(TurnDetails { transports }));
            Some(TargetMeta { reached: Some(reached), details: Some(details), ..meta })
        }
        (None, Some(said)) => Some(TargetMeta { failure: said.failure(), ..meta }),
        (None, None) => None,
    }
}
