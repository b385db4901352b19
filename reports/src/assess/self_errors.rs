//! What the measurement itself adds to delays, and which figures that makes useless.

use super::causes;
use super::observed::Observed;
use super::uses::Figure;
use crate::metrics::host;
use crate::metrics::percentile::Quantile;
use crate::trace::Direction;
use crate::units::Micros;
use crate::verdict::{Band, Limits};

/// How much the measurement itself adds to delays, per direction, in milliseconds.
///
/// Only stamps taken by the program carry its own delay: then a departure may be off by how late the program was, and an
/// arrival by as much. With stamps from below the program at both ends, lateness is measured and not added.
pub(super) struct SelfErrors {
    up_ms: f64,
    down_ms: f64,
}

impl SelfErrors {
    /// A figure is useless when more than this share of its threshold is the measurement's own.
    const SHARE: f64 = 0.2;

    pub(super) fn of(observed: &Observed<'_>) -> Self {
        let lateness = observed.audio(Direction::Up).map(|stream| host::send_lateness(&stream.flow));
        let lateness = lateness.and_then(|sorted| sorted.at(Quantile::P99)).map_or(0.0, Micros::as_ms);
        let own = |direction| match observed.audio(direction) {
            Some(s) if causes::by_kernel(s.flow.tx_source) && causes::by_kernel(s.flow.rx_source) => 0.0,
            _ => lateness,
        };
        Self { up_ms: own(Direction::Up), down_ms: own(Direction::Down) }
    }

    /// The greater of both directions'.
    pub(super) fn worst_ms(&self) -> f64 {
        self.up_ms.max(self.down_ms)
    }

    /// Whether a figure of a use with these limits says nothing, because of what the measurement itself adds.
    pub(super) fn spoils(
        &self,
        figure: Figure,
        direction: Option<Direction>,
        band: &Band,
        limits: &Limits,
    ) -> bool {
        if figure == Figure::LateLoss {
            // Which packets come too late to be played, delays decide: what spoils these spoils that.
            let pdv = limits.pdv_p95_ms.as_ref();
            return pdv.is_some_and(|pdv| self.spoils(Figure::Pdv, direction, pdv, limits));
        }
        let error = match (figure, direction) {
            (Figure::Pdv, Some(Direction::Up)) => self.up_ms,
            (Figure::Pdv, Some(Direction::Down)) => self.down_ms,
            (Figure::Rtt | Figure::RttIncrease, _) => self.worst_ms(),
            _ => 0.0,
        };
        error > Self::SHARE * band.good
    }
}
