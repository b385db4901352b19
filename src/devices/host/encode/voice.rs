//! Sound like speech: a buzz whose pitch glides, with pauses and hisses between syllables.
//!
//! Harmonics of 110 to 160 Hz, each weaker than the one before, five syllables a second; every fourth syllable is a hiss, as of an s. An
//! encoder that looks for a pitch, switches modes between voice and noise, and saves in pauses has something to do.

use std::f64::consts::TAU;

/// Samples per second.
pub const RATE: u32 = 48_000;
/// Samples of 20 ms.
pub const FRAME: usize = 960;

/// Samples of a syllable, a fifth of a second; the last quarter is a pause.
const SYLLABLE: usize = 9_600;
/// Harmonics of the voice: up to 4 kHz or so.
const HARMONICS: u32 = 25;

/// So many samples of it, the same ones at every call; they peak below a quarter of full scale.
pub fn speech(samples: usize) -> Vec<i16> {
    let mut phase = 0.0;
    let mut noise = 0x1234_5678_9abc_def1_u64;
    (0..samples)
        .map(|at| {
            let (number, within) = (at / SYLLABLE, at % SYLLABLE);
            let (number, within) = (small(number), small(within) / small(SYLLABLE));
            let pitch = 110.0 + 50.0 * (0.5 + 0.5 * (number * 1.7 + within).sin());
            phase = (phase + pitch / f64::from(RATE)) % 1.0;
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let loud = if within < 0.75 { (within / 0.75 * TAU / 2.0).sin() } else { 0.0 };
            let hiss = number % 4.0 > 2.5;
            let sound = if hiss { hiss_of(noise) } else { buzz(phase) };
            quantize(0.2 * loud * sound)
        })
        .collect()
}

/// Harmonics at 6 dB per octave, together within ± 1.
fn buzz(phase: f64) -> f64 {
    let all: f64 = (1..=HARMONICS).map(|n| (f64::from(n) * phase * TAU).sin() / f64::from(n)).sum();
    all / 2.0
}

fn hiss_of(noise: u64) -> f64 {
    let [.., high, low] = noise.to_le_bytes();
    f64::from(i16::from_le_bytes([high, low])) / 32_768.0
}

#[expect(clippy::cast_precision_loss, reason = "seconds of sound are far below 2^53 samples")]
fn small(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a float becomes the nearest sample within full scale")]
fn quantize(level: f64) -> i16 {
    (level * 32_767.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_voice_hisses_and_pauses() {
        let samples = speech(48_000);
        let loudest = samples.iter().map(|it| it.unsigned_abs()).max();
        assert!(loudest.is_some_and(|it| (2_000..8_192).contains(&it)), "{loudest:?}");
        let quiet = samples.iter().filter(|it| **it == 0).count();
        assert!((11_000..14_000).contains(&quiet), "a quarter is pause: {quiet}");
        let crossings = |from: usize| {
            samples[from..from + 4_800].windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count()
        };
        // The fourth syllable is a hiss: it crosses zero at every other sample, a voice some hundred times a second.
        assert!(crossings(3 * SYLLABLE + 1_000) > 2_000, "{}", crossings(3 * SYLLABLE + 1_000));
        assert!(crossings(1_000) < 500, "{}", crossings(1_000));
    }
}
