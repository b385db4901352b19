//! What a browser's sound and picture told that went to an endpoint and came back, on the way that media of a call take (RTP over WebRTC).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Estimate, Exact, SmoothedJitter, Value, WhipMedia, WhipStream, WhipTransport};

/// What sound and picture told that went to an endpoint and back.
///
/// The endpoint counts what comes and sends it back under numbers of its own, without gaps: so each direction is known by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoDetails {
    /// How long was sent, in milliseconds.
    pub sent_for_ms: f64,
    /// What the browser counted of each stream (`getStats`).
    pub here: Vec<EchoHere>,
    /// What the endpoint counted and was told.
    pub there: EchoThere,
    /// The kinds of address that media went between.
    pub pair: Option<EchoPair>,
    /// Mean round trip of the checks of that pair meanwhile (STUN, RFC 7675).
    pub pair_rtt_ms: Value<Estimate>,
    /// The rate that the browser's congestion control would send at, at the end. What is sent bounds it.
    pub available_outgoing_bps: Value<Exact<u64>>,
}

/// What the browser counted of a stream that it sent and got back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoHere {
    /// What it is.
    pub media: WhipMedia,
    /// Where it came from.
    pub source: EchoSource,
    /// Packets sent, without those sent again.
    pub sent_packets: u64,
    /// Octets of payload in all that was sent.
    pub sent_bytes: u64,
    /// Packets sent again because the endpoint asked, or as padding (RTX, RFC 4588).
    pub resent_packets: u64,
    /// Packets that came back, copies left out.
    pub received_packets: u64,
    /// Octets of payload in them.
    pub received_bytes: u64,
    /// Packets missing among those, by the endpoint's numbers.
    pub lost: u64,
    /// Interarrival jitter of what came back, at the end (RFC 3550 A.8).
    pub jitter_rfc3550_ms: Value<Exact<f64>>,
    /// Round trip by the endpoint's reports (RFC 3550 section 6.4.1: LSR, DLSR), the mean.
    pub rtt_ms: Value<Estimate>,
    /// Pictures sent, and the size of the last one. `None`: sound has none.
    pub picture: Option<EchoPicture>,
}

/// Pictures that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoPicture {
    /// How many.
    pub frames: u64,
    /// Pixels in a line of the last one.
    pub width: u32,
    /// Its lines.
    pub height: u32,
    /// What kept them smaller or fewer than they could be, at the end. `None`: not every browser tells.
    pub limited_by: Option<EchoLimit>,
}

/// What keeps a browser from sending better pictures (`qualityLimitationReason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EchoLimit {
    /// Nothing.
    None,
    /// This computer does not encode faster.
    Cpu,
    /// The rate that the way carries, as the browser estimates it. It begins low.
    Bandwidth,
    /// Something else.
    Other,
}

/// Where a stream came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EchoSource {
    /// The microphone or camera that was checked.
    Device,
    /// A tone, or drawn pictures.
    Synthetic,
}

/// The kinds of address that media went between, without the addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoPair {
    /// The browser's: `host`, `srflx`, `prflx`, `relay` (RFC 8839).
    pub local: String,
    /// The endpoint's.
    pub remote: String,
    /// `udp`, `tcp`.
    pub transport: String,
    /// By what the browser reaches its relay: `udp`, `tcp`, `tls`. `None`: there is none.
    pub relay_transport: Option<String>,
}

/// What the endpoint counted, and was told of what it sent back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoThere {
    /// The streams as they came.
    pub received: Vec<EchoReceived>,
    /// The streams as they were sent back, and what the browser reported of them (RTCP). Fewer were sent than planned where the session's
    /// rates were reached.
    pub returned: Vec<WhipStream>,
    /// What the browser said of every single packet that was sent back (transport-wide congestion control).
    pub transport_feedback: Value<WhipTransport>,
}

/// A stream as it came, counted by sequence numbers (RFC 3550).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoReceived {
    /// What it is.
    pub media: WhipMedia,
    /// The codec that was agreed on: `opus/48000`.
    pub codec: String,
    /// Packets that came, copies and those sent again left out.
    pub packets: u64,
    /// Octets of RTP payload in them.
    pub bytes: u64,
    /// Packets sent, by the numbers of the first and the last one that came.
    pub expected: u64,
    /// Those of them that did not come.
    pub lost: u64,
    /// Packets that came once more.
    pub duplicates: u64,
    /// Packets that came behind one that was sent after them.
    pub reordered: u64,
    /// Packets of its repair stream (RTX, RFC 4588): sent again because this end asked, or padding.
    pub repairs: u64,
    /// Lost, of those expected; bursts are known.
    pub loss_ratio: Value<Estimate>,
    /// Interarrival jitter (RFC 3550 A.8). A picture's packets have one RTP time and leave one after the other: that much of a picture's
    /// jitter is made by the sender.
    pub jitter_rfc3550_ms: Value<SmoothedJitter>,
}
