//! What looking a whole store over, and moving it, needs.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Moved, Outcome, Result, RunFigures, Summary, Tenant};
use crate::rollup::Sums;

/// A report's header, and whether its JSON is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The header.
    pub summary: Summary,
    /// Whether its JSON as it was sent is kept.
    pub has_raw: bool,
    /// What change detection reads of it, where an agent made it.
    pub figures: Option<RunFigures>,
    /// Who provides its connection.
    pub provider: Option<String>,
}

/// A tenant as others know it: numbers are a store's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTenant {
    /// Its number here.
    pub tenant: Tenant,
    /// What it is called.
    pub name: String,
    /// Since when.
    pub created: Timestamp,
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

    /// Every tenant with its name, by number.
    async fn named_tenants(&self) -> Result<Vec<NamedTenant>>;

    /// Takes in reports from another store, by one commit: those whose id is not here yet, with their notes. A check link is not used up
    /// by them. With `sums`, which hold the shares of all of them in the roll-ups, either all of them are new, and reports and sums are
    /// kept, or nothing is.
    async fn take_in(&self, batch: Vec<Moved>, sums: Option<Sums>) -> Result<Vec<Outcome>>;
}
