//! All frames: what they show.

use std::hash::{DefaultHasher, Hasher as _};

use super::luma::{FrameStats, Luma, Range};
use crate::schema::{PictureFigures, Seen, Value, tidy};
use crate::signals::limits;
use crate::signals::sound::float;

/// Takes in frames and says what they show.
#[derive(Debug, Clone)]
pub struct Watch {
    range: Range,
    frames: u64,
    mean: f64,
    spread: f64,
    overexposed: f64,
    sharpness: f64,
    sharpness_of: u64,
    last: Option<u64>,
    run: u64,
    longest: u64,
}

impl Watch {
    /// Nothing was seen yet.
    pub fn new(range: Range) -> Self {
        Self {
            range,
            frames: 0,
            mean: 0.0,
            spread: 0.0,
            overexposed: 0.0,
            sharpness: 0.0,
            sharpness_of: 0,
            last: None,
            run: 0,
            longest: 0,
        }
    }

    /// Takes in a frame and says what it looks like. Damaged frames are for the [`Timeline`](super::Timeline) alone.
    pub fn push(&mut self, luma: &Luma<'_>) -> FrameStats {
        let stats = FrameStats::of(luma, self.range);
        let content = Some(content(luma));
        let is_same = content == self.last;
        self.last = content;
        self.push_stats(stats, is_same);
        stats
    }

    /// Takes in what a frame looks like, where somebody else looked at it, and whether it is the one before again.
    pub fn push_stats(&mut self, stats: FrameStats, is_same: bool) {
        self.frames += 1;
        self.mean += stats.mean;
        self.spread += stats.spread;
        self.overexposed += stats.overexposed;
        if let Some(sharpness) = stats.sharpness {
            self.sharpness += sharpness;
            self.sharpness_of += 1;
        }
        self.run = if is_same { self.run + 1 } else { 1 };
        self.longest = self.longest.max(self.run);
    }

    /// What the frames show, by [`PictureLimits`](crate::signals::PictureLimits); `None` without any.
    ///
    /// In this order: black, frozen, covered, dark, overexposed, blurred, a picture. Black frames are often identical, and are
    /// black; a frozen picture may be dark, and is frozen.
    pub fn seen(&self) -> Option<Seen> {
        let n = self.over(self.frames)?;
        let (mean, spread) = (self.mean / n, self.spread / n);
        let sharpness = self.over(self.sharpness_of).map(|n| self.sharpness / n);
        let limits = &limits().picture;
        let structure = limits.covered_structure_ratio.value * mean;
        let is_black = mean < limits.black_mean_ratio.value && spread < limits.black_spread_ratio.value;
        let is_covered = mean < limits.covered_mean_ratio.value
            && spread < limits.covered_spread_ratio.value.min(structure);
        let has_structure = spread >= limits.blurred_spread_ratio.value;
        Some(if is_black {
            Seen::Black
        } else if counted(self.longest) >= limits.frozen_frames.value {
            Seen::Frozen
        } else if is_covered {
            Seen::Covered
        } else if mean < limits.dark_mean_ratio.value {
            Seen::Dark
        } else if self.overexposed / n > limits.overexposed_ratio.value {
            Seen::Overexposed
        } else if has_structure && sharpness.is_some_and(|s| s < limits.blurred_sharpness.value) {
            Seen::Blurred
        } else {
            Seen::Picture
        })
    }

    /// The figures of a report.
    pub fn figures(&self) -> PictureFigures {
        let (Some(seen), Some(n)) = (self.seen(), self.over(self.frames)) else {
            return PictureFigures::not_tested("no frame came that could be looked at");
        };
        let of = |sum: f64| Value::estimate(tidy(sum / n), self.frames);
        PictureFigures {
            seen: Value::exact(seen),
            luma_mean_ratio: of(self.mean),
            luma_spread_ratio: of(self.spread),
            overexposed_ratio: of(self.overexposed),
            sharpness: match self.over(self.sharpness_of) {
                Some(n) => Value::estimate(tidy(self.sharpness / n), self.sharpness_of),
                None => Value::not_tested("there was no structure to be sharp"),
            },
            identical_run: Value::exact(self.longest),
        }
    }

    fn over(&self, count: u64) -> Option<f64> {
        (count > 0).then(|| counted(count))
    }
}

fn counted(frames: u64) -> f64 {
    float(usize::try_from(frames).unwrap_or(usize::MAX))
}

/// A number that stands for the visible bytes of a frame.
fn content(luma: &Luma<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut line = Vec::with_capacity(luma.width());
    for row in luma.rows() {
        line.clear();
        line.extend(row);
        hasher.write(&line);
    }
    hasher.finish()
}
