//! STAMP packets (RFC 8762) with their TLVs (RFC 8972), and the private TLVs that Greenroom adds.
//!
//! | module | what it is |
//! |---|---|
//! | [`time`] | wire timestamps (NTP and truncated PTPv2) and error estimates |
//! | [`packet`] | the fixed part of a packet: 44 octets open, 112 authenticated |
//! | [`tlv`] | what may follow it |
//! | [`capacity`] | the report of a capacity stage |
//! | [`auth`] | HMAC-SHA-256 truncated to 128 bits, one key per direction |
//!
//! # Trust
//!
//! Every parser takes a peer's bytes: it returns an error or `None` on anything that does not fit, never panics and never
//! allocates.
//!
//! # Sizes
//!
//! A reply is exactly as long as the request. The reflector rewrites a request in place and cannot grow it.

pub mod auth;
pub mod capacity;
pub mod packet;
pub mod time;
pub mod tlv;

pub use auth::{MacKey, SessionKey};
pub use capacity::CapacityReport;
pub use packet::{Mode, PacketError, ReflectorPacket, SenderPacket};
pub use time::{ErrorEstimate, Timestamp, TimestampFormat, WallAnchor};
pub use tlv::{
    ClassOfService, FollowUp, MediaKind, MediaTlv, NonceKind, NonceTlv, RawTlv, TimestampInfo, TlvFlags,
    TlvKind, TlvWriter, Tlvs,
};

/// UDP port that IANA assigned to STAMP (RFC 8762 §4.1).
pub const STAMP_PORT: u16 = 862;

/// Reads `N` octets at `at`; `None` past the end.
pub(crate) fn octets<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
