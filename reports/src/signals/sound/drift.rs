//! Drift of a sound device's clock against the computer's, from how many frames came until when.

use crate::units::Micros;

use super::float;

/// Shorter runs say nothing: the jitter of callbacks covers what clocks do.
pub const MIN_SPAN: Micros = Micros::from_secs(3);
/// Fewer points say nothing either.
const MIN_POINTS: usize = 20;
/// Points that are kept; beyond them, every other one goes and from then on half as many are taken.
const MAX_POINTS: usize = 4_096;

/// How fast a device's clock is against the computer's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Millionths; positive: the device is fast.
    pub ppm: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Points in time behind it.
    pub n: usize,
}

/// Collects how many frames came (or went) until when.
#[derive(Debug, Clone)]
pub struct DriftMeter {
    rate: f64,
    points: Vec<(u64, Micros)>,
    /// One in so many is taken.
    stride: usize,
    skipped: usize,
}

impl DriftMeter {
    /// For a device that claims `rate` frames per second.
    pub fn new(rate: u32) -> Self {
        Self { rate: f64::from(rate), points: Vec::new(), stride: 1, skipped: 0 }
    }

    /// Takes in that `frames` had come altogether at `at`, on any monotonic clock.
    pub fn push(&mut self, frames: u64, at: Micros) {
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        self.points.push((frames, at));
        if self.points.len() > MAX_POINTS {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// The slope of frames over time by least squares, against the claimed rate. Its doubt is that of the regression,
    /// widened for neighbors that err alike (buffers come in a rhythm of their own), and at least as wide as the two halves of
    /// the run are from it: a clock that is off is so all the time, a buffer that once filled up is not. `None` for less
    /// than [`MIN_SPAN`] or 20 points.
    pub fn drift(&self) -> Option<Drift> {
        let (first, last) = (self.points.first()?, self.points.last()?);
        let n = self.points.len();
        if n < MIN_POINTS || last.1 - first.1 < MIN_SPAN || self.rate <= 0.0 {
            return None;
        }
        // How far the frames are ahead of the claimed rate, in microseconds: small numbers, so that nothing cancels.
        let ahead = |&(frames, at): &(u64, Micros)| {
            let elapsed = (at - first.1).as_secs();
            let behind = i128::from(frames) - i128::from(first.0);
            let counted = i64::try_from(behind).map_or(f64::NAN, signed) / self.rate;
            (elapsed, (counted - elapsed) * 1e6)
        };
        let points: Vec<(f64, f64)> = self.points.iter().map(ahead).collect();
        let (slope, doubt) = line(&points);
        let (early, late) = points.split_at(n / 2);
        let apart = [early, late].map(|half| (line(half).0 - slope).abs());
        let doubt = doubt.max(apart[0]).max(apart[1]);
        let drift = Drift { ppm: slope, low: slope - doubt, high: slope + doubt, n };
        (drift.low.is_finite() && drift.high.is_finite()).then_some(drift)
    }
}

/// The slope through points by least squares, and its 95 % doubt.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = float(points.len());
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(&|p| p.0), mean(&|p| p.1));
    let sxx = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    let sxy = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>();
    let slope = sxy / sxx;
    let errors: Vec<f64> = points.iter().map(|(x, y)| y - mean_y - slope * (x - mean_x)).collect();
    let squares = errors.iter().map(|e| e * e).sum::<f64>();
    let neighbors = errors.windows(2).map(|e| e[0] * e[1]).sum::<f64>();
    let alike = if squares > 0.0 { (neighbors / squares).clamp(0.0, 0.98) } else { 0.0 };
    let widened = (1.0 + alike) / (1.0 - alike);
    (slope, 1.96 * (squares / (n - 2.0) / sxx * widened).sqrt())
}

/// Exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of frames stay far below 2^53")]
fn signed(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Callbacks every 40 ms of a clock that is `ppm` fast, each up to `jitter_us` late.
    fn run(ppm: f64, seconds: u32, jitter_us: u32) -> Option<Drift> {
        let mut meter = DriftMeter::new(48_000);
        let mut state = 12_345_u32;
        for k in 0..seconds * 25 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let late = f64::from((state >> 8) % (jitter_us + 1));
            let at = f64::from(k) * 40_000.0 / (1.0 + ppm * 1e-6) + late;
            meter.push(u64::from(k) * 1_920, Micros::from_ms_f64(at / 1e3).expect("in range"));
        }
        meter.drift()
    }

    #[test]
    fn a_fast_clock_is_positive_and_within_its_doubt() {
        for ppm in [-1_000.0, -50.0, 0.0, 100.0, 1_000.0] {
            let drift = run(ppm, 10, 2_000).expect("10 s");
            assert!(drift.low <= ppm && ppm <= drift.high, "{ppm}: {drift:?}");
            assert!(drift.high - drift.low < 120.0, "{drift:?}");
        }
        let exact = run(250.0, 10, 0).expect("10 s");
        assert!((exact.ppm - 250.0).abs() < 0.5, "{exact:?}");
    }

    #[test]
    fn a_buffer_that_filled_up_once_is_no_drift() {
        // 12 ms more are waiting from some moment on, as when a processor was busy or a server changed its buffer.
        for from in [10, 60, 100, 150, 190] {
            let mut meter = DriftMeter::new(48_000);
            for k in 0..200_u32 {
                let late = if k >= from { 12_000.0 } else { 0.0 };
                let at = f64::from(k) * 40_000.0 + late;
                meter.push(u64::from(k) * 1_920, Micros::from_ms_f64(at / 1e3).expect("in range"));
            }
            let drift = meter.drift().expect("8 s");
            assert!(drift.low <= 0.0 && drift.high >= 0.0, "from {from}: {drift:?}");
        }
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(run(100.0, 2, 0), None);
        assert_eq!(DriftMeter::new(48_000).drift(), None);
        let mut still = DriftMeter::new(0);
        (0..100).for_each(|k| still.push(u64::MAX, Micros::from_secs(k)));
        assert_eq!(still.drift(), None);
        let mut frozen = DriftMeter::new(48_000);
        (0..100).for_each(|k| frozen.push(k, Micros::ZERO));
        assert_eq!(frozen.drift(), None);
    }

    #[test]
    fn hours_take_no_more_memory() {
        let drift = run(40.0, 3_600, 2_000).expect("an hour");
        assert!(drift.n <= MAX_POINTS && (drift.ppm - 40.0).abs() < 1.0, "{drift:?}");
    }
}
