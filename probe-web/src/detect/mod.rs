//! Which agents got worse, since when, and what they have in common. Pure: time comes in as the number of an interval.
//!
//! Each series (the runs of one agent against one endpoint, one figure of them) is compared with what is usual for it at that hour
//! of the week ([`Baseline`]). What is unusual adds up (CUSUM, Page 1954) until it is too much to be chance: over one series, and over
//! all series of a site, a provider, an endpoint, so that what is small and shared is heard, too. How much is too much is the least
//! of what one series needs and what Benjamini and Hochberg's procedure (1995) allows where many are unusual at once. Whoever is
//! affected is then explained by the one group that fits best ([`explain`]), and each group is one incident.

mod baseline;
mod cusum;
mod explain;
#[cfg(test)]
mod simulated;
mod watch;

pub use baseline::{Baseline, CLIP, HOURS, LEAST};
pub use cusum::Cusum;
pub use explain::{Evidence, Explained, Scope, explain};
pub use watch::{Change, Incident, Series, SeriesId, Settings, Value, Watch};

/// A figure that is watched. Higher is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Figure {
    /// Median round trip, ms.
    RttP50,
    /// Packet delay variation, 95th percentile, of what is sent, ms.
    PdvUpP95,
    /// The same of what is received, ms.
    PdvDownP95,
    /// Share lost of what is sent.
    LossUp,
    /// Share lost of what is received.
    LossDown,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::RttP50, Self::PdvUpP95, Self::PdvDownP95, Self::LossUp, Self::LossDown];

    /// The name in the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RttP50 => "rtt_p50",
            Self::PdvUpP95 => "up.pdv_p95",
            Self::PdvDownP95 => "down.pdv_p95",
            Self::LossUp => "up.loss_ratio",
            Self::LossDown => "down.loss_ratio",
        }
    }

    const fn is_share(self) -> bool {
        matches!(self, Self::LossUp | Self::LossDown)
    }

    /// On a scale on which equal steps weigh alike: the logarithm of delays (from 1 ms), the angle of shares.
    fn evened(self, value: f64) -> f64 {
        match self.is_share() {
            true => value.clamp(0.0, 1.0).sqrt().asin(),
            false => value.max(0.0).ln_1p(),
        }
    }

    /// Back from there.
    fn measured(self, evened: f64) -> f64 {
        match self.is_share() {
            true => evened.sin().powi(2),
            false => evened.exp_m1(),
        }
    }

    /// Differences below this are nobody's trouble, however steady a series is: 3 % of a delay; a loss of 0.1 % where there was none.
    const fn least_scale(self) -> f64 {
        match self.is_share() {
            true => 0.032,
            false => 0.03,
        }
    }
}
