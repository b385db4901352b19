//! What looking at the way told in a situation: marks on packets, the NAT, and a relay.

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{
    Details, MarkFate, MarkField, MarkFound, MarkWay, MarkingBy, MarkingDetails, NatBehavior, NatDetails,
    NatSeen, RoundTrip, TurnDetails, TurnTransport, Value,
};
use greenroom_reports::trace::StampSource;

use super::beside::round_trips;
use rand::rngs::ChaCha8Rng;

/// Packets of each mark.
const PACKETS: usize = 20;
const EF: u8 = 46;

/// What becomes upward of packets marked EF; back they are as they were.
pub(super) fn marking(random: &mut ChaCha8Rng, fate: MarkFate) -> Details {
    let unmarked = round_trips(random, PACKETS, 30.0, 0.0);
    let mut way = |fate: MarkFate| {
        let (came, value) = match fate {
            MarkFate::Dropped => (0, 0),
            MarkFate::Kept => (PACKETS, EF),
            MarkFate::Bleached => (PACKETS, 0),
            MarkFate::Remarked => (PACKETS, 8),
        };
        let trips = match came {
            0 => RoundTrip::of(&[Exchange::Lost; PACKETS], StampSource::Kernel),
            came => round_trips(random, came, 30.0, 0.0),
        };
        MarkWay::of(MarkField::Dscp, EF, &vec![value; came], (trips, &unmarked), "nobody tells")
    };
    let (up, down) = (way(fate), way(MarkFate::Kept));
    Details::Marking(Box::new(MarkingDetails {
        field: MarkField::Dscp,
        by: MarkingBy::ClassOfService,
        unmarked,
        marks: vec![MarkFound { name: MarkField::Dscp.name(EF), value: EF, up, down }],
        ignored_answers: 0,
    }))
}

/// A relay that loses so much of the audio that it carries there and back.
pub(super) fn relay(random: &mut ChaCha8Rng, loses: f64) -> Details {
    let unknown = || Value::not_tested("it plays no part");
    let transport = TurnTransport {
        transport: "udp".to_owned(),
        address: "192.0.2.9:3478".to_owned(),
        setup_ms: Value::not_tested("UDP has none"),
        challenge_ms: Value::exact(30.0),
        allocate_ms: Value::exact(31.0),
        relayed_address: unknown(),
        reflexive_address: unknown(),
        lifetime_s: Value::not_tested("it plays no part"),
        relayed_by: unknown(),
        relayed: Some(round_trips(random, 250, 32.0, loses)),
        relayed_back: None,
        reordered: 0,
        duplicated: 0,
        security: None,
        failure: None,
    };
    Details::Turn(Box::new(TurnDetails { transports: vec![transport] }))
}

/// A NAT that maps like this.
pub(super) fn nat(random: &mut ChaCha8Rng, mapping: NatBehavior) -> Details {
    let address = |port: u16| format!("198.51.100.7:{port}");
    let second = if mapping == NatBehavior::EndpointIndependent { 40_000 } else { 51_234 };
    let seen = [("192.0.2.7:3478", 40_000), ("192.0.2.8:3478", second)];
    Details::Nat(Box::new(NatDetails {
        local_address: Value::exact("10.0.0.2:40000".to_owned()),
        reflexive_address: Value::exact(address(40_000)),
        nat: Value::exact(true),
        mapping: Value::exact(mapping),
        filtering: Value::exact(NatBehavior::AddressAndPortDependent),
        hairpinning: Value::exact(false),
        port_preserved: Value::exact(true),
        binding_lifetime_s: Value::not_tested("it takes longer"),
        other_address: Value::exact("192.0.2.8:3479".to_owned()),
        seen: seen
            .map(|(server, port)| NatSeen {
                server: server.to_owned(),
                reflexive_address: Some(address(port)),
            })
            .to_vec(),
        software: Value::not_tested("it does not say"),
        round_trip: round_trips(random, 5, 30.0, 0.0),
        answers_from_elsewhere: 0,
        stray_answers: 0,
    }))
}
