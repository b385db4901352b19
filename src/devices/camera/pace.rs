//! How regularly frames come: rate, spread, loss. Pure.

use greenroom_reports::metrics::percentile::Sorted;
use greenroom_reports::units::Micros;

use super::Frame;

/// Counts a run of frames.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    stamps: Vec<Micros>,
    arrivals: Vec<Micros>,
    sequence: Option<Sequence>,
    uncounted: bool,
    flagged: u64,
    delays: Vec<Micros>,
}

#[derive(Debug, Clone, Copy)]
struct Sequence {
    last: u32,
    lost: u64,
}

impl Pace {
    /// Counts one frame.
    pub fn add(&mut self, frame: &Frame) {
        self.arrivals.push(frame.at);
        if let Some(captured) = frame.captured {
            self.stamps.push(captured);
            self.delays.push(frame.at - captured);
        }
        self.flagged += u64::from(frame.flagged);
        self.count(frame.sequence);
    }

    /// Frames that came.
    pub fn frames(&self) -> u64 {
        self.arrivals.len() as u64
    }

    /// Frames that the driver marked as damaged.
    pub fn flagged(&self) -> u64 {
        self.flagged
    }

    /// Frames that the driver counted and did not hand over. `None`: it does not count.
    ///
    /// What was lost before the first and after the last frame that came is not known and not counted.
    pub fn lost(&self) -> Option<u64> {
        self.sequence.filter(|_| !self.uncounted).map(|sequence| sequence.lost)
    }

    /// When the first frame reached this program.
    pub fn first(&self) -> Option<Micros> {
        self.arrivals.first().copied()
    }

    /// Frames per second over the run: intervals by the time they took. `None` for fewer than two frames.
    pub fn fps(&self) -> Option<f64> {
        let times = self.times();
        let span = (*times.last()? - *times.first()?).as_secs();
        #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
        let intervals = times.len().saturating_sub(1) as f64;
        (span > 0.0 && intervals > 0.0).then(|| intervals / span)
    }

    /// The times between frames, ascending, in the driver's time where it has one for every frame.
    pub fn intervals(&self) -> Sorted {
        Sorted::new(self.times().windows(2).map(|pair| pair[1] - pair[0]).collect())
    }

    /// Standard deviation (divided by n) of the times between frames, ms. `None` for fewer than two intervals.
    pub fn spread_ms(&self) -> Option<f64> {
        let intervals: Vec<f64> = self.times().windows(2).map(|pair| (pair[1] - pair[0]).as_ms()).collect();
        if intervals.len() < 2 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
        let n = intervals.len() as f64;
        let mean = intervals.iter().sum::<f64>() / n;
        Some((intervals.iter().map(|interval| (interval - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    /// The times from capture to this program, ascending; empty when the driver has no time of capture.
    pub fn delays(&self) -> Sorted {
        Sorted::new(self.delays.clone())
    }

    /// Whether the times are the driver's own.
    pub fn is_stamped(&self) -> bool {
        !self.stamps.is_empty() && self.stamps.len() == self.arrivals.len()
    }

    fn times(&self) -> &[Micros] {
        if self.is_stamped() { &self.stamps } else { &self.arrivals }
    }

    fn count(&mut self, number: Option<u32>) {
        let Some(number) = number else {
            self.uncounted = true;
            return;
        };
        let lost = self.sequence.map_or(0, |Sequence { last, lost }| {
            // The count wraps. A step back by more than it goes forward is a restart, not billions of lost frames.
            let step = number.wrapping_sub(last);
            lost + if (1..=u32::MAX / 2).contains(&step) { u64::from(step - 1) } else { 0 }
        });
        self.sequence = Some(Sequence { last: number, lost });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(at_ms: i64, captured_ms: Option<i64>, sequence: Option<u32>) -> Frame {
        Frame {
            at: Micros::from_millis(at_ms),
            captured: captured_ms.map(Micros::from_millis),
            sequence,
            flagged: false,
            bytes: None,
        }
    }

    fn pace(frames: &[Frame]) -> Pace {
        let mut pace = Pace::default();
        frames.iter().for_each(|frame| pace.add(frame));
        pace
    }

    #[test]
    fn rate_and_spread_follow_the_drivers_time() {
        // Captured every 40 ms; handed over late and unevenly.
        let pace = pace(&[
            frame(50, Some(0), None),
            frame(51, Some(40), None),
            frame(200, Some(80), None),
            frame(201, Some(120), None),
        ]);
        assert_eq!(pace.fps(), Some(25.0));
        assert_eq!(pace.spread_ms(), Some(0.0));
        assert_eq!(pace.delays().max(), Some(Micros::from_millis(120)));
        assert!(pace.is_stamped());
        assert_eq!(pace.first(), Some(Micros::from_millis(50)));
    }

    #[test]
    fn without_a_stamp_on_every_frame_arrivals_count() {
        let pace = pace(&[frame(0, Some(0), None), frame(10, None, None), frame(30, Some(20), None)]);
        assert!(!pace.is_stamped());
        // Intervals 10 and 20 ms: mean 15, both 5 away from it.
        assert_eq!(pace.spread_ms(), Some(5.0));
        assert_eq!(pace.fps(), Some(2.0 / 0.030));
    }

    #[test]
    fn gaps_in_the_count_are_lost_frames_also_where_it_wraps() {
        let counted = |numbers: &[u32]| {
            pace(&numbers.iter().map(|&number| frame(0, None, Some(number))).collect::<Vec<_>>()).lost()
        };
        assert_eq!(counted(&[5, 6, 9, 10, 12]), Some(3));
        assert_eq!(counted(&[u32::MAX - 1, u32::MAX, 1, 2]), Some(1));
        assert_eq!(counted(&[7, 7, 8]), Some(0), "a repeated number is no loss");
        assert_eq!(counted(&[900, 0, 1, 2]), Some(0), "a count that starts again is no loss");
        assert_eq!(counted(&[]), None);
    }

    #[test]
    fn a_driver_that_does_not_count_loses_nothing_that_we_know_of() {
        assert_eq!(pace(&[frame(0, None, Some(1)), frame(1, None, None)]).lost(), None);
        assert_eq!(pace(&[frame(0, None, None)]).fps(), None);
    }
}
