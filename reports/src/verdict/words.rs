//! What a cause says and what to do about it: English sentences by code, with the cause's numbers filled in.
//!
//! A translation is another table of the same codes and placeholders.

use std::collections::BTreeMap;

use serde_json::Value;

/// The sentences of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// One sentence for the person. `{name}` stands for the parameter of that name.
    pub say: &'static str,
    /// One thing to do; `None` when there is nothing to do.
    pub fix: Option<&'static str>,
}

/// Finds the English sentences of a code. A code without any gets a sentence that admits it.
pub fn english(code: &str) -> Words {
    TABLE
        .iter()
        .find(|(known, ..)| *known == code)
        .map_or(UNKNOWN, |&(_, say, fix)| Words { say, fix: (!fix.is_empty()).then_some(fix) })
}

/// All codes that have sentences.
pub fn codes() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(code, ..)| *code)
}

/// Fills parameters into a template. A placeholder without its parameter stays as it is.
pub fn fill(template: &str, params: &BTreeMap<String, Value>) -> String {
    params
        .iter()
        .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), &plain(value)))
}

/// A parameter as a person reads it: numbers with as many digits as they are worth.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(x) if number.is_f64() => digits(x),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Three significant digits at most, none behind the point from 100 on, no trailing zeros.
fn digits(x: f64) -> String {
    let places = match x.abs() {
        a if a >= 99.95 => 0,
        a if a >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{x:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

const UNKNOWN: Words = Words {
    say: "Something is wrong that this version has no words for.",
    fix: Some("Show the details to support."),
};

/// Code, sentence, advice (empty: none).
const TABLE: &[(&str, &str, &str)] = &[
    // An endpoint that could not be measured.
    ("unknown_host", "The name {host} was not found.", "Check the spelling and your internet connection."),
    (
        "endpoint_refused",
        "{host} answers, but nothing listens on that port.",
        "Check the port, or ask whoever runs the endpoint to start it.",
    ),
    (
        "endpoint_unreachable",
        "{host} did not answer at all.",
        "Check that you are online; if other sites work, the endpoint is down or a firewall drops everything to it.",
    ),
    (
        "udp_blocked",
        "Your network blocks UDP, which calls use for sound and picture.",
        "Try another network or a phone hotspot, or ask the network's administrator to allow UDP.",
    ),
    (
        "token_required",
        "{host} only serves those who have a token.",
        "Ask whoever runs the endpoint for a token.",
    ),
    ("wrong_token", "{host} does not accept this token.", "Ask whoever runs the endpoint for a new token."),
    (
        "token_withheld",
        "{host} did not prove who it is, so your token was not sent.",
        "Use the endpoint's address with its fingerprint (#sha256=…), or give it a certificate from an authority.",
    ),
    (
        "protocol_version",
        "{host} speaks another version of the measurement protocol.",
        "Update the older of the two: this program speaks {ours}.",
    ),
    (
        "not_this_kind",
        "What answers at {host} is not a Greenroom endpoint.",
        "Check the address and the port.",
    ),
    (
        "tls_unverified",
        "{host} did not prove that it is the endpoint you meant.",
        "Check the fingerprint or certificate; on a company network, a proxy may be opening encrypted traffic.",
    ),
    ("endpoint_full", "{host} is busy with other measurements.", "Try again in a minute."),
    ("endpoint_said_no", "{host} refused the measurement.", "Ask whoever runs the endpoint why."),
    (
        "endpoint_died",
        "{host} stopped answering in the middle of the check.",
        "Run the check again; if it happens again, the endpoint or your connection breaks off.",
    ),
    (
        "address_changed",
        "Your network changed in the middle of the check.",
        "Stay on one network (turn off Wi-Fi or unplug the cable) and run the check again.",
    ),
    (
        "no_ipv4",
        "This computer has no IPv4 address, and {host} has nothing else.",
        "Ask your network's administrator for IPv4.",
    ),
    (
        "no_ipv6",
        "This computer has no IPv6 address, and {host} has nothing else.",
        "Use an endpoint that has an IPv4 address.",
    ),
    ("no_network", "This computer is not connected to a network.", "Connect to Wi-Fi or plug in a cable."),
    ("interrupted", "The check was stopped before it could tell.", "Run it again to its end."),
    ("local_error", "This computer did not allow the measurement.", "Show the details to support."),
];
