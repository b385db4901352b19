//! The clocks of this machine: the one file that reads them.
//!
//! Differences are taken on the monotonic clock, counted from an anchor that a run sets once ([`Clock::start`]). The wall
//! clock only labels. Kernel packet stamps come on the wall clock and are moved over by [`super::stamps::StampClock`].

use std::time::{Duration, Instant, SystemTime};

use greenroom_reports::units::Micros;
use jiff::Timestamp;
use uuid::Uuid;

/// A run's clock: monotonic points since the anchor, and wall time for labels. Copies share the anchor.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Instant,
    started: Timestamp,
}

impl Clock {
    /// Sets the anchor: the point from which this run counts.
    #[expect(clippy::disallowed_methods, reason = "the one place where clocks are read")]
    pub fn start() -> Self {
        Self { anchor: Instant::now(), started: Timestamp::now() }
    }

    /// The monotonic time since the anchor.
    pub fn now(&self) -> Micros {
        Micros::from_nanos(self.now_nanos())
    }

    /// The same in nanoseconds.
    #[expect(clippy::disallowed_methods, reason = "the one place where clocks are read")]
    pub fn now_nanos(&self) -> i64 {
        nanos(Instant::now().saturating_duration_since(self.anchor))
    }

    /// Wall time at the anchor: the label of the run.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Wall time now. Never subtract two of these.
    #[expect(clippy::disallowed_methods, reason = "the one place where clocks are read")]
    pub fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    /// The point `at` as a standard instant, for libraries that wait for one.
    pub fn instant(&self, at: Micros) -> Instant {
        let after = at.to_duration();
        self.anchor.checked_add(after).unwrap_or_else(|| {
            // Further away than the platform can count: a year is as good as never.
            self.anchor + Duration::from_secs(365 * 86_400)
        })
    }

    /// Mints a UUIDv7 (RFC 9562 section 5.7) from the wall clock and the system's randomness.
    pub fn new_id(&self) -> Uuid {
        let now = self.wall();
        let secs = u64::try_from(now.as_second()).unwrap_or(0);
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, secs, nanos))
    }

    /// Reads both clocks at nearly the same point: the wall clock between two readings of the monotonic one.
    #[expect(clippy::disallowed_methods, reason = "the one place where clocks are read")]
    pub fn read_both(&self) -> ClockReading {
        let before = self.now_nanos();
        let wall = SystemTime::now();
        let after = self.now_nanos();
        let real = match wall.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => nanos(since),
            Err(before_epoch) => -nanos(before_epoch.duration()),
        };
        ClockReading { monotonic: before + (after - before) / 2, real, width: after - before }
    }
}

/// Both clocks at nearly the same point. All in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// The monotonic clock since the anchor.
    pub monotonic: i64,
    /// The wall clock since 1970.
    pub real: i64,
    /// How far apart in time the two can have been read.
    pub width: i64,
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_never_goes_back() {
        let clock = Clock::start();
        let points: Vec<i64> = (0..1_000).map(|_| clock.now_nanos()).collect();
        assert!(points.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn identifiers_are_version_7_and_carry_the_wall_time() {
        let clock = Clock::start();
        let before = clock.wall().as_millisecond();
        let id = clock.new_id();
        let after = clock.wall().as_millisecond();
        assert_eq!(id.get_version_num(), 7);
        // RFC 9562: the first 48 bits are milliseconds since 1970.
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&id.as_bytes()[..6]);
        let millis = i64::from_be_bytes(millis);
        assert!((before..=after).contains(&millis), "{before} <= {millis} <= {after}");
        assert_ne!(id, clock.new_id());
    }

    #[test]
    fn a_reading_lies_between_its_neighbors() {
        let clock = Clock::start();
        let before = clock.now_nanos();
        let reading = clock.read_both();
        let after = clock.now_nanos();
        assert!(before <= reading.monotonic && reading.monotonic <= after);
        assert!(reading.width >= 0 && reading.width <= after - before);
    }
}
