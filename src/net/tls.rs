//! TLS over TCP, with the same identities and the same typed failures as [`super::quic`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::identity::{IdentityError, ServerIdentity};
use super::quic::{ConnectError, any_of_family};
use super::trust::{Finding, Identity, Trust, client_config};
use super::udp::{Interface, OpenError, use_interface};

/// A TLS stream and who is at its other end.
#[derive(Debug)]
pub struct Secured {
    /// The stream.
    pub stream: TlsStream<TcpStream>,
    /// Who is there.
    pub identity: Identity,
}

/// What accepts TLS connections as this identity.
///
/// # Errors
///
/// When certificate and key cannot be used.
pub fn acceptor(identity: &ServerIdentity, alpn: &[&[u8]]) -> Result<TlsAcceptor, IdentityError> {
    Ok(TlsAcceptor::from(identity.server_config(alpn, false)?))
}

/// Connects by TCP and TLS and checks who is there, within `deadline` in all.
///
/// # Errors
///
/// A [`ConnectError`] for each way to fail.
pub async fn connect(
    to: SocketAddr,
    name: &str,
    trust: &Trust,
    alpn: &[&[u8]],
    deadline: Duration,
) -> Result<Secured, ConnectError> {
    connect_over(None, to, name, trust, alpn, deadline).await
}

/// As [`connect`], over an interface when given.
///
/// # Errors
///
/// A [`ConnectError`] for each way to fail.
pub async fn connect_over(
    interface: Option<&Interface>,
    to: SocketAddr,
    name: &str,
    trust: &Trust,
    alpn: &[&[u8]],
    deadline: Duration,
) -> Result<Secured, ConnectError> {
    let server_name =
        ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Name { name: name.to_owned() })?;
    let (config, finding) = client_config(trust, alpn, false);
    let connector = TlsConnector::from(Arc::new(config));
    let secured = async {
        let stream = connect_tcp(interface, to).await?;
        let stream =
            connector.connect(server_name, stream).await.map_err(|error| reason(to, &finding, &error))?;
        let identity = finding
            .take()
            .and_then(Result::ok)
            .ok_or_else(|| ConnectError::Closed { to, reason: "it showed no certificate".to_owned() })?;
        Ok(Secured { stream, identity })
    };
    tokio::time::timeout(deadline, secured).await.unwrap_or(Err(ConnectError::Silent { to, after: deadline }))
}

/// Connects by TCP; small writes leave at once.
async fn connect_tcp(interface: Option<&Interface>, to: SocketAddr) -> Result<TcpStream, ConnectError> {
    let local = |reason: String| ConnectError::Local { to, reason };
    let socket = tcp_socket(interface, to).map_err(|error| local(error.to_string()))?;
    let stream = socket.connect(to).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused { to },
        _ => local(error.to_string()),
    })?;
    // Only delay would be lost with it.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

pub(super) fn tcp_socket(interface: Option<&Interface>, to: SocketAddr) -> Result<TcpSocket, OpenError> {
    let any = any_of_family(to);
    let failed = |source| OpenError::Bind { local: any, source };
    let (domain, tcp) = (socket2::Domain::for_address(to), socket2::Protocol::TCP);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(tcp)).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let local = use_interface(&socket, interface, any)?;
    if local != any {
        socket.bind(&local.into()).map_err(|source| OpenError::Bind { local, source })?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

fn reason(to: SocketAddr, finding: &Finding, error: &io::Error) -> ConnectError {
    if let Some(Err(refusal)) = finding.take() {
        return refusal.into();
    }
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            ConnectError::Protocol { to }
        }
        Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)) => ConnectError::Version { to },
        // Whatever it is that answers, it is no TLS.
        Some(rustls::Error::InvalidMessage(_)) => ConnectError::Protocol { to },
        _ => ConnectError::Closed { to, reason: error.to_string() },
    }
}
