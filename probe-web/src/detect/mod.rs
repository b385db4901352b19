//! Which agents got worse, since when, and what they have in common. Pure: time comes in as the number of an interval, of five minutes.
//!
//! Each series (the runs of one agent against one endpoint, one figure of them) is compared with what is usual for it at that hour
//! of the week ([`Baseline`]). What is unusual adds up (CUSUM, Page 1954) until it is too much to be chance: over one series, and over
//! all series of a site, a provider, an endpoint, so that what is small and shared is heard, too. Beside it stands a rule of runs in the
//! manner of Shewhart's charts: three values in a row far out and close to each other are a new level, also where single values far out
//! are nothing new. How much is too much is the least
//! of what one series needs and what Benjamini and Hochberg's procedure (1995) allows where many are unusual at once. Whoever is
//! affected is then explained by the one group that fits best ([`explain`]), and each group is one incident.

mod baseline;
mod cusum;
mod explain;
mod recent;
#[cfg(test)]
mod simulated;
mod watch;
mod watched;

use serde::{Deserialize, Serialize};

pub use baseline::{Baseline, HOURS, LEAST, Unusual};
pub use cusum::Cusum;
pub use explain::{Evidence, Explained, Scope, explain};
pub use watch::{Change, Incident, Series, SeriesId, Settings, Value, Watch};

/// A figure that is watched. Higher is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// What came out: 0 where calls work, one half where they have trouble, 1 where they do not work, or nothing was reached.
    Verdict,
    /// 1 where no report came though one was due.
    Silence,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RttP50,
        Self::PdvUpP95,
        Self::PdvDownP95,
        Self::LossUp,
        Self::LossDown,
        Self::Verdict,
        Self::Silence,
    ];

    /// The name in the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RttP50 => "rtt_p50",
            Self::PdvUpP95 => "up.pdv_p95",
            Self::PdvDownP95 => "down.pdv_p95",
            Self::LossUp => "up.loss_ratio",
            Self::LossDown => "down.loss_ratio",
            Self::Verdict => "verdict",
            Self::Silence => "silence",
        }
    }

    /// The figure of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.name() == name)
    }

    /// Whether it is a delay in ms; a share from 0 to 1 otherwise.
    pub const fn is_delay(self) -> bool {
        matches!(self, Self::RttP50 | Self::PdvUpP95 | Self::PdvDownP95)
    }

    const fn is_share(self) -> bool {
        !self.is_delay()
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
    /// (The angle of 0.1 % is 0.032.)
    const fn least_scale(self) -> f64 {
        match self.is_share() {
            true => 0.032,
            false => 0.03,
        }
    }
}
