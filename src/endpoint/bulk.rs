//! Bulk transfers: what TCP-like traffic reaches. Each is a bidirectional stream beside the control stream.
//!
//! The client writes a [`BulkRequest`] of 17 octets and, for an upload, the data until the end of the stream. The
//! endpoint answers an upload with a [`BulkResult`] of 16 octets, a download with the data.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use greenroom_reports::units::{Bitrate, DataSize, Micros};
use quinn::{Connection, RecvStream, SendStream};
use tokio::task::JoinSet;

use super::Stats;
use crate::net::clock::Clock;
use crate::proto::control::Limits;

/// Octets of data written or read at once.
pub(super) const PIECE: usize = 64 * 1_024;
/// Transfers of one client at once.
const MAX_STREAMS: usize = 16;
/// How long a request may take to arrive.
pub(super) const REQUEST: Duration = Duration::from_secs(3);
/// The data: zeros would be compressed by a tunnel on the way.
pub(super) static PATTERN: [u8; PIECE] = pattern();

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkRequest {
    /// Takes what comes until the stream ends.
    Upload,
    /// Sends until either is used up.
    Download {
        /// At most so much.
        bytes: DataSize,
        /// At most so long.
        duration: Micros,
    },
}

impl BulkRequest {
    /// Octets on the wire.
    pub const LEN: usize = 17;

    /// Writes it: kind, bytes, microseconds; big endian.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let (kind, bytes, duration) = match self {
            Self::Upload => (1, 0, 0),
            Self::Download { bytes, duration } => {
                (2, bytes.bytes(), u64::try_from(duration.get()).unwrap_or(0))
            }
        };
        let mut wire = [0; Self::LEN];
        wire[0] = kind;
        wire[1..9].copy_from_slice(&bytes.to_be_bytes());
        wire[9..].copy_from_slice(&duration.to_be_bytes());
        wire
    }

    /// Reads it; `None` for an unknown kind.
    pub fn from_bytes(wire: [u8; Self::LEN]) -> Option<Self> {
        let [kind, b0, b1, b2, b3, b4, b5, b6, b7, d0, d1, d2, d3, d4, d5, d6, d7] = wire;
        let bytes = u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        let duration = i64::from_be_bytes([d0, d1, d2, d3, d4, d5, d6, d7]);
        match kind {
            1 => Some(Self::Upload),
            2 => Some(Self::Download {
                bytes: DataSize::from_bytes(bytes),
                duration: Micros::new(duration.max(0)),
            }),
            _ => None,
        }
    }
}

/// What an upload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkResult {
    /// Octets that arrived.
    pub received: DataSize,
    /// From the first to the last.
    pub took: Micros,
}

impl BulkResult {
    /// Octets on the wire.
    pub const LEN: usize = 16;

    /// Writes it: bytes, microseconds; big endian.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut wire = [0; Self::LEN];
        wire[..8].copy_from_slice(&self.received.bytes().to_be_bytes());
        wire[8..].copy_from_slice(&self.took.get().to_be_bytes());
        wire
    }

    /// Reads it.
    pub fn from_bytes(wire: [u8; Self::LEN]) -> Self {
        let [b0, b1, b2, b3, b4, b5, b6, b7, d0, d1, d2, d3, d4, d5, d6, d7] = wire;
        Self {
            received: DataSize::from_bytes(u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7])),
            took: Micros::new(i64::from_be_bytes([d0, d1, d2, d3, d4, d5, d6, d7])),
        }
    }
}

/// How a transfer of a page stands: counts since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadTold {
    /// Time since then.
    pub at: Micros,
    /// Octets of the stream that have come, in order; that were written, of a download.
    pub stream: DataSize,
    /// Octets at the IP layer that the connection has carried that way: those that were received, those that were acknowledged. Everything
    /// is in them that the connection carries.
    pub carried: DataSize,
    /// The packets that they came in.
    pub packets: u64,
}

impl LoadTold {
    /// Octets on the wire.
    pub const LEN: usize = 32;

    /// Writes it: microseconds, octets of the stream, octets at the IP layer, packets; big endian.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let at = u64::try_from(self.at.get()).unwrap_or(0);
        let mut wire = [0; Self::LEN];
        for (place, value) in
            wire.chunks_exact_mut(8).zip([at, self.stream.bytes(), self.carried.bytes(), self.packets])
        {
            place.copy_from_slice(&value.to_be_bytes());
        }
        wire
    }
}

/// Serves transfers until the connection ends. Dropping it ends them.
///
/// Each has a task of its own: within the session's, every piece of data would wake all that the session waits for.
pub(super) async fn serve(connection: &Connection, limits: Limits, stats: &Arc<Stats>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            opened = connection.accept_bi(), if running.len() < MAX_STREAMS => match opened {
                Ok((send, receive)) => {
                    running.spawn(transfer(send, receive, limits, Arc::clone(stats)));
                }
                Err(_) => return,
            },
            Some(_) = running.join_next() => {}
        }
    }
}

/// Serves one transfer. A client that breaks it off has its reasons.
async fn transfer(mut send: SendStream, mut receive: RecvStream, limits: Limits, stats: Arc<Stats>) {
    let mut wire = [0; BulkRequest::LEN];
    let asked = tokio::time::timeout(REQUEST, receive.read_exact(&mut wire)).await;
    if !matches!(asked, Ok(Ok(()))) {
        return;
    }
    let throttle = Throttle::new(limits.max_bitrate_bps);
    let moved = match BulkRequest::from_bytes(wire) {
        Some(BulkRequest::Upload) => sink(&mut receive, &mut send, throttle).await,
        Some(BulkRequest::Download { bytes, duration }) => {
            source(&mut send, bytes, duration.min(limits.max_duration_us), throttle).await
        }
        None => 0,
    };
    stats.bulk_bytes.add(moved);
    let _ = send.finish();
}

async fn sink(receive: &mut RecvStream, send: &mut SendStream, mut throttle: Throttle) -> u64 {
    let clock = Clock::start();
    let (mut received, mut first, mut last) = (0_u64, None, Micros::ZERO);
    while let Ok(Some(chunk)) = receive.read_chunk(PIECE, true).await {
        received += chunk.bytes.len() as u64;
        last = clock.now();
        first.get_or_insert(last);
        throttle.wait(chunk.bytes.len()).await;
    }
    let took = first.map_or(Micros::ZERO, |first| last - first);
    let result = BulkResult { received: DataSize::from_bytes(received), took };
    // Without a reader the result is of no use.
    let _ = send.write_all(&result.to_bytes()).await;
    received
}

async fn source(send: &mut SendStream, bytes: DataSize, duration: Micros, mut throttle: Throttle) -> u64 {
    let deadline = tokio::time::sleep(duration.to_duration());
    tokio::pin!(deadline);
    let mut sent = 0;
    while sent < bytes.bytes() {
        let piece = usize::try_from(bytes.bytes() - sent).unwrap_or(PIECE).min(PIECE);
        let written = tokio::select! {
            () = &mut deadline => break,
            written = send.write_chunk(Bytes::from_static(&PATTERN[..piece])) => written,
        };
        if written.is_err() {
            break;
        }
        sent += piece as u64;
        throttle.wait(piece).await;
    }
    sent
}

/// Keeps a transfer below the rate that was granted.
pub(super) struct Throttle {
    rate: Bitrate,
    clock: Clock,
    moved: DataSize,
}

/// What may be ahead of the rate before it waits.
const AHEAD: Micros = Micros::from_millis(50);

impl Throttle {
    pub(super) fn new(rate: Bitrate) -> Self {
        Self { rate, clock: Clock::start(), moved: DataSize::default() }
    }

    async fn wait(&mut self, bytes: usize) {
        let ahead = self.ahead(bytes);
        if ahead > Duration::ZERO {
            tokio::time::sleep(ahead).await;
        }
    }

    /// Counts what was moved; how long to wait before more is.
    pub(super) fn ahead(&mut self, bytes: usize) -> Duration {
        self.moved += DataSize::from_bytes(bytes as u64);
        let due = self.rate.time_for(self.moved).unwrap_or(Micros::MAX);
        let ahead = due - self.clock.now();
        if ahead > AHEAD { ahead.to_duration().min(Duration::from_secs(1)) } else { Duration::ZERO }
    }
}

/// Octets of a small linear congruential generator.
const fn pattern() -> [u8; PIECE] {
    let mut bytes = [0; PIECE];
    let mut state: u32 = 0x2545_f491;
    let mut at = 0;
    while at < PIECE {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes[at] = (state >> 24) as u8;
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_results_survive_the_wire() {
        let download =
            BulkRequest::Download { bytes: DataSize::from_bytes(u64::MAX), duration: Micros::from_secs(3) };
        for request in [BulkRequest::Upload, download] {
            assert_eq!(BulkRequest::from_bytes(request.to_bytes()), Some(request));
        }
        assert_eq!(BulkRequest::from_bytes([9; BulkRequest::LEN]), None);
        let result = BulkResult { received: DataSize::from_bytes(7), took: Micros::new(8) };
        assert_eq!(BulkResult::from_bytes(result.to_bytes()), result);
    }

    #[test]
    fn what_a_page_is_told_stands_in_order() {
        let size = DataSize::from_bytes;
        let told = LoadTold { at: Micros::new(1), stream: size(2), carried: size(u64::MAX), packets: 4 };
        let wire = told.to_bytes();
        let values: Vec<u64> =
            wire.chunks_exact(8).map(|eight| u64::from_be_bytes(eight.try_into().unwrap())).collect();
        assert_eq!(values, [1, 2, u64::MAX, 4]);
    }

    #[test]
    fn the_data_does_not_compress() {
        let mut counts = [0_u32; 256];
        PATTERN.iter().for_each(|octet| counts[usize::from(*octet)] += 1);
        assert!(counts.iter().all(|count| (128..512).contains(count)), "about as many of each octet");
    }
}
