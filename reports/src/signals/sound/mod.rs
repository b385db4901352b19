//! Sound: interleaved `f32` samples, full scale ±1, of any rate and any count of channels.
//!
//! | what | how |
//! |---|---|
//! | live level | [`Meter`]: push blocks, take the level since the last time |
//! | everything a recording tells | [`Recording`]: push blocks, ask for its [`Analysis`]; [`Analysis::figures`] writes it into a report |
//! | the same, of samples that are kept elsewhere | [`Features`]: what they come to; [`Analysis::of`] |
//! | which silence | [`silence::name`], from the analysis and what the system says ([`Circumstances`]) |
//! | clock drift | [`DriftMeter`]: push how many frames came until when |
//! | a known tone | [`tone::sine`] makes it, [`tone::measure`] finds frequency, level, distortion and breaks |
//! | speaker to microphone | [`sweep::Sweep`] makes an exponential sweep and finds it again |
//!
//! Levels are dB relative to full scale: the root mean square of the samples, full scale being 1, so that a full-scale
//! sine has −3.01 dBFS. Digital silence is [`SILENCE_DBFS`], and no level is below it.
//!
//! A sample that is none (NaN, infinite, beyond +60 dBFS) counts as damaged and as zero.

pub mod drift;
mod dropouts;
mod features;
mod figures;
mod levels;
mod peaks;
mod recording;
pub mod silence;
mod spectrum;
mod speech;
pub mod sweep;
pub mod tone;

pub use drift::{Drift, DriftMeter};
pub use dropouts::Broken;
pub use features::Features;
pub use figures::drift_figure;
pub use levels::{Level, Meter, SILENCE_DBFS, dbfs};
pub use peaks::Clipped;
pub use recording::{Analysis, ChannelAnalysis, MAX_CHANNELS, Recording};
pub use silence::Circumstances;
pub use spectrum::MainsHum;
pub use speech::{Active, Speech, Window, active_level};

/// What the samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    rate: u32,
    channels: u16,
}

impl Format {
    /// Frames per second and channels; `None` without channels, and for rates outside of 4 to 768 kHz, which no sound
    /// device has.
    pub fn new(rate: u32, channels: u16) -> Option<Self> {
        ((4_000..=768_000).contains(&rate) && channels > 0).then_some(Self { rate, channels })
    }

    /// Frames per second.
    pub fn rate(self) -> u32 {
        self.rate
    }

    /// Channels.
    pub fn channels(self) -> u16 {
        self.channels
    }
}

/// Puts a mono signal on one channel of an interleaved one; the others are silent. A channel that there is not stays out.
pub fn interleave(mono: &[f32], channels: u16, channel: u16) -> Vec<f32> {
    let at = |c| if c == channel { 1.0 } else { 0.0 };
    mono.iter().flat_map(|x| (0..channels).map(move |c| x * at(c))).collect()
}

/// A count as a float; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of samples stay far below 2^53")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}

/// A float as a count: rounded, negative and NaN to 0, too large to the largest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, and NaN becomes 0"
)]
pub(crate) fn count(float: f64) -> usize {
    float.round() as usize
}

/// A sample in single precision.
#[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest sample")]
pub(crate) fn sample(x: f64) -> f32 {
    x as f32
}
