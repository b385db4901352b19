//! Joins what both ends logged into flows.

use std::collections::{BTreeMap, BTreeSet};

use super::trip::{ClockOffset, RoundTrips, midpoint, offset_of, round_trips};
use super::{Attribution, Counts, Fate, Flow, LossPolicy, Packet, drops};
use crate::metrics::percentile::Quantile;
use crate::trace::{
    Direction, Half, RxRecord, StampSource, StreamId, StreamLog, StreamSpec, Trace, TxOutcome, TxRecord,
};
use crate::units::Micros;

/// Packets that one trace may have beyond those that its records name (numbers left out between two arrivals, known to be
/// sent only from the numbering). A lying peer cannot make more.
const MAX_INFERRED: usize = 1 << 17;

/// Least time before a packet is given up in quick runs.
const QUICK_WAIT: Micros = Micros::from_millis(300);

/// Splits a trace into one-direction flows: upward before downward, streams in ascending order of id.
///
/// Every attempted packet has exactly one fate. A trace that contradicts itself (unknown numbers, times that go back, a
/// half that lies) gives flows that are consistent in themselves; what explains nothing is counted as unexplained.
pub fn flows(trace: &Trace, policy: LossPolicy) -> Vec<Flow> {
    let trips = round_trips(trace);
    let wait = Wait::new(policy, &trips);
    let offset = offset_of(&trips);
    let mut inferred_left = MAX_INFERRED;
    let mut drafts: Vec<Draft> = Vec::new();
    for (id, spec) in specs(trace) {
        let ends = Ends::new(trace, id);
        let directions = match spec.direction {
            None => vec![Direction::Up, Direction::Down],
            Some(direction) => vec![direction],
        };
        for direction in directions {
            let mut draft = match (direction, spec.direction) {
                (Direction::Up, None) if trace.there.is_none() => unlogged_way_there(&ends, &spec),
                (Direction::Up, _) => way_up(&ends, &spec),
                (Direction::Down, _) => way_down(&ends, &spec, offset, &mut inferred_left),
            };
            draft.flow.stream = id;
            draft.settle(trace, &wait, offset);
            drafts.push(draft);
        }
    }
    for direction in Direction::BOTH {
        let receiver = if direction == Direction::Up { trace.there.as_ref() } else { Some(&trace.here) };
        if let Some(receiver) = receiver {
            let same = drafts.iter_mut().filter(|draft| draft.flow.direction == direction);
            drops::assign(same.map(|draft| (&mut draft.flow, draft.offset)).collect(), receiver);
        }
    }
    drafts.into_iter().map(Draft::finish).collect()
}

/// How long a packet is waited for.
#[derive(Debug, Clone, Copy)]
struct Wait {
    time: Micros,
    /// Whether three later arrivals are asked for besides.
    quick: bool,
    /// Half the least rtt: stands for the least one-way delay.
    base: Micros,
}

impl Wait {
    fn new(policy: LossPolicy, trips: &RoundTrips) -> Self {
        let rtt = trips.rtt();
        let base = rtt.min().map_or(Micros::ZERO, |least| midpoint(least, Micros::ZERO));
        match policy {
            LossPolicy::After(time) => Self { time, quick: false, base },
            LossPolicy::Quick => {
                let twice = rtt.at(Quantile::P99).map_or(Micros::ZERO, |p99| p99 * 2);
                Self { time: twice.max(QUICK_WAIT), quick: true, base }
            }
        }
    }
}

/// Both ends' logs of one stream.
pub(super) struct Ends<'a> {
    here: Option<&'a StreamLog>,
    there: Option<&'a StreamLog>,
    here_half: &'a Half,
    there_half: Option<&'a Half>,
}

impl<'a> Ends<'a> {
    pub(super) fn new(trace: &'a Trace, id: StreamId) -> Self {
        let find = |half: &'a Half| half.streams.iter().find(|log| log.id == id);
        Self {
            here: find(&trace.here),
            there: trace.there.as_ref().and_then(find),
            here_half: &trace.here,
            there_half: trace.there.as_ref(),
        }
    }

    /// Replies in order of arrival.
    pub(super) fn replies(&self) -> Vec<&'a RxRecord> {
        let rx = self.here.map_or(&[][..], |log| &log.rx);
        let mut replies: Vec<&RxRecord> = rx.iter().filter(|record| record.reply.is_some()).collect();
        replies.sort_by_key(|record| record.at);
        replies
    }

    /// True departures of replies by their number: Follow-Up Telemetry, overruled by the endpoint's own log.
    pub(super) fn reply_departures(&self) -> BTreeMap<u32, Micros> {
        let telemetry = self.replies().into_iter().filter_map(|record| record.reply?.follow_up);
        let logged =
            self.there.map_or(&[][..], |log| &log.tx).iter().filter_map(|tx| Some((tx.seq, tx.kernel?)));
        telemetry.chain(logged).collect()
    }
}

/// The streams that either end knows, with their descriptions (the agent's own, where both have one).
fn specs(trace: &Trace) -> BTreeMap<StreamId, StreamSpec> {
    let there = trace.there.iter().flat_map(|half| &half.streams);
    let known = there.chain(&trace.here.streams);
    known.map(|log| (log.id, log.spec.clone())).collect()
}

pub(super) fn by_number(tx: &[TxRecord]) -> BTreeMap<u32, &TxRecord> {
    let mut numbers = BTreeMap::new();
    for record in tx {
        numbers.entry(record.seq).or_insert(record);
    }
    numbers
}

/// A first copy or a further one, as it reached the receiver.
#[derive(Debug, Clone, Copy)]
struct Seen {
    seq: u32,
    at: Micros,
    user: Option<Micros>,
    bytes: Option<u16>,
}

impl From<&RxRecord> for Seen {
    fn from(record: &RxRecord) -> Self {
        Self { seq: record.seq, at: record.at, user: record.user, bytes: Some(record.bytes) }
    }
}

/// A flow in the making: packets by number, then what arrived, then what became of the rest.
struct Draft {
    flow: Flow,
    packets: BTreeMap<u32, Packet>,
    /// In order of arrival.
    seen: Vec<Seen>,
    /// The receiver's clock less the sender's, as far as it is known.
    offset: Micros,
    /// Damaged arrivals that name no packet.
    corrupt: u64,
    /// Planned packets without a record.
    unplanned: u64,
    /// For [`Attribution::ByCount`]: packets without a reply that nevertheless got there.
    got_there: BTreeSet<u32>,
}

fn way_up(ends: &Ends<'_>, spec: &StreamSpec) -> Draft {
    let mut draft = Draft::new(spec, Direction::Up);
    draft.flow.tx_source = ends.here_half.clock.tx;
    draft.flow.rx_source = ends.there_half.map_or(StampSource::Unknown, |half| half.clock.rx);
    draft.add_sent(ends.here);
    let rx = ends.there.map_or(&[][..], |log| &log.rx);
    draft.seen = rx.iter().map(Seen::from).collect();
    draft.corrupt = ends.there.map_or(0, |log| log.corrupt.into());
    // What the endpoint's log no longer told, a reply may still tell.
    let logged: BTreeSet<u32> = rx.iter().map(|record| record.seq).collect();
    let mut told = BTreeSet::new();
    for record in ends.replies() {
        let Some(reply) = record.reply else { continue };
        if !logged.contains(&reply.of) && told.insert(reply.of) {
            draft.seen.push(Seen { seq: reply.of, at: reply.received, user: None, bytes: None });
        }
    }
    draft
}

/// The way there when only the replies tell of it.
fn unlogged_way_there(ends: &Ends<'_>, spec: &StreamSpec) -> Draft {
    let mut draft = Draft::new(spec, Direction::Up);
    draft.flow.tx_source = ends.here_half.clock.tx;
    draft.add_sent(ends.here);
    let replies = ends.replies();
    let mut numbers = BTreeSet::new();
    for record in &replies {
        let Some(reply) = record.reply else { continue };
        // A further copy of the same reply is a duplicate of the way back, not of the way there.
        if numbers.insert((reply.of, record.seq)) {
            draft.seen.push(Seen { seq: reply.of, at: reply.received, user: None, bytes: None });
        }
    }
    draft.flow.attribution = numbering(ends, &draft.packets);
    if draft.flow.attribution == Attribution::ByCount {
        draft.got_there = got_there(&replies, &draft.packets);
    }
    draft
}

/// Tells whether the reflector numbers its replies itself (RFC 8762 stateful mode). One that copies the number gives the
/// same picture as one that received everything in order; then nothing is known by direction as soon as a reply is missing.
fn numbering(ends: &Ends<'_>, sent: &BTreeMap<u32, Packet>) -> Attribution {
    let replies = ends.replies();
    let answered: BTreeSet<u32> = replies.iter().filter_map(|record| Some(record.reply?.of)).collect();
    let own_numbers = replies.iter().any(|record| record.reply.is_some_and(|reply| reply.of != record.seq));
    let all_back = sent.values().all(|packet| packet.departed.is_none() || answered.contains(&packet.seq));
    if own_numbers || all_back { Attribution::ByCount } else { Attribution::RoundTrip }
}

/// Finds packets without a reply that reached a stateful reflector: between two replies, every number of its own that is
/// missing stands for a reply that was lost on the way back.
fn got_there(replies: &[&RxRecord], sent: &BTreeMap<u32, Packet>) -> BTreeSet<u32> {
    let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
    for record in replies {
        if let Some(reply) = record.reply {
            numbers.entry(reply.of).or_insert(record.seq);
        }
    }
    let own: BTreeSet<u32> = replies.iter().map(|record| record.seq).collect();
    let own: Vec<u32> = own.into_iter().collect();
    let unseen_between = |from: Option<u32>, to: u32| {
        let low = from.map_or(0, |from| from.saturating_add(1));
        // Replies in another order than their packets: nothing is missing between them.
        let Some(between) = to.checked_sub(low) else { return 0 };
        let seen = own.partition_point(|n| *n < to) - own.partition_point(|n| *n < low);
        usize::try_from(between).unwrap_or(usize::MAX).saturating_sub(seen)
    };
    let mut reached = BTreeSet::new();
    let mut before: Option<(u32, u32)> = None;
    for (of, number) in &numbers {
        // A reflector that numbers from elsewhere than zero says nothing about what was before its first reply.
        let known_start = before.is_some() || number <= of;
        if known_start {
            let mut lost_back = unseen_between(before.map(|(_, number)| number), *number);
            let after = before.map_or(0, |(of, _)| of.saturating_add(1));
            if after < *of {
                for (seq, _) in sent.range(after..*of).rev().filter(|(_, packet)| packet.departed.is_some()) {
                    if lost_back == 0 {
                        break;
                    }
                    reached.insert(*seq);
                    lost_back -= 1;
                }
            }
        }
        before = Some((*of, *number));
    }
    reached
}

fn way_down(
    ends: &Ends<'_>,
    spec: &StreamSpec,
    offset: Option<ClockOffset>,
    inferred_left: &mut usize,
) -> Draft {
    let mut draft = Draft::new(spec, Direction::Down);
    draft.flow.tx_source = ends.there_half.map_or(StampSource::Unknown, |half| half.clock.tx);
    draft.flow.rx_source = ends.here_half.clock.rx;
    let rx = ends.here.map_or(&[][..], |log| &log.rx);
    draft.seen = rx.iter().map(Seen::from).collect();
    draft.corrupt = ends.here.map_or(0, |log| log.corrupt.into());
    draft.add_sent(ends.there);
    if spec.direction.is_none() {
        // Replies are due only to what arrived: nothing is planned beyond them.
        draft.unplanned = 0;
        if ends.there_half.is_none() {
            let ways: BTreeMap<u32, Packet> = Draft::sent_by(ends.here);
            draft.flow.attribution = numbering(ends, &ways);
        }
    }
    let log_is_whole = ends.there_half.is_some_and(|half| half.complete) && ends.there.is_some();
    if !log_is_whole {
        draft.add_unlogged_replies(ends);
        draft.add_unlogged_arrivals(offset);
        let starts_at_zero = spec.direction.is_some()
            || ends.replies().iter().all(|record| record.reply.is_some_and(|reply| record.seq <= reply.of));
        if draft.flow.attribution != Attribution::RoundTrip {
            draft.add_left_out(starts_at_zero, inferred_left);
        }
    }
    let departures = ends.reply_departures();
    for (seq, packet) in &mut draft.packets {
        if let Some(left) = departures.get(seq).filter(|_| packet.departed.is_some()) {
            packet.left = Some(*left);
            packet.departed = Some(*left);
        }
    }
    draft
}

impl Draft {
    fn new(spec: &StreamSpec, direction: Direction) -> Self {
        Self {
            flow: Flow {
                stream: StreamId::AUDIO,
                media: spec.media,
                direction,
                rate: spec.rate,
                packets: Vec::new(),
                arrivals: Vec::new(),
                counts: Counts::default(),
                tx_source: StampSource::Unknown,
                rx_source: StampSource::Unknown,
                attribution: Attribution::ByPacket,
                host_drops_shared: false,
                unexplained: 0,
                to_agent: Micros::ZERO,
            },
            packets: BTreeMap::new(),
            seen: Vec::new(),
            offset: Micros::ZERO,
            corrupt: 0,
            unplanned: 0,
            got_there: BTreeSet::new(),
        }
    }

    fn sent_by(log: Option<&StreamLog>) -> BTreeMap<u32, Packet> {
        let records = by_number(log.map_or(&[][..], |log| &log.tx));
        records.into_iter().map(|(seq, record)| (seq, attempted(record))).collect()
    }

    fn add_sent(&mut self, log: Option<&StreamLog>) {
        self.packets = Self::sent_by(log);
        let planned = log.map_or(0, |log| u64::from(log.planned));
        self.unplanned = planned.saturating_sub(len(self.packets.len()));
    }

    /// Adds replies that arrived but are not in the endpoint's log: they say themselves when they left.
    fn add_unlogged_replies(&mut self, ends: &Ends<'_>) {
        for record in ends.replies() {
            let Some(reply) = record.reply else { continue };
            self.packets.entry(record.seq).or_insert_with(|| Packet {
                handed: Some(reply.sent),
                departed: Some(reply.sent),
                bytes: Some(record.bytes),
                ..unlogged(record.seq, reply.sent)
            });
        }
    }

    /// Adds packets that arrived but are not in the sender's log. When they were to leave is unknown; their arrival on the
    /// sender's clock, as well as that is known, stands for it.
    fn add_unlogged_arrivals(&mut self, offset: Option<ClockOffset>) {
        let after = self.packets.last_key_value().map(|(seq, _)| *seq);
        let logged = |seen: &Seen| Some(self.packets.get(&seen.seq)?.departed? - seen.at);
        let by_log = self.seen.iter().filter_map(logged).max();
        let to_sender = offset.map(|offset| offset.there_less_here).or(by_log).unwrap_or(Micros::ZERO);
        for seen in &self.seen {
            if after.is_none_or(|after| seen.seq > after) {
                let packet = Packet { bytes: seen.bytes, ..unlogged(seen.seq, seen.at + to_sender) };
                self.packets.entry(seen.seq).or_insert(packet);
            }
        }
    }

    /// Adds the numbers left out between those known: a sender numbers without gaps, so they were sent.
    fn add_left_out(&mut self, from_zero: bool, inferred_left: &mut usize) {
        let known: Vec<(u32, Micros)> =
            self.packets.iter().map(|(seq, packet)| (*seq, packet.intended)).collect();
        let Some((first_seq, first_at)) = known.first().copied() else { return };
        let step = mean_step(&known);
        let mut last = if from_zero { None } else { Some((first_seq, first_at)) };
        for (seq, at) in known {
            let from = last.map_or(0, |(seq, _): (u32, Micros)| seq.saturating_add(1));
            let gap = usize::try_from(seq.saturating_sub(from)).unwrap_or(usize::MAX);
            if gap <= *inferred_left {
                *inferred_left -= gap;
                for missing in from..seq {
                    let ahead = i64::from(seq - missing);
                    let intended = match last {
                        Some((before, start)) => {
                            between(start, at, i64::from(missing - before), i64::from(seq - before))
                        }
                        None => at - step * ahead,
                    };
                    self.packets.insert(missing, unlogged(missing, intended));
                }
            }
            last = Some((seq, at));
        }
    }

    /// Gives every packet its arrival and its fate, host drops and damage apart.
    fn settle(&mut self, trace: &Trace, wait: &Wait, offset: Option<ClockOffset>) {
        self.place_arrivals();
        let clocks = self.compare_clocks(offset, wait);
        self.offset = clocks.receiver_less_sender.unwrap_or_default();
        self.flow.to_agent = match self.flow.direction {
            Direction::Up => Micros::ZERO,
            Direction::Down => self.offset,
        };
        self.mark_late(wait, &clocks);
        self.mark_missing(trace, wait, &clocks);
        self.mark_corrupt();
        self.flow.packets = std::mem::take(&mut self.packets).into_values().collect();
    }

    fn place_arrivals(&mut self) {
        self.seen.sort_by_key(|seen| seen.at);
        let mut order = Vec::new();
        for seen in &self.seen {
            let Some(packet) = self.packets.get_mut(&seen.seq) else {
                self.flow.unexplained += 1;
                continue;
            };
            if packet.arrived.is_some() {
                packet.extra_copies = packet.extra_copies.saturating_add(1);
                continue;
            }
            // It did arrive, so it did leave, whatever the sender's log says.
            packet.fate = Fate::OnTime;
            packet.arrived = Some(seen.at);
            packet.arrived_user = seen.user;
            packet.bytes = packet.bytes.or(seen.bytes);
            order.push(seen.seq);
        }
        let place: BTreeMap<u32, usize> =
            self.packets.keys().enumerate().map(|(index, seq)| (*seq, index)).collect();
        self.flow.arrivals = order.iter().filter_map(|seq| place.get(seq).copied()).collect();
    }

    fn compare_clocks(&self, offset: Option<ClockOffset>, wait: &Wait) -> Clocks {
        let floor = self.packets.values().filter_map(Packet::delay).min();
        let by_trip = offset.map(|offset| match self.flow.direction {
            Direction::Up => offset.there_less_here,
            Direction::Down => -offset.there_less_here,
        });
        let by_floor = floor.map(|floor| floor - wait.base);
        Clocks { receiver_less_sender: by_trip.or(by_floor), floor, base: wait.base }
    }

    fn mark_late(&mut self, wait: &Wait, clocks: &Clocks) {
        let seqs: Vec<u32> = self.packets.keys().copied().collect();
        let mut greatest = Greatest::default();
        for index in &self.flow.arrivals {
            let Some(packet) = seqs.get(*index).and_then(|seq| self.packets.get_mut(seq)) else { continue };
            let overtaken = greatest.at_least_three_above(packet.seq);
            greatest.add(packet.seq);
            let delay = packet.delay().zip(clocks.floor).map(|(delay, floor)| delay - floor + clocks.base);
            let given_up = delay.is_some_and(|delay| {
                delay > wait.time && (!wait.quick || overtaken || delay > wait.time * 2)
            });
            if given_up {
                packet.fate = Fate::Late;
            }
        }
    }

    fn mark_missing(&mut self, trace: &Trace, wait: &Wait, clocks: &Clocks) {
        let (covered_until, complete) = match (self.flow.direction, self.flow.attribution, &trace.there) {
            // The replies tell of the way there: their receiver is the agent.
            (Direction::Up, Attribution::ByCount | Attribution::RoundTrip, _) | (Direction::Down, ..) => {
                (trace.here.covered_until, trace.here.complete)
            }
            (Direction::Up, Attribution::ByPacket, Some(there)) => (there.covered_until, there.complete),
            (Direction::Up, Attribution::ByPacket, None) => (Micros::new(i64::MIN), false),
        };
        let told_here =
            self.flow.attribution != Attribution::ByPacket && self.flow.direction == Direction::Up;
        let moved = if told_here { Some(Micros::ZERO) } else { clocks.receiver_less_sender };
        let arrived: Vec<u32> =
            self.packets.values().filter(|p| p.arrived.is_some()).map(|p| p.seq).collect();
        for packet in self.packets.values_mut().filter(|packet| packet.fate == Fate::Awaited) {
            let later = arrived.len() - arrived.partition_point(|seq| *seq <= packet.seq);
            let left = packet.departed.unwrap_or(packet.intended);
            let given_up = moved.map_or(complete, |moved| {
                let waited = covered_until - (left + moved);
                let enough = !wait.quick || later >= 3 || complete || waited >= wait.time * 2;
                waited >= wait.time && enough
            });
            if given_up {
                packet.fate = if self.got_there.contains(&packet.seq) { Fate::OnTime } else { Fate::Lost };
            }
        }
    }

    /// Damaged arrivals stand for as many of the missing, the earliest ones: which, nobody can tell.
    fn mark_corrupt(&mut self) {
        let lost = self.packets.values_mut().filter(|packet| packet.fate == Fate::Lost);
        let count = usize::try_from(self.corrupt).unwrap_or(usize::MAX);
        for packet in lost.take(count) {
            packet.fate = Fate::Corrupt;
        }
    }

    fn finish(self) -> Flow {
        let mut flow = self.flow;
        flow.counts = Counts::of(&flow.packets, &flow.arrivals);
        flow.counts.not_sent += self.unplanned;
        flow.counts.planned += self.unplanned;
        debug_assert!(flow.counts.is_consistent(), "{:?}", flow.counts);
        flow
    }
}

/// How the receiver's clock stands to the sender's, as far as that can be known.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    /// `None`: nothing that arrived tells.
    receiver_less_sender: Option<Micros>,
    /// Least difference of arrival and departure.
    floor: Option<Micros>,
    /// The delay that `floor` is taken to hide.
    base: Micros,
}

/// The three greatest numbers so far: enough to tell whether three later packets have arrived.
#[derive(Debug, Default)]
struct Greatest([Option<u32>; 3]);

impl Greatest {
    fn at_least_three_above(&self, seq: u32) -> bool {
        self.0[2].is_some_and(|third| third > seq)
    }

    fn add(&mut self, seq: u32) {
        let mut seq = Some(seq);
        for place in &mut self.0 {
            if seq > *place {
                std::mem::swap(place, &mut seq);
            }
        }
    }
}

/// A packet that the sender logged, its arrival still unknown.
fn attempted(record: &TxRecord) -> Packet {
    let fate = match record.outcome {
        TxOutcome::Sent => Fate::Awaited,
        TxOutcome::Failed(_) => Fate::SendFailed,
        TxOutcome::DroppedLocally => Fate::HostDropped,
        TxOutcome::NotSent => Fate::NotSent,
    };
    let departed = if matches!(fate, Fate::Awaited | Fate::HostDropped) { record.departed() } else { None };
    Packet {
        handed: record.user,
        queued: record.sched,
        left: record.kernel,
        departed,
        bytes: Some(record.bytes),
        fate,
        ..unlogged(record.seq, record.intended)
    }
}

/// A packet known only by its number.
fn unlogged(seq: u32, intended: Micros) -> Packet {
    Packet {
        seq,
        intended,
        handed: None,
        queued: None,
        left: None,
        departed: None,
        arrived: None,
        arrived_user: None,
        bytes: None,
        fate: Fate::Awaited,
        extra_copies: 0,
    }
}

/// Mean time from one number to the next; zero when there are not two.
fn mean_step(known: &[(u32, Micros)]) -> Micros {
    match (known.first(), known.last()) {
        (Some((first, from)), Some((last, to))) if last > first => {
            Micros::new((*to - *from).get() / i64::from(last - first))
        }
        _ => Micros::ZERO,
    }
}

/// The point `part` of `whole` of the way from `start` to `end`.
fn between(start: Micros, end: Micros, part: i64, whole: i64) -> Micros {
    let way = i128::from((end - start).get()) * i128::from(part) / i128::from(whole.max(1));
    start + Micros::new(i64::try_from(way).unwrap_or(0))
}

fn len(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
