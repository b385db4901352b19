//! When frames came.

use crate::confidence::proportion::wilson;
use crate::metrics::percentile::{Quantile, Sorted};
use crate::schema::{Distribution, Estimate, FrameFigures, Value, tidy};
use crate::signals::limits;
use crate::signals::sound::float;
use crate::units::Micros;

/// Confidence of the intervals.
const LEVEL: f64 = 0.95;

/// Takes in when each frame came and which number the camera gave it.
#[derive(Debug, Clone)]
pub struct Timeline {
    started: Micros,
    claimed_fps: Option<f64>,
    at: Vec<Micros>,
    last_number: Option<u32>,
    numbered: u64,
    lost: u64,
    looked_at: u64,
    damaged: u64,
}

impl Timeline {
    /// The camera was started at `started` and claims so many frames per second.
    pub fn new(started: Micros, claimed_fps: Option<f64>) -> Self {
        let claimed_fps = claimed_fps.filter(|fps| fps.is_finite() && *fps > 0.0);
        Self {
            started,
            claimed_fps,
            at: Vec::new(),
            last_number: None,
            numbered: 0,
            lost: 0,
            looked_at: 0,
            damaged: 0,
        }
    }

    /// A frame came at `at` (on any monotonic clock, that of `started`), with the camera's own number where it has one, whole
    /// or damaged; `None` when nobody looked at it.
    pub fn push(&mut self, at: Micros, number: Option<u32>, damaged: Option<bool>) {
        // Frames come in order; a stamp that goes back is held.
        self.at.push(self.at.last().map_or(at, |last| at.max(*last)));
        self.looked_at += u64::from(damaged.is_some());
        self.damaged += u64::from(damaged == Some(true));
        let Some(number) = number else { return };
        self.numbered += 1;
        if let Some(last) = self.last_number.replace(number) {
            let missing = number.wrapping_sub(last).wrapping_sub(1);
            if f64::from(missing) <= limits().frames.most_lost.value {
                self.lost += u64::from(missing);
            }
        }
    }

    /// Frames that came.
    pub fn frames(&self) -> usize {
        self.at.len()
    }

    /// When the last frame came.
    pub fn last(&self) -> Option<Micros> {
        self.at.last().copied()
    }

    /// The figures of a report, as of `until`: the wait that goes on then counts as one that ended.
    pub fn figures(&self, until: Micros) -> FrameFigures {
        let frames = u64::try_from(self.at.len()).unwrap_or(u64::MAX);
        let none = |reason: &str| FrameFigures {
            count: Value::exact(frames),
            longest_wait_ms: Value::exact((until - self.started).as_ms().max(0.0)),
            ..FrameFigures::not_tested(reason)
        };
        let (Some(first), Some(last)) = (self.at.first(), self.at.last()) else {
            return none("no frame came");
        };
        let first_ms = Value::exact((*first - self.started).as_ms());
        let intervals: Vec<Micros> = self.at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if intervals.is_empty() || *last == *first {
            return FrameFigures {
                first_ms,
                damaged_ratio: self.damaged_ratio(),
                ..none("a single frame came")
            };
        }
        let n = float(intervals.len());
        let mean = (*last - *first).as_secs() / n;
        let variance =
            intervals.iter().map(|i| (i.as_secs() - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        let spread = variance.sqrt();
        // What the mean interval leaves open; two intervals and less leave everything open.
        let doubt = (intervals.len() > 2).then(|| 1.96 * spread / n.sqrt());
        let rate = |scale: f64| {
            Value::Measured(Estimate {
                value: tidy(scale / mean),
                low: doubt.map(|doubt| tidy(scale / (mean + doubt))),
                high: doubt.filter(|doubt| *doubt < mean).map(|doubt| tidy(scale / (mean - doubt))),
                n: frames,
            })
        };
        let sorted: Sorted = intervals.iter().copied().collect();
        let usual = self
            .claimed_fps
            .map(|fps| 1.0 / fps)
            .or_else(|| sorted.at(Quantile::P50).map(Micros::as_secs))
            .unwrap_or(mean);
        let waits = || intervals.iter().copied().chain(std::iter::once(until - *last)).map(Micros::as_secs);
        let stalls = waits().filter(|wait| *wait > limits().frames.stall_intervals.value * usual).count();
        FrameFigures {
            count: Value::exact(frames),
            rate_fps: rate(1.0),
            rate_ratio: match self.claimed_fps {
                Some(fps) => rate(1.0 / fps),
                None => Value::not_tested("the camera claims no rate"),
            },
            interval_ms: match Distribution::of(&sorted) {
                Some(distribution) => Value::Measured(distribution),
                None => Value::not_tested("a single frame came"),
            },
            interval_spread_ratio: Value::estimate(tidy(spread / mean), frames - 1),
            lost_ratio: match self.numbered {
                0 | 1 => Value::not_tested("the camera does not number its frames"),
                numbered => share(self.lost, self.lost + numbered),
            },
            damaged_ratio: self.damaged_ratio(),
            first_ms,
            stalls: Value::exact(u64::try_from(stalls).unwrap_or(u64::MAX)),
            longest_wait_ms: Value::exact(tidy(waits().fold(0.0, f64::max) * 1e3)),
        }
    }

    fn damaged_ratio(&self) -> Value<Estimate> {
        match self.looked_at {
            0 => Value::not_tested("no frame was looked at"),
            looked_at => share(self.damaged, looked_at),
        }
    }
}

fn share(part: u64, whole: u64) -> Value<Estimate> {
    let Some(ratio) = crate::units::Ratio::of(part, whole) else { return Value::not_tested("no frame came") };
    let bounds = wilson(part, whole, LEVEL);
    Value::Measured(Estimate {
        value: tidy(ratio.get()),
        low: Some(tidy(bounds.low)),
        high: Some(tidy(bounds.high)),
        n: whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(claimed: Option<f64>, frames: impl IntoIterator<Item = (i64, Option<u32>)>) -> Timeline {
        let mut timeline = Timeline::new(Micros::ZERO, claimed);
        frames
            .into_iter()
            .for_each(|(ms, number)| timeline.push(Micros::from_millis(ms), number, Some(false)));
        timeline
    }

    fn value(of: &Value<Estimate>) -> f64 {
        of.measured().expect("measured").value
    }

    /// 61 frames, 40 ms apart, from a camera that claims 30: 25 frames per second, five sixths of the claim.
    #[test]
    fn the_rate_is_what_came() {
        let even = timeline(Some(30.0), (0..=60).map(|k| (400 + k * 40, None)));
        let figures = even.figures(Micros::from_millis(2_810));
        assert_eq!(value(&figures.rate_fps), 25.0);
        assert!((value(&figures.rate_ratio) - 5.0 / 6.0).abs() < 1e-6);
        assert_eq!(figures.first_ms.fact(), Some(&400.0));
        assert_eq!(figures.interval_spread_ratio.measured().map(|e| e.value), Some(0.0));
        assert_eq!((figures.stalls.fact(), figures.longest_wait_ms.fact()), (Some(&0), Some(&40.0)));
        assert!(figures.lost_ratio.measured().is_none(), "it has no numbers");
    }

    #[test]
    fn gaps_in_the_numbers_are_losses_and_jumps_are_not() {
        // 0 1 _ 3 4 _ _ 7, around the end of the numbers, then a camera that begins anew.
        let numbers = [0, 1, 3, 4, 7].map(|n: u32| n.wrapping_sub(2));
        let lossy = timeline(
            None,
            numbers.iter().enumerate().map(|(k, n)| (i64::try_from(k).unwrap_or(0) * 33, Some(*n))),
        );
        let lost = *lossy.figures(Micros::from_millis(140)).lost_ratio.measured().expect("numbered");
        assert_eq!((lost.value, lost.n), (0.375, 8));
        let restarted = timeline(None, [(0, Some(9_000)), (33, Some(0)), (66, Some(1)), (99, Some(1))]);
        assert_eq!(value(&restarted.figures(Micros::from_millis(100)).lost_ratio), 0.0);
    }

    #[test]
    fn a_wait_that_goes_on_is_a_stall() {
        let stalled = timeline(Some(30.0), (0..30).map(|k| (k * 33, None)));
        let figures = stalled.figures(Micros::from_secs(5));
        assert_eq!((figures.stalls.fact(), figures.longest_wait_ms.fact()), (Some(&1), Some(&4_043.0)));
        let never = timeline(Some(30.0), []).figures(Micros::from_secs(3));
        assert_eq!((never.count.fact(), never.longest_wait_ms.fact()), (Some(&0), Some(&3_000.0)));
        assert!(never.first_ms.measured().is_none());
        let single = timeline(Some(30.0), [(200, Some(1))]).figures(Micros::from_secs(3));
        assert_eq!(single.first_ms.fact(), Some(&200.0));
        assert!(single.rate_fps.measured().is_none());
    }

    #[test]
    fn frames_that_nobody_looked_at_are_neither_whole_nor_damaged() {
        let mut timeline = Timeline::new(Micros::ZERO, Some(30.0));
        let damaged = |timeline: &Timeline| timeline.figures(Micros::from_secs(1)).damaged_ratio;
        (0..3).for_each(|k| timeline.push(Micros::from_millis(k * 33), None, None));
        assert!(damaged(&timeline).measured().is_none());
        timeline.push(Micros::from_millis(99), None, Some(true));
        (4..7).for_each(|k| timeline.push(Micros::from_millis(k * 33), None, Some(false)));
        let share = *damaged(&timeline).measured().expect("four were looked at");
        assert_eq!((share.value, share.n), (0.25, 4));
    }

    #[test]
    fn odd_times_and_claims_make_no_nonsense() {
        for claimed in [Some(f64::NAN), Some(0.0), Some(-30.0), None] {
            let odd = timeline(claimed, [(50, None), (20, None), (20, None), (90, None)]);
            let figures = odd.figures(Micros::ZERO);
            assert!(figures.rate_ratio.measured().is_none());
            assert!(value(&figures.rate_fps) > 0.0);
        }
        let same = timeline(Some(30.0), [(50, None), (50, None)]).figures(Micros::from_secs(1));
        assert!(same.rate_fps.measured().is_none());
    }
}
