//! Which incidents are told by which rules, now.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::message::{Alerted, Event};
use super::rules::{Rule, Silence};
use crate::detect::Scope;
use crate::store::{Alert, Delivery, Incident, Result, Store, Tenant, Webhook, WebhookKind};

/// How often Alertmanager is told again of an alert that lasts, where the rule says nothing: it forgets those of which it hears no more.
const ALERTMANAGER_AGAIN: SignedDuration = SignedDuration::from_hours(12);

/// Open incidents that are looked at.
const MOST: u32 = 10_000;

/// What a tenant's rules are about.
struct Setting<'a> {
    store: &'a dyn Store,
    receivers: BTreeMap<String, Webhook>,
    silences: Vec<Silence>,
    base_url: &'a str,
    now: Timestamp,
}

/// Makes the messages that are due; whether there were any.
pub(super) async fn look(
    store: &dyn Store,
    tenant: Tenant,
    now: Timestamp,
    base_url: &str,
    wake: Option<&Notify>,
) -> Result<bool> {
    let rules = store.alert_rules(tenant).await?;
    let told = store.alerts(tenant).await?;
    if rules.is_empty() && told.is_empty() {
        return Ok(false);
    }
    let mut incidents: BTreeMap<_, Incident> = BTreeMap::new();
    for incident in store.incidents(tenant, true, None, MOST).await? {
        incidents.insert(incident.id, incident);
    }
    // Those that are over, and of which this was not told yet.
    for alert in &told {
        if incidents.contains_key(&alert.incident) {
            continue;
        }
        match store.incident(tenant, alert.incident).await? {
            Some(incident) => drop(incidents.insert(incident.id, incident)),
            // It was of one computer and is deleted with its reports.
            None => store.put_alert(&Alert { over: Some(now), ..alert.clone() }).await?,
        }
    }
    let silences = store.silences(tenant).await?;
    let webhooks = store.webhooks(tenant).await?;
    let setting = Setting {
        store,
        receivers: webhooks.into_iter().map(|webhook| (webhook.id.clone(), webhook)).collect(),
        silences: silences.into_iter().filter_map(|kept| serde_json::from_value(kept.says).ok()).collect(),
        base_url,
        now,
    };
    let mut any = false;
    for kept in &rules {
        let Ok(rule) = serde_json::from_value::<Rule>(kept.says.clone()) else { continue };
        for incident in incidents.values() {
            let alert = told.iter().find(|alert| alert.rule == kept.id && alert.incident == incident.id);
            any |= setting.tell(&kept.id, &rule, incident, alert).await?;
        }
    }
    if let (true, Some(wake)) = (any, wake) {
        wake.notify_one();
    }
    Ok(any)
}

impl Setting<'_> {
    /// Tells what is due of one incident by one rule; whether anything was.
    async fn tell(&self, id: &str, rule: &Rule, incident: &Incident, told: Option<&Alert>) -> Result<bool> {
        let mut alert = match told {
            Some(alert) => alert.clone(),
            None if self.is_to_fire(rule, incident) => Alert {
                tenant: incident.tenant,
                rule: id.to_owned(),
                incident: incident.id,
                over: None,
                sent: BTreeMap::new(),
                fired: self.now,
            },
            None => return Ok(false),
        };
        let before = alert.clone();
        let messages = match self.end(rule, incident) {
            Some(End::Told) => {
                alert.over = Some(self.now);
                self.messages(id, rule, incident, &alert, |_| Some(Event::Resolved)).await?
            }
            Some(End::Quiet) => {
                alert.over = Some(self.now);
                Vec::new()
            }
            None if incident.over.is_some() || rule.paused || self.is_silenced(incident) => Vec::new(),
            None => {
                let sent = alert.sent.clone();
                let due = |to: &Webhook| {
                    let n = self.times(rule, to, alert.fired);
                    (sent.get(&to.id) != Some(&n)).then_some(Event::Firing(n))
                };
                let messages = self.messages(id, rule, incident, &alert, due).await?;
                for to in self.receivers_of(rule) {
                    alert.sent.insert(to.id.clone(), self.times(rule, to, alert.fired));
                }
                messages
            }
        };
        if messages.is_empty() && alert == before && told.is_some() {
            return Ok(false);
        }
        // First the messages, whose ids follow from what they tell: after a crash in between they are made again, and are the same.
        self.store.enqueue(&messages).await?;
        self.store.put_alert(&alert).await?;
        Ok(true)
    }

    fn is_to_fire(&self, rule: &Rule, incident: &Incident) -> bool {
        let lasted = self.now.duration_since(incident.noticed);
        incident.over.is_none()
            && !rule.paused
            && rule.fits.fits(incident)
            && lasted >= minutes(rule.for_minutes)
            && !self.is_silenced(incident)
    }

    fn is_silenced(&self, incident: &Incident) -> bool {
        self.silences.iter().any(|silence| silence.holds(incident, self.now))
    }

    /// Whether there is nothing more to tell after this.
    fn end(&self, rule: &Rule, incident: &Incident) -> Option<End> {
        if incident.told.part_of.is_some() {
            // The alert of the whole goes on.
            return Some(End::Quiet);
        }
        let over = incident.over?;
        (self.now.duration_since(over) >= minutes(rule.resolve_after_minutes)).then_some(End::Told)
    }

    /// How often a receiver was to be told again by now.
    fn times(&self, rule: &Rule, to: &Webhook, fired: Timestamp) -> u64 {
        let own = rule.repeat_minutes.map(minutes);
        let every = match to.kind {
            WebhookKind::Alertmanager => Some(own.unwrap_or(ALERTMANAGER_AGAIN).min(ALERTMANAGER_AGAIN)),
            _ => own,
        };
        let passed = self.now.duration_since(fired).as_secs().max(0);
        every.map_or(0, |every| u64::try_from(passed / every.as_secs().max(1)).unwrap_or(0))
    }

    fn receivers_of<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a Webhook> {
        rule.receivers
            .iter()
            .filter_map(|id| self.receivers.get(id))
            .filter(|to| to.kind != WebhookKind::Verdicts)
    }

    async fn messages(
        &self,
        id: &str,
        rule: &Rule,
        incident: &Incident,
        alert: &Alert,
        event: impl Fn(&Webhook) -> Option<Event>,
    ) -> Result<Vec<Delivery>> {
        let agent = self.agent(incident).await?;
        let alerted = Alerted {
            incident,
            rule: id,
            rule_name: &rule.name,
            base_url: self.base_url,
            agent: agent.as_deref(),
        };
        let messages = self.receivers_of(rule).filter_map(|to| {
            let event = event(to)?;
            // Who was not told that it began is not told that it is over.
            let heard = event != Event::Resolved || alert.sent.contains_key(&to.id);
            heard.then(|| alerted.message(to, event, self.now))
        });
        Ok(messages.collect())
    }

    /// The name of an incident's one agent.
    async fn agent(&self, incident: &Incident) -> Result<Option<String>> {
        let Scope::Agent(agent) = &incident.told.scope else { return Ok(None) };
        let Ok(id) = agent.parse() else { return Ok(Some(agent.clone())) };
        let found = self.store.agent(id).await?.filter(|found| found.tenant == incident.tenant);
        Ok(found.map(|agent| agent.name))
    }
}

enum End {
    /// It is over, and that is told.
    Told,
    /// There is nothing more to tell.
    Quiet,
}

fn minutes(minutes: u32) -> SignedDuration {
    SignedDuration::from_mins(minutes.into())
}
