//! What leaves: validation probes, the audio stream, media up.

use greenroom_reports::trace::{StreamId, TxOutcome, TxRecord};
use greenroom_reports::units::Micros;

use super::receive::split_key;
use super::{AUDIO_PAYLOAD, FIRST_PROBE, MAX_LATENESS, PROBE_INTERVAL, PROBE_KEY, Sender, SenderState};
use crate::proto::machine::{Arrival, Departure, DepartureEvent, Machine, Transmit, TransmitKey};
use crate::proto::media::MediaPacket;
use crate::proto::stamp::{
    ClassOfService, ErrorEstimate, MediaKind, MediaTlv, Mode, NonceKind, NonceTlv, SenderPacket, Timestamp,
    TimestampFormat, TlvWriter,
};
use crate::proto::window::{header_bytes, ip_bytes};

impl Machine for Sender {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        self.receive(now, arrival, payload);
    }

    fn handle_departure(&mut self, departure: &Departure) {
        if departure.key.0 & PROBE_KEY != 0 {
            if let DepartureEvent::Failed(error) = departure.event {
                self.counters.probe_error = error;
            }
            return;
        }
        let Some((stream, seq)) = split_key(departure.key.0) else {
            return;
        };
        let Ok(at) = self.position(stream) else {
            if matches!(departure.event, DepartureEvent::Failed(_)) {
                self.load_refused(stream);
            }
            return;
        };
        let Some(record) = self.half.streams[at].tx.get_mut(seq) else {
            return;
        };
        departure.event.note(record, Micros::ZERO);
    }

    fn handle_drops(&mut self, now: Micros, total: u64) {
        self.half.note_drops(now, total);
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        self.advance(now);
        payload.clear();
        match self.state {
            SenderState::Validating => self.poll_probe(now, payload),
            SenderState::Running => self
                .poll_probe(now, payload)
                .or_else(|| self.poll_stream(now, payload))
                .or_else(|| self.poll_stage(now, payload)),
            SenderState::Draining | SenderState::Finished | SenderState::Unreachable => None,
        }
    }

    fn next_deadline(&self) -> Option<Micros> {
        match self.state {
            SenderState::Validating => Some(self.next_probe.min(self.config.validate_until)),
            SenderState::Running => {
                let packet = self.next_packet().map(|(at, _)| at);
                let probe = (!self.validated).then_some(self.next_probe);
                let stage = self.capacity.next_at();
                // With nothing left to send, `advance` is due at once.
                Some(packet.into_iter().chain(probe).chain(stage).min().unwrap_or(self.half.covered_until))
            }
            SenderState::Draining => self.drain_until,
            SenderState::Finished | SenderState::Unreachable => None,
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, SenderState::Finished | SenderState::Unreachable)
    }
}

impl Sender {
    fn poll_probe(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        if self.validated || now < self.next_probe {
            return None;
        }
        let intended = self.next_probe;
        self.last_probe = now;
        self.next_probe = now + PROBE_INTERVAL;
        let probe = self.probes;
        self.probes = self.probes.wrapping_add(1) % FIRST_PROBE;
        self.write_audio(now, FIRST_PROBE + probe, NonceKind::Probe, payload);
        Some(self.transmit(TransmitKey(PROBE_KEY | u64::from(probe)), intended, false))
    }

    fn poll_stream(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        loop {
            let (at, lane) = self.next_packet().filter(|(at, _)| *at <= now)?;
            let media = self.lanes[lane].pacer.as_mut().and_then(crate::proto::media::MediaPacer::pop);
            let bytes = media.map_or(ip_bytes(self.config.reflector, AUDIO_PAYLOAD), |media| media.ip_bytes);
            let log = &mut self.half.streams[lane];
            let seq = u32::try_from(log.tx.len()).ok()?;
            let (stream, late) = (log.id, now - at > MAX_LATENESS);
            let outcome = if late { TxOutcome::NotSent } else { TxOutcome::Sent };
            log.tx.push(TxRecord { outcome, ..TxRecord::planned(seq, at, bytes) });
            if late {
                continue;
            }
            match media {
                Some(media) => self.write_media(now, lane, seq, media, payload),
                None => self.write_audio(now, seq, NonceKind::InStream, payload),
            }
            self.pace_beside_load(now, bytes);
            let key = TransmitKey(u64::from(stream.0) << 32 | u64::from(seq));
            return Some(self.transmit(key, at, true));
        }
    }

    pub(super) fn transmit(&self, key: TransmitKey, intended: Micros, stamp: bool) -> Transmit {
        let audio = split_key(key.0).is_some_and(|(stream, _)| stream == StreamId::AUDIO);
        let tos = if audio { self.config.audio.tos } else { 0 };
        Transmit { to: self.config.reflector, key, intended, tos, stamp }
    }

    pub(super) fn base(&self, now: Micros, seq: u32) -> SenderPacket {
        let format = TimestampFormat::Ntp;
        SenderPacket {
            seq,
            timestamp: Timestamp::encode(now, self.config.anchor_here, format),
            error: ErrorEstimate::free_running(Micros::from_millis(1), format),
            ssid: self.config.ssid,
        }
    }

    fn write_audio(&self, now: Micros, seq: u32, kind: NonceKind, payload: &mut Vec<u8>) {
        self.base(now, seq).write(Mode::Authenticated, payload);
        let mut tlvs = TlvWriter::new(payload);
        tlvs.class_of_service(ClassOfService::request(self.config.audio.tos >> 2));
        tlvs.follow_up();
        tlvs.nonce(NonceTlv { kind, nonce: self.nonce.unwrap_or_default() });
        tlvs.hmac();
        self.up.sign(payload);
    }

    fn write_media(&self, now: Micros, lane: usize, seq: u32, media: MediaPacket, payload: &mut Vec<u8>) {
        let Some(plan) = self.lanes[lane].pacer.as_ref().map(crate::proto::media::MediaPacer::plan) else {
            return;
        };
        let tlv = MediaTlv {
            stream: plan.stream,
            kind: MediaKind::Stream(plan.media),
            key_frame: media.key_frame,
            frame: media.frame,
            rate: plan.rate,
        };
        let len = media.ip_bytes.saturating_sub(header_bytes(self.config.reflector));
        self.base(now, seq).write(Mode::Authenticated, payload);
        let mut tlvs = TlvWriter::new(payload);
        tlvs.media(tlv);
        tlvs.hmac();
        tlvs.pad_to(usize::from(len));
        self.up.sign(payload);
    }
}
