//! Whether intervals hold the truth as often as they say: thousands of simulated runs, seeded.

use super::*;
use crate::confidence::LEVEL;
use crate::confidence::simulated::Rng;

/// A channel of this loss ratio and mean burst; a burst of 1 / (1 - loss) makes losses independent.
fn gilbert(loss: f64, burst: f64) -> Channel {
    let p_bg = (1.0 / burst).min(1.0 - loss);
    Channel { p_gb: p_bg * loss / (1.0 - loss), p_bg }
}

/// Packets of a run over the channel, which starts in its steady state.
fn packets(channel: Channel, seed: u64) -> impl Iterator<Item = bool> {
    let mut rng = Rng(seed);
    let mut lost = rng.share() < channel.loss().expect("changes state");
    std::iter::from_fn(move || {
        let now = lost;
        lost = rng.share() < if lost { 1.0 - channel.p_bg } else { channel.p_gb };
        Some(now)
    })
}

const RUNS: u64 = 2_000;

fn share_of_runs(holds: impl Fn(u64) -> bool) -> f64 {
    real((0..RUNS).filter(|seed| holds(*seed)).count() as u64) / real(RUNS)
}

const LOSSES: [f64; 5] = [0.005, 0.01, 0.02, 0.05, 0.10];

/// Every look of a run counts, whichever of them would have stopped it: 6 s, watched every 200 ms from the start.
#[test]
fn verdict_intervals_hold_at_every_look_and_in_bursts() {
    for per_look in [10, 40, 80] {
        for burst in [1.0, 2.0, 3.0, 5.0] {
            for loss in LOSSES {
                let channel = gilbert(loss, burst);
                let held = share_of_runs(|seed| {
                    let mut runs = LossRuns::default();
                    let mut stream = packets(channel, seed);
                    (0..30).all(|_| {
                        stream.by_ref().take(per_look).for_each(|lost| runs.push(lost));
                        Region::new(&runs, LEVEL).holds(loss)
                    })
                });
                println!("{} packets/s, loss {loss}, mean burst {burst}: {held}", per_look * 5);
                assert!(held >= 0.95, "{} packets/s, loss {loss}, mean burst {burst}: {held}", per_look * 5);
            }
        }
    }
}

/// The intervals themselves, read where a verdict would stop: decided against 2 % or at 6 s.
#[test]
fn verdict_intervals_hold_where_runs_stop() {
    for (burst, loss) in [(1.0, 0.02), (2.0, 0.01), (3.0, 0.05), (5.0, 0.02), (5.0, 0.10)] {
        let channel = gilbert(loss, burst);
        let held = share_of_runs(|seed| {
            let mut runs = LossRuns::default();
            let mut stream = packets(channel, seed);
            let mut interval = Interval::UNKNOWN;
            for _ in 0..12 {
                stream.by_ref().take(100).for_each(|lost| runs.push(lost));
                interval = verdict_interval(&runs, LEVEL);
                if interval.high <= 0.02 || interval.low > 0.02 {
                    break;
                }
            }
            interval.contains(loss)
        });
        println!("loss {loss}, mean burst {burst}: {held}");
        assert!(held >= 0.95, "loss {loss}, mean burst {burst}: {held}");
    }
}

#[test]
fn displayed_intervals_hold_as_often_as_they_say() {
    for n in [500, 1_000, 2_000] {
        for loss in [0.01, 0.02, 0.05, 0.10] {
            let channel = gilbert(loss, 1.0);
            for burst_aware in [false, true] {
                let held = share_of_runs(|seed| {
                    let runs: LossRuns = packets(channel, seed).take(n).collect();
                    let plain = displayed(runs.lost(), runs.n());
                    if burst_aware { displayed_bursty(&runs, LEVEL) } else { plain }.contains(loss)
                });
                println!("n {n}, loss {loss}, burst-aware {burst_aware}: {held}");
                assert!((0.93..=0.97).contains(&held), "n {n}, loss {loss}, {burst_aware}: {held}");
            }
        }
    }
}

/// Beside bursts the displayed interval counts packets as few as the bursts make them; a run needs about ten bursts for it.
#[test]
fn displayed_intervals_hold_in_bursts() {
    for (loss, burst, n) in [(0.02, 2.0, 1_000), (0.05, 3.0, 1_000), (0.05, 5.0, 2_000), (0.10, 5.0, 2_000)] {
        let channel = gilbert(loss, burst);
        let held = share_of_runs(|seed| {
            let runs: LossRuns = packets(channel, seed).take(n).collect();
            displayed_bursty(&runs, LEVEL).contains(loss)
        });
        println!("n {n}, loss {loss}, mean burst {burst}: {held}");
        assert!((0.93..=0.98).contains(&held), "n {n}, loss {loss}, mean burst {burst}: {held}");
    }
}

/// Speed matters as much as truth: how often is a bad link seen against audio's 2 % within 3 s at 50 packets/s, or in 2 s
/// at the 200 packets/s that video adds?
#[test]
fn bad_links_are_seen_in_time() {
    for (burst, n) in [(1.0, 150), (2.0, 400), (3.0, 400)] {
        let channel = gilbert(0.15, burst);
        let seen = share_of_runs(|seed| {
            let runs: LossRuns = packets(channel, seed).take(n).collect();
            verdict_interval(&runs, LEVEL).low > 0.02
        });
        println!("15 % loss, mean burst {burst}, {n} packets: {seen}");
        assert!(seen >= 0.95, "15 % loss, mean burst {burst}: {seen}");
    }
}
