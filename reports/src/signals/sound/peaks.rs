//! Flattened peaks.

/// Equal samples in a row at the top that make a flattened peak.
const RUN: u32 = 3;
/// How near to the largest sample the top begins.
const TOP: f64 = 0.9;
/// Signals whose largest sample is below this (−20 dBFS) are not looked at: in 16 bits, the crest of a soft low tone has
/// equal samples by itself.
const LEAST_PEAK: f64 = 0.1;
/// Steps of level per factor of ten, for the runs seen so far: 0.1 dB each.
const STEPS: f64 = 200.0;
/// Runs from −20 to +40 dBFS, beyond which all count as +40.
const BINS: usize = 600;

/// Flattened peaks: three or more equal samples in a row within 0.92 dB of the largest one.
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
    peak: f32,
    last: f32,
    run: u32,
    by_level: Vec<Clipped>,
}

impl Peaks {
    pub(super) fn new() -> Self {
        Self { peak: 0.0, last: 0.0, run: 0, by_level: Vec::new() }
    }

    pub(super) fn push(&mut self, x: f32) {
        self.peak = self.peak.max(x.abs());
        if x.to_bits() == self.last.to_bits() {
            self.run = self.run.saturating_add(1);
        } else {
            if self.run >= RUN {
                self.close();
            }
            (self.last, self.run) = (x, 1);
        }
    }

    /// The largest sample.
    pub(super) fn peak(&self) -> f64 {
        f64::from(self.peak)
    }

    pub(super) fn clipped(&self) -> Clipped {
        let peak = self.peak();
        if peak < LEAST_PEAK {
            return Clipped::default();
        }
        // The run that is still going on counts as if it ended here.
        let mut all = self.clone();
        all.close();
        let from = bin(peak * TOP).unwrap_or(0);
        all.by_level.iter().skip(from).fold(Clipped::default(), |sum, at| Clipped {
            runs: sum.runs + at.runs,
            samples: sum.samples + at.samples,
        })
    }

    fn close(&mut self) {
        let Some(bin) = bin(f64::from(self.last.abs())).filter(|_| self.run >= RUN) else { return };
        if self.by_level.is_empty() {
            self.by_level = vec![Clipped::default(); BINS];
        }
        self.by_level[bin].runs += 1;
        self.by_level[bin].samples += u64::from(self.run);
    }
}

/// Which bin a level falls into; `None` below the lowest.
fn bin(level: f64) -> Option<usize> {
    let steps = (level / LEAST_PEAK).log10() * STEPS;
    // A rounding error must not put the lowest level that counts below it.
    (steps > -0.5).then(|| super::count(steps).min(BINS - 1))
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
