//! What several nodes share of run grants.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Backend, Query};
use crate::store::{GrantStore, Result, StoreError};

#[async_trait]
impl<B: Backend> GrantStore for B {
    async fn grant_key(&self, new: &[u8], now: Timestamp) -> Result<Vec<u8>> {
        let insert = Query::new(
            "INSERT INTO grant_key (one, pkcs8, created_ms) VALUES (1, $1, $2) ON CONFLICT DO NOTHING",
        );
        self.execute(insert.bind(new.to_vec()).bind(now)).await?;
        let found = self.find(Query::new("SELECT pkcs8 FROM grant_key WHERE one = 1")).await?;
        let row =
            found.first().ok_or_else(|| StoreError::Damaged("the key of run grants is gone".to_owned()))?;
        row.bytes("pkcs8")
    }

    async fn spend_grant(&self, nonce: &[u8], until: Timestamp) -> Result<bool> {
        let insert =
            Query::new("INSERT INTO spent_grant (nonce, until_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING");
        Ok(self.execute(insert.bind(nonce.to_vec()).bind(until)).await? == 1)
    }

    async fn note_media(&self, url: &str, now: Timestamp) -> Result<()> {
        let query = Query::new(
            "INSERT INTO media_node (url, seen_ms) VALUES ($1, $2)
             ON CONFLICT (url) DO UPDATE SET seen_ms = excluded.seen_ms",
        );
        self.execute(query.bind(url).bind(now)).await.map(drop)
    }

    async fn media_urls(&self, since: Timestamp) -> Result<Vec<String>> {
        let query = Query::new("SELECT url FROM media_node WHERE seen_ms >= $1 ORDER BY url LIMIT 100");
        self.find(query.bind(since)).await?.iter().map(|row| row.text("url")).collect()
    }
}
