//! Randomness of the simulations that test intervals.

/// SplitMix64 (Steele et al. 2014): a seed replays a run.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    /// Uniform over 0..1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
