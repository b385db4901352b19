//! Greenroom: will this call work, and if not, whose fault is it?
//!
//! The library behind the `greenroom` binary. See `ARCHITECTURE.md` for the map.

pub mod check;
pub mod cli;
pub mod endpoint;
pub mod history;
pub mod net;
pub mod plan;
pub mod proto;
pub mod targets;
