//! What a one-way stream sends and when: frames cut into packets, paced as real senders pace them.
//!
//! Video has 30 frames a second, the first of every 60 a key frame four times the size of the others; screen sharing has 5
//! large frames a second. Delta frames vary by ± 20 %. A frame's packets leave at 2.5 × the stream's rate, so that they
//! arrive in a burst, then silence, as they do in a call.

use greenroom_reports::trace::{Media, StreamId};
use greenroom_reports::units::{Bitrate, DataSize, Micros};

/// Greatest packet at the IP layer.
pub const MAX_PACKET: u16 = 1_200;
/// Least packet at the IP layer: IPv6 and UDP headers, a STAMP packet with its marks, and an empty padding TLV.
pub const MIN_PACKET: u16 = 48 + 148 + 4;

/// Frames from one key frame to the next.
const KEY_INTERVAL: u32 = 60;
/// How many times the size of a delta frame a key frame has.
const KEY_SIZE: u64 = 4;

/// A stream to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaPlan {
    /// Which.
    pub stream: StreamId,
    /// What it imitates.
    pub media: Media,
    /// Nominal rate at the IP layer, at least 1 kbit/s.
    pub rate: Bitrate,
    /// When its first frame is due.
    pub from: Micros,
    /// No frame is due at or after this.
    pub until: Micros,
    /// Makes frame sizes repeatable.
    pub seed: u64,
}

/// A packet that a stream is to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaPacket {
    /// When.
    pub at: Micros,
    /// Of which frame.
    pub frame: u32,
    /// Whether that is a key frame.
    pub key_frame: bool,
    /// Size at the IP layer.
    pub ip_bytes: u16,
}

/// Yields a stream's packets in order of time.
#[derive(Debug, Clone)]
pub struct MediaPacer {
    plan: MediaPlan,
    random: SplitMix,
    frame: u32,
    frame_at: Micros,
    left: u64,
    packet_at: Micros,
    stopped: bool,
}

impl MediaPacer {
    /// Begins with the first frame of `plan`.
    pub fn new(plan: MediaPlan) -> Self {
        let mut pacer = Self {
            plan,
            random: SplitMix(plan.seed),
            frame: 0,
            frame_at: plan.from,
            left: 0,
            packet_at: plan.from,
            stopped: plan.from >= plan.until,
        };
        pacer.left = pacer.frame_bytes();
        pacer
    }

    /// The plan it follows.
    pub const fn plan(&self) -> &MediaPlan {
        &self.plan
    }

    /// When the next packet is due; `None` at the end.
    pub fn next_at(&self) -> Option<Micros> {
        (!self.stopped).then_some(self.packet_at)
    }

    /// Takes the next packet.
    pub fn pop(&mut self) -> Option<MediaPacket> {
        let at = self.next_at()?;
        let packets = self.left.div_ceil(u64::from(MAX_PACKET)).max(1);
        let size = self.left.div_ceil(packets);
        let ip_bytes = u16::try_from(size).unwrap_or(MAX_PACKET).clamp(MIN_PACKET, MAX_PACKET);
        let packet = MediaPacket { at, frame: self.frame, key_frame: self.is_key(), ip_bytes };
        self.left = self.left.saturating_sub(u64::from(ip_bytes));
        if self.left > 0 {
            self.packet_at += self.gap(ip_bytes);
        } else {
            self.next_frame();
        }
        Some(packet)
    }

    /// How many packets are left at the present rate.
    pub fn count(mut self) -> u32 {
        let mut packets = 0;
        while self.pop().is_some() {
            packets += 1;
        }
        packets
    }

    /// Sends nothing more.
    pub const fn stop(&mut self) {
        self.stopped = true;
    }

    fn next_frame(&mut self) {
        self.frame = self.frame.saturating_add(1);
        self.frame_at =
            self.plan.from + Micros::new(i64::from(self.frame) * 1_000_000 / self.frames_per_sec());
        self.packet_at = self.frame_at.max(self.packet_at);
        self.left = self.frame_bytes();
        self.stopped = self.stopped || self.frame_at >= self.plan.until;
    }

    const fn frames_per_sec(&self) -> i64 {
        match self.plan.media {
            Media::Video => 30,
            Media::Screen => 5,
            Media::Audio => 50,
        }
    }

    fn is_key(&self) -> bool {
        self.plan.media == Media::Video && self.frame.is_multiple_of(KEY_INTERVAL)
    }

    fn frame_bytes(&mut self) -> u64 {
        let mean = self.plan.rate.bps() / 8 / self.frames_per_sec().unsigned_abs();
        match self.plan.media {
            Media::Video => {
                let cycle = u64::from(KEY_INTERVAL);
                let delta = mean * cycle / (cycle - 1 + KEY_SIZE);
                // 80 % to 120 %, 100 % on average.
                let varied = delta * (800 + self.random.below(401)) / 1_000;
                if self.is_key() { delta * KEY_SIZE } else { varied }
            }
            Media::Audio | Media::Screen => mean,
        }
    }

    /// Time that a packet takes at the pace within a frame.
    fn gap(&self, ip_bytes: u16) -> Micros {
        let pace = Bitrate::from_bps(self.plan.rate.bps().saturating_mul(5) / 2);
        pace.time_for(DataSize::from_bytes(u64::from(ip_bytes))).unwrap_or(Micros::from_secs(1))
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for frame sizes, the same on every platform and in every release.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (not 0). The bias is below `bound` / 2^64.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(media: Media, kbps: u64, secs: i64) -> Vec<MediaPacket> {
        let mut pacer = MediaPacer::new(MediaPlan {
            stream: StreamId(1),
            media,
            rate: Bitrate::from_kbps(kbps),
            from: Micros::from_millis(7),
            until: Micros::from_millis(7) + Micros::from_secs(secs),
            seed: 1,
        });
        std::iter::from_fn(|| pacer.pop()).collect()
    }

    #[test]
    fn a_stream_has_its_nominal_rate() {
        for (media, kbps) in
            [(Media::Video, 600), (Media::Video, 1_500), (Media::Video, 3_000), (Media::Screen, 600)]
        {
            // Ten seconds: five key frame cycles.
            let bytes: u64 = packets(media, kbps, 10).iter().map(|p| u64::from(p.ip_bytes)).sum();
            let nominal = kbps * 1_000 * 10 / 8;
            assert!(bytes.abs_diff(nominal) * 100 < nominal * 2, "{media:?} {kbps}: {bytes} of {nominal}");
        }
    }

    #[test]
    fn packets_come_in_order_within_bounds() {
        for media in [Media::Video, Media::Screen] {
            let packets = packets(media, 1_500, 5);
            assert!(packets.is_sorted_by_key(|p| p.at));
            assert!(packets.iter().all(|p| (MIN_PACKET..=MAX_PACKET).contains(&p.ip_bytes)));
        }
    }

    #[test]
    fn key_frames_are_four_times_as_large_and_every_two_seconds() {
        let packets = packets(Media::Video, 3_000, 4);
        let size = |frame| -> u64 {
            packets.iter().filter(|p| p.frame == frame).map(|p| u64::from(p.ip_bytes)).sum()
        };
        assert_eq!(packets.iter().filter(|p| p.key_frame).map(|p| p.frame).max(), Some(60));
        // Mean frame 12,500 B, delta 60/63 of it.
        assert_eq!(size(0), 11_904 * 4);
        assert!((9_523..=14_284).contains(&size(1)), "{}", size(1));
    }
}
