//! The control stream, whatever carries it: a QUIC stream, or the WebSocket that also carries the probes.

use std::time::Duration;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::tunnel::TunnelEnd;
use super::ws::{self, FrameSocket};
use crate::proto::control::{Decoder, Frame, FrameError, MessageError};

/// The bytes that are read from a QUIC stream at once.
const READ_SIZE: usize = 64 * 1_024;
/// Control messages that wait for the WebSocket.
const WAITING: usize = 16;
/// How long the other end may take to acknowledge the last bytes.
const GOODBYE: Duration = Duration::from_secs(1);

/// Carries control frames both ways.
pub struct Link {
    carrier: Carrier,
    decoder: Decoder,
}

enum Carrier {
    Quic { send: SendStream, receive: RecvStream },
    WebSocket { outgoing: Option<mpsc::Sender<Bytes>>, incoming: mpsc::Receiver<Result<Bytes, String>> },
}

/// Why a link is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other end is gone.
    #[error("the control connection broke: {0}")]
    Broken(String),
    /// What came is not the control protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame does not read, or is too long to be sent.
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl Link {
    /// Takes both halves of a QUIC stream.
    pub fn quic(send: SendStream, receive: RecvStream) -> Self {
        Self { carrier: Carrier::Quic { send, receive }, decoder: Decoder::new() }
    }

    /// Takes a WebSocket, and the tunnel for the datagrams that it carries beside the control frames. A task moves both until the link
    /// is dropped or the socket closes.
    pub fn web_socket<S>(socket: FrameSocket<S>, tunnel: TunnelEnd) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (outgoing, to_send) = mpsc::channel(WAITING);
        let (received, incoming) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            if let Err(error) = pump(socket, tunnel, to_send, &received).await {
                // Whoever held the link may have gone.
                let _ = received.send(Err(error.to_string())).await;
            }
        });
        let carrier = Carrier::WebSocket { outgoing: Some(outgoing), incoming };
        Self { carrier, decoder: Decoder::new() }
    }

    /// The next control frame; `None` when the other end has closed. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: nothing more will come.
    pub async fn receive(&mut self) -> Result<Option<Frame>, LinkError> {
        loop {
            if let Some(raw) = self.decoder.next_frame()? {
                return Ok(Some(Frame::parse(raw)?));
            }
            let more = match &mut self.carrier {
                Carrier::Quic { receive, .. } => {
                    receive.read_chunk(READ_SIZE, true).await.map_err(broken)?.map(|chunk| chunk.bytes)
                }
                Carrier::WebSocket { incoming, .. } => incoming.recv().await.transpose().map_err(broken)?,
            };
            match more {
                Some(bytes) => self.decoder.push(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// Sends a control frame.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the frame is too long or the link broken.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), LinkError> {
        let mut bytes = Vec::new();
        frame.write(&mut bytes)?;
        match &mut self.carrier {
            Carrier::Quic { send, .. } => send.write_all(&bytes).await.map_err(broken),
            Carrier::WebSocket { outgoing, .. } => match outgoing {
                Some(outgoing) => {
                    outgoing.send(bytes.into()).await.map_err(|_| broken("the WebSocket closed"))
                }
                None => Err(broken("nothing may be sent after the end")),
            },
        }
    }

    /// Says that nothing more will be sent, and waits a moment until the rest was delivered.
    pub async fn finish(&mut self) {
        match &mut self.carrier {
            // An error means that the other end no longer listens.
            Carrier::Quic { send, .. } => {
                let _ = send.finish();
                let _ = tokio::time::timeout(GOODBYE, send.stopped()).await;
            }
            Carrier::WebSocket { outgoing, incoming } => {
                *outgoing = None;
                let _ =
                    tokio::time::timeout(GOODBYE, async { while incoming.recv().await.is_some() {} }).await;
            }
        }
    }
}

/// Moves everything that travels over the WebSocket until one side ends.
async fn pump<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: FrameSocket<S>,
    mut tunnel: TunnelEnd,
    mut to_send: mpsc::Receiver<Bytes>,
    received: &mpsc::Sender<Result<Bytes, String>>,
) -> Result<(), ws::FrameError> {
    let mut tunnel_open = true;
    loop {
        tokio::select! {
            control = to_send.recv() => match control {
                Some(bytes) => socket.send(&ws::Frame::Control(bytes)).await?,
                None => return socket.close().await,
            },
            frame = socket.next() => match frame? {
                None => return Ok(()),
                Some(ws::Frame::Datagram(bytes)) => tunnel.deliver(bytes),
                Some(ws::Frame::Control(bytes)) => if received.send(Ok(bytes)).await.is_err() {
                    return socket.close().await;
                },
            },
            datagram = tunnel.next(), if tunnel_open => match datagram {
                Some(bytes) => socket.send(&ws::Frame::Datagram(bytes)).await?,
                None => tunnel_open = false,
            },
        }
    }
}

fn broken(error: impl std::fmt::Display) -> LinkError {
    LinkError::Broken(error.to_string())
}
