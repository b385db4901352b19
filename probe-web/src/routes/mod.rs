//! What answers requests: one file per resource.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod beside;
pub(crate) mod fleet;
pub(crate) mod ingest;
pub(crate) mod keys;
pub(crate) mod links;
pub(crate) mod metrics;
pub(crate) mod people;
pub(crate) mod report;
pub(crate) mod reports;
pub(crate) mod shares;
pub(crate) mod users;
