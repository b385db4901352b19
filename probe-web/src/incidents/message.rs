//! What receivers are told, each in its own form.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::cause::{cause_words, headline, place_words, scope_words};
use crate::clock::id_of;
use crate::store::{Delivery, Incident, Severity, Webhook, WebhookKind, name_of};

/// How long Alertmanager takes an alert for firing when it hears no more of it: longer than the time after which it is told again.
const ALERTMANAGER_KEEPS: SignedDuration = SignedDuration::from_hours(26);

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Something got worse; told so many times before.
    Firing(u64),
    /// It is over.
    Resolved,
}

impl Event {
    const fn name(self) -> &'static str {
        match self {
            Self::Firing(_) => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// An incident to be told by a rule.
pub(crate) struct Alerted<'a> {
    pub(crate) incident: &'a Incident,
    pub(crate) rule: &'a str,
    pub(crate) rule_name: &'a str,
    pub(crate) base_url: &'a str,
    /// The agent of an incident of one, by name, for receivers that are told of persons and agents.
    pub(crate) agent: Option<&'a str>,
}

impl Alerted<'_> {
    /// The message for a receiver. It is the same one whenever it is made: a crash between keeping it and noting that makes none twice.
    pub(crate) fn message(&self, to: &Webhook, event: Event, at: Timestamp) -> Delivery {
        let agent = self.agent.filter(|_| to.personal);
        let line = headline(self.incident, agent);
        let what = match event {
            Event::Firing(0) => "an alert",
            Event::Firing(_) => "an alert, again",
            Event::Resolved => "the end of an alert",
        };
        let body = match to.kind {
            WebhookKind::Slack => self.slack(&line, event),
            WebhookKind::Alertmanager => self.alertmanager(&line, event, at),
            WebhookKind::Mail => self.mail(&line, event),
            WebhookKind::Alerts | WebhookKind::Verdicts => self.signed(&line, event, at, to.personal),
        };
        Delivery::new(to, self.id(to, event), what, &body, at)
    }

    fn id(&self, to: &Webhook, event: Event) -> Uuid {
        id_of(&format!(
            "greenroom alert message\n{} {} {} {} {} {event:?}",
            to.tenant.0, to.id, self.rule, self.incident.id, self.incident.told.reopened
        ))
    }

    /// What both ends of an alert know it by.
    fn alert_id(&self) -> String {
        format!("{}.{}", self.rule, self.incident.id.simple())
    }

    fn url(&self) -> String {
        format!("{}/incidents/{}", self.base_url, self.incident.id)
    }

    fn signed(&self, line: &str, event: Event, at: Timestamp, personal: bool) -> Value {
        let incident = self.incident;
        let told = &incident.told;
        let mut data = json!({
            "alert": self.alert_id(),
            "rule": self.rule_name,
            "state": event.name(),
            "incident": incident.id,
            "url": self.url(),
            "scope": told.scope.kind(),
            "site": told.scope.site(),
            "provider": told.scope.provider(),
            "endpoint": told.scope.endpoint(),
            "sites": told.sites,
            "endpoints": told.endpoints,
            "severity": told.severity,
            "since": incident.since,
            "noticed": incident.noticed,
            "over": incident.over,
            "figures": told.figures.iter().map(|figure| figure.name()).collect::<Vec<_>>(),
            "agents": told.agents,
            "of_agents": told.of,
            "place": told.place,
            "say": line,
            "cause": cause_words(told),
        });
        if let (true, Value::Object(fields)) = (personal, &mut data) {
            let agents: Vec<&String> = incident.affected.iter().map(|one| &one.agent).collect();
            fields.insert("agent_ids".to_owned(), json!(agents));
        }
        json!({ "type": format!("alert.{}", event.name()), "timestamp": at.to_string(), "data": data })
    }

    /// What Slack's incoming webhooks take; Mattermost, Rocket.Chat and others take the same.
    fn slack(&self, line: &str, event: Event) -> Value {
        let told = &self.incident.told;
        let mark = match (event, told.severity) {
            (Event::Resolved, _) => ":white_check_mark: Over",
            (Event::Firing(_), Severity::Critical) => ":red_circle: Critical",
            (Event::Firing(_), Severity::Warning) => ":large_orange_circle: Warning",
            (Event::Firing(_), Severity::Info) => ":large_blue_circle: Worse than usual",
        };
        let (line, cause) = (slack_text(line), slack_text(&cause_words(told)));
        let text = format!("{mark}: {line}\n{cause}\n<{}|Details>", self.url());
        json!({
            "text": format!("{mark}: {line}"),
            "blocks": [{ "type": "section", "text": { "type": "mrkdwn", "text": text } }],
        })
    }

    /// `postableAlerts` of Alertmanager's API v2.
    fn alertmanager(&self, line: &str, event: Event, at: Timestamp) -> Value {
        let incident = self.incident;
        let told = &incident.told;
        let mut labels = json!({
            "alertname": "GreenroomIncident",
            "rule": self.rule_name,
            "incident": incident.id.to_string(),
            "scope": told.scope.kind(),
            // What changes while an alert lasts would make it another one: severity is an annotation.
        });
        if let Value::Object(labels) = &mut labels {
            let parts = [
                ("site", told.scope.site()),
                ("provider", told.scope.provider()),
                ("endpoint", told.scope.endpoint()),
            ];
            for (name, value) in parts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                labels.insert(name.to_owned(), json!(value));
            }
        }
        let ends = match event {
            Event::Resolved => incident.over.unwrap_or(at),
            Event::Firing(_) => at.checked_add(ALERTMANAGER_KEEPS).unwrap_or(Timestamp::MAX),
        };
        json!([{
            "labels": labels,
            "annotations": {
                "summary": line,
                "description": cause_words(told),
                "severity": told.severity.name(),
                "place": name_of(&told.place),
            },
            "startsAt": incident.since.to_string(),
            "endsAt": ends.to_string(),
            "generatorURL": self.url(),
        }])
    }

    fn mail(&self, line: &str, event: Event) -> Value {
        let told = &self.incident.told;
        let who = scope_words(&told.scope, None);
        let subject = match event {
            Event::Firing(0) => format!("[Greenroom] {}: {who}", told.severity.name()),
            Event::Firing(_) => format!("[Greenroom] still {}: {who}", told.severity.name()),
            Event::Resolved => format!("[Greenroom] over: {who}"),
        };
        let text = format!(
            "{line}\n\n{}\n\nHow bad: {}.\nWhere: {}.\n\n{}\n\nThe rule is \"{}\".\n",
            cause_words(told),
            told.severity.words(),
            place_words(told.place),
            self.url(),
            self.rule_name
        );
        json!({ "subject": subject, "text": text, "thread": self.alert_id(), "first": event == Event::Firing(0) })
    }
}

/// A message that says nothing, to see whether a receiver takes one.
pub(crate) fn trial(to: &Webhook, base_url: &str, at: Timestamp) -> Value {
    match to.kind {
        WebhookKind::Slack => json!({ "text": "A trial from Greenroom: this is where alerts will be." }),
        WebhookKind::Alertmanager => json!([{
            "labels": { "alertname": "GreenroomTrial", "receiver": to.id },
            "annotations": { "summary": "A trial from Greenroom: this is where alerts will be." },
            "startsAt": at.to_string(),
            "endsAt": at.checked_add(SignedDuration::from_mins(1)).unwrap_or(Timestamp::MAX).to_string(),
            "generatorURL": format!("{base_url}/webhooks/{}", to.id),
        }]),
        WebhookKind::Mail => json!({
            "subject": "[Greenroom] a trial",
            "text": "A trial from Greenroom: this is where alerts will be.\n",
            "thread": to.id,
            "first": true,
        }),
        WebhookKind::Alerts | WebhookKind::Verdicts => {
            json!({ "type": "test", "timestamp": at.to_string(), "data": { "webhook": to.id } })
        }
    }
}

/// What is a command in Slack's markup is none.
fn slack_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Messages of several forms, of an incident made up.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Figure, Scope};
    use crate::store::{Affected, Evidence, Tenant, Told, WebhookSecret};
    use crate::testing;
    use greenroom_reports::schema::Place;

    fn incident() -> Incident {
        let since = testing::start();
        Incident {
            tenant: Tenant::FIRST,
            id: testing::id(1),
            since,
            noticed: since,
            over: None,
            affected: vec![Affected { agent: "agent-one".into(), endpoint: "e".into() }],
            told: Told {
                number: 1,
                scope: Scope::Site("Berlin <!channel>".into()),
                or: Vec::new(),
                figures: vec![Figure::RttP50],
                part_of: None,
                reopened: 0,
                severity: Severity::Warning,
                place: Place::LocalNetwork,
                by: "reports".into(),
                evidence: Evidence::default(),
                agents: 9,
                of: 10,
                sites: vec!["Berlin <!channel>".into()],
                endpoints: vec!["e".into()],
                course: Vec::new(),
                reports: Vec::new(),
            },
        }
    }

    fn told(kind: WebhookKind, personal: bool, event: Event) -> Delivery {
        let incident = incident();
        let alerted = Alerted {
            incident: &incident,
            rule: "r1",
            rule_name: "on call",
            base_url: "https://g.example",
            agent: None,
        };
        let to = Webhook {
            tenant: Tenant::FIRST,
            id: "w1".into(),
            name: "x".into(),
            url: "https://x.example".into(),
            secret: WebhookSecret(vec![1]),
            personal,
            kind,
            author: "ann".into(),
            created: testing::start(),
            paused: None,
        };
        alerted.message(&to, event, testing::start())
    }

    #[test]
    fn a_message_is_the_same_however_often_it_is_made_and_each_is_another() {
        let id = |kind, event| told(kind, false, event).id;
        let kind = WebhookKind::Alerts;
        assert_eq!(id(kind, Event::Firing(0)), id(kind, Event::Firing(0)));
        assert_ne!(id(kind, Event::Firing(0)), id(kind, Event::Firing(1)));
        assert_ne!(id(kind, Event::Firing(0)), id(kind, Event::Resolved));
    }

    #[test]
    fn what_a_site_is_called_is_no_command() {
        let message = told(WebhookKind::Slack, false, Event::Firing(0));
        assert!(
            !message.body.contains("<!channel>") && message.body.contains("&lt;!channel&gt;"),
            "{}",
            message.body
        );
    }

    #[test]
    fn agents_are_named_to_those_alone_who_are_told_of_persons() {
        for kind in WebhookKind::ALL {
            assert!(!told(kind, false, Event::Firing(0)).body.contains("agent-one"), "{kind:?}");
        }
        assert!(told(WebhookKind::Alerts, true, Event::Firing(0)).body.contains("agent-one"));
    }

    #[test]
    fn alertmanager_knows_the_end_of_an_alert_by_its_labels() {
        let one = |event| -> Value {
            let body: Value =
                serde_json::from_str(&told(WebhookKind::Alertmanager, false, event).body).unwrap();
            body[0].clone()
        };
        let (firing, again, over) = (one(Event::Firing(0)), one(Event::Firing(1)), one(Event::Resolved));
        assert_eq!(firing["labels"], over["labels"]);
        assert_eq!(firing["labels"], again["labels"]);
        assert!(firing["endsAt"].as_str() > over["endsAt"].as_str());
    }
}
