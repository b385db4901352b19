//! What a NAT does, as rows to show.

use super::details::{round_trip, text, unless_zero, yes_or_no};
use super::figures::{Cell, Row, cell, once};
use super::words;
use crate::schema::{Exact, NatBehavior, NatDetails, Value};

pub(super) fn nat(nat: &NatDetails) -> Vec<Row> {
    let mut rows = vec![
        once("A NAT in between", "the two addresses differ", yes_or_no(&nat.nat)),
        once(
            "Your public address and port",
            "mapping (RFC 4787 section 4.1)",
            behavior(&nat.mapping, MAPPING),
        ),
        once("Who may send to them", "filtering (RFC 4787 section 5)", behavior(&nat.filtering, FILTERING)),
        once(
            "Two behind it reach each other there",
            "hairpinning (RFC 4787 section 6)",
            yes_or_no(&nat.hairpinning),
        ),
        once(
            "It keeps the port",
            "port preservation (RFC 4787 section 4.2.1)",
            yes_or_no(&nat.port_preserved),
        ),
        once(
            "It forgets you after",
            "binding lifetime, without a packet (RFC 4787 section 4.3)",
            cell(&nat.binding_lifetime_s, |life| {
                Cell::bare(words::prose(&match life.less_than {
                    Some(gone) if life.at_least == 0 => format!("less than {gone} s of silence"),
                    Some(gone) => format!("{} to {gone} s of silence", life.at_least),
                    None => format!("more than {} s of silence", life.at_least),
                }))
            }),
        ),
        once("Your address as seen there", "XOR-MAPPED-ADDRESS", text(&nat.reflexive_address)),
        once("Your address here", "of the same socket", text(&nat.local_address)),
    ];
    let seen = nat.seen.iter().skip(1).map(|seen| {
        let said = seen.reflexive_address.clone().unwrap_or_else(|| "no answer".to_owned());
        once(
            format!("As seen from {}", words::clean(&seen.server)),
            "XOR-MAPPED-ADDRESS",
            Cell::bare(words::clean(&said).into_owned()),
        )
    });
    rows.extend(seen);
    rows.push(once("The server's other address", "OTHER-ADDRESS (RFC 5780)", text(&nat.other_address)));
    rows.push(once("The server calls itself", "SOFTWARE", text(&nat.software)).full());
    rows.extend(
        round_trip(&nat.round_trip, "Binding request to its answer (RFC 8489)").into_iter().map(Row::full),
    );
    rows.push(unless_zero(
        "Answers from another address",
        "not counted as answers",
        nat.answers_from_elsewhere,
    ));
    rows.push(unless_zero("Answers that were none", "ignored", nat.stray_answers));
    rows
}

/// How each behavior reads, in the order of [`NatBehavior`].
type Sayings = [&'static str; 4];

const MAPPING: Sayings = [
    "the same whoever you speak to (endpoint-independent)",
    "another for each address that you speak to (address-dependent)",
    "another for each address and port that you speak to (address- and port-dependent): calls straight from person to person need a relay",
    "another for each address that you speak to, perhaps for each port",
];

const FILTERING: Sayings = [
    "everybody (endpoint-independent)",
    "addresses that you sent to (address-dependent)",
    "addresses and ports that you sent to (address- and port-dependent)",
    "addresses that you sent to, perhaps only their same ports",
];

fn behavior(found: &Value<Exact<NatBehavior>>, sayings: Sayings) -> Cell {
    let [independent, address, port, dependent] = sayings;
    cell(found, |found| {
        Cell::bare(words::prose(match found.value {
            NatBehavior::EndpointIndependent => independent,
            NatBehavior::AddressDependent => address,
            NatBehavior::AddressAndPortDependent => port,
            NatBehavior::Dependent => dependent,
        }))
    })
}
