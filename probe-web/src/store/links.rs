//! Links that are given away: to send a few reports, or to see one.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Result, Tenant, TokenHash};

/// A link that lets a customer send a few reports, which land on a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckLink {
    /// Whose.
    pub tenant: Tenant,
    /// What pages and the audit log call it; no secret.
    pub id: String,
    /// Hash of the token.
    pub token: TokenHash,
    /// The ticket that its reports get.
    pub ticket: String,
    /// The person that its reports get. Personal.
    pub person: Option<String>,
    /// What is to be checked, as its page says it.
    pub target: Option<String>,
    /// Who made it.
    pub author: String,
    /// When.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// Most reports.
    pub most: u32,
    /// Reports so far.
    pub used: u32,
    /// Since when it is no longer good.
    pub revoked: Option<Timestamp>,
}

/// A link that shows one report without what is personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareLink {
    /// Whose.
    pub tenant: Tenant,
    /// What pages and the audit log call it; no secret.
    pub id: String,
    /// Hash of the token.
    pub token: TokenHash,
    /// Which report.
    pub report: Uuid,
    /// Who made it.
    pub author: String,
    /// When.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// How often the report was shown.
    pub views: u32,
    /// When for the last time.
    pub viewed: Option<Timestamp>,
    /// Since when it is no longer good.
    pub revoked: Option<Timestamp>,
}

/// What a link is good for at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Good,
    /// It let in as many reports as it may.
    UsedUp,
    /// Its time is over.
    Expired,
    /// Somebody revoked it.
    Revoked,
}

impl Standing {
    pub(super) fn of(revoked: Option<Timestamp>, expires: Timestamp, now: Timestamp) -> Self {
        match revoked {
            Some(_) => Self::Revoked,
            None if expires <= now => Self::Expired,
            None => Self::Good,
        }
    }
}

impl CheckLink {
    /// What it is good for now.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match Standing::of(self.revoked, self.expires, now) {
            Standing::Good if self.used >= self.most => Standing::UsedUp,
            standing => standing,
        }
    }
}

impl ShareLink {
    /// What it is good for now.
    pub fn standing(&self, now: Timestamp) -> Standing {
        Standing::of(self.revoked, self.expires, now)
    }
}

/// Links of both kinds. A token is found by its hash, whosever it is; all else is asked for by tenant.
#[async_trait]
pub trait LinkStore: Send + Sync {
    /// Adds a check link.
    async fn add_check_link(&self, link: &CheckLink) -> Result<()>;

    /// The check link of a token, also one that is no longer good.
    async fn check_link(&self, token: &TokenHash) -> Result<Option<CheckLink>>;

    /// The latest check links of a tenant, newest first.
    async fn check_links(&self, tenant: Tenant, limit: u32) -> Result<Vec<CheckLink>>;

    /// Revokes a check link. False when the tenant has none of that id in use.
    async fn revoke_check_link(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<bool>;

    /// Adds a share link.
    async fn add_share_link(&self, link: &ShareLink) -> Result<()>;

    /// The share link of a token, also one that is no longer good.
    async fn share_link(&self, token: &TokenHash) -> Result<Option<ShareLink>>;

    /// The share links of a report, newest first.
    async fn share_links(&self, tenant: Tenant, report: Uuid) -> Result<Vec<ShareLink>>;

    /// Counts a view. False when the link is not good then: nothing may be shown.
    async fn view_share_link(&self, token: &TokenHash, now: Timestamp) -> Result<bool>;

    /// Revokes a share link; says of which report it was. `None` when the tenant has none of that id in use.
    async fn revoke_share_link(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<Option<Uuid>>;
}
