//! Bulk transfers of a page: those of [`super::bulk`] over streams of its WebTransport session, told as they come.
//!
//! A browser says little of what its streams do: when octets that it took left, how large packets were, or what has come and waits behind
//! what was lost. So an upload is answered with a [`LoadTold`] of 32 octets every 50 ms. A download is answered with a [`LoadPacket`] of 4
//! octets, and comes in pieces, each a stream of its own: one that misses a packet holds up no other. Both end at their time, whatever is
//! still on the way: streams are reset.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use greenroom_reports::units::{DataSize, Micros};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use web_transport_quinn::{RecvStream, SendStream, Session};

use super::bulk::{BulkRequest, PATTERN, PIECE, REQUEST, Throttle};
use super::{LoadPacket, LoadTold, Stats};
use crate::net::clock::Clock;
use crate::net::congestion::Bulk;
use crate::proto::capacity::{INTERVAL, LONGEST};
use crate::proto::control::Limits;

/// Transfers of one page that are begun at once. Of two the same way the second waits, for each may take the whole rate.
const MAX_STREAMS: usize = 2;
/// Behind the control stream, whose log would wait for it otherwise.
const BEHIND: i32 = -1;
/// Before the pieces that the answer speaks of.
const AHEAD: i32 = 0;
/// What a stream is reset with. It means nothing.
const OVER: u32 = 0;
/// A piece of a download is what goes in this time, or this part of what is on the way at once, whichever is more: what a lost packet
/// holds up is a small share of a second's octets, and so few streams are nothing to a browser.
const PIECE_LASTS_US: u64 = 5_000;
const PIECES_ON_THE_WAY: u64 = 32;
/// The latest pieces, of which any may not have come: more than browsers let be open at once.
const LATEST: usize = 128;

/// Serves transfers until the session ends. Dropping it ends them.
pub(super) async fn serve(session: &Session, limits: Limits, stats: &Arc<Stats>) {
    let mut running = JoinSet::new();
    let ways = Arc::new(Ways::default());
    loop {
        tokio::select! {
            opened = session.accept_bi(), if running.len() < MAX_STREAMS => match opened {
                Ok((send, receive)) => {
                    let ways = Arc::clone(&ways);
                    let transfer = Transfer { session: session.clone(), send, receive, limits, ways };
                    let stats = Arc::clone(stats);
                    running.spawn(async move { stats.bulk_bytes.add(transfer.run().await) });
                }
                Err(_) => return,
            },
            Some(_) = running.join_next() => {}
        }
    }
}

/// Held by the transfer that goes this way.
#[derive(Default)]
struct Ways {
    up: Mutex<()>,
    down: Mutex<()>,
}

/// One transfer. A page that breaks it off has its reasons.
struct Transfer {
    session: Session,
    send: SendStream,
    receive: RecvStream,
    limits: Limits,
    ways: Arc<Ways>,
}

impl Transfer {
    /// Octets that were moved.
    async fn run(mut self) -> u64 {
        let mut wire = [0; BulkRequest::LEN];
        let asked = tokio::time::timeout(REQUEST, self.receive.read_exact(&mut wire)).await;
        if !matches!(asked, Ok(Ok(()))) {
            return 0;
        }
        // It fails once the stream is gone.
        let _ = self.send.set_priority(BEHIND);
        let most = self.limits.max_duration_us.min(LONGEST);
        let ways = Arc::clone(&self.ways);
        match BulkRequest::from_bytes(wire) {
            Some(BulkRequest::Upload) => {
                let _turn = ways.up.lock().await;
                self.sink(most).await
            }
            Some(BulkRequest::Download { bytes, duration }) => {
                let _turn = ways.down.lock().await;
                self.source(bytes, duration.min(most)).await
            }
            None => 0,
        }
    }

    async fn sink(&mut self, lasting: Micros) -> u64 {
        let Self { session, send, receive, limits, .. } = self;
        let counted = Counted::start(session);
        let mut throttle = Throttle::new(limits.max_bitrate_bps);
        let mut tick = tokio::time::interval(INTERVAL.to_duration());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let deadline = tokio::time::sleep(lasting.to_duration());
        tokio::pin!(deadline);
        let mut received = 0;
        let mut pause = Box::pin(tokio::time::sleep(Duration::ZERO));
        loop {
            tokio::select! {
                () = &mut deadline => {
                    // It fails once the stream has ended by itself.
                    let _ = receive.stop(OVER);
                    break;
                }
                _ = tick.tick() => {
                    if send.write_all(&counted.told(session, received).to_bytes()).await.is_err() {
                        break;
                    }
                }
                chunk = async {
                    pause.as_mut().await;
                    receive.read_chunk(PIECE, true).await
                } => {
                    let Ok(Some(chunk)) = chunk else { break };
                    received += chunk.bytes.len() as u64;
                    let ahead = throttle.ahead(chunk.bytes.len());
                    if ahead > Duration::ZERO {
                        pause = Box::pin(tokio::time::sleep(ahead));
                    }
                }
            }
        }
        // Without a reader it is of no use.
        let _ = send.write_all(&counted.told(session, received).to_bytes()).await;
        let _ = send.finish();
        received
    }

    async fn source(&mut self, bytes: DataSize, lasting: Micros) -> u64 {
        let Self { session, send, limits, .. } = self;
        let deadline = tokio::time::sleep(lasting.to_duration());
        tokio::pin!(deadline);
        let packet = packet(session);
        // It fails once the stream is gone.
        let _ = send.set_priority(AHEAD);
        if send.write_all(&packet.to_bytes()).await.is_err() {
            return 0;
        }
        let _bulk = Bulk::begin(session);
        let mut throttle = Throttle::new(limits.max_bitrate_bps);
        let mut pieces = VecDeque::with_capacity(LATEST);
        let mut sent = 0;
        let sending = async {
            while sent < bytes.bytes() {
                let left = usize::try_from(bytes.bytes() - sent).unwrap_or(PIECE);
                let piece = piece(session, packet).min(left);
                if !write(session, &mut pieces, piece).await {
                    return;
                }
                sent += piece as u64;
                tokio::time::sleep(throttle.ahead(piece)).await;
            }
            // The request's stream ends when all of it has come.
            for piece in &pieces {
                let _ = piece.stopped().await;
            }
        };
        tokio::select! {
            // What is still buffered here would take its time.
            () = &mut deadline => pieces.iter_mut().for_each(|piece| drop(piece.reset(OVER.into()))),
            () = sending => {}
        }
        let _ = send.finish();
        sent
    }
}

/// Octets of the next piece: whole packets of it.
fn piece(session: &Session, packet: LoadPacket) -> usize {
    let path = quinn::Connection::stats(session).path;
    let round_trip = u64::try_from(path.rtt.as_micros()).unwrap_or(u64::MAX).max(1);
    let a_while = path.cwnd.saturating_mul(PIECE_LASTS_US) / round_trip;
    let octets = usize::try_from(a_while.max(path.cwnd / PIECES_ON_THE_WAY)).unwrap_or(PIECE).min(PIECE);
    let packet = usize::from(packet.stream);
    ((octets / packet).max(1) * packet).saturating_sub(STREAM_HEADER.len()).clamp(1, PIECE)
}

/// Writes a piece into a stream of its own. False where the session is over.
///
/// The stream is opened here and not by the session, which puts the header of each before all else, and what follows with it: the control
/// stream and the answer would wait until all pieces have gone.
async fn write(session: &Session, pieces: &mut VecDeque<quinn::SendStream>, octets: usize) -> bool {
    let Ok(stream) = quinn::Connection::open_uni(session).await else { return false };
    // It fails once the stream is gone.
    let _ = stream.set_priority(BEHIND);
    if pieces.len() == LATEST {
        pieces.pop_front();
    }
    // Kept before it is written: one that is cut off in the middle is to be reset, too.
    pieces.push_back(stream);
    let Some(stream) = pieces.back_mut() else { return false };
    let mut chunks = [Bytes::from_static(&STREAM_HEADER), Bytes::from_static(&PATTERN[..octets])];
    stream.write_all_chunks(&mut chunks).await.is_ok() && stream.finish().is_ok()
}

/// What the whole connection received since a transfer began.
struct Counted {
    clock: Clock,
    before: (u64, u64),
    headers: u64,
}

impl Counted {
    fn start(session: &Session) -> Self {
        let headers = u64::from(headers(session));
        Self { clock: Clock::start(), before: received(session), headers }
    }

    fn told(&self, session: &Session, stream: u64) -> LoadTold {
        let (bytes, packets) = received(session);
        let packets = packets.saturating_sub(self.before.1);
        let bytes = bytes.saturating_sub(self.before.0) + packets * self.headers;
        LoadTold {
            at: self.clock.now(),
            stream: DataSize::from_bytes(stream),
            received: DataSize::from_bytes(bytes),
            packets,
        }
    }
}

/// Octets of UDP payload, and packets.
fn received(session: &Session) -> (u64, u64) {
    let udp = quinn::Connection::stats(session).udp_rx;
    (udp.bytes, udp.datagrams)
}

/// Octets of the IP and UDP headers.
fn headers(session: &Session) -> u16 {
    if session.remote_address().ip().to_canonical().is_ipv4() { 28 } else { 48 }
}

/// Octets of a full packet that are not the stream's: QUIC's header with a packet number of 2 octets (RFC 9000 section 17.3.1), 16 of
/// AEAD, and the frame's type, stream and offset (section 19.8). Browsers' connection IDs have none.
const AROUND: u16 = 1 + 2 + 16 + 1 + 2 + 4;
/// What a unidirectional stream of a session begins with (draft-ietf-webtrans-http3 section 4.2): its kind, and the number of the stream that
/// asked for the session, which is the connection's first: no other is looked at.
const STREAM_HEADER: [u8; 3] = [0x40, 0x54, 0];

fn packet(session: &Session) -> LoadPacket {
    let mtu = quinn::Connection::stats(session).path.current_mtu;
    LoadPacket { ip: mtu.saturating_add(headers(session)), stream: mtu.saturating_sub(AROUND) }
}
