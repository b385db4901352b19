//! Sums of what is unusual.

/// An upward CUSUM over scores (Page 1954): the sum of what exceeds the allowance, never below zero.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cusum {
    sum: f32,
    /// Intervals since it was last zero.
    rising_for: u16,
}

impl Cusum {
    /// Half of the least shift that is looked for, in standard deviations: 2.
    pub const ALLOWANCE: f64 = 1.0;

    /// Takes in one score.
    pub fn add(&mut self, score: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "a hundredth is enough")]
        let sum = (f64::from(self.sum) + score - Self::ALLOWANCE) as f32;
        *self = match sum > 0.0 {
            true => Self { sum, rising_for: self.rising_for.saturating_add(1) },
            false => Self::default(),
        };
    }

    /// The sum.
    pub fn sum(&self) -> f64 {
        f64::from(self.sum)
    }

    /// For how many scores it has been above zero: the change lies where it began to rise.
    pub fn rising_for(&self) -> u16 {
        self.rising_for
    }

    /// The probability to find a sum like this, or a greater one, where nothing has changed: of a normal random walk with this
    /// drift (Siegmund 1985, with his correction of 0.583 for the overshoot at each end).
    pub fn p_value(&self) -> f64 {
        if self.sum <= 0.0 {
            return 1.0;
        }
        (-2.0 * Self::ALLOWANCE * (self.sum() + 2.0 * 0.583)).exp().min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_with_what_is_unusual_and_starts_again_from_nothing() {
        let mut cusum = Cusum::default();
        for score in [0.3, -2.0, 0.9] {
            cusum.add(score);
            assert_eq!((cusum.sum(), cusum.rising_for(), cusum.p_value()), (0.0, 0, 1.0));
        }
        for (score, sum, rising_for) in [(3.0, 2.0, 1), (0.5, 1.5, 2), (2.0, 2.5, 3), (-2.0, 0.0, 0)] {
            cusum.add(score);
            assert!((cusum.sum() - sum).abs() < 1e-6 && cusum.rising_for() == rising_for, "{cusum:?}");
        }
    }

    /// By Siegmund's approximation a one-sided CUSUM with allowance 1 and threshold 3 runs for 2,076 scores on average where nothing
    /// changes, and for 3.7 under a shift of 2.
    #[test]
    fn its_false_alarms_are_as_rare_as_the_theory_says() {
        use rand::SeedableRng as _;
        use rand_distr::Distribution as _;

        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        let normal = rand_distr::StandardNormal;
        let mut run = |shift: f64| {
            let mut cusum = Cusum::default();
            let mut steps = 0_u32;
            while cusum.sum() <= 3.0 {
                let noise: f64 = normal.sample(&mut random);
                cusum.add(noise + shift);
                steps += 1;
            }
            f64::from(steps)
        };
        let mean =
            |runs: u32, run: &mut dyn FnMut() -> f64| (0..runs).map(|_| run()).sum::<f64>() / f64::from(runs);
        let (quiet, shifted) = (mean(2_000, &mut || run(0.0)), mean(2_000, &mut || run(2.0)));
        assert!((1_700.0..2_300.0).contains(&quiet), "{quiet}");
        assert!((3.5..5.0).contains(&shifted), "{shifted}");
    }
}
