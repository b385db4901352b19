//! Pictures: luma planes of any size, and the times at which they came.
//!
//! # Shape
//!
//! ```text
//! Luma::plane(&[u8], width, height, stride) -> Option<Luma>      Y8, NV12, I420: the first plane
//! Luma::yuyv(&[u8], width, height, stride) -> Option<Luma>       every other byte; no copy
//! FrameStats::of(&Luma) -> FrameStats                            mean, spread, overexposed, sharpness of one frame
//! Watch::new(Range)  .push(&Luma) -> FrameStats  .push_damaged()  .figures() -> schema::PictureFigures
//! Timeline::new(started: Micros, claimed_fps: Option<f64>)  .push(at: Micros, sequence: Option<u32>, damaged: bool)
//!                    .figures(until: Micros) -> schema::FrameFigures
//! jpeg::check(&[u8], (width, height)) -> Result<jpeg::Gray, jpeg::Damage>      whole, and of that size; gives its luma
//! ```
