//! Moves kernel packet stamps from the wall clock to the run's monotonic clock.
//!
//! Linux stamps packets on CLOCK_REALTIME. Slewing moves both clocks alike, so their offset stays the same to well below
//! a microsecond until somebody sets the wall clock. [`StampClock`] samples the offset around each batch; when it jumps,
//! the step is recorded, and a stamp that could belong to either side of it is discarded rather than guessed.

use greenroom_reports::trace::ClockStep;
use greenroom_reports::units::Micros;

use super::clock::{Clock, ClockReading};

/// Where readings of both clocks come from.
pub trait OffsetSource: Send {
    /// Reads both clocks at nearly the same point.
    fn read_both(&mut self) -> ClockReading;
}

impl OffsetSource for Clock {
    fn read_both(&mut self) -> ClockReading {
        Self::read_both(self)
    }
}

/// Offsets differing by more than this, beyond what the readings leave open, are a step.
const STEP_FLOOR: i64 = 100_000;
/// A reading at most this wide replaces the offset at once; a wider one (the thread was interrupted) only after [`STALE`].
const NARROW: i64 = 5_000;
const STALE: i64 = 1_000_000_000;
/// A packet that waited longer than this for its reader has no stamp worth converting.
const OLDEST: i64 = 10_000_000_000;

/// Converts wall-clock stamps to the monotonic clock and notices steps of the wall clock.
#[derive(Debug)]
pub struct StampClock<S> {
    source: S,
    offset: Offset,
    step: Option<Step>,
    steps: Vec<ClockStep>,
    now: i64,
}

#[derive(Debug, Clone, Copy)]
struct Offset {
    /// Wall clock minus monotonic clock.
    by: i64,
    width: i64,
    /// When it was read.
    at: i64,
    /// When a reading last agreed with it.
    confirmed: i64,
}

/// The latest step: somewhere in `after..=noticed`, the offset left `from`.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: i64,
    after: i64,
    noticed: i64,
}

impl<S: OffsetSource> StampClock<S> {
    /// Takes the first reading.
    pub fn new(mut source: S) -> Self {
        let reading = read(&mut source);
        Self { source, offset: Offset::of(reading), step: None, steps: Vec::new(), now: reading.monotonic }
    }

    /// Reads both clocks, notices a step, and returns the monotonic time. To be called after a batch of stamped packets
    /// was read and before its stamps are converted.
    pub fn refresh(&mut self) -> Micros {
        let reading = read(&mut self.source);
        self.now = reading.monotonic;
        let fresh = Offset::of(reading);
        let moved = fresh.by - self.offset.by;
        if moved.abs() > STEP_FLOOR + (fresh.width + self.offset.width) / 2 {
            self.step = Some(Step { from: self.offset.by, after: self.offset.confirmed, noticed: fresh.at });
            self.steps.push(ClockStep { at: Micros::from_nanos(fresh.at), by: Micros::from_nanos(moved) });
            self.offset = fresh;
        } else if fresh.width <= NARROW.max(self.offset.width) || fresh.at - self.offset.at > STALE {
            self.offset = fresh;
        } else {
            self.offset.confirmed = fresh.at;
        }
        Micros::from_nanos(self.now)
    }

    /// The monotonic point of a wall-clock stamp (nanoseconds since 1970) that was read before the last
    /// [`StampClock::refresh`]; `None` when a step leaves it open or the stamp cannot be right.
    pub fn monotonic(&self, stamp: i64) -> Option<Micros> {
        let point = stamp.saturating_sub(self.offset.by);
        // The two readings of the clocks may disagree by their width.
        let plausible = point <= self.now + self.offset.width + 1_000 && point >= self.now - OLDEST;
        let Some(step) = self.step.filter(|step| self.now - step.noticed < OLDEST) else {
            return plausible.then_some(Micros::from_nanos(point));
        };
        let before = stamp.saturating_sub(step.from);
        let before_step = before <= step.noticed && before >= step.noticed - OLDEST;
        let after_step = plausible && point >= step.after;
        match (before_step, after_step) {
            (true, false) => Some(Micros::from_nanos(before)),
            (false, true) => Some(Micros::from_nanos(point)),
            _ => None,
        }
    }

    /// The steps noticed so far.
    pub fn steps(&self) -> &[ClockStep] {
        &self.steps
    }
}

impl Offset {
    fn of(reading: ClockReading) -> Self {
        Self {
            by: reading.real - reading.monotonic,
            width: reading.width,
            at: reading.monotonic,
            confirmed: reading.monotonic,
        }
    }
}

/// The narrowest of up to three readings.
fn read(source: &mut impl OffsetSource) -> ClockReading {
    let mut best = source.read_both();
    for _ in 0..2 {
        if best.width <= NARROW {
            break;
        }
        let next = source.read_both();
        // The later one is always the right `now`; of two offsets the narrower is the better one.
        if next.width < best.width {
            best = next;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    const SECOND: i64 = 1_000_000_000;
    const EPOCH: i64 = 1_700_000_000 * SECOND;

    /// Clocks that the test sets.
    #[derive(Clone)]
    struct Injected(Arc<Mutex<ClockReading>>);

    impl Injected {
        fn new() -> Self {
            Self(Arc::new(Mutex::new(ClockReading { monotonic: 0, real: EPOCH, width: 100 })))
        }

        fn set(&self, monotonic: i64, real: i64, width: i64) {
            *self.0.lock().unwrap() = ClockReading { monotonic, real, width };
        }
    }

    impl OffsetSource for Injected {
        fn read_both(&mut self) -> ClockReading {
            *self.0.lock().unwrap()
        }
    }

    #[test]
    fn a_stamp_keeps_its_distance() {
        let injected = Injected::new();
        let mut clock = StampClock::new(injected.clone());
        injected.set(5_000_000, EPOCH + 5_000_000, 100);
        assert_eq!(clock.refresh(), Micros::new(5_000));
        assert_eq!(clock.monotonic(EPOCH + 4_200_000), Some(Micros::new(4_200)));
        assert!(clock.steps().is_empty());
    }

    #[test]
    fn a_step_is_recorded_and_stamps_on_both_sides_of_it_keep_their_place() {
        for by in [3_600 * SECOND, -3_600 * SECOND, 5 * SECOND] {
            let injected = Injected::new();
            let mut clock = StampClock::new(injected.clone());
            injected.set(SECOND, EPOCH + SECOND, 100);
            clock.refresh();
            injected.set(SECOND + 20_000_000, EPOCH + SECOND + 20_000_000 + by, 100);
            clock.refresh();
            let noticed = ClockStep { at: Micros::new(1_020_000), by: Micros::from_nanos(by) };
            assert_eq!(clock.steps(), [noticed]);
            // Stamped before the step, read after it.
            let old = EPOCH + SECOND + 1_000_000;
            // Stamped after the step.
            let new = EPOCH + SECOND + 19_000_000 + by;
            assert_eq!(clock.monotonic(new), Some(Micros::new(1_019_000)), "step by {by}");
            assert_eq!(clock.monotonic(old), Some(Micros::new(1_001_000)), "step by {by}");
        }
    }

    #[test]
    fn a_stamp_that_could_lie_on_either_side_of_a_step_is_discarded() {
        let injected = Injected::new();
        let mut clock = StampClock::new(injected.clone());
        injected.set(SECOND, EPOCH + SECOND, 100);
        clock.refresh();
        // The wall clock gains 2 ms somewhere within 20 ms.
        injected.set(SECOND + 20_000_000, EPOCH + SECOND + 22_000_000, 100);
        clock.refresh();
        assert_eq!(clock.steps().len(), 1);
        // Before the step it was at 1.010 s, after it at 1.008 s: nobody can tell.
        assert_eq!(clock.monotonic(EPOCH + SECOND + 10_000_000), None);
        // By the old offset it would lie after the step was noticed, so it is a new one.
        assert_eq!(clock.monotonic(EPOCH + SECOND + 21_500_000), Some(Micros::new(1_019_500)));
    }

    #[test]
    fn a_wide_reading_is_no_step() {
        let injected = Injected::new();
        let mut clock = StampClock::new(injected.clone());
        // Interrupted for 10 ms between the readings: the offset seems to move by up to 5 ms.
        injected.set(SECOND, EPOCH + SECOND + 4_900_000, 10_000_000);
        clock.refresh();
        assert!(clock.steps().is_empty());
        injected.set(SECOND + 1_000_000, EPOCH + SECOND + 1_000_000, 100);
        clock.refresh();
        assert!(clock.steps().is_empty());
        assert_eq!(clock.monotonic(EPOCH + SECOND + 500_000), Some(Micros::new(1_000_500)));
    }

    #[test]
    fn a_stamp_from_the_future_or_the_distant_past_is_none() {
        let injected = Injected::new();
        let mut clock = StampClock::new(injected.clone());
        injected.set(60 * SECOND, EPOCH + 60 * SECOND, 100);
        clock.refresh();
        assert_eq!(clock.monotonic(EPOCH + 61 * SECOND), None);
        assert_eq!(clock.monotonic(EPOCH + 49 * SECOND), None);
        assert_eq!(clock.monotonic(i64::MIN), None);
        assert_eq!(clock.monotonic(i64::MAX), None);
    }
}
