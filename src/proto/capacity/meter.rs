//! The receiver's side of a stage: counts what arrives in intervals of 50 ms, and reports them.

use greenroom_reports::trace::{CapacityInterval, Direction, StreamId};
use greenroom_reports::units::{Bitrate, Micros};

use super::INTERVAL;
use super::wire::REPORT_PAYLOAD;
use crate::proto::stamp::CapacityReport;
use crate::proto::window::{Copy, CopyWindow};

/// How long a packet that arrived within an interval may take from the kernel to here.
const GRACE: Micros = Micros::from_millis(2);
/// Silence that ends a stage, as it ends the search.
const SILENCE: Micros = Micros::from_secs(1);

/// A packet of load that arrived. Its size is that at the IP layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) at: Micros,
    /// When it left, on whatever clock: only differences count.
    pub(crate) sent: Micros,
    pub(crate) seq: u32,
    pub(crate) bytes: u16,
    pub(crate) offered: Bitrate,
}

/// Counts one stage. Takes no memory per packet.
#[derive(Debug)]
pub(crate) struct Meter {
    stream: StreamId,
    copies: CopyWindow,
    /// One more than the highest number that arrived.
    end: u64,
    /// Numbers that arrived.
    arrived: u64,
    /// Losses that were reported.
    reported_lost: u64,
    /// Least delay of the stage. Its zero means nothing: the clocks are not each other's.
    least: Option<Micros>,
    /// The interval that is being counted. Its delays are as `least`.
    current: CapacityInterval,
    report: CapacityReport,
    /// Whether the report says something that was not sent yet.
    fresh: bool,
    /// Bytes that came and were not answered yet: reports never have more than the load.
    credit: u64,
    /// Bytes at the IP layer of a report.
    report_bytes: u64,
    heard: Micros,
}

impl Meter {
    /// Begins with a packet's arrival. `headers` are the octets of IP and UDP before a report.
    pub(crate) fn new(direction: Direction, stream: StreamId, at: Micros, headers: u16) -> Self {
        Self {
            stream,
            copies: CopyWindow::new(),
            end: 0,
            arrived: 0,
            reported_lost: 0,
            least: None,
            current: CapacityInterval {
                direction,
                at,
                lasted: INTERVAL,
                offered: Bitrate::default(),
                received_bytes: 0,
                received_packets: 0,
                lost_packets: 0,
                disordered_packets: 0,
                delay_range: None,
            },
            report: CapacityReport::new(stream),
            fresh: false,
            credit: 0,
            report_bytes: u64::from(REPORT_PAYLOAD + headers),
            heard: at,
        }
    }

    pub(crate) const fn stream(&self) -> StreamId {
        self.stream
    }

    /// Whether the stage may still go on.
    pub(crate) fn is_running(&self, now: Micros) -> bool {
        now - self.heard < SILENCE
    }

    /// Counts a packet of load. Intervals that it closes go to `keep`.
    pub(crate) fn take(&mut self, packet: Counted, keep: &mut dyn FnMut(CapacityInterval)) -> Copy {
        self.close_until(packet.at, keep);
        let copy = self.copies.note(packet.seq);
        if copy == Copy::Replay {
            return copy;
        }
        let next = u64::from(packet.seq) + 1;
        if copy == Copy::Again || next <= self.end {
            self.current.disordered_packets = self.current.disordered_packets.saturating_add(1);
        }
        if copy == Copy::First {
            self.arrived += 1;
            self.heard = self.heard.max(packet.at);
            self.end = self.end.max(next);
            self.current.offered = packet.offered;
        }
        self.count(packet.sent, packet.at, packet.bytes);
        copy
    }

    /// Counts something else of the session that came the same way.
    pub(crate) fn note_other(
        &mut self,
        at: Micros,
        sent: Micros,
        bytes: u16,
        keep: &mut dyn FnMut(CapacityInterval),
    ) {
        if self.is_running(at) {
            self.close_until(at, keep);
            self.count(sent, at, bytes);
        }
    }

    fn count(&mut self, sent: Micros, at: Micros, bytes: u16) {
        self.credit = self.credit.saturating_add(u64::from(bytes));
        let delay = at - sent;
        self.least = Some(self.least.map_or(delay, |least| least.min(delay)));
        let interval = &mut self.current;
        interval.received_bytes += u64::from(bytes);
        interval.received_packets = interval.received_packets.saturating_add(1);
        let range = interval.delay_range;
        interval.delay_range =
            Some(range.map_or((delay, delay), |(least, most)| (least.min(delay), most.max(delay))));
    }

    /// When [`Meter::poll`] is to be asked; `None` once the stage is over.
    pub(crate) fn next_at(&self) -> Option<Micros> {
        let close = self.current.at + INTERVAL + GRACE;
        let running = close - self.heard < SILENCE + INTERVAL + GRACE;
        running.then(|| if self.may_report() { self.current.at } else { close })
    }

    /// Closes what is over at `now`, and takes the report that is due.
    pub(crate) fn poll(
        &mut self,
        now: Micros,
        keep: &mut dyn FnMut(CapacityInterval),
    ) -> Option<CapacityReport> {
        self.next_at()?;
        self.close_until(now - GRACE, keep);
        if !self.may_report() {
            return None;
        }
        self.fresh = false;
        self.credit -= self.report_bytes;
        Some(self.report)
    }

    fn may_report(&self) -> bool {
        self.fresh && self.credit >= self.report_bytes
    }

    /// Closes every interval that ended at `at` or before.
    fn close_until(&mut self, at: Micros, keep: &mut dyn FnMut(CapacityInterval)) {
        if at - self.current.at > SILENCE * 2 {
            // A hole that no stage survives: nobody counts through it.
            self.current.at = at;
        }
        while at >= self.current.at + INTERVAL {
            let closed = self.close();
            self.fresh |= closed.received_packets > 0;
            self.report.push(closed);
            keep(closed);
        }
    }

    fn close(&mut self) -> CapacityInterval {
        let lost = self.end.saturating_sub(self.arrived);
        let newly = lost.saturating_sub(self.reported_lost);
        self.reported_lost = self.reported_lost.max(lost);
        let least = self.least.unwrap_or(Micros::ZERO);
        let closed = CapacityInterval {
            lost_packets: u32::try_from(newly).unwrap_or(u32::MAX),
            delay_range: self.current.delay_range.map(|(low, high)| (low - least, high - least)),
            ..self.current
        };
        self.current = CapacityInterval {
            at: self.current.at + INTERVAL,
            received_bytes: 0,
            received_packets: 0,
            lost_packets: 0,
            disordered_packets: 0,
            delay_range: None,
            ..self.current
        };
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        Meter::new(Direction::Up, StreamId(9), Micros::ZERO, 28)
    }

    fn packet(ms: i64, seq: u32) -> Counted {
        Counted {
            at: Micros::from_millis(ms),
            // A clock five seconds behind, 7 ms away, and 1 ms further per packet that waits.
            sent: Micros::from_millis(ms - 7 - i64::from(seq % 4) - 5_000),
            seq,
            bytes: 500,
            offered: Bitrate::from_kbps(400),
        }
    }

    fn told(report: &CapacityReport) -> Vec<CapacityInterval> {
        report.numbered().map(|(_, interval)| interval).collect()
    }

    #[test]
    fn an_interval_tells_what_arrived_in_it() {
        let mut meter = meter();
        let mut kept = Vec::new();
        // 3 comes after 4, 5 twice, 6 and 7 never.
        for (ms, seq) in [(0, 0), (10, 1), (20, 2), (25, 4), (30, 3), (35, 5), (36, 5), (48, 8)] {
            meter.take(packet(ms, seq), &mut |it| kept.push(it));
        }
        assert_eq!(meter.poll(Micros::from_millis(51), &mut |it| kept.push(it)), None, "grace");
        assert_eq!(meter.next_at(), Some(Micros::from_millis(52)));
        let report = meter.poll(Micros::from_millis(52), &mut |it| kept.push(it)).expect("due");
        let expected = CapacityInterval {
            direction: Direction::Up,
            at: Micros::ZERO,
            lasted: INTERVAL,
            offered: Bitrate::from_kbps(400),
            received_bytes: 4_000,
            received_packets: 8,
            lost_packets: 2,
            disordered_packets: 2,
            delay_range: Some((Micros::ZERO, Micros::from_millis(3))),
        };
        assert_eq!((told(&report), kept), (vec![expected], vec![expected]));
    }

    #[test]
    fn what_is_late_takes_back_its_loss() {
        let mut meter = meter();
        let mut kept = Vec::new();
        for (ms, seq) in [(0, 0), (10, 2), (60, 1), (70, 3), (120, 5), (160, 6)] {
            meter.take(packet(ms, seq), &mut |it| kept.push(it.lost_packets));
        }
        // 1 was missing, then came: the loss of 4 stands in for it.
        assert_eq!(kept, [1, 0, 0]);
    }

    #[test]
    fn reports_never_have_more_bytes_than_the_load() {
        let mut meter = meter();
        let (mut received, mut sent) = (0, 0);
        for n in 0..400 {
            // 100 bytes every 20 ms: a report every 50 ms would be three times as much.
            let small = Counted { bytes: 100, ..packet(i64::from(n) * 20, n) };
            meter.take(small, &mut |_| ());
            received += 100;
            while meter.poll(small.at, &mut |_| ()).is_some() {
                sent += u64::from(REPORT_PAYLOAD) + 28;
                assert!(sent <= received);
            }
            assert!(meter.next_at().is_some_and(|at| at > small.at), "no busy waiting for credit");
        }
        assert!(sent > received / 2, "it does report");
    }

    #[test]
    fn silence_ends_it_without_a_word() {
        let mut meter = meter();
        meter.take(packet(0, 0), &mut |_| ());
        let mut reports = 0;
        let mut intervals = 0;
        while let Some(at) = meter.next_at() {
            reports += u32::from(meter.poll(at, &mut |_| intervals += 1).is_some());
            assert!(at < Micros::from_secs(2), "it ends");
        }
        assert!((19..=22).contains(&intervals), "{intervals}");
        assert!(reports <= 1 && !meter.is_running(Micros::from_secs(1)));
    }
}
