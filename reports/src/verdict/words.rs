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
    let own = table().find(|(known, ..)| *known == code);
    own.map(|&(_, say, fix)| Words { say, fix: (!fix.is_empty()).then_some(fix) })
        .or_else(|| super::device_words::english(code, crate::schema::System::Other))
        .unwrap_or(UNKNOWN)
}

/// Why a use could not be judged, in a few words beside its state, from the failure's code.
pub fn short(code: &str) -> &'static str {
    SHORT.iter().find(|(known, _)| *known == code).map_or("not measured", |(_, words)| words)
}

/// Several things in a sentence: "a", "a and b", "a, b and c", with `last` ("and", "or") before the last one.
///
/// ```
/// use greenroom_reports::verdict::words::series;
/// assert_eq!(series(&["microphone", "speaker", "camera"], "and"), "microphone, speaker and camera");
/// assert_eq!(series(&["microphone", "speaker"], "or"), "microphone or speaker");
/// assert_eq!(series(&["microphone"], "or"), "microphone");
/// assert_eq!(series(&[], "or"), "");
/// ```
pub fn series(things: &[&str], last: &str) -> String {
    match things {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [others @ .., end] => format!("{} {last} {end}", others.join(", ")),
    }
}

/// All codes that have sentences.
pub fn codes() -> impl Iterator<Item = &'static str> {
    table().map(|(code, ..)| *code)
}

fn table() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    TABLE.iter().chain(super::service_words::TABLE)
}

/// Fills parameters into a template. A placeholder without its parameter stays as it is.
pub fn fill(template: &str, params: &BTreeMap<String, Value>) -> String {
    params
        .iter()
        .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), &plain(value)))
}

/// The sentence of a code for several reports at once, whose numbers differ: `…` stands where each has its own.
pub fn general(code: &str) -> String {
    let say = english(code).say;
    let mut text = String::with_capacity(say.len());
    for (at, part) in say.split('{').enumerate() {
        match part.split_once('}') {
            Some((_, rest)) if at > 0 => text.extend(["…", rest]),
            _ => text.push_str(part),
        }
    }
    text
}

/// A parameter as a person reads it: numbers with as many digits as they are worth.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(x) if number.is_f64() => digits(x),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Two significant digits, all of them before the point, no trailing zeros: a run of seconds knows no more.
fn digits(x: f64) -> String {
    let places = match x.abs() {
        a if a >= 9.95 => 0,
        a if a >= 0.995 => 1,
        _ => 2,
    };
    let text = format!("{x:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

const UNKNOWN: Words = Words {
    say: "Something is wrong that this version has no words for.",
    fix: Some("Show the details to support."),
};

/// Code of a failure, a few words.
const SHORT: &[(&str, &str)] = &[
    ("unknown_host", "the endpoint's name was not found"),
    ("endpoint_refused", "nothing listens at the endpoint"),
    ("endpoint_unreachable", "the endpoint did not answer"),
    ("udp_blocked", "UDP does not get through"),
    ("udp_port_blocked", "UDP does not get through to the port for media"),
    ("udp_blocked_here", "this computer's firewall blocks UDP"),
    ("firewall_on_the_way", "a firewall on the way lets nothing through"),
    ("no_way", "a router on the way knows no way"),
    ("next_hop_silent", "the router does not answer"),
    ("token_required", "the endpoint asks for a token"),
    ("wrong_token", "the endpoint does not accept the token"),
    ("token_withheld", "the endpoint did not prove who it is"),
    ("protocol_version", "the endpoint speaks another version"),
    ("not_this_kind", "no Greenroom endpoint answers there"),
    ("wrong_protocol", "something else answers there"),
    ("bearer_required", "the server asks who publishes"),
    ("bearer_refused", "the server does not accept the token"),
    ("publish_refused", "the server does not take the media"),
    ("unusable_answer", "the server's answer leads nowhere"),
    ("media_unreachable", "media do not get through to the server"),
    ("media_keys", "the media could not be encrypted"),
    ("relay_user_required", "the relay asks for a user name"),
    ("relay_user_refused", "the relay does not accept user name and password"),
    ("relay_refused", "the relay gives no address"),
    ("relay_forwards_nothing", "nothing comes through the relay"),
    ("answers_from_elsewhere", "answers come from another address"),
    ("tls_unverified", "the endpoint did not prove who it is"),
    ("endpoint_full", "the endpoint is busy"),
    ("endpoint_said_no", "the endpoint refused"),
    ("connection_reset", "the connection is broken off"),
    ("connection_mute", "the connection is taken, and nothing comes over it"),
    ("tls_refused", "the encrypted connection was refused"),
    ("proxy_failed", "the proxy did not let it through"),
    ("no_name_server", "this computer knows no name server"),
    ("name_servers_silent", "no name server answers"),
    ("endpoint_died", "the endpoint stopped answering"),
    ("address_changed", "the network changed during the check"),
    ("no_ipv4", "there is no IPv4 here"),
    ("no_ipv6", "there is no IPv6 here"),
    ("no_network", "there is no network"),
    ("disturbed", "the measurement was held up here"),
    ("interrupted", "the check was stopped"),
    ("local_error", "this computer did not allow it"),
];

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
        "udp_port_blocked",
        "Your network blocks UDP to port {port}, over which sound and picture would go.",
        "Try another network or a phone hotspot, or ask the network's administrator to allow UDP to port {port}.",
    ),
    (
        "udp_blocked_here",
        "A firewall on this computer blocks UDP, which calls use for sound and picture.",
        "Allow UDP to port {port} in this computer's firewall or security software, or ask whoever manages the computer.",
    ),
    (
        "firewall_on_the_way",
        "A firewall on the way, {by}, lets nothing through to {host}.",
        "Ask your network's administrator to let it through, or try another network.",
    ),
    (
        "no_way",
        "A router on the way, {by}, knows no way to {host}.",
        "Check the address. If it is right, tell whoever runs that router, or your internet provider.",
    ),
    (
        "next_hop_silent",
        "Nobody answers this computer on the way to {host}, not even its router.",
        "Check the cable or the Wi-Fi, and that the router is switched on.",
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
        "wrong_protocol",
        "What answers at {host} does not speak {protocol}.",
        "Check the address and the port.",
    ),
    (
        "bearer_required",
        "{host} only lets those publish who have a token ({status}).",
        "Put the token in a file and name it with --whip-token-file, or set GREENROOM_WHIP_TOKEN; whoever runs the server hands it out.",
    ),
    (
        "bearer_refused",
        "{host} does not accept this token ({status}).",
        "Ask whoever runs the server for a token that may publish there; it may have ended, or be that of another stream.",
    ),
    ("publish_refused", "{host} does not take the media: it answers with status {status}.", "{advice}"),
    (
        "unusable_answer",
        "{host} answers the offer of media with something that leads nowhere.",
        "Check the address and the path; if they are right, show whoever runs the server: {detail}.",
    ),
    (
        "media_unreachable",
        "{host} takes the call, but nothing comes back from the addresses that it names for sound and picture ({addresses}).",
        "Try another network or a phone hotspot, or ask the network's administrator to allow UDP; if it fails everywhere, the server names addresses that cannot be reached.",
    ),
    (
        "media_keys",
        "The encryption of sound and picture with {host} did not come about.",
        "Show the details to whoever runs the server: {detail}.",
    ),
    (
        "relay_user_required",
        "{host} only relays for those whom it knows, and no user name was given.",
        "Put the user name and the password on two lines of a file and name it with --turn-user-file, or set GREENROOM_TURN_USERNAME and GREENROOM_TURN_PASSWORD.",
    ),
    (
        "relay_user_refused",
        "{host} does not accept this user name and password.",
        "Check both with whoever runs the relay; those that are handed out for a time may have ended.",
    ),
    ("relay_refused", "{host} does not relay: {detail}.", "{advice}"),
    (
        "relay_forwards_nothing",
        "{host} gives an address to relay through, and then nothing comes through it.",
        "Whoever runs the relay should open its relay ports (UDP 49152 to 65535 unless set otherwise) and check the outside address that it is told to use.",
    ),
    (
        "answers_from_elsewhere",
        "{host} answers from another address, {from}, which programs do not take for its answer.",
        "Use the address that answers, or tell whoever runs the server that it answers from the wrong one.",
    ),
    (
        "tls_unverified",
        "{host} did not prove that it is the endpoint you meant.",
        "Check the fingerprint or certificate; on a company network, a proxy may be opening encrypted traffic.",
    ),
    ("endpoint_full", "{host} is busy with other measurements.", "Try again in a minute."),
    ("endpoint_said_no", "{host} refused the measurement.", "Ask whoever runs the endpoint why."),
    (
        "connection_reset",
        "The connection to {host} is broken off as soon as it is made.",
        "Ask whoever runs it whether it lets you in; a firewall on the way can do the same.",
    ),
    (
        "connection_mute",
        "{host} takes the connection and then says nothing in {protocol}.",
        "Check the port; if it is right, the service hangs, or a firewall lets connections begin and nothing more.",
    ),
    (
        "tls_refused",
        "{host} refused the encrypted connection.",
        "Show the details to whoever runs it: {detail}.",
    ),
    (
        "proxy_failed",
        "The proxy {proxy} did not let the connection to {host} through.",
        "Check HTTPS_PROXY, or ask whoever runs the proxy to allow it.",
    ),
    (
        "no_name_server",
        "This computer knows no name server, so no name can be looked up.",
        "Connect to a network, or name a server: dns://ADDRESS/NAME.",
    ),
    (
        "name_servers_silent",
        "None of this computer's name servers answers ({servers}).",
        "Check that you are online; if you are, restart the router, or ask whoever runs the network.",
    ),
    (
        "endpoint_died",
        "{host} stopped answering in the middle of the check.",
        "Run the check again; if it happens again, the endpoint or your connection breaks off.",
    ),
    (
        "address_changed",
        "An address changed in the middle of the check: this computer's, or that of {host}.",
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
    (
        "disturbed",
        "The connection could not be judged fairly: {detail}.",
        "Keep the page in front, close other programs, and check again.",
    ),
    ("interrupted", "The check was stopped before it could tell.", "Run it again to its end."),
    ("local_error", "This computer did not allow the measurement.", "Show the details to support."),
    // What was measured.
    (
        "loss_up",
        "About {percent} % of what you send is lost on the way.",
        "Use a cable, or move closer to your Wi-Fi router. If it stays, ask your internet provider.",
    ),
    (
        "loss_down",
        "About {percent} % of what is sent to you is lost on the way.",
        "Use a cable, or move closer to your Wi-Fi router. If it stays, ask your internet provider.",
    ),
    (
        "loss",
        "About {percent} % is lost on the way, both of what you send and of what is sent to you.",
        "Use a cable, or move closer to your Wi-Fi router. If it stays, ask your internet provider.",
    ),
    (
        "rate_up",
        "Only about {carried_mbps} of the {mbps} Mbit/s that you send gets through.",
        "Stop uploads and other video on your network, or use a lower video quality.",
    ),
    (
        "rate_down",
        "Only about {carried_mbps} of the {mbps} Mbit/s sent to you gets through.",
        "Stop downloads and other video on your network, or use a lower video quality.",
    ),
    (
        "rate",
        "Only about {carried_mbps} of {mbps} Mbit/s gets through, each way.",
        "Stop uploads, downloads and other video on your network, or use a lower video quality.",
    ),
    (
        "late_loss_up",
        "About {percent} % of what you send arrives too late to be played, or not at all.",
        "Use a cable or move closer to your Wi-Fi router, and stop uploads on your network.",
    ),
    (
        "late_loss_down",
        "About {percent} % of what is sent to you arrives too late to be played, or not at all.",
        "Use a cable or move closer to your Wi-Fi router, and stop downloads on your network.",
    ),
    (
        "late_loss",
        "About {percent} % arrives too late to be played, or not at all, both ways.",
        "Use a cable or move closer to your Wi-Fi router, and stop uploads and downloads on your network.",
    ),
    (
        "burst_loss_up",
        "What you send breaks off for moments: up to {percent} % was lost within a fifth of a second.",
        "Use a cable, or move closer to your Wi-Fi router.",
    ),
    (
        "burst_loss_down",
        "What is sent to you breaks off for moments: up to {percent} % was lost within a fifth of a second.",
        "Use a cable, or move closer to your Wi-Fi router.",
    ),
    (
        "burst_loss",
        "The connection breaks off for moments: up to {percent} % was lost within a fifth of a second, both ways.",
        "Use a cable, or move closer to your Wi-Fi router.",
    ),
    (
        "rtt_high",
        "Answers take {ms} ms to come back, so that people will talk over each other.",
        "Turn off any VPN, or use a server nearer to you.",
    ),
    (
        "pdv_up",
        "What you send arrives unevenly, up to {ms} ms late.",
        "Use a cable or move closer to your Wi-Fi router, and stop uploads on your network.",
    ),
    (
        "pdv_down",
        "What is sent to you arrives unevenly, up to {ms} ms late.",
        "Use a cable or move closer to your Wi-Fi router, and stop downloads on your network.",
    ),
    (
        "pdv",
        "What is sent arrives unevenly, up to {ms} ms late, both ways.",
        "Use a cable or move closer to your Wi-Fi router, and stop uploads and downloads on your network.",
    ),
    (
        "bufferbloat_up",
        "Once you send video, everything you send waits up to {ms} ms in a queue.",
        "Stop uploads, or turn on smart queue management (SQM) in your router.",
    ),
    (
        "bufferbloat_down",
        "Once you receive video, everything sent to you waits up to {ms} ms in a queue.",
        "Stop downloads, or turn on smart queue management (SQM) in your router.",
    ),
    (
        "bufferbloat",
        "Under the load of a call, answers take up to {ms} ms longer.",
        "Stop uploads and downloads, or turn on smart queue management (SQM) in your router.",
    ),
    (
        "reordered_up",
        "About {percent} % of what you send arrives out of order.",
        "Use a cable, or ask your internet provider.",
    ),
    (
        "reordered_down",
        "About {percent} % of what is sent to you arrives out of order.",
        "Use a cable, or ask your internet provider.",
    ),
    (
        "host_drops_here",
        "This computer threw away {percent} % of what had already arrived, because it was too busy.",
        "Close other programs and try again.",
    ),
    (
        "host_drops_there",
        "The endpoint's computer threw away {percent} % of what had already arrived.",
        "Tell whoever runs the endpoint that it is overloaded.",
    ),
    (
        "host_delay_here",
        "This computer takes up to {ms} ms to notice what has arrived, because it is too busy.",
        "Close other programs and try again.",
    ),
    (
        "host_delay_there",
        "The endpoint's computer takes up to {ms} ms to notice what has arrived.",
        "Tell whoever runs the endpoint that it is overloaded.",
    ),
    (
        "local_queue",
        "What you send waits up to {ms} ms inside this computer before it leaves.",
        "Stop uploads and backups on this computer.",
    ),
    (
        "local_queue_there",
        "What the endpoint sends waits up to {ms} ms inside its computer before it leaves.",
        "Tell whoever runs the endpoint that it is overloaded.",
    ),
    // What stands in the way of measuring.
    (
        "endpoint_lies",
        "The endpoint's answers contradict themselves, so nothing can be concluded from them.",
        "Use another endpoint.",
    ),
    (
        "measurement_spoiled",
        "This computer was too busy to measure well: its own delay of {ms} ms is as large as what was to be measured.",
        "Close other programs and run the check again.",
    ),
    // Worth knowing.
    (
        "no_kernel_timestamps",
        "Times were taken by the program, not by the system, so that a busy computer adds to them.",
        "",
    ),
    ("clock_stepped", "A clock was set by {ms} ms during the check; this was taken out.", ""),
    (
        "cpu_busy",
        "This computer's processor was {percent} % busy during the check.",
        "If it stays so in the call, close other programs.",
    ),
    (
        "cpu_stolen",
        "The machine that hosts this one took {stolen_percent} % of its processor time away.",
        "Give this virtual machine more processor time.",
    ),
    (
        "send_late",
        "This computer sent {late} of {sent} packets late.",
        "If it stays so in the call, close other programs.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_general_sentence_leaves_room_for_each_number() {
        assert_eq!(general("loss_up"), "About … % of what you send is lost on the way.");
        assert_eq!(general("unknown_host"), "The name … was not found.");
        assert_eq!(general("udp_blocked"), english("udp_blocked").say);
        for code in codes() {
            assert!(!general(code).contains(['{', '}']), "{code}");
        }
    }
}
