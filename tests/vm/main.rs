//! Devices and clocks on a real kernel: Debian's, under QEMU, with cameras, sound cards and radios made of software. The program under test runs
//! inside, as people run it; its results come back over a serial port.
//!
//! One boot per test; the scenarios of a boot are listed in its guest script. What a machine needs for this is installed by
//! `./dev test`; without it these tests fail, they are never skipped.

#![cfg(target_os = "linux")]

mod cameras;
mod clock;
mod feed;
mod machine;
#[cfg(feature = "audio")]
mod sound;
mod wifi;
