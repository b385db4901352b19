//! One agent: what is known of it, what arrived, and what an admin may do with it.

use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse as _, Redirect};
use greenroom_reports::fleet::{AgentState, RunNow};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::agents::state_of;
use crate::app::AppState;
use crate::auth::visitor::Visitor;
use crate::clock::new_id;
use crate::completeness::{due, expected_from, ratio, silent_after};
use crate::pages::{self, Paged, Place, query, text, time, verdict};
use crate::store::{Agent, Boot, Filter, FleetPlan, Role, Summary};

/// Starts and reports of the page.
const AT_ONCE: u32 = 20;

/// The stretch whose runs are counted, at most.
const SPAN: SignedDuration = SignedDuration::from_hours(24);

/// What an admin wants done.
#[derive(Deserialize)]
pub(crate) struct Act {
    act: String,
    #[serde(default)]
    schedule: String,
}

/// What is known of an agent.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor, Path(id): Path<Uuid>) -> Paged {
    visitor.must(Role::sees_personal)?;
    let Some(agent) = own(&state, &visitor, id).await? else { return Ok(pages::not_found()) };
    visitor.audit(&state, "agent.view", id.to_string()).await?;
    let now = state.clock.now();
    let plan = state.store.fleet_plan(visitor.tenant()).await?;
    let boots = state.store.boots(visitor.tenant(), id, AT_ONCE).await?;
    let day = now.checked_sub(SPAN).unwrap_or(now);
    let of_agent = Filter { agent: Some(id.to_string()), ..Filter::default() };
    let latest = state.store.list(visitor.tenant(), &of_agent, None, AT_ONCE).await?;
    let last = boots.iter().map(|boot| boot.last).max();
    let body = html! {
        h1 { (text(Some(&agent.name))) }
        p { (state_of(&agent, last, silent_after(&plan), now)) @if let Some(words) = &agent.trouble { " " (text(Some(words))) } }
        dl class="about" {
            div { dt { "Site" } dd { (text(agent.site.as_deref())) } }
            div { dt { "Id" } dd { code { (agent.id) } } }
            div { dt { "Since (UTC)" } dd { (time(agent.enrolled)) ", by token " code { (agent.token) } } }
            div { dt { "Last asked (UTC)" } dd { @match agent.seen { Some(at) => (time(at)), None => (text(None)) } } }
            div { dt { "Version" } dd { (text(Some(&agent.version))) } }
            div { dt { "Configuration" } dd { (configuration(&agent, &plan)) } }
            div { dt { "Waiting there" } dd { (agent.waiting) " reports" @if agent.dropped > 0 { ", " (agent.dropped) " let go without having been sent" } } }
        }
        (last_day(&agent, &plan, &latest, day, now))
        @if visitor.role.manages() { (acts(&agent, &plan)) }
        (arrived(&boots))
        (reports(&latest, id))
    };
    Ok(pages::page(&visitor, Place::Agents, &agent.name, &body))
}

/// Does what an admin wants.
pub(crate) async fn act(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Form(form): Form<Act>,
) -> Paged {
    visitor.must(Role::manages)?;
    if own(&state, &visitor, id).await?.is_none() {
        return Ok(pages::not_found());
    }
    let (tenant, now) = (visitor.tenant(), state.clock.now());
    let (done, action) = match form.act.as_str() {
        "approve" => (state.store.approve_agent(tenant, id, now).await?, "agent.approve"),
        "revoke" => (state.store.revoke_agent(tenant, id).await?, "agent.revoke"),
        "run" => {
            let schedule = (!form.schedule.is_empty()).then_some(form.schedule);
            let run = RunNow { id: new_id(now), schedule };
            (state.store.want_run(tenant, id, &run).await?, "agent.run")
        }
        _ => return Ok(pages::not_found()),
    };
    if done {
        visitor.audit(&state, action, id.to_string()).await?;
    }
    Ok(Redirect::to(&format!("/agents/{id}")).into_response())
}

/// The agent, if it is of the visitor's tenant.
async fn own(state: &AppState, visitor: &Visitor, id: Uuid) -> Result<Option<Agent>, pages::Failed> {
    Ok(state.store.agent(id).await?.filter(|agent| agent.tenant == visitor.tenant()))
}

/// How many runs were due, where all that came since stands on the page: of more, the sums tell.
fn last_day(agent: &Agent, plan: &FleetPlan, latest: &[Summary], from: Timestamp, now: Timestamp) -> Markup {
    let oldest = latest.last().filter(|_| u32::try_from(latest.len()).is_ok_and(|n| n == AT_ONCE));
    let from = expected_from(agent, plan, from).max(oldest.map_or(from, |oldest| oldest.started));
    let expected = due(agent, plan, from, now);
    let came = latest.iter().filter(|report| report.started >= from).count().try_into().unwrap_or(u64::MAX);
    let complete = ratio(expected, 0, came).map(|ratio| format!("{:.0}", (ratio * 100.0).floor()));
    html! { p {
        "Since " (time(from)) " (UTC) " (expected) " runs were due by the schedules; " (came) " reports of that time are here"
        @if let Some(percent) = complete { " (" (percent) "\u{a0}%)" }
        "."
    } }
}

/// Which version of what is to be run the agent has.
fn configuration(agent: &Agent, plan: &FleetPlan) -> Markup {
    html! { @match agent.config {
        version if version == plan.version => { (version) ", the latest" }
        // Never told, as agents say it.
        version if version < 0 => { "none yet; " (plan.version) " is the latest" }
        version => { (version) "; " (plan.version) " is the latest" }
    } }
}

fn acts(agent: &Agent, plan: &FleetPlan) -> Markup {
    let action = format!("/agents/{}", agent.id);
    html! {
        @if agent.state == AgentState::Pending {
            form class="row" method="post" action=(action) {
                input type="hidden" name="act" value="approve";
                button class="main" { "Approve" }
            }
        }
        @if agent.state == AgentState::Active {
            form class="row" method="post" action=(action) {
                input type="hidden" name="act" value="run";
                label { "Schedule" select name="schedule" {
                    @for schedule in &plan.schedules { option value=(schedule.id) { (schedule.id) } }
                } }
                button class="main" disabled[plan.schedules.is_empty()] { "Run now" }
            }
            @if agent.wanted.is_some() {
                p role="status" { "A run is wanted. The agent learns of it when it next asks, within " (plan.check_in_s) " s." }
            }
        }
        @if agent.state != AgentState::Revoked {
            form class="row" method="post" action=(action) {
                input type="hidden" name="act" value="revoke";
                button aria-label={ "Revoke " (agent.name) } { "Revoke" }
            }
        }
    }
}

fn arrived(boots: &[Boot]) -> Markup {
    html! {
        h2 { "Starts" }
        p { "An agent numbers its reports from each start on, so that none is missed unseen. What is missing may still wait at the agent." }
        @if boots.is_empty() { p class="empty" { "No report yet." } } @else {
            table class="list" {
                thead { tr { th { "First report (UTC)" } th { "Last report (UTC)" } th { "Made" } th { "Received" } th { "Missing" } } }
                tbody { @for boot in boots { tr {
                    th scope="row" class="when" { (time(boot.first)) }
                    td class="when" data-name="Last report (UTC)" { (time(boot.last)) }
                    td data-name="Made" { (boot.last_seq) }
                    td data-name="Received" { (boot.received) }
                    td data-name="Missing" { (boot.missing()) }
                } } }
            }
        }
    }
}

fn reports(latest: &[Summary], id: Uuid) -> Markup {
    html! {
        h2 { "Latest reports" }
        @if latest.is_empty() { p class="empty" { "No report yet." } } @else {
            table class="list" {
                thead { tr { th { "Began (UTC)" } th { "Verdict" } th { "In a sentence" } } }
                tbody { @for report in latest { tr {
                    th scope="row" class="when" { a href={ "/reports/" (report.id) } { (time(report.started)) } }
                    td data-name="Verdict" { (verdict(report.overall, report.certain)) }
                    td data-name="In a sentence" { (text(Some(&report.say))) }
                } } }
            }
            p { a href=(query("/reports", &[("agent", &id.to_string())])) { "All of its reports" } }
        }
    }
}
