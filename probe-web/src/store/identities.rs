//! Whom a sign-in provider knows.

use std::collections::BTreeSet;

use async_trait::async_trait;
use uuid::Uuid;

use super::{NewUser, Result, Tenant, User};

/// People who sign in by a provider.
#[async_trait]
pub trait IdentityStore: Send + Sync {
    /// Somebody whom a provider lets in as `new` says: their account in that tenant, with that role from now on. The first time it is made,
    /// under the name that `new` has or one like it: a name is never taken over from somebody else. Sessions that they have in other
    /// tenants end. `None` where an admin shut them out, or there is no such tenant.
    async fn sign_in_by(&self, issuer: &str, subject: &str, new: &NewUser) -> Result<Option<User>>;

    /// The accounts of a tenant whose people sign in by a provider.
    async fn by_provider(&self, tenant: Tenant) -> Result<BTreeSet<Uuid>>;
}
