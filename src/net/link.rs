//! The control stream, whatever carries it: a stream of QUIC or WebTransport, or the WebSocket or WebRTC session that also carries the
//! probes.

use std::time::Duration;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::coop;

use super::peers::Peer;
use super::tunnel::TunnelEnd;
use super::ws::{self, FrameSocket};
use crate::proto::control::{Decoder, Frame, FrameError, MessageError};

/// The bytes that are read from a QUIC stream at once.
const READ_SIZE: usize = 64 * 1_024;
/// Control messages that wait for what carries them.
const WAITING: usize = 16;
/// Bytes of control frames that are read ahead while one waits to be sent.
const READ_AHEAD: usize = 1 << 20;
/// How long the other end may take to acknowledge the last bytes.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// Carries control frames both ways.
pub struct Link {
    carrier: Carrier,
    decoder: Decoder,
}

enum Carrier {
    Quic {
        send: SendStream,
        receive: RecvStream,
    },
    WebTransport {
        send: web_transport_quinn::SendStream,
        receive: web_transport_quinn::RecvStream,
    },
    /// A task of its own moves what travels over a WebSocket or a WebRTC session.
    Task {
        outgoing: Option<mpsc::Sender<Bytes>>,
        incoming: mpsc::Receiver<Result<Bytes, String>>,
    },
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

    /// Takes both halves of a WebTransport stream.
    pub fn web_transport(
        send: web_transport_quinn::SendStream,
        receive: web_transport_quinn::RecvStream,
    ) -> Self {
        Self { carrier: Carrier::WebTransport { send, receive }, decoder: Decoder::new() }
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
        let carrier = Carrier::Task { outgoing: Some(outgoing), incoming };
        Self { carrier, decoder: Decoder::new() }
    }

    /// One that a test carries.
    #[cfg(test)]
    pub(crate) fn carried(
        outgoing: mpsc::Sender<Bytes>,
        incoming: mpsc::Receiver<Result<Bytes, String>>,
    ) -> Self {
        Self { carrier: Carrier::Task { outgoing: Some(outgoing), incoming }, decoder: Decoder::new() }
    }

    /// Takes an open WebRTC session, and the tunnel for the datagrams that it carries beside the control frames. A task moves both until
    /// the link is dropped or the session ends.
    pub fn web_rtc(peer: Peer, tunnel: TunnelEnd) -> Self {
        let (outgoing, to_send) = mpsc::channel(WAITING);
        let (received, incoming) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            if let Err(error) = peer.carry(tunnel, to_send, &received).await {
                // Whoever held the link may have gone.
                let _ = received.send(Err(error.to_string())).await;
            }
        });
        let carrier = Carrier::Task { outgoing: Some(outgoing), incoming };
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
                Carrier::WebTransport { receive, .. } => {
                    receive.read_chunk(READ_SIZE, true).await.map_err(broken)?.map(|chunk| chunk.bytes)
                }
                Carrier::Task { incoming, .. } => incoming.recv().await.transpose().map_err(broken)?,
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
            Carrier::WebTransport { send, .. } => send.write_all(&bytes).await.map_err(broken),
            Carrier::Task { outgoing, incoming } => match outgoing {
                Some(outgoing) => loop {
                    let room = self.decoder.buffered() < READ_AHEAD;
                    tokio::select! {
                        biased;
                        place = outgoing.reserve() => {
                            place.map_err(|_| broken("it was closed"))?.send(bytes.into());
                            return Ok(());
                        }
                        // The other end may be waiting for this one to read before it reads itself.
                        more = incoming.recv(), if room => match more {
                            Some(more) => self.decoder.push(&more.map_err(broken)?),
                            None => return Err(broken("it was closed")),
                        }
                    }
                },
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
            Carrier::WebTransport { send, .. } => {
                let _ = send.finish();
                let _ = tokio::time::timeout(GOODBYE, send.stopped()).await;
            }
            Carrier::Task { outgoing, incoming } => {
                *outgoing = None;
                let _ =
                    tokio::time::timeout(GOODBYE, async { while incoming.recv().await.is_some() {} }).await;
            }
        }
    }
}

/// Moves everything that travels over the WebSocket until one side ends. Neither way waits for the other: with both full, two ends that
/// wrote before they read would wait forever.
async fn pump<S: AsyncRead + AsyncWrite + Unpin>(
    socket: FrameSocket<S>,
    tunnel: TunnelEnd,
    mut to_send: mpsc::Receiver<Bytes>,
    received: &mpsc::Sender<Result<Bytes, String>>,
) -> Result<(), ws::FrameError> {
    let (mut sink, mut stream) = socket.split();
    let (mut outlet, inlet) = tunnel.split();
    let writing = async {
        let mut machine_runs = true;
        loop {
            let frame = tokio::select! {
                control = to_send.recv() => match control {
                    Some(bytes) => ws::Frame::Control(bytes),
                    None => return sink.close().await,
                },
                datagram = outlet.next(), if machine_runs => match datagram {
                    Some(bytes) => ws::Frame::Datagram(bytes),
                    None => {
                        machine_runs = false;
                        continue;
                    }
                },
            };
            sink.send(&frame).await?;
        }
    };
    let reading = async {
        while let Some(frame) = stream.next().await? {
            // After an outage hundreds are there at once: what is answered to them is to leave meanwhile.
            coop::consume_budget().await;
            match frame {
                ws::Frame::Datagram(bytes) => inlet.deliver(bytes),
                // Nobody listens any more: only the goodbye is left to be read.
                ws::Frame::Control(bytes) => drop(received.send(Ok(bytes)).await),
            }
        }
        Ok(())
    };
    let abandoned = async {
        received.closed().await;
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        written = writing => written,
        read = reading => read,
        () = abandoned => Ok(()),
    }
}

fn broken(error: impl std::fmt::Display) -> LinkError {
    LinkError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::net::clock::Clock;
    use crate::net::tunnel::{TunnelSocket, tunnel};
    use crate::net::udp::{DatagramSocket, SendBatch};
    use crate::proto::control::Ping;
    use crate::proto::machine::{Transmit, TransmitKey};
    use greenroom_reports::units::Micros;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn end(socket: FrameSocket<tokio::io::DuplexStream>) -> (Link, TunnelSocket) {
        let address = SocketAddr::from(([192, 0, 2, 1], 7_443));
        let (near, far) = tunnel(address, address, Clock::start()).expect("descriptors");
        (Link::web_socket(socket, far), near)
    }

    fn send(socket: &mut TunnelSocket, count: usize) {
        let to = SocketAddr::from(([192, 0, 2, 1], 7_443));
        for _ in 0..count {
            let mut batch = SendBatch::default();
            let key = TransmitKey(0);
            batch.push(Transmit { to, key, intended: Micros::ZERO, tos: 0, stamp: false }, &[7; 1_200]);
            socket.send(&batch, &mut |_| ());
        }
    }

    async fn receive(socket: &mut TunnelSocket, count: usize) {
        let mut all = 0;
        while all < count {
            all += socket.receive(&mut |_, _, bytes| assert_eq!(bytes.len(), 1_200)).expect("works");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn datagrams_pass_while_both_ways_are_full() {
        // A pipe that holds less than one datagram each way, and two hundred waiting at either end.
        let (near, far) = ws::over_a_pipe(1_000).await;
        let ((_here, mut here), (_there, mut there)) = (end(near), end(far));
        send(&mut here, 200);
        send(&mut there, 200);
        let both = async { tokio::join!(receive(&mut here, 200), receive(&mut there, 200)) };
        tokio::time::timeout(PATIENCE, both).await.expect("neither way waits for the other");
    }

    #[tokio::test]
    async fn control_frames_pass_while_both_ends_send_before_they_read() {
        let (near, far) = ws::over_a_pipe(100).await;
        let ((mut here, _s), (mut there, _t)) = (end(near), end(far));
        async fn all(link: &mut Link) {
            for id in 0..200 {
                link.send(&Frame::Ping(Ping { id, reply: false })).await.expect("goes");
            }
            for id in 0..200 {
                let frame = link.receive().await.expect("comes");
                assert_eq!(frame, Some(Frame::Ping(Ping { id, reply: false })));
            }
        }
        let both = async { tokio::join!(all(&mut here), all(&mut there)) };
        tokio::time::timeout(PATIENCE, both).await.expect("nobody waits for the other");
    }
}
