//! Sends messages, again and again until they are taken, and gives up after days.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::mail::Mailer;
use super::sign::sign;
use crate::clock::Clock;
use crate::outbound::{Bounds, Outbound};
use crate::store::{Delivery, DeliveryState, Result, Store, Webhook, WebhookKind};

/// How long after each failure a message is sent again; after the last one it is given up. As Standard Webhooks proposes.
const AGAIN: [SignedDuration; 9] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(5),
    SignedDuration::from_hours(10),
    SignedDuration::from_hours(14),
    SignedDuration::from_hours(20),
    SignedDuration::from_hours(24),
];

/// How long a receiver may take.
const TIME: Duration = Duration::from_secs(15);

/// Most octets that a receiver may say. None of them is kept or shown.
const OCTETS: usize = 16 << 10;

/// How long nobody else sends a message that somebody took: longer than it may take. Of a node that ended meanwhile, others take it then.
const TAKEN: SignedDuration = SignedDuration::from_secs(25);

/// How often to look for what is due.
const LOOK: Duration = Duration::from_secs(2);

/// Receivers at once. A slow one holds up its own messages alone.
const RECEIVERS: usize = 8;

/// Webhooks of one round, and messages of each.
const WEBHOOKS: u32 = 200;
const MESSAGES: u32 = 20;

/// Sends messages.
#[derive(Clone)]
pub(crate) struct Courier {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) outbound: Outbound,
    pub(crate) clock: Clock,
    pub(crate) allow_private: bool,
    /// Notified where there is something to send.
    pub(crate) wake: Arc<Notify>,
    /// Sends mail, where a server for that is known.
    pub(crate) mail: Option<Mailer>,
}

impl Courier {
    /// Sends what is due, until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let sent = tokio::select! {
                () = stop.cancelled() => return,
                sent = self.round() => sent,
            };
            match sent {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "webhooks cannot be looked at now"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Sends what is due now; whether there was anything.
    async fn round(&self) -> Result<bool> {
        let due = self.store.webhooks_due(self.clock.now(), WEBHOOKS).await?;
        let any = !due.is_empty();
        let done: Vec<Result<()>> = stream::iter(due)
            .map(|webhook| async move { self.serve(&webhook).await })
            .buffer_unordered(RECEIVERS)
            .collect()
            .await;
        done.into_iter().collect::<Result<()>>()?;
        Ok(any)
    }

    /// Sends a receiver its messages, one after the other, up to the first that it does not take.
    async fn serve(&self, webhook: &Webhook) -> Result<()> {
        for message in self.store.due(webhook.tenant, &webhook.id, self.clock.now(), MESSAGES).await? {
            let again = self.after(TAKEN);
            if !self.store.take_delivery(&message, again).await? {
                continue;
            }
            let message = Delivery { due: again, tries: message.tries.saturating_add(1), ..message };
            match self.send(webhook, &message).await {
                Ok(status) => {
                    let now = self.clock.now();
                    self.store.settle_delivery(&message, DeliveryState::Delivered, &status, now).await?;
                }
                Err(why) => return self.failed(webhook, &message, &why).await,
            }
        }
        Ok(())
    }

    async fn failed(&self, webhook: &Webhook, message: &Delivery, why: &Failure) -> Result<()> {
        let now = self.clock.now();
        if why.is_gone {
            // It says itself that it wants no more.
            self.store.pause_webhook(webhook.tenant, &webhook.id, Some(now)).await?;
        }
        let tries = usize::try_from(message.tries).unwrap_or(usize::MAX);
        let (state, at) = match tries.checked_sub(1).and_then(|failures| AGAIN.get(failures)) {
            Some(wait) => (DeliveryState::Waiting, self.after(*wait)),
            None => (DeliveryState::GivenUp, now),
        };
        tracing::info!(webhook = webhook.id, message = %message.id, why = why.words, "a webhook did not take a message");
        self.store.settle_delivery(message, state, &why.words, at).await
    }

    async fn send(&self, webhook: &Webhook, message: &Delivery) -> std::result::Result<String, Failure> {
        if webhook.kind == WebhookKind::Mail {
            return self.mail(webhook, message).await;
        }
        let bounds = Bounds { allow_private: self.allow_private, time: TIME, octets: OCTETS };
        let headers = headers(webhook, message, self.clock.now());
        let body = message.body.clone().into_bytes();
        let answer = self.outbound.ask(Method::POST, &webhook.url, headers, body, bounds).await;
        let answer = answer.map_err(|error| Failure { words: error.to_string(), is_gone: false })?;
        match answer.status {
            status if status.is_success() => Ok(status.as_u16().to_string()),
            status if status.is_redirection() => Err(Failure {
                words: format!(
                    "{}: it redirects, which is not followed; give the address that it leads to",
                    status.as_u16()
                ),
                is_gone: false,
            }),
            StatusCode::GONE => {
                Err(Failure { words: "410: it wants no more messages; paused".to_owned(), is_gone: true })
            }
            status => Err(Failure { words: status.as_u16().to_string(), is_gone: false }),
        }
    }

    async fn mail(&self, webhook: &Webhook, message: &Delivery) -> std::result::Result<String, Failure> {
        let failed = |words: String| Failure { words, is_gone: false };
        let none = || failed("this server has no mail server to send by: greenroom serve --smtp".to_owned());
        let mailer = self.mail.as_ref().ok_or_else(none)?;
        let sent = mailer.send(&webhook.url, message, self.clock.now()).await;
        sent.map_err(|error| failed(error.to_string()))
    }

    fn after(&self, time: SignedDuration) -> Timestamp {
        self.clock.now().checked_add(time).unwrap_or(Timestamp::MAX)
    }
}

/// Why a message was not taken.
struct Failure {
    words: String,
    is_gone: bool,
}

fn headers(webhook: &Webhook, message: &Delivery, now: Timestamp) -> HeaderMap {
    let (id, at) = (format!("msg_{}", message.id.simple()), now.as_second());
    if !webhook.kind.is_signed() {
        return HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    }
    let signature = sign(&webhook.secret, &id, at, &message.body);
    let pairs = [("webhook-id", id), ("webhook-timestamp", at.to_string()), ("webhook-signature", signature)];
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    for (name, value) in pairs {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}
