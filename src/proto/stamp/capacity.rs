//! Greenroom's capacity TLV: what a receiver counted in the last intervals of a capacity stage.

use greenroom_reports::trace::{CapacityInterval, Direction, StreamId};
use greenroom_reports::units::{Bitrate, Micros};

use super::octets;

/// What a receiver counted, oldest first. Each interval is told up to three times, so that a lost report costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapacityReport {
    /// The capacity stream.
    pub stream: StreamId,
    /// The number of the first interval; numbers count from 0.
    first: u32,
    intervals: [Option<CapacityInterval>; CapacityReport::MOST],
}

/// Octets before the intervals: stream, count, a zero, number of the first.
const HEAD: usize = 8;
/// Octets per interval.
const EACH: usize = 40;
/// Stands for a delay that nobody knows.
const NO_DELAY: u32 = u32::MAX;
/// An interval longer than this is no interval.
const LONGEST: u32 = 1_000_000;
/// Points in time beyond this (some 35 years) are a lie.
const LATEST: u64 = 1 << 50;

impl CapacityReport {
    /// Intervals in a report at most.
    pub const MOST: usize = 3;
    /// Octets of the value with so many intervals.
    pub const MAX_LEN: usize = HEAD + EACH * Self::MOST;

    /// Tells of no interval yet.
    pub const fn new(stream: StreamId) -> Self {
        Self { stream, first: 0, intervals: [None; Self::MOST] }
    }

    /// Adds the interval that follows the last one; the oldest makes room.
    pub fn push(&mut self, interval: CapacityInterval) {
        if let Some(free) = self.intervals.iter_mut().find(|it| it.is_none()) {
            *free = Some(interval);
            return;
        }
        self.intervals.rotate_left(1);
        self.intervals[Self::MOST - 1] = Some(interval);
        self.first = self.first.wrapping_add(1);
    }

    /// The intervals with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, CapacityInterval)> {
        let first = self.first;
        (0..).zip(self.intervals.iter().flatten()).map(move |(n, it)| (first.wrapping_add(n), *it))
    }

    /// Reads a value. `None`: its length does not fit, or what it says cannot be.
    pub fn parse(value: &[u8], direction: Direction) -> Option<Self> {
        let [high, low, count, _] = octets(value, 0)?;
        let stream = StreamId(u16::from_be_bytes([high, low]));
        let count = usize::from(count);
        let fits = (1..=Self::MOST).contains(&count) && value.len() == HEAD + EACH * count;
        if !fits || stream == StreamId::AUDIO {
            return None;
        }
        let first = u32::from_be_bytes(octets(value, 4)?);
        let mut report = Self { stream, first, intervals: [None; Self::MOST] };
        for (slot, octets) in report.intervals.iter_mut().zip(value[HEAD..].chunks_exact(EACH)) {
            *slot = Some(read(octets, direction)?);
        }
        Some(report)
    }

    /// The octets of the value.
    pub fn to_octets(&self) -> ([u8; Self::MAX_LEN], usize) {
        let mut value = [0; Self::MAX_LEN];
        value[..2].copy_from_slice(&self.stream.0.to_be_bytes());
        value[4..HEAD].copy_from_slice(&self.first.to_be_bytes());
        let mut len = HEAD;
        for interval in self.intervals.iter().flatten() {
            value[len..len + EACH].copy_from_slice(&write(interval));
            value[2] += 1;
            len += EACH;
        }
        (value, len)
    }
}

fn read(octets_: &[u8], direction: Direction) -> Option<CapacityInterval> {
    let number = |at| Some(u32::from_be_bytes(octets(octets_, at)?));
    let at = u64::from_be_bytes(octets(octets_, 0)?);
    let lasted = number(8)?;
    if at > LATEST || !(1..=LONGEST).contains(&lasted) {
        return None;
    }
    let (least, most) = (number(32)?, number(36)?);
    let known = least <= most && most != NO_DELAY;
    Some(CapacityInterval {
        direction,
        at: Micros::new(i64::try_from(at).ok()?),
        lasted: Micros::new(i64::from(lasted)),
        offered: Bitrate::from_kbps(u64::from(number(12)?)),
        received_bytes: u64::from(number(16)?),
        received_packets: number(20)?,
        lost_packets: number(24)?,
        disordered_packets: number(28)?,
        delay_range: known.then(|| (Micros::new(i64::from(least)), Micros::new(i64::from(most)))),
    })
}

fn write(interval: &CapacityInterval) -> [u8; EACH] {
    let mut octets = [0; EACH];
    let at = u64::try_from(interval.at.get()).unwrap_or(0);
    octets[..8].copy_from_slice(&at.to_be_bytes());
    let delay = |delay: Micros| clamp(delay).min(NO_DELAY - 1);
    let (least, most) =
        interval.delay_range.map_or((NO_DELAY, NO_DELAY), |(least, most)| (delay(least), delay(most)));
    let numbers = [
        clamp(interval.lasted),
        u32::try_from(interval.offered.bps() / 1_000).unwrap_or(u32::MAX),
        u32::try_from(interval.received_bytes).unwrap_or(u32::MAX),
        interval.received_packets,
        interval.lost_packets,
        interval.disordered_packets,
        least,
        most,
    ];
    for (slot, number) in octets[8..].chunks_exact_mut(4).zip(numbers) {
        slot.copy_from_slice(&number.to_be_bytes());
    }
    octets
}

fn clamp(time: Micros) -> u32 {
    u32::try_from(time.get().max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interval(number: i64) -> CapacityInterval {
        CapacityInterval {
            direction: Direction::Up,
            at: Micros::from_millis(50 * number),
            lasted: Micros::from_millis(50),
            offered: Bitrate::from_kbps(20_000),
            received_bytes: 125_000,
            received_packets: 104,
            lost_packets: 2,
            disordered_packets: 1,
            delay_range: (number % 2 == 0).then_some((Micros::ZERO, Micros::new(31_000))),
        }
    }

    #[test]
    fn the_last_three_intervals_survive_the_wire() {
        let mut report = CapacityReport::new(StreamId(9));
        for number in 0..5 {
            report.push(interval(number));
            let (value, len) = report.to_octets();
            assert_eq!(CapacityReport::parse(&value[..len], Direction::Up), Some(report));
        }
        let told: Vec<_> = report.numbered().collect();
        assert_eq!(told, [(2, interval(2)), (3, interval(3)), (4, interval(4))]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut report = CapacityReport::new(StreamId(9));
        report.push(interval(0));
        let (value, len) = report.to_octets();
        let changed = |at: usize, octet: u8| {
            let mut value = value;
            value[at] = octet;
            CapacityReport::parse(&value[..len], Direction::Up)
        };
        assert_eq!(changed(2, 0), None, "no interval");
        assert_eq!(changed(2, 2), None, "more than there are");
        assert_eq!(changed(1, 0), None, "the audio stream");
        assert_eq!(changed(HEAD, 1), None, "far in the future");
        assert_eq!(changed(HEAD + 8, 1), None, "seventeen seconds long");
        assert_eq!(CapacityReport::parse(&value[..len - 1], Direction::Up), None, "cut off");
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(report) = CapacityReport::parse(&value, Direction::Down) {
                prop_assert!(report.numbered().count() <= CapacityReport::MOST);
            }
        }
    }
}
