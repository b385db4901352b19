//! Emulated links with ground truth.
//!
//! A [`link::Link`] decides what becomes of each packet. A [`scenario::Scenario`] says what two links (one per direction) and
//! the computers at their ends do over time, and which verdict is fair.

#[cfg(target_os = "linux")]
pub mod lab;
pub mod link;
pub mod packet;
#[cfg(target_os = "linux")]
pub mod page;
pub mod places;
pub mod scenario;
pub mod sim;
pub mod truth;
pub mod verdicts;
