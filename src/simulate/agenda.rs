//! Which report is sent next: the occasions of every agent's schedules by the planner of real agents, what waits while a site is cut off,
//! and what failed. Pure: time is an argument, in milliseconds since 1970.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use jiff::Timestamp;

use super::model::{Dice, Fleet};
use super::template::Run;

/// From one report that waited to the next of an agent, as real agents send them.
const BETWEEN_MS: i64 = 5_000;

/// Agents that can send again do not all come at that moment.
const SPREAD_MS: usize = 60_000;

/// The longest wait after failures.
const LONGEST_MS: i64 = 600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// When it is sent.
    send_ms: i64,
    /// When it was made.
    at_ms: i64,
    agent: u32,
    schedule: usize,
    slot: i64,
    /// Whether the occasion behind it is to be added when this one is due.
    goes_on: bool,
}

/// A report to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    /// What it is of.
    pub run: Run,
    /// How often it was sent before, and not kept.
    pub tries: u32,
    /// When it was to be sent, in milliseconds since 1970.
    pub sent_ms: i64,
}

/// What is still to be sent.
#[derive(Debug)]
pub struct Agenda {
    coming: BinaryHeap<Reverse<Entry>>,
    /// Those that were sent and not kept, by when they are sent again.
    again: BTreeMap<(i64, u64), Send>,
    /// How many came to stand there: two may wait for one moment.
    again_made: u64,
    /// Reports that each agent has made.
    made: Vec<u64>,
    /// Runs that a call kept each agent from, since its last report.
    in_calls: Vec<u8>,
    until_ms: i64,
}

impl Agenda {
    /// Every agent's next occasions from the fleet's first moment on; and, sent at `backlog_per_s` beside these, all that it would have made
    /// within `backlog_ms` before.
    pub fn new(fleet: &Fleet, backlog_ms: i64, backlog_per_s: f64) -> Self {
        let from_ms = fleet.spec().from.as_millisecond();
        let mut agenda = Self {
            coming: BinaryHeap::new(),
            again: BTreeMap::new(),
            again_made: 0,
            made: vec![0; usize::try_from(fleet.spec().agents).unwrap_or(0)],
            in_calls: vec![0; usize::try_from(fleet.spec().agents).unwrap_or(0)],
            until_ms: fleet.spec().until.as_millisecond(),
        };
        let mut before = Vec::new();
        for agent in 0..fleet.spec().agents {
            let id = fleet.member(agent).id;
            for (schedule, known) in fleet.config().schedules.iter().enumerate() {
                let Some(latest) = known.latest(id, fleet.spec().from) else { continue };
                agenda.add_after(fleet, agent, schedule, latest.slot);
                let slots = (0..).map(|back| latest.slot - back).map_while(|slot| known.occasion(id, slot));
                let old = slots.take_while(|it| from_ms - it.at.as_millisecond() < backlog_ms);
                before.extend(old.map(|it| (it.at.as_millisecond(), agent, schedule, it.slot)));
            }
        }
        before.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "some million, and milliseconds of a day"
        )]
        for (number, (at_ms, agent, schedule, slot)) in before.into_iter().enumerate() {
            let send_ms = from_ms + (number as f64 / backlog_per_s.max(0.001) * 1_000.0) as i64;
            agenda.coming.push(Reverse(Entry { send_ms, at_ms, agent, schedule, slot, goes_on: false }));
        }
        agenda
    }

    /// The same for agents that go on until then.
    #[must_use]
    pub fn going_on_until(self, until: Timestamp) -> Self {
        Self { until_ms: until.as_millisecond(), ..self }
    }

    fn add_after(&mut self, fleet: &Fleet, agent: u32, schedule: usize, slot: i64) {
        let id = fleet.member(agent).id;
        let next = fleet.config().schedules.get(schedule).and_then(|known| known.occasion(id, slot + 1));
        let Some(next) = next else { return };
        let at_ms = next.at.as_millisecond();
        if at_ms < self.until_ms {
            let slot = next.slot;
            self.coming.push(Reverse(Entry { send_ms: at_ms, at_ms, agent, schedule, slot, goes_on: true }));
        }
    }

    /// The next report that is due at `now_ms`, if there is one.
    pub fn next(&mut self, fleet: &Fleet, now_ms: i64) -> Option<Send> {
        if let Some(first) = self.again.first_entry().filter(|first| first.key().0 <= now_ms) {
            return Some(first.remove());
        }
        while let Some(Reverse(entry)) = self.coming.peek().copied() {
            if entry.send_ms > now_ms {
                return None;
            }
            self.coming.pop();
            if entry.goes_on {
                self.add_after(fleet, entry.agent, entry.schedule, entry.slot);
            }
            if let Some(run) = self.run(fleet, entry) {
                return Some(Send { run, tries: 0, sent_ms: entry.send_ms });
            }
        }
        None
    }

    /// The run of an occasion; `None` where a call keeps it from being made, or its report has to wait.
    fn run(&mut self, fleet: &Fleet, entry: Entry) -> Option<Run> {
        let member = fleet.member(entry.agent);
        let at = Timestamp::from_millisecond(entry.at_ms).ok()?;
        let place = usize::try_from(entry.agent).ok()?;
        if entry.send_ms == entry.at_ms {
            if fleet.in_call(&member, entry.slot, at) {
                let calls = self.in_calls.get_mut(place)?;
                *calls = calls.saturating_add(1);
                return None;
            }
            if let Some((from, until)) = fleet.offline(&member, at) {
                let mut dice = Dice::new(fleet.spec().seed, [8, u64::from(entry.agent), 0]);
                let spread = i64::try_from(dice.below(SPREAD_MS)).unwrap_or(0);
                // The oldest goes first.
                let before =
                    (entry.at_ms - from.as_millisecond()) / (1_000 * i64::from(fleet.spec().every_s.max(1)));
                let send_ms = until.as_millisecond() + spread + before * BETWEEN_MS;
                self.coming.push(Reverse(Entry { send_ms, goes_on: false, ..entry }));
                return None;
            }
        }
        let made = self.made.get_mut(place)?;
        *made += 1;
        let seq = *made;
        let in_calls = self.in_calls.get_mut(place).map_or(0, std::mem::take);
        Some(Run {
            member,
            schedule: entry.schedule,
            slot: entry.slot,
            at,
            seq,
            in_calls: u64::from(in_calls),
        })
    }

    /// A report was not kept: it is sent again, as a real agent does it. `chance` is from 0 to 1.
    pub fn again(&mut self, send: Send, retry_after_ms: i64, now_ms: i64, chance: f64) {
        let most = (1_000_i64 << send.tries.min(16)).min(LONGEST_MS);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "milliseconds of some minutes"
        )]
        let wait = (most.max(retry_after_ms / 2) as f64 * chance) as i64;
        let at_ms = now_ms + retry_after_ms + wait;
        self.again_made += 1;
        self.again.insert((at_ms, self.again_made), Send { tries: send.tries + 1, ..send });
    }

    /// How many were not kept and wait for their next time.
    pub fn waiting(&self) -> usize {
        self.again.len()
    }

    /// Whether nothing is to come any more.
    pub fn is_done(&self) -> bool {
        self.coming.is_empty() && self.again.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::model::{FleetSpec, What};
    use super::*;

    fn fleet(agents: u32, hours: i64) -> Fleet {
        let from: Timestamp = "2026-11-03T10:00:00Z".parse().unwrap();
        let until = from.checked_add(SignedDuration::from_hours(hours)).unwrap();
        Fleet::new(FleetSpec { seed: 3, agents, every_s: 300, hourly: true, from, until })
    }

    fn all(agenda: &mut Agenda, fleet: &Fleet, until_ms: i64) -> Vec<Send> {
        std::iter::from_fn(|| agenda.next(fleet, until_ms)).collect()
    }

    #[test]
    fn every_run_that_is_due_is_made_once_or_skipped_for_a_call() {
        let fleet = fleet(200, 6);
        let mut agenda = Agenda::new(&fleet, 0, 1.0);
        let until_ms = fleet.spec().until.as_millisecond() + 3 * 3_600_000;
        let sent = all(&mut agenda, &fleet, until_ms);
        assert!(agenda.is_done());
        let due: u64 = (0..200)
            .map(|agent| {
                fleet.config().due_between(fleet.member(agent).id, fleet.spec().from, fleet.spec().until)
            })
            .sum();
        let skipped: u64 = sent.iter().map(|send| send.run.in_calls).sum();
        let made = u64::try_from(sent.len()).unwrap();
        // What the last runs of the time skipped no report tells any more.
        assert!(made + skipped <= due && due - made - skipped < 20, "{made} + {skipped} of {due}");
        let mut seqs: Vec<_> = sent.iter().map(|send| (send.run.member.index, send.run.seq)).collect();
        seqs.sort_unstable();
        seqs.dedup();
        assert_eq!(seqs.len(), sent.len());
    }

    #[test]
    fn what_a_site_could_not_send_comes_when_it_can() {
        let fleet = fleet(200, 24);
        let cut = fleet.incidents().iter().find(|one| one.what == What::SiteOffline).unwrap().clone();
        let mut agenda = Agenda::new(&fleet, 0, 1.0);
        let is_of_it = |send: &Send| fleet.site_name(send.run.member.site) == cut.who;
        let before = all(&mut agenda, &fleet, cut.until.as_millisecond());
        let made_meanwhile =
            |send: &Send| is_of_it(send) && cut.from <= send.run.at && send.run.at < cut.until;
        assert!(!before.iter().any(made_meanwhile), "they had no way to the server");
        let after = all(&mut agenda, &fleet, cut.until.as_millisecond() + 4 * 3_600_000);
        assert!(after.iter().filter(|send| made_meanwhile(send)).count() > 10);
    }

    #[test]
    fn what_failed_waits_longer_each_time_and_never_less_than_it_was_told() {
        let fleet = fleet(10, 1);
        let mut agenda = Agenda::new(&fleet, 0, 1.0);
        let first = all(&mut agenda, &fleet, fleet.spec().from.as_millisecond() + 600_000).remove(0);
        agenda.coming.clear();
        agenda.again(first, 5_000, 0, 0.5);
        assert_eq!(agenda.next(&fleet, 5_000), None);
        let second = agenda.next(&fleet, 6_250).unwrap();
        assert_eq!(second.tries, 1);
        agenda.again(Send { tries: 30, ..second }, 0, 0, 0.999);
        assert_eq!(agenda.next(&fleet, 500_000), None);
        assert!(agenda.next(&fleet, 600_000).is_some());
        assert!(agenda.is_done());
    }

    #[test]
    fn a_backlog_is_sent_beside_at_its_rate() {
        let fleet = fleet(100, 1);
        let mut agenda = Agenda::new(&fleet, 1_800_000, 10.0);
        let from = fleet.spec().from;
        let old = |sent: &[Send]| sent.iter().filter(|send| send.run.at <= from).count();
        let ten = all(&mut agenda, &fleet, from.as_millisecond() + 10_000);
        assert!((95..=101).contains(&old(&ten)), "{}", old(&ten));
        let rest = all(&mut agenda, &fleet, from.as_millisecond() + 3_600_000);
        assert!((600..=750).contains(&(old(&ten) + old(&rest))), "{}", old(&rest));
    }
}
