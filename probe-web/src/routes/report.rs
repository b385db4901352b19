//! One report's page: what it says, what else there is of that person and place, notes, links to it.

use axum::extract::{Form, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect};
use greenroom_reports::redact::without_person;
use greenroom_reports::render::{self, html as report_html};
use greenroom_reports::schema::Report;
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use uuid::Uuid;

use super::{beside, shares};
use crate::app::AppState;
use crate::auth::visitor::Visitor;
use crate::ingest::read;
use crate::pages::{self, Failed, Paged, Place, notice, query, text, time, verdict};
use crate::store::{Agreement, Counted, Note, Role, StoreError, Summary, Tenant};

/// Most characters of a note.
const MAX_NOTE: usize = 4_000;

/// One report.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Paged {
    let Some(summary) = summary(&state, &visitor, &id).await? else { return Ok(pages::not_found()) };
    visitor.audit(&state, "report.view", summary.id.to_string()).await?;
    show(&state, &visitor, &summary, &html! {}).await
}

/// The page, with what is told about a link that was just made.
pub(super) async fn show(state: &AppState, visitor: &Visitor, summary: &Summary, told: &Markup) -> Paged {
    let (tenant, personal) = (visitor.tenant(), visitor.role.sees_personal());
    let shown = fragment(state, tenant, summary, personal).await?;
    let beside = beside::part(state, visitor, summary).await?;
    let (notes, links) = match personal {
        true => {
            (state.store.notes(tenant, summary.id).await?, state.store.share_links(tenant, summary.id).await?)
        }
        false => (Vec::new(), Vec::new()),
    };
    let body = html! {
        (about(summary, personal))
        @if let Some(words) = doubt(summary) { (notice(&words, true)) }
        @match shown {
            Shown::Report(html) => { (PreEscaped(html)) }
            Shown::Gone => { (notice("The report itself was deleted when its time was over; this is what is left of it.", false)) (remains(summary)) }
            Shown::Hidden => { (notice("This report cannot be shown without what is personal, and your role does not include that.", true)) (remains(summary)) }
        }
        (beside)
        @if personal {
            (notes_part(summary, &notes))
            (shares::part(summary.id, &links, state.clock.now(), told))
        }
    };
    Ok(pages::page(visitor, Place::Reports, &summary.code, &body))
}

/// A report's JSON as it was sent.
pub(crate) async fn download(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Paged {
    visitor.must(Role::sees_personal)?;
    let Some(summary) = summary(&state, &visitor, &id).await? else { return Ok(pages::not_found()) };
    visitor.audit(&state, "report.download", summary.id.to_string()).await?;
    let Some(json) = state.store.raw(visitor.tenant(), summary.id).await? else {
        return Ok(pages::not_found());
    };
    let name = format!("attachment; filename=\"{}.json\"", summary.code);
    Ok(([(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_DISPOSITION, name)], json)
        .into_response())
}

/// A note to be added.
#[derive(Deserialize)]
pub(crate) struct Added {
    words: String,
}

/// Adds a note to a report.
pub(crate) async fn add_note(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
    Form(form): Form<Added>,
) -> Paged {
    visitor.must(Role::sees_personal)?;
    let Some(summary) = summary(&state, &visitor, &id).await? else { return Ok(pages::not_found()) };
    let words = form.words.trim();
    if words.is_empty() || words.chars().count() > MAX_NOTE {
        return Ok(pages::error_page(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Not a note",
            "A note has 1 to 4,000 characters. Go back, and what you wrote should still be there.",
        ));
    }
    let note = Note { at: state.clock.now(), by: visitor.user.name.clone(), text: words.to_owned() };
    state.store.add_note(visitor.tenant(), summary.id, &note).await?;
    visitor.audit(&state, "note.add", summary.id.to_string()).await?;
    Ok(Redirect::to(&format!("/reports/{}#notes", summary.id)).into_response())
}

/// The header of one of the visitor's own tenant's reports, as their role may see it.
pub(super) async fn summary(
    state: &AppState,
    visitor: &Visitor,
    id: &str,
) -> Result<Option<Summary>, StoreError> {
    let Ok(id) = Uuid::try_parse(id) else { return Ok(None) };
    let found = state.store.summary(visitor.tenant(), id).await?;
    Ok(found.map(|summary| visitor.sees(summary)))
}

/// What there is to show of a report.
pub(super) enum Shown {
    /// All that the role may see, as HTML.
    Report(String),
    /// Its bytes were deleted.
    Gone,
    /// Nothing of it can be shown to this role.
    Hidden,
}

pub(super) async fn fragment(
    state: &AppState,
    tenant: Tenant,
    summary: &Summary,
    personal: bool,
) -> Result<Shown, Failed> {
    let Some(json) = state.store.raw(tenant, summary.id).await? else { return Ok(Shown::Gone) };
    let _turn = state.reading.acquire().await.map_err(|_| Failed::from(pages::stopping()))?;
    let summary = summary.clone();
    let work = tokio::task::spawn_blocking(move || {
        Some(report_html::fragment(&as_seen(&json, &summary, personal)?))
    });
    Ok(work.await.ok().flatten().map_or(Shown::Hidden, Shown::Report))
}

/// A report as it may be seen. One that came by a check link is of the link's ticket and person, not of those that it names itself.
pub(crate) fn as_seen(json: &[u8], summary: &Summary, personal: bool) -> Option<Report> {
    let mut report = read::report(json).ok()?;
    if summary.link.is_some() {
        for (name, value) in [("ticket", &summary.ticket), ("person", &summary.person)] {
            // For whoever may not see persons, both what the report says and what the link says is to be hidden.
            if !personal && let Some(own) = report.labels.remove(name) {
                report.labels.insert(format!("own {name}"), own);
            }
            match value {
                Some(value) => report.labels.insert(name.to_owned(), value.clone()),
                None => report.labels.remove(name),
            };
        }
    }
    if personal { Some(report) } else { without_person(report) }
}

fn about(summary: &Summary, personal: bool) -> Markup {
    let facts = [
        ("Person", &summary.person),
        ("Ticket", &summary.ticket),
        ("Site", &summary.site),
        ("Agent", &summary.agent),
        ("Endpoint", &summary.endpoint),
    ];
    html! {
        dl class="about" {
            div { dt { "Code" } dd class="code" { (summary.code) } }
            div { dt { "Begun (UTC)" } dd { (time(summary.started)) } }
            div { dt { "Received (UTC)" } dd { (time(summary.received)) } }
            @for (name, value) in facts {
                @if let Some(value) = value { div { dt { (name) } dd { (render::clean(value)) } } }
            }
        }
        @if summary.link.is_some() { p class="quiet" { "Sent through a check link, with its ticket and person." } }
        @if personal {
            p class="ways" {
                @if let Some(person) = &summary.person { a href=(query("/reports", &[("person", person)])) { "All reports of this person" } }
                @if let Some(ticket) = &summary.ticket {
                    a href=(query("/links", &[("ticket", ticket), ("person", summary.person.as_deref().unwrap_or_default())])) { "Send a check link" }
                }
                a href="#notes" { "Notes" }
                a href="#share" { "Share" }
                a href={ "/reports/" (summary.id) "/json" } { "Download as JSON" }
            }
        }
    }
}

/// What makes a report less than sure.
fn doubt(summary: &Summary) -> Option<String> {
    let figures = match summary.agreement {
        Agreement::Differs => Some(format!(
            "Computed again from its own samples, this report's figures come out otherwise ({}). Do not rely on them.",
            summary.differs.join(", ")
        )),
        Agreement::Unreadable => {
            Some("The samples in this report cannot be read, so its figures could not be checked.".to_owned())
        }
        Agreement::Pending | Agreement::Agrees | Agreement::NoSamples => None,
    };
    let clock = match summary.counted {
        Counted::ClockAhead => {
            Some("The sender's clock was more than five minutes ahead: the time may be wrong.".to_owned())
        }
        Counted::TooOld | Counted::Yes => None,
    };
    let all: Vec<String> = [figures, clock].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(" "))
}

fn remains(summary: &Summary) -> Markup {
    html! {
        h1 { (verdict(summary.overall, summary.certain)) }
        p { (render::clean(&summary.say)) }
    }
}

fn notes_part(summary: &Summary, notes: &[Note]) -> Markup {
    html! {
        h2 id="notes" { "Notes" }
        @for note in notes {
            div class="note" { p class="quiet" { (text(Some(&note.by))) ", " (time(note.at)) } p { (note.text) } }
        }
        form class="column" method="post" action={ "/reports/" (summary.id) "/notes" } {
            label { "Add a note" textarea name="words" maxlength=(MAX_NOTE) required {} }
            button { "Add" }
        }
    }
}
