//! A whole recording: every channel by itself, sample by sample.

use super::dropouts::{Broken, Dropouts};
use super::features::{Features, alike};
use super::levels::{finite, sound};
use super::peaks::{Clipped, Peaks};
use super::spectrum::{Hum, MainsHum, Spectrum};
use super::speech::{ActiveLevel, Decimator, Speech, VoiceBox};
use super::{Format, sample};

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
        let features: Vec<Features> = self
            .channels
            .iter()
            .zip(&self.products)
            .map(|(channel, product)| channel.features(*product))
            .collect();
        let mut channels: Vec<ChannelAnalysis> =
            self.channels.iter().zip(&features).map(|(channel, its)| channel.analysis(its)).collect();
        for (channel, pair) in channels.iter_mut().skip(1).zip(features.windows(2)) {
            channel.like_previous = alike(&pair[0], &pair[1]);
        }
        Analysis { format: self.format, channels }
    }
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
    /// Up to where there is sound: `Err` says why that is not known.
    pub bandwidth_hz: Result<f64, &'static str>,
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

    fn analysis(&self, features: &Features) -> ChannelAnalysis {
        let found = ChannelAnalysis::of(features, self.hum.found(), Err("it was too quiet to tell"));
        let bandwidth_hz = found.floor_dbfs.and_then(|floor| self.spectrum.bandwidth_hz(floor));
        ChannelAnalysis { bandwidth_hz: bandwidth_hz.ok_or("it was too quiet to tell"), ..found }
    }

    fn features(&self, product: f64) -> Features {
        let frames = self.frames.iter().map(|(mean, variance)| (f64::from(*mean), f64::from(*variance)));
        Features {
            samples: u64::try_from(self.samples).unwrap_or(u64::MAX),
            damaged: self.damaged,
            sum: self.sum,
            squares: self.squares,
            least: if self.samples > 0 { f64::from(self.least) } else { 0.0 },
            greatest: if self.samples > 0 { f64::from(self.greatest) } else { 0.0 },
            product,
            frames: frames.collect(),
            clipped: self.peaks.clipped(),
            broken: self.dropouts.found(),
            active: self.level.counted(),
            windows: self.voice.windows().to_vec(),
        }
    }
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
