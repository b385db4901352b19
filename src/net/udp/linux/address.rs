//! Addresses as the kernel writes them, and which local address each peer asked.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::cmsg::{ControlBuffer, Message, push};

/// Reads an address that the kernel wrote; `None` for other families.
pub(super) fn decode(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let at = std::ptr::from_ref(storage);
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the storage is large enough and aligned for every family, and the family says which it is.
            let v4 = unsafe { at.cast::<libc::sockaddr_in>().read() };
            Some(from_v4(&v4))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { at.cast::<libc::sockaddr_in6>().read() };
            Some(from_v6(&v6))
        }
        _ => None,
    }
}

fn from_v4(v4: &libc::sockaddr_in) -> SocketAddr {
    SocketAddr::new(ipv4(v4.sin_addr).into(), u16::from_be(v4.sin_port))
}

fn from_v6(v6: &libc::sockaddr_in6) -> SocketAddr {
    let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
    SocketAddrV6::new(address, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into()
}

fn ipv4(address: libc::in_addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from_be(address.s_addr))
}

/// The IP address behind an error report (`SO_EE_OFFENDER`): who sent the ICMP message.
pub(super) fn offender(message: &Message<'_>) -> Option<IpAddr> {
    let offset = size_of::<libc::sock_extended_err>();
    let v4: libc::sockaddr_in = message.value_at(offset)?;
    match i32::from(v4.sin_family) {
        libc::AF_INET => Some(ipv4(v4.sin_addr).into()),
        libc::AF_INET6 => {
            let v6: libc::sockaddr_in6 = message.value_at(offset)?;
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

/// Remembers which of this machine's addresses a peer asked, so that the reply leaves from there.
///
/// A table of fixed size: of two peers that fall on one place, the later stays. The other's reply leaves from the address
/// that the routing table chooses, as without this table. The hash is keyed, so nobody outside can aim at a place.
pub(super) struct ReplySources {
    places: Box<[Option<(SocketAddr, Local)>]>,
    hasher: RandomState,
}

/// An address of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Local {
    address: IpAddr,
    /// Only where the address means nothing without (IPv6 link-local).
    interface: u32,
}

impl ReplySources {
    const PLACES: usize = 4_096;

    pub(super) fn new() -> Self {
        Self { places: vec![None; Self::PLACES].into_boxed_slice(), hasher: RandomState::new() }
    }

    /// Notes the address that `peer` asked, when `message` tells it.
    pub(super) fn note(&mut self, peer: SocketAddr, message: &Message<'_>) {
        let Some(local) = asked_address(message) else { return };
        let place = self.place(&peer);
        self.places[place] = Some((peer, local));
    }

    /// Adds the control message that lets a datagram to `peer` leave from the address that it asked.
    pub(super) fn apply(&self, peer: SocketAddr, header: &mut libc::msghdr, control: &mut ControlBuffer) {
        let Some((_, local)) = self.places[self.place(&peer)].filter(|(known, _)| *known == peer) else {
            return;
        };
        match local.address {
            IpAddr::V4(address) => {
                let source = libc::in_addr { s_addr: u32::from(address).to_be() };
                let any = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
                push(header, control, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(address) => {
                let source = libc::in6_addr { s6_addr: address.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: source, ipi6_ifindex: local.interface };
                push(header, control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
    fn place(&self, peer: &SocketAddr) -> usize {
        self.hasher.hash_one(peer) as usize % Self::PLACES
    }
}

fn asked_address(message: &Message<'_>) -> Option<Local> {
    match (message.level, message.kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let info: libc::in_pktinfo = message.value()?;
            Some(Local { address: ipv4(info.ipi_spec_dst).into(), interface: 0 })
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let info: libc::in6_pktinfo = message.value()?;
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            // Nobody may answer from a group's address.
            (!address.is_multicast()).then_some(Local { address: address.into(), interface })
        }
        _ => None,
    }
}
