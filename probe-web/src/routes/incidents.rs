//! What got worse: for whom, since when, why.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use greenroom_reports::render;
use greenroom_reports::verdict::words;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use crate::app::AppState;
use crate::auth::visitor::Visitor;
use crate::detect::{Figure, Scope};
use crate::incidents::{cause_words, figure_words, headline, place_words, scope_words, shown};
use crate::pages::plot::{self, Line, Slot};
use crate::pages::{self, Live, Paged, Place, query, text, time};
use crate::store::{Alert, Incident, Kept, Severity, StoreError};

/// Incidents of a page.
const AT_ONCE: u32 = 100;

/// Agents that an incident's page names.
const AGENTS: usize = 100;

/// Points of a plot.
const POINTS: usize = 120;

/// Where the page begins.
#[derive(Deserialize, Default)]
pub(crate) struct From {
    before: Option<Timestamp>,
}

/// All incidents.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor, Query(from): Query<From>) -> Paged {
    let tenant = visitor.tenant();
    let open = state.store.incidents(tenant, true, None, AT_ONCE).await?;
    let all = state.store.incidents(tenant, false, from.before, AT_ONCE).await?;
    let past: Vec<&Incident> = all.iter().filter(|incident| incident.over.is_some()).collect();
    let watched =
        !all.is_empty() || state.store.detector(tenant).await?.is_some_and(|it| it.knows.watches > 0);
    let full = u32::try_from(all.len()).is_ok_and(|n| n == AT_ONCE);
    let body = html! {
        h1 { "Incidents" }
        p { "What agents measure is compared with what is usual for each at that hour of the week. Those that got worse together are one incident." @if visitor.role.manages() { " Who is told of it stands on the page " a href="/alerts" { "Alerts" } "." } }
        @if from.before.is_none() {
            h2 { "Now" }
            @if !open.is_empty() {
                (list(&state, &visitor, &open.iter().collect::<Vec<_>>()).await?)
            } @else if watched {
                p class="empty" { "All is as usual." }
            } @else {
                p class="empty" { "Nothing is watched yet. An agent is, once it has reported for a day: 288 reports against an endpoint tell what is usual. " a href="/agents" { "Agents" } }
            }
        }
        @if !past.is_empty() {
            h2 { "Before" }
            (list(&state, &visitor, &past).await?)
        }
        @if let Some(last) = all.last().filter(|_| full) {
            p { a href=(query("/incidents", &[("before", &last.noticed.to_string())])) { "Earlier ones" } }
        }
    };
    Ok(pages::live_page(&visitor, Place::Incidents, "Incidents", &body, Live::AtOnce))
}

async fn list(state: &AppState, visitor: &Visitor, incidents: &[&Incident]) -> Result<Markup, StoreError> {
    let mut rows = Vec::with_capacity(incidents.len());
    for incident in incidents {
        rows.push((*incident, agent(state, visitor, incident).await?));
    }
    Ok(html! {
        table class="list" {
            thead { tr { th { "Who" } th { "How bad" } th { "Since (UTC)" } th { "Until (UTC)" } th { "What" } th { "Computers" } th { "Where the fault is" } } }
            tbody { @for (incident, agent) in &rows { (row(incident, agent.as_deref())) } }
        }
    })
}

fn row(incident: &Incident, agent: Option<&str>) -> Markup {
    let told = &incident.told;
    let names: Vec<&str> = told.figures.iter().map(|figure| figure_words(*figure)).collect();
    html! { tr {
        th scope="row" { a href={ "/incidents/" (incident.id) } { (render::clean(&scope_words(&told.scope, agent))) } }
        td data-name="How bad" { (severity(incident)) }
        td class="when" data-name="Since (UTC)" { (time(incident.since)) }
        td class="when" data-name="Until (UTC)" { @match incident.over { Some(at) => (time(at)), None => "lasts" } }
        td data-name="What" { (names.join(", ")) }
        td data-name="Computers" { (told.agents) " of " (told.of) }
        td data-name="Where the fault is" { (place_words(told.place)) }
    } }
}

/// How bad it is, in a word; of what is over, how bad it was.
fn severity(incident: &Incident) -> Markup {
    let (class, mark) = match incident.told.severity {
        Severity::Critical => ("blocked", "✕"),
        Severity::Warning => ("degraded", "!"),
        Severity::Info => ("none", "·"),
    };
    html! { span class={ "state " (class) } { span aria-hidden="true" { (mark) " " } (incident.told.severity.name()) } }
}

/// The name of an incident's one agent, for who may see it.
async fn agent(
    state: &AppState,
    visitor: &Visitor,
    incident: &Incident,
) -> Result<Option<String>, StoreError> {
    match &incident.told.scope {
        Scope::Agent(agent) if visitor.role.sees_personal() => name(state, visitor, agent).await.map(Some),
        _ => Ok(None),
    }
}

async fn name(state: &AppState, visitor: &Visitor, agent: &str) -> Result<String, StoreError> {
    let Ok(id) = agent.parse() else { return Ok(agent.to_owned()) };
    let found = state.store.agent(id).await?.filter(|found| found.tenant == visitor.tenant());
    Ok(found.map_or_else(|| agent.to_owned(), |agent| agent.name))
}

/// What stands on other pages of incidents that are open: the worst ones, each in a line. Empty where there are none.
pub(super) async fn lines(state: &AppState, visitor: &Visitor) -> Result<Markup, StoreError> {
    let mut open = state.store.incidents(visitor.tenant(), true, None, AT_ONCE).await?;
    open.sort_by_key(|incident| std::cmp::Reverse((incident.told.severity, incident.told.agents)));
    let mut lines = Vec::new();
    for incident in open.iter().take(3) {
        lines.push((incident, headline(incident, agent(state, visitor, incident).await?.as_deref())));
    }
    let more = open.len().saturating_sub(lines.len());
    Ok(html! {
        @for (incident, line) in &lines {
            p class={ "notice" @if incident.told.severity > Severity::Info { " bad" } } {
                a href={ "/incidents/" (incident.id) } { (render::clean(line)) }
                " " (render::clean(&cause_words(&incident.told)))
            }
        }
        @if more > 0 { p { a href="/incidents" { (more) " more " @if more == 1 { "incident" } @else { "incidents" } } } }
    })
}

/// One incident.
pub(crate) async fn one(State(state): State<AppState>, visitor: Visitor, Path(id): Path<Uuid>) -> Paged {
    let tenant = visitor.tenant();
    let Some(incident) = state.store.incident(tenant, id).await? else { return Ok(pages::not_found()) };
    visitor.audit(&state, "incident.view", id.to_string()).await?;
    let personal = visitor.role.sees_personal();
    let one = agent(&state, &visitor, &incident).await?;
    let alerts = state.store.alerts_of(tenant, id).await?;
    let rules = state.store.alert_rules(tenant).await?;
    let mut agents = Vec::new();
    if personal {
        for affected in incident.affected.iter().take(AGENTS) {
            agents.push((affected, name(&state, &visitor, &affected.agent).await?));
        }
    }
    let told = &incident.told;
    let body = html! {
        h1 { (render::clean(&scope_words(&told.scope, one.as_deref()))) }
        p class={ "notice" @if told.severity > Severity::Info { " bad" } } {
            b { (render::clean(&headline(&incident, one.as_deref()))) } " " (render::clean(&cause_words(told)))
        }
        @if let Some(whole) = told.part_of {
            p { "It turned out to be part of " a href={ "/incidents/" (whole) } { "a greater one" } "." }
        }
        (about(&incident))
        (plot(&incident))
        (evidence(&incident))
        @if !told.reports.is_empty() {
            h2 { "Reports" }
            p class="quiet" { "Some of those that show it, the first and the last." }
            p { @for report in &told.reports { a href={ "/reports/" (report) } { code { (greenroom_reports::assess::short_code(*report)) } } " " } }
        }
        @if !agents.is_empty() {
            h2 { "Computers" }
            table class="list" {
                thead { tr { th { "Computer" } th { "Against" } } }
                tbody { @for (affected, name) in &agents { tr {
                    th scope="row" { (computer(&affected.agent, name)) }
                    td data-name="Against" class="address" { (text(Some(&affected.endpoint))) }
                } } }
            }
            @if incident.affected.len() > AGENTS { p { "And " (incident.affected.len() - AGENTS) " more." } }
        }
        (told_of(&visitor, &alerts, &rules))
        p { a href="/incidents" { "All incidents" } }
    };
    Ok(pages::page(&visitor, Place::Incidents, "Incident", &body))
}

/// A computer, with a way to its page where it has one.
fn computer(agent: &str, name: &str) -> Markup {
    match agent.parse::<Uuid>() {
        Ok(id) => html! { a href={ "/agents/" (id) } { (text(Some(name))) } },
        Err(_) => text(Some(name)),
    }
}

fn about(incident: &Incident) -> Markup {
    let told = &incident.told;
    let or: Vec<String> = told.or.iter().map(|scope| scope_words(scope, None)).collect();
    html! {
        dl class="about" {
            div { dt { "How bad" } dd { (severity(incident)) " " (told.severity.words()) } }
            div { dt { "Since (UTC)" } dd { (time(incident.since)) ", noticed " (time(incident.noticed)) } }
            div { dt { "Until (UTC)" } dd { @match incident.over { Some(at) => (time(at)), None => "it lasts" } } }
            div { dt { "What got worse" } dd { (told.figures.iter().map(|figure| figure_words(*figure)).collect::<Vec<_>>().join(", ")) } }
            div { dt { "Computers" } dd { (told.agents) " of the " (told.of) " that this is about" } }
            @if !told.sites.is_empty() { div { dt { "Sites" } dd { (render::clean(&told.sites.join(", "))) } } }
            @if !told.endpoints.is_empty() { div { dt { "Endpoints" } dd class="address" { (render::clean(&told.endpoints.join(", "))) } } }
            @if !or.is_empty() { div { dt { "Could as well be called" } dd { (render::clean(&or.join("; "))) } } }
        }
    }
}

/// The course of what got worse first, beside what is usual.
fn plot(incident: &Incident) -> Markup {
    let told = &incident.told;
    let Some(figure) = told.figures.first().copied().filter(|_| !told.course.is_empty()) else {
        return html! {};
    };
    // Of a long one as many as can be told apart.
    let every = told.course.len().div_ceil(POINTS).max(1);
    let points: Vec<_> = told.course.iter().step_by(every).collect();
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(incident.since);
    let clock = |seconds: i64, format: &str| at(seconds).to_zoned(TimeZone::UTC).strftime(format).to_string();
    let value = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| shown(figure, value));
    let slots: Vec<Slot> = points
        .iter()
        .map(|point| Slot {
            name: clock(point.at, "%H:%M"),
            title: format!("{}: {}", clock(point.at, "%Y-%m-%d %H:%M"), value(point.value)),
            href: reports(incident, point.at),
        })
        .collect();
    let lines = [
        Line { class: "p95", name: "measured", values: points.iter().map(|point| point.value).collect() },
        Line { class: "p50", name: "usual", values: points.iter().map(|point| point.usual).collect() },
    ];
    let table = html! {
        table {
            thead { tr { th { "From (UTC)" } th { "Measured" } th { "Usual" } } }
            tbody { @for point in &points { tr {
                th scope="row" { a href=(reports(incident, point.at)) { (clock(point.at, "%Y-%m-%d %H:%M")) } }
                td { (value(point.value)) }
                td { (value(point.usual)) }
            } } }
        }
    };
    let title = format!("{}, median of those that got worse. ", capital(figure_words(figure)));
    plot::lines(&title, "Each point is five minutes.", &slots, &lines, unit(figure), least(figure), &table)
}

fn unit(figure: Figure) -> fn(f64) -> String {
    if figure.is_delay() { render::ms } else { render::percent }
}

/// The least height of a plot.
fn least(figure: Figure) -> f64 {
    if figure.is_delay() { 10.0 } else { 0.01 }
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The reports of five minutes.
fn reports(incident: &Incident, at: i64) -> String {
    let time = |seconds| Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default();
    let told = &incident.told;
    let one = |all: &'_ [String]| if let [one] = all { one.clone() } else { String::new() };
    let (site, endpoint) = (one(&told.sites), one(&told.endpoints));
    query(
        "/reports",
        &[("from", &time(at)), ("to", &time(at + 300)), ("site", &site), ("endpoint", &endpoint)],
    )
}

fn evidence(incident: &Incident) -> Markup {
    let evidence = &incident.told.evidence;
    let mut places: Vec<(String, u64)> =
        evidence.places.iter().map(|(place, count)| (place_words(*place).to_owned(), *count)).collect();
    let mut said: BTreeMap<String, u64> = BTreeMap::new();
    for (cause, count) in &evidence.causes {
        *said.entry(words::general(cause)).or_default() += count;
    }
    let mut causes: Vec<(String, u64)> = said.into_iter().collect();
    for counted in [&mut places, &mut causes] {
        counted.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        counted.truncate(8);
    }
    let table = |name: &str, counted: &[(String, u64)]| {
        html! {
            @if !counted.is_empty() {
                table class="list" {
                    thead { tr { th { (name) } th { "Reports" } } }
                    tbody { @for (what, count) in counted { tr { th scope="row" { (render::clean(what)) } td data-name="Reports" { (count) } } } }
                }
            }
        }
    };
    html! {
        h2 { "What the reports say" }
        @if evidence.runs == 0 {
            p { "There are none of those that got worse since it began." }
        } @else {
            p {
                "Of " (render::count(evidence.runs)) " reports of those that got worse, "
                (render::count(evidence.blocked)) " say that calls would not work, and "
                (render::count(evidence.degraded)) " that they would have trouble."
            }
            (table("Where they place the fault", &places))
            (table("Leading cause", &causes))
        }
    }
}

fn told_of(visitor: &Visitor, alerts: &[Alert], rules: &[Kept<serde_json::Value>]) -> Markup {
    let name = |id: &str| rules.iter().find(|rule| rule.id == id).and_then(|rule| rule.says["name"].as_str());
    html! {
        h2 { "Alerts" }
        @if alerts.is_empty() {
            p { "Nobody was told: no rule fits, it has not lasted long enough, or a silence holds." @if visitor.role.manages() { " " a href="/alerts" { "Rules" } } }
        } @else {
            @for alert in alerts {
                p {
                    "By the rule " b { (text(name(&alert.rule))) } ": told " (alert.sent.len()) @if alert.sent.len() == 1 { " receiver" } @else { " receivers" } " first at " (time(alert.fired))
                    @match alert.over { Some(at) => { ", closed at " (time(at)) "." }, None => "; its end will be told, too." }
                }
            }
        }
    }
}
