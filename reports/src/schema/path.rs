//! The hops on the way to a host, and where loss and delay begin that stay to the end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::tidy;
use super::{Estimate, Exact, RoundTrip, Value};
use crate::trace::StampSource;

/// The hops on the way to a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathDetails {
    /// What the measured probes are.
    pub probes: PathProbes,
    /// Why they are no echo requests, and what would let them be.
    pub why_not_echo: Option<String>,
    /// Probes that went all the way, and the host's answers: without any where the host answered none.
    pub round_trip: RoundTrip,
    /// Whether the host itself answered.
    pub destination_reached: bool,
    /// The hops in order; those behind the last one that answered are left out.
    pub hops: Vec<HopFound>,
    /// The hop from which on loss stays to the end. Loss at a hop that does not stay is the hop's own reluctance to answer.
    pub loss_begins_at_ttl: Value<Exact<u8>>,
    /// The last hop before it that surely has not as much loss; the loss begins behind it. Those in between answer too little to say.
    pub loss_free_to_ttl: Value<Exact<u8>>,
    /// The hop at which most delay is added that stays to the end.
    pub delay_begins_at_ttl: Value<Exact<u8>>,
    /// How much is added there: difference of medians.
    pub delay_added_ms: Value<Exact<f64>>,
    /// Errors that quoted too little to say which probe they meant, or quoted none of this run's; they do not count as answers.
    pub unattributed_answers: u64,
    /// Datagrams that came back and were no errors: something listens on the port that was used. They do not count as answers.
    pub other_answers: u64,
}

/// What is sent to find hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathProbes {
    /// ICMP echo requests: a host answers each of them.
    EchoRequests,
    /// Datagrams to a closed port: hosts and routers limit how many errors they send.
    Datagrams,
}

/// One hop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HopFound {
    /// How many hops away.
    pub ttl: u8,
    /// Who answered: none where nobody did, several where the way changed or packets of one flow take several.
    pub addresses: Vec<String>,
    /// Who else answered on other flows, from other ports: routers spread flows over several ways (ECMP).
    pub other_flows: Vec<String>,
    /// Probes that came so far, each sent once, and the errors that came back.
    pub round_trip: RoundTrip,
    /// Whether it is the host itself.
    pub is_destination: bool,
    /// The code of "destination unreachable" that it sent, other than that of a port (RFC 792, RFC 4443).
    pub unreachable_code: Option<u8>,
    /// The label stack that the probe had when it came there (RFC 4950).
    pub mpls_labels: Vec<MplsLabel>,
    /// Whether it answers fewer probes than it passes on: its loss is no loss of the path.
    pub rate_limited: bool,
}

/// An entry of an MPLS label stack (RFC 3032).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MplsLabel {
    /// The label.
    pub label: u32,
    /// Traffic class.
    pub traffic_class: u8,
    /// Time to live.
    pub ttl: u8,
}

impl PathDetails {
    /// What these hops tell together, found by such probes.
    pub fn of(probes: PathProbes, mut hops: Vec<HopFound>) -> Self {
        mark_rate_limits(&mut hops);
        let begins = loss(probes, &hops);
        let end = hops.last().filter(|hop| hop.is_destination);
        let (delay_begins_at_ttl, delay_added_ms) = match delay(&hops) {
            Some((ttl, added)) => (Value::exact(ttl), Value::exact(added)),
            None => (Value::not_tested(TOO_FEW), Value::not_tested(TOO_FEW)),
        };
        Self {
            probes,
            why_not_echo: None,
            round_trip: end
                .map_or_else(|| RoundTrip::of(&[], StampSource::User), |hop| hop.round_trip.clone()),
            destination_reached: end.is_some(),
            loss_free_to_ttl: free(&hops, &begins),
            loss_begins_at_ttl: begins,
            delay_begins_at_ttl,
            delay_added_ms,
            hops,
            unattributed_answers: 0,
            other_answers: 0,
        }
    }
}

const TOO_FEW: &str = "fewer than two hops answered";

/// A hop's loss where it answered at all.
fn lost(hop: &HopFound) -> Option<&Estimate> {
    hop.round_trip.loss_ratio.measured().filter(|_| hop.round_trip.answered > 0)
}

/// A hop that loses surely more than a later one passes on is reluctant to answer.
fn mark_rate_limits(hops: &mut [HopFound]) {
    let mut least: Option<f64> = None;
    for hop in hops.iter_mut().rev() {
        let Some(loss) = lost(hop).copied() else { continue };
        hop.rate_limited = least.is_some_and(|later| loss.low.is_some_and(|low| low > later));
        let high = loss.high.unwrap_or(1.0);
        least = Some(least.map_or(high, |least| least.min(high)));
    }
}

/// From where on loss stays: every hop that passes on what it gets loses, from there to the end, about as much as the end does. Hops that
/// limit their answers say nothing about it.
fn loss(probes: PathProbes, hops: &[HopFound]) -> Value<Exact<u8>> {
    let Some(end) = hops.last().filter(|hop| hop.is_destination) else {
        return Value::not_tested("the host itself did not answer, so nobody can say what stays to the end");
    };
    let Some(share) = lost(end) else { return Value::not_tested("the host itself did not answer") };
    if end.round_trip.lost == 0 {
        return Value::not_tested("nothing was lost at the end");
    }
    let too_little = || Value::not_tested("too little was lost to say where");
    let Some(low) = share.low.filter(|low| *low > 0.0) else { return too_little() };
    let stays =
        |hop: &&HopFound| lost(hop).is_some_and(|loss| loss.value > 0.0 && loss.high.unwrap_or(1.0) >= low);
    let telling = hops.iter().filter(|hop| lost(hop).is_some() && !hop.rate_limited);
    let Some(first) = telling.rev().take_while(stays).last() else { return too_little() };
    if probes == PathProbes::Datagrams && first.ttl == end.ttl {
        return Value::not_tested(
            "only the host itself left probes unanswered, which may be a limit of its own; echo requests would tell",
        );
    }
    Value::exact(first.ttl)
}

/// The last hop before the loss that surely has less of it than the end.
fn free(hops: &[HopFound], begins: &Value<Exact<u8>>) -> Value<Exact<u8>> {
    let none = || Value::not_tested("no hop is known to be free of it");
    let (Some(at), Some(end)) = (begins.fact(), hops.last().and_then(lost)) else { return none() };
    let least = end.low.unwrap_or(0.0);
    let before = hops.iter().take_while(|hop| hop.ttl < *at);
    let free = before.filter(|hop| lost(hop).is_some_and(|loss| loss.high.unwrap_or(1.0) < least)).last();
    free.map_or_else(none, |hop| Value::exact(hop.ttl))
}

/// The hop with the greatest rise of the median that no later hop undercuts: routers answer slowly and pass on fast.
fn delay(hops: &[HopFound]) -> Option<(u8, f64)> {
    let medians: Vec<(u8, f64)> =
        hops.iter().filter_map(|hop| Some((hop.ttl, hop.round_trip.rtt_ms.measured()?.p50))).collect();
    if medians.len() < 2 {
        return None;
    }
    let mut least = f64::INFINITY;
    let mut staying: Vec<(u8, f64)> = Vec::new();
    for (ttl, median) in medians.into_iter().rev() {
        least = least.min(median);
        staying.push((ttl, least));
    }
    staying.reverse();
    let before = std::iter::once(0.0).chain(staying.iter().map(|(_, median)| *median));
    let rises = staying.iter().zip(before).map(|((ttl, median), before)| (*ttl, tidy(median - before)));
    rises.max_by(|(_, one), (_, other)| one.total_cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::round_trip::Exchange;
    use crate::units::Micros;

    /// A hop that loses every `nth` of 60 probes (0: none, 1: all) and answers after so many milliseconds.
    fn hop(ttl: u8, nth: i64, ms: i64, is_destination: bool) -> HopFound {
        let one = |i: i64| match nth > 0 && i % nth == 0 {
            true => Exchange::Lost,
            false => Exchange::Answered { at: Micros::from_millis(500 * i), rtt: Micros::from_millis(ms) },
        };
        let all: Vec<Exchange> = (0..60).map(one).collect();
        HopFound {
            ttl,
            other_flows: Vec::new(),
            addresses: if nth == 1 { Vec::new() } else { vec![format!("192.0.2.{ttl}")] },
            round_trip: RoundTrip::of(&all, StampSource::User),
            is_destination,
            unreachable_code: None,
            mpls_labels: Vec::new(),
            rate_limited: false,
        }
    }

    #[test]
    fn loss_in_the_middle_that_does_not_stay_is_rate_limiting() {
        let found = PathDetails::of(
            PathProbes::EchoRequests,
            vec![hop(1, 0, 1, false), hop(2, 2, 5, false), hop(3, 0, 9, true)],
        );
        let limited: Vec<bool> = found.hops.iter().map(|hop| hop.rate_limited).collect();
        assert_eq!(limited, [false, true, false]);
        assert_eq!(found.loss_begins_at_ttl, Value::not_tested("nothing was lost at the end"));
    }

    #[test]
    fn loss_that_stays_begins_where_it_first_shows() {
        let hops = vec![hop(1, 0, 1, false), hop(2, 3, 5, false), hop(3, 1, 0, false), hop(4, 3, 9, true)];
        let found = PathDetails::of(PathProbes::EchoRequests, hops);
        assert_eq!(found.loss_begins_at_ttl, Value::exact(2));
        assert!(found.hops.iter().all(|hop| !hop.rate_limited));
    }

    #[test]
    fn a_slow_answer_of_a_router_is_no_delay_of_the_path() {
        let hops = vec![hop(1, 0, 1, false), hop(2, 0, 80, false), hop(3, 0, 31, false), hop(4, 0, 32, true)];
        let found = PathDetails::of(PathProbes::EchoRequests, hops);
        assert_eq!((found.delay_begins_at_ttl, found.delay_added_ms), (Value::exact(2), Value::exact(30.0)));
    }

    #[test]
    fn without_the_host_nothing_is_said_about_what_stays() {
        let found = PathDetails::of(PathProbes::EchoRequests, vec![hop(1, 0, 1, false), hop(2, 2, 5, false)]);
        assert!(!found.destination_reached && found.loss_begins_at_ttl.measured().is_none());
        assert!(found.round_trip.rtt_ms.measured().is_none());
    }

    #[test]
    fn a_router_that_limits_its_answers_hides_no_beginning() {
        let hops = vec![hop(1, 0, 1, false), hop(2, 1, 0, false), hop(3, 3, 5, false), hop(4, 4, 9, true)];
        // Two thirds of its answers are missing.
        let limited = HopFound { ttl: 2, ..mostly_silent(9) };
        let found = PathDetails::of(
            PathProbes::EchoRequests,
            hops.into_iter().map(|hop| if hop.ttl == 2 { limited.clone() } else { hop }).collect(),
        );
        assert!(found.hops[1].rate_limited, "{:#?}", found.hops[1]);
        assert_eq!(found.loss_begins_at_ttl, Value::exact(3));
        assert_eq!(found.loss_free_to_ttl, Value::exact(1));
    }

    #[test]
    fn of_errors_alone_the_end_is_not_believed() {
        let hops = || vec![hop(1, 0, 1, false), hop(2, 0, 5, false), hop(3, 3, 9, true)];
        let found = PathDetails::of(PathProbes::Datagrams, hops());
        assert!(found.loss_begins_at_ttl.measured().is_none());
        let found = PathDetails::of(PathProbes::EchoRequests, hops());
        assert_eq!((found.loss_begins_at_ttl, found.loss_free_to_ttl), (Value::exact(3), Value::exact(2)));
    }

    /// A hop that answers one in `nth` of 60 probes.
    fn mostly_silent(nth: i64) -> HopFound {
        let one = |i: i64| match i % nth == 0 {
            true => Exchange::Answered { at: Micros::from_millis(500 * i), rtt: Micros::from_millis(5) },
            false => Exchange::Lost,
        };
        let all: Vec<Exchange> = (0..60).map(one).collect();
        HopFound { round_trip: RoundTrip::of(&all, StampSource::User), ..hop(2, 0, 5, false) }
    }
}
