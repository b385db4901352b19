//! Sound and picture that a page sent to the endpoint and got back: what it tells of them, within bounds, and the target that it becomes.
//!
//! The endpoint's own counts come through the page, as its log of packets does: whoever ran the check hands both halves in.

use greenroom_reports::assess::TargetMeta;
use greenroom_reports::schema::{
    Details, Distribution, EchoDetails, EchoHere, EchoLimit, EchoPair, EchoPicture, EchoSource, EchoThere,
    Estimate, Exact, Identity, Reached, SmoothedJitter, Value, WhipMedia,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::read::{DAY_MS, Run, amount, name, number};
use crate::problem::Problem;

/// Most packets and octets of a stream that a run can have.
const MOST_PACKETS: u64 = 1_000_000;
const MOST_OCTETS: u64 = 1_000_000_000;
/// Headers of RTP and SRTP, UDP and IPv4 around a payload, about.
const HEADERS: u64 = 58;

/// What came of it, in the page's words.
#[derive(Debug, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum EchoRun {
    /// The browser cannot.
    NotTested { reason: Untested },
    /// No media flowed, or not to the end.
    Failed { reason: NoMedia },
    /// Media flowed.
    Measured(Box<Counted>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Untested {
    Unsupported,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NoMedia {
    /// The offer was not answered.
    Refused,
    /// The offer was, and nothing came over the connection.
    Unreachable,
    /// It ended before its time.
    Broke,
}

/// What both ends counted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counted {
    setup_ms: f64,
    sent_for_ms: f64,
    streams: Vec<StreamRun>,
    pair: Option<PairRun>,
    available_outgoing_bps: Option<u64>,
    /// As the endpoint wrote it.
    there: EchoThere,
}

/// A stream as the browser counted it (`getStats`).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamRun {
    media: WhipMedia,
    source: EchoSource,
    sent_packets: u64,
    sent_bytes: u64,
    resent_packets: u64,
    received_packets: u64,
    received_bytes: u64,
    lost: u64,
    jitter_ms: Option<f64>,
    /// The mean of so many.
    rtt_ms: Option<f64>,
    rtts: u64,
    picture: Option<PictureRun>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct PictureRun {
    frames: u64,
    width: u32,
    height: u32,
    limited_by: Option<EchoLimit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PairRun {
    local: String,
    remote: String,
    transport: String,
    relay_transport: Option<String>,
    /// The mean of so many.
    rtt_ms: Option<f64>,
    rtts: u64,
}

/// The endpoint as media reached it. `None`: none did.
pub(super) fn of(run: &Run, url: &str) -> Option<TargetMeta> {
    let Some(EchoRun::Measured(counted)) = &run.echo else { return None };
    let transport = counted.pair.as_ref().map_or("unknown", |pair| pair.transport.as_str());
    Some(TargetMeta {
        url: url.replace("greenroom://", "webrtc://"),
        kind: "webrtc".to_owned(),
        reached: Some(Reached {
            transport: transport.to_owned(),
            address: None,
            setup_ms: Some(counted.setup_ms),
            instead_of_udp: None,
        }),
        // Its fingerprint came from this server.
        identity: Some(Identity::Verified),
        failure: None,
        details: Some(Details::Echo(Box::new(counted.details()))),
        in_process: false,
    })
}

/// Octets sent and received at the IP layer, about.
pub(super) fn octets(run: &Run) -> u64 {
    let Some(EchoRun::Measured(counted)) = &run.echo else { return 0 };
    let of = |stream: &StreamRun| {
        let packets = stream.sent_packets + stream.resent_packets + stream.received_packets;
        stream.sent_bytes + stream.received_bytes + packets * HEADERS
    };
    counted.streams.iter().map(of).sum()
}

/// Why there is nothing about media, as the report tells it.
pub(super) fn told(run: &Run) -> Option<(String, serde_json::Value)> {
    let reason = match run.echo.as_ref()? {
        EchoRun::NotTested { reason } => json!(reason),
        EchoRun::Failed { reason } => json!(reason),
        EchoRun::Measured(_) => return None,
    };
    Some(("media_not_tested".to_owned(), reason))
}

impl Counted {
    fn details(&self) -> EchoDetails {
        let untold = "the browser does not tell";
        let pair_rtt = self.pair.as_ref().and_then(|pair| Some((pair.rtt_ms?, pair.rtts)));
        EchoDetails {
            sent_for_ms: self.sent_for_ms,
            here: self.streams.iter().map(StreamRun::counted).collect(),
            there: self.there.clone(),
            pair: self.pair.as_ref().map(|pair| EchoPair {
                local: pair.local.clone(),
                remote: pair.remote.clone(),
                transport: pair.transport.clone(),
                relay_transport: pair.relay_transport.clone(),
            }),
            pair_rtt_ms: pair_rtt.map_or_else(
                || Value::not_tested("no check was answered in the course of the run"),
                |(ms, n)| Value::estimate(ms, n),
            ),
            available_outgoing_bps: self
                .available_outgoing_bps
                .map_or_else(|| Value::not_tested(untold), Value::exact),
        }
    }
}

impl StreamRun {
    fn counted(&self) -> EchoHere {
        EchoHere {
            media: self.media,
            source: self.source,
            sent_packets: self.sent_packets,
            sent_bytes: self.sent_bytes,
            resent_packets: self.resent_packets,
            received_packets: self.received_packets,
            received_bytes: self.received_bytes,
            lost: self.lost,
            jitter_rfc3550_ms: self
                .jitter_ms
                .map_or_else(|| Value::not_tested("nothing came back"), Value::exact),
            rtt_ms: self.rtt_ms.map_or_else(
                || Value::not_tested("no report of the endpoint timed it"),
                |ms| Value::estimate(ms, self.rtts),
            ),
            picture: self.picture.map(|picture| EchoPicture {
                frames: picture.frames,
                width: picture.width,
                height: picture.height,
                limited_by: picture.limited_by,
            }),
        }
    }
}

impl EchoRun {
    /// Looks at what a page tells.
    ///
    /// # Errors
    /// 422, naming the field.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let Self::Measured(counted) = self else { return Ok(()) };
        amount("/echo/setup_ms", counted.setup_ms, DAY_MS)?;
        amount("/echo/sent_for_ms", counted.sent_for_ms, DAY_MS)?;
        count("/echo/available_outgoing_bps", counted.available_outgoing_bps.unwrap_or(0), u64::MAX >> 11)?;
        one_of_each("/echo/streams", counted.streams.iter().map(|stream| stream.media))?;
        counted.streams.iter().try_for_each(StreamRun::check)?;
        if let Some(pair) = &counted.pair {
            for text in [Some(&pair.local), Some(&pair.remote), Some(&pair.transport)]
                .into_iter()
                .chain([pair.relay_transport.as_ref()])
            {
                name("/echo/pair", text.map_or("", String::as_str))?;
            }
            number("/echo/pair/rtt_ms", pair.rtt_ms.unwrap_or(0.0), DAY_MS)?;
            count("/echo/pair/rtts", pair.rtts, MOST_PACKETS)?;
        }
        check_there(&counted.there)
    }
}

impl StreamRun {
    fn check(&self) -> Result<(), Problem> {
        let at = "/echo/streams";
        for n in [self.sent_packets, self.resent_packets, self.received_packets, self.lost, self.rtts] {
            count(at, n, MOST_PACKETS)?;
        }
        for n in [self.sent_bytes, self.received_bytes] {
            count(at, n, MOST_OCTETS)?;
        }
        number("/echo/streams/jitter_ms", self.jitter_ms.unwrap_or(0.0), DAY_MS)?;
        number("/echo/streams/rtt_ms", self.rtt_ms.unwrap_or(0.0), DAY_MS)?;
        count(at, self.picture.map_or(0, |picture| picture.frames), MOST_PACKETS)
    }
}

/// What is to be the endpoint's word is the page's until it fits.
fn check_there(there: &EchoThere) -> Result<(), Problem> {
    let at = "/echo/there";
    one_of_each("/echo/there/received", there.received.iter().map(|stream| stream.media))?;
    one_of_each("/echo/there/returned", there.returned.iter().map(|stream| stream.media))?;
    for stream in &there.received {
        name("/echo/there/received/codec", &stream.codec)?;
        for n in [stream.packets, stream.expected, stream.lost, stream.duplicates, stream.reordered] {
            count(at, n, MOST_PACKETS)?;
        }
        count(at, stream.repairs, MOST_PACKETS)?;
        count(at, stream.bytes, MOST_OCTETS)?;
        estimate(at, &stream.loss_ratio)?;
        smoothed(at, &stream.jitter_rfc3550_ms)?;
    }
    for stream in &there.returned {
        fact(at, &stream.codec, |codec| name(at, codec))?;
        for n in [stream.planned_packets, stream.sent_packets, stream.repairs, stream.reports] {
            count(at, n, MOST_PACKETS)?;
        }
        for n in [stream.expected, stream.lost, stream.nacked_packets, stream.plis, stream.firs] {
            count(at, n, MOST_PACKETS)?;
        }
        count(at, stream.sent_bytes, MOST_OCTETS)?;
        estimate(at, &stream.loss_ratio)?;
        distribution(at, &stream.rtt_ms)?;
        smoothed(at, &stream.jitter_rfc3550_ms)?;
    }
    whole(at, &there.transport_feedback, |told| {
        count(at, told.packets.max(told.lost), MOST_PACKETS)?;
        estimate(at, &told.loss_ratio)?;
        for rate in [&told.estimate_bps, &told.least_estimate_bps] {
            fact(at, rate, |bps| count(at, *bps, u64::MAX >> 11))?;
        }
        Ok(())
    })
}

fn count(pointer: &str, n: u64, most: u64) -> Result<(), Problem> {
    match n <= most {
        true => Ok(()),
        false => Err(Problem::field(pointer, "is more than a run can have")),
    }
}

fn one_of_each(pointer: &str, media: impl Iterator<Item = WhipMedia>) -> Result<(), Problem> {
    let all: Vec<WhipMedia> = media.collect();
    let twice = all.iter().enumerate().any(|(n, one)| all.iter().skip(n + 1).any(|other| other == one));
    match twice {
        false => Ok(()),
        true => Err(Problem::field(pointer, "has a kind of media twice")),
    }
}

/// A figure, or the reason why there is none.
fn whole<T>(
    pointer: &str,
    value: &Value<T>,
    check: impl FnOnce(&T) -> Result<(), Problem>,
) -> Result<(), Problem> {
    match value {
        Value::Measured(value) => check(value),
        Value::NotTested { reason } | Value::Failed { reason } => name(pointer, reason),
    }
}

fn fact<T>(
    pointer: &str,
    value: &Value<Exact<T>>,
    check: impl FnOnce(&T) -> Result<(), Problem>,
) -> Result<(), Problem> {
    whole(pointer, value, |exact| check(&exact.value))
}

fn estimate(pointer: &str, value: &Value<Estimate>) -> Result<(), Problem> {
    whole(pointer, value, |found| {
        let all = [Some(found.value), found.low, found.high];
        all.into_iter().flatten().try_for_each(|share| amount(pointer, share, 1.0))?;
        count(pointer, found.n, MOST_PACKETS)
    })
}

fn smoothed(pointer: &str, value: &Value<SmoothedJitter>) -> Result<(), Problem> {
    whole(pointer, value, |found| {
        [found.last, found.p95, found.max].into_iter().try_for_each(|ms| amount(pointer, ms, DAY_MS))?;
        count(pointer, found.n, MOST_PACKETS)
    })
}

fn distribution(pointer: &str, value: &Value<Distribution>) -> Result<(), Problem> {
    whole(pointer, value, |found| {
        let some = [found.p95, found.p99];
        let all = [found.min, found.p50, found.max].into_iter().chain(some.into_iter().flatten());
        all.into_iter().try_for_each(|ms| amount(pointer, ms, DAY_MS))?;
        count(pointer, found.n, MOST_PACKETS)
    })
}
