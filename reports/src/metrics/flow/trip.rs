//! Packets there and back: round-trip time, the reflector's hold, and what they say of the clocks.

use std::collections::BTreeSet;

use super::join::{Ends, by_number};
use crate::metrics::percentile::Sorted;
use crate::trace::Trace;
use crate::units::Micros;

/// One packet there and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrip {
    /// The number of the packet answered.
    pub of: u32,
    /// When it left (T1), on the agent's clock.
    pub at: Micros,
    /// When it was to leave, on the agent's clock: says which phase it belongs to.
    pub intended: Micros,
    /// `(T4 − T1) − (T3 − T2)`: the time on the way, without the reflector's hold (RFC 8762 section 4.1, RFC 2681).
    pub rtt: Micros,
    /// `T3 − T2`: how long the reflector held it.
    pub hold: Micros,
    /// `((T2 − T1) + (T3 − T4)) / 2`: the endpoint's clock less the agent's if both ways took the same time; wrong by at
    /// most half the rtt.
    pub offset: Micros,
}

/// The least that a round trip can come to. Its four times are cut to whole microseconds, each by less than one: one of half a microsecond,
/// as within a computer, may come to less than nothing by that.
const CUT: Micros = Micros::new(-1);

/// Round trips of the reflected streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoundTrips {
    /// One per packet that came back, in order of number.
    pub samples: Vec<RoundTrip>,
    /// Replies whose times cannot be true (back before it left, held longer than it was away).
    pub implausible: u64,
}

impl RoundTrips {
    /// The rtt of each sample, sorted.
    pub fn rtt(&self) -> Sorted {
        self.samples.iter().map(|trip| trip.rtt).collect()
    }

    /// The reflector's hold of each sample, sorted.
    pub fn hold(&self) -> Sorted {
        self.samples.iter().map(|trip| trip.hold).collect()
    }

    /// The samples whose intended departure satisfies `keep`.
    #[must_use]
    pub fn restrict(&self, keep: impl Fn(Micros) -> bool) -> Self {
        let samples = self.samples.iter().filter(|trip| keep(trip.intended)).copied().collect();
        Self { samples, implausible: 0 }
    }
}

/// Takes the round trip of every packet that came back: the first reply to each.
///
/// T3 is the true departure of the reply where it is known (the endpoint's log, else Follow-Up Telemetry, RFC 8972
/// section 4.7), else what the reply itself says.
pub fn round_trips(trace: &Trace) -> RoundTrips {
    let mut trips = RoundTrips::default();
    for log in trace.here.streams.iter().filter(|log| log.spec.direction.is_none()) {
        let ends = Ends::new(trace, log.id);
        let sent = by_number(&log.tx);
        let departures = ends.reply_departures();
        let mut seen = BTreeSet::new();
        for record in ends.replies() {
            let Some(reply) = record.reply else { continue };
            let Some(tx) = sent.get(&reply.of) else { continue };
            let Some(departed) = tx.departed().filter(|_| seen.insert(reply.of)) else { continue };
            let reply_left = departures.get(&record.seq).copied().unwrap_or(reply.sent);
            let hold = reply_left - reply.received;
            let rtt = (record.at - departed) - hold;
            if rtt < CUT || hold < Micros::ZERO {
                trips.implausible += 1;
                continue;
            }
            let rtt = rtt.max(Micros::ZERO);
            let offset = midpoint(reply.received - departed, reply_left - record.at);
            trips.samples.push(RoundTrip {
                of: reply.of,
                at: departed,
                intended: tx.intended,
                rtt,
                hold,
                offset,
            });
        }
    }
    trips.samples.sort_by_key(|trip| trip.of);
    trips
}

/// What is known of the offset between the two ends' clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// The endpoint's clock less the agent's, if both ways of the fastest round trip took the same time.
    pub there_less_here: Micros,
    /// How far it may be off either way: half the least rtt (theta is unobservable within it).
    pub half_width: Micros,
}

/// Bounds the clock offset by the fastest round trip. `None` when nothing came back.
pub fn clock_offset(trace: &Trace) -> Option<ClockOffset> {
    offset_of(&round_trips(trace))
}

pub(super) fn offset_of(trips: &RoundTrips) -> Option<ClockOffset> {
    let fastest = trips.samples.iter().min_by_key(|trip| (trip.rtt, trip.of))?;
    Some(ClockOffset { there_less_here: fastest.offset, half_width: midpoint(fastest.rtt, Micros::ZERO) })
}

pub(super) fn midpoint(a: Micros, b: Micros) -> Micros {
    Micros::new((a + b).get().div_euclid(2))
}
