//! Those whose data one server keeps apart.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{NewUser, Result, Tenant};

/// One of those whose data are kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantInfo {
    /// Its number: the first part of every key.
    pub tenant: Tenant,
    /// What it is called.
    pub name: String,
    /// What the address of its check page holds; none for the first.
    pub code: Option<String>,
    /// Since when.
    pub created: Timestamp,
    /// How many people may come in.
    pub people: u64,
}

/// Tenants.
#[async_trait]
pub trait TenantStore: Send + Sync {
    /// All, first to last.
    async fn tenant_list(&self) -> Result<Vec<TenantInfo>>;

    /// One of them.
    async fn tenant_info(&self, tenant: Tenant) -> Result<Option<TenantInfo>>;

    /// The one whose check page has this in its address.
    async fn tenant_by_code(&self, code: &str) -> Result<Option<Tenant>>;

    /// Makes one with its first admin, both or neither. The admin's tenant is the new one, whatever it says before.
    ///
    /// # Errors
    /// When a name is taken, or the store fails.
    async fn make_tenant(&self, name: &str, code: &str, admin: &NewUser, now: Timestamp) -> Result<Tenant>;
}
