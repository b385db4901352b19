//! Whether somebody spoke, and how loud.
//!
//! The level is the active speech level of ITU-T P.56 (method B): the envelope of the rectified signal (two exponential
//! averages of 30 ms) is held against thresholds in steps of 6 dB; each counts the samples in which the envelope was
//! above it or had been within the last 200 ms; the level is where energy over active time stands 15.9 dB above the
//! threshold. Differing from the norm: no band filter but a high-pass at 20 Hz against DC, and thresholds down to 2⁻²⁰ of
//! full scale instead of 2⁻¹⁵, since floats reach lower than 16 bits.
//!
//! That somebody spoke takes more than energy: see [`VoiceBox`].

use std::f64::consts::TAU;

use super::levels::dbfs;
use super::{float, sample};
use crate::signals::limits;

/// Thresholds: 2⁻²⁰ to 2⁻¹ of full scale.
const THRESHOLDS: usize = 20;
/// The norm's margin between active level and threshold.
const MARGIN_DB: f64 = 15.9;
/// The norm's time constant of the envelope.
const ENVELOPE_S: f64 = 0.03;
/// The norm's hangover.
const HANGOVER_S: f64 = 0.2;

/// Speech as ITU-T P.56 measures it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speech {
    /// Level while somebody speaks.
    pub level_dbfs: f64,
    /// Share of the time in which somebody does.
    pub ratio: f64,
}

/// The active speech level of a mono signal that is known to be speech; `None` when it is below −100 dBFS or too short.
pub fn active_level(samples: &[f32], rate: u32) -> Option<Speech> {
    let mut meter = ActiveLevel::new(rate);
    samples.iter().for_each(|&x| meter.push(x));
    meter.speech()
}

/// The speech voltmeter.
#[derive(Debug, Clone)]
pub(super) struct ActiveLevel {
    hangover: u32,
    smooth: f64,
    high_pass: f64,
    /// The high-pass' running mean; `None` before the first sample.
    mean: Option<f64>,
    envelope: [f64; 2],
    squares: f64,
    samples: u64,
    active: [u64; THRESHOLDS],
    since: [u32; THRESHOLDS],
}

impl ActiveLevel {
    pub(super) fn new(rate: u32) -> Self {
        let rate = f64::from(rate);
        let hangover = u32::try_from(super::count(rate * HANGOVER_S)).unwrap_or(u32::MAX);
        Self {
            hangover,
            smooth: (-1.0 / (rate * ENVELOPE_S)).exp(),
            high_pass: 1.0 - (-TAU * 20.0 / rate).exp(),
            mean: None,
            envelope: [0.0; 2],
            squares: 0.0,
            samples: 0,
            active: [0; THRESHOLDS],
            since: [hangover; THRESHOLDS],
        }
    }

    pub(super) fn push(&mut self, x: f32) {
        let x = f64::from(x);
        // Starting from the first sample, an offset makes no click.
        let mean = self.mean.get_or_insert(x);
        *mean += (x - *mean) * self.high_pass;
        let x = x - *mean;
        self.squares += x * x;
        self.samples += 1;
        let [first, second] = &mut self.envelope;
        *first = self.smooth * *first + (1.0 - self.smooth) * x.abs();
        *second = self.smooth * *second + (1.0 - self.smooth) * *first;
        let mut threshold = 0.5_f64.powi(20);
        for (active, since) in self.active.iter_mut().zip(&mut self.since) {
            *since = if *second >= threshold { 0 } else { *since + 1 };
            let counts = *since <= self.hangover;
            *active += u64::from(counts);
            *since -= u32::from(!counts);
            threshold *= 2.0;
        }
    }

    pub(super) fn speech(&self) -> Option<Speech> {
        self.counted().speech()
    }

    pub(super) fn counted(&self) -> Active {
        Active { squares: self.squares, samples: self.samples, above: self.active }
    }
}

/// What the voltmeter counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Active {
    /// Sum of the squares behind a high-pass at 20 Hz, of full scale.
    pub squares: f64,
    /// Samples.
    pub samples: u64,
    /// Samples in which the envelope was above a threshold, or had been within the last 200 ms: of 2^-20 of full scale, and of each twice as
    /// high.
    pub above: [u64; THRESHOLDS],
}

impl Active {
    pub(super) fn speech(&self) -> Option<Speech> {
        let mut before: Option<(f64, f64)> = None;
        let mut threshold_db = 20.0 * 0.5_f64.powi(20).log10();
        for active in self.above {
            if active == 0 {
                return None;
            }
            let level = 10.0 * (self.squares / wide(active)).log10();
            let above = level - threshold_db;
            if above <= MARGIN_DB {
                // Between two thresholds both change evenly, in dB.
                let (level_before, above_before) = before?;
                let share = (above_before - MARGIN_DB) / (above_before - above);
                let level_dbfs = level_before + (level - level_before) * share;
                let overall = 10.0 * (self.squares / wide(self.samples)).log10();
                let ratio = 10_f64.powf((overall - level_dbfs) / 10.0).min(1.0);
                return level_dbfs.is_finite().then_some(Speech { level_dbfs, ratio });
            }
            before = Some((level, above));
            threshold_db += 20.0 * 2.0_f64.log10();
        }
        None
    }
}

/// Rate to which the signal is brought down, at least, to look for a voice.
const LOW_RATE: u32 = 2_000;
/// Samples of the low rate in a window: 64 ms.
const WINDOW: usize = 128;
/// Pitch periods looked for, in samples of the low rate: 400 to 60 Hz.
const PERIODS: std::ops::RangeInclusive<usize> = 5..=33;

/// Brings a signal down to about 2 kHz: the mean of two neighboring blocks, weighted as a triangle.
#[derive(Debug, Clone)]
pub(super) struct Decimator {
    by: u32,
    phase: u32,
    rising: f64,
    falling: f64,
}

impl Decimator {
    pub(super) fn new(rate: u32) -> Self {
        Self { by: (rate / LOW_RATE).max(1), phase: 0, rising: 0.0, falling: 0.0 }
    }

    /// The rate that comes out.
    pub(super) fn rate(&self, rate: u32) -> f64 {
        f64::from(rate) / f64::from(self.by)
    }

    pub(super) fn push(&mut self, x: f32) -> Option<f32> {
        self.phase += 1;
        let up = f64::from(self.phase) / f64::from(self.by);
        self.rising += f64::from(x) * up;
        self.falling += f64::from(x) * (1.0 - up);
        if self.phase < self.by {
            return None;
        }
        let out = self.falling / f64::from(self.by);
        // What rose over this block falls over the next one.
        let rest = std::mem::take(&mut self.rising);
        (self.phase, self.falling) = (0, rest);
        Some(sample(out))
    }
}

/// Looks for a voice: windows of the low-rate signal in which one pitch period is like the next, that stand out of the
/// quietest tenth, sound all the way through, and follow one another. Noise has no period, rumble no repetition, hum no windows that
/// stand out; of keystrokes each is over within its window, and the next one comes later.
#[derive(Debug, Clone)]
pub(super) struct VoiceBox {
    window: Vec<f32>,
    seen: Vec<Window>,
}

impl VoiceBox {
    pub(super) fn new() -> Self {
        Self { window: Vec::with_capacity(WINDOW), seen: Vec::new() }
    }

    pub(super) fn push(&mut self, x: f32) {
        self.window.push(x);
        if self.window.len() == WINDOW {
            self.seen.push(look_at(&self.window));
            self.window.drain(..WINDOW / 2);
        }
    }

    pub(super) fn windows(&self) -> &[Window] {
        &self.seen
    }
}

/// How many windows hold a voice that lasts.
pub(super) fn voiced(windows: &[Window]) -> usize {
    let mut levels: Vec<f32> = windows.iter().map(|window| window.level).collect();
    levels.sort_unstable_by(f32::total_cmp);
    let Some(floor) = levels.get(levels.len() / 10) else { return 0 };
    let limits = &limits().sound;
    let from = f64::from(*floor) + limits.active_above_floor_db.value;
    let is_voice = |window: &Window| {
        let [level, alike, peak] = [window.level, window.alike, window.peak].map(f64::from);
        level >= from && alike >= limits.voice_alike.value && peak <= limits.voice_even_ratio.value
    };
    let runs = windows.chunk_by(|a, b| is_voice(a) == is_voice(b));
    let lasts = |run: &[Window]| float(run.len()) >= limits.voice_windows_in_a_row.value;
    runs.filter(|run| lasts(run) && run.iter().all(is_voice)).map(<[Window]>::len).sum()
}

/// What a window of 64 ms of the signal tells, brought down to about 2 kHz; each begins in the middle of the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Its level, in dBFS.
    pub level: f32,
    /// How alike it is to itself one pitch period later, at best.
    pub alike: f32,
    /// The share of its energy that its loudest eighth holds.
    pub peak: f32,
}

fn look_at(window: &[f32]) -> Window {
    let mean = window.iter().map(|&x| f64::from(x)).sum::<f64>() / float(window.len());
    let x: Vec<f64> = window.iter().map(|&x| f64::from(x) - mean).collect();
    let reach = x.len() - PERIODS.end() - 1;
    let energy = |from: usize| x[from..from + reach].iter().map(|x| x * x).sum::<f64>();
    let alike = |lag: usize| {
        let both = (energy(0) * energy(lag)).sqrt();
        let product: f64 = x[..reach].iter().zip(&x[lag..]).map(|(a, b)| a * b).sum();
        if both > 0.0 { product / both } else { 0.0 }
    };
    let likeness: Vec<f64> = (PERIODS.start() - 1..=PERIODS.end() + 1).map(alike).collect();
    // Only a likeness that rises again is a period.
    let peaks = likeness.windows(3).filter(|l| l[1] > l[0] && l[1] >= l[2]).map(|l| l[1]);
    let energy_of = |part: &[f64]| part.iter().map(|x| x * x).sum::<f64>();
    let whole = energy_of(&x);
    let loudest = x.chunks(WINDOW / 8).map(energy_of).fold(0.0, f64::max);
    Window {
        level: sample(dbfs(whole / float(x.len()))),
        alike: sample(peaks.fold(0.0, f64::max)),
        peak: if whole > 0.0 { sample(loudest / whole) } else { 1.0 },
    }
}

/// Exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of samples stay far below 2^53")]
fn wide(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 16_000;

    fn tone(seconds: f64, amplitude: f64) -> Vec<f32> {
        let frames = super::super::count(seconds * f64::from(RATE));
        (0..frames).map(|n| sample(amplitude * (TAU * 300.0 * float(n) / f64::from(RATE)).sin())).collect()
    }

    /// A signal without pauses is as loud active as over all: a sine of amplitude 0.1 has −23.01 dBFS.
    #[test]
    fn without_pauses_it_is_the_rms_level() {
        let speech = active_level(&tone(10.0, 0.1), RATE).expect("loud enough");
        assert!((speech.level_dbfs + 23.01).abs() < 0.1, "{speech:?}");
        assert!(speech.ratio > 0.99, "{speech:?}");
    }

    /// Half a second on, one and a half off: by the norm active are 0.5 s, the hangover of 0.2 s, and the tail of the
    /// envelope until it falls below the threshold that is 15.9 dB under the level.
    #[test]
    fn pauses_do_not_count_but_for_the_hangover() {
        let mut samples = Vec::new();
        for _ in 0..10 {
            samples.extend(tone(0.5, 0.1));
            samples.extend(vec![0.0; 24_000]);
        }
        let speech = active_level(&samples, RATE).expect("loud enough");
        // The envelope falls from 0.0637 to the threshold (about 0.0093) in about 0.11 s: active for 0.81 of 2 s.
        let active = 0.5 + 0.2 + 0.11;
        let expected = -23.01 + 10.0 * (0.5_f64 / active).log10();
        assert!((speech.level_dbfs - expected).abs() < 0.3, "{speech:?}, expected {expected}");
        assert!((speech.ratio - active / 2.0).abs() < 0.03, "{speech:?}");
    }

    #[test]
    fn level_follows_gain_to_the_tenth() {
        let at = |gain: f32| {
            let samples: Vec<f32> =
                tone(2.0, 0.5).into_iter().chain(vec![0.0; 16_000]).map(|x| x * gain + 0.01).collect();
            active_level(&samples, RATE).expect("loud enough").level_dbfs
        };
        for (gain, db) in [(0.1, -20.0), (0.01, -40.0), (0.001, -60.0)] {
            assert!((at(gain) - at(1.0) - db).abs() < 0.3, "{gain}: {} {}", at(gain), at(1.0));
        }
        assert_eq!(active_level(&[0.0; 16_000], RATE), None);
        assert_eq!(active_level(&[], RATE), None);
    }
}
