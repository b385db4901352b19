//! The hops on the way, as rows to show.

use super::details::round_trip;
use super::figures::{Cell, Row, once};
use super::{number, words};
use crate::schema::{Exact, HopFound, PathDetails, PathProbes, Value};

pub(super) fn path(path: &PathDetails) -> Vec<Row> {
    let mut rows = vec![once("The host itself", "what came back from its address", Cell::bare(end(path)))];
    if let Value::Measured(Exact { value }) = path.loss_begins_at_ttl {
        let said = match path.loss_free_to_ttl.fact() {
            Some(free) if free + 1 < value => {
                format!("behind hop {free} and not after hop {value}, and stays to the end")
            }
            _ => format!("at hop {value}, and stays to the end"),
        };
        rows.push(once("Loss begins", "all hops from there on lose as much as the end", Cell::bare(said)));
    }
    // Less is nobody's trouble.
    let added = path.delay_added_ms.fact().filter(|added| **added >= 1.0);
    if let (Some(ttl), Some(added)) = (path.delay_begins_at_ttl.fact(), added) {
        let said = format!("{} at hop {ttl}", number::ms(*added));
        rows.push(once("Most delay is added", "medians that no later hop undercuts", Cell::bare(said)));
    }
    rows.extend(path.hops.iter().map(|hop| {
        let exact = "median round trip, loss; each probe sent once";
        once(format!("Hop {}", hop.ttl), exact, Cell::bare(line(hop)))
    }));
    if path.destination_reached {
        let exact = match path.probes {
            PathProbes::EchoRequests => "an echo request, sent once, to its reply (RFC 792, RFC 4443)",
            PathProbes::Datagrams => {
                "a datagram to a closed port, sent once, to its error (RFC 792, RFC 4443)"
            }
        };
        rows.extend(round_trip(&path.round_trip, exact));
    }
    if let Some(why) = &path.why_not_echo {
        let said = format!("by datagrams to a closed port, whose answers are often limited: {why}");
        rows.push(once("Measured", "echo requests where they can be sent", Cell::bare(words::prose(&said))));
    }
    for (name, n) in [
        ("Errors that quote too little to be told apart", path.unattributed_answers),
        ("Answers that were no errors", path.other_answers),
    ] {
        let row = once(name, "not counted as answers", Cell::bare(number::count(n)));
        rows.push(if n > 0 { row } else { row.full() });
    }
    rows
}

fn end(path: &PathDetails) -> String {
    let last = path.hops.last();
    match last.and_then(|hop| hop.unreachable_code) {
        Some(code) => format!("the last hop says that it cannot be reached (code {code})"),
        None if path.destination_reached => "answered".to_owned(),
        None => "did not answer: nobody beyond the last hop shown did, which may be a firewall".to_owned(),
    }
}

fn line(hop: &HopFound) -> String {
    if hop.addresses.is_empty() && hop.other_flows.is_empty() {
        return "does not answer, which is its right".to_owned();
    }
    let mut parts = Vec::new();
    if !hop.addresses.is_empty() {
        parts.push(words::clean(&hop.addresses.join(" or ")).into_owned());
    }
    if !hop.other_flows.is_empty() {
        let others = words::clean(&hop.other_flows.join(" or ")).into_owned();
        parts.push(format!("other flows by {others} (ECMP)"));
    }
    if let Some(rtt) = hop.round_trip.rtt_ms.measured() {
        parts.push(number::ms(rtt.p50));
    }
    let trips = &hop.round_trip;
    if trips.lost > 0 {
        let of = trips.answered + trips.lost;
        let unanswered = format!("{} of {} unanswered", number::count(trips.lost), number::count(of));
        parts.push(match hop.rate_limited {
            true => format!("{unanswered}: it limits its answers, and passes on what later hops answer"),
            false => unanswered,
        });
    }
    if !hop.mpls_labels.is_empty() {
        let labels: Vec<String> = hop.mpls_labels.iter().map(|label| label.label.to_string()).collect();
        parts.push(format!("MPLS {}", labels.join("/")));
    }
    parts.join(", ")
}
