//! The hops on the way to a host, by datagrams that may only go so far.

use std::net::SocketAddr;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{Details, HopFound, MplsLabel, PathDetails, RoundTrip};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::{random, reached};
use super::find::addresses_unless;
use crate::net::clock::Clock;
use crate::plan::ProbePlan;
use crate::proto::path::{Hop, PROBE_OCTETS, Tracer};

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
    let tracer = Tracer::new(host.ip(), random()?, plan.patience);
    let (plan, stopper) = (plan.clone(), stop.clone());
    let traced = tokio::task::spawn_blocking(move || trace(tracer, host, &plan, clock, &stopper));
    let (tracer, listening) = traced.await.map_err(|_| local("the measuring thread broke off"))??;
    *spent += DataSize::from_bytes(tracer.handed() * octets(host));
    let hops: Vec<HopFound> = tracer.hops().into_iter().map(found).collect();
    if hops.is_empty() {
        return Err(if stop.is_cancelled() { TargetFailure::Interrupted } else { TargetFailure::Silent });
    }
    let details = PathDetails::of(hops, tracer.unattributed(), listening);
    Ok(Found {
        reached: reached("udp", SocketAddr::new(host.ip(), 0), None),
        details: Details::Path(Box::new(details)),
        trace: None,
        stopped: stop.is_cancelled(),
    })
}

/// Octets of a probe at the IP layer.
const fn octets(host: SocketAddr) -> u64 {
    let headers = if host.is_ipv4() { 28 } else { 48 };
    headers + PROBE_OCTETS as u64
}

fn local(detail: &str) -> TargetFailure {
    TargetFailure::Local { detail: detail.to_owned() }
}

#[cfg(target_os = "linux")]
fn trace(
    mut tracer: Tracer,
    host: SocketAddr,
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<(Tracer, u64), TargetFailure> {
    use crate::net::hops::HopSocket;
    use crate::net::udp::Interface;

    /// How often it is looked whether the run was stopped.
    const LOOK: Micros = Micros::from_millis(100);
    let interface = plan.interface.as_deref().map(Interface::parse);
    let socket =
        HopSocket::open(host, interface.as_ref(), clock).map_err(|error| local(&error.to_string()))?;
    let (start, mut asked, mut listening) = (clock.now(), 0, 0);
    while !stop.is_cancelled() && (asked < plan.count || tracer.is_waiting()) {
        let now = clock.now();
        let due = start + plan.interval * i64::from(asked);
        if asked < plan.count && now >= due {
            let (ttl, payload) = tracer.next(now);
            if socket.send(ttl, &payload).is_err() {
                tracer.not_sent();
            }
            asked += 1;
        }
        // Whether a probe is due at once: what waits in the queue is read all the same.
        let left = if asked < plan.count { (due - clock.now()).max(Micros::from_millis(1)) } else { LOOK };
        socket.wait(left.min(LOOK).to_duration());
        socket.read(&mut |answer| tracer.take(answer));
        listening += socket.discard();
        tracer.give_up(clock.now());
    }
    Ok((tracer, listening))
}

#[cfg(not(target_os = "linux"))]
fn trace(
    _: Tracer,
    _: SocketAddr,
    _: &ProbePlan,
    _: Clock,
    _: &CancellationToken,
) -> Result<(Tracer, u64), TargetFailure> {
    Err(local("the hops on the way are only looked for on Linux"))
}

fn found((ttl, hop, exchanges): (u8, &Hop, Vec<Exchange>)) -> HopFound {
    HopFound {
        ttl,
        addresses: hop.addresses.iter().map(ToString::to_string).collect(),
        round_trip: RoundTrip::of(&exchanges, StampSource::User),
        is_destination: hop.is_destination,
        unreachable_code: hop.unreachable,
        mpls_labels: hop
            .labels
            .iter()
            .map(|label| MplsLabel { label: label.label, traffic_class: label.class, ttl: label.ttl })
            .collect(),
        rate_limited: false,
    }
}
