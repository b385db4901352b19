//! What the analysers cost: `cargo run --release -p greenroom-reports --example signals_cost`. Ten seconds of sound at 48 kHz must
//! take less than 100 ms of one core.

use std::hint::black_box;
use std::time::Instant;

use greenroom_reports::signals::picture::{Luma, Range, Watch};
use greenroom_reports::signals::sound::{Format, Recording, sweep::Sweep, tone};

fn main() {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let tone = tone::sine(48_000, 997.0, -20.0, 480_000);
    let sound: Vec<f32> =
        tone.iter().map(|x| x + f32::from(u16::try_from(noise() >> 8).unwrap_or(0)) / 6.5e6).collect();
    let format = Format::new(48_000, 1).expect("a format");
    cost("everything a recording tells, 10 s of 48 kHz mono", || {
        let mut recording = Recording::new(format);
        sound.chunks(1_920).for_each(|block| recording.push(block));
        recording.analysis()
    });
    cost("a tone measured, 3 s", || tone::measure(&sound[..144_000], 48_000));
    let sweep = Sweep::new(48_000, 1.0).expect("a sweep");
    cost("a sweep found, 2.5 s", || sweep.find(&sound[..120_000]));
    let frame: Vec<u8> = (0..1_280 * 720).map(|_| u8::try_from(noise() >> 16).unwrap_or(0)).collect();
    let luma = Luma::plane(&frame, 1_280, 720, 1_280).expect("fits");
    let mut watch = Watch::new(Range::Full);
    cost("a frame of 720p", || watch.push(&luma));
}

/// The least of ten runs: what others do on the machine only adds.
#[expect(clippy::disallowed_methods, reason = "an example that measures")]
fn cost<T>(what: &str, mut run: impl FnMut() -> T) {
    let mut least = f64::INFINITY;
    for _ in 0..10 {
        let began = Instant::now();
        black_box(run());
        least = least.min(began.elapsed().as_secs_f64() * 1e3);
    }
    println!("{least:8.2} ms  {what}");
}
