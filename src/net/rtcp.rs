//! What the other end says of media while they flow: its RTCP, as str0m hands it out, sorted by stream; and the figures of it in a report.

use greenroom_reports::confidence::{LEVEL, loss};
use greenroom_reports::schema::{
    Estimate, Exact, Value, WhipMedia, WhipStream, WhipTransport, reported_loss, times,
};
use greenroom_reports::units::{Bitrate, Micros};
use str0m::Event;
use str0m::bwe::BweKind;
use str0m::rtp::rtcp::{ReceptionReport, Rtcp};
use str0m::rtp::{RawPacket, RtpHeader, Ssrc};
use str0m::stats::CandidatePairStats;

use super::clock::Clock;
use crate::proto::rtp::reports::{Arrivals, Block, Reports, jitter, ntp_middle, rounded};

/// Transport-wide numbers that are kept track of: more than the longest run has.
const MOST_TOLD: u64 = 10_000_000;

/// Everything that the other end said.
#[derive(Debug)]
pub struct Feedback {
    clock: Clock,
    /// The streams that it was to speak of.
    pub streams: Vec<Stream>,
    /// What transport-wide feedback said of each packet.
    arrivals: Arrivals,
    /// Packets with a transport-wide number that left.
    numbered: u64,
    last_estimate: Option<Bitrate>,
    least_estimate: Option<Bitrate>,
    /// The last rate that it allows (REMB).
    pub remb: Option<u64>,
    /// The pair of addresses in use.
    pub pair: Option<CandidatePairStats>,
    /// Round trips of the checks of that pair.
    pub pair_rtts: Vec<Micros>,
    first_sent: Option<Micros>,
    first_word: Option<Micros>,
}

/// What was sent of a stream, and what was said of it.
#[derive(Debug)]
pub struct Stream {
    /// What it is.
    pub media: WhipMedia,
    ssrc: Ssrc,
    rtx: Option<Ssrc>,
    /// Ticks a second.
    clock: u32,
    reports: Reports,
    bytes: u64,
    repairs: u64,
    nacked: u64,
    plis: u64,
    firs: u64,
}

impl Feedback {
    /// Nothing was said yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            streams: Vec::new(),
            arrivals: Arrivals::default(),
            numbered: 0,
            last_estimate: None,
            least_estimate: None,
            remb: None,
            pair: None,
            pair_rtts: Vec::new(),
            first_sent: None,
            first_word: None,
        }
    }

    /// A stream is going to be sent.
    pub fn expect(&mut self, media: WhipMedia, ssrc: Ssrc, rtx: Option<Ssrc>, clock: u32) {
        self.streams.push(Stream {
            media,
            ssrc,
            rtx,
            clock,
            reports: Reports::default(),
            bytes: 0,
            repairs: 0,
            nacked: 0,
            plis: 0,
            firs: 0,
        });
    }

    /// Takes what happened.
    pub fn take(&mut self, event: &Event, now: Micros) {
        match event {
            Event::RawPacket(packet) => match &**packet {
                RawPacket::RtpTx(header, payload) => self.sent(header, payload.len(), now),
                RawPacket::RtcpTx(Rtcp::SenderReport(report)) => {
                    let since = report.sender_info.ntp_time.duration_since(std::time::UNIX_EPOCH);
                    // Those of several streams may leave in one packet, and Janus then answers with the time of the last of them for all.
                    for stream in self.streams.iter_mut().filter(|_| since.is_ok()) {
                        stream.reports.sender_report(ntp_middle(since.clone().unwrap_or_default()), now);
                    }
                }
                RawPacket::RtcpRx(rtcp) => self.said(rtcp, now),
                RawPacket::RtcpTx(_) | RawPacket::RtpRx(..) => {}
            },
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                let estimate = Bitrate::from_bps(estimate.as_u64());
                self.last_estimate = Some(estimate);
                self.least_estimate = Some(self.least_estimate.map_or(estimate, |least| least.min(estimate)));
            }
            Event::PeerStats(stats) => self.pair(stats.selected_candidate_pair.as_ref()),
            _ => {}
        }
    }

    /// The rate that this end may send at, once the other one has said something that it follows from.
    pub fn estimate(&self) -> Option<Bitrate> {
        self.last_estimate.filter(|_| !self.arrivals.is_empty())
    }

    /// From the first packet to the first word about any.
    pub fn first_feedback(&self) -> Option<Micros> {
        Some(self.first_word? - self.first_sent?)
    }

    /// Whether reports have spoken of every packet.
    pub fn is_complete(&self) -> bool {
        self.streams.iter().all(|stream| stream.reports.expected() >= stream.reports.packets())
    }

    /// A word about what was sent. There is none before anything was.
    fn heard(&mut self, now: Micros) {
        if self.first_sent.is_some() {
            self.first_word.get_or_insert(now);
        }
    }

    fn stream(&mut self, ssrc: Ssrc) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.ssrc == ssrc)
    }

    fn sent(&mut self, header: &RtpHeader, payload: usize, now: Micros) {
        self.numbered += u64::from(header.ext_vals.transport_cc.is_some());
        self.first_sent.get_or_insert(now);
        for stream in &mut self.streams {
            if stream.ssrc == header.ssrc {
                stream.reports.sent(header.sequence_number);
                stream.bytes += u64::try_from(payload).unwrap_or(u64::MAX);
            } else if stream.rtx == Some(header.ssrc) {
                stream.repairs += 1;
            }
        }
    }

    fn said(&mut self, rtcp: &Rtcp, now: Micros) {
        match rtcp {
            Rtcp::ReceiverReport(report) => report.reports.iter().for_each(|block| self.report(block, now)),
            Rtcp::SenderReport(report) => report.reports.iter().for_each(|block| self.report(block, now)),
            Rtcp::Nack(nack) => {
                self.heard(now);
                let asked =
                    nack.reports.iter().map(|entry| 1 + u64::from(entry.blp.count_ones())).sum::<u64>();
                if let Some(stream) = self.stream(nack.ssrc) {
                    stream.nacked += asked;
                }
            }
            Rtcp::Pli(pli) => {
                if let Some(stream) = self.stream(pli.ssrc) {
                    stream.plis += 1;
                }
            }
            Rtcp::Fir(fir) => {
                for entry in fir.reports.iter() {
                    if let Some(stream) = self.stream(entry.ssrc) {
                        stream.firs += 1;
                    }
                }
            }
            Rtcp::Twcc(twcc) => {
                self.heard(now);
                // Only whether there is a time is of interest: what it counts from does not matter. Numbers may begin with 0 or 1.
                let zero = self.clock.instant(Micros::ZERO);
                for (sequence, _, at) in twcc.clone().into_iter(zero, self.numbered.into()) {
                    self.arrivals.told(
                        *sequence,
                        at.is_some(),
                        self.numbered.saturating_add(1).min(MOST_TOLD),
                    );
                }
            }
            Rtcp::Remb(remb) => self.remb = whole(remb.bitrate),
            _ => {}
        }
    }

    fn report(&mut self, report: &ReceptionReport, now: Micros) {
        if self.stream(report.ssrc).is_some() {
            self.heard(now);
        }
        let Some(stream) = self.stream(report.ssrc) else { return };
        let block = Block {
            highest: report.max_seq,
            lost: report.packets_lost,
            jitter: report.jitter,
            last_sr: report.last_sr_time,
            delay: report.last_sr_delay,
        };
        tracing::debug!(media = ?stream.media, ?block, "a receiver report");
        stream.reports.report(&block, now);
    }

    /// What transport-wide feedback told, by whom is to send it (`the server`).
    pub fn transport(&self, who: &str) -> Value<WhipTransport> {
        let (packets, lost) = self.arrivals.counts();
        if packets == 0 {
            return Value::not_tested(format!("{who} sends no transport-wide feedback"));
        }
        let shown = loss::displayed_bursty(&self.arrivals.runs(), LEVEL);
        #[expect(clippy::cast_precision_loss, reason = "counts of packets")]
        let value = rounded(lost as f64 / packets as f64);
        let (low, high) = (Some(rounded(shown.low)), Some(rounded(shown.high)));
        let rate = |rate: Option<Bitrate>| -> Value<Exact<u64>> {
            rate.map_or_else(
                || Value::failed("too little was said for an estimate"),
                |rate| Value::exact(rate.bps()),
            )
        };
        Value::Measured(WhipTransport {
            packets,
            lost,
            loss_ratio: Value::Measured(Estimate { value, low, high, n: packets }),
            estimate_bps: rate(self.last_estimate),
            least_estimate_bps: rate(self.least_estimate),
        })
    }

    /// The pair in use, with its round trip where a new check was answered.
    fn pair(&mut self, pair: Option<&CandidatePairStats>) {
        let Some(pair) = pair else { return };
        let checks = |pair: &CandidatePairStats| (pair.local.addr, pair.remote.addr, pair.responses_received);
        let is_new = self.pair.as_ref().map(checks) != Some(checks(pair));
        if let Some(rtt) = pair.current_round_trip_time.filter(|_| is_new && pair.responses_received > 0) {
            self.pair_rtts.push(Micros::from_duration(rtt));
        }
        self.pair = Some(pair.clone());
    }
}

impl Stream {
    /// Its figures: what was sent with which codec, and what `who` received it (`the server`) said of it.
    pub fn figures(&self, codec: Option<&str>, planned: u64, who: &str) -> WhipStream {
        let reports = &self.reports;
        let missing = match reports.count() {
            0 => format!("{who} sent no receiver report (RTCP) about it"),
            _ => format!("{who}'s reports do not tell"),
        };
        WhipStream {
            media: self.media,
            codec: codec.map_or_else(
                || Value::failed(format!("{who} did not take it")),
                |codec| Value::exact(codec.to_owned()),
            ),
            planned_packets: planned.max(reports.packets()),
            sent_packets: reports.packets(),
            sent_bytes: self.bytes,
            repairs: self.repairs,
            reports: reports.count(),
            expected: reports.expected(),
            lost: reports.lost(),
            loss_ratio: reported_loss(reports.intervals())
                .map_or_else(|| Value::failed(missing.as_str()), Value::Measured),
            rtt_ms: times(reports.rtts().to_vec(), &missing),
            jitter_rfc3550_ms: jitter(reports.jitters(), self.clock, reports.expected())
                .map_or_else(|| Value::failed(missing.as_str()), Value::Measured),
            nacked_packets: self.nacked,
            plis: self.plis,
            firs: self.firs,
        }
    }
}

/// A rate of the other end's own words as a whole number, where it can be one.
fn whole(bps: f32) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
    (bps.is_finite() && (0.0..1e12).contains(&bps)).then_some(bps as u64)
}

#[cfg(test)]
mod tests {
    use str0m::rtp::ExtensionValues;
    use str0m::rtp::rtcp::{Nack, NackEntry};

    use super::*;

    fn raw(packet: RawPacket) -> Event {
        Event::RawPacket(Box::new(packet))
    }

    #[test]
    fn a_word_before_anything_was_sent_is_about_nothing() {
        let mut feedback = Feedback::new(Clock::start());
        feedback.expect(WhipMedia::Audio, 7.into(), None, 48_000);
        let nack = || {
            let reports = NackEntry { pid: 1, blp: 0 }.into();
            raw(RawPacket::RtcpRx(Rtcp::Nack(Nack { sender_ssrc: 1.into(), ssrc: 7.into(), reports })))
        };
        let header = RtpHeader {
            version: 2,
            has_padding: false,
            has_extension: false,
            csrc_count: 0,
            marker: false,
            payload_type: 111.into(),
            sequence_number: 1,
            timestamp: 0,
            ssrc: 7.into(),
            csrc: [0; 15],
            ext_vals: ExtensionValues::default(),
            header_len: 12,
        };
        feedback.take(&nack(), Micros::from_millis(1));
        assert_eq!(feedback.first_feedback(), None);
        feedback.take(&raw(RawPacket::RtpTx(header, vec![0; 10])), Micros::from_millis(50));
        assert_eq!(feedback.first_feedback(), None);
        feedback.take(&nack(), Micros::from_millis(90));
        feedback.take(&nack(), Micros::from_millis(95));
        assert_eq!(feedback.first_feedback(), Some(Micros::from_millis(40)));
    }
}
