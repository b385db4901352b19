//! What an endpoint of one kind has to tell beside the figures that all media endpoints have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TurnDetails;
use super::value::tidy;
use super::{
    AddressTried, EchoDetails, GatewayDetails, IcmpDetails, MarkingDetails, MtuDetails, NatDetails,
    PathDetails, ServiceDetails, WhipDetails,
};
use super::{Distribution, Estimate, Exact, SmoothedJitter, Value};
use super::{
    DnsDetails, HttpsDetails, NtpDetails, QuicDetails, Security, TcpDetails, TlsDetails, WssDetails,
};
use crate::confidence::LEVEL;
use crate::confidence::loss;
use crate::metrics::round_trip::{Exchange, RoundTrips};
use crate::trace::StampSource;

/// What an endpoint of one kind has to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "of", rename_all = "snake_case", deny_unknown_fields)]
pub enum Details {
    /// A STUN server.
    Stun(StunDetails),
    /// A STAMP reflector that is no Greenroom endpoint.
    Stamp(StampDetails),
    /// A name, as name servers know it.
    Dns(DnsDetails),
    /// Something that speaks TLS.
    Tls(TlsDetails),
    /// A web service.
    Https(Box<HttpsDetails>),
    /// Something that takes TCP connections.
    Tcp(TcpDetails),
    /// A time server.
    Ntp(NtpDetails),
    /// A WebSocket.
    Wss(WssDetails),
    /// Something that speaks QUIC.
    Quic(QuicDetails),
    /// A host that answers echo requests.
    Icmp(IcmpDetails),
    /// A TURN server.
    Turn(Box<TurnDetails>),
    /// The first router on the way to an endpoint.
    Gateway(Box<GatewayDetails>),
    /// The hops on the way to a host.
    Path(Box<PathDetails>),
    /// The largest packet that gets to a host.
    Mtu(Box<MtuDetails>),
    /// What becomes of marks on packets.
    Marking(Box<MarkingDetails>),
    /// What a NAT does.
    Nat(Box<NatDetails>),
    /// A WebRTC server that media were published to.
    Whip(Box<WhipDetails>),
    /// An endpoint that a browser's media went to and came back from.
    Echo(Box<EchoDetails>),
    /// A service for calls.
    Service(Box<ServiceDetails>),
}

impl Details {
    /// The round trips, of kinds that measure them by questions and answers.
    pub fn round_trip(&self) -> Option<&RoundTrip> {
        match self {
            Self::Stun(stun) => Some(&stun.round_trip),
            Self::Stamp(stamp) => Some(&stamp.round_trip),
            // Every name server has its own: those of the first that answered.
            Self::Dns(dns) => {
                dns.servers.iter().find(|server| server.failure.is_none()).map(|server| &server.round_trip)
            }
            Self::Tls(tls) => Some(&tls.connect.round_trip),
            Self::Https(https) => Some(&https.connect.round_trip),
            Self::Tcp(tcp) => Some(&tcp.connect.round_trip),
            Self::Ntp(ntp) => Some(&ntp.round_trip),
            Self::Wss(wss) => Some(&wss.round_trip),
            Self::Quic(quic) => Some(&quic.round_trip),
            Self::Icmp(icmp) => Some(&icmp.round_trip),
            Self::Gateway(gateway) => Some(&gateway.round_trip),
            Self::Path(path) => Some(&path.round_trip),
            Self::Marking(marking) => Some(&marking.unmarked),
            Self::Nat(nat) => Some(&nat.round_trip),
            // Not by questions: by what the server reports of media.
            Self::Whip(_) | Self::Echo(_) => None,
            Self::Turn(turn) => turn.transports.iter().find_map(|way| way.relayed.as_ref()),
            // Many hosts, each asked once.
            Self::Service(_) => None,
            // Few of them, of many sizes.
            Self::Mtu(_) => None,
        }
    }

    /// Whether its kind of figures of media are counted and reported by their two ends, not computed from samples.
    pub fn is_reported(&self) -> bool {
        matches!(self, Self::Whip(_) | Self::Echo(_))
    }

    /// The addresses tried in vain before another one answered, of kinds that try several.
    pub fn tried(&self) -> &[AddressTried] {
        match self {
            Self::Tcp(tcp) => &tcp.connect.tried,
            Self::Tls(tls) => &tls.connect.tried,
            Self::Https(https) => &https.connect.tried,
            Self::Wss(wss) => &wss.tried,
            Self::Quic(quic) => &quic.tried,
            Self::Ntp(ntp) => &ntp.tried,
            Self::Icmp(icmp) => &icmp.tried,
            _ => &[],
        }
    }

    /// What was agreed on and the certificate, of kinds that encrypt by TLS.
    pub fn security(&self) -> Option<&Security> {
        match self {
            Self::Tls(tls) => Some(&tls.security),
            Self::Https(https) => Some(&https.security),
            Self::Wss(wss) => Some(&wss.security),
            Self::Quic(quic) => Some(&quic.security),
            Self::Whip(whip) => whip.security.measured(),
            Self::Turn(turn) => turn.transports.iter().find_map(|way| way.security.as_ref()),
            Self::Stun(_) | Self::Stamp(_) | Self::Dns(_) | Self::Tcp(_) | Self::Ntp(_) => None,
            Self::Icmp(_) | Self::Gateway(_) | Self::Path(_) | Self::Mtu(_) | Self::Service(_) => None,
            Self::Marking(_) | Self::Nat(_) | Self::Echo(_) => None,
        }
    }
}

/// What a STUN server told (RFC 8489).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StunDetails {
    /// Binding requests, each sent once.
    pub round_trip: RoundTrip,
    /// This computer's address and port as the server sees them (XOR-MAPPED-ADDRESS).
    pub reflexive_address: Value<Exact<String>>,
    /// Whether another address came back in the course of the run: a NAT that changes its mapping.
    pub reflexive_address_changed: Value<Exact<bool>>,
    /// What the server calls itself (SOFTWARE).
    pub software: Value<Exact<String>>,
    /// Answers that were errors, of all answers.
    pub error_answers: u64,
    /// Genuine answers from another address than the one asked; they do not count as answers.
    pub answers_from_elsewhere: u64,
    /// Answers that were damaged on the way (FINGERPRINT); they do not count as answers.
    pub damaged_answers: u64,
}

/// What a STAMP reflector told (RFC 8762, RFC 8972).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StampDetails {
    /// Test packets and their reflections, the reflector's hold taken out.
    pub round_trip: RoundTrip,
    /// Whether it numbers its replies by itself, so that loss up and down can be told apart (RFC 8762 section 4.2). It only shows once
    /// something was lost upward: until then `not_tested`.
    pub stateful: Value<Exact<bool>>,
    /// Whether it answers the extensions of RFC 8972.
    pub extensions: Value<Exact<bool>>,
    /// DSCP that the test packets had when they reached it (RFC 8972 section 4.4); they leave with 0.
    pub received_dscp: Value<Exact<u8>>,
    /// Packets of the reflector's that were no reflection of this run's, or came from another address.
    pub ignored_packets: u64,
}

/// Figures of questions and answers. Loss and variation are those of both ways together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoundTrip {
    /// Who took the times at this end.
    pub stamped_by: StampSource,
    /// Questions that the run was to ask: `planned = sent + send_failed + not_sent`.
    pub planned: u64,
    /// Those that left: `sent = answered + lost + awaited`.
    pub sent: u64,
    /// Those answered.
    pub answered: u64,
    /// Those given up.
    pub lost: u64,
    /// Those neither answered nor given up at the end.
    pub awaited: u64,
    /// Those that this computer refused to send.
    pub send_failed: u64,
    /// Those whose turn never came.
    pub not_sent: u64,
    /// Lost, of what was sent and is no longer awaited: the question or its answer.
    pub loss_ratio: Value<Estimate>,
    /// From question to answer.
    pub rtt_ms: Value<Distribution>,
    /// Round trip over the least one (RFC 5481 PDV).
    pub pdv_ms: Value<Distribution>,
    /// Mean absolute difference of the round trips of neighbors (RFC 3393).
    pub ipdv_mean_abs_ms: Value<Estimate>,
    /// Smoothed interarrival jitter of the round trips (RFC 3550 A.8).
    pub jitter_rfc3550_ms: Value<SmoothedJitter>,
}

impl RoundTrip {
    /// The figures of these questions, in the order in which they were to leave.
    pub fn of(exchanges: &[Exchange], stamped_by: StampSource) -> Self {
        let found = RoundTrips::of(exchanges);
        let (counts, share) = (found.counts, found.loss());
        let distribution = |sorted| {
            Distribution::of(sorted)
                .map_or_else(|| missing(counts.sent, "nothing came back"), Value::Measured)
        };
        Self {
            stamped_by,
            planned: counts.planned,
            sent: counts.sent,
            answered: counts.answered,
            lost: counts.lost,
            awaited: counts.awaited,
            send_failed: counts.send_failed,
            not_sent: counts.not_sent,
            loss_ratio: match share.ratio() {
                Some(ratio) => {
                    let shown = loss::displayed_bursty(&found.losses, LEVEL);
                    let (low, high) = (Some(tidy(shown.low)), Some(tidy(shown.high)));
                    Value::Measured(Estimate { value: tidy(ratio.get()), low, high, n: share.whole })
                }
                None => Value::not_tested("nothing was sent, or all of it is still awaited"),
            },
            rtt_ms: distribution(&found.rtt),
            pdv_ms: distribution(&found.pdv),
            ipdv_mean_abs_ms: match found.ipdv_mean_abs {
                Some(mean) => Value::estimate(tidy(mean.ms), mean.n),
                None => missing(counts.sent, "no two answers in a row came"),
            },
            jitter_rfc3550_ms: match found.jitter_rfc3550 {
                Some(jitter) => Value::Measured(SmoothedJitter {
                    n: jitter.n,
                    last: tidy(jitter.last_ms),
                    p95: tidy(jitter.p95_ms),
                    max: tidy(jitter.max_ms),
                }),
                None => missing(counts.sent, "fewer than two answers came"),
            },
        }
    }
}

/// What was tried and gave nothing has failed; what was not tried was not tested.
fn missing<T>(sent: u64, reason: &str) -> Value<T> {
    if sent > 0 { Value::failed(reason) } else { Value::not_tested("nothing was sent") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Micros;

    #[test]
    fn what_did_not_come_back_is_a_failure_and_what_was_not_asked_was_not_tested() {
        let silent = RoundTrip::of(&[Exchange::Lost; 60], StampSource::Kernel);
        assert_eq!(silent.rtt_ms, Value::failed("nothing came back"));
        let lost = silent.loss_ratio.measured().unwrap();
        assert_eq!((lost.value, lost.n), (1.0, 60));
        let unasked = RoundTrip::of(&[Exchange::NotSent], StampSource::Kernel);
        assert_eq!(unasked.rtt_ms, Value::not_tested("nothing was sent"));
        assert!(unasked.loss_ratio.measured().is_none());
    }

    #[test]
    fn a_clean_run_bounds_its_loss() {
        let exchange =
            |i: i64| Exchange::Answered { at: Micros::from_millis(50 * i), rtt: Micros::from_millis(20) };
        let clean = RoundTrip::of(&(0..200).map(exchange).collect::<Vec<_>>(), StampSource::Kernel);
        let lost = clean.loss_ratio.measured().unwrap();
        assert_eq!((lost.value, lost.low), (0.0, Some(0.0)));
        assert!(lost.high.unwrap() < 0.02, "{lost:?}");
        assert_eq!(clean.pdv_ms.measured().unwrap().max, 0.0);
        assert_eq!(clean.rtt_ms.measured().unwrap().p95, Some(20.0));
    }
}
