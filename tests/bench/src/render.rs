//! From kept results to documents: each `{{name}}` of a template is replaced by that section's table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Fallible;
use crate::accuracy::{networks, pages, places, situations};
use crate::machine::Conditions;
use crate::record::{Goal, Row, Section};

/// The documents and their templates, under `docs` and under `templates`.
const DOCUMENTS: &[&str] = &[
    "PERFORMANCE.md",
    "accuracy/page.md",
    "accuracy/page-situations.md",
    "accuracy/real-time.md",
    "accuracy/places-real.md",
];

/// Writes every document anew.
pub(crate) fn documents() -> Fallible<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in DOCUMENTS {
        let template = fs::read_to_string(root.join("templates").join(name))?;
        let document = root.join("../../docs").join(name);
        if let Some(folder) = document.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(document, fill(&template)?)?;
    }
    Ok(())
}

fn fill(template: &str) -> Fallible<String> {
    let mut text = String::new();
    for line in template.lines() {
        match line.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) {
            Some(name) => {
                let kept = match name {
                    networks::NAME => networks::table()?,
                    pages::NAME => pages::table()?,
                    places::NAME => places::table()?,
                    situations::NAME => situations::table()?,
                    name => Section::load(name)?.map(|section| table(&section)),
                };
                text += kept.as_deref().unwrap_or("Not measured yet.\n");
            }
            None => text = text + line + "\n",
        }
    }
    Ok(text)
}

/// A section as a table, with its notes and the conditions under which it was measured.
pub(crate) fn table(section: &Section) -> String {
    let mut text =
        "| what | who | median | least to greatest | rounds | goal |\n|---|---|--:|--:|--:|---|\n".to_owned();
    let is_void =
        depends_on_load(&section.name) && section.conditions.as_ref().is_some_and(Conditions::is_void);
    let mut before = "";
    for row in &section.rows {
        let what = if row.what == before { "" } else { &row.what };
        before = &row.what;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {what} | {} | {} |", row.who, figures(row, is_void));
    }
    text.push('\n');
    if is_void {
        text += "**Void:** the machine was busy with other programs (see below). These figures only show that the benchmark runs; no goal \
                 is held against them. Run it again on an idle machine.\n\n";
    }
    for note in &section.notes {
        let _ = writeln!(text, "{note}\n");
    }
    if let Some(at) = &section.conditions {
        let kind = if at.is_virtual { "virtual machine" } else { "machine" };
        let _ = writeln!(
            text,
            "Measured {} in {:.0} s on a {kind} with {} cores ({}), Linux {}; load before {:.1}, other programs took {:.0} % of the \
             processors meanwhile, the hypervisor {:.1} %.",
            at.at.strftime("%Y-%m-%d %H:%M UTC"),
            at.took_s,
            at.cores,
            at.processor,
            at.kernel,
            at.load_before,
            at.others_ratio * 100.0,
            at.steal_ratio * 100.0,
        );
    }
    text
}

/// Whether other programs change what a section finds. Memory does not depend on them, and what makes a run against an
/// emulated link void is the link's own lateness.
fn depends_on_load(section: &str) -> bool {
    section != "memory" && !section.starts_with("accuracy-")
}

fn figures(row: &Row, is_void: bool) -> String {
    let Some([least, median, greatest]) = row.spread() else {
        return "– | – | 0 | ".to_owned();
    };
    let goal = row.goal.map_or_else(String::new, |goal| {
        let (sign, bound) = match goal {
            Goal::AtMost(bound) => ("≤", bound),
            Goal::AtLeast(bound) => ("≥", bound),
        };
        let outcome = match (is_void, goal.is_met(median)) {
            (true, _) => "void",
            (false, true) => "met",
            (false, false) => "**missed**",
        };
        format!("{sign} {} {}: {outcome}", number(bound), row.unit)
    });
    let (low, middle, high) = (number(least), number(median), number(greatest));
    format!("{middle} {} | {low} to {high} | {} | {goal}", row.unit, row.values.len())
}

/// Three significant digits, thousands grouped, no exponent.
fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if size >= 100.0 || size == 0.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    let plain = format!("{value:.digits$}");
    let Some((head, tail)) = plain.split_at_checked(plain.find('.').unwrap_or(plain.len())) else {
        return plain;
    };
    let (sign, whole) = head.strip_prefix('-').map_or(("", head), |whole| ("-", whole));
    let mut grouped = String::from(sign);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        let shown = [0.0, 0.0123, 1.234, 12.34, 123.4, 1_234_567.0, -1_234.0].map(number);
        assert_eq!(shown, ["0", "0.012", "1.23", "12.3", "123", "1,234,567", "-1,234"]);
    }

    #[test]
    fn a_goal_is_held_against_the_median() {
        let row = |values: &[f64]| Row {
            what: "x".into(),
            who: "y".into(),
            unit: "ms".into(),
            values: values.to_vec(),
            goal: Some(Goal::AtMost(2.0)),
        };
        assert_eq!(figures(&row(&[3.0, 1.0, 2.0]), false), "2.00 ms | 1.00 to 3.00 | 3 | ≤ 2.00 ms: met");
        assert_eq!(figures(&row(&[3.0]), false), "3.00 ms | 3.00 to 3.00 | 1 | ≤ 2.00 ms: **missed**");
        assert_eq!(figures(&row(&[3.0]), true), "3.00 ms | 3.00 to 3.00 | 1 | ≤ 2.00 ms: void");
    }
}
