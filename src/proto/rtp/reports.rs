//! What a receiver's reports say of a stream that was sent to it (RFC 3550 section 6.4), and what transport-wide feedback says of each packet.
//!
//! Whoever reports is not trusted: numbers that cannot be are bounded by what was sent, times that cannot be are left out.

use std::collections::{BTreeMap, VecDeque};

use greenroom_reports::confidence::loss::LossRuns;
use greenroom_reports::metrics::percentile::{Quantile, nearest_rank};
use greenroom_reports::schema::{ReportedLoss, SmoothedJitter};
use greenroom_reports::units::Micros;

/// Sender reports whose departure is remembered.
const REMEMBERED: usize = 64;

/// Values of each kind that are kept of reports, whoever sends them and however often. Sums go on.
pub(super) const KEPT: usize = 10_000;

/// How far a hold may be beyond the truth by its unit, 1/65536 s, and by rounding.
const GRAIN: Micros = Micros::new(100);

/// One report about a stream (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The highest sequence number received, with the cycles that the receiver counted.
    pub highest: u32,
    /// Cumulative number of packets lost: 24 bits, signed.
    pub lost: u32,
    /// Interarrival jitter, in ticks of the stream's clock.
    pub jitter: u32,
    /// The middle half of the NTP time of the last sender report received; 0 where there was none.
    pub last_sr: u32,
    /// How long that has been, in 1/65536 s.
    pub delay: u32,
}

/// What reports said of a stream.
#[derive(Debug, Clone, Default)]
pub struct Reports {
    first: Option<u16>,
    sent: u64,
    departures: VecDeque<(u32, Micros)>,
    count: u64,
    expected: u64,
    lost: u64,
    intervals: Vec<ReportedLoss>,
    rtts: Vec<Micros>,
    jitters: Vec<u32>,
}

impl Reports {
    /// A packet left; retransmissions are none.
    pub fn sent(&mut self, sequence: u16) {
        self.first.get_or_insert(sequence);
        self.sent += 1;
    }

    /// A sender report with this NTP time (its middle half) left.
    pub fn sender_report(&mut self, ntp: u32, at: Micros) {
        self.departures.push_back((ntp, at));
        if self.departures.len() > REMEMBERED {
            self.departures.pop_front();
        }
    }

    /// A report about it came.
    pub fn report(&mut self, block: &Block, at: Micros) {
        self.count += 1;
        if self.jitters.len() < KEPT {
            self.jitters.push(block.jitter);
            self.rtts.extend(self.round_trip(block, at));
        }
        let Some(first) = self.first else { return };
        // How many it expected, were it to have begun with the first one. A number from before that, or from beyond the last one, cannot be.
        let expected = u64::from(block.highest.wrapping_sub(u32::from(first)).wrapping_add(1));
        if expected > self.sent || expected <= self.expected {
            return;
        }
        let lost = u64::try_from(signed(block.lost)).unwrap_or(0).min(expected);
        let interval = expected - self.expected;
        let missed = lost.saturating_sub(self.lost).min(interval);
        let is_full = self.intervals.len() >= KEPT;
        match self.intervals.last_mut().filter(|_| is_full) {
            Some(last) => {
                last.expected += interval;
                last.lost += missed;
            }
            None => self.intervals.push(ReportedLoss { expected: interval, lost: missed }),
        }
        (self.expected, self.lost) = (expected, lost);
    }

    /// Now − LSR − DLSR, where the sender report is remembered and the receiver did not hold it for longer than it was gone.
    fn round_trip(&self, block: &Block, at: Micros) -> Option<Micros> {
        if block.last_sr == 0 {
            return None;
        }
        // The same time may have been rounded the other way.
        let same = |ntp: u32| ntp.wrapping_sub(block.last_sr).wrapping_add(1) <= 2;
        let (_, left) = self.departures.iter().rev().find(|(ntp, _)| same(*ntp))?;
        let held = Micros::new(i64::from(block.delay) * 1_000_000 / 65_536);
        let rtt = at - *left - held;
        (rtt >= -GRAIN).then_some(rtt.max(Micros::ZERO))
    }

    /// Packets that left.
    pub fn packets(&self) -> u64 {
        self.sent
    }

    /// Reports about it.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Packets that the receiver expected by its last report that can be.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// Those that it missed.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The same from report to report.
    pub fn intervals(&self) -> &[ReportedLoss] {
        &self.intervals
    }

    /// Round trips.
    pub fn rtts(&self) -> &[Micros] {
        &self.rtts
    }

    /// Interarrival jitter by each report, in ticks of the stream's clock.
    pub fn jitters(&self) -> &[u32] {
        &self.jitters
    }
}

/// A number of 24 bits with a sign.
fn signed(lost: u32) -> i32 {
    (lost << 8).cast_signed() >> 8
}

/// The middle half of an NTP time (RFC 3550 section 4), of a time since 1970.
pub fn ntp_middle(since_1970: std::time::Duration) -> u32 {
    /// From 1900 to 1970.
    const ERA: u64 = 2_208_988_800;
    let seconds = (since_1970.as_secs() + ERA) & 0xffff;
    let fraction = (u64::from(since_1970.subsec_nanos()) << 16) / 1_000_000_000;
    u32::try_from(seconds << 16 | fraction).unwrap_or_default()
}

/// What transport-wide feedback said of each packet.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    marks: BTreeMap<u64, bool>,
}

impl Arrivals {
    /// A packet was said to have arrived, or not to. What arrived once has arrived. Of numbers of `sent` or more nothing was sent.
    pub fn told(&mut self, sequence: u64, arrived: bool, sent: u64) {
        if sequence < sent {
            *self.marks.entry(sequence).or_default() |= arrived;
        }
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Packets spoken of, and of those the ones that did not arrive.
    pub fn counts(&self) -> (u64, u64) {
        let lost = self.marks.values().filter(|arrived| !**arrived).count();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        (count(self.marks.len()), count(lost))
    }

    /// Runs of losses, in order of sending.
    pub fn runs(&self) -> LossRuns {
        let mut runs = LossRuns::default();
        let mut next = None;
        for (sequence, arrived) in &self.marks {
            if next.is_some_and(|next| next != *sequence) {
                runs.cut();
            }
            runs.push(!arrived);
            next = Some(sequence + 1);
        }
        runs
    }
}

/// Interarrival jitter (RFC 3550 A.8) by its values in ticks, in time: what has more ticks than an hour is none.
pub fn jitter(ticks: &[u32], clock: u32, packets: u64) -> Option<SmoothedJitter> {
    let hour = clock.saturating_mul(3_600);
    let told = ticks.iter().filter(|ticks| **ticks < hour);
    let ms = |ticks: u32| rounded(f64::from(ticks) / f64::from(clock) * 1e3);
    let in_order: Vec<u32> = told.copied().collect();
    let mut sorted = in_order.clone();
    sorted.sort_unstable();
    Some(SmoothedJitter {
        n: packets,
        last: ms(*in_order.last()?),
        p95: ms(nearest_rank(&sorted, Quantile::P95)?),
        max: ms(*sorted.last()?),
    })
}

/// Six digits behind the point, as everywhere in a report.
pub fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u16) -> Reports {
        let mut reports = Reports::default();
        (0..count).for_each(|index| reports.sent(1_000 + index));
        reports
    }

    fn block(highest: u32, lost: u32) -> Block {
        Block { highest, lost, jitter: 48, last_sr: 0, delay: 0 }
    }

    #[test]
    fn losses_are_told_from_report_to_report() {
        let mut reports = sent(100);
        reports.report(&block(1_049, 5), Micros::ZERO);
        reports.report(&block(1_099, 5), Micros::ZERO);
        assert_eq!((reports.expected(), reports.lost(), reports.count()), (100, 5, 2));
        let at = |expected, lost| ReportedLoss { expected, lost };
        assert_eq!(reports.intervals(), [at(50, 5), at(50, 0)]);
        assert!(reports.rtts().is_empty());
        assert_eq!(reports.jitters(), [48, 48]);
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let mut reports = sent(10);
        for highest in [999, 1_010, 0, u32::MAX] {
            reports.report(&block(highest, 1), Micros::ZERO);
            assert_eq!(reports.expected(), 0, "{highest}");
        }
        // More copies than packets: a negative number of losses.
        reports.report(&block(1_004, 0x00ff_ffff), Micros::ZERO);
        assert_eq!((reports.expected(), reports.lost()), (5, 0));
        // More lost than there were.
        reports.report(&block(1_009, 0x7f_ffff), Micros::ZERO);
        assert_eq!((reports.expected(), reports.lost()), (10, 10));
        assert_eq!(reports.intervals()[1], ReportedLoss { expected: 5, lost: 5 });
        let mut nothing = Reports::default();
        nothing.report(&block(5, 1), Micros::ZERO);
        assert_eq!(nothing.expected(), 0);
    }

    #[test]
    fn the_receivers_hold_is_taken_out_of_the_round_trip() {
        let mut reports = sent(10);
        reports.sender_report(77, Micros::from_millis(100));
        let held =
            |last_sr, delay_ms: u32| Block { last_sr, delay: delay_ms * 65_536 / 1_000, ..block(1_001, 0) };
        reports.report(&held(77, 500), Micros::from_millis(640));
        reports.report(&held(78, 500), Micros::from_millis(640));
        // Of a report that never left, and held for longer than it was away.
        reports.report(&held(1, 500), Micros::from_millis(640));
        reports.report(&held(77, 600), Micros::from_millis(640));
        reports.report(&held(0, 0), Micros::from_millis(640));
        let near = |rtt: &Micros| (*rtt - Micros::from_millis(40)).abs() < Micros::from_millis(1);
        assert!(reports.rtts().len() == 2 && reports.rtts().iter().all(near), "{:?}", reports.rtts());
    }

    #[test]
    fn the_middle_of_an_ntp_time() {
        // 1900 to 1970 ends in 0x83aa7e80 s.
        assert_eq!(ntp_middle(std::time::Duration::ZERO), 0x7e80_0000);
        assert_eq!(ntp_middle(std::time::Duration::new(1, 500_000_000)), 0x7e81_8000);
    }

    #[test]
    fn what_arrived_once_has_arrived() {
        let mut arrivals = Arrivals::default();
        for (sequence, arrived) in [(0, true), (1, false), (2, false), (1, true), (4, false), (99, false)] {
            arrivals.told(sequence, arrived, 10);
        }
        arrivals.told(0, false, 10);
        assert_eq!(arrivals.counts(), (4, 2));
        assert_eq!(arrivals.runs().longest(), 1);
    }
}
