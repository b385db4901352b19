//! Where a quantile lies, without assuming a distribution.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::loss::{self, LossRuns};

/// Where a quantile probably lies, in the samples' unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds<T> {
    /// Lower end; `None`: too few samples to bound it from below.
    pub low: Option<T>,
    /// Upper end; `None`: too few samples to bound it from above ("p99 is at least `low`").
    pub high: Option<T>,
    /// Samples behind it.
    pub n: u64,
}

/// Ranks (from 1) of the order statistics that bound quantile `q` of `n` independent samples, two-sided.
///
/// The greatest `l` with P(X < l) ≤ α/2 and the least `u` with P(X < u) ≥ 1 - α/2, X being Binomial(n, q). `None` where
/// `n` is too small for that end, and for both when `q` or `level` is outside 0..1 (exclusive).
pub fn ranks(n: u64, q: f64, level: f64) -> (Option<u64>, Option<u64>) {
    let inside = |x: f64| x > 0.0 && x < 1.0;
    let (true, true, Ok(below)) = (inside(q), inside(level), Binomial::new(q, n)) else {
        return (None, None);
    };
    let tail = (1.0 - level) / 2.0;
    // Both predicates are monotone in the rank.
    let low = last(n, |rank| below.cdf(rank - 1) <= tail);
    let high = last(n, |rank| below.cdf(rank - 1) < 1.0 - tail).map_or(1, |rank| rank + 1);
    (low, (high <= n).then_some(high))
}

/// The least number of independent samples that bounds quantile `q` from above, two-sided at `level`: 72 for p95, 368 for
/// p99, 3688 for p99.9 at 95 %. `None` unless `q` and `level` lie between 0 and 1.
pub fn least_samples(q: f64, level: f64) -> Option<u64> {
    super::proportion::clean_needed(1.0 - q, f64::midpoint(1.0, level))
}

/// Where quantile `q` of independent samples lies: for display, at the end of a run. `sorted` ascends.
pub fn bounds<T: Copy + Ord>(sorted: &[T], q: f64, level: f64) -> Bounds<T> {
    debug_assert!(sorted.is_sorted(), "order statistics need order");
    let n = sorted.len() as u64;
    let (low, high) = ranks(n, q, level);
    let at = |rank: u64| usize::try_from(rank - 1).ok().and_then(|i| sorted.get(i)).copied();
    Bounds { low: low.and_then(at), high: high.and_then(at), n }
}

/// Where quantile `q` lies, for verdicts: holds at every look, and under queues, which raise delays in runs.
///
/// The quantile is at most `t` exactly when the share of samples above `t` is at most `1 - q`; whether it is, is
/// [`loss::verdict_interval`]'s question, with "above `t`" in place of "lost". So runs of high delays count for as little as
/// runs of losses do. `in_order` is in order of sending.
pub fn verdict_bounds<T: Copy + Ord>(in_order: &[T], q: f64, level: f64) -> Bounds<T> {
    let mut values = in_order.to_vec();
    values.sort_unstable();
    values.dedup();
    let above = |t: T| {
        let runs: LossRuns = in_order.iter().map(|x| *x > t).collect();
        loss::verdict_interval(&runs, level)
    };
    let beyond = 1.0 - q;
    // Fewer samples lie above a higher value, so both predicates change once.
    let high = values.partition_point(|t| above(*t).high > beyond);
    let low = values.partition_point(|t| above(*t).low > beyond);
    Bounds {
        // More than `1 - q` of all lie above values[low - 1], so the quantile does too.
        low: low.checked_sub(1).map(|i| values[i]),
        high: values.get(high).copied(),
        n: in_order.len() as u64,
    }
}

/// The last of 1..=n for which `holds`, which holds up to a point and then no more; `None` if it holds nowhere.
fn last(n: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    let (mut yes, mut no) = (0, n + 1);
    while no - yes > 1 {
        let middle = u64::midpoint(yes, no);
        if holds(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    (yes > 0).then_some(yes)
}

#[cfg(test)]
mod coverage_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_match_the_table() {
        let table = [
            (500, 0.95, Some(465), Some(485)),
            (500, 0.99, Some(490), Some(500)),
            (1000, 0.50, Some(469), Some(532)),
            (1000, 0.95, Some(936), Some(964)),
            (1000, 0.99, Some(983), Some(997)),
            (3000, 0.95, Some(2826), Some(2874)),
            (3000, 0.99, Some(2959), Some(2981)),
            (3000, 0.999, Some(2993), None),
        ];
        for (n, q, low, high) in table {
            assert_eq!(ranks(n, q, 0.95), (low, high), "n = {n}, q = {q}");
        }
    }

    #[test]
    fn too_few_samples_have_no_upper_bound() {
        for (q, least) in [(0.95, 72), (0.99, 368), (0.999, 3688)] {
            assert_eq!(least_samples(q, 0.95), Some(least));
            assert_eq!(ranks(least - 1, q, 0.95).1, None);
            assert_eq!(ranks(least, q, 0.95).1, Some(least));
        }
        assert_eq!(bounds::<i64>(&[], 0.5, 0.95), Bounds { low: None, high: None, n: 0 });
        assert_eq!(bounds(&[7], 0.5, 0.95), Bounds { low: None, high: None, n: 1 });
    }

    #[test]
    fn bounds_are_samples() {
        let sorted: Vec<i64> = (1..=500).collect();
        assert_eq!(bounds(&sorted, 0.95, 0.95), Bounds { low: Some(465), high: Some(485), n: 500 });
    }

    /// Bounds for verdicts hold wherever the others do, and then some.
    #[test]
    fn verdict_bounds_enclose_the_displayed_ones() {
        // 0..1000 in an order that looks random: 387 and 1000 have no common factor.
        let in_order: Vec<i64> = (0..1_000).map(|i| i * 387 % 1_000).collect();
        let mut sorted = in_order.clone();
        sorted.sort_unstable();
        for q in [0.5, 0.95] {
            let (verdict, shown) = (verdict_bounds(&in_order, q, 0.95), bounds(&sorted, q, 0.95));
            assert!(verdict.low.expect("enough") < shown.low.expect("enough"), "{q}: {verdict:?} {shown:?}");
            assert!(
                verdict.high.expect("enough") > shown.high.expect("enough"),
                "{q}: {verdict:?} {shown:?}"
            );
        }
        assert_eq!(verdict_bounds(&in_order[..20], 0.95, 0.95).high, None);
        assert_eq!(verdict_bounds::<i64>(&[], 0.95, 0.95), Bounds { low: None, high: None, n: 0 });
    }

    /// A fifth of the run in one queue: the same values say less than when they are strewn.
    #[test]
    fn a_queue_counts_as_one_event() {
        let queue: Vec<i64> = (0..1_000).map(|i| if (400..600).contains(&i) { 300 } else { 10 }).collect();
        let strewn: Vec<i64> = (0..1_000).map(|i| if i % 5 == 0 { 300 } else { 10 }).collect();
        assert_eq!(verdict_bounds(&strewn, 0.95, 0.95).low, Some(10), "certainly above 10");
        assert_eq!(verdict_bounds(&queue, 0.95, 0.95).low, None);
    }
}
