//! Reports: found by what is said on the phone, and one page each.

use axum::extract::{Form, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect};
use greenroom_reports::render::{self, html as report_html};
use greenroom_reports::schema::State as Verdict;
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use uuid::Uuid;

use crate::app::AppState;
use crate::auth::visitor::Visitor;
use crate::ingest::read;
use crate::pages::{self, Failed, Paged, Place, notice, query, text, time, verdict};
use crate::redact::redact;
use crate::store::{Agreement, Counted, Cursor, Filter, Note, Role, StoreError, Summary, from_name, name_of};

/// Reports of a page.
const AT_ONCE: u32 = 50;

/// Most characters of what is looked for.
const MAX_QUERY: usize = 256;

/// Most characters of a note.
const MAX_NOTE: usize = 4_000;

/// Verdicts to choose from.
const VERDICTS: [Verdict; 5] =
    [Verdict::Ready, Verdict::Degraded, Verdict::Blocked, Verdict::PermissionDenied, Verdict::Inconclusive];

/// What is looked for.
#[derive(Deserialize)]
pub(crate) struct Asked {
    /// A code, a ticket or a person.
    #[serde(default)]
    q: String,
    /// A verdict's name.
    #[serde(default)]
    verdict: String,
    /// Where the page before ended.
    #[serde(default)]
    after: String,
}

/// The latest reports, or those that are looked for.
pub(crate) async fn search(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Paged {
    let words = asked.q.trim();
    if words.chars().count() > MAX_QUERY {
        return Ok(pages::error_page(StatusCode::BAD_REQUEST, "Too long", "Nothing has so long a name."));
    }
    let overall = from_name::<Verdict>(&asked.verdict);
    let after: Option<Cursor> = asked.after.parse().ok();
    visitor.audit(&state, if words.is_empty() { "report.list" } else { "report.search" }, words).await?;
    let filter = filter_for(&state, &visitor, words, overall).await?;
    let mut found = match &filter {
        Some(filter) => state.store.list(visitor.tenant(), filter, after, AT_ONCE + 1).await?,
        None => Vec::new(),
    };
    let more = u32::try_from(found.len()).is_ok_and(|n| n > AT_ONCE);
    if more {
        found.pop();
    }
    let found: Vec<Summary> = found.into_iter().map(|summary| seen_by(&visitor, summary)).collect();
    let next = found.last().filter(|_| more).map(|last| {
        query(
            "/reports",
            &[("q", words), ("verdict", &asked.verdict), ("after", &Cursor::behind(last).to_string())],
        )
    });
    let body = html! {
        h1 { "Reports" }
        (search_form(&visitor, words, overall))
        @if found.is_empty() { (nothing(words, overall, after.is_some())) } @else { (list(&found)) }
        @if let Some(next) = next { p { a href=(next) { "Earlier reports" } } }
    };
    Ok(pages::page(&visitor, Place::Reports, "Reports", &body))
}

/// What to look for: the first of code, ticket and person that there is. `None` when there is none of them.
async fn filter_for(
    state: &AppState,
    visitor: &Visitor,
    words: &str,
    overall: Option<Verdict>,
) -> Result<Option<Filter>, StoreError> {
    let all = Filter { overall, ..Filter::default() };
    if words.is_empty() {
        return Ok(Some(all));
    }
    let mut ways = vec![Filter { ticket: Some(words.to_owned()), ..all.clone() }];
    if let Some(code) = code(words) {
        ways.insert(0, Filter { code: Some(code), ..all.clone() });
    }
    if visitor.role.sees_personal() {
        ways.push(Filter { person: Some(words.to_owned()), ..all });
    }
    for filter in ways {
        if !state.store.list(visitor.tenant(), &filter, None, 1).await?.is_empty() {
            return Ok(Some(filter));
        }
    }
    Ok(None)
}

/// A code as it is written, from how it was said: `k7q4 m2xp`, with letters that look like digits taken for these.
fn code(words: &str) -> Option<String> {
    let letters: String = words
        .chars()
        .filter(|c| !matches!(c, '-' | ' '))
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        })
        .collect();
    let plain = letters.len() == 8 && letters.chars().all(|c| c.is_ascii_alphanumeric() && c != 'U');
    plain.then(|| format!("{}-{}", &letters[..4], &letters[4..]))
}

/// One report.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Paged {
    let Some(summary) = summary(&state, &visitor, &id).await? else { return Ok(pages::not_found()) };
    visitor.audit(&state, "report.view", summary.id.to_string()).await?;
    let shown = fragment(&state, &visitor, summary.id).await?;
    let notes = match visitor.role.sees_personal() {
        true => state.store.notes(visitor.tenant(), summary.id).await?,
        false => Vec::new(),
    };
    let body = html! {
        (about(&summary))
        @if let Some(words) = doubt(&summary) { (notice(&words, true)) }
        @match shown {
            Shown::Report(html) => { (PreEscaped(html)) }
            Shown::Gone => { (notice("The report itself was deleted when its time was over; this is what is left of it.", false)) (remains(&summary)) }
            Shown::Hidden => { (notice("This report cannot be shown without what is personal, and your role does not include that.", true)) (remains(&summary)) }
        }
        @if visitor.role.sees_personal() { (notes_part(&summary, &notes)) }
    };
    Ok(pages::page(&visitor, Place::Reports, &summary.code, &body))
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
async fn summary(state: &AppState, visitor: &Visitor, id: &str) -> Result<Option<Summary>, StoreError> {
    let Ok(id) = Uuid::try_parse(id) else { return Ok(None) };
    let found = state.store.summary(visitor.tenant(), id).await?;
    Ok(found.map(|summary| seen_by(visitor, summary)))
}

fn seen_by(visitor: &Visitor, summary: Summary) -> Summary {
    if visitor.role.sees_personal() { summary } else { summary.redacted() }
}

/// What there is to show of a report.
enum Shown {
    /// All that the role may see, as HTML.
    Report(String),
    /// Its bytes were deleted.
    Gone,
    /// Nothing of it can be shown to this role.
    Hidden,
}

async fn fragment(state: &AppState, visitor: &Visitor, id: Uuid) -> Result<Shown, Failed> {
    let Some(json) = state.store.raw(visitor.tenant(), id).await? else { return Ok(Shown::Gone) };
    let _turn = state.reading.acquire().await.map_err(|_| Failed::from(pages::stopping()))?;
    let personal = visitor.role.sees_personal();
    let work = tokio::task::spawn_blocking(move || {
        let report = read::report(&json).ok()?;
        let report = if personal { report } else { redact(report)? };
        Some(report_html::fragment(&report))
    });
    Ok(work.await.ok().flatten().map_or(Shown::Hidden, Shown::Report))
}

fn search_form(visitor: &Visitor, words: &str, overall: Option<Verdict>) -> Markup {
    let what = if visitor.role.sees_personal() { "Code, ticket or person" } else { "Code or ticket" };
    html! {
        form class="row" method="get" action="/reports" role="search" {
            label { (what) input type="search" name="q" value=(words) placeholder="K7Q4-M2XP" autocomplete="off" autofocus; }
            label { "Verdict" select name="verdict" {
                option value="" { "any" }
                @for state in VERDICTS {
                    option value=(name_of(&state)) selected[overall == Some(state)] { (render::verdict(state, true)) }
                }
            } }
            button class="main" { "Find" }
        }
    }
}

fn nothing(words: &str, overall: Option<Verdict>, is_later_page: bool) -> Markup {
    html! {
        p class="empty" {
            @if is_later_page { "No earlier reports." }
            @else if !words.is_empty() {
                "Nothing found for “" (render::clean(words)) "”. Codes may be written in small letters and without the dash; tickets and people \
                 are found by exactly what their reports say."
            } @else if overall.is_some() { "No report with this verdict." }
            @else {
                "No report yet. An admin makes a key on the page Keys; then: greenroom check HOST --upload URL --key-file FILE"
            }
        }
    }
}

fn list(found: &[Summary]) -> Markup {
    html! {
        table class="list" {
            thead { tr { th { "Code" } th { "Begun (UTC)" } th { "Verdict" } th { "Person" } th { "Ticket" } th { "Site" } } }
            tbody { @for summary in found { tr {
                th scope="row" { a class="code" href={ "/reports/" (summary.id) } { (summary.code) } }
                td class="when" data-name="Begun (UTC)" { (time(summary.started)) }
                td class="say" data-name="Verdict" { (verdict(summary.overall, summary.certain)) small { (render::clean(&summary.say)) } }
                td data-name="Person" { (text(summary.person.as_deref())) }
                td data-name="Ticket" { (text(summary.ticket.as_deref())) }
                td data-name="Site" { (text(summary.site.as_deref())) }
            } } }
        }
    }
}

fn about(summary: &Summary) -> Markup {
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
        @if let Some(person) = &summary.person {
            p { a href=(query("/reports", &[("q", person)])) { "All reports of this person" } }
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
        p { a href={ "/reports/" (summary.id) "/json" } { "Download the report as JSON" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_understood_however_it_is_said() {
        for said in ["K7Q4-M2XP", "k7q4m2xp", " k7q4 m2xp", "K7Q4 - M2XP"] {
            assert_eq!(code(said).as_deref(), Some("K7Q4-M2XP"), "{said}");
        }
        assert_eq!(code("OIL0-AAAA").as_deref(), Some("0110-AAAA"));
        for other in ["", "K7Q4", "Ada Lovelace", "UUUU-UUUU", "Zoë Zoë8"] {
            assert_eq!(code(other), None, "{other}");
        }
    }
}
