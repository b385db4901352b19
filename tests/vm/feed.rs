//! A webcam that sends JPEG pictures, some of them damaged: this very test program, run inside the guest, feeding a loopback
//! device. A webcam of hardware with a known share of damaged frames does not exist.

use std::io::Write as _;
use std::time::{Duration, Instant};

use v4l::video::Output as _;

/// The device that the guest wants fed.
const DEVICE: &str = "FEED_DEVICE";
const WIDTH: u32 = 320;
const HEIGHT: u32 = 240;

/// Frames per second: sixty of them in three seconds, and time enough for each on an emulated processor.
pub(crate) const FEED_FPS: u32 = 20;

/// One frame in so many is damaged.
pub(crate) const DAMAGED_ONE_IN: usize = 10;

/// Runs in the guest alone, until it is killed.
#[test]
#[ignore = "feeds a device inside the virtual machine"]
#[expect(clippy::disallowed_methods, reason = "a webcam's clock")]
fn feed_a_loopback_camera() {
    let device = std::env::var(DEVICE).expect("the guest says which device");
    let mut device = v4l::Device::with_path(device).expect("the loopback device opens");
    device.set_format(&v4l::Format::new(WIDTH, HEIGHT, v4l::FourCC::new(b"MJPG"))).expect("it takes JPEG");
    let frames: Vec<Vec<u8>> = (0..DAMAGED_ONE_IN * WAYS).map(frame).collect();
    let mut due = Instant::now();
    for frame in frames.iter().cycle() {
        device.write_all(frame).expect("it takes frames");
        due += Duration::from_secs(1) / FEED_FPS;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// A picture with a bar that moves and edges everywhere; the last of each group of ten damaged, each time in another way.
fn frame(number: usize) -> Vec<u8> {
    let bar = u32::try_from(number * 7).expect("few frames") % WIDTH;
    let pixel = |x: u32, y: u32| {
        let checks = if (x / 8 + y / 8).is_multiple_of(2) { 60 } else { 170 };
        if x.abs_diff(bar) < 12 { 230 } else { checks }
    };
    let bytes: Vec<u8> = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| pixel(x, y))).collect();
    let mut file = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 80)
        .encode(&bytes, WIDTH, HEIGHT, image::ExtendedColorType::L8)
        .expect("a small picture");
    if number % DAMAGED_ONE_IN == DAMAGED_ONE_IN - 1 { damaged(file, number / DAMAGED_ONE_IN) } else { file }
}

/// In how many ways [`damaged`] does its work.
const WAYS: usize = 6;

/// What USB cables and cameras do to frames: the end missing, a part that never came, the start missing, the last packet
/// missing, half a picture with an end put to it, a packet missing in the middle.
fn damaged(mut file: Vec<u8>, way: usize) -> Vec<u8> {
    let length = file.len();
    match way {
        0 => file.truncate(length / 2),
        1 => file[length / 2..].fill(0),
        2 => drop(file.drain(..2)),
        3 => file.truncate(length - 40),
        4 => {
            file.truncate(length / 2);
            file.extend([0xff, 0xd9]);
        }
        _ => drop(file.drain(length / 2..length / 2 + 512)),
    }
    file
}
