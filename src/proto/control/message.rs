//! What the frames say: JSON, except chunks of a half trace, which are octets.

use std::net::IpAddr;

use greenroom_reports::schema::EchoThere;
use greenroom_reports::trace::{Media, StampSource, StreamId};
use greenroom_reports::units::{Bitrate, DataSize, Micros};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::frame::{self, FrameError, RawFrame};
use crate::address::Token;
use crate::proto::capacity::End;
use crate::proto::stamp::{SessionKey, TimestampFormat, WallAnchor};

/// The client's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Versions that the client speaks.
    pub versions: Vec<u16>,
    /// What lets it in. The shell sends it to verified endpoints only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Who asks.
    pub client: ClientInfo,
    /// The most that the client will ask for: admission counts with it.
    pub wants: Limits,
    /// What it would like beyond that for a capacity search. It is let in without as well: the limits it is granted say
    /// what it got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchWish>,
    /// What carries the probes.
    #[serde(default, skip_serializing_if = "ProbeCarrier::is_own_port")]
    pub probes: ProbeCarrier,
}

/// What carries the probes of a session whose control goes over QUIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeCarrier {
    /// UDP to the endpoint's STAMP port.
    #[default]
    OwnPort,
    /// Datagrams of the QUIC connection: where a firewall lets nothing else through.
    QuicDatagrams,
}

impl ProbeCarrier {
    /// Whether it is the endpoint's STAMP port.
    pub fn is_own_port(&self) -> bool {
        *self == Self::OwnPort
    }
}

/// Rates up to which a client would like to search the capacity, in place of those that it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchWish {
    /// Bits per second at the IP layer, each way.
    pub max_bitrate_bps: Bitrate,
    /// Packets per second, each way.
    pub max_pps: u32,
}

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// Name of the program.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Bounds of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bits per second at the IP layer, each way.
    pub max_bitrate_bps: Bitrate,
    /// Packets per second, each way.
    pub max_pps: u32,
    /// How long the session may last.
    pub max_duration_us: Micros,
}

/// The endpoint's consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// The version chosen.
    pub version: u16,
    /// Names the session in logs and on the control stream.
    pub session: String,
    /// Names the session in STAMP packets. Never 0.
    pub ssid: u16,
    /// Authenticates its packets.
    pub key: SessionKey,
    /// Where STAMP packets go. `None`: the address that the control stream goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp_addr: Option<IpAddr>,
    /// UDP port for STAMP packets.
    pub stamp_port: u16,
    /// Whether the client may begin at once: what carries its packets has shown its address already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub validated: bool,
    /// What the endpoint admits: at most what was asked for.
    pub limits: Limits,
    /// The endpoint's wall clock at zero of the session's clock: reads T2, T3 and the half trace.
    pub anchor_unix_us: WallAnchor,
    /// How T2 and T3 are written.
    pub timestamps: TimestampFormat,
    /// Who stamps at the endpoint.
    pub stamps: StampSources,
    /// Who answers.
    pub endpoint: EndpointInfo,
}

/// Who takes an end's time stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StampSources {
    /// Departures.
    pub tx: StampSource,
    /// Arrivals.
    pub rx: StampSource,
}

/// Who an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointInfo {
    /// Name of the program.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The endpoint's refusal; it closes the stream after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// Why.
    pub code: RefuseCode,
    /// The same in words, for support.
    pub say: String,
    /// When to ask again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_us: Option<Micros>,
}

/// Why an endpoint refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefuseCode {
    /// It asks for a token and none came.
    TokenRequired,
    /// The token is not one of its own.
    WrongToken,
    /// No version in common.
    Version,
    /// All its sessions are taken.
    Busy,
    /// This client's network has used up its share.
    Quota,
    /// The rate asked for is beyond what it has left.
    Rate,
    /// It is about to stop.
    Draining,
    /// The session has reached its end.
    Expired,
    /// It could not make sense of what came.
    BadRequest,
    /// A code of a later version.
    #[serde(other)]
    Other,
}

/// Asks for a media stream down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartStream {
    /// Names it; unique in the session, not the audio stream's.
    pub stream: StreamId,
    /// What it imitates.
    pub media: Media,
    /// Nominal rate at the IP layer.
    pub rate_bps: Bitrate,
    /// How long it lasts unless stopped.
    pub duration_us: Micros,
    /// Makes its key frames and its start phase repeatable.
    pub seed: u64,
}

/// Ends a stream down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopStream {
    /// Which.
    pub stream: StreamId,
}

/// Asks for a capacity search down: the endpoint sends load, the client reports what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartCapacity {
    /// Names its stream; unique in the session, not the audio stream's.
    pub stream: StreamId,
    /// The highest rate that is worth knowing, at the IP layer.
    pub ceiling_bps: Bitrate,
    /// Bytes that the search may spend.
    pub budget_bytes: DataSize,
    /// How long it may last.
    pub duration_us: Micros,
}

/// How a capacity search down ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityResult {
    /// The stream of the search.
    pub stream: StreamId,
    /// The greatest rate received over a window that met the bounds, at the IP layer.
    pub capacity_bps: Bitrate,
    /// Whether the link may carry more.
    pub at_least: bool,
    /// What ended it.
    pub end: End,
}

/// The client has sent everything and waited for stragglers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Finish {}

/// The endpoint's log has been sent whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Finished {
    /// Records that did not fit into the log's bound and are missing from it.
    #[serde(default)]
    pub dropped_records: u64,
    /// How often the client's address changed during the session, as the endpoint saw it.
    #[serde(default)]
    pub address_changes: u32,
}

/// Asks for the same frame back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Comes back as it went.
    pub id: u64,
    /// Whether this is the answer.
    pub reply: bool,
}

/// Something went wrong after the session was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// What.
    pub code: RefuseCode,
    /// The same in words, for support.
    pub say: String,
    /// The stream concerned, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
}

/// One frame of the control protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Type 1, client to endpoint.
    Hello(Hello),
    /// Type 2, endpoint to client.
    Accept(Box<Accept>),
    /// Type 3, endpoint to client.
    Refuse(Refuse),
    /// Type 4, client to endpoint.
    StartStream(StartStream),
    /// Type 5, client to endpoint.
    StopStream(StopStream),
    /// Type 6, client to endpoint.
    Finish(Finish),
    /// Type 7, endpoint to client.
    Finished(Finished),
    /// Type 8, both ways.
    Ping(Ping),
    /// Type 9, both ways.
    Error(ControlError),
    /// Type 10, client to endpoint.
    StartCapacity(StartCapacity),
    /// Type 11, endpoint to client.
    CapacityResult(CapacityResult),
    /// Type 12, endpoint to client: what it counted of RTP, and was told of what it sent back.
    Echoed(Box<EchoThere>),
    /// Type 16, endpoint to client: a chunk of its half of the trace, in the encoding of `greenroom_reports::trace`.
    HalfTrace(Vec<u8>),
    /// A type of a later version: skip it.
    Unknown(u8),
}

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Its payload is not what its type promises.
    #[error("a control frame of type {kind} does not read: {source}")]
    Payload {
        /// The frame's type.
        kind: u8,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It does not fit.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Frame {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// [`MessageError::Payload`].
    pub fn parse(raw: RawFrame<'_>) -> Result<Self, MessageError> {
        Ok(match raw.kind {
            1 => Self::Hello(json(raw)?),
            2 => Self::Accept(Box::new(json(raw)?)),
            3 => Self::Refuse(json(raw)?),
            4 => Self::StartStream(json(raw)?),
            5 => Self::StopStream(json(raw)?),
            6 => Self::Finish(json(raw)?),
            7 => Self::Finished(json(raw)?),
            8 => Self::Ping(json(raw)?),
            9 => Self::Error(json(raw)?),
            10 => Self::StartCapacity(json(raw)?),
            11 => Self::CapacityResult(json(raw)?),
            12 => Self::Echoed(Box::new(json(raw)?)),
            16 => Self::HalfTrace(raw.payload.to_vec()),
            kind => Self::Unknown(kind),
        })
    }

    /// Appends the frame. [`Frame::Unknown`] writes an empty frame of its type.
    ///
    /// # Errors
    ///
    /// [`MessageError::Frame`] when it is longer than [`super::MAX_FRAME_LEN`]; nothing is written then.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), MessageError> {
        match self {
            Self::Hello(m) => write_json(1, m, out),
            Self::Accept(m) => write_json(2, m, out),
            Self::Refuse(m) => write_json(3, m, out),
            Self::StartStream(m) => write_json(4, m, out),
            Self::StopStream(m) => write_json(5, m, out),
            Self::Finish(m) => write_json(6, m, out),
            Self::Finished(m) => write_json(7, m, out),
            Self::Ping(m) => write_json(8, m, out),
            Self::Error(m) => write_json(9, m, out),
            Self::StartCapacity(m) => write_json(10, m, out),
            Self::CapacityResult(m) => write_json(11, m, out),
            Self::Echoed(m) => write_json(12, m, out),
            Self::HalfTrace(chunk) => Ok(frame::write(16, chunk, out)?),
            Self::Unknown(kind) => Ok(frame::write(*kind, &[], out)?),
        }
    }
}

fn json<T: DeserializeOwned>(raw: RawFrame<'_>) -> Result<T, MessageError> {
    serde_json::from_slice(raw.payload).map_err(|source| MessageError::Payload { kind: raw.kind, source })
}

fn write_json<T: Serialize>(kind: u8, message: &T, out: &mut Vec<u8>) -> Result<(), MessageError> {
    let payload = serde_json::to_vec(message).map_err(|source| MessageError::Payload { kind, source })?;
    Ok(frame::write(kind, &payload, out)?)
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::Value;

    use super::super::Decoder;
    use super::*;

    const LIMITS: Limits = Limits {
        max_bitrate_bps: Bitrate::from_kbps(8_000),
        max_pps: 1_000,
        max_duration_us: Micros::from_secs(60),
    };

    fn every_frame() -> Vec<Frame> {
        vec![
            Frame::Hello(Hello {
                versions: vec![1],
                token: Token::new("s3cret"),
                client: ClientInfo { name: "greenroom".into(), version: "0.1.0".into() },
                wants: LIMITS,
                search: Some(SearchWish { max_bitrate_bps: Bitrate::from_kbps(1_000_000), max_pps: 120_000 }),
                probes: ProbeCarrier::QuicDatagrams,
            }),
            Frame::Accept(Box::new(Accept {
                version: 1,
                session: "01-a".into(),
                ssid: 7,
                key: SessionKey::new([0xab; 32]),
                stamp_addr: None,
                stamp_port: 7444,
                validated: true,
                limits: LIMITS,
                anchor_unix_us: WallAnchor::from_unix_micros(1_795_000_000_000_000),
                timestamps: TimestampFormat::Ntp,
                stamps: StampSources { tx: StampSource::Kernel, rx: StampSource::Kernel },
                endpoint: EndpointInfo { name: "greenroom".into(), version: "0.1.0".into() },
            })),
            Frame::Refuse(Refuse {
                code: RefuseCode::Busy,
                say: "all 64 sessions are taken".into(),
                retry_after_us: Some(Micros::from_secs(5)),
            }),
            Frame::StartStream(StartStream {
                stream: StreamId(2),
                media: Media::Video,
                rate_bps: Bitrate::from_kbps(1_500),
                duration_us: Micros::from_secs(2),
                seed: u64::MAX,
            }),
            Frame::StopStream(StopStream { stream: StreamId(2) }),
            Frame::Finish(Finish {}),
            Frame::Finished(Finished { dropped_records: 3, address_changes: 1 }),
            Frame::Ping(Ping { id: 9, reply: false }),
            Frame::Error(ControlError {
                code: RefuseCode::Rate,
                say: "no".into(),
                stream: Some(StreamId(2)),
            }),
            Frame::StartCapacity(StartCapacity {
                stream: StreamId(3),
                ceiling_bps: Bitrate::from_kbps(100_000),
                budget_bytes: DataSize::from_bytes(40_000_000),
                duration_us: Micros::from_secs(5),
            }),
            Frame::CapacityResult(CapacityResult {
                stream: StreamId(3),
                capacity_bps: Bitrate::from_kbps(48_000),
                at_least: false,
                end: End::Converged,
            }),
            Frame::Echoed(Box::new(EchoThere {
                received: Vec::new(),
                returned: Vec::new(),
                transport_feedback: Value::not_tested("nothing was sent"),
            })),
            Frame::HalfTrace(vec![0, 1, 255]),
            Frame::Unknown(200),
        ]
    }

    #[test]
    fn every_frame_survives_the_stream() {
        let mut wire = Vec::new();
        for frame in every_frame() {
            frame.write(&mut wire).expect("fits");
        }
        let mut decoder = Decoder::new();
        decoder.push(&wire);
        for frame in every_frame() {
            let raw = decoder.next_frame().expect("well formed").expect("whole");
            assert_eq!(Frame::parse(raw).expect("reads"), frame);
        }
        assert!(decoder.is_at_boundary());
    }

    #[test]
    fn secrets_do_not_print() {
        let text = format!("{:?}", every_frame());
        assert!(!text.contains("s3cret") && !text.contains("abab") && !text.contains("171"), "{text}");
        assert!(text.contains("Token(..)") && text.contains("SessionKey(..)"));
    }

    #[test]
    fn a_bad_key_is_refused_without_being_repeated() {
        let mut wire = Vec::new();
        every_frame()[1].write(&mut wire).expect("fits");
        let text = String::from_utf8(wire[5..].to_vec()).expect("JSON").replace(&"ab".repeat(32), "deadbeef");
        let error = Frame::parse(RawFrame { kind: 2, payload: text.as_bytes() }).expect_err("short key");
        assert!(!error.to_string().contains("deadbeef"), "{error}");
    }

    #[test]
    fn later_versions_may_add() {
        let raw = RawFrame { kind: 8, payload: br#"{"id":1,"reply":true,"added":{"x":[1]}}"# };
        assert_eq!(Frame::parse(raw).expect("reads"), Frame::Ping(Ping { id: 1, reply: true }));
        let raw = RawFrame { kind: 3, payload: br#"{"code":"moon_phase","say":"later"}"# };
        let Frame::Refuse(refuse) = Frame::parse(raw).expect("reads") else { panic!("a refusal") };
        assert_eq!(refuse.code, RefuseCode::Other);
    }

    #[test]
    fn payloads_of_the_wrong_shape_are_errors() {
        for (kind, payload) in
            [(1, "{}"), (2, "[]"), (4, "\"x\""), (8, "{\"id\":-1,\"reply\":true}"), (6, "")]
        {
            assert!(
                Frame::parse(RawFrame { kind, payload: payload.as_bytes() }).is_err(),
                "{kind} {payload}"
            );
        }
    }
}
