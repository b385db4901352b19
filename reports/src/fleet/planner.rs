//! What an agent runs next, and what it has missed. Time is an argument and may do anything: stand still, jump, go back.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::config::AgentConfig;
use super::schedule::Schedule;

/// A run that is due longer is not made any more: it would be of another time.
const MOST_LATE: SignedDuration = SignedDuration::from_secs(60);

/// Occasions that are looked at one by one; of a longer gap the rest counts as missed.
const LOOKED_AT: i64 = 10_000;

/// How far ahead the next occasion is looked for.
const AHEAD: i64 = 64;

/// Which occasion of each schedule was the last that was dealt with.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    done: BTreeMap<String, i64>,
}

/// A run to be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Of which schedule.
    pub schedule: String,
    /// When it was due.
    pub at: Timestamp,
    /// How much later it is.
    pub late: SignedDuration,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turn {
    /// Runs to be made, the longest due first.
    pub due: Vec<Due>,
    /// Runs that were due since the last turn and are not made: the computer slept, another run took too long, the clock jumped.
    pub missed: u64,
    /// When the next one is due.
    pub wake: Option<Timestamp>,
}

impl Planner {
    /// What is to be done at `now`. A schedule that is new begins with its next occasion. After a gap only the latest occasion is made
    /// up for, if it is not too late: a fleet that wakes up must not come all at once. A clock that went back by more than an interval
    /// is believed, and its schedules go on from there.
    pub fn turn(&mut self, config: &AgentConfig, agent: Uuid, now: Timestamp) -> Turn {
        let mut turn = Turn::default();
        self.done.retain(|id, _| config.schedules.iter().any(|schedule| schedule.id == *id));
        for schedule in &config.schedules {
            self.look(config, schedule, agent, now, &mut turn);
        }
        turn.due.sort_by_key(|due| due.at);
        turn
    }

    fn look(
        &mut self,
        config: &AgentConfig,
        schedule: &Schedule,
        agent: Uuid,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let Some(latest) = schedule.latest(agent, now) else { return };
        let known = self.done.insert(schedule.id.clone(), latest.slot);
        let next = (latest.slot.saturating_add(1)..).take(usize::try_from(AHEAD).unwrap_or(1));
        let wanted = |slot| schedule.occasion(agent, slot).filter(|it| config.wants(schedule, agent, *it));
        if let Some(next) = next.into_iter().find_map(wanted) {
            turn.wake = Some(turn.wake.map_or(next.at, |wake| wake.min(next.at)));
        }
        let Some(last) = known else { return };
        if last >= latest.slot {
            // A small step back must not make a run twice.
            if last == latest.slot.saturating_add(1) {
                self.done.insert(schedule.id.clone(), last);
            }
            return;
        }
        let gap = latest.slot.saturating_sub(last).saturating_sub(1);
        let looked_at = latest.slot.saturating_sub(gap.min(LOOKED_AT))..latest.slot;
        let missed = looked_at.filter_map(wanted).count();
        turn.missed +=
            u64::try_from(missed).unwrap_or(0) + u64::try_from((gap - LOOKED_AT).max(0)).unwrap_or(0);
        if !config.wants(schedule, agent, latest) {
            return;
        }
        let late = now.duration_since(latest.at);
        match late <= schedule.most_late() {
            true => turn.due.push(Due { schedule: schedule.id.clone(), at: latest.at, late }),
            false => turn.missed += 1,
        }
    }
}

impl Schedule {
    /// How much later than it was due a run may begin: half of what lies between two, and a minute at most.
    pub fn most_late(&self) -> SignedDuration {
        MOST_LATE.min(SignedDuration::from_millis(self.every_ms() / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::tests::{every, time};
    use super::super::{Schedule, Suppression};
    use super::*;

    fn config(schedules: Vec<Schedule>) -> AgentConfig {
        AgentConfig { version: 1, check_in_s: 300, schedules, ..AgentConfig::default() }
    }

    fn seconds(n: i64) -> SignedDuration {
        SignedDuration::from_secs(n)
    }

    const AGENT: Uuid = Uuid::from_u128(0x42);

    /// Turns every second: how many runs, how many missed.
    fn ticks(planner: &mut Planner, config: &AgentConfig, from: Timestamp, n: i64) -> (usize, u64) {
        let turns = (0..n).map(|s| planner.turn(config, AGENT, from.checked_add(seconds(s)).unwrap()));
        turns.fold((0, 0), |(runs, missed), turn| (runs + turn.due.len(), missed + turn.missed))
    }

    #[test]
    fn each_occasion_is_run_once() {
        let (mut planner, config) = (Planner::default(), config(vec![every(60)]));
        let from = time("2026-11-22T14:00:00Z");
        let to = from.checked_add(seconds(3_599)).unwrap();
        let (runs, missed) = ticks(&mut planner, &config, from, 3_600);
        let due = config.due_between(AGENT, from, to);
        // An occasion in the first second may be before the first turn.
        assert!((due - 1..=due).contains(&u64::try_from(runs).unwrap()), "{runs} of {due}");
        assert_eq!(missed, 0);
    }

    #[test]
    fn it_says_when_to_come_back() {
        let (mut planner, config) = (Planner::default(), config(vec![every(60)]));
        let now = time("2026-11-22T14:00:00Z");
        let wake = planner.turn(&config, AGENT, now).wake.unwrap();
        assert!(wake > now);
        let turn = planner.turn(&config, AGENT, wake);
        assert_eq!((turn.due.len(), turn.due[0].late), (1, SignedDuration::ZERO));
    }

    #[test]
    fn after_sleep_nothing_is_made_up_for_but_the_latest() {
        let (mut planner, config) = (Planner::default(), config(vec![every(60)]));
        let now = time("2026-11-22T14:00:00Z");
        planner.turn(&config, AGENT, now);
        // Eight hours, and then ten years.
        for away in [8 * 3_600, 10 * 365 * 86_400] {
            let turn = planner.turn(&config, AGENT, now.checked_add(seconds(away)).unwrap());
            assert!(turn.due.len() <= 1, "{turn:?}");
            assert!(turn.missed >= 478, "{turn:?}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_stops_nothing() {
        let (mut planner, config) = (Planner::default(), config(vec![every(60)]));
        let wrong = time("2038-01-19T03:14:07Z");
        planner.turn(&config, AGENT, wrong);
        let (runs, _) = ticks(&mut planner, &config, time("2026-11-22T14:00:00Z"), 600);
        assert!((9..=10).contains(&runs), "{runs}");
    }

    #[test]
    fn a_small_step_back_runs_nothing_twice() {
        let (mut planner, config) = (Planner::default(), config(vec![every(60)]));
        let now = time("2026-11-22T14:00:00Z");
        let wake = planner.turn(&config, AGENT, now).wake.unwrap();
        assert_eq!(planner.turn(&config, AGENT, wake).due.len(), 1);
        let back = wake.checked_sub(seconds(5)).unwrap();
        let (runs, _) = ticks(&mut planner, &config, back, 10);
        assert_eq!(runs, 0);
    }

    #[test]
    fn what_is_due_too_long_is_missed_and_told() {
        let (mut planner, config) = (Planner::default(), config(vec![every(600)]));
        let now = time("2026-11-22T14:00:00Z");
        let wake = planner.turn(&config, AGENT, now).wake.unwrap();
        let late = planner.turn(&config, AGENT, wake.checked_add(seconds(59)).unwrap());
        assert_eq!((late.due.len(), late.missed), (1, 0));
        assert_eq!(late.due[0].late, seconds(59));
        let wake = late.wake.unwrap();
        let too_late = planner.turn(&config, AGENT, wake.checked_add(seconds(61)).unwrap());
        assert_eq!((too_late.due.len(), too_late.missed), (0, 1));
    }

    #[test]
    fn what_is_suppressed_is_neither_run_nor_missed() {
        let mut config = config(vec![every(60)]);
        let from = time("2026-11-22T14:00:00Z");
        config.suppressions = vec![Suppression { from, until: None, schedule: None }];
        assert_eq!(ticks(&mut Planner::default(), &config, from, 600), (0, 0));
    }

    #[test]
    fn a_schedule_that_is_new_begins_with_its_next_occasion() {
        let mut planner = Planner::default();
        let now = time("2026-11-22T14:00:00Z");
        planner.turn(&config(vec![]), AGENT, now);
        let turn = planner.turn(&config(vec![every(60)]), AGENT, now.checked_add(seconds(3_600)).unwrap());
        assert_eq!((turn.due.len(), turn.missed), (0, 0));
    }
}
