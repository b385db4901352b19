//! What is usual for one series at each hour of the week, and how unusual a value is: robust, so that the bad days in the history do
//! not make the next one look usual.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::Figure;

/// Hours of a week: Monday 00:00 UTC is 0.
pub const HOURS: usize = 168;

/// Least values for a baseline: a day of five-minute runs.
pub const LEAST: usize = 288;

/// Least values of an hour for an opinion of its own: two weeks of five-minute runs.
const LEAST_OF_AN_HOUR: usize = 24;

/// The furthest that one value counts, in standard deviations: a single outlier is no change.
pub const CLIP: f64 = 5.0;

/// Where the distribution of what is left is noted, in standard deviations of a normal one.
const KNOTS: [f64; 13] = [-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0];

/// What is usual for one series.
///
/// A value is compared with the median of its hour of the week; what is left is placed in the distribution of all that was left before
/// (van der Waerden's normal scores), whatever its form. Beyond what was seen, the scale of its middle goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    figure: Figure,
    /// Median by hour of the week.
    usual: Vec<f32>,
    /// What is left at each of [`KNOTS`], rising.
    left: [f32; KNOTS.len()],
    /// The last of the knots that enough values stand behind.
    top: usize,
    /// One standard deviation of the middle.
    scale: f64,
}

impl Baseline {
    /// Learns from a history of hours of the week and values. `None` where it is shorter than [`LEAST`].
    pub fn learn(figure: Figure, history: &[(usize, f64)]) -> Option<Self> {
        if history.len() < LEAST {
            return None;
        }
        let history: Vec<(usize, f64)> =
            history.iter().map(|(hour, value)| (hour % HOURS, figure.evened(*value))).collect();
        let usual = usual(&history);
        let mut left: Vec<f64> =
            history.iter().map(|(hour, value)| value - f64::from(usual[*hour])).collect();
        left.sort_by(f64::total_cmp);
        let normal = Normal::standard();
        let knots = KNOTS.map(|z| at(&left, normal.cdf(z)));
        // The middle half, as the quartiles of a normal distribution have it.
        let scale = ((at(&left, 0.75) - at(&left, 0.25)) / 1.349).max(figure.least_scale());
        let count = f64::from(u32::try_from(left.len()).unwrap_or(u32::MAX));
        // A knot needs two values beyond it.
        let top = KNOTS.iter().rposition(|z| (1.0 - normal.cdf(*z)) * count >= 2.0)?;
        #[expect(clippy::cast_possible_truncation, reason = "a hundredth of a standard deviation is enough")]
        let left = knots.map(|knot| knot as f32);
        Some(Self { figure, usual, left, top, scale })
    }

    /// How much worse than usual a value is, in standard deviations of a normal distribution, at most [`CLIP`] either way.
    pub fn score(&self, hour: usize, value: f64) -> f64 {
        let left = self.figure.evened(value) - f64::from(self.usual[hour % HOURS]);
        self.placed(left).clamp(-CLIP, CLIP)
    }

    /// The value that is usual at an hour, as it was measured.
    pub fn usual(&self, hour: usize) -> f64 {
        self.figure.measured(f64::from(self.usual[hour % HOURS]))
    }

    fn placed(&self, left: f64) -> f64 {
        let knots = &self.left[..=self.top];
        let knot = |index: usize| f64::from(knots[index]);
        let below = knots.partition_point(|knot| f64::from(*knot) < left);
        let to = knots.partition_point(|knot| f64::from(*knot) <= left);
        if below == knots.len() {
            return KNOTS[self.top] + (left - knot(self.top)) / self.scale;
        }
        if to > below {
            // Of many equal values (no loss at all) the middle one stands for all.
            return (KNOTS[below] + KNOTS[to - 1]) / 2.0;
        }
        if below == 0 {
            return KNOTS[0] + (left - knot(0)) / self.scale;
        }
        let (low, high) = (knot(below - 1), knot(below));
        KNOTS[below - 1] + (left - low) / (high - low) * (KNOTS[below] - KNOTS[below - 1])
    }
}

/// The median of each hour of the week; where its values are few, of that hour on any day; where those are few, of all. Neighbors are
/// not taken in: where the evening begins, they are what is not usual.
fn usual(history: &[(usize, f64)]) -> Vec<f32> {
    let mut by_hour = vec![Vec::new(); HOURS];
    for (hour, value) in history {
        by_hour[*hour].push(*value);
    }
    let median = |hours: &mut dyn Iterator<Item = usize>, least: usize| {
        let mut values: Vec<f64> = hours.flat_map(|hour| by_hour[hour].iter().copied()).collect();
        let half = values.len() / 2;
        (values.len() >= least.max(1)).then(|| *values.select_nth_unstable_by(half, f64::total_cmp).1)
    };
    let all = median(&mut (0..HOURS), 1).unwrap_or(0.0);
    let by_day: Vec<Option<f64>> =
        (0..24).map(|hour| median(&mut (hour..HOURS).step_by(24), LEAST_OF_AN_HOUR)).collect();
    (0..HOURS)
        .map(|hour| {
            let own = median(&mut std::iter::once(hour), LEAST_OF_AN_HOUR);
            #[expect(clippy::cast_possible_truncation, reason = "seven digits of a median are enough")]
            let usual = own.or(by_day[hour % 24]).unwrap_or(all) as f32;
            usual
        })
        .collect()
}

/// A quantile of sorted values.
fn at(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a history, which is far shorter than 2^52"
    )]
    let index = (share * last as f64).round() as usize;
    sorted.get(index).or(sorted.last()).copied().unwrap_or(0.0)
}
