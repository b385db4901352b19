//! What is known of each figure of each series between two intervals: of 100,000 agents there are 700,000 of these, so they are small.

use super::recent::Recent;
use super::watch::SeriesId;
use super::{Baseline, Cusum, Figure, Unusual};

/// A new level: so many values in a row, each rarer than one of 120 and at least so far out, all within so much of each other (what three
/// of a normal distribution keep to, 99 times of 100), in standard deviations of the middle. Where outliers lie further apart than
/// [`APART`], so that three of them are hardly ever close to each other, one of 50 is rare enough.
pub(super) const IN_A_ROW: usize = 3;
const RARE: f32 = 2.4;
const RARE_APART: f32 = 2.05;
const FAR_OUT: f64 = 3.5;
const TOGETHER: f64 = 4.2;
const APART: f64 = 6.0;

/// So many in a row that are each rarer than one of 160 need not be close to each other: a burst on top of a new level is no doubt of it.
const VERY_RARE: f32 = 2.5;

/// One figure of one series.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) baseline: Baseline,
    pub(super) cusum: Cusum,
    recent: Recent,
}

impl Watched {
    pub(super) fn take(&mut self, interval: u64, found: Unusual) {
        self.cusum.add(found.score);
        self.recent.add(interval, found);
    }

    /// The last interval of which something is known.
    pub(super) fn last(&self) -> Option<u64> {
        self.recent.newest_first().next().map(|last| last.interval)
    }

    /// Its score of an interval, where that was the last one.
    pub(super) fn at(&self, interval: u64) -> Option<f64> {
        let last = self.recent.newest_first().next();
        last.filter(|last| last.interval == interval).map(|last| f64::from(last.score))
    }

    /// Its scores of intervals later than one.
    pub(super) fn after(&self, since: u64) -> impl Iterator<Item = f32> {
        self.recent.newest_first().filter(move |one| one.interval > since).map(|one| one.score)
    }

    /// Whether the last values stand on a new level.
    pub(super) fn is_on_a_new_level(&self) -> bool {
        let rare = if self.baseline.reach() >= APART { RARE_APART } else { RARE };
        let last = || self.recent.newest_first().take(IN_A_ROW);
        let outs = || self.recent.outs().map(f64::from);
        let (least, most) = (outs().fold(f64::INFINITY, f64::min), outs().fold(f64::NEG_INFINITY, f64::max));
        last().count() == IN_A_ROW
            && last().all(|one| one.score >= rare)
            && least >= FAR_OUT
            && (most - least <= TOGETHER || last().all(|one| one.score >= VERY_RARE))
    }
}

/// All that is watched: by figure, and by the number of the series, which are given out without gaps.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    columns: [Vec<Option<Box<Watched>>>; Figure::ALL.len()],
    count: usize,
}

impl Table {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, figure: Figure, id: SeriesId) -> Option<&Watched> {
        self.columns[figure as usize].get(id.number())?.as_deref()
    }

    pub(super) fn get_mut(&mut self, figure: Figure, id: SeriesId) -> Option<&mut Watched> {
        self.columns[figure as usize].get_mut(id.number())?.as_deref_mut()
    }

    /// Compares with this from now on; what has added up stays.
    pub(super) fn learn(&mut self, figure: Figure, id: SeriesId, baseline: Baseline) {
        if let Some(known) = self.get_mut(figure, id) {
            known.baseline = baseline;
            return;
        }
        let column = &mut self.columns[figure as usize];
        if column.len() <= id.number() {
            column.resize_with(id.number() + 1, || None);
        }
        if let Some(place) = column.get_mut(id.number()) {
            let watched = Watched { baseline, cusum: Cusum::default(), recent: Recent::default() };
            *place = Some(Box::new(watched));
            self.count += 1;
        }
    }

    pub(super) fn forget(&mut self, figure: Figure, id: SeriesId) {
        let place = self.columns[figure as usize].get_mut(id.number());
        if place.and_then(Option::take).is_some() {
            self.count -= 1;
        }
    }

    /// The series of which this figure is watched.
    pub(super) fn of(&self, figure: Figure) -> impl Iterator<Item = (SeriesId, &Watched)> {
        let places = self.columns[figure as usize].iter().enumerate();
        places.filter_map(|(at, place)| Some((SeriesId::new(at), place.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_watched_is_small() {
        assert!(size_of::<Watched>() <= 192, "{}", size_of::<Watched>());
    }

    #[test]
    fn figures_of_series_come_and_go_each_by_itself() {
        let baseline = || Baseline::learn(Figure::RttP50, &vec![(0, 1.0); 300]).expect("enough");
        let ids = |table: &Table, figure| table.of(figure).map(|(id, _)| id).collect::<Vec<_>>();
        let [first, second, third] = [0, 1, 2].map(SeriesId::new);
        let mut table = Table::default();
        table.learn(Figure::RttP50, third, baseline());
        table.learn(Figure::RttP50, first, baseline());
        table.learn(Figure::Silence, second, baseline());
        table.learn(Figure::Silence, second, baseline());
        assert_eq!((table.len(), ids(&table, Figure::RttP50)), (3, vec![first, third]));
        assert!(table.get(Figure::RttP50, second).is_none() && table.get(Figure::Silence, second).is_some());
        table.forget(Figure::RttP50, first);
        table.forget(Figure::RttP50, first);
        table.forget(Figure::Verdict, SeriesId::new(9));
        assert_eq!((table.len(), ids(&table, Figure::RttP50)), (2, vec![third]));
    }
}
