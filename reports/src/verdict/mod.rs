//! Will it work, and if not, whose fault is it: profiles, rules, causes, and their words.

mod failure;
mod profile;
mod rules;
pub mod words;

pub use failure::TargetFailure;
pub use profile::{Band, Limits, Profile, ProfileError};
pub use rules::{Interval, Judgement, Reach, exit_code, rank, worse};

use crate::schema::{State, Verdict};

/// Whether nothing that a longer run could find would change the verdict, so that it may stop.
///
/// Every use asked for is decided with certainty. Once the verdict is blocked for certain, a use that is certainly not
/// ready needs no finer answer.
pub fn decided(verdict: &Verdict) -> bool {
    let blocked = verdict.overall == State::Blocked && verdict.certain;
    let mut asked = verdict.uses.values().filter(|u| u.asked && u.state != State::NotTested).peekable();
    asked.peek().is_some()
        && asked.all(|u| u.certain || (blocked && matches!(u.state, State::Blocked | State::Degraded)))
}
