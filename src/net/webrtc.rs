//! A WebRTC session on UDP sockets: drives str0m, which knows neither sockets nor clocks. What is measured with it lies elsewhere.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::Instant;

use greenroom_reports::units::{DataSize, Micros};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig, RtcError};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::clock::Clock;
use super::udp::{Interface, OpenError, UdpOptions, bind, bound_address};

/// The longest datagram that is taken: str0m takes none beyond.
const LONGEST: usize = 2_000;

/// One end of a WebRTC session, with its sockets.
#[derive(Debug)]
pub struct Peer {
    rtc: Rtc,
    sockets: Vec<Socket>,
    clock: Clock,
    /// When something last came or was due.
    at: Micros,
    buffer: Vec<u8>,
    spent: u64,
    refused: Option<io::Error>,
}

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    local: SocketAddr,
}

/// Why a session broke off.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No socket could be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// This computer has no address to send from.
    #[error("this computer has no address to send media from")]
    NoAddress,
    /// The protocol was violated, or the keys do not fit.
    #[error(transparent)]
    Session(#[from] RtcError),
    /// A socket broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Peer {
    /// Opens a socket on each address of this computer that one of `towards` is reached from, and offers these addresses. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`PeerError::NoAddress`] when none of them is reached, [`PeerError::Open`] when a socket cannot be opened.
    pub fn open(
        config: RtcConfig,
        towards: &[SocketAddr],
        interface: Option<&Interface>,
        clock: Clock,
    ) -> Result<Self, PeerError> {
        let mut rtc = config.build(clock.instant(clock.now()));
        let mut locals: Vec<IpAddr> = Vec::new();
        for local in towards.iter().filter_map(|to| local_address(*to, interface)) {
            if !locals.contains(&local) {
                locals.push(local);
            }
        }
        let mut sockets = Vec::new();
        for local in locals {
            let socket = open(SocketAddr::new(local, 0), interface)?;
            // What is no address for media (one that is only valid on its link) is not offered.
            let candidate = Candidate::host(socket.local, "udp").ok();
            if candidate.and_then(|candidate| rtc.add_local_candidate(candidate).cloned()).is_some() {
                sockets.push(socket);
            }
        }
        if sockets.is_empty() {
            return Err(PeerError::NoAddress);
        }
        Ok(Self { rtc, sockets, clock, at: clock.now(), buffer: vec![0; LONGEST], spent: 0, refused: None })
    }

    /// The session itself. After each change of it comes a [`turn`](Self::turn), before the next change.
    pub fn rtc(&mut self) -> &mut Rtc {
        &mut self.rtc
    }

    /// Sends what is to be sent and takes what comes, until something happened, which is put into `events` with its time, or until `until`.
    /// The time is that at which a packet came or, of what is sent, at which it was due: before it left.
    ///
    /// # Errors
    ///
    /// When the session cannot go on.
    pub async fn turn(&mut self, until: Micros, events: &mut Vec<(Micros, Event)>) -> Result<(), PeerError> {
        loop {
            let wake = self.drain(events).await?;
            if !events.is_empty() || !self.rtc.is_alive() {
                return Ok(());
            }
            let now = self.clock.now();
            let (instant, until_instant) = (self.clock.instant(now), self.clock.instant(until));
            if wake <= instant {
                self.tick(now)?;
                // However much there is to do at once: others have their turn, and the caller at its time.
                tokio::task::yield_now().await;
            }
            if until_instant <= instant {
                self.drain(events).await?;
                return Ok(());
            }
            if wake <= instant {
                continue;
            }
            tokio::select! {
                biased;
                received = receive(&self.sockets, &mut self.buffer) => self.take(received)?,
                () = tokio::time::sleep_until(wake.min(until_instant).into()) => {
                    self.tick(self.clock.now())?;
                }
            }
        }
    }

    /// Says goodbye, as far as that can be said at once.
    pub async fn close(&mut self) {
        // Whoever does not hear it finds out by silence.
        if self.rtc.close().is_ok() {
            let _ = self.drain(&mut Vec::new()).await;
        }
    }

    /// Octets sent and received at the IP layer.
    pub fn spent(&self) -> DataSize {
        DataSize::from_bytes(self.spent)
    }

    /// Why this computer refused to send, the last time that it did.
    pub fn refused(&self) -> Option<&io::Error> {
        self.refused.as_ref()
    }

    /// Sends everything that is to be sent now; says when there is more to do.
    async fn drain(&mut self, events: &mut Vec<(Micros, Event)>) -> Result<Instant, PeerError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(wake) => return Ok(wake),
                Output::Event(event) => events.push((self.at, event)),
                Output::Transmit(transmit) => self.send(&transmit).await,
            }
        }
    }

    /// Lets time pass.
    fn tick(&mut self, now: Micros) -> Result<(), RtcError> {
        self.at = now;
        self.rtc.handle_input(Input::Timeout(self.clock.instant(now)))
    }

    async fn send(&mut self, transmit: &Transmit) {
        let Some(from) = self.sockets.iter().find(|socket| socket.local == transmit.source) else { return };
        match from.socket.send_to(&transmit.contents, transmit.destination).await {
            Ok(_) => self.spent += at_ip_layer(transmit.contents.len(), transmit.destination),
            // One address that cannot be sent to does not end the session: another may do.
            Err(error) => self.refused = Some(error),
        }
    }

    fn take(&mut self, received: io::Result<Received>) -> Result<(), PeerError> {
        let received = match received {
            Ok(received) => received,
            // The answer to something sent before: nobody listens there (Windows).
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let Some(socket) = self.sockets.get(received.socket) else { return Ok(()) };
        self.spent += at_ip_layer(received.len, received.from);
        let contents = self.buffer.get(..received.len).unwrap_or_default();
        self.at = self.clock.now();
        let now = self.clock.instant(self.at);
        // What is neither STUN, DTLS nor RTP, or from somebody else, is not for this session.
        let Ok(receive) = Receive::new(Protocol::Udp, received.from, socket.local, contents) else {
            return Ok(());
        };
        let input = Input::Receive(now, receive);
        if self.rtc.accepts(&input) {
            self.rtc.handle_input(input)?;
        }
        Ok(())
    }
}

/// A datagram that came.
struct Received {
    socket: usize,
    len: usize,
    from: SocketAddr,
}

/// Waits for a datagram on any of the sockets.
async fn receive(sockets: &[Socket], buffer: &mut [u8]) -> io::Result<Received> {
    std::future::poll_fn(|context| {
        for (index, socket) in sockets.iter().enumerate() {
            let mut read = ReadBuf::new(buffer);
            if let Poll::Ready(came) = socket.socket.poll_recv_from(context, &mut read) {
                let len = read.filled().len();
                return Poll::Ready(came.map(|from| Received { socket: index, len, from }));
            }
        }
        Poll::Pending
    })
    .await
}

fn open(local: SocketAddr, interface: Option<&Interface>) -> Result<Socket, OpenError> {
    let options = UdpOptions { interface: interface.cloned(), ..UdpOptions::new(local) };
    let socket = bind(&options)?;
    let local = bound_address(&socket, &options)?;
    let socket = UdpSocket::from_std(socket.into()).map_err(|source| OpenError::Bind { local, source })?;
    Ok(Socket { socket, local })
}

/// The address of this computer that `to` is reached from. Nothing is sent.
pub(super) fn local_address(to: SocketAddr, interface: Option<&Interface>) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let options = UdpOptions { interface: interface.cloned(), ..UdpOptions::new(SocketAddr::new(any, 0)) };
    let socket = bind(&options).ok()?;
    socket.connect(&to.into()).ok()?;
    let local = socket.local_addr().ok()?.as_socket()?.ip();
    (!local.is_unspecified()).then_some(local)
}

/// Octets of a datagram with the headers of UDP and IP.
fn at_ip_layer(len: usize, other: SocketAddr) -> u64 {
    let headers = if other.is_ipv4() { 28 } else { 48 };
    u64::try_from(len).unwrap_or(u64::MAX).saturating_add(headers)
}
