//! A tenant's agents as change detection sees them: series, what is usual for each, and what an interval said. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::keeper::{INTERVAL, begin, hour, interval};
use crate::detect::{Baseline, Figure, Incident as Found, Scope, Series, SeriesId, Settings, Value, Watch};
use crate::store::{Incident, Knows, Run, StoredBaseline};

/// How far back is learned from.
pub(super) const LEARNED_FROM: SignedDuration = SignedDuration::from_hours(28 * 24);

/// Intervals without a report after which an agent is not waited for any more: a week.
const GONE: i64 = 7 * 288;

/// Longest time between runs, in intervals, whose absence is watched: a day.
const SLOWEST: u32 = 288;

/// An agent.
#[derive(Debug, Clone, Default)]
struct Agent {
    site: Option<Arc<str>>,
    provider: Option<Arc<str>>,
    series: Vec<SeriesId>,
    /// When its silence is watched: the series that stands for it, and how many intervals lie between its runs.
    watched: Option<(SeriesId, u32)>,
    /// The interval of its last run.
    last: Option<i64>,
    /// When what is usual for it is to be learned next; `None` where it is not, until it is heard of.
    due: Option<Timestamp>,
}

/// A tenant's agents.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) watch: Watch,
    agents: BTreeMap<Arc<str>, Agent>,
    /// Of sites, providers and endpoints.
    names: BTreeSet<Arc<str>>,
}

impl Fleet {
    /// One that is to go on where another one was: what is usual, and what that knew.
    pub(super) fn new(baselines: Vec<StoredBaseline>, knows: &Knows) -> Self {
        let mut fleet = Self { watch: Watch::new(Settings::default()), ..Self::default() };
        fleet.learn(baselines);
        for (figure, scope, spread) in &knows.spreads {
            fleet.watch.set_spread(*figure, scope.clone(), *spread);
        }
        fleet
    }

    /// Goes on with incidents that are open.
    pub(super) fn go_on(&mut self, open: &[Incident], numbers: u64) {
        let found = open.iter().map(|incident| {
            let worse: BTreeSet<SeriesId> =
                incident.affected.iter().map(|one| self.id(&one.agent, &one.endpoint)).collect();
            let mut members = self.members(&incident.told.scope);
            members.extend(&worse);
            Found {
                number: incident.told.number,
                scope: incident.told.scope.clone(),
                or: incident.told.or.clone(),
                figures: incident.told.figures.clone(),
                since: unsigned(interval(incident.since)),
                noticed: unsigned(interval(incident.noticed)),
                over: None,
                worse,
                members,
            }
        });
        let found = found.collect();
        self.watch.go_on(found, numbers);
    }

    /// Compares with these from now on.
    pub(super) fn learn(&mut self, baselines: Vec<StoredBaseline>) {
        for one in baselines {
            let Some(baseline) = Baseline::from_bytes(one.figure, &one.bytes) else { continue };
            let id = self.id(&one.agent, &one.endpoint);
            if one.figure == Figure::Silence
                && let Some(agent) = self.agents.get_mut(&*one.agent)
            {
                agent.watched = Some((id, one.every));
            }
            self.watch.learn(id, one.figure, baseline);
        }
    }

    /// When what is usual for an agent is to be learned next.
    pub(super) fn set_due(&mut self, agent: &str, due: Option<Timestamp>) {
        self.agent(agent).due = due;
    }

    /// Agents of whom it is to be learned by now, at most so many.
    pub(super) fn due(&self, now: Timestamp, most: usize) -> Vec<Arc<str>> {
        let due = self.agents.iter().filter(|(_, agent)| agent.due.is_some_and(|due| due <= now));
        due.map(|(name, _)| Arc::clone(name)).take(most).collect()
    }

    /// The series of an agent against an endpoint.
    fn id(&mut self, agent: &str, endpoint: &str) -> SeriesId {
        let known = self.agents.get(agent).map(|it| it.series.as_slice()).unwrap_or_default();
        let is_of = |id: &&SeriesId| self.watch.series(**id).is_some_and(|it| &*it.endpoint == endpoint);
        if let Some(id) = known.iter().find(is_of) {
            return *id;
        }
        let endpoint = self.name(endpoint);
        let known = self.agent(agent);
        let (site, provider) = (known.site.clone(), known.provider.clone());
        let agent =
            self.agents.get_key_value(agent).map_or_else(|| agent.into(), |(name, _)| Arc::clone(name));
        let id = self.watch.add(Series { agent: Arc::clone(&agent), site, provider, endpoint });
        if let Some(known) = self.agents.get_mut(&agent) {
            known.series.push(id);
        }
        id
    }

    fn agent(&mut self, name: &str) -> &mut Agent {
        let key = self.agents.get_key_value(name).map_or_else(|| name.into(), |(name, _)| Arc::clone(name));
        self.agents.entry(key).or_default()
    }

    /// One text for all that are called so.
    fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return Arc::clone(known);
        }
        let name: Arc<str> = text.into();
        self.names.insert(Arc::clone(&name));
        name
    }

    /// Adds what some runs of an interval said.
    pub(super) fn hear(&mut self, at: i64, runs: &[Run], said: &mut Vec<Value>) {
        for run in runs {
            self.place(run);
            for target in &run.figures.targets {
                let series = self.id(&run.agent, &target.endpoint);
                let value =
                    |(figure, value): (&Figure, &f64)| Value { series, figure: *figure, value: *value };
                said.extend(target.figures.iter().map(value));
            }
            if let Some(agent) = self.agents.get_mut(&*run.agent) {
                agent.last = agent.last.max(Some(at));
            }
        }
    }

    /// What came of an interval of which this was said, and, where `heard`, which agents said nothing though they were due.
    pub(super) fn values(&mut self, at: i64, said: Vec<Value>, heard: bool) -> Vec<Value> {
        let mut values = means(said);
        if heard {
            self.add_silence(at, &mut values);
        }
        values
    }

    fn add_silence(&mut self, at: i64, values: &mut Vec<Value>) {
        for agent in self.agents.values_mut() {
            let (Some((series, every)), Some(last)) = (agent.watched, agent.last) else { continue };
            if at - last > GONE {
                self.watch.unlearn(series, Figure::Silence);
                agent.watched = None;
                continue;
            }
            let value = f64::from(u8::from(is_silent(at, last, every)));
            values.push(Value { series, figure: Figure::Silence, value });
        }
    }

    /// Where the agent of a run stands now. What is usual for one that is new is to be learned.
    fn place(&mut self, run: &Run) {
        let agent = self.agent(&run.agent);
        agent.due.get_or_insert(Timestamp::MIN);
        let is_here = agent.site.as_deref() == run.site.as_deref();
        if is_here && (run.provider.is_none() || agent.provider.as_deref() == run.provider.as_deref()) {
            return;
        }
        let site = run.site.as_deref().map(|site| self.name(site));
        let provider = run.provider.as_deref().map(|provider| self.name(provider));
        let agent = self.agent(&run.agent);
        agent.site = site;
        if provider.is_some() {
            agent.provider = provider;
        }
        let (site, provider, series) = (agent.site.clone(), agent.provider.clone(), agent.series.clone());
        for id in series {
            self.watch.place(id, site.clone(), provider.clone());
        }
    }

    /// The series of a group.
    fn members(&self, scope: &Scope) -> BTreeSet<SeriesId> {
        let is_of =
            |id: &SeriesId| self.watch.series(*id).is_some_and(|it| Scope::all_of(it).contains(scope));
        self.agents.values().flat_map(|agent| agent.series.iter().copied()).filter(is_of).collect()
    }

    /// Whose series these are.
    pub(super) fn named<'a>(&'a self, ids: &'a BTreeSet<SeriesId>) -> impl Iterator<Item = &'a Series> {
        ids.iter().filter_map(|id| self.watch.series(*id))
    }

    /// Sites of these series.
    pub(super) fn sites(&self, ids: &BTreeSet<SeriesId>) -> Vec<String> {
        let sites: BTreeSet<&str> = self.named(ids).filter_map(|series| series.site.as_deref()).collect();
        sites.into_iter().map(str::to_owned).collect()
    }
}

/// One value of each series and figure, by these.
fn means(mut said: Vec<Value>) -> Vec<Value> {
    said.sort_by_key(|one| (one.series, one.figure));
    let mean = |alike: &[Value]| {
        let sum: f64 = alike.iter().map(|one| one.value).sum();
        alike.first().map(|one| Value {
            value: sum / f64::from(u32::try_from(alike.len()).unwrap_or(u32::MAX)),
            ..*one
        })
    };
    said.chunk_by(|one, next| (one.series, one.figure) == (next.series, next.figure))
        .filter_map(mean)
        .collect()
}

/// Whether an agent is silent: nothing for as long as lies between its runs and one interval more, so that one that is a little late is not.
fn is_silent(at: i64, last: i64, every: u32) -> bool {
    at - last > i64::from(every)
}

/// What is usual for an agent, from its runs by their begin up to an interval.
pub(super) fn learned(agent: &str, runs: &[Run], now: Timestamp) -> Vec<StoredBaseline> {
    let mut histories: BTreeMap<(&str, Figure), Vec<(usize, f64)>> = BTreeMap::new();
    for run in runs {
        let at = hour(interval(run.started));
        for target in &run.figures.targets {
            for (figure, value) in &target.figures {
                histories.entry((&target.endpoint, *figure)).or_default().push((at, *value));
            }
        }
    }
    let every = every(runs);
    let main = histories
        .iter()
        .filter(|((_, figure), _)| *figure == Figure::Verdict)
        .max_by_key(|(_, history)| history.len())
        .map(|((endpoint, _), _)| *endpoint);
    let mut found: Vec<StoredBaseline> = Vec::new();
    let mut keep = |endpoint: &str, figure, history: &[(usize, f64)]| {
        if let Some(baseline) = Baseline::learn(figure, history) {
            found.push(StoredBaseline {
                agent: agent.to_owned(),
                endpoint: endpoint.to_owned(),
                figure,
                learned: now,
                every,
                bytes: baseline.to_bytes(),
            });
        }
    };
    for ((endpoint, figure), history) in &histories {
        keep(endpoint, *figure, history);
    }
    if let Some(endpoint) = main.filter(|_| every <= SLOWEST) {
        keep(endpoint, Figure::Silence, &silences(runs, every, interval(now)));
    }
    found
}

/// The median of how many intervals lie between runs.
fn every(runs: &[Run]) -> u32 {
    let mut gaps: Vec<i64> = runs
        .iter()
        .zip(runs.iter().skip(1))
        .map(|(one, next)| (next.started.as_second() - one.started.as_second() + INTERVAL / 2) / INTERVAL)
        .collect();
    gaps.sort_unstable();
    let middle = gaps.get(gaps.len() / 2).copied().unwrap_or(1);
    u32::try_from(middle.max(1)).unwrap_or(u32::MAX)
}

/// When an agent was silent, interval by interval since its first run.
fn silences(runs: &[Run], every: u32, until: i64) -> Vec<(usize, f64)> {
    let mut heard: Vec<i64> = runs.iter().map(|run| interval(run.started)).collect();
    heard.dedup();
    let mut history = Vec::new();
    let ends = heard.iter().skip(1).copied().chain([until]);
    for (last, next) in heard.iter().copied().zip(ends) {
        for at in last..next {
            history.push((hour(at), f64::from(u8::from(is_silent(at, last, every)))));
        }
    }
    history
}

/// Intervals since 1970 are never negative here.
pub(super) fn unsigned(interval: i64) -> u64 {
    u64::try_from(interval).unwrap_or(0)
}

/// An interval of [`Watch`] as one of the keeper.
pub(super) fn signed(interval: u64) -> i64 {
    i64::try_from(interval).unwrap_or(i64::MAX)
}

/// The begin of an interval.
pub(super) fn time(interval: u64) -> Timestamp {
    Timestamp::from_second(begin(signed(interval))).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::State;
    use uuid::Uuid;

    use super::*;
    use crate::store::{RunFigures, TargetFigures};

    fn run(agent: &str, at: i64) -> Run {
        let figures = BTreeMap::from([(Figure::RttP50, 20.0), (Figure::Verdict, 0.0)]);
        Run {
            report: Uuid::nil(),
            agent: agent.to_owned(),
            site: Some("Lyon".to_owned()),
            provider: None,
            started: Timestamp::from_second(at * INTERVAL + 7).unwrap(),
            overall: State::Ready,
            place: None,
            cause: None,
            figures: RunFigures {
                trouble: Vec::new(),
                wireless: false,
                targets: vec![TargetFigures { endpoint: "e".to_owned(), figures }],
            },
        }
    }

    /// What came of an interval in which silence was listened for.
    fn all(fleet: &mut Fleet, at: i64, runs: &[Run]) -> Vec<Value> {
        let mut said = Vec::new();
        for some in runs.chunks(2) {
            fleet.hear(at, some, &mut said);
        }
        fleet.values(at, said, true)
    }

    #[test]
    fn silence_is_learned_from_when_an_agent_reports() {
        let runs: Vec<Run> = (0..600).map(|n| run("a", n * 3)).collect();
        assert_eq!(every(&runs), 3);
        assert!(silences(&runs, 3, 1_800).iter().all(|(_, silent)| *silent == 0.0));
        let now = Timestamp::from_second(1_800 * INTERVAL).unwrap();
        let baselines = learned("a", &runs, now);
        let figures: BTreeSet<Figure> = baselines.iter().map(|one| one.figure).collect();
        assert_eq!(figures, [Figure::RttP50, Figure::Verdict, Figure::Silence].into());

        let mut fleet = Fleet::new(baselines, &Knows::default());
        let silent = |fleet: &mut Fleet, at: i64, runs: &[Run]| {
            let values = all(fleet, at, runs);
            values.iter().find(|it| it.figure == Figure::Silence).map(|it| it.value)
        };
        assert_eq!(silent(&mut fleet, 1_800, &[]), None, "nothing is known of it yet");
        assert_eq!(silent(&mut fleet, 1_800, &[run("a", 1_800)]), Some(0.0));
        assert_eq!(silent(&mut fleet, 1_803, &[]), Some(0.0), "the next one may be late");
        assert_eq!(silent(&mut fleet, 1_804, &[]), Some(1.0));
        assert_eq!(silent(&mut fleet, 1_800 + GONE + 1, &[]), None, "it is gone");
    }

    #[test]
    fn runs_of_an_interval_are_one_value_for_each_endpoint() {
        let mut fleet = Fleet::new(Vec::new(), &Knows::default());
        let mut late = run("a", 5);
        if let Some(value) = late.figures.targets[0].figures.get_mut(&Figure::RttP50) {
            *value = 40.0;
        }
        let values = all(&mut fleet, 5, &[run("a", 5), late, run("b", 5)]);
        assert_eq!(values.len(), 4);
        let values: Vec<f64> =
            values.iter().filter(|it| it.figure == Figure::RttP50).map(|it| it.value).collect();
        assert_eq!(values, [30.0, 20.0]);
    }
}
