//! Anything that takes TCP connections: how long they take, made again and again, and how they fail.

use greenroom_reports::schema::{Details, TcpDetails};
use greenroom_reports::units::DataSize;
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::reached;
use super::find::addresses_unless;
use super::repeat::{connect, connects, first_that_answers};
use crate::net::clock::Clock;
use crate::net::tcp::Meter;
use crate::net::udp::Interface;
use crate::plan::ProbePlan;

/// Connects as planned: to the first address that takes a connection. Adds about the bytes sent and received at the IP layer to `spent`.
///
/// # Errors
///
/// The reason why no connection was made: of its addresses that of the last one tried.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let addresses = addresses_unless(stop, &plan.target.host, plan.target.port).await?;
    let interface = plan.interface.as_deref().map(Interface::parse);
    let patience = plan.patience.to_duration();
    let attempts = first_that_answers(addresses, plan, clock, stop, |address| {
        let interface = interface.clone();
        async move { connect(address, interface.as_ref(), patience, clock).await.0 }
    })
    .await?;
    *spent += Meter::default().about(attempts.begun);
    let details = TcpDetails { connect: connects(&attempts, |made| made) };
    Ok(Found {
        reached: reached("tcp", attempts.address, None),
        details: Details::Tcp(details),
        trace: None,
        stopped: attempts.stopped,
    })
}
