//! Sender and reflector against each other over a link that knows the truth.

use std::collections::BTreeMap;

use greenroom_reports::trace::{Direction, Half, Media, PhaseKind, RxRecord, StreamId, StreamLog};
use greenroom_reports::units::{Bitrate, Micros};

use super::machine::{Arrival, Machine, TransmitKey};
use super::media::MediaPlan;
use super::reflector::{OpenStamp, SessionError};
use super::sender::{SenderError, SenderState};
use super::stamp::{ErrorEstimate, Mode, SenderPacket, Timestamp, TimestampFormat};
use super::testlink::{CLIENT, ENDPOINT, EPOCH, Path, SSID, Truth, World, addr, reflector, session};

fn rough() -> Path {
    Path {
        delay: Micros::from_millis(12),
        spread: Micros::from_millis(45),
        lost_permille: 80,
        doubled_permille: 30,
        damaged_permille: 10,
        bottleneck: None,
    }
}

fn video(stream: u16, from: Micros, secs: i64) -> MediaPlan {
    MediaPlan {
        stream: StreamId(stream),
        media: Media::Video,
        rate: Bitrate::from_kbps(1_500),
        from,
        until: from + Micros::from_secs(secs),
        seed: 11,
    }
}

fn log(half: &Half, stream: u16) -> &StreamLog {
    half.streams.iter().find(|log| log.id == StreamId(stream)).expect("the stream is logged")
}

/// How often each number arrived.
fn arrivals(rx: &[RxRecord]) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    for record in rx {
        *counts.entry(record.seq).or_default() += 1;
    }
    counts
}

/// How often the link delivered each number of a stream. The low 32 bits of a key are the number, the 16 above the stream.
fn delivered(truth: &Truth, stream: u16, ssid: u64) -> BTreeMap<u32, u32> {
    truth
        .delivered
        .iter()
        .filter(|(TransmitKey(key), _)| key >> 32 == ssid << 16 | u64::from(stream))
        .map(|(TransmitKey(key), count)| (u32::try_from(key & 0xffff_ffff).expect("masked"), *count))
        .collect()
}

#[test]
fn logs_equal_the_truth_for_every_seed() {
    for seed in 0..60 {
        let mut world = World::new(seed, rough(), rough(), Micros::from_secs(4));
        world.run(Micros::from_secs(1));
        let now = world.now;
        assert_eq!(world.sender.state(), SenderState::Running, "seed {seed}");
        assert!(world.sender.is_validated(), "seed {seed}");
        world.sender.start_stream(now, video(1, now, 2)).expect("running");
        world.reflector.start_stream(now + EPOCH, SSID, video(2, now + EPOCH, 2)).expect("validated");
        world.run(Micros::from_secs(30));
        world.drain(true);
        assert_eq!(world.sender.state(), SenderState::Finished, "seed {seed}");

        let here = world.sender.half();
        let there = &world.there;
        let ssid = u64::from(SSID);
        for (rx, truth, stream, ssid) in [
            (&log(there, 0).rx, &world.up_truth, 0, 0),
            (&log(there, 1).rx, &world.up_truth, 1, 0),
            (&log(here, 0).rx, &world.down_truth, 0, ssid),
            (&log(here, 2).rx, &world.down_truth, 2, ssid),
        ] {
            assert_eq!(arrivals(rx), delivered(truth, stream, ssid), "seed {seed}, stream {stream}");
        }
        // 4 s at 50 packets a second; every arrival there was answered.
        assert_eq!((log(here, 0).planned, log(here, 0).tx.len()), (200, 200), "seed {seed}");
        assert_eq!(log(there, 0).tx.len(), log(there, 0).rx.len(), "seed {seed}");
        for (half, stream) in [(here, 0), (here, 1), (there, 0), (there, 2)] {
            let log = log(half, stream);
            assert_eq!(usize::try_from(log.planned), Ok(log.tx.len()), "seed {seed}, stream {stream}");
            assert!(log.tx.iter().zip(0..).all(|(record, seq)| record.seq == seq), "seed {seed}");
            assert!(log.tx.iter().all(|record| record.kernel.is_some()), "seed {seed}");
        }
        let counters = world.sender.counters();
        assert_eq!(
            (counters.forged, counters.implausible, counters.unexpected),
            (world.down_truth.damaged, 0, 0)
        );
        assert_eq!(world.reflector.counters().forged, world.up_truth.damaged, "seed {seed}");
        assert!(here.complete && there.complete);
    }
}

#[test]
fn times_are_exact_across_the_wire() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(1));
    world.run(Micros::from_secs(10));
    world.drain(true);
    let here = log(world.sender.half(), 0);
    let there = log(&world.there, 0);
    assert_eq!(here.rx.len(), 50);
    for (reply, (seen, answered)) in here.rx.iter().zip(there.rx.iter().zip(&there.tx)) {
        let stamps = reply.reply.expect("a reply");
        assert_eq!((stamps.received, stamps.of), (seen.at, seen.seq));
        assert_eq!(Some(stamps.sent), answered.user);
        assert_eq!((stamps.ttl, stamps.tos), (Some(57), Some(46 << 2)));
        if let Some((of, left)) = stamps.follow_up {
            let told = there.tx.iter().find(|record| record.seq == of).expect("a reply of its own");
            assert_eq!(Some(left), told.kernel);
        }
    }
    assert!(here.rx[1].reply.is_some_and(|stamps| stamps.follow_up.is_some()));
    // Intended every 20 ms from the start phase on, 10 ms each way: nothing else takes time here.
    let start = world.sender.audio_start().expect("validated");
    for (record, n) in here.tx.iter().zip(0..) {
        assert_eq!(record.intended, start + Micros::from_millis(20) * n);
    }
    assert_eq!(start, Micros::from_millis(20 + 3));
}

#[test]
fn nobody_gets_more_than_he_sent_before_validation() {
    // A spoofed source: packets that verify (recorded, or of a hostile client), from an address that never echoes.
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(1));
    world.run(Micros::from_secs(10));
    let recorded = std::mem::take(&mut world.wire_up);
    let mut fresh = reflector(OpenStamp::Off);
    fresh.open_session(EPOCH, &session(Micros::from_secs(60))).expect("free");
    let victim = addr("203.0.113.9:53");
    let (mut received, mut sent, mut out) = (0, 0, Vec::new());
    for (payload, n) in recorded.iter().zip(0..) {
        let now = EPOCH + Micros::from_millis(20) * n;
        let arrival = Arrival { from: victim, at: now, kernel: true, tos: None, ttl: None };
        fresh.handle_datagram(now, &arrival, payload);
        received += payload.len();
        while fresh.poll_transmit(now, &mut out).is_some() {
            sent += out.len();
            assert!(sent <= received);
        }
        let refused = fresh.start_stream(now, SSID, video(2, now, 2));
        assert_eq!(refused, Err(SessionError::NotValidated));
    }
    assert!(sent > 0, "challenges were sent");
    assert_eq!(fresh.session(SSID).and_then(|it| it.validated), None);
}

#[test]
fn forged_and_foreign_datagrams_are_never_answered() {
    let mut target = reflector(OpenStamp::Off);
    target.open_session(EPOCH, &session(Micros::from_secs(60))).expect("free");
    let mut random = super::media::SplitMix(3);
    let mut out = Vec::new();
    for n in 0..5_000 {
        let len = usize::try_from(random.below(1_600)).expect("small");
        let mut payload: Vec<u8> = (0..len).map(|_| random.next().to_be_bytes()[0]).collect();
        if n % 2 == 0 && payload.len() > 28 {
            payload[26..28].copy_from_slice(&SSID.to_be_bytes());
        }
        let arrival = Arrival { from: addr(CLIENT), at: EPOCH, kernel: false, tos: None, ttl: None };
        target.handle_datagram(EPOCH, &arrival, &payload);
        assert_eq!(target.poll_transmit(EPOCH, &mut out), None, "packet {n}");
    }
    let counters = target.counters();
    assert_eq!(counters.forged + counters.unknown + counters.oversized, 5_000);
    assert!(counters.forged > 1_000 && counters.oversized > 100);
}

#[test]
fn replays_are_counted_and_change_nothing() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(1));
    world.run(Micros::from_secs(10));
    world.drain(true);
    let heard = world.reflector.session(SSID).and_then(|it| it.last_heard);
    let up = std::mem::take(&mut world.wire_up);
    let later = world.now + EPOCH + Micros::from_secs(5);
    let thief = addr("203.0.113.9:4444");
    for _ in 0..20 {
        for payload in &up {
            let arrival = Arrival { from: thief, at: later, kernel: true, tos: None, ttl: None };
            world.reflector.handle_datagram(later, &arrival, payload);
        }
    }
    let status = world.reflector.session(SSID).expect("open");
    assert_eq!((status.last_heard, status.validated), (heard, Some(addr(CLIENT))));
    // Of the 20 rounds a packet's first 7 repeats may be a network's; the rest is a replay.
    let packets = u64::try_from(up.len()).expect("few");
    assert_eq!(world.reflector.counters().replayed, packets * 13);
}

#[test]
fn an_address_change_is_validated_again_and_loses_nothing() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(4));
    world.run(Micros::from_secs(1));
    let now = world.now;
    world.reflector.start_stream(now + EPOCH, SSID, video(2, now + EPOCH, 2)).expect("validated");
    world.run(Micros::from_secs(2));
    world.client = addr("192.0.2.1:50000");
    world.run(Micros::from_secs(30));
    world.drain(true);
    let status = world.reflector.session(SSID).expect("open");
    assert_eq!((status.validated, status.address_changes), (Some(addr("192.0.2.1:50000")), 1));
    assert_eq!(log(world.sender.half(), 0).rx.len(), 200);
    // Media went to the old address until the new one had echoed: a round trip and an audio interval at the most.
    assert!((1..=30).contains(&world.misdirected), "{}", world.misdirected);
}

#[test]
fn media_down_stops_when_the_client_is_silent() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(1));
    world.run(Micros::from_millis(500));
    let now = world.now;
    world.reflector.start_stream(now + EPOCH, SSID, video(2, now + EPOCH, 20)).expect("validated");
    world.run(Micros::from_secs(30));
    world.drain(true);
    let heard = world.reflector.session(SSID).and_then(|it| it.last_heard).expect("heard") - EPOCH;
    let log = log(&world.there, 2);
    let last = log.tx.last().expect("it sent").intended;
    assert!(last <= heard + Micros::from_millis(500), "{last} after {heard}");
    assert!(last >= heard + Micros::from_millis(450), "{last} after {heard}");
    assert_eq!(usize::try_from(log.planned), Ok(log.tx.len()));
}

#[test]
fn an_expired_session_answers_nothing() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(4));
    world.reflector.close_session(SSID);
    world.reflector.open_session(EPOCH, &session(Micros::from_secs(1))).expect("free");
    world.run(Micros::from_secs(30));
    world.drain(true);
    assert!(world.reflector.counters().expired > 100);
    let last = log(&world.there, 0).tx.last().expect("it answered at first").intended;
    assert!(last < Micros::from_secs(1));
}

#[test]
fn a_silent_endpoint_is_unreachable_in_time() {
    let lost = Path { lost_permille: 1_000, ..Path::CLEAN };
    let mut world = World::new(1, lost, Path::CLEAN, Micros::from_secs(4));
    world.run(Micros::from_secs(30));
    assert_eq!(world.sender.state(), SenderState::Unreachable);
    assert_eq!(world.now, Micros::from_secs(2));
    assert_eq!(world.up_truth.sent, 20);
    assert!(world.sender.half().streams[0].tx.is_empty());
}

#[test]
fn an_endpoint_that_dies_leaves_a_partial_log() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(4));
    world.run(Micros::from_secs(1));
    world.reflector.close_session(SSID);
    world.reflector.open_session(EPOCH, &session(Micros::ZERO)).expect("free");
    world.run(Micros::from_secs(30));
    assert_eq!(world.sender.state(), SenderState::Finished);
    let heard = world.sender.last_heard().expect("it answered at first");
    assert!(heard < Micros::from_millis(1_020), "{heard}");
    let log = log(world.sender.half(), 0);
    assert_eq!(log.tx.len(), 200);
    assert!((40..60).contains(&log.rx.len()));
}

#[test]
fn a_lying_endpoint_is_noticed_and_harms_nobody() {
    // An endpoint whose times jump about: its anchor moves by minutes with every reply.
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(1));
    world.run(Micros::from_millis(200));
    let template = world.wire_down.last().expect("replies").clone();
    let key = super::testlink::key().down();
    let mut random = super::media::SplitMix(5);
    let before = *world.sender.counters();
    for n in 0..1_000 {
        let mut lie = template.clone();
        for octet in &mut lie[..96] {
            *octet = random.next().to_be_bytes()[0];
        }
        lie[26..28].copy_from_slice(&SSID.to_be_bytes());
        lie[48..52].copy_from_slice(&(n % 5u32).to_be_bytes());
        key.sign(&mut lie);
        let now = world.now;
        let arrival = Arrival { from: addr(ENDPOINT), at: now, kernel: true, tos: None, ttl: None };
        world.sender.handle_datagram(now, &arrival, &lie);
    }
    let after = world.sender.counters();
    let lies = after.implausible - before.implausible + after.replayed - before.replayed;
    assert!(lies > 990, "{after:?}");
}

#[test]
fn the_sender_ignores_what_is_not_its_own() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(1));
    world.run(Micros::from_millis(500));
    let reply = world.wire_down.last().expect("replies").clone();
    let request = world.wire_up.last().expect("requests").clone();
    let received = log(world.sender.half(), 0).rx.len();
    let now = world.now;
    let mut hand = |from: &str, payload: &[u8]| {
        let arrival = Arrival { from: addr(from), at: now, kernel: true, tos: None, ttl: None };
        world.sender.handle_datagram(now, &arrival, payload);
    };
    hand("203.0.113.9:1", &reply);
    hand("203.0.113.9:1", &[1, 2, 3]);
    hand(ENDPOINT, &[]);
    hand(ENDPOINT, &request);
    hand(ENDPOINT, &[0; 1_400]);
    let counters = world.sender.counters();
    assert_eq!(
        (counters.moved, counters.foreign, counters.forged, counters.oversized),
        (1, 1, 2, 1),
        "{counters:?}"
    );
    assert_eq!(log(world.sender.half(), 0).rx.len(), received);
    assert_eq!(log(world.sender.half(), 0).corrupt, 2);
}

#[test]
fn commands_are_refused_when_they_make_no_sense() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(1));
    let early = world.sender.start_stream(Micros::ZERO, video(1, Micros::ZERO, 1));
    assert_eq!(early, Err(SenderError::NotRunning));
    world.run(Micros::from_millis(500));
    let now = world.now;
    assert_eq!(world.sender.start_stream(now, video(1, now, 1)), Ok(()));
    assert_eq!(world.sender.start_stream(now, video(1, now, 1)), Err(SenderError::StreamExists(StreamId(1))));
    let there = now + EPOCH;
    assert_eq!(world.reflector.start_stream(there, 99, video(2, there, 1)), Err(SessionError::Unknown(99)));
    let greedy = MediaPlan { rate: Bitrate::from_kbps(8_001), ..video(2, there, 1) };
    assert_eq!(world.reflector.start_stream(there, SSID, greedy), Err(SessionError::Rate));
    assert_eq!(
        world.reflector.open_session(there, &session(Micros::ZERO)),
        Err(SessionError::SsidTaken(SSID))
    );
}

#[test]
fn stopping_early_is_a_planned_end_and_aborting_is_not() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(4));
    world.run(Micros::from_millis(500));
    world.sender.begin_phase(world.now, PhaseKind::Idle, Bitrate::default(), Bitrate::default());
    world.run(Micros::from_millis(1_000));
    let end = world.now;
    world.sender.finish(end);
    world.run(Micros::from_secs(30));
    let half = world.sender.half();
    assert_eq!(usize::try_from(log(half, 0).planned), Ok(log(half, 0).tx.len()));
    assert!(half.complete);
    assert_eq!(world.sender.phases().last().map(|phase| phase.to), Some(end));
    assert_eq!(world.now, end + Micros::from_secs(1));

    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(4));
    world.run(Micros::from_millis(500));
    world.sender.abort(world.now);
    assert!(world.sender.is_finished());
    assert_eq!(log(world.sender.half(), 0).planned, 200);
    assert!(!world.sender.half().complete);
}

#[test]
fn a_computer_that_slept_does_not_burst() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(4));
    world.run(Micros::from_millis(500));
    world.now += Micros::from_secs(1);
    let sent = world.up_truth.sent;
    let now = world.now;
    world.run(now);
    // What is at most 250 ms late still leaves: 13 packets.
    assert!((12..=13).contains(&(world.up_truth.sent - sent)), "{}", world.up_truth.sent - sent);
    let skipped = log(world.sender.half(), 0)
        .tx
        .iter()
        .filter(|record| record.outcome == greenroom_reports::trace::TxOutcome::NotSent)
        .count();
    assert!((36..=39).contains(&skipped), "{skipped}");
}

#[test]
fn open_stamp_answers_only_when_switched_on() {
    let format = TimestampFormat::Ptp;
    let request = SenderPacket {
        seq: 77,
        timestamp: Timestamp::from_be_bytes([1; 8]),
        error: ErrorEstimate::free_running(Micros::from_millis(1), format),
        ssid: 5,
    };
    let mut payload = Vec::new();
    request.write(Mode::Open, &mut payload);
    payload.extend([0x80, 200, 0, 1, 9, 0x80, 4, 0, 3, 0, 0, 0, 0x80, 1, 0xff, 0xff]);
    let arrival = Arrival { from: addr(CLIENT), at: EPOCH, kernel: false, tos: Some(0), ttl: Some(3) };
    let mut out = Vec::new();
    for (open, expected) in
        [(OpenStamp::Off, vec![]), (OpenStamp::Stateless, vec![77, 77]), (OpenStamp::Stateful, vec![0, 1])]
    {
        let mut target = reflector(open);
        let mut seqs = Vec::new();
        for _ in 0..2 {
            target.handle_datagram(EPOCH, &arrival, &payload);
            while target.poll_transmit(EPOCH, &mut out).is_some() {
                assert_eq!(out.len(), payload.len());
                // An unknown type, a Class of Service of the wrong length, padding past the end.
                assert_eq!((out[44], out[49], out[56]), (0x80, 0x40, 0x40));
                let (reply, _) = super::stamp::ReflectorPacket::parse(Mode::Open, &out).expect("long enough");
                assert_eq!((reply.sender_seq, reply.ssid, reply.sender_ttl), (77, 5, 3));
                assert_eq!(reply.error.format, format);
                seqs.push(reply.seq);
            }
        }
        assert_eq!(seqs, expected, "{open:?}");
    }
}

#[test]
fn directions_in_the_logs_are_named_from_the_client() {
    let mut world = World::new(1, Path::CLEAN, Path::CLEAN, Micros::from_secs(1));
    world.run(Micros::from_millis(300));
    let now = world.now;
    world.sender.start_stream(now, video(1, now, 1)).expect("running");
    world.reflector.start_stream(now + EPOCH, SSID, video(2, now + EPOCH, 1)).expect("validated");
    world.run(Micros::from_secs(10));
    world.drain(true);
    for half in [world.sender.half(), &world.there] {
        assert_eq!(log(half, 1).spec.direction, Some(Direction::Up));
        assert_eq!(log(half, 2).spec.direction, Some(Direction::Down));
        assert_eq!(log(half, 1).spec.rate, Bitrate::from_kbps(1_500));
    }
}

#[test]
fn who_is_vouched_for_need_not_echo_a_nonce() {
    for vouched in [false, true] {
        let mut fresh = reflector(OpenStamp::Off);
        fresh.open_session(EPOCH, &session(Micros::from_secs(60))).expect("free");
        if vouched {
            fresh.vouch(SSID, addr(CLIENT));
        }
        let known = fresh.session(SSID).and_then(|it| it.validated);
        assert_eq!(known, vouched.then(|| addr(CLIENT)));
        // What goes down waits for it.
        let started = fresh.start_stream(EPOCH, SSID, video(2, EPOCH, 1));
        assert_eq!(started, if vouched { Ok(()) } else { Err(SessionError::NotValidated) });
    }
}
