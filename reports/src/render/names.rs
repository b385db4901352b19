//! What name servers and time servers tell, as rows to show.

use super::details::{moment, round_trip, text, unless_zero, yes_or_no};
use super::figures::{Cell, Row, cell, extremes, once, p50, share, time};
use super::services::tried;
use super::{number, words};
use crate::schema::{DnsAnswer, DnsDetails, DnsOutcome, NameServer, NtpDetails, Value};
use crate::verdict::words as sentences;

/// Records that are shown of one answer.
const MOST_SHOWN: usize = 4;

pub(super) fn dns(dns: &DnsDetails) -> Vec<Row> {
    let several = dns.servers.len() > 1;
    let mut rows: Vec<Row> = dns.servers.iter().flat_map(|server| name_server(server, several)).collect();
    if several {
        let agree = match dns.differ_in.as_slice() {
            [] => yes_or_no(&dns.agree),
            types => Cell::bare(format!("no: they differ in {}", sentences::series(&borrowed(types), "and"))),
        };
        rows.push(once("They answer the same", "at least one record in common of each type", agree));
    }
    rows
}

fn name_server(server: &NameServer, several: bool) -> Vec<Row> {
    // The usual port says nothing.
    let address = server.address.strip_suffix(":53").unwrap_or(&server.address);
    let of = |what: &str| if several { format!("{address}: {what}") } else { what.to_owned() };
    if let Some(failure) = &server.failure {
        let state = sentences::short(failure.code());
        return vec![once(of("Answers"), "name server", Cell::bare(format!("none: {state}")))];
    }
    let trips = &server.round_trip;
    let mut rows = vec![
        once(
            of("Time to answer, median"),
            "one question, sent once, to its answer (RFC 1035)",
            p50(&trips.rtt_ms),
        ),
        once(of("Time, min and max"), "the same, minimum and maximum", extremes(&trips.rtt_ms)),
        once(of("Lost, there or back"), "loss_ratio of questions or their answers", share(&trips.loss_ratio)),
    ];
    rows.extend(server.answers.iter().flat_map(|(kind, answer)| record_type(&of(kind), answer)));
    let invents = match &server.invents_names {
        Value::Measured(found) if found.value => {
            Cell::bare("yes: something answers in place of \"there is no such name\"".to_owned())
        }
        other => yes_or_no(other),
    };
    rows.push(once(of("Makes names up"), "an answer to a name that cannot exist", invents));
    let validates = yes_or_no(&server.says_it_validates);
    rows.push(once(of("Says that it checks (DNSSEC)"), "AD (RFC 4035 section 3.2.3)", validates).full());
    let strays = [
        (of("Answers from another address"), server.answers_from_elsewhere),
        (of("Answers to nothing asked"), server.stray_answers),
    ];
    rows.extend(strays.into_iter().map(|(name, n)| {
        let row = once(name, "not counted as answers", Cell::bare(number::count(n)));
        if n > 0 { row } else { row.full() }
    }));
    rows
}

fn record_type(name: &str, answer: &DnsAnswer) -> Vec<Row> {
    let mut said = match answer.outcome {
        DnsOutcome::Records => listed(&answer.records),
        other => outcome(other).to_owned(),
    };
    if let Some(ttl) = answer.ttl_s.fact() {
        said += &format!(" (kept for {} s)", number::count(u64::from(*ttl)));
    }
    if answer.outcomes.len() > 1 {
        let counted = |(what, n): (&DnsOutcome, &u64)| format!("{} × {}", number::count(*n), outcome(*what));
        let counts: Vec<String> = answer.outcomes.iter().map(counted).collect();
        said += &format!("; in all {}", counts.join(", "));
    }
    let mut rows = vec![once(name, "what it answered last", Cell::bare(words::clean(&said).into_owned()))];
    if !answer.aliases.is_empty() {
        let aliases = words::clean(&answer.aliases.join(" → ")).into_owned();
        rows.push(once(format!("{name}, an alias of"), "CNAME", Cell::bare(aliases)).full());
    }
    rows.push(
        once(format!("{name}, first answer"), "it may have had to ask others", moment(&answer.first_ms))
            .full(),
    );
    if answer.truncated {
        let over_tcp = moment(&answer.over_tcp_ms);
        rows.push(once(
            format!("{name}, too long for UDP: over TCP"),
            "TC (RFC 1035), connecting included",
            over_tcp,
        ));
    }
    rows
}

fn outcome(outcome: DnsOutcome) -> &'static str {
    match outcome {
        DnsOutcome::Records => "records",
        DnsOutcome::NoRecords => "none of this type",
        DnsOutcome::NoSuchName => "there is no such name (NXDOMAIN)",
        DnsOutcome::AliasLoop => "its aliases go in a circle",
        DnsOutcome::ServerFailure => "the name server failed (SERVFAIL)",
        DnsOutcome::Refused => "the name server refused (REFUSED)",
        DnsOutcome::OtherError => "an error",
        DnsOutcome::NoAnswer => "no answer",
    }
}

fn listed(records: &[String]) -> String {
    let shown: Vec<&str> = records.iter().take(MOST_SHOWN).map(String::as_str).collect();
    match records.len().saturating_sub(MOST_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

pub(super) fn ntp(ntp: &NtpDetails) -> Vec<Row> {
    let offset = match ntp.offset_ms.measured() {
        Some(found) if found.value > 0.0 => "This clock is behind by",
        Some(found) if found.value < 0.0 => "This clock is ahead by",
        _ => "This clock is off by",
    };
    let mut shown = ntp.offset_ms.clone();
    if let Value::Measured(found) = &mut shown {
        // The name of the row says which way.
        if found.value < 0.0 {
            (found.low, found.high) = (found.high.map(|high| -high), found.low.map(|low| -low));
            found.value = -found.value;
        }
    }
    let mut rows = vec![once(
        offset,
        "offset (RFC 5905 section 8) of the fastest answer, sure within half its delay",
        time(&shown),
    )];
    if let Some(code) = &ntp.kiss_code {
        let said = format!("it does not want to be asked ({})", words::clean(code));
        rows.push(once("The server says", "kiss code (RFC 5905 section 7.4)", Cell::bare(said)));
    }
    rows.extend(round_trip(
        &ntp.round_trip,
        "one question to its answer, without the server's hold (RFC 5905)",
    ));
    rows.extend([
        once(
            "Steps from a clock",
            "stratum",
            cell(&ntp.stratum, |found| Cell::bare(found.value.to_string())),
        ),
        once("It has the time from", "reference ID", text(&ntp.reference)),
        once("It is out of step itself", "leap indicator 3", yes_or_no(&ntp.unsynchronized)),
        once("Leap second announced", "leap indicator", text(&ntp.leap)).full(),
        once("From it to the clock and back", "root delay", moment(&ntp.root_delay_ms)).full(),
        once("It may be wrong by", "root dispersion", moment(&ntp.root_dispersion_ms)),
        unless_zero("Answers from another address", "not counted as answers", ntp.answers_from_elsewhere),
        unless_zero("Answers to nothing asked", "not counted as answers", ntp.stray_answers),
    ]);
    rows.extend(tried(&ntp.tried));
    rows
}
