//! Flattened peaks.

use super::float;
use crate::signals::{ClippingLimits, limits};

/// Steps of level per factor of ten, for the runs seen so far: 0.1 dB each.
const STEPS: f64 = 200.0;
/// Runs of up to 60 dB above the least peak that is looked at, beyond which all count as that loud.
const BINS: usize = 600;

/// Flattened peaks: runs of equal samples at the top, by [`ClippingLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clipped {
    /// Such runs.
    pub runs: u64,
    /// Samples in them.
    pub samples: u64,
}

/// Finds flattened peaks. Which runs count is known only at the end, with the largest sample: they are kept by level.
#[derive(Debug, Clone)]
pub(super) struct Peaks {
    limits: &'static ClippingLimits,
    peak: f32,
    last: f32,
    run: usize,
    by_level: Vec<Clipped>,
}

impl Peaks {
    pub(super) fn new() -> Self {
        Self { limits: &limits().clipping, peak: 0.0, last: 0.0, run: 0, by_level: Vec::new() }
    }

    pub(super) fn push(&mut self, x: f32) {
        self.peak = self.peak.max(x.abs());
        if x.to_bits() == self.last.to_bits() {
            self.run = self.run.saturating_add(1);
        } else {
            self.close();
            (self.last, self.run) = (x, 1);
        }
    }

    /// The largest sample.
    pub(super) fn peak(&self) -> f64 {
        f64::from(self.peak)
    }

    pub(super) fn clipped(&self) -> Clipped {
        let peak = self.peak();
        if peak < self.limits.least_peak_ratio.value {
            return Clipped::default();
        }
        // The run that is still going on counts as if it ended here.
        let mut all = self.clone();
        all.close();
        let from = self.bin(peak * self.limits.top_ratio.value).unwrap_or(0);
        all.by_level.iter().skip(from).fold(Clipped::default(), |sum, at| Clipped {
            runs: sum.runs + at.runs,
            samples: sum.samples + at.samples,
        })
    }

    fn close(&mut self) {
        // Most runs are of one sample.
        if self.run < 2 || float(self.run) < self.limits.run_samples.value {
            return;
        }
        let Some(bin) = self.bin(f64::from(self.last.abs())) else { return };
        if self.by_level.is_empty() {
            self.by_level = vec![Clipped::default(); BINS];
        }
        self.by_level[bin].runs += 1;
        self.by_level[bin].samples += u64::try_from(self.run).unwrap_or(u64::MAX);
    }

    /// Which bin a level falls into; `None` below the lowest.
    fn bin(&self, level: f64) -> Option<usize> {
        let steps = (level / self.limits.least_peak_ratio.value).log10() * STEPS;
        // A rounding error must not put the lowest level that counts below it.
        (steps > -0.5).then(|| super::count(steps).min(BINS - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clipped(samples: &[f32]) -> Clipped {
        let mut peaks = Peaks::new();
        samples.iter().for_each(|&x| peaks.push(x));
        peaks.clipped()
    }

    #[test]
    fn three_equal_samples_at_the_top_are_a_flattened_peak() {
        let one = |runs, samples| Clipped { runs, samples };
        assert_eq!(clipped(&[0.1, 0.8, 0.8, 0.8, 0.2]), one(1, 3));
        assert_eq!(clipped(&[0.1, 0.8, 0.8, 0.2, 0.8]), one(0, 0), "two are not");
        assert_eq!(clipped(&[-0.9, -0.9, -0.9, -0.9, 0.5, 0.5, 0.5]), one(1, 4), "0.5 is not the top");
        assert_eq!(clipped(&[1.0, 1.0, 1.0, 0.0, -0.95, -0.95, -0.95]), one(2, 6), "both ends");
        assert_eq!(clipped(&[0.0, 1.0, 1.0, 1.0]), one(1, 3), "at the end");
        assert_eq!(clipped(&[0.05, 0.05, 0.05, 0.0]), one(0, 0), "too soft to say");
        assert_eq!(clipped(&[]), one(0, 0));
        assert_eq!(clipped(&[1_000.0; 5]), one(1, 5));
    }
}
