//! What the measuring computers add: self-error, host delay, local queue; and what got through.

use super::flow::Flow;
use super::percentile::Sorted;
use crate::units::{Bitrate, DataSize, Micros};

/// A departure this much after its time counts as late.
pub const LATE_SEND: Micros = Micros::from_millis(1);

/// Actual less intended departure of every packet that left (kernel point where known, else the program's).
pub fn send_lateness(flow: &Flow) -> Sorted {
    flow.packets.iter().filter_map(|packet| Some(packet.departed? - packet.intended)).collect()
}

/// Departures more than [`LATE_SEND`] after their time.
pub fn late_sends(flow: &Flow) -> u64 {
    let late = send_lateness(flow).as_slice().iter().filter(|late| **late > LATE_SEND).count();
    u64::try_from(late).unwrap_or(u64::MAX)
}

/// Delay between kernel and program at the receiving end. Empty where arrivals are stamped by the program alone.
pub fn host_delay(flow: &Flow) -> Sorted {
    flow.packets.iter().filter_map(|packet| Some(packet.arrived_user? - packet.arrived?)).collect()
}

/// Delay between program and kernel at the sending end: hand-over to departure. Empty without kernel stamps.
pub fn send_delay(flow: &Flow) -> Sorted {
    flow.packets.iter().filter_map(|packet| Some(packet.left? - packet.handed?)).collect()
}

/// Delay in the sender's own queue (TX_SCHED to TX_SOFTWARE). Empty without both stamps.
pub fn local_queue(flow: &Flow) -> Sorted {
    flow.packets.iter().filter_map(|packet| Some(packet.left? - packet.queued?)).collect()
}

/// Bits per second at the IP layer that arrived: first copies over the longer of the time in which they were to leave and
/// the time in which they arrived, each with one mean interval added for the last packet.
///
/// `None` when fewer than two packets arrived.
pub fn received_rate(flow: &Flow) -> Option<Bitrate> {
    let received = || flow.packets.iter().filter(|packet| packet.is_received());
    let bytes: DataSize =
        received().map(|packet| DataSize::from_bytes(packet.bytes.map_or(0, u64::from))).sum();
    let planned =
        span(flow.packets.iter().filter(|packet| packet.is_settled()).map(|packet| packet.intended));
    let arrived = span(received().filter_map(|packet| packet.arrived));
    Bitrate::of(bytes, planned.max(arrived)?)
}

/// From the first to the last point and one mean interval on; `None` of fewer than two points.
fn span(points: impl Iterator<Item = Micros>) -> Option<Micros> {
    let sorted: Sorted = points.collect();
    let intervals = i64::try_from(sorted.len()).ok()?.checked_sub(1).filter(|n| *n > 0)?;
    let time = sorted.max()? - sorted.min()?;
    Some(time + Micros::new(time.get() / intervals))
}
