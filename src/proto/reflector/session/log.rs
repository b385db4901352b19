//! A session's log: what came, what left and when, what was dropped, and handing it out.

use greenroom_reports::trace::{Half, QueueDrops, RxRecord, StreamId, StreamLog, TxOutcome, TxRecord};
use greenroom_reports::units::Micros;

use super::{Session, method};
use crate::proto::machine::{Arrival, Departure, DepartureEvent};
use crate::proto::stamp::FollowUp;
use crate::proto::window::ip_bytes;

/// A kernel stamp later than this after the departure does not come any more.
const STAMP_WAIT: Micros = Micros::from_millis(100);
/// Departure stamps asked for per second: beyond them they cost more than they tell.
const MAX_STAMPS_PER_SEC: u32 = 1_000;

impl Session {
    pub(in crate::proto::reflector) fn departed(&mut self, departure: &Departure) {
        let key = departure.key.0.to_be_bytes();
        let [_, _, high, low, a, b, c, d] = key;
        let (stream, seq) = (StreamId(u16::from_be_bytes([high, low])), u32::from_be_bytes([a, b, c, d]));
        let epoch = self.epoch;
        if let DepartureEvent::Left(at) = departure.event
            && stream == StreamId::AUDIO
        {
            self.follow_up = FollowUp { seq, timestamp: self.wire(at), method: method(self.clock.tx) };
        }
        let Ok(lane) = self.position(stream) else {
            if matches!(departure.event, DepartureEvent::Failed(_)) {
                self.load_refused(stream);
            }
            return;
        };
        let tx = &mut self.lanes[lane].log.tx;
        let Ok(at) = tx.binary_search_by_key(&seq, |record| record.seq) else {
            return;
        };
        let record = &mut tx[at];
        departure.event.note(record, epoch);
    }

    pub(in crate::proto::reflector) fn queue_drops(&mut self, now: Micros, total: u64) {
        let total = total.saturating_sub(self.drops_before);
        if self.records < self.log_cap {
            self.records += 1;
            self.queue_drops.push(QueueDrops { at: now - self.epoch, total, shared: true });
        }
    }

    /// Takes what was logged since the last call; see [`crate::proto::reflector::Reflector::drain_log`].
    pub(in crate::proto::reflector) fn drain(&mut self, now: Micros, last: bool) -> Half {
        let now = now - self.epoch;
        let mut covered_until = now;
        let mut left = 0;
        let streams = self
            .lanes
            .iter_mut()
            .map(|lane| {
                let tx = &mut lane.log.tx;
                let open = tx.iter().position(|record| !last && !is_settled(record, now)).unwrap_or(tx.len());
                if let Some(record) = tx.get(open) {
                    covered_until = covered_until.min(record.intended);
                }
                let kept = tx.split_off(open);
                left += kept.len();
                StreamLog {
                    id: lane.log.id,
                    spec: lane.log.spec.clone(),
                    planned: lane.log.planned,
                    tx: std::mem::replace(tx, kept),
                    rx: take_and_keep_room(&mut lane.log.rx),
                    corrupt: lane.log.corrupt,
                }
            })
            .collect();
        self.records = left;
        Half {
            clock: self.clock.clone(),
            streams,
            queue_drops: std::mem::take(&mut self.queue_drops),
            covered_until,
            complete: last,
            host_load: None,
        }
    }

    pub(super) fn log_arrival(
        &mut self,
        lane: usize,
        now: Micros,
        arrival: &Arrival,
        payload: usize,
        seq: u32,
    ) {
        if self.records >= self.log_cap {
            self.dropped_records += 1;
            return;
        }
        self.records += 1;
        self.lanes[lane].log.rx.push(RxRecord {
            seq,
            at: arrival.at - self.epoch,
            user: Some(now - self.epoch),
            bytes: ip_bytes(arrival.from, payload),
            tos: arrival.tos,
            ttl: arrival.ttl,
            reply: None,
        });
    }

    pub(super) fn log_departure(
        &mut self,
        lane: usize,
        seq: u32,
        intended: Micros,
        bytes: u16,
        reply_to: Option<u32>,
        outcome: TxOutcome,
    ) {
        if self.records >= self.log_cap {
            self.dropped_records += 1;
            return;
        }
        self.records += 1;
        let intended = intended - self.epoch;
        let record = TxRecord { reply_to, outcome, ..TxRecord::planned(seq, intended, bytes) };
        self.lanes[lane].log.tx.push(record);
    }
}

/// Lets a thousand departure stamps a second through.
#[derive(Debug, Default)]
pub(super) struct StampBudget {
    second: i64,
    taken: u32,
}

impl StampBudget {
    pub(super) fn take(&mut self, now: Micros) -> bool {
        let second = now.get().div_euclid(1_000_000);
        if second != self.second {
            *self = Self { second, taken: 0 };
        }
        self.taken = self.taken.saturating_add(1);
        self.taken <= MAX_STAMPS_PER_SEC
    }
}

/// Whether nothing more will become known of a departure.
fn is_settled(record: &TxRecord, now: Micros) -> bool {
    record.outcome != TxOutcome::Sent
        || record.kernel.is_some()
        || now - record.user.unwrap_or(record.intended) > STAMP_WAIT
}

/// Takes what was logged and leaves room for as much again: the next packets allocate nothing.
fn take_and_keep_room<T>(log: &mut Vec<T>) -> Vec<T> {
    let room = log.len();
    std::mem::replace(log, Vec::with_capacity(room))
}
