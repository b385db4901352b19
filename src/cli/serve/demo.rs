//! `greenroom serve --demo`: a month of a fleet that does not exist, in a folder that goes when the server ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use greenroom_reports::fleet::{AgentState, CheckIn};
use greenroom_web::AppState;
use greenroom_web::auth::agent::{NewEnrollToken, mint_enroll};
use greenroom_web::ingest::read;
use greenroom_web::store::{Agent, AgentRun, Counted, FleetPlan, Moved, Record, Store, StoreError, Tenant};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::make_private;
use crate::cli::exit::CliError;
use crate::net::clock::Clock;
use crate::simulate::agenda::{Agenda, Send};
use crate::simulate::model::{Fleet, FleetSpec};
use crate::simulate::template::Writer;

/// The fleet: it is the same each time.
const SEED: u64 = 7;
const AGENTS: u32 = 100;

/// From run to run, in seconds.
const EVERY_S: u32 = 7_200;

/// How long it was there, and how long it goes on.
const DAYS: i64 = 30;

/// Of so many days reports are there as a whole; of those before, their headers and what they add to sums.
const WHOLE_DAYS: i64 = 3;

/// Reports of one commit.
const BATCH: usize = 400;

/// How often it looks whether an agent's next report is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The folder of a demonstration. It goes, with all that is in it, when this is dropped.
pub(super) struct DemoFolder(PathBuf);

impl DemoFolder {
    /// Makes one.
    pub(super) fn make(clock: &Clock) -> Result<Self, CliError> {
        let path = std::env::temp_dir().join(format!("greenroom-demo-{}", clock.new_id().simple()));
        make_private(&path).map_err(|error| CliError::output(&path, error))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        // Whatever cannot be deleted, the system deletes with its other temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A demonstration that was filled in.
pub(super) struct Demo {
    fleet: Fleet,
    agenda: Agenda,
    writer: Writer,
    /// Since when reports are there as a whole. All agents were started then.
    whole_from: Timestamp,
    numbers: Vec<u64>,
    /// How many reports were made.
    pub(super) reports: usize,
}

impl Demo {
    /// Fills a store that has nothing in it.
    pub(super) async fn fill(store: &Arc<dyn Store>, now: Timestamp) -> Result<Self, StoreError> {
        let days = |n: i64| SignedDuration::from_hours(24 * n);
        let from = now.saturating_sub(days(DAYS)).unwrap_or(now);
        let spec =
            FleetSpec { seed: SEED, agents: AGENTS, every_s: EVERY_S, hourly: false, from, until: now };
        // What goes wrong lies in the month that is over; the agents go on.
        let fleet = Fleet::new(spec);
        let until = now.saturating_add(days(DAYS)).unwrap_or(now);
        let agenda = Agenda::new(&fleet, 0, 1.0).going_on_until(until);
        let whole_from = now.saturating_sub(days(WHOLE_DAYS)).unwrap_or(from);
        let numbers = vec![0; usize::try_from(AGENTS).unwrap_or(0)];
        let mut demo = Self { fleet, agenda, writer: Writer::new(), whole_from, numbers, reports: 0 };
        demo.enroll(store, now).await?;
        let now_ms = now.as_millisecond();
        loop {
            let batch = demo.batch(now_ms);
            if batch.is_empty() {
                return Ok(demo);
            }
            demo.reports += batch.len();
            let (old, whole): (Vec<_>, Vec<_>) =
                read_all(batch).await?.into_iter().partition(|record| record.run.is_none());
            if !old.is_empty() {
                store.take_in(old.into_iter().map(moved).collect(), None).await?;
            }
            if !whole.is_empty() {
                store.ingest(whole).await?;
            }
        }
    }

    /// Things that went wrong, in words.
    pub(super) fn incidents(&self) -> Vec<String> {
        self.fleet
            .incidents()
            .iter()
            .map(|one| {
                let at = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M").to_string();
                format!("{} to {}  {}: {}", at(one.from), at(one.until), one.who, one.what.words())
            })
            .collect()
    }

    /// Lets the agents go on, until stopped.
    pub(super) async fn go_on(mut self, state: AppState, stop: CancellationToken) {
        let clock = Clock::start();
        loop {
            let now_ms = clock.wall().as_millisecond();
            let batch = self.batch(now_ms);
            if let Ok(records) = read_all(batch).await {
                for record in records {
                    if let Err(error) = state.keep(record).await {
                        tracing::warn!(%error, "a made-up report is not kept");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Some reports that are due, and which of their agents' they are where they are there as a whole.
    fn batch(&mut self, now_ms: i64) -> Vec<Made> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some(Send { mut run, sent_ms, .. }) = self.agenda.next(&self.fleet, now_ms) else { break };
            let received = Timestamp::from_millisecond(sent_ms).unwrap_or(run.at);
            let is_whole = run.at >= self.whole_from;
            let place = usize::try_from(run.member.index).unwrap_or(0);
            if is_whole && let Some(number) = self.numbers.get_mut(place) {
                *number += 1;
                run.seq = *number;
                run.member.boot = Uuid::from_u128(run.member.boot.as_u128() ^ 1);
            }
            let agent_run = is_whole.then(|| AgentRun {
                agent: run.member.id,
                boot: run.member.boot.to_string(),
                seq: run.seq,
            });
            batch.push(Made { json: self.writer.write(&self.fleet, &run), received, run: agent_run });
        }
        batch
    }

    /// The agents, as if they had come by a token at the beginning.
    async fn enroll(&self, store: &Arc<dyn Store>, now: Timestamp) -> Result<(), StoreError> {
        let from = self.fleet.spec().from;
        let new = NewEnrollToken {
            name: "demonstration".to_owned(),
            site: None,
            approve: false,
            author: "greenroom serve --demo".to_owned(),
            expires: now,
            most: AGENTS,
        };
        let (_, token) = mint_enroll(Tenant::FIRST, new, from);
        store.add_enroll_token(&token).await?;
        for index in 0..AGENTS {
            let member = self.fleet.member(index);
            let agent = Agent {
                tenant: Tenant::FIRST,
                id: member.id,
                name: format!("laptop-{:03}", index + 1),
                site: Some(self.fleet.site_name(member.site)),
                state: AgentState::Active,
                // Nobody has the other half of it.
                public_key: key(member.id),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                token: token.id.clone(),
                enrolled: from,
                active: Some(from),
                bearer: None,
                seen: None,
                config: 1,
                waiting: 0,
                dropped: 0,
                trouble: None,
                wanted: None,
            };
            store.enroll(&agent, from).await?;
            let said = CheckIn { config: 1, version: agent.version.clone(), ..CheckIn::default() };
            store.note_check_in(agent.id, &said, now).await?;
        }
        let schedules = self.fleet.config().schedules.clone();
        let targets = schedules.first().map(|schedule| schedule.targets.clone()).unwrap_or_default();
        let plan = FleetPlan { targets, schedules, ..FleetPlan::default() };
        store.set_fleet_plan(Tenant::FIRST, &plan, from).await?;
        Ok(())
    }
}

/// Octets that differ from agent to agent.
fn key(id: Uuid) -> [u8; 32] {
    let bytes = id.into_bytes();
    std::array::from_fn(|at| bytes.get(at % 16).copied().unwrap_or(0))
}

/// A report, when it was received, and which of its agent's it is.
struct Made {
    json: Vec<u8>,
    received: Timestamp,
    run: Option<AgentRun>,
}

/// Reads reports as a server does, on all processors.
async fn read_all(batch: Vec<Made>) -> Result<Vec<Record>, StoreError> {
    let broken = |words: String| StoreError::Damaged(format!("a made-up report is none: {words}"));
    let mut reading = Vec::new();
    let mut batch = batch.into_iter().peekable();
    while batch.peek().is_some() {
        let some: Vec<Made> = batch.by_ref().take(BATCH / 4).collect();
        reading.push(tokio::task::spawn_blocking(move || {
            let read_one = |made: Made| {
                let report = read::report(&made.json)?;
                let record = read::record(Tenant::FIRST, &report, made.json, made.received)?;
                Ok(Record { run: made.run, ..record })
            };
            some.into_iter().map(read_one).collect::<Result<Vec<_>, greenroom_web::problem::Problem>>()
        }));
    }
    let mut records = Vec::new();
    for some in reading {
        let some = some.await.map_err(|error| broken(error.to_string()))?;
        records.extend(some.map_err(|problem| broken(problem.detail().to_owned()))?);
    }
    Ok(records)
}

/// A report of which the header and what it adds to sums are kept alone.
fn moved(record: Record) -> Moved {
    let adds = (record.summary.counted == Counted::Yes).then_some(record.adds);
    let Record { tenant, summary, figures, provider, .. } = record;
    Moved { tenant, summary, raw: None, adds, figures, provider, notes: Vec::new() }
}
