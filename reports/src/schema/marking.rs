//! What becomes of marks on packets: DSCP (RFC 2474) and ECN (RFC 3168), each way.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Exact, RoundTrip, Value};

/// What becomes of marks on packets on the way to a host and back. Packets of all marks leave in turns, so that what befalls one mark alone
/// befalls it for its mark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkingDetails {
    /// Which marks.
    pub field: MarkField,
    /// What answered, and so how much it could tell.
    pub by: MarkingBy,
    /// Packets without any mark, either way: what those with marks are compared with.
    pub unmarked: RoundTrip,
    /// What became of each mark.
    pub marks: Vec<MarkFound>,
    /// Answers that were no answers to this run's packets, or came from elsewhere.
    pub ignored_answers: u64,
}

/// Marks of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarkField {
    /// Differentiated services codepoint (RFC 2474): who is to go first.
    Dscp,
    /// Explicit congestion notification (RFC 3168, RFC 9331).
    Ecn,
}

impl MarkField {
    /// The mark's own name: `EF`, `ECT(1)`.
    pub fn name(self, value: u8) -> String {
        let known = match (self, value) {
            (Self::Ecn, 0) => "not-ECT",
            (Self::Ecn, 1) => "ECT(1)",
            (Self::Ecn, 2) => "ECT(0)",
            (Self::Ecn, 3) => "CE",
            (Self::Dscp, 44) => "VOICE-ADMIT",
            (Self::Dscp, 46) => "EF",
            (Self::Dscp, 1) => "LE",
            (Self::Dscp, value) if value % 8 == 0 => return format!("CS{}", value / 8),
            (Self::Dscp, value @ 8..40) if value % 2 == 0 => {
                return format!("AF{}{}", value / 8, value % 8 / 2);
            }
            _ => return value.to_string(),
        };
        known.to_owned()
    }

    /// The mark of this kind in a TOS or traffic-class octet.
    pub const fn of(self, tos: u8) -> u8 {
        match self {
            Self::Dscp => tos >> 2,
            Self::Ecn => tos & 3,
        }
    }
}

/// What answered marked packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarkingBy {
    /// A STAMP reflector that tells with which mark packets came, and answers with the mark that it is asked for (RFC 8972 section 4.4).
    ClassOfService,
    /// A STAMP reflector that does not.
    Stamp,
    /// ICMP echo, whose answers mostly have the mark of the request (RFC 1349 section 5.1).
    EchoRequests,
}

/// What became of one mark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkFound {
    /// Its name: `EF`, `AF41`, `ECT(0)`.
    pub name: String,
    /// Its codepoint: of 64, or of 4.
    pub value: u8,
    /// On the way to the host.
    pub up: MarkWay,
    /// On the way back.
    pub down: MarkWay,
}

/// What became of one mark on one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkWay {
    /// What became of most of them.
    pub fate: Value<Exact<MarkFate>>,
    /// With which marks they came, the most frequent first. Empty where nobody could tell.
    pub came_as: Vec<CameAs>,
    /// Packets that had this mark on this way and none on the other; without class of service they may have had it on both. `None`: there
    /// were none.
    pub round_trip: Option<RoundTrip>,
    /// Whether surely more of them were lost than of the unmarked ones.
    pub lost_more: Value<Exact<bool>>,
}

/// Packets that came with one mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CameAs {
    /// Its name.
    pub name: String,
    /// Its codepoint.
    pub value: u8,
    /// How many.
    pub packets: u64,
}

/// What becomes of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarkFate {
    /// It arrives as it left.
    Kept,
    /// It is taken off.
    Bleached,
    /// Another one takes its place.
    Remarked,
    /// Packets that have it do not arrive, while others do.
    Dropped,
}

/// Of fewer packets none arriving proves nothing.
const LEAST: u64 = 10;

impl MarkWay {
    /// What these packets tell: they left with `sent` and came as `came`, where somebody told.
    pub fn of(
        field: MarkField,
        sent: u8,
        came: &[u8],
        (found, unmarked): (RoundTrip, &RoundTrip),
        why_untold: &str,
    ) -> Self {
        let mut counts: BTreeMap<u8, u64> = BTreeMap::new();
        for value in came {
            *counts.entry(*value).or_default() += 1;
        }
        let mut came_as: Vec<CameAs> = counts
            .into_iter()
            .map(|(value, packets)| CameAs { name: field.name(value), value, packets })
            .collect();
        came_as.sort_by_key(|those| std::cmp::Reverse(those.packets));
        let lost_more = lost_more(&found, unmarked);
        let fate = match came_as.first() {
            _ if all_dropped(&found, unmarked) => Value::exact(MarkFate::Dropped),
            None if found.answered == 0 => Value::failed("none of them came back"),
            None => Value::not_tested(why_untold),
            Some(most) if most.value == sent => Value::exact(MarkFate::Kept),
            Some(CameAs { value: 0, .. }) => Value::exact(MarkFate::Bleached),
            Some(_) => Value::exact(MarkFate::Remarked),
        };
        Self { fate, came_as, round_trip: Some(found), lost_more }
    }

    /// A way of which nothing can be told.
    pub fn untold(why: &str) -> Self {
        Self {
            fate: Value::not_tested(why),
            came_as: Vec::new(),
            round_trip: None,
            lost_more: Value::not_tested(why),
        }
    }

    /// The share of those that arrived which came with this mark.
    pub fn share_of(&self, value: u8) -> Option<f64> {
        let all: u64 = self.came_as.iter().map(|those| those.packets).sum();
        let those = self.came_as.iter().find(|those| those.value == value).map_or(0, |those| those.packets);
        #[expect(clippy::cast_precision_loss, reason = "packets of a run")]
        (all > 0).then(|| those as f64 / all as f64)
    }
}

/// None of them arrived, and of the others, sent in between, most did.
fn all_dropped(found: &RoundTrip, unmarked: &RoundTrip) -> bool {
    found.answered == 0 && found.lost >= LEAST && unmarked.answered > unmarked.lost
}

/// Their interval of loss lies above that of the others.
fn lost_more(found: &RoundTrip, unmarked: &RoundTrip) -> Value<Exact<bool>> {
    let interval = |trip: &RoundTrip| trip.loss_ratio.measured().map(|loss| (loss.low, loss.high));
    match (interval(found), interval(unmarked)) {
        (Some((Some(low), _)), Some((_, Some(high)))) => {
            Value::exact(low > high || all_dropped(found, unmarked))
        }
        _ => Value::not_tested("too few packets were sent"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::round_trip::Exchange;
    use crate::trace::StampSource;
    use crate::units::Micros;

    fn trips(answered: usize, lost: usize) -> RoundTrip {
        let came = Exchange::Answered { at: Micros::ZERO, rtt: Micros::from_millis(9) };
        // In turns, as they would be.
        let mut exchanges = vec![came; answered];
        exchanges.resize(answered + lost, Exchange::Lost);
        RoundTrip::of(&exchanges, StampSource::Kernel)
    }

    fn fate(came: &[u8], found: RoundTrip) -> (Option<MarkFate>, Option<bool>) {
        let way = MarkWay::of(MarkField::Dscp, 46, came, (found, &trips(30, 0)), "nobody tells");
        (way.fate.fact().copied(), way.lost_more.fact().copied())
    }

    #[test]
    fn marks_have_their_names() {
        let names = [0, 1, 8, 10, 34, 38, 44, 46, 48, 63].map(|value| MarkField::Dscp.name(value));
        assert_eq!(names, ["CS0", "LE", "CS1", "AF11", "AF41", "AF43", "VOICE-ADMIT", "EF", "CS6", "63"]);
        assert_eq!(
            [0, 1, 2, 3].map(|value| MarkField::Ecn.name(value)),
            ["not-ECT", "ECT(1)", "ECT(0)", "CE"]
        );
        assert_eq!((MarkField::Dscp.of(0xb9), MarkField::Ecn.of(0xb9)), (46, 1));
    }

    #[test]
    fn what_most_came_as_decides() {
        assert_eq!(fate(&[46; 30], trips(30, 0)), (Some(MarkFate::Kept), Some(false)));
        assert_eq!(fate(&[46, 0, 0], trips(3, 27)), (Some(MarkFate::Bleached), Some(true)));
        assert_eq!(fate(&[8; 30], trips(30, 0)), (Some(MarkFate::Remarked), Some(false)));
        assert_eq!(fate(&[], trips(30, 0)), (None, Some(false)));
    }

    #[test]
    fn only_marked_ones_that_vanish_while_others_arrive_are_dropped() {
        assert_eq!(fate(&[], trips(0, 20)), (Some(MarkFate::Dropped), Some(true)));
        assert_eq!(fate(&[], trips(0, 9)).0, None, "too few to say");
        let both = MarkWay::of(MarkField::Dscp, 46, &[], (trips(0, 30), &trips(5, 25)), "");
        assert_eq!(both.fate, Value::failed("none of them came back"), "the others hardly arrive either");
    }
}
