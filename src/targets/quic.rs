//! Anything that speaks QUIC: how long handshakes take, the round trip that it measured itself, and everything about the certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use greenroom_reports::metrics::round_trip::Exchange;
use greenroom_reports::schema::{Details, Distribution, QuicDetails, RoundTrip, Value};
use greenroom_reports::trace::StampSource;
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::reached;
use super::find::addresses_unless;
use super::repeat::{Attempt, first_that_answers};
use super::security::security;
use crate::net::clock::Clock;
use crate::net::quic::{ConnectError, Seen, look};
use crate::net::udp::Interface;
use crate::plan::ProbePlan;

/// The protocol offered: that of the web over QUIC.
pub(super) const ALPN: &[&[u8]] = &[b"h3"];

/// Shakes hands as planned, each time over a connection of its own: with the first address where it comes to its end. Adds the bytes sent
/// and received at the IP layer to `spent`.
///
/// # Errors
///
/// The reason why no handshake came to its end: of its addresses that of the last one tried.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let addresses = addresses_unless(stop, &plan.target.host, plan.target.port).await?;
    let name: Arc<str> = plan.target.host.server_name().into();
    let interface = plan.interface.as_deref().map(Interface::parse);
    let patience = plan.patience.to_duration();
    let attempts = first_that_answers(addresses, plan, clock, stop, |address| {
        let (name, interface) = (Arc::clone(&name), interface.clone());
        async move { once(address, &name, interface.as_ref(), patience, clock).await }
    })
    .await?;
    let seen = || attempts.ended().filter_map(|attempt| attempt.result.as_ref().ok());
    *spent += seen().map(|seen| seen.spent).sum::<DataSize>();
    let exchanges = attempts.exchanges(|attempt| match &attempt.result {
        Ok(_) => Exchange::Answered { at: attempt.ended, rtt: attempt.took },
        Err(ConnectError::Local { .. }) => Exchange::SendFailed,
        Err(_) => Exchange::Lost,
    });
    let rtt = seen().map(|seen| seen.rtt);
    let last = seen().next_back();
    let details = QuicDetails {
        round_trip: RoundTrip::of(&exchanges, StampSource::User),
        rtt_ms: Distribution::of(&rtt.collect())
            .map_or_else(|| Value::failed("no handshake came to its end"), Value::Measured),
        lost_packets: seen().map(|seen| seen.lost_packets).sum(),
        sent_packets: seen().map(|seen| seen.sent_packets).sum(),
        // The library speaks no other to whom it calls.
        version: Value::exact("1".to_owned()),
        max_datagram_bytes: match last.map(|seen| seen.max_datagram) {
            Some(Some(octets)) => Value::exact(octets),
            Some(None) => Value::failed("it takes none"),
            None => Value::failed("no handshake came to its end"),
        },
        tried: attempts.tried.clone(),
        security: security(seen().map(|seen| &seen.agreed), &plan.target, clock),
    };
    Ok(Found {
        reached: reached("quic", attempts.address, None),
        details: Details::Quic(details),
        trace: None,
        stopped: attempts.stopped,
    })
}

/// A handshake.
struct Shaken {
    ended: Micros,
    took: Micros,
    result: Result<Seen, ConnectError>,
}

impl Attempt for Shaken {
    fn failure(&self) -> Option<TargetFailure> {
        self.result.as_ref().err().map(refusal)
    }
}

async fn once(
    address: SocketAddr,
    name: &str,
    interface: Option<&Interface>,
    patience: Duration,
    clock: Clock,
) -> Shaken {
    let begun = clock.now();
    let result = look(interface, address, name, ALPN, patience, clock).await;
    let now = clock.now();
    // Where it came to its end, the time is that of the handshake alone, without the goodbye.
    let took = result.as_ref().map_or(now - begun, |seen| seen.handshake);
    Shaken { ended: begun + took, took, result }
}

/// The reason for a person.
fn refusal(error: &ConnectError) -> TargetFailure {
    let detail = error.to_string();
    match error {
        ConnectError::Refused { .. } => TargetFailure::PortClosed,
        ConnectError::Silent { .. } => TargetFailure::Silent,
        ConnectError::Forbidden { to } => TargetFailure::UdpBlockedHere { port: to.port(), works: None },
        ConnectError::Prohibited { by, .. } => TargetFailure::FirewallOnTheWay { by: by.to_string() },
        ConnectError::NoWay { by, .. } => TargetFailure::NoWay { by: by.to_string() },
        ConnectError::NextHopSilent { .. } => TargetFailure::NextHopSilent,
        ConnectError::Version { .. } => TargetFailure::WrongProtocol {
            protocol: "QUIC version 1".to_owned(),
            detail: "it speaks other versions alone".to_owned(),
        },
        ConnectError::Protocol { .. } => {
            TargetFailure::TlsRefused { detail: "it speaks QUIC, and not HTTP/3 (h3) over it".to_owned() }
        }
        ConnectError::Certificate(_) | ConnectError::Closed { .. } => TargetFailure::TlsRefused { detail },
        ConnectError::Local { .. } | ConnectError::Name { .. } => TargetFailure::Local { detail },
    }
}
