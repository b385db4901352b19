//! What else was asked in a situation, and what it told: as the kinds of endpoint tell it, with round trips that differ from seed to seed.

use std::collections::BTreeMap;
use std::time::Duration;

use greenroom_reports::assess::TargetMeta;
use greenroom_reports::metrics::percentile::Sorted;
use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{
    AddressTried, Certificate, CertificateFault, Connects, Details, Distribution, DnsAnswer, DnsDetails,
    DnsOutcome, Estimate, HttpsDetails, Interception, MarkFate, NameServer, NatBehavior, NtpDetails, Reached,
    RoundTrip, Security, StunDetails, TlsDetails, Value,
};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::TargetFailure;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;

/// Something else that was asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "finding", rename_all = "snake_case", deny_unknown_fields)]
pub enum Beside {
    /// A web service.
    Web {
        /// How long its answers take.
        #[serde(default = "usual_ms")]
        takes_ms: f64,
        /// What it answers.
        #[serde(default = "fine")]
        status: u16,
        /// Whether nothing came back over IPv6.
        #[serde(default)]
        ipv6_silent: bool,
    },
    /// A web service behind a page that wants people to sign in.
    Portal,
    /// A service that TLS is spoken with, whose certificate does not hold.
    Certificate {
        /// What is wrong.
        fault: Fault,
    },
    /// The computer's name servers.
    Names {
        /// How long the answers take.
        #[serde(default = "near_ms")]
        takes_ms: f64,
        /// The share of questions that is lost.
        #[serde(default)]
        loses: f64,
        /// Whether names are made up.
        #[serde(default)]
        invents: bool,
        /// Whether the first of two servers answers nobody.
        #[serde(default)]
        first_silent: bool,
        /// Whether the name asked for does not exist.
        #[serde(default)]
        missing: bool,
    },
    /// A time server.
    Clock {
        /// How far the computer's clock is behind.
        off_s: f64,
    },
    /// A STUN server.
    Stun {
        /// Whether the public address changed meanwhile.
        #[serde(default)]
        address_changes: bool,
    },
    /// Packets marked EF.
    Marks {
        /// What becomes of them upward.
        fate: MarkFate,
    },
    /// The NAT, by a STUN server with two addresses.
    Nat {
        /// What its mapping depends on.
        mapping: NatBehavior,
    },
    /// A relay, asked over UDP.
    Turn {
        /// The share of the relayed packets that it loses.
        loses: f64,
    },
    /// A STUN server that nothing came back from.
    StunSilent,
    /// A port that nothing listens at.
    Refused,
    /// A proxy that does not let a connection through.
    ProxyRefuses,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It has ended.
    Expired,
    /// It is for other names.
    WrongName,
    /// A product that opens connections made it.
    Intercepted,
}

const fn usual_ms() -> f64 {
    60.0
}

const fn near_ms() -> f64 {
    8.0
}

const fn fine() -> u16 {
    200
}

impl Beside {
    /// What it told.
    pub(super) fn told(&self, seed: u64) -> TargetMeta {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x6265_7369_6465);
        let r = &mut random;
        match self {
            Self::Web { takes_ms, status, ipv6_silent } => {
                let tried = ipv6_silent.then(|| AddressTried {
                    address: "[2001:db8::7]:443".to_owned(),
                    failure: TargetFailure::Silent,
                });
                told("https", Details::Https(Box::new(web(r, *takes_ms, *status, tried, None))))
            }
            Self::Portal => {
                let hint = "the answer redirects to another site: http://login.example/";
                told("https", Details::Https(Box::new(web(r, usual_ms(), 302, None, Some(hint)))))
            }
            Self::Certificate { fault } => told(
                "tls",
                Details::Tls(TlsDetails {
                    connect: connects(r, 20.0, None),
                    handshake_ms: times(r, 3, 25.0),
                    handshakes_failed: 0,
                    security: security(Some(*fault)),
                }),
            ),
            Self::Names { takes_ms, loses, invents, first_silent, missing } => {
                let outcome = if *missing { DnsOutcome::NoSuchName } else { DnsOutcome::Records };
                let server = name_server(r, (*takes_ms, *loses), outcome, *invents);
                let silent = NameServer {
                    address: "192.0.2.53:53".to_owned(),
                    failure: Some(TargetFailure::Silent),
                    round_trip: RoundTrip::of(&[Exchange::Lost; 12], StampSource::Kernel),
                    answers: BTreeMap::new(),
                    ..server.clone()
                };
                let servers = if *first_silent { vec![silent, server] } else { vec![server] };
                told(
                    "dns",
                    Details::Dns(DnsDetails {
                        name: "service.example".to_owned(),
                        servers,
                        agree: Value::not_tested("there is one alone"),
                        differ_in: Vec::new(),
                    }),
                )
            }
            Self::Clock { off_s } => told("ntp", Details::Ntp(clock(r, off_s * 1e3))),
            Self::Stun { address_changes } => told(
                "stun",
                Details::Stun(StunDetails {
                    round_trip: round_trips(r, 60, 30.0, 0.0),
                    reflexive_address: Value::exact("198.51.100.7:40000".to_owned()),
                    reflexive_address_changed: Value::exact(*address_changes),
                    software: Value::not_tested("it does not say"),
                    error_answers: 0,
                    answers_from_elsewhere: 0,
                    damaged_answers: 0,
                }),
            ),
            Self::Marks { fate } => told("dscp", super::way::marking(r, *fate)),
            Self::Nat { mapping } => told("nat", super::way::nat(r, *mapping)),
            Self::Turn { loses } => told("turn", super::way::relay(r, *loses)),
            Self::StunSilent => failed("stun", TargetFailure::Silent),
            Self::Refused => failed("tcp", TargetFailure::PortClosed),
            Self::ProxyRefuses => failed(
                "https",
                TargetFailure::Proxy {
                    proxy: "http://proxy.example:3128".to_owned(),
                    detail: "403 Forbidden".to_owned(),
                },
            ),
        }
    }
}

fn meta(kind: &str) -> TargetMeta {
    TargetMeta {
        url: format!("{kind}:service.example"),
        kind: kind.to_owned(),
        reached: None,
        identity: None,
        failure: None,
        details: None,
        in_process: false,
    }
}

fn told(kind: &str, details: Details) -> TargetMeta {
    let transport = if matches!(kind, "stun" | "dns" | "ntp" | "dscp" | "nat") { "udp" } else { "tcp" };
    let reached = Reached {
        transport: transport.to_owned(),
        address: Some("192.0.2.7:443".to_owned()),
        setup_ms: None,
        instead_of_udp: None,
    };
    TargetMeta { reached: Some(reached), details: Some(details), ..meta(kind) }
}

fn failed(kind: &str, failure: TargetFailure) -> TargetMeta {
    TargetMeta { failure: Some(failure), ..meta(kind) }
}

/// A time of this many milliseconds, up to half as long again.
fn about(random: &mut ChaCha8Rng, ms: f64) -> Micros {
    Micros::from_duration(Duration::from_secs_f64(ms * (1.0 + 0.5 * random.random::<f64>()) / 1e3))
}

pub(super) fn round_trips(random: &mut ChaCha8Rng, questions: usize, ms: f64, loses: f64) -> RoundTrip {
    let exchanges: Vec<Exchange> = (0..questions)
        .map(|_| match random.random::<f64>() < loses {
            true => Exchange::Lost,
            false => Exchange::Answered { at: Micros::ZERO, rtt: about(random, ms) },
        })
        .collect();
    RoundTrip::of(&exchanges, StampSource::Kernel)
}

fn times(random: &mut ChaCha8Rng, how_many: usize, ms: f64) -> Value<Distribution> {
    let sorted: Sorted = (0..how_many).map(|_| about(random, ms)).collect();
    Distribution::of(&sorted).map_or_else(|| Value::not_tested("none"), Value::Measured)
}

fn connects(random: &mut ChaCha8Rng, ms: f64, tried: Option<AddressTried>) -> Connects {
    Connects {
        round_trip: round_trips(random, 3, ms, 0.0),
        refused: 0,
        reset: 0,
        silent: 0,
        failed_otherwise: 0,
        stood_late: Value::exact(0),
        tried: tried.into_iter().collect(),
    }
}

fn web(
    random: &mut ChaCha8Rng,
    takes_ms: f64,
    status: u16,
    tried: Option<AddressTried>,
    portal: Option<&str>,
) -> HttpsDetails {
    HttpsDetails {
        connect: connects(random, 20.0, tried),
        lookup_ms: times(random, 3, 5.0),
        handshake_ms: times(random, 3, 25.0),
        first_byte_ms: times(random, 3, takes_ms),
        total_ms: times(random, 3, takes_ms + 50.0),
        requests_failed: 0,
        last_failure: None,
        status: Value::exact(status),
        version: Value::exact("HTTP/2".to_owned()),
        offers_http3: Value::exact(false),
        http3: Value::not_tested("it does not offer it"),
        software: Value::not_tested("it does not say"),
        body_bytes: 1_000,
        body_cut: false,
        redirects: Vec::new(),
        redirect_stopped: None,
        proxy: Value::not_tested("there is none"),
        captive_portal_hint: portal
            .map_or_else(|| Value::not_tested("nothing suggests one"), |hint| Value::exact(hint.to_owned())),
        security: security(None),
    }
}

fn security(fault: Option<Fault>) -> Security {
    let time = |text: &str| text.parse().ok();
    let (faults, interception) = match fault {
        None => (Vec::new(), Interception::None),
        Some(Fault::Expired) => (
            vec![CertificateFault::Expired { not_after: "2026-11-01T00:00:00Z".parse().expect("a time") }],
            Interception::None,
        ),
        Some(Fault::WrongName) => (
            vec![CertificateFault::WrongName { names: vec!["other.example".to_owned()] }],
            Interception::None,
        ),
        Some(Fault::Intercepted) => (
            Vec::new(),
            Interception::KnownProduct { product: "Fortinet".to_owned(), issuer: "CN=FortiGate".to_owned() },
        ),
    };
    Security {
        version: Value::exact("TLS 1.3".to_owned()),
        cipher: Value::exact("TLS13_AES_128_GCM_SHA256".to_owned()),
        alpn: Value::not_tested("none was offered"),
        verified: Value::exact(faults.is_empty()),
        faults,
        interception: Value::Measured(interception),
        as_expected: Value::not_tested("nothing was expected"),
        expected: None,
        days_left: Value::exact(60),
        changed: false,
        chain: vec![Certificate {
            subject: "CN=service.example".to_owned(),
            issuer: "CN=An authority".to_owned(),
            not_before: time("2026-01-01T00:00:00Z"),
            not_after: time("2026-11-01T00:00:00Z"),
            names: 1,
            key: "EC P-256".to_owned(),
            sha256: "00".repeat(32),
        }],
    }
}

fn name_server(
    random: &mut ChaCha8Rng,
    (takes_ms, loses): (f64, f64),
    outcome: DnsOutcome,
    invents: bool,
) -> NameServer {
    let records = if outcome == DnsOutcome::Records { vec!["192.0.2.7".to_owned()] } else { Vec::new() };
    let answer = DnsAnswer {
        outcome,
        outcomes: BTreeMap::from([(outcome, 6)]),
        records,
        aliases: Vec::new(),
        ttl_s: Value::exact(300),
        first_ms: Value::exact(takes_ms),
        time_ms: times(random, 6, takes_ms),
        truncated: false,
        over_tcp_ms: Value::not_tested("UDP carried it"),
    };
    NameServer {
        address: "192.0.2.54:53".to_owned(),
        failure: None,
        round_trip: round_trips(random, 12, takes_ms, loses),
        answers: BTreeMap::from([("A".to_owned(), answer)]),
        invents_names: Value::exact(invents),
        says_it_validates: Value::exact(false),
        answers_from_elsewhere: 0,
        stray_answers: 0,
    }
}

fn clock(random: &mut ChaCha8Rng, off_ms: f64) -> NtpDetails {
    let half = about(random, 20.0).as_ms() / 2.0;
    let offset = Estimate { value: off_ms, low: Some(off_ms - half), high: Some(off_ms + half), n: 2 };
    NtpDetails {
        round_trip: round_trips(random, 2, 20.0, 0.0),
        offset_ms: Value::Measured(offset),
        stratum: Value::exact(2),
        unsynchronized: Value::exact(false),
        leap: Value::exact("none".to_owned()),
        reference: Value::exact("192.0.2.123".to_owned()),
        root_delay_ms: Value::exact(1.0),
        root_dispersion_ms: Value::exact(1.0),
        kiss_code: None,
        answers_from_elsewhere: 0,
        stray_answers: 0,
        tried: Vec::new(),
    }
}
