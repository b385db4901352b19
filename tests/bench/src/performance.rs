//! How fast and how frugal: one file per subject.

mod agent;
mod bulk;
mod clients;
mod devices;
mod duration;
mod fleet;
mod floor;
mod ingest;
pub(crate) mod memory;
mod pacing;
mod quic;
mod reflector;
mod session;
mod startup;

use crate::Job;

/// What can be asked for, in the order of the document.
pub(crate) const JOBS: &[Job] = &[
    ("pacing", pacing::measure),
    ("floor", floor::measure),
    ("reflector", reflector::measure),
    ("clients", clients::measure),
    ("udp-bulk", bulk::measure),
    ("quic-bulk", quic::measure),
    ("startup", startup::measure),
    ("memory", memory::measure),
    ("quick-check", duration::measure),
    ("devices", devices::measure),
    ("agent", agent::measure),
    ("ingest", ingest::measure),
    ("fleet", fleet::measure),
];
