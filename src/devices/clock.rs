//! The clock of device tests. Points are microseconds since an anchor; two devices of one run share it.

use std::time::Instant;

use greenroom_reports::units::Micros;

/// A monotonic clock, counted from its anchor. Copies share the anchor.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Instant,
}

impl Clock {
    /// Sets the anchor.
    #[expect(clippy::disallowed_methods, reason = "the one place where devices read the time")]
    pub fn start() -> Self {
        Self { anchor: Instant::now() }
    }

    /// Counts from `anchor`, so that what devices say can be laid beside what others measured.
    pub fn at(anchor: Instant) -> Self {
        Self { anchor }
    }

    /// The time since the anchor.
    #[expect(clippy::disallowed_methods, reason = "the one place where devices read the time")]
    pub fn now(&self) -> Micros {
        Micros::from_duration(Instant::now().saturating_duration_since(self.anchor))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::start()
    }
}
