//! Which reports changed a verdict, and what is told of them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::clock::{Clock, id_of, new_id};
use crate::store::{Delivery, Result, Store, Summary, Tenant, Webhook, name_of};

/// How old a report may be when it comes in: what an agent kept for longer is history, not news.
const NEWS: SignedDuration = SignedDuration::from_hours(24);

/// Looks whether reports changed a verdict.
#[derive(Clone)]
pub(crate) struct Changes {
    /// Links begin so.
    pub(crate) base_url: String,
    pub(crate) clock: Clock,
    /// Notified where there is something to send.
    pub(crate) wake: Arc<Notify>,
}

impl Changes {
    /// Makes a message for each of these webhooks, if a report's verdict is another one than before.
    pub(crate) async fn look(
        &self,
        store: &dyn Store,
        webhooks: &[Webhook],
        tenant: Tenant,
        id: Uuid,
    ) -> Result<()> {
        let told: Vec<&Webhook> = webhooks.iter().filter(|webhook| webhook.tenant == tenant).collect();
        if told.is_empty() {
            return Ok(());
        }
        let Some(now) = store.summary(tenant, id).await? else { return Ok(()) };
        if now.received.duration_since(now.started) > NEWS {
            return Ok(());
        }
        let Some(before) = store.previous_in_series(tenant, &now).await? else { return Ok(()) };
        if before.overall == now.overall {
            return Ok(());
        }
        let messages: Vec<Delivery> = told
            .into_iter()
            .map(|webhook| message(webhook, &before, &now, &self.base_url, self.clock.now()))
            .collect();
        store.enqueue(&messages).await?;
        self.wake.notify_one();
        Ok(())
    }
}

fn message(webhook: &Webhook, before: &Summary, now: &Summary, base_url: &str, at: Timestamp) -> Delivery {
    let mut data = json!({
        "report": told_of(now, base_url),
        "before": { "id": before.id, "verdict": before.overall, "started": before.started },
        "verdict": now.overall,
        "site": now.site,
        "endpoint": now.endpoint,
        "ticket": now.ticket,
        "place": now.place,
        "direction": now.direction,
        "cause": now.cause,
        "series": series(webhook, now),
    });
    if let (true, Value::Object(fields)) = (webhook.personal, &mut data) {
        fields.insert("person".to_owned(), json!(now.person));
        fields.insert("agent".to_owned(), json!(now.agent));
        fields.insert("say".to_owned(), json!(now.say));
    }
    let body = json!({ "type": "verdict.changed", "timestamp": at.to_string(), "data": data });
    // Always the same one for a report.
    let id = id_of(&format!("greenroom webhook message\n{} {} {}", webhook.tenant.0, webhook.id, now.id));
    let what = format!("{} → {}", name_of(&before.overall), name_of(&now.overall));
    Delivery { report: Some(now.id), ..Delivery::new(webhook, id, what, &body, at) }
}

/// A message that says nothing, to see whether a receiver takes one.
pub(crate) fn trial(webhook: &Webhook, base_url: &str, at: Timestamp) -> Delivery {
    let body = crate::incidents::trial(webhook, base_url, at);
    Delivery::new(webhook, new_id(at), "a trial", &body, at)
}

fn told_of(report: &Summary, base_url: &str) -> Value {
    json!({
        "id": report.id,
        "code": report.code,
        "started": report.started,
        "certain": report.certain,
        "url": format!("{base_url}/reports/{}", report.id),
    })
}

/// What a receiver tells series apart by without being told of whom they are: what is hashed cannot be guessed without the secret.
fn series(webhook: &Webhook, report: &Summary) -> String {
    let of =
        json!([report.agent, report.agent.is_none().then_some(&report.person), report.site, report.endpoint]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &webhook.secret.0);
    let tag = hmac::sign(&key, format!("greenroom series\n{of}").as_bytes());
    tag.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}
