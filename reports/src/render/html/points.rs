//! Series made small enough to draw and to list, without losing their peaks.

use crate::schema::{Series, Target};

/// One point in time: milliseconds since the run's start, and a value if there was one.
pub(super) type Point = (f64, Option<f64>);

/// A target's series by name, without what is not a number.
pub(super) fn named<'a>(target: &'a Target, name: &str) -> Option<Vec<Point>> {
    let series: &'a Series = target.series.iter().find(|series| series.name == name)?;
    let finite = |value: Option<f64>| value.filter(|v| v.is_finite());
    let points = series.at_ms.iter().zip(&series.values).map(|(at, value)| (*at, finite(*value)));
    let points: Vec<Point> = points.filter(|(at, _)| at.is_finite()).collect();
    points.iter().any(|(_, value)| value.is_some()).then_some(points)
}

/// What a stretch of time held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bin {
    /// Its beginning.
    pub at: f64,
    /// Least, mean and greatest value in it; `None` without any.
    pub range: Option<(f64, f64, f64)>,
}

/// Divides `0..end` into `count` stretches.
#[expect(clippy::cast_precision_loss, reason = "a few hundred bins")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bins there are")]
pub(super) fn bins(points: &[Point], end: f64, count: usize) -> Vec<Bin> {
    let width = end / count as f64;
    let mut held = vec![(f64::INFINITY, 0.0, f64::NEG_INFINITY, 0.0); count];
    for (at, value) in points.iter().filter_map(|(at, value)| Some((*at, (*value)?))) {
        let index = ((at / width).clamp(0.0, count as f64) as usize).min(count - 1);
        let (least, sum, greatest, n) = held[index];
        held[index] = (value.min(least), sum + value, value.max(greatest), n + 1.0);
    }
    let bin = |(index, (least, sum, greatest, n)): (usize, (f64, f64, f64, f64))| Bin {
        at: index as f64 * width,
        range: (n > 0.0).then(|| (least, sum / n, greatest)),
    };
    held.into_iter().enumerate().map(bin).collect()
}

/// How many stretches to divide `0..end` into: none shorter than `least`, no more than `most`, at least one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a few hundred")]
#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
pub(super) fn stretches(end: f64, least: f64, most: usize) -> usize {
    (end / least).clamp(1.0, most as f64) as usize
}

/// The values in ascending order.
pub(super) fn sorted(points: &[Point]) -> Vec<f64> {
    let mut values: Vec<f64> = points.iter().filter_map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value at a share (0..=1] of sorted values, nearest rank.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53 values")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the values there are"
)]
pub(super) fn rank(sorted: &[f64], share: f64) -> Option<f64> {
    let position = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(position.max(1) - 1).copied()
}

/// The least of 1, 2, 4, 5, 8 × 10^k that is no less than `value`.
pub(super) fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10.0_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= value * 0.999_999)
        .unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_peak_survives_binning() {
        let mut points: Vec<Point> = (0..10_000).map(|i| (f64::from(i), Some(1.0))).collect();
        points[4_321].1 = Some(99.0);
        let bins = bins(&points, 10_000.0, 100);
        assert_eq!(bins.len(), 100);
        assert_eq!(bins[43].range.expect("filled").2, 99.0);
        assert_eq!(bins.iter().filter(|bin| bin.range.is_some_and(|r| r.2 > 1.0)).count(), 1);
    }

    #[test]
    fn a_bin_without_values_is_none() {
        let bins = bins(&[(0.0, Some(2.0)), (9.0, None)], 10.0, 2);
        assert_eq!(bins[0].range, Some((2.0, 2.0, 2.0)));
        assert_eq!(bins[1].range, None);
    }

    #[test]
    fn stretches_are_neither_too_short_nor_too_many() {
        for (end, count) in [(0.0, 1), (900.0, 3), (6_000.0, 24), (30_000.0, 100), (f64::MAX, 100)] {
            assert_eq!(stretches(end, 250.0, 100), count, "{end} ms");
        }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, end) in [(0.3, 0.4), (1.0, 1.0), (1.1, 2.0), (34.0, 40.0), (501.0, 800.0), (0.0, 1.0)] {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn rank_is_the_nearest() {
        let values = [-5.0, -2.0, 4.0, 7.0, 7.0, 18.0];
        assert_eq!(rank(&values, 0.5), Some(4.0));
        assert_eq!(rank(&values, 1.0), Some(18.0));
        assert_eq!(rank(&[], 0.5), None);
    }
}
