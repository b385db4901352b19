//! Series watched from interval to interval, and the incidents that come of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::explain::{Evidence, Explained, Scope, explain};
use super::{Baseline, CLIP, Cusum, Figure};

/// Scores kept of each series: as far back as an incident may have begun when it is noticed.
const KEPT: usize = 16;

/// How fast a group's own spread is learned: over a day of five-minute intervals.
const LEARNING: f64 = 1.0 / 288.0;

/// The runs of one agent against one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// Whose runs.
    pub agent: String,
    /// Where it stands.
    pub site: Option<String>,
    /// Who provides its internet connection.
    pub provider: Option<String>,
    /// Whom it measures.
    pub endpoint: String,
}

/// A series of a [`Watch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(usize);

/// What a series' runs of one interval said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// Whose.
    pub series: SeriesId,
    /// Which figure.
    pub figure: Figure,
    /// Its value, higher is worse.
    pub value: f64,
}

/// How sure an incident has to be, and when it is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Probability that a series which has not changed is taken for one that has, per figure and interval. The default gives, for five
    /// figures each five minutes, one in 2,000 days of an agent by this alone; groups add to that.
    pub false_alarm: f64,
    /// After so many intervals as usual it is over.
    pub over_after: usize,
    /// Least series of a group: one and its neighbor are not one.
    pub least_of_a_group: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { false_alarm: 1.0 / (2_000.0 * 288.0 * 5.0), over_after: 6, least_of_a_group: 3 }
    }
}

/// What got worse, for whom, since when.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Its number within the watch.
    pub number: u64,
    /// What those who got worse have in common.
    pub scope: Scope,
    /// What they have in common as well, if more than that.
    pub or: Vec<Scope>,
    /// The figures that got worse, the first one noticed first.
    pub figures: Vec<Figure>,
    /// The interval in which it began.
    pub since: u64,
    /// The interval in which it was noticed.
    pub noticed: u64,
    /// The interval since which all is as usual again.
    pub over: Option<u64>,
    /// Series that got worse, of those of the group.
    pub worse: BTreeSet<SeriesId>,
    /// All series of the group.
    pub members: BTreeSet<SeriesId>,
}

/// What an interval brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new incident.
    Began(Incident),
    /// More, or others, belong to it than was known.
    Grew(Incident),
    /// It is over.
    Ended(Incident),
}

#[derive(Debug, Clone)]
struct Watched {
    baseline: Baseline,
    cusum: Cusum,
    /// Interval and score.
    recent: VecDeque<(u64, f32)>,
}

#[derive(Debug, Clone)]
struct Group {
    cusum: Cusum,
    /// Mean square of its scores: more than 1 where its members rise and fall together.
    spread: f64,
}

/// Watches series. What is not [learned](Watch::learn) is not watched.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    settings: Settings,
    series: Vec<Series>,
    watched: BTreeMap<(Figure, SeriesId), Watched>,
    groups: BTreeMap<(Figure, Scope), Group>,
    open: Vec<Incident>,
    numbers: u64,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Takes a series in.
    pub fn add(&mut self, series: Series) -> SeriesId {
        self.series.push(series);
        SeriesId(self.series.len() - 1)
    }

    /// A series.
    pub fn series(&self, id: SeriesId) -> Option<&Series> {
        self.series.get(id.0)
    }

    /// Incidents that are not over.
    pub fn open(&self) -> &[Incident] {
        &self.open
    }

    /// Compares a series with this from now on.
    pub fn learn(&mut self, series: SeriesId, figure: Figure, baseline: Baseline) {
        let watched = Watched { baseline, cusum: Cusum::default(), recent: VecDeque::new() };
        self.watched.insert((figure, series), watched);
    }

    /// Takes in what came of one interval, at this hour of the week, and says what that changes. Intervals come in order.
    pub fn take(&mut self, interval: u64, hour: usize, values: &[Value]) -> Vec<Change> {
        self.score(interval, hour, values);
        let mut changes = self.close(interval);
        for figure in Figure::ALL {
            self.add_groups(figure, interval);
            for explained in self.alarms(figure, interval) {
                changes.extend(self.incident(figure, interval, explained));
            }
        }
        changes
    }

    fn score(&mut self, interval: u64, hour: usize, values: &[Value]) {
        for value in values {
            let Some(watched) = self.watched.get_mut(&(value.figure, value.series)) else { continue };
            let score = watched.baseline.score(hour, value.value);
            watched.cusum.add(score);
            #[expect(clippy::cast_possible_truncation, reason = "a hundredth is enough")]
            watched.recent.push_back((interval, score as f32));
            if watched.recent.len() > KEPT {
                watched.recent.pop_front();
            }
        }
    }

    /// Adds what the members of each group said in this interval.
    fn add_groups(&mut self, figure: Figure, interval: u64) {
        let mut sums: BTreeMap<Scope, (f64, f64, usize)> = BTreeMap::new();
        for ((_, id), watched) in of(&self.watched, figure) {
            let Some((_, score)) = watched.recent.back().filter(|(at, _)| *at == interval) else { continue };
            let Some(series) = self.series.get(id.0) else { continue };
            for scope in Scope::all_of(series) {
                if matches!(scope, Scope::Agent(_)) {
                    continue;
                }
                let sum = sums.entry(scope).or_default();
                *sum = (sum.0 + f64::from(*score), sum.1 + 1.0, sum.2 + 1);
            }
        }
        for (scope, (sum, count, members)) in sums {
            if members < self.settings.least_of_a_group {
                continue;
            }
            let key = (figure, scope);
            let group = self.groups.entry(key).or_insert(Group { cusum: Cusum::default(), spread: 1.0 });
            let raw = sum / count.sqrt();
            let score = (raw / group.spread.max(1.0).sqrt()).clamp(-CLIP, CLIP);
            group.cusum.add(score);
            // What is being taken for a change is not what is usual.
            if score.abs() < 3.0 {
                group.spread += (raw.powi(2) - group.spread) * LEARNING;
            }
        }
    }

    /// The series and groups of which this is too much to be chance, each explained, the surest first.
    fn alarms(&self, figure: Figure, interval: u64) -> Vec<Explained> {
        let now = |watched: &Watched| watched.recent.back().is_some_and(|(at, _)| *at == interval);
        let known: BTreeSet<SeriesId> = self
            .open
            .iter()
            .filter(|incident| incident.figures.contains(&figure))
            .flat_map(|incident| incident.members.iter().copied())
            .collect();
        let mut all: Vec<(f64, u16, SeriesId)> = of(&self.watched, figure)
            .filter(|((_, id), watched)| now(watched) && !known.contains(id))
            .map(|((_, id), watched)| (watched.cusum.p_value(), watched.cusum.rising_for(), *id))
            .collect();
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        let allowed =
            |rank: usize| f64::from(u32::try_from(rank).unwrap_or(u32::MAX)) * self.settings.false_alarm;
        let passed = (1..=all.len()).rev().find(|rank| all[rank - 1].0 <= allowed(*rank)).unwrap_or(0);
        let mut alarmed: Vec<(u16, SeriesId)> =
            all.iter().take(passed).map(|(_, rising_for, id)| (*rising_for, *id)).collect();
        for ((_, scope), group) in
            self.groups.range((figure, FIRST)..).take_while(|((of, _), _)| *of == figure)
        {
            if group.cusum.p_value() > self.settings.false_alarm {
                continue;
            }
            let rising_for = group.cusum.rising_for();
            let worst = all
                .iter()
                .filter(|(.., id)| self.series.get(id.0).is_some_and(|it| Scope::all_of(it).contains(scope)))
                .map(|(.., id)| (self.evidence(figure, *id, interval, rising_for).weight, *id))
                .max_by(|one, other| one.0.total_cmp(&other.0));
            alarmed.extend(worst.filter(|(weight, _)| *weight > 0.0).map(|(_, id)| (rising_for, id)));
        }
        self.explained(figure, interval, &known, alarmed)
    }

    fn explained(
        &self,
        figure: Figure,
        interval: u64,
        known: &BTreeSet<SeriesId>,
        alarmed: Vec<(u16, SeriesId)>,
    ) -> Vec<Explained> {
        let mut found: Vec<Explained> = Vec::new();
        let mut taken = known.clone();
        for (rising_for, id) in alarmed {
            if taken.contains(&id) {
                continue;
            }
            let ids: Vec<SeriesId> = of(&self.watched, figure).map(|((_, id), _)| *id).collect();
            let told: Vec<(&Series, Evidence)> = ids
                .iter()
                .filter_map(|id| {
                    Some((self.series.get(id.0)?, self.evidence(figure, *id, interval, rising_for)))
                })
                .collect();
            let Some(at) = ids.iter().position(|other| *other == id) else { continue };
            let Some(mut explained) = explain(&told, at) else { continue };
            explained.members =
                explained.members.iter().filter_map(|at| ids.get(*at)).map(|id| id.0).collect();
            taken.extend(explained.members.iter().map(|id| SeriesId(*id)));
            found.push(explained);
        }
        found
    }

    /// What the last scores of a series say.
    fn evidence(&self, figure: Figure, id: SeriesId, interval: u64, rising_for: u16) -> Evidence {
        let since = interval.saturating_sub(u64::from(rising_for));
        let watched = self.watched.get(&(figure, id));
        let scores: Vec<f32> = watched
            .iter()
            .flat_map(|watched| &watched.recent)
            .filter(|(at, _)| *at > since)
            .map(|(_, score)| *score)
            .collect();
        Evidence::of(&scores)
    }

    /// Opens an incident, or lets one that is open grow.
    fn incident(&mut self, figure: Figure, interval: u64, explained: Explained) -> Option<Change> {
        let members: BTreeSet<SeriesId> = explained.members.iter().map(|id| SeriesId(*id)).collect();
        let rising = |id: &SeriesId| self.watched.get(&(figure, *id)).map_or(0, |it| it.cusum.rising_for());
        // Half of them had begun by then.
        let mut begun: Vec<u16> = members.iter().map(rising).filter(|rising| *rising > 0).collect();
        begun.sort_unstable();
        let rising_for = begun.get(begun.len() / 2).copied().unwrap_or(1);
        let worse: BTreeSet<SeriesId> = members
            .iter()
            .filter(|id| self.evidence(figure, **id, interval, rising_for).is_worse())
            .copied()
            .collect();
        let since = (interval + 1).saturating_sub(u64::from(rising_for));
        let same = self.open.iter().position(|incident| {
            incident.worse.iter().any(|id| members.contains(id))
                || worse.iter().any(|id| incident.members.contains(id))
        });
        if let Some(incident) = same.and_then(|at| self.open.get_mut(at)) {
            let wider = members.len() > incident.members.len();
            if wider {
                (incident.scope, incident.or) = (explained.scope, explained.or);
            }
            if !incident.figures.contains(&figure) {
                incident.figures.push(figure);
            }
            incident.members.extend(members);
            incident.worse.extend(worse);
            return wider.then(|| Change::Grew(incident.clone()));
        }
        self.numbers += 1;
        let incident = Incident {
            number: self.numbers,
            scope: explained.scope,
            or: explained.or,
            figures: vec![figure],
            since,
            noticed: interval,
            over: None,
            worse,
            members,
        };
        self.open.push(incident.clone());
        Some(Change::Began(incident))
    }

    /// Ends what is as usual again.
    fn close(&mut self, interval: u64) -> Vec<Change> {
        let mut ended = Vec::new();
        let mut open = std::mem::take(&mut self.open);
        open.retain_mut(|incident| {
            if !self.is_over(incident, interval) {
                return true;
            }
            incident.over = Some(interval);
            self.forget(incident);
            ended.push(Change::Ended(incident.clone()));
            false
        });
        self.open = open;
        ended
    }

    fn is_over(&self, incident: &Incident, interval: u64) -> bool {
        let wanted = self.settings.over_after;
        let since = interval.saturating_sub(u64::try_from(wanted).unwrap_or(u64::MAX));
        if incident.noticed > since {
            return false;
        }
        incident.figures.iter().all(|figure| {
            let scores: Vec<f64> = incident
                .worse
                .iter()
                .filter_map(|id| self.watched.get(&(*figure, *id)))
                .flat_map(|watched| watched.recent.iter().filter(|(at, _)| *at > since))
                .map(|(_, score)| f64::from(*score))
                .collect();
            let count = f64::from(u32::try_from(scores.len()).unwrap_or(u32::MAX));
            !scores.is_empty() && scores.iter().sum::<f64>() / count < Cusum::ALLOWANCE
        })
    }

    /// Begins anew with those of an incident that is over.
    fn forget(&mut self, incident: &Incident) {
        for figure in Figure::ALL {
            for id in &incident.members {
                if let Some(watched) = self.watched.get_mut(&(figure, *id)) {
                    watched.cusum = Cusum::default();
                }
            }
            for id in &incident.members {
                for scope in self.series.get(id.0).map(Scope::all_of).unwrap_or_default() {
                    if let Some(group) = self.groups.get_mut(&(figure, scope)) {
                        group.cusum = Cusum::default();
                    }
                }
            }
        }
    }
}

/// Comes before all other scopes.
const FIRST: Scope = Scope::Agent(String::new());

fn of(
    watched: &BTreeMap<(Figure, SeriesId), Watched>,
    figure: Figure,
) -> impl Iterator<Item = (&(Figure, SeriesId), &Watched)> {
    watched.range((figure, SeriesId(0))..=(figure, SeriesId(usize::MAX)))
}
