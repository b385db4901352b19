//! The half of an agent that runs what is due.

use std::sync::Arc;
use std::time::Duration;

use greenroom_reports::fleet::{Due, OwnCost, Planner, RunFacts, Schedule};
use greenroom_reports::units::Micros;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::desk::{Held, MOST_HELD, NO_ROOM, Office, Standing};
use super::metered::is_metered;
use super::own_cost::Cost;
use super::run::{self, Local, Numbered};
use crate::devices::in_use::InUse;
use crate::net::clock::Clock;

/// The longest sleep: a clock that was set, or a computer that slept, is noticed after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The shortest: what is due in between is not late by more.
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);

/// Level at which zstd packs a report.
const LEVEL: i32 = 3;

pub(super) struct Runner {
    pub(super) office: Arc<Office>,
    pub(super) agent: Uuid,
    pub(super) boot: Uuid,
    pub(super) local: Local,
    pub(super) clock: Clock,
    pub(super) cost: Option<(Micros, Cost)>,
}

impl Runner {
    /// Runs what is due until it is stopped.
    pub(super) async fn work(mut self, stop: CancellationToken) {
        let mut planner = Planner::default();
        while !stop.is_cancelled() {
            let wake = self.turn(&mut planner, &stop).await;
            let sleep = wake.map_or(LONGEST_SLEEP, |wake| until(self.now(), wake));
            self.office.rest();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.office.to_run.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// The time, by the server's clock as far as it is known: so that runs fall where the server expects them.
    fn now(&self) -> Timestamp {
        let behind = self.office.desk().behind_ms.unwrap_or(0);
        let wall = self.clock.wall();
        if behind.abs() < 2_000 {
            return wall;
        }
        wall.checked_add(SignedDuration::from_millis(behind)).unwrap_or(wall)
    }

    /// Does what is to be done now; when the next run is due.
    async fn turn(&mut self, planner: &mut Planner, stop: &CancellationToken) -> Option<Timestamp> {
        let (config, wanted, standing) = {
            let desk = self.office.desk();
            (desk.config.clone(), desk.wanted.clone(), desk.standing)
        };
        let turn = planner.turn(&config, self.agent, self.now());
        self.skip(|skipped| skipped.missed += turn.missed);
        // Who may not report has no reason to run. An agent that cannot reach its server yet runs on.
        if matches!(standing, Standing::Pending | Standing::Revoked) {
            return turn.wake;
        }
        if let Some(run) = wanted {
            let schedule =
                config.schedules.iter().find(|it| run.schedule.as_ref().is_none_or(|id| *id == it.id));
            match schedule {
                Some(schedule) => self.run(schedule, None, Some(run.id), stop).await,
                None => {
                    self.office.desk().trouble =
                        Some("the run that was asked for is of no schedule".to_owned());
                }
            }
            let mut desk = self.office.desk();
            desk.ran = Some(run.id);
            desk.wanted = None;
            drop(desk);
            self.office.to_send.notify_one();
        }
        for due in turn.due {
            if stop.is_cancelled() {
                break;
            }
            let Some(schedule) = config.schedules.iter().find(|it| it.id == due.schedule) else { continue };
            // The run before may have taken its time.
            if self.now().duration_since(due.at) > schedule.most_late() {
                self.skip(|skipped| skipped.missed += 1);
                continue;
            }
            if self.may_run(schedule).await {
                self.run(schedule, Some(&due), None, stop).await;
            }
        }
        turn.wake
    }

    fn skip(&self, add: impl Fn(&mut greenroom_reports::fleet::Skipped)) {
        let mut desk = self.office.desk();
        add(&mut desk.skipped);
        add(&mut desk.all_skipped);
    }

    /// Whether nothing stands against a scheduled run now.
    async fn may_run(&self, schedule: &Schedule) -> bool {
        if !schedule.in_call {
            let found = tokio::task::spawn_blocking(InUse::now).await.unwrap_or_default();
            if found.is_call() {
                tracing::info!(schedule = schedule.id, "a call is active: this run is left out");
                self.skip(|skipped| skipped.call += 1);
                return false;
            }
        }
        if !schedule.metered && is_metered().await == Some(true) {
            tracing::info!(schedule = schedule.id, "the link is metered: this run is left out");
            self.skip(|skipped| skipped.metered += 1);
            return false;
        }
        true
    }

    async fn run(
        &mut self,
        schedule: &Schedule,
        due: Option<&Due>,
        run_now: Option<Uuid>,
        stop: &CancellationToken,
    ) {
        let planned = match run::plan_of(schedule, &self.local) {
            Ok(planned) => planned,
            Err(why) => {
                tracing::warn!("{why}");
                self.skip(|skipped| skipped.refused += 1);
                self.office.desk().trouble =
                    Some(why.chars().filter(|c| !c.is_control()).take(250).collect());
                return;
            }
        };
        if !self.has_room() {
            self.skip(|skipped| skipped.missed += 1);
            return;
        }
        let begun = self.now();
        let (plan, also) = planned;
        self.office.set_measures(true);
        let report = run::run(plan, &also, stop.clone()).await;
        self.office.set_measures(false);
        if stop.is_cancelled() {
            // Cut short: it says nothing of the network.
            return;
        }
        let (numbered, facts) = {
            let mut desk = self.office.desk();
            desk.seq += 1;
            desk.last_run = Some(begun);
            let numbered = Numbered {
                agent: self.agent,
                boot: self.boot,
                seq: desk.seq,
                site: desk.config.site.clone(),
            };
            let facts = RunFacts {
                schedule: schedule.id.clone(),
                config: desk.config.version,
                due: due.map(|due| due.at),
                late_ms: due.map(|due| begun.as_millisecond().saturating_sub(due.at.as_millisecond())),
                run_now,
                skipped: std::mem::take(&mut desk.skipped),
                clock_behind_ms: desk.behind_ms,
                own: OwnCost {
                    spool_reports: desk.spool.len() as u64,
                    spool_bytes: desk.spool.bytes(),
                    ..OwnCost::default()
                },
            };
            (numbered, facts)
        };
        let facts = RunFacts { own: self.own_cost(facts.own), ..facts };
        let report = run::finished(report, &numbered, &facts);
        match serde_json::to_vec(&report)
            .map_err(std::io::Error::from)
            .and_then(|json| zstd::bulk::compress(&json, LEVEL))
        {
            Ok(packed) => self.office.desk().keep(Held { id: report.id, made: self.clock.wall(), packed }),
            Err(error) => tracing::error!(%error, "a report cannot be packed"),
        }
        tracing::info!(schedule = schedule.id, code = report.code, verdict = ?report.verdict.overall, "a run ended");
        self.office.to_send.notify_one();
    }

    /// Whether the report of a run that begins now can be kept, on the disk or in memory.
    fn has_room(&self) -> bool {
        let mut desk = self.office.desk();
        desk.keep_held();
        if let Err(error) = desk.spool.reserve() {
            tracing::warn!(%error, "no room can be taken on the disk for the next report");
            desk.trouble = Some(NO_ROOM.to_owned());
        }
        desk.held.len() < MOST_HELD
    }

    /// What this process took of a core since the report before.
    fn own_cost(&mut self, own: OwnCost) -> OwnCost {
        let Some(now) = Cost::now() else { return own };
        let at = self.clock.now();
        let before = self.cost.replace((at, now));
        let cpu_ratio = before
            .filter(|(then, _)| at > *then)
            .map(|(then, before)| (now.cpu - before.cpu).as_secs() / (at - then).as_secs());
        OwnCost { cpu_ratio, rss_bytes: Some(now.rss_bytes), ..own }
    }
}

/// How long to sleep until then.
fn until(now: Timestamp, wake: Timestamp) -> Duration {
    let wait = Duration::try_from(wake.duration_since(now)).unwrap_or_default();
    wait.clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
}
