//! A queue that a stream's own rate fills: more comes in than the link carries, and what waits grows with every packet.

use crate::metrics::flow::Packet;
use crate::metrics::percentile::{Quantile, Sorted};
use crate::units::{Bitrate, DataSize, Micros};

/// What got through of a stream that filled a queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Filling {
    /// The share of the stream's nominal rate that the link did not carry: least, likeliest, greatest.
    pub(super) missing: [f64; 3],
    /// By how much the delay grew meanwhile.
    pub(super) grown: Micros,
}

/// Less than this is no queue worth the name.
pub(super) const QUEUED: Micros = Micros::from_millis(5);
/// A stream of which less is missing is not held up by its rate.
const MISSING: f64 = 0.02;
/// A queue grows in both halves of a stream, each by this share of the whole at least, until it overflows; a path that became longer
/// once does not.
const STEADY: f64 = 0.2;
/// Fewer packets do not tell growth from chance.
const FEWEST: usize = 30;

impl Filling {
    /// Finds what was missing of a stream's nominal rate, its packets in order of sending; `None` where no queue grew, or the packets'
    /// sizes are not known.
    ///
    /// A queue is emptied as fast as the link goes: what arrives in a second while it grows, or overflows, is what the link carries.
    pub(super) fn of(packets: &[Packet], nominal: Bitrate) -> Option<Self> {
        // What was sent after the last arrival may be under way.
        let known = packets.iter().rposition(|packet| packet.delay().is_some())? + 1;
        let packets = packets.get(..known).filter(|packets| packets.len() >= FEWEST)?;
        let third = packets.len() / 3;
        let [first, middle, last] =
            [0, third, packets.len() - third].map(|from| Part::of(&packets[from..from + third]));
        let (first, middle, last) = (first?, middle?, last?);
        let between = &packets[third / 2 + 1..=packets.len() - third + third / 2];
        let arrived = between.iter().filter(|packet| packet.delay().is_some());
        let bytes = arrived.clone().map(|packet| packet.bytes.map(u64::from)).sum::<Option<u64>>()?;
        let missing = |grown: Micros| {
            let carried = Bitrate::of(DataSize::from_bytes(bytes), last.at - first.at + grown)?;
            Some(1.0 - carried.mbps() / nominal.mbps())
        };
        let grown = last.median - first.median;
        let steps = [middle.median - first.median, last.median - middle.median];
        let steady = steps.iter().all(|step| step.as_ms() >= STEADY * grown.as_ms());
        let is_queue = last.low > first.high + QUEUED && (steady || arrived.count() < between.len());
        let missing = [missing(last.low - first.high)?, missing(grown)?, missing(last.high - first.low)?];
        (is_queue && missing[1] > MISSING).then_some(Self { missing, grown })
    }
}

/// A part of a stream: its middle, and the quartiles of its delay.
struct Part {
    at: Micros,
    low: Micros,
    median: Micros,
    high: Micros,
}

impl Part {
    fn of(packets: &[Packet]) -> Option<Self> {
        let delays: Sorted = packets.iter().filter_map(Packet::delay).collect();
        let at = |millionths| delays.at(Quantile::from_millionths(millionths));
        Some(Self {
            at: packets.get(packets.len() / 2)?.intended,
            low: at(250_000)?,
            median: at(500_000)?,
            high: at(750_000)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::flow::Fate;

    /// A packet of 1,000 octets every 10 ms, with these delays in milliseconds; `None` did not arrive.
    fn packets(delays: impl IntoIterator<Item = Option<i64>>) -> Vec<Packet> {
        let packet = |(seq, delay): (u32, Option<i64>)| {
            let at = Micros::from_millis(10 * i64::from(seq));
            Packet {
                seq,
                intended: at,
                handed: Some(at),
                queued: None,
                left: None,
                departed: Some(at),
                arrived: delay.map(|delay| at + Micros::from_millis(delay)),
                arrived_user: None,
                bytes: Some(1_000),
                fate: if delay.is_some() { Fate::OnTime } else { Fate::Lost },
                extra_copies: 0,
            }
        };
        (0..).zip(delays).map(packet).collect()
    }

    fn missing(delays: impl IntoIterator<Item = Option<i64>>) -> Option<f64> {
        Filling::of(&packets(delays), Bitrate::from_kbps(800)).map(|filling| filling.missing[1])
    }

    #[test]
    fn half_a_second_more_for_each_second_is_two_thirds_of_the_rate() {
        let found = missing((0..90).map(|i| Some(20 + 5 * i))).expect("a queue");
        assert!((found - 1.0 / 3.0).abs() < 0.01, "{found}");
    }

    #[test]
    fn a_queue_that_overflows_tells_the_same_rate_by_what_is_lost() {
        // The last one under way is neither lost nor known.
        let delays = (0..90).map(|i| Some(5 * i.min(30)).filter(|_| i < 30 || i % 3 != 2));
        let found = missing(delays.chain([None])).expect("a queue");
        assert!((found - 1.0 / 3.0).abs() < 0.03, "{found}");
    }

    #[test]
    fn what_is_not_a_queue_of_its_own() {
        assert_eq!(missing((0..90).map(|_| Some(20))), None, "nothing grows");
        assert_eq!(missing((0..90).map(|i| Some(20 + 37 * i % 60))), None, "variation");
        assert_eq!(missing((0..90).map(|i| Some(if i < 45 { 20 } else { 90 }))), None, "a longer path");
        assert_eq!(missing((0..90).map(|i| Some(20).filter(|_| i % 5 > 0))), None, "loss alone");
        assert_eq!(missing((0..90).map(|i| Some(90 - i))), None, "a queue that empties");
        assert_eq!(missing((0..9).map(|i| Some(5 * i))), None, "too few to tell");
        assert_eq!(missing([]), None);
    }
}
