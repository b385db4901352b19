//! A report as one HTML file: no script, no network, readable in light and dark, on paper and by a screen reader.
//!
//! The file's own policy forbids everything but its one style sheet, named by hash. Text is escaped by `maud`, and
//! cleaned of characters that browsers obey.

mod plot;
mod points;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::devices;
use super::figures::{self, Cell, Found, Row};
use super::words;
use crate::schema::{Cause, Report, State, Target, Value, Verdict};

/// The style sheet of a report, for a page that shows a [`fragment`].
pub const STYLE: &str = include_str!("style.css");

/// What the file may do: use its own style sheet, by the SHA-256 of [`STYLE`] (a test compares), and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'sha256-a3HG86okYt0hYvSIY364eRBhH2D0aRq8e4tDoaV2Qb0='; base-uri 'none'; form-action 'none'";

/// Renders a report as a self-contained HTML document.
pub fn render(report: &Report) -> String {
    let verdict = &report.verdict;
    let title = format!(
        "{}: {}",
        capital(&words::verdict(verdict.overall, verdict.certain)),
        words::prose(&verdict.say)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body(report)) } }
        }
    };
    page.into_string()
}

/// Renders what a report says as a piece of HTML, for a page of its own style and policy: [`STYLE`] goes with it, and nothing in
/// it needs a script, an inline style or the network.
pub fn fragment(report: &Report) -> String {
    body(report).into_string()
}

fn body(report: &Report) -> Markup {
    html! {
        (headline(report))
        (uses(&report.verdict))
        (causes(&report.verdict))
        @for target in &report.targets { (self::target(target, &report.verdict)) }
        (surroundings(report))
        footer { (words::provenance(report).join(" · ")) br; "Report " (report.id.to_string()) }
    }
}

fn headline(report: &Report) -> Markup {
    let verdict = &report.verdict;
    html! {
        header class={ "verdict " (class(verdict.overall)) } {
            div { (state(verdict.overall, verdict.certain))
                span class="quiet" {
                    @if let Some(place) = verdict.place { " · " (words::fault(place, verdict.direction)) }
                }
            }
            h1 { (words::prose(&verdict.say)) }
            @if let Some(fix) = &verdict.fix { p class="fix" { "→ " (words::prose(fix)) } }
            @if let Some(doubt) = words::doubt(report) { p class="quiet" { (doubt) } }
            @if let Some(warning) = words::cut_short(report) { p { (words::mark(State::Degraded)) " " (warning) } }
        }
    }
}

fn uses(verdict: &Verdict) -> Markup {
    html! {
        @if !verdict.uses.is_empty() {
            h2 { "What it means for the call" }
            table class="uses" {
                thead { tr { th scope="col" { "Use" } th scope="col" { "State" } th scope="col" { "Because" } } }
                tbody { @for (use_, found) in verdict.uses.iter().filter(|(_, found)| !words::unasked(found)) { tr {
                    th scope="row" { (words::use_name(*use_)) }
                    td { (state(found.state, found.certain)) }
                    td class="quiet" { (words::use_notes(*use_, found, &verdict.causes).join(" · ")) }
                } } }
            }
            @if let Some(others) = words::not_asked(&verdict.uses) { p class="quiet" { (others) } }
        }
    }
}

fn causes(verdict: &Verdict) -> Markup {
    let (notes, causes): (Vec<&Cause>, Vec<&Cause>) =
        verdict.causes.iter().partition(|cause| words::is_note(cause));
    html! {
        @if !causes.is_empty() {
            h2 { "Why" }
            @for cause in causes { (self::cause(verdict, cause)) }
        }
        @if !notes.is_empty() {
            h2 { "Also noticed" }
            ul { @for note in notes { li {
                (words::prose(&note.say))
                @if let Some(fix) = &note.fix { " " (words::prose(fix)) }
                @for item in &note.evidence { span class="quiet" { " · " (words::prose(item)) } }
            } } }
        }
    }
}

fn cause(verdict: &Verdict, cause: &Cause) -> Markup {
    html! {
        section {
            h3 {
                (state(cause.state, true)) " · " (words::fault(cause.place, cause.direction))
                @if let Some(target) = &cause.target { span class="quiet" { " · " (words::clean(target)) } }
            }
            p {
                @if cause.say != verdict.say { (words::prose(&cause.say)) " " }
                @if let Some(measured) = words::measured(cause) { (capital(&measured)) }
                @if let Some(bounds) = words::bounds(cause) { span class="quiet" { " (" (bounds) ")" } }
            }
            @if let Some(fix) = cause.fix.as_ref().filter(|fix| verdict.fix.as_ref() != Some(*fix)) {
                p class="fix" { "→ " (words::prose(fix)) }
            }
            @for (title, items) in [("What speaks for it", &cause.evidence), ("What was ruled out", &cause.ruled_out)] {
                @if !items.is_empty() {
                    p class="quiet" { (title) }
                    ul { @for item in items { li { (words::prose(item)) } } }
                }
            }
        }
    }
}

fn target(target: &Target, verdict: &Verdict) -> Markup {
    let rows = figures::target_rows(target, verdict);
    let (details, main): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.full_only);
    html! {
        section {
            h2 { (words::clean(&target.url)) }
            p class="quiet" { (words::target_facts(target).join(" · ")) }
            @if let Value::Measured(_) = target.state {
                @if let Some(broken_off) = words::broken_off(target) {
                    p { (words::mark(State::Degraded)) " " (broken_off) }
                }
                @for figure in &target.self_error.unusable {
                    p { (words::mark(State::Degraded)) " " (words::unusable(figure)) }
                }
                (figure_table(&main))
                (plot::all(target))
                details { summary { "All figures" } (figure_table(&details)) (streams(target)) }
            }
        }
    }
}

fn streams(target: &Target) -> Markup {
    html! {
        @for stream in &target.streams {
            h3 { (figures::stream_name(stream)) }
            table { tbody { @for (name, cell) in figures::stream_cells(stream) {
                tr { th scope="row" { (name) } td { (self::cell(&cell)) } }
            } } }
        }
    }
}

fn figure_table(rows: &[Row]) -> Markup {
    let per_direction = rows.iter().any(|row| matches!(row.found, Found::PerDirection(..)));
    let ways = rows.iter().find_map(|row| match &row.found {
        Found::PerWay(ways) => Some(ways),
        _ => None,
    });
    let columns = ways.map_or(if per_direction { 2 } else { 1 }, Vec::len);
    html! {
        table class="figures" {
            thead { tr {
                th scope="col" { "Figure" }
                @if per_direction { th scope="col" { "Sending (up)" } th scope="col" { "Receiving (down)" } }
                @else if let Some(ways) = ways { @for (head, _) in ways { th scope="col" { (head) } } }
                @else { th scope="col" { "Found" } }
            } }
            tbody { @for row in rows { tr {
                th scope="row" { (row.name) small { (row.exact) } }
                @match &row.found {
                    Found::Once(found) => td colspan=(columns) { (cell(found)) },
                    Found::PerDirection(up, down) => {
                        td data-way="up" { (cell(up)) }
                        td data-way="down" { (cell(down)) }
                    }
                    Found::PerWay(ways) => { @for (_, found) in ways { td { (cell(found)) } } }
                }
            } } }
        }
    }
}

fn cell(cell: &Cell) -> Markup {
    html! {
        @match cell {
            Cell::Figure { value, interval, n } => {
                (value)
                @if interval.is_some() || n.is_some() { small {
                    @if let Some(interval) = interval { "95 % interval: " (interval) }
                    @if interval.is_some() && n.is_some() { ", " }
                    @if let Some(n) = n { (figures::samples(*n)) }
                } }
            }
            Cell::Missing { .. } => span class="quiet" { (cell.to_text()) },
        }
    }
}

/// This computer, the devices, and what the run was told.
fn surroundings(report: &Report) -> Markup {
    let (devices, machine) =
        (devices::devices(&report.devices, true), devices::machine(&report.host.machine));
    html! {
        h2 { "This computer" }
        (figure_table(&figures::host_rows(&report.host)))
        @if !machine.is_empty() { (pairs(&machine)) }
        @if !devices.is_empty() { h2 { "Devices" } (pairs(&devices)) }
        @let facts = words::facts(report);
        @if !facts.is_empty() { h2 { "About this run" } (pairs(&facts)) }
    }
}

fn pairs(pairs: &[(String, String)]) -> Markup {
    html! {
        table { tbody { @for (name, value) in pairs {
            tr { th scope="row" { (name) } td { (value) } }
        } } }
    }
}

/// A state's mark and word.
fn state(state: State, certain: bool) -> Markup {
    html! {
        span class={ "state " (class(state)) } {
            span aria-hidden="true" { (words::mark(state)) " " } (capital(&words::verdict(state, certain)))
        }
    }
}

/// The class that [`STYLE`] colors a state by.
pub const fn class(state: State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Degraded => "degraded",
        State::Blocked | State::PermissionDenied => "blocked",
        State::Inconclusive => "unsure",
        State::NotTested => "none",
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
