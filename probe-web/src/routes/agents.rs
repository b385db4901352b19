//! The fleet's agents: who is there, how complete their reports are, and the tokens that enroll more.

use std::collections::BTreeMap;

use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use greenroom_reports::fleet::AgentState;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::links::{DAYS, days_field, standing};
use crate::app::AppState;
use crate::auth::agent::{self, NewEnrollToken};
use crate::auth::visitor::Visitor;
use crate::completeness::{Completeness, completeness_of, is_silent, silent_after};
use crate::ingest::read::is_plain;
use crate::pages::{self, Paged, Place, notice, shown_once, text, time};
use crate::store::{Agent, Boot, EnrollToken, Role, Standing};

/// Agents of a page.
const AT_ONCE: u32 = 200;

/// Tokens of a page.
const TOKENS: u32 = 50;

/// Most characters of a token's name and its site.
const NAME: usize = 64;

/// Most agents of a token.
const MOST: u32 = 100_000;

/// How far back gaps are looked for.
const GAPS: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Where the page begins.
#[derive(Deserialize, Default)]
pub(crate) struct From {
    after: Option<Uuid>,
}

/// A token to be made, as the form has it.
#[derive(Deserialize, Default)]
pub(crate) struct Wanted {
    #[serde(default)]
    name: String,
    #[serde(default)]
    site: String,
    #[serde(default)]
    days: String,
    #[serde(default)]
    most: String,
    #[serde(default)]
    approve: String,
}

/// All agents, and for admins the tokens that enroll more.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor, Query(from): Query<From>) -> Paged {
    visitor.must(Role::sees_personal)?;
    visitor.audit(&state, "agent.list", "").await?;
    show(&state, &visitor, from.after, &Wanted::default(), &html! {}).await
}

/// Makes a token and shows it, once.
pub(crate) async fn add_token(
    State(state): State<AppState>,
    visitor: Visitor,
    Form(form): Form<Wanted>,
) -> Paged {
    visitor.must(Role::manages)?;
    let new = match form.read(&visitor.user.name, |days| state.later(days)) {
        Ok(new) => new,
        Err(words) => {
            let page = show(&state, &visitor, None, &form, &notice(&words, true)).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let (token, kept) = agent::mint_enroll(visitor.tenant(), new, state.clock.now());
    state.store.add_enroll_token(&kept).await?;
    visitor.audit(&state, "enroll_token.add", format!("{} ({})", kept.id, kept.name)).await?;
    let told = html! {
        (shown_once("The new enrollment token.", &token))
        p { "Put it into a file on the computer that is to be an agent, and name the file:" }
        pre tabindex="0" { "greenroom agent enroll --server " (state.config.base_url) " --token-file FILE" }
    };
    show(&state, &visitor, None, &Wanted::default(), &told).await
}

/// Makes a token worthless. Its agents stay.
pub(crate) async fn revoke_token(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Paged {
    visitor.must(Role::manages)?;
    if !state.store.revoke_enroll_token(visitor.tenant(), &id, state.clock.now()).await? {
        return Ok(pages::not_found());
    }
    visitor.audit(&state, "enroll_token.revoke", id).await?;
    Ok(Redirect::to("/agents").into_response())
}

impl Wanted {
    /// What is asked for, or what is wrong with it.
    fn read(
        &self,
        author: &str,
        later: impl Fn(SignedDuration) -> Timestamp,
    ) -> Result<NewEnrollToken, String> {
        let (name, site) = (self.name.trim(), self.site.trim());
        if name.is_empty() || !is_plain(name, NAME) {
            return Err(format!("A token's name has 1 to {NAME} characters."));
        }
        if !is_plain(site, NAME) {
            return Err(format!("A site has at most {NAME} characters."));
        }
        let days = self.days.parse().ok().filter(|days| DAYS.contains(days));
        let days = days.ok_or("Choose how long the token is good.")?;
        let most = self.most.trim().parse().ok().filter(|most| (1..=MOST).contains(most));
        let most = most.ok_or_else(|| format!("A token enrolls 1 to {MOST} agents."))?;
        Ok(NewEnrollToken {
            name: name.to_owned(),
            site: (!site.is_empty()).then(|| site.to_owned()),
            approve: self.approve == "yes",
            author: author.to_owned(),
            expires: later(SignedDuration::from_hours(24 * days)),
            most,
        })
    }
}

async fn show(
    state: &AppState,
    visitor: &Visitor,
    after: Option<Uuid>,
    wanted: &Wanted,
    told: &Markup,
) -> Paged {
    let now = state.clock.now();
    let tenant = visitor.tenant();
    let agents = state.store.agents(tenant, after, AT_ONCE).await?;
    let boots = state.store.boots_since(tenant, now.checked_sub(GAPS).unwrap_or(now)).await?;
    let heard = Heard::of(boots);
    let complete = completeness_of(&*state.store, tenant, now).await?;
    let silent_after = silent_after(&state.store.fleet_plan(tenant).await?);
    let full = u32::try_from(agents.len()).is_ok_and(|n| n == AT_ONCE);
    let body = html! {
        h1 { "Agents" }
        p { "Computers that check on a schedule and send what they find. What they run stands on the page " a href="/schedules" { "Schedules" } "." }
        (told)
        (summary(&complete))
        @if agents.is_empty() {
            p class="empty" { "No agent yet. An admin makes an enrollment token below, and " code { "greenroom agent enroll" } " uses it." }
        } @else {
            table class="list" {
                thead { tr { th { "Computer" } th { "Site" } th { "State" } th { "Last report (UTC)" } th { "Reports, 7 days" } th { "Missing" } th { "Waiting there" } th { "Version" } } }
                tbody { @for agent in &agents { (row(agent, heard.0.get(&agent.id), silent_after, now)) } }
            }
        }
        @if let Some(last) = agents.last().filter(|_| full) {
            p { a href={ "/agents?after=" (last.id) } { "More" } }
        }
        @if visitor.role.manages() { (tokens(state, visitor, wanted, now).await?) }
    };
    Ok(pages::page(visitor, Place::Agents, "Agents", &body))
}

/// What arrived of each agent.
struct Heard(BTreeMap<Uuid, Arrived>);

#[derive(Default)]
struct Arrived {
    last: Option<Timestamp>,
    received: u64,
    missing: u64,
}

impl Heard {
    fn of(boots: Vec<Boot>) -> Self {
        let mut found: BTreeMap<Uuid, Arrived> = BTreeMap::new();
        for boot in boots {
            let sum = found.entry(boot.agent).or_default();
            sum.last = sum.last.max(Some(boot.last));
            sum.received += boot.received;
            sum.missing += boot.missing();
        }
        Self(found)
    }
}

/// How complete the last hour is, in a sentence.
pub(super) fn summary(found: &Completeness) -> Markup {
    let percent = found.ratio.map(|ratio| format!("{:.1}", (ratio * 1_000.0).floor() / 10.0));
    html! {
        p {
            (found.active) @if found.active == 1 { " agent reports" } @else { " agents report" }
            @if found.pending > 0 { ", " (found.pending) " wait for approval" }
            @if found.silent > 0 { ", nothing was heard of " (found.silent) " for some time" }
            ". "
            @match percent {
                Some(percent) => {
                    "Complete to " (percent) "\u{a0}%: of " (found.due) " runs due from " (time(found.from)) " to " (time(found.to))
                    " (UTC), " (found.received) " are here"
                    @if found.skipped > 0 { " and " (found.skipped) " were left out on purpose" }
                    "."
                }
                None => { "No run was due in the last hour that is over." }
            }
        }
    }
}

/// An agent's state, in a word.
pub(super) fn state_of(
    agent: &Agent,
    last: Option<Timestamp>,
    silent_after: SignedDuration,
    now: Timestamp,
) -> Markup {
    let (class, word) = match agent.state {
        AgentState::Pending => ("degraded", "waits for approval"),
        AgentState::Revoked => ("none", "revoked"),
        AgentState::Active if is_silent(agent, last, silent_after, now) => ("blocked", "silent"),
        AgentState::Active => ("ready", "active"),
    };
    html! { span class={ "state " (class) } { (word) } }
}

fn row(agent: &Agent, arrived: Option<&Arrived>, silent_after: SignedDuration, now: Timestamp) -> Markup {
    let last = arrived.and_then(|it| it.last);
    html! { tr {
        th scope="row" { a href={ "/agents/" (agent.id) } { (text(Some(&agent.name))) } }
        td data-name="Site" { (text(agent.site.as_deref())) }
        td data-name="State" {
            (state_of(agent, last, silent_after, now))
            @if let Some(words) = &agent.trouble { " " (text(Some(words))) }
        }
        td class="when" data-name="Last report (UTC)" { @match last { Some(at) => (time(at)), None => (text(None)) } }
        td data-name="Reports, 7 days" { (arrived.map_or(0, |it| it.received)) }
        td data-name="Missing" { (arrived.map_or(0, |it| it.missing)) }
        td data-name="Waiting there" { (agent.waiting) }
        td data-name="Version" { (text(Some(&agent.version))) }
    } }
}

async fn tokens(
    state: &AppState,
    visitor: &Visitor,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Markup, pages::Failed> {
    let tokens = state.store.enroll_tokens(visitor.tenant(), TOKENS).await?;
    let most = if wanted.most.is_empty() { "1" } else { &wanted.most };
    Ok(html! {
        h2 { "Enrollment tokens" }
        p { "A token lets some computers become agents, until its time is over. Each makes a key of its own; the token is not needed after that." }
        form class="row" method="post" action="/agents/tokens" {
            label { "What it is for" input name="name" value=(wanted.name) maxlength=(NAME) placeholder="laptops in Lyon" autocomplete="off" required; }
            label { "Site of their reports (may be empty)" input name="site" value=(wanted.site) maxlength=(NAME) placeholder="Lyon" autocomplete="off"; }
            (days_field(&wanted.days))
            label { "Agents" input type="number" name="most" value=(most) min="1" max=(MOST) required; }
            label { "Each must be approved here" select name="approve" {
                option value="no" { "no" }
                option value="yes" selected[wanted.approve == "yes"] { "yes" }
            } }
            button class="main" { "Make a token" }
        }
        @if !tokens.is_empty() {
            table class="list" {
                thead { tr { th { "For" } th { "Site" } th { "Made by" } th { "Good until (UTC)" } th { "Agents" } th { "Approval" } th { "State" } } }
                tbody { @for token in &tokens { (token_row(token, now)) } }
            }
        }
    })
}

fn token_row(token: &EnrollToken, now: Timestamp) -> Markup {
    let good = token.standing(now);
    html! { tr {
        th scope="row" { (text(Some(&token.name))) }
        td data-name="Site" { (text(token.site.as_deref())) }
        td data-name="Made by" { (text(Some(&token.author))) }
        td class="when" data-name="Good until (UTC)" { (time(token.expires)) }
        td data-name="Agents" { (token.used) " of " (token.most) }
        td data-name="Approval" { @if token.approve { "needed" } @else { "not needed" } }
        td data-name="State" {
            @if good == Standing::Good {
                form class="row" method="post" action={ "/agents/tokens/" (token.id) "/revoke" } {
                    (standing(good)) button aria-label={ "Revoke the token for " (token.name) } { "Revoke" }
                }
            } @else { (standing(good)) }
        }
    } }
}
