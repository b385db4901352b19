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

/// Why a way does not work, unless somebody ended it.
fn failed(way: &TurnTransport) -> Option<&TargetFailure> {
    way.failure.as_ref().filter(|why| **why != TargetFailure::Interrupted)
}

fn evidence(way: &TurnTransport) -> Option<String> {
    let why = words::short(way.failure.as_ref()?.code());
    Some(format!("over {} ({}): {why}", way.transport.to_uppercase(), way.address))
}
