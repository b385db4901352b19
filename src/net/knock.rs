//! Single bytes to a UDP port, from a connected socket: only there does every system tell what comes back instead of an answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::quic::any_of_family;

/// Routers answer one sender about once a second, and the connection's own first packet may have had that answer.
const AGAIN: Duration = Duration::from_millis(400);

/// What is said of a port instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnedAway {
    /// The host is there, and nobody listens.
    Closed,
    /// A firewall on this machine does not let this program send there.
    Forbidden,
    /// A firewall on the way says that it lets nothing through.
    Prohibited {
        /// Who said so.
        by: IpAddr,
    },
    /// A router on the way knows no way.
    NoWay {
        /// Who said so.
        by: IpAddr,
    },
    /// The next hop does not answer on its own link: this machine's router, or the host itself where no router is between.
    NextHopSilent,
    /// This machine cannot send: what the system said.
    Local(String),
}

/// A port that was knocked at.
#[derive(Debug)]
pub struct Knocked {
    socket: UdpSocket,
    to: SocketAddr,
}

/// Knocks once. Before anything else is sent there: routers answer the first packets, and then one in a second or two.
///
/// # Errors
///
/// When this machine cannot send there.
pub async fn knock(to: SocketAddr, local: Option<SocketAddr>) -> Result<Knocked, TurnedAway> {
    let mut local = local.unwrap_or_else(|| any_of_family(to));
    local.set_port(0);
    let socket = open(to, local).await.map_err(|error| plain(&error))?;
    socket.send(&[0]).await.map_err(|error| plain(&error))?;
    Ok(Knocked { socket, to })
}

impl Knocked {
    /// Knocks on, and ends only when somebody says that the port cannot be reached.
    pub async fn turned_away(self) -> TurnedAway {
        let mut again = tokio::time::interval(AGAIN);
        again.reset();
        let mut octets = [0; 16];
        loop {
            let heard = tokio::select! {
                _ = again.tick() => self.socket.send(&[0]).await.map(drop),
                heard = self.socket.recv(&mut octets) => heard.map(drop),
            };
            match heard {
                // A stray answer says nothing.
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return TurnedAway::Closed,
                // An OUTPUT rule of this computer, which may have answered in the port's name besides.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => return TurnedAway::Forbidden,
                Err(error) => match errors::next(&self.socket, self.to) {
                    Some(errors::Said::TurnedAway(why)) => return why,
                    Some(errors::Said::Passing) => {}
                    None => return plain(&error),
                },
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell")]
async fn open(to: SocketAddr, local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(local).await?;
    errors::ask(&socket, to)?;
    socket.connect(to).await?;
    Ok(socket)
}

/// What an error means about which nothing more is known.
fn plain(error: &io::Error) -> TurnedAway {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => TurnedAway::Closed,
        // What an OUTPUT rule drops or rejects, the system refuses to the sender (EPERM; EACCES where a route prohibits).
        io::ErrorKind::PermissionDenied => TurnedAway::Forbidden,
        _ => TurnedAway::Local(error.to_string()),
    }
}

#[cfg(target_os = "linux")]
mod errors {
    //! Who said it, from the socket's error queue (`IP_RECVERR`).

    use std::io::{self, IoSliceMut};
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd as _;

    use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
    use tokio::net::UdpSocket;

    use super::TurnedAway;
    use crate::net::hops;
    use crate::proto::path;

    pub(super) enum Said {
        TurnedAway(TurnedAway),
        /// It says nothing of whether the port can be reached.
        Passing,
    }

    pub(super) fn ask(socket: &UdpSocket, to: SocketAddr) -> io::Result<()> {
        match to {
            SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true)?,
        }
        Ok(())
    }

    /// The oldest error that was told. `None`: the error at hand is this machine's own.
    pub(super) fn next(socket: &UdpSocket, to: SocketAddr) -> Option<Said> {
        let mut octets = [0; 16];
        let mut control = nix::cmsg_space!([u8; 256]);
        let mut parts = [IoSliceMut::new(&mut octets)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
        let (error, by) = message.cmsgs().ok()?.find_map(|one| hops::offender(&one))?;
        let why = match hops::said(&error)? {
            path::Said::PortUnreachable => TurnedAway::Closed,
            path::Said::Unreachable(code) if is_prohibited(code, to) => TurnedAway::Prohibited { by },
            // The kernel writes to itself where nobody answers on the link.
            path::Said::Unreachable(_) if socket.local_addr().is_ok_and(|own| own.ip() == by) => {
                TurnedAway::NextHopSilent
            }
            path::Said::Unreachable(_) => TurnedAway::NoWay { by },
            _ => return Some(Said::Passing),
        };
        Some(Said::TurnedAway(why))
    }

    /// Whether a firewall stands behind it (RFC 792 and RFC 1812 section 5.2.7.1; RFC 4443 section 3.1).
    fn is_prohibited(code: u8, to: SocketAddr) -> bool {
        match to {
            SocketAddr::V4(_) => matches!(code, 9 | 10 | 13),
            SocketAddr::V6(_) => matches!(code, 1 | 5),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod errors {
    //! Other systems do not tell who said it.

    use std::io;
    use std::net::SocketAddr;

    use tokio::net::UdpSocket;

    use super::TurnedAway;

    #[allow(dead_code, reason = "one way for all systems")]
    pub(super) enum Said {
        TurnedAway(TurnedAway),
        Passing,
    }

    pub(super) fn ask(_socket: &UdpSocket, _to: SocketAddr) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn next(_socket: &UdpSocket, _to: SocketAddr) -> Option<Said> {
        None
    }
}
