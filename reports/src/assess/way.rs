//! What looking at the way tells of a call: marks on packets, and the NAT.

use serde_json::json;

use super::services::Told;
use crate::schema::{
    Cause, FaultDirection, MarkFate, MarkField, MarkFound, MarkWay, MarkingBy, MarkingDetails, NatBehavior,
    NatDetails, Place, RoundTrip, State,
};

/// A delay that varies by no more than this is that of a way without a queue.
const STEADY_MS: f64 = 5.0;
/// ECN's mark of a queue that is too full.
const CE: u8 = 3;

/// One way of what was found of a mark.
type WayOf = fn(&MarkFound) -> &MarkWay;

/// Marks whose packets do not arrive are a fault of the way. Marks that are taken off are none: nobody has promised to keep them.
pub(super) fn marks(told: &Told<'_>, marking: &MarkingDetails) -> Vec<Cause> {
    let ways: [(FaultDirection, WayOf); 2] =
        [(FaultDirection::Up, |mark| &mark.up), (FaultDirection::Down, |mark| &mark.down)];
    let mut causes = Vec::new();
    for (direction, way) in ways {
        // Without class of service packets had their mark on both ways.
        let direction = match marking.by {
            MarkingBy::ClassOfService => direction,
            MarkingBy::Stamp | MarkingBy::EchoRequests => FaultDirection::Both,
        };
        let lost = |mark: &&MarkFound| {
            let way = way(mark);
            way.fate.fact() == Some(&MarkFate::Dropped) || way.lost_more.fact() == Some(&true)
        };
        let lost: Vec<&MarkFound> = marking.marks.iter().filter(lost).collect();
        if !lost.is_empty() {
            causes.push(dropped(told, marking, &lost, direction, way));
        }
        let congested = marking.marks.iter().find_map(|mark| congested(told, marking, mark, way(mark)));
        causes.extend(congested.map(|cause| Cause { direction: Some(direction), ..cause }));
    }
    causes
}

fn dropped(
    told: &Told<'_>,
    marking: &MarkingDetails,
    lost: &[&MarkFound],
    direction: FaultDirection,
    way: WayOf,
) -> Cause {
    let names: Vec<&str> = lost.iter().map(|mark| mark.name.as_str()).collect();
    let count = |trip: &RoundTrip| format!("{} of {} were lost", trip.lost, trip.answered + trip.lost);
    let with = lost
        .iter()
        .filter_map(|mark| Some(format!("with {}, {}", mark.name, count(way(mark).round_trip.as_ref()?))));
    let evidence = with.chain([format!("without a mark, {}", count(&marking.unmarked))]).collect();
    let where_to = match direction {
        FaultDirection::Up => "on the way there",
        FaultDirection::Down => "on the way back",
        FaultDirection::Both => "on the way there or back",
    };
    Cause {
        direction: Some(direction),
        evidence,
        ruled_out: vec![
            "loss that has nothing to do with marks: packets of all kinds left in turns".to_owned(),
        ],
        ..told.cause(
            "marked_packets_dropped",
            State::Degraded,
            Place::Path,
            &[("marks", json!(names.join(", "))), ("way", json!(where_to))],
        )
    }
}

/// Packets that could be marked as having met a full queue, and were.
fn congested(told: &Told<'_>, marking: &MarkingDetails, mark: &MarkFound, way: &MarkWay) -> Option<Cause> {
    let able = marking.field == MarkField::Ecn && mark.value != CE;
    let share = way.share_of(CE).filter(|share| able && *share > 0.0)?;
    let trip = &marking.unmarked;
    let steady = trip.lost == 0 && trip.pdv_ms.measured().is_some_and(|pdv| pdv.p50 < STEADY_MS);
    let guess = if steady {
        "nothing was lost and delays hardly varied, so that no queue shows: the box that sets the mark may be at fault"
    } else {
        "a queue on the way was full"
    };
    let percent = ("percent", json!((share * 1e3).round() / 10.0));
    Some(Cause {
        evidence: vec![guess.to_owned()],
        ..told.cause("congestion_marked", State::Ready, Place::Path, &[percent])
    })
}

/// A NAT that maps anew for everybody spoken to: nobody can be told where to send to. A call over a server works all the same.
pub(super) fn nat(told: &Told<'_>, nat: &NatDetails) -> Option<Cause> {
    let mapping = nat.mapping.fact().filter(|mapping| **mapping != NatBehavior::EndpointIndependent)?;
    let what = match mapping {
        NatBehavior::AddressAndPortDependent => "address and port",
        NatBehavior::EndpointIndependent | NatBehavior::AddressDependent | NatBehavior::Dependent => {
            "address"
        }
    };
    let seen = nat
        .seen
        .iter()
        .filter_map(|seen| Some(format!("{} sees you as {}", seen.server, seen.reflexive_address.as_ref()?)));
    Some(Cause {
        evidence: seen.collect(),
        ..told.cause("nat_symmetric", State::Ready, Place::LocalNetwork, &[("what", json!(what))])
    })
}
