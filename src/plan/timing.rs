//! How long each part of a check may take.

use greenroom_reports::schema::Mode;
use greenroom_reports::units::{DataSize, Micros};

use super::{DEEP_MAX_BYTES, QUICK_MAX_BYTES};

/// How the time of a check is shared out.
pub(super) struct Timing {
    pub(super) reach: Micros,
    pub(super) drain: Micros,
    /// Audio alone before media.
    pub(super) idle: Micros,
    /// One rung at most.
    pub(super) rung_max: Micros,
    /// Whether the capacity is searched after media.
    pub(super) search: bool,
    /// Audio alone at the end.
    pub(super) settle: Micros,
    /// All phases together.
    pub(super) traffic: Micros,
    /// How much longer the last rung may go on where the answer hangs.
    pub(super) more: Micros,
    pub(super) max_bytes: DataSize,
}

/// The times of a mode.
pub(super) const fn timing(mode: Mode) -> Timing {
    match mode {
        // 1 + 4.5 + 0.5 = 6 s, and up to 13.5 s more where the answer hangs. 225 audio packets without a loss bound the loss below 2 % with 95 % confidence, which takes
        // 183 of them; 75 before any load bound a 95th percentile, which takes 72. A straggler is lost after 300 ms at the earliest.
        Mode::Quick => Timing {
            reach: Micros::from_secs(1),
            drain: Micros::from_millis(500),
            idle: Micros::from_millis(1_500),
            rung_max: Micros::from_secs(3),
            search: false,
            settle: Micros::ZERO,
            traffic: Micros::from_millis(4_500),
            more: Micros::from_millis(13_500),
            max_bytes: QUICK_MAX_BYTES,
        },
        // 3 + 23.5 + 3.5 = 30 s. A straggler is lost after Tmax = 3 s.
        Mode::Deep => Timing {
            reach: Micros::from_secs(3),
            drain: Micros::from_millis(3_500),
            idle: Micros::from_secs(4),
            rung_max: Micros::from_secs(5),
            search: true,
            settle: Micros::from_millis(1_500),
            traffic: Micros::from_millis(23_500),
            more: Micros::ZERO,
            max_bytes: DEEP_MAX_BYTES,
        },
    }
}
