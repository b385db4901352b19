//! What a TURN server tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Exact, RoundTrip, Security, Value};
use crate::verdict::TargetFailure;

/// What a TURN server told (RFC 8656): each way to it on its own, measured at the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TurnDetails {
    /// By transport, UDP first. Never empty.
    pub transports: Vec<TurnTransport>,
}

/// One way to a TURN server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TurnTransport {
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// The server's address.
    pub address: String,
    /// Until the connection stood, with TLS its handshake included. `not_tested` over UDP, which has none.
    pub setup_ms: Value<Exact<f64>>,
    /// From the first request to its answer, in which the server asks for credentials.
    pub challenge_ms: Value<Exact<f64>>,
    /// From the first request to the relayed address: two round trips and what the server takes.
    pub allocate_ms: Value<Exact<f64>>,
    /// The address on the server that was given.
    pub relayed_address: Value<Exact<String>>,
    /// This computer's address and port as the server sees them (XOR-MAPPED-ADDRESS).
    pub reflexive_address: Value<Exact<String>>,
    /// How long the address is kept without a refresh.
    pub lifetime_s: Value<Exact<u64>>,
    /// Whether audio went from one relayed address to another (`pair`) or from one back to itself (`self`), or, of a browser, to the endpoint and back (`endpoint`).
    pub relayed_by: Value<Exact<String>>,
    /// Packets shaped as audio from this computer through the relay and back to it: up once and down once each.
    pub relayed: Option<RoundTrip>,
    /// The same by the other relayed address, sent at the same time. None where audio went back to itself.
    pub relayed_back: Option<RoundTrip>,
    /// Packets that came after a later one (RFC 4737 type P).
    pub reordered: u64,
    /// Packets that came more than once.
    pub duplicated: u64,
    /// What was agreed on and the certificate, over TLS.
    pub security: Option<Security>,
    /// What went wrong.
    pub failure: Option<TargetFailure>,
}
