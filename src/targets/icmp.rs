//! A host by ICMP echo: round trips and loss to whoever answers, which every host is to do and many are told not to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use greenroom_reports::schema::{Details, IcmpDetails, RoundTrip};
use greenroom_reports::units::DataSize;
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::{self, in_vain, reached};
use super::find::addresses_unless;
use crate::net::clock::Clock;
use crate::net::udp::{self, DatagramSocket, EchoError, Interface};
use crate::plan::ProbePlan;
use crate::proto::asking::AskerConfig;
use crate::proto::icmp::{self, Prober, Secret};

/// Asks a host as planned: the first of its addresses that answers. Adds the bytes sent and received at the IP layer to `spent`.
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
    let interface = plan.interface.as_deref().map(Interface::parse);
    let (mut failure, mut tried) = (TargetFailure::NoNetwork, Vec::new());
    for host in addresses {
        let config = asking::config(host, plan, clock);
        let (asker, socket) = prober(config, plan.count, interface.as_ref(), clock)?;
        let outcome = asking::run(asker, socket, clock, stop).await?;
        match asking::judged(outcome, "ICMP echo", spent) {
            Ok(asked) => {
                let strange = asked.asker.strange();
                let details = IcmpDetails {
                    round_trip: RoundTrip::of(&asked.asker.exchanges(), asked.stamped_by),
                    strange_answers: strange.elsewhere + strange.garbage,
                    tried,
                };
                let (reached, details) = (reached("icmp", host, None), Details::Icmp(details));
                return Ok(Found { reached, details, trace: None, stopped: asked.stopped });
            }
            Err(TargetFailure::Interrupted) => return Err(TargetFailure::Interrupted),
            Err(other) => {
                tried.push(in_vain(host, &other));
                failure = other;
            }
        }
    }
    Err(failure)
}

/// What asks a host by echo, and the socket that carries it.
///
/// # Errors
///
/// When this program may not, or this system cannot.
pub(super) fn prober(
    config: AskerConfig,
    count: u32,
    interface: Option<&Interface>,
    clock: Clock,
) -> Result<(Prober, Box<dyn DatagramSocket>), TargetFailure> {
    let any: IpAddr = match config.server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let (socket, carrier) = udp::open_echo(any, interface, clock)
        .map_err(|error: EchoError| TargetFailure::Local { detail: error.to_string() })?;
    let secret = Secret { identifier: u16::from_be_bytes(asking::random()?), token: asking::random()? };
    Ok((icmp::prober(config, count, carrier, secret), socket))
}
