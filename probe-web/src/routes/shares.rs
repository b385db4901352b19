//! Share links: one report, without what is personal, for whoever has the link.

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use uuid::Uuid;

use super::links::{DAYS, days_field, standing};
use super::report::{self, Shown};
use crate::app::AppState;
use crate::auth::link;
use crate::auth::visitor::Visitor;
use crate::pages::{self, Paged, notice, shown_once, text, time};
use crate::store::{AuditEntry, Role, ShareLink, Standing, TokenHash};

/// How long a link is to be good.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    days: String,
}

/// Makes a link to a report and shows it, once.
pub(crate) async fn add(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
    Form(form): Form<Wanted>,
) -> Paged {
    visitor.must(Role::sees_personal)?;
    let Some(summary) = report::summary(&state, &visitor, &id).await? else { return Ok(pages::not_found()) };
    let Some(days) = form.days.parse().ok().filter(|days| DAYS.contains(days)) else {
        return Ok(pages::error_page(
            StatusCode::UNPROCESSABLE_ENTITY,
            "No such time",
            "Choose how long the link is good.",
        ));
    };
    let expires = state.later(SignedDuration::from_hours(24 * days));
    let (token, kept) =
        link::mint_share(visitor.tenant(), summary.id, visitor.user.name.clone(), state.clock.now(), expires);
    state.store.add_share_link(&kept).await?;
    visitor.audit(&state, "share.add", format!("{} ({})", summary.id, kept.id)).await?;
    let address = format!("{}/s/{token}", state.config.base_url);
    report::show(&state, &visitor, &summary, &shown_once("The link to this report.", &address)).await
}

/// Makes a link worthless.
pub(crate) async fn revoke(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Paged {
    visitor.must(Role::sees_personal)?;
    let now = state.clock.now();
    let Some(report) = state.store.revoke_share_link(visitor.tenant(), &id, now).await? else {
        return Ok(pages::not_found());
    };
    visitor.audit(&state, "share.revoke", format!("{report} ({id})")).await?;
    Ok(Redirect::to(&format!("/reports/{report}#share")).into_response())
}

/// A page with a button. Programs that look at links in messages get this far and count as nobody.
pub(crate) async fn landing(State(state): State<AppState>, Path(token): Path<String>) -> Paged {
    let Some((_, found)) = good(&state, &token).await? else { return Ok(not_good()) };
    let body = html! {
        h1 { "A report was shared with you" }
        p { "It tells how good calls are from one computer and its network, without names and addresses." }
        form method="post" { button class="main" { "Show the report" } }
        p class="quiet" { "The link is good until " (time(found.expires)) " (UTC). Whoever shared it sees how often it was shown, and not to whom." }
    };
    Ok(pages::bare("A shared report", &body))
}

/// Shows the report and counts that.
pub(crate) async fn show(State(state): State<AppState>, Path(token): Path<String>) -> Paged {
    let Some((hash, found)) = good(&state, &token).await? else { return Ok(not_good()) };
    let now = state.clock.now();
    // What may not be counted any more by now is not shown.
    if !state.store.view_share_link(&hash, now).await? {
        return Ok(not_good());
    }
    let entry = AuditEntry {
        tenant: found.tenant,
        at: now,
        actor: format!("share link {}", found.id),
        action: "share.view".to_owned(),
        subject: found.report.to_string(),
    };
    state.store.audit(&entry).await?;
    let Some(summary) = state.store.summary(found.tenant, found.report).await? else { return Ok(not_good()) };
    let body = match report::fragment(&state, found.tenant, &summary, false).await? {
        Shown::Report(html) => html! { (PreEscaped(html)) },
        Shown::Gone => notice("The report was deleted when its time was over.", false),
        Shown::Hidden => notice("This report cannot be shown without what is personal.", true),
    };
    Ok(pages::bare(&format!("Report {}", summary.code), &body))
}

async fn good(state: &AppState, token: &str) -> Result<Option<(TokenHash, ShareLink)>, pages::Failed> {
    let Some(hash) = link::hash(token, link::SHARE) else { return Ok(None) };
    let found = state.store.share_link(&hash).await?;
    Ok(found.filter(|link| link.standing(state.clock.now()) == Standing::Good).map(|link| (hash, link)))
}

/// Whether it never was, is over or was taken back is nobody's business.
fn not_good() -> Response {
    pages::error_page(
        StatusCode::NOT_FOUND,
        "This link does not work",
        "It is over, was taken back, or was not copied whole. Ask whoever shared it.",
    )
}

/// The part of a report's page that makes links to it.
pub(super) fn part(report: Uuid, links: &[ShareLink], now: Timestamp, told: &Markup) -> Markup {
    html! {
        h2 id="share" { "Share" }
        (told)
        p { "A link shows this report to whoever has it, without names, ticket, addresses and names of devices, and without the notes." }
        @if !links.is_empty() {
            table class="list" {
                thead { tr { th { "Made (UTC)" } th { "By" } th { "Good until (UTC)" } th { "Shown" } th { "State" } } }
                tbody { @for link in links { (row(link, now)) } }
            }
        }
        form class="row" method="post" action={ "/reports/" (report) "/shares#share" } {
            (days_field(""))
            button { "Make a link" }
        }
    }
}

fn row(link: &ShareLink, now: Timestamp) -> Markup {
    let good = link.standing(now);
    html! { tr {
        th scope="row" class="when" { (time(link.created)) }
        td data-name="By" { (text(Some(&link.author))) }
        td class="when" data-name="Good until (UTC)" { (time(link.expires)) }
        td data-name="Shown" {
            @match link.viewed {
                Some(at) => { (link.views) "×, last " (time(at)) }
                None => "never"
            }
        }
        td data-name="State" {
            @if good == Standing::Good {
                form class="row" method="post" action={ "/shares/" (link.id) "/revoke" } {
                    (standing(good)) button aria-label={ "Revoke the link of " (link.created) } { "Revoke" }
                }
            } @else { (standing(good)) }
        }
    } }
}
