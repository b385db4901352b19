//! When to send what. Pure: time and chance are arguments.
//!
//! The report of the run that just ended goes first and at once; those of before go oldest first and slowly, so that a fleet which comes
//! back after an outage does not come all at once. After a failure everything waits: exponential backoff with full jitter, never before
//! the server's `Retry-After`.

use std::time::Duration;

use greenroom_reports::units::Micros;

/// From one old report to the next: a sixtieth of the time after which an agent asks, within these.
const BETWEEN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// The first wait after a failure, at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait after failures: twice the time after which an agent asks, within these.
const LONGEST_WAIT: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(600)];

/// Longest `Retry-After` that is obeyed.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the newest report.
    Newest,
    /// Send the oldest report.
    Oldest,
    /// Nothing until then.
    Wait(Micros),
    /// Nothing until there is a report.
    Idle,
}

/// How sending went so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    failures: u32,
    /// Nothing before.
    not_before: Micros,
    /// No old report before.
    backlog_at: Micros,
    /// After how long the server wants to be asked by an agent with nothing to send: how much it takes upon itself.
    every: Duration,
}

impl Pace {
    /// An agent that starts does not send what is old at once: many may start with it. `chance` is from 0 to 1.
    pub(super) fn begin(now: Micros, every: Duration, chance: f64) -> Self {
        let pace = Self { failures: 0, not_before: Micros::ZERO, backlog_at: now, every };
        let spread = pace.between().mul_f64(chance.clamp(0.0, 1.0));
        Self { backlog_at: now + Micros::from_duration(spread), ..pace }
    }

    /// The server wants to be asked after so long from now on.
    pub(super) fn asked_every(&mut self, every: Duration) {
        self.every = every;
    }

    fn between(&self) -> Duration {
        (self.every / 60).clamp(BETWEEN[0], BETWEEN[1])
    }

    fn longest_wait(&self) -> Duration {
        self.every.saturating_mul(2).clamp(LONGEST_WAIT[0], LONGEST_WAIT[1])
    }

    /// What to do at `now`, where there is a report of a run that just ended (`fresh`), or older ones (`waiting`).
    pub(super) fn step(&self, fresh: bool, waiting: bool, now: Micros) -> Step {
        if !fresh && !waiting {
            return Step::Idle;
        }
        if now < self.not_before {
            return Step::Wait(self.not_before);
        }
        // The first attempt after failures is made with the newest: it is the one that somebody waits for.
        if fresh || self.failures > 0 {
            return Step::Newest;
        }
        if now < self.backlog_at {
            return Step::Wait(self.backlog_at);
        }
        Step::Oldest
    }

    /// Whether anything may be sent at `now`.
    pub(super) fn may(&self, now: Micros) -> bool {
        now >= self.not_before
    }

    /// Nothing may be sent before.
    pub(super) const fn not_before(&self) -> Micros {
        self.not_before
    }

    /// A report was acknowledged.
    pub(super) fn succeeded(&mut self, now: Micros) {
        let backlog_at = now + Micros::from_duration(self.between());
        *self = Self { failures: 0, not_before: Micros::ZERO, backlog_at, every: self.every };
    }

    /// Sending failed. `chance` is from 0 to 1.
    pub(super) fn failed(&mut self, now: Micros, retry_after: Option<Duration>, chance: f64) {
        let most = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(self.longest_wait());
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.unwrap_or_default().min(LONGEST_ASKED);
        // All who were told the same moment must not come at it.
        let wait = asked + most.max(asked / 2).mul_f64(chance.clamp(0.0, 1.0));
        self.not_before = now + Micros::from_duration(wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: i64) -> Micros {
        Micros::from_secs(n)
    }

    fn usual() -> Pace {
        Pace::begin(seconds(0), Duration::from_secs(300), 0.0)
    }

    #[test]
    fn a_fresh_report_goes_at_once_and_old_ones_slowly() {
        let mut pace = usual();
        assert_eq!(pace.step(false, false, seconds(0)), Step::Idle);
        assert_eq!(pace.step(true, true, seconds(0)), Step::Newest);
        pace.succeeded(seconds(1));
        assert_eq!(pace.step(false, true, seconds(1)), Step::Wait(seconds(6)));
        assert_eq!(pace.step(true, true, seconds(2)), Step::Newest);
        assert_eq!(pace.step(false, true, seconds(6)), Step::Oldest);
    }

    #[test]
    fn waits_grow_and_what_the_server_asks_is_the_least() {
        let mut pace = usual();
        let mut waits = Vec::new();
        for _ in 0..20 {
            pace.failed(seconds(0), None, 1.0);
            waits.push(pace.not_before);
        }
        assert_eq!(&waits[..4], [1, 2, 4, 8].map(seconds));
        assert_eq!(waits[19], seconds(600));
        assert_eq!(pace.step(true, true, seconds(599)), Step::Wait(seconds(600)));
        assert_eq!(pace.step(false, true, seconds(600)), Step::Newest, "the newest tries the way");
        let mut pace = usual();
        pace.failed(seconds(0), Some(Duration::from_secs(30)), 0.0);
        assert_eq!(pace.not_before, seconds(30));
        pace.failed(seconds(0), Some(Duration::from_secs(30)), 1.0);
        assert_eq!(pace.not_before, seconds(45), "and not all at the same moment");
        pace.failed(seconds(0), Some(Duration::from_secs(u64::MAX)), 0.0);
        assert_eq!(pace.not_before, seconds(3_600));
    }

    #[test]
    fn a_server_that_wants_to_be_asked_often_is_told_sooner() {
        let mut pace = usual();
        pace.asked_every(Duration::from_secs(5));
        pace.succeeded(seconds(0));
        assert_eq!(pace.step(false, true, seconds(0)), Step::Wait(seconds(1)));
        for _ in 0..20 {
            pace.failed(seconds(0), None, 1.0);
        }
        assert_eq!(pace.not_before, seconds(10));
    }

    /// A server that was away for long: of 10,000 agents no more come in any second than full jitter spreads over ten minutes.
    #[test]
    fn a_fleet_does_not_come_back_all_at_once() {
        let mut by_second = vec![0_u32; 601];
        let mut seed = 11_u64;
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let chance = f64::from(u32::try_from(seed >> 32).unwrap()) / f64::from(u32::MAX);
            let mut pace = Pace { failures: 12, ..usual() };
            pace.failed(Micros::ZERO, None, chance);
            by_second[usize::try_from(pace.not_before.get() / 1_000_000).unwrap()] += 1;
        }
        // 16.7 a second expected; seven standard deviations more.
        assert!(by_second.iter().all(|n| *n < 46), "{:?}", by_second.iter().max());
    }
}
