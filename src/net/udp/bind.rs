//! Binding, the same for every kind of socket.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Carries, Interface, OpenError, UdpOptions};
use crate::proto::icmp::Carrier;

/// Opens and binds a non-blocking socket of one family.
pub(in crate::net) fn bind(options: &UdpOptions) -> Result<Socket, OpenError> {
    let failed = |source| OpenError::Bind { local: options.local, source };
    let domain = Domain::for_address(options.local);
    let (kind, protocol) = match (options.carries, options.local.is_ipv4()) {
        (Carries::Udp, _) => (Type::DGRAM, Protocol::UDP),
        (Carries::Icmp(carrier), v4) => {
            let kind = if carrier == Carrier::Ping { Type::DGRAM } else { Type::RAW };
            (kind, if v4 { Protocol::ICMPV4 } else { Protocol::ICMPV6 })
        }
    };
    let socket = Socket::new(domain, kind, Some(protocol)).map_err(failed)?;
    prepare(&socket, options).map_err(failed)?;
    let local = use_interface(&socket, options.interface.as_ref(), options.local)?;
    socket.bind(&local.into()).map_err(|source| OpenError::Bind { local, source })?;
    Ok(socket)
}

/// Ties a socket that is not bound yet to an interface, and says to which address it is to be bound instead of `local`.
pub(in crate::net) fn use_interface(
    socket: &Socket,
    interface: Option<&Interface>,
    local: SocketAddr,
) -> Result<SocketAddr, OpenError> {
    match interface {
        Some(Interface::Name(name)) => {
            let failed = |source| OpenError::Interface { interface: name.clone(), source };
            bind_device(socket, name).map(|()| local).map_err(failed)
        }
        Some(Interface::Address(interface)) if local.ip().is_unspecified() => {
            if interface.is_ipv4() != local.is_ipv4() {
                return Err(OpenError::Family { interface: *interface, local });
            }
            Ok(SocketAddr::new(*interface, local.port()))
        }
        _ => Ok(local),
    }
}

/// The address that a bound socket has.
pub(in crate::net) fn bound_address(socket: &Socket, options: &UdpOptions) -> Result<SocketAddr, OpenError> {
    socket
        .local_addr()
        .and_then(|address| {
            address.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
        })
        .map_err(|source| OpenError::Bind { local: options.local, source })
}

fn prepare(socket: &Socket, options: &UdpOptions) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if options.local.is_ipv6() && options.carries != Carries::Icmp(Carrier::Raw) {
        // One socket per family: mapped addresses would need both families' control messages. Raw ones have no such switch.
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(options.receive_buffer)?;
    socket.set_send_buffer_size(options.send_buffer)?;
    #[cfg(unix)]
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn bind_device(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn bind_device(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "name the interface by its IP address on this system"))
}
