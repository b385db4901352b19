//! What is nearest: the router, the link to it, and any host that answers echo requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AddressTried, Exact, RoundTrip, Value};

/// What a host's answers to echo requests told (RFC 792, RFC 4443).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IcmpDetails {
    /// Echo requests, each sent once.
    pub round_trip: RoundTrip,
    /// Answers that came from another address or were damaged; they do not count as answers.
    pub strange_answers: u64,
    /// Addresses of the host's that were tried before, and what came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<AddressTried>,
}

/// The first router on the way to the endpoint, and the link to it, while the endpoint was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayDetails {
    /// The router's address.
    pub address: Value<Exact<String>>,
    /// Whether the endpoint is on this computer's own network, with no router between.
    pub endpoint_is_local: bool,
    /// Echo requests to the router, each sent once.
    pub round_trip: RoundTrip,
    /// Why the router was not asked, where it was not.
    pub unasked: Option<String>,
    /// The interface that packets to the endpoint leave by.
    pub link: LinkDetails,
}

/// An interface of this computer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkDetails {
    /// Its name.
    pub interface: String,
    /// What it is.
    pub kind: LinkKind,
    /// Its longest packet.
    pub mtu_bytes: Value<Exact<u32>>,
    /// What a cable is connected at.
    pub speed_mbps: Value<Exact<u32>>,
}

/// What kind of interface one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A cable.
    Wired,
    /// Wi-Fi.
    Wireless,
    /// A mobile network.
    Cellular,
    /// A VPN or another tunnel: what lies below it is not seen.
    Tunnel,
    /// Made up by software: a container's or virtual machine's.
    Virtual,
    /// This computer itself.
    Loopback,
    /// The system does not say.
    Unknown,
}
