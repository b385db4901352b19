//! What a TURN server tells of a call that goes through it.

use serde_json::json;

use super::causes::of_failure;
use super::services::Told;
use crate::schema::{Cause, Place, State, TurnDetails, TurnTransport};
use crate::verdict::{TargetFailure, words};

/// What speaks against a relay. A call takes the first of its ways that works, UDP before the others.
pub(super) fn causes(told: &Told<'_>, turn: &TurnDetails) -> Vec<Cause> {
    let way = |transport: &str| turn.transports.iter().find(|way| way.transport == transport);
    let Some(best) = turn.transports.iter().find(|way| way.failure.is_none()) else {
        // An address was given, and that was all.
        let failure = turn.transports.iter().filter(|way| way.allocate_ms.measured().is_some());
        let failure = failure.filter_map(|way| way.failure.as_ref()).next();
        return failure.map(|why| of_failure(why, told.host, told.uses, why.state())).into_iter().collect();
    };
    let lost = best.relayed.as_ref();
    let lost = lost.and_then(|audio| told.lost("relay_loses", "packets came back through the relay", audio));
    let closed = way("udp").and_then(failed).map(|why| {
        let instead = json!(best.transport.to_uppercase());
        Cause {
            evidence: vec![format!("over UDP: {}", words::short(why.code()))],
            ..told.cause("relay_without_udp", State::Degraded, Place::Unknown, &[("instead", instead)])
        }
    });
    let fallbacks: Vec<&TurnTransport> = ["tcp", "tls"].into_iter().filter_map(way).collect();
    let alone = best.transport == "udp" && !fallbacks.is_empty();
    let alone = alone && fallbacks.iter().all(|way| failed(way).is_some());
    let alone = alone.then(|| Cause {
        evidence: fallbacks.iter().filter_map(|way| evidence(way)).collect(),
        ..told.cause("relay_by_udp_alone", State::Ready, Place::Service, &[])
    });
    lost.into_iter().chain(closed).chain(alone).collect()
}

/// Whether a call goes another way than the one with the certificate.
pub(super) fn goes_without_tls(turn: &TurnDetails) -> bool {
    turn.transports.iter().any(|way| way.failure.is_none() && way.transport != "tls")
}

/// Why a way does not work, unless somebody ended it.
fn failed(way: &TurnTransport) -> Option<&TargetFailure> {
    way.failure.as_ref().filter(|why| **why != TargetFailure::Interrupted)
}

fn evidence(way: &TurnTransport) -> Option<String> {
    let why = words::short(way.failure.as_ref()?.code());
    Some(format!("over {} ({}): {why}", way.transport.to_uppercase(), way.address))
}

#[cfg(test)]
mod tests {
    use super::super::services;
    use super::*;
    use crate::metrics::round_trip::Exchange;
    use crate::schema::{Details, RoundTrip, Use, Value};
    use crate::trace::StampSource;
    use crate::units::Micros;
    use crate::verdict::Profile;

    /// A way whose audio lost one packet in `lost_every`.
    fn way(transport: &str, lost_every: i64, failure: Option<TargetFailure>) -> TurnTransport {
        let unknown = || Value::not_tested("a test");
        let packet = |number: i64| match number % lost_every {
            0 => Exchange::Lost,
            _ => Exchange::Answered { at: Micros::from_millis(number * 20 + 5), rtt: Micros::from_millis(5) },
        };
        let packets: Vec<Exchange> = (1..=150).map(packet).collect();
        TurnTransport {
            transport: transport.to_owned(),
            address: "192.0.2.1:3478".to_owned(),
            setup_ms: Value::not_tested("a test"),
            challenge_ms: Value::not_tested("a test"),
            allocate_ms: Value::exact(3.0),
            relayed_address: unknown(),
            reflexive_address: unknown(),
            lifetime_s: Value::not_tested("a test"),
            relayed_by: unknown(),
            relayed: Some(RoundTrip::of(&packets, StampSource::User)),
            relayed_back: None,
            reordered: 0,
            duplicated: 0,
            security: None,
            failure,
        }
    }

    fn judged(transports: Vec<TurnTransport>) -> Vec<(String, State)> {
        let details = Details::Turn(Box::new(TurnDetails { transports }));
        let causes = services::causes(&details, "relay.example", &[Use::Audio], &Profile::default());
        causes.into_iter().map(|cause| (cause.code, cause.state)).collect()
    }

    fn named(code: &str, state: State) -> Vec<(String, State)> {
        vec![(code.to_owned(), state)]
    }

    const NEVER: i64 = 1_000;

    #[test]
    fn a_relay_that_works_over_all_ways_has_no_cause() {
        let ways = ["udp", "tcp", "tls"].map(|transport| way(transport, NEVER, None));
        assert_eq!(judged(ways.to_vec()), []);
        assert_eq!(judged(vec![way("tls", NEVER, None)]), []);
    }

    #[test]
    fn without_udp_a_call_works_with_trouble_and_without_the_others_it_works() {
        let silent = || Some(TargetFailure::Silent);
        let blocked = vec![way("udp", NEVER, silent()), way("tcp", NEVER, None)];
        assert_eq!(judged(blocked), named("relay_without_udp", State::Degraded));
        let closed = || Some(TargetFailure::PortClosed);
        let alone = |why: [Option<TargetFailure>; 2]| {
            let [tcp, tls] = why;
            judged(vec![way("udp", NEVER, None), way("tcp", NEVER, tcp), way("tls", NEVER, tls)])
        };
        assert_eq!(alone([closed(), silent()]), named("relay_by_udp_alone", State::Ready));
        assert_eq!(alone([None, silent()]), []);
        assert_eq!(alone([closed(), Some(TargetFailure::Interrupted)]), [], "nobody knows");
    }

    #[test]
    fn loss_is_held_against_what_audio_bears_there_and_back() {
        assert_eq!(judged(vec![way("udp", 5, None)]), named("relay_loses", State::Degraded));
        assert_eq!(judged(vec![way("udp", 2, None)]), named("relay_loses", State::Blocked));
        assert_eq!(judged(vec![way("udp", 75, None)]), []);
    }

    #[test]
    fn where_no_way_carries_audio_the_reason_is_the_cause() {
        let dead = || way("udp", 1, Some(TargetFailure::RelayForwardsNothing));
        let closed = way("tcp", 1, Some(TargetFailure::PortClosed));
        assert_eq!(judged(vec![dead(), closed]), named("relay_forwards_nothing", State::Blocked));
    }
}
