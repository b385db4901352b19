//! Who looked at what and changed what, for admins.

use axum::extract::{Query, State};
use jiff::Timestamp;
use maud::html;
use serde::Deserialize;

use crate::app::AppState;
use crate::auth::visitor::Visitor;
use crate::pages::{self, Paged, Place, text, time};
use crate::store::Role;

/// Entries of a page.
const AT_ONCE: u32 = 100;

/// Where the page begins.
#[derive(Deserialize)]
pub(crate) struct From {
    before: Option<i64>,
}

/// The latest entries, or those before a time.
pub(crate) async fn page(State(state): State<AppState>, visitor: Visitor, Query(from): Query<From>) -> Paged {
    visitor.must(Role::manages)?;
    let before = from.before.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let entries = state.store.audit_log(visitor.tenant(), before, AT_ONCE).await?;
    let full = u32::try_from(entries.len()).is_ok_and(|n| n == AT_ONCE);
    let body = html! {
        h1 { "Audit" }
        p { "Who signed in, looked at reports and changed something. What was looked at is deleted with the reports." }
        @if entries.is_empty() { p class="empty" { "Nothing here." } } @else {
            table class="list" {
                thead { tr { th { "When (UTC)" } th { "Who" } th { "What" } th { "Of what" } } }
                tbody { @for entry in &entries { tr {
                    th scope="row" class="when" { (time(entry.at)) }
                    td data-name="Who" { (text(Some(&entry.actor))) }
                    td data-name="What" { (entry.action) }
                    td data-name="Of what" { (text(Some(&entry.subject))) }
                } } }
            }
        }
        @if let Some(last) = entries.last().filter(|_| full) {
            p { a href={ "/audit?before=" (last.at.as_millisecond()) } { "Earlier" } }
        }
    };
    Ok(pages::page(&visitor, Place::Audit, "Audit", &body))
}
