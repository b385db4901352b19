//! Drift of a sound device's clock against the computer's, from how many frames came until when.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::units::Micros;

use super::float;

/// Shorter runs say nothing: the jitter of callbacks covers what clocks do.
pub const MIN_SPAN: Micros = Micros::from_secs(3);
/// Fewer points say nothing either.
const MIN_POINTS: usize = 24;
/// A run is cut into so many: enough for a line, and each long enough that not all of it is late.
const SEGMENTS: usize = 12;
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

    /// The slope of frames over time, against the claimed rate. A processor that is busy takes frames late, and never early:
    /// so the run is cut into [`SEGMENTS`], of each the one point counts that was least late, and the line through those is
    /// taken by least squares. Its doubt is that of the regression (Student's t), widened for neighbors that err alike
    /// (buffers come in a rhythm of their own), and at least as wide as the two halves of the run are from it: a clock that
    /// is off is so all the time, a buffer that once filled up is not. `None` for less than [`MIN_SPAN`] or
    /// [`MIN_POINTS`].
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
        let punctual = punctual(&points);
        let (slope, doubt) = line(&punctual);
        let (early, late) = punctual.split_at(SEGMENTS / 2);
        let apart = [early, late].map(|half| (line(half).0 - slope).abs());
        let doubt = doubt.max(apart[0]).max(apart[1]);
        let drift = Drift { ppm: slope, low: slope - doubt, high: slope + doubt, n };
        (drift.low.is_finite() && drift.high.is_finite()).then_some(drift)
    }
}

/// Of each segment of a run, the point that is least late against the line through all of them.
fn punctual(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (slope, _) = line(points);
    let early = |(x, y): &(f64, f64)| y - slope * x;
    (0..SEGMENTS)
        .filter_map(|k| {
            let segment = &points[k * points.len() / SEGMENTS..(k + 1) * points.len() / SEGMENTS];
            segment.iter().copied().max_by(|a, b| early(a).total_cmp(&early(b)))
        })
        .collect()
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
    let quantile = StudentsT::new(0.0, 1.0, n - 2.0).map_or(f64::INFINITY, |t| t.inverse_cdf(0.975));
    (slope, quantile * (squares / (n - 2.0) / sxx * widened).sqrt())
}

/// Exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of frames stay far below 2^53")]
fn signed(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::simulated::Rng;

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

    /// Runs of 5 s of clocks within 100 ppm, taken `late` microseconds after they came. Returns how many intervals hold the
    /// truth, and the median of their half widths.
    fn covered(runs: u32, seed: u64, late: impl Fn(&mut Rng, &mut f64) -> f64) -> (u32, f64) {
        let mut rng = Rng(seed);
        let (mut hold, mut widths) = (0, Vec::new());
        for _ in 0..runs {
            let ppm = rng.share() * 200.0 - 100.0;
            let (mut meter, mut state) = (DriftMeter::new(48_000), 0.0);
            for k in 0..125_u32 {
                let at = f64::from(k) * 40_000.0 / (1.0 + ppm * 1e-6) + late(&mut rng, &mut state);
                meter.push(u64::from(k) * 1_920, Micros::from_ms_f64(at / 1e3).expect("in range"));
            }
            let drift = meter.drift().expect("5 s");
            hold += u32::from(drift.low <= ppm && ppm <= drift.high);
            widths.push((drift.high - drift.low) / 2.0);
        }
        widths.sort_by(f64::total_cmp);
        (hold, widths[widths.len() / 2])
    }

    #[test]
    fn intervals_hold_the_truth_whatever_the_processor_does() {
        let exponential = |rng: &mut Rng, mean: f64| -mean * (1.0 - rng.share()).ln();
        let seed = 2_026;
        let calm = covered(1_000, seed, |rng, _| rng.share() * 2_000.0);
        let busy = covered(1_000, seed, |rng, _| exponential(rng, 3_000.0));
        let hogged = covered(1_000, seed, |rng, queue| {
            *queue = if rng.share() < 0.03 { exponential(rng, 15_000.0) } else { *queue * 0.7 };
            *queue + rng.share() * 500.0
        });
        for (name, (hold, width), widest) in
            [("calm", calm, 120.0), ("busy", busy, 250.0), ("hogged", hogged, 250.0)]
        {
            println!(
                "seed {seed}, {name}: {hold} of 1000 hold the truth, half of them within ±{width:.0} ppm"
            );
            assert!(hold >= 950, "{name}: {hold}");
            assert!(width < widest, "{name}: {width}");
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
