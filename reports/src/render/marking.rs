//! What becomes of marks on packets, as rows to show.

use super::details::{round_trip, unless_zero};
use super::figures::{Cell, Row, cell, once, p50, share};
use super::words;
use crate::schema::{MarkFate, MarkField, MarkFound, MarkWay, MarkingBy, MarkingDetails};

pub(super) fn marking(marking: &MarkingDetails) -> Vec<Row> {
    let (what, exact) = match marking.field {
        MarkField::Dscp => ("DSCP", "DSCP (RFC 2474), one way"),
        MarkField::Ecn => ("ECN", "ECN (RFC 3168), one way"),
    };
    let mut rows = Vec::new();
    for mark in &marking.marks {
        rows.extend(
            [("on the way there", &mark.up), ("on the way back", &mark.down)]
                .map(|(way, found)| once(format!("{what} {}, {way}", mark.name), exact, fate(mark, found))),
        );
    }
    let by = match marking.by {
        MarkingBy::ClassOfService => "STAMP with class of service (RFC 8972 section 4.4)",
        MarkingBy::Stamp => "STAMP without class of service: there and back together",
        MarkingBy::EchoRequests => "echo requests: there and back together",
    };
    rows.push(once("Told by", "what answers", Cell::bare(words::prose(by))));
    for mark in &marking.marks {
        for (way, found) in [("there", &mark.up), ("back", &mark.down)] {
            if let Some(trip) = &found.round_trip {
                let name = |figure: &str| format!("{} marked {}, {way}", figure, mark.name);
                rows.push(once(name("Lost"), "of these and their answers", share(&trip.loss_ratio)));
                rows.push(once(name("Round trip, median"), "of these and their answers", p50(&trip.rtt_ms)));
            }
        }
    }
    rows.extend(round_trip(&marking.unmarked, "packets without a mark, and their answers"));
    rows.push(unless_zero("Answers that were none", "ignored", marking.ignored_answers));
    rows
}

fn fate(mark: &MarkFound, found: &MarkWay) -> Cell {
    cell(&found.fate, |fate| {
        let first = found.came_as.first();
        let other = first.map_or("another mark", |those| those.name.as_str());
        let mut said = match fate.value {
            MarkFate::Kept => "kept".to_owned(),
            MarkFate::Bleached => "taken off on the way".to_owned(),
            MarkFate::Remarked => format!("comes as {other}"),
            MarkFate::Dropped => "packets with it vanish, others arrive".to_owned(),
        };
        let rest: Vec<String> = found
            .came_as
            .iter()
            .skip(1)
            .map(|those| format!("{} as {}", those.packets, those.name))
            .collect();
        if !rest.is_empty() {
            said += &format!(" (but {} of {})", rest.join(", "), mark.name);
        }
        if found.lost_more.fact() == Some(&true) && fate.value != MarkFate::Dropped {
            said += "; more of them are lost than of others";
        }
        Cell::bare(words::prose(&said))
    })
}
