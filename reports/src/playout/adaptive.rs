//! An adaptive jitter buffer, in the manner of those in today's real-time stacks.

use std::collections::VecDeque;

use super::{Playout, Sample, delay, finish, least_delay, nothing_arrived};
use crate::units::Micros;

/// How an adaptive buffer behaves.
///
/// The defaults follow the published behavior of WebRTC's NetEq: delays relative to the least of the last 2 s, a histogram that
/// forgets with factor 0.983 (a memory of about 60 packets), its 95 % quantile as the target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptive {
    /// Time between media frames; the least target, and what one concealed frame lets the delay grow by.
    pub frame: Micros,
    /// Target before anything is known, over the first packet's delay.
    pub initial: Micros,
    /// Greatest target.
    pub most: Micros,
    /// Share of packets that the target is to let through.
    pub quantile: f64,
    /// What remains of the histogram with each arrival.
    pub forget: f64,
    /// How far back the least delay is looked for.
    pub window: Micros,
    /// Share of time by which speech is stretched or shortened unheard to reach the target.
    pub stretch_percent: i64,
}

impl Adaptive {
    /// The defaults, for media frames this far apart.
    pub const fn with_frame(frame: Micros) -> Self {
        Self {
            frame,
            initial: Micros::from_millis(40),
            most: Micros::from_millis(500),
            quantile: 0.95,
            forget: 0.983,
            window: Micros::from_secs(2),
            stretch_percent: 20,
        }
    }
}

impl Default for Adaptive {
    /// Audio in frames of 20 ms.
    fn default() -> Self {
        Self::with_frame(Micros::from_millis(20))
    }
}

/// Replays an adaptive buffer.
///
/// Packets are due in order of sequence number; by the time one is due, the buffer knows what had arrived by then and no more.
/// Its delay follows the target by stretching or shortening speech, and grows by up to a frame whenever a frame had to be
/// concealed because the buffer ran dry. A packet that others overtook is late without making the buffer grow.
pub fn replay_adaptive(samples: &[Sample], settings: &Adaptive) -> Playout {
    let Some(least) = least_delay(samples) else {
        return nothing_arrived(samples);
    };
    let mut arrivals: Vec<(Micros, Micros)> =
        samples.iter().filter_map(|sample| Some((sample.1?, delay(sample)?))).collect();
    arrivals.sort_unstable();
    let Some(&(_, first_delay)) = arrivals.first() else {
        return nothing_arrived(samples);
    };
    let overtaken = overtaken(samples);
    let mut arrivals = arrivals.into_iter().peekable();
    let mut estimator = Estimator::new(settings);
    let mut offset = first_delay + settings.initial;
    let mut last_departed = None;
    let mut late_flags = Vec::with_capacity(samples.len());
    let mut added = Vec::with_capacity(samples.len());
    for (sample, overtaken) in samples.iter().zip(overtaken) {
        let departed = sample.0;
        while let Some((at, delay)) = arrivals.next_if(|(at, _)| *at <= departed + offset) {
            estimator.arrived(at, delay);
        }
        if let Some(wanted) = estimator.wanted() {
            let elapsed = last_departed.map_or(Micros::ZERO, |last| departed - last).max(Micros::ZERO);
            let step = Micros::new(elapsed.get().saturating_mul(settings.stretch_percent) / 100);
            offset = wanted.clamp(offset - step, offset + step);
        }
        last_departed = Some(departed);
        added.push((offset - least).max(Micros::ZERO));
        let lateness = delay(sample).map_or(Micros::ZERO, |delay| delay - offset);
        let late = lateness > Micros::ZERO;
        if late && !overtaken {
            offset += lateness.min(settings.frame);
        }
        late_flags.push(late);
    }
    finish(samples, late_flags, added)
}

/// Per packet: whether one with a higher number arrived before it.
fn overtaken(samples: &[Sample]) -> Vec<bool> {
    let mut first_of_later = Micros::MAX;
    let mut flags: Vec<bool> = samples
        .iter()
        .rev()
        .map(|(_, arrived)| {
            let arrived = arrived.unwrap_or(Micros::MAX);
            let overtaken = first_of_later < arrived;
            first_of_later = first_of_later.min(arrived);
            overtaken
        })
        .collect();
    flags.reverse();
    flags
}

/// Width of a histogram bucket.
const BUCKET: Micros = Micros::from_millis(5);

/// Learns from arrivals how much delay to plan for.
struct Estimator<'a> {
    settings: &'a Adaptive,
    /// Weight per bucket of delay over the window's least; they sum to 1 once something arrived.
    weights: Vec<f64>,
    seen: u32,
    /// Arrivals of the window whose delay is less than that of all later ones: the first has the least.
    least: VecDeque<(Micros, Micros)>,
}

impl<'a> Estimator<'a> {
    fn new(settings: &'a Adaptive) -> Self {
        let buckets = usize::try_from(settings.most.get().max(0) / BUCKET.get()).unwrap_or(0) + 1;
        Self { settings, weights: vec![0.0; buckets], seen: 0, least: VecDeque::new() }
    }

    fn arrived(&mut self, at: Micros, delay: Micros) {
        while self.least.front().is_some_and(|(then, _)| at - *then > self.settings.window) {
            self.least.pop_front();
        }
        while self.least.back().is_some_and(|(_, other)| *other >= delay) {
            self.least.pop_back();
        }
        self.least.push_back((at, delay));
        let relative = delay - self.least.front().map_or(delay, |(_, least)| *least);
        // The first arrivals weigh the same, so that the start-up is a plain average.
        self.seen = self.seen.saturating_add(1);
        let keep = self.settings.forget.min(1.0 - 1.0 / f64::from(self.seen));
        self.weights.iter_mut().for_each(|weight| *weight *= keep);
        let last = self.weights.len() - 1;
        let bucket = usize::try_from(relative.get() / BUCKET.get()).unwrap_or(last).min(last);
        self.weights[bucket] += 1.0 - keep;
    }

    /// The delay to play at: the window's least plus the target. `None` before the first arrival.
    fn wanted(&self) -> Option<Micros> {
        let (_, least) = self.least.front()?;
        let mut sum = 0.0;
        let within = self.weights.iter().take_while(|weight| {
            sum += **weight;
            sum < self.settings.quantile
        });
        let edges = i64::try_from(within.count()).unwrap_or(i64::MAX).saturating_add(1);
        let target = (BUCKET * edges).min(self.settings.most).max(self.settings.frame);
        Some(*least + target)
    }
}
