use proptest::prelude::*;

use super::*;
use crate::trace::{
    Half, QueueDrops, ReplyStamps, RxRecord, StreamLog, StreamSpec, Trace, TxOutcome, TxRecord,
};

/// The endpoint's clock less the agent's in these tests.
const OFFSET: i64 = 5_000_000;
/// Time on the way, each way.
const WAY: i64 = 10_000;
const STEP: i64 = 20_000;

/// What a link does to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Through,
    LostUp,
    LostDown,
    TwiceUp,
    TwiceDown,
    /// Later than the time given, in microseconds.
    Delayed(i64),
}

fn spec(direction: Option<Direction>) -> StreamSpec {
    StreamSpec { media: Media::Audio, direction, rate: Bitrate::from_kbps(68) }
}

fn log(direction: Option<Direction>, planned: usize) -> StreamLog {
    StreamLog {
        id: StreamId::AUDIO,
        spec: spec(direction),
        planned: u32::try_from(planned).unwrap(),
        tx: Vec::new(),
        rx: Vec::new(),
        corrupt: 0,
    }
}

fn tx(seq: u32, at: i64, reply_to: Option<u32>) -> TxRecord {
    let at = Micros::new(at);
    TxRecord {
        seq,
        intended: at,
        user: Some(at),
        sched: None,
        kernel: None,
        bytes: 172,
        reply_to,
        outcome: TxOutcome::Sent,
    }
}

fn rx(seq: u32, at: i64, reply: Option<ReplyStamps>) -> RxRecord {
    RxRecord { seq, at: Micros::new(at), user: None, bytes: 172, tos: None, ttl: None, reply }
}

/// Sends one packet per event every 20 ms through a stateful reflector, both ends logging.
fn run(events: &[Event]) -> Trace {
    let (mut here, mut there) = (log(None, events.len()), log(None, events.len()));
    let mut arrivals: Vec<(i64, u32, Event)> = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let seq = u32::try_from(index).unwrap();
        let left = i64::from(seq) * STEP;
        here.tx.push(tx(seq, left, None));
        let at = left + WAY + OFFSET;
        match event {
            Event::LostUp => {}
            Event::TwiceUp => arrivals.extend([(at, seq, Event::Through), (at + 100, seq, Event::Through)]),
            Event::Delayed(by) => arrivals.push((at + by, seq, Event::Through)),
            Event::Through | Event::LostDown | Event::TwiceDown => arrivals.push((at, seq, *event)),
        }
    }
    arrivals.sort_by_key(|(at, ..)| *at);
    for (number, (at, of, event)) in arrivals.into_iter().enumerate() {
        let seq = u32::try_from(number).unwrap();
        there.rx.push(rx(of, at, None));
        let sent = at + 50;
        there.tx.push(tx(seq, sent, Some(of)));
        let reply = ReplyStamps {
            of,
            received: Micros::new(at),
            sent: Micros::new(sent),
            follow_up: None,
            ttl: None,
            tos: None,
        };
        let back = sent - OFFSET + WAY;
        match event {
            Event::LostDown => {}
            Event::TwiceDown => here.rx.extend([rx(seq, back, Some(reply)), rx(seq, back + 70, Some(reply))]),
            _ => here.rx.push(rx(seq, back, Some(reply))),
        }
    }
    let end = i64::try_from(events.len()).unwrap() * STEP + 4_000_000;
    let half = |log, end| Half {
        streams: vec![log],
        covered_until: Micros::new(end),
        complete: true,
        ..Half::default()
    };
    Trace { here: half(here, end), there: Some(half(there, end + OFFSET)), ..Trace::default() }
}

fn both(trace: &Trace) -> (Flow, Flow) {
    let flows = flows(trace, LossPolicy::Quick);
    let [up, down] = <[Flow; 2]>::try_from(flows).expect("an audio stream has two directions");
    assert_eq!((up.direction, down.direction), (Direction::Up, Direction::Down));
    (up, down)
}

fn numbers(flow: &Flow, fate: Fate) -> Vec<u32> {
    flow.packets.iter().filter(|packet| packet.fate == fate).map(|packet| packet.seq).collect()
}

fn events(text: &str) -> Vec<Event> {
    text.chars()
        .map(|c| match c {
            'u' => Event::LostUp,
            'd' => Event::LostDown,
            'U' => Event::TwiceUp,
            'D' => Event::TwiceDown,
            's' => Event::Delayed(50_000),
            _ => Event::Through,
        })
        .collect()
}

#[test]
fn each_direction_knows_which_packets_died() {
    let (up, down) = both(&run(&events("...u..dd.U...D.s....uu")));
    assert_eq!(numbers(&up, Fate::Lost), [3, 20, 21], "tail loss included");
    assert_eq!(numbers(&down, Fate::Lost), [5, 6], "the replies' own numbers");
    assert_eq!((up.counts.planned, up.counts.sent, up.counts.on_time), (22, 22, 19));
    assert_eq!((down.counts.planned, down.counts.sent, down.counts.on_time), (20, 20, 18));
    assert_eq!((up.counts.duplicate, down.counts.duplicate), (1, 1));
    assert_eq!((up.counts.reordered, down.counts.reordered), (1, 0));
    assert_eq!((up.attribution, down.attribution), (Attribution::ByPacket, Attribution::ByPacket));
}

#[test]
fn a_stateful_reflector_tells_directions_by_count() {
    let mut trace = run(&events("..u..d...ud....uu"));
    trace.there = None;
    let (up, down) = both(&trace);
    assert_eq!(up.attribution, Attribution::ByCount);
    assert_eq!((up.counts.lost, down.counts.lost), (4, 2));
    assert_eq!(numbers(&up, Fate::Lost)[..1], [2], "a stretch with one loss leaves no choice");
    assert_eq!(down.counts.planned, 13);
}

#[test]
fn a_reflector_that_copies_numbers_tells_only_round_trips() {
    let mut trace = run(&events("..d..d......"));
    trace.there = None;
    for record in &mut trace.here.streams[0].rx {
        record.seq = record.reply.unwrap().of;
    }
    let (up, down) = both(&trace);
    assert_eq!((up.attribution, down.attribution), (Attribution::RoundTrip, Attribution::RoundTrip));
    assert_eq!(numbers(&up, Fate::Lost), [2, 5]);
    assert_eq!((down.counts.planned, down.counts.lost), (10, 0));
}

#[test]
fn nothing_came_back() {
    let mut trace = run(&[Event::LostUp; 20]);
    trace.there = None;
    let (up, down) = both(&trace);
    assert_eq!((up.counts.lost, up.attribution), (20, Attribution::RoundTrip));
    assert_eq!(down.counts, Counts::default());
    assert_eq!(clock_offset(&trace), None);
}

#[test]
fn an_endpoint_that_died_leaves_packets_awaited() {
    let mut trace = run(&events(&".".repeat(100)));
    let there = trace.there.as_mut().unwrap();
    there.complete = false;
    there.covered_until = Micros::new(OFFSET + 1_000_000);
    there.streams[0].rx.truncate(50);
    there.streams[0].tx.truncate(50);
    trace.here.streams[0].rx.truncate(60);
    let (up, down) = both(&trace);
    assert_eq!(up.counts.on_time, 60, "what the log no longer tells, replies do");
    assert_eq!((up.counts.lost, up.counts.awaited), (0, 40));
    assert_eq!((down.counts.planned, down.counts.on_time, down.counts.lost), (60, 60, 0));
}

#[test]
fn a_run_cut_short_awaits_its_last_packets() {
    let mut trace = run(&events(&".".repeat(50)));
    let end = Micros::new(49 * STEP + 1_000);
    trace.here.complete = false;
    trace.here.covered_until = end;
    trace.here.streams[0].rx.retain(|record| record.at < end);
    trace.here.streams[0].planned = 300;
    let there = trace.there.as_mut().unwrap();
    there.complete = false;
    there.covered_until = end + Micros::new(OFFSET);
    there.streams[0].rx.retain(|record| record.at < end + Micros::new(OFFSET));
    there.streams[0].tx.retain(|record| record.intended < end + Micros::new(OFFSET));
    let (up, down) = both(&trace);
    assert_eq!((up.counts.planned, up.counts.sent, up.counts.not_sent), (300, 50, 250));
    assert_eq!((up.counts.lost, up.counts.awaited, up.counts.on_time), (0, 1, 49));
    assert_eq!((down.counts.lost, down.counts.not_sent), (0, 0));
}

#[test]
fn a_dead_path_loses_packets_before_the_run_ends() {
    let mut trace = run(&[vec![Event::Through; 20], vec![Event::LostUp; 80]].concat());
    trace.here.complete = false;
    let there = trace.there.as_mut().unwrap();
    there.complete = false;
    there.covered_until = Micros::new(OFFSET + 99 * STEP);
    let (up, _) = both(&trace);
    // Lost: what left 600 ms or more before the endpoint's log ends at 1980 ms: packets 20 to 69.
    assert_eq!((up.counts.lost, up.counts.awaited), (50, 30));
}

#[test]
fn arrival_after_giving_up_is_late() {
    // So many that the two late ones do not reach rtt p99: the wait is 300 ms.
    let mut plan = vec![Event::Through; 300];
    plan[5] = Event::Delayed(400_000);
    plan[10] = Event::Delayed(250_000);
    let (up, _) = both(&run(&plan));
    assert_eq!(numbers(&up, Fate::Late), [5]);
    assert_eq!((up.counts.late, up.counts.on_time, up.counts.reordered), (1, 299, 2));
    let deep = flows(&run(&plan), LossPolicy::DEEP);
    assert_eq!(deep[0].counts.late, 0);
}

#[test]
fn drops_of_a_full_queue_are_the_computers() {
    let mut trace = run(&events("....u.....dddd......d....."));
    // Replies 9..=12 were due back from 220 ms on; the reply to packet 14 arrives at 300 ms and carries the count.
    trace.here.queue_drops = vec![
        QueueDrops { at: Micros::new(100_000), total: 0, shared: false },
        QueueDrops { at: Micros::new(300_100), total: 4, shared: false },
    ];
    let (up, down) = both(&trace);
    assert_eq!(numbers(&down, Fate::HostDropped), [9, 10, 11, 12]);
    assert_eq!((down.counts.host_dropped, down.counts.lost), (4, 1));
    assert_eq!((up.counts.host_dropped, up.counts.lost, up.host_drops_shared), (0, 1, false));
}

#[test]
fn drops_are_never_more_than_missing() {
    let mut trace = run(&events("....u.....u......"));
    trace.there.as_mut().unwrap().queue_drops =
        vec![QueueDrops { at: Micros::new(OFFSET + 150_000), total: u64::MAX, shared: true }];
    let (up, _) = both(&trace);
    assert_eq!(numbers(&up, Fate::HostDropped), [4], "packet 10 was due after the reading");
    assert!(up.host_drops_shared);
}

#[test]
fn local_drops_failures_and_damage_have_their_own_fates() {
    let mut trace = run(&events("..uuu.u.."));
    let sent = &mut trace.here.streams[0].tx;
    sent[2].outcome = TxOutcome::DroppedLocally;
    sent[3].outcome = TxOutcome::Failed(Some(105));
    sent[4].outcome = TxOutcome::NotSent;
    trace.there.as_mut().unwrap().streams[0].corrupt = 5;
    let (up, _) = both(&trace);
    let c = up.counts;
    assert_eq!((c.planned, c.sent, c.send_failed, c.not_sent), (9, 7, 1, 1));
    assert_eq!((c.host_dropped, c.corrupt, c.lost, c.on_time), (1, 1, 0, 5));
}

#[test]
fn true_departures_of_replies_come_from_the_endpoint_or_from_telemetry() {
    let mut trace = run(&events("......"));
    let (_, told) = both(&trace);
    assert_eq!(told.packets[2].departed, Some(Micros::new(2 * STEP + WAY + OFFSET + 50)));
    let late = Micros::new(2 * STEP + WAY + OFFSET + 80);
    let record = &mut trace.here.streams[0].rx[3];
    record.reply.as_mut().unwrap().follow_up = Some((2, late));
    let (_, down) = both(&trace);
    assert_eq!(down.packets[2].departed, Some(late));
    assert_eq!(round_trips(&trace).samples[2].rtt, Micros::new(2 * WAY - 30));
    trace.there.as_mut().unwrap().streams[0].tx[2].kernel = Some(late - Micros::new(10));
    let (_, down) = both(&trace);
    assert_eq!(down.packets[2].departed, Some(late - Micros::new(10)));
}

#[test]
fn round_trips_leave_out_the_hold() {
    let trips = round_trips(&run(&events("..u.d.D.")));
    assert_eq!(trips.samples.len(), 6);
    assert!(trips.samples.iter().all(|t| t.rtt == Micros::new(2 * WAY) && t.hold == Micros::new(50)));
    let offset = offset(&run(&events("..")));
    assert_eq!(offset, ClockOffset { there_less_here: Micros::new(OFFSET), half_width: Micros::new(WAY) });
}

/// Four times, each cut to whole microseconds, may come to one less than nothing, and not to two.
#[test]
fn a_round_trip_of_less_than_a_microsecond_is_no_lie() {
    let mut trace = run(&events("......"));
    let received = &mut trace.here.streams[0].rx;
    received[2].at -= Micros::new(2 * WAY + 1);
    received[3].at -= Micros::new(2 * WAY + 2);
    let trips = round_trips(&trace);
    assert_eq!((trips.samples.len(), trips.implausible), (5, 1));
    assert_eq!(trips.samples[2].rtt, Micros::ZERO);
}

fn offset(trace: &Trace) -> ClockOffset {
    clock_offset(trace).expect("something came back")
}

#[test]
fn one_way_streams_downward_know_gaps_without_the_endpoints_log() {
    let mut here = log(Some(Direction::Down), 0);
    here.rx = [0, 1, 4, 5, 6, 7].iter().map(|seq| rx(*seq, i64::from(*seq) * STEP, None)).collect();
    here.rx.push(rx(u32::MAX, 8 * STEP, None));
    let half =
        Half { streams: vec![here], covered_until: Micros::from_secs(9), complete: true, ..Half::default() };
    let trace = Trace { here: half, ..Trace::default() };
    let flows = flows(&trace, LossPolicy::Quick);
    assert_eq!(flows.len(), 1);
    assert_eq!(numbers(&flows[0], Fate::Lost), [2, 3]);
    assert_eq!(flows[0].packets[2].intended, Micros::new(2 * STEP));
    assert!(flows[0].packets.len() <= 9, "an invented number invents no packets before it");
}

#[test]
fn a_window_keeps_its_own_packets() {
    let (up, down) = both(&run(&events("...u..dd.U...D.s....uu")));
    let window = |at: Micros| at < Micros::new(8 * STEP);
    let (early, rest) = (up.restrict(window), up.restrict(|at| !window(at)));
    assert_eq!((early.counts.planned, early.counts.lost, rest.counts.lost), (8, 1, 2));
    let mut sum = early.counts;
    sum.merge(&rest.counts);
    assert_eq!(sum, up.counts);
    // The reply to packet 8 has number 7 and leaves at 8 × 20 ms + 10 ms on the agent's clock.
    let late = down.restrict(|at| at >= Micros::new(8 * STEP));
    assert_eq!(late.packets.first().map(|packet| packet.seq), Some(7));
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Through),
        1 => Just(Event::LostUp),
        1 => Just(Event::LostDown),
        1 => Just(Event::TwiceUp),
        1 => Just(Event::TwiceDown),
        1 => (1..200_000_i64).prop_map(Event::Delayed),
    ]
}

/// A half that anybody might have written.
fn any_log() -> impl Strategy<Value = StreamLog> {
    let number = prop_oneof![4 => 0..60_u32, 1 => any::<u32>()];
    let time = prop_oneof![4 => 0..2_000_000_i64, 1 => any::<i64>()];
    let direction = prop_oneof![Just(None), Just(Some(Direction::Up)), Just(Some(Direction::Down))];
    let outcome = prop_oneof![
        6 => Just(TxOutcome::Sent),
        1 => Just(TxOutcome::Failed(None)),
        1 => Just(TxOutcome::DroppedLocally),
        1 => Just(TxOutcome::NotSent)
    ];
    let sent = (number.clone(), time.clone(), outcome)
        .prop_map(|(seq, at, outcome)| TxRecord { outcome, ..tx(seq, at, None) });
    let reply =
        (number.clone(), time.clone(), time.clone(), proptest::option::of((number.clone(), time.clone())));
    let reply = proptest::option::of(reply.prop_map(|(of, received, sent, follow_up)| ReplyStamps {
        of,
        received: Micros::new(received),
        sent: Micros::new(sent),
        follow_up: follow_up.map(|(number, at)| (number, Micros::new(at))),
        ttl: None,
        tos: None,
    }));
    let received = (number, time, reply).prop_map(|(seq, at, reply)| rx(seq, at, reply));
    let lists = (proptest::collection::vec(sent, 0..40), proptest::collection::vec(received, 0..40));
    (0..3_u16, direction, any::<u32>(), lists, any::<u32>()).prop_map(
        |(id, direction, planned, (tx, rx), corrupt)| StreamLog {
            id: StreamId(id),
            spec: spec(direction),
            planned,
            tx,
            rx,
            corrupt,
        },
    )
}

fn any_half() -> impl Strategy<Value = Half> {
    let drops = (any::<i64>(), any::<u64>(), any::<bool>());
    let drops = drops.prop_map(|(at, total, shared)| QueueDrops { at: Micros::new(at), total, shared });
    let lists = (proptest::collection::vec(any_log(), 0..3), proptest::collection::vec(drops, 0..4));
    (lists, any::<i64>(), any::<bool>()).prop_map(|((streams, queue_drops), covered, complete)| Half {
        streams,
        queue_drops,
        covered_until: Micros::new(covered),
        complete,
        ..Half::default()
    })
}

proptest! {
    #[test]
    fn any_trace_gives_consistent_flows(here in any_half(), there in proptest::option::of(any_half())) {
        let trace = Trace { here, there, ..Trace::default() };
        for policy in [LossPolicy::Quick, LossPolicy::DEEP] {
            for flow in flows(&trace, policy) {
                prop_assert!(flow.counts.is_consistent());
                let mut again = Counts::of(&flow.packets, &flow.arrivals);
                prop_assert!(again.planned <= flow.counts.planned);
                again.not_sent += flow.counts.planned - again.planned;
                again.planned = flow.counts.planned;
                prop_assert_eq!(again, flow.counts);
                prop_assert!(flow.packets.is_sorted_by_key(|packet| packet.seq));
                let mut arrived = flow.arrivals.clone();
                arrived.sort_unstable();
                arrived.dedup();
                prop_assert_eq!(arrived.len(), flow.arrivals.len());
                prop_assert!(flow.arrivals.iter().all(|index| flow.packets[*index].is_received()));
            }
        }
    }

    #[test]
    fn the_order_of_storage_does_not_matter(plan in proptest::collection::vec(any_event(), 1..60), seed in any::<u64>()) {
        let trace = run(&plan);
        let mut shuffled = trace.clone();
        for half in [Some(&mut shuffled.here), shuffled.there.as_mut()].into_iter().flatten() {
            shuffle(&mut half.streams[0].rx, seed);
            shuffle(&mut half.streams[0].tx, seed);
        }
        // Arrivals in the same microsecond keep the order of the log, which is the order of arrival: compare without ties.
        let ties = [Some(&trace.here), trace.there.as_ref()].into_iter().flatten().any(|half| {
            let rx = &half.streams[0].rx;
            rx.iter().map(|record| record.at).collect::<std::collections::BTreeSet<_>>().len() < rx.len()
        });
        prop_assume!(!ties);
        prop_assert_eq!(flows(&shuffled, LossPolicy::Quick), flows(&trace, LossPolicy::Quick));
    }

    #[test]
    fn counts_equal_the_truth(plan in proptest::collection::vec(any_event(), 1..80)) {
        let (up, down) = both(&run(&plan));
        let truth = |event: Event| u64::try_from(plan.iter().filter(|e| **e == event).count()).unwrap();
        prop_assert_eq!(up.counts.lost, truth(Event::LostUp));
        prop_assert_eq!(down.counts.lost, truth(Event::LostDown));
        prop_assert_eq!(up.counts.duplicate, truth(Event::TwiceUp));
        prop_assert_eq!(down.counts.duplicate, truth(Event::TwiceDown));
        prop_assert_eq!((up.counts.awaited, down.counts.awaited), (0, 0));
    }

    #[test]
    fn further_copies_change_only_the_count_of_copies(plan in proptest::collection::vec(any_event(), 1..60)) {
        let trace = run(&plan);
        let mut doubled = trace.clone();
        let copies: Vec<RxRecord> = doubled.here.streams[0].rx.iter().map(|r| RxRecord { at: r.at + Micros::new(1), ..*r }).collect();
        let added = u64::try_from(copies.len()).unwrap();
        doubled.here.streams[0].rx.extend(copies);
        let (up, mut down) = both(&trace);
        let (up_again, down_again) = both(&doubled);
        prop_assert_eq!(up_again, up);
        down.counts.duplicate += added;
        prop_assert_eq!(down_again.counts, down.counts);
        prop_assert_eq!(down_again.arrivals, down.arrivals);
    }
}

/// Fisher-Yates with a linear congruential generator: replayable from the seed alone.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for index in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from((state >> 33) % u64::try_from(index + 1).unwrap()).unwrap();
        items.swap(index, other);
    }
}
