//! What only the spectrum tells: up to where there is sound, and the hum of the mains.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::{count, dbfs, float, sample};
use crate::signals::limits;

/// Width of the bands in which the upper edge is looked for.
const BAND_HZ: f64 = 500.0;
/// Width of the steps of level by which spectra are summed.
const STEP_DB: f64 = 3.0;
/// Steps from −150 to +30 dBFS.
const STEPS: usize = 60;

/// A Fourier transform of fixed length with a Hann window.
#[derive(Clone)]
struct Windowed {
    window: Vec<f64>,
    transform: Arc<dyn RealToComplex<f32>>,
    input: Vec<f32>,
    output: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl std::fmt::Debug for Windowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windowed").field("length", &self.window.len()).finish_non_exhaustive()
    }
}

impl Windowed {
    fn new(length: usize) -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(length);
        let window = (0..length)
            .map(|n| 0.5 - 0.5 * (std::f64::consts::TAU * float(n) / float(length)).cos())
            .collect();
        Self {
            window,
            input: transform.make_input_vec(),
            output: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            transform,
        }
    }

    fn length(&self) -> usize {
        self.window.len()
    }

    /// Mean square of the block without its mean, and the power per bin, scaled so that the bins of a sine add up to its
    /// mean square.
    fn powers(&mut self, block: &[f32]) -> (f64, impl Iterator<Item = f64> + '_) {
        let mean = block.iter().map(|&x| f64::from(x)).sum::<f64>() / float(block.len());
        let mut squares = 0.0;
        for ((into, x), weight) in self.input.iter_mut().zip(block).zip(&self.window) {
            let x = f64::from(*x) - mean;
            squares += x * x;
            *into = sample(x * weight);
        }
        // Of fitting lengths by construction; were they not, the output stays as it was.
        let done = self.transform.process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch);
        debug_assert!(done.is_ok(), "lengths fit");
        // Σ w² of a Hann window is 3/8 of its length.
        let scale = 2.0 / (float(self.window.len()).powi(2) * 0.375);
        (squares / float(block.len()), self.output.iter().map(move |bin| f64::from(bin.norm_sqr()) * scale))
    }
}

/// Sums spectra by the level of their block, so that at the end loud ones can be told from quiet ones.
#[derive(Debug, Clone)]
pub(super) struct Spectrum {
    rate: f64,
    transform: Windowed,
    block: Vec<f32>,
    bands: usize,
    by_level: Vec<Option<Vec<f64>>>,
}

impl Spectrum {
    pub(super) fn new(rate: u32) -> Self {
        // About 21 ms: long enough for bands of 500 Hz, short enough to tell syllables apart.
        let length = count(f64::from(rate) / 47.0).next_power_of_two();
        let bands = count((f64::from(rate) / 2.0 / BAND_HZ).floor());
        Self {
            rate: f64::from(rate),
            transform: Windowed::new(length),
            block: Vec::with_capacity(length),
            bands,
            by_level: vec![None; STEPS],
        }
    }

    pub(super) fn push(&mut self, x: f32) {
        self.block.push(x);
        if self.block.len() < self.transform.length() {
            return;
        }
        let (per_bin, bands) = (self.rate / float(self.transform.length()), self.bands);
        let mut sums = vec![0.0; bands];
        let (squares, powers) = self.transform.powers(&self.block);
        for (bin, power) in powers.enumerate() {
            if let Some(sum) = sums.get_mut(count((float(bin) * per_bin / BAND_HZ).floor())) {
                *sum += power;
            }
        }
        self.block.clear();
        let step = count((dbfs(squares) - super::SILENCE_DBFS) / STEP_DB).min(STEPS - 1);
        match &mut self.by_level[step] {
            Some(known) => known.iter_mut().zip(&sums).for_each(|(known, sum)| *known += sum),
            empty => *empty = Some(sums),
        }
    }

    /// Up to where there is sound: the edge beyond which everything lies far below what is just within it, in the
    /// blocks that stand well above `floor_dbfs` (by [`BandwidthLimits`](crate::signals::BandwidthLimits)); half the sample rate when there is no such edge. A headset on Bluetooth's
    /// hands-free profile ends at 4 or 8 kHz, whatever the rate of the device in front of it. `None` when too quiet to tell.
    pub(super) fn bandwidth_hz(&self, floor_dbfs: f64) -> Option<f64> {
        let limits = &limits().bandwidth;
        let heard = limits.heard_dbfs.value;
        let level = |step: usize| super::SILENCE_DBFS + float(step) * STEP_DB;
        let sum = |from: f64| {
            let loud = self.by_level.iter().enumerate().filter(|(step, _)| level(*step) >= from);
            loud.filter_map(|(_, bands)| bands.as_ref()).fold(None, |sum: Option<Vec<f64>>, bands| {
                Some(match sum {
                    Some(sum) => sum.iter().zip(bands).map(|(a, b)| a + b).collect(),
                    None => bands.clone(),
                })
            })
        };
        let bands = sum((floor_dbfs + limits.loud_above_floor_db.value).max(heard)).or_else(|| sum(heard))?;
        let least = count(limits.least_edge_hz.value / BAND_HZ);
        // One band of transition is left out between what is within the edge and what is beyond.
        let drop_at = |edge: usize| {
            let within = bands.get(edge - 2..edge)?.iter().copied().fold(f64::INFINITY, f64::min);
            let beyond = bands.get(edge + 1..)?.iter().copied().reduce(f64::max)?;
            Some((edge, 10.0 * (within / beyond.max(1e-30)).log10()))
        };
        let steepest =
            (least..bands.len()).filter_map(drop_at).filter(|(_, drop)| *drop >= limits.edge_db.value);
        let edge = steepest.max_by(|a, b| a.1.total_cmp(&b.1));
        Some(edge.map_or(self.rate / 2.0, |(edge, _)| float(edge) * BAND_HZ))
    }
}

/// Samples of the low rate in a block: about a second, so that 50 and 60 Hz and their harmonics stand apart.
const HUM_BLOCK: usize = 2_048;
/// Quiet blocks that are kept.
const HUM_KEPT: usize = 8;
/// Harmonics looked at.
const HARMONICS: u32 = 6;
/// Bins to each side of a harmonic that belong to it: the lobe of the window and a mains that is 0.2 % off.
const LOBE: usize = 3;
/// Bins to each side of the lobe that tell what is around it.
const AROUND: usize = 12;

/// Hum of the mains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MainsHum {
    /// 50 or 60.
    pub mains_hz: u32,
    /// Level of the harmonics that stand out, together.
    pub level_dbfs: f64,
}

/// Keeps the spectra of the quietest seconds.
#[derive(Debug, Clone)]
pub(super) struct Hum {
    rate: f64,
    transform: Windowed,
    block: Vec<f32>,
    kept: Vec<(f64, Vec<f64>)>,
}

impl Hum {
    /// For a signal of this low rate.
    pub(super) fn new(rate: f64) -> Self {
        Self { rate, transform: Windowed::new(HUM_BLOCK), block: Vec::new(), kept: Vec::new() }
    }

    pub(super) fn push(&mut self, x: f32) {
        self.block.push(x);
        if self.block.len() < HUM_BLOCK {
            return;
        }
        let last = self.bin(f64::from(HARMONICS * 60)) + LOBE + AROUND + 1;
        let (squares, powers) = self.transform.powers(&self.block);
        let found = (squares, powers.take(last).collect());
        self.block.drain(..HUM_BLOCK / 2);
        let at = self.kept.partition_point(|(known, _)| *known <= squares);
        self.kept.insert(at, found);
        self.kept.truncate(HUM_KEPT);
    }

    /// The hum in the quietest seconds: harmonics that stand out of what is around them (by
    /// [`HumLimits`](crate::signals::HumLimits)), one of the first two among them. `Err` when there was not a second of sound, `Ok(None)` without
    /// hum.
    pub(super) fn found(&self) -> Result<Option<MainsHum>, &'static str> {
        if self.kept.is_empty() {
            return Err("it ran for less than a second");
        }
        let candidates = [50, 60].into_iter().filter_map(|mains| {
            let powers: Vec<(u32, f64)> =
                (1..=HARMONICS).filter_map(|k| Some((k, self.standing_out(k * mains)?))).collect();
            // 300 Hz belongs to both and so tells neither.
            let own: f64 = powers.iter().filter(|(k, _)| k * mains != 300).map(|(_, power)| power).sum();
            let low = powers.iter().any(|(k, _)| *k <= 2);
            let all: f64 = powers.iter().map(|(_, power)| power).sum();
            low.then_some((own, MainsHum { mains_hz: mains, level_dbfs: dbfs(all) }))
        });
        Ok(candidates.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, hum)| hum))
    }

    /// The mean square of a tone at `hz`, when it stands out: the median over the blocks, since speech comes and goes and hum
    /// stays.
    fn standing_out(&self, hz: u32) -> Option<f64> {
        let center = self.bin(f64::from(hz));
        let limits = &limits().hum;
        let least =
            if self.kept.len() < 3 { &limits.above_around_few_blocks_db } else { &limits.above_around_db };
        let factor = 10_f64.powf(least.value / 10.0);
        let of_block = |powers: &Vec<f64>| {
            let lobe = powers.get(center.checked_sub(LOBE)?..=center + LOBE)?;
            let below = powers.get(center.saturating_sub(LOBE + AROUND)..center - LOBE)?;
            let above = powers.get(center + LOBE + 1..=center + LOBE + AROUND)?;
            let around = median(below.iter().chain(above).copied().collect())?;
            let peak = lobe.iter().copied().fold(0.0, f64::max);
            Some(if peak > 0.0 && peak >= around * factor { lobe.iter().sum() } else { 0.0 })
        };
        let found: Option<Vec<f64>> = self.kept.iter().map(|(_, powers)| of_block(powers)).collect();
        median(found?).filter(|power| *power > 0.0)
    }

    fn bin(&self, hz: f64) -> usize {
        count(hz / self.rate * float(HUM_BLOCK))
    }
}

/// The lower median.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}
