//! What came of a stream of RTP, counted by whoever receives it (RFC 3550).
//!
//! The sender is not trusted: whatever numbers it sends, so much is kept and no more.

use greenroom_reports::confidence::LEVEL;
use greenroom_reports::confidence::loss::{self, LossRuns};
use greenroom_reports::schema::{EchoReceived, Estimate, SmoothedJitter, Value, WhipMedia};
use greenroom_reports::units::Micros;

use super::reports::{KEPT, jitter, rounded};

/// Sequence numbers that are kept track of: ten minutes of a call's picture. What comes beyond is not counted.
const MOST: usize = 65_536;
/// Numbers before the first that came: it may have overtaken others.
const BEFORE: u64 = 64;

/// A stream as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Ticks a second.
    clock: u32,
    /// The number, with cycles, that the first mark stands for. `None`: nothing came.
    base: Option<u64>,
    lowest: u64,
    highest: u64,
    /// Whether each number came, from `base` on.
    marks: Vec<bool>,
    packets: u64,
    bytes: u64,
    duplicates: u64,
    reordered: u64,
    /// Arrival less RTP time of the last one, in ticks that wrap.
    transit: Option<u32>,
    /// Sixteen times the jitter, in ticks.
    jitter: u64,
    jitters: Vec<u32>,
}

impl Received {
    /// Of a stream whose RTP times have `clock` ticks a second.
    pub fn new(clock: u32) -> Self {
        Self {
            clock,
            base: None,
            lowest: 0,
            highest: 0,
            marks: Vec::new(),
            packets: 0,
            bytes: 0,
            duplicates: 0,
            reordered: 0,
            transit: None,
            jitter: 0,
            jitters: Vec::new(),
        }
    }

    /// A packet came at `at` with this sequence number and RTP time, and so many octets of RTP. Says whether it counts: not one that came
    /// before, nor one beyond what is kept track of.
    pub fn note(&mut self, sequence: u16, time: u32, bytes: usize, at: Micros) -> bool {
        let (number, place) = self.place(sequence);
        let Some(place) = place.filter(|place| *place < MOST) else { return false };
        if self.marks.get(place) == Some(&true) {
            self.duplicates += 1;
            return false;
        }
        if self.marks.len() <= place {
            self.marks.resize(place + 1, false);
        }
        if let Some(mark) = self.marks.get_mut(place) {
            *mark = true;
        }
        if self.packets == 0 {
            (self.lowest, self.highest) = (number, number);
        }
        self.reordered += u64::from(number < self.highest);
        self.lowest = self.lowest.min(number);
        self.highest = self.highest.max(number);
        self.packets += 1;
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        self.vary(time, at);
        true
    }

    /// A datagram with this number came that was not let through: a copy, if one with it came before.
    pub fn note_copy(&mut self, sequence: u16) {
        if self.base.is_none() {
            return;
        }
        let (_, place) = self.place(sequence);
        if place.is_some_and(|place| self.marks.get(place) == Some(&true)) {
            self.duplicates += 1;
        }
    }

    /// Packets that came, copies left out.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets that were sent, by the numbers of the first and the last one that came.
    pub fn expected(&self) -> u64 {
        if self.packets == 0 { 0 } else { self.highest - self.lowest + 1 }
    }

    /// The figures of it, with the codec that was agreed on and what came of the repair stream beside it.
    pub fn figures(&self, media: WhipMedia, codec: &str, repairs: u64) -> EchoReceived {
        let nothing = "nothing came";
        EchoReceived {
            media,
            codec: codec.to_owned(),
            packets: self.packets,
            bytes: self.bytes,
            expected: self.expected(),
            lost: self.expected() - self.packets,
            duplicates: self.duplicates,
            reordered: self.reordered,
            repairs,
            loss_ratio: self.loss().map_or_else(|| Value::failed(nothing), Value::Measured),
            jitter_rfc3550_ms: self.smoothed().map_or_else(|| Value::failed(nothing), Value::Measured),
        }
    }

    /// The number with its cycles, next to the highest so far, and its place among the marks.
    fn place(&mut self, sequence: u16) -> (u64, Option<usize>) {
        let first = u64::from(sequence) + 65_536;
        let base = *self.base.get_or_insert(first - BEFORE);
        let last = if self.packets == 0 { first } else { self.highest };
        let low = u16::try_from(last & 0xffff).unwrap_or_default();
        let step = i64::from(sequence.wrapping_sub(low).cast_signed());
        let number = last.saturating_add_signed(step);
        (number, number.checked_sub(base).and_then(|place| usize::try_from(place).ok()))
    }

    /// RFC 3550 A.8.
    fn vary(&mut self, time: u32, at: Micros) {
        let ticks = i128::from(at.get()) * i128::from(self.clock) / 1_000_000;
        // They wrap as RTP times do.
        let ticks = u32::try_from(ticks.rem_euclid(1 << 32)).unwrap_or_default();
        let transit = ticks.wrapping_sub(time);
        if let Some(before) = self.transit.replace(transit) {
            let step = u64::from(transit.wrapping_sub(before).cast_signed().unsigned_abs());
            self.jitter = self.jitter + step - ((self.jitter + 8) >> 4);
            if self.jitters.len() < KEPT {
                self.jitters.push(u32::try_from(self.jitter >> 4).unwrap_or(u32::MAX));
            }
        }
    }

    fn smoothed(&self) -> Option<SmoothedJitter> {
        jitter(&self.jitters, self.clock, self.packets)
    }

    fn loss(&self) -> Option<Estimate> {
        let (base, expected) = (self.base?, self.expected());
        if expected == 0 {
            return None;
        }
        let mut runs = LossRuns::default();
        let from = usize::try_from(self.lowest - base).unwrap_or(usize::MAX);
        self.marks.iter().skip(from).for_each(|came| runs.push(!came));
        let shown = loss::displayed_bursty(&runs, LEVEL);
        #[expect(clippy::cast_precision_loss, reason = "counts of packets")]
        let value = (expected - self.packets) as f64 / expected as f64;
        let (low, high) = (Some(rounded(shown.low)), Some(rounded(shown.high)));
        Some(Estimate { value: rounded(value), low, high, n: expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 ms apart, without variation.
    fn came(received: &mut Received, numbers: impl IntoIterator<Item = u16>) {
        for number in numbers {
            let at = Micros::from_millis(20 * i64::from(number));
            received.note(number, 960 * u32::from(number), 172, at);
        }
    }

    fn counts(received: &Received) -> (u64, u64, u64, u64) {
        let EchoReceived { packets, lost, duplicates, reordered, .. } =
            received.figures(WhipMedia::Audio, "opus/48000", 0);
        (packets, lost, duplicates, reordered)
    }

    #[test]
    fn what_is_missing_late_and_twice_is_counted() {
        let mut received = Received::new(48_000);
        // The first to come may have overtaken another.
        came(&mut received, [101, 100, 102, 105, 104, 104, 110]);
        assert_eq!(counts(&received), (6, 5, 1, 2));
        received.note_copy(102);
        received.note_copy(103);
        assert_eq!(counts(&received), (6, 5, 2, 2));
        let loss = received.loss().unwrap();
        assert_eq!((loss.n, loss.value), (11, 0.454_545));
    }

    #[test]
    fn numbers_begin_again_after_65535() {
        let mut received = Received::new(48_000);
        for number in (65_500..=65_535).chain(0..=20).filter(|number| *number != 3) {
            received.note(number, 0, 10, Micros::ZERO);
        }
        assert_eq!(counts(&received), (56, 1, 0, 0));
        assert_eq!(received.expected(), 57);
    }

    #[test]
    fn whatever_comes_so_much_is_kept() {
        let mut received = Received::new(90_000);
        for number in 0..=u32::from(u16::MAX) * 8 {
            let wild = u16::try_from(number.wrapping_mul(30_011) & 0xffff).unwrap();
            received.note(wild, number, 1, Micros::new(i64::from(number)));
        }
        assert!(received.marks.len() <= MOST && received.jitters.len() <= KEPT);
        assert!(received.expected() >= received.packets());
        // A copy of what never came is none, also when nothing came.
        let mut nothing = Received::new(48_000);
        nothing.note_copy(7);
        assert_eq!(counts(&nothing), (0, 0, 0, 0));
        assert!(nothing.loss().is_none() && nothing.smoothed().is_none());
    }

    #[test]
    fn jitter_follows_rfc_3550() {
        let mut even = Received::new(48_000);
        came(&mut even, 0..200);
        assert_eq!(even.smoothed().unwrap().max, 0.0);
        // Every other one 10 ms late: the steps of 480 ticks settle at as many.
        let mut uneven = Received::new(48_000);
        for number in 0..500_u16 {
            let late = if number % 2 == 0 { 0 } else { 10 };
            let at = Micros::from_millis(20 * i64::from(number) + late);
            uneven.note(number, 960 * u32::from(number), 172, at);
        }
        let jitter = uneven.smoothed().unwrap();
        assert!((jitter.last - 10.0).abs() < 0.3 && jitter.n == 500, "{jitter:?}");
        // RTP times wrap, and arrivals of a clock that began anywhere do not matter.
        let mut wraps = Received::new(90_000);
        for number in 0..100_u16 {
            let at = Micros::new(1_000_000_000_000 + 10_000 * i64::from(number));
            wraps.note(number, u32::MAX.wrapping_add(900 * u32::from(number)), 10, at);
        }
        assert!(wraps.smoothed().unwrap().max <= 0.02, "{:?}", wraps.smoothed());
    }
}
