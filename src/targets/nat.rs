//! What the NAT before a STUN server does (RFC 5780).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;

use greenroom_reports::schema::{Details, Exact, Lifetime, NatDetails, NatSeen, RoundTrip, Value};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::{random, reached};
use super::find::{addresses_of, addresses_unless, socket_for};
use crate::address::Part;
use crate::net::clock::Clock;
use crate::net::udp::{DatagramSocket, SendBatch, SocketEvent, UnreachableKind};
use crate::net::{resolve, route};
use crate::plan::ProbePlan;
use crate::proto::machine::{Transmit, TransmitKey};
use crate::proto::nat::{Discovery, NatConfig, Outgoing, Socket};

/// From the sockets' opening to the first question.
const HEAD_START: Micros = Micros::from_millis(5);
/// How often it is looked what has come.
const LOOK: Micros = Micros::from_millis(10);

/// Asks a STUN server as planned: the first of its addresses that answers. Adds the bytes sent and received at the IP layer to `spent`.
///
/// # Errors
///
/// The reason why nothing was answered: of its addresses that of the last one tried.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let addresses = addresses_unless(stop, &plan.target.host, plan.target.port).await?;
    let beside = match &plan.target.part {
        Part::Beside { host, port } => addresses_of(host, *port).await?,
        _ => Vec::new(),
    };
    let mut failure = TargetFailure::NoNetwork;
    for server in addresses {
        // Of another family it would see another address anyway.
        let second = beside.iter().copied().find(|second| second.is_ipv4() == server.is_ipv4());
        match ask((server, second), plan, clock, stop, spent).await {
            Ok(found) => return Ok(found),
            Err(TargetFailure::Interrupted) => return Err(TargetFailure::Interrupted),
            Err(other) => failure = other,
        }
    }
    Err(failure)
}

/// Asks one address.
async fn ask(
    (server, second): (SocketAddr, Option<SocketAddr>),
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let mut config = NatConfig {
        server,
        second,
        local: None,
        start: clock.now() + HEAD_START,
        lifetime: Discovery::longest_silence(plan.interval * i64::from(plan.count)),
        secret: random()?,
    };
    let mut sockets = BTreeMap::new();
    for name in config.sockets() {
        sockets.insert(name, socket_for(server, plan, clock)?);
    }
    config.local = sockets.get(&Socket::Mapping).and_then(|it| leaves_from(server, it.as_ref(), plan));
    let local = config.local;
    let mut run = Run { discovery: Discovery::new(config), sockets, clock, closed: 0, refused: None };
    let stopped = run.run_out(stop).await?;
    *spent += run.discovery.bytes();
    if !run.discovery.is_answered() {
        return Err(if stopped { TargetFailure::Interrupted } else { run.why_not() });
    }
    let details = details(&run.discovery, local);
    let details = Details::Nat(Box::new(details));
    Ok(Found { reached: reached("udp", server, None), details, trace: None, stopped })
}

/// Where packets from this socket to the server leave from.
fn leaves_from(server: SocketAddr, socket: &dyn DatagramSocket, plan: &ProbePlan) -> Option<SocketAddr> {
    let bound = socket.local_addr();
    let by_route = || route::to(server.ip(), plan.interface.as_deref()).ok()?.source;
    let ip = match bound.ip().is_unspecified() {
        true => by_route().or_else(|| resolve::source_of(server))?,
        false => bound.ip(),
    };
    Some(SocketAddr::new(ip, bound.port()))
}

/// The sockets and who tells them what to do.
struct Run {
    discovery: Discovery,
    sockets: BTreeMap<Socket, Box<dyn DatagramSocket>>,
    clock: Clock,
    /// How often the server's host said that nobody listens.
    closed: u32,
    /// What the system said of what it did not send last.
    refused: Option<std::io::Error>,
}

impl Run {
    /// Returns whether it was stopped before.
    async fn run_out(&mut self, stop: &CancellationToken) -> Result<bool, TargetFailure> {
        loop {
            self.read()?;
            while let Some(outgoing) = self.discovery.next(self.clock.now()) {
                self.send(&outgoing);
            }
            let hopeless = self.closed >= 3 && !self.discovery.is_answered();
            if self.discovery.is_finished() || hopeless {
                return Ok(false);
            }
            // What comes is taken at the next look: no time here is of interest to the millisecond.
            let wait =
                (self.discovery.next_deadline() - self.clock.now()).clamp(Micros::from_millis(1), LOOK);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(true),
                () = tokio::time::sleep(wait.to_duration()) => {}
            }
        }
    }

    fn send(&mut self, outgoing: &Outgoing) {
        let Some(socket) = self.sockets.get_mut(&outgoing.socket) else { return };
        let mut batch = SendBatch::default();
        let (to, key, intended) = (outgoing.to, TransmitKey(0), self.clock.now());
        batch.push(Transmit { to, key, intended, tos: 0, stamp: false }, &outgoing.octets);
        let refused = &mut self.refused;
        socket.send(&batch, &mut |departure| {
            use crate::proto::machine::DepartureEvent::Failed;
            if let Failed(error) = departure.event {
                *refused = error.map(std::io::Error::from_raw_os_error);
            }
        });
    }

    fn read(&mut self) -> Result<(), TargetFailure> {
        let (discovery, closed) = (&mut self.discovery, &mut self.closed);
        for (name, socket) in &mut self.sockets {
            loop {
                let came = socket.receive(&mut |_, arrival, payload| {
                    discovery.take(arrival.at, *name, arrival.from, payload);
                });
                match came {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => return Err(TargetFailure::Local { detail: error.to_string() }),
                }
            }
            socket.read_errors(&mut |event| {
                if let SocketEvent::Unreachable(it) = event {
                    *closed += u32::from(it.kind == UnreachableKind::Port);
                }
            });
        }
        Ok(())
    }

    /// Why nothing was answered.
    fn why_not(&self) -> TargetFailure {
        let wrong = |detail: &str| TargetFailure::WrongProtocol {
            protocol: "STUN".to_owned(),
            detail: detail.to_owned(),
        };
        match (self.discovery.elsewhere(), self.discovery.strays(), &self.refused) {
            ((_, Some(from)), ..) => TargetFailure::AnswersFromElsewhere { from: from.to_string() },
            (_, (_, 1..), _) => wrong("what it sends back is no STUN"),
            (_, (1.., _), _) => wrong("what it sends back is no answer to a Binding request"),
            (.., Some(error)) => {
                TargetFailure::Local { detail: format!("sending a Binding request: {error}") }
            }
            _ if self.closed > 0 => TargetFailure::PortClosed,
            _ => TargetFailure::Silent,
        }
    }
}

fn details(run: &Discovery, local: Option<SocketAddr>) -> NatDetails {
    let address = |known: Option<SocketAddr>, why: &str| {
        known.map_or_else(|| Value::failed(why), |it| Value::exact(it.to_string()))
    };
    let seen = run.seen().map(|(server, mapped)| NatSeen {
        server: server.to_string(),
        reflexive_address: mapped.map(|mapped| mapped.to_string()),
    });
    let lifetime = run.lifetime().map(|life| Lifetime { at_least: life.at_least, less_than: life.less_than });
    NatDetails {
        local_address: address(local, "this system does not tell"),
        reflexive_address: address(run.reflexive(), "no answer told it"),
        nat: run
            .is_nat()
            .map_or_else(|| Value::failed("one of the two addresses is not known"), Value::exact),
        mapping: fact(run.mapping()),
        filtering: fact(run.filtering()),
        hairpinning: fact(run.hairpinning()),
        port_preserved: fact(run.port_preserved()),
        binding_lifetime_s: match lifetime {
            Ok(lifetime) => Value::Measured(lifetime),
            Err(why) => Value::not_tested(why.to_string()),
        },
        other_address: match run.other_address() {
            Some(other) => Value::exact(other.to_string()),
            None => Value::not_tested("the server names none that could be asked"),
        },
        seen: seen.collect(),
        software: match run.software() {
            Some(name) => Value::exact(name.to_owned()),
            None => Value::failed("the server did not say"),
        },
        round_trip: RoundTrip::of(&run.exchanges(), StampSource::Kernel),
        answers_from_elsewhere: run.elsewhere().0,
        stray_answers: run.strays().0 + run.strays().1,
    }
}

fn fact<T>(found: Result<T, impl Display>) -> Value<Exact<T>> {
    found.map_or_else(|why| Value::not_tested(why.to_string()), Value::exact)
}
