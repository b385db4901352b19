//! The hops on the way to a host, by probes that may only go so far.

use std::net::SocketAddr;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{Details, HopFound, MplsLabel, PathDetails, PathProbes, RoundTrip};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::{random, reached};
use super::find::addresses_unless;
use crate::net::clock::Clock;
use crate::net::udp::EchoError;
use crate::plan::ProbePlan;
use crate::proto::path::{Hop, Kind, PROBE_OCTETS, Tracer};

/// The port that nobody listens on, as every traceroute has had it.
const PORT: u16 = 33_434;

/// Looks for the hops to the host's first address. Adds the bytes sent at the IP layer to `spent`.
///
/// # Errors
///
/// The reason why nobody on the way answered.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let addresses = addresses_unless(stop, &plan.target.host, PORT).await?;
    let host = addresses.first().copied().ok_or(TargetFailure::NoNetwork)?;
    let secret = (u16::from_be_bytes(random()?), random()?);
    let (plan, stopper) = (plan.clone(), stop.clone());
    let traced = tokio::task::spawn_blocking(move || trace(secret, host, &plan, clock, &stopper));
    let traced = traced.await.map_err(|_| local("the measuring thread broke off"))??;
    let tracer = &traced.tracer;
    *spent += DataSize::from_bytes(tracer.handed() * octets(host));
    let hops: Vec<HopFound> = tracer.hops().into_iter().map(found).collect();
    if hops.is_empty() {
        return Err(match traced.refused {
            _ if stop.is_cancelled() => TargetFailure::Interrupted,
            Some(detail) => TargetFailure::Local { detail },
            None => TargetFailure::Silent,
        });
    }
    let (probes, why_not_echo) = match tracer.kind() {
        Kind::Datagrams => (PathProbes::Datagrams, Some(EchoError::NotAllowed.to_string())),
        Kind::Echo { .. } if tracer.is_deaf_to_echo() => {
            let said = "the host answers no echo requests, or a firewall drops them";
            (PathProbes::Datagrams, Some(said.to_owned()))
        }
        Kind::Echo { .. } => (PathProbes::EchoRequests, None),
    };
    let details = PathDetails {
        why_not_echo,
        unattributed_answers: tracer.unattributed(),
        other_answers: tracer.other(),
        ..PathDetails::of(probes, hops)
    };
    Ok(Found {
        reached: reached(
            if probes == PathProbes::EchoRequests { "icmp" } else { "udp" },
            SocketAddr::new(host.ip(), 0),
            None,
        ),
        details: Details::Path(Box::new(details)),
        trace: None,
        stopped: stop.is_cancelled(),
    })
}

/// What came of a run.
struct Traced {
    tracer: Tracer,
    /// Why this computer refused to send, where it did.
    refused: Option<String>,
}

/// Octets of a probe at the IP layer: a transport header and an echo header have eight alike.
const fn octets(host: SocketAddr) -> u64 {
    let headers = if host.is_ipv4() { 28 } else { 48 };
    headers + PROBE_OCTETS as u64
}

fn local(detail: &str) -> TargetFailure {
    TargetFailure::Local { detail: detail.to_owned() }
}

#[cfg(target_os = "linux")]
fn trace(
    (identifier, token): (u16, [u8; 6]),
    host: SocketAddr,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<Traced, TargetFailure> {
    use crate::net::hops::HopSockets;
    use crate::net::udp::Interface;

    /// How often it is looked whether the run was stopped.
    const LOOK: Micros = Micros::from_millis(100);
    let interface = plan.interface.as_deref().map(Interface::parse);
    let (mut sockets, carrier) =
        HopSockets::open(host, interface.as_ref(), clock).map_err(|error| local(&error.to_string()))?;
    let kind = carrier.map_or(Kind::Datagrams, |carrier| Kind::Echo { carrier, identifier });
    let mut tracer = Tracer::new(host.ip(), kind, token, plan.patience);
    let (start, mut turn, mut refused) = (clock.now(), 0, None);
    while !stop.is_cancelled() && (turn < plan.count || tracer.is_waiting()) {
        let due = start + plan.interval * i64::from(turn);
        if turn < plan.count && clock.now() >= due {
            turn += 1;
            if let Some(probe) = tracer.next(clock.now())
                && let Err(error) = sockets.send(&probe)
            {
                tracer.not_sent();
                refused = Some(format!("this computer does not send the probes: {error}"));
            }
        }
        let next = start + plan.interval * i64::from(turn);
        // Where a probe is due at once, what waits to be read is read all the same.
        let left = if turn < plan.count { (next - clock.now()).max(Micros::from_millis(1)) } else { LOOK };
        sockets.wait(left.min(LOOK).to_duration());
        sockets.read(&mut |answer| tracer.take(answer));
        tracer.give_up(clock.now());
    }
    Ok(Traced { tracer, refused })
}

#[cfg(not(target_os = "linux"))]
fn trace(
    _: (u16, [u8; 6]),
    _: SocketAddr,
    _: &ProbePlan,
    _: Clock,
    _: &CancellationToken,
) -> Result<Traced, TargetFailure> {
    Err(local("the hops on the way are only looked for on Linux"))
}

fn found((ttl, hop, exchanges): (u8, Hop, Vec<Exchange>)) -> HopFound {
    let told = |all: &[std::net::IpAddr]| all.iter().map(ToString::to_string).collect();
    HopFound {
        ttl,
        addresses: told(&hop.addresses),
        other_flows: told(&hop.others),
        round_trip: RoundTrip::of(&exchanges, StampSource::User),
        is_destination: hop.is_destination(),
        unreachable_code: hop.unreachable,
        mpls_labels: hop
            .labels
            .iter()
            .map(|label| MplsLabel { label: label.label, traffic_class: label.class, ttl: label.ttl })
            .collect(),
        rate_limited: false,
    }
}
