//! Percentiles: one definition for the whole crate.

use crate::units::Micros;

/// A share of a sample, in millionths, so that ranks are computed without rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantile(u32);

impl Quantile {
    /// The median.
    pub const P50: Self = Self(500_000);
    /// The 95th percentile.
    pub const P95: Self = Self(950_000);
    /// The 99th percentile.
    pub const P99: Self = Self(990_000);
    /// The 99.9th percentile.
    pub const P999: Self = Self(999_000);

    /// Wraps a share in millionths; more than all is all.
    pub const fn from_millionths(millionths: u32) -> Self {
        Self(if millionths > 1_000_000 { 1_000_000 } else { millionths })
    }

    /// The share, 0..=1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// The value at a quantile of an ascending sample by nearest rank: the smallest x with F(x) ≥ q (RFC 2330 section 11.3).
///
/// `None` for an empty sample. Quantile 0 is the least value.
pub fn nearest_rank<T: Copy>(sorted: &[T], quantile: Quantile) -> Option<T> {
    let n = u128::try_from(sorted.len()).ok()?;
    let rank = (n * u128::from(quantile.0)).div_ceil(1_000_000).max(1);
    sorted.get(usize::try_from(rank - 1).ok()?).copied()
}

/// A sample of durations in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted(Vec<Micros>);

impl Sorted {
    /// Sorts a sample.
    pub fn new(mut sample: Vec<Micros>) -> Self {
        sample.sort_unstable();
        Self(sample)
    }

    /// The value at a quantile, see [`nearest_rank`].
    pub fn at(&self, quantile: Quantile) -> Option<Micros> {
        nearest_rank(&self.0, quantile)
    }

    /// The least value.
    pub fn min(&self) -> Option<Micros> {
        self.0.first().copied()
    }

    /// The greatest value.
    pub fn max(&self) -> Option<Micros> {
        self.0.last().copied()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values, ascending.
    pub fn as_slice(&self) -> &[Micros] {
        &self.0
    }
}

impl FromIterator<Micros> for Sorted {
    fn from_iter<I: IntoIterator<Item = Micros>>(values: I) -> Self {
        Self::new(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smallest_value_that_reaches_the_share() {
        // RFC 2330 section 11.3. Its text calls the 15th percentile minus infinity; by its definition it is -5.
        let sample = [-5, -2, 4, 7, 7, 18];
        let at = |percent: u32| nearest_rank(&sample, Quantile::from_millionths(percent * 10_000));
        assert_eq!(at(25), Some(-2));
        assert_eq!(at(50), Some(4));
        assert_eq!(at(100), Some(18));
        assert_eq!(at(15), Some(-5));
        assert_eq!(at(0), Some(-5));
    }

    #[test]
    fn ninetieth_of_one_to_ten_is_nine() {
        let sample: Vec<i32> = (1..=10).collect();
        assert_eq!(nearest_rank(&sample, Quantile::from_millionths(900_000)), Some(9));
        assert_eq!(nearest_rank(&sample, Quantile::from_millionths(700_000)), Some(7));
        assert_eq!(nearest_rank::<i32>(&[], Quantile::P50), None);
    }

    /// RFC 7679 section 5.1: a packet that never came has an infinite delay, and so has a percentile that reaches it.
    #[test]
    fn with_losses_as_infinity() {
        const LOST: Micros = Micros::MAX;
        let ms = Micros::from_millis;
        let stream_1 = Sorted::new(vec![ms(100), ms(110), LOST, ms(90), ms(500)]);
        assert_eq!(stream_1.at(Quantile::P50), Some(ms(110)));
        assert_eq!(stream_1.at(Quantile::from_millionths(800_000)), Some(ms(500)));
        assert_eq!(stream_1.at(Quantile::from_millionths(900_000)), Some(LOST));
        assert_eq!(stream_1.min(), Some(ms(90)), "the minimum is of what came (section 5.3)");
        // Section 5.2 takes the mean of the middle two, 105 ms; nearest rank, which every percentile here is, the lower one.
        let stream_2 = Sorted::new(vec![ms(100), ms(110), LOST, ms(90)]);
        assert_eq!(stream_2.at(Quantile::P50), Some(ms(100)));
    }
}
