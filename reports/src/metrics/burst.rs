//! How losses cluster: RFC 3611 bursts and gaps, the burst ratio, and the worst 200 ms.

use std::collections::BTreeMap;

use super::flow::{Flow, Packet};
use super::loss::Share;
use crate::units::Micros;

/// Good packets in a row that end a burst (RFC 3611 section 4.7.2: Gmin, recommended 16).
pub const GMIN: usize = 16;

/// Length of the blocks of [`worst_block`].
pub const BLOCK: Micros = Micros::from_millis(200);

/// Bursts and gaps of a flow. Every settled packet is in exactly one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BurstGap {
    /// Bursts found.
    pub bursts: u64,
    /// Gaps found.
    pub gaps: u64,
    /// Bad packets, of packets in bursts.
    pub in_bursts: Share,
    /// Bad packets, of packets in gaps.
    pub in_gaps: Share,
    /// Time covered by bursts, in sum.
    pub burst_time: Micros,
    /// Time covered by gaps, in sum.
    pub gap_time: Micros,
}

impl BurstGap {
    /// Mean duration of a burst. `None` without one.
    pub fn burst_duration(&self) -> Option<Micros> {
        mean(self.burst_time, self.bursts)
    }

    /// Mean duration of a gap. `None` without one.
    pub fn gap_duration(&self) -> Option<Micros> {
        mean(self.gap_time, self.gaps)
    }
}

fn mean(sum: Micros, n: u64) -> Option<Micros> {
    i64::try_from(n).ok().filter(|n| *n > 0).map(|n| Micros::new(sum.get() / n))
}

/// Cuts a flow into bursts and gaps, exactly: a burst is a longest stretch that begins and ends with a bad packet, holds at
/// least two, and has no run of `gmin` good packets inside; all else is gaps (RFC 3611 section 4.7.2; its appendix A.2
/// miscounts its own example and is not used). Each packet lasts until the next one was to leave.
pub fn burst_gap(flow: &Flow, gmin: usize) -> BurstGap {
    let (bad, starts) = settled(flow);
    segment(&bad, &lasting(&starts), gmin)
}

/// [`burst_gap`] over marks (true: bad) and how long each packet lasts.
pub fn segment(bad: &[bool], lasting: &[Micros], gmin: usize) -> BurstGap {
    let places: Vec<usize> = bad.iter().enumerate().filter(|(_, bad)| **bad).map(|(at, _)| at).collect();
    let clusters = places.chunk_by(|a, b| b - a <= gmin);
    let bursts = clusters.filter(|cluster| cluster.len() > 1).filter_map(|c| Some((*c.first()?, *c.last()?)));
    let mut found = BurstGap::default();
    let mut next = 0;
    for (first, last) in bursts {
        found.add_gap(bad, lasting, next..first);
        found.bursts += 1;
        found.in_bursts.add(&bad[first..=last]);
        found.burst_time += lasting.iter().skip(first).take(last + 1 - first).copied().sum();
        next = last + 1;
    }
    found.add_gap(bad, lasting, next..bad.len());
    found
}

impl BurstGap {
    fn add_gap(&mut self, bad: &[bool], lasting: &[Micros], range: std::ops::Range<usize>) {
        if !range.is_empty() {
            self.gaps += 1;
            self.gap_time += lasting.iter().skip(range.start).take(range.len()).copied().sum();
            self.in_gaps.add(&bad[range]);
        }
    }
}

impl Share {
    fn add(&mut self, bad: &[bool]) {
        self.part += count(bad.iter().filter(|bad| **bad).count());
        self.whole += count(bad.len());
    }
}

/// Steps from packet to packet, for the two-state Markov model of loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transitions {
    /// From good to bad, of steps from good.
    pub good_to_bad: Share,
    /// From bad to good, of steps from bad.
    pub bad_to_good: Share,
}

impl Transitions {
    /// Burst ratio: mean observed run of losses over the mean expected under random loss, `1 / (p_gb + p_bg)` (ITU-T G.107
    /// section 3.5). `None` without both kinds of steps.
    pub fn burst_ratio(&self) -> Option<f64> {
        let sum = self.good_to_bad.ratio()?.get() + self.bad_to_good.ratio()?.get();
        (sum > 0.0).then(|| 1.0 / sum)
    }

    /// Correlation of neighbors, `1 − p_gb − p_bg`. `None` without both kinds of steps.
    pub fn correlation(&self) -> Option<f64> {
        Some(1.0 - self.good_to_bad.ratio()?.get() - self.bad_to_good.ratio()?.get())
    }
}

/// Counts the steps between neighbors in order of number.
pub fn transitions(flow: &Flow) -> Transitions {
    transitions_of(&settled(flow).0)
}

/// [`transitions`] over marks (true: bad).
pub fn transitions_of(bad: &[bool]) -> Transitions {
    let mut steps = Transitions::default();
    for pair in bad.windows(2) {
        let share = if pair[0] { &mut steps.bad_to_good } else { &mut steps.good_to_bad };
        share.whole += 1;
        share.part += u64::from(pair[0] != pair[1]);
    }
    steps
}

/// The worst block of 200 ms: greatest share bad among packets intended in it, from the flow's first packet on; of equal
/// ones the one with more packets. A block with fewer than two packets says nothing. `None` without any.
pub fn worst_block(flow: &Flow, block: Micros) -> Option<Share> {
    let settled: Vec<&Packet> = flow.packets.iter().filter(|packet| packet.is_settled()).collect();
    let start = settled.iter().map(|packet| packet.intended).min()?;
    let width = block.get().max(1);
    let mut blocks: BTreeMap<i64, Share> = BTreeMap::new();
    for packet in settled {
        let share = blocks.entry((packet.intended - start).get() / width).or_default();
        share.add(&[packet.is_bad()]);
    }
    let told = blocks.into_values().filter(|share| share.whole >= 2);
    // part/whole as a fraction compared by cross products, exactly.
    told.max_by(|a, b| {
        let cross = |x: &Share, y: &Share| u128::from(x.part) * u128::from(y.whole);
        cross(a, b).cmp(&cross(b, a)).then(a.whole.cmp(&b.whole))
    })
}

fn settled(flow: &Flow) -> (Vec<bool>, Vec<Micros>) {
    let packets = flow.packets.iter().filter(|packet| packet.is_settled());
    packets.map(|packet| (packet.is_bad(), packet.intended)).unzip()
}

/// Time from each packet to the next; the last lasts as long as the mean of the others.
fn lasting(starts: &[Micros]) -> Vec<Micros> {
    let mut times: Vec<Micros> =
        starts.windows(2).map(|pair| (pair[1] - pair[0]).max(Micros::ZERO)).collect();
    let sum: Micros = times.iter().copied().sum();
    times.push(mean(sum, count(times.len())).unwrap_or(Micros::ZERO));
    times
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
