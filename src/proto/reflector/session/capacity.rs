//! A session's capacity stages: counts what comes up, runs the search down.

use greenroom_reports::trace::{Direction, StreamId};
use greenroom_reports::units::{Bitrate, Micros};

use super::Session;
use crate::proto::capacity::{
    Counted, End, LONGEST, Load, Meter, Outcome, SearchConfig, write_load, write_report,
};
use crate::proto::machine::{Arrival, Transmit, TransmitKey};
use crate::proto::reflector::config::{ReflectorCounters, SessionError};
use crate::proto::reflector::transmit_key;
use crate::proto::stamp::{CapacityReport, ErrorEstimate, MediaTlv, SenderPacket};
use crate::proto::window::{Copy, header_bytes, ip_bytes};

/// At most one stage each way.
#[derive(Debug, Default)]
pub(super) struct Stages {
    up: Option<Meter>,
    down: Option<Load>,
    reports_sent: u32,
}

impl Session {
    /// Begins to search the rate down, within what the session was granted.
    pub(in crate::proto::reflector) fn start_capacity(
        &mut self,
        now: Micros,
        stream: StreamId,
        asked: SearchConfig,
    ) -> Result<(), SessionError> {
        if self.validated.is_none() {
            return Err(SessionError::NotValidated);
        }
        if stream == StreamId::AUDIO || self.position(stream).is_ok() {
            return Err(SessionError::StreamExists(stream));
        }
        if self.capacity.down.as_ref().is_some_and(Load::is_running) {
            return Err(SessionError::SearchRuns);
        }
        let left = self.max_bitrate.bps().saturating_sub(self.media_rate().bps());
        let config = SearchConfig {
            ceiling: asked.ceiling.min(Bitrate::from_bps(left)),
            max_pps: asked.max_pps.min(self.max_pps),
            deadline: asked.deadline.min(LONGEST).min(self.expires - now),
            ..asked
        };
        if config.ceiling.bps() < 1_000 || config.max_pps == 0 {
            return Err(SessionError::Rate);
        }
        self.capacity.down = Some(Load::new(stream, config, now));
        Ok(())
    }

    /// How the search down ended, once it has.
    pub(in crate::proto::reflector) fn capacity_outcome(&self, stream: StreamId) -> Option<Outcome> {
        self.capacity.down.as_ref().filter(|load| load.stream() == stream)?.outcome()
    }

    /// Forgets a search down: nothing more is sent.
    pub(super) fn drop_search(&mut self, stream: StreamId) {
        self.capacity.down.take_if(|load| load.stream() == stream);
    }

    pub(super) fn end_search(&mut self, now: Micros, end: End) {
        if let Some(load) = &mut self.capacity.down {
            load.stop(now, end);
        }
    }

    /// Whether a stage wants to be asked for packets.
    pub(in crate::proto::reflector) fn has_stage(&self) -> bool {
        self.next_stage().is_some()
    }

    /// When a stage has something to send: a report or load. Never to an address that is not validated.
    pub(super) fn next_stage(&self) -> Option<Micros> {
        self.validated?;
        let report = self.capacity.up.as_ref().and_then(Meter::next_at).map(|at| at + self.epoch);
        let load = self.capacity.down.as_ref().and_then(Load::next_at);
        report.into_iter().chain(load).min()
    }

    pub(super) fn receive_load(
        &mut self,
        now: Micros,
        arrival: &Arrival,
        payload: usize,
        packet: &SenderPacket,
        media: MediaTlv,
        counters: &mut ReflectorCounters,
    ) {
        let at = arrival.at - self.epoch;
        let stages = &mut self.capacity;
        // A new stage begins only after the one before has ended: nobody makes the endpoint begin anew per packet.
        let stale = stages.up.as_ref().is_none_or(|it| it.stream() != media.stream && !it.is_running(at));
        if stale {
            stages.up = Some(Meter::new(Direction::Up, media.stream, at, header_bytes(arrival.from)));
        }
        let Some(meter) = stages.up.as_mut().filter(|it| it.stream() == media.stream) else {
            counters.unexpected += 1;
            return;
        };
        let counted = Counted {
            at,
            sent: packet.timestamp.decode(self.anchor, packet.error.format),
            seq: packet.seq,
            bytes: ip_bytes(arrival.from, payload),
            offered: media.rate,
        };
        match meter.take(counted, &mut |_| ()) {
            Copy::First => self.last_heard = Some(now),
            Copy::Again => {}
            Copy::Replay => counters.replayed += 1,
        }
    }

    /// A packet of another stream came up: it has its share of the link.
    pub(super) fn count_beside_load(&mut self, arrival: &Arrival, payload: usize, packet: &SenderPacket) {
        if let Some(meter) = &mut self.capacity.up {
            let sent = packet.timestamp.decode(self.anchor, packet.error.format);
            let bytes = ip_bytes(arrival.from, payload);
            meter.note_other(arrival.at - self.epoch, sent, bytes, &mut |_| ());
        }
    }

    /// A packet of another stream leaves: it takes its share of the rate.
    pub(super) fn pace_beside_load(&mut self, now: Micros, bytes: u16) {
        if let Some(load) = &mut self.capacity.down {
            load.note_other(now, bytes);
        }
    }

    pub(super) fn receive_report(
        &mut self,
        now: Micros,
        report: &CapacityReport,
        counters: &mut ReflectorCounters,
    ) {
        let Some(load) = &mut self.capacity.down else {
            counters.unexpected += 1;
            return;
        };
        // What was heard before is heard again by any replay: only a new interval is a sign of life.
        if load.handle_report(now, report, &mut |_| ()) {
            self.last_heard = Some(now);
        }
    }

    pub(super) fn send_stage(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        let to = self.validated?;
        let stages = &mut self.capacity;
        let report = stages.up.as_mut().and_then(|meter| meter.poll(now - self.epoch, &mut |_| ()));
        if let Some(report) = report {
            let seq = stages.reports_sent;
            stages.reports_sent = seq.wrapping_add(1);
            write_report(self.base(now, seq), &report, &self.down, payload);
            self.pace_beside_load(now, ip_bytes(to, payload.len()));
            return Some(Transmit { to, key: TransmitKey(0), intended: now, tos: 0, stamp: false });
        }
        let packet = stages.down.as_mut()?.pop(now)?;
        write_load(self.base(now, packet.seq), packet, header_bytes(to), &self.down, payload);
        let key = transmit_key(self.ssid, packet.stream, packet.seq);
        Some(Transmit { to, key, intended: packet.at, tos: 0, stamp: false })
    }

    pub(super) fn load_refused(&mut self, stream: StreamId) {
        if let Some(load) = self.capacity.down.as_mut().filter(|load| load.stream() == stream) {
            load.note_refused();
        }
    }

    /// The fixed part of a packet that this end begins.
    pub(super) fn base(&self, now: Micros, seq: u32) -> SenderPacket {
        SenderPacket {
            seq,
            timestamp: self.wire(now),
            error: ErrorEstimate::free_running(Micros::from_millis(1), self.timestamps),
            ssid: self.ssid,
        }
    }
}
