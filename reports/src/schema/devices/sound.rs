//! A microphone's, a speaker's and an acoustic loop's part of a report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Estimate, Exact, Value};
use super::{DeviceFailure, DeviceInfo};

/// A microphone and what it heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Microphone {
    /// Which one.
    pub device: DeviceInfo,
    /// As what it was opened, or why it was not.
    pub state: Value<SoundStream>,
    /// Why it could not be tested, or not to the end; a test cut short has both figures and a failure.
    pub failure: Option<DeviceFailure>,
    /// Whether the system's mixer has it muted.
    pub muted: Value<Exact<bool>>,
    /// The mixer's volume, 0..1; beyond 1 it amplifies.
    pub volume_ratio: Value<Exact<f64>>,
    /// What its samples say.
    pub sound: SoundFigures,
}

impl Microphone {
    /// A microphone that was found and not tried, for `reason`.
    pub fn not_tested(device: DeviceInfo, reason: &str) -> Self {
        Self {
            device,
            state: Value::not_tested(reason),
            failure: None,
            muted: Value::not_tested(reason),
            volume_ratio: Value::not_tested(reason),
            sound: SoundFigures::not_tested(reason),
        }
    }

    /// A microphone that could not be opened.
    pub fn failed(device: DeviceInfo, failure: DeviceFailure) -> Self {
        Self {
            state: Value::failed(failure.reason()),
            failure: Some(failure),
            ..Self::not_tested(device, "it could not be opened")
        }
    }
}

/// As what a microphone or a speaker was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SoundStream {
    /// `pulseaudio`, `alsa`, …
    pub backend: String,
    /// Frames per second.
    pub rate_hz: u32,
    /// Channels.
    pub channels: u16,
    /// The device's own sample format: `f32`, `i16`, …
    pub format: String,
    /// Frames per buffer. `None`: left to the system.
    pub buffer_frames: Option<u32>,
    /// From being started to the first samples. `None`: none came, or none were waited for.
    pub first_ms: Option<f64>,
    /// How long it ran.
    pub ran_ms: f64,
    /// How often the system said that samples were lost (overrun, underrun).
    pub xruns: u64,
}

figures! {
    /// What the samples of a recording say.
    pub struct SoundFigures {
        /// What it is, in one word.
        pub heard: Value<Exact<Heard>>,
        /// The largest sample.
        pub peak_dbfs: Value<Estimate>,
        /// Root mean square over all, without the mean.
        pub rms_dbfs: Value<Estimate>,
        /// Level of the speech while somebody speaks (ITU-T P.56, method B).
        pub speech_level_dbfs: Value<Estimate>,
        /// Share of the time in which somebody spoke.
        pub speech_ratio: Value<Estimate>,
        /// Level of the quietest tenth.
        pub noise_floor_dbfs: Value<Estimate>,
        /// Speech level less noise floor.
        pub snr_db: Value<Estimate>,
        /// The mean, of full scale.
        pub dc_offset_ratio: Value<Estimate>,
        /// Flattened peaks.
        pub clipping: Value<Clipping>,
        /// Hum of the mains.
        pub hum: Value<Hum>,
        /// Up to where there is sound: 4 and 8 kHz behind a 48 kHz device are a Bluetooth headset in its call mode.
        pub bandwidth_hz: Value<Estimate>,
        /// Gaps and repetitions.
        pub dropouts: Value<Dropouts>,
        /// Each channel by itself.
        pub channels: Value<Exact<Vec<ChannelFigures>>>,
        /// How the device's clock drifts against the computer's; positive: the device is fast.
        pub clock_drift_ppm: Value<Estimate>,
    }
}

/// What a recording is, in one word: speech, or which of the six silences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// Somebody spoke, loud enough.
    Speech,
    /// Nothing came, for want of permission.
    NoPermission,
    /// Nothing but zeros: muted by the mixer or a program.
    MutedInSoftware,
    /// Quieter than any room: a switch on the microphone or its cable, or nothing plugged in.
    MutedInHardware,
    /// The same value over and over, not zero: the device or its driver hangs.
    Stuck,
    /// Somebody spoke, too quietly to be understood.
    TooQuiet,
    /// The room can be heard, and nobody spoke.
    NobodySpoke,
}

/// Flattened peaks: three or more equal samples in a row at the very top.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clipping {
    /// Share of the samples that lie in such runs.
    pub ratio: f64,
    /// Such runs.
    pub runs: u64,
    /// Such runs per second.
    pub runs_per_s: f64,
}

/// Hum of the mains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hum {
    /// 50 or 60; `None` without hum.
    pub mains_hz: Option<u32>,
    /// Level of its first six harmonics together, those that stand out by 10 dB. `None` without hum.
    pub level_dbfs: Option<f64>,
}

/// Gaps and repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dropouts {
    /// Runs of exact zeros of at least a millisecond within sound.
    pub gaps: u64,
    /// Blocks that came twice.
    pub repeats: u64,
    /// Time lost in both.
    pub lost_ms: f64,
    /// Share of the time lost in both.
    pub ratio: f64,
    /// Samples that were none (NaN, infinite, far beyond full scale): a driver's fault.
    pub damaged: u64,
}

/// One channel by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelFigures {
    /// Its number, from 0.
    pub channel: u16,
    /// Its level.
    pub rms_dbfs: f64,
    /// Whether it is silent while another one is not.
    pub dead: bool,
    /// Whether it is another one upside down, so that both cancel out when they are mixed.
    pub inverted: bool,
}

/// A speaker and what became of its test sound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Speaker {
    /// Which one.
    pub device: DeviceInfo,
    /// As what it was opened, or why it was not.
    pub state: Value<SoundStream>,
    /// Why it could not be tested, or not to the end.
    pub failure: Option<DeviceFailure>,
    /// Whether the system's mixer has it muted.
    pub muted: Value<Exact<bool>>,
    /// The mixer's volume, 0..1; beyond 1 it amplifies.
    pub volume_ratio: Value<Exact<f64>>,
    /// How the device's clock drifts against the computer's; positive: the device is fast.
    pub clock_drift_ppm: Value<Estimate>,
}

impl Speaker {
    /// A speaker that was found and not tried, for `reason`.
    pub fn not_tested(device: DeviceInfo, reason: &str) -> Self {
        Self {
            device,
            state: Value::not_tested(reason),
            failure: None,
            muted: Value::not_tested(reason),
            volume_ratio: Value::not_tested(reason),
            clock_drift_ppm: Value::not_tested(reason),
        }
    }

    /// A speaker that could not be opened.
    pub fn failed(device: DeviceInfo, failure: DeviceFailure) -> Self {
        Self {
            state: Value::failed(failure.reason()),
            failure: Some(failure),
            ..Self::not_tested(device, "it could not be opened")
        }
    }
}

/// A speaker heard by a microphone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcousticLoop {
    /// Between which two, or why it was not tried.
    pub state: Value<LoopPair>,
    /// Why it could not be tried, or not to the end.
    pub failure: Option<DeviceFailure>,
    /// What became of the sweep of each speaker channel.
    pub channels: Vec<LoopChannel>,
}

impl AcousticLoop {
    /// It was not tried, for `reason`.
    pub fn not_tested(reason: &str) -> Self {
        Self { state: Value::not_tested(reason), failure: None, channels: Vec::new() }
    }
}

/// Between which speaker and microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoopPair {
    /// Place in the list of speakers.
    pub speaker: u32,
    /// Place in the list of microphones.
    pub microphone: u32,
}

/// What became of the sweep of one speaker channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoopChannel {
    /// The speaker's channel, from 0.
    pub channel: u16,
    /// Whether the microphone heard it. `not_tested` or `failed`: it could not have, so that nothing is said of the
    /// speaker.
    pub heard: Value<Exact<bool>>,
    /// The channel of the recording that heard it loudest; on a cable, another one than was played is swapped.
    pub heard_on: Value<Exact<u16>>,
    /// How far the sweep's peak stands above the noise; 35 dB and more are sure.
    pub confidence_db: Value<Exact<f64>>,
    /// From sample played to sample heard, buffers included.
    pub delay_ms: Value<Estimate>,
    /// Level heard less level played, over the time in which the sweep arrived (a negative echo return loss).
    pub return_db: Value<Estimate>,
    /// The frequency response, relative to its mean over 150 Hz to 7 kHz.
    pub response: Value<Response>,
    /// Harmonic distortion, second to fifth, of the fundamental.
    pub distortion_ratio: Value<Estimate>,
}

/// A frequency response over third octaves from 150 Hz to 7 kHz.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Centers of the bands.
    pub at_hz: Vec<f64>,
    /// Level of each band, relative to the mean of all.
    pub level_db: Vec<f64>,
    /// Lowest center within 10 dB of the mean.
    pub low_hz: f64,
    /// Highest center within 10 dB of the mean.
    pub high_hz: f64,
}
