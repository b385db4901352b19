//! Reordering (RFC 4737) and duplication (RFC 5560).

use super::flow::Flow;
use crate::units::Micros;

/// One first copy as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The sender's number.
    pub seq: u32,
    /// When it arrived.
    pub at: Micros,
    /// Its size; zero where unknown.
    pub bytes: u32,
}

/// A packet that arrived after one with a greater number (RFC 4737 section 3.3: Type-P-Reordered).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reordered {
    /// Its number.
    pub seq: u32,
    /// Its place in order of arrival, from 0.
    pub index: usize,
    /// Packets since the first arrival with a greater number (section 4.2.1).
    pub extent: u64,
    /// Time since that arrival (section 4.2.2).
    pub late_time: Micros,
    /// Bytes that arrived since (section 4.2.3), that arrival's included.
    pub byte_offset: u64,
    /// n-reordering: how many arrivals directly before it all have greater numbers (section 5.4.1).
    pub n: u64,
}

/// What was reordered among first copies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reordering {
    /// First copies received.
    pub received: u64,
    /// The reordered ones, in order of arrival.
    pub packets: Vec<Reordered>,
}

impl Reordering {
    /// Reordered, of those received (section 4.1). `None` when nothing was received.
    pub fn ratio(&self) -> Option<f64> {
        crate::units::Ratio::of(count(self.packets.len()), self.received).map(crate::units::Ratio::get)
    }

    /// Greatest extent; zero when nothing was reordered.
    pub fn extent_max(&self) -> u64 {
        self.packets.iter().map(|packet| packet.extent).max().unwrap_or(0)
    }

    /// Greatest n-reordering; three or more would make a TCP sender retransmit.
    pub fn n_max(&self) -> u64 {
        self.packets.iter().map(|packet| packet.n).max().unwrap_or(0)
    }

    /// Greatest lateness; zero when nothing was reordered.
    pub fn late_time_max(&self) -> Micros {
        self.packets.iter().map(|packet| packet.late_time).max().unwrap_or(Micros::ZERO)
    }
}

/// Finds the reordered packets of a flow.
pub fn reordering(flow: &Flow) -> Reordering {
    let packets = flow.arrivals.iter().filter_map(|index| flow.packets.get(*index));
    let arrivals: Vec<Arrival> = packets
        .filter_map(|packet| {
            Some(Arrival { seq: packet.seq, at: packet.arrived?, bytes: packet.bytes.map_or(0, u32::from) })
        })
        .collect();
    reordering_of(&arrivals)
}

/// Finds the reordered packets among first copies in order of arrival, in O(n log n).
pub fn reordering_of(arrivals: &[Arrival]) -> Reordering {
    // Arrivals that raised the greatest number so far, and the bytes that had arrived before each arrival.
    let mut records: Vec<(u32, usize)> = Vec::new();
    let mut bytes_before: Vec<u64> = Vec::with_capacity(arrivals.len());
    // Places whose numbers ascend: the top is the nearest arrival before with a smaller number.
    let mut smaller: Vec<usize> = Vec::new();
    let mut packets = Vec::new();
    let mut bytes = 0_u64;
    for (index, arrival) in arrivals.iter().enumerate() {
        bytes_before.push(bytes);
        bytes = bytes.saturating_add(arrival.bytes.into());
        while smaller.last().is_some_and(|at| arrivals[*at].seq > arrival.seq) {
            smaller.pop();
        }
        let directly_greater = smaller.last().map_or(index, |at| index - at - 1);
        smaller.push(index);
        if records.last().is_none_or(|(greatest, _)| arrival.seq > *greatest) {
            records.push((arrival.seq, index));
            continue;
        }
        // Equal numbers do not come up among first copies; were one to, it would be no reordering.
        let first_greater = records.partition_point(|(seq, _)| *seq <= arrival.seq);
        let Some((_, since)) = records.get(first_greater) else { continue };
        packets.push(Reordered {
            seq: arrival.seq,
            index,
            extent: count(index - since),
            late_time: arrival.at - arrivals[*since].at,
            byte_offset: bytes_before[index] - bytes_before[*since],
            n: count(directly_greater),
        });
    }
    Reordering { received: count(arrivals.len()), packets }
}

/// Counts numbers that are smaller than one before them (RFC 4737 section 3.4: below NextExp).
pub(super) fn reordered_count(seqs: impl IntoIterator<Item = u32>) -> u64 {
    let mut next_expected = 0_u64;
    let mut reordered = 0;
    for seq in seqs {
        if u64::from(seq) < next_expected {
            reordered += 1;
        } else {
            next_expected = u64::from(seq) + 1;
        }
    }
    reordered
}

/// Packets that arrived more than once and packets that arrived: the ratio of replicated packets (RFC 5560 section 4.3).
/// Copies never make up for losses.
pub fn duplicated(flow: &Flow) -> (u64, u64) {
    let received = flow.packets.iter().filter(|packet| packet.is_received());
    received.fold((0, 0), |(twice, once), packet| (twice + u64::from(packet.extra_copies > 0), once + 1))
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
