//! Sockets whose datagrams may only go so far or must not be cut up, and the errors that come back. It takes no privilege but that of echo requests, and none
//! where those are not to be had (`IP_RECVERR`).
//!
//! Times are the program's: from just before a probe is handed over to when its error is read.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::Socket;

use super::clock::Clock;
use super::udp::{Carries, Interface, OpenError, UdpOptions, bind};
use crate::proto::icmp::Carrier;
use crate::proto::path::{Answer, OTHER_FLOWS, Probe, Said};

/// Options that have the kernel hand over what stands behind the quoted datagram (linux/in.h, linux/in6.h).
const IP_RECVERR_RFC4884: libc::c_int = 26;
const IPV6_RECVERR_RFC4884: libc::c_int = 31;
/// As long as any answer.
const ANSWER: usize = 65_536;

/// The sockets, one to a flow: the first one is measured.
#[derive(Debug)]
pub struct HopSockets {
    flows: Vec<Flow>,
    to: SocketAddr,
    clock: Clock,
    octets: Vec<u8>,
}

#[derive(Debug)]
struct Flow {
    socket: Socket,
    /// How it carries echo requests. `None`: it carries datagrams.
    echo: Option<Carrier>,
}

impl HopSockets {
    /// Opens them towards `to`, through an interface where one is given, and says how echo requests are sent: `None` where this program
    /// may not, so that the first flow is one of datagrams, too.
    ///
    /// # Errors
    ///
    /// When this system refuses.
    pub fn open(
        to: SocketAddr,
        interface: Option<&Interface>,
        clock: Clock,
    ) -> Result<(Self, Option<Carrier>), OpenError> {
        let first = match echo(to, interface)? {
            Some(flow) => flow,
            None => datagrams(to, interface)?,
        };
        let carrier = first.echo;
        let mut flows = vec![first];
        for _ in 0..OTHER_FLOWS {
            flows.push(datagrams(to, interface)?);
        }
        Ok((Self { flows, to, clock, octets: vec![0; ANSWER] }, carrier))
    }

    /// Opens one whose packets nobody may cut up, whatever is known of the way (`IP_PMTUDISC_PROBE`). Otherwise as [`HopSockets::open`];
    /// without `by_echo` it carries datagrams.
    ///
    /// # Errors
    ///
    /// When this system refuses.
    pub fn open_whole(
        to: SocketAddr,
        interface: Option<&Interface>,
        clock: Clock,
        by_echo: bool,
    ) -> Result<(Self, Option<Carrier>), OpenError> {
        let echo = if by_echo { echo(to, interface)? } else { None };
        let flow = match echo {
            Some(flow) => flow,
            None => datagrams(to, interface)?,
        };
        let (level, option) = match to {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
        };
        set(&flow.socket, level, option, libc::IP_PMTUDISC_PROBE)
            .map_err(|source| OpenError::Bind { local: SocketAddr::new(to.ip(), 0), source })?;
        let carrier = flow.echo;
        Ok((Self { flows: vec![flow], to, clock, octets: vec![0; ANSWER] }, carrier))
    }

    /// Sends a packet that may go as far as it gets.
    ///
    /// # Errors
    ///
    /// When this computer does not send it: `EMSGSIZE` where its own link does not carry it.
    pub fn send_whole(&self, octets: &[u8]) -> io::Result<()> {
        self.flows.first().ok_or(ErrorKind::InvalidInput.into()).and_then(|flow| self.hand_over(flow, octets))
    }

    /// Sends a probe.
    ///
    /// # Errors
    ///
    /// When this computer does not send it.
    pub fn send(&self, probe: &Probe) -> io::Result<()> {
        let Some(flow) = self.flows.get(usize::from(probe.flow)) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        match self.to {
            SocketAddr::V4(_) => flow.socket.set_ttl_v4(u32::from(probe.ttl))?,
            SocketAddr::V6(_) => flow.socket.set_unicast_hops_v6(u32::from(probe.ttl))?,
        }
        self.hand_over(flow, &probe.octets)
    }

    fn hand_over(&self, flow: &Flow, octets: &[u8]) -> io::Result<()> {
        let port = if flow.echo.is_some() { 0 } else { self.to.port() };
        let to = SocketAddr::new(self.to.ip(), port).into();
        // The error of an earlier probe is handed to the next one: it stands in the error queue as well.
        let _ = flow.socket.take_error();
        match flow.socket.send_to(octets, &to) {
            Ok(_) => Ok(()),
            Err(_) => flow.socket.send_to(octets, &to).map(|_| ()),
        }
    }

    /// Waits until something has come back, for at most so long.
    pub fn wait(&self, at_most: Duration) {
        // Errors are always reported and need not be asked for.
        let mut waited: Vec<PollFd<'_>> =
            self.flows.iter().map(|flow| PollFd::new(flow.socket.as_fd(), PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::ZERO);
        // What it answers is found by reading.
        let _ = poll(&mut waited, timeout);
    }

    /// Hands over what has come back.
    pub fn read(&mut self, take: &mut dyn FnMut(&Answer<'_>)) {
        let Self { flows, to, clock, octets } = self;
        for flow in flows {
            flow.read_errors(*clock, octets, take);
            flow.read_answers(*to, *clock, octets, take);
        }
    }
}

impl Flow {
    fn read_errors(&self, clock: Clock, octets: &mut [u8], take: &mut dyn FnMut(&Answer<'_>)) {
        loop {
            let mut control = nix::cmsg_space!([u8; 256]);
            let mut parts = [IoSliceMut::new(octets)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let read = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
            let Ok(message) = read else { return };
            let (at, length) = (clock.now(), message.bytes);
            let offender = message.cmsgs().ok().and_then(|mut all| all.find_map(|one| offender(&one)));
            let Some((error, from)) = offender else { continue };
            let Some(said) = said(&error) else { continue };
            let (quoted, extension) = parts_of(octets.get(..length).unwrap_or_default(), error.ee_data);
            let to_echo = self.echo.is_some();
            let quoted = if to_echo { without_header(quoted) } else { quoted };
            take(&Answer { at, from, said, quoted, extension, to_echo });
        }
    }

    fn read_answers(
        &self,
        asked: SocketAddr,
        clock: Clock,
        octets: &mut [u8],
        take: &mut dyn FnMut(&Answer<'_>),
    ) {
        loop {
            let mut parts = [IoSliceMut::new(octets)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let read = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut parts, None, flags);
            let Ok(message) = read else { return };
            let (at, length) = (clock.now(), message.bytes);
            let Some(from) = message.address.as_ref().and_then(address) else { continue };
            let all = octets.get(..length).unwrap_or_default();
            let (said, quoted) = match self.echo {
                Some(carrier) => {
                    let message = if carrier == Carrier::Raw { without_header(all) } else { all };
                    let reply = if asked.is_ipv4() { 0 } else { 129 };
                    // Raw sockets deliver much else.
                    if message.first_chunk::<2>() != Some(&[reply, 0]) {
                        continue;
                    }
                    (Said::Reply, message)
                }
                None if from == asked => (Said::Data, all),
                None => continue,
            };
            let to_echo = self.echo.is_some();
            take(&Answer { at, from: from.ip(), said, quoted, extension: &[], to_echo });
        }
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or(storage.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port()))))
}

/// A socket for echo requests, of the kind that this program may open.
fn echo(to: SocketAddr, interface: Option<&Interface>) -> Result<Option<Flow>, OpenError> {
    for carrier in [Carrier::Ping, Carrier::Raw] {
        match flow(to, interface, Carries::Icmp(carrier)) {
            Ok(socket) => return Ok(Some(Flow { socket, echo: Some(carrier) })),
            Err(OpenError::Bind { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {}
            Err(other) => return Err(other),
        }
    }
    Ok(None)
}

fn datagrams(to: SocketAddr, interface: Option<&Interface>) -> Result<Flow, OpenError> {
    Ok(Flow { socket: flow(to, interface, Carries::Udp)?, echo: None })
}

fn flow(to: SocketAddr, interface: Option<&Interface>, carries: Carries) -> Result<Socket, OpenError> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let local = SocketAddr::new(any, 0);
    let options = UdpOptions { interface: interface.cloned(), carries, ..UdpOptions::new(local) };
    let socket = bind(&options)?;
    let failed = |source: nix::Error| OpenError::Bind { local, source: source.into() };
    match to {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true).map_err(failed)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true).map_err(failed)?,
    }
    want_extensions(&socket, to.is_ipv4());
    Ok(socket)
}

/// An error of the queue, and who sent it.
pub(super) fn offender(control: &ControlMessageOwned) -> Option<(libc::sock_extended_err, IpAddr)> {
    match control {
        ControlMessageOwned::Ipv4RecvErr(error, Some(from)) => {
            Some((*error, IpAddr::from(from.sin_addr.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(from)) => {
            Some((*error, IpAddr::from(from.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

/// What an error says (RFC 792, RFC 4443). `None`: nothing about the way.
pub(super) const fn said(error: &libc::sock_extended_err) -> Option<Said> {
    match (error.ee_origin, error.ee_type, error.ee_code) {
        (libc::SO_EE_ORIGIN_ICMP, 11, 0) | (libc::SO_EE_ORIGIN_ICMP6, 3, 0) => Some(Said::Expired),
        (libc::SO_EE_ORIGIN_ICMP, 3, 4) | (libc::SO_EE_ORIGIN_ICMP6, 2, _) => {
            Some(Said::TooBig(error.ee_info))
        }
        (libc::SO_EE_ORIGIN_ICMP, 3, 3) | (libc::SO_EE_ORIGIN_ICMP6, 1, 4) => Some(Said::PortUnreachable),
        (libc::SO_EE_ORIGIN_ICMP, 3, code) | (libc::SO_EE_ORIGIN_ICMP6, 1, code) => {
            Some(Said::Unreachable(code))
        }
        _ => None,
    }
}

/// The message behind an IP header where there is one: of raw sockets the kernel leaves it there. Echo messages begin with 0, 8, 128
/// or 129, which is neither version.
fn without_header(packet: &[u8]) -> &[u8] {
    let length = match packet.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 0x0F) * 4,
        Some(first) if first >> 4 == 6 => 40,
        _ => 0,
    };
    packet.get(length..).unwrap_or_default()
}

/// Parts what the kernel read into the quoted payload and the extension behind it. `data` is `struct sock_ee_data_rfc4884`: length,
/// flags; length 0 where there is no extension.
fn parts_of(all: &[u8], data: u32) -> (&[u8], &[u8]) {
    let [first, second, flags, _] = data.to_ne_bytes();
    let length = usize::from(u16::from_ne_bytes([first, second]));
    // SO_EE_RFC4884_FLAG_INVALID
    if length == 0 || flags & 1 != 0 {
        return (all, &[]);
    }
    all.split_at_checked(length).unwrap_or((all, &[]))
}

/// Asks for what stands behind the quoted datagram. Kernels before 5.9 do not know it: then no labels are seen.
fn want_extensions(socket: &Socket, is_ipv4: bool) {
    let (level, option) = match is_ipv4 {
        true => (libc::IPPROTO_IP, IP_RECVERR_RFC4884),
        false => (libc::IPPROTO_IPV6, IPV6_RECVERR_RFC4884),
    };
    if let Err(error) = set(socket, level, option, 1) {
        tracing::debug!(%error, "labels are not told by this kernel");
    }
}

fn set(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or_default();
    // SAFETY: the socket is open and the option is an int of this size, which outlives the call.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(&value).cast(), size)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_taken_off_where_there_are_any() {
        assert_eq!(without_header(&[8, 0, 1]), [8, 0, 1]);
        assert_eq!(without_header(&[129, 0]), [129, 0]);
        let v4 = [&[0x45][..], &[0; 19], &[8, 7]].concat();
        assert_eq!(without_header(&v4), [8, 7]);
        let v6 = [&[0x60][..], &[0; 39], &[128, 7]].concat();
        assert_eq!(without_header(&v6), [128, 7]);
        assert!(without_header(&[0x45]).is_empty() && without_header(&[]).is_empty());
    }

    #[test]
    fn an_extension_stands_behind_what_is_quoted() {
        let at = |length: u16, flags: u8| {
            let [first, second] = length.to_ne_bytes();
            u32::from_ne_bytes([first, second, flags, 0])
        };
        let all = [1, 2, 3, 4, 5];
        assert_eq!(parts_of(&all, at(3, 0)), (&all[..3], &all[3..]));
        for (length, flags) in [(0, 0), (3, 1), (6, 0)] {
            assert_eq!(parts_of(&all, at(length, flags)), (&all[..], &[][..]));
        }
    }
}
