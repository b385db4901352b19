//! How right: figures and verdicts held against what an emulated link really did to each packet.

mod delay;
mod figures;
pub(crate) mod networks;
pub(crate) mod pages;
pub(crate) mod places;
pub(crate) mod situations;
mod tools;

use crate::Job;

/// What can be asked for, in the order of the document.
pub(crate) const JOBS: &[Job] = &[
    ("accuracy-constant", delay::constant),
    ("accuracy-uniform", delay::uniform),
    ("accuracy-normal", delay::normal),
    ("accuracy-heavy-tail", delay::heavy_tail),
];
