//! Which sequence numbers have been seen, and how often: tells a first copy from a duplicate and a duplicate from a replay.

use greenroom_reports::units::{Bitrate, Micros};
use std::net::{IpAddr, SocketAddr};

/// Numbers behind the newest that are remembered.
const WINDOW: u32 = 4_096;
/// Copies that a network may make of one packet; more are a replay.
const MAX_COPIES: u8 = 8;

/// What an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copy {
    /// The first with its number.
    First,
    /// The network made it twice.
    Again,
    /// More often than a network would, or too far behind to be remembered.
    Replay,
}

/// Counts copies of the last 4,096 numbers of one stream. Never allocates after it was made.
#[derive(Debug, Clone)]
pub(crate) struct CopyWindow {
    newest: Option<u32>,
    counts: Box<[u8]>,
}

impl CopyWindow {
    pub(crate) fn new() -> Self {
        Self { newest: None, counts: vec![0; WINDOW as usize].into_boxed_slice() }
    }

    /// Takes an arrival.
    pub(crate) fn note(&mut self, seq: u32) -> Copy {
        match self.newest {
            None => {
                self.newest = Some(seq);
            }
            Some(newest) if seq > newest => {
                let step = (seq - newest).min(WINDOW);
                for back in 0..step {
                    *self.count(seq - back) = 0;
                }
                self.newest = Some(seq);
            }
            Some(newest) if newest - seq >= WINDOW => return Copy::Replay,
            Some(_) => {}
        }
        let count = self.count(seq);
        *count = count.saturating_add(1);
        match *count {
            1 => Copy::First,
            2..=MAX_COPIES => Copy::Again,
            _ => Copy::Replay,
        }
    }

    fn count(&mut self, seq: u32) -> &mut u8 {
        &mut self.counts[(seq % WINDOW) as usize]
    }
}

/// Octets of the IP and UDP headers before a payload to or from `addr`, options left out.
pub(crate) fn header_bytes(addr: SocketAddr) -> u16 {
    match addr.ip() {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_none() => 48,
        _ => 28,
    }
}

/// Size at the IP layer of a UDP payload.
pub(crate) fn ip_bytes(addr: SocketAddr, payload: usize) -> u16 {
    u16::try_from(payload).unwrap_or(u16::MAX).saturating_add(header_bytes(addr))
}

/// Lets through a rate of packets with bursts up to what the rate makes in some time, counted in whole microseconds.
#[derive(Debug, Clone)]
pub(crate) struct PacketBucket {
    per_packet: Micros,
    burst: Micros,
    /// When the bucket is full again.
    full_at: Micros,
}

impl PacketBucket {
    /// `pps` of 0 lets nothing through.
    pub(crate) fn new(pps: u32, burst: Micros) -> Self {
        let per_packet = if pps == 0 { Micros::MAX } else { Micros::new(1_000_000 / i64::from(pps)) };
        Self { per_packet, burst: burst.max(per_packet), full_at: Micros::new(i64::MIN / 2) }
    }

    /// Whether a packet may pass now.
    pub(crate) fn take(&mut self, now: Micros) -> bool {
        if self.per_packet == Micros::MAX {
            return false;
        }
        let after = self.full_at.max(now) + self.per_packet;
        let passes = after - now <= self.burst;
        if passes {
            self.full_at = after;
        }
        passes
    }
}

/// Lets through a bit rate with bursts up to what the rate makes in some time, counted in whole microseconds.
#[derive(Debug, Clone)]
pub(crate) struct BitBucket {
    rate: Bitrate,
    burst: Micros,
    /// When the bucket is full again.
    full_at: Micros,
}

impl BitBucket {
    /// A rate of 0 lets nothing through.
    pub(crate) fn new(rate: Bitrate, burst: Micros) -> Self {
        Self { rate, burst, full_at: Micros::new(i64::MIN / 2) }
    }

    /// Whether a packet of so many octets may pass now.
    pub(crate) fn take(&mut self, now: Micros, bytes: u16) -> bool {
        let Some(lasts) = (u64::from(bytes) * 8_000_000).checked_div(self.rate.bps()) else { return false };
        let after = self.full_at.max(now) + Micros::new(i64::try_from(lasts).unwrap_or(i64::MAX / 4));
        let passes = after - now <= self.burst;
        if passes {
            self.full_at = after;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_told_apart() {
        let mut window = CopyWindow::new();
        assert_eq!(window.note(5), Copy::First);
        assert_eq!(window.note(5), Copy::Again);
        assert_eq!(window.note(3), Copy::First);
        assert_eq!(window.note(5 + WINDOW), Copy::First);
        assert_eq!(window.note(5), Copy::Replay);
        assert_eq!(window.note(6), Copy::First);
        assert_eq!(window.note(u32::MAX), Copy::First);
        for _ in 1..MAX_COPIES {
            assert_eq!(window.note(u32::MAX), Copy::Again);
        }
        assert_eq!(window.note(u32::MAX), Copy::Replay);
    }

    #[test]
    fn a_bucket_lets_its_rate_through() {
        let mut bucket = PacketBucket::new(1_000, Micros::from_millis(100));
        let passed = (0..100_000).filter(|n| bucket.take(Micros::new(n * 100))).count();
        // Ten seconds at 10,000 packets a second: 1,000 pass each second, and the burst of 100 once.
        assert!((10_000..=10_100).contains(&passed), "{passed}");
        assert!(!PacketBucket::new(0, Micros::from_secs(1)).take(Micros::ZERO));
        let mut bits = BitBucket::new(Bitrate::from_kbps(800), Micros::from_millis(500));
        let passed = (0..100_000).filter(|n| bits.take(Micros::new(n * 100), 1_000)).count();
        // Ten seconds at 80 Mbit/s: 100 packets of 8 kbit pass each second, and the burst of 50 once.
        assert!((1_040..=1_051).contains(&passed), "{passed}");
        assert!(!BitBucket::new(Bitrate::from_bps(0), Micros::from_secs(1)).take(Micros::ZERO, 1));
    }
}
