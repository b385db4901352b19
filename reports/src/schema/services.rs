//! What services over TCP, TLS and QUIC tell.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Distribution, Exact, RoundTrip, Value};
use crate::verdict::TargetFailure;

/// What something told that takes TCP connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpDetails {
    /// The connections.
    pub connect: Connects,
}

/// What something told that speaks TLS (RFC 8446, RFC 5246).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsDetails {
    /// The connections that the handshakes went over.
    pub connect: Connects,
    /// From the first octet of the handshake to its end, without connecting.
    pub handshake_ms: Value<Distribution>,
    /// Connections on which the handshake did not come to its end.
    pub handshakes_failed: u64,
    /// What was agreed on, and the certificate.
    pub security: Security,
}

/// What a web service told (RFC 9110).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpsDetails {
    /// The connections that the requests went over: to the service, or to the proxy.
    pub connect: Connects,
    /// Looking up the name, once for each request. `not_tested` of an address and behind a proxy.
    pub lookup_ms: Value<Distribution>,
    /// From connected to the end of the TLS handshake; behind a proxy with the way through it.
    pub handshake_ms: Value<Distribution>,
    /// From the request to the first octet of the answer's head.
    pub first_byte_ms: Value<Distribution>,
    /// From the lookup to the end of the answer, or of the part of it that is read.
    pub total_ms: Value<Distribution>,
    /// Requests that were not answered although the connection stood.
    pub requests_failed: u64,
    /// What went wrong with the last of them.
    pub last_failure: Option<TargetFailure>,
    /// The status of the last answer.
    pub status: Value<Exact<u16>>,
    /// The version of HTTP that was spoken: `HTTP/2`.
    pub version: Value<Exact<String>>,
    /// Whether the service says that it also speaks HTTP/3 (Alt-Svc, RFC 7838).
    pub offers_http3: Value<Exact<bool>>,
    /// One request over HTTP/3 (RFC 9114), where the service offers that. Its certificate is not looked at again.
    #[serde(default = "http3_unasked")]
    pub http3: Value<Http3>,
    /// What the service calls itself (Server).
    pub software: Value<Exact<String>>,
    /// Octets of the last answer's body that were read.
    pub body_bytes: u64,
    /// Whether there were more, which were not read.
    pub body_cut: bool,
    /// Where the service sends its visitors instead, in order.
    pub redirects: Vec<Redirect>,
    /// Where following ended before its goal, and why.
    pub redirect_stopped: Option<String>,
    /// The proxy that the requests went through, from the environment.
    pub proxy: Value<Exact<String>>,
    /// What suggests that something on the way answers in the service's place, asking people to sign in first.
    pub captive_portal_hint: Value<Exact<String>>,
    /// What was agreed on, and the certificate.
    pub security: Security,
}

fn http3_unasked() -> Value<Http3> {
    Value::not_tested("whoever made this report did not ask over HTTP/3")
}

/// A request over HTTP/3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http3 {
    /// The address that answered.
    pub address: String,
    /// Looking up the name. `not_tested` of an address.
    pub lookup_ms: Value<Exact<f64>>,
    /// The handshake: connecting and encryption in one (RFC 9001).
    pub handshake_ms: f64,
    /// From the request to the head of the answer.
    pub first_byte_ms: f64,
    /// From the lookup to the end of the answer, or of the part of it that is read.
    pub total_ms: f64,
    /// The status.
    pub status: u16,
}

/// A redirection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// The status: 301, 302, 303, 307, 308.
    pub status: u16,
    /// Where to, without a query, which may hold a secret.
    pub to: String,
}

/// What a WebSocket told (RFC 6455).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WssDetails {
    /// Pings and their pongs over one connection: what is lost on the way is sent again by TCP and shows as delay.
    pub round_trip: RoundTrip,
    /// Time to connect by TCP.
    pub connect_ms: Value<Exact<f64>>,
    /// Time for the TLS handshake.
    pub handshake_ms: Value<Exact<f64>>,
    /// From the request to the answer that switches protocols.
    pub upgrade_ms: Value<Exact<f64>>,
    /// How long the connection stood, pings included.
    pub stood_ms: Value<Exact<f64>>,
    /// Whether it stood until this end closed it.
    pub survived: Value<Exact<bool>>,
    /// How the other end closed it, if it did.
    pub closed_by: Value<Exact<String>>,
    /// Messages that came without being asked for.
    pub messages: u64,
    /// The addresses tried in vain before.
    pub tried: Vec<AddressTried>,
    /// What was agreed on, and the certificate.
    pub security: Security,
}

/// What something told that speaks QUIC (RFC 9000).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuicDetails {
    /// Handshakes: from the first packet to the point where data can be sent. A lost packet is sent again and shows as delay.
    pub round_trip: RoundTrip,
    /// The round trip that QUIC itself measured, at the end of each connection.
    pub rtt_ms: Value<Distribution>,
    /// Packets that QUIC held for lost, of all connections.
    pub lost_packets: u64,
    /// Packets that QUIC sent, of all connections.
    pub sent_packets: u64,
    /// The version spoken: `1`.
    pub version: Value<Exact<String>>,
    /// The longest datagram that the other end takes (RFC 9221).
    pub max_datagram_bytes: Value<Exact<u64>>,
    /// The addresses tried in vain before.
    pub tried: Vec<AddressTried>,
    /// What was agreed on, and the certificate.
    pub security: Security,
}

/// Connections made again and again. Each attempt counts as a question, and a connection as its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connects {
    /// From SYN to SYN-ACK where the kernel tells (`stamped_by`), else as the program saw it. Attempts that failed count as lost, as do
    /// those that only stood after the kernel had sent its SYN again.
    pub round_trip: RoundTrip,
    /// Attempts that were refused: the host answers and nothing listens.
    pub refused: u64,
    /// Attempts that were broken off.
    pub reset: u64,
    /// Attempts that nothing came back to.
    pub silent: u64,
    /// Attempts that failed in another way.
    pub failed_otherwise: u64,
    /// Connections that stood only after the kernel had sent its SYN again.
    pub stood_late: Value<Exact<u64>>,
    /// The addresses tried in vain before.
    pub tried: Vec<AddressTried>,
}

/// An address that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressTried {
    /// The address with its port.
    pub address: String,
    /// Why it was given up.
    pub failure: TargetFailure,
}

/// What two ends agreed on, and the certificate shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// `TLS 1.3`.
    pub version: Value<Exact<String>>,
    /// The cipher suite: `TLS13_AES_256_GCM_SHA384`.
    pub cipher: Value<Exact<String>>,
    /// The application protocol agreed on (RFC 7301): `h2`.
    pub alpn: Value<Exact<String>>,
    /// Whether a root that this computer trusts vouches for it, under this name and today.
    pub verified: Value<Exact<bool>>,
    /// Everything that is wrong with it.
    pub faults: Vec<CertificateFault>,
    /// What suggests that somebody on the way opens what is encrypted.
    pub interception: Value<Interception>,
    /// Whether it is what was expected of it.
    pub as_expected: Value<Exact<bool>>,
    /// What was expected: the name of an issuer, or a certificate's fingerprint.
    pub expected: Option<String>,
    /// Whole days until the certificate ends; negative when it has ended.
    pub days_left: Value<Exact<i64>>,
    /// Whether another certificate was shown in the course of the run.
    pub changed: bool,
    /// The certificates shown, the service's own first.
    pub chain: Vec<Certificate>,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case", deny_unknown_fields)]
pub enum CertificateFault {
    /// It has ended.
    Expired {
        /// When.
        not_after: Timestamp,
    },
    /// It has not begun.
    NotYetValid {
        /// When it will.
        not_before: Timestamp,
    },
    /// It is for other names.
    WrongName {
        /// Some of them.
        names: Vec<String>,
    },
    /// It vouches for itself.
    SelfSigned,
    /// No root that this computer trusts vouches for it.
    UnknownIssuer,
    /// Its issuer has taken it back.
    Revoked,
    /// Something else, in the words of the program that checks it.
    Other {
        /// Those words.
        detail: String,
    },
}

/// What suggests that somebody on the way opens what is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "hint", rename_all = "snake_case", deny_unknown_fields)]
pub enum Interception {
    /// Nothing does.
    None,
    /// A program or device that opens connections names itself as the issuer.
    KnownProduct {
        /// Its name.
        product: String,
        /// Where it names itself.
        issuer: String,
    },
    /// This computer trusts the issuer and the public does not: a company's own, or that of whoever opens connections.
    PrivateIssuer {
        /// The issuer.
        issuer: String,
    },
}

/// A certificate (RFC 5280).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Whom it is for.
    pub subject: String,
    /// Who vouches for it.
    pub issuer: String,
    /// When it begins.
    pub not_before: Option<Timestamp>,
    /// When it ends.
    pub not_after: Option<Timestamp>,
    /// How many names and addresses it is for.
    pub names: u64,
    /// Its key: `RSA 2048`, `EC P-256`, `Ed25519`.
    pub key: String,
    /// SHA-256 of the whole.
    pub sha256: String,
}
