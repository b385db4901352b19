//! Control protocol v1: what client and endpoint say to each other beside the packets that are measured.
//!
//! It runs over any reliable, ordered byte stream: a QUIC bidirectional stream (ALPN `greenroom/1`) or the binary messages of
//! a WebSocket. `docs/PROTOCOL.md` describes it for whoever implements the other side.
//!
//! ```text
//! client                                endpoint
//!   Hello  ──────────────────────────────▶        versions, token, client name
//!          ◀──────────────────────── Accept        session, key, STAMP address, limits   (or Refuse, and the end)
//!   StartStream ─────────────────────────▶        a stream down; media streams up need no announcement
//!   StartCapacity ───────────────────────▶        a capacity search down; one up needs no announcement
//!          ◀──────────────── CapacityResult        when it has ended
//!          ◀─────────────── HalfTrace chunks        every 100 ms: the endpoint's log so far
//!   Finish ──────────────────────────────▶        everything is sent and awaited
//!          ◀──── Echoed, HalfTrace, Finished        what became of RTP, where there was some; the rest of the log
//! ```
//!
//! # Versions
//!
//! [`Hello`] lists the versions that the client speaks, [`Accept`] names the one chosen. Within a version, fields may be added:
//! unknown fields are ignored, unknown frame types too ([`Frame::Unknown`]). What changes a meaning makes a new version.

mod frame;
mod message;

pub use frame::{Decoder, FrameError, MAX_FRAME_LEN, RawFrame};
pub use message::{
    Accept, CapacityResult, ClientInfo, ControlError, EndpointInfo, Finish, Finished, Frame, Hello, Limits,
    MessageError, Ping, ProbeCarrier, Refuse, RefuseCode, SearchWish, StampSources, StartCapacity,
    StartStream, StopStream,
};

/// The version that this code speaks.
pub const VERSION: u16 = 1;

/// The name under which QUIC and TLS negotiate the protocol.
pub const ALPN: &[u8] = b"greenroom/1";
