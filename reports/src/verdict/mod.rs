//! Will it work, and if not, whose fault is it: profiles, rules, causes, and their words.

pub mod device_words;
mod devices;
mod failure;
mod profile;
mod rules;
mod service_words;
pub mod words;

pub use devices::{DeviceFigure, DeviceLimits, Edge};
pub use failure::TargetFailure;
pub use profile::{Band, Limits, Profile, ProfileError};
pub use rules::{Interval, Judgement, Reach, exit_code, rank, worse};
