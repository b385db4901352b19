//! Webhooks and their messages.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Backend, Done, Query, Step, rows};
use crate::store::{
    Delivery, DeliveryState, Result, Summary, Tenant, Webhook, WebhookSecret, WebhookStore, name_of,
};

#[async_trait]
impl<B: Backend> WebhookStore for B {
    async fn add_webhook(&self, webhook: &Webhook) -> Result<()> {
        let query = Query::new(
            "INSERT INTO webhook (tenant, id, name, url, secret, personal, author, created_ms, kind)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(webhook.tenant)
        .bind(&webhook.id)
        .bind(&webhook.name)
        .bind(&webhook.url)
        .bind(webhook.secret.0.clone())
        .bind(webhook.personal)
        .bind(&webhook.author)
        .bind(webhook.created)
        .bind(name_of(&webhook.kind));
        self.execute(query).await.map(drop)
    }

    async fn webhooks(&self, tenant: Tenant) -> Result<Vec<Webhook>> {
        let query = Query::new("SELECT * FROM webhook WHERE tenant = $1 ORDER BY name, id").bind(tenant);
        self.find(query).await?.iter().map(rows::webhook).collect()
    }

    async fn webhook(&self, tenant: Tenant, id: &str) -> Result<Option<Webhook>> {
        let query = Query::new("SELECT * FROM webhook WHERE tenant = $1 AND id = $2").bind(tenant).bind(id);
        self.find(query).await?.first().map(rows::webhook).transpose()
    }

    async fn webhooks_in_use(&self) -> Result<Vec<Webhook>> {
        let query = Query::new(
            "SELECT * FROM webhook WHERE paused_ms IS NULL AND kind = 'verdicts' ORDER BY tenant, id",
        );
        self.find(query).await?.iter().map(rows::webhook).collect()
    }

    async fn pause_webhook(&self, tenant: Tenant, id: &str, paused: Option<Timestamp>) -> Result<bool> {
        let query = match paused {
            Some(at) => Query::new("UPDATE webhook SET paused_ms = $3 WHERE tenant = $1 AND id = $2")
                .bind(tenant)
                .bind(id)
                .bind(at),
            None => Query::new("UPDATE webhook SET paused_ms = NULL WHERE tenant = $1 AND id = $2")
                .bind(tenant)
                .bind(id),
        };
        Ok(self.execute(query).await? == 1)
    }

    async fn set_webhook_secret(&self, tenant: Tenant, id: &str, secret: &WebhookSecret) -> Result<bool> {
        let query = Query::new("UPDATE webhook SET secret = $3 WHERE tenant = $1 AND id = $2")
            .bind(tenant)
            .bind(id)
            .bind(secret.0.clone());
        Ok(self.execute(query).await? == 1)
    }

    async fn remove_webhook(&self, tenant: Tenant, id: &str) -> Result<bool> {
        let of = |text: &'static str| Query::new(text).bind(tenant).bind(id);
        let steps = vec![
            Step::needed(of("DELETE FROM webhook WHERE tenant = $1 AND id = $2")),
            Step::any(of("DELETE FROM delivery WHERE tenant = $1 AND webhook = $2")),
        ];
        Ok(self.together(steps).await? != Done::WithoutEffect(0))
    }

    async fn previous_in_series(&self, tenant: Tenant, of: &Summary) -> Result<Option<Summary>> {
        let mut query = Query::new("SELECT * FROM report");
        query.push(" WHERE tenant = ", tenant);
        match (&of.agent, &of.person, &of.site) {
            (Some(agent), ..) => query.push(" AND agent = ", agent),
            (None, Some(person), _) => {
                query.push(" AND person = ", person);
                query.push_text(" AND agent IS NULL");
            }
            (None, None, Some(_)) => query.push_text(" AND person IS NULL AND agent IS NULL"),
            (None, None, None) => return Ok(None),
        }
        for (equal, missing, value) in [
            (" AND site = ", " AND site IS NULL", &of.site),
            (" AND endpoint = ", " AND endpoint IS NULL", &of.endpoint),
        ] {
            match value {
                Some(value) => query.push(equal, value),
                None => query.push_text(missing),
            }
        }
        query.push(" AND (started_ms < ", of.started);
        query.push(" OR (started_ms = ", of.started);
        query.push(" AND id < ", of.id);
        query.push_text(")) ORDER BY started_ms DESC, id DESC LIMIT 1");
        self.find(query).await?.first().map(rows::summary).transpose()
    }

    async fn enqueue(&self, messages: &[Delivery]) -> Result<()> {
        let insert = |message: &Delivery| {
            Query::new(
                "INSERT INTO delivery (tenant, id, webhook, report, what, body, state, created_ms, due_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
            )
            .bind(message.tenant)
            .bind(message.id)
            .bind(&message.webhook)
            .bind(message.report.unwrap_or(Uuid::nil()))
            .bind(&message.what)
            .bind(&message.body)
            .bind(name_of(&message.state))
            .bind(message.created)
            .bind(message.due)
        };
        self.together(messages.iter().map(insert).map(Step::any).collect()).await.map(drop)
    }

    async fn webhooks_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Webhook>> {
        let query = Query::new(
            "SELECT webhook.* FROM webhook
             JOIN (SELECT DISTINCT tenant, webhook FROM delivery WHERE state = 'waiting' AND due_ms <= $1) AS waiting
             ON waiting.tenant = webhook.tenant AND waiting.webhook = webhook.id
             WHERE webhook.paused_ms IS NULL ORDER BY webhook.tenant, webhook.id LIMIT $2",
        );
        self.find(query.bind(now).bind(limit)).await?.iter().map(rows::webhook).collect()
    }

    async fn due(&self, tenant: Tenant, webhook: &str, now: Timestamp, limit: u32) -> Result<Vec<Delivery>> {
        let query = Query::new(
            "SELECT * FROM delivery WHERE tenant = $1 AND webhook = $2 AND state = 'waiting' AND due_ms <= $3
             ORDER BY due_ms, id LIMIT $4",
        );
        let found = self.find(query.bind(tenant).bind(webhook).bind(now).bind(limit)).await?;
        found.iter().map(rows::delivery).collect()
    }

    async fn take_delivery(&self, message: &Delivery, again: Timestamp) -> Result<bool> {
        let query = Query::new(
            "UPDATE delivery SET due_ms = $1, tries = tries + 1
             WHERE tenant = $2 AND id = $3 AND state = 'waiting' AND due_ms = $4",
        );
        let query = query.bind(again).bind(message.tenant).bind(message.id).bind(message.due);
        Ok(self.execute(query).await? == 1)
    }

    async fn settle_delivery(
        &self,
        message: &Delivery,
        state: DeliveryState,
        answer: &str,
        at: Timestamp,
    ) -> Result<()> {
        let text = match state {
            DeliveryState::Waiting => {
                "UPDATE delivery SET answer = $3, due_ms = $4, state = $5 WHERE tenant = $1 AND id = $2"
            }
            DeliveryState::Delivered | DeliveryState::GivenUp => {
                "UPDATE delivery SET answer = $3, done_ms = $4, state = $5 WHERE tenant = $1 AND id = $2"
            }
        };
        let query = Query::new(text)
            .bind(message.tenant)
            .bind(message.id)
            .bind(answer)
            .bind(at)
            .bind(name_of(&state));
        self.execute(query).await.map(drop)
    }

    async fn deliveries(&self, tenant: Tenant, webhook: &str, limit: u32) -> Result<Vec<Delivery>> {
        let query = Query::new(
            "SELECT * FROM delivery WHERE tenant = $1 AND webhook = $2 ORDER BY created_ms DESC, id LIMIT $3",
        );
        self.find(query.bind(tenant).bind(webhook).bind(limit)).await?.iter().map(rows::delivery).collect()
    }

    async fn send_again(&self, tenant: Tenant, webhook: &str, id: Uuid, now: Timestamp) -> Result<bool> {
        let query = Query::new(
            "UPDATE delivery SET state = 'waiting', due_ms = $4, tries = 0, done_ms = NULL
             WHERE tenant = $1 AND webhook = $2 AND id = $3 AND state <> 'waiting'",
        );
        Ok(self.execute(query.bind(tenant).bind(webhook).bind(id).bind(now)).await? == 1)
    }
}
