//! An adaptive jitter buffer, in the manner of those in today's real-time stacks.

use std::collections::VecDeque;

use super::{Playout, Sample, delay, finish, least_delay, nothing_arrived};
use crate::confidence;
use crate::units::Micros;

/// How an adaptive buffer behaves.
///
/// The defaults follow the published behavior of WebRTC's NetEq: delays count over the least of the last 2 s; the greatest of each
/// half second goes into a histogram that forgets with factor 0.983, whose 95 % quantile is the target. So a target lets
/// through nearly all packets and not just 95 % of them. Packets that others overtook are planned for apart: a histogram of
/// all packets that forgets with 0.9993 finds the delay at which waiting 20 ms longer no longer saves 1 % of the packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptive {
    /// Time between media frames; the least target, and what one concealed frame lets the delay grow by.
    pub frame: Micros,
    /// Target before anything is known, over the first packet's delay.
    pub initial: Micros,
    /// Greatest target.
    pub most: Micros,
    /// Share of half seconds whose packets, if in order, the target is to let through.
    pub quantile: f64,
    /// The greatest delay of so long counts once.
    pub resample: Micros,
    /// What remains of the histogram with each such delay.
    pub forget: f64,
    /// What remains of the histogram of all packets with each of them.
    pub reorder_forget: f64,
    /// Delay that one percent of packets fewer being too late is worth.
    pub per_loss_percent: Micros,
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
            initial: Micros::from_millis(80),
            most: Micros::from_millis(500),
            quantile: 0.95,
            resample: Micros::from_millis(500),
            forget: 0.983,
            reorder_forget: 0.9993,
            per_loss_percent: Micros::from_millis(20),
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
/// concealed because the buffer ran dry. A packet that others overtook is late without making the buffer grow. No packet counts
/// as late before the buffer has learned from its first interval: a replay is to tell of a call, which is mostly not its first second.
pub fn replay_adaptive(samples: &[Sample], settings: &Adaptive) -> Playout {
    let Some(least) = least_delay(samples) else {
        return nothing_arrived(samples);
    };
    let overtaken = overtaken(samples);
    let mut arrivals: Vec<Arrival> = samples
        .iter()
        .zip(&overtaken)
        .filter_map(|(sample, overtaken)| {
            Some(Arrival { at: sample.1?, delay: delay(sample)?, overtaken: *overtaken })
        })
        .collect();
    arrivals.sort_by_key(|arrival| (arrival.at, arrival.delay));
    let Some(first_delay) = arrivals.first().map(|first| first.delay) else {
        return nothing_arrived(samples);
    };
    let mut arrivals = arrivals.into_iter().peekable();
    let mut estimator = Estimator::new(settings);
    let mut offset = first_delay + settings.initial;
    let mut last_departed = None;
    let mut late_flags = Vec::with_capacity(samples.len());
    let mut added = Vec::with_capacity(samples.len());
    for (sample, overtaken) in samples.iter().zip(overtaken) {
        let departed = sample.0;
        while let Some(arrival) = arrivals.next_if(|arrival| arrival.at <= departed + offset) {
            estimator.arrived(arrival);
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
        late_flags.push(late && estimator.has_learned());
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

/// A packet that came.
#[derive(Clone, Copy)]
struct Arrival {
    at: Micros,
    delay: Micros,
    /// Others that left after it were here before.
    overtaken: bool,
}

/// Learns from arrivals how much delay to plan for.
struct Estimator<'a> {
    settings: &'a Adaptive,
    /// Of the greatest delay of each interval, over the window's least.
    peaks: Histogram,
    /// When the interval began, and the greatest delay in it.
    interval: Option<(Micros, Micros)>,
    /// Of the delay of overtaken packets, all others counting as without any.
    overtaken: Histogram,
    /// Arrivals of the window whose delay is less than that of all later ones: the first has the least.
    least: VecDeque<(Micros, Micros)>,
}

impl<'a> Estimator<'a> {
    fn new(settings: &'a Adaptive) -> Self {
        Self {
            settings,
            peaks: Histogram::new(settings.most, settings.forget),
            interval: None,
            overtaken: Histogram::new(settings.most, settings.reorder_forget),
            least: VecDeque::new(),
        }
    }

    /// Whether an interval of arrivals is behind it.
    fn has_learned(&self) -> bool {
        self.peaks.added > 0
    }

    fn arrived(&mut self, Arrival { at, delay, overtaken }: Arrival) {
        let relative = delay - self.least_with(at, delay);
        self.overtaken.add(if overtaken { relative } else { Micros::ZERO });
        if overtaken {
            return;
        }
        let (since, peak) = self.interval.unwrap_or((at, Micros::ZERO));
        self.interval = if at - since > self.settings.resample {
            self.peaks.add(peak);
            Some((at, relative))
        } else {
            Some((since, peak.max(relative)))
        };
    }

    /// The least delay of the window that ends with this arrival.
    fn least_with(&mut self, at: Micros, delay: Micros) -> Micros {
        while self.least.front().is_some_and(|(then, _)| at - *then > self.settings.window) {
            self.least.pop_front();
        }
        while self.least.back().is_some_and(|(_, other)| *other >= delay) {
            self.least.pop_back();
        }
        self.least.push_back((at, delay));
        self.least.front().map_or(delay, |(_, least)| *least)
    }

    /// The delay to play at: the window's least plus the target. `None` before the first arrival.
    fn wanted(&self) -> Option<Micros> {
        let (_, least) = self.least.front()?;
        let settings = self.settings;
        let in_order = self.peaks.quantile(settings.quantile).unwrap_or(settings.initial);
        let target = in_order.max(self.worth_waiting(in_order));
        Some(*least + target.min(settings.most).max(settings.frame))
    }

    /// The delay at which waiting longer for overtaken packets costs more than it saves, `planned` being free.
    fn worth_waiting(&self, planned: Micros) -> Micros {
        let percent = confidence::real(self.settings.per_loss_percent.get().unsigned_abs());
        let mut too_late = 1.0;
        let costs = self.overtaken.shares().map(|(until, share)| {
            too_late -= share;
            let wait = confidence::real((until - BUCKET - planned).max(Micros::ZERO).get().unsigned_abs());
            (until, wait + 100.0 * percent * too_late)
        });
        costs.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(Micros::ZERO, |(until, _)| until)
    }
}

/// Width of a histogram bucket.
const BUCKET: Micros = Micros::from_millis(20);

/// Of delays, forgetting old ones.
struct Histogram {
    /// Weight per bucket; they sum to 1 once something was added.
    weights: Vec<f64>,
    forget: f64,
    added: u32,
}

impl Histogram {
    fn new(most: Micros, forget: f64) -> Self {
        let buckets = usize::try_from(most.get().max(0) / BUCKET.get()).unwrap_or(0) + 1;
        Self { weights: vec![0.0; buckets], forget, added: 0 }
    }

    fn add(&mut self, delay: Micros) {
        // The first ones are forgotten faster, so that the start weighs little later on.
        self.added = self.added.saturating_add(1);
        let keep = self.forget.min(1.0 - START_WEIGHT / (f64::from(self.added) + 1.0));
        self.weights.iter_mut().for_each(|weight| *weight *= keep);
        let last = self.weights.len() - 1;
        let bucket = usize::try_from(delay.get() / BUCKET.get()).unwrap_or(last).min(last);
        self.weights[bucket] += 1.0 - keep;
    }

    /// Buckets by their ends, with the share in each.
    fn shares(&self) -> impl Iterator<Item = (Micros, f64)> {
        (1..).map(|end| BUCKET * end).zip(self.weights.iter().copied())
    }

    /// The end of the bucket in which share `q` is reached; `None` before anything was added.
    fn quantile(&self, q: f64) -> Option<Micros> {
        let mut sum = 0.0;
        let mut reached = self.shares().skip_while(|(_, share)| {
            sum += share;
            sum < q
        });
        let last = BUCKET * i64::try_from(self.weights.len()).unwrap_or(i64::MAX);
        (self.added > 0).then(|| reached.next().map_or(last, |(until, _)| until))
    }
}

/// How much more than later ones the first delays are forgotten.
const START_WEIGHT: f64 = 2.0;
