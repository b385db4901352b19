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

#[cfg(not(feature = "encode"))]
use greenroom_reports::schema::Use;
use greenroom_reports::schema::{EncodeHeadroom, Value};
use greenroom_reports::units::Micros;
use tokio_util::sync::CancellationToken;

use crate::devices::Clock;

/// Beyond this no further frame is begun, whatever is still missing.
pub const LONGEST: Micros = Micros::from_secs(3);

/// Whether this machine can encode without taking the core on which packets are sent and sound is taken in.
///
/// With two cores it can: a microphone beside it loses nothing and the network's delay variation moves by a fraction of what is
/// allowed (docs/PERFORMANCE.md).
pub fn can_run_beside() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

/// How long encoding may take.
#[derive(Debug, Clone)]
pub struct Limit {
    clock: Clock,
    until: Micros,
    enough: CancellationToken,
}

impl Limit {
    /// So long from now, or until nobody waits for it any more, when `enough` is cancelled.
    pub fn new(longest: Micros, enough: CancellationToken) -> Self {
        let clock = Clock::start();
        Self { clock, until: clock.now() + longest, enough }
    }
}

#[cfg(feature = "encode")]
impl Limit {
    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn is_reached(&self) -> bool {
        self.enough.is_cancelled() || self.now() >= self.until
    }

    /// Why there are only so many frames.
    fn too_few<T>(&self, frames: usize) -> Value<T> {
        if self.enough.is_cancelled() {
            return Value::not_tested(
                "the test was over before: `greenroom devices host` takes its time for it",
            );
        }
        Value::failed(format!("only {frames} frames were encoded in time"))
    }
}

/// Measures how many times real time this machine encodes speech and video; once the limit is reached no further frame is begun,
/// and what is missing says so.
#[cfg(feature = "encode")]
pub fn headroom(limit: &Limit) -> Vec<EncodeHeadroom> {
    codecs::headroom(limit)
}

/// Says that this build cannot tell.
#[cfg(not(feature = "encode"))]
pub fn headroom(_limit: &Limit) -> Vec<EncodeHeadroom> {
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
