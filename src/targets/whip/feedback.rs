//! What a server says of media while they flow: its RTCP, as str0m hands it out, sorted by stream.

use greenroom_reports::schema::WhipMedia;
use greenroom_reports::units::{Bitrate, Micros};
use str0m::Event;
use str0m::bwe::BweKind;
use str0m::rtp::rtcp::{ReceptionReport, Rtcp};
use str0m::rtp::{RawPacket, RtpHeader, Ssrc};
use str0m::stats::CandidatePairStats;

use crate::net::clock::Clock;
use crate::proto::rtp::reports::{Arrivals, Block, Reports, ntp_middle};

/// Transport-wide numbers that are kept track of: more than the longest run has.
const MOST_TOLD: u64 = 10_000_000;

/// Everything that the server said.
#[derive(Debug)]
pub(super) struct Feedback {
    clock: Clock,
    pub(super) streams: Vec<Stream>,
    pub(super) arrivals: Arrivals,
    /// Packets with a transport-wide number that left.
    numbered: u64,
    pub(super) estimates: Vec<Bitrate>,
    pub(super) remb: Option<u64>,
    pub(super) pair: Option<CandidatePairStats>,
    pub(super) pair_rtts: Vec<Micros>,
    first_sent: Option<Micros>,
    first_word: Option<Micros>,
}

/// What was sent of a stream, and what was said of it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) media: WhipMedia,
    ssrc: Ssrc,
    rtx: Option<Ssrc>,
    /// Ticks a second.
    pub(super) clock: u32,
    pub(super) reports: Reports,
    pub(super) bytes: u64,
    pub(super) repairs: u64,
    pub(super) nacked: u64,
    pub(super) plis: u64,
    pub(super) firs: u64,
}

impl Feedback {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            streams: Vec::new(),
            arrivals: Arrivals::default(),
            numbered: 0,
            estimates: Vec::new(),
            remb: None,
            pair: None,
            pair_rtts: Vec::new(),
            first_sent: None,
            first_word: None,
        }
    }

    /// A stream is going to be sent.
    pub(super) fn expect(&mut self, media: WhipMedia, ssrc: Ssrc, rtx: Option<Ssrc>, clock: u32) {
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
    pub(super) fn take(&mut self, event: &Event, now: Micros) {
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
                self.estimates.push(Bitrate::from_bps(estimate.as_u64()));
            }
            Event::PeerStats(stats) => self.pair(stats.selected_candidate_pair.as_ref()),
            _ => {}
        }
    }

    /// The rate that this end may send at, once the server has said something that it follows from.
    pub(super) fn estimate(&self) -> Option<Bitrate> {
        self.estimates.last().copied().filter(|_| !self.arrivals.is_empty())
    }

    /// From the first packet to the first word about any.
    pub(super) fn first_feedback(&self) -> Option<Micros> {
        Some(self.first_word? - self.first_sent?)
    }

    /// Whether reports have spoken of every packet.
    pub(super) fn is_complete(&self) -> bool {
        self.streams.iter().all(|stream| stream.reports.expected() >= stream.reports.packets())
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
                self.first_word.get_or_insert(now);
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
                self.first_word.get_or_insert(now);
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
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == report.ssrc) else { return };
        self.first_word.get_or_insert(now);
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

/// A rate of the server's own words as a whole number, where it can be one.
fn whole(bps: f32) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
    (bps.is_finite() && (0.0..1e12).contains(&bps)).then_some(bps as u64)
}
