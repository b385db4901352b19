//! How many times real time this machine encodes what a call needs: speech, and video of three sizes at 30 frames per second.
//!
//! Measured, not guessed from a core count: an old laptop that heat slows down has as many cores as a new one. The encoders
//! are those that most calls fall back to where there is none in hardware, libopus and openh264, at the rates and settings of a call, on one
//! core, at this program's usual priority, so that whatever else the machine does counts as it would in the call.
//!
//! What is encoded is made up: see [`picture`] and [`voice`]. A measurement takes under a second on a machine that keeps up,
//! and never much more than [`LONGEST`].

#[cfg(feature = "encode")]
mod codecs;
pub mod picture;
pub mod voice;

use greenroom_reports::schema::EncodeHeadroom;
#[cfg(not(feature = "encode"))]
use greenroom_reports::schema::{Use, Value};
use greenroom_reports::units::Micros;

use crate::devices::Clock;

/// Beyond this no further frame is begun, whatever is still missing.
pub const LONGEST: Micros = Micros::from_secs(3);

/// Measures how many times real time this machine encodes speech and video.
pub fn headroom(clock: Clock) -> Vec<EncodeHeadroom> {
    headroom_until(clock, clock.now() + LONGEST)
}

/// The same, for whom [`LONGEST`] is too long: after `until` no further frame is begun, and what is missing then says so.
#[cfg(feature = "encode")]
pub fn headroom_until(clock: Clock, until: Micros) -> Vec<EncodeHeadroom> {
    codecs::headroom_until(clock, until)
}

/// Says that this build cannot tell.
#[cfg(not(feature = "encode"))]
pub fn headroom_until(_clock: Clock, _until: Micros) -> Vec<EncodeHeadroom> {
    let uses =
        [(Use::Audio, "opus"), (Use::Video360p, "h264"), (Use::Video720p, "h264"), (Use::Video1080p, "h264")];
    uses.map(|(use_, codec)| EncodeHeadroom {
        use_,
        codec: codec.to_owned(),
        encoder: "none".to_owned(),
        times_real_time: Value::not_tested("this build has no encoders (cargo feature `encode`)"),
    })
    .into()
}
