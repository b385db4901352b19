//! What arrives: replies to the audio stream, media down, and everything that is neither.

use greenroom_reports::trace::{Direction, ReplyStamps, RxRecord, StreamId, StreamSpec};
use greenroom_reports::units::Micros;

use super::{AUDIO_PAYLOAD, ECHO_INTERVAL, FIRST_PROBE, MAX_STREAMS, Sender, SenderState};
use crate::proto::machine::Arrival;
use crate::proto::media::MAX_PACKET;
use crate::proto::stamp::auth::Verified;
use crate::proto::stamp::{
    CapacityReport, ClassOfService, FollowUp, MediaKind, MediaTlv, Mode, NonceKind, NonceTlv,
    ReflectorPacket, SenderPacket, TlvKind, Tlvs,
};
use crate::proto::window::{Copy, ip_bytes};

/// What the TLVs of a datagram say, as far as they are signed.
#[derive(Default)]
struct Told {
    class: Option<ClassOfService>,
    follow_up: Option<FollowUp>,
    nonce: Option<NonceTlv>,
    media: Option<MediaTlv>,
    report: Option<CapacityReport>,
}

impl Told {
    /// Reads the TLVs up to the HMAC: what comes after it is not signed.
    fn read(tlvs: &[u8]) -> Self {
        let mut told = Self::default();
        for tlv in Tlvs::new(tlvs).map_while(Result::ok).take_while(|tlv| tlv.kind != TlvKind::HMAC) {
            match tlv.kind {
                TlvKind::CLASS_OF_SERVICE if !tlv.flags.unrecognized => {
                    told.class = ClassOfService::parse(tlv.value);
                }
                TlvKind::FOLLOW_UP if !tlv.flags.unrecognized => told.follow_up = FollowUp::parse(tlv.value),
                TlvKind::NONCE => told.nonce = NonceTlv::parse(tlv.value),
                TlvKind::MEDIA => told.media = MediaTlv::parse(tlv.value),
                TlvKind::CAPACITY => told.report = CapacityReport::parse(tlv.value, Direction::Up),
                _ => {}
            }
        }
        told
    }
}

impl Sender {
    pub(super) fn receive(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        self.advance(now);
        if matches!(self.state, SenderState::Finished | SenderState::Unreachable) {
            return;
        }
        let home = arrival.from == self.config.reflector;
        if payload.len() > usize::from(MAX_PACKET) {
            self.counters.oversized += 1;
            return;
        }
        if self.down.verify(payload) != Verified::Whole {
            if home {
                self.counters.forged += 1;
                self.half.streams[0].corrupt = self.half.streams[0].corrupt.saturating_add(1);
            } else {
                self.counters.foreign += 1;
            }
            return;
        }
        if !home {
            self.counters.moved += 1;
            return;
        }
        let told = Told::read(&payload[Mode::Authenticated.base_len()..]);
        if let Some(media) = told.media {
            self.receive_media(now, arrival, payload, media);
        } else if let Some(report) = told.report {
            self.receive_report(now, ip_bytes(arrival.from, payload.len()), &report);
        } else {
            self.receive_reply(now, arrival, payload, &told);
        }
    }

    fn receive_media(&mut self, now: Micros, arrival: &Arrival, payload: &[u8], media: MediaTlv) {
        let Ok((packet, _)) = SenderPacket::parse(Mode::Authenticated, payload) else {
            return;
        };
        if packet.ssid != self.config.ssid {
            self.counters.unexpected += 1;
            return;
        }
        let MediaKind::Stream(kind) = media.kind else {
            self.receive_load(now, arrival, payload.len(), &packet, media);
            return;
        };
        let at = match self.position(media.stream) {
            Ok(at) => at,
            Err(_) if self.lanes.len() >= MAX_STREAMS => {
                self.counters.unexpected += 1;
                return;
            }
            Err(_) => {
                let spec = StreamSpec { media: kind, direction: Some(Direction::Down), rate: media.rate };
                self.insert_log(media.stream, spec)
            }
        };
        if self.half.streams[at].spec.direction != Some(Direction::Down) {
            self.counters.unexpected += 1;
            return;
        }
        match self.lanes[at].copies.note(packet.seq) {
            Copy::Replay => self.counters.replayed += 1,
            first_or_again => {
                if first_or_again == Copy::First {
                    self.last_heard = Some(now);
                }
                self.half.streams[at].rx.push(record(now, arrival, payload.len(), packet.seq));
                let sent = packet.timestamp.decode(self.config.anchor_there, self.config.timestamps_there);
                self.count_beside_load(arrival, payload.len(), sent);
            }
        }
    }

    fn receive_reply(&mut self, now: Micros, arrival: &Arrival, payload: &[u8], told: &Told) {
        let Ok((reply, _)) = ReflectorPacket::parse(Mode::Authenticated, payload) else {
            return;
        };
        if payload.len() > AUDIO_PAYLOAD {
            self.counters.oversized += 1;
            return;
        }
        let of = reply.sender_seq;
        let probe = of >= FIRST_PROBE;
        let known = if probe {
            of - FIRST_PROBE < self.probes
        } else {
            usize::try_from(of).is_ok_and(|of| of < self.half.streams[0].tx.len())
        };
        if reply.ssid != self.config.ssid || !known {
            self.counters.unexpected += 1;
            return;
        }
        if probe {
            self.counters.probes_answered += 1;
            self.last_heard = Some(now);
            self.note_nonce(now, told.nonce);
            return;
        }
        match self.lanes[0].copies.note(reply.seq) {
            Copy::Replay => {
                self.counters.replayed += 1;
                return;
            }
            Copy::First => {
                self.last_heard = Some(now);
                self.note_nonce(now, told.nonce);
            }
            Copy::Again => {}
        }
        let stamps = self.stamps(&reply, told, of);
        if self.is_implausible(arrival.at, &stamps) {
            self.counters.implausible += 1;
        }
        let record = RxRecord { reply: Some(stamps), ..record(now, arrival, payload.len(), reply.seq) };
        self.half.streams[0].rx.push(record);
        self.count_beside_load(arrival, payload.len(), stamps.sent);
    }

    fn note_nonce(&mut self, now: Micros, nonce: Option<NonceTlv>) {
        let Some(nonce) = nonce else {
            return;
        };
        match nonce.kind {
            NonceKind::Challenge => {
                self.validated = false;
                self.nonce = Some(nonce.nonce);
                self.next_probe = self.next_probe.min(now.max(self.last_probe + ECHO_INTERVAL));
            }
            NonceKind::Validated => self.validated = true,
            NonceKind::Probe | NonceKind::InStream => return,
        }
        if self.state == SenderState::Validating {
            self.state = SenderState::Running;
            self.audio_start = Some(now + self.config.audio.start_phase);
        }
    }

    fn stamps(&self, reply: &ReflectorPacket, told: &Told, of: u32) -> ReplyStamps {
        let (anchor, format) = (self.config.anchor_there, self.config.timestamps_there);
        ReplyStamps {
            of,
            received: reply.received.decode(anchor, format),
            sent: reply.timestamp.decode(anchor, format),
            follow_up: told
                .follow_up
                .filter(|it| !it.timestamp.is_zero())
                .map(|it| (it.seq, it.timestamp.decode(anchor, format))),
            ttl: (reply.sender_ttl != 0).then_some(reply.sender_ttl),
            tos: told.class.map(ClassOfService::received_tos),
        }
    }

    /// Whether a reply claims to have been sent before it was received, or held for longer than the round trip took.
    fn is_implausible(&self, arrived: Micros, stamps: &ReplyStamps) -> bool {
        let hold = stamps.sent - stamps.received;
        let left = usize::try_from(stamps.of).ok().and_then(|of| self.half.streams[0].tx.get(of)?.departed());
        // The wall clock may be slewed by 0.05 %; a millisecond covers that over any round trip worth the name.
        let slack = Micros::from_millis(1);
        hold + slack < Micros::ZERO || left.is_some_and(|left| hold > arrived - left + slack)
    }
}

fn record(now: Micros, arrival: &Arrival, payload: usize, seq: u32) -> RxRecord {
    RxRecord {
        seq,
        at: arrival.at,
        user: Some(now),
        bytes: ip_bytes(arrival.from, payload),
        tos: arrival.tos,
        ttl: arrival.ttl,
        reply: None,
    }
}

/// Splits a transmit key of a logged packet.
pub(super) fn split_key(key: u64) -> Option<(StreamId, usize)> {
    let stream = u16::try_from(key >> 32).ok()?;
    let seq = usize::try_from(key & u64::from(u32::MAX)).ok()?;
    Some((StreamId(stream), seq))
}
