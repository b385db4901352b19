//! Reports found: by what is said on the phone, by time and by place.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use greenroom_reports::render;
use greenroom_reports::schema::State as Verdict;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::AppState;
use crate::auth::visitor::{Visitor, forbidden};
use crate::pages::{self, Live, Paged, Place, query, text, time, verdict};
use crate::store::{Cursor, Filter, StoreError, Summary, from_name, name_of};

/// Reports of a page.
const AT_ONCE: u32 = 50;

/// Most characters of what is looked for.
const MAX_QUERY: usize = 256;

/// What stands for reports without a site or an endpoint.
pub(super) const WITHOUT: &str = "(none)";

/// Verdicts to choose from.
const VERDICTS: [Verdict; 5] =
    [Verdict::Ready, Verdict::Degraded, Verdict::Blocked, Verdict::PermissionDenied, Verdict::Inconclusive];

/// What is looked for. Empty fields are not looked at.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Asked {
    /// A code, a ticket or a person.
    q: String,
    /// A verdict's name.
    verdict: String,
    /// A ticket.
    ticket: String,
    /// A person. Personal.
    person: String,
    /// A fleet agent. Personal.
    agent: String,
    /// A site, or [`WITHOUT`].
    site: String,
    /// An endpoint, or [`WITHOUT`].
    endpoint: String,
    /// Begun at or after, in UTC.
    from: String,
    /// Begun before, in UTC.
    to: String,
    /// Where the page before ended.
    after: String,
}

impl Asked {
    /// The fields with their names, as a link has them.
    fn pairs(&self) -> [(&'static str, &str); 9] {
        [
            ("q", self.q.trim()),
            ("verdict", &self.verdict),
            ("ticket", self.ticket.trim()),
            ("person", self.person.trim()),
            ("agent", self.agent.trim()),
            ("site", self.site.trim()),
            ("endpoint", self.endpoint.trim()),
            ("from", self.from.trim()),
            ("to", self.to.trim()),
        ]
    }

    fn is_too_long(&self) -> bool {
        self.pairs().iter().any(|(_, value)| value.chars().count() > MAX_QUERY)
    }

    /// Whether something is looked for that only some roles may look for.
    fn is_personal(&self) -> bool {
        !self.person.trim().is_empty() || !self.agent.trim().is_empty()
    }

    /// Whether more is looked for than words and a verdict.
    fn narrows(&self) -> bool {
        self.pairs()[2..].iter().any(|(_, value)| !value.is_empty())
    }

    /// What the audit log says of it: the words, or all fields.
    fn told(&self) -> String {
        if !self.narrows() {
            return self.q.trim().to_owned();
        }
        let given = self.pairs().into_iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    /// What the fields besides the words ask for, or which of the times cannot be read.
    fn filter(&self) -> Result<Filter, &'static str> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let or_without =
            |text: &str| given(text).map(|text| if text == WITHOUT { String::new() } else { text });
        Ok(Filter {
            code: None,
            ticket: given(&self.ticket),
            person: given(&self.person),
            agent: given(&self.agent),
            site: or_without(&self.site),
            endpoint: or_without(&self.endpoint),
            overall: from_name::<Verdict>(&self.verdict),
            from: point(&self.from).map_err(|()| "The time that they begin at cannot be read.")?,
            to: point(&self.to).map_err(|()| "The time that they end at cannot be read.")?,
        })
    }
}

/// A point in time as a form (`2026-11-29T03:00`, in UTC) or a link (RFC 3339) has it.
pub(super) fn point(text: &str) -> Result<Option<Timestamp>, ()> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Some(time));
    }
    let civil: DateTime = text.parse().map_err(|_| ())?;
    civil.to_zoned(TimeZone::UTC).map(|zoned| Some(zoned.timestamp())).map_err(|_| ())
}

/// The latest reports, or those that are looked for.
pub(crate) async fn search(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Paged {
    if asked.is_too_long() {
        return Ok(pages::error_page(StatusCode::BAD_REQUEST, "Too long", "Nothing has so long a name."));
    }
    if asked.is_personal() && !visitor.role.sees_personal() {
        return Ok(forbidden());
    }
    let fields = match asked.filter() {
        Ok(fields) => fields,
        Err(words) => {
            let words = format!("{words} Write it as 2026-11-29T03:00, in UTC.");
            return Ok(pages::error_page(StatusCode::BAD_REQUEST, "No time", &words));
        }
    };
    let after: Option<Cursor> = asked.after.parse().ok();
    let told = asked.told();
    visitor.audit(&state, if told.is_empty() { "report.list" } else { "report.search" }, told).await?;
    let filter = filter_for(&state, &visitor, asked.q.trim(), fields).await?;
    let mut found = match &filter {
        Some(filter) => state.store.list(visitor.tenant(), filter, after, AT_ONCE + 1).await?,
        None => Vec::new(),
    };
    let more = u32::try_from(found.len()).is_ok_and(|n| n > AT_ONCE);
    if more {
        found.pop();
    }
    let found: Vec<Summary> = found.into_iter().map(|summary| visitor.sees(summary)).collect();
    let next = found.last().filter(|_| more).map(|last| {
        let behind = Cursor::behind(last).to_string();
        let mut pairs = asked.pairs().to_vec();
        pairs.push(("after", &behind));
        query("/reports", &pairs)
    });
    let body = html! {
        h1 { "Reports" }
        (search_form(&visitor, &asked))
        @if found.is_empty() { (nothing(&asked, after.is_some())) } @else { (list(&found, visitor.role.sees_personal())) }
        @if let Some(next) = next { p { a href=(next) { "Earlier reports" } } }
    };
    Ok(pages::live_page(&visitor, Place::Reports, "Reports", &body, Live::Asks))
}

/// What to look for: the first of code, ticket and person that there is. `None` when there is none of them.
async fn filter_for(
    state: &AppState,
    visitor: &Visitor,
    words: &str,
    all: Filter,
) -> Result<Option<Filter>, StoreError> {
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

fn search_form(visitor: &Visitor, asked: &Asked) -> Markup {
    let personal = visitor.role.sees_personal();
    let what = if personal { "Code, ticket or person" } else { "Code or ticket" };
    let field = |label: &str, name: &str, value: &str, kind: &str, hint: &str| {
        html! { label { (label) input type=(kind) name=(name) value=(value) placeholder=(hint) autocomplete="off"; } }
    };
    html! {
        form method="get" action="/reports" role="search" {
            div class="row" {
                label { (what) input type="search" name="q" value=(asked.q.trim()) placeholder="K7Q4-M2XP" autocomplete="off" autofocus; }
                label { "Verdict" select name="verdict" {
                    option value="" { "any" }
                    @for state in VERDICTS {
                        option value=(name_of(&state)) selected[asked.verdict == name_of(&state)] { (render::verdict(state, true)) }
                    }
                } }
                button class="main" { "Find" }
                @if asked.narrows() { a class="reset" href="/reports" { "All reports" } }
            }
            details open[asked.narrows()] {
                summary { "By time and place" }
                div class="row" {
                    (field("Begun from (UTC)", "from", &for_form(&asked.from), "datetime-local", ""))
                    (field("Begun before (UTC)", "to", &for_form(&asked.to), "datetime-local", ""))
                    (field("Site", "site", &asked.site, "text", WITHOUT))
                    (field("Endpoint", "endpoint", &asked.endpoint, "text", "greenroom://probe.example"))
                    (field("Ticket", "ticket", &asked.ticket, "text", ""))
                    @if personal {
                        (field("Person", "person", &asked.person, "text", ""))
                        (field("Agent", "agent", &asked.agent, "text", ""))
                    }
                }
                p class="quiet" { "All as the reports have it, in full. " (WITHOUT) " finds those without a site, or without an endpoint." }
            }
        }
    }
}

/// A point in time as a form's field takes it.
fn for_form(text: &str) -> String {
    match point(text) {
        Ok(Some(time)) => time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M").to_string(),
        _ => String::new(),
    }
}

fn nothing(asked: &Asked, is_later_page: bool) -> Markup {
    let words = asked.q.trim();
    html! {
        p class="empty" {
            @if is_later_page { "No earlier reports." }
            @else if asked.narrows() { "No report is so." }
            @else if !words.is_empty() {
                "Nothing found for “" (render::clean(words)) "”. Codes may be written in small letters and without the dash; tickets and people \
                 are found by exactly what their reports say."
            } @else if !asked.verdict.is_empty() { "No report with this verdict." }
            @else {
                "No report yet. An admin makes a key on the page Keys; then: greenroom check HOST --upload URL --key-file FILE"
            }
        }
    }
}

fn list(found: &[Summary], personal: bool) -> Markup {
    html! {
        table class="list" {
            thead { tr { th { "Code" } th { "Begun (UTC)" } th { "Verdict" } @if personal { th { "Person" } } th { "Ticket" } th { "Site" } th { "Endpoint" } } }
            tbody { @for summary in found { tr {
                th scope="row" { a class="code" href={ "/reports/" (summary.id) } { (summary.code) } }
                td class="when" data-name="Begun (UTC)" { (time(summary.started)) }
                td class="say" data-name="Verdict" { (verdict(summary.overall, summary.certain)) small { (render::clean(&summary.say)) } }
                @if personal { td data-name="Person" { (text(summary.person.as_deref())) } }
                td data-name="Ticket" { (text(summary.ticket.as_deref())) }
                td data-name="Site" { (text(summary.site.as_deref())) }
                td data-name="Endpoint" { (text(summary.endpoint.as_deref())) }
            } } }
        }
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

    #[test]
    fn times_are_read_from_forms_and_links_in_utc() {
        let time = |text: &str| point(text).map(|time| time.map(|time| time.to_string()));
        assert_eq!(time(""), Ok(None));
        assert_eq!(time("2026-11-29T03:00"), Ok(Some("2026-11-29T03:00:00Z".into())));
        assert_eq!(time("2026-11-29T03:00:00+01:00"), Ok(Some("2026-11-29T02:00:00Z".into())));
        for wrong in ["yesterday", "2026-13-01T00:00", "29.11.2026"] {
            assert_eq!(point(wrong), Err(()), "{wrong}");
        }
        assert_eq!(for_form("2026-11-29T03:00:00Z"), "2026-11-29T03:00");
    }
}
