//! Where tenants want to be told of changed verdicts, and what is to be told.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Result, Summary, Tenant};

/// What messages of one webhook are signed with. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(pub Vec<u8>);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// What an address is told, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookKind {
    /// Changed verdicts, as signed JSON (Standard Webhooks).
    Verdicts,
    /// Alerts, as signed JSON (Standard Webhooks).
    Alerts,
    /// Alerts, as JSON that Slack and what is compatible with it takes (incoming webhooks).
    Slack,
    /// Alerts, as Alertmanager takes them (API v2).
    Alertmanager,
    /// Alerts, as mail; the address is `mailto:…`.
    Mail,
}

impl WebhookKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Verdicts, Self::Alerts, Self::Slack, Self::Alertmanager, Self::Mail];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verdicts => "verdicts",
            Self::Alerts => "alerts",
            Self::Slack => "slack",
            Self::Alertmanager => "alertmanager",
            Self::Mail => "mail",
        }
    }

    /// What it is, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Verdicts => "changed verdicts, signed JSON",
            Self::Alerts => "alerts, signed JSON",
            Self::Slack => "alerts, for Slack",
            Self::Alertmanager => "alerts, for Alertmanager",
            Self::Mail => "alerts, by mail",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether its messages are signed.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::Verdicts | Self::Alerts)
    }
}

/// An address that is told of changed verdicts, or of alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Whose verdicts.
    pub tenant: Tenant,
    /// What pages and the audit log call it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where messages go.
    pub url: String,
    /// What they are signed with.
    pub secret: WebhookSecret,
    /// Whether they name persons and agents.
    pub personal: bool,
    /// What it is told, and in which form.
    pub kind: WebhookKind,
    /// Who made it.
    pub author: String,
    /// When.
    pub created: Timestamp,
    /// Since when nothing is sent.
    pub paused: Option<Timestamp>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is to be sent, or sent again.
    Waiting,
    /// Its receiver took it.
    Delivered,
    /// Its receiver did not take it for days.
    GivenUp,
}

/// A message to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Whose.
    pub tenant: Tenant,
    /// The message: a receiver that gets it twice knows it by this.
    pub id: Uuid,
    /// Its webhook.
    pub webhook: String,
    /// The report that it tells of; none for a trial.
    pub report: Option<Uuid>,
    /// What it tells, in a few words.
    pub what: String,
    /// The message as it is sent.
    pub body: String,
    /// What became of it.
    pub state: DeliveryState,
    /// Since when.
    pub created: Timestamp,
    /// When it is to be sent next.
    pub due: Timestamp,
    /// How often it was sent.
    pub tries: u32,
    /// What came of the last time.
    pub answer: Option<String>,
    /// When it was delivered or given up.
    pub done: Option<Timestamp>,
}

impl Delivery {
    /// A message that was not sent yet and tells of no report.
    pub fn new(to: &Webhook, id: Uuid, what: impl Into<String>, body: &Value, at: Timestamp) -> Self {
        Self {
            tenant: to.tenant,
            id,
            webhook: to.id.clone(),
            report: None,
            what: what.into(),
            body: body.to_string(),
            state: DeliveryState::Waiting,
            created: at,
            due: at,
            tries: 0,
            answer: None,
            done: None,
        }
    }
}

/// Webhooks and their messages.
#[async_trait]
pub trait WebhookStore: Send + Sync {
    /// Adds a webhook.
    async fn add_webhook(&self, webhook: &Webhook) -> Result<()>;

    /// The webhooks of a tenant, by name.
    async fn webhooks(&self, tenant: Tenant) -> Result<Vec<Webhook>>;

    /// One of them.
    async fn webhook(&self, tenant: Tenant, id: &str) -> Result<Option<Webhook>>;

    /// Those of all tenants that are told of changed verdicts and are not paused.
    async fn webhooks_in_use(&self) -> Result<Vec<Webhook>>;

    /// Pauses a webhook, or has it go on. False when the tenant has none of that id.
    async fn pause_webhook(&self, tenant: Tenant, id: &str, paused: Option<Timestamp>) -> Result<bool>;

    /// Gives a webhook another secret. False when the tenant has none of that id.
    async fn set_webhook_secret(&self, tenant: Tenant, id: &str, secret: &WebhookSecret) -> Result<bool>;

    /// Deletes a webhook and its messages. False when the tenant has none of that id.
    async fn remove_webhook(&self, tenant: Tenant, id: &str) -> Result<bool>;

    /// The report before this one of the same agent (else person, else of nobody in particular), site and endpoint. `None` where there is
    /// none, or where the report names neither agent, person nor site.
    async fn previous_in_series(&self, tenant: Tenant, of: &Summary) -> Result<Option<Summary>>;

    /// Keeps messages to be sent, all or none. One whose id is there already is the same message.
    async fn enqueue(&self, messages: &[Delivery]) -> Result<()>;

    /// Webhooks with messages that are due.
    async fn webhooks_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Webhook>>;

    /// The messages of a webhook that are due, oldest first.
    async fn due(&self, tenant: Tenant, webhook: &str, now: Timestamp, limit: u32) -> Result<Vec<Delivery>>;

    /// Takes a message to send it: until `again` nobody else does. False when somebody else took it meanwhile.
    async fn take_delivery(&self, message: &Delivery, again: Timestamp) -> Result<bool>;

    /// Writes down what came of sending a message: its receiver took it, it is given up, or it is sent again when it is due.
    async fn settle_delivery(
        &self,
        message: &Delivery,
        state: DeliveryState,
        answer: &str,
        at: Timestamp,
    ) -> Result<()>;

    /// The latest messages of a webhook, newest first.
    async fn deliveries(&self, tenant: Tenant, webhook: &str, limit: u32) -> Result<Vec<Delivery>>;

    /// Has a message that was delivered or given up sent again. False when there is none.
    async fn send_again(&self, tenant: Tenant, webhook: &str, id: Uuid, now: Timestamp) -> Result<bool>;
}
