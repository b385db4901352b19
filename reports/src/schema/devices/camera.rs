//! A camera's part of a report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Distribution, Estimate, Exact, Value};
use super::{DeviceFailure, DeviceInfo};

/// A camera and what it saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Which one.
    pub device: DeviceInfo,
    /// As what it was opened, or why it was not.
    pub state: Value<CameraStream>,
    /// Why it could not be tested, or not to the end; a test cut short has both figures and a failure.
    pub failure: Option<DeviceFailure>,
    /// What it offers.
    pub formats: Value<Exact<Vec<CameraFormat>>>,
    /// When its frames came.
    pub frames: FrameFigures,
    /// What is on them.
    pub picture: PictureFigures,
    /// One frame, when the person agreed to it.
    pub still: Option<Still>,
}

impl Camera {
    /// A camera that was found and not tried, for `reason`.
    pub fn not_tested(device: DeviceInfo, reason: &str) -> Self {
        Self {
            device,
            state: Value::not_tested(reason),
            failure: None,
            formats: Value::not_tested(reason),
            frames: FrameFigures::not_tested(reason),
            picture: PictureFigures::not_tested(reason),
            still: None,
        }
    }

    /// A camera that could not be opened.
    pub fn failed(device: DeviceInfo, failure: DeviceFailure) -> Self {
        Self {
            state: Value::failed(failure.reason()),
            failure: Some(failure),
            ..Self::not_tested(device, "it could not be opened")
        }
    }
}

/// As what a camera was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CameraStream {
    /// `v4l2`, `nokhwa`, …
    pub backend: String,
    /// What was asked for.
    pub asked: CameraFormat,
    /// What the camera gave.
    pub given: CameraFormat,
    /// How long it ran.
    pub ran_ms: f64,
}

/// A picture format with its rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CameraFormat {
    /// Four-character code: `YUYV`, `MJPG`, `NV12`, …
    pub fourcc: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Frames per second as claimed. `None`: not told.
    pub fps: Option<f64>,
}

figures! {
    /// When a camera's frames came.
    pub struct FrameFigures {
        /// Frames that came.
        pub count: Value<Exact<u64>>,
        /// Frames per second as counted.
        pub rate_fps: Value<Estimate>,
        /// Counted against claimed, 1 when the claim holds.
        pub rate_ratio: Value<Estimate>,
        /// Time between frames.
        pub interval_ms: Value<Distribution>,
        /// Standard deviation of the time between frames, of the mean.
        pub interval_spread_ratio: Value<Estimate>,
        /// Lost by the camera's own numbers, of those it took.
        pub lost_ratio: Value<Estimate>,
        /// Damaged: marked so by the driver, or not to be decoded whole, of those that came.
        pub damaged_ratio: Value<Estimate>,
        /// From being started to the first frame.
        pub first_ms: Value<Exact<f64>>,
        /// Waits of more than three frame intervals.
        pub stalls: Value<Exact<u64>>,
        /// The longest wait for a frame.
        pub longest_wait_ms: Value<Exact<f64>>,
    }
}

figures! {
    /// What is on a camera's frames.
    pub struct PictureFigures {
        /// What they show, in one word.
        pub seen: Value<Exact<Seen>>,
        /// Brightness, mean over the frames, of white (0..1, video range taken out).
        pub luma_mean_ratio: Value<Estimate>,
        /// Standard deviation of brightness within a frame, of white, mean over the frames.
        pub luma_spread_ratio: Value<Estimate>,
        /// Share of the pixels that are white beyond detail.
        pub overexposed_ratio: Value<Estimate>,
        /// Fine detail: variance of the Laplacian over the variance of brightness, mean over the frames.
        pub sharpness: Value<Estimate>,
        /// Longest run of frames that are the same to the last bit.
        pub identical_run: Value<Exact<u64>>,
    }
}

/// What a camera's frames show, in one word; the first that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// A picture.
    Picture,
    /// Nothing but black.
    Black,
    /// The same frame over and over.
    Frozen,
    /// Dim and without any structure: something lies over the lens.
    Covered,
    /// Too dark to see a face.
    Dark,
    /// Too bright to see a face.
    Overexposed,
    /// Without fine detail: out of focus, or a dirty lens.
    Blurred,
}

/// One frame, when the person agreed to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Still {
    /// `image/jpeg`, `image/png`.
    pub media_type: String,
    /// The picture, base64.
    pub data: String,
}
