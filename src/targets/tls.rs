//! Anything that speaks TLS over TCP: how long handshakes take, what is agreed on, and everything about the certificate. One that does not
//! hold is a finding: the handshake is brought to its end with whatever is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use greenroom_reports::schema::{Details, Distribution, TlsDetails, Value};
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::reached;
use super::find::addresses_unless;
use super::repeat::{Attempt, Connection, connect, connects, first_that_answers};
use super::security::{refusal, security};
use crate::net::clock::Clock;
use crate::net::tcp::Meter;
use crate::net::udp::Interface;
use crate::net::witness::{Agreed, HandshakeFailure, handshake};
use crate::plan::ProbePlan;

/// The protocols offered: those of the web, so that one that has several tells which it would speak.
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// Shakes hands as planned, each time over a connection of its own: with the first address where it comes to its end. Adds about the
/// bytes sent and received at the IP layer to `spent`.
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
    let shaking = Shaking {
        name: plan.target.host.server_name(),
        interface: plan.interface.as_deref().map(Interface::parse),
        patience: plan.patience.to_duration(),
        clock,
        meter: Meter::default(),
        without_alpn: Arc::new(AtomicBool::new(false)),
    };
    let meter = shaking.meter.clone();
    let tried = first_that_answers(addresses, plan, clock, stop, |address| {
        let shaking = shaking.clone();
        async move { shaking.once(address).await }
    })
    .await;
    *spent += meter.about(tried.as_ref().map_or(1, |attempts| attempts.begun));
    let attempts = tried?;
    let agreed = attempts.ended().filter_map(|attempt| Some(&attempt.shaken.as_ref()?.as_ref().ok()?.0));
    let times = attempts.ended().filter_map(|attempt| Some(attempt.shaken.as_ref()?.as_ref().ok()?.1));
    let failed = attempts.ended().filter(|attempt| matches!(attempt.shaken, Some(Err(_)))).count();
    let details = TlsDetails {
        handshake_ms: Distribution::of(&times.collect())
            .map_or_else(|| Value::failed("no handshake came to its end"), Value::Measured),
        handshakes_failed: u64::try_from(failed).unwrap_or(u64::MAX),
        security: security(agreed, &plan.target, clock),
        connect: connects(&attempts, |attempt| &attempt.connection),
    };
    Ok(Found {
        reached: reached("tls", attempts.address, None),
        details: Details::Tls(details),
        trace: None,
        stopped: attempts.stopped,
    })
}

/// A connection and the handshake over it.
struct Shaken {
    connection: Connection,
    /// What was agreed on and how long it took. `None`: there was no connection.
    shaken: Option<Result<(Agreed, Micros), HandshakeFailure>>,
}

impl Attempt for Shaken {
    fn failure(&self) -> Option<TargetFailure> {
        let handshake = || Some(refusal(self.shaken.as_ref()?.as_ref().err()?));
        self.connection.failure().or_else(handshake)
    }
}

/// How to shake hands.
#[derive(Clone)]
struct Shaking {
    name: String,
    interface: Option<Interface>,
    patience: Duration,
    clock: Clock,
    meter: Meter,
    /// Set once the other end spoke none of the protocols offered: the next handshakes offer none.
    without_alpn: Arc<AtomicBool>,
}

impl Shaking {
    async fn once(&self, address: std::net::SocketAddr) -> Shaken {
        let (connection, connected) =
            connect(address, self.interface.as_ref(), self.patience, self.clock).await;
        let Some(connected) = connected else { return Shaken { connection, shaken: None } };
        let offered = if self.without_alpn.load(Ordering::Relaxed) { &[] } else { ALPN };
        let begun = self.clock.now();
        let stream = self.meter.on(connected.stream);
        let shaken = handshake(stream, &self.name, offered, self.patience).await;
        let took = self.clock.now() - begun;
        match shaken {
            Ok(mut witnessed) => {
                // The other end may not wait for it.
                let _ = tokio::time::timeout(GOODBYE, witnessed.stream.shutdown()).await;
                Shaken { connection, shaken: Some(Ok((witnessed.agreed, took))) }
            }
            Err(failure) => {
                if failure == HandshakeFailure::NoProtocol {
                    self.without_alpn.store(true, Ordering::Relaxed);
                }
                Shaken { connection, shaken: Some(Err(failure)) }
            }
        }
    }
}
