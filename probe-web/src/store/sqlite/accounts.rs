//! Tenants, people, keys, sessions and the audit log in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Row as _, Sqlite, Transaction};
use uuid::Uuid;

use super::{SqliteStore, begin, broken, rows};
use crate::store::{
    AccountStore, ApiKey, AuditEntry, NewUser, Result, Role, Session, StoreError, Tenant, TokenHash, User,
    name_of,
};

#[async_trait]
impl AccountStore for SqliteStore {
    async fn add_tenant(&self, name: &str, now: Timestamp) -> Result<Tenant> {
        let mut writer = self.writer().await;
        let id: i64 = sqlx::query_scalar("INSERT INTO tenant (name, created_ms) VALUES (?, ?) RETURNING id")
            .bind(name)
            .bind(now.as_millisecond())
            .fetch_one(&mut *writer)
            .await
            .map_err(broken)?;
        Ok(Tenant(id))
    }

    async fn add_user(&self, user: &NewUser) -> Result<()> {
        let mut writer = self.writer().await;
        let mut tx = begin(&mut writer).await?;
        insert_user(&mut tx, user).await?;
        tx.commit().await.map_err(broken)
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<(User, String)>> {
        let row = sqlx::query("SELECT * FROM account WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await
            .map_err(broken)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((rows::user(&row)?, row.try_get("password").map_err(broken)?)))
    }

    async fn users(&self, tenant: Tenant) -> Result<Vec<User>> {
        let found = sqlx::query("SELECT * FROM account WHERE tenant = ? ORDER BY name")
            .bind(tenant.0)
            .fetch_all(&self.readers)
            .await
            .map_err(broken)?;
        found.iter().map(rows::user).collect()
    }

    async fn has_admin(&self) -> Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM account WHERE role = 'admin')")
            .fetch_one(&self.readers)
            .await
            .map_err(broken)
    }

    async fn set_role(&self, tenant: Tenant, user: Uuid, role: Option<Role>) -> Result<bool> {
        let mut writer = self.writer().await;
        let mut tx = begin(&mut writer).await?;
        let done = sqlx::query("UPDATE account SET role = ? WHERE tenant = ? AND id = ?")
            .bind(role.map(Role::name))
            .bind(tenant.0)
            .bind(&user.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(broken)?;
        end_sessions(&mut tx, tenant, user).await?;
        tx.commit().await.map_err(broken)?;
        Ok(done.rows_affected() == 1)
    }

    async fn set_password(&self, tenant: Tenant, user: Uuid, hash: &str) -> Result<bool> {
        let mut writer = self.writer().await;
        let mut tx = begin(&mut writer).await?;
        let done = sqlx::query("UPDATE account SET password = ? WHERE tenant = ? AND id = ?")
            .bind(hash)
            .bind(tenant.0)
            .bind(&user.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(broken)?;
        end_sessions(&mut tx, tenant, user).await?;
        tx.commit().await.map_err(broken)?;
        Ok(done.rows_affected() == 1)
    }

    async fn set_bootstrap(&self, token: &TokenHash, expires: Timestamp) -> Result<()> {
        let mut writer = self.writer().await;
        sqlx::query("INSERT OR REPLACE INTO bootstrap (one, token, expires_ms) VALUES (1, ?, ?)")
            .bind(&token.0[..])
            .bind(expires.as_millisecond())
            .execute(&mut *writer)
            .await
            .map_err(broken)?;
        Ok(())
    }

    async fn bootstrap_is_good(&self, token: &TokenHash, now: Timestamp) -> Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM bootstrap WHERE token = ? AND expires_ms > ?)")
            .bind(&token.0[..])
            .bind(now.as_millisecond())
            .fetch_one(&self.readers)
            .await
            .map_err(broken)
    }

    async fn use_bootstrap(&self, token: &TokenHash, now: Timestamp, admin: &NewUser) -> Result<bool> {
        let mut writer = self.writer().await;
        let mut tx = begin(&mut writer).await?;
        let used = sqlx::query("DELETE FROM bootstrap WHERE token = ? AND expires_ms > ?")
            .bind(&token.0[..])
            .bind(now.as_millisecond())
            .execute(&mut *tx)
            .await
            .map_err(broken)?;
        if used.rows_affected() == 0 {
            return Ok(false);
        }
        insert_user(&mut tx, admin).await?;
        tx.commit().await.map_err(broken)?;
        Ok(true)
    }

    async fn add_session(&self, session: &Session) -> Result<()> {
        let mut writer = self.writer().await;
        sqlx::query("INSERT INTO session (token, tenant, account, expires_ms) VALUES (?, ?, ?, ?)")
            .bind(&session.token.0[..])
            .bind(session.tenant.0)
            .bind(&session.user.as_bytes()[..])
            .bind(session.expires.as_millisecond())
            .execute(&mut *writer)
            .await
            .map_err(broken)?;
        Ok(())
    }

    async fn session_user(&self, token: &TokenHash, now: Timestamp) -> Result<Option<User>> {
        let row = sqlx::query(
            "SELECT account.* FROM session JOIN account
             ON account.tenant = session.tenant AND account.id = session.account
             WHERE session.token = ? AND session.expires_ms > ? AND account.role IS NOT NULL",
        )
        .bind(&token.0[..])
        .bind(now.as_millisecond())
        .fetch_optional(&self.readers)
        .await
        .map_err(broken)?;
        row.as_ref().map(rows::user).transpose()
    }

    async fn end_session(&self, token: &TokenHash) -> Result<()> {
        let mut writer = self.writer().await;
        sqlx::query("DELETE FROM session WHERE token = ?")
            .bind(&token.0[..])
            .execute(&mut *writer)
            .await
            .map_err(broken)?;
        Ok(())
    }

    async fn add_key(&self, key: &ApiKey) -> Result<()> {
        let mut writer = self.writer().await;
        sqlx::query(
            "INSERT INTO api_key (tenant, id, name, good_for, secret, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(key.tenant.0)
        .bind(&key.id)
        .bind(&key.name)
        .bind(name_of(&key.good_for))
        .bind(&key.secret.0[..])
        .bind(key.created.as_millisecond())
        .execute(&mut *writer)
        .await
        .map_err(broken)?;
        Ok(())
    }

    async fn key(&self, id: &str) -> Result<Option<ApiKey>> {
        let row = sqlx::query("SELECT * FROM api_key WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.readers)
            .await
            .map_err(broken)?;
        row.as_ref().map(rows::key).transpose()
    }

    async fn keys(&self, tenant: Tenant) -> Result<Vec<ApiKey>> {
        let found = sqlx::query("SELECT * FROM api_key WHERE tenant = ? ORDER BY created_ms DESC, id")
            .bind(tenant.0)
            .fetch_all(&self.readers)
            .await
            .map_err(broken)?;
        found.iter().map(rows::key).collect()
    }

    async fn revoke_key(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<bool> {
        let mut writer = self.writer().await;
        let done = sqlx::query(
            "UPDATE api_key SET revoked_ms = ? WHERE tenant = ? AND id = ? AND revoked_ms IS NULL",
        )
        .bind(now.as_millisecond())
        .bind(tenant.0)
        .bind(id)
        .execute(&mut *writer)
        .await
        .map_err(broken)?;
        Ok(done.rows_affected() == 1)
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<()> {
        let mut writer = self.writer().await;
        sqlx::query(
            "INSERT INTO audit (tenant, number, at_ms, actor, action, subject)
             SELECT ?1, 1 + COALESCE(MAX(number), 0), ?2, ?3, ?4, ?5 FROM audit WHERE tenant = ?1",
        )
        .bind(entry.tenant.0)
        .bind(entry.at.as_millisecond())
        .bind(&entry.actor)
        .bind(&entry.action)
        .bind(&entry.subject)
        .execute(&mut *writer)
        .await
        .map_err(broken)?;
        Ok(())
    }

    async fn audit_log(
        &self,
        tenant: Tenant,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        let found = sqlx::query(
            "SELECT * FROM audit WHERE tenant = ? AND at_ms < ? ORDER BY at_ms DESC, number DESC LIMIT ?",
        )
        .bind(tenant.0)
        .bind(before.map_or(i64::MAX, Timestamp::as_millisecond))
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(broken)?;
        found.iter().map(rows::audit).collect()
    }
}

async fn insert_user(tx: &mut Transaction<'_, Sqlite>, new: &NewUser) -> Result<()> {
    let user = &new.user;
    let done = sqlx::query(
        "INSERT INTO account (tenant, id, name, password, role, created_ms) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(user.tenant.0)
    .bind(&user.id.as_bytes()[..])
    .bind(&user.name)
    .bind(&new.password_hash)
    .bind(user.role.map(Role::name))
    .bind(user.created.as_millisecond())
    .execute(&mut **tx)
    .await
    .map_err(broken)?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Taken("that name")) }
}

async fn end_sessions(tx: &mut Transaction<'_, Sqlite>, tenant: Tenant, user: Uuid) -> Result<()> {
    sqlx::query("DELETE FROM session WHERE tenant = ? AND account = ?")
        .bind(tenant.0)
        .bind(&user.as_bytes()[..])
        .execute(&mut **tx)
        .await
        .map_err(broken)?;
    Ok(())
}
