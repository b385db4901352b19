//! A known tone: made, and measured when it comes back.

use std::f64::consts::TAU;

use realfft::RealFftPlanner;

use super::levels::finite;
use super::{count, dbfs, float, sample};

/// A tone measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tone {
    /// Frequency. On a stretch of a second of undisturbed tone it is right to a fraction of a ppm.
    pub hz: f64,
    /// Root mean square of the tone alone.
    pub level_dbfs: f64,
    /// Everything else (harmonics, noise; the mean left out) against the tone.
    pub thd_n_db: f64,
    /// Frames of the stretch that was measured: the longest one without a break.
    pub frames: usize,
    /// Breaks within the tone: gaps, jumps, repetitions. In a room, loud clicks and speech count too.
    pub breaks: usize,
}

/// A sine of the given root mean square (a full-scale sine has −3.01 dBFS), mono.
///
/// Take 997 Hz for tests of devices: it repeats only after a second, so that a block that comes again is seen (AES17 uses
/// it for the same reason).
pub fn sine(rate: u32, hz: f64, dbfs: f64, frames: usize) -> Vec<f32> {
    let amplitude = 2.0_f64.sqrt() * 10_f64.powf(dbfs / 20.0);
    (0..frames).map(|n| sample(amplitude * (TAU * hz * float(n) / f64::from(rate)).sin())).collect()
}

/// Finds the strongest tone in a mono signal and measures it on the longest stretch without a break.
///
/// A dropout shifts the phase and with it every estimate that reaches over it: a sine foretells its next sample from the
/// last two, and where that fails there is a break. `None` when there is no tone between 20 Hz and 0.45 of the rate, or no
/// stretch of 50 ms.
pub fn measure(samples: &[f32], rate: u32) -> Option<Tone> {
    let x: Vec<f64> = samples.iter().map(|&x| f64::from(finite(x))).collect();
    let coarse = coarse(&x, rate)?;
    let stretches = stretches(&x, &coarse);
    let longest = stretches.iter().max_by_key(|stretch| stretch.len())?.clone();
    // What rings at the edges of a break is no tone.
    let edge = count(f64::from(rate) * 0.002);
    let stretch = x.get(longest.start + edge..longest.end.checked_sub(edge)?)?;
    if float(stretch.len()) < 0.05 * f64::from(rate) {
        return None;
    }
    let omega = refined(stretch, coarse.omega)?;
    let (tone, rest) = apart(stretch, omega)?;
    Some(Tone {
        hz: omega / TAU * f64::from(rate),
        level_dbfs: dbfs(tone),
        thd_n_db: 10.0 * (rest.max(1e-30) / tone).log10(),
        frames: stretch.len(),
        breaks: stretches.len() - 1,
    })
}

/// The tone as the loudest part shows it.
struct Coarse {
    /// Radians per sample.
    omega: f64,
    mean_square: f64,
    /// How far a sample misses what the two before it foretell, commonly.
    common_miss: f64,
}

fn coarse(x: &[f64], rate: u32) -> Option<Coarse> {
    let most = count(f64::from(rate) / 4.0).next_power_of_two();
    let length = most.min((x.len() + 1).next_power_of_two() / 2);
    if length < 256 {
        return None;
    }
    let power = |window: &[f64]| window.iter().map(|x| x * x).sum::<f64>();
    let (mut best, mut at) = (0.0, 0);
    for start in (0..=x.len() - length).step_by(length / 2) {
        let found = power(&x[start..start + length]);
        if found > best {
            (best, at) = (found, start);
        }
    }
    let window = &x[at..at + length];
    let transform = RealFftPlanner::<f64>::new().plan_fft_forward(length);
    let hann = |n: usize| 0.5 - 0.5 * (TAU * float(n) / float(length)).cos();
    let mut input: Vec<f64> = window.iter().enumerate().map(|(n, x)| x * hann(n)).collect();
    let mut output = transform.make_output_vec();
    transform.process(&mut input, &mut output).ok()?;
    let powers: Vec<f64> = output.iter().map(realfft::num_complex::Complex::norm_sqr).collect();
    let bin_of = |hz: f64| count(hz / f64::from(rate) * float(length));
    let (low, high) = (bin_of(20.0).max(1), bin_of(0.45 * f64::from(rate)));
    let peak = (low..=high.min(powers.len() - 2)).max_by(|a, b| powers[*a].total_cmp(&powers[*b]))?;
    if powers[peak] <= 0.0 || best <= 0.0 {
        return None;
    }
    // The lobe of a Hann window is nearly a parabola in dB.
    let [a, b, c] = [peak - 1, peak, peak + 1].map(|bin| powers[bin].max(1e-300).ln());
    let bend = a - 2.0 * b + c;
    let off = if bend < 0.0 { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) } else { 0.0 };
    let omega = TAU * (float(peak) + off) / float(length);
    let mut misses: Vec<f64> = window.windows(3).map(|x| missed(x, omega).abs()).collect();
    misses.sort_unstable_by(f64::total_cmp);
    Some(Coarse { omega, mean_square: best / float(length), common_miss: misses[misses.len() / 2] })
}

/// By how much a sample misses what the two before it foretell.
fn missed(x: &[f64], omega: f64) -> f64 {
    x[2] - 2.0 * omega.cos() * x[1] + x[0]
}

/// The stretches of tone without a break.
fn stretches(x: &[f64], coarse: &Coarse) -> Vec<std::ops::Range<usize>> {
    let most = (10.0 * coarse.common_miss).max(0.003 * coarse.mean_square.sqrt());
    let broken = x.windows(3).enumerate().filter(|(_, x)| missed(x, coarse.omega).abs() > most);
    let edges: Vec<usize> =
        std::iter::once(0).chain(broken.map(|(n, _)| n + 2)).chain(std::iter::once(x.len())).collect();
    let loud = |range: &std::ops::Range<usize>| {
        let squares = x[range.clone()].iter().map(|x| x * x).sum::<f64>();
        squares >= 0.25 * coarse.mean_square * float(range.len())
    };
    let least = count(4.0 * TAU / coarse.omega).max(64);
    edges
        .windows(2)
        .map(|edge| edge[0]..edge[1])
        .filter(|range| range.len() >= least && loud(range))
        .collect()
}

/// The frequency in radians per sample, from how the phase moves on over the stretch.
fn refined(x: &[f64], coarse: f64) -> Option<f64> {
    let mut omega = coarse;
    for _ in 0..3 {
        // Blocks of at least eight periods, and as many of them as there is room for up to 64.
        let block = (x.len() / 64).max(count(8.0 * TAU / omega)).max(64);
        let phases: Vec<(f64, f64)> = x
            .chunks_exact(block)
            .enumerate()
            .map(|(k, block)| (float(k * block.len()), phase(block, omega, k * block.len())))
            .collect();
        if phases.len() < 3 {
            return Some(omega);
        }
        let mut turned = 0.0;
        let mut unwrapped = vec![phases[0]];
        for pair in phases.windows(2) {
            let step = pair[1].1 - pair[0].1;
            turned -= TAU * (step / TAU).round();
            unwrapped.push((pair[1].0, pair[1].1 + turned));
        }
        let n = float(unwrapped.len());
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| unwrapped.iter().map(of).sum::<f64>() / n;
        let (mean_at, mean_phase) = (mean(&|p| p.0), mean(&|p| p.1));
        let sxx = unwrapped.iter().map(|(at, _)| (at - mean_at).powi(2)).sum::<f64>();
        let sxy = unwrapped.iter().map(|(at, phase)| (at - mean_at) * (phase - mean_phase)).sum::<f64>();
        omega += sxy / sxx;
    }
    (omega.is_finite() && omega > 0.0).then_some(omega)
}

/// The phase of a block against an oscillator of `omega` that began at sample 0.
fn phase(block: &[f64], omega: f64, from: usize) -> f64 {
    let n = float(block.len());
    let (mut re, mut im) = (0.0, 0.0);
    for (k, x) in block.iter().enumerate() {
        let weight = 0.5 - 0.5 * (TAU * (float(k) + 0.5) / n).cos();
        let (sin, cos) = (omega * float(from + k)).sin_cos();
        re += weight * x * cos;
        im -= weight * x * sin;
    }
    im.atan2(re)
}

/// Mean squares of the tone and of everything else, fitted block by block (about 100 ms) by least squares, so that a
/// slowly wandering clock does not count as noise.
fn apart(x: &[f64], omega: f64) -> Option<(f64, f64)> {
    let block = (x.len() / 10).max(count(8.0 * TAU / omega)).min(x.len());
    let (mut tone, mut rest, mut n) = (0.0, 0.0, 0.0);
    for part in x.chunks_exact(block) {
        let basis = |k: usize| {
            let (sin, cos) = (omega * float(k)).sin_cos();
            [cos, sin, 1.0]
        };
        let mut normal = [[0.0; 4]; 3];
        for (k, x) in part.iter().enumerate() {
            let b = basis(k);
            for (row, bi) in normal.iter_mut().zip(b) {
                for (cell, bj) in row.iter_mut().zip([b[0], b[1], b[2], *x]) {
                    *cell += bi * bj;
                }
            }
        }
        let fit = solve(normal)?;
        for (k, x) in part.iter().enumerate() {
            let b = basis(k);
            let sine = fit[0] * b[0] + fit[1] * b[1];
            rest += (x - sine - fit[2]).powi(2);
        }
        // Not what the fit has over the block, which need not hold whole periods, but what the sine has.
        tone += (fit[0] * fit[0] + fit[1] * fit[1]) / 2.0 * float(part.len());
        n += float(part.len());
    }
    (n > 0.0 && tone > 0.0).then_some((tone / n, rest / n))
}

/// Solves three equations by elimination with pivots; `None` when they do not decide.
fn solve(mut rows: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for column in 0..3 {
        let pivot = (column..3).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        rows.swap(column, pivot);
        let lead = rows[column];
        if lead[column].abs() < 1e-12 {
            return None;
        }
        for (index, row) in rows.iter_mut().enumerate() {
            if index != column {
                let factor = row[column] / lead[column];
                row.iter_mut().zip(lead).for_each(|(cell, lead)| *cell -= factor * lead);
            }
        }
    }
    Some([0, 1, 2].map(|i| rows[i][3] / rows[i][i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;

    fn noise(frames: usize, amplitude: f64) -> impl Iterator<Item = f32> {
        let mut state = 7_u32;
        (0..frames).map(move |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            sample((f64::from(state >> 8) / f64::from(1_u32 << 23) - 1.0) * amplitude)
        })
    }

    #[test]
    fn a_clean_tone_is_found_to_the_ppm() {
        for (rate, hz) in
            [(48_000, 997.0), (44_100, 997.0), (48_000, 60.5), (16_000, 3_333.3), (192_000, 20_000.7)]
        {
            let tone = measure(&sine(rate, hz, -15.05, count(f64::from(rate) * 2.0)), rate).expect("a tone");
            assert!(((tone.hz / hz - 1.0) * 1e6).abs() < 0.2, "{rate} {hz}: {tone:?}");
            assert!((tone.level_dbfs + 15.05).abs() < 0.001, "{tone:?}");
            assert!(tone.thd_n_db < -120.0, "{tone:?}");
            assert_eq!(tone.breaks, 0, "{rate} {hz}");
        }
    }

    /// A third harmonic of 1 % is −40 dB, with noise of −60 dB beside it: together −39.96 dB.
    #[test]
    fn distortion_and_noise_are_what_is_left() {
        let fundamental = sine(RATE, 997.0, -20.0, 96_000);
        let third = sine(RATE, 2_991.0, -60.0, 96_000);
        // Uniform noise of amplitude a has a mean square of a²/3.
        let noise = noise(96_000, (3.0 * 10_f64.powf(-8.0)).sqrt());
        let mixed: Vec<f32> =
            fundamental.iter().zip(third).zip(noise).map(|((a, b), c)| a + b + c + 0.01).collect();
        let tone = measure(&mixed, RATE).expect("a tone");
        assert!((tone.thd_n_db + 39.96).abs() < 0.05, "{tone:?}");
        assert!((tone.level_dbfs + 20.0).abs() < 0.01 && (tone.hz - 997.0).abs() < 0.005, "{tone:?}");
    }

    #[test]
    fn breaks_are_counted_and_kept_out() {
        let tone = sine(RATE, 997.0, -15.0, 144_000);
        let mut gap = tone.clone();
        gap[60_000..60_480].fill(0.0);
        let mut jump = tone.clone();
        jump.drain(100_000..100_013);
        let mut again = tone.clone();
        again.copy_within(40_000..41_920, 41_920);
        let framed: Vec<f32> = std::iter::repeat_n(0.0, 20_000)
            .chain(tone.clone())
            .chain(std::iter::repeat_n(0.0, 9_000))
            .collect();
        for (name, samples, breaks) in
            [("gap", gap, 1), ("jump", jump, 1), ("again", again, 2), ("framed", framed, 0)]
        {
            let found = measure(&samples, RATE).expect(name);
            assert_eq!(found.breaks, breaks, "{name}: {found:?}");
            assert!(((found.hz / 997.0 - 1.0) * 1e6).abs() < 1.0, "{name}: {found:?}");
            assert!((found.level_dbfs + 15.0).abs() < 0.01 && found.thd_n_db < -100.0, "{name}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_tone_is_none_or_says_so() {
        assert_eq!(measure(&[], RATE), None);
        assert_eq!(measure(&[0.0; 48_000], RATE), None);
        assert_eq!(measure(&[f32::NAN; 48_000], RATE), None);
        assert_eq!(measure(&[0.3; 100], RATE), None);
        let rumble: Vec<f32> = noise(48_000, 0.5).collect();
        assert!(measure(&rumble, RATE).is_none_or(|tone| tone.thd_n_db > 0.0));
    }
}
