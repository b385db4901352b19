//! The name servers that this computer asks.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;

/// Where Unix systems name them.
const FILE: &str = "/etc/resolv.conf";
/// The port of name servers.
const PORT: u16 = 53;

/// The name servers in the order in which this computer asks them. Empty where it knows none, or does not tell.
pub fn of_this_computer() -> Vec<SocketAddr> {
    std::fs::read_to_string(Path::new(FILE)).map(|text| read(&text)).unwrap_or_default()
}

/// Reads `nameserver` lines (resolv.conf(5)); what does not read is left out, and what stands twice is taken once.
fn read(text: &str) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        if let Some(server) = words.next().and_then(address).filter(|server| !servers.contains(server)) {
            servers.push(server);
        }
    }
    servers
}

/// An address, perhaps with the number of its interface: `fe80::1%2`.
fn address(text: &str) -> Option<SocketAddr> {
    match text.split_once('%') {
        Some((address, scope)) => {
            Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, scope_id(scope)?).into())
        }
        None => Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT)),
    }
}

/// The number of an interface, which is given by number or by name.
fn scope_id(scope: &str) -> Option<u32> {
    #[cfg(unix)]
    let named = || nix::net::if_::if_nametoindex(scope).ok();
    #[cfg(not(unix))]
    let named = || None;
    scope.parse().ok().or_else(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_in_order() {
        let text = "# made by hand\nsearch example\nnameserver 192.0.2.53\n nameserver\t2001:db8::53 # second\n\
                    nameserver fe80::1%7\nnameserver 192.0.2.53\nnameserver nonsense\nnameserver\noptions edns0\n";
        let shown: Vec<String> = read(text).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.0.2.53:53", "[2001:db8::53]:53", "[fe80::1%7]:53"]);
        assert!(read("").is_empty());
    }
}
