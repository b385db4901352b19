//! What to ask something that is no Greenroom endpoint, how often and how long.
//!
//! Who runs a public server has not agreed to be measured: the rate is bounded here, in the one place where all such runs are
//! planned, whatever is asked for.

use std::sync::Arc;

use greenroom_reports::schema::Mode;
use greenroom_reports::units::Micros;

use super::catalog::{Place, Service};
use super::{LONGEST, Plan, PlanError, SHORTEST};
use crate::address::{Credentials, OtherKind, OtherUrl, Token};

/// What is wanted of a run against something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeRequest {
    /// Against what.
    pub target: OtherUrl,
    /// How long to ask.
    pub duration: Micros,
    /// From question to question. `None`: as often as its kind allows.
    pub interval: Option<Micros>,
    /// Name or address of the network interface to send from. `None`: the system chooses.
    pub interface: Option<String>,
    /// What opens a server that media are published to.
    pub token: Option<Token>,
    /// Who this computer is to a TURN server. `None`: nobody.
    pub turn: Option<Credentials>,
}

/// What a run against something else is going to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbePlan {
    /// Against what.
    pub target: OtherUrl,
    /// From question to question: never less than the kind allows.
    pub interval: Micros,
    /// Questions in all.
    pub count: u32,
    /// After so long a question is given up.
    pub patience: Micros,
    /// When nothing at all was answered for so long, the run ends.
    pub give_up: Micros,
    /// Name or address of the network interface to send from.
    pub interface: Option<String>,
    /// What opens a server that media are published to.
    pub token: Option<Token>,
    /// Who this computer is to a TURN server. Without it nothing is relayed.
    pub turn: Option<Credentials>,
    /// What the service needs, of `service:`.
    pub service: Option<Arc<Service>>,
}

impl ProbePlan {
    /// Whether it sends as much as a call does, so that nothing else is measured at the same time.
    pub const fn sends_media(&self) -> bool {
        match self.target.kind {
            OtherKind::Whip => true,
            // Who has no user name there is told so, and nothing is relayed.
            OtherKind::Turn | OtherKind::Turns => self.turn.is_some(),
            OtherKind::Stun
            | OtherKind::Stamp
            | OtherKind::Dns
            | OtherKind::Tls
            | OtherKind::Https
            | OtherKind::Tcp
            | OtherKind::Ntp
            | OtherKind::Wss
            | OtherKind::Quic
            | OtherKind::Icmp
            | OtherKind::Path
            | OtherKind::Mtu
            | OtherKind::Dscp
            | OtherKind::Ecn
            | OtherKind::Nat
            | OtherKind::Service => false,
        }
    }

    /// The same for what a service needs: each way once, whatever time that takes.
    pub fn of_service(self, service: Arc<Service>) -> Self {
        let named = service.asked().filter(|(_, way, _)| matches!(way.host, Place::Host(_)));
        let count = u32::try_from(named.count()).unwrap_or(u32::MAX);
        Self { count, service: Some(service), ..self }
    }

    /// How long asking and waiting take at most, the lookup of the name left out.
    pub fn longest(&self) -> Micros {
        self.interval * i64::from(self.count.saturating_sub(1)) + self.patience
    }
}

/// The least time from question to question that a kind of target allows.
pub const fn least_interval(kind: OtherKind) -> Micros {
    match kind {
        // 20 packets a second, one to a question: a server that did not consent.
        OtherKind::Stun | OtherKind::Dns | OtherKind::Icmp | OtherKind::Path | OtherKind::Mtu => {
            Micros::from_millis(50)
        }
        OtherKind::Nat => Micros::from_millis(50),
        // As often as audio is sent: a reflector is there to be measured with. Hosts that are none are sent 20 a second.
        OtherKind::Dscp | OtherKind::Ecn => Micros::from_millis(20),
        // The same of connections: four packets each way make and end one.
        OtherKind::Tcp => Micros::from_millis(200),
        // With its acknowledgment two packets each way.
        OtherKind::Wss => Micros::from_millis(100),
        // A handshake and what follows takes about ten packets each way.
        OtherKind::Tls | OtherKind::Https | OtherKind::Quic | OtherKind::Service => Micros::from_millis(500),
        // Less than the least that servers allow (RFC 5905 section 14, RFC 8633 section 3.1: minpoll), who tolerate a few.
        OtherKind::Ntp => Micros::from_secs(2),
        // A server that takes media is there for them: one packet of sound.
        OtherKind::Whip => Micros::from_millis(20),
        // 250 a second: a reflector is there to be measured with.
        OtherKind::Stamp => Micros::from_millis(4),
        // As often as audio is sent, and only by who has a user name there: nobody else gets an address.
        OtherKind::Turn | OtherKind::Turns => Micros::from_millis(20),
    }
}

/// From question to question where nothing else is asked for.
const fn usual_interval(kind: OtherKind) -> Micros {
    match kind {
        OtherKind::Stun | OtherKind::Ntp | OtherKind::Icmp => least_interval(kind),
        OtherKind::Turn | OtherKind::Turns => least_interval(kind),
        OtherKind::Path | OtherKind::Mtu | OtherKind::Service => least_interval(kind),
        OtherKind::Dscp | OtherKind::Ecn | OtherKind::Nat => least_interval(kind),
        OtherKind::Dns | OtherKind::Tcp => Micros::from_millis(250),
        OtherKind::Tls | OtherKind::Https | OtherKind::Quic | OtherKind::Wss => Micros::from_secs(1),
        // As often as audio is sent.
        OtherKind::Stamp | OtherKind::Whip => Micros::from_millis(20),
    }
}

/// Plans a run against something else.
///
/// # Errors
///
/// [`PlanError::Duration`] or [`PlanError::TooOften`] when a bound is violated.
pub fn plan_probe(request: &ProbeRequest) -> Result<ProbePlan, PlanError> {
    if !(SHORTEST..=LONGEST).contains(&request.duration) {
        return Err(PlanError::Duration);
    }
    if request.target.kind == OtherKind::Whip && request.interval.is_some() {
        return Err(PlanError::Paced { kind: request.target.kind.scheme() });
    }
    let least = least_interval(request.target.kind);
    let interval = request.interval.unwrap_or(usual_interval(request.target.kind));
    // What nobody chose may be longer than the run: one question is asked then.
    if interval < least || (request.interval.is_some() && interval > request.duration) {
        return Err(PlanError::TooOften {
            kind: request.target.kind.scheme(),
            least,
            most: request.duration,
        });
    }
    let count = request.duration.get() / interval.get().max(1);
    Ok(ProbePlan {
        target: request.target.clone(),
        interval,
        count: u32::try_from(count).unwrap_or(u32::MAX).max(1),
        patience: PATIENCE,
        give_up: GIVE_UP,
        interface: request.interface.clone(),
        token: request.token.clone(),
        turn: request.turn.clone(),
        service: None,
    })
}

/// Plans to ask `target` while an endpoint is checked as planned.
///
/// # Errors
///
/// As [`plan_probe`].
pub fn plan_beside(plan: &Plan, target: &OtherUrl) -> Result<ProbePlan, PlanError> {
    let duration = match (target.kind, plan.mode) {
        // What is judged as media are.
        (OtherKind::Stamp, _) => plan.traffic_ends(),
        // How long a mapping lasts takes its time.
        (OtherKind::Nat, Mode::Deep) => LONG,
        (_, Mode::Quick) => QUICK,
        (_, Mode::Deep) => DEEP,
    };
    plan_probe(&ProbeRequest {
        target: target.clone(),
        duration: duration.clamp(SHORTEST, LONGEST),
        interval: None,
        interface: plan.against.interface.clone(),
        token: None,
        turn: None,
    })
}

/// How long others are asked beside a quick check: with the patience for the last answers no longer than the check.
const QUICK: Micros = Micros::from_secs(3);
/// The same beside a deep check.
const DEEP: Micros = Micros::from_secs(10);

/// The same of what takes longest.
const LONG: Micros = Micros::from_secs(20);

/// A question is given up after Tmax = 3 s, as in every run that is not quick.
const PATIENCE: Micros = Micros::from_secs(3);
/// Who has not answered a single question by then is silent.
const GIVE_UP: Micros = Micros::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::TargetUrl;

    fn request(interval_ms: Option<i64>, duration: Micros) -> ProbeRequest {
        request_to("stun:probe.example", interval_ms, duration)
    }

    fn request_to(url: &str, interval_ms: Option<i64>, duration: Micros) -> ProbeRequest {
        let Ok(TargetUrl::Other(target)) = url.parse() else { panic!("a target") };
        let interval = interval_ms.map(Micros::from_millis);
        ProbeRequest { target, duration, interval, interface: None, token: None, turn: None }
    }

    #[test]
    fn whoever_did_not_consent_is_asked_twenty_times_a_second_at_most() {
        let plan = plan_probe(&request(None, Micros::from_secs(10))).expect("within bounds");
        assert_eq!((plan.interval, plan.count), (Micros::from_millis(50), 200));
        assert_eq!(plan.longest(), Micros::from_millis(199 * 50 + 3_000));
        // Reflectors are there to be measured with, and the others only serve those whom they know.
        let consent = [
            OtherKind::Stamp,
            OtherKind::Dscp,
            OtherKind::Ecn,
            OtherKind::Whip,
            OtherKind::Turn,
            OtherKind::Turns,
        ];
        for kind in OtherKind::ALL.into_iter().filter(|kind| !consent.contains(kind)) {
            assert!(least_interval(kind) >= Micros::from_millis(50), "{kind:?}");
        }
        for interval in [49, 1, 0, -50] {
            let refused = plan_probe(&request(Some(interval), Micros::from_secs(10)));
            assert!(matches!(refused, Err(PlanError::TooOften { .. })), "{interval}");
        }
    }

    #[test]
    fn time_servers_are_asked_every_other_second_and_once_in_a_short_run() {
        let plan = |ms, s| plan_probe(&request_to("ntp:probe.example", ms, Micros::from_secs(s)));
        assert_eq!(plan(None, 10).expect("within bounds").count, 5);
        assert_eq!(plan(None, 1).expect("one question").count, 1);
        assert!(plan(Some(1_999), 10).is_err());
    }

    #[test]
    fn connections_cost_more_packets_than_questions() {
        let plan = |url, ms| plan_probe(&request_to(url, ms, Micros::from_secs(10)));
        assert_eq!(plan("tcp:probe.example:22", None).expect("4 a second").count, 40);
        assert!(plan("tcp:probe.example:22", Some(199)).is_err());
        for url in ["tls:probe.example", "https://probe.example", "quic:probe.example"] {
            assert_eq!(plan(url, None).expect("one a second").count, 10);
            assert!(plan(url, Some(499)).is_err(), "{url}");
        }
    }

    #[test]
    fn reflectors_are_asked_two_hundred_and_fifty_times_a_second_at_most() {
        let second = Micros::from_secs(1);
        let plan = |ms| plan_probe(&request_to("stamp:probe.example", ms, second));
        assert_eq!(plan(None).expect("as often as audio").count, 50);
        assert_eq!(plan(Some(4)).expect("the most").count, 250);
        assert!(matches!(plan(Some(3)), Err(PlanError::TooOften { .. })));
    }

    #[test]
    fn media_have_their_own_pace() {
        let plan = |ms| plan_probe(&request_to("whip:https://probe.example/a", ms, Micros::from_secs(10)));
        assert_eq!(plan(None).expect("50 a second").count, 500);
        for interval in [10, 20, 1_000] {
            assert!(matches!(plan(Some(interval)), Err(PlanError::Paced { .. })), "{interval}");
        }
    }

    #[test]
    fn seldom_is_fine_and_never_is_not() {
        let plan = plan_probe(&request(Some(1_000), Micros::from_secs(1))).expect("one question");
        assert_eq!(plan.count, 1);
        assert!(plan_probe(&request(Some(1_001), Micros::from_secs(1))).is_err());
        assert_eq!(plan_probe(&request(None, Micros::from_millis(999))), Err(PlanError::Duration));
        assert_eq!(plan_probe(&request(None, Micros::from_secs(601))), Err(PlanError::Duration));
    }
}
