//! When a schedule's runs are due: a stable phase per agent, and a little jitter per run.
//!
//! Time is cut into slots of the schedule's interval, counted from 1970. In each slot an agent has one occasion: the slot's
//! beginning, its phase, which is a hash of agent and schedule modulo the interval, and jitter, which is a hash of these and the
//! slot. So agents spread evenly over the interval, whenever they start, and nobody has to keep what was drawn. Vocabulary of
//! `start`, `until` and `max_runs` after perfSONAR's pScheduler, of suppression after LMAP (RFC 8193).

use std::ops::RangeInclusive;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::schema::{Mode, Use};

/// Most jitter either way, in milliseconds.
const MOST_JITTER_MS: i64 = 15_000;

/// A run that comes again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its name: 1 to 64 of `a` to `z`, `0` to `9`, `-`, `_`.
    pub id: String,
    /// What is checked, as `greenroom check` takes it.
    pub targets: Vec<String>,
    /// The uses that the verdict is on.
    pub uses: Vec<Use>,
    /// How thorough.
    pub mode: Mode,
    /// From run to run, in seconds.
    pub every_s: u32,
    /// No run is due before.
    pub start: Option<Timestamp>,
    /// No run is due from here on.
    pub until: Option<Timestamp>,
    /// So many runs from `start` on, and no more.
    pub max_runs: Option<u32>,
    /// Whether it runs also while a call is active.
    pub in_call: bool,
    /// Whether it runs also on a link that is paid for by volume.
    pub metered: bool,
}

/// A moment at which a run is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occasion {
    /// The slot, counted in intervals since 1970.
    pub slot: i64,
    /// When.
    pub at: Timestamp,
}

impl Schedule {
    /// The interval in milliseconds, one at least.
    pub(super) fn every_ms(&self) -> i64 {
        i64::from(self.every_s).max(1) * 1_000
    }

    /// This agent's place in the interval, in milliseconds from a slot's beginning.
    pub fn phase_ms(&self, agent: Uuid) -> i64 {
        below(hash(agent, &self.id, None), self.every_ms())
    }

    /// Half the width of the jitter in milliseconds: a tenth of the interval, 15 s at most.
    pub(super) fn spread_ms(&self) -> i64 {
        (self.every_ms() / 10).min(MOST_JITTER_MS)
    }

    /// When the run of a slot is due, whether or not it is to be made. `None` beyond the times that can be told.
    pub fn occasion(&self, agent: Uuid, slot: i64) -> Option<Occasion> {
        let spread = self.spread_ms();
        let jitter = below(hash(agent, &self.id, Some(slot)), 2 * spread + 1) - spread;
        let ms = slot.checked_mul(self.every_ms())?.checked_add(self.phase_ms(agent) + jitter)?;
        Some(Occasion { slot, at: Timestamp::from_millisecond(ms).ok()? })
    }

    /// The latest occasion at or before a moment. Their order in time is that of their slots: jitter is less than half an interval.
    pub fn latest(&self, agent: Uuid, now: Timestamp) -> Option<Occasion> {
        let newest =
            (now.as_millisecond() - self.phase_ms(agent) + self.spread_ms()).div_euclid(self.every_ms());
        (newest.saturating_sub(2)..=newest)
            .rev()
            .filter_map(|slot| self.occasion(agent, slot))
            .find(|it| it.at <= now)
    }

    /// Whether `start`, `until` and `max_runs` allow an occasion.
    pub fn allows(&self, agent: Uuid, occasion: Occasion) -> bool {
        if self.until.is_some_and(|until| occasion.at >= until) {
            return false;
        }
        let Some(start) = self.start else { return true };
        if occasion.at < start {
            return false;
        }
        let Some(most) = self.max_runs else { return true };
        // The first is the one behind the latest that was before the start.
        let before =
            start.as_millisecond().checked_sub(1).and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let first = before.and_then(|before| self.latest(agent, before)).map_or(i64::MIN, |it| it.slot + 1);
        occasion.slot.saturating_sub(first) < i64::from(most)
    }

    /// The slots whose occasions may lie in a stretch of time.
    fn slots(&self, agent: Uuid, from: Timestamp, to: Timestamp) -> RangeInclusive<i64> {
        let (phase, spread, every) = (self.phase_ms(agent), self.spread_ms(), self.every_ms());
        let first = (from.as_millisecond() - phase - spread).div_euclid(every);
        first..=(to.as_millisecond() - phase + spread).div_euclid(every)
    }

    /// The occasions from `from` until before `to` that the schedule itself allows.
    pub fn occasions(
        &self,
        agent: Uuid,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = Occasion> + '_ {
        self.slots(agent, from, to)
            .filter_map(move |slot| self.occasion(agent, slot))
            .filter(move |it| from <= it.at && it.at < to && self.allows(agent, *it))
    }
}

/// 64 bits that depend on agent, schedule and slot, the same in every version.
fn hash(agent: Uuid, schedule: &str, slot: Option<i64>) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(b"greenroom schedule/1");
    hasher.update(agent.as_bytes());
    hasher.update(schedule.as_bytes());
    if let Some(slot) = slot {
        hasher.update([0]);
        hasher.update(slot.to_be_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// An even share of `0..bound`: the high half of the product (Lemire 2019), whose bias is far below what anybody could see.
fn below(hash: u64, bound: i64) -> i64 {
    let bound = u128::from(bound.unsigned_abs());
    i64::try_from((u128::from(hash) * bound) >> 64).unwrap_or(0)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::fleet) fn every(seconds: u32) -> Schedule {
        Schedule {
            id: "calls".into(),
            targets: vec!["greenroom://probe.example".into()],
            uses: vec![Use::Audio],
            mode: Mode::Quick,
            every_s: seconds,
            start: None,
            until: None,
            max_runs: None,
            in_call: false,
            metered: false,
        }
    }

    pub(in crate::fleet) fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Pearson's chi-square of counts that should be equal.
    fn chi_square(counts: &[u32]) -> f64 {
        let expected =
            f64::from(counts.iter().sum::<u32>()) / f64::from(u32::try_from(counts.len()).unwrap());
        counts.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum()
    }

    /// 10,000 agents with two schedules: the 20,000 starts are even over the interval, and so are those of each schedule. 99 degrees
    /// of freedom: 161.2 is exceeded by chance once in 10,000 times; agents are drawn from a seed, so that this does not happen here.
    #[test]
    fn starts_of_a_fleet_are_even_over_the_interval() {
        let mut seed = 7_u64;
        let mut next = || {
            // SplitMix64 (Steele, Lea and Flood 2014).
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let agents: Vec<Uuid> = (0..10_000).map(|_| Uuid::from_u64_pair(next(), next())).collect();
        let schedules = [every(300), Schedule { id: "deep".into(), ..every(300) }];
        let (from, to) = (time("2026-11-22T14:00:00Z"), time("2026-11-22T14:05:00Z"));
        let mut together = vec![0_u32; 100];
        for schedule in &schedules {
            let mut counts = vec![0_u32; 100];
            for agent in &agents {
                for occasion in schedule.occasions(*agent, from, to) {
                    let ms = occasion.at.as_millisecond() - from.as_millisecond();
                    counts[usize::try_from(ms / 3_000).unwrap()] += 1;
                }
            }
            let runs: u32 = counts.iter().sum();
            // Jitter carries some over the edges of the interval, as many in as out.
            assert!((9_800..10_200).contains(&runs), "{runs}");
            assert!(chi_square(&counts) < 161.2, "{}: {}", schedule.id, chi_square(&counts));
            together.iter_mut().zip(&counts).for_each(|(sum, n)| *sum += n);
        }
        assert!(chi_square(&together) < 161.2, "{}", chi_square(&together));
        // The same test finds a herd: agents that all start at the interval's beginning and draw a tenth of it.
        let mut herd = vec![0_u32; 100];
        (0..10_000_usize).for_each(|n| herd[n % 10] += 1);
        assert!(chi_square(&herd) > 10_000.0);
        // Two schedules of one agent do not meet: their phases differ as those of strangers.
        let near = agents.iter().filter(|agent| {
            let apart = (schedules[0].phase_ms(**agent) - schedules[1].phase_ms(**agent)).abs();
            apart.min(300_000 - apart) < 3_000
        });
        // 2 % by chance, 200 of 10,000; five standard deviations are 70.
        let near = near.count();
        assert!((130..270).contains(&near), "{near}");
    }

    #[test]
    fn an_agent_keeps_its_phase() {
        let agent = Uuid::from_u128(0x0191_2345_6789_7abc_8def_0123_4567_89ab);
        // A change would move every agent of a fleet at once.
        assert_eq!(every(300).phase_ms(agent), every(300).phase_ms(agent));
        let (first, second) =
            (every(300).occasion(agent, 5).unwrap(), every(300).occasion(agent, 6).unwrap());
        let apart = second.at.as_millisecond() - first.at.as_millisecond();
        assert!((300_000 - apart).abs() <= 30_000, "{apart}");
    }

    #[test]
    fn start_until_and_max_runs_bound_a_schedule() {
        let agent = Uuid::from_u128(9);
        let (from, to) = (time("2026-11-22T00:00:00Z"), time("2026-11-23T00:00:00Z"));
        let (first, last) = (time("2026-11-22T10:00:00Z"), time("2026-11-22T12:00:00Z"));
        let (start, until) = (Some(first), Some(last));
        let count = |schedule: Schedule| schedule.occasions(agent, from, to).count();
        let hourly = every(3_600);
        assert!((23..=25).contains(&count(hourly.clone())));
        assert!((13..=15).contains(&count(Schedule { start, ..hourly.clone() })));
        assert_eq!(count(Schedule { start, max_runs: Some(3), ..hourly.clone() }), 3);
        let bounded = Schedule { start, until, ..hourly };
        assert!((1..=3).contains(&count(bounded.clone())));
        for occasion in bounded.occasions(agent, from, to) {
            assert!(occasion.at >= first && occasion.at < last);
        }
    }

    proptest! {
        #[test]
        fn occasions_come_in_the_order_of_their_slots(agent: u128, seconds in 10_u32..100_000, slot in 0_i64..100_000) {
            let (schedule, agent) = (every(seconds), Uuid::from_u128(agent));
            let (one, two) = (schedule.occasion(agent, slot).unwrap(), schedule.occasion(agent, slot + 1).unwrap());
            prop_assert!(one.at < two.at);
            prop_assert_eq!(schedule.latest(agent, one.at), Some(one));
            let before = Timestamp::from_millisecond(two.at.as_millisecond() - 1).unwrap();
            prop_assert_eq!(schedule.latest(agent, before), Some(one));
        }

        #[test]
        fn no_occasion_is_lost_between_two_stretches(agent: u128, seconds in 10_u32..4_000, cut in 1_i64..86_400_000) {
            let (schedule, agent) = (every(seconds), Uuid::from_u128(agent));
            let (from, to) = (time("2026-11-22T00:00:00Z"), time("2026-11-23T00:00:00Z"));
            let middle = Timestamp::from_millisecond(from.as_millisecond() + cut).unwrap();
            let halves: Vec<_> =
                schedule.occasions(agent, from, middle).chain(schedule.occasions(agent, middle, to)).collect();
            prop_assert_eq!(halves, schedule.occasions(agent, from, to).collect::<Vec<_>>());
        }
    }
}
