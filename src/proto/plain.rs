//! A plain STAMP sender: unauthenticated, one stream, for routers and other tools' reflectors.
//!
//! It asks for Class of Service and Follow-Up Telemetry; a reflector that does not know them gives them back unrecognized.
//! Whether the reflector counts on its own (stateful) shows in its numbers: [`PlainSender::is_stateful`].

use std::net::SocketAddr;

use greenroom_reports::trace::{
    ClockInfo, Half, Media, ReplyStamps, RxRecord, StreamId, StreamLog, StreamSpec, TxRecord,
};
use greenroom_reports::units::{Bitrate, Micros};

use super::machine::{Arrival, Departure, Machine, Transmit, TransmitKey};
use super::stamp::{
    ClassOfService, ErrorEstimate, FollowUp, Mode, ReflectorPacket, SenderPacket, Timestamp, TimestampFormat,
    TlvKind, TlvWriter, Tlvs, WallAnchor,
};
use super::window::{Copy, CopyWindow, ip_bytes};

/// What a plain sender is told.
#[derive(Debug, Clone)]
pub struct PlainConfig {
    /// Where packets go.
    pub reflector: SocketAddr,
    /// This end's wall clock at zero of the machine's clock. T2 and T3 are read with it too: the offset between two ends
    /// is unknown anyway.
    pub anchor: WallAnchor,
    /// How this end's points are taken: goes into the log.
    pub clock: ClockInfo,
    /// SSID, or 0 for reflectors that only know RFC 8762.
    pub ssid: u16,
    /// Whether TLVs are sent. Off for reflectors that only know RFC 8762: then packets have 44 octets.
    pub extensions: bool,
    /// UDP payload, reached with padding, where extensions are on.
    pub payload: usize,
    /// When the first packet leaves.
    pub start: Micros,
    /// Time from packet to packet.
    pub interval: Micros,
    /// Packets in all.
    pub count: u32,
    /// DSCP and ECN to send with (the TOS or traffic-class octet).
    pub tos: u8,
    /// How long to wait for what is still on its way after the last packet.
    pub straggler_wait: Micros,
}

/// A plain STAMP sender. See the [module](self).
#[derive(Debug)]
pub struct PlainSender {
    config: PlainConfig,
    half: Half,
    copies: CopyWindow,
    ignored: u64,
    elsewhere: Option<SocketAddr>,
    own_numbers: bool,
}

impl PlainSender {
    /// Waits for [`PlainConfig::start`].
    pub fn new(config: PlainConfig) -> Self {
        let mut sender = Self {
            half: Half { clock: config.clock.clone(), ..Half::default() },
            copies: CopyWindow::new(),
            ignored: 0,
            elsewhere: None,
            own_numbers: false,
            config,
        };
        let mut packet = Vec::new();
        sender.write(Micros::ZERO, 0, &mut packet);
        let bits = u64::from(ip_bytes(sender.config.reflector, packet.len())) * 8_000_000;
        let rate = Bitrate::from_bps(bits / sender.config.interval.get().max(1).unsigned_abs());
        sender.half.streams.push(StreamLog {
            id: StreamId::AUDIO,
            spec: StreamSpec { media: Media::Audio, direction: None, rate },
            planned: sender.config.count,
            tx: Vec::new(),
            rx: Vec::new(),
            corrupt: 0,
        });
        sender
    }

    /// What this end has logged so far. `complete` once stragglers have been awaited.
    pub const fn half(&self) -> &Half {
        &self.half
    }

    /// Datagrams that were not replies to this stream.
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Another address than the reflector's from which the last reply to this stream came. Such replies do not count.
    pub const fn elsewhere(&self) -> Option<SocketAddr> {
        self.elsewhere
    }

    /// Whether anything has come back.
    pub fn is_answered(&self) -> bool {
        self.half.streams.iter().any(|stream| !stream.rx.is_empty())
    }

    /// Whether the reflector has used numbers of its own; `false` while nothing was lost upward, or it is stateless.
    pub const fn is_stateful(&self) -> bool {
        self.own_numbers
    }

    fn log(&mut self) -> &mut StreamLog {
        &mut self.half.streams[0]
    }

    fn sent(&self) -> u32 {
        u32::try_from(self.half.streams[0].tx.len()).unwrap_or(u32::MAX)
    }

    fn due(&self, seq: u32) -> Micros {
        self.config.start + self.config.interval * i64::from(seq)
    }

    fn end(&self) -> Micros {
        self.due(self.config.count.saturating_sub(1)) + self.config.straggler_wait
    }

    fn write(&self, now: Micros, seq: u32, payload: &mut Vec<u8>) {
        let format = TimestampFormat::Ntp;
        let packet = SenderPacket {
            seq,
            timestamp: Timestamp::encode(now, self.config.anchor, format),
            error: ErrorEstimate::free_running(Micros::from_millis(1), format),
            ssid: self.config.ssid,
        };
        packet.write(Mode::Open, payload);
        if self.config.extensions {
            let mut tlvs = TlvWriter::new(payload);
            tlvs.class_of_service(ClassOfService::request(self.config.tos >> 2));
            tlvs.follow_up();
            tlvs.pad_to(self.config.payload);
        }
    }

    fn stamps(&self, reply: &ReflectorPacket, tlvs: &[u8]) -> ReplyStamps {
        let (anchor, format) = (self.config.anchor, reply.error.format);
        let mut stamps = ReplyStamps {
            of: reply.sender_seq,
            received: reply.received.decode(anchor, format),
            sent: reply.timestamp.decode(anchor, format),
            follow_up: None,
            ttl: (reply.sender_ttl != 0).then_some(reply.sender_ttl),
            tos: None,
        };
        let understood = Tlvs::new(tlvs)
            .map_while(Result::ok)
            .filter(|tlv| !tlv.flags.unrecognized && !tlv.flags.malformed && !tlv.flags.integrity);
        for tlv in understood {
            match tlv.kind {
                TlvKind::CLASS_OF_SERVICE => {
                    stamps.tos = ClassOfService::parse(tlv.value).map(ClassOfService::received_tos);
                }
                TlvKind::FOLLOW_UP => {
                    stamps.follow_up = FollowUp::parse(tlv.value)
                        .filter(|it| !it.timestamp.is_zero())
                        .map(|it| (it.seq, it.timestamp.decode(anchor, format)));
                }
                _ => {}
            }
        }
        stamps
    }
}

impl Machine for PlainSender {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        let reply = ReflectorPacket::parse(Mode::Open, payload).ok();
        let ours = reply.filter(|(reply, _)| {
            reply.sender_seq < self.sent() && (reply.ssid == self.config.ssid || reply.ssid == 0)
        });
        if ours.is_some() && arrival.from != self.config.reflector {
            self.elsewhere = Some(arrival.from);
        }
        let ours = ours.filter(|_| arrival.from == self.config.reflector);
        let Some((reply, tlvs)) =
            ours.filter(|(reply, _)| self.copies.note(reply.sender_seq) != Copy::Replay)
        else {
            self.ignored += 1;
            return;
        };
        self.own_numbers |= reply.seq != reply.sender_seq;
        let record = RxRecord {
            seq: reply.seq,
            at: arrival.at,
            user: Some(now),
            bytes: ip_bytes(arrival.from, payload.len()),
            tos: arrival.tos,
            ttl: arrival.ttl,
            reply: Some(self.stamps(&reply, tlvs)),
        };
        self.log().rx.push(record);
    }

    fn handle_departure(&mut self, departure: &Departure) {
        let Some(record) = usize::try_from(departure.key.0).ok().and_then(|seq| self.log().tx.get_mut(seq))
        else {
            return;
        };
        departure.event.note(record, Micros::ZERO);
    }

    fn handle_drops(&mut self, now: Micros, total: u64) {
        self.half.note_drops(now, total);
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        self.half.covered_until = self.half.covered_until.max(now);
        self.half.complete = now >= self.end();
        let seq = self.sent();
        let at = self.due(seq);
        if seq >= self.config.count || at > now {
            return None;
        }
        payload.clear();
        self.write(now, seq, payload);
        let bytes = ip_bytes(self.config.reflector, payload.len());
        self.log().tx.push(TxRecord::planned(seq, at, bytes));
        let key = TransmitKey(u64::from(seq));
        Some(Transmit { to: self.config.reflector, key, intended: at, tos: self.config.tos, stamp: true })
    }

    fn next_deadline(&self) -> Option<Micros> {
        let seq = self.sent();
        if seq < self.config.count { Some(self.due(seq)) } else { (!self.half.complete).then(|| self.end()) }
    }

    fn is_finished(&self) -> bool {
        self.half.complete
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::DepartureEvent;
    use super::super::reflector::OpenStamp;
    use super::super::testlink::{CLIENT, ENDPOINT, addr, clock, reflector};
    use super::*;

    fn config(extensions: bool) -> PlainConfig {
        PlainConfig {
            reflector: addr(ENDPOINT),
            anchor: WallAnchor::from_unix_micros(1_795_000_000_500_000),
            clock: clock(),
            ssid: if extensions { 7 } else { 0 },
            extensions,
            payload: 172,
            start: Micros::from_millis(5),
            interval: Micros::from_millis(20),
            count: 50,
            tos: 0,
            straggler_wait: Micros::from_secs(1),
        }
    }

    /// Runs over a link of 10 ms that swallows every tenth request; returns the lengths of requests and replies.
    fn run(open: OpenStamp, extensions: bool) -> (PlainSender, Vec<usize>) {
        let mut sender = PlainSender::new(config(extensions));
        let mut target = reflector(open);
        let mut lens = Vec::new();
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        while let Some(now) = sender.next_deadline() {
            let Some(transmit) = sender.poll_transmit(now, &mut request) else {
                continue;
            };
            sender.handle_departure(&Departure { key: transmit.key, event: DepartureEvent::Handed(now) });
            if transmit.key.0 % 10 == 9 {
                continue;
            }
            let there = now + Micros::from_millis(10);
            let arrival =
                Arrival { from: addr(CLIENT), at: there, kernel: true, tos: Some(0), ttl: Some(60) };
            target.handle_datagram(there, &arrival, &request);
            let answered = target.poll_transmit(there, &mut reply);
            assert!(answered.is_some_and(|it| it.to == addr(CLIENT)));
            lens.extend([request.len(), reply.len()]);
            let back = there + Micros::from_millis(10);
            let arrival = Arrival { from: addr(ENDPOINT), at: back, ..arrival };
            sender.handle_datagram(back, &arrival, &reply);
        }
        (sender, lens)
    }

    #[test]
    fn a_plain_stream_is_measured() {
        for (open, extensions) in [(OpenStamp::Stateful, true), (OpenStamp::Stateless, false)] {
            let (sender, lens) = run(open, extensions);
            let log = &sender.half().streams[0];
            assert_eq!((log.planned, log.tx.len(), log.rx.len()), (50, 50, 45));
            assert_eq!(sender.is_stateful(), open == OpenStamp::Stateful);
            let len = if extensions { 172 } else { 44 };
            assert!(lens.iter().all(|it| *it == len), "{lens:?}");
            for reply in &log.rx {
                let stamps = reply.reply.expect("a reply");
                let left = log.tx[stamps.of as usize].departed().expect("sent");
                // Both ends share an anchor here, so that T2 can be checked.
                assert_eq!((stamps.received - left, stamps.sent), (Micros::from_millis(10), stamps.received));
                assert_eq!((stamps.tos, stamps.follow_up), (extensions.then_some(0), None));
            }
            assert!(sender.is_finished() && sender.half().complete);
        }
    }

    #[test]
    fn what_is_no_reply_is_ignored() {
        let (mut sender, _) = run(OpenStamp::Stateful, true);
        let before = sender.half().streams[0].rx.len();
        let arrival = Arrival { from: addr(ENDPOINT), at: Micros::ZERO, kernel: true, tos: None, ttl: None };
        sender.handle_datagram(Micros::ZERO, &arrival, &[0; 10]);
        sender.handle_datagram(Micros::ZERO, &arrival, &[0xff; 44]);
        sender.handle_datagram(Micros::ZERO, &Arrival { from: addr(CLIENT), ..arrival }, &[0; 44]);
        assert_eq!((sender.ignored(), sender.half().streams[0].rx.len()), (3, before));
    }
}
