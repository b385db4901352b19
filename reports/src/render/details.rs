//! What an endpoint of one kind has to tell, as rows to show.

use super::figures::{Cell, Row, cell, extremes, glued, once, p50, p95, p99, share, smoothed, time};
use super::{
    echo, marking, mtu, names, nat, nearby, number, path, reachability, relay, services, whip, words,
};
use crate::schema::{Details, Exact, RoundTrip, StampDetails, StunDetails, Value};

/// The rows of a kind's own figures, in order of interest.
pub(super) fn rows(details: &Details) -> Vec<Row> {
    match details {
        Details::Stun(stun) => self::stun(stun),
        Details::Stamp(stamp) => self::stamp(stamp),
        Details::Dns(dns) => names::dns(dns),
        Details::Ntp(ntp) => names::ntp(ntp),
        Details::Tcp(tcp) => services::tcp(tcp),
        Details::Tls(tls) => services::tls(tls),
        Details::Https(https) => services::https(https),
        Details::Wss(wss) => services::wss(wss),
        Details::Quic(quic) => services::quic(quic),
        Details::Icmp(icmp) => nearby::icmp(icmp),
        Details::Gateway(gateway) => nearby::gateway(gateway),
        Details::Path(path) => path::path(path),
        Details::Mtu(mtu) => mtu::mtu(mtu),
        Details::Marking(marking) => marking::marking(marking),
        Details::Nat(nat) => nat::nat(nat),
        Details::Whip(whip) => whip::whip(whip),
        Details::Echo(echo) => echo::echo(echo),
        Details::Turn(turn) => relay::turn(turn),
        Details::Service(service) => reachability::service(service),
    }
}

fn stun(stun: &StunDetails) -> Vec<Row> {
    let mut rows = round_trip(&stun.round_trip, "one Binding request, sent once, to its answer (RFC 8489)");
    rows.push(once("Your address as seen there", "XOR-MAPPED-ADDRESS", text(&stun.reflexive_address)));
    if stun.reflexive_address_changed.fact() == Some(&true) {
        let cell = Cell::bare("yes: the NAT on the way does not keep its mapping".to_owned());
        rows.push(once("That address changed meanwhile", "XOR-MAPPED-ADDRESS over the run", cell));
    }
    rows.push(once("The server calls itself", "SOFTWARE", text(&stun.software)).full());
    let counts = [
        ("Answers that were errors", "error responses", stun.error_answers),
        ("Answers from another address", "not counted as answers", stun.answers_from_elsewhere),
        (
            "Answers damaged on the way",
            "FINGERPRINT does not fit; not counted as answers",
            stun.damaged_answers,
        ),
    ];
    rows.extend(counts.map(|(name, exact, n)| unless_zero(name, exact, n)));
    rows
}

fn stamp(stamp: &StampDetails) -> Vec<Row> {
    let mut rows =
        round_trip(&stamp.round_trip, "test packet to reflection, without the reflector's hold (RFC 8762)");
    rows.extend([
        once("The reflector counts by itself", "stateful (RFC 8762 section 4.2)", yes_or_no(&stamp.stateful)),
        once("It knows extensions", "RFC 8972", yes_or_no(&stamp.extensions)),
        once(
            "DSCP when it reached it, sent as 0",
            "RFC 8972 section 4.4",
            cell(&stamp.received_dscp, |found| Cell::bare(found.value.to_string())),
        ),
        once("Packets that were no reflections", "ignored", Cell::bare(number::count(stamp.ignored_packets)))
            .full(),
    ]);
    rows
}

pub(super) fn round_trip(found: &RoundTrip, exact: &'static str) -> Vec<Row> {
    let sent = format!("{} of {}", number::count(found.sent), number::count(found.planned));
    vec![
        once("Round trip, median", exact, p50(&found.rtt_ms)),
        once("Round trip, p95", "the same, p95", p95(&found.rtt_ms)),
        once("Round trip, p99", "the same, p99", p99(&found.rtt_ms)).full(),
        once("Round trip, min and max", "the same, minimum and maximum", extremes(&found.rtt_ms)),
        once("Lost, there or back", "loss_ratio of questions or their answers", share(&found.loss_ratio)),
        once("Delay variation, p95", "PDV (RFC 5481) of the round trip, p95", p95(&found.pdv_ms)),
        once(
            "Packet-to-packet delay change",
            "IPDV (RFC 3393) of the round trip, mean absolute",
            time(&found.ipdv_mean_abs_ms),
        ),
        once(
            "Smoothed jitter, p95",
            "jitter_rfc3550 (RFC 3550 A.8) of the round trip, running value",
            smoothed(&found.jitter_rfc3550_ms),
        ),
        once("Packets", "sent of planned", Cell::bare(glued(&sent))).full(),
    ]
}

/// A fact in the other end's own words.
pub(super) fn text(value: &Value<Exact<String>>) -> Cell {
    cell(value, |found| Cell::bare(words::clean(&found.value).into_owned()))
}

pub(super) fn yes_or_no(value: &Value<Exact<bool>>) -> Cell {
    cell(value, |found| Cell::bare(if found.value { "yes" } else { "no" }.to_owned()))
}

/// A time taken once.
pub(super) fn moment(value: &Value<Exact<f64>>) -> Cell {
    cell(value, |found| Cell::bare(number::ms(found.value)))
}

/// A count that is only of interest when it is not zero.
pub(super) fn unless_zero(name: &'static str, exact: &'static str, n: u64) -> Row {
    let row = once(name, exact, Cell::bare(number::count(n)));
    if n > 0 { row } else { row.full() }
}
