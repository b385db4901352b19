//! Takes in one interval after the other and keeps the incidents that come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use greenroom_reports::schema::State;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::alerts;
use super::cause;
use super::fleet::{Fleet, LEARNED_FROM, learned, time, unsigned};
use crate::app::AppState;
use crate::clock::{Clock, new_id};
use crate::detect::{Change, Figure, Incident as Found, Value};
use crate::store::{
    Affected, Detector, Evidence, Incident, Knows, Point, Result, Run, Severity, Store, Tenant, Told,
};

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

/// Intervals of a course before it began.
const SHOWN_BEFORE: i64 = 12;

/// Points of a course. A longer one loses every second of its older half.
const POINTS: usize = 400;

/// Reports that an incident names.
const REPORTS: usize = 24;

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

fn at(interval: i64) -> Timestamp {
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
    clock: Clock,
    base_url: String,
    holder: Uuid,
    began: Timestamp,
    tenants: BTreeMap<Tenant, Watched>,
    wake: Option<Arc<Notify>>,
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
    /// When what is usual for each agent is to be learned next.
    due: BTreeMap<String, Timestamp>,
    /// Whether all that could be learned at the start is.
    settled: bool,
    looked: i64,
}

impl Keeper {
    /// One that has not looked yet.
    pub fn new(store: Arc<dyn Store>, clock: Clock, base_url: &str) -> Self {
        let began = clock.now();
        let holder = new_id(began);
        Self {
            store,
            clock,
            base_url: base_url.to_owned(),
            holder,
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
        let now = self.clock.now();
        let until = now.checked_add(TURN).unwrap_or(Timestamp::MAX);
        if !self.store.take_turn("incidents", self.holder, now, until).await? {
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
            None => Watched::load(&*self.store, tenant, now).await?,
        };
        let mut any = watched.learn_some(&*self.store, tenant, now).await?;
        if watched.settled {
            for _ in 0..AT_ONCE {
                let next = watched.next(over);
                if next > over {
                    break;
                }
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
    async fn load(store: &dyn Store, tenant: Tenant, now: Timestamp) -> Result<Self> {
        let detector = store.detector(tenant).await?;
        let knows = detector.as_ref().map(|it| it.knows.clone()).unwrap_or_default();
        let mut fleet = Fleet::new(Vec::new(), &knows);
        let mut due = BTreeMap::new();
        let mut some = store.baselines(tenant, None, READ_AT_ONCE).await?;
        while let Some(last) = some.last() {
            let after = (last.agent.clone(), last.endpoint.clone(), last.figure);
            for one in &some {
                due.insert(one.agent.clone(), one.learned.checked_add(ANEW).unwrap_or(now));
            }
            fleet.learn(some);
            some = store.baselines(tenant, Some((&after.0, &after.1, after.2)), READ_AT_ONCE).await?;
        }
        let open = store.incidents(tenant, true, None, 10_000).await?;
        if let Some(detector) = &detector {
            for again in detector.taken - AGAIN + 1..=detector.taken {
                let runs = store.runs(tenant, at(again), at(again + 1)).await?;
                // Before sums begin: who is where.
                let values = fleet.values(again, &runs, false);
                fleet.watch.replay(unsigned(again), hour(again), &values);
            }
        }
        fleet.go_on(&open, knows.numbers);
        let taken = detector.map(|it| it.taken);
        Ok(Self { fleet, taken, kept: taken, first: None, open, due, settled: false, looked: i64::MIN })
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
        if self.looked != interval(now) {
            self.looked = interval(now);
            let from = now.checked_sub(LEARNED_FROM).unwrap_or(Timestamp::MIN);
            for (agent, first) in store.running_agents(tenant, from).await? {
                self.first = Some(self.first.unwrap_or(i64::MAX).min(interval(first)));
                self.due.entry(agent).or_insert(Timestamp::MIN);
            }
        }
        let due: Vec<String> =
            self.due.iter().filter(|(_, due)| **due <= now).map(|(agent, _)| agent.clone()).collect();
        for agent in due.iter().take(LEARNED_AT_ONCE) {
            let from = now.checked_sub(LEARNED_FROM).unwrap_or(Timestamp::MIN);
            let runs = store.runs_of(tenant, agent, from, now).await?;
            if runs.is_empty() {
                self.due.remove(agent);
                continue;
            }
            let named = agent.clone();
            let baselines = tokio::task::spawn_blocking(move || learned(&named, &runs, now)).await;
            let baselines = baselines.unwrap_or_default();
            let wait = if baselines.is_empty() { TRY } else { ANEW };
            if !baselines.is_empty() {
                store.keep_baselines(tenant, agent, &baselines).await?;
                self.fleet.learn(baselines);
            }
            self.due.insert(agent.clone(), now.checked_add(wait).unwrap_or(Timestamp::MAX));
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
        let runs = store.runs(tenant, at(next), at(next + 1)).await?;
        let values = self.fleet.values(next, &runs, heard);
        let changes = self.fleet.watch.take(unsigned(next), hour(next), &values);
        let mut changed: BTreeSet<Uuid> = BTreeSet::new();
        for change in changes {
            changed.extend(self.apply(store, tenant, change, next, now).await?);
        }
        self.go_on_with(&runs, &values, next, &mut changed);
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
                let from = time(found.since);
                let before = at(interval(from) - SHOWN_BEFORE);
                let earlier = store.runs(tenant, before, at(next)).await?;
                let affected: BTreeSet<_> = incident.affected.iter().map(|one| one.agent.clone()).collect();
                let since = earlier.iter().filter(|run| run.started >= from);
                for run in since.filter(|run| affected.contains(&run.agent)) {
                    add_evidence(&mut incident.told, run);
                }
                add_course(&self.fleet, &found, &earlier, &mut incident.told);
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
    fn go_on_with(&mut self, runs: &[Run], values: &[Value], next: i64, changed: &mut BTreeSet<Uuid>) {
        let found: Vec<Found> = self.fleet.watch.open().to_vec();
        for incident in &mut self.open {
            let Some(found) = found.iter().find(|it| it.number == incident.told.number) else { continue };
            let agents: BTreeSet<&str> = incident.affected.iter().map(|one| one.agent.as_str()).collect();
            for run in runs.iter().filter(|run| agents.contains(run.agent.as_str())) {
                add_evidence(&mut incident.told, run);
            }
            add_point(&self.fleet, found, values, next, &mut incident.told);
            let (place, by) = cause::place(&incident.told);
            (incident.told.place, incident.told.by) = (place, by.to_owned());
            incident.told.severity = cause::severity(&incident.told);
            changed.insert(incident.id);
        }
    }
}

/// Who an incident is of, and what.
fn describe(fleet: &Fleet, found: &Found, incident: &mut Incident) {
    incident.since = incident.since.min(time(found.since));
    let affected = fleet.named(&found.worse);
    let affected = affected.map(|one| Affected { agent: one.agent.clone(), endpoint: one.endpoint.clone() });
    incident.affected = affected.collect();
    let agents = |ids| fleet.named(ids).map(|one| one.agent.as_str()).collect::<BTreeSet<_>>().len();
    let told = &mut incident.told;
    (told.scope, told.or) = cause::named(&found.scope, &found.or);
    told.figures.clone_from(&found.figures);
    told.agents = u64::try_from(agents(&found.worse)).unwrap_or(u64::MAX);
    told.of = u64::try_from(agents(&found.members)).unwrap_or(u64::MAX);
    told.sites = fleet.sites(&found.worse);
    let endpoints: BTreeSet<&String> = fleet.named(&found.worse).map(|one| &one.endpoint).collect();
    told.endpoints = endpoints.into_iter().cloned().collect();
}

fn add_evidence(told: &mut Told, run: &Run) {
    let evidence = &mut told.evidence;
    evidence.runs += 1;
    evidence.wireless += u64::from(run.figures.wireless);
    match run.overall {
        State::Degraded => evidence.degraded += 1,
        State::Blocked | State::PermissionDenied => evidence.blocked += 1,
        State::Ready | State::Inconclusive | State::NotTested => {}
    }
    if let Some(place) = run.place {
        *evidence.places.entry(place).or_default() += 1;
    }
    if let Some(cause) = &run.cause {
        *evidence.causes.entry(cause.clone()).or_default() += 1;
    }
    for name in &run.figures.trouble {
        *evidence.uses.entry(name.clone()).or_default() += 1;
    }
    told.reports.push(run.report);
    if told.reports.len() > REPORTS {
        // The first ones show how it began, the last ones how it is.
        told.reports.remove(REPORTS / 2);
    }
}

/// The course before an incident was noticed.
fn add_course(fleet: &Fleet, found: &Found, runs: &[Run], told: &mut Told) {
    let Some(figure) = found.figures.first().copied() else { return };
    let worse: BTreeSet<_> = fleet.named(&found.worse).collect();
    let mut values: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for run in runs {
        for target in &run.figures.targets {
            let is_of = worse.iter().any(|one| one.agent == run.agent && one.endpoint == target.endpoint);
            if let Some(value) = target.figures.get(&figure).filter(|_| is_of) {
                values.entry(interval(run.started)).or_default().push(*value);
            }
        }
    }
    for (at, values) in values {
        let usual = usual(fleet, found, figure, at);
        told.course.push(Point { at: begin(at), value: median(values), usual });
    }
}

fn add_point(fleet: &Fleet, found: &Found, values: &[Value], next: i64, told: &mut Told) {
    let Some(figure) = found.figures.first().copied() else { return };
    let of = values.iter().filter(|value| value.figure == figure && found.worse.contains(&value.series));
    let value = median(of.map(|value| value.value).collect());
    told.course.push(Point { at: begin(next), value, usual: usual(fleet, found, figure, next) });
    if told.course.len() > POINTS {
        let mut index = 0;
        told.course.retain(|_| {
            index += 1;
            index > POINTS / 2 || index % 2 == 1
        });
    }
}

fn usual(fleet: &Fleet, found: &Found, figure: Figure, at: i64) -> Option<f64> {
    median(found.worse.iter().filter_map(|id| fleet.watch.usual(*id, figure, hour(at))).collect())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    let half = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(half, f64::total_cmp).1)
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
