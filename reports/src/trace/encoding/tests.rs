use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::trace::{
    CapacitySearch, ClockInfo, ClockStep, Direction, HostLoad, Media, QueueDrops, ReplyStamps, RxRecord,
    SearchEnd, StampSource, StreamId, StreamLog, StreamSpec, TxOutcome, TxRecord,
};

/// Points of any size, small ones more often: sums must wrap back to what they were.
fn micros() -> impl Strategy<Value = Micros> {
    prop_oneof![4 => -1_000_000..1_000_000_i64, 1 => any::<i64>()].prop_map(Micros::new)
}

fn source() -> impl Strategy<Value = StampSource> {
    prop_oneof![
        Just(StampSource::Hardware),
        Just(StampSource::Kernel),
        Just(StampSource::User),
        Just(StampSource::Unknown)
    ]
}

fn outcome() -> impl Strategy<Value = TxOutcome> {
    prop_oneof![
        Just(TxOutcome::Sent),
        any::<Option<i32>>().prop_map(TxOutcome::Failed),
        Just(TxOutcome::DroppedLocally),
        Just(TxOutcome::NotSent)
    ]
}

fn tx_record() -> impl Strategy<Value = TxRecord> {
    let times = (micros(), option::of(micros()), option::of(micros()), option::of(micros()));
    (any::<u32>(), times, any::<u16>(), any::<Option<u32>>(), outcome()).prop_map(
        |(seq, (intended, user, sched, kernel), bytes, reply_to, outcome)| TxRecord {
            seq,
            intended,
            user,
            sched,
            kernel,
            bytes,
            reply_to,
            outcome,
        },
    )
}

fn reply() -> impl Strategy<Value = ReplyStamps> {
    let follow_up = option::of((any::<u32>(), micros()));
    (any::<u32>(), micros(), micros(), follow_up, any::<Option<u8>>(), any::<Option<u8>>()).prop_map(
        |(of, received, sent, follow_up, ttl, tos)| ReplyStamps { of, received, sent, follow_up, ttl, tos },
    )
}

fn rx_record() -> impl Strategy<Value = RxRecord> {
    let octets = (any::<Option<u8>>(), any::<Option<u8>>());
    (any::<u32>(), micros(), option::of(micros()), any::<u16>(), octets, option::of(reply())).prop_map(
        |(seq, at, user, bytes, (tos, ttl), reply)| RxRecord { seq, at, user, bytes, tos, ttl, reply },
    )
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Up), Just(Direction::Down)]
}

fn stream_log() -> impl Strategy<Value = StreamLog> {
    let media = prop_oneof![Just(Media::Audio), Just(Media::Video), Just(Media::Screen)];
    let spec = (media, option::of(direction()), any::<u64>())
        .prop_map(|(media, direction, rate)| StreamSpec { media, direction, rate: Bitrate::from_bps(rate) });
    (spec, any::<u32>(), vec(tx_record(), 0..12), vec(rx_record(), 0..12), any::<u32>()).prop_map(
        |(spec, planned, tx, rx, corrupt)| StreamLog { id: StreamId(0), spec, planned, tx, rx, corrupt },
    )
}

fn half() -> impl Strategy<Value = Half> {
    let steps = vec((micros(), micros()).prop_map(|(at, by)| ClockStep { at, by }), 0..3);
    let clock = (source(), source(), steps).prop_map(|(tx, rx, steps)| ClockInfo { tx, rx, steps });
    let streams = proptest::collection::btree_map(any::<u16>(), stream_log(), 0..4)
        .prop_map(|logs| logs.into_iter().map(|(id, log)| StreamLog { id: StreamId(id), ..log }).collect());
    let drops = vec(
        (micros(), any::<u64>(), any::<bool>()).prop_map(|(at, total, shared)| QueueDrops {
            at,
            total,
            shared,
        }),
        0..4,
    );
    let load = option::of(
        (0.0..=1.0, 0.0..=1.0, any::<u16>()).prop_map(|(busy_ratio, steal_ratio, cores)| HostLoad {
            busy_ratio,
            steal_ratio,
            cores,
        }),
    );
    (clock, streams, drops, micros(), any::<bool>(), load).prop_map(
        |(clock, streams, queue_drops, covered_until, complete, host_load)| Half {
            clock,
            streams,
            queue_drops,
            covered_until,
            complete,
            host_load,
        },
    )
}

fn trace() -> impl Strategy<Value = Trace> {
    let kind = prop_oneof![
        Just(PhaseKind::Idle),
        Just(PhaseKind::Media),
        Just(PhaseKind::Capacity),
        Just(PhaseKind::Settle)
    ];
    let phase =
        (kind, micros(), micros(), any::<u64>(), any::<u64>()).prop_map(|(kind, from, to, up, down)| Phase {
            kind,
            from,
            to,
            offered_up: Bitrate::from_bps(up),
            offered_down: Bitrate::from_bps(down),
        });
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>());
    let interval = (direction(), micros(), micros(), numbers, option::of((micros(), micros()))).prop_map(
        |(
            direction,
            at,
            lasted,
            (offered, received_bytes, received_packets, lost_packets, disordered_packets),
            delay_range,
        )| {
            CapacityInterval {
                direction,
                at,
                lasted,
                offered: Bitrate::from_bps(offered),
                received_bytes,
                received_packets,
                lost_packets,
                disordered_packets,
                delay_range,
            }
        },
    );
    let end = prop_oneof![
        Just(SearchEnd::Converged),
        Just(SearchEnd::Ceiling),
        Just(SearchEnd::Budget),
        Just(SearchEnd::Deadline),
        Just(SearchEnd::Silent)
    ];
    let search = (direction(), end).prop_map(|(direction, end)| CapacitySearch { direction, end });
    (half(), option::of(half()), vec(phase, 0..4), vec(interval, 0..6), vec(search, 0..3)).prop_map(
        |(here, there, phases, capacity, searches)| Trace { here, there, phases, capacity, searches },
    )
}

proptest! {
    #[test]
    fn every_trace_comes_back_as_it_was(trace in trace()) {
        let encoded = encode(&trace).unwrap();
        prop_assert_eq!(decode(&encoded).unwrap(), trace);
    }

    #[test]
    fn a_half_comes_back_from_chunks_cut_anywhere(half in half(), cuts in vec(0.0..1.0_f64, 0..4)) {
        let mut cuts = cuts;
        cuts.sort_by(f64::total_cmp);
        let mut encoder = ChunkEncoder::new();
        let mut assembler = HalfAssembler::new();
        let mut sent = Half::default();
        for cut in cuts.into_iter().map(|cut| prefix(&half, cut)).chain([half.clone()]) {
            assembler.push(&encoder.encode(&added(&cut, &sent))).unwrap();
            sent = cut;
        }
        prop_assert_eq!(assembler.into_half(), half);
    }

    #[test]
    fn garbage_is_refused_not_believed(bytes in vec(any::<u8>(), 0..300)) {
        let encoded = EncodedTrace { encoding: ENCODING.into(), here: pack(&bytes, 0).unwrap(), there: None };
        // An error or a trace: either way without a panic, and never more records than bytes.
        if let Ok(trace) = decode(&encoded) {
            prop_assert!(record_count(&trace.here) <= bytes.len());
        }
        let mut assembler = HalfAssembler::new();
        if assembler.push(&bytes).is_ok() {
            prop_assert!(record_count(assembler.half()) <= bytes.len());
        }
    }

    #[test]
    fn damage_is_refused_or_harmless(trace in trace(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut here = Writer::default();
        write_half(&mut here, &trace.here, &Starts::default());
        let index = at.index(here.bytes.len());
        here.bytes[index] ^= flip;
        let mut reader = Reader::new(&here.bytes, MAX_RECORDS);
        if let Ok((half, _)) = read_half(&mut reader) {
            prop_assert!(record_count(&half) <= here.bytes.len());
        }
    }

    #[test]
    fn integers_of_every_size_come_back(values in vec(any::<i64>(), 0..40)) {
        for order in [Order::Plain, Order::Delta, Order::Line] {
            let mut writer = Writer::default();
            writer.column(order, values.iter().copied());
            let mut reader = Reader::new(&writer.bytes, 0);
            prop_assert_eq!(&reader.column(order, values.len()).unwrap(), &values);
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}

/// The half as it was when a share of its records had been taken.
fn prefix(half: &Half, share: f64) -> Half {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "small"
    )]
    let part = |len: usize| (len as f64 * share) as usize;
    let mut half = half.clone();
    half.queue_drops.truncate(part(half.queue_drops.len()));
    half.streams.truncate(part(half.streams.len()));
    for stream in &mut half.streams {
        stream.tx.truncate(part(stream.tx.len()));
        stream.rx.truncate(part(stream.rx.len()));
    }
    half
}

/// What `half` holds beyond `sent`, an earlier state of it.
fn added(half: &Half, sent: &Half) -> Half {
    let mut added = half.clone();
    added.queue_drops.drain(..sent.queue_drops.len());
    for stream in &mut added.streams {
        if let Some(before) = sent.streams.iter().find(|before| before.id == stream.id) {
            stream.tx.drain(..before.tx.len());
            stream.rx.drain(..before.rx.len());
        }
    }
    added
}

#[test]
fn integers_have_the_published_form() {
    // LEB128: the example of the DWARF standard, 624485 = e5 8e 26. Zigzag: 0, -1, 1, -2 are 0, 1, 2, 3.
    let mut writer = Writer::default();
    writer.varint(624_485);
    for value in [0, -1, 1, -2] {
        writer.signed(value);
    }
    assert_eq!(writer.bytes, [0xe5, 0x8e, 0x26, 0, 1, 2, 3]);
}

#[test]
fn an_integer_beyond_64_bits_is_refused() {
    let eleven = [0xff; 10].into_iter().chain([1]).collect::<Vec<u8>>();
    assert_eq!(Reader::new(&eleven, 0).varint(), Err(DecodeError::OutOfRange("an integer")));
    let mut overflow = [0xff; 10];
    overflow[9] = 2;
    assert_eq!(Reader::new(&overflow, 0).varint(), Err(DecodeError::OutOfRange("an integer")));
}

#[test]
fn a_bomb_is_refused() {
    let zeros = vec![0_u8; MAX_UNPACKED + 1];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&zeros).unwrap();
    let bomb = STANDARD.encode(gzip.finish().unwrap());
    assert!(bomb.len() < 20_000, "a small text: {}", bomb.len());
    let encoded = EncodedTrace { encoding: ENCODING.into(), here: bomb, there: None };
    assert_eq!(decode(&encoded), Err(DecodeError::TooLarge));
}

#[test]
fn a_claim_of_many_records_is_refused() {
    let mut writer = Writer::default();
    writer.byte(1);
    writer.byte(2);
    writer.byte(2);
    writer.varint(u64::MAX >> 1);
    assert_eq!(HalfAssembler::new().push(&writer.bytes), Err(DecodeError::Truncated));
    let mut many = vec![0_u8; MAX_RECORDS + 100];
    many[..2].copy_from_slice(&[2, 2]);
    let mut writer = Writer { bytes: many[..2].to_vec() };
    writer.count(MAX_RECORDS + 1);
    writer.bytes.extend(vec![0; MAX_RECORDS + 50]);
    let mut reader = Reader::new(&writer.bytes, MAX_RECORDS);
    assert_eq!(read_half(&mut reader).map(|_| ()), Err(DecodeError::TooManyRecords));
}

#[test]
fn another_packing_is_named() {
    let encoded = EncodedTrace { encoding: "columns-gzip/9".into(), here: String::new(), there: None };
    assert_eq!(decode(&encoded), Err(DecodeError::Encoding("columns-gzip/9".into())));
}

#[test]
fn a_missing_chunk_is_told() {
    let mut half = Half { streams: vec![audio_log(0)], ..Half::default() };
    let mut encoder = ChunkEncoder::new();
    let mut assembler = HalfAssembler::new();
    half.streams[0] = audio_log(10);
    assembler.push(&encoder.encode(&added(&half, &Half::default()))).unwrap();
    let first = half.clone();
    half.streams[0] = audio_log(20);
    let missed = encoder.encode(&added(&half, &first));
    let second = half.clone();
    half.streams[0] = audio_log(30);
    let after = encoder.encode(&added(&half, &second));
    assert_eq!(assembler.push(&after), Err(DecodeError::Gap { expected: 10, found: 20 }));
    assembler.push(&missed).unwrap();
    assembler.push(&after).unwrap();
    assert_eq!(assembler.push(&after), Err(DecodeError::Gap { expected: 30, found: 20 }));
    assert_eq!(*assembler.half(), half);
}

fn audio_log(packets: u32) -> StreamLog {
    let tx = (0..packets).map(|seq| TxRecord {
        seq,
        intended: Micros::from_millis(20) * i64::from(seq),
        user: None,
        sched: None,
        kernel: None,
        bytes: 172,
        reply_to: None,
        outcome: TxOutcome::Sent,
    });
    let spec = StreamSpec { media: Media::Audio, direction: None, rate: Bitrate::from_kbps(68) };
    StreamLog { id: StreamId::AUDIO, spec, planned: 300, tx: tx.collect(), rx: Vec::new(), corrupt: 0 }
}

/// A quick run as it looks in life: 5 s of audio both ways, video up and down on two rungs, kernel stamps at both ends,
/// delays and stamps with noise in every low bit.
fn quick_run() -> Trace {
    let mut noise = Noise(7);
    let audio = StreamSpec { media: Media::Audio, direction: None, rate: Bitrate::from_kbps(68) };
    let log = |id: u16, spec: &StreamSpec, planned| StreamLog {
        id: StreamId(id),
        spec: spec.clone(),
        planned,
        tx: Vec::new(),
        rx: Vec::new(),
        corrupt: 0,
    };
    let (mut here, mut there) = (vec![log(0, &audio, 250)], vec![log(0, &audio, 250)]);
    let mut before: Option<(u32, Micros)> = None;
    for seq in 0..250_u32 {
        let sent = sent(seq, Micros::from_millis(20) * i64::from(seq), 172, None, &mut noise);
        here[0].tx.push(sent);
        let there_at = sent.intended + Micros::new(912_345_678 + 11_000 + noise.up_to(3_000));
        there[0].rx.push(arrived(seq, there_at, 172, None, &mut noise));
        let reply = self::sent(seq, there_at + Micros::new(noise.up_to(60)), 172, Some(seq), &mut noise);
        there[0].tx.push(reply);
        let stamps = ReplyStamps {
            of: seq,
            received: there_at,
            sent: reply.user.unwrap(),
            follow_up: before,
            ttl: Some(57),
            tos: Some(0xb8),
        };
        before = reply.kernel.map(|left| (seq, left));
        let back = sent.intended + Micros::new(22_500 + noise.up_to(5_000));
        here[0].rx.push(arrived(seq, back, 172, Some(stamps), &mut noise));
    }
    for (id, direction) in
        [(1, Direction::Up), (2, Direction::Down), (3, Direction::Up), (4, Direction::Down)]
    {
        let spec =
            StreamSpec { media: Media::Video, direction: Some(direction), rate: Bitrate::from_kbps(1_500) };
        let (mut sender, mut receiver) = (log(id, &spec, 625), log(id, &spec, 0));
        let (mut frame_at, mut in_frame) = (Micros::from_millis(1_000), 0);
        for seq in 0..625_u32 {
            if in_frame == 0 {
                frame_at += Micros::new(33_333);
                in_frame = 4 + noise.up_to(4);
            }
            in_frame -= 1;
            let bytes = if in_frame == 0 { u16::try_from(300 + noise.up_to(900)).unwrap() } else { 1_200 };
            let tx = sent(seq, frame_at + Micros::new((8 - in_frame) * 2_560), bytes, None, &mut noise);
            let at = tx.intended + Micros::new(912_345_678 + 11_000 + noise.up_to(4_000));
            sender.tx.push(tx);
            if noise.up_to(100) > 1 {
                receiver.rx.push(arrived(seq, at, bytes, None, &mut noise));
            }
        }
        let (up, down) = if direction == Direction::Up { (sender, receiver) } else { (receiver, sender) };
        here.push(up);
        there.push(down);
    }
    let half =
        |streams| Half { streams, covered_until: Micros::from_secs(6), complete: true, ..Half::default() };
    Trace { here: half(here), there: Some(half(there)), ..Trace::default() }
}

fn sent(seq: u32, intended: Micros, bytes: u16, reply_to: Option<u32>, noise: &mut Noise) -> TxRecord {
    let user = intended + Micros::new(20 + noise.up_to(80));
    let sched = user + Micros::new(1 + noise.up_to(4));
    let kernel = Some(sched + Micros::new(noise.up_to(3)));
    let outcome = TxOutcome::Sent;
    TxRecord { seq, intended, user: Some(user), sched: Some(sched), kernel, bytes, reply_to, outcome }
}

fn arrived(seq: u32, at: Micros, bytes: u16, reply: Option<ReplyStamps>, noise: &mut Noise) -> RxRecord {
    let user = Some(at + Micros::new(25 + noise.up_to(60)));
    RxRecord { seq, at, user, bytes, tos: Some(0xb8), ttl: Some(57), reply }
}

/// A linear congruential generator: the same trace every time.
struct Noise(u64);

impl Noise {
    fn up_to(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % end
    }
}

#[test]
fn a_quick_run_fits_into_60_kilobytes() {
    let trace = quick_run();
    let packets: usize = trace.here.streams.iter().map(|log| log.tx.len()).sum::<usize>()
        + trace.there.iter().flat_map(|half| &half.streams).map(|log| log.tx.len()).sum::<usize>();
    assert_eq!(packets, 3_000);
    let encoded = encode(&trace).unwrap();
    let size = encoded.here.len() + encoded.there.as_ref().unwrap().len();
    println!("{packets} packets in {size} bytes of base64");
    assert!(size <= 60_000, "{size} bytes");
    assert_eq!(decode(&encoded).unwrap(), trace);
}
