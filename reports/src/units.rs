//! Units are types: a microsecond cannot be added to a byte, nor bits mistaken for bytes.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Microseconds: a duration, or a point on the clock that its context names.
///
/// A trace holds points on the monotonic clock of the end that took them, counted from that end's own anchor. Points
/// of two ends differ by an unknown offset: subtracting one from the other gives a delay only up to that constant.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Micros(i64);

impl Micros {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The latest point that can be told.
    pub const MAX: Self = Self(i64::MAX);

    /// Wraps a count of microseconds.
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// Converts whole milliseconds, saturating.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Converts whole seconds, saturating.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Converts nanoseconds, rounding to the nearest microsecond.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos.saturating_add(500).div_euclid(1_000))
    }

    /// Converts fractional milliseconds, rounding to the nearest microsecond; `None` when not finite or out of range.
    pub fn from_ms_f64(ms: f64) -> Option<Self> {
        let micros = (ms * 1_000.0).round();
        // 2^53 microseconds are 285 years: beyond them a float no longer counts single microseconds.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "checked against the range in which f64 is exact"
        )]
        (micros.is_finite() && micros.abs() < 9.0e15).then_some(Self(micros as i64))
    }

    /// The count of microseconds.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The same in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "exact below 285 years")]
    pub fn as_ms(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// The same in seconds.
    #[expect(clippy::cast_precision_loss, reason = "exact below 285 years")]
    pub fn as_secs(self) -> f64 {
        self.0 as f64 / 1_000_000.0
    }

    /// Distance from zero, saturating.
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// Converts a standard duration, saturating.
    pub fn from_duration(duration: std::time::Duration) -> Self {
        Self(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }

    /// Converts to a standard duration; a negative one becomes zero.
    pub fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0).unwrap_or(0))
    }
}

impl Add for Micros {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Micros {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Micros {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Micros {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Micros {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl std::ops::Div<i64> for Micros {
    type Output = Self;
    /// Rounds toward zero; division by zero gives zero.
    fn div(self, by: i64) -> Self {
        Self(self.0.checked_div(by).unwrap_or(0))
    }
}

impl Mul<i64> for Micros {
    type Output = Self;
    fn mul(self, times: i64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Sum for Micros {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ms", self.as_ms())
    }
}

/// Bits per second at the IP layer (header and payload) unless the context says otherwise.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Wraps a count of bits per second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// Converts kilobits per second (1000 bits), saturating.
    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps.saturating_mul(1_000))
    }

    /// Bits per second.
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// Megabits per second (10^6 bits).
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn mbps(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The rate at which `size` passes in `time`; `None` when no time passed.
    pub fn of(size: DataSize, time: Micros) -> Option<Self> {
        let micros = u128::try_from(time.get()).ok().filter(|t| *t > 0)?;
        let bps = u128::from(size.bytes()) * 8_000_000 / micros;
        u64::try_from(bps).ok().map(Self)
    }

    /// The time that `size` takes at this rate, rounded up; `None` at rate zero.
    pub fn time_for(self, size: DataSize) -> Option<Micros> {
        if self.0 == 0 {
            return None;
        }
        let micros = (u128::from(size.bytes()) * 8_000_000).div_ceil(u128::from(self.0));
        i64::try_from(micros).ok().map(Micros::new)
    }

    /// The data that passes in `time`.
    pub fn in_time(self, time: Micros) -> DataSize {
        let micros = u128::try_from(time.get()).unwrap_or(0);
        let bytes = u128::from(self.0) * micros / 8_000_000;
        DataSize::from_bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl Add for Bitrate {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Bitrate {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self(0), Add::add)
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1_000_000 {
            write!(f, "{:.1} Mbit/s", self.mbps())
        } else {
            write!(f, "{} kbit/s", self.0 / 1_000)
        }
    }
}

/// Bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct DataSize(u64);

impl DataSize {
    /// Wraps a count of bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Add for DataSize {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for DataSize {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for DataSize {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self(0), Add::add)
    }
}

impl fmt::Display for DataSize {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // What rounds to 1000.0 of a unit has the next one.
            b if b >= 999_950_000 => write!(f, "{:.1} GB", b as f64 / 1e9),
            b if b >= 999_950 => write!(f, "{:.1} MB", b as f64 / 1e6),
            b if b >= 1_000 => write!(f, "{:.1} kB", b as f64 / 1e3),
            b => write!(f, "{b} B"),
        }
    }
}

/// A share between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Ratio(f64);

impl Ratio {
    /// Nothing of it.
    pub const ZERO: Self = Self(0.0);

    /// Wraps a share; `None` outside 0..=1 and for NaN.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// The share that `part` is of `whole`; `None` when the whole is zero or smaller than the part.
    #[expect(clippy::cast_precision_loss, reason = "counts of packets stay far below 2^53")]
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        (whole > 0 && part <= whole).then(|| Self(part as f64 / whole as f64))
    }

    /// The share itself.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The share in percent.
    pub fn percent(self) -> f64 {
        self.0 * 100.0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} %", self.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_times_time_is_size() {
        let rate = Bitrate::from_kbps(1_500);
        assert_eq!(rate.in_time(Micros::from_secs(2)), DataSize::from_bytes(375_000));
        assert_eq!(rate.time_for(DataSize::from_bytes(375_000)), Some(Micros::from_secs(2)));
        assert_eq!(Bitrate::of(DataSize::from_bytes(375_000), Micros::from_secs(2)), Some(rate));
    }

    #[test]
    fn sizes_change_unit() {
        for (bytes, shown) in [
            (999, "999 B"),
            (12_400, "12.4 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (999_949_999, "999.9 MB"),
            (999_950_000, "1.0 GB"),
            (25_276_500_000, "25.3 GB"),
        ] {
            assert_eq!(DataSize::from_bytes(bytes).to_string(), shown);
        }
    }

    #[test]
    fn missing_is_none() {
        assert_eq!(Bitrate::of(DataSize::from_bytes(1), Micros::ZERO), None);
        assert_eq!(Bitrate::from_bps(0).time_for(DataSize::from_bytes(1)), None);
        assert_eq!(Ratio::of(0, 0), None);
        assert_eq!(Ratio::of(2, 1), None);
        assert_eq!(Micros::from_ms_f64(f64::NAN), None);
    }

    #[test]
    fn nanoseconds_round_to_the_nearest() {
        assert_eq!(Micros::from_nanos(1_499), Micros::new(1));
        assert_eq!(Micros::from_nanos(1_500), Micros::new(2));
        assert_eq!(Micros::from_nanos(-1_501), Micros::new(-2));
    }
}
