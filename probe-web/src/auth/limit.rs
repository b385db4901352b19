//! How often something may happen: token buckets, one for all and one for each agent.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Keys that are remembered; beyond that, those that are full again are forgotten, then all.
const KEYS: usize = 200_000;

/// So many at once, and so many a second after that.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// At once.
    pub burst: f64,
    /// A second.
    pub per_second: f64,
}

/// Counts what each key does.
#[derive(Debug)]
pub struct Limit<K> {
    rate: Rate,
    left: Mutex<HashMap<K, (f64, Timestamp)>>,
}

impl<K: Eq + Hash> Limit<K> {
    /// Nobody has done anything yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, left: Mutex::default() }
    }

    /// Whether this key may now; then it has.
    pub fn take(&self, key: K, now: Timestamp) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() >= KEYS {
            left.retain(|_, (some, since)| self.refilled(*some, *since, now) < self.rate.burst);
            if left.len() >= KEYS {
                left.clear();
            }
        }
        let (some, since) = left.entry(key).or_insert((self.rate.burst, now));
        *some = self.refilled(*some, *since, now);
        *since = now;
        let may = *some >= 1.0;
        if may {
            *some -= 1.0;
        }
        may
    }

    fn refilled(&self, some: f64, since: Timestamp, now: Timestamp) -> f64 {
        // A clock that goes back gives nothing.
        let passed = now.duration_since(since).as_secs_f64().max(0.0);
        (some + passed * self.rate.per_second).min(self.rate.burst)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::testing::start;

    #[test]
    fn a_burst_and_then_a_rate_each_key_for_itself() {
        let limit = Limit::new(Rate { burst: 3.0, per_second: 0.5 });
        let at = |seconds| start().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        let many = |key, now| (0..10).filter(|_| limit.take(key, now)).count();
        assert_eq!(many("a", at(0)), 3);
        assert_eq!(many("a", at(2)), 1);
        assert_eq!(many("b", at(2)), 3);
        assert_eq!(many("a", at(1)), 0, "a clock that goes back");
        assert_eq!(many("a", at(1_000)), 3);
    }
}
