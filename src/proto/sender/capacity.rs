//! The client's capacity stages: runs the search up, counts what comes down.

use greenroom_reports::trace::{CapacityInterval, Direction, StreamId};
use greenroom_reports::units::{DataSize, Micros};

use super::{Sender, SenderError, SenderState};
use crate::proto::capacity::{Counted, Load, Meter, Outcome, SearchConfig, write_load, write_report};
use crate::proto::machine::{Arrival, Transmit, TransmitKey};
use crate::proto::stamp::{CapacityReport, MediaTlv, SenderPacket};
use crate::proto::window::{Copy, header_bytes, ip_bytes};

/// Intervals kept: twenty searches of five seconds. A hostile endpoint cannot make this end keep more.
const MAX_INTERVALS: usize = 2_000;
/// Marks the keys of reports.
const REPORT_KEY: u64 = 1 << 62;

/// At most one stage each way, and what all of them counted.
#[derive(Debug, Default)]
pub(super) struct Stages {
    up: Option<Load>,
    down: Option<Meter>,
    intervals: Vec<CapacityInterval>,
    reports_sent: u32,
    /// Bytes at the IP layer that the stages sent and received.
    bytes: u64,
}

impl Stages {
    /// When a stage has something to send or to close.
    pub(super) fn next_at(&self) -> Option<Micros> {
        let load = self.up.as_ref().and_then(Load::next_at);
        load.into_iter().chain(self.down.as_ref().and_then(Meter::next_at)).min()
    }

    /// Whether neither sends nor expects anything.
    pub(super) fn is_idle(&self) -> bool {
        self.next_at().is_none()
    }
}

/// Keeps an interval while there is room.
fn kept(intervals: &mut Vec<CapacityInterval>) -> impl FnMut(CapacityInterval) {
    |interval| {
        if intervals.len() < MAX_INTERVALS {
            intervals.push(interval);
        }
    }
}

impl Sender {
    /// Begins to search the rate up. Its stream needs no announcement: the reflector counts whatever says that it is load.
    ///
    /// A search down is asked for over the control stream; what comes of it is counted and reported without a command.
    ///
    /// # Errors
    ///
    /// [`SenderError`]: nothing is started then.
    pub fn start_capacity(
        &mut self,
        now: Micros,
        stream: StreamId,
        config: SearchConfig,
    ) -> Result<(), SenderError> {
        if self.state != SenderState::Running {
            return Err(SenderError::NotRunning);
        }
        if self.position(stream).is_ok() || self.capacity.up.as_ref().is_some_and(|it| it.stream() == stream)
        {
            return Err(SenderError::StreamExists(stream));
        }
        if self.capacity.up.as_ref().is_some_and(Load::is_running) {
            return Err(SenderError::SearchRuns);
        }
        self.capacity.up = Some(Load::new(stream, config, now));
        Ok(())
    }

    /// How the search up ended, once it has.
    pub fn capacity_outcome(&self, stream: StreamId) -> Option<Outcome> {
        self.capacity.up.as_ref().filter(|load| load.stream() == stream)?.outcome()
    }

    /// Whether the search up goes on. It does not when the session has ended before it.
    pub fn is_searching(&self, stream: StreamId) -> bool {
        let running = |load: &Load| load.stream() == stream && load.is_running();
        self.state == SenderState::Running && self.capacity.up.as_ref().is_some_and(running)
    }

    /// What was counted in capacity stages so far, both ways, in the order in which it became known: goes into the
    /// trace as it is.
    pub fn capacity_intervals(&self) -> &[CapacityInterval] {
        &self.capacity.intervals
    }

    /// Gives up what was counted in capacity stages.
    pub fn take_capacity_intervals(&mut self) -> Vec<CapacityInterval> {
        std::mem::take(&mut self.capacity.intervals)
    }

    /// Bytes at the IP layer that capacity stages have sent and received at this end.
    pub const fn capacity_bytes(&self) -> DataSize {
        DataSize::from_bytes(self.capacity.bytes)
    }

    /// Forgets both stages: nothing more is sent, and they have no outcome. What was counted stays.
    pub(super) fn drop_stages(&mut self) {
        self.capacity.up = None;
        self.capacity.down = None;
    }

    pub(super) fn receive_load(
        &mut self,
        now: Micros,
        arrival: &Arrival,
        payload: usize,
        packet: &SenderPacket,
        media: MediaTlv,
    ) {
        let Stages { down, intervals, bytes, .. } = &mut self.capacity;
        *bytes += u64::from(ip_bytes(arrival.from, payload));
        let stale = down.as_ref().is_none_or(|it| it.stream() != media.stream && !it.is_running(arrival.at));
        if stale {
            let headers = header_bytes(arrival.from);
            *down = Some(Meter::new(Direction::Down, media.stream, arrival.at, headers));
        }
        let Some(meter) = down.as_mut().filter(|it| it.stream() == media.stream) else {
            self.counters.unexpected += 1;
            return;
        };
        let counted = Counted {
            at: arrival.at,
            sent: packet.timestamp.decode(self.config.anchor_there, self.config.timestamps_there),
            seq: packet.seq,
            bytes: ip_bytes(arrival.from, payload),
            offered: media.rate,
        };
        match meter.take(counted, &mut kept(intervals)) {
            Copy::First => self.last_heard = Some(now),
            Copy::Again => {}
            Copy::Replay => self.counters.replayed += 1,
        }
    }

    /// A packet of another stream came down: it has its share of the link. `sent` is on the reflector's clock.
    pub(super) fn count_beside_load(&mut self, arrival: &Arrival, payload: usize, sent: Micros) {
        let Stages { down, intervals, .. } = &mut self.capacity;
        if let Some(meter) = down {
            meter.note_other(arrival.at, sent, ip_bytes(arrival.from, payload), &mut kept(intervals));
        }
    }

    /// A packet of another stream leaves: it takes its share of the rate.
    pub(super) fn pace_beside_load(&mut self, now: Micros, bytes: u16) {
        if let Some(load) = &mut self.capacity.up {
            load.note_other(now, bytes);
        }
    }

    /// `size` is that at the IP layer.
    pub(super) fn receive_report(&mut self, now: Micros, size: u16, report: &CapacityReport) {
        let Stages { up, intervals, bytes, .. } = &mut self.capacity;
        *bytes += u64::from(size);
        let Some(load) = up else {
            self.counters.unexpected += 1;
            return;
        };
        // A replay tells nothing new.
        if load.handle_report(now, report, &mut kept(intervals)) {
            self.last_heard = Some(now);
        }
    }

    pub(super) fn poll_stage(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        let Stages { up, down, intervals, reports_sent, .. } = &mut self.capacity;
        let to = self.config.reflector;
        if let Some(report) = down.as_mut().and_then(|meter| meter.poll(now, &mut kept(intervals))) {
            let seq = *reports_sent;
            *reports_sent = seq.wrapping_add(1);
            write_report(self.base(now, seq), &report, &self.up, payload);
            let size = ip_bytes(to, payload.len());
            self.capacity.bytes += u64::from(size);
            self.pace_beside_load(now, size);
            return Some(self.transmit(TransmitKey(REPORT_KEY | u64::from(seq)), now, false));
        }
        let packet = up.as_mut()?.pop(now)?;
        self.capacity.bytes += u64::from(packet.ip_bytes);
        write_load(self.base(now, packet.seq), packet, header_bytes(to), &self.up, payload);
        let key = TransmitKey(u64::from(packet.stream.0) << 32 | u64::from(packet.seq));
        Some(self.transmit(key, packet.at, false))
    }

    pub(super) fn load_refused(&mut self, stream: StreamId) {
        if let Some(load) = self.capacity.up.as_mut().filter(|load| load.stream() == stream) {
            load.note_refused();
        }
    }
}
