//! Tenants, people, keys, sessions and the audit log.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Backend, Done, Numbered, Query, Step, rows};
use crate::store::{
    AccountStore, ApiKey, AuditEntry, NewUser, Result, Role, Session, StoreError, Tenant, TokenHash, User,
    name_of,
};

#[async_trait]
impl<B: Backend> AccountStore for B {
    async fn add_tenant(&self, name: &str, now: Timestamp) -> Result<Tenant> {
        let query = Query::new("INSERT INTO tenant (name, created_ms) VALUES ($1, $2) RETURNING id");
        let told = self.change(query.bind(name).bind(now)).await?;
        let row = told.first().ok_or_else(|| StoreError::Damaged("a tenant got no id".to_owned()))?;
        row.int("id").map(Tenant)
    }

    async fn add_user(&self, user: &NewUser) -> Result<()> {
        if self.execute(insert_user(user)).await? == 1 { Ok(()) } else { Err(name_is_taken()) }
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<(User, String)>> {
        let found = self.find(Query::new("SELECT * FROM account WHERE name = $1").bind(name)).await?;
        let Some(row) = found.first() else { return Ok(None) };
        Ok(Some((rows::user(row)?, row.text("password")?)))
    }

    async fn users(&self, tenant: Tenant) -> Result<Vec<User>> {
        let query = Query::new("SELECT * FROM account WHERE tenant = $1 ORDER BY name").bind(tenant);
        self.find(query).await?.iter().map(rows::user).collect()
    }

    async fn has_admin(&self) -> Result<bool> {
        let query = Query::new("SELECT 1 FROM account WHERE role = 'admin' LIMIT 1");
        Ok(!self.find(query).await?.is_empty())
    }

    async fn set_role(&self, tenant: Tenant, user: Uuid, role: Option<Role>) -> Result<bool> {
        let query = Query::new("UPDATE account SET role = $1 WHERE tenant = $2 AND id = $3")
            .bind(role.map(Role::name))
            .bind(tenant)
            .bind(user);
        let done = self.together(vec![Step::needed(query), Step::any(end_sessions(tenant, user))]).await?;
        Ok(done != Done::WithoutEffect(0))
    }

    async fn set_password(&self, tenant: Tenant, user: Uuid, hash: &str) -> Result<bool> {
        let query = Query::new("UPDATE account SET password = $1 WHERE tenant = $2 AND id = $3")
            .bind(hash)
            .bind(tenant)
            .bind(user);
        let done = self.together(vec![Step::needed(query), Step::any(end_sessions(tenant, user))]).await?;
        Ok(done != Done::WithoutEffect(0))
    }

    async fn set_bootstrap(&self, token: &TokenHash, expires: Timestamp) -> Result<()> {
        let query = Query::new(
            "INSERT INTO bootstrap (one, token, expires_ms) VALUES (1, $1, $2)
             ON CONFLICT (one) DO UPDATE SET token = excluded.token, expires_ms = excluded.expires_ms",
        );
        self.execute(query.bind(token).bind(expires)).await.map(drop)
    }

    async fn bootstrap_is_good(&self, token: &TokenHash, now: Timestamp) -> Result<bool> {
        let query = Query::new("SELECT 1 FROM bootstrap WHERE token = $1 AND expires_ms > $2");
        Ok(!self.find(query.bind(token).bind(now)).await?.is_empty())
    }

    async fn use_bootstrap(&self, token: &TokenHash, now: Timestamp, admin: &NewUser) -> Result<bool> {
        let used = Query::new("DELETE FROM bootstrap WHERE token = $1 AND expires_ms > $2");
        let steps = vec![Step::needed(used.bind(token).bind(now)), Step::needed(insert_user(admin))];
        match self.together(steps).await? {
            Done::All(_) => Ok(true),
            Done::WithoutEffect(0) => Ok(false),
            Done::WithoutEffect(_) => Err(name_is_taken()),
        }
    }

    async fn add_session(&self, session: &Session) -> Result<()> {
        let query =
            Query::new("INSERT INTO session (token, tenant, account, expires_ms) VALUES ($1, $2, $3, $4)")
                .bind(&session.token)
                .bind(session.tenant)
                .bind(session.user)
                .bind(session.expires);
        self.execute(query).await.map(drop)
    }

    async fn session_user(&self, token: &TokenHash, now: Timestamp) -> Result<Option<User>> {
        let query = Query::new(
            "SELECT account.* FROM session JOIN account
             ON account.tenant = session.tenant AND account.id = session.account
             WHERE session.token = $1 AND session.expires_ms > $2 AND account.role IS NOT NULL",
        );
        let found = self.find(query.bind(token).bind(now)).await?;
        found.first().map(rows::user).transpose()
    }

    async fn end_session(&self, token: &TokenHash) -> Result<()> {
        self.execute(Query::new("DELETE FROM session WHERE token = $1").bind(token)).await.map(drop)
    }

    async fn add_key(&self, key: &ApiKey) -> Result<()> {
        let query = Query::new(
            "INSERT INTO api_key (tenant, id, name, good_for, secret, created_ms) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(key.tenant)
        .bind(&key.id)
        .bind(&key.name)
        .bind(name_of(&key.good_for))
        .bind(&key.secret)
        .bind(key.created);
        self.execute(query).await.map(drop)
    }

    async fn key(&self, id: &str) -> Result<Option<ApiKey>> {
        let found = self.find(Query::new("SELECT * FROM api_key WHERE id = $1").bind(id)).await?;
        found.first().map(rows::key).transpose()
    }

    async fn keys(&self, tenant: Tenant) -> Result<Vec<ApiKey>> {
        let query = Query::new("SELECT * FROM api_key WHERE tenant = $1 ORDER BY created_ms DESC, id");
        self.find(query.bind(tenant)).await?.iter().map(rows::key).collect()
    }

    async fn revoke_key(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<bool> {
        let query = Query::new(
            "UPDATE api_key SET revoked_ms = $1 WHERE tenant = $2 AND id = $3 AND revoked_ms IS NULL",
        );
        Ok(self.execute(query.bind(now).bind(tenant).bind(id)).await? == 1)
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<()> {
        let number = self.next_number(Numbered::Audit);
        let text = format!(
            "INSERT INTO audit (tenant, number, at_ms, actor, action, subject) VALUES ($1, {number}, $2, $3, $4, $5)"
        );
        let query = Query::new(text)
            .bind(entry.tenant)
            .bind(entry.at)
            .bind(&entry.actor)
            .bind(&entry.action)
            .bind(&entry.subject);
        self.execute(query).await.map(drop)
    }

    async fn audit_log(
        &self,
        tenant: Tenant,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        let query = Query::new(
            "SELECT * FROM audit WHERE tenant = $1 AND at_ms < $2 ORDER BY at_ms DESC, number DESC LIMIT $3",
        )
        .bind(tenant)
        .bind(before.map_or(i64::MAX, Timestamp::as_millisecond))
        .bind(limit);
        self.find(query).await?.iter().map(rows::audit).collect()
    }
}

/// Adds a user, unless the name is taken.
pub(super) fn insert_user(new: &NewUser) -> Query {
    let user = &new.user;
    Query::new(
        "INSERT INTO account (tenant, id, name, password, role, created_ms) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(user.tenant)
    .bind(user.id)
    .bind(&user.name)
    .bind(&new.password_hash)
    .bind(user.role.map(Role::name))
    .bind(user.created)
}

fn name_is_taken() -> StoreError {
    StoreError::Taken("that name")
}

fn end_sessions(tenant: Tenant, user: Uuid) -> Query {
    Query::new("DELETE FROM session WHERE tenant = $1 AND account = $2").bind(tenant).bind(user)
}
