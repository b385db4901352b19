//! Sound: interleaved `f32` samples, full scale ±1, of any rate and any count of channels.
//!
//! # Shape
//!
//! ```text
//! Format { rate: u32, channels: u16 }                                         what every analyser is made with
//!
//! Meter::new(Format)      .push(&[f32])  .take() -> Level { peak_dbfs, rms_dbfs, clipped }   live meters, since the last take
//! Recording::new(Format)  .push(&[f32])  .analysis() -> Analysis               everything at the end (or at any time)
//! Analysis::figures(&Circumstances, Option<Drift>) -> schema::SoundFigures     into the report
//! Circumstances { permitted: Option<bool>, muted: Option<bool>, .. }           what the system says, to tell the silences
//! DriftMeter::new(rate)   .push(frames: u64, at: Micros)  .drift() -> Option<Drift { ppm, low, high, n }>
//!
//! tone::sine(rate, hz, dbfs, frames) -> Vec<f32>                               mono; interleave() puts it on one channel
//! tone::measure(&[f32], rate) -> Option<Tone { hz, level_dbfs, thd_n_db }>     on the longest stretch without dropouts
//! sweep::Sweep::new(rate, seconds)  .samples() -> Vec<f32>                     exponential sweep, faded in and out
//! sweep::Sweep::find(&self, &[f32]) -> Found { delay, return_db, confidence_db, response, distortion }
//! interleave(&[f32], channels, channel) -> Vec<f32>
//! ```
