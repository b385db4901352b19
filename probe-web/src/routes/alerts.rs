//! Who is told of incidents, and when nobody is. For admins.

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use greenroom_reports::render;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::AppState;
use crate::auth::link::public_id;
use crate::auth::visitor::Visitor;
use crate::incidents::{Match, Rule, Silence, Window, Wrong};
use crate::pages::{self, Paged, Place, notice, text, time};
use crate::store::{Kept, Role, Severity, StoreError, Webhook, WebhookKind};

/// Most rules of a tenant, and most silences.
const MOST: usize = 50;

/// Kinds of scope that the form offers.
const SCOPES: [(&str, &str); 4] = [
    ("", "all"),
    ("shared", "those that several computers share"),
    ("site", "sites"),
    ("endpoint", "endpoints and providers"),
];

/// A rule as the form has it.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Wanted {
    name: String,
    scopes: String,
    site: String,
    endpoint: String,
    severity: String,
    #[serde(rename = "use")]
    usage: String,
    for_minutes: String,
    resolve_after_minutes: String,
    repeat_minutes: String,
    receiver: String,
}

/// A silence as the form has it.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Quiet {
    why: String,
    site: String,
    endpoint: String,
    hours: String,
    day: String,
    from: String,
}

/// What is done with a rule.
#[derive(Deserialize)]
pub(crate) struct Done {
    #[serde(rename = "do")]
    what: String,
}

/// All rules and silences.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor) -> Paged {
    visitor.must(Role::manages)?;
    show(&state, &visitor, &html! {}).await
}

/// Makes a rule.
pub(crate) async fn add(State(state): State<AppState>, visitor: Visitor, Form(form): Form<Wanted>) -> Paged {
    visitor.must(Role::manages)?;
    let tenant = visitor.tenant();
    let receivers = receivers(&state, &visitor).await?;
    let ids: Vec<String> = receivers.iter().map(|receiver| receiver.id.clone()).collect();
    let full = state.store.alert_rules(tenant).await?.len() >= MOST;
    let rule = match form.read().and_then(|rule| rule.check(&ids).map(|()| rule)) {
        Ok(rule) if !full => rule,
        Ok(_) => {
            return refused(&state, &visitor, &format!("There are {MOST} rules already. Remove one first."))
                .await;
        }
        Err(Wrong(field, why)) => {
            return refused(&state, &visitor, &format!("The rule's {field} {why}.")).await;
        }
    };
    let kept = Kept {
        tenant,
        id: public_id(),
        author: visitor.user.name.clone(),
        created: state.clock.now(),
        says: serde_json::to_value(&rule).unwrap_or_default(),
    };
    state.store.put_alert_rule(&kept).await?;
    visitor.audit(&state, "alert_rule.add", format!("{} ({})", kept.id, rule.name)).await?;
    Ok(Redirect::to("/alerts").into_response())
}

/// Switches a rule off or on, or removes it.
pub(crate) async fn change(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
    Form(form): Form<Done>,
) -> Paged {
    visitor.must(Role::manages)?;
    let tenant = visitor.tenant();
    let rules = state.store.alert_rules(tenant).await?;
    let Some(mut kept) = rules.into_iter().find(|rule| rule.id == id) else { return Ok(pages::not_found()) };
    match form.what.as_str() {
        "remove" => drop(state.store.remove_alert_rule(tenant, &id).await?),
        what @ ("pause" | "resume") => {
            if let Some(fields) = kept.says.as_object_mut() {
                fields.insert("paused".to_owned(), (what == "pause").into());
            }
            state.store.put_alert_rule(&kept).await?;
        }
        _ => return Ok(pages::not_found()),
    }
    visitor.audit(&state, &format!("alert_rule.{}", form.what), id).await?;
    Ok(Redirect::to("/alerts").into_response())
}

/// Makes a silence or a maintenance window.
pub(crate) async fn silence(
    State(state): State<AppState>,
    visitor: Visitor,
    Form(form): Form<Quiet>,
) -> Paged {
    visitor.must(Role::manages)?;
    let (tenant, now) = (visitor.tenant(), state.clock.now());
    let full = state.store.silences(tenant).await?.len() >= MOST;
    let silence = match form.read(now).and_then(|silence| silence.check().map(|()| silence)) {
        Ok(silence) if !full => silence,
        Ok(_) => {
            return refused(&state, &visitor, &format!("There are {MOST} silences already. End one first."))
                .await;
        }
        Err(Wrong(field, why)) => {
            return refused(&state, &visitor, &format!("The silence's {field} {why}.")).await;
        }
    };
    let kept = Kept {
        tenant,
        id: public_id(),
        author: visitor.user.name.clone(),
        created: now,
        says: serde_json::to_value(&silence).unwrap_or_default(),
    };
    state.store.put_silence(&kept).await?;
    visitor.audit(&state, "silence.add", format!("{} ({})", kept.id, silence.why)).await?;
    Ok(Redirect::to("/alerts").into_response())
}

/// Ends a silence.
pub(crate) async fn end_silence(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Paged {
    visitor.must(Role::manages)?;
    if !state.store.remove_silence(visitor.tenant(), &id).await? {
        return Ok(pages::not_found());
    }
    visitor.audit(&state, "silence.end", id).await?;
    Ok(Redirect::to("/alerts").into_response())
}

fn some(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn number(field: &'static str, text: &str) -> Result<Option<u32>, Wrong> {
    some(text)
        .map(|text| text.parse().map_err(|_| Wrong(field, "is a whole number of minutes".to_owned())))
        .transpose()
}

impl Wanted {
    fn read(&self) -> Result<Rule, Wrong> {
        let kinds: &[&str] = match self.scopes.as_str() {
            "shared" => {
                &["site_to_endpoint", "site", "provider_to_endpoint", "provider", "endpoint", "everybody"]
            }
            "site" => &["site", "site_to_endpoint"],
            "endpoint" => &["endpoint", "provider", "provider_to_endpoint", "everybody"],
            _ => &[],
        };
        let severity = Severity::ALL.into_iter().find(|severity| severity.name() == self.severity);
        Ok(Rule {
            name: self.name.trim().to_owned(),
            fits: Match {
                scopes: kinds.iter().map(|&kind| kind.to_owned()).collect(),
                site: some(&self.site),
                endpoint: some(&self.endpoint),
                severity,
                usage: some(&self.usage),
            },
            for_minutes: number("for_minutes", &self.for_minutes)?.unwrap_or(0),
            resolve_after_minutes: number("resolve_after_minutes", &self.resolve_after_minutes)?
                .unwrap_or(15),
            repeat_minutes: number("repeat_minutes", &self.repeat_minutes)?,
            receivers: some(&self.receiver).into_iter().collect(),
            paused: false,
        })
    }
}

impl Quiet {
    fn read(&self, now: Timestamp) -> Result<Silence, Wrong> {
        let hours: u16 = self
            .hours
            .trim()
            .parse()
            .ok()
            .filter(|hours| (1..=24 * 30).contains(hours))
            .ok_or_else(|| Wrong("hours", "is from 1 to 720".to_owned()))?;
        let fits = Match { site: some(&self.site), endpoint: some(&self.endpoint), ..Match::default() };
        let why = self.why.trim().to_owned();
        let Ok(day) = self.day.parse::<i8>() else {
            let until = now.checked_add(SignedDuration::from_hours(hours.into())).ok();
            return Ok(Silence { why, fits, from: Some(now), until, weekly: None });
        };
        let wrong = || Wrong("from", "is a time in UTC: 22:30".to_owned());
        let (hour, minute) = self.from.trim().split_once(':').ok_or_else(wrong)?;
        let (hour, minute): (u16, u16) =
            (hour.parse().map_err(|_| wrong())?, minute.parse().map_err(|_| wrong())?);
        if hour > 23 || minute > 59 {
            return Err(wrong());
        }
        let window =
            Window { days: vec![day], from_minute: hour * 60 + minute, minutes: hours.saturating_mul(60) };
        Ok(Silence { why, fits, from: None, until: None, weekly: Some(window) })
    }
}

async fn receivers(state: &AppState, visitor: &Visitor) -> Result<Vec<Webhook>, StoreError> {
    let all = state.store.webhooks(visitor.tenant()).await?;
    Ok(all.into_iter().filter(|webhook| webhook.kind != WebhookKind::Verdicts).collect())
}

async fn refused(state: &AppState, visitor: &Visitor, words: &str) -> Paged {
    let page = show(state, visitor, &notice(words, true)).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn show(state: &AppState, visitor: &Visitor, told: &Markup) -> Paged {
    let (tenant, now) = (visitor.tenant(), state.clock.now());
    let receivers = receivers(state, visitor).await?;
    let rules = state.store.alert_rules(tenant).await?;
    let silences = state.store.silences(tenant).await?;
    let body = html! {
        h1 { "Alerts" }
        p { "A rule says who is told of which " a href="/incidents" { "incidents" } ". One outage is one alert, with its cause; when it is over, that is told, too." }
        (told)
        @if rules.is_empty() {
            p class="empty" { "No rule yet: nobody is told. " @if receivers.is_empty() { "First make a webhook for alerts on the page " a href="/webhooks" { "Webhooks" } ": signed JSON, Slack, Alertmanager or mail." } @else { "Make one below." } }
        } @else {
            table class="list" {
                thead { tr { th { "Rule" } th { "Fits" } th { "Told" } th { "After" } th { "Again" } th { "Over after" } th { "State" } } }
                tbody { @for kept in &rules { (rule_row(kept, &receivers)) } }
            }
        }
        h2 { "A new rule" }
        (rule_form(&receivers))
        h2 { "Silences and maintenance windows" }
        p { "While one holds, nobody is told of what it fits. Incidents are kept all the same, and one that lasts longer is told then." }
        @if !silences.is_empty() {
            table class="list" {
                thead { tr { th { "Why" } th { "Fits" } th { "When (UTC)" } th { "State" } th { "" } } }
                tbody { @for kept in &silences { (silence_row(kept, now)) } }
            }
        }
        (silence_form())
    };
    Ok(pages::page(visitor, Place::Alerts, "Alerts", &body))
}

fn rule_row(kept: &Kept<serde_json::Value>, receivers: &[Webhook]) -> Markup {
    let Ok(rule) = serde_json::from_value::<Rule>(kept.says.clone()) else { return html! {} };
    let names: Vec<&str> = receivers
        .iter()
        .filter(|receiver| rule.receivers.contains(&receiver.id))
        .map(|receiver| receiver.name.as_str())
        .collect();
    let minutes = |minutes: u32| format!("{minutes} min");
    let act = |what: &str, words: &str| html! { button name="do" value=(what) aria-label={ (words) " " (rule.name) } { (words) } };
    html! { tr {
        th scope="row" { (text(Some(&rule.name))) }
        td data-name="Fits" { (fits_words(&rule.fits)) }
        td data-name="Told" { (text(Some(&names.join(", ")))) }
        td data-name="After" { (minutes(rule.for_minutes)) }
        td data-name="Again" { (rule.repeat_minutes.map_or_else(|| "not".to_owned(), minutes)) }
        td data-name="Over after" { (minutes(rule.resolve_after_minutes)) }
        td data-name="State" {
            form class="row" method="post" action={ "/alerts/" (kept.id) } {
                @if rule.paused { "off " (act("resume", "Switch on")) } @else { "on " (act("pause", "Switch off")) }
                (act("remove", "Remove"))
            }
        }
    } }
}

fn fits_words(fits: &Match) -> Markup {
    let mut words: Vec<String> = Vec::new();
    words.extend((!fits.scopes.is_empty()).then(|| fits.scopes.join(", ").replace('_', " ")));
    words.extend(fits.site.as_ref().map(|site| format!("site {site}")));
    words.extend(fits.endpoint.as_ref().map(|endpoint| format!("endpoint {endpoint}")));
    words.extend(fits.severity.map(|severity| format!("{} at least", severity.name())));
    words.extend(fits.usage.as_ref().map(|usage| format!("trouble with {usage}")));
    html! { @if words.is_empty() { "all" } @else { (render::clean(&words.join("; "))) } }
}

fn rule_form(receivers: &[Webhook]) -> Markup {
    html! {
        @if receivers.is_empty() {
            p { "A rule needs somebody to tell: make a webhook for alerts on the page " a href="/webhooks" { "Webhooks" } "." }
        } @else {
            form class="row" method="post" action="/alerts" {
                label { "Name" input name="name" maxlength="64" placeholder="on call" autocomplete="off" required; }
                label { "Tell" select name="receiver" { @for receiver in receivers { option value=(receiver.id) { (render::clean(&receiver.name)) } } } }
                label { "Incidents" select name="scopes" { @for (value, words) in SCOPES { option value=(value) { (words) } } } }
                label { "Severity at least" select name="severity" {
                    @for severity in Severity::ALL { option value=(severity.name()) selected[severity == Severity::Warning] { (severity.name()) ": " (severity.words()) } }
                } }
                label { "Site (empty: all)" input name="site" maxlength="256" autocomplete="off"; }
                label { "Endpoint (empty: all)" input name="endpoint" maxlength="256" autocomplete="off"; }
                label { "Trouble with (empty: any)" select name="use" { @for (value, words) in USES { option value=(value) { (words) } } } }
                label { "After minutes" input type="number" name="for_minutes" value="0" min="0" max="10080" required; }
                label { "Over after minutes" input type="number" name="resolve_after_minutes" value="15" min="0" max="10080" required; }
                label { "Again every minutes (empty: not)" input type="number" name="repeat_minutes" min="5" max="10080"; }
                button class="main" { "Make a rule" }
            }
        }
    }
}

const USES: [(&str, &str); 6] = [
    ("", "any"),
    ("audio", "audio"),
    ("video_360p", "video 360p"),
    ("video_720p", "video 720p"),
    ("video_1080p", "video 1080p"),
    ("screen", "screen sharing"),
];

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn silence_form() -> Markup {
    html! {
        form class="row" method="post" action="/alerts/silences" {
            label { "Why" input name="why" maxlength="256" placeholder="the router is changed" autocomplete="off" required; }
            label { "Site (empty: all)" input name="site" maxlength="256" autocomplete="off"; }
            label { "Endpoint (empty: all)" input name="endpoint" maxlength="256" autocomplete="off"; }
            label { "When" select name="day" {
                option value="now" { "once, from now" }
                @for (number, day) in (1..).zip(DAYS) { option value=(number) { "every " (day) } }
            } }
            label { "From, of every week (UTC)" input name="from" value="22:00" pattern="[0-2]?[0-9]:[0-5][0-9]" maxlength="5"; }
            label { "Hours" input type="number" name="hours" value="2" min="1" max="720" required; }
            button { "Make a silence" }
        }
    }
}

fn silence_row(kept: &Kept<serde_json::Value>, now: Timestamp) -> Markup {
    let Ok(silence) = serde_json::from_value::<Silence>(kept.says.clone()) else { return html! {} };
    html! { tr {
        th scope="row" { (text(Some(&silence.why))) }
        td data-name="Fits" { (fits_words(&silence.fits)) }
        td data-name="When (UTC)" {
            @if let Some(window) = &silence.weekly {
                "every "
                @for day in &window.days { (usize::try_from(*day - 1).ok().and_then(|day| DAYS.get(day)).unwrap_or(&"day")) " " }
                "from " (format!("{:02}:{:02}", window.from_minute / 60, window.from_minute % 60)) " for " (window.minutes) " min"
            }
            @if let Some(until) = silence.until { "until " (time(until)) }
        }
        td data-name="State" { @if silence.is_past(now) { "over" } @else if silence.is_on(now) { "holds" } @else { "waits" } }
        td {
            form method="post" action={ "/alerts/silences/" (kept.id) "/end" } { button aria-label={ "Remove the silence: " (silence.why) } { "Remove" } }
        }
    } }
}
