//! What publishing to a WebRTC server by WHIP told (RFC 9725): each step, the way that media took, and what the server said of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::tidy;
use super::{Distribution, Estimate, Exact, Redirect, Security, SmoothedJitter, Value};
use crate::confidence::{LEVEL, proportion};
use crate::metrics::percentile::Sorted;
use crate::units::Micros;

/// What publishing to a WebRTC server told.
///
/// The media go one way, to the server. What became of them is the server's word (RTCP, RFC 3550 section 6.4): how many packets it
/// misses, not which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhipDetails {
    /// How long each step took.
    pub steps: WhipSteps,
    /// Where the offer was sent on to, in order.
    pub redirects: Vec<Redirect>,
    /// The STUN and TURN servers that the server names (Link, RFC 9725 section 4.6), without credentials. They are told, not used.
    pub ice_servers: Vec<String>,
    /// Whether the server took the end of the session (DELETE, RFC 9725 section 4.2).
    pub ended: Value<Exact<bool>>,
    /// How the session ended before its time, if it did.
    pub broke_off: Option<String>,
    /// The addresses that the server named for media.
    pub candidates: Vec<WhipCandidate>,
    /// The pair of addresses that media took.
    pub pair: Value<WhipPair>,
    /// Round trips of the checks that keep that pair alive (STUN, RFC 7675).
    pub pair_rtt_ms: Value<Distribution>,
    /// What was sent, and what the server said of it.
    pub streams: Vec<WhipStream>,
    /// What the server said of every single packet (transport-wide congestion control).
    pub transport_feedback: Value<WhipTransport>,
    /// The rate that the server allows (REMB), the last word.
    pub remb_bps: Value<Exact<u64>>,
    /// What was agreed on for signaling, and the certificate. `not_tested` over an unencrypted connection, which only leads to this
    /// computer.
    pub security: Value<Security>,
}

/// How long each step of publishing took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhipSteps {
    /// Connecting to the web server by TCP, or to the proxy.
    pub connect_ms: Value<Exact<f64>>,
    /// The TLS handshake.
    pub handshake_ms: Value<Exact<f64>>,
    /// From the offer to the answer (201), with the redirections on the way.
    pub answer_ms: Value<Exact<f64>>,
    /// From the answer to a pair of addresses that works (ICE).
    pub ice_ms: Value<Exact<f64>>,
    /// From there to the keys of the media (DTLS).
    pub dtls_ms: Value<Exact<f64>>,
    /// From the first packet of media to the first word about media from the server (RTCP).
    pub first_feedback_ms: Value<Exact<f64>>,
    /// All of it but the feedback: how long a person waits for a call.
    pub total_ms: Value<Exact<f64>>,
}

/// An address for media.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhipCandidate {
    /// `udp`, `tcp`.
    pub transport: String,
    /// `host`, `srflx`, `prflx`, `relay` (RFC 8839).
    pub kind: String,
    /// Address and port, or a name that only the local network knows.
    pub address: String,
}

/// The two ends of the way that media took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhipPair {
    /// This end.
    pub local: WhipCandidate,
    /// The server's end.
    pub remote: WhipCandidate,
}

/// What a stream of media is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhipMedia {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

/// A stream of media that was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhipStream {
    /// What it is.
    pub media: WhipMedia,
    /// The codec agreed on: `opus/48000`.
    pub codec: Value<Exact<String>>,
    /// Packets that were to be sent.
    pub planned_packets: u64,
    /// Packets sent, without those sent again.
    pub sent_packets: u64,
    /// Octets of RTP in them, header and payload.
    pub sent_bytes: u64,
    /// Packets of its repair stream (RTX, RFC 4588): sent again because the server asked, or as padding by which the congestion control
    /// keeps its estimate.
    pub repairs: u64,
    /// Receiver reports about it.
    pub reports: u64,
    /// Packets that the server expected by its last report.
    pub expected: u64,
    /// Those that it missed: its cumulative number of packets lost, 0 where duplicates outnumber them.
    pub lost: u64,
    /// Missed, of those expected. The interval takes the spread from report to report into account, which knows more of bursts than the sum
    /// and less than a log of packets would.
    pub loss_ratio: Value<Estimate>,
    /// Round trips by its reports (RFC 3550 section 6.4.1: LSR, DLSR): the server's hold is taken out, its own word.
    pub rtt_ms: Value<Distribution>,
    /// Interarrival jitter as the server computes it (RFC 3550 A.8), one value per report. A picture's packets have one RTP time and leave one
    /// after the other: that much of a picture's jitter is made here.
    pub jitter_rfc3550_ms: Value<SmoothedJitter>,
    /// Packets that it asked to have again (NACK, RFC 4585).
    pub nacked_packets: u64,
    /// Pictures that it asked for (PLI, RFC 4585).
    pub plis: u64,
    /// Pictures that it asked for in the older way (FIR, RFC 5104).
    pub firs: u64,
}

/// What transport-wide feedback told (draft-holmer-rmcat-transport-wide-cc-extensions).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhipTransport {
    /// Packets that it spoke of.
    pub packets: u64,
    /// Those that did not arrive.
    pub lost: u64,
    /// Missed, of those spoken of; bursts are known.
    pub loss_ratio: Value<Estimate>,
    /// The rate that this end may send at, as Google's congestion control estimates it from this feedback: the last value. It is bounded by
    /// little more than what is sent, so it says whether the path carries that, and not how much more.
    pub estimate_bps: Value<Exact<u64>>,
    /// The least value in the course of the run.
    pub least_estimate_bps: Value<Exact<u64>>,
}

/// One interval between receiver reports: packets expected and missed in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedLoss {
    /// Expected.
    pub expected: u64,
    /// Missed.
    pub lost: u64,
}

/// The share lost by counts of intervals: Wilson's interval on counts divided by the overdispersion of the intervals (Pearson's
/// χ² over its degrees of freedom, at least 1).
pub fn reported_loss(intervals: &[ReportedLoss]) -> Option<Estimate> {
    let expected: u64 = intervals.iter().map(|interval| interval.expected).sum();
    let lost: u64 = intervals.iter().map(|interval| interval.lost).sum::<u64>().min(expected);
    if expected == 0 {
        return None;
    }
    let shown = proportion::wilson_scaled(lost, expected, overdispersion(intervals), LEVEL);
    let value = real(lost) / real(expected);
    Some(Estimate {
        value: tidy(value),
        low: Some(tidy(shown.low)),
        high: Some(tidy(shown.high)),
        n: expected,
    })
}

/// How much more the intervals differ than they would by chance: 1 for independent losses.
fn overdispersion(intervals: &[ReportedLoss]) -> f64 {
    let full: Vec<_> = intervals.iter().filter(|interval| interval.expected > 0).collect();
    let expected: f64 = full.iter().map(|interval| real(interval.expected)).sum();
    let share = full.iter().map(|interval| real(interval.lost)).sum::<f64>() / expected;
    if full.len() < 2 || share <= 0.0 || share >= 1.0 {
        return 1.0;
    }
    let chi2: f64 = full
        .iter()
        .map(|interval| {
            let mean = real(interval.expected) * share;
            (real(interval.lost) - mean).powi(2) / (mean * (1.0 - share))
        })
        .sum();
    let degrees = u64::try_from(full.len() - 1).unwrap_or(u64::MAX);
    (chi2 / real(degrees)).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of packets")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Times as a distribution, or the reason why there is none.
pub fn times(sample: Vec<Micros>, missing: &str) -> Value<Distribution> {
    Distribution::of(&Sorted::new(sample)).map_or_else(|| Value::failed(missing), Value::Measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(expected: u64, lost: u64) -> ReportedLoss {
        ReportedLoss { expected, lost }
    }

    #[test]
    fn loss_is_told_with_an_interval_that_bursts_widen() {
        assert_eq!(reported_loss(&[]), None);
        assert_eq!(reported_loss(&[at(0, 0)]), None);
        let even = reported_loss(&[at(50, 5); 10]).unwrap();
        assert_eq!((even.value, even.n), (0.1, 500));
        let (low, high) = (even.low.unwrap(), even.high.unwrap());
        assert!(low > 0.07 && high < 0.14, "{even:?}");
        let mut burst = [at(50, 0); 10];
        burst[3] = at(50, 50);
        let burst = reported_loss(&burst).unwrap();
        assert_eq!(burst.value, 0.1);
        assert!(burst.low.unwrap() < low && burst.high.unwrap() > high + 0.1, "{burst:?}");
    }

    #[test]
    fn nothing_lost_and_everything_lost_keep_their_ends() {
        let clean = reported_loss(&[at(100, 0), at(100, 0)]).unwrap();
        assert_eq!((clean.value, clean.low), (0.0, Some(0.0)));
        assert!(clean.high.unwrap() > 0.0);
        // A server that says that it missed more than it expected is not believed beyond all.
        let all = reported_loss(&[at(100, 300)]).unwrap();
        assert_eq!((all.value, all.high), (1.0, Some(1.0)));
    }
}
