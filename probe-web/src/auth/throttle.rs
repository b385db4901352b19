//! How often a password may be tried.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Wrong passwords for one name before it has to wait.
const TRIES: u32 = 8;

/// How long they are remembered.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Names that are remembered; beyond that, those whose time is over are forgotten, then all.
const NAMES: usize = 10_000;

/// Counts wrong passwords by name. By name and not by address: behind a proxy all addresses are the same, and a botnet has many.
/// Who knows a name can so keep its owner out for a quarter of an hour; sessions that are open stay open.
#[derive(Debug, Default)]
pub struct Throttle {
    wrong: Mutex<HashMap<String, (u32, Timestamp)>>,
}

impl Throttle {
    /// Whether a password for this name may be tried now.
    pub fn may_try(&self, name: &str, now: Timestamp) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get(name).is_none_or(|(tries, since)| *tries < TRIES || is_over(*since, now))
    }

    /// Notes a wrong one.
    pub fn failed(&self, name: &str, now: Timestamp) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= NAMES {
            wrong.retain(|_, (_, since)| !is_over(*since, now));
            if wrong.len() >= NAMES {
                wrong.clear();
            }
        }
        let (tries, since) = wrong.entry(name.to_owned()).or_insert((0, now));
        if is_over(*since, now) {
            (*tries, *since) = (0, now);
        }
        *tries += 1;
    }

    /// Forgets the wrong ones after a right one.
    pub fn succeeded(&self, name: &str) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

fn is_over(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) > WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn a_name_waits_after_some_and_not_for_ever() {
        let throttle = Throttle::default();
        let now = start();
        for _ in 0..TRIES {
            assert!(throttle.may_try("ann", now));
            throttle.failed("ann", now);
        }
        assert!(!throttle.may_try("ann", now));
        assert!(throttle.may_try("bob", now));
        let later = now.checked_add(SignedDuration::from_mins(16)).unwrap();
        assert!(throttle.may_try("ann", later));
        throttle.failed("ann", later);
        assert!(throttle.may_try("ann", later));
        throttle.succeeded("ann");
        assert!(throttle.may_try("ann", later));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..3 * NAMES {
            throttle.failed(&n.to_string(), start());
        }
        assert!(throttle.wrong.lock().unwrap().len() <= NAMES);
    }
}
