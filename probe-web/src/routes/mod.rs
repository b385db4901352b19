//! What answers requests: one file per resource.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod ingest;
pub(crate) mod keys;
pub(crate) mod reports;
pub(crate) mod users;
