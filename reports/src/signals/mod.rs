//! What a microphone's samples and a camera's frames say. Pure: samples, frames and times come in, figures come out.
//!
//! | module | what it is for |
//! |---|---|
//! | [`sound`] | live level, everything that a recording tells, test signals, and what came back of them |
//! | [`limits`](limits()) | by what they name what they find: data with its sources |
//! | [`picture`] | what is on the frames, when they came, whether a JPEG is whole |
//!
//! Analysers stream: they are `new` with a format, `push`ed blocks of any size, and asked at any time. How the samples
//! are cut into blocks changes nothing. Time is a count of samples; only the drift of a clock and the times of frames take
//! [`Micros`](crate::units::Micros), on any monotonic clock. No input makes them panic: NaN and infinities count as
//! damage, empty blocks as nothing.

mod limits;
pub mod picture;
pub mod sound;

pub use limits::{
    BandwidthLimits, ClippingLimits, DropoutLimits, FrameLimits, HumLimits, Limits, PictureLimits,
    SoundLimits, Sourced, SweepLimits, limits,
};
