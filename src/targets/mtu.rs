//! The largest packet that gets to a host in one piece.

use std::net::SocketAddr;

use greenroom_reports::schema::{Details, MtuBy, MtuDetails, Value};
use greenroom_reports::units::{DataSize, Micros};
use greenroom_reports::verdict::TargetFailure;
use tokio_util::sync::CancellationToken;

use super::Found;
use super::asking::{random, reached};
use super::find::addresses_unless;
use crate::net::clock::Clock;
use crate::net::route;
use crate::net::udp::EchoError;
use crate::plan::ProbePlan;
use crate::proto::mtu::{By, Search};
use crate::proto::path::Kind;

/// The port that nobody listens on, as every traceroute has had it.
const CLOSED_PORT: u16 = 33_434;
/// A link that nobody knows is taken for Ethernet's.
const ETHERNET: u16 = 1_500;
/// A search takes no longer than this: the errors of a closed port come once a second.
const LONGEST: Micros = Micros::from_secs(40);

/// Searches at the host's first address: by a reflector at the port where one is named, else by echo requests, else by the errors of a
/// closed port. Adds the bytes sent at the IP layer to `spent`.
///
/// # Errors
///
/// The reason why nothing was answered.
pub async fn measure(
    plan: &ProbePlan,
    clock: Clock,
    stop: &CancellationToken,
    spent: &mut DataSize,
) -> Result<Found, TargetFailure> {
    let named = (plan.target.port != 0).then_some(plan.target.port);
    let addresses = addresses_unless(stop, &plan.target.host, named.unwrap_or(CLOSED_PORT)).await?;
    let host = addresses.first().copied().ok_or(TargetFailure::NoNetwork)?;
    let mut run = Run { host, plan, clock, stop, link: link_of(host, plan.interface.as_deref()), spent };
    let (search, by, why_not_echo) = match named {
        Some(_) => (run.by_datagrams(Wanted::Reflector).await?, MtuBy::Reflector, None),
        None => run.without_help().await?,
    };
    if search.carried().is_none() {
        return Err(if stop.is_cancelled() { TargetFailure::Interrupted } else { TargetFailure::Silent });
    }
    let details = details(&search, by, why_not_echo, run.link, host);
    let transport = if by == MtuBy::EchoRequests { "icmp" } else { "udp" };
    let shown = SocketAddr::new(host.ip(), named.unwrap_or(0));
    Ok(Found {
        reached: reached(transport, shown, None),
        details: Details::Mtu(Box::new(details)),
        trace: None,
        stopped: stop.is_cancelled(),
    })
}

/// By what sizes are to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Echo,
    ClosedPort,
    Reflector,
}

/// A run against one address.
struct Run<'a> {
    host: SocketAddr,
    plan: &'a ProbePlan,
    clock: Clock,
    stop: &'a CancellationToken,
    /// What this computer's own link carries. `None`: nobody knows.
    link: Option<u16>,
    spent: &'a mut DataSize,
}

impl Run<'_> {
    /// By echo requests, and where those are not to be had or not answered, by the errors of a closed port.
    async fn without_help(&mut self) -> Result<(Search, MtuBy, Option<String>), TargetFailure> {
        let why = match self.search(Wanted::Echo).await? {
            Some(search) if search.carried().is_some() || self.stop.is_cancelled() => {
                return Ok((search, MtuBy::EchoRequests, None));
            }
            Some(_) => "the host answers no echo requests, or a firewall drops them".to_owned(),
            None => EchoError::NotAllowed.to_string(),
        };
        Ok((self.by_datagrams(Wanted::ClosedPort).await?, MtuBy::ClosedPort, Some(why)))
    }

    async fn by_datagrams(&mut self, wanted: Wanted) -> Result<Search, TargetFailure> {
        self.search(wanted).await?.ok_or_else(|| local("this computer sends no datagrams"))
    }

    /// `None`: this program may not send echo requests.
    async fn search(&mut self, wanted: Wanted) -> Result<Option<Search>, TargetFailure> {
        let secret = (u16::from_be_bytes(random()?), random()?);
        let (host, interface) = (self.host, self.plan.interface.clone());
        let (clock, stop, link) = (self.clock, self.stop.clone(), self.link.unwrap_or(ETHERNET));
        let searched = tokio::task::spawn_blocking(move || {
            search(wanted, secret, host, link, interface.as_deref(), clock, &stop)
        });
        let search = searched.await.map_err(|_| local("the measuring thread broke off"))??;
        *self.spent += DataSize::from_bytes(search.as_ref().map_or(0, Search::octets_sent));
        Ok(search)
    }
}

fn local(detail: &str) -> TargetFailure {
    TargetFailure::Local { detail: detail.to_owned() }
}

/// What the link carries that leads to the host.
fn link_of(host: SocketAddr, interface: Option<&str>) -> Option<u16> {
    let route = route::to(host.ip(), interface).ok()?;
    let mtu = route::link(&route.interface)?.mtu?;
    Some(u16::try_from(mtu).unwrap_or(u16::MAX))
}

#[cfg(target_os = "linux")]
fn search(
    wanted: Wanted,
    (identifier, token): (u16, [u8; 6]),
    host: SocketAddr,
    link: u16,
    interface: Option<&str>,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<Option<Search>, TargetFailure> {
    use crate::net::hops::HopSockets;
    use crate::net::udp::Interface;

    /// How long is waited for an answer before the next look.
    const LOOK: Micros = Micros::from_millis(20);
    let interface = interface.map(Interface::parse);
    let opened = HopSockets::open_whole(host, interface.as_ref(), clock, wanted == Wanted::Echo);
    let (mut sockets, carrier) = opened.map_err(|error| local(&error.to_string()))?;
    let by = match (wanted, carrier) {
        (Wanted::Reflector, _) => By::Reflector,
        (Wanted::ClosedPort, _) => By::Host(Kind::Datagrams),
        (Wanted::Echo, Some(carrier)) => By::Host(Kind::Echo { carrier, identifier }),
        (Wanted::Echo, None) => return Ok(None),
    };
    let mut search = Search::new(host.ip(), by, link, token);
    let end = clock.now() + LONGEST;
    while !stop.is_cancelled() && !search.is_finished() && clock.now() < end {
        if let Some(probe) = search.next(clock.now())
            && let Err(error) = sockets.send_whole(&probe.octets)
        {
            if error.raw_os_error() != Some(nix::libc::EMSGSIZE) {
                return Err(local(&format!("this computer does not send the probes: {error}")));
            }
            search.refused_here();
        }
        sockets.wait(LOOK.to_duration());
        sockets.read(&mut |answer| search.take(answer));
    }
    Ok(Some(search))
}

#[cfg(not(target_os = "linux"))]
fn search(
    _: Wanted,
    _: (u16, [u8; 6]),
    _: SocketAddr,
    _: u16,
    _: Option<&str>,
    _: Clock,
    _: &CancellationToken,
) -> Result<Option<Search>, TargetFailure> {
    Err(local("the largest packet is only searched for on Linux"))
}

fn details(
    search: &Search,
    by: MtuBy,
    why_not_echo: Option<String>,
    link: Option<u16>,
    host: SocketAddr,
) -> MtuDetails {
    let carried = search.carried().unwrap_or_default();
    let headers = if host.is_ipv4() { 28 } else { 48 };
    let bytes = |known: Option<u16>, why| known.map_or_else(|| Value::not_tested(why), Value::exact);
    let told = search.too_big().filter(|told| told.mtu >= u32::from(carried));
    MtuDetails {
        by,
        why_not_echo,
        link_mtu_bytes: bytes(link, "the system does not tell"),
        path_mtu_bytes: Value::exact(carried),
        path_mtu_at_most_bytes: search.at_most(),
        udp_payload_bytes: Value::exact(carried.saturating_sub(headers)),
        black_hole: match search.vanished() {
            None if !search.is_finished() => Value::not_tested("the search did not come to its end"),
            found => Value::exact(found.is_some()),
        },
        vanished_from_bytes: bytes(search.vanished(), "nothing vanished without a word"),
        too_big_bytes: told
            .map_or_else(|| Value::not_tested("no router said so"), |told| Value::exact(told.mtu)),
        too_big_from: told.map(|told| told.from.to_string()),
        probes: u64::try_from(search.count()).unwrap_or(u64::MAX),
    }
}
