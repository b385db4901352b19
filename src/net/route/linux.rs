//! Routes by rtnetlink: the kernel's own answer for one destination, with all its rules and tables.

use std::ffi::CString;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::net::if_::{if_indextoname, if_nametoindex};

use super::{Route, RouteError};

/// As long as any answer.
const ANSWER: usize = 8_192;

pub(super) fn route(destination: IpAddr, interface: Option<&str>) -> Result<Route, RouteError> {
    let untold = |error: &dyn std::fmt::Display| RouteError::Untold(error.to_string());
    let mut octets = ask(&question(destination, interface)?).map_err(|error| untold(&error))?;
    let answer =
        NetlinkMessage::<RouteNetlinkMessage>::deserialize(&octets).map_err(|error| untold(&error))?;
    octets.clear();
    match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => read(&route),
        NetlinkPayload::Error(error) => Err(match error.to_io().raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => RouteError::NoRoute(destination),
            _ => untold(&error.to_io()),
        }),
        _ => Err(RouteError::Untold("its answer is not about a route".to_owned())),
    }
}

fn question(destination: IpAddr, interface: Option<&str>) -> Result<Vec<u8>, RouteError> {
    let mut route = RouteMessage::default();
    let (family, bits) =
        if destination.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) };
    route.header.address_family = family;
    route.header.destination_prefix_length = bits;
    route.attributes.push(RouteAttribute::Destination(destination.into()));
    if let Some(name) = interface {
        let index = CString::new(name).ok().and_then(|name| if_nametoindex(name.as_c_str()).ok());
        let index = index.ok_or_else(|| RouteError::Untold(format!("there is no interface {name}")))?;
        route.attributes.push(RouteAttribute::Oif(index));
    }
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetRoute(route)));
    message.finalize();
    let mut octets = vec![0; message.buffer_len()];
    message.serialize(&mut octets);
    Ok(octets)
}

/// The kernel answers within the call that asks: there is nothing to wait for.
fn ask(question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    socket.send(question, 0)?;
    let mut answer = Vec::with_capacity(ANSWER);
    socket.recv(&mut answer, 0)?;
    Ok(answer)
}

fn read(route: &RouteMessage) -> Result<Route, RouteError> {
    let (mut gateway, mut index, mut source) = (None, None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Gateway(address) => gateway = ip_of(address),
            RouteAttribute::Via(RouteVia::Inet(ip)) => gateway = Some(IpAddr::V4(*ip)),
            RouteAttribute::Via(RouteVia::Inet6(ip)) => gateway = Some(IpAddr::V6(*ip)),
            RouteAttribute::PrefSource(address) => source = ip_of(address),
            RouteAttribute::Oif(number) => index = Some(*number),
            _ => {}
        }
    }
    let untold = || RouteError::Untold("it names no interface".to_owned());
    let index = index.ok_or_else(untold)?;
    let name = if_indextoname(index).ok().and_then(|name| name.into_string().ok());
    Ok(Route { gateway, interface: name.ok_or_else(untold)?, index, source })
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_this_computer_needs_no_router() {
        let found = route("127.0.0.1".parse().unwrap(), None).unwrap();
        assert_eq!((found.gateway, found.interface.as_str()), (None, "lo"));
        assert_eq!(route("127.0.0.1".parse().unwrap(), Some("lo")).unwrap(), found);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let error = route("127.0.0.1".parse().unwrap(), Some("nowhere7")).unwrap_err();
        assert!(error.to_string().contains("nowhere7"), "{error}");
    }
}
