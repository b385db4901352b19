//! Sockets for ICMP echo: one that anybody may open where the system allows it, else a raw one, for the privileged.

use std::io::ErrorKind;
use std::net::IpAddr;

use super::{Carries, DatagramSocket, Interface, OpenError, UdpOptions, open};
use crate::net::clock::Clock;
use crate::proto::icmp::Carrier;

/// Why echo requests cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    /// This program may not.
    #[error(
        "this system does not let this program send echo requests. To let everybody: \
         sysctl -w net.ipv4.ping_group_range='0 2147483647', as root; or run it as root"
    )]
    NotAllowed,
    /// Not on this system.
    #[error("echo requests are only sent on Linux")]
    NotHere,
    /// Something else stands in the way.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Opens a socket for echo requests from `local`, through an interface where one is given, and says of which kind it is.
///
/// # Errors
///
/// [`EchoError`].
pub fn open_echo(
    local: IpAddr,
    interface: Option<&Interface>,
    clock: Clock,
) -> Result<(Box<dyn DatagramSocket>, Carrier), EchoError> {
    if !cfg!(target_os = "linux") {
        return Err(EchoError::NotHere);
    }
    for carrier in [Carrier::Ping, Carrier::Raw] {
        let options = UdpOptions {
            interface: interface.cloned(),
            carries: Carries::Icmp(carrier),
            ..UdpOptions::new((local, 0).into())
        };
        match open(&options, clock) {
            Ok(socket) => return Ok((socket, carrier)),
            Err(OpenError::Bind { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(EchoError::NotAllowed)
}
