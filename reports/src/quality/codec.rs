//! Codecs with published impairment values, each row with its source.

use thiserror::Error;

use super::Model;
use super::emodel::effective_impairment;
use crate::units::Micros;

const G113_WB: &str = "ITU-T G.113 (09/2024), AMR-WB, mono";
const G113_FB: &str = "ITU-T G.113 (09/2024), EVS-SWB; 32 kbit/s by erratum 1 (01/2026)";
const G113_NB: &str = "ITU-T G.113, G.711 with packet loss concealment, random loss";
const TOMM: &str = "academic: Alahmadi et al., ACM TOMM, doi 10.1145/3458751 (no ITU values exist for Opus)";
const TOMM_BETWEEN: &str =
    "academic, interpolated between published rates: Alahmadi et al., ACM TOMM, doi 10.1145/3458751";

/// A codec, with its bit rate where its values depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 with packet loss concealment, 64 kbit/s.
    G711Plc,
    /// AMR-WB at this rate in bit/s (12,650 and the like).
    AmrWb(u32),
    /// EVS super-wideband at this rate in bit/s.
    EvsSwb(u32),
    /// Opus super-wideband, variable bit rate, at this rate in bit/s.
    OpusSwbVbr(u32),
    /// Opus super-wideband, constant bit rate, at this rate in bit/s.
    OpusSwbCbr(u32),
}

/// Why there is no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unknown {
    /// The rate is not in the codec's table.
    #[error("no impairment values are published for {0:?}")]
    Rate(Codec),
    /// The table has no value for loss, and there was loss.
    #[error("no packet-loss robustness is published for {0:?}, and packets were lost")]
    Loss(Codec),
}

/// A codec's row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// The model whose scale the values are on.
    pub model: Model,
    /// Equipment impairment without loss.
    pub ie: f64,
    /// How it stands loss.
    pub bpl: Robustness,
    /// Where the values come from; says so when they lie between published ones.
    pub source: &'static str,
    /// Length of a frame.
    pub frame: Micros,
    /// How far the encoder looks ahead.
    pub look_ahead: Micros,
}

/// How a codec stands loss: the E-model's Bpl.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Robustness {
    /// Not published.
    Unpublished,
    /// One value; bursts enter by BurstR.
    Single(f64),
    /// Values fitted under random and under bursty loss apart: they take BurstR's place.
    Fitted {
        /// Under random loss.
        random: f64,
        /// Under bursty loss.
        bursty: f64,
    },
}

/// BurstR from which loss counts as bursty where a codec has values for both: half way between random loss (1) and the
/// bursts of two that the Gilbert channel gives at BurstR 2.
const BURSTY_FROM: f64 = 1.5;

impl Entry {
    /// The effective equipment impairment under this loss.
    pub(super) fn impairment(
        &self,
        codec: Codec,
        loss_percent: f64,
        burst_ratio: f64,
    ) -> Result<f64, Unknown> {
        let (bpl, burst_ratio) = match self.bpl {
            Robustness::Unpublished if loss_percent > 0.0 => return Err(Unknown::Loss(codec)),
            Robustness::Unpublished => return Ok(self.ie),
            Robustness::Single(bpl) => (bpl, burst_ratio),
            Robustness::Fitted { bursty, .. } if burst_ratio >= BURSTY_FROM => (bursty, 1.0),
            Robustness::Fitted { random, .. } => (random, 1.0),
        };
        Ok(effective_impairment(self.model, self.ie, bpl, loss_percent, burst_ratio))
    }
}

impl Codec {
    /// The codec's row.
    ///
    /// Opus VBR rates between two published ones are interpolated and say so; nothing is extrapolated.
    ///
    /// # Errors
    /// [`Unknown::Rate`] for a rate without published values.
    pub fn entry(self) -> Result<Entry, Unknown> {
        let frame = Micros::from_millis(20);
        let (model, ie, bpl, source, look_ahead_us) = match self {
            Self::G711Plc => (Model::Narrowband, 0.0, Robustness::Single(25.1), G113_NB, 0),
            Self::AmrWb(bps) => {
                let &(_, ie) = AMR_WB.iter().find(|row| row.0 == bps).ok_or(Unknown::Rate(self))?;
                (Model::Wideband, ie, Robustness::Unpublished, G113_WB, 5_000)
            }
            Self::EvsSwb(bps) => {
                let &(_, ie, bpl) = EVS_SWB.iter().find(|row| row.0 == bps).ok_or(Unknown::Rate(self))?;
                (Model::Fullband, ie, Robustness::Single(bpl), G113_FB, 12_000)
            }
            Self::OpusSwbVbr(bps) => {
                let (row, source) = between(OPUS_SWB_VBR, bps).ok_or(Unknown::Rate(self))?;
                (Model::Fullband, row.ie, row.robustness(), source, 6_500)
            }
            Self::OpusSwbCbr(bps) => {
                let row = OPUS_SWB_CBR.iter().find(|row| row.bps == bps).ok_or(Unknown::Rate(self))?;
                (Model::Fullband, row.ie, row.robustness(), TOMM, 6_500)
            }
        };
        Ok(Entry { model, ie, bpl, source, frame, look_ahead: Micros::new(look_ahead_us) })
    }
}

/// Rate and Ie,WB.
const AMR_WB: [(u32, f64); 9] = [
    (6_600, 41.0),
    (8_850, 26.0),
    (12_650, 13.0),
    (14_250, 10.0),
    (15_850, 7.0),
    (18_250, 5.0),
    (19_850, 3.0),
    (23_050, 1.0),
    (23_850, 8.0),
];

/// Rate, Ie,fb and Bpl,fb.
const EVS_SWB: [(u32, f64, f64); 6] = [
    (9_600, 22.7, 13.0),
    (13_200, 17.1, 11.7),
    (16_400, 10.8, 10.3),
    (24_400, 7.2, 11.4),
    (32_000, 8.7, 9.3),
    (48_000, 10.2, 9.6),
];

#[derive(Debug, Clone, Copy)]
struct Opus {
    bps: u32,
    ie: f64,
    random: f64,
    bursty: f64,
}

impl Opus {
    const fn robustness(&self) -> Robustness {
        Robustness::Fitted { random: self.random, bursty: self.bursty }
    }
}

const fn opus(kbps: u32, ie: f64, random: f64, bursty: f64) -> Opus {
    Opus { bps: kbps * 1_000, ie, random, bursty }
}

const OPUS_SWB_VBR: &[Opus] = &[
    opus(14, 38.06, 16.51, 9.13),
    opus(16, 30.16, 11.83, 10.06),
    opus(19, 23.81, 10.67, 8.92),
    opus(22, 20.22, 10.47, 8.57),
    opus(25, 20.21, 11.28, 9.18),
    opus(28, 18.48, 10.63, 8.91),
    opus(31, 16.83, 10.44, 8.82),
    opus(34, 14.76, 10.12, 8.54),
    opus(37, 12.08, 10.38, 8.30),
    opus(40, 10.67, 9.79, 8.04),
];

/// Only the rates whose values were seen: no interpolation between them.
const OPUS_SWB_CBR: &[Opus] = &[opus(16, 36.88, 13.30, 10.80), opus(40, 15.90, 11.35, 9.37)];

/// The row of a rate, or the straight line between its neighbors.
fn between(rows: &[Opus], bps: u32) -> Option<(Opus, &'static str)> {
    if let Some(row) = rows.iter().find(|row| row.bps == bps) {
        return Some((*row, TOMM));
    }
    let [below, above] = rows.windows(2).find(|pair| pair[0].bps < bps && bps < pair[1].bps)? else {
        return None;
    };
    let share = f64::from(bps - below.bps) / f64::from(above.bps - below.bps);
    let mix = |a: f64, b: f64| a + (b - a) * share;
    let row = Opus {
        bps,
        ie: mix(below.ie, above.ie),
        random: mix(below.random, above.random),
        bursty: mix(below.bursty, above.bursty),
    };
    Some((row, TOMM_BETWEEN))
}
