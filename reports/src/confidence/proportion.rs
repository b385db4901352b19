//! A share of independent observations: intervals at a fixed number of them, and how many it takes.

use statrs::distribution::{Beta, Binomial, ContinuousCDF, DiscreteCDF, Normal};

use super::{Interval, real};

/// Wilson's score interval for `hits` of `n`, for display.
///
/// `centre = (p + z²/2n) / (1 + z²/n)`, `half = z √(p(1-p)/n + z²/4n²) / (1 + z²/n)` (Wilson 1927). Its coverage is close to
/// `level` on average; it may fall a little short at single points. `hits` above `n` counts as `n`.
pub fn wilson(hits: u64, n: u64, level: f64) -> Interval {
    if n == 0 {
        return Interval::UNKNOWN;
    }
    let (low, high) = wilson_real(real(hits.min(n)), real(n), level);
    Interval { low, high, n }
}

/// Wilson's score interval where the observations came in clumps: `effect` of them tell as much as one independent one would.
pub fn wilson_scaled(hits: u64, n: u64, effect: f64, level: f64) -> Interval {
    if n == 0 {
        return Interval::UNKNOWN;
    }
    let (low, high) = wilson_real(real(hits.min(n)) / effect, real(n) / effect, level);
    Interval { low, high, n }
}

/// Wilson's interval for counts that need not be whole (scaled by a design effect).
pub(super) fn wilson_real(hits: f64, n: f64, level: f64) -> (f64, f64) {
    let z = Normal::standard().inverse_cdf(f64::midpoint(1.0, level));
    let share = hits / n;
    let shrink = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / shrink;
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / shrink;
    // At the ends the formula gives 0 and 1 only up to rounding.
    let low = if hits <= 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if hits >= n { 1.0 } else { (centre + half).min(1.0) };
    (low, high)
}

/// Clopper and Pearson's interval for `hits` of `n`: never covers less than `level`, at a fixed `n` and with independence.
///
/// `[B(α/2; k, n-k+1), B(1-α/2; k+1, n-k)]` with Beta quantiles `B`. `hits` above `n` counts as `n`.
pub fn clopper_pearson(hits: u64, n: u64, level: f64) -> Interval {
    if n == 0 {
        return Interval::UNKNOWN;
    }
    let (low, high) = clopper_pearson_real(real(hits.min(n)), real(n), level);
    Interval { low, high, n }
}

/// Clopper and Pearson's interval for counts that need not be whole (scaled by a design effect).
pub(super) fn clopper_pearson_real(hits: f64, n: f64, level: f64) -> (f64, f64) {
    let tail = (1.0 - level) / 2.0;
    let misses = n - hits;
    let quantile = |a: f64, b: f64, at: f64| Beta::new(a, b).map(|beta| beta.inverse_cdf(at));
    let low = if hits > 0.0 { quantile(hits, misses + 1.0, tail).unwrap_or(0.0) } else { 0.0 };
    let high = if misses > 0.0 { quantile(hits + 1.0, misses, 1.0 - tail).unwrap_or(1.0) } else { 1.0 };
    (low, high)
}

/// How many observations in a row must be clean before the one-sided upper bound at `level` is at most `share`.
///
/// The exact form of the "rule of three" (3 / share): 299 for 1 %, 149 for 2 %, 2995 for 0.1 %. `None` unless
/// `0 < share < 1` and `0 < level < 1`.
pub fn clean_needed(share: f64, level: f64) -> Option<u64> {
    let inside = |x: f64| x > 0.0 && x < 1.0;
    (inside(share) && inside(level)).then(|| ceil((1.0 - level).ln() / (-share).ln_1p()))
}

/// A test of fixed size that tells two shares apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Observations.
    pub n: u64,
    /// The greater share is accepted when more than this many hit.
    pub accept_up_to: u64,
}

/// The least number of independent observations that tells share `p0` from the greater `p1` (one-sided, exact binomial).
///
/// `alpha`: chance to accept `p1` when `p0` holds; `beta`: chance to accept `p0` when `p1` holds. `None` unless
/// `0 < p0 < p1 < 1` and both error rates lie between 0 and 1, or when more than 10 million are needed.
pub fn sample_size(p0: f64, p1: f64, alpha: f64, beta: f64) -> Option<Plan> {
    const MOST: u64 = 10_000_000;
    let inside = |x: f64| x > 0.0 && x < 1.0;
    if !(inside(p0) && inside(p1) && p0 < p1 && inside(alpha) && inside(beta)) {
        return None;
    }
    // For each cut-off c there is a least n at which p1 gives more than c often enough, and a greatest n at which p0 seldom
    // does. The first c for which they meet is the answer.
    let mut n = 1;
    for accept_up_to in 0.. {
        while n <= MOST && Binomial::new(p1, n).ok()?.cdf(accept_up_to) > beta {
            n += 1;
        }
        if n > MOST {
            return None;
        }
        if Binomial::new(p0, n).ok()?.sf(accept_up_to) <= alpha {
            return Some(Plan { n, accept_up_to });
        }
    }
    None
}

/// Rounds a positive, finite float up to a count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and far below 2^53")]
pub(super) fn ceil(x: f64) -> u64 {
    x.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost, sent, Wilson and Clopper-Pearson in percent, from the literature's formulas computed elsewhere.
    const TABLE: [(u64, u64, [f64; 2], [f64; 2]); 7] = [
        (0, 100, [0.0, 3.70], [0.0, 3.62]),
        (1, 100, [0.18, 5.45], [0.03, 5.45]),
        (0, 500, [0.0, 0.76], [0.0, 0.74]),
        (5, 500, [0.43, 2.32], [0.33, 2.32]),
        (10, 1000, [0.54, 1.83], [0.48, 1.83]),
        (30, 3000, [0.70, 1.42], [0.68, 1.42]),
        (0, 3000, [0.0, 0.13], [0.0, 0.12]),
    ];

    #[test]
    fn intervals_match_the_table() {
        for (lost, sent, wilson_percent, exact_percent) in TABLE {
            for (interval, expected) in [
                (wilson(lost, sent, 0.95), wilson_percent),
                (clopper_pearson(lost, sent, 0.95), exact_percent),
            ] {
                let got = [interval.low * 100.0, interval.high * 100.0];
                for (got, expected) in got.into_iter().zip(expected) {
                    assert!((got - expected).abs() <= 0.005, "{lost}/{sent}: {got} instead of {expected}");
                }
                assert_eq!(interval.n, sent);
            }
        }
    }

    #[test]
    fn everything_lost_mirrors_nothing_lost() {
        for interval in [wilson, clopper_pearson] {
            let (none, all) = (interval(0, 100, 0.95), interval(100, 100, 0.95));
            assert!((none.high - (1.0 - all.low)).abs() < 1e-9);
            assert!(none.low.abs() < 1e-12 && (all.high - 1.0).abs() < 1e-12);
            assert_eq!(interval(0, 0, 0.95), Interval::UNKNOWN);
        }
    }

    /// The defining property of Clopper-Pearson, by summing the binomial itself.
    #[test]
    fn clopper_pearson_cuts_exact_tails() {
        let (k, n) = (7_u64, 240_u64);
        let interval = clopper_pearson(k, n, 0.95);
        let tail = |p: f64, from: u64, to: u64| {
            let mut mass = (1.0 - p).powi(240);
            let mut sum = 0.0;
            for i in 0..=n {
                if (from..=to).contains(&i) {
                    sum += mass;
                }
                mass *= real(n - i) / real(i + 1) * p / (1.0 - p);
            }
            sum
        };
        assert!((tail(interval.low, k, n) - 0.025).abs() < 1e-6);
        assert!((tail(interval.high, 0, k) - 0.025).abs() < 1e-6);
    }

    #[test]
    fn rule_of_three() {
        let needed = [0.01, 0.02, 0.001].map(|share| clean_needed(share, 0.95));
        assert_eq!(needed, [Some(299), Some(149), Some(2995)]);
        assert_eq!(clean_needed(0.0, 0.95), None);
    }

    /// Least sizes, from binomial tails summed elsewhere term by term. METRICS.md §4.1 tabulates sizes that suffice; two of
    /// them (905, 181) are the least, the others a little more than needed.
    #[test]
    fn sample_sizes_are_the_least_that_suffice() {
        let table = [
            (0.01, 0.02, 0.05, 0.05, 1567, 22, 1573),
            (0.01, 0.02, 0.05, 0.20, 905, 14, 905),
            (0.01, 0.02, 0.01, 0.01, 3094, 44, 3166),
            (0.001, 0.01, 0.05, 0.05, 628, 2, 630),
            (0.01, 0.05, 0.05, 0.05, 181, 4, 181),
            (0.005, 0.01, 0.05, 0.05, 3137, 22, 3259),
        ];
        for (p0, p1, alpha, beta, n, accept_up_to, tabulated) in table {
            assert_eq!(sample_size(p0, p1, alpha, beta), Some(Plan { n, accept_up_to }), "{p0} {p1}");
            assert!(n <= tabulated);
        }
        assert_eq!(sample_size(0.02, 0.01, 0.05, 0.05), None);
    }
}
