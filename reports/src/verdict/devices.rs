//! Limits of devices as versioned data, beside those of the network.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A figure of a device that is judged. Its name carries its unit; of ppm and offsets the distance from zero counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceFigure {
    /// Active speech level (ITU-T P.56), at least.
    SpeechLevelDbfs,
    /// Noise floor, at most.
    NoiseFloorDbfs,
    /// Speech level less noise floor, at least.
    SnrDb,
    /// Mean of the samples, at most.
    DcOffsetRatio,
    /// Share of the samples in flattened peaks, at most.
    ClippedRatio,
    /// Flattened peaks per second, at most.
    ClipRunsPerS,
    /// Hum of the mains, at most.
    HumDbfs,
    /// Upper end of the sound, at least.
    BandwidthHz,
    /// Share of the time lost in gaps and repetitions, at most.
    DropoutRatio,
    /// Drift of a sound device's clock, at most.
    ClockDriftPpm,
    /// From speaker to microphone, buffers included, at most.
    LoopDelayMs,
    /// What comes back from speaker to microphone, at most.
    LoopReturnDb,
    /// Harmonic distortion of the speaker, at most.
    LoopDistortionRatio,
    /// Frames per second counted against claimed, at least.
    FrameRateRatio,
    /// Standard deviation of the time between frames, of its mean, at most.
    FrameSpreadRatio,
    /// Frames lost by the camera's own count, at most.
    FramesLostRatio,
    /// Frames damaged, at most.
    FramesDamagedRatio,
    /// From starting a camera to its first frame, at most.
    FirstFrameMs,
    /// How many times faster than real time a use is encoded, at least.
    EncodeTimesRealTime,
}

impl DeviceFigure {
    /// Whether more of it is better.
    pub const fn more_is_better(self) -> bool {
        matches!(
            self,
            Self::SpeechLevelDbfs
                | Self::SnrDb
                | Self::BandwidthHz
                | Self::FrameRateRatio
                | Self::EncodeTimesRealTime
        )
    }

    /// Whether only the distance from zero counts.
    pub(crate) const fn of_size(self) -> bool {
        matches!(self, Self::DcOffsetRatio | Self::ClockDriftPpm)
    }
}

/// The limits of devices. A figure that is absent is not judged.
pub type DeviceLimits = BTreeMap<DeviceFigure, Edge>;

/// Two thresholds of one figure of a device, in the figure's own unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// Up to here (or from here on, where more is better) nothing is wrong.
    pub good: f64,
    /// Beyond here the device is of no use. `None`: the figure degrades a use but never blocks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Where the figures come from.
    pub source: String,
}

impl Edge {
    /// What is wrong with it and what to do; `None` when it is sound.
    pub(super) fn problem(&self, figure: DeviceFigure) -> Option<String> {
        let Self { good, limit, source } = self;
        let end = limit.unwrap_or(*good);
        if !good.is_finite() || !end.is_finite() {
            return Some(format!("good is {good}, limit {end}; give numbers"));
        }
        if (figure.more_is_better() && end > *good) || (!figure.more_is_better() && end < *good) {
            return Some(format!("limit is {end}, good is {good}; limit lies beyond good"));
        }
        source.trim().is_empty().then(|| "say in `source` where the figures come from".into())
    }
}
