//! What answers requests: one file per resource.

pub(crate) mod account;
pub(crate) mod agent;
pub(crate) mod agents;
pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod beside;
pub(crate) mod fleet;
pub(crate) mod incidents;
pub(crate) mod ingest;
pub(crate) mod keys;
pub(crate) mod links;
pub(crate) mod metrics;
#[cfg(feature = "oidc")]
pub(crate) mod oidc;
pub(crate) mod people;
pub(crate) mod report;
pub(crate) mod reports;
pub(crate) mod schedules;
pub(crate) mod shares;
pub(crate) mod tenants;
pub(crate) mod users;
pub(crate) mod webhooks;
