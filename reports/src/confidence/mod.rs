//! How sure a number is: intervals for shares and quantiles, sequential tests, sample sizes.
//!
//! Two kinds of interval, for two purposes:
//!
//! - *displayed* intervals stand beside a figure in a report. They are computed once, at the end, and hold the truth in
//!   about 95 % of runs: no more, so that they are as narrow as honesty allows.
//! - *verdict* intervals decide, and are looked at again and again while a run goes on, which stops as soon as they
//!   decide. They hold the truth at *every* look of at least 95 % of runs, also when packets are lost in bursts.

pub mod cusum;
pub mod loss;
pub mod proportion;
pub mod quantile;
#[cfg(test)]
pub(crate) mod simulated;
pub mod sprt;

/// The confidence level of every interval in a report.
pub const LEVEL: f64 = 0.95;
/// Level of the intervals for a single look that give a run its answer when it ends without a certain one: one chance in twenty on
/// each side.
pub const FINAL_LEVEL: f64 = 0.9;

/// Where a share probably lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end, 0..=1.
    pub low: f64,
    /// Upper end, 0..=1.
    pub high: f64,
    /// Observations behind it.
    pub n: u64,
}

impl Interval {
    /// What is known without an observation: nothing.
    pub const UNKNOWN: Self = Self { low: 0.0, high: 1.0, n: 0 };

    /// Whether `share` lies inside, ends included.
    pub fn contains(&self, share: f64) -> bool {
        (self.low..=self.high).contains(&share)
    }
}

/// A count as a float: counts of packets stay far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of packets stay far below 2^53")]
pub(crate) const fn real(count: u64) -> f64 {
    count as f64
}
