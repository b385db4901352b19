//! Microphones, speakers, cameras and the machine itself: opened, used and judged by what comes out of them, not by being listed.
//!
//! | module | what |
//! |---|---|
//! | [`error`] | the one kind of error of every device, with its fix per system |
//! | [`clock`] | time for the tests of devices: real, or virtual in the fakes |
//! | [`host`] | the machine itself: what it is, how it does while a test runs, what it can encode |
//! | [`audio`] | the traits [`AudioInput`](audio::AudioInput) and [`AudioOutput`](audio::AudioOutput), their real and fake implementations, the tests of a microphone, a speaker and both together |
//! | [`in_use`] | whether somebody is perhaps in a call now |
//! | `camera` | the trait `Camera`, V4L2, nokhwa and a fake behind it, the test of a camera, its picture in the terminal |
//!
//! Nothing here waits without a bound: a call that has not returned after [`LONGEST_WAIT`] gives
//! [`Fault::Stalled`](error::Fault::Stalled), whatever the driver below does.

use greenroom_reports::units::Micros;

pub mod audio;
#[cfg(feature = "camera")]
pub mod camera;
pub mod clock;
pub mod error;
pub mod host;
pub mod in_use;

pub use clock::Clock;
pub use error::{DeviceError, Fault, Os, Permission, Who};

/// The longest that any single call into a device may take. Longer is a stall.
pub const LONGEST_WAIT: Micros = Micros::from_secs(5);
