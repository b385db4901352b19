//! What the samples of a channel come to, for whoever takes them elsewhere: a page in a browser keeps the sound to itself and hands on
//! these. All that names a recording follows from them; hum of the mains and bandwidth need the samples themselves.

use super::dropouts::Broken;
use super::levels::{SILENCE_DBFS, dbfs};
use super::peaks::Clipped;
use super::recording::{Analysis, ChannelAnalysis};
use super::speech::{Active, Window, voiced};
use super::{Format, float};
use crate::signals::limits;

/// One channel's features.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Samples that came.
    pub samples: u64,
    /// Samples that were none: not a number, or beyond +60 dBFS.
    pub damaged: u64,
    /// Sum of the samples, of full scale.
    pub sum: f64,
    /// Sum of their squares.
    pub squares: f64,
    /// The least sample; 0 when none came.
    pub least: f64,
    /// The greatest sample; 0 when none came.
    pub greatest: f64,
    /// Sum of the products with the channel before it.
    pub product: f64,
    /// Mean and variance of each frame of 20 ms.
    pub frames: Vec<(f64, f64)>,
    /// Flattened peaks.
    pub clipped: Clipped,
    /// Gaps and repetitions.
    pub broken: Broken,
    /// What the speech voltmeter has counted.
    pub active: Active,
    /// Where a voice is looked for.
    pub windows: Vec<Window>,
}

impl Analysis {
    /// What a recording tells whose samples came to this, a channel each; `why` there is no hum and no bandwidth.
    pub fn of(format: Format, channels: &[Features], why: &'static str) -> Self {
        let mut told: Vec<ChannelAnalysis> =
            channels.iter().map(|channel| ChannelAnalysis::of(channel, Err(why), Err(why))).collect();
        for (channel, pair) in told.iter_mut().skip(1).zip(channels.windows(2)) {
            channel.like_previous = alike(&pair[0], &pair[1]);
        }
        Self { format, channels: told }
    }
}

impl ChannelAnalysis {
    pub(super) fn of(
        features: &Features,
        hum: Result<Option<super::MainsHum>, &'static str>,
        bandwidth_hz: Result<f64, &'static str>,
    ) -> Self {
        let n = wide(features.samples).max(1.0);
        let mean = features.sum / n;
        let levels = levels(&features.frames, mean);
        let floor_dbfs = floor(&levels);
        let constant = features.least == features.greatest;
        Self {
            samples: features.samples,
            damaged: features.damaged,
            peak_dbfs: dbfs(features.least.abs().max(features.greatest.abs()).powi(2)),
            // What is constant has no level, whatever rounding makes of it.
            rms_dbfs: if constant { SILENCE_DBFS } else { dbfs(features.squares / n - mean * mean) },
            dc: mean,
            least: features.least,
            greatest: features.greatest,
            floor_dbfs,
            speech: features.active.speech().filter(|_| spoke(&levels, floor_dbfs, &features.windows)),
            clipped: features.clipped,
            hum,
            bandwidth_hz,
            broken: features.broken,
            like_previous: None,
        }
    }
}

/// Correlation of two channels: 1 the same, −1 upside down. `None` when one is constant, and when one is longer.
pub(super) fn alike(a: &Features, b: &Features) -> Option<f64> {
    if a.samples != b.samples {
        return None;
    }
    let n = wide(b.samples);
    let deviation = |c: &Features| (c.squares / n - (c.sum / n).powi(2)).max(0.0).sqrt();
    let both = deviation(a) * deviation(b);
    (n > 0.0 && both > 0.0).then(|| ((b.product / n - a.sum / n * (b.sum / n)) / both).clamp(-1.0, 1.0))
}

/// The level of each frame, without the mean of the whole.
fn levels(frames: &[(f64, f64)], mean: f64) -> Vec<f64> {
    frames.iter().map(|(m, v)| dbfs(v + (m - mean).powi(2))).collect()
}

/// The 10th percentile of the frames that are not zeros.
pub(super) fn floor(levels: &[f64]) -> Option<f64> {
    let mut heard: Vec<f64> = levels.iter().copied().filter(|l| *l > SILENCE_DBFS).collect();
    heard.sort_unstable_by(f64::total_cmp);
    heard.get(heard.len() / 10).copied()
}

/// Whether somebody spoke: enough frames stand out of the floor, unevenly, and there is a voice in enough windows.
fn spoke(levels: &[f64], floor: Option<f64>, windows: &[Window]) -> bool {
    let Some(floor) = floor else { return false };
    let limits = &limits().sound;
    let from = floor + limits.active_above_floor_db.value;
    let active: Vec<f64> = levels.iter().copied().filter(|l| *l >= from).collect();
    let n = float(active.len()).max(1.0);
    let mean = active.iter().sum::<f64>() / n;
    let spread = (active.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n).sqrt();
    float(active.len()) >= limits.least_active_frames.value
        && spread >= limits.least_spread_db.value
        && float(voiced(windows)) >= limits.least_voiced_windows.value
}

/// Exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of samples stay far below 2^53")]
fn wide(count: u64) -> f64 {
    count as f64
}
