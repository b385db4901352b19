//! Two reports side by side, in words.

use super::words;
use crate::compare::{Change, Comparison, States, Trend};
use crate::schema::{FaultDirection, Use};

/// Renders what changed as lines of text, the last one ended too.
pub fn render(comparison: &Comparison) -> String {
    let mut text = match comparison.overall {
        States { before, after } if before == after => {
            format!("Overall: {} before and after\n", words::state(after))
        }
        changed => format!("Overall: {}\n", states(changed)),
    };
    for caveat in &comparison.caveats {
        text += &format!("Careful: {caveat}\n");
    }
    for (use_, changed) in &comparison.uses {
        text += &format!("{}: {}\n", words::use_name(*use_), states(*changed));
    }
    for (what, causes) in [("New", &comparison.causes_new), ("Gone", &comparison.causes_gone)] {
        for cause in causes {
            text += &format!("{what}: {}\n", words::clean(&cause.say));
        }
    }
    let rows: Vec<_> = comparison.figures.iter().map(row).collect();
    let width =
        |column: usize| rows.iter().map(|(cells, _)| cells[column].chars().count()).max().unwrap_or(0);
    let (name, then, now) = (width(0), width(1), width(2));
    for ([figure, before, after], trend) in &rows {
        text += &format!("{figure:<name$}  {before:>then$} → {after:>now$}  {trend}\n");
    }
    text
}

fn states(changed: States) -> String {
    format!("{}, then {}", words::state(changed.before), words::state(changed.after))
}

/// Name, value before, value after, and what to make of it.
pub fn row(change: &Change) -> ([String; 3], &'static str) {
    let value = |value| words::metric_value(&change.figure, value);
    let trend = match change.trend {
        Trend::Better => "better",
        Trend::Worse => "worse",
        Trend::WithinDoubt => "no difference beyond doubt",
    };
    ([name(&change.figure), value(change.before), value(change.after)], trend)
}

/// `up.pdv_ms.p95` in words: `Delay variation, p95, sending`.
fn name(figure: &str) -> String {
    let parts: Vec<&str> = figure.split('.').collect();
    let mut name = words::metric(figure).into_owned();
    match parts.last() {
        Some(&"p50") => name += ", median",
        Some(&"p95") => name += ", p95",
        Some(last) => {
            if let Some(use_) = Use::ALL.into_iter().find(|use_| use_.name() == *last) {
                name += &format!(", {}", use_.short());
            }
        }
        None => {}
    }
    match parts.first() {
        Some(&"up") => name += &format!(", {}", words::direction(FaultDirection::Up)),
        Some(&"down") => name += &format!(", {}", words::direction(FaultDirection::Down)),
        _ => {}
    }
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::compare;
    use crate::schema::{Estimate, Report, State, Value, read};

    fn golden() -> Report {
        read(include_str!("../../tests/golden/measured.json")).unwrap()
    }

    #[test]
    fn figures_have_names() {
        let table = [
            ("rtt_ms.p50", "Round trip, median"),
            ("up.loss_ratio", "Lost, sending"),
            ("down.pdv_ms.p95", "Delay variation, p95, receiving"),
            ("up.late_loss_ratio.adaptive", "Lost or too late to play, sending"),
            ("loaded.rtt_increase_ms.video_720p", "Delay added under load, 720p"),
        ];
        for (figure, words) in table {
            assert_eq!(name(figure), words);
        }
    }

    #[test]
    fn changes_are_told_in_words() {
        let (before, mut after) = (golden(), golden());
        after.verdict.overall = State::Ready;
        after.verdict.uses.get_mut(&Use::Audio).unwrap().state = State::Ready;
        let gone = after.verdict.causes.remove(0);
        after.targets[0].up.loss_ratio =
            Value::Measured(Estimate { value: 0.0, low: Some(0.0), high: Some(0.005), n: 500 });
        let text = render(&compare(&before, &after));
        assert!(text.starts_with("Overall: degraded, then ready\n"), "{text}");
        assert!(text.contains("Audio: degraded, then ready\n"), "{text}");
        assert!(text.contains(&format!("Gone: {}\n", gone.say)), "{text}");
        let loss = text.lines().find(|line| line.starts_with("Lost, sending ")).expect("a row");
        assert!(loss.contains("3.4\u{a0}%") && loss.ends_with("better"), "{loss}");
        for raw in ["loss_ratio", "rtt_ms", "loss_up"] {
            assert!(!text.contains(raw), "{text}");
        }
    }
}
