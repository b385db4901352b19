//! A UDP socket whose datagrams may only go so far, and the errors that come back: it takes no privilege (`IP_RECVERR`).
//!
//! Times are the program's: from just before the datagram is handed over to when its error is read.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::Socket;

use super::clock::Clock;
use super::udp::{Interface, OpenError, UdpOptions, bind};
use crate::proto::path::{Answer, Said};

/// The datagrams' error says so (linux/errqueue.h).
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;
/// Options that have the kernel hand over what stands behind the quoted datagram (linux/in.h, linux/in6.h).
const IP_RECVERR_RFC4884: libc::c_int = 26;
const IPV6_RECVERR_RFC4884: libc::c_int = 31;

/// The socket.
#[derive(Debug)]
pub struct HopSocket {
    socket: Socket,
    to: SocketAddr,
    clock: Clock,
}

impl HopSocket {
    /// Opens one of `to`'s family on any port, through an interface where one is given.
    ///
    /// # Errors
    ///
    /// When this system refuses.
    pub fn open(to: SocketAddr, interface: Option<&Interface>, clock: Clock) -> Result<Self, OpenError> {
        let any = match to {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0; 16]),
        };
        let local = SocketAddr::new(any, 0);
        let options = UdpOptions { interface: interface.cloned(), ..UdpOptions::new(local) };
        let socket = bind(&options)?;
        let failed = |source: nix::Error| OpenError::Bind { local, source: source.into() };
        match to {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true).map_err(failed)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true).map_err(failed)?,
        }
        want_extensions(&socket, to.is_ipv4());
        Ok(Self { socket, to, clock })
    }

    /// Sends a datagram that may go `ttl` hops far.
    ///
    /// # Errors
    ///
    /// When this computer does not send it.
    pub fn send(&self, ttl: u8, payload: &[u8]) -> io::Result<()> {
        match self.to {
            SocketAddr::V4(_) => self.socket.set_ttl_v4(u32::from(ttl))?,
            SocketAddr::V6(_) => self.socket.set_unicast_hops_v6(u32::from(ttl))?,
        }
        // The error of an earlier datagram is handed to the next one: it stands in the error queue as well.
        self.socket.take_error()?;
        match self.socket.send_to(payload, &self.to.into()) {
            Ok(_) => Ok(()),
            Err(_) => self.socket.send_to(payload, &self.to.into()).map(|_| ()),
        }
    }

    /// Waits for an error for at most so long.
    pub fn wait(&self, at_most: Duration) {
        // POLLERR is always reported and need not be asked for. What it answers is found by reading.
        let mut waited = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut waited, timeout);
    }

    /// Hands over the errors that have come back.
    pub fn read(&self, take: &mut dyn FnMut(&Answer<'_>)) {
        let mut octets = [0; 2_048];
        loop {
            let mut control = nix::cmsg_space!([u8; 256]);
            let mut parts = [IoSliceMut::new(&mut octets)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let read = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
            let Ok(message) = read else { return };
            let (at, length) = (self.clock.now(), message.bytes);
            let Some((error, from)) = message.cmsgs().ok().and_then(|mut all| all.find_map(offender)) else {
                continue;
            };
            let Some(said) = said(&error) else { continue };
            let all = octets.get(..length).unwrap_or_default();
            let (quoted, extension) = parts_of(all, error.ee_data);
            take(&Answer { at, from, said, quoted, extension });
        }
    }

    /// Throws away what came as an answer proper: somebody listens on the port.
    pub fn discard(&self) -> u64 {
        let mut octets = [std::mem::MaybeUninit::new(0); 64];
        let mut thrown = 0;
        while self.socket.recv_from(&mut octets).is_ok() {
            thrown += 1;
        }
        thrown
    }
}

fn offender(control: ControlMessageOwned) -> Option<(libc::sock_extended_err, IpAddr)> {
    match control {
        ControlMessageOwned::Ipv4RecvErr(error, Some(from)) => {
            Some((error, IpAddr::from(from.sin_addr.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(from)) => {
            Some((error, IpAddr::from(from.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

/// What an error says (RFC 792, RFC 4443). `None`: nothing about the way.
fn said(error: &libc::sock_extended_err) -> Option<Said> {
    match (error.ee_origin, error.ee_type, error.ee_code) {
        (ORIGIN_ICMP, 11, 0) | (ORIGIN_ICMP6, 3, 0) => Some(Said::Expired),
        (ORIGIN_ICMP, 3, 3) | (ORIGIN_ICMP6, 1, 4) => Some(Said::PortUnreachable),
        (ORIGIN_ICMP, 3, code) | (ORIGIN_ICMP6, 1, code) => Some(Said::Unreachable(code)),
        _ => None,
    }
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
    let on: libc::c_int = 1;
    let (level, option) = match is_ipv4 {
        true => (libc::IPPROTO_IP, IP_RECVERR_RFC4884),
        false => (libc::IPPROTO_IPV6, IPV6_RECVERR_RFC4884),
    };
    let size = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default();
    // SAFETY: the socket is open and the option is an int of this size, which outlives the call.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(&on).cast(), size);
    }
}
