//! The kinds of endpoint that can be measured, one file per kind.

pub mod capacity;
pub mod greenroom;
