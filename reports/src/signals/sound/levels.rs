//! Levels, and the live meter.

use super::float;

/// The least level there is; it stands for digital silence. 24-bit samples reach down to −138 dBFS.
pub const SILENCE_DBFS: f64 = -150.0;

/// The level of a mean square, full scale being 1.
///
/// ```
/// use greenroom_reports::signals::sound::{SILENCE_DBFS, dbfs};
/// assert_eq!(dbfs(1.0), 0.0);
/// assert!((dbfs(0.5) + 3.0103).abs() < 1e-4);
/// assert_eq!(dbfs(0.0), SILENCE_DBFS);
/// ```
pub fn dbfs(mean_square: f64) -> f64 {
    // `max` also turns NaN into silence.
    (10.0 * mean_square.log10()).max(SILENCE_DBFS)
}

/// A level since the last look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The largest sample.
    pub peak_dbfs: f64,
    /// Root mean square over all channels.
    pub rms_dbfs: f64,
    /// Whether a sample reached full scale.
    pub full_scale: bool,
}

/// A live meter: cheap, forgets when it is read.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    peak: f32,
    squares: f64,
    samples: usize,
}

impl Meter {
    /// Takes in samples, of any format.
    pub fn push(&mut self, block: &[f32]) {
        for x in block.iter().map(|&x| finite(x)) {
            self.peak = self.peak.max(x.abs());
            self.squares += f64::from(x) * f64::from(x);
        }
        self.samples += block.len();
    }

    /// The level since the last time; `None` when nothing came.
    pub fn take(&mut self) -> Option<Level> {
        let level = (self.samples > 0).then(|| Level {
            peak_dbfs: dbfs(f64::from(self.peak).powi(2)),
            rms_dbfs: dbfs(self.squares / float(self.samples)),
            full_scale: self.peak >= 1.0 - f32::EPSILON,
        });
        (self.peak, self.squares, self.samples) = (0.0, 0.0, 0);
        level
    }
}

/// The sample, or zero when it is none: not a number, or beyond what any driver delivers (+60 dBFS).
pub(super) fn finite(x: f32) -> f32 {
    if sound(x) { x } else { 0.0 }
}

/// Whether it is a sample at all.
pub(super) fn sound(x: f32) -> bool {
    x.abs() <= 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_reads_and_forgets() {
        let mut meter = Meter::default();
        assert_eq!(meter.take(), None);
        meter.push(&[]);
        assert_eq!(meter.take(), None);
        meter.push(&[0.5, -0.5]);
        meter.push(&[0.5, f32::NAN]);
        let level = meter.take().expect("samples came");
        // 20 log 0.5 = −6.0206; three quarters of the samples have it: 10 log 0.1875 = −7.2700.
        assert!((level.peak_dbfs + 6.0206).abs() < 1e-4 && (level.rms_dbfs + 7.2700).abs() < 1e-4);
        assert!(!level.full_scale);
        meter.push(&[-1.0]);
        assert!(meter.take().expect("a sample").full_scale);
        meter.push(&[0.0, 0.0]);
        assert_eq!(meter.take().expect("samples").rms_dbfs, SILENCE_DBFS);
    }
}
