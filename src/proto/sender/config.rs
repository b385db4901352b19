//! What a sender is told, and what it tells beside its log.

use std::net::SocketAddr;

use greenroom_reports::trace::{ClockInfo, StreamId};
use greenroom_reports::units::Micros;

use crate::proto::stamp::{SessionKey, TimestampFormat, WallAnchor};

/// What a sender is told.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// Where STAMP packets go.
    pub reflector: SocketAddr,
    /// Names the session in them.
    pub ssid: u16,
    /// Authenticates them.
    pub key: SessionKey,
    /// This end's wall clock at zero of the machine's clock.
    pub anchor_here: WallAnchor,
    /// The reflector's wall clock at zero of the session's clock.
    pub anchor_there: WallAnchor,
    /// How T2 and T3 are written.
    pub timestamps_there: TimestampFormat,
    /// How this end's points are taken: goes into the log.
    pub clock: ClockInfo,
    /// How long to try to reach the reflector.
    pub validate_until: Micros,
    /// The audio stream.
    pub audio: AudioPlan,
    /// How long to wait for what is still on its way after the last packet.
    pub straggler_wait: Micros,
}

/// The audio stream: 50 packets a second from shortly after validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioPlan {
    /// Time from validation to the first packet. Random below 20 ms, so that the stream does not beat with periodic events
    /// of the network (RFC 3432 §3).
    pub start_phase: Micros,
    /// How long it lasts unless [`super::Sender::finish`] comes first.
    pub duration: Micros,
    /// DSCP and ECN to send with, and the DSCP to ask of the reflector (the TOS or traffic-class octet).
    pub tos: u8,
}

impl AudioPlan {
    /// Packets in the whole of it.
    pub fn packets(&self) -> u32 {
        u32::try_from(self.duration.get().max(0) / super::AUDIO_INTERVAL.get()).unwrap_or(u32::MAX)
    }
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SenderState {
    /// The reflector has not answered yet.
    Validating,
    /// It never did. Final.
    Unreachable,
    /// Audio flows, media may be started.
    Running,
    /// Everything is sent; stragglers are awaited.
    Draining,
    /// Final.
    Finished,
}

/// Datagrams that arrived and did not enter the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SenderCounters {
    /// From an address other than the reflector's, not authenticated.
    pub foreign: u64,
    /// Authenticated, but from another address: the reflector has moved, or sits behind more than one.
    pub moved: u64,
    /// From the reflector's address, but not authenticated. Also counted as `corrupt` in the audio log.
    pub forged: u64,
    /// Longer than anything that was asked for.
    pub oversized: u64,
    /// Copies beyond what a network makes, or far too old.
    pub replayed: u64,
    /// Authenticated, but answering what was never sent, or of another session, or of a stream in the other direction.
    pub unexpected: u64,
    /// Replies whose times cannot be true: sent before they were received, or held longer than the whole round trip. They
    /// are in the log; whoever judges must not trust this endpoint's clock.
    pub implausible: u64,
    /// Validation probes that were answered.
    pub probes_answered: u64,
    /// The error number with which the system refused to send a validation probe, the latest one.
    pub probe_error: Option<i32>,
}

/// Why a stream could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    /// The session is not running.
    #[error("the session is not running: streams start after validation and before the end")]
    NotRunning,
    /// The id is taken.
    #[error("stream {} exists already", .0.0)]
    StreamExists(StreamId),
    /// One search at a time.
    #[error("a capacity search is under way")]
    SearchRuns,
    /// There are as many as a session may have.
    #[error("a session may have 32 streams")]
    TooManyStreams,
}
