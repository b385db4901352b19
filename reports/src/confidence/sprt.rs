//! Wald's sequential probability ratio test of a share of independent observations.
//!
//! The shortest test on average that tells two given shares apart, but for *independent* losses only: at a true 1 % in
//! bursts of 2 to 5 packets it calls 2 % in a fifth of runs instead of a twentieth. Verdicts therefore rest on
//! [`super::loss::verdict_interval`]; this one serves planning, comparison, and streams known to be independent.

/// A test of share `p0` against the greater share `p1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sprt {
    per_hit: f64,
    per_miss: f64,
    accept_p1: f64,
    accept_p0: f64,
    sum: f64,
}

/// What a test says so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Too early to tell.
    Continue,
    /// The lesser share.
    AcceptP0,
    /// The greater share.
    AcceptP1,
}

impl Sprt {
    /// A test with error rates `alpha` (accepting `p1` although `p0` holds) and `beta` (the reverse); `None` unless
    /// `0 < p0 < p1 < 1`, both rates are positive and together below 1.
    pub fn new(p0: f64, p1: f64, alpha: f64, beta: f64) -> Option<Self> {
        let valid = p0 > 0.0 && p0 < p1 && p1 < 1.0 && alpha > 0.0 && beta > 0.0 && alpha + beta < 1.0;
        valid.then(|| Self {
            per_hit: (p1 / p0).ln(),
            per_miss: ((1.0 - p1) / (1.0 - p0)).ln(),
            accept_p1: ((1.0 - beta) / alpha).ln(),
            accept_p0: (beta / (1.0 - alpha)).ln(),
            sum: 0.0,
        })
    }

    /// The logarithms of the likelihood ratio at which `p0` and `p1` are accepted.
    pub const fn boundaries(&self) -> (f64, f64) {
        (self.accept_p0, self.accept_p1)
    }

    /// Takes one observation and says where that leaves the test. Feeding it after a decision is allowed and may undo it: the
    /// caller stops at the first.
    pub fn push(&mut self, hit: bool) -> Decision {
        self.sum += if hit { self.per_hit } else { self.per_miss };
        if self.sum >= self.accept_p1 {
            Decision::AcceptP1
        } else if self.sum <= self.accept_p0 {
            Decision::AcceptP0
        } else {
            Decision::Continue
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean_until_accepted(p0: f64, p1: f64) -> usize {
        let mut test = Sprt::new(p0, p1, 0.05, 0.05).expect("valid");
        1 + (0..10_000).take_while(|_| test.push(false) == Decision::Continue).count()
    }

    #[test]
    fn boundaries_are_walds() {
        let (low, high) = Sprt::new(0.01, 0.02, 0.05, 0.05).expect("valid").boundaries();
        assert!((low + 2.944).abs() < 5e-4 && (high - 2.944).abs() < 5e-4, "{low} {high}");
    }

    #[test]
    fn clean_links_are_accepted_after_the_known_counts() {
        assert_eq!(clean_until_accepted(0.01, 0.02), 291);
        assert_eq!(clean_until_accepted(0.001, 0.01), 326);
        assert_eq!(clean_until_accepted(0.01, 0.05), 72);
    }

    #[test]
    fn losses_in_a_row_are_accepted_as_the_greater_share() {
        let mut test = Sprt::new(0.01, 0.02, 0.05, 0.05).expect("valid");
        // Five times ln 2 is 3.47, four times 2.77.
        let decisions: Vec<_> = (0..5).map(|_| test.push(true)).collect();
        assert_eq!(decisions[3], Decision::Continue);
        assert_eq!(decisions[4], Decision::AcceptP1);
    }

    #[test]
    fn nonsense_is_refused() {
        for (p0, p1, alpha, beta) in [
            (0.02, 0.01, 0.05, 0.05),
            (0.0, 0.1, 0.05, 0.05),
            (0.1, 0.2, 0.6, 0.5),
            (f64::NAN, 0.1, 0.05, 0.05),
        ] {
            assert_eq!(Sprt::new(p0, p1, alpha, beta), None);
        }
    }
}
