//! Everything that is kept on somebody: handed out, or erased.

use std::io;

use bytes::Bytes;
use greenroom_reports::redact::without_person;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::ingest::read;
use crate::store::{
    AuditEntry, CheckLink, Cursor, Filter, Forgotten, Note, Redacted, Store, StoreError, Summary, Tenant,
};

/// Reports looked up at a time.
const AT_ONCE: u32 = 50;

/// What was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// Reports of which nobody can tell any more whose they were.
    pub reports: u64,
    /// Check links and entries of the audit log.
    pub besides: Forgotten,
}

/// Takes somebody out of all that is kept: in the reports that are theirs by label or link, everything goes that is hidden from whoever
/// may not see persons, and their notes are deleted. Verdict, figures, site and ticket stay, and so do the sums. May be broken off and
/// repeated.
///
/// # Errors
/// When the store fails.
pub async fn erase(store: &dyn Store, tenant: Tenant, person: &str) -> Result<Erased, StoreError> {
    let mut reports = 0;
    loop {
        // Those that are done are not found again.
        let found = store.list(tenant, &filter(person), None, AT_ONCE).await?;
        if found.is_empty() {
            break;
        }
        let mut left = Vec::with_capacity(found.len());
        for summary in found {
            left.push(redacted(store, tenant, summary).await?);
            reports += 1;
        }
        store.put_redacted(tenant, left).await?;
    }
    Ok(Erased { reports, besides: store.forget_person(tenant, person).await? })
}

fn filter(person: &str) -> Filter {
    Filter { person: Some(person.to_owned()), ..Filter::default() }
}

/// What is left of a report. Of one that cannot be read, or not be rid of what is personal, the header is.
async fn redacted(store: &dyn Store, tenant: Tenant, summary: Summary) -> Result<Redacted, StoreError> {
    let json = match store.raw(tenant, summary.id).await {
        Ok(json) => json,
        Err(StoreError::Damaged(_)) => None,
        Err(error) => return Err(error),
    };
    let left = tokio::task::spawn_blocking(move || {
        let report = without_person(read::report(&json?).ok()?)?;
        Some((report.verdict.say.clone(), serde_json::to_vec(&report).ok()?))
    });
    // What makes the reading panic cannot be read.
    Ok(match left.await.ok().flatten() {
        Some((say, raw)) => Redacted { id: summary.id, say, raw: Some(raw) },
        // A sentence may name a device, and a device somebody.
        None => Redacted { id: summary.id, say: String::new(), raw: None },
    })
}

/// The name of the format of what is handed out.
pub const FORMAT: &str = "greenroom.person/1";

/// A check link as it is handed out: without what opens it.
#[derive(Serialize)]
struct Link<'a> {
    id: &'a str,
    ticket: &'a str,
    target: Option<&'a str>,
    author: &'a str,
    created: Timestamp,
    expires: Timestamp,
    used: u32,
}

impl<'a> From<&'a CheckLink> for Link<'a> {
    fn from(link: &'a CheckLink) -> Self {
        Self {
            id: &link.id,
            ticket: &link.ticket,
            target: link.target.as_deref(),
            author: &link.author,
            created: link.created,
            expires: link.expires,
            used: link.used,
        }
    }
}

/// That somebody was looked for.
#[derive(Serialize)]
struct Search<'a> {
    at: Timestamp,
    by: &'a str,
}

impl<'a> From<&'a AuditEntry> for Search<'a> {
    fn from(entry: &'a AuditEntry) -> Self {
        Self { at: entry.at, by: &entry.actor }
    }
}

/// Why what is kept on somebody was not handed out to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody takes it any more.
    #[error("nobody takes it any more")]
    Gone,
    /// It cannot be written as JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

/// Hands out everything that is kept on somebody, piece by piece, as one JSON text: reports that are theirs by label or link, latest
/// first, each with header, notes and the JSON as it was sent; check links for them; when who looked for them. Says how many reports.
///
/// # Errors
/// When the store fails, or nobody takes it.
pub async fn export(
    store: &dyn Store,
    tenant: Tenant,
    person: &str,
    now: Timestamp,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<u64, ExportError> {
    let hand = async |text: String| out.send(Ok(text.into())).await.map_err(|_| ExportError::Gone);
    let name = serde_json::to_string(person)?;
    hand(format!("{{\"format\":\"{FORMAT}\",\"person\":{name},\"written\":\"{now}\",\"reports\":[")).await?;
    let (mut reports, mut after) = (0_u64, None);
    loop {
        let found = store.list(tenant, &filter(person), after, AT_ONCE).await?;
        let Some(last) = found.last() else { break };
        after = Some(Cursor::behind(last));
        for summary in &found {
            let begin = if reports == 0 { "\n" } else { ",\n" };
            hand(format!("{begin}{}", held(store, tenant, summary).await?)).await?;
            reports += 1;
        }
    }
    let links = store.check_links_for(tenant, person).await?;
    let links = serde_json::to_string(&links.iter().map(Link::from).collect::<Vec<_>>())?;
    let searches = store.searches_for(tenant, person).await?;
    let searches = serde_json::to_string(&searches.iter().map(Search::from).collect::<Vec<_>>())?;
    hand(format!("\n],\"check_links\":{links},\"looked_for\":{searches}}}\n")).await?;
    Ok(reports)
}

/// A report as JSON text. Its own JSON stands in it as it was sent; `null` where it was deleted or cannot be read.
async fn held(store: &dyn Store, tenant: Tenant, summary: &Summary) -> Result<String, ExportError> {
    let header = serde_json::to_string(summary)?;
    let notes: Vec<Note> = store.notes(tenant, summary.id).await?;
    let notes = serde_json::to_string(&notes)?;
    let json = match store.raw(tenant, summary.id).await {
        Ok(json) => json,
        Err(StoreError::Damaged(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let json = json.and_then(|json| String::from_utf8(json).ok()).unwrap_or_else(|| "null".to_owned());
    Ok(format!("{{\"header\":{header},\"notes\":{notes},\"report\":{json}}}"))
}
