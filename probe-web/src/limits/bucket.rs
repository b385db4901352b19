//! How often something may happen: a token bucket for each key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// So many at once, and so many a second after that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// At once.
    pub(crate) burst: f64,
    /// A second.
    pub(crate) per_second: f64,
}

/// What each key has left.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    known: usize,
    left: Mutex<HashMap<K, (f64, Timestamp)>>,
}

impl<K: Hash + Eq> Buckets<K> {
    /// Nobody has done anything yet. So many keys are remembered: beyond that, those that may do everything again are forgotten, then all.
    pub(crate) fn new(rate: Rate, known: usize) -> Self {
        Self { rate, known, left: Mutex::default() }
    }

    /// Takes so many, if at least one is left. Otherwise says for how many seconds none is.
    pub(crate) fn take(&self, key: K, n: f64, now: Timestamp) -> Result<(), u64> {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= self.known && !all.contains_key(&key) {
            all.retain(|_, (left, at)| self.refilled(*left, *at, now) < self.rate.burst);
            if all.len() >= self.known {
                all.clear();
            }
        }
        let (left, at) = all.entry(key).or_insert((self.rate.burst, now));
        let filled = self.refilled(*left, *at, now);
        if filled < 1.0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast from a float saturates"
            )]
            return Err((((1.0 - filled) / self.rate.per_second).ceil() as u64).max(1));
        }
        (*left, *at) = (filled - n, now);
        Ok(())
    }

    fn refilled(&self, left: f64, at: Timestamp, now: Timestamp) -> f64 {
        // A clock that goes back gives nothing.
        let passed = now.duration_since(at).as_secs_f64().max(0.0);
        self.rate.per_second.mul_add(passed, left).min(self.rate.burst)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::testing::start;

    #[test]
    fn so_many_at_once_and_so_many_a_second() {
        let buckets = Buckets::new(Rate { per_second: 2.0, burst: 4.0 }, 10);
        let at = |ms| start().checked_add(SignedDuration::from_millis(ms)).unwrap();
        assert!((0..4).all(|_| buckets.take("a", 1.0, start()).is_ok()));
        assert_eq!(buckets.take("a", 1.0, start()), Err(1));
        assert!(buckets.take("b", 1.0, start()).is_ok(), "another one's");
        assert!(buckets.take("a", 1.0, at(500)).is_ok());
        assert!(buckets.take("a", 1.0, at(500)).is_err());
        assert!((0..4).all(|_| buckets.take("a", 1.0, at(60_000)).is_ok()));
        assert!(buckets.take("a", 1.0, at(60_000)).is_err(), "no more than at once");
        assert!(buckets.take("a", 1.0, at(0)).is_err(), "a clock that went back gives nothing");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let buckets = Buckets::new(Rate { per_second: 1.0, burst: 10.0 }, 1_000);
        for n in 0..2_500 {
            let _ = buckets.take(n, 1.0, start());
        }
        assert!(buckets.left.lock().unwrap().len() <= 1_000);
    }
}
