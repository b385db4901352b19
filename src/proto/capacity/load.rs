//! The sender's side of a stage: paces packets at the rate of the search.

use greenroom_reports::trace::{CapacityInterval, StreamId};
use greenroom_reports::units::{Bitrate, DataSize, Micros};

use super::{End, Feedback, INTERVAL, Outcome, Search, SearchConfig};
use crate::proto::stamp::CapacityReport;

/// From burst to burst at rates whose packets follow each other faster: no thread wakes for each of them.
const QUANTUM: Micros = Micros::new(250);
/// The most that a burst holds, in time at the present rate.
const BURST: Micros = Micros::from_millis(1);
/// A driver that is late catches up, in bursts; beyond this the rest is not sent any more.
const MAX_DEBT: Micros = Micros::from_millis(20);

/// A packet of load that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadPacket {
    pub(crate) stream: StreamId,
    pub(crate) seq: u32,
    pub(crate) at: Micros,
    pub(crate) ip_bytes: u16,
    pub(crate) offered: Bitrate,
}

/// The sender's side of a stage. Takes no memory per packet.
#[derive(Debug)]
pub(crate) struct Load {
    stream: StreamId,
    search: Search,
    next_seq: u32,
    pace: Pace,
    burst_from: Micros,
    burst_bytes: u64,
    /// Number of the newest interval that was reported.
    seen: Option<u32>,
    /// Packets that the system refused and no report has shown yet.
    refused: u32,
    /// When the search is to be asked again at the latest.
    look_at: Micros,
}

/// Bytes sent since the rate last changed: the next packet is due when that rate has made room for all of them. Exact at
/// any rate, for it never adds up rounded gaps.
#[derive(Debug, Clone, Copy)]
struct Pace {
    rate: Bitrate,
    from: Micros,
    sent: u64,
    /// The time that the last packet takes at this rate begins here.
    last: (Micros, u64),
}

impl Pace {
    fn next_at(&self) -> Micros {
        self.from + self.time_for(self.sent)
    }

    fn time_for(&self, bytes: u64) -> Micros {
        self.rate.time_for(DataSize::from_bytes(bytes)).unwrap_or(INTERVAL)
    }

    fn note(&mut self, at: Micros, bytes: u16) {
        self.sent += u64::from(bytes);
        self.last = (at, u64::from(bytes));
    }

    fn follow(&mut self, now: Micros, rate: Bitrate) {
        if rate != self.rate {
            self.rate = rate;
            let (last, bytes) = self.last;
            self.from = now.max(last + self.time_for(bytes));
            self.sent = 0;
        } else if now - self.next_at() > MAX_DEBT {
            self.from = now - MAX_DEBT;
            self.sent = 0;
        }
    }
}

impl Load {
    pub(crate) fn new(stream: StreamId, config: SearchConfig, now: Micros) -> Self {
        let search = Search::new(config, now);
        let pace = Pace { rate: search.rate(), from: now, sent: 0, last: (now, 0) };
        Self {
            stream,
            search,
            next_seq: 0,
            pace,
            burst_from: now - QUANTUM,
            burst_bytes: 0,
            seen: None,
            refused: 0,
            look_at: now,
        }
    }

    pub(crate) const fn stream(&self) -> StreamId {
        self.stream
    }

    /// How the search ended, once it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.search.outcome()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.outcome().is_none()
    }

    /// Ends the search; one that has ended stays as it is.
    pub(crate) fn stop(&mut self, now: Micros, end: End) {
        self.search.stop(now, end);
    }

    /// When [`Load::pop`] is to be asked; `None` once the search is over.
    pub(crate) fn next_at(&self) -> Option<Micros> {
        let packet = self.pace.next_at();
        let goes_on = packet <= self.burst_from && !self.burst_is_full();
        let at = if goes_on { packet } else { packet.max(self.burst_from + QUANTUM) };
        self.is_running().then(|| at.min(self.look_at))
    }

    /// Takes the next packet that is due: at most a millisecond's worth at once.
    pub(crate) fn pop(&mut self, now: Micros) -> Option<LoadPacket> {
        self.search.handle_timeout(now);
        if !self.is_running() {
            return None;
        }
        self.look_at = now + INTERVAL;
        self.pace.follow(now, self.search.rate());
        if now - self.burst_from >= QUANTUM {
            self.burst_from = now;
            self.burst_bytes = 0;
        }
        let at = self.pace.next_at();
        let ip_bytes = self.search.packet_bytes();
        if at > self.burst_from || self.burst_is_full() || !self.search.spend(now, ip_bytes) {
            return None;
        }
        self.burst_bytes += u64::from(ip_bytes);
        self.pace.note(at, ip_bytes);
        let seq = self.next_seq;
        self.next_seq = self.next_seq.wrapping_add(1);
        Some(LoadPacket { stream: self.stream, seq, at, ip_bytes, offered: self.pace.rate })
    }

    fn burst_is_full(&self) -> bool {
        let next = self.burst_bytes + u64::from(self.search.packet_bytes());
        self.burst_bytes > 0 && next > self.pace.rate.in_time(BURST).bytes()
    }

    /// Something else of the session left the same way: it takes its share of the rate.
    pub(crate) fn note_other(&mut self, now: Micros, ip_bytes: u16) {
        if self.is_running() {
            self.pace.follow(now, self.search.rate());
            self.pace.note(now, ip_bytes);
        }
    }

    /// The system refused a packet: the path has not lost it.
    pub(crate) const fn note_refused(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    /// Takes a report; hands each interval that is new to `keep`. Whether there was one.
    pub(crate) fn handle_report(
        &mut self,
        now: Micros,
        report: &CapacityReport,
        keep: &mut dyn FnMut(CapacityInterval),
    ) -> bool {
        let mut fresh = false;
        for (number, mut interval) in report.numbered() {
            if report.stream != self.stream || self.seen.is_some_and(|seen| number <= seen) {
                continue;
            }
            fresh = true;
            self.seen = Some(number);
            let excused = interval.lost_packets.min(self.refused);
            self.refused -= excused;
            interval.lost_packets -= excused;
            if self.is_running() {
                keep(interval);
            }
            self.search.handle_feedback(now, &Feedback::from(&interval));
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_rate(kbps: u64) -> Load {
        let rate = Bitrate::from_kbps(kbps);
        let config = SearchConfig { initial: rate, ceiling: rate, ..SearchConfig::default() };
        Load::new(StreamId(9), config, Micros::ZERO)
    }

    /// Drives it exactly when it asks, for `until`; the sizes of its bursts.
    fn bursts(load: &mut Load, until: Micros, late: impl Fn(Micros) -> Micros) -> Vec<(Micros, u64)> {
        let mut bursts = Vec::new();
        while let Some(at) = load.next_at() {
            let now = at + late(at);
            if now >= until {
                break;
            }
            let mut bytes = 0;
            while let Some(packet) = load.pop(now) {
                assert_eq!(packet.offered, load.pace.rate);
                bytes += u64::from(packet.ip_bytes);
            }
            bursts.push((now, bytes));
        }
        bursts
    }

    #[test]
    fn packets_are_evenly_spaced_and_bursts_are_short() {
        for kbps in [300, 1_000, 9_600, 40_000, 500_000] {
            let mut load = at_rate(kbps);
            let until = Micros::from_millis(500);
            let bursts = bursts(&mut load, until, |_| Micros::ZERO);
            let sent: u64 = bursts.iter().map(|(_, bytes)| bytes).sum();
            let nominal = Bitrate::from_kbps(kbps).in_time(until).bytes();
            assert!(sent.abs_diff(nominal) <= 1_200 + nominal / 1_000, "{kbps}: {sent} of {nominal}");
            let longest = Bitrate::from_kbps(kbps).in_time(QUANTUM).bytes().max(1_200) + 1_200;
            assert!(bursts.iter().all(|(_, bytes)| *bytes <= longest), "{kbps}");
            assert!(bursts.len() <= 2_000 + 10, "{kbps}: woken {} times in half a second", bursts.len());
        }
    }

    #[test]
    fn a_late_driver_catches_up_a_millisecond_at_a_time() {
        let mut load = at_rate(100_000);
        let late = |at: Micros| {
            if at > Micros::from_millis(100) && at < Micros::from_millis(101) {
                Micros::from_millis(8)
            } else {
                Micros::ZERO
            }
        };
        let bursts = bursts(&mut load, Micros::from_millis(300), late);
        let sent: u64 = bursts.iter().map(|(_, bytes)| bytes).sum();
        // 12,500 bytes are a millisecond's worth; nothing is lost of 300 of them.
        assert!(bursts.iter().all(|(_, bytes)| *bytes <= 12_500), "{:?}", bursts.iter().max_by_key(|b| b.1));
        assert!(sent.abs_diff(300 * 12_500) < 12_500, "{sent}");
    }

    #[test]
    fn what_a_stuck_driver_missed_is_not_sent_late() {
        let mut load = at_rate(100_000);
        while load.pop(Micros::ZERO).is_some() {}
        let now = Micros::from_millis(900);
        let mut sent = 0;
        for step in 0..400 {
            while let Some(packet) = load.pop(now + QUANTUM * step) {
                sent += u64::from(packet.ip_bytes);
            }
        }
        // What fell due in the 100 ms since, and the debt of 20 ms.
        assert!(sent.abs_diff(120 * 12_500) < 2 * 12_500, "{sent}");
    }

    #[test]
    fn other_packets_of_the_session_take_their_share() {
        let mut load = at_rate(1_000);
        let (mut own, mut other) = (0, 0);
        for ms in 0..1_000 {
            let now = Micros::from_millis(ms);
            if ms % 20 == 0 {
                load.note_other(now, 212);
                other += 212;
            }
            while let Some(packet) = load.pop(now) {
                own += u64::from(packet.ip_bytes);
            }
        }
        assert!((own + other).abs_diff(125_000) < 600, "{own} and {other}");
    }
}
