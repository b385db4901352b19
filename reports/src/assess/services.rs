//! What endpoints that carry no media tell of a call that needs them: certificates, names, clocks, connections.
//!
//! Who names an endpoint in a check says that the call needs it. What each of them told is judged here by itself; what several of them
//! tell together is in [`super::combining`].

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::causes::worded;
use super::limits::limits;
use super::{relays, way};
use crate::schema::{
    Cause, CertificateFault, Connects, Details, DnsDetails, DnsOutcome, Estimate, FaultDirection,
    HttpsDetails, Interception, MtuDetails, NameServer, NtpDetails, PartState, Place, RoundTrip, Security,
    ServiceDetails, State, StunDetails, Use, Value, WssDetails,
};
use crate::verdict::words::plain;
use crate::verdict::{Band, Profile};

/// What speaks against the endpoint at `host`, for the uses that need it; `profile` says what loss audio bears each way.
pub(super) fn causes(details: &Details, host: &str, uses: &[Use], profile: &Profile) -> Vec<Cause> {
    let bearable = profile.uses.get(&Use::Audio).and_then(|audio| audio.loss_ratio.as_ref());
    let told = Told { host, uses, bearable };
    let mut causes = match details {
        Details::Stun(stun) => told.stun(stun),
        Details::Dns(dns) => told.names(dns),
        Details::Https(https) => told.web(https),
        Details::Wss(wss) => told.socket(wss).into_iter().collect(),
        Details::Ntp(ntp) => told.clock(ntp).into_iter().collect(),
        Details::Tcp(tcp) => told.connections(&tcp.connect).into_iter().collect(),
        Details::Service(service) => told.parts(service),
        Details::Mtu(mtu) => told.sizes(mtu).into_iter().collect(),
        Details::Marking(marking) => way::marks(&told, marking),
        Details::Nat(nat) => way::nat(&told, nat).into_iter().collect(),
        Details::Tls(tls) => told.connections(&tls.connect).into_iter().collect(),
        Details::Turn(turn) => relays::causes(&told, turn),
        // Those with samples are judged by them, and hosts answer echo requests at their leisure.
        _ => Vec::new(),
    };
    let mut shown: Vec<Cause> =
        details.security().into_iter().flat_map(|security| told.certificate(security)).collect();
    if matches!(details, Details::Turn(turn) if relays::goes_without_tls(turn)) {
        // Worth knowing, and nothing that the call depends on.
        shown.iter_mut().for_each(|cause| cause.state = State::Ready);
    }
    causes.extend(shown);
    causes
}

/// Octets that a packet of media has at most behind the headers of IP and UDP, as WebRTC sends them.
const MEDIA_PAYLOAD: u16 = 1_200;

/// Whom it was told by, and what needs it.
pub(super) struct Told<'a> {
    pub(super) host: &'a str,
    pub(super) uses: &'a [Use],
    /// What loss audio bears each way. `None`: the profile does not judge it.
    bearable: Option<&'a Band>,
}

impl Told<'_> {
    pub(super) fn cause(&self, code: &str, state: State, place: Place, params: &[(&str, Json)]) -> Cause {
        let mut named = BTreeMap::from([("host".to_owned(), json!(self.host))]);
        named.extend(params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Cause { state, place, uses: self.uses.to_vec(), ..worded(code, named) }
    }

    /// Parts of a service that will not work.
    fn parts(&self, service: &ServiceDetails) -> Vec<Cause> {
        let fails = service.parts.iter().filter(|part| part.state == PartState::Fails);
        let told = fails.map(|part| {
            let state = if part.essential { State::Blocked } else { State::Degraded };
            let named = [("service", &service.title), ("part", &part.name), ("without", &part.without)];
            let params = named.map(|(name, value)| (name, json!(value)));
            let is_file = service.title == ServiceDetails::APPLICATION;
            let code = if is_file { "application_file_fails" } else { "service_part_fails" };
            Cause {
                evidence: part.why.iter().cloned().collect(),
                ..self.cause(code, state, part.place, &params)
            }
        });
        told.collect()
    }

    /// Packets that vanish without a word for their size.
    fn sizes(&self, mtu: &MtuDetails) -> Option<Cause> {
        let (carried, payload) = (mtu.path_mtu_bytes.fact()?, mtu.udp_payload_bytes.fact()?);
        if mtu.black_hole.fact() != Some(&true) {
            return None;
        }
        let state = if *payload < MEDIA_PAYLOAD { State::Blocked } else { State::Degraded };
        let link =
            mtu.link_mtu_bytes.fact().map(|link| format!("this computer's own link carries {link} bytes"));
        Some(Cause {
            evidence: link.into_iter().collect(),
            ..self.cause("mtu_black_hole", state, Place::Relay, &[("bytes", json!(carried))])
        })
    }

    fn stun(&self, stun: &StunDetails) -> Vec<Cause> {
        let mut causes: Vec<Cause> = self.round_trips(&stun.round_trip).into_iter().collect();
        if stun.reflexive_address_changed.fact() == Some(&true) {
            let evidence = stun.reflexive_address.fact().map(|last| format!("the last one was {last}"));
            causes.push(Cause {
                evidence: evidence.into_iter().collect(),
                ..self.cause("nat_changes_mapping", State::Degraded, Place::LocalNetwork, &[])
            });
        }
        causes
    }

    /// Questions and answers lost, where each was sent once and nobody holds them back.
    fn round_trips(&self, round_trip: &RoundTrip) -> Option<Cause> {
        self.lost("round_trips_lost", "questions were answered", round_trip)
    }

    /// More lost, there or back, than audio bears both ways together; `what` came back of what was sent.
    pub(super) fn lost(&self, code: &str, what: &str, round_trip: &RoundTrip) -> Option<Cause> {
        let both_ways = |one_way: f64| 1.0 - (1.0 - one_way) * (1.0 - one_way);
        let band = self.bearable?;
        let (good, limit) = (both_ways(band.good), band.limit.map(both_ways));
        let Estimate { value, low, high, n } = *round_trip.loss_ratio.measured()?;
        let low = low?;
        let state = match low {
            _ if limit.is_some_and(|limit| low > limit) => State::Blocked,
            _ if low > good => State::Degraded,
            _ => return None,
        };
        let percent = json!(value * 100.0);
        Some(Cause {
            direction: Some(FaultDirection::Both),
            metric: Some("round_trip.loss_ratio".to_owned()),
            measured: Some(value),
            good: Some(good),
            limit,
            margin: Some(value / good),
            evidence: vec![format!(
                "{} of {n} {what} ({} to {} % lost at 95 %)",
                round_trip.answered,
                plain(&json!(low * 100.0)),
                plain(&json!(high.unwrap_or(1.0) * 100.0)),
            )],
            ..self.cause(code, state, Place::Path, &[("percent", percent)])
        })
    }

    fn connections(&self, connect: &Connects) -> Option<Cause> {
        let tried = connect.round_trip.answered + connect.refused + connect.reset + connect.silent;
        let failed = tried - connect.round_trip.answered;
        // One of several may be chance.
        if failed < 2 || failed * 2 < tried {
            return None;
        }
        let evidence = [
            (connect.refused, "refused"),
            (connect.reset, "broken off"),
            (connect.silent, "without any answer"),
        ];
        let place = if connect.refused > 0 { Place::Service } else { Place::Unknown };
        let params = [("failed", json!(failed)), ("tried", json!(tried))];
        Some(Cause {
            evidence: evidence.iter().filter(|(n, _)| *n > 0).map(|(n, how)| format!("{n} {how}")).collect(),
            ..self.cause("connections_fail", State::Degraded, place, &params)
        })
    }

    fn certificate(&self, security: &Security) -> Vec<Cause> {
        let mut causes = Vec::new();
        let issuer = security.chain.first().map(|shown| format!("its issuer calls itself {}", shown.issuer));
        if security.as_expected.fact() == Some(&false) {
            causes.push(self.cause("certificate_unexpected", State::Blocked, Place::Relay, &[]));
        }
        let opened = match &security.interception {
            crate::schema::Value::Measured(Interception::KnownProduct { product, .. }) => {
                Some(("tls_intercepted", State::Degraded, json!(product)))
            }
            crate::schema::Value::Measured(Interception::PrivateIssuer { issuer }) => {
                Some(("certificate_private", State::Ready, json!(issuer)))
            }
            _ => None,
        };
        let refused = security.verified.fact() == Some(&false);
        if let Some((code, state, by)) = &opened {
            let state = if refused { State::Blocked } else { *state };
            causes.push(Cause {
                evidence: issuer.iter().cloned().collect(),
                ..self.cause(code, state, Place::Relay, &[("by", by.clone())])
            });
        }
        match security.faults.first().filter(|_| refused && opened.is_none()) {
            Some(fault) => causes.push(self.certificate_fault(fault, issuer)),
            None if refused => {}
            None => causes.extend(self.ending(security)),
        }
        causes
    }

    fn certificate_fault(&self, fault: &CertificateFault, issuer: Option<String>) -> Cause {
        let (code, place, params) = match fault {
            CertificateFault::Expired { not_after } => {
                ("certificate_expired", Place::Service, vec![("when", json!(not_after.to_string()))])
            }
            CertificateFault::NotYetValid { not_before } => {
                ("certificate_not_yet_valid", Place::Unknown, vec![("when", json!(not_before.to_string()))])
            }
            CertificateFault::WrongName { names } => {
                ("certificate_wrong_name", Place::Unknown, vec![("names", json!(names.join(", ")))])
            }
            CertificateFault::SelfSigned | CertificateFault::UnknownIssuer => {
                ("certificate_untrusted", Place::Unknown, Vec::new())
            }
            CertificateFault::Revoked => ("certificate_revoked", Place::Service, Vec::new()),
            CertificateFault::Other { detail } => {
                ("certificate_refused", Place::Service, vec![("detail", json!(detail))])
            }
        };
        let doubt = match fault {
            CertificateFault::WrongName { .. }
            | CertificateFault::SelfSigned
            | CertificateFault::UnknownIssuer => {
                Some("nothing tells apart whether the service shows it or somebody on the way".to_owned())
            }
            CertificateFault::NotYetValid { .. } => Some(
                "nothing tells apart whether it is too new or this computer's clock is behind".to_owned(),
            ),
            _ => None,
        };
        Cause {
            evidence: issuer.into_iter().chain(doubt).collect(),
            ..self.cause(code, State::Blocked, place, &params)
        }
    }

    /// A certificate that holds and should have been renewed.
    fn ending(&self, security: &Security) -> Option<Cause> {
        let days = *security.days_left.fact()?;
        let soon = security.verified.fact() == Some(&true)
            && limits().certificate_ends_days.value > f64::from(i32::try_from(days).unwrap_or(i32::MAX));
        soon.then(|| self.cause("certificate_ending", State::Ready, Place::Service, &[("days", json!(days))]))
    }

    fn web(&self, https: &HttpsDetails) -> Vec<Cause> {
        if let Some(hint) = https.captive_portal_hint.fact() {
            let cause = self.cause("captive_portal", State::Blocked, Place::LocalNetwork, &[]);
            return vec![Cause { evidence: vec![hint.clone()], ..cause }];
        }
        let mut causes: Vec<Cause> = self.connections(&https.connect).into_iter().collect();
        let status = https.status.fact().copied();
        if let Some(status) = status.filter(|status| *status >= 500 || *status == 429) {
            causes.push(self.cause(
                "service_error",
                State::Blocked,
                Place::Service,
                &[("status", json!(status))],
            ));
        }
        causes.extend(self.slow(https));
        if let (Some(true), Value::Failed { reason }) = (https.offers_http3.fact(), &https.http3) {
            let cause = self.cause("http3_fails", State::Ready, Place::Relay, &[]);
            causes.push(Cause { evidence: vec![reason.clone()], ..cause });
        }
        causes
    }

    /// An answer that takes long although the way there does not.
    fn slow(&self, https: &HttpsDetails) -> Option<Cause> {
        let answer = https.first_byte_ms.measured()?.p50;
        let way = https.connect.round_trip.rtt_ms.measured()?.p50;
        let limits = limits();
        if answer < limits.slow_answer_ms.value || answer < limits.slow_answer_round_trips.value * way {
            return None;
        }
        Some(Cause {
            metric: Some("first_byte_ms.p50".to_owned()),
            measured: Some(answer),
            good: Some(limits.slow_answer_ms.value),
            margin: Some(answer / limits.slow_answer_ms.value),
            evidence: vec![format!("connecting took {} ms", plain(&json!(way)))],
            ruled_out: vec!["the way there, which the same connections went".to_owned()],
            ..self.cause("service_slow", State::Degraded, Place::Service, &[("ms", json!(answer))])
        })
    }

    fn socket(&self, wss: &WssDetails) -> Option<Cause> {
        if wss.survived.fact() != Some(&false) {
            return None;
        }
        let closed = wss.closed_by.fact();
        let place = if closed.is_some() { Place::Service } else { Place::Unknown };
        let stood = wss.stood_ms.fact().map(|ms| format!("it had stood for {} s", plain(&json!(ms / 1e3))));
        let how = match closed {
            Some(how) => format!("the other end closed it: {how}"),
            None => "nothing tells apart whether the service broke it off or something on the way".to_owned(),
        };
        Some(Cause {
            evidence: stood.into_iter().chain([how]).collect(),
            ..self.cause("websocket_broken", State::Degraded, place, &[])
        })
    }

    fn clock(&self, ntp: &NtpDetails) -> Option<Cause> {
        let offset = ntp.offset_ms.measured()?;
        if ntp.unsynchronized.fact() == Some(&true) {
            return None;
        }
        // As little as it can be off.
        let (low, high) = (offset.low.unwrap_or(offset.value), offset.high.unwrap_or(offset.value));
        let least = if low > 0.0 { low } else { -high };
        let limits = limits();
        let state = match least {
            _ if least > limits.clock_off_limit_ms.value => State::Blocked,
            _ if least > limits.clock_off_ms.value => State::Degraded,
            _ => return None,
        };
        let way = if offset.value > 0.0 { "behind" } else { "ahead" };
        let seconds = json!(offset.value.abs() / 1e3);
        Some(Cause {
            metric: Some("offset_ms".to_owned()),
            measured: Some(offset.value.abs()),
            good: Some(limits.clock_off_ms.value),
            limit: Some(limits.clock_off_limit_ms.value),
            margin: Some(offset.value.abs() / limits.clock_off_ms.value),
            evidence: vec![format!("by {} answers of {}", offset.n, self.host)],
            ..self.cause("clock_wrong", state, Place::Computer, &[("seconds", seconds), ("way", json!(way))])
        })
    }

    fn names(&self, dns: &DnsDetails) -> Vec<Cause> {
        let answered: Vec<&NameServer> =
            dns.servers.iter().filter(|server| server.failure.is_none()).collect();
        let mut causes: Vec<Cause> = self.nowhere_to_be_found(dns, &answered).into_iter().collect();
        let silent: Vec<&str> =
            dns.servers.iter().filter(|s| s.failure.is_some()).map(|s| s.address.as_str()).collect();
        if !silent.is_empty() && !answered.is_empty() {
            let first = dns.servers.first().is_some_and(|server| server.failure.is_some());
            let state = if first { State::Degraded } else { State::Ready };
            causes.push(Cause {
                ruled_out: vec![format!("the others: {} answered", answered.len())],
                ..self.cause(
                    "name_server_silent",
                    state,
                    Place::LocalNetwork,
                    &[("servers", json!(silent.join(", ")))],
                )
            });
        }
        if let Some(server) = answered.iter().find(|server| server.invents_names.fact() == Some(&true)) {
            causes.push(self.cause(
                "name_server_invents",
                State::Degraded,
                Place::LocalNetwork,
                &[("server", json!(server.address))],
            ));
        }
        causes.extend(answered.first().and_then(|server| self.slow_names(server)));
        causes
    }

    /// A name that no server has an address for.
    fn nowhere_to_be_found(&self, dns: &DnsDetails, answered: &[&NameServer]) -> Option<Cause> {
        let outcomes = || {
            answered
                .iter()
                .flat_map(|server| &server.answers)
                .filter(|(kind, _)| is_address(kind))
                .map(|a| a.1)
        };
        let first = outcomes().next()?;
        if outcomes().any(|answer| matches!(answer.outcome, DnsOutcome::Records | DnsOutcome::NoAnswer)) {
            return None;
        }
        let (code, place) = match first.outcome {
            DnsOutcome::NoSuchName | DnsOutcome::NoRecords => ("name_not_there", Place::Service),
            DnsOutcome::AliasLoop => ("name_goes_in_circles", Place::Service),
            DnsOutcome::Refused => ("name_server_refuses", Place::LocalNetwork),
            _ => ("name_server_fails", Place::Unknown),
        };
        let name = ("name", json!(dns.name));
        Some(Cause {
            evidence: vec![format!("{} name servers say so", answered.len())],
            ..self.cause(code, State::Blocked, place, &[name])
        })
    }

    fn slow_names(&self, server: &NameServer) -> Option<Cause> {
        let limits = limits();
        let params = |figure: f64| [("ms", json!(figure)), ("server", json!(server.address))];
        let lost = server.round_trip.loss_ratio.measured()?;
        if lost.low.is_some_and(|low| low > limits.lost_questions_ratio.value) {
            let percent = ("percent", json!(lost.value * 100.0));
            let server = ("server", json!(server.address));
            return Some(Cause {
                metric: Some("round_trip.loss_ratio".to_owned()),
                measured: Some(lost.value),
                good: Some(limits.lost_questions_ratio.value),
                margin: Some(lost.value / limits.lost_questions_ratio.value),
                ..self.cause("names_lost", State::Degraded, Place::LocalNetwork, &[percent, server])
            });
        }
        let median = server.round_trip.rtt_ms.measured()?.p50;
        if median <= limits.slow_names_ms.value {
            return None;
        }
        Some(Cause {
            metric: Some("round_trip.rtt_ms.p50".to_owned()),
            measured: Some(median),
            good: Some(limits.slow_names_ms.value),
            margin: Some(median / limits.slow_names_ms.value),
            ..self.cause("names_slow", State::Degraded, Place::LocalNetwork, &params(median))
        })
    }
}

fn is_address(kind: &str) -> bool {
    matches!(kind, "A" | "AAAA")
}
