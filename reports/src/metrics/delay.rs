//! Delay variation: PDV and IPDV (RFC 5481, RFC 3393), and the smoothed interarrival jitter (RFC 3550).

use super::flow::{Flow, Packet};
use super::percentile::{Quantile, Sorted, nearest_rank};
use super::skew::Skew;
use crate::units::Micros;

/// The delay of one received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// The packet's place in [`Flow::packets`].
    pub index: usize,
    /// When it left, on the sender's clock.
    pub departed: Micros,
    /// Arrival less departure: the delay up to the unknown, constant offset between the clocks.
    pub delay: Micros,
}

/// Takes the delay of every received packet with both points known, in order of number.
///
/// `skew` is taken out where it is given: the drift since `from` (a point on the sender's clock, the same for all parts
/// of a flow).
pub fn delays(flow: &Flow, skew: Option<Skew>) -> Vec<Delay> {
    let packets = flow.packets.iter().enumerate().filter(|(_, packet)| packet.is_received());
    packets
        .filter_map(|(index, packet)| {
            let (departed, delay) = (packet.departed?, packet.delay()?);
            Some(Delay { index, departed, delay: skew.map_or(delay, |skew| skew.removed(delay, departed)) })
        })
        .collect()
}

/// The least delay: what PDV is taken over. `None` when nothing arrived.
pub fn floor(delays: &[Delay]) -> Option<Micros> {
    delays.iter().map(|delay| delay.delay).min()
}

/// Packet delay variation: `PDV(i) = d(i) − D_min` (RFC 5481 section 4.2), in order of number.
///
/// Give the floor of the whole flow for a part of it to see what load added; the part's own floor for its own variation.
pub fn pdv(delays: &[Delay], floor: Micros) -> Vec<Micros> {
    delays.iter().map(|delay| delay.delay - floor).collect()
}

/// Packet delay variation over the flow's own floor, sorted.
pub fn pdv_sorted(flow: &Flow, skew: Option<Skew>) -> Sorted {
    let delays = delays(flow, skew);
    floor(&delays).map(|floor| Sorted::new(pdv(&delays, floor))).unwrap_or_default()
}

/// Inter-packet delay variation: `IPDV(i) = d(i) − d(i−1)` (RFC 3393, RFC 5481 section 4.1), one entry per packet of the
/// flow; `None` where either of the two has no delay, or their numbers do not follow each other.
pub fn ipdv(flow: &Flow, skew: Option<Skew>) -> Vec<Option<Micros>> {
    let mut by_place: Vec<Option<Micros>> = vec![None; flow.packets.len()];
    for delay in delays(flow, skew) {
        by_place[delay.index] = Some(delay.delay);
    }
    let step = |place: usize| {
        let before = place.checked_sub(1)?;
        let follows = flow.packets[before].seq.checked_add(1) == Some(flow.packets[place].seq);
        follows.then_some(by_place[place]? - by_place[before]?)
    };
    (0..by_place.len()).map(step).collect()
}

/// A mean and how many values are behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// In milliseconds.
    pub ms: f64,
    /// Values.
    pub n: u64,
}

/// Mean of |IPDV|. `None` when no two neighbors arrived.
pub fn ipdv_mean_abs(flow: &Flow) -> Option<Mean> {
    let steps: Vec<Micros> = ipdv(flow, None).into_iter().flatten().map(Micros::abs).collect();
    mean(&steps)
}

/// The mean of durations. `None` of none.
pub fn mean(values: &[Micros]) -> Option<Mean> {
    let n = u64::try_from(values.len()).ok().filter(|n| *n > 0)?;
    let sum: i128 = values.iter().map(|value| i128::from(value.get())).sum();
    #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
    Some(Mean { ms: sum as f64 / n as f64 / 1_000.0, n })
}

/// Smoothed interarrival jitter over a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JitterRfc3550 {
    /// Packets behind it.
    pub n: u64,
    /// The last value, in milliseconds.
    pub last_ms: f64,
    /// 95th percentile (nearest rank) of the running values, in milliseconds.
    pub p95_ms: f64,
    /// Greatest running value, in milliseconds.
    pub max_ms: f64,
}

/// Smoothed interarrival jitter: `J += (|D(i−1,i)| − J) / 16` over first copies in order of arrival, from J = 0
/// (RFC 3550 section 6.4.1 and appendix A.8, without its integer rounding).
///
/// It measures change from packet to packet, not the buffer that a call needs: a queue that fills evenly hardly moves it.
/// `None` when fewer than two packets arrived.
pub fn jitter_rfc3550(flow: &Flow) -> Option<JitterRfc3550> {
    let packets = flow.arrivals.iter().filter_map(|index| flow.packets.get(*index));
    let transits: Vec<Micros> = packets.filter_map(Packet::delay).collect();
    jitter_of(&transits)
}

/// [`jitter_rfc3550`] over relative transit times (arrival less departure) in order of arrival.
pub fn jitter_of(transits: &[Micros]) -> Option<JitterRfc3550> {
    let mut jitter = 0.0_f64;
    let mut running: Vec<f64> = Vec::with_capacity(transits.len());
    for pair in transits.windows(2) {
        let change = (pair[1] - pair[0]).abs().as_ms();
        jitter += (change - jitter) / 16.0;
        running.push(jitter);
    }
    running.sort_by(f64::total_cmp);
    Some(JitterRfc3550 {
        n: u64::try_from(transits.len()).ok()?,
        last_ms: jitter,
        p95_ms: nearest_rank(&running, Quantile::P95)?,
        max_ms: *running.last()?,
    })
}

/// What load adds to the round trip: p95 under load less p50 idle (RFC 6349 section 4.2 calls it buffer delay).
///
/// `None` when either is empty. Negative when load made nothing worse.
pub fn rtt_increase(idle: &Sorted, loaded: &Sorted) -> Option<Micros> {
    Some(loaded.at(Quantile::P95)? - idle.at(Quantile::P50)?)
}

/// The same for one direction by delay variation: p95 under load less p50 idle, of parts of one flow (their clock offset
/// cancels).
pub fn delay_increase(idle: &Flow, loaded: &Flow, skew: Option<Skew>) -> Option<Micros> {
    let sorted = |flow: &Flow| delays(flow, skew).into_iter().map(|delay| delay.delay).collect::<Sorted>();
    rtt_increase(&sorted(idle), &sorted(loaded))
}
