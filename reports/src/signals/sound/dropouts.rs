//! Gaps and repetitions: what a sound system leaves in the signal when it is late and says nothing.

use super::{count, float};
use crate::signals::limits;

/// Samples that make an anchor; two equal anchors are where a repetition may lie.
const ANCHOR: usize = 4;
/// One sequence of samples in so many is an anchor, picked by its content.
const PICK: u32 = 16;
/// Anchors that are remembered.
const SLOTS: usize = 1_024;

/// Gaps and repetitions within a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Broken {
    /// Runs of exact zeros, of at least a millisecond and 32 samples, that begin abruptly within sound. (What a noise gate
    /// makes begins with a fade.)
    pub gaps: u64,
    /// Samples in them.
    pub gap_samples: u64,
    /// Blocks of 2.5 to 200 ms that came again, to the last bit, right after themselves.
    pub repeats: u64,
    /// Samples in them, the first time not counted.
    pub repeated_samples: u64,
}

/// Finds gaps and repetitions.
#[derive(Debug, Clone)]
pub(super) struct Dropouts {
    gaps: Gaps,
    repeats: Repeats,
}

impl Dropouts {
    pub(super) fn new(rate: u32) -> Self {
        Self { gaps: Gaps::new(rate), repeats: Repeats::new(rate) }
    }

    pub(super) fn push(&mut self, x: f32) {
        self.gaps.push(x);
        self.repeats.push(x);
    }

    pub(super) fn found(&self) -> Broken {
        let (repeats, repeated_samples) = self.repeats.found();
        Broken { gaps: self.gaps.count, gap_samples: self.gaps.samples, repeats, repeated_samples }
    }
}

/// Runs of zeros.
#[derive(Debug, Clone)]
struct Gaps {
    shortest: u64,
    cut_ratio: f64,
    /// Mean squares of the last 2 and 10 ms, exponentially.
    fast: f64,
    slow: f64,
    fast_share: f64,
    slow_share: f64,
    run: u64,
    abrupt: bool,
    heard: bool,
    count: u64,
    samples: u64,
}

impl Gaps {
    fn new(rate: u32) -> Self {
        let limits = &limits().dropouts;
        let shortest = f64::from(rate) * limits.gap_least_ms.value / 1e3;
        let shortest = count(shortest.floor().max(limits.gap_least_samples.value));
        let share = |seconds: f64| 1.0 - (-1.0 / (f64::from(rate) * seconds)).exp();
        Self {
            shortest: u64::try_from(shortest).unwrap_or(u64::MAX),
            cut_ratio: limits.gap_cut_ratio.value,
            fast: 0.0,
            slow: 0.0,
            fast_share: share(0.002),
            slow_share: share(0.010),
            run: 0,
            abrupt: false,
            heard: false,
            count: 0,
            samples: 0,
        }
    }

    fn push(&mut self, x: f32) {
        if x == 0.0 {
            if self.run == 0 {
                // A fade has lost most of its power on the way to its end; a cut has not.
                self.abrupt = self.heard && self.fast >= self.slow * self.cut_ratio;
            }
            self.run += 1;
        } else {
            if self.run >= self.shortest && self.abrupt {
                self.count += 1;
                self.samples += self.run;
            }
            (self.run, self.heard) = (0, true);
        }
        // Zeros of a gap must not make what follows it look loud: the means stand still in them.
        if self.run < self.shortest {
            let square = f64::from(x) * f64::from(x);
            self.fast += (square - self.fast) * self.fast_share;
            self.slow += (square - self.slow) * self.slow_share;
        }
    }
}

/// Blocks that come again.
#[derive(Debug, Clone)]
struct Repeats {
    min_lag: usize,
    whole_ratio: f64,
    max_lag: usize,
    /// The last `max_lag + ANCHOR` samples and more, by position modulo length.
    ring: Vec<f32>,
    position: usize,
    /// Content and position of the anchors seen last.
    anchors: Vec<(u32, usize)>,
    /// Distance and length of the repetition that goes on.
    current: Option<(usize, usize)>,
    count: u64,
    samples: u64,
}

impl Repeats {
    fn new(rate: u32) -> Self {
        let limits = &limits().dropouts;
        let frames = |ms: f64| count(f64::from(rate) * ms / 1e3);
        let max_lag = frames(limits.repeat_longest_ms.value);
        Self {
            min_lag: frames(limits.repeat_shortest_ms.value),
            whole_ratio: limits.repeat_whole_ratio.value,
            max_lag,
            ring: vec![0.0; (2 * max_lag + ANCHOR).next_power_of_two()],
            position: 0,
            anchors: vec![(0, 0); SLOTS],
            current: None,
            count: 0,
            samples: 0,
        }
    }

    fn push(&mut self, x: f32) {
        let slot = self.position & (self.ring.len() - 1);
        self.ring[slot] = x;
        self.position += 1;
        match self.current {
            Some((lag, length)) if self.back(0).to_bits() == self.back(lag).to_bits() => {
                self.current = Some((lag, length + 1));
            }
            Some(_) => {
                (self.count, self.samples) = self.found();
                self.current = None;
            }
            None => self.current = self.begun(),
        }
    }

    /// What was found, with the repetition that goes on as if it ended here.
    fn found(&self) -> (u64, u64) {
        // Shorter than the block itself, it is a likeness and no repetition.
        match self.current.filter(|(lag, length)| float(*length) >= self.whole_ratio * float(*lag)) {
            Some((_, length)) => {
                (self.count + 1, self.samples.saturating_add(u64::try_from(length).unwrap_or(u64::MAX)))
            }
            None => (self.count, self.samples),
        }
    }

    /// The sample so many before the last one.
    fn back(&self, by: usize) -> f32 {
        self.ring[self.position.wrapping_sub(1 + by) & (self.ring.len() - 1)]
    }

    /// Whether what came last has come before, and for how long already.
    fn begun(&mut self) -> Option<(usize, usize)> {
        if self.position < ANCHOR {
            return None;
        }
        let last: [u32; ANCHOR] = std::array::from_fn(|by| self.back(by).to_bits());
        if last.iter().all(|bits| *bits == last[0]) {
            return None;
        }
        let content = last
            .iter()
            .fold(0x811c_9dc5_u32, |hash, bits| (hash ^ bits).wrapping_mul(0x9e37_79b1).rotate_left(13));
        if content % PICK != 0 {
            return None;
        }
        let slot = usize::try_from(content / PICK).unwrap_or(0) % SLOTS;
        let (known, at) = std::mem::replace(&mut self.anchors[slot], (content, self.position));
        let lag = self.position.saturating_sub(at);
        if known != content || at == 0 || !(self.min_lag..=self.max_lag).contains(&lag) {
            return None;
        }
        let reach = lag.min(self.position.saturating_sub(lag));
        let length =
            (0..reach).take_while(|&by| self.back(by).to_bits() == self.back(by + lag).to_bits()).count();
        (length >= ANCHOR).then_some((lag, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;

    /// Noise of one seed, 16 bits.
    fn noise(frames: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 16) - 32_768.0
        };
        (0..frames).map(|_| super::super::sample(next() / 327_680.0)).collect()
    }

    fn found(samples: &[f32]) -> Broken {
        let mut dropouts = Dropouts::new(RATE);
        samples.iter().for_each(|&x| dropouts.push(x));
        dropouts.found()
    }

    #[test]
    fn whole_sound_has_neither() {
        assert_eq!(found(&noise(96_000, 1)), Broken::default());
        assert_eq!(found(&[]), Broken::default());
        assert_eq!(found(&[0.0; 9_600]), Broken::default(), "silence is no gap");
    }

    #[test]
    fn gaps_are_zeros_within_sound() {
        let mut samples = noise(48_000, 2);
        samples[10_000..10_480].fill(0.0);
        samples[20_000..20_048].fill(0.0);
        samples[30_000..30_040].fill(0.0);
        samples[47_000..].fill(0.0);
        let broken = found(&samples);
        // 10 ms and 1 ms count; 40 samples are too short; zeros at the end may be anything.
        assert_eq!((broken.gaps, broken.gap_samples), (2, 528));
    }

    #[test]
    fn what_fades_out_is_no_gap() {
        let mut samples = noise(48_000, 3);
        for (index, x) in samples[9_000..10_000].iter_mut().enumerate() {
            *x *= super::super::sample((1.0 - float(index) / 1_000.0).powi(3));
        }
        samples[10_000..14_000].fill(0.0);
        assert_eq!(found(&samples).gaps, 0);
    }

    #[test]
    fn a_block_that_comes_again_is_a_repetition() {
        for block in [128, 480, 1_024, 1_920, 4_800] {
            let mut samples = noise(60_000, 4);
            samples.copy_within(20_000..20_000 + block, 20_000 + block);
            let broken = found(&samples);
            assert_eq!((broken.repeats, broken.gaps), (1, 0), "{block}");
            let missed = u64::try_from(block).expect("small").abs_diff(broken.repeated_samples);
            assert!(missed <= 1, "{block}: {broken:?}");
        }
    }

    #[test]
    fn the_same_buffer_for_ever_is_all_repetition() {
        let samples: Vec<f32> = noise(1_024, 5).into_iter().cycle().take(96_000).collect();
        let broken = found(&samples);
        assert_eq!(broken.repeats, 1);
        assert!(broken.repeated_samples > 94_000, "{broken:?}");
    }
}
