//! A whole recording: every channel by itself, sample by sample.

use super::dropouts::{Broken, Dropouts};
use super::levels::{dbfs, finite, sound};
use super::peaks::{Clipped, Peaks};
use super::spectrum::{Hum, MainsHum, Spectrum};
use super::speech::{ActiveLevel, Decimator, Speech, VoiceBox};
use super::{Format, SILENCE_DBFS, float, sample};
use crate::signals::limits;

/// Channels that are looked at; those beyond it are left out. No device with more is known.
pub const MAX_CHANNELS: u16 = 64;
/// Frames of level per second.
const FRAMES_PER_S: u32 = 50;

/// Takes in a recording block by block. How it is cut into blocks changes nothing, not even when a block ends in the
/// middle of a frame.
#[derive(Debug, Clone)]
pub struct Recording {
    format: Format,
    /// The channel that the next sample belongs to.
    next: usize,
    channels: Vec<Channel>,
    /// The last sample of each channel, and the sum of its products with the channel before it.
    last: Vec<f32>,
    products: Vec<f64>,
}

impl Recording {
    /// A recording of which nothing has come yet.
    pub fn new(format: Format) -> Self {
        let n = usize::from(format.channels().min(MAX_CHANNELS));
        Self {
            format,
            next: 0,
            channels: vec![Channel::new(format.rate()); n],
            last: vec![0.0; n],
            products: vec![0.0; n],
        }
    }

    /// Takes in interleaved samples.
    pub fn push(&mut self, block: &[f32]) {
        for &x in block {
            if let Some(channel) = self.channels.get_mut(self.next) {
                let x = channel.push(x);
                self.last[self.next] = x;
                if let Some(before) = self.next.checked_sub(1) {
                    self.products[self.next] += f64::from(x) * f64::from(self.last[before]);
                }
            }
            self.next = (self.next + 1) % usize::from(self.format.channels());
        }
    }

    /// Everything that can be told so far.
    pub fn analysis(&self) -> Analysis {
        let mut channels: Vec<ChannelAnalysis> = self.channels.iter().map(Channel::analysis).collect();
        let pairs = self.channels.windows(2).zip(&self.products[1..]);
        for (channel, (pair, product)) in channels.iter_mut().skip(1).zip(pairs) {
            channel.like_previous = alike(&pair[0], &pair[1], *product);
        }
        Analysis { format: self.format, channels }
    }
}

/// Correlation of two channels: 1 the same, −1 upside down. `None` when one is constant.
fn alike(a: &Channel, b: &Channel, product: f64) -> Option<f64> {
    let n = float(b.samples);
    let deviation = |c: &Channel| (c.squares / n - (c.sum / n).powi(2)).max(0.0).sqrt();
    let both = deviation(a) * deviation(b);
    (n > 0.0 && both > 0.0).then(|| ((product / n - a.sum / n * (b.sum / n)) / both).clamp(-1.0, 1.0))
}

/// What a recording tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Its format.
    pub format: Format,
    /// Each channel, up to [`MAX_CHANNELS`].
    pub channels: Vec<ChannelAnalysis>,
}

impl Analysis {
    /// The loudest channel: the one whose figures stand for the whole.
    pub fn loudest(&self) -> Option<&ChannelAnalysis> {
        // Of equals, the first.
        self.channels.iter().rev().max_by(|a, b| a.rms_dbfs.total_cmp(&b.rms_dbfs))
    }

    /// How long it is.
    pub fn seconds(&self) -> f64 {
        let samples = self.channels.iter().map(|c| c.samples).min().unwrap_or(0);
        float(usize::try_from(samples).unwrap_or(usize::MAX)) / f64::from(self.format.rate())
    }
}

/// What one channel tells.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelAnalysis {
    /// Samples that came.
    pub samples: u64,
    /// Samples that were none: not a number, or beyond +60 dBFS.
    pub damaged: u64,
    /// The largest sample.
    pub peak_dbfs: f64,
    /// Root mean square without the mean.
    pub rms_dbfs: f64,
    /// The mean, of full scale.
    pub dc: f64,
    /// The least sample.
    pub least: f64,
    /// The greatest sample.
    pub greatest: f64,
    /// The 10th percentile of the level of 20 ms frames, without the mean and without frames of zeros. `None` without any.
    pub floor_dbfs: Option<f64>,
    /// The speech in it; `None` when nobody spoke.
    pub speech: Option<Speech>,
    /// Flattened peaks.
    pub clipped: Clipped,
    /// Hum of the mains: `Err` says why it could not be looked for.
    pub hum: Result<Option<MainsHum>, &'static str>,
    /// Up to where there is sound; `None` when too quiet to tell.
    pub bandwidth_hz: Option<f64>,
    /// Gaps and repetitions.
    pub broken: Broken,
    /// Correlation with the channel before it; `None` for the first one, and when one of the two is constant.
    pub like_previous: Option<f64>,
}

/// One channel of a recording.
#[derive(Debug, Clone)]
struct Channel {
    samples: usize,
    damaged: u64,
    sum: f64,
    squares: f64,
    least: f32,
    greatest: f32,
    frame: Frame,
    /// Mean and variance of each 20 ms frame.
    frames: Vec<(f32, f32)>,
    peaks: Peaks,
    dropouts: Dropouts,
    level: ActiveLevel,
    decimator: Decimator,
    voice: VoiceBox,
    hum: Hum,
    spectrum: Spectrum,
}

impl Channel {
    fn new(rate: u32) -> Self {
        let decimator = Decimator::new(rate);
        Self {
            samples: 0,
            damaged: 0,
            sum: 0.0,
            squares: 0.0,
            least: f32::MAX,
            greatest: f32::MIN,
            frame: Frame { length: rate / FRAMES_PER_S, ..Frame::default() },
            frames: Vec::new(),
            peaks: Peaks::new(),
            dropouts: Dropouts::new(rate),
            level: ActiveLevel::new(rate),
            hum: Hum::new(decimator.rate(rate)),
            decimator,
            voice: VoiceBox::new(),
            spectrum: Spectrum::new(rate),
        }
    }

    /// Takes in a sample, and tells what it counts as.
    fn push(&mut self, raw: f32) -> f32 {
        let x = finite(raw);
        self.samples += 1;
        self.damaged += u64::from(!sound(raw));
        self.sum += f64::from(x);
        self.squares += f64::from(x) * f64::from(x);
        self.least = self.least.min(x);
        self.greatest = self.greatest.max(x);
        self.frames.extend(self.frame.push(x));
        self.peaks.push(x);
        self.dropouts.push(x);
        self.level.push(x);
        self.spectrum.push(x);
        if let Some(low) = self.decimator.push(x) {
            self.voice.push(low);
            self.hum.push(low);
        }
        x
    }

    fn analysis(&self) -> ChannelAnalysis {
        let n = float(self.samples).max(1.0);
        let mean = self.sum / n;
        let levels = self.levels(mean);
        let floor_dbfs = floor(&levels);
        let constant = self.least == self.greatest;
        ChannelAnalysis {
            samples: u64::try_from(self.samples).unwrap_or(u64::MAX),
            damaged: self.damaged,
            peak_dbfs: dbfs(self.peaks.peak().powi(2)),
            // What is constant has no level, whatever rounding makes of it.
            rms_dbfs: if constant { SILENCE_DBFS } else { dbfs(self.squares / n - mean * mean) },
            dc: mean,
            least: if self.samples > 0 { f64::from(self.least) } else { 0.0 },
            greatest: if self.samples > 0 { f64::from(self.greatest) } else { 0.0 },
            floor_dbfs,
            speech: self.level.speech().filter(|_| self.spoke(&levels, floor_dbfs)),
            clipped: self.peaks.clipped(),
            hum: self.hum.found(),
            bandwidth_hz: floor_dbfs.and_then(|floor| self.spectrum.bandwidth_hz(floor)),
            broken: self.dropouts.found(),
            like_previous: None,
        }
    }

    /// The level of each frame, without the mean of the whole.
    fn levels(&self, mean: f64) -> Vec<f64> {
        self.frames.iter().map(|(m, v)| dbfs(f64::from(*v) + (f64::from(*m) - mean).powi(2))).collect()
    }

    /// Whether somebody spoke: enough frames stand out of the floor, unevenly, and there is a voice in enough windows.
    fn spoke(&self, levels: &[f64], floor: Option<f64>) -> bool {
        let Some(floor) = floor else { return false };
        let limits = &limits().sound;
        let from = floor + limits.active_above_floor_db.value;
        let active: Vec<f64> = levels.iter().copied().filter(|l| *l >= from).collect();
        let n = float(active.len()).max(1.0);
        let mean = active.iter().sum::<f64>() / n;
        let spread = (active.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n).sqrt();
        float(active.len()) >= limits.least_active_frames.value
            && spread >= limits.least_spread_db.value
            && float(self.voice.voiced()) >= limits.least_voiced_windows.value
    }
}

/// The 10th percentile of the frames that are not zeros.
fn floor(levels: &[f64]) -> Option<f64> {
    let mut heard: Vec<f64> = levels.iter().copied().filter(|l| *l > SILENCE_DBFS).collect();
    heard.sort_unstable_by(f64::total_cmp);
    heard.get(heard.len() / 10).copied()
}

/// Mean and variance of a frame, by Welford's method: nothing cancels, however large the mean.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    length: u32,
    n: u32,
    mean: f64,
    squares: f64,
}

impl Frame {
    fn push(&mut self, x: f32) -> Option<(f32, f32)> {
        self.n += 1;
        let off = f64::from(x) - self.mean;
        self.mean += off / f64::from(self.n);
        self.squares += off * (f64::from(x) - self.mean);
        (self.n >= self.length).then(|| {
            let done = (sample(self.mean), sample(self.squares / f64::from(self.n)));
            *self = Self { length: self.length, ..Self::default() };
            done
        })
    }
}
