//! Whom a sign-in provider knows.

use std::collections::BTreeSet;

use async_trait::async_trait;
use uuid::Uuid;

use super::accounts::insert_user;
use super::{Backend, Done, Query, Step, rows};
use crate::store::{IdentityStore, NewUser, Result, Role, StoreError, Tenant, User};

/// Names that are tried for somebody whose own name is taken.
const NAMES: u32 = 50;

#[async_trait]
impl<B: Backend> IdentityStore for B {
    async fn sign_in_by(&self, issuer: &str, subject: &str, new: &NewUser) -> Result<Option<User>> {
        let tenant = new.user.tenant;
        if let Some(known) = account_of(self, issuer, subject, tenant).await? {
            return let_in(self, issuer, subject, known, new.user.role).await;
        }
        let exists = self.find(Query::new("SELECT 1 FROM tenant WHERE id = $1").bind(tenant)).await?;
        if exists.is_empty() {
            return Ok(None);
        }
        for nth in 0..NAMES {
            let mut new = new.clone();
            match nth {
                0 => {}
                1 => new.user.name = format!("{} (provider)", new.user.name),
                nth => new.user.name = format!("{} (provider {nth})", new.user.name),
            }
            let identity = Query::new(
                "INSERT INTO identity (issuer, subject, tenant, account) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            )
            .bind(issuer)
            .bind(subject)
            .bind(tenant)
            .bind(new.user.id);
            match self.together(vec![Step::needed(insert_user(&new)), Step::needed(identity)]).await? {
                Done::All(_) => return let_in(self, issuer, subject, new.user.clone(), new.user.role).await,
                Done::WithoutEffect(0) => {}
                // Another node made it at the same time.
                Done::WithoutEffect(_) => {
                    let Some(known) = account_of(self, issuer, subject, tenant).await? else { break };
                    return let_in(self, issuer, subject, known, new.user.role).await;
                }
            }
        }
        Err(StoreError::Taken("every name like that one"))
    }

    async fn by_provider(&self, tenant: Tenant) -> Result<BTreeSet<Uuid>> {
        let found =
            self.find(Query::new("SELECT account FROM identity WHERE tenant = $1").bind(tenant)).await?;
        found.iter().map(|row| row.id("account")).collect()
    }
}

async fn account_of<B: Backend>(
    store: &B,
    issuer: &str,
    subject: &str,
    tenant: Tenant,
) -> Result<Option<User>> {
    let query = Query::new(
        "SELECT account.* FROM identity JOIN account ON account.tenant = identity.tenant AND account.id = identity.account
         WHERE identity.issuer = $1 AND identity.subject = $2 AND identity.tenant = $3",
    );
    let found = store.find(query.bind(issuer).bind(subject).bind(tenant)).await?;
    found.first().map(rows::user).transpose()
}

async fn let_in<B: Backend>(
    store: &B,
    issuer: &str,
    subject: &str,
    user: User,
    role: Option<Role>,
) -> Result<Option<User>> {
    // `role IS NOT NULL`: whom an admin shut out stays out, whatever the provider says.
    let change =
        Query::new("UPDATE account SET role = $1 WHERE tenant = $2 AND id = $3 AND role IS NOT NULL")
            .bind(role.map(Role::name))
            .bind(user.tenant)
            .bind(user.id);
    let elsewhere = Query::new(
        "DELETE FROM session WHERE tenant <> $3
         AND account IN (SELECT account FROM identity WHERE issuer = $1 AND subject = $2)",
    )
    .bind(issuer)
    .bind(subject)
    .bind(user.tenant);
    let done = store.together(vec![Step::needed(change), Step::any(elsewhere)]).await?;
    Ok((done != Done::WithoutEffect(0)).then_some(User { role, ..user }))
}
