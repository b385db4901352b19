//! `greenroom history`: what past checks on this computer found.

use greenroom_reports::schema::State;

use super::args::{Global, HistoryArgs};
use super::exit::{CliError, Exit};
use super::{output, settings};
use crate::history::{Entry, FIGURES, Past, Store, Unusual};

pub(super) fn run(args: &HistoryArgs, global: &Global) -> Result<Exit, CliError> {
    let settings =
        settings::resolve(settings::Layer::default(), global.config.as_deref(), &settings::process_env)?;
    let Some(file) = settings.history_file else {
        return Err(CliError::Usage(
            "this system names no place to keep past results in: set HOME or XDG_STATE_HOME".to_owned(),
        ));
    };
    let store = Store::new(file, settings.history_keep);
    if args.clear {
        store.clear().map_err(|error| CliError::output(store.file(), error))?;
        return Ok(Exit::Ready);
    }
    let past = store.read().map_err(|error| CliError::input(store.file(), &error))?;
    let newest: Vec<&Entry> = past.entries.iter().rev().take(args.limit).collect();
    if args.json {
        let lines: Vec<String> = newest
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<_, _>>()
            .map_err(|error| CliError::Internal(error.to_string()))?;
        output::to_stdout(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    } else {
        output::to_stdout(&table(&newest, &past, settings.history_keep == 0))?;
    }
    Ok(Exit::Ready)
}

fn table(newest: &[&Entry], past: &Past, off: bool) -> String {
    let mut text = String::new();
    if off {
        text += "Past results are not kept (history is off).\n";
    }
    if newest.is_empty() {
        text += "No past results.\n";
    } else {
        text += &format!(
            "{:<17}  {:<12}  {:>9}  {:>7}  {:>7}  {:>9}  {:>9}  {}\n",
            "when (UTC)", "verdict", "rtt", "lost up", "down", "pdv up", "down", "endpoint"
        );
    }
    for entry in newest {
        let [rtt, loss_up, loss_down, pdv_up, pdv_down] =
            FIGURES.each_ref().map(|figure| match entry.figures.get(figure.name) {
                Some(value) => format!("{:.1} {}", value * figure.scale, figure.unit),
                None => "-".to_owned(),
            });
        text += &format!(
            "{:<17}  {:<12}  {rtt:>9}  {loss_up:>7}  {loss_down:>7}  {pdv_up:>9}  {pdv_down:>9}  {}\n",
            entry.started.strftime("%Y-%m-%d %H:%M").to_string(),
            state_name(entry.overall),
            entry.endpoint,
        );
    }
    if past.unreadable > 0 {
        text +=
            &format!("{} lines could not be read; another version may have written them.\n", past.unreadable);
    }
    text
}

/// The lines below a result that is worse than usual; empty when none is.
pub(super) fn unusual_note(unusual: &[Unusual]) -> String {
    if unusual.is_empty() {
        return String::new();
    }
    let lines: String = unusual
        .iter()
        .map(|u| {
            format!(
                "  {}: {:.1} {unit}, usually {:.1} {unit} (last {} checks)\n",
                u.title,
                u.now,
                u.usual,
                u.n,
                unit = u.unit
            )
        })
        .collect();
    format!("\nWorse than your usual with this endpoint:\n{lines}")
}

/// A state in words.
pub(super) const fn state_name(state: State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Degraded => "degraded",
        State::Blocked => "blocked",
        State::PermissionDenied => "no permission",
        State::Inconclusive => "inconclusive",
        State::NotTested => "not tested",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let entry = Entry {
            id: Uuid::nil(),
            started: Timestamp::UNIX_EPOCH,
            endpoint: "greenroom://probe.example".to_owned(),
            overall: State::Degraded,
            figures: BTreeMap::from([("rtt_p50_ms".to_owned(), 22.14), ("up.loss_ratio".to_owned(), 0.034)]),
        };
        let past = Past { entries: vec![entry.clone()], unreadable: 0 };
        let text = table(&[&entry], &past, false);
        assert_eq!(
            text.lines().nth(1),
            Some(
                "1970-01-01 00:00   degraded        22.1 ms    3.4 %        -          -          -  \
                 greenroom://probe.example"
            )
        );
    }

    #[test]
    fn nothing_unusual_says_nothing() {
        assert_eq!(unusual_note(&[]), "");
        let unusual = Unusual { title: "round trip", unit: "ms", now: 85.2, usual: 22.0, n: 12 };
        assert_eq!(
            unusual_note(&[unusual]),
            "\nWorse than your usual with this endpoint:\n  round trip: 85.2 ms, usually 22.0 ms (last 12 checks)\n"
        );
    }
}
