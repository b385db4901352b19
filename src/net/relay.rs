//! A way to a TURN server: UDP, or a stream that is cut into its pieces.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::udp::{Interface, OpenError, use_interface};
use crate::proto::turn::{Deframer, Piece, channel_data};

/// A connection of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A way to one server.
pub enum Link {
    /// Datagrams, to and from this server alone.
    Udp(UdpSocket),
    /// A connection, with or without TLS.
    Stream(Box<dyn Stream>, Deframer),
}

impl Link {
    /// Over UDP.
    ///
    /// # Errors
    ///
    /// The system gives no socket.
    pub fn udp(interface: Option<&Interface>, server: SocketAddr) -> Result<Self, OpenError> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let failed = |source| OpenError::Bind { local: any, source };
        let (domain, udp) = (socket2::Domain::for_address(server), socket2::Protocol::UDP);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(udp)).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let local = use_interface(&socket, interface, any)?;
        socket.bind(&local.into()).map_err(failed)?;
        socket.connect(&server.into()).map_err(failed)?;
        UdpSocket::from_std(socket.into()).map(Self::Udp).map_err(failed)
    }

    /// Over a connection that stands.
    pub fn stream(stream: impl Stream + 'static) -> Self {
        Self::Stream(Box::new(stream), Deframer::default())
    }

    /// Whether what is lost is sent again by somebody else, and channel data is padded.
    pub const fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(..))
    }

    /// Sends one message whole.
    ///
    /// # Errors
    ///
    /// The system's.
    pub async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(octets).await.map(|_| ()),
            Self::Stream(stream, _) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
        }
    }

    /// The next piece. It may be dropped while it waits, and nothing is lost.
    ///
    /// # Errors
    ///
    /// The system's; `InvalidData` when a stream is none of TURN, `UnexpectedEof` when it has ended.
    pub async fn receive(&mut self) -> io::Result<Piece> {
        match self {
            Self::Udp(socket) => {
                let mut octets = vec![0; 2_048];
                let len = socket.recv(&mut octets).await?;
                octets.truncate(len);
                Ok(match channel_data(&octets) {
                    Some((channel, data)) => Piece::Data(channel, data.to_vec()),
                    None => Piece::Stun(octets),
                })
            }
            Self::Stream(stream, deframer) => loop {
                let popped = deframer.pop();
                let popped = popped.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if let Some(piece) = popped {
                    return Ok(piece);
                }
                let mut octets = [0; 4_096];
                let len = stream.read(&mut octets).await?;
                match octets.get(..len) {
                    Some(read) if len > 0 => deframer.push(read),
                    _ => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            },
        }
    }
}
