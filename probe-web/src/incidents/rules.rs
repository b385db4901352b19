//! Rules: who is told of which incidents, when, how often; and when nobody is. As data, and pure.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::detect::Scope;
use crate::ingest::read::is_plain;
use crate::store::{Incident, Severity};

/// Most characters of a name in a rule.
const NAME: usize = 256;

/// Most characters of a rule's name.
pub(crate) const MOST_NAME: usize = 64;

/// Longest time of a rule, in minutes: a week.
const LONGEST: u32 = 7 * 24 * 60;

/// Which incidents. What is empty fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Kinds of scope: `agent`, `site_to_endpoint`, `site`, `provider_to_endpoint`, `provider`, `endpoint`, `everybody`.
    pub scopes: Vec<String>,
    /// Incidents of this site, and those that reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Incidents that reach this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The least severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// A use that has trouble: `audio`, `video_720p`, …
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
}

impl Match {
    /// Whether it fits an incident as that is now.
    pub fn fits(&self, incident: &Incident) -> bool {
        let told = &incident.told;
        let reaches = |wanted: &Option<String>, of: Option<&str>, all: &[String]| match wanted {
            None => true,
            Some(wanted) => of == Some(wanted) || all.contains(wanted),
        };
        (self.scopes.is_empty() || self.scopes.iter().any(|kind| kind == told.scope.kind()))
            && reaches(&self.site, told.scope.site(), &told.sites)
            && reaches(&self.endpoint, told.scope.endpoint(), &told.endpoints)
            && self.severity.is_none_or(|least| told.severity >= least)
            && self.usage.as_ref().is_none_or(|wanted| told.evidence.uses.contains_key(wanted))
    }

    fn check(&self) -> Result<(), Wrong> {
        if let Some(kind) = self.scopes.iter().find(|kind| !Scope::KINDS.contains(&kind.as_str())) {
            return Err(Wrong(
                "match/scopes",
                format!("knows no {kind:?}; there are {}", Scope::KINDS.join(", ")),
            ));
        }
        for (field, value) in
            [("match/site", &self.site), ("match/endpoint", &self.endpoint), ("match/use", &self.usage)]
        {
            if value.as_ref().is_some_and(|value| value.is_empty() || !is_plain(value, NAME)) {
                return Err(Wrong(
                    field,
                    format!("has 1 to {NAME} characters, none of them control characters"),
                ));
            }
        }
        Ok(())
    }
}

/// A field that is not as it may be, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(pub &'static str, pub String);

/// Who is told of which incidents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it is called.
    pub name: String,
    /// Which incidents.
    #[serde(default, rename = "match")]
    pub fits: Match,
    /// How many minutes one has to last before it is told.
    #[serde(default)]
    pub for_minutes: u32,
    /// How many minutes one has to be over before that is told: what comes back within them is the same alert.
    #[serde(default = "resolve_after")]
    pub resolve_after_minutes: u32,
    /// After how many minutes it is told again while it lasts; not, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_minutes: Option<u32>,
    /// Ids of those that are told: webhooks of a kind for alerts.
    pub receivers: Vec<String>,
    /// Whether it is switched off.
    #[serde(default)]
    pub paused: bool,
}

fn resolve_after() -> u32 {
    15
}

impl Rule {
    /// Whether it can be as it says, given the ids of receivers that there are.
    ///
    /// # Errors
    /// The field that cannot.
    pub fn check(&self, receivers: &[String]) -> Result<(), Wrong> {
        if self.name.trim().is_empty() || !is_plain(&self.name, MOST_NAME) {
            return Err(Wrong("name", format!("has 1 to {MOST_NAME} characters")));
        }
        self.fits.check()?;
        for (field, minutes) in [
            ("for_minutes", Some(self.for_minutes)),
            ("resolve_after_minutes", Some(self.resolve_after_minutes)),
            ("repeat_minutes", self.repeat_minutes),
        ] {
            if minutes.is_some_and(|minutes| minutes > LONGEST) {
                return Err(Wrong(field, format!("is at most {LONGEST}: a week")));
            }
        }
        if self.repeat_minutes.is_some_and(|minutes| minutes < 5) {
            return Err(Wrong("repeat_minutes", "is at least 5, or left out".to_owned()));
        }
        if self.receivers.is_empty() {
            return Err(Wrong("receivers", "names one at least".to_owned()));
        }
        if let Some(unknown) = self.receivers.iter().find(|id| !receivers.contains(id)) {
            return Err(Wrong("receivers", format!("names {unknown:?}, which is no webhook for alerts")));
        }
        Ok(())
    }
}

/// A stretch of every week, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Days of the week on which it begins, 1 (Monday) to 7.
    pub days: Vec<i8>,
    /// When it begins, in minutes since midnight.
    pub from_minute: u16,
    /// How many minutes it lasts.
    pub minutes: u16,
}

impl Window {
    fn holds(&self, at: Timestamp) -> bool {
        // One that began yesterday may last.
        [0, 24].into_iter().any(|hours| {
            let Ok(began) = at.checked_sub(SignedDuration::from_hours(hours)) else { return false };
            let day = began.to_zoned(TimeZone::UTC);
            let minute = i64::from(day.hour()) * 60 + i64::from(day.minute()) + hours * 60;
            let from = i64::from(self.from_minute);
            self.days.contains(&day.weekday().to_monday_one_offset())
                && (from..from + i64::from(self.minutes)).contains(&minute)
        })
    }
}

/// When nobody is told of what it fits: once, or as a maintenance window every week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Why.
    pub why: String,
    /// Which incidents.
    #[serde(default, rename = "match")]
    pub fits: Match,
    /// From when, for one that is once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Until when, for one that is once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// When of every week, for a maintenance window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<Window>,
}

impl Silence {
    /// Whether nobody is told of an incident now.
    pub fn holds(&self, incident: &Incident, now: Timestamp) -> bool {
        self.is_on(now) && self.fits.fits(incident)
    }

    /// Whether it is on.
    pub fn is_on(&self, now: Timestamp) -> bool {
        let once = self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until);
        once && self.weekly.as_ref().is_none_or(|window| window.holds(now))
    }

    /// Whether it will never be on again.
    pub fn is_past(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it can be as it says.
    ///
    /// # Errors
    /// The field that cannot.
    pub fn check(&self) -> Result<(), Wrong> {
        if self.why.trim().is_empty() || !is_plain(&self.why, NAME) {
            return Err(Wrong("why", format!("has 1 to {NAME} characters")));
        }
        self.fits.check()?;
        match (&self.weekly, self.until) {
            (None, None) => {
                return Err(Wrong("until", "is missing: a silence ends, or is of every week".to_owned()));
            }
            (_, Some(until)) if self.from.is_some_and(|from| from >= until) => {
                return Err(Wrong("until", "is later than from".to_owned()));
            }
            _ => {}
        }
        if let Some(window) = &self.weekly {
            if window.days.is_empty() || window.days.iter().any(|day| !(1..=7).contains(day)) {
                return Err(Wrong("weekly/days", "names days from 1 (Monday) to 7".to_owned()));
            }
            if window.from_minute >= 24 * 60 {
                return Err(Wrong("weekly/from_minute", "is below 1440".to_owned()));
            }
            if window.minutes == 0 || window.minutes > 24 * 60 {
                return Err(Wrong("weekly/minutes", "is from 1 to 1440".to_owned()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(weekly: Option<Window>, until: Option<&str>) -> Silence {
        let until = until.map(|text| text.parse().unwrap());
        Silence { why: "the router is changed".into(), fits: Match::default(), from: None, until, weekly }
    }

    #[test]
    fn a_window_of_every_week_may_last_beyond_midnight() {
        // Saturdays from 22:30 for three hours.
        let window = Window { days: vec![6], from_minute: 22 * 60 + 30, minutes: 180 };
        let on = |text: &str| silence(Some(window.clone()), None).is_on(text.parse().unwrap());
        assert!(!on("2026-11-28T22:29:59Z") && on("2026-11-28T22:30:00Z"));
        assert!(on("2026-11-29T01:29:59Z") && !on("2026-11-29T01:30:00Z"));
        assert!(!on("2026-11-27T23:00:00Z"));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let good = Rule {
            name: "on call".into(),
            fits: Match::default(),
            for_minutes: 5,
            resolve_after_minutes: 15,
            repeat_minutes: Some(60),
            receivers: vec!["a".into()],
            paused: false,
        };
        let known = ["a".to_owned()];
        assert_eq!(good.check(&known), Ok(()));
        let wrong = |change: &dyn Fn(&mut Rule)| {
            let mut rule = good.clone();
            change(&mut rule);
            rule.check(&known).unwrap_err().0
        };
        assert_eq!(wrong(&|rule| rule.name = " ".into()), "name");
        assert_eq!(wrong(&|rule| rule.for_minutes = 20_000), "for_minutes");
        assert_eq!(wrong(&|rule| rule.repeat_minutes = Some(4)), "repeat_minutes");
        assert_eq!(wrong(&|rule| rule.receivers.clear()), "receivers");
        assert_eq!(wrong(&|rule| rule.receivers = vec!["b".into()]), "receivers");
        assert_eq!(wrong(&|rule| rule.fits.scopes = vec!["planet".into()]), "match/scopes");
        assert_eq!(wrong(&|rule| rule.fits.site = Some(String::new())), "match/site");
        assert_eq!(silence(None, None).check().unwrap_err().0, "until");
        assert_eq!(silence(None, Some("2026-11-28T22:30:00Z")).check(), Ok(()));
        let never = Window { days: vec![8], from_minute: 0, minutes: 5 };
        assert_eq!(silence(Some(never), None).check().unwrap_err().0, "weekly/days");
    }
}
