//! Fleets made up with known changes: whether they are found, how soon, as one incident each, and how often nothing is taken for one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, StandardNormal};

use super::*;

const DAY: u64 = 288;
const HISTORY_DAYS: u64 = 28;

/// A fleet of five-minute runs: sites of ten agents, each site with one of three providers, all against one of two endpoints.
struct Fleet {
    random: StdRng,
    watch: Watch,
    agents: Vec<Agent>,
    interval: u64,
}

struct Agent {
    id: SeriesId,
    series: Series,
    /// Round trip in the middle of the night, ms.
    rtt: f64,
    /// How much longer it is in the evening.
    evening: f64,
    /// One standard deviation of its logarithm.
    spread: f64,
    /// How many of a thousand runs meet a burst of something.
    outliers: u32,
    /// Share of runs that lose packets, though the network is well.
    lossy: f64,
}

impl Agent {
    /// The standard deviation of all its runs at an hour: of what is usual, and of bursts, which are from 0.5 to 2 with this probability.
    fn deviation(&self) -> f64 {
        let share = f64::from(self.outliers) / 1_000.0;
        (self.spread.powi(2) + share * 1.75 - (share * 1.25).powi(2)).sqrt()
    }
}

impl Fleet {
    fn new(seed: u64, agents: usize) -> Self {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut watch = Watch::new(Settings::default());
        let agents = (0..agents)
            .map(|number| {
                let site = number / 10;
                let series = Series {
                    agent: format!("a{number}").into(),
                    site: Some(format!("s{site}").into()),
                    provider: Some(format!("p{}", site % 3).into()),
                    endpoint: format!("e{}", (site / 2 + number) % 2).into(),
                };
                Agent {
                    id: watch.add(series.clone()),
                    series,
                    rtt: random.random_range(8.0..120.0),
                    evening: random.random_range(0.0..0.4),
                    spread: random.random_range(0.03..0.15),
                    outliers: random.random_range(0..30),
                    lossy: random.random_range(0.0..0.3),
                }
            })
            .collect();
        let mut fleet = Self { random, watch, agents, interval: 0 };
        fleet.learn();
        fleet
    }

    fn learn(&mut self) {
        let mut histories: BTreeMap<(SeriesId, Figure), Vec<(usize, f64)>> = BTreeMap::new();
        for interval in 0..HISTORY_DAYS * DAY {
            for value in self.values(interval, &|_| 0.0) {
                histories
                    .entry((value.series, value.figure))
                    .or_default()
                    .push((hour(interval), value.value));
            }
        }
        for ((series, figure), history) in histories {
            self.watch.learn(series, figure, Baseline::learn(figure, &history).expect("four weeks"));
        }
        self.interval = HISTORY_DAYS * DAY;
    }

    /// What all agents measure in one interval, those that changed by so many of their standard deviations: of all their runs, those that
    /// meet a burst among them.
    fn values(&mut self, interval: u64, shift: &dyn Fn(&Series) -> f64) -> Vec<Value> {
        let time = hour(interval) % 24;
        let evening = if (18..23).contains(&time) { 1.0 } else { 0.0 };
        let mut values = Vec::new();
        for agent in &self.agents {
            let noise: f64 = StandardNormal.sample(&mut self.random);
            let outlier = match self.random.random_range(0..1_000) < agent.outliers {
                true => self.random.random_range(0.5..2.0),
                false => 0.0,
            };
            let log = agent.rtt.ln_1p()
                + agent.evening * evening
                + agent.spread * noise
                + agent.deviation() * shift(&agent.series)
                + outlier;
            values.push(Value { series: agent.id, figure: Figure::RttP50, value: log.exp_m1() });
            let lost = match self.random.random_bool(agent.lossy) {
                true => self.random.random_range(0.0..0.02),
                false => 0.0,
            };
            values.push(Value { series: agent.id, figure: Figure::LossUp, value: lost });
        }
        values
    }

    fn run(&mut self, intervals: u64, shift: &dyn Fn(&Series) -> f64) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..intervals {
            let values = self.values(self.interval, shift);
            changes.extend(self.watch.take(self.interval, hour(self.interval), &values));
            self.interval += 1;
        }
        changes
    }
}

fn hour(interval: u64) -> usize {
    usize::try_from(interval / 12 % 168).expect("an hour of the week")
}

fn began(changes: &[Change]) -> Vec<&Incident> {
    let began = changes.iter().filter_map(|change| match change {
        Change::Began(incident) => Some(incident),
        _ => None,
    });
    began.collect()
}

/// How many of `rounds` changes were found within so many intervals, as one incident of this scope.
fn found(
    seed: u64,
    rounds: usize,
    within: u64,
    sigma: f64,
    scope_of: impl Fn(&Series) -> Scope,
) -> (usize, Vec<String>) {
    let mut fleet = Fleet::new(seed, 120);
    let mut right = 0;
    let mut wrong = Vec::new();
    for round in 0..rounds {
        fleet.run(36, &|_| 0.0);
        let scope = scope_of(&fleet.agents[round * 7 % fleet.agents.len()].series);
        let start = fleet.interval;
        let changes = fleet.run(within, &|series| {
            if Scope::all_of(series).contains(&scope) { sigma } else { 0.0 }
        });
        let began = began(&changes);
        let fits = |incident: &Incident| incident.scope == scope || incident.or.contains(&scope);
        let last = fleet.watch.open().iter().find(|incident| fits(incident));
        if began.len() == 1 && last.is_some_and(|incident| incident.noticed >= start) {
            right += 1;
        } else {
            wrong.push(format!("{scope:?} in {start}: {changes:?}"));
        }
        fleet.run(48, &|_| 0.0);
    }
    (right, wrong)
}

#[test]
fn a_great_change_of_one_agent_is_found_within_three_intervals() {
    let (right, wrong) = found(1, 100, 3, 5.0, |series| Scope::Agent(series.agent.to_string()));
    println!("{right} of 100; {wrong:#?}");
    assert!(right >= 95, "{right}: {wrong:#?}");
}

#[test]
fn a_small_change_of_one_agent_is_found_within_an_hour() {
    let (right, wrong) = found(2, 100, 12, 2.0, |series| Scope::Agent(series.agent.to_string()));
    println!("{right} of 100; {wrong:#?}");
    assert!(right >= 95, "{right}: {wrong:#?}");
}

#[test]
fn a_change_that_ten_share_is_one_incident_within_three_intervals() {
    let scopes: [fn(&Series) -> Scope; 4] = [
        |series| Scope::Site(series.site.as_deref().expect("a site").to_owned()),
        |series| Scope::Provider(series.provider.as_deref().expect("a provider").to_owned()),
        |series| Scope::Endpoint(series.endpoint.to_string()),
        |series| {
            Scope::ProviderToEndpoint(
                series.provider.as_deref().expect("a provider").to_owned(),
                series.endpoint.to_string(),
            )
        },
    ];
    for (seed, scope_of) in (3..).zip(scopes) {
        let (right, wrong) = found(seed, 40, 3, 2.0, scope_of);
        println!("{right} of 40; {wrong:#?}");
        assert!(right >= 38, "{right}: {wrong:#?}");
    }
}

#[test]
fn nothing_is_hardly_ever_taken_for_a_change() {
    let mut fleet = Fleet::new(9, 200);
    let changes = fleet.run(20 * DAY, &|_| 0.0);
    let false_alarms = began(&changes);
    println!("{} in 4,000 days of an agent: {false_alarms:?}", false_alarms.len());
    assert!(false_alarms.len() <= 4, "{false_alarms:#?}");
}

/// More of the same, for the figures in docs/FLEET.md.
#[test]
#[ignore = "takes minutes; prints figures and checks none"]
fn figures() {
    let (mut great, mut small) = (0, 0);
    for seed in 100..104 {
        great += found(seed, 100, 3, 5.0, |series| Scope::Agent(series.agent.to_string())).0;
        small += found(seed + 10, 100, 12, 2.0, |series| Scope::Agent(series.agent.to_string())).0;
    }
    println!("great {great} of 400, small {small} of 400");
    let scopes: [fn(&Series) -> Scope; 4] = [
        |series| Scope::Site(series.site.as_deref().expect("a site").to_owned()),
        |series| Scope::Provider(series.provider.as_deref().expect("a provider").to_owned()),
        |series| Scope::Endpoint(series.endpoint.to_string()),
        |series| {
            Scope::ProviderToEndpoint(
                series.provider.as_deref().expect("a provider").to_owned(),
                series.endpoint.to_string(),
            )
        },
    ];
    for (seed, scope_of) in (120..).zip(scopes) {
        println!("shared {} of 100", found(seed, 100, 3, 2.0, scope_of).0);
    }
    for seed in 130..136 {
        let mut fleet = Fleet::new(seed, 200);
        let changes = fleet.run(20 * DAY, &|_| 0.0);
        println!("false {} in 4,000 days of an agent", began(&changes).len());
    }
}

/// What a watch of 100,000 agents holds, and how long an interval of them takes, for docs/SCALE.md.
#[test]
#[ignore = "takes a minute; prints figures and checks none"]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is measured")]
fn memory() {
    let resident_kb = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let hour = |n: usize| n / 12 % HOURS;
    let daily = |figure: Figure| -> Vec<(usize, f64)> {
        let level = |n: usize| if figure.is_delay() && hour(n) % 24 >= 18 { 30.0 } else { 20.0 };
        let noise = |n: usize| f64::from(u32::try_from(n % 17).expect("small")) / 10.0;
        let value = |n: usize| if figure.is_delay() { level(n) + noise(n) } else { 0.0 };
        (0..8_064).map(|n| (hour(n), value(n))).collect()
    };
    let histories = Figure::ALL.map(|figure| (figure, daily(figure)));
    let begun = std::time::Instant::now();
    let baselines =
        histories.map(|(figure, history)| (figure, Baseline::learn(figure, &history).expect("enough")));
    println!("to learn what is usual for an agent, of its month: {:?}", begun.elapsed());
    let before = resident_kb();
    let mut watch = Watch::new(Settings::default());
    let mut ids = Vec::new();
    let named = |what: &str, count: usize| -> Vec<Arc<str>> {
        (0..count).map(|n| format!("{what} {n}").into()).collect()
    };
    let (sites, providers, endpoints) = (named("site", 2_000), named("provider", 40), named("endpoint", 1));
    for n in 0..100_000 {
        let id = watch.add(Series {
            agent: format!("018f2b7e-0000-7000-8000-{n:012}").into(),
            site: Some(Arc::clone(&sites[n / 50])),
            provider: Some(Arc::clone(&providers[n % 40])),
            endpoint: Arc::clone(&endpoints[0]),
        });
        for (figure, baseline) in &baselines {
            watch.learn(id, *figure, baseline.clone());
        }
        ids.push(id);
    }
    println!("{} MB", (resident_kb() - before) * 1_024 / 1_000_000);
    for interval in 0..3 {
        let value = |figure: Figure| if figure.is_delay() { 20.8 } else { 0.0 };
        let all = ids.iter().flat_map(|id| Figure::ALL.map(|figure| (*id, figure)));
        let values: Vec<Value> =
            all.map(|(series, figure)| Value { series, figure, value: value(figure) }).collect();
        let begun = std::time::Instant::now();
        let changes = watch.take(interval, 0, &values);
        let (took, resident) = (begun.elapsed(), (resident_kb() - before) * 1_024 / 1_000_000);
        println!("an interval: {took:?}, {} changes; then {resident} MB", changes.len());
    }
}
