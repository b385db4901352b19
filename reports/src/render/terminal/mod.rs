//! A report in a terminal: the verdict first, then what each use gets, then the figures.

mod table;
mod text;

use self::text::{Line, Look};
use super::number::GLUE;
use super::{devices, figures, words};
use crate::schema::{Cause, Report, State, Target, Verdict};

/// Narrowest terminal that is laid out for; a narrower one gets this width.
const MIN_WIDTH: usize = 40;
/// Widest that prose and tables grow: longer lines are hard to read.
const MAX_WIDTH: usize = 100;
/// Space at the left of everything.
const MARGIN: usize = 2;

/// How to render. The caller knows the terminal; this module does not look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Columns of the terminal. Below 40 counts as 40.
    pub width: usize,
    /// Whether to write ANSI color (the caller decides: a terminal, and `NO_COLOR` not set).
    pub color: bool,
    /// Whether to write plain ASCII only.
    pub ascii: bool,
    /// How much to show.
    pub detail: Detail,
}

/// How much of a report to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The verdict and the uses.
    Brief,
    /// Also the causes and the figures that matter most.
    Normal,
    /// Everything.
    Full,
}

impl Default for Options {
    fn default() -> Self {
        Self { width: 80, color: false, ascii: false, detail: Detail::Normal }
    }
}

/// Renders a report as lines of text, the last one ended too.
pub fn render(report: &Report, options: Options) -> String {
    let mut page = Page::new(options);
    verdict(&mut page, report);
    uses(&mut page, &report.verdict);
    if options.detail >= Detail::Normal {
        causes(&mut page, &report.verdict);
        let full = options.detail == Detail::Full;
        facts(&mut page, "Devices", &devices::devices(&report.devices, full));
        for target in &report.targets {
            self::target(&mut page, target, &report.verdict);
        }
    }
    if options.detail == Detail::Full {
        host(&mut page, report);
        facts(&mut page, "About this run", &words::facts(report));
    }
    footer(&mut page, report);
    page.out
}

/// What is written so far, and the room there is.
struct Page {
    options: Options,
    /// Columns between the margins.
    width: usize,
    out: String,
}

impl Page {
    fn new(options: Options) -> Self {
        let width = options.width.clamp(MIN_WIDTH, MAX_WIDTH) - 2 * MARGIN;
        Self { options, width, out: String::from("\n") }
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }

    fn line(&mut self, line: Line) {
        let mut indented = Line::plain(" ".repeat(MARGIN));
        indented.append(line);
        indented.write(&mut self.out, self.options.color, self.options.ascii);
    }

    /// A paragraph; its lines start with `indent` spaces, the first one with `lead` within them.
    fn paragraph(&mut self, lead: &Line, indent: usize, text: Line) {
        for (index, wrapped) in text.wrap(self.width.saturating_sub(indent)).into_iter().enumerate() {
            let mut line = if index == 0 { lead.clone() } else { Line::new() };
            line.pad_to(indent);
            line.append(wrapped);
            self.line(line);
        }
    }

    fn heading(&mut self, text: &str) {
        self.blank();
        self.paragraph(&Line::new(), 0, Line::new().with(Look::Strong, words::clean(text)));
    }

    fn full(&self) -> bool {
        self.options.detail == Detail::Full
    }
}

/// State, one sentence, one thing to do.
fn verdict(page: &mut Page, report: &Report) {
    let verdict = &report.verdict;
    let word = words::verdict(verdict.overall, verdict.certain).to_uppercase();
    let mut head = state_word(verdict.overall, &word);
    if let Some(place) = verdict.place {
        head.push(Look::Quiet, format!(" · {}", words::fault(place, verdict.direction)));
    }
    page.paragraph(&Line::new(), 0, head);
    page.blank();
    page.paragraph(&Line::new(), 0, Line::plain(words::prose(&verdict.say)));
    if let Some(fix) = &verdict.fix {
        page.paragraph(
            &Line::new().with(Look::Strong, "→"),
            2,
            Line::new().with(Look::Strong, words::prose(fix)),
        );
    }
    if let Some(doubt) = words::doubt(report) {
        page.paragraph(&Line::new(), 2, Line::new().with(Look::Quiet, doubt));
    }
    if let Some(warning) = words::cut_short(report) {
        page.blank();
        page.paragraph(&Line::new().with(Look::State(State::Degraded), "▲"), 2, Line::plain(warning));
    }
}

/// One line per use.
fn uses(page: &mut Page, verdict: &Verdict) {
    if verdict.uses.is_empty() {
        return;
    }
    page.heading("What it means for the call");
    let name_width = 14;
    for (use_, found) in verdict.uses.iter().filter(|(_, found)| !words::unasked(found)) {
        let mut lead = Line::plain(words::use_name(*use_));
        lead.pad_to(name_width);
        let mut text = state_word(found.state, &words::verdict(found.state, found.certain));
        for note in words::use_notes(*use_, found, &verdict.causes) {
            text.push(Look::Quiet, format!(" · {note}"));
        }
        page.paragraph(&lead, name_width, text);
    }
    if let Some(others) = words::not_asked(&verdict.uses) {
        page.paragraph(&Line::new(), 0, Line::new().with(Look::Quiet, others));
    }
}

/// Why, worst first: the leading cause with its evidence, all of them at full detail.
fn causes(page: &mut Page, verdict: &Verdict) {
    let (notes, causes): (Vec<&Cause>, Vec<&Cause>) =
        verdict.causes.iter().partition(|cause| words::is_note(cause));
    if !causes.is_empty() {
        page.heading("Why");
    }
    for (index, cause) in causes.into_iter().enumerate() {
        if index > 0 && page.full() {
            page.blank();
        }
        self::cause(page, verdict, cause, index == 0 || page.full());
    }
    if !notes.is_empty() {
        page.heading("Also noticed");
    }
    for note in notes {
        self::note(page, note);
    }
}

/// Worth knowing, in one paragraph.
fn note(page: &mut Page, note: &Cause) {
    let mut text = Line::plain(words::prose(&note.say));
    if let Some(fix) = &note.fix {
        text.push(Look::Plain, format!(" {}", words::prose(fix)));
    }
    for item in &note.evidence {
        text.push(Look::Quiet, format!(" · {}", words::prose(item)));
    }
    page.paragraph(&Line::new().with(Look::Quiet, "·"), 2, text);
}

fn cause(page: &mut Page, verdict: &Verdict, cause: &Cause, with_evidence: bool) {
    let mark = Line::new().with(Look::State(cause.state), words::mark(cause.state));
    let mut title = Line::new().with(Look::Strong, words::fault(cause.place, cause.direction));
    if let Some(measured) = words::measured(cause) {
        title.push(Look::Plain, format!(" · {measured}"));
    }
    if let Some(bounds) = words::bounds(cause) {
        title.push(Look::Quiet, format!(" ({bounds})"));
    }
    if let Some(target) = &cause.target {
        title.push(Look::Quiet, format!(" · {}", words::clean(target)));
    }
    page.paragraph(&mark, 2, title);
    if cause.say != verdict.say {
        page.paragraph(&Line::new(), 2, Line::plain(words::prose(&cause.say)));
    }
    if let Some(fix) = cause.fix.as_ref().filter(|fix| verdict.fix.as_ref() != Some(*fix)) {
        page.paragraph(&Line::plain("  →"), 4, Line::plain(words::prose(fix)));
    }
    if with_evidence {
        listed(page, "speaks for it", &cause.evidence);
        listed(page, "ruled out", &cause.ruled_out);
    }
}

/// A titled list within a cause.
fn listed(page: &mut Page, title: &str, items: &[String]) {
    let indent = if page.width >= 60 { 17 } else { 4 };
    for (index, item) in items.iter().enumerate() {
        let mut lead = Line::plain("  ");
        if index == 0 {
            lead.push(Look::Quiet, title);
        }
        if indent < 17 {
            if index == 0 {
                page.line(lead);
            }
            lead = Line::new();
        }
        page.paragraph(&lead, indent, Line::plain(words::prose(item)));
    }
}

/// One endpoint's figures.
fn target(page: &mut Page, target: &Target, verdict: &Verdict) {
    page.heading(&target.url);
    let facts = words::target_facts(target).join(" · ");
    page.paragraph(&Line::new(), 0, Line::new().with(Look::Quiet, facts));
    if target.state.measured().is_none() {
        return;
    }
    if let Some(broken_off) = words::broken_off(target) {
        let mark = Line::new().with(Look::State(State::Degraded), words::mark(State::Degraded));
        page.paragraph(&mark, 2, Line::plain(broken_off));
    }
    for figure in &target.self_error.unusable {
        let mark = Line::new().with(Look::State(State::Degraded), words::mark(State::Degraded));
        page.paragraph(&mark, 2, Line::plain(words::unusable(figure)));
    }
    page.blank();
    let full = page.full();
    let rows: Vec<_> =
        figures::target_rows(target, verdict).into_iter().filter(|row| full || !row.full_only).collect();
    table::rows(page, &rows);
    if full {
        streams(page, target);
    }
}

/// Media streams, one after the other.
fn streams(page: &mut Page, target: &Target) {
    for stream in &target.streams {
        page.blank();
        page.paragraph(&Line::new(), 0, Line::plain(figures::stream_name(stream)));
        for (name, cell) in figures::stream_cells(stream) {
            table::pair(page, name, &cell);
        }
    }
}

fn host(page: &mut Page, report: &Report) {
    page.heading("This computer");
    table::rows(page, &figures::host_rows(&report.host));
    for (name, value) in devices::machine(&report.host.machine) {
        fact(page, &name, &value);
    }
}

/// Named facts, one below the other.
fn facts(page: &mut Page, title: &str, facts: &[(String, String)]) {
    if facts.is_empty() {
        return;
    }
    page.heading(title);
    for (name, value) in facts {
        fact(page, name, value);
    }
}

fn fact(page: &mut Page, name: &str, value: &str) {
    let name = Line::new().with(Look::Quiet, format!("{name}:"));
    page.paragraph(&Line::new(), 0, name.with(Look::Plain, format!(" {value}")));
}

fn footer(page: &mut Page, report: &Report) {
    page.blank();
    let text = words::provenance(report).join(" · ");
    page.paragraph(&Line::new(), 0, Line::new().with(Look::Quiet, text));
    page.blank();
}

/// A state's mark and word, in its color.
fn state_word(state: State, word: &str) -> Line {
    Line::new().with(Look::State(state), format!("{}{GLUE}{word}", words::mark(state)))
}
