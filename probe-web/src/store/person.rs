//! Somebody taken out of what is kept.

use async_trait::async_trait;
use uuid::Uuid;

use super::{AuditEntry, CheckLink, Result, Tenant};

/// What is left of a report once nobody can tell whose it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// Which report.
    pub id: Uuid,
    /// Its verdict in a sentence.
    pub say: String,
    /// Its JSON; `None` where nothing can be left of it.
    pub raw: Option<Vec<u8>>,
}

/// What was taken out besides reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Check links that were for the person.
    pub links: u64,
    /// Entries of the audit log that said that the person was looked for.
    pub entries: u64,
}

/// What is kept on somebody besides reports, and somebody taken out of everything.
#[async_trait]
pub trait PersonStore: Send + Sync {
    /// Check links for a person, newest first.
    async fn check_links_for(&self, tenant: Tenant, person: &str) -> Result<Vec<CheckLink>>;

    /// Entries of the audit log that say that exactly this person was looked for, newest first.
    async fn searches_for(&self, tenant: Tenant, person: &str) -> Result<Vec<AuditEntry>>;

    /// Puts what is left of reports in their place, clears person and agent in their headers, and deletes their notes. What was there
    /// before is overwritten where the store itself writes files.
    async fn put_redacted(&self, tenant: Tenant, reports: Vec<Redacted>) -> Result<()>;

    /// Takes a person out of check links and the audit log.
    async fn forget_person(&self, tenant: Tenant, person: &str) -> Result<Forgotten>;
}
