//! From a request's body to a durable report.
//!
//! [`body`] unpacks within bounds, [`read`] looks at every limit before anything is kept, [`writer`] commits many reports at once,
//! [`recheck`] computes their figures again afterwards.

pub mod body;
pub mod read;
pub mod recheck;
pub mod writer;
