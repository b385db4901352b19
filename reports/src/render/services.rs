//! What services over TCP, TLS and QUIC tell, as rows to show.

use super::details::{moment, round_trip, text, unless_zero, yes_or_no};
use super::figures::{Cell, Row, cell, extremes, once, p50, p95, p99, share, smoothed, time};
use super::{number, words};
use crate::schema::{
    AddressTried, Certificate, CertificateFault, Connects, Http3, HttpsDetails, Interception, QuicDetails,
    Security, TcpDetails, TlsDetails, Value, WssDetails,
};
use crate::trace::StampSource;
use crate::verdict::words as sentences;

pub(super) fn tcp(tcp: &TcpDetails) -> Vec<Row> {
    connects(&tcp.connect)
}

pub(super) fn tls(tls: &TlsDetails) -> Vec<Row> {
    let mut rows = verdict(&tls.security);
    rows.extend([
        once("TLS handshake, median", "without connecting", p50(&tls.handshake_ms)),
        once("TLS handshake, min and max", "the same, minimum and maximum", extremes(&tls.handshake_ms)),
        unless_zero("Handshakes that failed", "on a connection that stood", tls.handshakes_failed),
    ]);
    rows.extend(connects(&tls.connect));
    rows.extend(security(&tls.security));
    rows
}

pub(super) fn https(https: &HttpsDetails) -> Vec<Row> {
    let number = |value: &Value<_>| {
        cell(value, |found: &crate::schema::Exact<u16>| Cell::bare(found.value.to_string()))
    };
    let mut rows = vec![once("The service answers", "status (RFC 9110 section 15)", number(&https.status))];
    rows.extend(https.redirects.iter().map(|redirect| {
        let said = format!("{} ({})", words::clean(&redirect.to), redirect.status);
        once("It sends visitors on to", "Location", Cell::bare(said))
    }));
    if let Some(why) = &https.redirect_stopped {
        rows.push(once("Not followed further", "redirection", Cell::bare(words::prose(why))));
    }
    if let Some(hint) = https.captive_portal_hint.fact() {
        let said = words::clean(hint).into_owned();
        rows.push(once("Perhaps a sign-in page first", "captive portal", Cell::bare(said)));
    }
    rows.extend(verdict(&https.security));
    rows.extend([
        once("Looking up the name, median", "by the system's resolver", p50(&https.lookup_ms)),
        once(connect_name(&https.connect), "TCP", p50(&https.connect.round_trip.rtt_ms)),
        once("TLS handshake, median", "without connecting", p50(&https.handshake_ms)),
        once("First octet, median", "from the request to the head of the answer", p50(&https.first_byte_ms)),
        once("Everything, median", "lookup to the end of the answer", p50(&https.total_ms)),
        once("Everything, min and max", "the same, minimum and maximum", extremes(&https.total_ms)),
        unless_zero("Requests that failed", "on a connection that stood", https.requests_failed),
    ]);
    if let Some(failure) = &https.last_failure {
        let said = sentences::short(failure.code()).to_owned();
        rows.push(once("What went wrong last", "failure", Cell::bare(said)));
    }
    rows.extend([
        once("Version spoken", "HTTP", text(&https.version)),
        once("It offers HTTP/3", "Alt-Svc (RFC 7838)", yes_or_no(&https.offers_http3)),
        http3(&https.http3, https.offers_http3.fact() == Some(&true)),
        once("Through the proxy", "HTTPS_PROXY", text(&https.proxy)),
        once("The service calls itself", "Server", text(&https.software)).full(),
        once("Read of the body", "octets", Cell::bare(body(https))).full(),
    ]);
    rows.extend(connects(&https.connect).into_iter().map(Row::full));
    rows.extend(security(&https.security));
    rows
}

/// One request over HTTP/3, beside those over TCP.
fn http3(http3: &Value<Http3>, is_offered: bool) -> Row {
    let told = cell(http3, |found| {
        let times = [
            ("handshake", found.handshake_ms),
            ("first octet", found.first_byte_ms),
            ("everything", found.total_ms),
        ];
        let times = times.map(|(name, ms)| format!("{name} {}", number::ms(ms)));
        Cell::bare(format!("status {}: {}", found.status, times.join(", ")))
    });
    let row = once("Over HTTP/3", "one request over QUIC (RFC 9114)", told);
    if is_offered { row } else { row.full() }
}

fn body(https: &HttpsDetails) -> String {
    let read = number::size(https.body_bytes);
    if https.body_cut { format!("{read}, and there was more") } else { read }
}

pub(super) fn wss(wss: &WssDetails) -> Vec<Row> {
    let mut rows = verdict(&wss.security);
    rows.extend([
        once("Connecting", "TCP", moment(&wss.connect_ms)),
        once("TLS handshake", "without connecting", moment(&wss.handshake_ms)),
        once("Switching to WebSocket", "request to answer 101 (RFC 6455)", moment(&wss.upgrade_ms)),
        once("The connection stood for", "until this end closed it, or the other", moment(&wss.stood_ms)),
        once("It stood to the end", "survived", yes_or_no(&wss.survived)),
    ]);
    if wss.survived.fact() == Some(&false) {
        rows.push(once("How it ended", "close code and reason", text(&wss.closed_by)));
    }
    rows.extend(round_trip(&wss.round_trip, "ping to pong (RFC 6455 section 5.5)"));
    rows.push(unless_zero("Messages nobody asked for", "data frames", wss.messages));
    rows.extend(tried(&wss.tried));
    rows.extend(security(&wss.security));
    rows
}

pub(super) fn quic(quic: &QuicDetails) -> Vec<Row> {
    let mut rows = verdict(&quic.security);
    let trips = &quic.round_trip;
    rows.extend([
        once("Handshake, median", "first packet until data can be sent (RFC 9000)", p50(&trips.rtt_ms)),
        once("Handshake, min and max", "the same, minimum and maximum", extremes(&trips.rtt_ms)),
        once("Handshakes that failed", "of those begun", share(&trips.loss_ratio)),
        once("Round trip, median", "as QUIC measured it (RFC 9002)", p50(&quic.rtt_ms)),
        once("Round trip, min and max", "the same, minimum and maximum", extremes(&quic.rtt_ms)),
        once(
            "Packets lost of those sent",
            "as QUIC counts them",
            Cell::bare(format!(
                "{} of {}",
                number::count(quic.lost_packets),
                number::count(quic.sent_packets)
            )),
        ),
        once("Version spoken", "QUIC", text(&quic.version)),
        once(
            "Longest datagram",
            "RFC 9221",
            cell(&quic.max_datagram_bytes, |found| Cell::bare(number::size(found.value))),
        ),
    ]);
    rows.extend(tried(&quic.tried));
    rows.extend(security(&quic.security));
    rows
}

fn connect_name(connect: &Connects) -> &'static str {
    match connect.round_trip.stamped_by {
        StampSource::Kernel => "Connecting, median (kernel)",
        _ => "Connecting, median",
    }
}

/// Connections made again and again.
fn connects(connect: &Connects) -> Vec<Row> {
    let trips = &connect.round_trip;
    let made = format!("{} of {}", number::count(trips.answered), number::count(trips.planned));
    let mut rows = vec![
        once(connect_name(connect), "SYN to SYN-ACK (RFC 9293)", p50(&trips.rtt_ms)),
        once("Connecting, p95", "the same, p95", p95(&trips.rtt_ms)).full(),
        once("Connecting, p99", "the same, p99", p99(&trips.rtt_ms)).full(),
        once("Connecting, min and max", "the same, minimum and maximum", extremes(&trips.rtt_ms)),
        once("Attempts that failed", "of those made, late ones included", share(&trips.loss_ratio)),
        once("Delay variation, p95", "PDV (RFC 5481) of connecting, p95", p95(&trips.pdv_ms)).full(),
        once(
            "Attempt-to-attempt delay change",
            "IPDV (RFC 3393), mean absolute",
            time(&trips.ipdv_mean_abs_ms),
        )
        .full(),
        once(
            "Smoothed jitter, p95",
            "jitter_rfc3550 (RFC 3550 A.8), running value",
            smoothed(&trips.jitter_rfc3550_ms),
        )
        .full(),
        once("Connections", "made of planned", Cell::bare(made)).full(),
        unless_zero("Refused", "RST to the SYN", connect.refused),
        unless_zero("Broken off", "RST afterwards", connect.reset),
        unless_zero("Without any answer", "no SYN-ACK in time", connect.silent),
        unless_zero(
            "Failed otherwise",
            "no route, a firewall's word, this computer",
            connect.failed_otherwise,
        ),
    ];
    if let Some(late) = connect.stood_late.fact() {
        rows.push(unless_zero("Only after asking again", "the SYN was sent again: one was lost", *late));
    }
    rows.extend(tried(&connect.tried));
    rows
}

/// The addresses tried in vain before.
pub(super) fn tried(tried: &[AddressTried]) -> Vec<Row> {
    let one = |address: &AddressTried| {
        let said = format!("{}: {}", address.address, sentences::short(address.failure.code()));
        once("Tried in vain before", "address", Cell::bare(said))
    };
    tried.iter().map(one).collect()
}

/// What matters most of a certificate.
pub(super) fn verdict(security: &Security) -> Vec<Row> {
    let verified = match (&security.verified, security.faults.as_slice()) {
        (Value::Measured(found), faults) if !found.value && !faults.is_empty() => {
            let all: Vec<String> = faults.iter().map(fault).collect();
            Cell::bare(words::clean(&format!("no: {}", all.join("; "))).into_owned())
        }
        (other, _) => yes_or_no(other),
    };
    let mut rows =
        vec![once("Certificate trusted here", "by this computer's roots, name and dates", verified)];
    let hint = match security.interception.measured() {
        Some(Interception::KnownProduct { product, issuer }) => {
            Some(format!("{product}: the certificate is made by {issuer}"))
        }
        Some(Interception::PrivateIssuer { issuer }) => {
            Some(format!("perhaps: only this computer knows {issuer}, which vouches for it"))
        }
        _ => None,
    };
    if let Some(hint) = hint {
        let hint = Cell::bare(words::clean(&hint).into_owned());
        rows.push(once("Opened on the way", "interception by an unexpected issuer", hint));
    }
    if let Some(expected) = &security.expected {
        let cell = match security.as_expected.fact() {
            Some(false) => Cell::bare(format!("no: {} was expected", words::clean(expected))),
            _ => yes_or_no(&security.as_expected),
        };
        rows.push(once("It is the one expected", "#issuer= or #sha256=", cell));
    }
    let days = cell(&security.days_left, |found| Cell::bare(days(found.value)));
    rows.push(once("The certificate lasts", "until not_after", days));
    if security.changed {
        let said = Cell::bare("yes: several certificates in one run".to_owned());
        rows.push(once("It changed meanwhile", "another certificate", said));
    }
    rows
}

fn days(left: i64) -> String {
    let days =
        |n: i64| format!("{} {}", number::count(n.unsigned_abs()), if n.abs() == 1 { "day" } else { "days" });
    match left {
        0.. => format!("{} more", days(left)),
        _ => format!("no more: it ended {} ago", days(left)),
    }
}

fn fault(fault: &CertificateFault) -> String {
    match fault {
        CertificateFault::Expired { not_after } => format!("it ended on {}", date(*not_after)),
        CertificateFault::NotYetValid { not_before } => {
            format!("it begins on {}; check this computer's clock", date(*not_before))
        }
        CertificateFault::WrongName { names } if names.is_empty() => "it is for no name at all".to_owned(),
        CertificateFault::WrongName { names } => format!("it is for {}", names.join(", ")),
        CertificateFault::SelfSigned => "it vouches for itself".to_owned(),
        CertificateFault::UnknownIssuer => "nobody that this computer trusts vouches for it".to_owned(),
        CertificateFault::Revoked => "its issuer has taken it back".to_owned(),
        CertificateFault::Other { detail } => detail.clone(),
    }
}

fn date(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// The rest of what was agreed on.
pub(super) fn security(security: &Security) -> Vec<Row> {
    let mut rows = vec![
        once("Encryption", "version", text(&security.version)),
        once("Cipher", "cipher suite", text(&security.cipher)).full(),
        once("Protocol agreed on", "ALPN (RFC 7301)", text(&security.alpn)),
    ];
    rows.extend(security.chain.first().map(|own| {
        let issuer = words::clean(&own.issuer).into_owned();
        once("Who vouches for it", "issuer", Cell::bare(issuer))
    }));
    rows.extend(security.chain.iter().map(certificate).map(Row::full));
    rows
}

fn certificate(certificate: &Certificate) -> Row {
    let day = |at: Option<jiff::Timestamp>| at.map_or_else(|| "?".to_owned(), date);
    let said = format!(
        "{}, by {}, {}, from {} to {}, for {} names, SHA-256 {}",
        certificate.subject,
        certificate.issuer,
        certificate.key,
        day(certificate.not_before),
        day(certificate.not_after),
        number::count(certificate.names),
        certificate.sha256
    );
    once("A certificate of its chain", "X.509 (RFC 5280)", Cell::bare(words::clean(&said).into_owned()))
}
