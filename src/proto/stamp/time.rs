//! Wire timestamps (RFC 8762 §4.2.1) and error estimates (RFC 4656 §4.1.2).
//!
//! A trace counts microseconds on its own end's monotonic clock; the wire wants wall time. A [`WallAnchor`] joins the two:
//! it is read once per session and never again, so that a step of the wall clock cannot bend a measurement.

use greenroom_reports::units::Micros;
use serde::{Deserialize, Serialize};

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_TO_UNIX: i64 = 2_208_988_800;
const MICROS_PER_SEC: i64 = 1_000_000;

/// What the wall clock said at [`Micros::ZERO`] of an end's monotonic clock: microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallAnchor(i64);

impl WallAnchor {
    /// Wraps microseconds since 1970.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// The anchor of a clock that starts `later` on this one.
    pub const fn shifted(self, later: Micros) -> Self {
        Self(self.0.saturating_add(later.get()))
    }
}

/// How a wire timestamp counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampFormat {
    /// 32 bits of seconds since 1900, 32 bits of fraction (RFC 5905).
    #[default]
    Ntp,
    /// 32 bits of seconds since 1970, 32 bits of nanoseconds (truncated PTPv2, IEEE 1588).
    ///
    /// The offset of TAI from UTC is left out: only differences on one clock are ever used.
    Ptp,
}

/// A timestamp as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Takes the wire's eight octets.
    pub const fn from_be_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// The wire's eight octets.
    pub const fn to_be_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Whether nobody filled it in.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Writes a point of a clock that `anchor` ties to the wall.
    ///
    /// Reading it back with the same anchor gives the same microsecond, also across the era change of 2036.
    pub fn encode(at: Micros, anchor: WallAnchor, format: TimestampFormat) -> Self {
        let unix = anchor.0.saturating_add(at.get());
        let (secs, micros) = (unix.div_euclid(MICROS_PER_SEC), unix.rem_euclid(MICROS_PER_SEC));
        let micros = u64::try_from(micros).expect("a Euclidean remainder is not negative");
        match format {
            TimestampFormat::Ntp => {
                // Rounded up, so that rounding down on the way back finds the same microsecond.
                let fraction = (micros << 32).div_ceil(1_000_000);
                Self(era_seconds(secs.saturating_add(NTP_TO_UNIX)) << 32 | fraction)
            }
            TimestampFormat::Ptp => Self(era_seconds(secs) << 32 | (micros * 1_000)),
        }
    }

    /// Reads a point on the clock that `anchor` ties to the wall.
    ///
    /// Of the points that share the wire's 32 bits of seconds it takes the one nearest to the anchor (within 68 years).
    /// Nanoseconds past a full second, which no honest peer sends, carry over.
    pub fn decode(self, anchor: WallAnchor, format: TimestampFormat) -> Micros {
        let [secs, low] = self.halves();
        let (epoch, micros) = match format {
            TimestampFormat::Ntp => (NTP_TO_UNIX, (u64::from(low) * 1_000_000) >> 32),
            TimestampFormat::Ptp => (0, u64::from(low) / 1_000),
        };
        let anchor_secs = anchor.0.div_euclid(MICROS_PER_SEC);
        let anchor_era =
            u32::try_from(era_seconds(anchor_secs.saturating_add(epoch))).expect("era_seconds keeps 32 bits");
        let ahead = secs.wrapping_sub(anchor_era).cast_signed();
        let micros = i64::try_from(micros).expect("below 2^32");
        Micros::new(i64::from(ahead) * MICROS_PER_SEC + micros - anchor.0.rem_euclid(MICROS_PER_SEC))
    }

    fn halves(self) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h] = self.0.to_be_bytes();
        [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
    }
}

/// The low 32 bits: seconds within their era.
fn era_seconds(secs: i64) -> u64 {
    u64::try_from(secs.rem_euclid(1 << 32)).expect("a Euclidean remainder is not negative")
}

/// How far a timestamp may be off, as its sender says: `multiplier × 2^(scale − 32)` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorEstimate {
    /// S: whether the clock is synchronized to UTC by an outside source.
    pub synchronized: bool,
    /// Z: the format of the timestamps beside it.
    pub format: TimestampFormat,
    /// Power of two, 0..=63.
    pub scale: u8,
    /// Never 0 from an honest peer (RFC 4656: 0 voids the timestamp).
    pub multiplier: u8,
}

impl ErrorEstimate {
    /// The smallest estimate that is not below `error`, of a clock that nobody synchronizes.
    pub fn free_running(error: Micros, format: TimestampFormat) -> Self {
        let micros = u128::try_from(error.get()).unwrap_or(0);
        let units = (micros << 32).div_ceil(1_000_000).max(1);
        let mut scale = 0u8;
        while scale < 63 && units.div_ceil(1 << scale) > 255 {
            scale += 1;
        }
        let multiplier = u8::try_from(units.div_ceil(1 << scale)).unwrap_or(u8::MAX);
        Self { synchronized: false, format, scale, multiplier }
    }

    /// The error in microseconds, rounded up and saturating; `None` when the sender voids the timestamp (multiplier 0).
    pub fn error(self) -> Option<Micros> {
        if self.multiplier == 0 {
            return None;
        }
        let micros = ((u128::from(self.multiplier) << self.scale.min(63)) * 1_000_000).div_ceil(1 << 32);
        Some(Micros::new(i64::try_from(micros).unwrap_or(i64::MAX)))
    }

    /// Takes the wire's two octets.
    pub const fn from_be_bytes(bytes: [u8; 2]) -> Self {
        let [high, multiplier] = bytes;
        Self {
            synchronized: high & 0x80 != 0,
            format: if high & 0x40 != 0 { TimestampFormat::Ptp } else { TimestampFormat::Ntp },
            scale: high & 0x3f,
            multiplier,
        }
    }

    /// The wire's two octets.
    pub const fn to_be_bytes(self) -> [u8; 2] {
        let sync = if self.synchronized { 0x80 } else { 0 };
        let format = match self.format {
            TimestampFormat::Ntp => 0,
            TimestampFormat::Ptp => 0x40,
        };
        [sync | format | (self.scale & 0x3f), self.multiplier]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ntp_vectors() {
        // 1970-01-01T00:00:00.5Z is 2208988800.5 s after 1900.
        let half = Timestamp::encode(Micros::new(500_000), WallAnchor::default(), TimestampFormat::Ntp);
        assert_eq!(half.to_be_bytes(), [0x83, 0xaa, 0x7e, 0x80, 0x80, 0, 0, 0]);
        // One second before the NTP era ends (2036-02-07T06:28:15Z), and one after.
        let rollover = WallAnchor::from_unix_micros(2_085_978_495_000_000);
        let before = Timestamp::encode(Micros::ZERO, rollover, TimestampFormat::Ntp);
        assert_eq!(before.to_be_bytes(), [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let after = Timestamp::encode(Micros::from_secs(2), rollover, TimestampFormat::Ntp);
        assert_eq!(after.to_be_bytes(), [0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(after.decode(rollover, TimestampFormat::Ntp), Micros::from_secs(2));
    }

    #[test]
    fn ptp_vector() {
        let at = Timestamp::encode(Micros::new(1_000_001), WallAnchor::default(), TimestampFormat::Ptp);
        assert_eq!(at.to_be_bytes(), [0, 0, 0, 1, 0, 0, 0x03, 0xe8]);
    }

    #[test]
    fn error_estimate_vectors() {
        // RFC 4656: Multiplier × 2^(-32) × 2^Scale. 1 ms = 4294967.296 units = 132 × 2^15 at the least.
        let estimate = ErrorEstimate::free_running(Micros::from_millis(1), TimestampFormat::Ptp);
        assert_eq!((estimate.scale, estimate.multiplier), (15, 132));
        assert_eq!(estimate.to_be_bytes(), [0x40 | 15, 132]);
        assert_eq!(ErrorEstimate::from_be_bytes([0x80, 0]).error(), None);
        assert_eq!(ErrorEstimate::from_be_bytes([0x80 | 32, 1]).error(), Some(Micros::from_secs(1)));
    }

    proptest! {
        #[test]
        fn a_point_survives_the_wire(
            at in -60_000_000_000i64..4_000_000_000_000,
            anchor in 0i64..4_000_000_000_000_000,
            ptp in any::<bool>(),
        ) {
            let format = if ptp { TimestampFormat::Ptp } else { TimestampFormat::Ntp };
            let anchor = WallAnchor::from_unix_micros(anchor);
            let wire = Timestamp::encode(Micros::new(at), anchor, format);
            prop_assert_eq!(wire.decode(anchor, format), Micros::new(at));
        }

        #[test]
        fn any_octets_decode(bytes in any::<[u8; 8]>(), anchor in any::<i64>(), ptp in any::<bool>()) {
            let format = if ptp { TimestampFormat::Ptp } else { TimestampFormat::Ntp };
            let _ = Timestamp::from_be_bytes(bytes).decode(WallAnchor::from_unix_micros(anchor), format);
        }

        #[test]
        fn an_estimate_is_never_below_the_error(error in 0i64..10_000_000_000) {
            let estimate = ErrorEstimate::free_running(Micros::new(error), TimestampFormat::Ntp);
            let stated = estimate.error().map(Micros::get);
            prop_assert!(stated >= Some(error));
            // At most 1/128 above, once there is more than one unit's worth.
            prop_assert!(stated <= Some(error + error / 100 + 2));
            prop_assert_eq!(ErrorEstimate::from_be_bytes(estimate.to_be_bytes()), estimate);
        }
    }
}
