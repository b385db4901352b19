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

/// How far the median of an hour of the week has to lie from that of its hour on any day, in standard errors of the difference, to be
/// an opinion of its own: what four weeks of one hour say is noise for the most part.
const OPINION: f64 = 3.0;

/// How baselines are kept.
const FORMAT: u8 = 1;

/// Where the distribution of what is left is noted, in standard deviations of a normal one.
const KNOTS: [f64; 13] = [-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0];

/// The knot at 2, beyond which 2 % lie.
const REACH_FROM: usize = 10;

/// What is usual for one series.
///
/// A value is compared with the median of its hour of the week; what is left is placed in the distribution of all that was left before
/// (van der Waerden's normal scores), whatever its form. Beyond what was seen, the scale of its middle goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    figure: Figure,
    /// Median by hour of the week.
    usual: Usual,
    /// What is left at each of [`KNOTS`], rising.
    left: [f32; KNOTS.len()],
    /// The last of the knots that enough values stand behind.
    top: u8,
    /// One standard deviation of the middle.
    scale: f32,
    /// The furthest that one value counts: as rare as one of all that was learned from. What was never seen before may be as common as
    /// that, however far out it lies.
    most: f32,
    /// What one value weighs: less than 1 where neighbors in time are alike, since they say less than as many that are not.
    weight: f32,
}

/// How unusual a value is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Unusual {
    /// In standard deviations of a normal distribution, by how rare it was.
    pub score: f64,
    /// By how far out it lies: in standard deviations of the middle of what was left before, which outliers do not widen.
    pub out: f64,
}

impl Baseline {
    /// Learns from a history of hours of the week and values. `None` where it is shorter than [`LEAST`].
    pub fn learn(figure: Figure, history: &[(usize, f64)]) -> Option<Self> {
        if history.len() < LEAST {
            return None;
        }
        let history: Vec<(usize, f64)> =
            history.iter().map(|(hour, value)| (hour % HOURS, figure.evened(*value))).collect();
        let usual = usual(&history, spread(&history));
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
        let most = normal.inverse_cdf(1.0 - 1.0 / count);
        let learned = Self {
            figure,
            usual: Usual::of(&usual),
            left: knots.map(single),
            top: u8::try_from(top).ok()?,
            scale: single(scale),
            most: single(most),
            weight: 1.0,
        };
        let scores: Vec<f64> =
            history.iter().map(|(hour, value)| learned.placed_in(*hour, *value).score).collect();
        Some(Self { weight: single(weight(&scores)), ..learned })
    }

    /// How much worse than usual a value is: its score is at most as much as that of the rarest of what was learned from, 3.7 for four
    /// weeks of five-minute runs.
    pub fn unusual(&self, hour: usize, value: f64) -> Unusual {
        let found = self.placed_in(hour, self.figure.evened(value));
        Unusual { score: found.score * f64::from(self.weight), ..found }
    }

    fn placed_in(&self, hour: usize, evened: f64) -> Unusual {
        let left = evened - f64::from(self.usual.at(hour));
        let most = f64::from(self.most);
        Unusual { score: self.placed(left).clamp(-most, most), out: left / f64::from(self.scale) }
    }

    /// How far the rarest of what was learned from lies beyond the rarest 2 %, in standard deviations of the middle: where outliers lie far
    /// apart, three of them that are close to each other are rarer than three that are only rare.
    pub fn reach(&self) -> f64 {
        f64::from((self.left[usize::from(self.top)] - self.left[REACH_FROM]) / self.scale)
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend(u16::from(self.top).to_le_bytes());
        let wide = [self.scale, self.most, self.weight].map(f64::from);
        bytes.extend(wide.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend(self.left.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend((0..HOURS).flat_map(|hour| self.usual.at(hour).to_le_bytes()));
        bytes
    }

    /// From how it is kept; `None` where this is none.
    pub fn from_bytes(figure: Figure, bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let (top, rest) = rest.split_first_chunk::<2>()?;
        let (scale, rest) = rest.split_first_chunk::<8>()?;
        let (most, rest) = rest.split_first_chunk::<8>()?;
        let (weight, rest) = rest.split_first_chunk::<8>()?;
        let (floats, rest) = rest.as_chunks::<4>();
        let floats: Vec<f32> = floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let (left, usual) = floats.split_first_chunk::<{ KNOTS.len() }>()?;
        let top = u8::try_from(u16::from_le_bytes(*top)).ok()?;
        let is_a_knot = usize::from(top) < KNOTS.len();
        let whole = *format == FORMAT && rest.is_empty() && usual.len() == HOURS && is_a_knot;
        whole.then(|| Self {
            figure,
            usual: Usual::of(usual),
            left: *left,
            top,
            scale: single(f64::from_le_bytes(*scale)),
            most: single(f64::from_le_bytes(*most)),
            weight: single(f64::from_le_bytes(*weight)),
        })
    }

    /// The value that is usual at an hour, as it was measured.
    pub fn usual(&self, hour: usize) -> f64 {
        self.figure.measured(f64::from(self.usual.at(hour)))
    }

    fn placed(&self, left: f64) -> f64 {
        let top = usize::from(self.top);
        let (knots, scale) = (&self.left[..=top], f64::from(self.scale));
        let knot = |index: usize| f64::from(knots[index]);
        let below = knots.partition_point(|knot| f64::from(*knot) < left);
        let to = knots.partition_point(|knot| f64::from(*knot) <= left);
        if below == knots.len() {
            return KNOTS[top] + (left - knot(top)) / scale;
        }
        if to > below {
            // Of many equal values (no loss at all) the middle one stands for all.
            return (KNOTS[below] + KNOTS[to - 1]) / 2.0;
        }
        if below == 0 {
            return KNOTS[0] + (left - knot(0)) / scale;
        }
        let (low, high) = (knot(below - 1), knot(below));
        KNOTS[below - 1] + (left - low) / (high - low) * (KNOTS[below] - KNOTS[below - 1])
    }
}

/// Medians of the hours of a week, in few bytes: those of the hours of a day (one, where all are the same), and those of the hours of the
/// week that differ from them.
#[derive(Debug, Clone, PartialEq)]
struct Usual {
    day: Box<[f32]>,
    own: Box<[(u8, f32)]>,
}

impl Usual {
    fn of(hours: &[f32]) -> Self {
        let day: Vec<f32> = (0..24).map(|hour| most_common(hours, hour)).collect();
        let own = (0..).zip(hours).filter(|(hour, value)| day[usize::from(*hour) % 24] != **value);
        let own = own.map(|(hour, value)| (hour, *value)).collect();
        let all_alike = day.iter().all(|value| *value == day[0]);
        Self { day: if all_alike { [day[0]].into() } else { day.into() }, own }
    }

    fn at(&self, hour: usize) -> f32 {
        let hour = hour % HOURS;
        let own = self.own.binary_search_by_key(&hour, |(of, _)| usize::from(*of));
        own.map_or_else(|_| self.day[hour % self.day.len()], |at| self.own[at].1)
    }
}

/// The value that an hour of the day has most often.
fn most_common(hours: &[f32], hour: usize) -> f32 {
    let values = || hours.iter().skip(hour).step_by(24).copied();
    let count = |value: f32| values().filter(|other| *other == value).count();
    values().max_by_key(|value| count(*value)).unwrap_or_default()
}

/// In as many bytes as it is worth: there are many baselines.
fn single(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
    let single = value as f32;
    single
}

/// What one score weighs in a sum where those that follow each other are alike: the sum of an autoregressive series of this correlation
/// spreads as that of independent ones multiplied by the inverse.
fn weight(scores: &[f64]) -> f64 {
    let count = f64::from(u32::try_from(scores.len()).unwrap_or(u32::MAX));
    let mean = scores.iter().sum::<f64>() / count;
    let product = |ahead: usize| -> f64 {
        scores.iter().zip(scores.iter().skip(ahead)).map(|(one, other)| (one - mean) * (other - mean)).sum()
    };
    let (all, next) = (product(0), product(1));
    let alike = if all > 0.0 { (next / all).clamp(0.0, 0.9) } else { 0.0 };
    ((1.0 - alike) / (1.0 + alike)).sqrt()
}

/// One standard deviation of the middle within the hours of the day.
fn spread(history: &[(usize, f64)]) -> f64 {
    let mut by_hour: [Vec<f64>; 24] = std::array::from_fn(|_| Vec::new());
    for (hour, value) in history {
        by_hour[hour % 24].push(*value);
    }
    let mut left = Vec::with_capacity(history.len());
    for values in &mut by_hour {
        if let Some(middle) = median(values) {
            left.extend(values.iter().map(|value| value - middle));
        }
    }
    left.sort_by(f64::total_cmp);
    (at(&left, 0.75) - at(&left, 0.25)) / 1.349
}

fn median(values: &mut [f64]) -> Option<f64> {
    let half = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(half, f64::total_cmp).1)
}

/// The median of each hour of the day, where there are enough values, else of all; that of an hour of the week where it lies too far
/// from it to be chance. Neighbors are not taken in: where the evening begins, they are what is not usual.
fn usual(history: &[(usize, f64)], spread: f64) -> Vec<f32> {
    let mut by_hour = vec![Vec::new(); HOURS];
    for (hour, value) in history {
        by_hour[*hour].push(*value);
    }
    let mut all: Vec<f64> = history.iter().map(|(_, value)| *value).collect();
    let all = median(&mut all).unwrap_or(0.0);
    let by_day: Vec<f64> = (0..24)
        .map(|hour| {
            let mut values: Vec<f64> =
                (hour..HOURS).step_by(24).flat_map(|hour| by_hour[hour].iter().copied()).collect();
            if values.len() >= LEAST_OF_AN_HOUR { median(&mut values).unwrap_or(all) } else { all }
        })
        .collect();
    (0..HOURS)
        .map(|hour| {
            let count = f64::from(u32::try_from(by_hour[hour].len()).unwrap_or(u32::MAX));
            let shared = by_day[hour % 24];
            // The standard error of a median is 1.25 times that of a mean.
            let far = |own: &f64| (own - shared).abs() > OPINION * 1.25 * spread / count.sqrt();
            let enough = by_hour[hour].len() >= LEAST_OF_AN_HOUR;
            let own = median(&mut by_hour[hour]).filter(|own| enough && far(own));
            single(own.unwrap_or(shared))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_the_same_after_it_was_kept() {
        let history: Vec<(usize, f64)> =
            (0..1_000_u32).map(|n| (usize::try_from(n).unwrap() / 12, f64::from(n % 17) + 20.0)).collect();
        let baseline = Baseline::learn(Figure::RttP50, &history).unwrap();
        let bytes = baseline.to_bytes();
        assert_eq!(Baseline::from_bytes(Figure::RttP50, &bytes), Some(baseline));
        for wrong in [&bytes[1..], &bytes[..bytes.len() - 1], &[]] {
            assert_eq!(Baseline::from_bytes(Figure::RttP50, wrong), None);
        }
    }

    #[test]
    fn what_is_usual_is_kept_for_every_hour_of_the_week() {
        let flat = vec![0.0; HOURS];
        let daily: Vec<f32> = (0..24_u8).map(f32::from).cycle().take(HOURS).collect();
        let mut own = daily.clone();
        (own[3], own[100], own[167]) = (-1.0, 7.5, 1e9);
        let wild: Vec<f32> = (0..168_u8).map(|hour| f32::from(hour) * 0.7).collect();
        for (hours, bytes) in [(&flat, 4), (&daily, 96), (&own, 96 + 24), (&wild, 96 + 144 * 8)] {
            let usual = Usual::of(hours);
            assert_eq!(&(0..HOURS).map(|hour| usual.at(hour)).collect::<Vec<_>>(), hours);
            assert_eq!(usual.at(HOURS + 5), hours[5]);
            assert_eq!(usual.day.len() * 4 + usual.own.len() * 8, bytes);
        }
    }

    #[test]
    fn what_follows_its_like_weighs_less() {
        let alternating: Vec<f64> = (0..1_000).map(|n| f64::from(n % 2)).collect();
        assert_eq!(weight(&alternating), 1.0);
        let slow: Vec<f64> = (0..1_000).map(|n| f64::from(n / 100 % 2)).collect();
        assert!(weight(&slow) < 0.3, "{}", weight(&slow));
    }

    #[test]
    fn what_was_never_seen_counts_as_much_as_the_rarest_of_what_was() {
        let history: Vec<(usize, f64)> = (0..4_032).map(|n| (n / 12, 0.0)).collect();
        let baseline = Baseline::learn(Figure::LossUp, &history).unwrap();
        assert!(baseline.unusual(0, 0.0).score < 0.1, "{:?}", baseline.unusual(0, 0.0));
        let worst = baseline.unusual(0, 1.0).score;
        assert!((3.4..3.6).contains(&worst), "{worst}");
    }
}
