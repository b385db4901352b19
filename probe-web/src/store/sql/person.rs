//! Somebody taken out of what is kept.

use async_trait::async_trait;

use super::{Backend, Done, Query, Step, rows};
use crate::store::{AuditEntry, CheckLink, Forgotten, PersonStore, Redacted, Result, StoreError, Tenant};

#[async_trait]
impl<B: Backend> PersonStore for B {
    async fn check_links_for(&self, tenant: Tenant, person: &str) -> Result<Vec<CheckLink>> {
        let query = Query::new(
            "SELECT * FROM check_link WHERE tenant = $1 AND person = $2 ORDER BY created_ms DESC, id",
        );
        self.find(query.bind(tenant).bind(person)).await?.iter().map(rows::check_link).collect()
    }

    async fn searches_for(&self, tenant: Tenant, person: &str) -> Result<Vec<AuditEntry>> {
        let query = Query::new(
            "SELECT * FROM audit WHERE tenant = $1 AND subject IN ($2, $3) ORDER BY at_ms DESC, number DESC",
        );
        let query = query.bind(tenant).bind(person).bind(format!("person={person}"));
        self.find(query).await?.iter().map(rows::audit).collect()
    }

    async fn put_redacted(&self, tenant: Tenant, reports: Vec<Redacted>) -> Result<()> {
        self.redact(tenant, reports).await
    }

    async fn forget_person(&self, tenant: Tenant, person: &str) -> Result<Forgotten> {
        let links = Query::new("UPDATE check_link SET person = NULL WHERE tenant = $1 AND person = $2");
        // A search by several fields says them one after the other: one for somebody whose name only begins so loses its words, too.
        let entries = Query::new(
            "UPDATE audit SET subject = '' WHERE tenant = $1 AND (subject = $2 OR subject LIKE $3 ESCAPE '!')",
        );
        let steps = vec![
            Step::any(links.bind(tenant).bind(person)),
            Step::any(entries.bind(tenant).bind(person).bind(format!("%person={}%", literally(person)))),
        ];
        match self.together(steps).await? {
            Done::All(changed) => match changed[..] {
                [links, entries] => Ok(Forgotten { links, entries }),
                _ => Err(StoreError::Damaged("two statements told of others".to_owned())),
            },
            Done::WithoutEffect(_) => Ok(Forgotten::default()),
        }
    }
}

/// Text as `LIKE` finds it and nothing else.
fn literally(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// What is cleared in the header of a report that somebody was taken out of, beside where its JSON is.
pub(crate) const CLEARED: &str = "person = NULL, agent = NULL";
