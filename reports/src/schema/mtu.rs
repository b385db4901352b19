//! The largest packet that gets to a host in one piece.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Exact, Value};

/// The largest packet that gets to a host in one piece (path MTU), as searched for (RFC 8899). All sizes but one are at the IP layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MtuDetails {
    /// What confirmed sizes.
    pub by: MtuBy,
    /// Why those were no echo requests, where they could have been.
    pub why_not_echo: Option<String>,
    /// What this computer's own link carries.
    pub link_mtu_bytes: Value<Exact<u16>>,
    /// The largest packet that got there.
    pub path_mtu_bytes: Value<Exact<u16>>,
    /// The largest that may still get there: the same where the search came to its end.
    pub path_mtu_at_most_bytes: u16,
    /// The largest payload of a UDP datagram that fits into it, without extension headers.
    pub udp_payload_bytes: Value<Exact<u16>>,
    /// Whether larger packets vanish without anybody saying so (RFC 2923).
    pub black_hole: Value<Exact<bool>>,
    /// The least size that vanished.
    pub vanished_from_bytes: Value<Exact<u16>>,
    /// What a router said last that it passes on ("packet too big").
    pub too_big_bytes: Value<Exact<u32>>,
    /// Who said so.
    pub too_big_from: Option<String>,
    /// Packets that were sent.
    pub probes: u64,
}

/// What confirms that a packet got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MtuBy {
    /// ICMP echo replies.
    EchoRequests,
    /// The errors of a port that nobody listens on.
    ClosedPort,
    /// A STAMP reflector, which answers in the same size.
    Reflector,
}
