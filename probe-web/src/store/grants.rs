//! What several nodes share of run grants.

use async_trait::async_trait;
use jiff::Timestamp;

use super::Result;

/// The key that run grants are signed with, and those that were used.
#[async_trait]
pub trait GrantStore: Send + Sync {
    /// The key (PKCS #8), which is `new` where there is none yet: all nodes have the same one.
    async fn grant_key(&self, new: &[u8], now: Timestamp) -> Result<Vec<u8>>;

    /// Uses a grant up that ends at a time. False when it was used before, here or at another node.
    async fn spend_grant(&self, nonce: &[u8], until: Timestamp) -> Result<bool>;

    /// Notes that a node's pages measure against this address.
    async fn note_media(&self, url: &str, now: Timestamp) -> Result<()>;

    /// What the pages of all nodes measure against that were there since a time.
    async fn media_urls(&self, since: Timestamp) -> Result<Vec<String>>;
}
