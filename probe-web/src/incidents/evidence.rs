//! What runs say of an incident: what is read of them, some at a time, and what is kept.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_reports::schema::State;
use jiff::Timestamp;
use uuid::Uuid;

use super::fleet::{Fleet, time};
use super::keeper::{at, begin, hour, interval};
use crate::detect::{Figure, Incident as Found, Value};
use crate::store::{Incident, Point, Result, Run, Store, Tenant, Told};

/// Runs that are read at once: a large fleet has a hundred thousand of them in each interval.
const AT_ONCE: u32 = 2_000;

/// So many agents are asked for one by one; to go through the runs of all takes longer.
const FEW: usize = 1_000;

/// Intervals of a course before it began.
const SHOWN_BEFORE: i64 = 12;

/// Points of a course. A longer one loses every second of its older half.
const POINTS: usize = 400;

/// Reports that an incident names.
const REPORTS: usize = 24;

/// The runs that began within a time, some at a time.
pub(super) struct Runs {
    tenant: Tenant,
    from: Timestamp,
    to: Timestamp,
    after: Option<(Timestamp, Uuid)>,
    ended: bool,
}

impl Runs {
    pub(super) fn between(tenant: Tenant, from: Timestamp, to: Timestamp) -> Self {
        Self { tenant, from, to, after: None, ended: false }
    }

    /// The next ones, by their begin; `None` after the last.
    pub(super) async fn next(&mut self, store: &dyn Store) -> Result<Option<Vec<Run>>> {
        if self.ended {
            return Ok(None);
        }
        let runs = store.runs(self.tenant, self.from, self.to, self.after, AT_ONCE).await?;
        self.after = runs.last().map(|last| (last.started, last.report));
        self.ended = runs.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
        Ok(Some(runs))
    }
}

/// What the runs of those affected say of the time before an incident was noticed.
pub(super) async fn add_before(
    store: &dyn Store,
    fleet: &Fleet,
    found: &Found,
    next: i64,
    incident: &mut Incident,
) -> Result<()> {
    let since = time(found.since);
    let (from, to) = (at(interval(since) - SHOWN_BEFORE), at(next));
    let affected: BTreeSet<String> = incident.affected.iter().map(|one| one.agent.clone()).collect();
    let mut before = Before::new(fleet, found);
    if affected.len() <= FEW {
        let mut all = Vec::new();
        for agent in &affected {
            all.extend(store.runs_of(incident.tenant, agent, from, to).await?);
        }
        all.sort_by_key(|run| (run.started, run.report));
        before.add(&all, since, &mut incident.told);
    } else {
        let mut pages = Runs::between(incident.tenant, from, to);
        while let Some(mut runs) = pages.next(store).await? {
            runs.retain(|run| affected.contains(&run.agent));
            before.add(&runs, since, &mut incident.told);
        }
    }
    before.end(fleet, found, &mut incident.told);
    Ok(())
}

/// Values of those that got worse, by interval.
struct Before<'a> {
    figure: Option<Figure>,
    worse: BTreeSet<(&'a str, &'a str)>,
    values: BTreeMap<i64, Vec<f64>>,
}

impl<'a> Before<'a> {
    fn new(fleet: &'a Fleet, found: &'a Found) -> Self {
        let worse = fleet.named(&found.worse).map(|one| (&*one.agent, &*one.endpoint)).collect();
        Self { figure: found.figures.first().copied(), worse, values: BTreeMap::new() }
    }

    /// Adds runs of those affected, by their begin.
    fn add(&mut self, runs: &[Run], since: Timestamp, told: &mut Told) {
        for run in runs {
            if run.started >= since {
                add_run(told, run);
            }
            for target in &run.figures.targets {
                let is_of = self.worse.contains(&(run.agent.as_str(), target.endpoint.as_str()));
                let value = self.figure.and_then(|figure| target.figures.get(&figure)).filter(|_| is_of);
                if let Some(value) = value {
                    self.values.entry(interval(run.started)).or_default().push(*value);
                }
            }
        }
    }

    /// The course.
    fn end(self, fleet: &Fleet, found: &Found, told: &mut Told) {
        let Some(figure) = self.figure else { return };
        for (at, values) in self.values {
            let usual = usual(fleet, found, figure, at);
            told.course.push(Point { at: begin(at), value: median(values), usual });
        }
    }
}

/// What a run of someone affected says.
pub(super) fn add_run(told: &mut Told, run: &Run) {
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

/// The course goes on by an interval.
pub(super) fn add_point(fleet: &Fleet, found: &Found, values: &[Value], next: i64, told: &mut Told) {
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
