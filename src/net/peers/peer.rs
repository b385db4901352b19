//! One WebRTC session: from an answered offer to its end.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use greenroom_reports::units::Micros;
use str0m::channel::ChannelId;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RawPacket, Ssrc};
use str0m::{Event, Input, Output, Rtc, RtcError};
use tokio::sync::mpsc;

use super::echo::{Came, Echo};
use super::{Datagram, Door};
use crate::net::link::GOODBYE;
use crate::net::tunnel::{Inlet, TunnelEnd};
use crate::proto::window::ip_bytes;

/// After this silence a peer is gone. Browsers ask about every five seconds whether this end still wants them (RFC 7675 section 5.1).
const IDLE: Micros = Micros::from_secs(10);
/// The largest piece of a control frame that is written at once: every receiver takes it.
const PIECE: usize = 16_384;
/// Addresses that one session may come from.
const MOST_ADDRESSES: usize = 8;
/// Messages that are kept of a peer whose channels do not both stand yet.
const MOST_EARLY: usize = 16;

/// A session, driven by whoever holds it. Dropping it forgets it.
pub struct Peer {
    door: Door,
    name: String,
    rtc: Rtc,
    inbox: mpsc::Receiver<Datagram>,
    control: ChannelId,
    probes: ChannelId,
    /// Where it has come from, and to which address of this computer; the newest last.
    ways: Vec<(SocketAddr, Option<IpAddr>)>,
    heard: Micros,
    /// What came before both channels stood.
    early: Vec<(ChannelId, Vec<u8>)>,
    echo: Echo,
    came: Came,
    /// The stream and number of a packet of RTP that came last, until the session lets it through.
    untaken: Option<(Ssrc, u16)>,
}

/// Why a session broke off.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The protocol was violated, or the keys do not fit.
    #[error(transparent)]
    Session(#[from] RtcError),
    /// The peer has said goodbye, or nothing for too long.
    #[error("the WebRTC peer is gone")]
    Gone,
    /// The peer sends more control frames than anybody could want.
    #[error("the WebRTC peer sends too much")]
    TooMuch,
}

impl Peer {
    pub(super) fn new(
        door: Door,
        name: String,
        rtc: Rtc,
        inbox: mpsc::Receiver<Datagram>,
        control: ChannelId,
        probes: ChannelId,
    ) -> Self {
        let heard = door.clock().now();
        let echo = Echo::new(door.clock());
        let came = Came { at: heard, bytes: 0 };
        let (ways, early, untaken) = (Vec::new(), Vec::new(), None);
        Self { door, name, rtc, inbox, control, probes, ways, heard, early, echo, came, untaken }
    }

    /// Sound and picture that are sent back.
    pub fn echo(&self) -> &Echo {
        &self.echo
    }

    /// Waits until both channels stand; where the peer is.
    ///
    /// # Errors
    ///
    /// [`PeerError`]: it does not come any more.
    pub async fn open(&mut self) -> Result<SocketAddr, PeerError> {
        let (mut control, mut probes) = (false, false);
        loop {
            let mut events = Vec::new();
            let wake = self.drain(&mut events).await?;
            for event in events {
                match event {
                    Event::ChannelOpen(id, _) if id == self.control => control = true,
                    Event::ChannelOpen(id, _) if id == self.probes => probes = true,
                    Event::ChannelData(data) if self.early.len() < MOST_EARLY => {
                        self.early.push((data.id, data.data));
                    }
                    Event::ChannelData(_) => return Err(PeerError::TooMuch),
                    event if is_end(&event) => return Err(PeerError::Gone),
                    event => {
                        self.take_media(&event);
                    }
                }
            }
            if control
                && probes
                && let Some((from, _)) = self.ways.last()
            {
                return Ok(*from);
            }
            let datagram = tokio::select! {
                datagram = self.inbox.recv() => datagram,
                () = tokio::time::sleep_until(wake.into()) => None,
            };
            self.advance(datagram)?;
        }
    }

    /// Moves control frames and datagrams until one side ends.
    ///
    /// # Errors
    ///
    /// [`PeerError`]: the peer has ended it.
    pub(in crate::net) async fn carry(
        mut self,
        tunnel: TunnelEnd,
        mut to_send: mpsc::Receiver<Bytes>,
        received: &mpsc::Sender<Result<Bytes, String>>,
    ) -> Result<(), PeerError> {
        let (mut outlet, inlet) = tunnel.split();
        for (id, data) in std::mem::take(&mut self.early) {
            self.hand_on(id, data, &inlet, received)?;
        }
        let mut pieces: VecDeque<Bytes> = VecDeque::new();
        let (mut machine_runs, mut ends) = (true, None);
        let abandoned = received.closed();
        tokio::pin!(abandoned);
        loop {
            let mut events = Vec::new();
            let wake = self.drain(&mut events).await?;
            let mut has_more = false;
            for event in events {
                match event {
                    Event::ChannelData(data) => self.hand_on(data.id, data.data, &inlet, received)?,
                    event if is_end(&event) => return Err(PeerError::Gone),
                    event => has_more |= self.take_media(&event),
                }
            }
            if has_more {
                // What is sent back leaves at once.
                self.advance(None)?;
                continue;
            }
            // As much of a control frame as there is room for; what it leads to is taken before the next piece.
            if let Some(piece) = pieces.front().cloned()
                && self.write(self.control, &piece)?
            {
                pieces.pop_front();
                continue;
            }
            let now = self.door.clock().now();
            if let Some(ends) = ends
                && (ends <= now || pieces.is_empty() && self.is_flushed())
            {
                return self.close().await;
            }
            let latest = ends.unwrap_or(self.heard + IDLE);
            if latest <= now {
                return Err(PeerError::Gone);
            }
            let wake = wake.min(self.door.clock().instant(latest));
            tokio::select! {
                datagram = self.inbox.recv() => self.advance(datagram)?,
                control = to_send.recv(), if ends.is_none() && pieces.is_empty() => match control {
                    Some(frame) => pieces = cut(&frame),
                    None => ends = Some(now + Micros::from_duration(GOODBYE)),
                },
                datagram = outlet.next(), if machine_runs => match datagram {
                    // One that there is no room for is lost, as in a full queue.
                    Some(datagram) => {
                        self.write(self.probes, &datagram)?;
                    }
                    None => machine_runs = false,
                },
                () = &mut abandoned, if ends.is_none() => ends = Some(now + Micros::from_duration(GOODBYE)),
                () = tokio::time::sleep_until(wake.into()) => self.advance(None)?,
            }
        }
    }

    /// Counts media and sends them back; whether there is something to send.
    fn take_media(&mut self, event: &Event) -> bool {
        if matches!(event, Event::RawPacket(packet) if matches!(**packet, RawPacket::RtpRx(..))) {
            self.untaken = None;
        }
        self.echo.take(&mut self.rtc, event, self.came)
    }

    /// Hands on what came over a channel.
    fn hand_on(
        &self,
        id: ChannelId,
        data: Vec<u8>,
        inlet: &Inlet,
        received: &mpsc::Sender<Result<Bytes, String>>,
    ) -> Result<(), PeerError> {
        let data = Bytes::from(data);
        if id == self.probes {
            inlet.deliver(data);
            return Ok(());
        }
        if id != self.control {
            return Ok(());
        }
        match received.try_send(Ok(data)) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(PeerError::TooMuch),
        }
    }

    /// Sends everything that is to be sent now; when there is more to do.
    async fn drain(&mut self, events: &mut Vec<Event>) -> Result<Instant, PeerError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(wake) if self.rtc.is_alive() => return Ok(wake),
                Output::Timeout(_) => return Err(PeerError::Gone),
                Output::Event(event) => events.push(event),
                Output::Transmit(transmit) => {
                    let way = self.ways.iter().rev().find(|(from, _)| *from == transmit.destination);
                    let source = way.and_then(|(_, to)| *to);
                    self.door.send(&transmit.contents, transmit.destination, source).await;
                }
            }
        }
    }

    /// Takes a datagram, or lets time pass.
    fn advance(&mut self, datagram: Option<Datagram>) -> Result<(), PeerError> {
        let clock = self.door.clock();
        let Some(Datagram { from, to, at, contents }) = datagram else {
            return Ok(self.rtc.handle_input(Input::Timeout(clock.instant(clock.now())))?);
        };
        let destination = self.door.candidate(to, from);
        // What is neither STUN, DTLS nor RTP, or not signed by this session's peer, is not for it.
        let Ok(receive) = Receive::new(Protocol::Udp, from, destination, &contents) else { return Ok(()) };
        let input = Input::Receive(clock.instant(at), receive);
        if !self.rtc.accepts(&input) {
            return Ok(());
        }
        self.heard = at;
        self.came = Came { at, bytes: ip_bytes(from, contents.len()) };
        // What was not let through by now, although it was signed by nobody else, came before.
        if let Some((ssrc, sequence)) = std::mem::replace(&mut self.untaken, rtp(&contents)) {
            self.echo.note_copy(ssrc, sequence);
        }
        if self.ways.last() != Some(&(from, to)) {
            let known = self.ways.iter().any(|(known, _)| *known == from);
            if !known && self.ways.len() >= MOST_ADDRESSES {
                return Ok(());
            }
            self.ways.retain(|(known, _)| *known != from);
            self.ways.push((from, to));
            self.door.proven(from, &self.name);
        }
        Ok(self.rtc.handle_input(input)?)
    }

    /// Writes a message; `false` when there is no room for it.
    fn write(&mut self, channel: ChannelId, message: &[u8]) -> Result<bool, PeerError> {
        match self.rtc.channel(channel) {
            Some(mut channel) => Ok(channel.write(true, message)?),
            None => Err(PeerError::Gone),
        }
    }

    /// Whether everything that was written has been acknowledged.
    fn is_flushed(&mut self) -> bool {
        self.rtc.channel(self.control).is_none_or(|mut channel| channel.buffered_amount() == 0)
    }

    /// Says goodbye, as far as that can be said at once.
    async fn close(mut self) -> Result<(), PeerError> {
        self.rtc.close()?;
        // Whoever does not hear it finds out by silence.
        let _ = self.drain(&mut Vec::new()).await;
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.door.forget(&self.name, self.ways.iter().map(|(from, _)| *from));
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("ways", &self.ways).finish_non_exhaustive()
    }
}

/// The stream and number of a packet of RTP (RFC 3550 section 5.1), which travel in the open. RTCP is none (RFC 5761 section 4).
fn rtp(contents: &[u8]) -> Option<(Ssrc, u16)> {
    let header: &[u8; 12] = contents.first_chunk()?;
    let [first, kind, high, low, _, _, _, _, ssrc @ ..] = *header;
    let is_rtp = first >> 6 == 2 && !(64..96).contains(&(kind & 0x7f));
    is_rtp.then(|| (u32::from_be_bytes(ssrc).into(), u16::from_be_bytes([high, low])))
}

/// Whether nothing more will come. Of addresses that no longer work another one may take the place: silence decides that.
fn is_end(event: &Event) -> bool {
    matches!(event, Event::Closed | Event::ChannelClose(_))
}

/// A control frame in pieces that every receiver takes.
fn cut(frame: &Bytes) -> VecDeque<Bytes> {
    let starts = (0..frame.len()).step_by(PIECE);
    starts.map(|start| frame.slice(start..frame.len().min(start + PIECE))).collect()
}
