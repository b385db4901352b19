//! Metrics, each with its formula and source (METRICS in `docs/`), over one [`flow::Flow`] at a time.

pub mod flow;
