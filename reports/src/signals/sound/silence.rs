//! The six silences told apart, and speech.

use super::Analysis;
use crate::schema::Heard;

/// Speech below this active level (ITU-T P.56) is too quiet: 19 dB below the nominal −26 dBFS of ITU-T P.830, more than
/// automatic gain makes up for.
pub const TOO_QUIET_DBFS: f64 = -45.0;
/// A room is louder than this, through any microphone that is on; a converter with nothing at its input is not.
pub const DEAD_DBFS: f64 = -85.0;
/// One step of 16 bits: what stays within it from beginning to end is silence, if not zero.
const ONE_CODE: f64 = 1.0 / 32_768.0;
/// Share of the samples that repeat what came before, from which on the device hangs.
const STUCK: f64 = 0.5;

/// What the system says of a microphone, where it says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Circumstances {
    /// Whether this program may use it. (macOS hands zeros to those who may not.)
    pub permitted: Option<bool>,
    /// Whether the mixer has it muted.
    pub muted: Option<bool>,
}

/// What a recording is. `None`: there is none.
///
/// In this order: nothing but zeros is for want of permission, if the system says so, or muted in software; one value all
/// along or one piece of sound over and over is stuck; a voice is speech or too quiet; without one, what is quieter than
/// any room is muted in hardware, or by the mixer if that says so; else nobody spoke.
pub fn name(analysis: &Analysis, told: Circumstances) -> Option<Heard> {
    let channel = analysis.loudest()?;
    if channel.samples == 0 {
        return None;
    }
    let range = channel.greatest - channel.least;
    let nothing = range <= ONE_CODE && channel.least.abs().max(channel.greatest.abs()) <= ONE_CODE;
    let repeated = channel.broken.repeated_samples;
    Some(if nothing && told.permitted == Some(false) {
        Heard::NoPermission
    } else if nothing {
        Heard::MutedInSoftware
    } else if range == 0.0 || share(repeated, channel.samples) >= STUCK {
        Heard::Stuck
    } else if let Some(speech) = channel.speech {
        if speech.level_dbfs < TOO_QUIET_DBFS { Heard::TooQuiet } else { Heard::Speech }
    } else if told.muted == Some(true) {
        Heard::MutedInSoftware
    } else if channel.rms_dbfs < DEAD_DBFS {
        Heard::MutedInHardware
    } else {
        Heard::NobodySpoke
    })
}

fn share(part: u64, whole: u64) -> f64 {
    crate::units::Ratio::of(part, whole).map_or(0.0, crate::units::Ratio::get)
}
