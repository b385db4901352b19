//! From raw samples to a finished report. Pure: no sockets, no clock, no async.
//!
//! `trace` → `metrics` → `confidence` → `playout` → `quality` → `verdict` → `schema` → `render`: each step is a function of
//! the one before it and of a named, versioned profile. Whoever receives a report with its trace computes the same summary
//! again with this crate.

pub mod assess;
pub mod compare;
pub mod confidence;
pub mod fleet;
pub mod merge;
pub mod metrics;
pub mod playout;
pub mod quality;
pub mod redact;
pub mod render;
pub mod schema;
pub mod signals;
pub mod trace;
pub mod units;
pub mod verdict;
