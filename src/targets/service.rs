//! A service for calls: which of the hosts, ports and protocols that it needs can be reached from here, and who is in the way.
//!
//! Each way is asked once. All are asked side by side, but no address is turned to more often than every [`APART`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use greenroom_reports::schema::CertificateFault;
use greenroom_reports::schema::{
    Details, Interception, PartState, Place as Fault, Reached, ServiceDetails, ServicePart, ServiceWay,
    Value, WayOutcome, WayProtocol,
};
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::find::addresses_unless;
use super::stun;
use crate::address::Host;
use crate::net::certificates::{self, Judged};
use crate::net::clock::Clock;
use crate::net::tcp::{self, KernelView, Meter, TcpFailure};
use crate::net::udp::Interface;
use crate::net::witness::{HandshakeFailure, handshake};
use crate::plan::ProbePlan;
use crate::plan::catalog::{Needs, Part, Place, Protocol, Way};

/// From one way of an address to its next: a connection with its handshake takes about ten packets, so twenty a second.
const APART: Micros = Micros::from_millis(500);
/// Questions over UDP, and from one to the next: one that is lost does not count.
const QUESTIONS: u32 = 3;
const BETWEEN: Micros = Micros::from_millis(250);

/// Asks every way that the service needs.
///
/// # Errors
///
/// When this computer has no network at all, or the run was ended.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let Some(service) = plan.service.clone() else {
        return Err(TargetFailure::Local { detail: "no entry of a catalog was given".to_owned() });
    };
    let asking = Arc::new(Asking {
        plan: plan.clone(),
        clock,
        stop: stop.clone(),
        meter: Meter::default(),
        turns: Mutex::default(),
    });
    let (mut ways, mut running): (Vec<ServiceWay>, JoinSet<(usize, Came)>) = (Vec::new(), JoinSet::new());
    for (part, way, port) in service.asked() {
        if let Place::Host(host) = &way.host {
            let (asking, own, host, index) = (Arc::clone(&asking), way.clone(), host.clone(), ways.len());
            running.spawn(async move { (index, asking.ask(&own, &host, port).await) });
            ways.push(blank(part, way, port.to_string()));
        } else if !ways.iter().any(|told| is_of(told, part, way)) {
            ways.push(blank(part, way, way.ports.to_string()));
        }
    }
    let (mut connections, mut offline, mut asked) = (0, 0, 0_usize);
    while let Some(ended) = running.join_next().await {
        // A task that panicked leaves its way unasked.
        let Ok((index, came)) = ended else { continue };
        asked += 1;
        offline += usize::from(came.offline);
        connections += came.connections;
        *spent += came.spent;
        if let Some(way) = ways.get_mut(index) {
            (way.outcome, way.detail, way.rtt_ms) = (came.outcome, came.detail, came.rtt_ms);
            way.address = came.address.map(|at| at.to_string());
        }
    }
    *spent += asking.meter.about(connections);
    if asked > 0 && offline == asked {
        return Err(TargetFailure::NoNetwork);
    }
    if stop.is_cancelled() {
        return Err(TargetFailure::Interrupted);
    }
    let parts = service.parts.iter().map(|part| judged(part, &ways)).collect();
    let details = ServiceDetails {
        title: service.title.clone(),
        source: service.source.clone(),
        read_on: service.date.clone(),
        note: service.note.clone(),
        parts,
        ways,
    };
    let reached =
        Reached { transport: "tcp and udp".to_owned(), address: None, setup_ms: None, instead_of_udp: None };
    Ok(Found { reached, details: Details::Service(Box::new(details)), trace: None, stopped: false })
}

/// A way before it was asked.
fn blank(part: &Part, way: &Way, port: String) -> ServiceWay {
    ServiceWay {
        part: part.name.clone(),
        host: way.host.to_string(),
        port,
        protocol: match way.protocol {
            Protocol::Tls => WayProtocol::Tls,
            Protocol::Tcp => WayProtocol::Tcp,
            Protocol::Stun => WayProtocol::Stun,
            Protocol::Udp => WayProtocol::Udp,
        },
        address: None,
        outcome: WayOutcome::NotAsked,
        detail: (!way.ranges.is_empty()).then(|| {
            let ranges: Vec<String> = way.ranges.iter().map(ToString::to_string).collect();
            format!("within {}", ranges.join(", "))
        }),
        rtt_ms: Value::not_tested("no round trip came about"),
    }
}

/// Whether this was told of a way already, which several ports have in common.
fn is_of(told: &ServiceWay, part: &Part, way: &Way) -> bool {
    let same = blank(part, way, way.ports.to_string());
    (&told.part, &told.host, &told.port, told.protocol) == (&same.part, &same.host, &same.port, same.protocol)
}

/// What came of a way.
#[derive(Debug)]
struct Came {
    outcome: WayOutcome,
    detail: Option<String>,
    address: Option<SocketAddr>,
    rtt_ms: Value<greenroom_reports::schema::Exact<f64>>,
    /// Whether this computer has no network at all.
    offline: bool,
    connections: usize,
    spent: DataSize,
}

impl Came {
    fn of(outcome: WayOutcome, detail: Option<String>) -> Self {
        Self {
            outcome,
            detail,
            address: None,
            rtt_ms: Value::not_tested("no round trip came about"),
            offline: false,
            connections: 0,
            spent: DataSize::default(),
        }
    }
}

/// How to ask.
struct Asking {
    plan: ProbePlan,
    clock: Clock,
    stop: CancellationToken,
    meter: Meter,
    /// When each address may be turned to next.
    turns: Mutex<HashMap<IpAddr, Micros>>,
}

impl Asking {
    /// Asks the first address of each family, until one is open.
    async fn ask(&self, way: &Way, host: &Host, port: u16) -> Came {
        let addresses = match addresses_unless(&self.stop, host, port).await {
            Ok(addresses) => one_of_each(&addresses),
            Err(failure) => return unresolved(&failure),
        };
        let named = matches!(host, Host::Name(_));
        if named && addresses.iter().any(|at| at.ip().is_unspecified() || at.ip().is_loopback()) {
            let said = "the name server leads to this computer itself, as filters do";
            return Came::of(WayOutcome::Unresolved, Some(said.to_owned()));
        }
        let (mut last, mut connections, mut spent) = (None, 0, DataSize::default());
        for at in addresses {
            self.turn(at.ip()).await;
            let came = match way.protocol {
                Protocol::Tls | Protocol::Tcp => self.connect(way, host, at).await,
                Protocol::Stun | Protocol::Udp => self.question(way, at).await,
            };
            connections += came.connections;
            spent += came.spent;
            let open = came.outcome == WayOutcome::Open;
            last = Some(Came { address: Some(at), ..came });
            if open || self.stop.is_cancelled() {
                break;
            }
        }
        let mut came = last
            .unwrap_or_else(|| Came::of(WayOutcome::Unresolved, Some("the name has no address".to_owned())));
        (came.connections, came.spent) = (connections, spent);
        let outside = came
            .address
            .filter(|at| !way.ranges.is_empty() && !way.ranges.iter().any(|it| it.contains(at.ip())));
        if outside.is_some() {
            let said = "the address is none of those that the vendor publishes";
            came.detail = Some(came.detail.map_or_else(|| said.to_owned(), |own| format!("{own}; {said}")));
        }
        came
    }

    /// Whether the service is for the public.
    fn is_public(&self) -> bool {
        self.plan.service.as_ref().is_some_and(|service| service.is_public)
    }

    /// Waits until this address may be turned to.
    async fn turn(&self, ip: IpAddr) {
        let at = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let next = turns.entry(ip).or_insert(Micros::ZERO);
            let at = (*next).max(self.clock.now());
            *next = at + APART;
            at
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep_until(self.clock.instant(at).into()) => {}
        }
    }

    async fn connect(&self, way: &Way, host: &Host, at: SocketAddr) -> Came {
        let interface = self.plan.interface.as_deref().map(Interface::parse);
        let patience = self.plan.patience.to_duration();
        let connected = match tcp::connect(interface.as_ref(), at, patience).await {
            Ok(connected) => connected,
            Err(failure) => return Came { connections: 1, ..of_connecting(&failure) },
        };
        let rtt_ms = round_trip(connected.kernel);
        let came = match way.protocol {
            Protocol::Tls => {
                let stream = self.meter.on(connected.stream);
                match handshake(stream, &host.server_name(), &[], patience).await {
                    Ok(witnessed) => {
                        let chain = &witnessed.agreed.chain;
                        let judged = certificates::judge(chain, &host.server_name(), self.clock.wall());
                        of_certificate(&judged, self.is_public())
                    }
                    Err(failure) => of_handshake(&failure),
                }
            }
            _ => Came::of(WayOutcome::Open, None),
        };
        Came { connections: 1, rtt_ms, ..came }
    }

    async fn question(&self, way: &Way, at: SocketAddr) -> Came {
        let plan = ProbePlan { count: QUESTIONS, interval: BETWEEN, ..self.plan.clone() };
        let mut spent = DataSize::default();
        let asked = stun::ask(at, &plan, self.clock, &self.stop, &mut spent).await;
        let answers = way.protocol == Protocol::Stun;
        let came = match asked {
            Ok(found) => {
                let trips = found.details.round_trip().and_then(|trips| trips.rtt_ms.measured());
                let rtt_ms =
                    trips.map_or_else(|| Value::failed("nothing came back"), |trips| Value::exact(trips.min));
                Came { rtt_ms, ..Came::of(WayOutcome::Open, None) }
            }
            Err(failure) => of_question(failure, answers),
        };
        Came { spent, ..came }
    }
}

/// The first address of each family.
fn one_of_each(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().copied();
    let other =
        addresses.iter().copied().find(|at| first.is_some_and(|first| first.is_ipv4() != at.is_ipv4()));
    first.into_iter().chain(other).collect()
}

fn round_trip(kernel: Option<KernelView>) -> Value<greenroom_reports::schema::Exact<f64>> {
    match kernel {
        Some(view) if view.sent_again == 0 => Value::exact(view.rtt.as_ms()),
        Some(_) => Value::failed("a packet was lost and sent again"),
        None => Value::not_tested("the system does not tell"),
    }
}

/// What it means that there is no address.
fn unresolved(failure: &TargetFailure) -> Came {
    let why = match failure {
        TargetFailure::UnknownHost { detail } => detail.clone(),
        TargetFailure::NoNetwork => {
            let none = Came::of(WayOutcome::FailedHere, Some("this computer has no network".to_owned()));
            return Came { offline: true, ..none };
        }
        TargetFailure::NoIpv4 | TargetFailure::NoIpv6 => {
            let said = "it has addresses of a family that this computer has no way to";
            return Came::of(WayOutcome::FailedHere, Some(said.to_owned()));
        }
        _ => return Came::of(WayOutcome::NotAsked, Some("the run was ended".to_owned())),
    };
    Came::of(WayOutcome::Unresolved, Some(why))
}

fn of_connecting(failure: &TcpFailure) -> Came {
    match failure {
        TcpFailure::Refused => Came::of(WayOutcome::Refused, None),
        TcpFailure::Silent => Came::of(WayOutcome::Filtered, Some("nothing came back".to_owned())),
        TcpFailure::Reset | TcpFailure::Unreachable(_) | TcpFailure::Prohibited(_) => {
            Came::of(WayOutcome::Filtered, Some(failure.to_string()))
        }
        TcpFailure::Local(_) => Came::of(WayOutcome::FailedHere, Some(failure.to_string())),
    }
}

fn of_handshake(failure: &HandshakeFailure) -> Came {
    let outcome = match failure {
        HandshakeFailure::NotTls => WayOutcome::Intercepted,
        HandshakeFailure::Reset | HandshakeFailure::Silent => WayOutcome::Filtered,
        // It speaks TLS: whoever is there answers.
        HandshakeFailure::NoProtocol | HandshakeFailure::Refused(_) => WayOutcome::Open,
        HandshakeFailure::Name(_) => WayOutcome::FailedHere,
    };
    Came::of(outcome, Some(format!("connected, then in the TLS handshake: {failure}")))
}

/// Whether the certificate is the service's own. One that has ended is a fault of its own, or of this computer's clock.
/// A company's own service has an issuer that only its computers know: of one for the public that is somebody in between.
fn of_certificate(judged: &Judged, is_public: bool) -> Came {
    let issuer = judged.chain.first().map_or("nobody", |own| own.issuer.as_str());
    let foreign = judged.faults.iter().any(|fault| {
        matches!(
            fault,
            CertificateFault::UnknownIssuer
                | CertificateFault::SelfSigned
                | CertificateFault::WrongName { .. }
        )
    });
    match judged.interception.measured() {
        Some(Interception::KnownProduct { product, issuer }) => {
            Came::of(WayOutcome::Intercepted, Some(format!("{product}: the certificate is made by {issuer}")))
        }
        _ if foreign => {
            let said =
                format!("the certificate is none that this computer trusts for this name; {issuer} made it");
            Came::of(WayOutcome::Intercepted, Some(said))
        }
        Some(Interception::PrivateIssuer { issuer }) => {
            let said = format!("only this computer knows {issuer}, which made the certificate");
            let outcome = if is_public { WayOutcome::Intercepted } else { WayOutcome::Open };
            Came::of(outcome, Some(said))
        }
        _ if judged.faults.is_empty() => Came::of(WayOutcome::Open, None),
        _ => Came::of(
            WayOutcome::Open,
            Some("its certificate does not hold; greenroom measure tls: tells more".to_owned()),
        ),
    }
}

/// What it means that no STUN came back; `answers` where the service is known to answer everybody.
fn of_question(failure: TargetFailure, answers: bool) -> Came {
    match failure {
        TargetFailure::PortClosed => Came::of(WayOutcome::Refused, None),
        TargetFailure::Silent if answers => {
            Came::of(WayOutcome::Filtered, Some("nothing came back".to_owned()))
        }
        TargetFailure::Silent => Came::of(WayOutcome::NoAnswerKnown, None),
        TargetFailure::Refused { detail } => Came::of(WayOutcome::Filtered, Some(detail)),
        TargetFailure::WrongProtocol { detail, .. } => Came::of(WayOutcome::Open, Some(detail)),
        TargetFailure::AnswersFromElsewhere { from } => Came::of(
            WayOutcome::Filtered,
            Some(format!("answers come from {from}, which programs do not take")),
        ),
        TargetFailure::Interrupted => Came::of(WayOutcome::NotAsked, Some("the run was ended".to_owned())),
        TargetFailure::Local { detail } => Came::of(WayOutcome::FailedHere, Some(detail)),
        other => Came::of(WayOutcome::FailedHere, Some(other.code().to_owned())),
    }
}

/// Whether a part works, and who is in its way.
fn judged(part: &Part, ways: &[ServiceWay]) -> ServicePart {
    let own: Vec<&ServiceWay> = ways.iter().filter(|way| way.part == part.name).collect();
    let stands = |way: &&&ServiceWay| way.outcome == WayOutcome::Open;
    let blocked = own.iter().find(|way| fault(way.outcome).is_some());
    let unknown =
        own.iter().any(|way| matches!(way.outcome, WayOutcome::NoAnswerKnown | WayOutcome::NotAsked));
    let (state, to_blame) = match part.needs {
        Needs::Any if own.iter().any(|way| stands(&way)) => (PartState::Works, None),
        Needs::Any if unknown => (PartState::Unknown, None),
        Needs::All if blocked.is_none() && unknown => (PartState::Unknown, None),
        _ if blocked.is_some() => (PartState::Fails, blocked),
        _ => (PartState::Works, None),
    };
    let (place, why) = match to_blame.and_then(|way| Some((way, fault(way.outcome)?))) {
        Some((way, (place, said))) => (place, Some(format!("{} port {}: {said}", way.host, way.port))),
        None => (Fault::Unknown, None),
    };
    ServicePart {
        name: part.name.clone(),
        state,
        place,
        why,
        without: part.without.clone(),
        essential: part.essential,
    }
}

/// Whose fault an outcome is. `None`: nobody's.
const fn fault(outcome: WayOutcome) -> Option<(Fault, &'static str)> {
    match outcome {
        WayOutcome::Filtered => Some((Fault::Relay, "a firewall on the way does not let it through")),
        WayOutcome::Intercepted => Some((Fault::Relay, "somebody on the way answers in the service's place")),
        WayOutcome::Refused => {
            Some((Fault::Unknown, "nothing listens there, or a firewall says so in the service's place"))
        }
        WayOutcome::Unresolved => {
            Some((Fault::LocalNetwork, "the name servers (DNS) of this network do not lead to it"))
        }
        WayOutcome::FailedHere => Some((Fault::Computer, "this computer could not ask")),
        WayOutcome::Open | WayOutcome::NoAnswerKnown | WayOutcome::NotAsked => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::catalog::Service;

    fn service(needs: &str) -> Service {
        let text = format!(
            "name = \"s\"\ntitle = \"S\"\nsource = \"https://s.example\"\ndate = \"2026-11-28\"\n[[part]]\n\
             name = \"media\"\nwithout = \"-\"\nneeds = \"{needs}\"\n[[part.way]]\nhost = \"s.example\"\n\
             ports = \"1-2\"\nprotocol = \"udp\"\n"
        );
        Service::parse(&text).expect("an entry")
    }

    fn of(needs: &str, outcomes: [WayOutcome; 2]) -> (PartState, Fault) {
        let service = service(needs);
        let ways: Vec<ServiceWay> = service
            .asked()
            .zip(outcomes)
            .map(|((part, way, port), outcome)| ServiceWay { outcome, ..blank(part, way, port.to_string()) })
            .collect();
        let judged = judged(&service.parts[0], &ways);
        (judged.state, judged.place)
    }

    #[test]
    fn a_part_fails_where_what_it_needs_is_in_somebodys_way() {
        use WayOutcome::{Filtered, NoAnswerKnown, Open, Refused, Unresolved};
        for (needs, outcomes, state, place) in [
            ("all", [Open, Open], PartState::Works, Fault::Unknown),
            ("all", [Open, Filtered], PartState::Fails, Fault::Relay),
            ("all", [NoAnswerKnown, Unresolved], PartState::Fails, Fault::LocalNetwork),
            ("all", [Open, NoAnswerKnown], PartState::Unknown, Fault::Unknown),
            ("any", [Filtered, Open], PartState::Works, Fault::Unknown),
            ("any", [Filtered, NoAnswerKnown], PartState::Unknown, Fault::Unknown),
            ("any", [Refused, Refused], PartState::Fails, Fault::Unknown),
        ] {
            assert_eq!(of(needs, outcomes), (state, place), "{needs} of {outcomes:?}");
        }
    }

    #[test]
    fn silence_over_udp_says_nothing_where_strangers_are_not_answered() {
        assert_eq!(of_question(TargetFailure::Silent, true).outcome, WayOutcome::Filtered);
        assert_eq!(of_question(TargetFailure::Silent, false).outcome, WayOutcome::NoAnswerKnown);
        assert_eq!(of_question(TargetFailure::PortClosed, false).outcome, WayOutcome::Refused);
    }
}
