//! From a host to a socket that asks it, with the typed reason when there is none, and what came back instead of an answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use crate::address::Host;
use crate::net::clock::Clock;
use crate::net::pacing::DriverStatus;
use crate::net::resolve::{self, Family, ResolveError};
use crate::net::udp::{self, DatagramSocket, Interface, UdpOptions, UnreachableKind};
use crate::plan::ProbePlan;

/// The longest that a lookup takes.
const RESOLVE: Duration = Duration::from_millis(2_500);

/// Addresses that this computer has a route to, in the order to try them.
pub(super) async fn addresses_of(host: &Host, port: u16) -> Result<Vec<SocketAddr>, TargetFailure> {
    let resolved = resolve::resolve(host, port, Family::Any, RESOLVE).await;
    let resolved = resolved.map_err(|error| match error {
        // Without a network no name server can be reached either.
        ResolveError::NoNameServer { .. } | ResolveError::Slow { .. } if !resolve::is_online() => {
            TargetFailure::NoNetwork
        }
        ResolveError::NoIpv4 { .. } => TargetFailure::NoIpv4,
        ResolveError::NoIpv6 { .. } => TargetFailure::NoIpv6,
        other => TargetFailure::UnknownHost { detail: other.to_string() },
    })?;
    let all = resolved.ordered();
    let usable: Vec<SocketAddr> = all.iter().copied().filter(|to| resolve::has_route(*to)).collect();
    if !usable.is_empty() {
        return Ok(usable);
    }
    Err(match (resolved.v4.is_empty(), resolved.v6.is_empty()) {
        _ if !resolve::is_online() => TargetFailure::NoNetwork,
        (true, false) => TargetFailure::NoIpv6,
        (false, true) => TargetFailure::NoIpv4,
        _ => TargetFailure::NoNetwork,
    })
}

/// Like [`addresses_of`], until `stop` ends the run.
pub(super) async fn addresses_unless(
    stop: &CancellationToken,
    host: &Host,
    port: u16,
) -> Result<Vec<SocketAddr>, TargetFailure> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(TargetFailure::Interrupted),
        found = addresses_of(host, port) => found,
    }
}

/// Opens a socket of the server's family on any port.
pub(super) fn socket_for(
    server: SocketAddr,
    plan: &ProbePlan,
    clock: Clock,
) -> Result<Box<dyn DatagramSocket>, TargetFailure> {
    let any: IpAddr = match server.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let interface = plan.interface.as_deref().map(Interface::parse);
    let options = UdpOptions { interface, ..UdpOptions::new((any, 0).into()) };
    udp::open(&options, clock)
        .map_err(|error| TargetFailure::Local { detail: format!("opening a socket: {error}") })
}

/// This computer's system did not send `what`, with this error number where there is one.
pub(super) fn not_sent(what: &str, error: Option<i32>) -> TargetFailure {
    let said = error.map_or_else(
        || "no reason given".to_owned(),
        |number| std::io::Error::from_raw_os_error(number).to_string(),
    );
    TargetFailure::Local { detail: format!("sending {what}: {said}") }
}

/// What routers and hosts on the way said, if anything.
pub(super) fn refusal(status: &DriverStatus) -> Option<TargetFailure> {
    let said = |kind| status.unreachable.iter().any(|error| error.kind == kind);
    match () {
        () if said(UnreachableKind::Port) => Some(TargetFailure::PortClosed),
        () if said(UnreachableKind::Prohibited) => {
            Some(TargetFailure::Refused { detail: "a firewall on the way says no".to_owned() })
        }
        () if said(UnreachableKind::Network) || said(UnreachableKind::Host) => Some(TargetFailure::Silent),
        () => None,
    }
}

/// Whether the host has said often enough that nobody listens there: one such word may have come from somebody else.
pub(super) fn is_closed(status: &DriverStatus) -> bool {
    status.unreachable.iter().filter(|error| error.kind == UnreachableKind::Port).count() >= 3
}
