//! Speaker to microphone: an exponential sine sweep, played and found again.
//!
//! Dividing the spectrum of what was heard by that of the sweep gives the impulse response of everything between. Its peak
//! is the delay; how far the peak stands above the rest says how sure that is; its spectrum over the tenth of a second after
//! the peak is the frequency response, and the mean of it what comes back. A sweep that rises exponentially puts each
//! harmonic of a distorting speaker before the peak, at a distance of its own (Farina, AES 108, 2000), so that distortion
//! neither spoils the response nor hides in it.
//!
//! A clock that drifts blurs the peak a little: 0.09 ms of delay at 100 ppm over a sweep of a second.

use std::f64::consts::{PI, TAU};

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::levels::finite;
use super::{count, float, sample};
use crate::schema::{LoopChannel, Response, Value, tidy};
use crate::signals::limits;

/// Where the sweep begins.
const LOW_HZ: f64 = 80.0;
/// Where it ends, if the rate allows.
const HIGH_HZ: f64 = 16_000.0;
/// Its amplitude: −6 dBFS, so that a speaker at its full volume still has room.
const AMPLITUDE: f64 = 0.5;
/// Third octaves from 160 Hz to 6.3 kHz (centers 1000 · 10^(k/10)), whose edges are 141 Hz and 7.1 kHz.
const THIRDS: std::ops::RangeInclusive<i32> = -8..=8;
/// The response is that of so long after the peak.
const GATE_S: f64 = 0.1;
/// Harmonics that count as distortion: second to fifth.
const HARMONICS: u32 = 5;

/// An exponential sine sweep.
#[derive(Debug, Clone)]
pub struct Sweep {
    rate: u32,
    seconds: f64,
    high_hz: f64,
    samples: Vec<f32>,
}

/// What came back of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// How far the peak of the impulse response stands above the noise in it.
    pub confidence_db: f64,
    /// From the first sample of the recording to where the sweep begins in it, in frames.
    pub delay_frames: f64,
    /// Level heard less level played, 160 Hz to 6.3 kHz, within a tenth of a second.
    pub return_db: f64,
    /// The frequency response.
    pub response: Response,
    /// Second to fifth harmonic against the fundamental; `None` when the noise alone would make too much of it.
    pub distortion_ratio: Option<f64>,
    rate: u32,
}

impl Sweep {
    /// A sweep from 80 Hz to 16 kHz, or 0.45 of the rate where that is less. `None` for rates below 4 or above 768 kHz, and for
    /// lengths outside of 0.2 to 10 s.
    pub fn new(rate: u32, seconds: f64) -> Option<Self> {
        if !(4_000..=768_000).contains(&rate) || !(0.2..=10.0).contains(&seconds) {
            return None;
        }
        let high_hz = HIGH_HZ.min(0.45 * f64::from(rate));
        let mut sweep = Self { rate, seconds, high_hz, samples: Vec::new() };
        let frames = count(seconds * f64::from(rate));
        let fade = |at: f64, over: f64| 0.5 - 0.5 * (PI * (at / over).clamp(0.0, 1.0)).cos();
        let at = |n: usize| {
            let t = float(n) / f64::from(rate);
            let phase = TAU * LOW_HZ * sweep.pace() * ((t / sweep.pace()).exp() - 1.0);
            AMPLITUDE * phase.sin() * fade(t, 0.02) * fade(seconds - t, 0.005)
        };
        sweep.samples = (0..frames).map(|n| sample(at(n))).collect();
        Some(sweep)
    }

    /// The samples to play, mono.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Seconds in which the frequency rises to its e-fold.
    fn pace(&self) -> f64 {
        self.seconds / (self.high_hz / LOW_HZ).ln()
    }

    /// Looks for the sweep in each channel of an interleaved recording: the one that heard it best. `None` when the recording
    /// is shorter than the sweep.
    pub fn find_best(&self, interleaved: &[f32], channels: u16) -> Option<(u16, Found)> {
        let of = |channel: u16| {
            let every = interleaved.iter().skip(usize::from(channel)).step_by(usize::from(channels));
            Some((channel, self.find(&every.copied().collect::<Vec<_>>())?))
        };
        // Of equals, the first.
        (0..channels).rev().filter_map(of).max_by(|a, b| a.1.peak_order().total_cmp(&b.1.peak_order()))
    }

    /// Looks for the sweep in a mono recording. `None` when the recording is shorter than the sweep.
    pub fn find(&self, recorded: &[f32]) -> Option<Found> {
        let frames = self.samples.len();
        if recorded.len() < frames {
            return None;
        }
        let impulse = self.impulse_response(recorded)?;
        let rate = f64::from(self.rate);
        // The whole sweep, or at least half of it, must have fitted behind where it is looked for.
        let last = recorded.len() - frames / 2;
        let peak = (0..last).max_by(|a, b| impulse.at(*a, 0).abs().total_cmp(&impulse.at(*b, 0).abs()))?;
        let noise = self.noise(&impulse, peak, recorded.len());
        let height = impulse.at(peak, 0).abs();
        let ratio = if height > 0.0 { height / noise.mean_square.sqrt().max(height * 1e-8) } else { 1.0 };
        let (return_db, response) = self.response(&impulse, peak, noise.from);
        Some(Found {
            confidence_db: 20.0 * ratio.log10(),
            delay_frames: float(peak) + impulse.between(peak),
            return_db,
            response,
            distortion_ratio: self.distortion(&impulse, peak, noise.mean_square, rate),
            rate: self.rate,
        })
    }

    fn impulse_response(&self, recorded: &[f32]) -> Option<Impulse> {
        let length = (recorded.len() + self.samples.len()).next_power_of_two();
        let mut planner = RealFftPlanner::<f64>::new();
        let forward = planner.plan_fft_forward(length);
        let spectrum = |samples: &[f32]| {
            let mut padded: Vec<f64> = samples.iter().map(|&x| f64::from(finite(x))).collect();
            padded.resize(length, 0.0);
            let mut output = forward.make_output_vec();
            forward.process(&mut padded, &mut output).ok()?;
            Some(output)
        };
        let (heard, played) = (spectrum(recorded)?, spectrum(&self.samples)?);
        let hz = |bin: usize| float(bin) * f64::from(self.rate) / float(length);
        // Where the sweep has no energy, there is nothing to divide by.
        let ramp = |x: f64| 0.5 - 0.5 * (PI * x.clamp(0.0, 1.0)).cos();
        let within = |hz: f64| {
            ramp((hz - LOW_HZ * 0.8) / (LOW_HZ * 0.4)) * ramp((self.high_hz - hz) / (self.high_hz * 0.05))
        };
        let mut ratio: Vec<Complex<f64>> = heard
            .iter()
            .zip(&played)
            .enumerate()
            .map(|(bin, (heard, played))| match within(hz(bin)) {
                weight if weight > 0.0 && played.norm_sqr() > 0.0 => heard / played * weight,
                _ => Complex::default(),
            })
            .collect();
        let inverse = planner.plan_fft_inverse(length);
        let mut samples = inverse.make_output_vec();
        inverse.process(&mut ratio, &mut samples).ok()?;
        let scale = 1.0 / float(length);
        samples.iter_mut().for_each(|x| *x *= scale);
        Some(Impulse { samples })
    }

    /// What is neither the response nor its harmonics, in the part where at least half of the sweep could have been.
    fn noise(&self, impulse: &Impulse, peak: usize, recorded: usize) -> Noise {
        let rate = f64::from(self.rate);
        let before = count((self.pace() * f64::from(HARMONICS + 1).ln() + 0.02) * rate);
        let after = count(0.5 * rate).min(recorded / 4);
        let half = self.samples.len() / 2;
        // Positions shifted by half a sweep, so that none is negative.
        let excluded = (peak + half).saturating_sub(before)..peak + half + after;
        let all = 0..recorded;
        let (mut squares, mut n) = (0.0, 0_usize);
        for at in all.clone().filter(|at| !excluded.contains(at)) {
            squares += impulse.at(at, half).powi(2);
            n += 1;
        }
        let gate = count(GATE_S * rate);
        // A stretch of noise as long as the gate, after the response if there is room, else before it.
        let from = if excluded.end + gate <= all.end {
            excluded.end
        } else {
            excluded.start.saturating_sub(2 * gate)
        };
        Noise { mean_square: squares / float(n.max(1)), from: (from, half) }
    }

    /// Return level and frequency response of the gated impulse response, with the noise of as long a stretch taken out.
    fn response(&self, impulse: &Impulse, peak: usize, noise_from: (usize, usize)) -> (f64, Response) {
        // The lower end of the band rings before the peak too; 20 ms hold nearly all of it.
        let lead = count(0.02 * f64::from(self.rate));
        let heard = self.bands(impulse, peak, lead);
        let noise = self.bands(impulse, noise_from.0, noise_from.1);
        let powers: Vec<f64> =
            heard.iter().zip(noise).map(|((_, a), (_, b))| (a - b).max(a * 1e-3).max(1e-20)).collect();
        let mean = powers.iter().sum::<f64>() / float(powers.len().max(1));
        let at_hz: Vec<f64> = heard.iter().map(|(hz, _)| tidy(*hz)).collect();
        let level_db: Vec<f64> = powers.iter().map(|power| tidy(10.0 * (power / mean).log10())).collect();
        let within = limits().sweep.played_within_db.value;
        let played: Vec<f64> =
            at_hz.iter().zip(&level_db).filter(|(_, db)| **db >= -within).map(|(hz, _)| *hz).collect();
        let (low_hz, high_hz) =
            (played.first().copied().unwrap_or(0.0), played.last().copied().unwrap_or(0.0));
        (10.0 * mean.log10(), Response { at_hz, level_db, low_hz, high_hz })
    }

    /// Center and mean power gain of each third octave, over the gate that begins at `from`, counted from `shift` before 0.
    fn bands(&self, impulse: &Impulse, from: usize, shift: usize) -> Vec<(f64, f64)> {
        let rate = f64::from(self.rate);
        let gate = count(GATE_S * rate);
        let fade = |n: usize| 0.5 + 0.5 * (PI * ((float(n) / float(gate) - 0.8) / 0.2).clamp(0.0, 1.0)).cos();
        let length = gate.next_power_of_two();
        let transform = RealFftPlanner::<f64>::new().plan_fft_forward(length);
        let mut gated: Vec<f64> = (0..gate).map(|n| impulse.at(from + n, shift) * fade(n)).collect();
        gated.resize(length, 0.0);
        let mut output = transform.make_output_vec();
        if transform.process(&mut gated, &mut output).is_err() {
            return Vec::new();
        }
        let bin = |hz: f64| count(hz / rate * float(length));
        let centers = THIRDS.map(|k| 1_000.0 * 10_f64.powf(f64::from(k) / 10.0));
        let within = centers.filter(|center| center * 10_f64.powf(0.05) <= self.high_hz * 0.95);
        let third = |center: f64| {
            let (low, high) = (bin(center * 10_f64.powf(-0.05)), bin(center * 10_f64.powf(0.05)));
            let powers = output.get(low..=high.max(low))?;
            Some((center, powers.iter().map(Complex::norm_sqr).sum::<f64>() / float(powers.len())))
        };
        within.filter_map(third).collect()
    }

    /// Amplitude of the harmonics against the fundamental's, each within a window of its own, noise taken out.
    fn distortion(&self, impulse: &Impulse, peak: usize, noise: f64, rate: f64) -> Option<f64> {
        // The fifth and the sixth harmonic are nearest to each other.
        let window = count(0.8 * self.pace() * (6.0_f64 / 5.0).ln() * rate).max(8);
        let lead = window / 8;
        let energy = |harmonic: u32| {
            let before = count(self.pace() * f64::from(harmonic).ln() * rate) + lead;
            let sum: f64 = (0..window).map(|n| impulse.at(peak + n, before).powi(2)).sum();
            (sum - noise * float(window)).max(0.0)
        };
        let fundamental = energy(1);
        let harmonics: f64 = (2..=HARMONICS).map(energy).sum();
        let of_noise = noise * float(window) * f64::from(HARMONICS - 1);
        let most = limits().sweep.noise_distortion_ratio.value.powi(2);
        (fundamental > 0.0 && of_noise < most * fundamental).then(|| (harmonics / fundamental).sqrt())
    }
}

impl Found {
    /// Whether the sweep was heard; `None` when something came back, too faint to be sure of.
    pub fn heard(&self) -> Option<bool> {
        let limits = &limits().sweep;
        match self.confidence_db {
            sure if sure >= limits.sure_db.value => Some(true),
            nothing if nothing < limits.nothing_db.value => Some(false),
            _ => None,
        }
    }

    /// From the first sample of the recording to where the sweep begins in it.
    pub fn delay_ms(&self) -> f64 {
        self.delay_frames / f64::from(self.rate) * 1e3
    }

    /// The figures of a report: what became of the sweep on this channel of the speaker, heard on that one of the microphone.
    pub fn figures(&self, channel: u16, heard_on: u16) -> LoopChannel {
        let heard = self.heard();
        let sure = heard == Some(true);
        let of = |value: f64| match sure {
            true => Value::estimate(tidy(value), 1),
            false => Value::not_tested("it was not heard"),
        };
        LoopChannel {
            channel,
            heard: match heard {
                Some(heard) => Value::exact(heard),
                None => Value::failed("something came back, too faint to be sure of"),
            },
            heard_on: if sure { Value::exact(heard_on) } else { Value::not_tested("it was not heard") },
            confidence_db: Value::exact(tidy(self.confidence_db)),
            delay_ms: of(self.delay_ms()),
            return_db: of(self.return_db),
            response: match sure {
                true => Value::Measured(self.response.clone()),
                false => Value::not_tested("it was not heard"),
            },
            distortion_ratio: match self.distortion_ratio {
                Some(ratio) => of(ratio),
                None => Value::not_tested("it was drowned by noise"),
            },
        }
    }

    /// Loudest first, among those that are sure; what is not sure comes after by its confidence.
    fn peak_order(&self) -> f64 {
        if self.heard() == Some(true) { 1e6 + self.return_db } else { self.confidence_db }
    }
}

/// An impulse response on a circle: what comes before the beginning stands at the end.
struct Impulse {
    samples: Vec<f64>,
}

impl Impulse {
    /// The value at `position − back`.
    fn at(&self, position: usize, back: usize) -> f64 {
        let n = self.samples.len();
        self.samples[(position + n - back % n) % n]
    }

    /// How far the true peak lies from the sample at `peak`, by a parabola through its neighbors.
    fn between(&self, peak: usize) -> f64 {
        let [a, b, c] = [self.at(peak, 1), self.at(peak, 0), self.at(peak + 1, 0)].map(f64::abs);
        let bend = a - 2.0 * b + c;
        if bend < 0.0 { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) } else { 0.0 }
    }
}

/// The noise in an impulse response, and where a stretch of it begins: position and how far that is counted back.
struct Noise {
    mean_square: f64,
    from: (usize, usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;

    fn sweep() -> Sweep {
        Sweep::new(RATE, 1.0).expect("a sweep")
    }

    fn noise(frames: usize, dbfs: f64) -> Vec<f32> {
        let mut state = 99_u32;
        let amplitude = (3.0 * 10_f64.powf(dbfs / 10.0)).sqrt();
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            sample((f64::from(state >> 8) / f64::from(1_u32 << 23) - 1.0) * amplitude)
        };
        (0..frames).map(|_| next()).collect()
    }

    /// The sweep, late by whole frames and at a gain, in a recording of two and a half seconds with noise.
    fn heard(gain_db: f64, delay: usize, noise_dbfs: f64, through: impl Fn(f64) -> f64) -> Vec<f32> {
        let mut recording = noise(120_000, noise_dbfs);
        let gain = 10_f64.powf(gain_db / 20.0);
        for (at, x) in recording[delay..].iter_mut().zip(sweep().samples()) {
            *at += sample(through(f64::from(*x)) * gain);
        }
        recording
    }

    #[test]
    fn delay_and_level_are_found_down_to_40_db_below() {
        for gain in [0.0, -20.0, -40.0] {
            let found = sweep().find(&heard(gain, 1_777, -45.0, |x| x)).expect("long enough");
            assert_eq!(found.heard(), Some(true), "{gain}: {found:?}");
            assert!((found.delay_frames - 1_777.0).abs() < 0.5, "{gain}: {found:?}");
            let allowed = if gain < -30.0 { 1.5 } else { 0.1 };
            assert!((found.return_db - gain).abs() < allowed, "{gain}: {found:?}");
        }
        let clean = sweep().find(&heard(0.0, 1_777, -150.0, |x| x)).expect("long enough");
        assert!((clean.delay_frames - 1_777.0).abs() < 0.01 && clean.return_db.abs() < 0.05, "{clean:?}");
        assert!(clean.response.level_db.iter().all(|db| db.abs() < 0.5), "{clean:?}");
        assert_eq!((clean.response.low_hz, clean.response.high_hz), (158.489_319, 6_309.573_445));
        assert!(clean.distortion_ratio.is_some_and(|ratio| ratio < 1e-3), "{clean:?}");
    }

    #[test]
    fn what_is_not_there_is_not_heard() {
        let quiet = sweep().find(&noise(120_000, -45.0)).expect("long enough");
        assert_eq!(quiet.heard(), Some(false), "{quiet:?}");
        let nothing = sweep().find(&[0.0; 120_000]).expect("long enough");
        assert_eq!(nothing.heard(), Some(false), "{nothing:?}");
        let figures = nothing.figures(1, 0);
        assert_eq!(figures.heard.fact(), Some(&false));
        assert_eq!(figures.delay_ms.measured(), None);
        // 60 dB below, in noise of −45 dBFS, it can be neither found nor denied for certain; never is it called heard.
        let faint = sweep().find(&heard(-60.0, 1_777, -45.0, |x| x)).expect("long enough");
        assert_ne!(faint.heard(), Some(true), "{faint:?}");
        assert_eq!(sweep().find(&[0.0; 100]), None);
    }

    /// x + a·x² makes of a sine of amplitude A a second harmonic of a·A/2: 0.02 for a = 0.08 and A = 0.5.
    #[test]
    fn distortion_is_the_harmonics_of_the_speaker() {
        let found = sweep().find(&heard(0.0, 500, -100.0, |x| x + 0.08 * x * x)).expect("long enough");
        assert!(found.distortion_ratio.is_some_and(|ratio| (ratio - 0.02).abs() < 0.003), "{found:?}");
        assert!((found.delay_frames - 500.0).abs() < 0.05);
    }

    /// An echo of −6 dB after 10 ms adds a quarter to the energy: +0.97 dB.
    #[test]
    fn what_the_room_adds_is_within_the_gate() {
        let mut recording = heard(-10.0, 1_000, -90.0, |x| x);
        let late = heard(-16.0, 1_480, -150.0, |x| x);
        recording.iter_mut().zip(late).for_each(|(a, b)| *a += b);
        let found = sweep().find(&recording).expect("long enough");
        assert!((found.return_db + 10.0 - 0.97).abs() < 0.2, "{found:?}");
        assert!((found.delay_frames - 1_000.0).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn the_channel_that_heard_it_is_told() {
        let right = super::super::interleave(&heard(-10.0, 300, -80.0, |x| x), 2, 1);
        let (channel, found) = sweep().find_best(&right, 2).expect("long enough");
        assert_eq!((channel, found.heard()), (1, Some(true)));
        assert!(sweep().find_best(&right, 0).is_none());
    }

    #[test]
    fn other_rates_have_their_own_end() {
        for rate in [8_000, 16_000, 44_100, 192_000] {
            let sweep = Sweep::new(rate, 0.5).expect("a sweep");
            let mut recording = vec![0.0; count(f64::from(rate) * 1.2)];
            recording[77..77 + sweep.samples().len()].copy_from_slice(sweep.samples());
            let found = sweep.find(&recording).expect("long enough");
            assert!(
                found.heard() == Some(true) && (found.delay_frames - 77.0).abs() < 0.1,
                "{rate}: {found:?}"
            );
        }
        assert!(Sweep::new(48_000, 60.0).is_none() && Sweep::new(0, 1.0).is_none());
    }
}
