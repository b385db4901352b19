//! All frames: what they show.

use std::hash::{DefaultHasher, Hasher as _};

use super::luma::{FrameStats, Luma, Range};
use crate::schema::{PictureFigures, Seen, Value, tidy};
use crate::signals::sound::float;

/// What tells one look from another. Shares of white unless said otherwise.
pub mod limits {
    /// Black: a lens cap, a shutter, a driver that delivers nothing. (AWS takes 20 % of full luma with 99 % of the pixels,
    /// ffmpeg 32 of 255; both are for films. A camera in a dark room is noisier and brighter than this.)
    pub const BLACK_MEAN: f64 = 0.02;
    /// The spread that black stays below.
    pub const BLACK_SPREAD: f64 = 0.014;
    /// Covered: a finger or tape lets some light through, and no structure.
    pub const COVERED_MEAN: f64 = 0.11;
    /// The spread that a covered lens stays below.
    pub const COVERED_SPREAD: f64 = 0.055;
    /// The same, of the mean: what little can be seen of a dark room stands out more against its darkness.
    pub const COVERED_STRUCTURE: f64 = 0.4;
    /// Dark: a face cannot be seen.
    pub const DARK_MEAN: f64 = 0.16;
    /// Overexposed: so much of the picture is white beyond detail.
    pub const OVEREXPOSED: f64 = 0.4;
    /// Identical frames in a row; the noise of a sensor makes a single exact repetition unlikely.
    pub const FROZEN: u64 = 15;
    /// Blurred: less fine detail than this, as [`FrameStats::sharpness`](super::super::FrameStats::sharpness) has it. An edge
    /// blurred with σ has 0.56 / ((σ² + ½)^1.5 · W) of it, W pixels from edge to edge: with W = 30, σ = 1 gives 0.010, σ = 2 gives
    /// 0.002.
    pub const BLURRED: f64 = 0.005;
    /// The spread below which a picture has too little in it to be called blurred.
    pub const BLURRED_SPREAD: f64 = 0.05;
}

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
        self.frames += 1;
        self.mean += stats.mean;
        self.spread += stats.spread;
        self.overexposed += stats.overexposed;
        if let Some(sharpness) = stats.sharpness {
            self.sharpness += sharpness;
            self.sharpness_of += 1;
        }
        let content = Some(content(luma));
        self.run = if content == self.last { self.run + 1 } else { 1 };
        self.longest = self.longest.max(self.run);
        self.last = content;
        stats
    }

    /// What the frames show; `None` without any.
    ///
    /// In this order: black, frozen, covered, dark, overexposed, blurred, a picture. Black frames are often identical, and are
    /// black; a frozen picture may be dark, and is frozen.
    pub fn seen(&self) -> Option<Seen> {
        let n = self.over(self.frames)?;
        let (mean, spread) = (self.mean / n, self.spread / n);
        let sharpness = self.over(self.sharpness_of).map(|n| self.sharpness / n);
        Some(if mean < limits::BLACK_MEAN && spread < limits::BLACK_SPREAD {
            Seen::Black
        } else if self.longest >= limits::FROZEN {
            Seen::Frozen
        } else if mean < limits::COVERED_MEAN
            && spread < limits::COVERED_SPREAD.min(limits::COVERED_STRUCTURE * mean)
        {
            Seen::Covered
        } else if mean < limits::DARK_MEAN {
            Seen::Dark
        } else if self.overexposed / n > limits::OVEREXPOSED {
            Seen::Overexposed
        } else if spread >= limits::BLURRED_SPREAD && sharpness.is_some_and(|s| s < limits::BLURRED) {
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
        (count > 0).then(|| float(usize::try_from(count).unwrap_or(usize::MAX)))
    }
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
