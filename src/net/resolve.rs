//! From a name to addresses, in the order to try them, with a typed reason when there are none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::address::Host;

/// Which addresses are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Both, IPv6 first (RFC 8305).
    #[default]
    Any,
    /// IPv4 alone (`-4`).
    V4,
    /// IPv6 alone (`-6`).
    V6,
}

/// What a name resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// Its A records.
    pub v4: Vec<SocketAddr>,
    /// Its AAAA records.
    pub v6: Vec<SocketAddr>,
}

/// Why there is no address to try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist.
    #[error("the name {host} does not exist ({detail}). Check the spelling.")]
    UnknownHost {
        /// The name.
        host: String,
        /// What the system said.
        detail: String,
    },
    /// No name server answered, or it failed.
    #[error("the name {host} cannot be looked up: {detail}. Is this computer online?")]
    NoNameServer {
        /// The name.
        host: String,
        /// What the system said.
        detail: String,
    },
    /// The name server took too long.
    #[error("looking up the name {host} took longer than {} s", after.as_secs_f32())]
    Slow {
        /// The name.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// IPv4 was asked for and the host has none.
    #[error("{host} has no IPv4 address")]
    NoIpv4 {
        /// The host.
        host: String,
    },
    /// IPv6 was asked for and the host has none.
    #[error("{host} has no IPv6 address")]
    NoIpv6 {
        /// The host.
        host: String,
    },
}

/// Looks a host up with the system's resolver.
///
/// # Errors
///
/// When the name does not exist, cannot be looked up within `deadline`, or has no address of the wanted family.
pub async fn resolve(
    host: &Host,
    port: u16,
    family: Family,
    deadline: Duration,
) -> Result<Resolved, ResolveError> {
    let found = match host {
        Host::Address(address) => vec![SocketAddr::new(*address, port)],
        Host::Name(name) => {
            let lookup = tokio::net::lookup_host((name.as_str(), port));
            match tokio::time::timeout(deadline, lookup).await {
                Ok(Ok(found)) => found.collect(),
                Ok(Err(error)) => return Err(failure(name, &error)),
                Err(_) => return Err(ResolveError::Slow { host: name.clone(), after: deadline }),
            }
        }
    };
    Resolved::of(found).wanted(host, family)
}

/// Whether this machine has a route to an address of this family. Nothing is sent.
pub fn has_route(to: SocketAddr) -> bool {
    source_of(to).is_some()
}

/// The address that this machine's packets to an address leave from. `None`: there is no route. Nothing is sent.
#[expect(clippy::disallowed_methods, reason = "the shell")]
pub fn source_of(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether this machine has a route out, of either family. Nothing is sent: the addresses are those of documentation (RFC
/// 5737, RFC 3849), which only a default route leads to.
pub fn is_online() -> bool {
    let v4 = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9));
    let v6 = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9));
    has_route(v4) || has_route(v6)
}

impl Resolved {
    fn of(found: Vec<SocketAddr>) -> Self {
        let mut resolved = Self::default();
        for address in found {
            let family = if address.is_ipv4() { &mut resolved.v4 } else { &mut resolved.v6 };
            if !family.contains(&address) {
                family.push(address);
            }
        }
        resolved
    }

    fn wanted(mut self, host: &Host, family: Family) -> Result<Self, ResolveError> {
        let host = || host.to_string();
        match family {
            Family::V4 if self.v4.is_empty() => Err(ResolveError::NoIpv4 { host: host() }),
            Family::V6 if self.v6.is_empty() => Err(ResolveError::NoIpv6 { host: host() }),
            Family::Any if self.v4.is_empty() && self.v6.is_empty() => {
                Err(ResolveError::UnknownHost { host: host(), detail: "no addresses".to_owned() })
            }
            Family::Any => Ok(self),
            Family::V4 => {
                self.v6.clear();
                Ok(self)
            }
            Family::V6 => {
                self.v4.clear();
                Ok(self)
            }
        }
    }

    /// The addresses in the order to try them: families in turn, IPv6 first (RFC 8305 section 4).
    pub fn ordered(&self) -> Vec<SocketAddr> {
        let longest = self.v4.len().max(self.v6.len());
        (0..longest).flat_map(|i| [self.v6.get(i), self.v4.get(i)]).flatten().copied().collect()
    }
}

/// The standard library hands on only the text of `gai_strerror`; "Temporary failure in name resolution" is EAI_AGAIN.
fn failure(name: &str, error: &io::Error) -> ResolveError {
    let (host, detail) = (name.to_owned(), error.to_string());
    let passing = ["emporary failure", "ecoverable", "ystem error"];
    if passing.iter().any(|part| detail.contains(part)) {
        ResolveError::NoNameServer { host, detail }
    } else {
        ResolveError::UnknownHost { host, detail }
    }
}

/// The address of this computer that packets to the internet leave from; `None` without such a route. Sends nothing.
pub fn own_address(v4: bool) -> Option<IpAddr> {
    // Connecting a UDP socket looks up the route. Both destinations are for documentation (RFC 5737, RFC 3849).
    let (any, far) = if v4 {
        (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), SocketAddr::from(([192, 0, 2, 1], 9)))
    } else {
        let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        (SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), SocketAddr::from((far, 9)))
    };
    let socket = Socket::new(Domain::for_address(far), Type::DGRAM, Some(Protocol::UDP)).ok()?;
    socket.bind(&any.into()).ok()?;
    socket.connect(&far.into()).ok()?;
    let own = socket.local_addr().ok()?.as_socket()?.ip();
    (!own.is_unspecified()).then_some(own)
}

/// Whether this computer has an address that it can bind.
pub fn has_address(ip: IpAddr) -> bool {
    let address = SocketAddr::new(ip, 0);
    Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
        .and_then(|socket| socket.bind(&address.into()))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns_and_ipv6_begins() {
        let resolved = Resolved::of(vec![
            at("192.0.2.1:1"),
            at("192.0.2.2:1"),
            at("192.0.2.1:1"),
            at("[2001:db8::1]:1"),
            at("192.0.2.3:1"),
        ]);
        let ordered = ["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"].map(at);
        assert_eq!(resolved.ordered(), ordered);
    }

    #[tokio::test]
    async fn a_literal_has_the_family_that_it_has() {
        let v4 = Host::Address([127, 0, 0, 1].into());
        let found = resolve(&v4, 7443, Family::Any, PATIENCE).await.unwrap();
        assert_eq!((found.v4, found.v6), (vec![at("127.0.0.1:7443")], vec![]));
        let none = resolve(&v4, 7443, Family::V6, PATIENCE).await.unwrap_err();
        assert_eq!(none, ResolveError::NoIpv6 { host: "127.0.0.1".to_owned() });
        let v6 = Host::Address("::1".parse().unwrap());
        let none = resolve(&v6, 7443, Family::V4, PATIENCE).await.unwrap_err();
        assert_eq!(none, ResolveError::NoIpv4 { host: "[::1]".to_owned() });
    }

    #[tokio::test]
    async fn localhost_is_known() {
        let host = Host::Name("localhost".to_owned());
        let found = resolve(&host, 1, Family::Any, PATIENCE).await.unwrap();
        assert!(found.ordered().iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn a_wrong_name_and_a_dead_name_server_differ() {
        let error = |text: &str| failure("nowhere.invalid", &io::Error::other(text.to_owned()));
        let unknown = error("failed to lookup address information: Name or service not known");
        assert!(matches!(unknown, ResolveError::UnknownHost { .. }));
        let dead = error("failed to lookup address information: Temporary failure in name resolution");
        assert!(matches!(dead, ResolveError::NoNameServer { .. }));
    }

    #[test]
    fn the_loopback_has_a_route() {
        assert!(has_route(at("127.0.0.1:9")));
    }
}
