//! Check links and share links in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::{SqliteStore, broken, rows};
use crate::store::{CheckLink, LinkStore, Result, ShareLink, Tenant, TokenHash};

#[async_trait]
impl LinkStore for SqliteStore {
    async fn add_check_link(&self, link: &CheckLink) -> Result<()> {
        let mut writer = self.writer().await;
        sqlx::query(
            "INSERT INTO check_link (tenant, id, token, ticket, person, target, author, created_ms, expires_ms, most)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(link.tenant.0)
        .bind(&link.id)
        .bind(&link.token.0[..])
        .bind(&link.ticket)
        .bind(&link.person)
        .bind(&link.target)
        .bind(&link.author)
        .bind(link.created.as_millisecond())
        .bind(link.expires.as_millisecond())
        .bind(link.most)
        .execute(&mut *writer)
        .await
        .map_err(broken)?;
        Ok(())
    }

    async fn check_link(&self, token: &TokenHash) -> Result<Option<CheckLink>> {
        let row = sqlx::query("SELECT * FROM check_link WHERE token = ?")
            .bind(&token.0[..])
            .fetch_optional(&self.readers)
            .await
            .map_err(broken)?;
        row.as_ref().map(rows::check_link).transpose()
    }

    async fn check_links(&self, tenant: Tenant, limit: u32) -> Result<Vec<CheckLink>> {
        let found =
            sqlx::query("SELECT * FROM check_link WHERE tenant = ? ORDER BY created_ms DESC, id LIMIT ?")
                .bind(tenant.0)
                .bind(limit)
                .fetch_all(&self.readers)
                .await
                .map_err(broken)?;
        found.iter().map(rows::check_link).collect()
    }

    async fn revoke_check_link(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<bool> {
        let mut writer = self.writer().await;
        let done = sqlx::query(
            "UPDATE check_link SET revoked_ms = ? WHERE tenant = ? AND id = ? AND revoked_ms IS NULL",
        )
        .bind(now.as_millisecond())
        .bind(tenant.0)
        .bind(id)
        .execute(&mut *writer)
        .await
        .map_err(broken)?;
        Ok(done.rows_affected() == 1)
    }

    async fn add_share_link(&self, link: &ShareLink) -> Result<()> {
        let mut writer = self.writer().await;
        sqlx::query(
            "INSERT INTO share_link (tenant, id, token, report, author, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(link.tenant.0)
        .bind(&link.id)
        .bind(&link.token.0[..])
        .bind(&link.report.as_bytes()[..])
        .bind(&link.author)
        .bind(link.created.as_millisecond())
        .bind(link.expires.as_millisecond())
        .execute(&mut *writer)
        .await
        .map_err(broken)?;
        Ok(())
    }

    async fn share_link(&self, token: &TokenHash) -> Result<Option<ShareLink>> {
        let row = sqlx::query("SELECT * FROM share_link WHERE token = ?")
            .bind(&token.0[..])
            .fetch_optional(&self.readers)
            .await
            .map_err(broken)?;
        row.as_ref().map(rows::share_link).transpose()
    }

    async fn share_links(&self, tenant: Tenant, report: Uuid) -> Result<Vec<ShareLink>> {
        let found = sqlx::query(
            "SELECT * FROM share_link WHERE tenant = ? AND report = ? ORDER BY created_ms DESC, id",
        )
        .bind(tenant.0)
        .bind(&report.as_bytes()[..])
        .fetch_all(&self.readers)
        .await
        .map_err(broken)?;
        found.iter().map(rows::share_link).collect()
    }

    async fn view_share_link(&self, token: &TokenHash, now: Timestamp) -> Result<bool> {
        let mut writer = self.writer().await;
        let done = sqlx::query(
            "UPDATE share_link SET views = views + 1, viewed_ms = ?1
             WHERE token = ?2 AND revoked_ms IS NULL AND expires_ms > ?1",
        )
        .bind(now.as_millisecond())
        .bind(&token.0[..])
        .execute(&mut *writer)
        .await
        .map_err(broken)?;
        Ok(done.rows_affected() == 1)
    }

    async fn revoke_share_link(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<Option<Uuid>> {
        let mut writer = self.writer().await;
        let row = sqlx::query(
            "UPDATE share_link SET revoked_ms = ? WHERE tenant = ? AND id = ? AND revoked_ms IS NULL RETURNING report",
        )
        .bind(now.as_millisecond())
        .bind(tenant.0)
        .bind(id)
        .fetch_optional(&mut *writer)
        .await
        .map_err(broken)?;
        row.as_ref().map(|row| rows::id(row, "report")).transpose()
    }
}

/// Takes one of a check link's uses; false when it is not good at that time.
pub(super) async fn take_use(
    tx: &mut Transaction<'_, Sqlite>,
    tenant: Tenant,
    id: &str,
    now: Timestamp,
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE check_link SET used = used + 1
         WHERE tenant = ? AND id = ? AND used < most AND revoked_ms IS NULL AND expires_ms > ?",
    )
    .bind(tenant.0)
    .bind(id)
    .bind(now.as_millisecond())
    .execute(&mut **tx)
    .await
    .map_err(broken)?;
    Ok(done.rows_affected() == 1)
}
