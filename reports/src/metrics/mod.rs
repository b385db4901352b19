//! Metrics, each with its formula and source (METRICS in `docs/`), over one [`flow::Flow`] at a time.

pub mod burst;
pub mod capacity;
pub mod delay;
pub mod flow;
pub mod host;
pub mod loss;
pub mod percentile;
pub mod reorder;
pub mod responsiveness;
pub mod round_trip;
pub mod sketch;
pub mod skew;
#[cfg(test)]
mod tests;
