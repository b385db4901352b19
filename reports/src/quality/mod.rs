//! What a listener would say: the E-model, fed with what was measured.
//!
//! The three models of the family rate on scales of different length (narrowband 0..=100, wideband 0..=129, fullband
//! 0..=148): ratings R are **not comparable** across them. Where no impairment values are published for a codec, the answer is
//! [`Unknown`] with the reason, never a guess.

mod codec;
mod emodel;
pub mod video;

pub use codec::{Codec, Entry, Unknown};
pub use emodel::{Components, Narrowband, effective_impairment, fullband_rating, mos, wideband_rating};

use crate::units::{Micros, Ratio};

/// A model of the E-model family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Model {
    /// ITU-T G.107, R 0..=100.
    Narrowband,
    /// ITU-T G.107.1, R 0..=129.
    Wideband,
    /// ITU-T G.107.2, R 0..=148.
    Fullband,
}

impl Model {
    /// The recommendation's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Narrowband => "G.107",
            Self::Wideband => "G.107.1",
            Self::Fullband => "G.107.2",
        }
    }

    /// The greatest rating of its scale.
    pub const fn scale(self) -> f64 {
        match self {
            Self::Narrowband => 100.0,
            Self::Wideband => 129.0,
            Self::Fullband => 148.0,
        }
    }
}

/// What a conversation would be held over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Round-trip time of the network.
    pub rtt: Micros,
    /// Delay that the playout buffer adds.
    pub buffer: Micros,
    /// Share of packets lost or too late to be played.
    pub lost_or_late: Ratio,
    /// Mean run of losses over the mean expected under random loss; `None` where there was none to measure. Below 1 counts
    /// as 1.
    pub burst_ratio: Option<f64>,
}

/// A listener's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Rating, on `model`'s scale.
    pub r: f64,
    /// Mean opinion score, conversational quality, 1..=4.5.
    pub mos: f64,
    /// The model.
    pub model: Model,
    /// Where the codec's values come from.
    pub source: &'static str,
    /// Mouth to ear: half the round trip, the buffer, the codec's frame and look-ahead.
    pub mouth_to_ear: Micros,
}

/// Rates a conversation.
///
/// # Errors
/// [`Unknown`] when no impairment values are published for this codec at this rate, or none for loss although there was
/// some.
pub fn rate(codec: Codec, conditions: &Conditions) -> Result<Score, Unknown> {
    let entry = codec.entry()?;
    let half_rtt = Micros::new(conditions.rtt.get().max(0) / 2);
    let mouth_to_ear = half_rtt + conditions.buffer.max(Micros::ZERO) + entry.frame + entry.look_ahead;
    let loss_percent = conditions.lost_or_late.percent();
    let ie = entry.impairment(codec, loss_percent, conditions.burst_ratio.unwrap_or(1.0).max(1.0))?;
    let delay_ms = mouth_to_ear.as_ms();
    let r = match entry.model {
        Model::Narrowband => Narrowband::with_delay(delay_ms).components(ie).r,
        Model::Wideband => wideband_rating(delay_ms, ie),
        Model::Fullband => fullband_rating(delay_ms, ie),
    };
    let r = r.clamp(0.0, entry.model.scale());
    Ok(Score { r, mos: mos(r, entry.model), model: entry.model, source: entry.source, mouth_to_ear })
}

#[cfg(test)]
mod tests;
