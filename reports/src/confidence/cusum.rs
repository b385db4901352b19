//! A cumulative sum that tells when the mean of a series has moved (Page 1954): small changes that last, sooner than a
//! threshold on single values would.

/// A two-sided test of standardized observations: each is the value less its usual one, over its usual spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cusum {
    allowance: f64,
    threshold: f64,
    above: f64,
    below: f64,
}

/// What a test says so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing has moved as far as can be told.
    None,
    /// The mean is greater than it was.
    Up,
    /// The mean is less than it was.
    Down,
}

impl Cusum {
    /// A test that ignores deviations up to `allowance` (0.5 finds a change by one spread soonest) and tells a change once
    /// what exceeds it adds up to `threshold`; `None` unless both are positive numbers.
    ///
    /// With an allowance of 0.5, independent normal observations raise a false alarm once in 168 at threshold 4, once in 465 at 5
    /// (Montgomery, Introduction to Statistical Quality Control, table 9.4).
    pub fn new(allowance: f64, threshold: f64) -> Option<Self> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        (positive(allowance) && positive(threshold)).then_some(Self {
            allowance,
            threshold,
            above: 0.0,
            below: 0.0,
        })
    }

    /// Takes one observation and says where that leaves the test. One that is no number is left out.
    pub fn push(&mut self, standardized: f64) -> Change {
        if !standardized.is_nan() {
            self.above = (self.above + standardized - self.allowance).max(0.0);
            self.below = (self.below - standardized - self.allowance).max(0.0);
        }
        if self.above > self.threshold {
            Change::Up
        } else if self.below > self.threshold {
            Change::Down
        } else {
            Change::None
        }
    }
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{ContinuousCDF, Normal};

    use super::super::simulated::Rng;
    use super::*;

    /// How many observations of this mean it takes until a change is told, on average over 4,000 series.
    fn run_length(threshold: f64, mean: f64) -> f64 {
        let normal = Normal::new(mean, 1.0).expect("a distribution");
        let mut rng = Rng(7);
        let runs = 4_000;
        let total: u32 = (0..runs)
            .map(|_| {
                let mut test = Cusum::new(0.5, threshold).expect("positive");
                (1..)
                    .find(|_| test.push(normal.inverse_cdf(rng.share())) != Change::None)
                    .expect("sooner or later")
            })
            .sum();
        f64::from(total) / f64::from(runs)
    }

    #[test]
    fn run_lengths_are_those_of_the_textbook() {
        for (threshold, mean, expected) in [
            (4.0, 0.0, 168.0),
            (5.0, 0.0, 465.0),
            (4.0, 1.0, 8.38),
            (5.0, 1.0, 10.4),
            (4.0, 2.0, 3.34),
            (5.0, 2.0, 4.01),
        ] {
            let found = run_length(threshold, mean);
            assert!((found / expected - 1.0).abs() < 0.05, "{threshold}, {mean}: {found}, not {expected}");
        }
    }

    #[test]
    fn it_adds_up_what_exceeds_the_allowance_on_either_side() {
        let mut test = Cusum::new(0.5, 2.0).expect("positive");
        // 1.0, 2.0, then 2.5 exceeds 2.
        assert_eq!([1.5, 1.5, 1.0].map(|x| test.push(x)), [Change::None, Change::None, Change::Up]);
        let mut test = Cusum::new(0.5, 2.0).expect("positive");
        // 1.5, back to 0.5, 2.5.
        assert_eq!([-2.0, 0.5, -2.5].map(|x| test.push(x)), [Change::None, Change::None, Change::Down]);
    }

    #[test]
    fn nonsense_is_refused_and_no_number_changes_nothing() {
        for (allowance, threshold) in [(0.0, 4.0), (0.5, -1.0), (f64::NAN, 4.0), (0.5, f64::INFINITY)] {
            assert_eq!(Cusum::new(allowance, threshold), None);
        }
        let mut test = Cusum::new(0.5, 4.0).expect("positive");
        let before = test;
        assert_eq!((test.push(f64::NAN), test), (Change::None, before));
    }
}
