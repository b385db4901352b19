//! Where reports, roll-ups, people and links are kept.
//!
//! A [`Store`] is what the routes know; [`sqlite`] is the default one, [`postgres`] the one that several nodes share. Every key begins with the tenant, so that a look-up with
//! another tenant's id finds nothing. A report counts once, whatever is sent twice, because its id, its header, its raw bytes and
//! what it adds to the roll-ups become visible by one commit.

mod agents;
mod grants;
mod identities;
mod incidents;
mod links;
mod person;
pub mod postgres;
mod settings;
mod sql;
pub mod sqlite;
mod tenants;
mod types;
mod upkeep;
mod webhooks;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

pub use agents::{Agent, AgentRun, AgentStore, Boot, EnrollToken, Enrollment, FleetPlan};
pub use grants::GrantStore;
pub use identities::IdentityStore;
pub use incidents::{
    Affected, Alert, Detector, Evidence, Incident, IncidentStore, Kept, Knows, Point, Run, RunFigures,
    Severity, StoredBaseline, TargetFigures, Told,
};
pub use links::{CheckLink, LinkStore, ShareLink, Standing};
pub use person::{Forgotten, PersonStore, Redacted};
pub use settings::{SETTINGS, SettingsRow, SettingsStore, SettingsTable, SettingsTaken};
pub(crate) use sql::FINE_KEPT;
pub use tenants::{TenantInfo, TenantStore};
pub use types::*;
pub use upkeep::{Header, NamedTenant, Upkeep};
pub use webhooks::{Delivery, DeliveryState, Webhook, WebhookKind, WebhookSecret, WebhookStore};

/// Why the store did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is full or is read-only; the same request may succeed later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored is damaged.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// What is to be stored clashes with something that is there: a user's name.
    #[error("{0} is taken")]
    Taken(&'static str),
    /// Another process has it open.
    #[error("{0} is in use by another greenroom serve; stop that one, or give this one another --data")]
    InUse(String),
    /// It was written by a later version.
    #[error("{0} was written by a newer greenroom, or its history was changed ({1}); use that version")]
    Newer(String, String),
}

/// Result of a store's work.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Reports and what follows from them.
#[async_trait]
pub trait ReportStore: Send + Sync {
    /// Keeps reports. When it returns, all of them are durable; an id that was there before (or earlier in the batch) is a
    /// [`Outcome::Duplicate`] and adds to nothing; a new one by a check link that is not good any more is [`Outcome::NotAllowed`] and
    /// is not kept. All or nothing: after an error none was kept that was not kept before.
    async fn ingest(&self, batch: Vec<Record>) -> Result<Vec<Outcome>>;

    /// One report's header.
    async fn summary(&self, tenant: Tenant, id: Uuid) -> Result<Option<Summary>>;

    /// One report's JSON as it was sent. `None` when there is none, or no longer.
    async fn raw(&self, tenant: Tenant, id: Uuid) -> Result<Option<Vec<u8>>>;

    /// Reports that match, latest start first, from behind the cursor.
    async fn list(
        &self,
        tenant: Tenant,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<Summary>>;

    /// Reports whose figures have not been computed again yet, of all tenants, oldest first.
    async fn unchecked(&self, limit: u32) -> Result<Vec<(Tenant, Uuid)>>;

    /// Marks what computing a report's figures again gave.
    async fn set_agreement(
        &self,
        tenant: Tenant,
        id: Uuid,
        agreement: Agreement,
        differs: &[String],
    ) -> Result<()>;

    /// Brings the roll-ups up to date with what was committed. Once before [`ReportStore::tallies`], [`ReportStore::totals`] and
    /// [`ReportStore::histograms`], which read them as they stand: a look at a fleet reads them piece by piece.
    async fn settle(&self) -> Result<()>;

    /// The roll-ups of a stretch of time, brought up to date.
    async fn rollups(&self, tenant: Tenant, query: &RollupQuery) -> Result<Rollups>;

    /// The sums of a stretch of time.
    async fn tallies(
        &self,
        tenant: Tenant,
        query: &RollupQuery,
    ) -> Result<BTreeMap<(BucketKey, String), u64>>;

    /// What the sums of a stretch of time come to: of each site and endpoint before `start` (in seconds since 1970) and since, and of each
    /// bucket since then.
    async fn totals(&self, tenant: Tenant, query: &RollupQuery, start: i64) -> Result<Totals>;

    /// The histograms of one name of a stretch of time, as they are stored (HdrHistogram V2): read, each takes some 20 kB.
    async fn histograms(
        &self,
        tenant: Tenant,
        query: &RollupQuery,
        name: &str,
    ) -> Result<Vec<(BucketKey, Vec<u8>)>>;

    /// Adds a note to a report.
    async fn add_note(&self, tenant: Tenant, report: Uuid, note: &Note) -> Result<()>;

    /// A report's notes, oldest first.
    async fn notes(&self, tenant: Tenant, report: Uuid) -> Result<Vec<Note>>;

    /// Deletes the raw bytes of reports that were received before a point in time, clears what is personal in their headers
    /// (person, agent, notes) and the audit's subjects, and deletes dead sessions and links. Roll-ups stay. Says how many reports
    /// were cleared.
    async fn retire(&self, before: Timestamp, now: Timestamp) -> Result<u64>;
}

/// Tenants, people, keys, sessions, and who looked at what.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// Makes a tenant.
    async fn add_tenant(&self, name: &str, now: Timestamp) -> Result<Tenant>;

    /// Adds a user.
    async fn add_user(&self, user: &NewUser) -> Result<()>;

    /// A user with the password's hash, by name (names are unique over all tenants: one form lets everybody in).
    async fn user_by_name(&self, name: &str) -> Result<Option<(User, String)>>;

    /// All users of a tenant.
    async fn users(&self, tenant: Tenant) -> Result<Vec<User>>;

    /// Whether anybody can administrate at all.
    async fn has_admin(&self) -> Result<bool>;

    /// Changes a user's role; `None` shuts them out. Ends their sessions.
    async fn set_role(&self, tenant: Tenant, user: Uuid, role: Option<Role>) -> Result<bool>;

    /// Changes a user's password. Ends their sessions.
    async fn set_password(&self, tenant: Tenant, user: Uuid, hash: &str) -> Result<bool>;

    /// Keeps the one link that makes the first admin, in place of the one before.
    async fn set_bootstrap(&self, token: &TokenHash, expires: Timestamp) -> Result<()>;

    /// Whether that link is good now.
    async fn bootstrap_is_good(&self, token: &TokenHash, now: Timestamp) -> Result<bool>;

    /// Uses the link up and adds the admin, both or neither. False when the link is not good.
    async fn use_bootstrap(&self, token: &TokenHash, now: Timestamp, admin: &NewUser) -> Result<bool>;

    /// Begins a session.
    async fn add_session(&self, session: &Session) -> Result<()>;

    /// Whose session it is, if it has not ended and the user may still come in.
    async fn session_user(&self, token: &TokenHash, now: Timestamp) -> Result<Option<User>>;

    /// Ends a session.
    async fn end_session(&self, token: &TokenHash) -> Result<()>;

    /// Adds a key.
    async fn add_key(&self, key: &ApiKey) -> Result<()>;

    /// A key by the public part of it, revoked ones too.
    async fn key(&self, id: &str) -> Result<Option<ApiKey>>;

    /// All keys of a tenant.
    async fn keys(&self, tenant: Tenant) -> Result<Vec<ApiKey>>;

    /// Revokes a key. False when the tenant has no such key in use.
    async fn revoke_key(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<bool>;

    /// Writes down who did what.
    async fn audit(&self, entry: &AuditEntry) -> Result<()>;

    /// The latest entries, newest first; those before a point in time.
    async fn audit_log(
        &self,
        tenant: Tenant,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>>;
}

/// All of it.
pub trait Store:
    ReportStore
    + AccountStore
    + LinkStore
    + AgentStore
    + IdentityStore
    + WebhookStore
    + GrantStore
    + TenantStore
    + PersonStore
    + SettingsStore
    + IncidentStore
    + Upkeep
{
}

impl<T> Store for T where
    T: ReportStore
        + AccountStore
        + LinkStore
        + AgentStore
        + IdentityStore
        + WebhookStore
        + GrantStore
        + TenantStore
        + PersonStore
        + SettingsStore
        + IncidentStore
        + Upkeep
{
}

/// The day, in UTC, that a report of this time is kept with: `2026-11-22`.
pub(crate) fn day_of(received: Timestamp) -> String {
    received.to_zoned(TimeZone::UTC).date().to_string()
}
