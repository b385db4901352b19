//! Takes in one interval after the other and keeps the incidents that come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::alerts;
use super::cause;
use super::evidence::{self, Runs};
use super::fleet::{Fleet, LEARNED_FROM, learned, time, unsigned};
use crate::app::AppState;
use crate::clock::{Clock, new_id};
use crate::detect::{Change, Incident as Found, Value};
use crate::store::{Affected, Detector, Evidence, Incident, Knows, Result, Severity, Store, Tenant, Told};

/// Length of an interval, in seconds.
pub const INTERVAL: i64 = 300;

/// How long reports of an interval may take to arrive: a run takes some seconds, its report is sent at once.
const LATE: SignedDuration = SignedDuration::from_secs(90);

/// How often to look whether an interval is over.
const LOOK: Duration = Duration::from_secs(2);

/// How long a turn lasts, unless it is kept.
const TURN: SignedDuration = SignedDuration::from_secs(60);

/// Agents whose usual is learned between two intervals, so that neither waits for the other.
const LEARNED_AT_ONCE: usize = 64;

/// Baselines that are read at once.
const READ_AT_ONCE: u32 = 5_000;

/// How often what is usual is learned anew, and how often it is tried with one of whom too little is known.
const ANEW: SignedDuration = SignedDuration::from_hours(24);
const TRY: SignedDuration = SignedDuration::from_hours(3);

/// Intervals of a round.
const AT_ONCE: usize = 64;

/// The longest time that is made up for, in intervals: a week. What was before is history that is learned from.
const MADE_UP: i64 = 7 * 288;

/// Intervals within which what comes back is the same incident: an hour; and of how many that is looked for.
const COMES_BACK: i64 = 12;
const LATEST: u32 = 200;

/// How many intervals are taken in without being kept, where nothing comes of them.
const KEPT_EVERY: i64 = 32;

/// Intervals that are taken in again at a start, so that sums go on from where they were: a day.
const AGAIN: i64 = 288;

/// How long after a start silence is not listened for: agents may not have reached a server that was down.
const SETTLING: SignedDuration = SignedDuration::from_mins(15);

/// Which interval a point in time is of.
pub(super) fn interval(at: Timestamp) -> i64 {
    at.as_second().div_euclid(INTERVAL)
}

/// An interval's begin, in seconds since 1970.
pub(super) fn begin(interval: i64) -> i64 {
    interval.saturating_mul(INTERVAL)
}

/// Its hour of the week: Monday 00:00 UTC is 0.
pub(super) fn hour(interval: i64) -> usize {
    // The first of January 1970 was a Thursday.
    usize::try_from((begin(interval).div_euclid(3_600) + 3 * 24).rem_euclid(168)).unwrap_or(0)
}

/// An interval's begin.
pub(super) fn at(interval: i64) -> Timestamp {
    Timestamp::from_second(begin(interval)).unwrap_or(Timestamp::MAX)
}

/// Does it for all tenants, until stopped.
pub(crate) async fn run(state: AppState, stop: CancellationToken) {
    let mut keeper = Keeper::new(Arc::clone(&state.store), state.clock.clone(), &state.config.base_url);
    keeper.wake = Some(Arc::clone(&state.wake_courier));
    loop {
        let more = tokio::select! {
            () = stop.cancelled() => return,
            more = keeper.round() => more,
        };
        match more {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "incidents cannot be looked for now");
                keeper.tenants.clear();
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Looks for incidents.
pub struct Keeper {
    store: Arc<dyn Store>,
    turn: Turn,
    base_url: String,
    began: Timestamp,
    tenants: BTreeMap<Tenant, Watched>,
    wake: Option<Arc<Notify>>,
}

/// This node's turn to do it.
struct Turn {
    clock: Clock,
    holder: Uuid,
}

impl Turn {
    /// Takes it, or keeps it: what a large fleet needs at a start takes longer than a turn lasts. False where it is another node's.
    async fn hold(&self, store: &dyn Store) -> Result<bool> {
        let now = self.clock.now();
        let until = now.checked_add(TURN).unwrap_or(Timestamp::MAX);
        store.take_turn("incidents", self.holder, now, until).await
    }
}

/// A tenant that is watched.
struct Watched {
    fleet: Fleet,
    /// The last interval that was taken in; `None` before the first.
    taken: Option<i64>,
    /// The last one that the store knows to be taken in.
    kept: Option<i64>,
    /// The interval of the first run that was found.
    first: Option<i64>,
    open: Vec<Incident>,
    /// Whether all that could be learned at the start is.
    settled: bool,
}

impl Keeper {
    /// One that has not looked yet.
    pub fn new(store: Arc<dyn Store>, clock: Clock, base_url: &str) -> Self {
        let began = clock.now();
        Self {
            store,
            turn: Turn { holder: new_id(began), clock },
            base_url: base_url.to_owned(),
            began,
            tenants: BTreeMap::new(),
            wake: None,
        }
    }

    /// Takes in what is over by now; whether there is more, or anything changed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn round(&mut self) -> Result<bool> {
        let now = self.turn.clock.now();
        if !self.turn.hold(&*self.store).await? {
            self.tenants.clear();
            return Ok(false);
        }
        let mut any = false;
        for tenant in self.store.tenants().await? {
            any |= self.look(tenant, now).await?;
            any |= alerts::look(&*self.store, tenant, now, &self.base_url, self.wake.as_deref()).await?;
        }
        Ok(any)
    }

    async fn look(&mut self, tenant: Tenant, now: Timestamp) -> Result<bool> {
        let over = now.checked_sub(LATE).map_or(0, interval) - 1;
        let mut watched = match self.tenants.remove(&tenant) {
            Some(watched) => watched,
            None => Watched::load(&*self.store, &self.turn, tenant, now).await?,
        };
        let mut any = watched.learn_some(&*self.store, tenant, now).await?;
        if watched.settled {
            for _ in 0..AT_ONCE {
                let next = watched.next(over);
                if next > over {
                    break;
                }
                self.turn.hold(&*self.store).await?;
                let heard = at(next) >= self.began.checked_add(SETTLING).unwrap_or(Timestamp::MAX);
                if !watched.take(&*self.store, tenant, next, heard, next == over, now).await? {
                    // Another node went on from there.
                    return Ok(true);
                }
                any = true;
            }
        }
        self.tenants.insert(tenant, watched);
        Ok(any)
    }
}

impl Watched {
    async fn load(store: &dyn Store, turn: &Turn, tenant: Tenant, now: Timestamp) -> Result<Self> {
        let detector = store.detector(tenant).await?;
        let knows = detector.as_ref().map(|it| it.knows.clone()).unwrap_or_default();
        let mut fleet = Fleet::new(Vec::new(), &knows);
        let mut some = store.baselines(tenant, None, READ_AT_ONCE).await?;
        while let Some(last) = some.last() {
            let after = (last.agent.clone(), last.endpoint.clone(), last.figure);
            let learned: BTreeMap<String, Timestamp> =
                some.iter().map(|one| (one.agent.clone(), one.learned)).collect();
            fleet.learn(some);
            for (agent, learned) in learned {
                fleet.set_due(&agent, Some(learned.checked_add(ANEW).unwrap_or(now)));
            }
            some = store.baselines(tenant, Some((&after.0, &after.1, after.2)), READ_AT_ONCE).await?;
        }
        let open = store.incidents(tenant, true, None, 10_000).await?;
        let taken = detector.map(|it| it.taken);
        let mut watched = Self { fleet, taken, kept: taken, first: None, open, settled: false };
        match taken {
            Some(taken) => {
                for again in taken - AGAIN + 1..=taken {
                    // Where another node has it now, that one's commits are what counts.
                    turn.hold(store).await?;
                    // Before sums begin: who is where.
                    let said = watched.hear(store, tenant, again).await?;
                    let values = watched.fleet.values(again, said, false);
                    watched.fleet.watch.replay(unsigned(again), hour(again), &values);
                }
            }
            None => watched.find_all(store, tenant, now).await?,
        }
        watched.fleet.go_on(&watched.open, knows.numbers);
        Ok(watched)
    }

    /// Who has reported before any interval was taken in. Whoever reports later is heard then: to look through a month of a large fleet takes
    /// long.
    async fn find_all(&mut self, store: &dyn Store, tenant: Tenant, now: Timestamp) -> Result<()> {
        let from = now.checked_sub(LEARNED_FROM).unwrap_or(Timestamp::MIN);
        for (agent, first) in store.running_agents(tenant, from).await? {
            self.first = Some(self.first.unwrap_or(i64::MAX).min(interval(first)));
            self.fleet.set_due(&agent, Some(Timestamp::MIN));
        }
        Ok(())
    }

    /// What the runs of an interval said.
    async fn hear(&mut self, store: &dyn Store, tenant: Tenant, interval: i64) -> Result<Vec<Value>> {
        let mut said = Vec::new();
        let mut pages = Runs::between(tenant, at(interval), at(interval + 1));
        while let Some(runs) = pages.next(store).await? {
            self.fleet.hear(interval, &runs, &mut said);
        }
        Ok(said)
    }

    /// The next interval to take in.
    fn next(&self, over: i64) -> i64 {
        let least = over - MADE_UP + 1;
        // Where there was nothing, there is nothing to take in.
        let first = || self.first.map_or(over, |first| first.min(over)).max(least);
        self.taken.map_or_else(first, |taken| (taken + 1).max(least))
    }

    /// Learns what is usual for some agents of whom it is due; whether there are more.
    async fn learn_some(&mut self, store: &dyn Store, tenant: Tenant, now: Timestamp) -> Result<bool> {
        let due = self.fleet.due(now, LEARNED_AT_ONCE + 1);
        for agent in due.iter().take(LEARNED_AT_ONCE) {
            let from = now.checked_sub(LEARNED_FROM).unwrap_or(Timestamp::MIN);
            let runs = store.runs_of(tenant, agent, from, now).await?;
            if runs.is_empty() {
                self.fleet.set_due(agent, None);
                continue;
            }
            let named = Arc::clone(agent);
            let baselines = tokio::task::spawn_blocking(move || learned(&named, &runs, now)).await;
            let baselines = baselines.unwrap_or_default();
            let wait = if baselines.is_empty() { TRY } else { ANEW };
            if !baselines.is_empty() {
                store.keep_baselines(tenant, agent, &baselines).await?;
                self.fleet.learn(baselines);
            }
            self.fleet.set_due(agent, Some(now.checked_add(wait).unwrap_or(Timestamp::MAX)));
        }
        self.settled |= due.len() <= LEARNED_AT_ONCE;
        Ok(due.len() > LEARNED_AT_ONCE)
    }

    /// Takes in an interval. False where another node did.
    async fn take(
        &mut self,
        store: &dyn Store,
        tenant: Tenant,
        next: i64,
        heard: bool,
        is_last: bool,
        now: Timestamp,
    ) -> Result<bool> {
        let said = self.hear(store, tenant, next).await?;
        let values = self.fleet.values(next, said, heard);
        let changes = self.fleet.watch.take(unsigned(next), hour(next), &values);
        let mut changed: BTreeSet<Uuid> = BTreeSet::new();
        for change in changes {
            changed.extend(self.apply(store, tenant, change, next, now).await?);
        }
        self.add_evidence_of(store, tenant, next).await?;
        self.go_on_with(&values, next, &mut changed);
        self.taken = Some(next);
        if changed.is_empty() && !is_last && next % KEPT_EVERY != 0 {
            // While much is made up for, a commit for each interval would take longer than all else.
            return Ok(true);
        }
        let incidents: Vec<Incident> =
            self.open.iter().filter(|incident| changed.contains(&incident.id)).cloned().collect();
        let spreads = self.fleet.watch.spreads();
        // What is not far from 1 is what a new start begins with.
        let spreads = spreads.filter(|(_, _, spread)| *spread > 1.1);
        let knows = Knows {
            numbers: self.fleet.watch.numbers(),
            watches: self.fleet.watch.watched(),
            spreads: spreads.map(|(figure, scope, spread)| (figure, scope.clone(), spread)).collect(),
        };
        let to = Detector { taken: next, knows };
        if !store.advance(tenant, self.kept, &to, &incidents).await? {
            return Ok(false);
        }
        self.kept = Some(next);
        self.open.retain(|incident| incident.over.is_none());
        Ok(true)
    }

    /// What a change is to what is kept; which incidents it is of.
    async fn apply(
        &mut self,
        store: &dyn Store,
        tenant: Tenant,
        change: Change,
        next: i64,
        now: Timestamp,
    ) -> Result<Vec<Uuid>> {
        Ok(match change {
            Change::Began(found) => {
                if let Some(mut incident) = self.ended(store, tenant, &found, next).await? {
                    incident.over = None;
                    incident.told.reopened += 1;
                    incident.told.number = found.number;
                    describe(&self.fleet, &found, &mut incident);
                    let id = incident.id;
                    self.open.push(incident);
                    return Ok(vec![id]);
                }
                let mut incident = self.began(tenant, &found, next, now);
                evidence::add_before(store, &self.fleet, &found, next, &mut incident).await?;
                tracing::info!(number = found.number, scope = found.scope.kind(), "something got worse");
                let id = incident.id;
                self.open.push(incident);
                vec![id]
            }
            Change::Grew(found) => {
                let Some(index) = self.open.iter().position(|it| it.told.number == found.number) else {
                    return Ok(Vec::new());
                };
                let mut incident = self.open.remove(index);
                describe(&self.fleet, &found, &mut incident);
                let id = incident.id;
                self.open.push(incident);
                vec![id]
            }
            Change::Ended(found) => {
                let end = found.over.map_or(now, time);
                self.end(found.number, end, None).into_iter().collect()
            }
            Change::PartOf { number, whole } => {
                let whole = self.open.iter().find(|it| it.told.number == whole).map(|it| it.id);
                self.end(number, at(next), whole).into_iter().collect()
            }
        })
    }

    /// The incident of the same scope that ended a while ago: what comes back is the same one.
    async fn ended(
        &self,
        store: &dyn Store,
        tenant: Tenant,
        found: &Found,
        next: i64,
    ) -> Result<Option<Incident>> {
        let (scope, _) = cause::named(&found.scope, &found.or);
        let since = at(next - COMES_BACK);
        let is_open = |incident: &Incident| self.open.iter().any(|open| open.id == incident.id);
        let latest = store.incidents(tenant, false, None, LATEST).await?;
        Ok(latest.into_iter().find(|incident| {
            let told = &incident.told;
            let ended = incident.over.is_some_and(|over| over >= since) && told.part_of.is_none();
            ended
                && told.scope == scope
                && told.figures.first() == found.figures.first()
                && !is_open(incident)
        }))
    }

    fn end(&mut self, number: u64, over: Timestamp, part_of: Option<Uuid>) -> Option<Uuid> {
        let incident = self.open.iter_mut().find(|it| it.told.number == number)?;
        incident.over = Some(over);
        incident.told.part_of = part_of;
        Some(incident.id)
    }

    fn began(&self, tenant: Tenant, found: &Found, next: i64, now: Timestamp) -> Incident {
        let mut incident = Incident {
            tenant,
            id: new_id(now),
            since: time(found.since),
            noticed: at(next + 1),
            over: None,
            affected: Vec::new(),
            told: Told {
                number: found.number,
                scope: found.scope.clone(),
                or: Vec::new(),
                figures: Vec::new(),
                part_of: None,
                reopened: 0,
                severity: Severity::Info,
                place: greenroom_reports::schema::Place::Unknown,
                by: "shape".to_owned(),
                evidence: Evidence::default(),
                agents: 0,
                of: 0,
                sites: Vec::new(),
                endpoints: Vec::new(),
                course: Vec::new(),
                reports: Vec::new(),
            },
        };
        describe(&self.fleet, found, &mut incident);
        incident
    }

    /// What the runs of an interval add to incidents that are open.
    fn go_on_with(&mut self, values: &[Value], next: i64, changed: &mut BTreeSet<Uuid>) {
        let found: Vec<Found> = self.fleet.watch.open().to_vec();
        for incident in &mut self.open {
            let Some(found) = found.iter().find(|it| it.number == incident.told.number) else { continue };
            evidence::add_point(&self.fleet, found, values, next, &mut incident.told);
            let (place, by) = cause::place(&incident.told);
            (incident.told.place, incident.told.by) = (place, by.to_owned());
            incident.told.severity = cause::severity(&incident.told);
            changed.insert(incident.id);
        }
    }

    /// What the runs of those affected say of open incidents.
    async fn add_evidence_of(&mut self, store: &dyn Store, tenant: Tenant, next: i64) -> Result<()> {
        let numbers: BTreeSet<u64> = self.fleet.watch.open().iter().map(|found| found.number).collect();
        let mut open: Vec<(BTreeSet<String>, &mut Told)> = self
            .open
            .iter_mut()
            .filter(|incident| numbers.contains(&incident.told.number))
            .map(|it| (it.affected.iter().map(|one| one.agent.clone()).collect(), &mut it.told))
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let mut pages = Runs::between(tenant, at(next), at(next + 1));
        while let Some(runs) = pages.next(store).await? {
            for run in &runs {
                for (_, told) in open.iter_mut().filter(|(agents, _)| agents.contains(&run.agent)) {
                    evidence::add_run(told, run);
                }
            }
        }
        Ok(())
    }
}

/// Who an incident is of, and what.
fn describe(fleet: &Fleet, found: &Found, incident: &mut Incident) {
    incident.since = incident.since.min(time(found.since));
    let affected = fleet.named(&found.worse);
    let affected =
        affected.map(|one| Affected { agent: one.agent.to_string(), endpoint: one.endpoint.to_string() });
    incident.affected = affected.collect();
    let agents = |ids| fleet.named(ids).map(|one| &one.agent).collect::<BTreeSet<_>>().len();
    let told = &mut incident.told;
    (told.scope, told.or) = cause::named(&found.scope, &found.or);
    told.figures.clone_from(&found.figures);
    told.agents = u64::try_from(agents(&found.worse)).unwrap_or(u64::MAX);
    told.of = u64::try_from(agents(&found.members)).unwrap_or(u64::MAX);
    told.sites = fleet.sites(&found.worse);
    let endpoints: BTreeSet<&str> = fleet.named(&found.worse).map(|one| &*one.endpoint).collect();
    told.endpoints = endpoints.into_iter().map(str::to_owned).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday() {
        let of = |text: &str| hour(interval(text.parse().unwrap()));
        assert_eq!(of("2026-11-23T00:04:59Z"), 0);
        assert_eq!(of("2026-11-22T23:59:59Z"), 167);
        assert_eq!(of("2026-11-24T13:00:00Z"), 37);
    }
}
