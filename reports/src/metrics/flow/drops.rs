//! Finds the packets that a full receive queue dropped.
//!
//! The kernel counts drops but does not say which datagrams they were; the count rides on a datagram that was queued later.
//! So a drop belongs to a packet that went missing, was due between the reading before and the reading that shows it, and,
//! where more were due than were dropped, is nearest before that reading.

use super::{Fate, Flow};
use crate::trace::{Half, QueueDrops};
use crate::units::Micros;

/// Room for what a reading's own time leaves open, besides the delay between kernel and program.
const SLACK: Micros = Micros::from_millis(5);

/// Most of a delay between kernel and program that is believed.
const MAX_HOST_DELAY: Micros = Micros::from_secs(5);

/// A missing packet.
#[derive(Debug, Clone, Copy)]
struct Missing {
    flow: usize,
    packet: usize,
    /// When it was due at the receiver: the least and the greatest of the delays around it.
    from: Micros,
    to: Micros,
}

/// Turns lost packets into host-dropped ones, as many as `receiver` counted drops, and never more than are missing.
///
/// All flows share the receiver's socket. Beside each stands the receiver's clock less the sender's, as far as it is known.
pub(super) fn assign(mut flows: Vec<(&mut Flow, Micros)>, receiver: &Half) {
    let due_times = flows.iter().enumerate().flat_map(|(at, (flow, offset))| missing_of(at, flow, *offset));
    let mut missing: Vec<Missing> = due_times.collect();
    missing.sort_by_key(|missing| (missing.from, missing.flow, missing.packet));
    let host_delay = greatest_host_delay(receiver);
    let mut upcoming = missing.into_iter().peekable();
    // Missing packets due before the current reading, the latest on top.
    let mut due: Vec<Missing> = Vec::new();
    let mut before: Option<&QueueDrops> = None;
    for reading in &receiver.queue_drops {
        let total_before = before.map_or(0, |before| before.total);
        if before.is_some_and(|before| reading.at < before.at) || reading.total < total_before {
            continue;
        }
        while let Some(missing) = upcoming.next_if(|missing| missing.from <= reading.at) {
            due.push(missing);
        }
        let earliest = before.map_or(Micros::new(i64::MIN), |before| before.at - host_delay - SLACK);
        for _ in total_before..reading.total {
            let Some(missing) = due.pop().filter(|missing| missing.to >= earliest) else {
                due.clear();
                break;
            };
            let flow = &mut *flows[missing.flow].0;
            flow.packets[missing.packet].fate = Fate::HostDropped;
            flow.host_drops_shared |= reading.shared;
        }
        before = Some(reading);
    }
}

/// The lost packets of a flow and when they were due, by the delays of the nearest arrivals on both sides.
fn missing_of(index: usize, flow: &Flow, offset: Micros) -> Vec<Missing> {
    let delays: Vec<Option<Micros>> = flow.packets.iter().map(super::Packet::delay).collect();
    let mut after: Vec<Option<Micros>> = vec![None; delays.len()];
    let mut next = None;
    for (place, delay) in after.iter_mut().zip(&delays).rev() {
        next = delay.or(next);
        *place = next;
    }
    let mut missing = Vec::new();
    let mut last = None;
    for (at, packet) in flow.packets.iter().enumerate() {
        last = delays[at].or(last);
        if packet.fate != Fate::Lost {
            continue;
        }
        let a = last.or(after[at]).unwrap_or(offset);
        let b = after[at].or(last).unwrap_or(offset);
        let left = packet.departed.unwrap_or(packet.intended);
        missing.push(Missing { flow: index, packet: at, from: left + a.min(b), to: left + a.max(b) });
    }
    missing
}

fn greatest_host_delay(receiver: &Half) -> Micros {
    let records = receiver.streams.iter().flat_map(|log| &log.rx);
    let delays = records.filter_map(|record| Some(record.user? - record.at));
    delays.max().unwrap_or(Micros::ZERO).clamp(Micros::ZERO, MAX_HOST_DELAY)
}
