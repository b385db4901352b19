//! What was blamed, as a confusion matrix for a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use greenroom_reports::schema::Place;

use super::{Blamed, Situation};

/// How often each place was blamed.
pub type Tally = BTreeMap<Blamed, u64>;

/// A table with its heading. Rows: the first right place of a label. Columns: what was blamed.
pub fn matrix(tallies: &[(&Situation, Tally)]) -> String {
    let mut rows: BTreeMap<Blamed, Tally> = BTreeMap::new();
    for (situation, tally) in tallies {
        let Some(right) = situation.right_ones().next() else { continue };
        for (blamed, times) in tally {
            // What a label also allows counts as its first place.
            let blamed = if situation.allows(*blamed) { right } else { *blamed };
            *rows.entry(right).or_default().entry(blamed).or_default() += times;
        }
    }
    let mut columns: Vec<Blamed> = rows.values().flat_map(BTreeMap::keys).copied().collect();
    columns.sort_unstable();
    columns.dedup();
    let head: Vec<_> = columns.iter().copied().map(name).collect();
    let mut text = "## Confusion matrix\n\nRows: the right place. Columns: the place blamed.\n\n".to_owned();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "| | {} |\n|---|{}", head.join(" | "), "--:|".repeat(columns.len()));
    for (right, tally) in &rows {
        let cells: Vec<String> =
            columns.iter().map(|place| tally.get(place).copied().unwrap_or(0).to_string()).collect();
        let _ = writeln!(text, "| **{}** | {} |", name(*right), cells.join(" | "));
    }
    text
}

/// For a table.
pub const fn name(blamed: Blamed) -> &'static str {
    match blamed {
        None => "nothing",
        Some(Place::Computer) => "computer",
        Some(Place::Device) => "device",
        Some(Place::LocalNetwork) => "local network",
        Some(Place::Path) => "path",
        Some(Place::Relay) => "relay",
        Some(Place::Service) => "service",
        Some(Place::Join) => "join",
        Some(Place::Unknown) => "unknown",
    }
}
