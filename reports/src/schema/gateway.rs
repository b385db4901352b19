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
    /// The Wi-Fi that it is connected to, as the kernel knew it during the run. `None`: it is none, or the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wifi: Option<WifiDetails>,
}

/// A connection to a Wi-Fi (nl80211).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WifiDetails {
    /// Its name, as it was chosen by whoever runs it. Personal: it is hidden before a report is given away.
    pub ssid: Option<String>,
    /// Center of its primary channel: about 2,400, 5,000 or 6,000.
    pub frequency_mhz: Value<Exact<u32>>,
    /// How wide its channel is.
    pub width_mhz: Value<Exact<u32>>,
    /// How strong it is heard here, on average; 0 would be one milliwatt, so that it is negative.
    pub signal_dbm: Value<Exact<i16>>,
    /// The rate that packets were last sent at, on the air; about half of it carries data.
    pub tx_rate_mbps: Value<Exact<f64>>,
    /// The rate that packets were last received at.
    pub rx_rate_mbps: Value<Exact<f64>>,
    /// Packets sent since it was joined.
    pub tx_packets: Value<Exact<u32>>,
    /// Times that a packet had to be sent again.
    pub tx_retries: Value<Exact<u32>>,
    /// Packets that were given up.
    pub tx_failed: Value<Exact<u32>>,
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
