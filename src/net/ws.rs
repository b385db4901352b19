//! Media over a WebSocket on TLS: the way that is left where UDP is blocked.
//!
//! A frame is one binary message: a first byte that says what it is, then its content. Datagrams are as over UDP, without
//! loss and with TCP's delay instead; control frames are those of the control stream.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};

use super::quic::ConnectError;
use super::tls;
use super::trust::{Identity, Trust};
use super::udp::Interface;

/// The path of the media fallback on an endpoint.
pub const PATH: &str = "/media";
/// The longest frame, first byte included. Longer ones end the connection.
pub const MAX_FRAME: usize = 256 * 1_024;

const DATAGRAM: u8 = 0;
const CONTROL: u8 = 1;

/// What travels over the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// What UDP would carry.
    Datagram(Bytes),
    /// What the control stream would carry.
    Control(Bytes),
}

impl Frame {
    /// Reads a binary message.
    ///
    /// # Errors
    ///
    /// [`FrameError::Malformed`] when its first byte says nothing known.
    pub fn parse(message: &Bytes) -> Result<Self, FrameError> {
        match message.first() {
            Some(&DATAGRAM) => Ok(Self::Datagram(message.slice(1..))),
            Some(&CONTROL) => Ok(Self::Control(message.slice(1..))),
            _ => Err(FrameError::Malformed),
        }
    }
}

/// A WebSocket that carries frames.
#[derive(Debug)]
pub struct FrameSocket<S>(WebSocketStream<S>);

/// Why a frame could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A message that is no frame.
    #[error("the other end sent a message that is no frame")]
    Malformed,
    /// The connection broke.
    #[error("the WebSocket broke: {0}")]
    Broken(#[from] Box<Error>),
}

/// Connects to an endpoint's media fallback, within `deadline` in all.
///
/// # Errors
///
/// A [`ConnectError`] for each way to fail; [`ConnectError::Protocol`] when something else answers there.
pub async fn connect(
    to: SocketAddr,
    name: &str,
    trust: &Trust,
    deadline: Duration,
) -> Result<(FrameSocket<TlsStream<TcpStream>>, Identity), ConnectError> {
    connect_over(None, to, name, trust, deadline).await
}

/// As [`connect`], over an interface when given.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_over(
    interface: Option<&Interface>,
    to: SocketAddr,
    name: &str,
    trust: &Trust,
    deadline: Duration,
) -> Result<(FrameSocket<TlsStream<TcpStream>>, Identity), ConnectError> {
    let connecting = async {
        let secured = tls::connect_over(interface, to, name, trust, &[b"http/1.1"], deadline).await?;
        let host = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        let url = format!("wss://{host}:{}{PATH}", to.port());
        let (socket, _) = client_async_with_config(url, secured.stream, Some(config()))
            .await
            .map_err(|error| refusal(to, &error))?;
        Ok((FrameSocket(socket), secured.identity))
    };
    tokio::time::timeout(deadline, connecting)
        .await
        .unwrap_or(Err(ConnectError::Silent { to, after: deadline }))
}

/// Takes the other end's handshake on a stream.
///
/// # Errors
///
/// When it is no WebSocket handshake.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<FrameSocket<S>, FrameError> {
    let socket = accept_async_with_config(stream, Some(config())).await.map_err(Box::new)?;
    Ok(FrameSocket(socket))
}

/// Takes a stream whose handshake somebody else has answered.
pub async fn upgraded<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> FrameSocket<S> {
    FrameSocket(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await)
}

impl<S: AsyncRead + AsyncWrite + Unpin> FrameSocket<S> {
    /// Sends a frame and waits until the local buffer has taken it.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), FrameError> {
        Ok(self.0.send(message_of(frame)).await.map_err(Box::new)?)
    }

    /// The next frame; `None` when the other end has closed. Cancel-safe.
    ///
    /// # Errors
    ///
    /// When the connection is broken or a message is no frame.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        next_frame(&mut self.0).await
    }

    /// Says goodbye.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub async fn close(&mut self) -> Result<(), FrameError> {
        Ok(self.0.close(None).await.map_err(Box::new)?)
    }

    /// Takes it apart, so that what comes can be read while what goes is still waiting.
    pub fn split(self) -> (FrameSink<S>, FrameStream<S>) {
        let (sink, stream) = self.0.split();
        (FrameSink(sink), FrameStream(stream))
    }
}

/// The half of a [`FrameSocket`] that sends.
#[derive(Debug)]
pub struct FrameSink<S>(SplitSink<WebSocketStream<S>, Message>);

/// The half of a [`FrameSocket`] that receives.
#[derive(Debug)]
pub struct FrameStream<S>(SplitStream<WebSocketStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> FrameSink<S> {
    /// As [`FrameSocket::send`].
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), FrameError> {
        Ok(self.0.send(message_of(frame)).await.map_err(Box::new)?)
    }

    /// Says goodbye.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub async fn close(&mut self) -> Result<(), FrameError> {
        Ok(self.0.close().await.map_err(Box::new)?)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FrameStream<S> {
    /// As [`FrameSocket::next`].
    ///
    /// # Errors
    ///
    /// When the connection is broken or a message is no frame.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        next_frame(&mut self.0).await
    }
}

fn message_of(frame: &Frame) -> Message {
    let (kind, content) = match frame {
        Frame::Datagram(content) => (DATAGRAM, content),
        Frame::Control(content) => (CONTROL, content),
    };
    let mut message = BytesMut::with_capacity(1 + content.len());
    message.put_u8(kind);
    message.extend_from_slice(content);
    Message::Binary(message.freeze())
}

async fn next_frame(
    messages: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
) -> Result<Option<Frame>, FrameError> {
    let mut closed = false;
    loop {
        match messages.next().await {
            None | Some(Err(Error::ConnectionClosed)) => return Ok(None),
            // Reading on sends the reply; how the stream ends after the goodbyes does not matter.
            Some(Ok(Message::Close(_))) => closed = true,
            Some(Err(_)) if closed => return Ok(None),
            Some(Err(error)) => return Err(Box::new(error).into()),
            Some(Ok(Message::Binary(message))) => return Frame::parse(&message).map(Some),
            Some(Ok(Message::Text(_))) => return Err(FrameError::Malformed),
            // Pings are answered by the library.
            Some(Ok(_)) => {}
        }
    }
}

/// Both ends of a WebSocket over a pipe that holds so many bytes each way.
#[cfg(test)]
pub(super) async fn over_a_pipe(
    holds: usize,
) -> (FrameSocket<tokio::io::DuplexStream>, FrameSocket<tokio::io::DuplexStream>) {
    let (near, far) = tokio::io::duplex(holds);
    let connecting = client_async_with_config(format!("ws://localhost{PATH}"), near, Some(config()));
    let (connected, accepted) = tokio::join!(connecting, accept(far));
    (FrameSocket(connected.expect("a handshake").0), accepted.expect("a handshake"))
}

fn config() -> WebSocketConfig {
    // No more than a frame is buffered for writing: what cannot leave shows as waiting, not as memory.
    WebSocketConfig::default()
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME))
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MAX_FRAME)
}

fn refusal(to: SocketAddr, error: &Error) -> ConnectError {
    match error {
        Error::Io(error) => ConnectError::Closed { to, reason: error.to_string() },
        _ => ConnectError::Protocol { to },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::identity::ServerIdentity;
    use crate::net::trust::Refusal;
    use tokio::net::TcpListener;

    /// Accepts one connection by TLS and WebSocket and sends back what it gets.
    async fn start(identity: &ServerIdentity) -> SocketAddr {
        let acceptor = tls::acceptor(identity, &[b"http/1.1"]).unwrap();
        let listener = listener().await;
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let mut socket = accept(stream).await.unwrap();
            while let Ok(Some(frame)) = socket.next().await {
                socket.send(&frame).await.unwrap();
            }
        });
        at
    }

    #[expect(clippy::disallowed_methods, reason = "a peer for the test")]
    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    fn self_made() -> ServerIdentity {
        ServerIdentity::self_made(["localhost".to_owned()]).unwrap()
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn frames_come_back_as_they_went() {
        let identity = self_made();
        let at = start(&identity).await;
        let trust = Trust::measuring(Some(identity.fingerprint()));
        let (mut socket, who) = connect(at, "localhost", &trust, PATIENCE).await.unwrap();
        assert_eq!(who, Identity::Pinned(identity.fingerprint()));
        let longest = Bytes::from(vec![7; MAX_FRAME - 1]);
        for frame in [
            Frame::Datagram(Bytes::from_static(b"probe")),
            Frame::Datagram(Bytes::new()),
            Frame::Control(longest),
        ] {
            socket.send(&frame).await.unwrap();
            assert_eq!(socket.next().await.unwrap(), Some(frame));
        }
        socket.close().await.unwrap();
        assert_eq!(socket.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_wrong_pin_is_refused_and_an_unknown_root_marked() {
        let identity = self_made();
        let another = crate::address::Fingerprint::of(b"another");
        let at = start(&identity).await;
        let refused = connect(at, "localhost", &Trust::measuring(Some(another)), PATIENCE).await.unwrap_err();
        let found = identity.fingerprint();
        assert_eq!(refused, ConnectError::Certificate(Refusal::Pin { found }));

        let at = start(&identity).await;
        let (_, who) = connect(at, "localhost", &Trust::measuring(None), PATIENCE).await.unwrap();
        assert!(!who.is_verified());
    }

    #[tokio::test]
    async fn a_closed_port_a_silent_one_and_another_protocol_differ() {
        let trust = Trust::measuring(None);
        let listener = listener().await;
        let at = listener.local_addr().unwrap();
        let short = Duration::from_millis(100);
        let silent = connect(at, "localhost", &trust, short).await.unwrap_err();
        assert_eq!(silent, ConnectError::Silent { to: at, after: short });

        let other = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            // The first connection is the one that was given up.
            listener.accept().await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 mail.example ready\r\n").await.unwrap();
            stream
        });
        let no_tls = connect(at, "localhost", &trust, PATIENCE).await.unwrap_err();
        assert_eq!(no_tls, ConnectError::Protocol { to: at });
        drop(other.await.unwrap());
        let closed = connect(at, "localhost", &trust, PATIENCE).await.unwrap_err();
        assert_eq!(closed, ConnectError::Refused { to: at });
    }

    #[test]
    fn a_message_without_a_known_first_byte_is_no_frame() {
        for message in [&b""[..], b"\x02", b"\xff..."] {
            assert!(matches!(Frame::parse(&Bytes::copy_from_slice(message)), Err(FrameError::Malformed)));
        }
    }
}
