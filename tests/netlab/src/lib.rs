//! Emulated links with ground truth.
//!
//! A [`link::Link`] decides what becomes of each packet. A [`scenario::Scenario`] says what two links (one per direction) and
//! the computers at their ends do over time, and which verdict is fair.

pub mod link;
pub mod packet;
pub mod scenario;
