//! What a NAT does, as a STUN server with two addresses sees it (RFC 4787, RFC 5780).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Exact, RoundTrip, Value};

/// What the NAT between this computer and a STUN server does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NatDetails {
    /// Where this computer's packets to the server leave from.
    pub local_address: Value<Exact<String>>,
    /// The same as the server sees it.
    pub reflexive_address: Value<Exact<String>>,
    /// Whether there is a NAT in between: the two differ.
    pub nat: Value<Exact<bool>>,
    /// What the public address and port of one socket depend on (RFC 4787 section 4.1).
    pub mapping: Value<Exact<NatBehavior>>,
    /// Whose packets get in (RFC 4787 section 5). Also told where there is no NAT: a firewall filters, too.
    pub filtering: Value<Exact<NatBehavior>>,
    /// Whether two behind the NAT reach each other at their public addresses (RFC 4787 section 6).
    pub hairpinning: Value<Exact<bool>>,
    /// Whether the public port is that of the socket (RFC 4787 section 4.2.1).
    pub port_preserved: Value<Exact<bool>>,
    /// How long a mapping lasts that nothing goes through (RFC 4787 section 4.3).
    pub binding_lifetime_s: Value<Lifetime>,
    /// The server's other address (OTHER-ADDRESS, RFC 5780 section 7.4).
    pub other_address: Value<Exact<String>>,
    /// One socket's public address as each address asked sees it.
    pub seen: Vec<NatSeen>,
    /// What the server calls itself (SOFTWARE).
    pub software: Value<Exact<String>>,
    /// All questions, those repeated counted once; the tests of filtering, hairpinning and lifetime, whose packets may be meant to vanish, are
    /// not among them.
    pub round_trip: RoundTrip,
    /// Answers from other addresses than those asked; they do not count as answers.
    pub answers_from_elsewhere: u64,
    /// What came that was no answer to a question of this run.
    pub stray_answers: u64,
}

/// What a mapping or a filter depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NatBehavior {
    /// Nothing: mapped alike whoever is spoken to; or let in whoever sends.
    EndpointIndependent,
    /// On the other end's address.
    AddressDependent,
    /// On the other end's address and port.
    AddressAndPortDependent,
    /// On the other end's address, perhaps on its port: what was asked does not tell these apart.
    Dependent,
}

/// What somebody saw a socket as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NatSeen {
    /// The address asked.
    pub server: String,
    /// The socket's address as seen from there. `None`: nothing came back.
    pub reflexive_address: Option<String>,
}

/// How long a mapping lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lifetime {
    /// It was there after so many seconds without a packet. 0: after none that were tried.
    pub at_least: u32,
    /// It was gone after so many. `None`: it outlived all that was tried.
    pub less_than: Option<u32>,
}
