//! Whole stages: sender, bottleneck and reflector in virtual time, audio beside them.

use greenroom_reports::metrics::capacity::{Bounds, WINDOW, capacity};
use greenroom_reports::trace::{Direction, StreamId};
use greenroom_reports::units::{Bitrate, DataSize, Micros};

use super::{End, Outcome, SearchConfig};
use crate::proto::machine::{Arrival, Machine};
use crate::proto::reflector::{OpenStamp, SessionConfig, SessionError};
use crate::proto::sender::{SenderError, SenderState};
use crate::proto::testlink::{CLIENT, EPOCH, Path, SSID, World, addr, key, reflector, session};

const STREAM: StreamId = StreamId(9);
/// Audio runs from the start; searches begin here.
const BEGIN: Micros = Micros::from_millis(500);

fn wide() -> SearchConfig {
    SearchConfig { budget: DataSize::from_bytes(400_000_000), ..SearchConfig::default() }
}

fn tail_drop(kbps: u64, one_way_ms: i64) -> Path {
    Path {
        delay: Micros::from_millis(one_way_ms),
        bottleneck: Some((Bitrate::from_kbps(kbps), Micros::from_millis(300))),
        ..Path::CLEAN
    }
}

/// A world in which a session is granted what it asks for and audio has begun.
fn world(up: Path, down: Path, granted: &SessionConfig) -> World {
    let mut world = World::new(1, up, down, Micros::from_secs(8));
    world.recording = false;
    world.reflector.close_session(SSID);
    world.reflector.open_session(EPOCH, granted).expect("free");
    world.run(BEGIN);
    assert_eq!(world.sender.state(), SenderState::Running);
    world
}

fn generous() -> SessionConfig {
    SessionConfig {
        max_pps: 200_000,
        max_bitrate: Bitrate::from_kbps(1_000_000),
        ..session(Micros::from_secs(60))
    }
}

fn start(world: &mut World, direction: Direction, config: SearchConfig) {
    let now = world.now;
    match direction {
        Direction::Up => world.sender.start_capacity(now, STREAM, config).expect("running"),
        Direction::Down => {
            world.reflector.start_capacity(now + EPOCH, SSID, STREAM, config).expect("validated");
        }
    }
}

/// Runs until the search has ended; its outcome and how long it took.
fn outcome(world: &mut World, direction: Direction) -> (Outcome, Micros) {
    let began = world.now;
    for step in 1..1_000 {
        world.run(began + Micros::from_millis(10) * step);
        let (outcome, zero) = match direction {
            Direction::Up => (world.sender.capacity_outcome(STREAM), began),
            Direction::Down => (world.reflector.capacity_outcome(SSID, STREAM), began + EPOCH),
        };
        if let Some(outcome) = outcome {
            return (outcome, outcome.finished - zero);
        }
    }
    panic!("the search never ends");
}

#[expect(clippy::cast_precision_loss, reason = "rates far below 2^53")]
fn off_by(found: Bitrate, kbps: u64) -> f64 {
    found.bps() as f64 / (kbps * 1_000) as f64 - 1.0
}

/// Searches a link of `kbps`; what is wrong with what it finds.
fn fault(direction: Direction, kbps: u64, one_way_ms: i64) -> Option<String> {
    let (mut up, mut down) = (tail_drop(kbps, one_way_ms), tail_drop(1_000_000, one_way_ms));
    if direction == Direction::Down {
        std::mem::swap(&mut up, &mut down);
    }
    let mut world = world(up, down, &generous());
    start(&mut world, direction, wide());
    let (outcome, took) = outcome(&mut world, direction);
    world.run(world.now + Micros::from_millis(500));
    let allowed = if (1_000..=200_000).contains(&kbps) { 0.05 } else { 0.10 };
    let bounds = Bounds { loss_ratio: 0.02, delay_range: Micros::from_millis(90) };
    let reported = capacity(world.sender.capacity_intervals(), direction, bounds, WINDOW);
    let off = [Some(outcome.capacity), reported.map(|it| it.rate)]
        .map(|rate| rate.map_or(-1.0, |rate| off_by(rate, kbps)));
    let wrong = off.iter().any(|off| off.abs() > allowed)
        || (outcome.end, outcome.at_least) != (End::Converged, false)
        || took > Micros::from_secs(3);
    println!("{direction:?} {kbps} kbit/s, {one_way_ms} ms: off {off:.3?} after {took}");
    wrong.then(|| {
        format!(
            "{direction:?} {kbps} kbit/s, {one_way_ms} ms: off {off:.3?} after {took} ({:?})",
            outcome.end
        )
    })
}

#[test]
fn finds_the_rate_of_a_bottleneck_each_way_beside_audio() {
    let mut faults = Vec::new();
    for direction in Direction::BOTH {
        for kbps in [300, 1_000, 5_000, 20_000, 100_000, 200_000, 500_000] {
            faults.extend(fault(direction, kbps, 10));
        }
        for (kbps, one_way_ms) in [(1_000, 1), (1_000, 50), (50_000, 1), (50_000, 50)] {
            faults.extend(fault(direction, kbps, one_way_ms));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn lost_reports_and_random_loss_cost_nothing() {
    for direction in Direction::BOTH {
        let lossy = |kbps, permille| Path { lost_permille: permille, ..tail_drop(kbps, 20) };
        let (mut up, mut down) = (lossy(20_000, 10), lossy(1_000_000, 100));
        if direction == Direction::Down {
            std::mem::swap(&mut up, &mut down);
        }
        let mut world = world(up, down, &generous());
        start(&mut world, direction, wide());
        let (outcome, took) = outcome(&mut world, direction);
        assert!(off_by(outcome.capacity, 20_000).abs() < 0.05, "{direction:?} {outcome:?}");
        assert_eq!(outcome.end, End::Converged);
        assert!(took < Micros::from_secs(4), "{took}");
        // A tenth of the reports was lost, of the intervals hardly one: each is told three times.
        let at: Vec<_> = world.sender.capacity_intervals().iter().map(|it| it.at).collect();
        let holes = at.windows(2).filter(|pair| pair[1] - pair[0] != super::INTERVAL).count();
        assert!(holes <= 1, "{direction:?}: {holes} holes in {}", at.len());
    }
}

#[test]
fn a_ceiling_and_a_budget_are_kept() {
    for direction in Direction::BOTH {
        let ceiling = SearchConfig { ceiling: Bitrate::from_kbps(10_000), ..wide() };
        let mut fast = world(Path::CLEAN, Path::CLEAN, &generous());
        start(&mut fast, direction, ceiling);
        let (outcome, _) = self::outcome(&mut fast, direction);
        assert_eq!((outcome.end, outcome.at_least), (End::Ceiling, true), "{direction:?}");
        assert!(off_by(outcome.capacity, 10_000).abs() < 0.02, "{direction:?} {outcome:?}");

        let budget = SearchConfig { budget: DataSize::from_bytes(2_000_000), ..wide() };
        let mut fast = world(Path::CLEAN, Path::CLEAN, &generous());
        let bytes = |world: &World| match direction {
            Direction::Up => world.up_truth.bytes,
            Direction::Down => world.down_truth.bytes,
        };
        let before = bytes(&fast);
        start(&mut fast, direction, budget);
        let (outcome, _) = self::outcome(&mut fast, direction);
        assert_eq!((outcome.end, outcome.at_least), (End::Budget, true), "{direction:?}");
        // Payloads: less than the budget counts, and audio beside them.
        let spent = bytes(&fast) - before;
        assert!((1_900_000..2_000_000).contains(&spent), "{direction:?}: {spent}");
    }
}

#[test]
fn what_a_session_was_granted_is_the_ceiling_down() {
    let granted = SessionConfig { max_pps: 1_000, ..generous() };
    let mut fast = world(Path::CLEAN, Path::CLEAN, &granted);
    start(&mut fast, Direction::Down, wide());
    let (outcome, _) = outcome(&mut fast, Direction::Down);
    // 1,000 packets of 1,200 octets a second.
    assert_eq!(outcome.end, End::Ceiling);
    assert!(off_by(outcome.capacity, 9_600).abs() < 0.02, "{outcome:?}");

    let granted = SessionConfig { max_bitrate: Bitrate::from_kbps(3_000), ..generous() };
    let mut fast = world(Path::CLEAN, Path::CLEAN, &granted);
    start(&mut fast, Direction::Down, wide());
    let (outcome, _) = self::outcome(&mut fast, Direction::Down);
    assert_eq!(outcome.end, End::Ceiling);
    assert!(off_by(outcome.capacity, 3_000).abs() < 0.02, "{outcome:?}");
}

#[test]
fn a_silent_client_ends_load_down_within_half_a_second() {
    let mut world = world(Path::CLEAN, Path::CLEAN, &generous());
    let ceiling = SearchConfig { ceiling: Bitrate::from_kbps(5_000), ..wide() };
    start(&mut world, Direction::Down, ceiling);
    world.run(world.now + Micros::from_millis(400));
    let silent_from = world.now;
    world.up.lost_permille = 1_000;
    world.run(silent_from + Micros::from_millis(480));
    let sent = world.down_truth.sent;
    world.run(silent_from + Micros::from_millis(600));
    assert!(world.down_truth.sent > sent, "load flows for half a second after the last packet");
    let sent = world.down_truth.sent;
    world.run(silent_from + Micros::from_secs(2));
    assert_eq!(world.down_truth.sent, sent, "and no longer");
    let outcome = world.reflector.capacity_outcome(SSID, STREAM).expect("ended");
    assert_eq!((outcome.end, outcome.at_least), (End::Silent, true));
}

#[test]
fn a_silent_endpoint_ends_load_up() {
    let mut world = world(Path::CLEAN, Path::CLEAN, &generous());
    start(&mut world, Direction::Up, wide());
    world.run(world.now + Micros::from_millis(200));
    world.down.lost_permille = 1_000;
    let (outcome, _) = outcome(&mut world, Direction::Up);
    assert_eq!((outcome.end, outcome.at_least), (End::Silent, true));
}

#[test]
fn nobody_gets_load_who_has_not_proved_his_address() {
    let mut fresh = reflector(OpenStamp::Off);
    assert_eq!(fresh.start_capacity(EPOCH, SSID, STREAM, wide()), Err(SessionError::Unknown(SSID)));
    fresh.open_session(EPOCH, &generous()).expect("free");
    assert_eq!(fresh.start_capacity(EPOCH, SSID, STREAM, wide()), Err(SessionError::NotValidated));
    assert_eq!(fresh.next_deadline(), None);

    // Load up from an address that never echoed, which could be anybody's: no report goes there.
    let mut recorded = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(2));
    recorded.run(BEGIN);
    recorded.wire_up.clear();
    start(&mut recorded, Direction::Up, wide());
    recorded.run(recorded.now + Micros::from_secs(1));
    let victim = addr("203.0.113.9:53");
    let (mut out, mut sent, mut received) = (Vec::new(), 0, 0);
    for (payload, ms) in recorded.wire_up.iter().zip(0..) {
        let now = EPOCH + Micros::from_millis(ms);
        let arrival = Arrival { from: victim, at: now, kernel: true, tos: None, ttl: None };
        fresh.handle_datagram(now, &arrival, payload);
        received += payload.len();
        while let Some(transmit) = fresh.poll_transmit(now, &mut out) {
            assert_eq!(transmit.to, victim);
            assert!(out.len() < 200, "challenges alone, no report and no load");
            sent += out.len();
        }
        assert_eq!(fresh.next_deadline(), None, "and nobody waits for what will not be sent");
    }
    assert!(sent <= received && received > 100_000);
}

#[test]
fn forged_reports_move_nothing() {
    let mut world = world(Path::CLEAN, Path::CLEAN, &generous());
    start(&mut world, Direction::Down, wide());
    world.recording = true;
    world.run(world.now + Micros::from_millis(200));
    let heard = world.reflector.session(SSID).and_then(|it| it.last_heard);
    let report = world.wire_up.iter().rfind(|it| it.len() == 264).expect("reports were sent").clone();
    let hand = |world: &mut World, payload: &[u8]| {
        let now = world.now + EPOCH + Micros::from_millis(1);
        let arrival = Arrival { from: addr(CLIENT), at: now, kernel: true, tos: None, ttl: None };
        world.reflector.handle_datagram(now, &arrival, payload);
    };
    hand(&mut world, &report);
    let mut forged = report.clone();
    forged[116 + 8] ^= 1;
    hand(&mut world, &forged);
    // The client's own key, but what it says cannot be: an interval of seventeen seconds.
    let mut impossible = report;
    impossible[116 + 16] = 1;
    key().up().sign(&mut impossible);
    hand(&mut world, &impossible);
    assert_eq!(
        world.reflector.session(SSID).and_then(|it| it.last_heard),
        heard,
        "a replay is no sign of life"
    );
    assert_eq!(world.reflector.counters().forged, 1);
}

#[test]
fn one_search_at_a_time_under_a_name_of_its_own() {
    let mut world = world(Path::CLEAN, Path::CLEAN, &generous());
    let now = world.now;
    let audio = StreamId::AUDIO;
    assert_eq!(world.sender.start_capacity(now, audio, wide()), Err(SenderError::StreamExists(audio)));
    start(&mut world, Direction::Up, wide());
    start(&mut world, Direction::Down, wide());
    let other = StreamId(10);
    assert_eq!(world.sender.start_capacity(now, other, wide()), Err(SenderError::SearchRuns));
    let again = world.reflector.start_capacity(now + EPOCH, SSID, other, wide());
    assert_eq!(again, Err(SessionError::SearchRuns));
    world.reflector.stop_stream(SSID, STREAM);
    assert_eq!(world.reflector.capacity_outcome(SSID, STREAM), None);
    assert_eq!(world.reflector.start_capacity(now + EPOCH, SSID, other, wide()), Ok(()));
}

#[test]
fn load_is_counted_and_not_logged() {
    let mut world = world(tail_drop(5_000, 10), Path::CLEAN, &generous());
    start(&mut world, Direction::Up, wide());
    let before = world.up_truth.sent;
    outcome(&mut world, Direction::Up);
    world.drain(true);
    assert!(world.up_truth.sent - before > 1_000);
    for half in [world.sender.half(), &world.there] {
        assert_eq!(half.streams.len(), 1, "audio alone");
    }
    let intervals = world.sender.capacity_intervals();
    assert!(intervals.iter().all(|it| it.direction == Direction::Up && it.lasted == super::INTERVAL));
    assert_eq!(world.sender.counters().unexpected + world.reflector.counters().unexpected, 0);
}
