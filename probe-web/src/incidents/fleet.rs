//! A tenant's agents as change detection sees them: series, what is usual for each, and what an interval said. Pure.

use std::collections::{BTreeMap, BTreeSet};

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
    site: Option<String>,
    provider: Option<String>,
    series: Vec<SeriesId>,
    /// When its silence is watched: the series that stands for it, and how many intervals lie between its runs.
    watched: Option<(SeriesId, u32)>,
    /// The interval of its last run.
    last: Option<i64>,
}

/// A tenant's agents.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) watch: Watch,
    agents: BTreeMap<String, Agent>,
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
                && let Some(agent) = self.agents.get_mut(&one.agent)
            {
                agent.watched = Some((id, one.every));
            }
            self.watch.learn(id, one.figure, baseline);
        }
    }

    /// The series of an agent against an endpoint.
    fn id(&mut self, agent: &str, endpoint: &str) -> SeriesId {
        let known = self.agents.entry(agent.to_owned()).or_default();
        let is_of = |id: &&SeriesId| self.watch.series(**id).is_some_and(|it| it.endpoint == endpoint);
        if let Some(id) = known.series.iter().find(is_of) {
            return *id;
        }
        let id = self.watch.add(Series {
            agent: agent.to_owned(),
            site: known.site.clone(),
            provider: known.provider.clone(),
            endpoint: endpoint.to_owned(),
        });
        known.series.push(id);
        id
    }

    /// What the runs of an interval said, and, where `heard`, which agents said nothing though they were due.
    pub(super) fn values(&mut self, at: i64, runs: &[Run], heard: bool) -> Vec<Value> {
        let mut sums: BTreeMap<(SeriesId, Figure), (f64, f64)> = BTreeMap::new();
        for run in runs {
            self.place(run);
            for target in &run.figures.targets {
                let id = self.id(&run.agent, &target.endpoint);
                for (figure, value) in &target.figures {
                    let sum = sums.entry((id, *figure)).or_default();
                    *sum = (sum.0 + value, sum.1 + 1.0);
                }
            }
            if let Some(agent) = self.agents.get_mut(&run.agent) {
                agent.last = agent.last.max(Some(at));
            }
        }
        let mean = |((series, figure), (sum, count)): ((SeriesId, Figure), (f64, f64))| Value {
            series,
            figure,
            value: sum / count,
        };
        let mut values: Vec<Value> = sums.into_iter().map(mean).collect();
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

    /// Where the agent of a run stands now.
    fn place(&mut self, run: &Run) {
        let agent = self.agents.entry(run.agent.clone()).or_default();
        let provider = run.provider.clone().or_else(|| agent.provider.clone());
        if agent.site == run.site && agent.provider == provider {
            return;
        }
        (agent.site, agent.provider) = (run.site.clone(), provider);
        for id in &agent.series {
            self.watch.place(*id, agent.site.clone(), agent.provider.clone());
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
        let sites: BTreeSet<String> = self.named(ids).filter_map(|series| series.site.clone()).collect();
        sites.into_iter().collect()
    }
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
            let values = fleet.values(at, runs, true);
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
        let values = fleet.values(5, &[run("a", 5), late, run("b", 5)], true);
        assert_eq!(values.len(), 4);
        let values: Vec<f64> =
            values.iter().filter(|it| it.figure == Figure::RttP50).map(|it| it.value).collect();
        assert_eq!(values, [30.0, 20.0]);
    }
}
