//! Pictures: luma planes of any size, and the times at which they came.
//!
//! | what | how |
//! |---|---|
//! | a frame's brightness | [`Luma`] views it without copying: a plane (Y8, NV12, I420), or every other byte (YUYV) |
//! | one frame | [`FrameStats::of`]: mean, spread, overexposed, sharpness |
//! | all frames | [`Watch`]: push each, then ask what they show: [`Watch::figures`] |
//! | when they came | [`Timeline`]: push each time and number, then [`Timeline::figures`] |
//! | a JPEG | [`jpeg::check`]: whole and of the right size, and its luma |
//!
//! Brightness is a share of white. Cameras that deliver YUV use *video range* (black 16, white 235), JPEGs the full one:
//! [`Range`] says which.

pub mod jpeg;
mod luma;
mod timeline;
mod watch;

pub use luma::{FrameStats, Luma, Range};
pub use timeline::Timeline;
pub use watch::Watch;
