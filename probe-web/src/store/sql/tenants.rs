//! Those whose data one server keeps apart.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Backend, Done, Query, Row, Step, rows};
use crate::store::{NewUser, Result, Role, StoreError, Tenant, TenantInfo, TenantStore};

const LIST: &str = "SELECT tenant.id AS tenant, tenant.name, tenant.code, tenant.created_ms,
    (SELECT COUNT(*) FROM account WHERE account.tenant = tenant.id AND account.role IS NOT NULL) AS people
    FROM tenant";

#[async_trait]
impl<B: Backend> TenantStore for B {
    async fn tenant_list(&self) -> Result<Vec<TenantInfo>> {
        self.find(Query::new(format!("{LIST} ORDER BY tenant.id"))).await?.iter().map(info).collect()
    }

    async fn tenant_info(&self, tenant: Tenant) -> Result<Option<TenantInfo>> {
        let found = self.find(Query::new(format!("{LIST} WHERE tenant.id = $1")).bind(tenant)).await?;
        found.first().map(info).transpose()
    }

    async fn tenant_by_code(&self, code: &str) -> Result<Option<Tenant>> {
        let found = self.find(Query::new("SELECT id FROM tenant WHERE code = $1").bind(code)).await?;
        found.first().map(|row| row.int("id").map(Tenant)).transpose()
    }

    async fn make_tenant(&self, name: &str, code: &str, admin: &NewUser, now: Timestamp) -> Result<Tenant> {
        let tenant = Query::new(
            "INSERT INTO tenant (name, code, created_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(code)
        .bind(now);
        let user = &admin.user;
        let first = Query::new(
            "INSERT INTO account (tenant, id, name, password, role, created_ms)
             SELECT id, $1, $2, $3, $4, $5 FROM tenant WHERE code = $6 ON CONFLICT (name) DO NOTHING",
        )
        .bind(user.id)
        .bind(&user.name)
        .bind(&admin.password_hash)
        .bind(user.role.map(Role::name))
        .bind(user.created)
        .bind(code);
        match self.together(vec![Step::needed(tenant), Step::needed(first)]).await? {
            Done::All(_) => {}
            Done::WithoutEffect(0) => return Err(StoreError::Taken("a tenant of that name")),
            Done::WithoutEffect(_) => return Err(StoreError::Taken("that name")),
        }
        let made = self.tenant_by_code(code).await?;
        made.ok_or_else(|| StoreError::Damaged("a tenant that was made is gone".to_owned()))
    }
}

fn info(row: &Row) -> Result<TenantInfo> {
    Ok(TenantInfo {
        tenant: rows::tenant(row)?,
        name: row.text("name")?,
        code: row.text_or_none("code")?,
        created: row.time("created_ms")?,
        people: row.count("people")?,
    })
}
