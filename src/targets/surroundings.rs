//! What stands between this computer and what is measured: VPNs on the way, proxies that are set, a sign-in page.

use std::collections::BTreeSet;
use std::time::Duration;

use greenroom_reports::schema::{Exact, LinkKind, SignInPage, Surroundings, Value};
use greenroom_reports::units::DataSize;
use tokio_util::sync::CancellationToken;

use super::find::addresses_unless;
use super::portal;
use crate::address::{Host, Portal, PortalUrl};
use crate::net::proxies;
use crate::net::route::{self, RouteError};
use crate::net::udp::Interface;

/// What is measured, as far as the way there is of interest.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The interface or local address that was asked for.
    pub interface: Option<String>,
    /// Where a sign-in page is looked for.
    pub portal: Portal,
}

/// The longest that finding the ways to the hosts takes: where nothing answers a check is over within three seconds.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Hosts whose way is looked at: more are seldom named, and take as long as their names are looked up.
const HOSTS: usize = 8;

/// Looks, until `stop` is cancelled. Adds about the bytes sent and received at the IP layer to `spent`.
pub async fn look(way: &Way, stop: &CancellationToken, spent: &mut DataSize) -> Surroundings {
    let env = |name: &str| std::env::var(name).ok();
    let ways = tokio::time::timeout(PATIENCE, tunnels(way, stop));
    let (tunnels, proxies, (sign_in_page, bytes)) =
        tokio::join!(ways, proxies::set(&env), sign_in_page(way, stop));
    *spent += bytes;
    let tunnels = tunnels.unwrap_or_else(|_| Value::not_tested("the names took too long to look up"));
    Surroundings { tunnels, proxies: Value::exact(proxies), sign_in_page }
}

/// The tunnels that packets to the hosts leave by.
async fn tunnels(way: &Way, stop: &CancellationToken) -> Value<Exact<Vec<String>>> {
    let interface = way.interface.as_deref().map(Interface::parse);
    let named = match &interface {
        Some(Interface::Name(name)) => Some(name.as_str()),
        _ => None,
    };
    let mut found = BTreeSet::new();
    let mut why_not = "nothing beyond this computer was measured".to_owned();
    let mut seen = false;
    for host in way.hosts.iter().take(HOSTS) {
        // The port matters to no route.
        let Ok(addresses) = addresses_unless(stop, host, 443).await else {
            why_not = format!("{host} has no address that this computer has a route to");
            continue;
        };
        let Some(to) = addresses.first().map(std::net::SocketAddr::ip).filter(|ip| !ip.is_loopback()) else {
            continue;
        };
        match route::to(to, named) {
            Ok(route) => {
                seen = true;
                if route::link(&route.interface).is_some_and(|link| link.kind == LinkKind::Tunnel) {
                    found.insert(route.interface);
                }
            }
            Err(error @ (RouteError::NotHere | RouteError::NoRoute(_) | RouteError::Untold(_))) => {
                why_not = error.to_string();
            }
        }
    }
    if seen { Value::exact(found.into_iter().collect()) } else { Value::not_tested(why_not) }
}

async fn sign_in_page(way: &Way, stop: &CancellationToken) -> (Value<SignInPage>, DataSize) {
    let untested = |why: &str| (Value::not_tested(why), DataSize::default());
    let (url, is_host_of_endpoint) = match (&way.portal, way.hosts.first()) {
        (Portal::Off, _) => return untested("it was switched off"),
        (Portal::At(url), _) => (url.clone(), false),
        (Portal::Endpoint, Some(host)) if !is_here(host) => (PortalUrl::of_host(host.clone()), true),
        (Portal::Endpoint, _) => return untested("nothing beyond this computer was measured"),
    };
    let interface = way.interface.as_deref().map(Interface::parse);
    tokio::select! {
        biased;
        () = stop.cancelled() => untested("the run was stopped before"),
        found = portal::look(&url, is_host_of_endpoint, interface.as_ref()) => found,
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Name(name) => name == "localhost",
        Host::Address(ip) => ip.is_loopback(),
    }
}
