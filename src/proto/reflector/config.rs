//! What a reflector and its sessions are told, and what they tell.

use std::net::SocketAddr;

use greenroom_reports::trace::{ClockInfo, StreamId};
use greenroom_reports::units::{Bitrate, Micros};

use crate::proto::stamp::{SessionKey, TimestampFormat, WallAnchor};

/// Whether unauthenticated STAMP from anybody is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenStamp {
    /// No.
    #[default]
    Off,
    /// Yes, with the sender's own numbers.
    Stateless,
    /// Yes, with numbers counted per sender, so that loss is known per direction.
    Stateful,
}

/// What a reflector is told.
#[derive(Clone)]
pub struct ReflectorConfig {
    /// Wall clock at zero of the machine's clock.
    pub anchor: WallAnchor,
    /// How T2 and T3 are written.
    pub timestamps: TimestampFormat,
    /// Who stamps: goes into the logs.
    pub clock: ClockInfo,
    /// Random; makes nonces. Never shown by `Debug`.
    pub secret: [u8; 32],
    /// Unauthenticated STAMP.
    pub open: OpenStamp,
    /// Records that a session may log between two drains.
    pub log_cap: usize,
}

impl std::fmt::Debug for ReflectorConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReflectorConfig")
            .field("anchor", &self.anchor)
            .field("timestamps", &self.timestamps)
            .field("clock", &self.clock)
            .field("open", &self.open)
            .field("log_cap", &self.log_cap)
            .finish_non_exhaustive()
    }
}

/// What a session is told.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Names it in packets. Not 0.
    pub ssid: u16,
    /// Authenticates its packets.
    pub key: SessionKey,
    /// From here on nothing is answered, on the machine's clock.
    pub expires: Micros,
    /// Replies per second at most, and packets of a capacity search.
    pub max_pps: u32,
    /// Bits per second down at most, at the IP layer, over all its media streams and its capacity search.
    pub max_bitrate: Bitrate,
}

/// Why a session or a stream could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The SSID is in use, or 0.
    #[error("SSID {0} is taken")]
    SsidTaken(u16),
    /// There is no such session.
    #[error("there is no session with SSID {0}")]
    Unknown(u16),
    /// The id is in use, or the audio stream's.
    #[error("stream {} exists already", .0.0)]
    StreamExists(StreamId),
    /// There are as many as a session may have.
    #[error("a session may have 32 streams")]
    TooManyStreams,
    /// The client has not echoed a nonce yet.
    #[error("the client's address is not validated yet")]
    NotValidated,
    /// One search at a time.
    #[error("a capacity search is under way")]
    SearchRuns,
    /// It would take the session beyond its rate.
    #[error("the stream would take the session beyond its rate")]
    Rate,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionStatus {
    /// The address that has echoed its nonce.
    pub validated: Option<SocketAddr>,
    /// When a packet of it, not a replay, last arrived, on the machine's clock.
    pub last_heard: Option<Micros>,
    /// When it ends, on the machine's clock.
    pub expires: Micros,
    /// Wall clock at zero of the session's clock: for the control protocol's `accept`.
    pub anchor: WallAnchor,
    /// Records that did not fit into the log.
    pub dropped_records: u64,
    /// How often the client's address has changed after it was first validated.
    pub address_changes: u32,
    /// Media streams down that still send.
    pub streams_down: usize,
}

/// What came and was not answered, over all sessions; and what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReflectorCounters {
    /// Replies handed to the driver.
    pub replies: u64,
    /// Of no session, or too short for one.
    pub unknown: u64,
    /// Of a session, but not authenticated.
    pub forged: u64,
    /// Longer than any STAMP packet of ours.
    pub oversized: u64,
    /// Copies beyond what a network makes, or far too old.
    pub replayed: u64,
    /// Of a session that has expired.
    pub expired: u64,
    /// Authenticated, but nothing that a client sends.
    pub unexpected: u64,
    /// Beyond the session's rate of packets: not answered.
    pub throttled: u64,
    /// Not answered because too many replies were waiting.
    pub overflowed: u64,
}
