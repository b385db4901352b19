//! Check links and share links.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Backend, Query, rows};
use crate::store::{CheckLink, LinkStore, Result, ShareLink, Tenant, TokenHash};

#[async_trait]
impl<B: Backend> LinkStore for B {
    async fn add_check_link(&self, link: &CheckLink) -> Result<()> {
        let query = Query::new(
            "INSERT INTO check_link (tenant, id, token, ticket, person, target, author, created_ms, expires_ms, most, used)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)",
        )
        .bind(link.tenant)
        .bind(&link.id)
        .bind(&link.token)
        .bind(&link.ticket)
        .bind(&link.person)
        .bind(&link.target)
        .bind(&link.author)
        .bind(link.created)
        .bind(link.expires)
        .bind(link.most);
        self.execute(query).await.map(drop)
    }

    async fn check_link(&self, token: &TokenHash) -> Result<Option<CheckLink>> {
        let found = self.find(Query::new("SELECT * FROM check_link WHERE token = $1").bind(token)).await?;
        found.first().map(rows::check_link).transpose()
    }

    async fn check_links(&self, tenant: Tenant, limit: u32) -> Result<Vec<CheckLink>> {
        let query =
            Query::new("SELECT * FROM check_link WHERE tenant = $1 ORDER BY created_ms DESC, id LIMIT $2");
        self.find(query.bind(tenant).bind(limit)).await?.iter().map(rows::check_link).collect()
    }

    async fn revoke_check_link(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<bool> {
        let query = Query::new(
            "UPDATE check_link SET revoked_ms = $1 WHERE tenant = $2 AND id = $3 AND revoked_ms IS NULL",
        );
        Ok(self.execute(query.bind(now).bind(tenant).bind(id)).await? == 1)
    }

    async fn add_share_link(&self, link: &ShareLink) -> Result<()> {
        let query = Query::new(
            "INSERT INTO share_link (tenant, id, token, report, author, created_ms, expires_ms, views)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0)",
        )
        .bind(link.tenant)
        .bind(&link.id)
        .bind(&link.token)
        .bind(link.report)
        .bind(&link.author)
        .bind(link.created)
        .bind(link.expires);
        self.execute(query).await.map(drop)
    }

    async fn share_link(&self, token: &TokenHash) -> Result<Option<ShareLink>> {
        let found = self.find(Query::new("SELECT * FROM share_link WHERE token = $1").bind(token)).await?;
        found.first().map(rows::share_link).transpose()
    }

    async fn share_links(&self, tenant: Tenant, report: Uuid) -> Result<Vec<ShareLink>> {
        let query = Query::new(
            "SELECT * FROM share_link WHERE tenant = $1 AND report = $2 ORDER BY created_ms DESC, id",
        );
        self.find(query.bind(tenant).bind(report)).await?.iter().map(rows::share_link).collect()
    }

    async fn view_share_link(&self, token: &TokenHash, now: Timestamp) -> Result<bool> {
        let query = Query::new(
            "UPDATE share_link SET views = views + 1, viewed_ms = $1
             WHERE token = $2 AND revoked_ms IS NULL AND expires_ms > $1",
        );
        Ok(self.execute(query.bind(now).bind(token)).await? == 1)
    }

    async fn revoke_share_link(&self, tenant: Tenant, id: &str, now: Timestamp) -> Result<Option<Uuid>> {
        let query = Query::new(
            "UPDATE share_link SET revoked_ms = $1 WHERE tenant = $2 AND id = $3 AND revoked_ms IS NULL RETURNING report",
        );
        let found = self.change(query.bind(now).bind(tenant).bind(id)).await?;
        found.first().map(|row| row.id("report")).transpose()
    }
}

/// Takes one of a check link's uses, if it is good at that time.
pub(crate) fn take_use(tenant: Tenant, id: &str, now: Timestamp) -> Query {
    Query::new(
        "UPDATE check_link SET used = used + 1
         WHERE tenant = $1 AND id = $2 AND used < most AND revoked_ms IS NULL AND expires_ms > $3",
    )
    .bind(tenant)
    .bind(id)
    .bind(now)
}
