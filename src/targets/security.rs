//! What the TLS handshakes of a run came to: what was agreed on, and everything about the certificate.

use greenroom_reports::schema::{Exact, Security, Value};
use greenroom_reports::verdict::TargetFailure;

use crate::address::{Expected, Host, OtherUrl, Part};
use crate::net::certificates::{self, Judged};
use crate::net::clock::Clock;
use crate::net::witness::{Agreed, HandshakeFailure};

/// Judges the handshakes of a run: the last one, and whether others showed another certificate.
pub(super) fn security<'a>(
    handshakes: impl Iterator<Item = &'a Agreed>,
    target: &OtherUrl,
    clock: Clock,
) -> Security {
    let handshakes: Vec<&Agreed> = handshakes.collect();
    let blank = Agreed::default();
    let last = handshakes.last().copied().unwrap_or(&blank);
    let changed = handshakes.iter().any(|agreed| agreed.chain.first() != last.chain.first());
    let judged = certificates::judge(&last.chain, &target.host.server_name(), clock.wall());
    let told = |fact: &Option<String>, missing: &str| -> Value<Exact<String>> {
        fact.clone().map_or_else(|| Value::failed(missing), Value::exact)
    };
    let (expected, as_expected) = expected(&target.part, last, &judged);
    Security {
        version: told(&last.version, "it was not told"),
        cipher: told(&last.cipher, "it was not told"),
        alpn: told(&last.alpn, "none was agreed on"),
        verified: Value::exact(judged.faults.is_empty()),
        as_expected,
        expected,
        days_left: judged.days_left.map_or_else(|| Value::failed("its end cannot be read"), Value::exact),
        changed,
        faults: judged.faults,
        interception: judged.interception,
        chain: judged.chain,
    }
}

/// What was expected of the certificate, and whether it is so.
fn expected(part: &Part, shown: &Agreed, judged: &Judged) -> (Option<String>, Value<Exact<bool>>) {
    let Part::Service { expected: Some(expected), .. } = part else {
        return (None, Value::not_tested("nothing was expected of it"));
    };
    match expected {
        Expected::Issuer(name) => {
            (Some(name.clone()), Value::exact(certificates::is_issued_by(&judged.chain, name)))
        }
        Expected::Certificate(pin) => {
            let own = shown.chain.first().map(|der| crate::address::Fingerprint::of(der));
            (Some(pin.to_string()), Value::exact(own == Some(*pin)))
        }
    }
}

/// Whether what `host` showed proves who it is, so that a secret may be sent there: the certificate expected, else one that holds.
pub(super) fn is_proven(shown: &Agreed, host: &Host, target: &OtherUrl, clock: Clock) -> bool {
    let judged = certificates::judge(&shown.chain, &host.server_name(), clock.wall());
    match &target.part {
        Part::Service { expected: Some(Expected::Certificate(pin)), .. } => {
            shown.chain.first().map(|der| crate::address::Fingerprint::of(der)) == Some(*pin)
        }
        Part::Service { expected: Some(Expected::Issuer(name)), .. } => {
            judged.faults.is_empty() && certificates::is_issued_by(&judged.chain, name)
        }
        _ => judged.faults.is_empty(),
    }
}

/// The reason for a person why there was no handshake.
pub(super) fn refusal(failure: &HandshakeFailure) -> TargetFailure {
    let detail = failure.to_string();
    match failure {
        HandshakeFailure::NotTls => TargetFailure::WrongProtocol { protocol: "TLS".to_owned(), detail },
        HandshakeFailure::NoProtocol | HandshakeFailure::Refused(_) => TargetFailure::TlsRefused { detail },
        HandshakeFailure::Reset => TargetFailure::Reset,
        HandshakeFailure::Silent => TargetFailure::Mute { protocol: "TLS".to_owned() },
        HandshakeFailure::Name(_) => TargetFailure::Local { detail },
    }
}
