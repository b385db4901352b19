//! What else is asked in a situation, as servers that really do it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use greenroom_reports::schema::{MarkFate, NatBehavior};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::answers::{self, Zone};
use super::authority::{Authority, trust};
use super::relay::Relay;
use super::servers::{Answer, Server};
use super::world::{ROUTER, ROUTER_TOO, World};
use super::{Disturbance, RealError};
use crate::places::beside::{Beside, Fault};

/// The servers of a situation, and what the check has to know of them.
pub(super) struct Stage {
    /// URLs to name in the check.
    pub(super) targets: Vec<String>,
    /// Variables of its environment.
    pub(super) environment: Vec<(String, String)>,
    /// Its `/etc/resolv.conf`.
    pub(super) name_servers: PathBuf,
    /// What happens while it runs.
    pub(super) disturbances: Vec<Disturbance>,
    /// They end with the stage.
    _servers: Vec<Server>,
    _relays: Vec<Relay>,
}

/// Puts the stage together, one finding after the other.
struct Builder<'a> {
    world: &'a World,
    /// Vouches for all services.
    authority: Authority,
    /// Vouches for whoever opens connections, and is trusted too, as on a company's computers.
    opener: Authority,
    zone: Zone,
    names: Names,
    targets: Vec<String>,
    environment: Vec<(String, String)>,
    disturbances: Vec<Disturbance>,
    servers: Vec<Server>,
    relays: Vec<Relay>,
}

/// How the name servers behave.
#[derive(Default)]
struct Names {
    takes: Duration,
    loses: f64,
    invents: bool,
    first_silent: bool,
}

/// How far behind a server's host number that of its other address is.
const OTHERS: u8 = 50;
/// A certificate's days, before now and from now on.
const SOUND: (i64, i64) = (-30, 60);
/// Of one that has ended, and that a clock ahead by more than a year would take for ended.
const ENDED: (i64, i64) = (-600, -200);

/// Starts what else is asked in a situation.
pub(super) fn stage(beside: &[Beside], world: &World, seed: u64, folder: &Path) -> Result<Stage, RealError> {
    let failed = |source| RealError::Step { step: "make an authority".to_owned(), source };
    let mut builder = Builder {
        world,
        authority: Authority::new("The lab's authority").map_err(failed)?,
        opener: Authority::new("FortiGate CA").map_err(failed)?,
        zone: Zone::new(),
        names: Names::default(),
        targets: Vec::new(),
        environment: Vec::new(),
        disturbances: Vec::new(),
        servers: Vec::new(),
        relays: Vec::new(),
    };
    for (finding, host) in beside.iter().zip(10..) {
        builder.add(finding, host)?;
    }
    builder.finish(seed, folder)
}

impl Builder<'_> {
    fn add(&mut self, finding: &Beside, host: u8) -> Result<(), RealError> {
        let address = self.world.add_address(host)?;
        let at = |port| SocketAddr::from((address, port));
        let name = format!("service{host}.example");
        self.zone.insert(name.clone(), (address, None));
        match *finding {
            Beside::Web { takes_ms, status, ipv6_silent } => {
                let after = if takes_ms >= 1_000.0 {
                    Duration::from_secs_f64(takes_ms / 1e3)
                } else {
                    Duration::ZERO
                };
                self.tls(at(443), &name, SOUND, Answer { after, octets: answers::page(status) })?;
                if ipv6_silent {
                    self.zone.insert(name.clone(), (address, Some(self.world.break_ipv6()?)));
                }
                self.targets.push(format!("https://{name}/"));
            }
            Beside::Portal => {
                // It takes every connection, of the endpoint as well, and shows its own certificate.
                self.take_over("tcp dport 1-65535", "login.portal.example", false)?;
                self.targets.push(format!("https://{name}/"));
            }
            Beside::Certificate { fault } => {
                let (shown, days) = match fault {
                    Fault::Expired => (name.as_str(), ENDED),
                    Fault::WrongName => ("other.example", SOUND),
                    Fault::Intercepted => (name.as_str(), SOUND),
                };
                self.tls(at(443), shown, days, Answer::at_once(Vec::new()))?;
                if fault == Fault::Intercepted {
                    self.take_over("tcp dport 443", &name, true)?;
                }
                self.targets.push(format!("tls:{name}"));
            }
            Beside::Names { takes_ms, loses, invents, first_silent, missing } => {
                let takes =
                    if takes_ms >= 100.0 { Duration::from_secs_f64(takes_ms / 1e3) } else { Duration::ZERO };
                self.names = Names { takes, loses, invents, first_silent };
                if missing {
                    self.zone.remove(&name);
                }
                self.targets.push(format!("dns:{name}"));
            }
            Beside::Clock { off_s } => {
                self.udp(at(123), move |question, _| answers::of_time_server(question, off_s))?;
                self.targets.push(format!("ntp:{address}"));
            }
            Beside::Stun { address_changes } => {
                self.udp(at(3_478), answers::of_stun_server)?;
                if address_changes {
                    self.world.router().filter(
                        "table ip nat { chain out { type nat hook postrouting priority srcnat; \
                         udp dport 3478 masquerade fully-random; }; }",
                    )?;
                    self.disturbances.push(Disturbance::ForgetMappings);
                }
                self.targets.push(format!("stun:{address}"));
            }
            Beside::Marks { fate } => {
                let does = match fate {
                    MarkFate::Kept => None,
                    MarkFate::Bleached => Some("ip dscp set cs0"),
                    MarkFate::Remarked => Some("ip dscp set af21"),
                    MarkFate::Dropped => Some("drop"),
                };
                if let Some(does) = does {
                    self.world.router().filter(&format!(
                        "table ip marks {{ chain in {{ type filter hook prerouting priority mangle; \
                         ip daddr {address} ip dscp ef {does}; }}; }}"
                    ))?;
                }
                self.targets.push(format!("dscp:{address}"));
            }
            Beside::Nat { mapping } => {
                let other = self.world.add_address(host + OTHERS)?;
                for (asked, its_other) in [(address, other), (other, address)] {
                    for (port, its_port) in [(3_478, 3_479), (3_479, 3_478)] {
                        let elsewhere = SocketAddrV4::new(its_other, its_port);
                        self.udp((asked, port).into(), move |question, from| {
                            answers::of_nat_server(question, from, elsewhere)
                        })?;
                    }
                }
                let ports = if mapping == NatBehavior::EndpointIndependent { "" } else { " fully-random" };
                self.world.router().filter(&format!(
                    "table ip nat {{ chain out {{ type nat hook postrouting priority srcnat; \
                     udp dport {{ 3478, 3479 }} masquerade{ports}; }}; }}"
                ))?;
                self.targets.push(format!("nat:{address}"));
            }
            Beside::Turn { loses } => {
                self.relays.push(Relay::start(self.world.servers(), address, loses)?);
                self.environment.extend(Relay::environment());
                self.targets.extend([format!("turn:{address}"), format!("stun:{address}")]);
            }
            Beside::StunSilent => {
                self.udp(at(3_478), |_, _| None)?;
                self.targets.push(format!("stun:{address}"));
            }
            Beside::Refused => self.targets.push(format!("tcp:{address}:4433")),
            Beside::ProxyRefuses => {
                let refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let server = Server::plain(self.world.servers(), at(3_128), refusal.to_vec());
                self.keep(server, "a proxy")?;
                self.environment.push(("HTTPS_PROXY".to_owned(), format!("http://{address}:3128")));
                self.targets.push(format!("https://{name}/"));
            }
        }
        Ok(())
    }

    /// A service behind TLS.
    fn tls(&mut self, at: SocketAddr, name: &str, days: (i64, i64), says: Answer) -> Result<(), RealError> {
        let config = self.authority.server(name, days);
        let server = config.and_then(|config| Server::tls(self.world.servers(), at, config, says));
        self.keep(server, "a web server")
    }

    fn udp(
        &mut self,
        at: SocketAddr,
        answer: impl Fn(&[u8], SocketAddr) -> Option<Vec<u8>> + Send + 'static,
    ) -> Result<(), RealError> {
        let answer = move |question: &[u8], from| answer(question, from).map(Answer::at_once);
        let server = Server::udp(self.world.servers(), at, answer);
        self.keep(server, "a server over UDP")
    }

    /// The router answers TLS in place of others, for connections that `these` picks out; as `name`.
    fn take_over(&mut self, these: &str, name: &str, opens: bool) -> Result<(), RealError> {
        let router = self.world.router();
        router.filter(&format!(
            "table ip nat {{ chain in {{ type nat hook prerouting priority dstnat; \
             iifname \"near0\" ip daddr != {ROUTER} {these} redirect to :8443; }}; }}"
        ))?;
        let by = if opens { &self.opener } else { &self.authority };
        let says = Answer::at_once(answers::page(511));
        let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8_443));
        let server = by.server(name, SOUND).and_then(|config| Server::tls(router, at, config, says));
        self.keep(server, "a box on the way")
    }

    fn keep(&mut self, server: io::Result<Server>, what: &str) -> Result<(), RealError> {
        let server = server.map_err(|source| RealError::Step { step: format!("start {what}"), source })?;
        self.servers.push(server);
        Ok(())
    }

    fn finish(mut self, seed: u64, folder: &Path) -> Result<Stage, RealError> {
        let failed = |source| RealError::Step { step: "write a file".to_owned(), source };
        let trusted = trust(&[&self.authority, &self.opener], folder).map_err(failed)?;
        self.environment.push(("SSL_CERT_FILE".to_owned(), trusted.display().to_string()));
        let name_servers = folder.join("resolv.conf");
        let mut text = String::new();
        if self.names.first_silent {
            self.world.router().ip(&format!("address add {ROUTER_TOO}/32 dev lo"))?;
            let silent = Server::udp(self.world.router(), (ROUTER_TOO, 53).into(), |_, _| None);
            self.keep(silent, "a silent name server")?;
            text += &format!("nameserver {ROUTER_TOO}\n");
        }
        text += &format!("nameserver {ROUTER}\n");
        std::fs::write(&name_servers, text).map_err(failed)?;
        // Where there is no router, nothing is looked up.
        if !self.targets.is_empty() {
            let server = self.name_server(seed);
            self.keep(server, "a name server")?;
        }
        let Self { targets, environment, disturbances, servers, relays, .. } = self;
        Ok(Stage { targets, environment, name_servers, disturbances, _servers: servers, _relays: relays })
    }

    /// The computer's name server, on its router as at home.
    fn name_server(&self, seed: u64) -> io::Result<Server> {
        let zone = self.zone.clone();
        let Names { takes, loses, invents, .. } = self.names;
        let invented = invents.then_some(ROUTER);
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x006e_616d_6573);
        Server::udp(self.world.router(), (IpAddr::from(ROUTER), 53).into(), move |question, _| {
            if random.random::<f64>() < loses {
                return None;
            }
            let octets = answers::of_name_server(question, &zone, invented)?;
            Some(Answer { after: takes, octets })
        })
    }
}
