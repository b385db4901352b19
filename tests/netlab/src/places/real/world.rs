//! The namespaces of a situation: a computer, the first router and servers, with the emulated link on the side of the router where the
//! trouble is.
//!
//! ```text
//! before:   computer --cable-- air =link= router --cable-- servers
//! beyond:   computer --cable-- router =link= servers
//! local:    computer --cable-- air =link= servers, all on one network
//! tunnel:   computer =link= servers, the link being the computer's own tunnel
//! ```
//!
//! `air` passes packets on as a radio would: it answers for the addresses on its other side (proxy ARP), so that the computer sees
//! whoever is there on its own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lab::{DEVICE, Lab, LabError, Namespace};
use crate::places::Trouble;
use crate::scenario::Scenario;
use crate::truth::Truth;

/// The computer's address, except where it has a tunnel.
const COMPUTER: Ipv4Addr = Ipv4Addr::new(10, 7, 1, 2);
/// The first router's.
pub(super) const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 7, 1, 1);
/// Another one of it, where a name server could be.
pub(super) const ROUTER_TOO: Ipv4Addr = Ipv4Addr::new(10, 7, 1, 9);
/// The endpoint's, except where it is on the computer's own network.
const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 7, 3, 2);
/// The endpoint's there.
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 7, 1, 20);
/// A second endpoint's.
pub(super) const SECOND: Ipv4Addr = Ipv4Addr::new(10, 7, 4, 2);

/// A situation's namespaces, with the link running between two of them.
pub(super) struct World {
    lab: Lab,
    trouble: Trouble,
    /// The computer, where it is not an end of the link.
    computer: Option<Namespace>,
    /// The servers, where they are not.
    servers: Option<Namespace>,
    /// A second endpoint on another way.
    second: Option<Namespace>,
}

impl World {
    /// Makes everything and starts the link.
    pub(super) fn start(scenario: &Scenario, trouble: Trouble, seed: u64) -> Result<Self, LabError> {
        let lab = Lab::start(scenario, seed)?;
        let mut world = Self { lab, trouble, computer: None, servers: None, second: None };
        match trouble {
            Trouble::Before => world.before()?,
            Trouble::Beyond | Trouble::Unseen => world.beyond()?,
            Trouble::Silent => {
                world.beyond()?;
                world.router().set("ipv4/icmp_echo_ignore_all", "1")?;
            }
            Trouble::Local => world.local()?,
            Trouble::Tunnel => world.tunnel()?,
        }
        Ok(world)
    }

    pub(super) fn computer(&self) -> &Namespace {
        self.computer.as_ref().unwrap_or(self.lab.here())
    }

    /// The first router; where there is none, whoever is nearest to the computer.
    pub(super) fn router(&self) -> &Namespace {
        match self.trouble {
            Trouble::Before => self.lab.there(),
            _ => self.lab.here(),
        }
    }

    pub(super) fn servers(&self) -> &Namespace {
        self.servers.as_ref().unwrap_or(self.lab.there())
    }

    pub(super) fn second(&self) -> Option<&Namespace> {
        self.second.as_ref()
    }

    pub(super) const fn endpoint(&self) -> Ipv4Addr {
        if matches!(self.trouble, Trouble::Local) { NEAR } else { ENDPOINT }
    }

    /// Gives the servers one more address, on the endpoint's network.
    pub(super) fn add_address(&self, host: u8) -> Result<Ipv4Addr, LabError> {
        let [a, b, c, _] = self.endpoint().octets();
        let address = Ipv4Addr::new(a, b, c, host);
        self.servers().ip(&format!("address add {address}/32 dev lo"))?;
        Ok(address)
    }

    /// Gives the computer IPv6 and a way to nowhere with it: its router drops what it gets.
    pub(super) fn break_ipv6(&self) -> Result<Ipv6Addr, LabError> {
        self.router().set("ipv6/conf/all/forwarding", "0")?;
        self.router().ip("address add fd07:1::1/64 dev near0 nodad")?;
        self.computer().ip("address add fd07:1::2/64 dev c0 nodad")?;
        self.computer().ip("route add default via fd07:1::1")?;
        Ok(Ipv6Addr::new(0xfd07, 3, 0, 0, 0, 0, 0, 7))
    }

    /// Lays a second way from the router, to an endpoint of its own.
    pub(super) fn add_second(&mut self) -> Result<(), LabError> {
        let second = Namespace::create("second")?;
        self.router().connect("far1", &second, "s0")?;
        self.router().ip("address add 10.7.4.1/24 dev far1")?;
        second.ip(&format!("address add {SECOND}/24 dev s0"))?;
        second.ip("route add default via 10.7.4.1")?;
        self.second = Some(second);
        Ok(())
    }

    /// Ends the link and tells what it did.
    pub(super) fn finish(self) -> Result<Truth, LabError> {
        self.lab.finish()
    }

    fn before(&mut self) -> Result<(), LabError> {
        let (air, router) = (self.lab.here(), self.lab.there());
        let computer = computer_at(air, ROUTER.into())?;
        let servers = Namespace::create("servers")?;
        router.connect("far0", &servers, "s0")?;
        through_the_air(air)?;
        router.ip(&format!("address add {ROUTER}/32 dev {DEVICE}"))?;
        router.ip(&format!("route add {COMPUTER}/32 dev {DEVICE}"))?;
        router.ip("address add 10.7.3.1/24 dev far0")?;
        router.set("ipv4/ip_forward", "1")?;
        servers.ip(&format!("address add {ENDPOINT}/24 dev s0"))?;
        servers.ip("route add default via 10.7.3.1")?;
        (self.computer, self.servers) = (Some(computer), Some(servers));
        Ok(())
    }

    fn beyond(&mut self) -> Result<(), LabError> {
        let (router, servers) = (self.lab.here(), self.lab.there());
        let computer = computer_at(router, ROUTER.into())?;
        router.ip(&format!("address add {ROUTER}/24 dev near0"))?;
        router.ip(&format!("route add 10.7.3.0/24 dev {DEVICE}"))?;
        router.set("ipv4/ip_forward", "1")?;
        servers.ip(&format!("address add {ENDPOINT}/32 dev lo"))?;
        servers.ip(&format!("route add default dev {DEVICE} src {ENDPOINT}"))?;
        self.computer = Some(computer);
        Ok(())
    }

    fn local(&mut self) -> Result<(), LabError> {
        let (air, servers) = (self.lab.here(), self.lab.there());
        let computer = computer_at(air, ROUTER.into())?;
        through_the_air(air)?;
        servers.ip(&format!("address add {NEAR}/32 dev {DEVICE}"))?;
        servers.ip(&format!("route add {COMPUTER}/32 dev {DEVICE} src {NEAR}"))?;
        self.computer = Some(computer);
        Ok(())
    }

    fn tunnel(&mut self) -> Result<(), LabError> {
        let (computer, servers) = (self.lab.here(), self.lab.there());
        computer.ip(&format!("route add default dev {DEVICE}"))?;
        servers.ip(&format!("address add {ENDPOINT}/32 dev lo"))
    }
}

/// A computer on a cable to `next`, which is or leads to its router.
fn computer_at(next: &Namespace, router: IpAddr) -> Result<Namespace, LabError> {
    let computer = Namespace::create("computer")?;
    computer.connect("c0", next, "near0")?;
    computer.ip(&format!("address add {COMPUTER}/24 dev c0"))?;
    computer.ip(&format!("route add default via {router}"))?;
    Ok(computer)
}

/// Passes on what comes from the computer's cable over the link, and back, as if both were one network.
fn through_the_air(air: &Namespace) -> Result<(), LabError> {
    air.ip(&format!("route add {COMPUTER}/32 dev near0"))?;
    air.ip(&format!("route add default dev {DEVICE}"))?;
    for (switch, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/near0/proxy_arp", "1"),
        ("ipv4/neigh/near0/proxy_delay", "0"),
        ("ipv4/conf/near0/send_redirects", "0"),
    ] {
        air.set(switch, value)?;
    }
    Ok(())
}
