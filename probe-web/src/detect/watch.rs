//! Series watched from interval to interval, and the incidents that come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::explain::{Evidence, Explained, Scope, explain};
use super::watched::{Table, Watched};
use super::{Baseline, Cusum, Figure};

/// The furthest that one interval of a group counts, in standard deviations.
const CLIP: f64 = 5.0;

/// Incidents that overlap are one where they began within so many intervals of each other: an hour. Who was in trouble before is so still.
const RELATED: u64 = 12;

/// An incident of which nothing is heard for so many intervals, a day, is over.
const UNHEARD: u64 = 288;

/// How fast a group's own spread is learned: over a day of five-minute intervals.
const LEARNING: f64 = 1.0 / 288.0;

/// The runs of one agent against one endpoint. Names are shared: a fleet has a hundred thousand of these, and few sites, providers and
/// endpoints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// Whose runs.
    pub agent: Arc<str>,
    /// Where it stands.
    pub site: Option<Arc<str>>,
    /// Who provides its internet connection.
    pub provider: Option<Arc<str>>,
    /// Whom it measures.
    pub endpoint: Arc<str>,
}

/// A series of a [`Watch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesId(usize);

impl SeriesId {
    pub(super) const fn new(number: usize) -> Self {
        Self(number)
    }

    pub(super) const fn number(self) -> usize {
        self.0
    }
}

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
    /// Probability to find as much as this in a series that has not changed, per figure and interval. A false alarm comes twice as often
    /// (a sum that passes stays for some intervals). The default leaves room for what groups add, for figures whose distribution is only
    /// learned, and for figures that are not independent.
    pub false_alarm: f64,
    /// After so many intervals as usual it is over.
    pub over_after: usize,
    /// Least series of a group: one and its neighbor are not one.
    pub least_of_a_group: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { false_alarm: 1.0 / (10_000.0 * 288.0 * 5.0), over_after: 6, least_of_a_group: 3 }
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

impl Incident {
    fn take_in(
        &mut self,
        figure: Figure,
        since: u64,
        worse: BTreeSet<SeriesId>,
        members: BTreeSet<SeriesId>,
    ) {
        if !self.figures.contains(&figure) {
            self.figures.push(figure);
        }
        self.since = self.since.min(since);
        self.worse.extend(worse);
        self.members.extend(members);
    }
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
    /// It turned out to be part of another one.
    PartOf {
        /// This one.
        number: u64,
        /// The other one.
        whole: u64,
    },
}

/// A series that is to be explained.
struct Alarm {
    rising_for: u16,
    id: SeriesId,
    /// Whether it is too much to be chance by itself, not by its group.
    alone: bool,
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
    watched: Table,
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

    /// How many incidents there have been.
    pub fn numbers(&self) -> u64 {
        self.numbers
    }

    /// Goes on with incidents that an earlier watch had found, so many in all.
    pub fn go_on(&mut self, open: Vec<Incident>, numbers: u64) {
        (self.open, self.numbers) = (open, numbers);
    }

    /// How much more than one by one the members of each group rise and fall.
    pub fn spreads(&self) -> impl Iterator<Item = (Figure, &Scope, f64)> {
        self.groups.iter().map(|((figure, scope), group)| (*figure, scope, group.spread))
    }

    /// Goes on with what an earlier watch knew of a group.
    pub fn set_spread(&mut self, figure: Figure, scope: Scope, spread: f64) {
        self.groups.insert((figure, scope), Group { cusum: Cusum::default(), spread });
    }

    /// Moves a series: its agent has another site or provider now.
    pub fn place(&mut self, id: SeriesId, site: Option<Arc<str>>, provider: Option<Arc<str>>) {
        if let Some(series) = self.series.get_mut(id.0) {
            (series.site, series.provider) = (site, provider);
        }
    }

    /// What is usual for a series at an hour of the week, where that is known.
    pub fn usual(&self, series: SeriesId, figure: Figure, hour: usize) -> Option<f64> {
        self.watched.get(figure, series).map(|watched| watched.baseline.usual(hour))
    }

    /// Watches a figure of a series no longer.
    pub fn unlearn(&mut self, series: SeriesId, figure: Figure) {
        self.watched.forget(figure, series);
    }

    /// How many figures of series are watched.
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// Compares a series with this from now on.
    pub fn learn(&mut self, series: SeriesId, figure: Figure, baseline: Baseline) {
        self.watched.learn(figure, series, baseline);
    }

    /// Takes in an interval that an earlier watch had taken in: sums go on from there, and nothing comes of it.
    pub fn replay(&mut self, interval: u64, hour: usize, values: &[Value]) {
        self.score(interval, hour, values);
        for figure in Figure::ALL {
            self.add_groups(figure, interval);
        }
    }

    /// Takes in what came of one interval, at this hour of the week, and says what that changes. Intervals come in order.
    pub fn take(&mut self, interval: u64, hour: usize, values: &[Value]) -> Vec<Change> {
        self.score(interval, hour, values);
        let mut changes = self.close(interval);
        for figure in Figure::ALL {
            self.add_groups(figure, interval);
            for explained in self.alarms(figure, interval) {
                self.incident(figure, interval, explained, &mut changes);
            }
        }
        changes
    }

    fn score(&mut self, interval: u64, hour: usize, values: &[Value]) {
        for value in values {
            let Some(watched) = self.watched.get_mut(value.figure, value.series) else { continue };
            let found = watched.baseline.unusual(hour, value.value);
            watched.take(interval, found);
        }
    }

    /// Series of incidents that are open: what is known of already is no news of their groups.
    fn known(&self) -> BTreeSet<SeriesId> {
        self.open.iter().flat_map(|incident| incident.members.iter().copied()).collect()
    }

    /// Adds what the members of each group said in this interval.
    fn add_groups(&mut self, figure: Figure, interval: u64) {
        let known = self.known();
        let mut sums: BTreeMap<Scope, (f64, f64, usize)> = BTreeMap::new();
        for (id, watched) in self.watched.of(figure) {
            let Some(score) = watched.at(interval) else { continue };
            if known.contains(&id) {
                continue;
            }
            let Some(series) = self.series.get(id.0) else { continue };
            for scope in Scope::all_of(series) {
                if matches!(scope, Scope::Agent(_)) {
                    continue;
                }
                let sum = sums.entry(scope).or_default();
                *sum = (sum.0 + score, sum.1 + 1.0, sum.2 + 1);
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
        let probability = |watched: &Watched| match watched.is_on_a_new_level() {
            true => watched.cusum.p_value().min(self.settings.false_alarm),
            false => watched.cusum.p_value(),
        };
        let known: BTreeSet<SeriesId> = self
            .open
            .iter()
            .filter(|incident| incident.figures.contains(&figure))
            .flat_map(|incident| incident.members.iter().copied())
            .collect();
        let mut all: Vec<(f64, u16, SeriesId)> = self
            .watched
            .of(figure)
            .filter(|(id, watched)| watched.at(interval).is_some() && !known.contains(id))
            .map(|(id, watched)| (probability(watched), watched.cusum.rising_for(), id))
            .collect();
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        let allowed =
            |rank: usize| f64::from(u32::try_from(rank).unwrap_or(u32::MAX)) * self.settings.false_alarm;
        let passed = (1..=all.len()).rev().find(|rank| all[rank - 1].0 <= allowed(*rank)).unwrap_or(0);
        let one = |(_, rising_for, id): &(f64, u16, SeriesId)| Alarm {
            rising_for: *rising_for,
            id: *id,
            alone: true,
        };
        let mut alarmed: Vec<Alarm> = all.iter().take(passed).map(one).collect();
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
            let worst = worst.filter(|(weight, _)| *weight > 0.0);
            alarmed.extend(worst.map(|(_, id)| Alarm { rising_for, id, alone: false }));
        }
        self.explained(figure, interval, &known, alarmed)
    }

    fn explained(
        &self,
        figure: Figure,
        interval: u64,
        known: &BTreeSet<SeriesId>,
        alarmed: Vec<Alarm>,
    ) -> Vec<Explained> {
        let mut found: Vec<Explained> = Vec::new();
        let mut taken = known.clone();
        for Alarm { rising_for, id, alone } in alarmed {
            if taken.contains(&id) {
                continue;
            }
            let ids: Vec<SeriesId> = self.watched.of(figure).map(|(id, _)| id).collect();
            let told: Vec<(&Series, Evidence)> = ids
                .iter()
                .filter_map(|id| {
                    Some((self.series.get(id.0)?, self.evidence(figure, *id, interval, rising_for)))
                })
                .collect();
            let Some(at) = ids.iter().position(|other| *other == id) else { continue };
            let Some(mut explained) = explain(&told, at) else { continue };
            if !alone && matches!(explained.scope, Scope::Agent(_)) {
                // A group alarmed, and nothing of it is worse together: by itself this one is not.
                continue;
            }
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
        let watched = self.watched.get(figure, id);
        let scores: Vec<f32> = watched.iter().flat_map(|watched| watched.after(since)).collect();
        Evidence::of(&scores)
    }

    /// Opens an incident, or lets one that is open grow.
    fn incident(&mut self, figure: Figure, interval: u64, explained: Explained, changes: &mut Vec<Change>) {
        let members: BTreeSet<SeriesId> = explained.members.iter().map(|id| SeriesId(*id)).collect();
        let rising = |id: &SeriesId| self.watched.get(figure, *id).map_or(0, |it| it.cusum.rising_for());
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
        self.restart_groups(figure, &members);
        if let Some(incident) = self.open.iter_mut().find(|incident| members.is_subset(&incident.members)) {
            if !incident.figures.contains(&figure) {
                incident.figures.push(figure);
                incident.worse.extend(worse);
                changes.push(Change::Grew(incident.clone()));
            }
            return;
        }
        let (related, others): (Vec<Incident>, Vec<Incident>) =
            std::mem::take(&mut self.open).into_iter().partition(|incident| {
                let overlap = incident.worse.iter().any(|id| members.contains(id))
                    || worse.iter().any(|id| incident.members.contains(id));
                overlap && incident.since.abs_diff(since) <= RELATED
            });
        self.open = others;
        let mut related = related.into_iter();
        // The first of them goes on.
        let Some(mut incident) = related.next() else {
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
            changes.push(Change::Began(incident.clone()));
            self.open.push(incident);
            return;
        };
        if members.len() > incident.members.len() {
            (incident.scope, incident.or) = (explained.scope, explained.or);
        }
        incident.take_in(figure, since, worse, members);
        for part in related {
            changes.push(Change::PartOf { number: part.number, whole: incident.number });
            for figure in part.figures {
                incident.take_in(figure, part.since, part.worse.clone(), part.members.clone());
            }
        }
        changes.push(Change::Grew(incident.clone()));
        self.open.push(incident);
        self.open.sort_by_key(|incident| incident.number);
    }

    /// Groups that these belong to begin anew: what was summed up of them is told now.
    fn restart_groups(&mut self, figure: Figure, members: &BTreeSet<SeriesId>) {
        let scopes: BTreeSet<Scope> =
            members.iter().filter_map(|id| self.series.get(id.0)).flat_map(Scope::all_of).collect();
        for scope in scopes {
            if let Some(group) = self.groups.get_mut(&(figure, scope)) {
                group.cusum = Cusum::default();
            }
        }
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
                .filter_map(|id| self.watched.get(*figure, *id))
                .flat_map(|watched| watched.after(since))
                .map(f64::from)
                .collect();
            let count = f64::from(u32::try_from(scores.len()).unwrap_or(u32::MAX));
            match scores.is_empty() {
                true => !self.is_heard(*figure, incident, interval),
                false => scores.iter().sum::<f64>() / count < Cusum::ALLOWANCE,
            }
        })
    }

    /// Whether any of an incident's series said something of late.
    fn is_heard(&self, figure: Figure, incident: &Incident, interval: u64) -> bool {
        let heard = |last: u64| interval.saturating_sub(last) < UNHEARD;
        incident
            .worse
            .iter()
            .filter_map(|id| self.watched.get(figure, *id))
            .any(|watched| watched.last().is_some_and(heard))
    }

    /// Begins anew with those of an incident that is over.
    fn forget(&mut self, incident: &Incident) {
        for figure in Figure::ALL {
            for id in &incident.members {
                if let Some(watched) = self.watched.get_mut(figure, *id) {
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
