//! The six silences told apart, and speech.

use super::Analysis;
use crate::schema::Heard;
use crate::signals::limits;

/// What the system says of a microphone, where it says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Circumstances {
    /// Whether this program may use it. (macOS hands zeros to those who may not.)
    pub permitted: Option<bool>,
    /// Whether the mixer has it muted.
    pub muted: Option<bool>,
}

/// What a recording is, by [`limits`](limits()). `None`: there is none.
///
/// In this order: nothing but zeros is for want of permission, if the system says so, or muted in software; one value all
/// along or one piece of sound over and over is stuck; a voice is speech or too quiet; without one, what is quieter than
/// any room is muted in hardware, or by the mixer if that says so; else nobody spoke.
pub fn name(analysis: &Analysis, told: Circumstances) -> Option<Heard> {
    let limits = &limits().sound;
    let zeros = limits.zeros_within.value;
    let channel = analysis.loudest()?;
    if channel.samples == 0 {
        return None;
    }
    let range = channel.greatest - channel.least;
    let nothing = range <= zeros && channel.least.abs().max(channel.greatest.abs()) <= zeros;
    let repeated = channel.broken.repeated_samples;
    Some(if nothing && told.permitted == Some(false) {
        Heard::NoPermission
    } else if nothing {
        Heard::MutedInSoftware
    } else if range == 0.0 || share(repeated, channel.samples) >= limits.stuck_ratio.value {
        Heard::Stuck
    } else if let Some(speech) = channel.speech {
        if speech.level_dbfs < limits.too_quiet_dbfs.value { Heard::TooQuiet } else { Heard::Speech }
    } else if told.muted == Some(true) {
        Heard::MutedInSoftware
    } else if channel.rms_dbfs < limits.dead_dbfs.value {
        Heard::MutedInHardware
    } else {
        Heard::NobodySpoke
    })
}

fn share(part: u64, whole: u64) -> f64 {
    crate::units::Ratio::of(part, whole).map_or(0.0, crate::units::Ratio::get)
}
