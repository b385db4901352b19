//! IP-layer capacity (RFC 9097) from the counters of capacity stages.

use super::loss::Share;
use crate::trace::{CapacityInterval, Direction};
use crate::units::{Bitrate, DataSize, Micros};

/// Length of the sub-interval that capacity is taken over (RFC 9097 section 5.3: dt).
pub const WINDOW: Micros = Micros::from_secs(1);

/// Length of the sub-interval for a search that ended before it had held a rate for a second. RFC 9097 section 5.3 leaves
/// dt to the tester; five intervals are more than a burst.
pub const SHORT_WINDOW: Micros = Micros::from_millis(250);

/// Intervals looked at for one window: a trace with shorter ones (an honest stage has 50 ms) costs no more time.
const MAX_IN_WINDOW: usize = 256;

/// What a sub-interval must meet to count (RFC 9097 section 5.3: the performance metrics PM).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Greatest share lost.
    pub loss_ratio: f64,
    /// Greatest range of delay within the sub-interval.
    pub delay_range: Micros,
}

/// The best sub-interval, with what must be told beside it (RFC 9097 section 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Maximum_C: bits per second received at the IP layer.
    pub rate: Bitrate,
    /// When that sub-interval began, on the receiver's clock.
    pub at: Micros,
    /// How long it was.
    pub lasted: Micros,
    /// Intervals in it.
    pub intervals: usize,
    /// Lost, of received and lost.
    pub loss: Share,
    /// Greatest less least delay in it. `None` when nobody took it.
    pub delay_range: Option<Micros>,
}

/// Finds the greatest rate received over `lasting` within bounds: the maximum over all runs of adjoining intervals that
/// last so long, [`WINDOW`] by default (RFC 9097 section 5.3). `None` when no such run meets the bounds.
pub fn capacity(
    intervals: &[CapacityInterval],
    direction: Direction,
    bounds: Bounds,
    lasting: Micros,
) -> Option<Capacity> {
    let mut stage: Vec<&CapacityInterval> = intervals
        .iter()
        .filter(|interval| interval.direction == direction && interval.lasted > Micros::ZERO)
        .collect();
    stage.sort_by_key(|interval| interval.at);
    let mut best: Option<Capacity> = None;
    for start in 0..stage.len() {
        let Some(found) = window(&stage[start..], lasting).filter(|found| found.meets(bounds)) else {
            continue;
        };
        if best.is_none_or(|best| found.rate > best.rate) {
            best = Some(found);
        }
    }
    best
}

impl Capacity {
    fn meets(&self, bounds: Bounds) -> bool {
        self.loss.ratio().is_some_and(|ratio| ratio.get() <= bounds.loss_ratio)
            && self.delay_range.is_none_or(|range| range <= bounds.delay_range)
    }
}

/// The first so much of these intervals. `None` when they end before or leave a hole.
fn window(intervals: &[&CapacityInterval], lasting: Micros) -> Option<Capacity> {
    let first = intervals.first()?;
    let (mut bytes, mut loss) = (DataSize::default(), Share::default());
    let mut range: Option<(Micros, Micros)> = None;
    let mut end = first.at;
    for (taken, interval) in (1..).zip(intervals.iter().take(MAX_IN_WINDOW)) {
        // A tenth of an interval apart is the receiver's timer, not a hole.
        if (interval.at - end).abs() > Micros::new(interval.lasted.get() / 10) {
            return None;
        }
        end = interval.at + interval.lasted;
        bytes += DataSize::from_bytes(interval.received_bytes);
        loss.part += u64::from(interval.lost_packets);
        loss.whole += u64::from(interval.lost_packets) + u64::from(interval.received_packets);
        range = match (range, interval.delay_range) {
            (Some((least, most)), Some((low, high))) => Some((least.min(low), most.max(high))),
            (known, new) => known.or(new),
        };
        // A window is whole once no more than half an interval is missing.
        if end - first.at + Micros::new(interval.lasted.get() / 2) >= lasting {
            return Some(Capacity {
                rate: Bitrate::of(bytes, end - first.at)?,
                at: first.at,
                lasted: end - first.at,
                intervals: taken,
                loss,
                delay_range: range.map(|(least, most)| most - least),
            });
        }
    }
    None
}
