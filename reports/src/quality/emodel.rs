//! The formulas of ITU-T G.107, G.107.1 and G.107.2.

use super::Model;

/// Parameters of the narrowband E-model (G.107 table 2); [`Default`] gives the recommendation's defaults, R = 93.2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Narrowband {
    /// Send loudness rating, dB.
    pub slr: f64,
    /// Receive loudness rating, dB.
    pub rlr: f64,
    /// Sidetone masking rating, dB.
    pub stmr: f64,
    /// Listener sidetone rating, dB.
    pub lstr: f64,
    /// D-value of the telephone, send side.
    pub ds: f64,
    /// Talker echo loudness rating, dB.
    pub telr: f64,
    /// Weighted echo path loss, dB.
    pub wepl: f64,
    /// Mean one-way delay of the echo path, ms.
    pub t: f64,
    /// Round-trip delay in a four-wire loop, ms.
    pub tr: f64,
    /// Absolute delay in echo-free connections, ms.
    pub ta: f64,
    /// Quantizing distortion units.
    pub qdu: f64,
    /// Circuit noise referred to 0 dBr, dBm0p.
    pub nc: f64,
    /// Noise floor at the receive side, dBmp.
    pub nfor: f64,
    /// Room noise at the send side, dB(A).
    pub ps: f64,
    /// Room noise at the receive side, dB(A).
    pub pr: f64,
    /// Advantage factor.
    pub a: f64,
    /// Delay sensitivity.
    pub st: f64,
    /// Least delay that is noticed, ms.
    pub mt: f64,
}

impl Default for Narrowband {
    fn default() -> Self {
        Self {
            slr: 8.0,
            rlr: 2.0,
            stmr: 15.0,
            lstr: 18.0,
            ds: 3.0,
            telr: 65.0,
            wepl: 110.0,
            t: 0.0,
            tr: 0.0,
            ta: 0.0,
            qdu: 1.0,
            nc: -70.0,
            nfor: -64.0,
            ps: 35.0,
            pr: 35.0,
            a: 0.0,
            st: 1.0,
            mt: 100.0,
        }
    }
}

/// What a narrowband rating is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Components {
    /// Basic signal-to-noise ratio.
    pub ro: f64,
    /// Too loud a connection.
    pub iolr: f64,
    /// Sidetone.
    pub ist: f64,
    /// Quantizing.
    pub iq: f64,
    /// Talker echo.
    pub idte: f64,
    /// Listener echo.
    pub idle: f64,
    /// Delay too long for conversation.
    pub idd: f64,
    /// Codec and loss, as given.
    pub ie_eff: f64,
    /// The rating, not clamped.
    pub r: f64,
}

impl Narrowband {
    /// The defaults over a connection of this mouth-to-ear delay: `T = Ta`, `Tr = 2 T`.
    pub fn with_delay(ms: f64) -> Self {
        Self { t: ms, ta: ms, tr: 2.0 * ms, ..Self::default() }
    }

    /// Rates with an effective equipment impairment (see [`effective_impairment`]), every component apart (G.107 §7).
    pub fn components(&self, ie_eff: f64) -> Components {
        let no = self.noise();
        let ro = 15.0 - 1.5 * (self.slr + no);
        let (iolr, ist, iq) = (self.loudness(no), self.sidetone(), self.quantizing(ro));
        let (idte, idle) = (self.talker_echo(no, ist), self.listener_echo(ro));
        let idd = delay_impairment(self.ta, self.st, self.mt);
        let r = ro - (iolr + ist + iq) - (idte + idle + idd) - ie_eff + self.a;
        Components { ro, iolr, ist, iq, idte, idle, idd, ie_eff, r }
    }

    fn noise(&self) -> f64 {
        let olr = self.slr + self.rlr;
        let pre = self.pr + 10.0 * (1.0 + 10f64.powf((10.0 - self.lstr) / 10.0)).log10();
        let nos = self.ps - self.slr - self.ds - 100.0 + 0.004 * (self.ps - olr - self.ds - 14.0).powi(2);
        let nor = self.rlr - 121.0 + pre + 0.008 * (pre - 35.0).powi(2);
        let power = |db: f64| 10f64.powf(db / 10.0);
        10.0 * (power(self.nc) + power(nos) + power(nor) + power(self.nfor + self.rlr)).log10()
    }

    fn loudness(&self, no: f64) -> f64 {
        let xolr = self.slr + self.rlr + 0.2 * (64.0 + no - self.rlr);
        20.0 * (root_of_sum(xolr / 8.0, 8.0) - xolr / 8.0)
    }

    fn sidetone(&self) -> f64 {
        let echo = (-self.t / 4.0).exp() * 10f64.powf(-self.telr / 10.0);
        let stmro = -10.0 * (10f64.powf(-self.stmr / 10.0) + echo).log10();
        12.0 * root_of_even((stmro - 13.0) / 6.0, 8)
            - 28.0 * root_of_sum((stmro + 1.0) / 19.4, 35.0)
            - 13.0 * root_of_sum((stmro - 3.0) / 33.0, 13.0)
            + 29.0
    }

    fn quantizing(&self, ro: f64) -> f64 {
        let q = 37.0 - 15.0 * self.qdu.log10();
        let g = 1.07 + 0.258 * q + 0.0602 * q * q;
        let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
        let z = 46.0 / 30.0 - g / 40.0;
        15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10()
    }

    fn talker_echo(&self, no: f64, ist: f64) -> f64 {
        if self.t < 1.0 {
            return 0.0;
        }
        let terv = self.telr - 40.0 * ((1.0 + self.t / 10.0) / (1.0 + self.t / 150.0)).log10()
            + 6.0 * (-0.3 * self.t * self.t).exp();
        // Little sidetone masks echo less, much of it more (G.107 §7.4).
        let terv = if self.stmr < 9.0 { terv + ist / 2.0 } else { terv };
        let difference = -1.5 * (no - self.rlr) - (80.0 + 2.5 * (terv - 14.0));
        let idte = (difference / 2.0 + (difference * difference / 4.0 + 100.0).sqrt() - 1.0)
            * (1.0 - (-self.t).exp());
        if self.stmr > 20.0 { idte.hypot(ist) } else { idte }
    }

    fn listener_echo(&self, ro: f64) -> f64 {
        let difference = ro - 10.5 * (self.wepl + 7.0) * (self.tr + 1.0).powf(-0.25);
        difference / 2.0 + (difference * difference / 4.0 + 169.0).sqrt()
    }
}

/// The effective equipment impairment of a codec under loss (G.107 §7.5): `Ie + (most - Ie) Ppl / (Ppl / BurstR + Bpl)`, `most`
/// being 95 for narrowband and wideband and 132 for fullband.
///
/// The recommendation vouches for `burst_ratio` above 1 only while loss is below 2 %; beyond, the figure is the formula's.
pub fn effective_impairment(model: Model, ie: f64, bpl: f64, loss_percent: f64, burst_ratio: f64) -> f64 {
    let most = match model {
        Model::Narrowband | Model::Wideband => 95.0,
        Model::Fullband => 132.0,
    };
    ie + (most - ie) * loss_percent / (loss_percent / burst_ratio + bpl)
}

/// G.107.1: the wideband rating (not clamped) at a mouth-to-ear delay, echo-free.
pub fn wideband_rating(delay_ms: f64, ie_eff: f64) -> f64 {
    Model::Wideband.scale() - delay_impairment(delay_ms, 1.0, 100.0) - ie_eff
}

/// G.107.2: the fullband rating (not clamped) at a mouth-to-ear delay, echo-free; its delay impairment is stretched by 1.48
/// with the scale.
pub fn fullband_rating(delay_ms: f64, ie_eff: f64) -> f64 {
    Model::Fullband.scale() - 1.48 * delay_impairment(delay_ms, 1.0, 100.0) - ie_eff
}

/// The mean opinion score (conversational quality) of a rating on `model`'s scale (G.107 Annex B).
///
/// Clamps the rating to its scale **and** the score to 1..=4.5: the cubic dips below 1 for ratings under 6.5, and turns
/// positive again far below 0.
pub fn mos(r: f64, model: Model) -> f64 {
    let r = (r * 100.0 / model.scale()).clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

/// Idd: delay too long for a conversation, without echo.
fn delay_impairment(ta: f64, st: f64, mt: f64) -> f64 {
    if ta <= mt {
        return 0.0;
    }
    let x = (ta / mt).log2();
    25.0 * (root_of_sum(x, 6.0 * st) - 3.0 * root_of_sum(x / 3.0, 6.0 * st) + 2.0)
}

/// `(1 + x^k)^(1/k)` for `x` that is not negative.
fn root_of_sum(x: f64, k: f64) -> f64 {
    (1.0 + x.powf(k)).powf(1.0 / k)
}

/// `(1 + x^k)^(1/k)` for an even `k` and any `x`.
fn root_of_even(x: f64, k: i32) -> f64 {
    (1.0 + x.powi(k)).powf(1.0 / f64::from(k))
}
