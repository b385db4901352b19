//! Parts the local network from what lies behind it: what the router's answers say of trouble that was seen on the whole way.
//!
//! Echo requests to the first router travel the local network both ways and nothing else. What share of the whole way's loss and
//! delay they show is the local network's. A router answers such requests at its leisure, so that its own delays only count where
//! the endpoint saw trouble too; and one that answers none at all tells nothing.

use super::ranking::Symptom;
use crate::schema::{
    Cause, DirectionReport, Estimate, FaultDirection, GatewayDetails, LinkKind, Place, RoundTrip, Target,
    Value, WifiDetails,
};

/// From this share of the whole way's trouble on it is the local network's, below it is not.
const HALF: f64 = 0.5;
/// Shares of delay between these may be either's: a router's own leisure blurs them.
const EITHER: (f64, f64) = (0.3, 0.7);
/// What a sound local network and its router lose of echo requests, at most.
const SOUND: f64 = 0.005;
/// Fewer questions, or answers where it goes by their times, say nothing.
const ENOUGH: u64 = 20;
/// Fewer answers come from a router that does not want to be asked.
const FEW: u64 = 5;
/// A round trip that rises by less under load does not wait in a queue.
const QUEUE_MS: f64 = 20.0;
/// Below this, voice over Wi-Fi suffers: the edge of a cell that Cisco's design guide for voice over wireless LAN plans with.
const WEAK_DBM: i16 = -67;

/// Places each cause on the way from here to the endpoint within or beyond the local network, as far as the router's answers tell.
pub(super) fn place(causes: &mut [Cause], endpoint: Option<&Target>, gateway: Option<&GatewayDetails>) {
    let (Some(endpoint), Some(gateway)) = (endpoint, gateway) else { return };
    for cause in causes.iter_mut().filter(|cause| cause.place == Place::Path) {
        let Some(found) = found(cause, endpoint, gateway) else { continue };
        found.enter(cause, gateway.link.kind);
        if cause.place == Place::LocalNetwork {
            tell_signal(cause, gateway.link.wifi.as_ref());
        }
    }
}

/// Says how well the Wi-Fi is heard, where a cause is in the local network.
fn tell_signal(cause: &mut Cause, wifi: Option<&WifiDetails>) {
    let Some(dbm) = wifi.and_then(|wifi| wifi.signal_dbm.fact()) else { return };
    if *dbm < WEAK_DBM {
        cause.evidence.push(format!("your Wi-Fi is weak here: {dbm} dBm, calls need {WEAK_DBM} dBm or more"));
    } else {
        cause.ruled_out.push(format!("a weak Wi-Fi signal: {dbm} dBm"));
    }
}

/// Where trouble is, and what tells so.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    place: Place,
    sure: bool,
    because: String,
}

impl Found {
    fn enter(self, cause: &mut Cause, link: LinkKind) {
        cause.place = self.place;
        match self.place {
            Place::LocalNetwork => {
                cause.evidence.push(self.because);
                if self.sure {
                    cause.fix = Some(at_home(link).to_owned());
                }
            }
            _ if self.sure => {
                cause.ruled_out.push(format!("your own network: {}", self.because));
                if is_beyond_advice(cause) {
                    cause.fix = Some(BEYOND.to_owned());
                }
            }
            _ => cause.evidence.push(self.because),
        }
        if !self.sure {
            cause.evidence.push("too little was heard of your router to be sure where it is".to_owned());
        }
    }
}

/// What to do about a local network.
const fn at_home(link: LinkKind) -> &'static str {
    match link {
        LinkKind::Wireless => {
            "It happens between this computer and your router: move closer to it, or use a cable."
        }
        LinkKind::Wired => {
            "It happens between this computer and your router: try another cable, then restart the router."
        }
        LinkKind::Cellular => "It happens on the mobile network's first hop: go where the signal is better.",
        LinkKind::Tunnel => "It happens within the VPN or tunnel: try without it.",
        LinkKind::Virtual | LinkKind::Loopback | LinkKind::Unknown => {
            "It happens between this computer and its router: look at that network first."
        }
    }
}

/// What to do about what lies beyond it.
const BEYOND: &str =
    "Your own network is fine. Ask your internet provider, or try another connection, such as your phone's.";

/// Whether nothing at home helps against it: what is too slow or queues is helped by sending less.
fn is_beyond_advice(cause: &Cause) -> bool {
    matches!(
        Symptom::of(cause),
        Symptom::Loss | Symptom::LateLoss | Symptom::Pdv | Symptom::BurstLoss | Symptom::Slow
    )
}

fn found(cause: &Cause, endpoint: &Target, gateway: &GatewayDetails) -> Option<Found> {
    if gateway.endpoint_is_local {
        let because = "the endpoint is on this computer's own network, with no router between".to_owned();
        return Some(Found { place: Place::LocalNetwork, sure: true, because });
    }
    let router = &gateway.round_trip;
    match Symptom::of(cause) {
        Symptom::Loss | Symptom::BurstLoss | Symptom::Slow => by_loss(endpoint, router),
        Symptom::LateLoss if mostly_lost(cause, endpoint) => by_loss(endpoint, router),
        Symptom::Narrow if !queues(endpoint) => by_loss(endpoint, router),
        _ if router.answered < ENOUGH => None,
        Symptom::Pdv | Symptom::LateLoss => by_variation(cause, endpoint, router),
        Symptom::Bufferbloat | Symptom::Narrow => by_queue(cause, endpoint, router),
        Symptom::Rtt => by_round_trip(endpoint, router),
        Symptom::HostDrops | Symptom::Other => None,
    }
}

/// Whether most of what was lost or late was lost.
fn mostly_lost(cause: &Cause, endpoint: &Target) -> bool {
    let ways = ways(cause, endpoint);
    let lost = ways.iter().filter_map(|way| Some(way.loss_ratio.measured()?.value)).reduce(f64::max);
    lost.zip(cause.measured).is_some_and(|(lost, late)| lost >= HALF * late)
}

/// Whether load made packets wait: what gets through of too much may as well be lost at once.
fn queues(endpoint: &Target) -> bool {
    let risen = endpoint.loaded.rtt_increase_ms.values();
    risen.filter_map(|risen| Some(risen.measured()?.value)).any(|ms| ms >= QUEUE_MS)
}

/// The directions that a cause speaks of.
fn ways<'a>(cause: &Cause, endpoint: &'a Target) -> Vec<&'a DirectionReport> {
    match cause.direction {
        Some(FaultDirection::Up) => vec![&endpoint.up],
        Some(FaultDirection::Down) => vec![&endpoint.down],
        _ => vec![&endpoint.up, &endpoint.down],
    }
}

/// By what share of the round trips' loss the router's answers lost.
fn by_loss(endpoint: &Target, gateway: &RoundTrip) -> Option<Found> {
    // One that answers nobody, or hardly anybody, does so by choice.
    if gateway.answered < FEW || gateway.answered + gateway.lost < ENOUGH {
        return None;
    }
    let lost = |value: &Value<Estimate>| value.measured().map(|loss| loss.value);
    let (up, down) = (lost(&endpoint.up.loss_ratio)?, lost(&endpoint.down.loss_ratio)?);
    let whole = 1.0 - (1.0 - up) * (1.0 - down);
    let own = gateway.loss_ratio.measured()?;
    if whole <= 0.0 {
        return None;
    }
    let (low, high) = (own.low.unwrap_or(0.0), own.high.unwrap_or(1.0));
    let because = format!(
        "your router answered {} of {} ({} % lost, {} to {} at 95 %), while {} % of what went to the endpoint and back was lost",
        gateway.answered,
        gateway.answered + gateway.lost,
        percent(own.value),
        percent(low),
        percent(high),
        percent(whole),
    );
    Some(Found { because, ..by_share(own, whole) })
}

/// By the router's own loss, in its interval, of the whole way's. Where the interval does not tell, by which is likelier: that the local
/// network loses as much as the whole way, or as little as a sound one.
fn by_share(own: &Estimate, whole: f64) -> Found {
    let (low, high) = (own.low.unwrap_or(0.0), own.high.unwrap_or(1.0));
    let (place, sure) = match () {
        () if low >= HALF * whole => (Place::LocalNetwork, true),
        () if high <= HALF * whole => (Place::Path, true),
        () if likelier_lossy(own.value, whole) => (Place::LocalNetwork, false),
        () => (Place::Path, false),
    };
    Found { place, sure, because: String::new() }
}

/// Whether a share lost is likelier of something that loses as much as `whole` than of a sound local network (log likelihoods of
/// independent losses, by question).
fn likelier_lossy(share: f64, whole: f64) -> bool {
    let lossy = whole.clamp(2.0 * SOUND, 0.99);
    share * (lossy / SOUND).ln() + (1.0 - share) * ((1.0 - lossy) / (1.0 - SOUND)).ln() > 0.0
}

/// By what share of the delay variation the router's answers show.
fn by_variation(cause: &Cause, endpoint: &Target, gateway: &RoundTrip) -> Option<Found> {
    let whole = ways(cause, endpoint).iter().filter_map(|way| way.pdv_ms.measured()?.p95).reduce(f64::max)?;
    by_delay(spread(gateway)?, whole, "varied by")
}

/// By what share of the queue's delay the router's answers show.
fn by_queue(cause: &Cause, endpoint: &Target, gateway: &RoundTrip) -> Option<Found> {
    let risen = endpoint.loaded.rtt_increase_ms.values();
    let whole = risen.filter_map(|risen| Some(risen.measured()?.value)).reduce(f64::max);
    let whole = if Symptom::of(cause) == Symptom::Bufferbloat { cause.measured.or(whole) } else { whole };
    by_delay(spread(gateway)?, whole?, "rose by")
}

/// How far the router's round trips went above the least: the 95th percentile, or of few the greatest, and whether that is sure.
fn spread(gateway: &RoundTrip) -> Option<(f64, bool)> {
    let found = gateway.pdv_ms.measured()?;
    Some(found.p95.map_or((found.max, false), |p95| (p95, true)))
}

/// By what share of the round trip the router's is.
fn by_round_trip(endpoint: &Target, gateway: &RoundTrip) -> Option<Found> {
    by_delay((gateway.rtt_ms.measured()?.p50, true), endpoint.rtt_ms.measured()?.p50, "took")
}

fn by_delay((own_ms, enough): (f64, bool), whole_ms: f64, what: &str) -> Option<Found> {
    if whole_ms <= 0.0 {
        return None;
    }
    let share = own_ms / whole_ms;
    let because = format!(
        "the round trip to your router {what} {} ms, to the endpoint {} ms",
        milliseconds(own_ms),
        milliseconds(whole_ms)
    );
    let place = if share >= HALF { Place::LocalNetwork } else { Place::Path };
    Some(Found { place, sure: enough && (share <= EITHER.0 || share >= EITHER.1), because })
}

fn percent(ratio: f64) -> String {
    crate::verdict::words::plain(&serde_json::json!(ratio * 100.0))
}

fn milliseconds(ms: f64) -> String {
    crate::verdict::words::plain(&serde_json::json!(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::round_trip::Exchange;
    use crate::trace::StampSource;
    use crate::units::Micros;

    /// Answers after so many milliseconds each, `None` for a loss.
    fn router(answers: impl IntoIterator<Item = Option<i64>>) -> RoundTrip {
        let exchange = |answer: Option<i64>| match answer {
            Some(ms) => Exchange::Answered { at: Micros::ZERO, rtt: Micros::from_millis(ms) },
            None => Exchange::Lost,
        };
        RoundTrip::of(&answers.into_iter().map(exchange).collect::<Vec<_>>(), StampSource::Kernel)
    }

    /// One in `n` of 200 is lost.
    fn losing(n: i64) -> RoundTrip {
        router((0..200).map(|i| (i % n != 0).then_some(1)))
    }

    fn loss_of(whole: f64, own: &RoundTrip) -> Found {
        by_share(own.loss_ratio.measured().unwrap(), whole)
    }

    #[test]
    fn a_router_that_loses_as_much_is_to_blame_and_one_that_loses_nothing_is_not() {
        let (as_much, nothing, hardly) =
            (loss_of(0.1, &losing(10)), loss_of(0.1, &losing(1_000)), loss_of(0.03, &losing(100)));
        assert_eq!((as_much.place, as_much.sure), (Place::LocalNetwork, true));
        assert_eq!((nothing.place, nothing.sure), (Place::Path, true));
        assert!(!hardly.sure, "two losses of 200 may be either's share of 3 %");
    }

    #[test]
    fn delay_is_placed_by_its_share_and_the_middle_is_not_sure() {
        for (own, place, sure) in [
            (2.0, Place::Path, true),
            (40.0, Place::Path, false),
            (60.0, Place::LocalNetwork, false),
            (95.0, Place::LocalNetwork, true),
            (140.0, Place::LocalNetwork, true),
        ] {
            let found = by_delay((own, true), 100.0, "took").unwrap();
            assert_eq!((found.place, found.sure), (place, sure), "{own}");
        }
        assert_eq!(by_delay((1.0, true), 0.0, "took"), None);
        assert!(!by_delay((95.0, false), 100.0, "took").unwrap().sure, "the greatest of a few");
    }

    fn cause() -> Cause {
        Cause {
            place: Place::Path,
            fix: Some("as before".to_owned()),
            ..super::super::causes::worded("loss_up", std::collections::BTreeMap::new())
        }
    }

    #[test]
    fn a_weak_wifi_speaks_for_it_and_a_strong_one_against() {
        let told = |dbm: Option<i16>| {
            let signal_dbm = dbm.map_or_else(|| Value::not_tested("the system does not tell"), Value::exact);
            let nothing = || Value::not_tested("the system does not tell");
            let wifi = WifiDetails {
                ssid: None,
                frequency_mhz: Value::not_tested("the system does not tell"),
                width_mhz: nothing(),
                signal_dbm,
                tx_rate_mbps: Value::not_tested("the system does not tell"),
                rx_rate_mbps: Value::not_tested("the system does not tell"),
                tx_packets: nothing(),
                tx_retries: nothing(),
                tx_failed: nothing(),
            };
            let mut cause = cause();
            tell_signal(&mut cause, Some(&wifi));
            (cause.evidence, cause.ruled_out)
        };
        let (weak, _) = told(Some(-82));
        assert_eq!(weak, ["your Wi-Fi is weak here: -82 dBm, calls need -67 dBm or more"]);
        let (_, strong) = told(Some(-50));
        assert_eq!(strong, ["a weak Wi-Fi signal: -50 dBm"]);
        assert_eq!(told(None), (vec![], vec![]));
    }

    #[test]
    fn advice_changes_only_where_the_place_is_sure() {
        let because = || "because".to_owned();
        let entered = |place, sure, link| {
            let mut cause = cause();
            Found { place, sure, because: because() }.enter(&mut cause, link);
            cause
        };
        let wifi = entered(Place::LocalNetwork, true, LinkKind::Wireless);
        assert_eq!(wifi.place, Place::LocalNetwork);
        assert!(wifi.fix.unwrap().contains("move closer"));
        let beyond = entered(Place::Path, true, LinkKind::Wired);
        assert_eq!(beyond.fix.as_deref(), Some(BEYOND));
        assert_eq!(beyond.ruled_out, ["your own network: because"]);
        for place in [Place::Path, Place::LocalNetwork] {
            let unsure = entered(place, false, LinkKind::Wired);
            assert_eq!(unsure.fix.as_deref(), Some("as before"));
            assert_eq!(unsure.evidence.len(), 2);
            assert!(unsure.ruled_out.is_empty());
        }
    }
}
