//! What looking a whole store over needs.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Result, Summary, Tenant};

/// A report's header, and whether its JSON is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The header.
    pub summary: Summary,
    /// Whether its JSON as it was sent is kept.
    pub has_raw: bool,
}

/// A store looked over as a whole.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// What the database's own check of its file finds; empty where all is well, or where the database has no such check.
    async fn integrity(&self) -> Result<Vec<String>>;

    /// Every tenant.
    async fn tenants(&self) -> Result<Vec<Tenant>>;

    /// The first point in time, at or after one in seconds since 1970, at which a report began or a day's roll-up begins.
    async fn next_begin(&self, tenant: Tenant, from_s: i64) -> Result<Option<i64>>;

    /// Headers of reports that began at or after `from` and before `to`, by id from behind `after` (begin with the nil UUID).
    async fn headers(
        &self,
        tenant: Tenant,
        from: Timestamp,
        to: Timestamp,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Header>>;
}
