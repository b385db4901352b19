//! Greenroom: will this call work, and if not, whose fault is it?
//!
//! The library behind the `greenroom` binary. See `ARCHITECTURE.md` for the map.
//!
//! ```no_run
//! use greenroom::plan::{Request, plan};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // Audio and 720p video in about 6 seconds, 20 where the answer hangs, and 10 MB at most. A plan says what it is going to cost before it costs anything.
//! let plan = plan(&Request::quick("greenroom://probe.example".parse()?))?;
//! println!("up to {} s and {}", plan.longest().as_secs(), plan.bytes);
//!
//! // Never fails: what went wrong stands in the report.
//! let report = greenroom::check(plan).await;
//! println!("{:?}: {}", report.verdict.overall, report.verdict.say);
//! # Ok(())
//! # }
//! ```
//!
//! [`check::check_watched`] tells progress and can be ended early; `examples/check.rs` is a whole program.

pub mod address;
pub mod agent;
pub mod bundle;
pub mod check;
pub mod cli;
pub mod conduct;
pub mod devices;
pub mod endpoint;
pub mod history;
pub mod net;
pub mod plan;
pub mod proto;
pub mod simulate;
pub mod system;
pub mod targets;

pub use check::check;
