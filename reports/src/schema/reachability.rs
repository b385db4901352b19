//! Which of the hosts, ports and protocols that a service needs can be reached.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Exact, Place, Value};

/// What of a service can be reached from here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceDetails {
    /// The service, as its vendor writes it.
    pub title: String,
    /// Where the vendor publishes what it needs.
    pub source: String,
    /// When that was read: `2026-11-28`.
    pub read_on: String,
    /// What is to be known of the entry.
    pub note: Option<String>,
    /// Its parts, with what works of them.
    pub parts: Vec<ServicePart>,
    /// Every way that its parts need.
    pub ways: Vec<ServiceWay>,
}

impl ServiceDetails {
    /// The title of the service whose parts are files: those that the application around a check page named.
    pub const APPLICATION: &str = "this application";
}

/// A part of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServicePart {
    /// What it is: `media over UDP`.
    pub name: String,
    /// Whether it will work.
    pub state: PartState,
    /// Who is in its way. `unknown` where nothing is, or where it does not show.
    pub place: Place,
    /// Why, in a sentence. Of a part that works nothing.
    pub why: Option<String>,
    /// What happens without it, as the end of a sentence.
    pub without: String,
    /// Whether no call comes about without it.
    pub essential: bool,
}

/// Whether a part of a service will work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// The ways that it needs are open.
    Works,
    /// A way that it needs is not.
    Fails,
    /// Nothing speaks against it, and not all that it needs can be known from outside.
    Unknown,
}

/// A host, a port and a protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceWay {
    /// The part that needs it.
    pub part: String,
    /// The host, as the vendor publishes it.
    pub host: String,
    /// The port that was asked, or all of them where none was.
    pub port: String,
    /// The protocol.
    pub protocol: WayProtocol,
    /// The address that was asked last.
    pub address: Option<String>,
    /// What came of it.
    pub outcome: WayOutcome,
    /// What is to be known of it.
    pub detail: Option<String>,
    /// Round trip: of SYN and SYN-ACK, or of the fastest question over UDP.
    pub rtt_ms: Value<Exact<f64>>,
}

/// How a way is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WayProtocol {
    /// TLS over TCP.
    Tls,
    /// TCP.
    Tcp,
    /// STUN over UDP.
    Stun,
    /// UDP.
    Udp,
}

/// What came of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WayOutcome {
    /// The service answers.
    Open,
    /// The host says that nothing listens, or a firewall says so in its place: the two look the same.
    Refused,
    /// Nothing came back, or a firewall said no.
    Filtered,
    /// Somebody on the way answers in the service's place, or opens what is encrypted.
    Intercepted,
    /// Nothing came back over UDP from who need not answer strangers: open and filtered look the same.
    NoAnswerKnown,
    /// The name leads nowhere.
    Unresolved,
    /// This computer could not ask.
    FailedHere,
    /// The vendor names no host that could be asked.
    NotAsked,
}
