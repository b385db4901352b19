//! By what services, names and clocks are found at fault: data with its sources, in `reports/profiles/services-1.toml`.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::signals::Sourced;

const SHIPPED: &str = include_str!("../../profiles/services-1.toml");

/// The limits that ship with this crate: version 1.
pub(super) fn limits() -> &'static Limits {
    static READ: OnceLock<Limits> = OnceLock::new();
    READ.get_or_init(|| {
        let limits: Limits =
            toml::from_str(SHIPPED).expect("the shipped limits are valid, a test reads them");
        debug_assert_eq!(limits.version, 1, "another version is another meaning");
        limits
    })
}

/// The file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    version: u32,
    /// From a request to the first octet of its answer: longer is slow.
    pub(super) slow_answer_ms: Sourced,
    /// How many times what connecting takes, so that it is the service that is slow and not the way.
    pub(super) slow_answer_round_trips: Sourced,
    /// The median of a name server's answers: longer is slow.
    pub(super) slow_names_ms: Sourced,
    /// Share of the questions to a name server that may be lost.
    pub(super) lost_questions_ratio: Sourced,
    /// A clock farther off than this is wrong.
    pub(super) clock_off_ms: Sourced,
    /// A clock farther off than this gets nobody in.
    pub(super) clock_off_limit_ms: Sourced,
    /// A certificate with fewer days left should have been renewed.
    pub(super) certificate_ends_days: Sourced,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_limits_are_valid() {
        let limits = limits();
        assert!(limits.clock_off_ms.value < limits.clock_off_limit_ms.value);
        assert!(!limits.slow_names_ms.source.is_empty());
    }
}
