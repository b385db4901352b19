//! What fake microphones hear, and what fake speakers send through the room to them.

use std::f64::consts::TAU;
use std::sync::Arc;

use greenroom_reports::units::Micros;

use super::NANOS;
use crate::devices::audio::Format;

/// What a fake microphone hears. Levels are dB to full scale, rms.
#[derive(Debug, Clone, PartialEq)]
pub enum Hears {
    /// Exact zeros: muted by a program, or no permission.
    DigitalSilence,
    /// The converter's own noise at -95 dBFS in 16 bit: muted by a switch.
    HardwareMute,
    /// One value over and over.
    Stuck(f32),
    /// A quiet room with nobody in it.
    Room {
        /// Its noise.
        dbfs: f64,
    },
    /// A pure tone.
    Sine {
        /// Its frequency.
        hz: f64,
        /// Its level.
        dbfs: f64,
    },
    /// Something like speech: a buzz of 120 Hz in syllables, with pauses, above a room's noise.
    Speech {
        /// Its level while it sounds.
        dbfs: f64,
        /// The room's noise.
        room_dbfs: f64,
    },
    /// Speech far too loud for the converter.
    Clipping,
    /// Samples as given, again and again.
    Samples(Arc<[f32]>),
    /// What the fake speakers play.
    Speaker {
        /// So much later.
        delay: Micros,
        /// So much softer.
        gain_db: f64,
        /// The room's noise.
        room_dbfs: f64,
    },
}

/// A sound on its way through the room.
#[derive(Debug, Clone)]
pub(super) struct Emission {
    pub(super) starts: Micros,
    pub(super) ends: Micros,
    pub(super) format: Format,
    /// Frames a second, by the clock of the speaker that plays it.
    pub(super) rate_hz: f64,
    pub(super) sound: Arc<[f32]>,
}

/// Makes what a microphone hears.
#[derive(Debug)]
pub(super) struct Generator {
    hears: Hears,
    format: Format,
    noise: u64,
    frame: usize,
}

impl Generator {
    pub(super) fn new(hears: Hears, format: Format) -> Self {
        Self { hears, format, noise: 0x9E37_79B9_7F4A_7C15, frame: 0 }
    }

    /// Adds one frame, heard at `nanos`.
    pub(super) fn frame(&mut self, nanos: f64, played: &[Emission], samples: &mut Vec<f32>) {
        let sample = self.sample(nanos, played);
        self.frame += 1;
        samples.extend(std::iter::repeat_n(sample, usize::from(self.format.channels)));
    }

    #[expect(clippy::cast_possible_truncation, reason = "sound is f32")]
    fn sample(&mut self, nanos: f64, played: &[Emission]) -> f32 {
        let seconds = nanos / NANOS;
        match self.hears.clone() {
            Hears::DigitalSilence => 0.0,
            Hears::HardwareMute => {
                let noise = self.noise(-95.0);
                ((noise * 32_768.0).round() / 32_768.0) as f32
            }
            Hears::Stuck(value) => value,
            Hears::Room { dbfs } => self.noise(dbfs) as f32,
            Hears::Sine { hz, dbfs } => {
                (amplitude(dbfs) * 2.0_f64.sqrt() * (TAU * hz * seconds).sin()) as f32
            }
            Hears::Speech { dbfs, room_dbfs } => {
                (amplitude(dbfs) * speech(seconds) + self.noise(room_dbfs)) as f32
            }
            Hears::Clipping => (amplitude(6.0) * speech(seconds)).clamp(-1.0, 1.0) as f32,
            Hears::Samples(given) => given.get(self.frame % given.len().max(1)).copied().unwrap_or(0.0),
            Hears::Speaker { delay, gain_db, room_dbfs } => {
                let heard: f64 = played.iter().map(|emission| emission.at(nanos, delay)).sum();
                (heard * amplitude(gain_db) + self.noise(room_dbfs)) as f32
            }
        }
    }

    /// Noise with this rms: uniform, from a xorshift.
    #[expect(clippy::cast_precision_loss, reason = "53 of its bits are used")]
    fn noise(&mut self, dbfs: f64) -> f64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        let uniform = (self.noise >> 11) as f64 / (1_u64 << 53) as f64 * 2.0 - 1.0;
        uniform * 3.0_f64.sqrt() * amplitude(dbfs)
    }
}

impl Emission {
    /// Frames that the speaker has taken so long after the first.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
    pub(super) fn frames_after(&self, time: Micros) -> u64 {
        (time.as_secs() * self.rate_hz) as u64
    }

    /// What of it is heard at `nanos`, all channels together, between samples along a line.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "bounded below"
    )]
    fn at(&self, nanos: f64, delay: Micros) -> f64 {
        let after = nanos / 1e3 - (self.starts + delay).get() as f64;
        let place = after / 1e6 * self.rate_hz;
        let channels = usize::from(self.format.channels.max(1));
        let frames = self.sound.len() / channels;
        if place < 0.0 || place >= frames as f64 {
            return 0.0;
        }
        let (index, part) = (place.floor() as usize, place.fract());
        let frame = |index: usize| -> f64 {
            let from = index * channels;
            self.sound.get(from..from + channels).map_or(0.0, |f| f.iter().map(|s| f64::from(*s)).sum())
        };
        frame(index) * (1.0 - part) + frame(index + 1) * part
    }
}

fn amplitude(db: f64) -> f64 {
    10.0_f64.powf(db / 20.0)
}

/// A voice's buzz in syllables, rms 1 while it sounds: two seconds of speech, one of pause.
fn speech(seconds: f64) -> f64 {
    let phrase = seconds % 3.0;
    if phrase >= 2.0 {
        return 0.0;
    }
    // Four syllables a second, each swelling and fading.
    let syllable = (TAU / 2.0 * (phrase * 4.0).fract()).sin();
    let harmonics = [(1.0, 1.0), (2.0, 0.8), (4.0, 0.6), (6.0, 0.5), (10.0, 0.35), (20.0, 0.2), (40.0, 0.1)];
    let buzz: f64 = harmonics.iter().map(|(n, a)| a * (TAU * 120.0 * n * seconds + n * n).sin()).sum();
    let rms: f64 = (harmonics.iter().map(|(_, a)| a * a).sum::<f64>() / 2.0).sqrt();
    // A half sine's rms is 1/sqrt(2).
    syllable * buzz / rms * 2.0_f64.sqrt()
}
