//! One session: its keys, its address, its logs, its media down.

mod capacity;
mod log;

use std::net::SocketAddr;

use greenroom_reports::trace::{
    ClockInfo, Direction, Media, QueueDrops, StampSource, StreamId, StreamLog, StreamSpec, TxOutcome,
};
use greenroom_reports::units::{Bitrate, Micros};
use subtle::ConstantTimeEq;

use self::log::StampBudget;
use super::answer::{Answers, answer, nonce_reply};
use super::config::{ReflectorConfig, ReflectorCounters, SessionConfig, SessionError, SessionStatus};
use super::{Pending, transmit_key};
use crate::proto::capacity::End;
use crate::proto::machine::{Arrival, Transmit, TransmitKey};
use crate::proto::media::{MediaPacer, MediaPacket, MediaPlan};
use crate::proto::stamp::auth::Verified;
use crate::proto::stamp::tlv::StampMethod;
use crate::proto::stamp::{
    CapacityReport, ErrorEstimate, FollowUp, MacKey, MediaKind, MediaTlv, Mode, NonceKind, NonceTlv,
    ReflectorPacket, SenderPacket, Timestamp, TimestampFormat, TimestampInfo, TlvKind, TlvWriter, Tlvs,
    WallAnchor,
};
use crate::proto::window::{Copy, CopyWindow, PacketBucket, header_bytes, ip_bytes};

/// Media down stops when the client has not been heard for this long.
const SILENCE: Micros = Micros::from_millis(500);
/// What comes at once is answered up to what the session's rate makes in this time: a radio link that stalls hands over all that it
/// held at once.
const BURST: Micros = Micros::from_secs(1);
/// A packet later than this does not leave any more.
const MAX_LATENESS: Micros = Micros::from_millis(250);
/// Streams that a session may have, both directions together.
const MAX_STREAMS: usize = 32;
/// Where probes' numbers begin; see the sender.
const FIRST_PROBE: u32 = 1 << 31;

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    ssid: u16,
    up: MacKey,
    down: MacKey,
    /// Zero of the session's clock, on the machine's.
    epoch: Micros,
    anchor: WallAnchor,
    timestamps: TimestampFormat,
    clock: ClockInfo,
    expires: Micros,
    bucket: PacketBucket,
    max_pps: u32,
    max_bitrate: Bitrate,
    validated: Option<SocketAddr>,
    last_heard: Option<Micros>,
    address_changes: u32,
    probes: CopyWindow,
    next_reply: u32,
    follow_up: FollowUp,
    stamps: StampBudget,
    /// In the order of ids; the first is the audio stream.
    lanes: Vec<Lane>,
    capacity: capacity::Stages,
    queue_drops: Vec<QueueDrops>,
    drops_before: u64,
    records: usize,
    log_cap: usize,
    dropped_records: u64,
}

/// One stream of a session.
#[derive(Debug)]
struct Lane {
    log: StreamLog,
    copies: CopyWindow,
    /// Media down.
    pacer: Option<MediaPacer>,
    next_seq: u32,
}

/// A request that is to be answered.
pub(super) struct Accepted {
    pub(super) validated: bool,
    pub(super) probe: bool,
}

impl Session {
    pub(super) fn new(
        now: Micros,
        session: &SessionConfig,
        config: &ReflectorConfig,
        queue_drops: u64,
    ) -> Self {
        let spec = StreamSpec { media: Media::Audio, direction: None, rate: Bitrate::from_bps(0) };
        Self {
            ssid: session.ssid,
            up: session.key.up(),
            down: session.key.down(),
            epoch: now,
            anchor: config.anchor.shifted(now),
            timestamps: config.timestamps,
            clock: config.clock.clone(),
            expires: session.expires,
            bucket: PacketBucket::new(session.max_pps, BURST),
            max_pps: session.max_pps,
            max_bitrate: session.max_bitrate,
            validated: None,
            last_heard: None,
            address_changes: 0,
            probes: CopyWindow::new(),
            next_reply: 0,
            follow_up: FollowUp::default(),
            stamps: StampBudget::default(),
            lanes: vec![Lane::new(StreamId::AUDIO, spec)],
            capacity: capacity::Stages::default(),
            queue_drops: Vec::new(),
            drops_before: queue_drops,
            records: 0,
            log_cap: config.log_cap,
            dropped_records: 0,
        }
    }

    pub(super) fn status(&self) -> SessionStatus {
        SessionStatus {
            validated: self.validated,
            last_heard: self.last_heard,
            expires: self.expires,
            anchor: self.anchor,
            dropped_records: self.dropped_records,
            address_changes: self.address_changes,
            streams_down: self.pacers().filter(|pacer| pacer.next_at().is_some()).count(),
        }
    }

    pub(super) fn vouch(&mut self, address: SocketAddr) {
        self.validated = Some(address);
    }

    /// Takes a datagram with this session's SSID. `nonce` is the one for its address. `Some`: it is to be answered.
    pub(super) fn receive(
        &mut self,
        now: Micros,
        arrival: &Arrival,
        payload: &[u8],
        nonce: [u8; 16],
        counters: &mut ReflectorCounters,
    ) -> Option<Accepted> {
        if now >= self.expires {
            counters.expired += 1;
            return None;
        }
        if self.up.verify(payload) != Verified::Whole {
            counters.forged += 1;
            if self.validated == Some(arrival.from) {
                let corrupt = &mut self.lanes[0].log.corrupt;
                *corrupt = corrupt.saturating_add(1);
            }
            return None;
        }
        let (packet, tlvs) = SenderPacket::parse(Mode::Authenticated, payload).ok()?;
        let Signed { media, nonce: echoed, report } = signed_tlvs(tlvs);
        if let Some(report) = report {
            self.receive_report(now, &report, counters);
            return None;
        }
        if let Some(media) = media {
            self.receive_media(now, arrival, payload.len(), &packet, media, counters);
            return None;
        }
        let known = self.validated == Some(arrival.from);
        let Some(echoed) = echoed.or(known.then_some(NonceTlv { kind: NonceKind::InStream, nonce })) else {
            counters.unexpected += 1;
            return None;
        };
        let probe = packet.seq >= FIRST_PROBE;
        if probe != (echoed.kind == NonceKind::Probe) {
            counters.unexpected += 1;
            return None;
        }
        let copies = if probe { &mut self.probes } else { &mut self.lanes[0].copies };
        let copy = copies.note(packet.seq);
        match copy {
            Copy::Replay => {
                counters.replayed += 1;
                return None;
            }
            Copy::First => self.heard(now, arrival.from, bool::from(echoed.nonce.ct_eq(&nonce))),
            Copy::Again => {}
        }
        if !probe {
            self.log_arrival(0, now, arrival, payload.len(), packet.seq);
            self.count_beside_load(arrival, payload.len(), &packet);
        }
        if !self.bucket.take(now) {
            counters.throttled += 1;
            return None;
        }
        Some(Accepted { validated: self.validated == Some(arrival.from), probe })
    }

    fn heard(&mut self, now: Micros, from: SocketAddr, echoed: bool) {
        self.last_heard = Some(now);
        if echoed && self.validated != Some(from) {
            if self.validated.is_some() {
                self.address_changes = self.address_changes.saturating_add(1);
            }
            self.validated = Some(from);
        }
    }

    fn receive_media(
        &mut self,
        now: Micros,
        arrival: &Arrival,
        payload: usize,
        packet: &SenderPacket,
        media: MediaTlv,
        counters: &mut ReflectorCounters,
    ) {
        let MediaKind::Stream(kind) = media.kind else {
            self.receive_load(now, arrival, payload, packet, media, counters);
            return;
        };
        let at = match self.position(media.stream) {
            Ok(at) if self.lanes[at].log.spec.direction == Some(Direction::Up) => at,
            Err(at) if self.lanes.len() < MAX_STREAMS => {
                let spec = StreamSpec { media: kind, direction: Some(Direction::Up), rate: media.rate };
                self.lanes.insert(at, Lane::new(media.stream, spec));
                at
            }
            _ => {
                counters.unexpected += 1;
                return;
            }
        };
        match self.lanes[at].copies.note(packet.seq) {
            Copy::Replay => {
                counters.replayed += 1;
                return;
            }
            Copy::First => self.last_heard = Some(now),
            Copy::Again => {}
        }
        self.log_arrival(at, now, arrival, payload, packet.seq);
        self.count_beside_load(arrival, payload, packet);
    }

    /// Rewrites a request into its reply.
    pub(super) fn reply(&mut self, now: Micros, pending: &Pending, payload: &mut [u8]) -> Option<Transmit> {
        let (request, _) = SenderPacket::parse(Mode::Authenticated, payload).ok()?;
        let error = ErrorEstimate::free_running(Micros::from_millis(1), self.timestamps);
        let seq = self.next_reply;
        let reply = ReflectorPacket {
            seq: if pending.probe { 0 } else { seq },
            timestamp: self.wire(now),
            error,
            ssid: self.ssid,
            received: self.wire(pending.arrival.at),
            sender_seq: request.seq,
            sender_timestamp: request.timestamp,
            sender_error: request.error,
            sender_ttl: pending.arrival.ttl.unwrap_or(0),
        };
        reply.overwrite(Mode::Authenticated, payload).ok()?;
        let answers = Answers {
            tos: pending.arrival.tos,
            follow_up: self.follow_up,
            info: TimestampInfo {
                sync_in: TimestampInfo::FREE_RUNNING,
                method_in: method(if pending.arrival.kernel {
                    StampSource::Kernel
                } else {
                    StampSource::User
                }),
                sync_out: TimestampInfo::FREE_RUNNING,
                method_out: StampMethod::ControlPlane,
            },
            nonce: Some(nonce_reply(pending.validated, pending.nonce)),
            authenticated: true,
        };
        let tos = answer(&mut payload[Mode::Authenticated.base_len()..], &answers);
        self.down.sign(payload);
        let to = pending.arrival.from;
        if pending.probe {
            return Some(Transmit { to, key: TransmitKey(0), intended: now, tos, stamp: false });
        }
        self.next_reply = self.next_reply.wrapping_add(1);
        let bytes = ip_bytes(to, payload.len());
        self.pace_beside_load(now, bytes);
        self.lanes[0].log.planned = self.next_reply;
        self.log_departure(0, seq, now, bytes, Some(request.seq), TxOutcome::Sent);
        let stamp = self.stamps.take(now);
        Some(Transmit { to, key: transmit_key(self.ssid, StreamId::AUDIO, seq), intended: now, tos, stamp })
    }

    pub(super) fn start_stream(&mut self, now: Micros, plan: MediaPlan) -> Result<(), SessionError> {
        let Err(at) = self.position(plan.stream) else {
            return Err(SessionError::StreamExists(plan.stream));
        };
        if self.lanes.len() >= MAX_STREAMS {
            return Err(SessionError::TooManyStreams);
        }
        if self.validated.is_none() {
            return Err(SessionError::NotValidated);
        }
        if (self.media_rate() + plan.rate).bps() > self.max_bitrate.bps() {
            return Err(SessionError::Rate);
        }
        let plan = MediaPlan { from: plan.from.max(now), until: plan.until.min(self.expires), ..plan };
        let spec = StreamSpec { media: plan.media, direction: Some(Direction::Down), rate: plan.rate };
        let mut lane = Lane::new(plan.stream, spec);
        let pacer = MediaPacer::new(plan);
        lane.log.planned = pacer.clone().count();
        lane.pacer = Some(pacer);
        self.lanes.insert(at, lane);
        Ok(())
    }

    pub(super) fn stop_stream(&mut self, stream: StreamId) {
        self.drop_search(stream);
        if let Ok(at) = self.position(stream) {
            self.lanes[at].stop();
        }
    }

    /// Whether media down is still to be sent; stops it when the client is silent or the session over.
    pub(super) fn keep_streaming(&mut self, now: Micros) -> bool {
        let over = now >= self.expires;
        if over || self.last_heard.is_none_or(|heard| now - heard > SILENCE) {
            self.lanes.iter_mut().for_each(Lane::stop);
            self.end_search(now, if over { End::Deadline } else { End::Silent });
        }
        self.next_media().is_some()
    }

    /// When the next packet down that answers nothing is due: media, or what a capacity stage has to send.
    pub(super) fn next_media(&self) -> Option<Micros> {
        self.lanes.iter().filter_map(Lane::next_at).chain(self.next_stage()).min()
    }

    pub(super) fn send_media(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        let to = self.validated?;
        loop {
            let due = |lane: &Lane| lane.next_at().filter(|at| *at <= now);
            let first = (0..self.lanes.len()).filter_map(|at| Some((due(&self.lanes[at])?, at))).min();
            let Some((_, at)) = first else {
                return self.send_stage(now, payload);
            };
            let lane = &mut self.lanes[at];
            let packet = lane.pacer.as_mut()?.pop()?;
            let seq = lane.next_seq;
            lane.next_seq = lane.next_seq.wrapping_add(1);
            let stream = lane.log.id;
            let late = now - packet.at > MAX_LATENESS;
            let outcome = if late { TxOutcome::NotSent } else { TxOutcome::Sent };
            self.log_departure(at, seq, packet.at, packet.ip_bytes, None, outcome);
            if late {
                continue;
            }
            self.write_media(now, at, seq, packet, to, payload);
            self.pace_beside_load(now, packet.ip_bytes);
            let stamp = self.stamps.take(now);
            return Some(Transmit {
                to,
                key: transmit_key(self.ssid, stream, seq),
                intended: packet.at,
                tos: 0,
                stamp,
            });
        }
    }

    fn write_media(
        &self,
        now: Micros,
        lane: usize,
        seq: u32,
        packet: MediaPacket,
        to: SocketAddr,
        payload: &mut Vec<u8>,
    ) {
        let Some(plan) = self.lanes[lane].pacer.as_ref().map(MediaPacer::plan) else {
            return;
        };
        payload.clear();
        self.base(now, seq).write(Mode::Authenticated, payload);
        let mut tlvs = TlvWriter::new(payload);
        tlvs.media(MediaTlv {
            stream: plan.stream,
            kind: MediaKind::Stream(plan.media),
            key_frame: packet.key_frame,
            frame: packet.frame,
            rate: plan.rate,
        });
        tlvs.hmac();
        tlvs.pad_to(usize::from(packet.ip_bytes.saturating_sub(header_bytes(to))));
        self.down.sign(payload);
    }

    fn wire(&self, at: Micros) -> Timestamp {
        Timestamp::encode(at - self.epoch, self.anchor, self.timestamps)
    }

    fn position(&self, stream: StreamId) -> Result<usize, usize> {
        self.lanes.binary_search_by_key(&stream, |lane| lane.log.id)
    }

    /// The sum of the rates of media down that is still sent.
    fn media_rate(&self) -> Bitrate {
        let running = self.pacers().filter(|pacer| pacer.next_at().is_some());
        running.map(|pacer| pacer.plan().rate).sum()
    }

    fn pacers(&self) -> impl Iterator<Item = &MediaPacer> {
        self.lanes.iter().filter_map(|lane| lane.pacer.as_ref())
    }
}

impl Lane {
    fn new(id: StreamId, spec: StreamSpec) -> Self {
        let log = StreamLog { id, spec, planned: 0, tx: Vec::new(), rx: Vec::new(), corrupt: 0 };
        Self { log, copies: CopyWindow::new(), pacer: None, next_seq: 0 }
    }

    fn next_at(&self) -> Option<Micros> {
        self.pacer.as_ref()?.next_at()
    }

    /// Sends nothing more; what was still to come is no longer planned.
    fn stop(&mut self) {
        if let Some(pacer) = self.pacer.as_mut().filter(|pacer| pacer.next_at().is_some()) {
            pacer.stop();
            self.log.planned = self.next_seq;
        }
    }
}

/// What the TLVs of a packet say, as far as they are signed.
#[derive(Default)]
struct Signed {
    media: Option<MediaTlv>,
    nonce: Option<NonceTlv>,
    report: Option<CapacityReport>,
}

/// The TLVs before the HMAC TLV: what comes after it is not signed.
fn signed_tlvs(tlvs: &[u8]) -> Signed {
    let mut found = Signed::default();
    for tlv in Tlvs::new(tlvs).map_while(Result::ok).take_while(|tlv| tlv.kind != TlvKind::HMAC) {
        match tlv.kind {
            TlvKind::MEDIA => found.media = MediaTlv::parse(tlv.value),
            TlvKind::NONCE => found.nonce = NonceTlv::parse(tlv.value),
            TlvKind::CAPACITY => found.report = CapacityReport::parse(tlv.value, Direction::Down),
            _ => {}
        }
    }
    found
}

const fn method(source: StampSource) -> StampMethod {
    match source {
        StampSource::Hardware => StampMethod::Hardware,
        StampSource::Kernel => StampMethod::SoftwareLocal,
        StampSource::User => StampMethod::ControlPlane,
        StampSource::Unknown => StampMethod::Unknown,
    }
}
