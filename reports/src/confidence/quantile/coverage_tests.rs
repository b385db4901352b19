//! Whether bounds for verdicts hold the true quantile at every look of as many runs as they say: simulated, seeded.

use super::*;
use crate::confidence::simulated::Rng;
use crate::confidence::{LEVEL, real};

/// A link whose queue fills and empties: delays are uniform over 10 to 20 ms, over 50 to 150 ms while it is full.
#[derive(Debug, Clone, Copy)]
struct Queue {
    /// Share of packets that find it full.
    full: f64,
    /// How many packets in a row do on average.
    lasts: f64,
}

impl Queue {
    /// The quantile by its definition, in microseconds.
    fn quantile(self, q: f64) -> f64 {
        let empty = 1.0 - self.full;
        if q <= empty {
            10_000.0 + 10_000.0 * q / empty
        } else {
            50_000.0 + 100_000.0 * (q - empty) / self.full
        }
    }

    /// Delays of a run in microseconds; the queue starts in its steady state.
    #[expect(clippy::cast_possible_truncation, reason = "delays of milliseconds")]
    fn delays(self, seed: u64) -> impl Iterator<Item = i64> {
        let mut rng = Rng(seed);
        let mut full = rng.share() < self.full;
        let empties = 1.0 / self.lasts;
        let fills = empties * self.full / (1.0 - self.full);
        std::iter::from_fn(move || {
            let delay =
                if full { 50_000.0 + 100_000.0 * rng.share() } else { 10_000.0 + 10_000.0 * rng.share() };
            full = rng.share() < if full { 1.0 - empties } else { fills };
            Some(delay as i64)
        })
    }
}

const RUNS: u64 = 2_000;
/// A run of 6 s at 50 packets/s, looked at so often.
const LOOKS: usize = 6;
const PER_LOOK: usize = 50;

/// Whether the share above the truth is believed to be what it is. Then the bounds hold the truth, as a test shows: one interval
/// instead of the search that [`verdict_bounds`] makes.
#[expect(clippy::cast_precision_loss, reason = "delays of milliseconds")]
fn holds(delays: &[i64], q: f64, truth: f64) -> bool {
    let runs: LossRuns = delays.iter().map(|delay| *delay as f64 > truth).collect();
    let share = loss::verdict_interval(&runs, LEVEL);
    share.low <= 1.0 - q && 1.0 - q <= share.high
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "delays of milliseconds")]
fn bounds_hold_what_the_share_above_it_allows() {
    let queue = Queue { full: 0.2, lasts: 3.0 };
    let mut outside = 0;
    for seed in 0..20 {
        let delays: Vec<i64> = queue.delays(seed).take(LOOKS * PER_LOOK).collect();
        let bounds = verdict_bounds(&delays, 0.95, LEVEL);
        // Between two samples, so that nothing turns on equality.
        for truth in (10_000..150_000).step_by(10_000).map(|at| at as f64 + 0.5) {
            let inside = bounds.low.is_none_or(|low| low as f64 <= truth)
                && bounds.high.is_none_or(|high| truth <= high as f64);
            // The bounds are samples themselves, so they may hold a little more: up to the next sample.
            assert!(inside || !holds(&delays, 0.95, truth), "seed {seed}, {truth}: {bounds:?}");
            outside += u32::from(!inside);
        }
    }
    assert!(outside > 100, "{outside}");
}

/// Every look counts, whichever of them would have stopped the run.
#[test]
fn verdict_bounds_hold_at_every_look_and_in_queues() {
    for (q, full, lasts) in [
        (0.5, 0.1, 1.2),
        (0.5, 0.6, 5.0),
        (0.95, 0.02, 1.1),
        (0.95, 0.10, 1.2),
        (0.95, 0.10, 3.0),
        (0.95, 0.20, 5.0),
    ] {
        let queue = Queue { full, lasts };
        let truth = queue.quantile(q);
        let held = (0..RUNS).filter(|seed| {
            let delays: Vec<i64> = queue.delays(*seed).take(LOOKS * PER_LOOK).collect();
            (1..=LOOKS).all(|look| holds(&delays[..look * PER_LOOK], q, truth))
        });
        let held = real(held.count() as u64) / real(RUNS);
        println!("quantile {q} of {queue:?}: {held}");
        assert!(held >= LEVEL, "quantile {q} of {queue:?}: {held}");
    }
}

/// Bounds that hold because they say nothing are of no use: with a queue that is often full, p95 is known to be high.
#[test]
fn a_full_queue_is_seen_in_time() {
    let queue = Queue { full: 0.2, lasts: 3.0 };
    const RUNS: u64 = 200;
    let seen = (0..RUNS).filter(|seed| {
        let delays: Vec<i64> = queue.delays(*seed).take(LOOKS * PER_LOOK).collect();
        verdict_bounds(&delays, 0.95, LEVEL).low.is_some_and(|low| low >= 50_000)
    });
    let seen = real(seen.count() as u64) / real(RUNS);
    println!("{queue:?}: seen {seen}");
    assert!(seen >= 0.5, "{queue:?}: {seen}");
}
