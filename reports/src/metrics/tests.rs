use proptest::collection::vec;
use proptest::prelude::*;

use super::burst::{BurstGap, GMIN, Transitions, segment, transitions_of, worst_block};
use super::capacity::{Bounds, Capacity, SHORT_WINDOW, WINDOW, capacity};
use super::delay::{
    delays, floor, ipdv, ipdv_mean_abs, jitter_of, jitter_rfc3550, mean, pdv, pdv_sorted, rtt_increase,
};
use super::flow::{Attribution, Counts, Fate, Flow, Packet};
use super::loss::{Share, late_loss, network_loss};
use super::percentile::{Quantile, Sorted};
use super::reorder::{Arrival, duplicated, reordering, reordering_of};
use super::sketch::{Sketch, SketchError};
use super::skew::{Drift, drift, hull_slope};
use super::{host, reorder};
use crate::trace::{CapacityInterval, Direction, Media, StampSource, StreamId};
use crate::units::{Bitrate, Micros};

fn ms(ms: i64) -> Micros {
    Micros::from_millis(ms)
}

fn packet(seq: u32, departed: Micros, delay: Option<Micros>) -> Packet {
    Packet {
        seq,
        intended: departed,
        handed: Some(departed),
        queued: None,
        left: None,
        departed: Some(departed),
        arrived: delay.map(|delay| departed + delay),
        arrived_user: None,
        bytes: Some(100),
        fate: if delay.is_some() { Fate::OnTime } else { Fate::Lost },
        extra_copies: 0,
    }
}

fn flow_of(packets: Vec<Packet>) -> Flow {
    let mut arrivals: Vec<usize> = (0..packets.len()).filter(|at| packets[*at].arrived.is_some()).collect();
    arrivals.sort_by_key(|at| packets[*at].arrived);
    Flow {
        stream: StreamId::AUDIO,
        media: Media::Audio,
        direction: Direction::Up,
        rate: Bitrate::from_kbps(68),
        counts: Counts::of(&packets, &arrivals),
        packets,
        arrivals,
        tx_source: StampSource::Kernel,
        rx_source: StampSource::Kernel,
        attribution: Attribution::ByPacket,
        host_drops_shared: false,
        unexplained: 0,
        to_agent: Micros::ZERO,
    }
}

/// One packet every 20 ms with these delays; `None` is lost.
fn flow(delays: &[Option<Micros>]) -> Flow {
    let packets = (0_u32..).zip(delays).map(|(seq, delay)| packet(seq, ms(20) * i64::from(seq), *delay));
    flow_of(packets.collect())
}

fn delayed(delays: &[i64]) -> Flow {
    flow(&delays.iter().map(|delay| Some(ms(*delay))).collect::<Vec<_>>())
}

fn in_ms(values: &[Micros]) -> Vec<i64> {
    values.iter().map(|value| value.get() / 1_000).collect()
}

fn own_pdv(flow: &Flow) -> Vec<i64> {
    let delays = delays(flow, None);
    in_ms(&pdv(&delays, floor(&delays).unwrap()))
}

fn ipdv_ms(flow: &Flow) -> Vec<Option<i64>> {
    ipdv(flow, None).into_iter().map(|step| step.map(|step| step.get() / 1_000)).collect()
}

#[test]
fn smoothed_jitter_of_the_worked_example() {
    let jitter = jitter_rfc3550(&delayed(&[20, 10, 20, 25, 20])).unwrap();
    // By hand: 0.625, 1.2109, 1.4478, 1.6698.
    assert!((jitter.last_ms - 1.669_8).abs() < 5e-5, "{jitter:?}");
    assert_eq!((jitter.n, jitter.max_ms.to_bits()), (5, jitter.last_ms.to_bits()));
}

#[test]
fn smoothed_jitter_misses_a_ramp_that_pdv_shows() {
    // METRICS section 2.1: a queue that fills to 100 ms over 500 packets.
    let ramp: Vec<Option<Micros>> = (0..500_i64).map(|i| Some(Micros::new(i * 200))).collect();
    let ramp = flow(&ramp);
    assert!((jitter_rfc3550(&ramp).unwrap().max_ms - 0.2).abs() < 1e-6);
    assert_eq!(pdv_sorted(&ramp, None).at(Quantile::P95), Some(Micros::new(474 * 200)));
    assert_eq!(late_loss(&ramp, None, ms(60)), Share { part: 199, whole: 500 });
    // Alternating by 10 ms: the other way round.
    let swing = delayed(&[0, 10].repeat(250));
    assert!((jitter_rfc3550(&swing).unwrap().last_ms - 10.0).abs() < 1e-6);
    assert!((ipdv_mean_abs(&swing).unwrap().ms - 10.0).abs() < 1e-9);
    assert_eq!(late_loss(&swing, None, ms(60)).part, 0);
}

#[test]
fn delay_variation_of_the_worked_example() {
    let flow = delayed(&[20, 10, 20, 25, 20]);
    assert_eq!(ipdv_ms(&flow), [None, Some(-10), Some(10), Some(5), Some(-5)]);
    assert_eq!(own_pdv(&flow), [10, 0, 10, 15, 10]);
}

#[test]
fn delay_variation_of_rfc_5481_figure_2() {
    let a = delayed(&[100, 110, 120, 130, 140, 150, 140, 130, 120, 110, 100]);
    let up_and_down = [None].into_iter().chain([Some(10); 5]).chain([Some(-10); 5]);
    assert_eq!(ipdv_ms(&a), up_and_down.collect::<Vec<_>>());
    assert_eq!(own_pdv(&a), [0, 10, 20, 30, 40, 50, 40, 30, 20, 10, 0]);

    let delays = [100, 110, 150, -1, 120, 100, 110, 150, 130, 120, 100];
    let b = flow(&delays.map(|delay| (delay >= 0).then(|| ms(delay))));
    assert_eq!(own_pdv(&b), [0, 10, 50, 20, 0, 10, 50, 30, 20, 0]);
    // The figure prints -10 at packet 6; by the definition 100 − 120 is -20.
    let steps = [
        None,
        Some(10),
        Some(40),
        None,
        None,
        Some(-20),
        Some(10),
        Some(40),
        Some(-20),
        Some(-10),
        Some(-20),
    ];
    assert_eq!(ipdv_ms(&b), steps);
}

fn arrivals(order: &[u32]) -> Vec<Arrival> {
    (0..).zip(order).map(|(at, seq)| Arrival { seq: *seq, at: ms(20) * at, bytes: 100 }).collect()
}

fn extents(order: &[u32]) -> Vec<(u32, u64, u64)> {
    reordering_of(&arrivals(order))
        .packets
        .iter()
        .map(|packet| (packet.seq, packet.extent, packet.n))
        .collect()
}

#[test]
fn reordering_of_rfc_4737_table_1() {
    let times = [68, 88, 108, 148, 168, 188, 208, 210, 228, 248];
    let order = [1, 2, 3, 5, 6, 7, 8, 4, 9, 10];
    let arrivals: Vec<Arrival> =
        order.iter().zip(times).map(|(seq, at)| Arrival { seq: *seq, at: ms(at), bytes: 100 }).collect();
    let found = reordering_of(&arrivals);
    assert_eq!(found.packets.len(), 1);
    let late = found.packets[0];
    assert_eq!((late.seq, late.extent, late.n, late.late_time, late.byte_offset), (4, 4, 4, ms(62), 400));
    assert_eq!(found.ratio(), Some(0.1));
}

#[test]
fn reordering_of_rfc_4737_tables_2_and_3() {
    assert_eq!(extents(&[1, 2, 3, 4, 7, 5, 6, 8, 9, 10]), [(5, 1, 1), (6, 2, 0)]);
    assert_eq!(extents(&[1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11]), [(4, 4, 4), (5, 5, 0), (6, 6, 0)]);
    assert_eq!(extents(&[1, 2, 3, 7, 8, 9, 4, 5, 6])[0], (4, 3, 3));
}

#[test]
fn copies_are_counted_by_packet() {
    let mut packets: Vec<Packet> =
        (0..4).map(|seq| packet(seq, ms(20) * i64::from(seq), Some(ms(5)))).collect();
    packets[1].extra_copies = 3;
    packets[2].extra_copies = 1;
    packets[3] = packet(3, ms(60), None);
    let flow = flow_of(packets);
    assert_eq!(duplicated(&flow), (2, 3));
    assert_eq!((flow.counts.duplicate, flow.counts.lost), (4, 1), "copies make up for no loss");
}

/// RFC 3611 section 4.7.2 as printed: 63 symbols, 10 ms each; 0 lost, X discarded.
const RFC_3611: &str = "11110111111111111111111X111X1011110111111111111111111X111111111";

#[test]
fn bursts_and_gaps_of_rfc_3611() {
    let bad: Vec<bool> = RFC_3611.chars().map(|symbol| symbol != '1').collect();
    let found = segment(&bad, &vec![ms(10); bad.len()], GMIN);
    let expected = BurstGap {
        bursts: 1,
        gaps: 2,
        in_bursts: Share { part: 4, whole: 12 },
        in_gaps: Share { part: 2, whole: 51 },
        burst_time: ms(120),
        gap_time: ms(510),
    };
    assert_eq!(found, expected);
    assert_eq!((found.burst_duration(), found.gap_duration()), (Some(ms(120)), Some(ms(255))));
}

#[test]
fn bursts_end_after_gmin_good_packets() {
    let with_good = |good: usize| {
        let bad: Vec<bool> = [true].into_iter().chain(vec![false; good]).chain([true]).collect();
        segment(&bad, &[], GMIN)
    };
    assert_eq!((with_good(15).bursts, with_good(15).in_bursts.whole), (1, 17));
    assert_eq!((with_good(16).bursts, with_good(16).in_gaps), (0, Share { part: 2, whole: 18 }));
    assert_eq!(segment(&[], &[], GMIN), BurstGap::default());
}

#[test]
fn burst_ratio_is_that_of_the_markov_chain() {
    // 6 good, 2 bad, 4 good, 1 bad, 3 good: 11 steps from good end bad twice, 3 from bad end good twice.
    let bad: Vec<bool> = "GGGGGGBBGGGGBGGG".chars().map(|c| c == 'B').collect();
    let steps = transitions_of(&bad);
    assert_eq!(
        steps,
        Transitions { good_to_bad: Share { part: 2, whole: 12 }, bad_to_good: Share { part: 2, whole: 3 } }
    );
    assert!((steps.burst_ratio().unwrap() - 1.0 / (2.0 / 12.0 + 2.0 / 3.0)).abs() < 1e-12);
    assert_eq!(transitions_of(&[false; 5]).burst_ratio(), None);
}

#[test]
fn the_worst_200_ms() {
    let mut delays = vec![Some(ms(10)); 50];
    for at in [12, 13, 14, 31] {
        delays[at] = None;
    }
    assert_eq!(worst_block(&flow(&delays), burst_block()), Some(Share { part: 3, whole: 10 }));
    assert_eq!(worst_block(&flow(&[]), burst_block()), None);
}

fn burst_block() -> Micros {
    super::burst::BLOCK
}

#[test]
fn loss_is_of_what_is_no_longer_awaited() {
    let counts =
        Counts { planned: 12, sent: 12, on_time: 7, lost: 2, corrupt: 1, awaited: 2, ..Counts::default() };
    assert_eq!(network_loss(&counts), Share { part: 3, whole: 10 });
    assert_eq!(network_loss(&Counts::default()).ratio(), None);
}

#[test]
fn buffer_delay_of_load() {
    let idle: Sorted = (0..100).map(|i| ms(20 + i % 3)).collect();
    let loaded: Sorted = (0..100).map(|i| ms(20 + i)).collect();
    assert_eq!(rtt_increase(&idle, &loaded), Some(ms(114 - 21)));
    assert_eq!(rtt_increase(&idle, &Sorted::default()), None);
}

#[test]
fn host_and_queue_delays_are_told_apart() {
    let mut one = packet(0, ms(100), Some(ms(10)));
    one.intended = ms(98);
    one.queued = Some(ms(99));
    one.left = Some(ms(100));
    one.handed = Some(Micros::new(98_900));
    one.arrived_user = Some(ms(113));
    let flow = flow_of(vec![one, packet(1, ms(120), None)]);
    assert_eq!(host::send_lateness(&flow).as_slice(), [Micros::ZERO, ms(2)]);
    assert_eq!(host::late_sends(&flow), 1);
    assert_eq!(host::host_delay(&flow).as_slice(), [ms(3)]);
    assert_eq!(host::local_queue(&flow).as_slice(), [ms(1)]);
    assert_eq!(host::send_delay(&flow).as_slice(), [Micros::new(1_100)]);
}

#[test]
fn received_rate_counts_what_arrived() {
    // 50 packets of 100 bytes in one second, every second one lost: 20 kbit/s.
    let half: Vec<Option<Micros>> = (0..50).map(|i| (i % 2 == 0).then(|| ms(10))).collect();
    assert_eq!(host::received_rate(&flow(&half)), Some(Bitrate::from_kbps(20)));
    assert_eq!(host::received_rate(&flow(&[Some(ms(1))])), None);
}

fn interval(at_ms: i64, mbps: u64, lost: u32) -> CapacityInterval {
    CapacityInterval {
        direction: Direction::Down,
        at: ms(at_ms),
        lasted: ms(50),
        offered: Bitrate::from_kbps(10_000),
        received_bytes: mbps * 1_000_000 / 8 / 20,
        received_packets: 100 - lost,
        lost_packets: lost,
        disordered_packets: 0,
        delay_range: Some((ms(1), ms(20))),
    }
}

#[test]
fn capacity_is_the_best_second_within_bounds() {
    // 2 s at 4 Mbit/s clean, then 2 s at 6 Mbit/s with 10 % lost.
    let stage: Vec<CapacityInterval> =
        (0..80).map(|i| if i < 40 { interval(i * 50, 4, 0) } else { interval(i * 50, 6, 10) }).collect();
    let strict = Bounds { loss_ratio: 0.0, delay_range: ms(90) };
    let found = capacity(&stage, Direction::Down, strict, WINDOW).unwrap();
    assert_eq!(found.rate, Bitrate::from_kbps(4_000));
    assert_eq!((found.loss, found.delay_range), (Share { part: 0, whole: 2_000 }, Some(ms(19))));
    assert_eq!((found.lasted, found.intervals), (ms(1_000), 20));
    let lax = Bounds { loss_ratio: 0.1, ..strict };
    let Capacity { rate, at, .. } = capacity(&stage, Direction::Down, lax, WINDOW).unwrap();
    assert_eq!((rate, at), (Bitrate::from_kbps(6_000), ms(2_000)));
    assert_eq!(capacity(&stage, Direction::Up, lax, WINDOW), None);
    assert_eq!(capacity(&stage[..19], Direction::Down, lax, WINDOW), None, "less than a second");
    let short = capacity(&stage[..19], Direction::Down, lax, SHORT_WINDOW).unwrap();
    assert_eq!((short.rate, short.lasted, short.intervals), (Bitrate::from_kbps(4_000), ms(250), 5));
    assert_eq!(capacity(&stage, Direction::Down, Bounds { delay_range: ms(18), ..lax }, WINDOW), None);
}

#[test]
fn a_stage_of_countless_tiny_intervals_is_no_work() {
    let tiny = |at| CapacityInterval { at: Micros::new(at), lasted: Micros::new(1), ..interval(0, 4, 0) };
    let stage: Vec<CapacityInterval> = (0..200_000).map(tiny).collect();
    let bounds = Bounds { loss_ratio: 1.0, delay_range: ms(90) };
    assert_eq!(capacity(&stage, Direction::Down, bounds, WINDOW), None);
}

/// Both directions for `secs`, 50 packets/s; the endpoint's clock gains `ppm`; `queue` adds to the upward delay.
fn drifting(secs: i64, ppm: f64, queue: impl Fn(f64) -> f64) -> (Flow, Flow) {
    let delay = |i: i64, sign: f64, queue: f64| {
        let at = i as f64 * 0.02;
        // A fixed, uneven noise of up to 3 ms whose least value comes back every 7 packets.
        let noise = (i * 5 % 7) as f64 * 0.5;
        Micros::from_ms_f64(30.0 + noise + queue + sign * at * ppm / 1_000.0)
    };
    let count = secs * 50;
    let up = (0..count).map(|i| delay(i, 1.0, queue(i as f64 / count as f64))).collect::<Vec<_>>();
    let down = (0..count).map(|i| delay(i, -1.0, 0.0)).collect::<Vec<_>>();
    (flow(&up), flow(&down))
}

#[test]
fn drift_is_found_and_taken_out() {
    let (up, down) = drifting(60, 50.0, |_| 0.0);
    let found = drift(&up, &down);
    assert!((found.ppm().unwrap() - 50.0).abs() < 0.5, "{found:?}");
    assert_eq!(
        pdv_sorted(&up, None).max().map(|max| max.get() / 1_000),
        Some(5),
        "3 ms of it are the clock's"
    );
    for (flow, direction) in [(&up, Direction::Up), (&down, Direction::Down)] {
        let most = pdv_sorted(flow, found.of(direction)).max().unwrap();
        assert!((most - ms(3)).abs() < Micros::new(50), "{most}");
    }
}

#[test]
fn a_queue_in_the_last_third_does_not_bend_the_drift() {
    let (up, down) = drifting(60, 50.0, |share| if share > 2.0 / 3.0 { 80.0 } else { 0.0 });
    let found = drift(&up, &down);
    assert!((found.ppm().unwrap() - 50.0).abs() < 1.0, "{found:?}");
}

#[test]
fn a_queue_that_fills_all_along_is_no_clock() {
    let (up, down) = drifting(60, 50.0, |share| share * 5.0);
    assert!(matches!(drift(&up, &down), Drift::Unresolved { .. }));
    let (up, down) = drifting(9, 50.0, |_| 0.0);
    assert_eq!(drift(&up, &down), Drift::NotEnough);
    let (up, down) = drifting(60, 400.0, |_| 0.0);
    assert!(matches!(drift(&up, &down), Drift::Unresolved { .. }), "no crystal is off by 400 ppm");
}

#[test]
fn sketches_refuse_other_layouts_before_reading_on() {
    let honest = [ms(1), ms(20), ms(300)].into_iter().collect::<Sketch>();
    assert_eq!(Sketch::decode(&honest.encode()), Ok(honest.clone()));
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD;
    let bytes = base64.decode(honest.encode()).unwrap();
    // The greatest value, raised to 2^62: a naive reader allocates for it.
    let mut huge = bytes.clone();
    huge[24] = 0x40;
    assert_eq!(Sketch::decode(&base64.encode(huge)), Err(SketchError::Layout("greatest value")));
    let mut precise = bytes.clone();
    precise[15] = 5;
    assert_eq!(Sketch::decode(&base64.encode(precise)), Err(SketchError::Layout("precision")));
    assert_eq!(Sketch::decode(&base64.encode(&bytes[..20])), Err(SketchError::Layout("length")));
    assert_eq!(Sketch::decode(&"A".repeat(1_000_000)), Err(SketchError::Layout("length")));
    assert!(matches!(Sketch::decode("?"), Err(SketchError::Base64(_))));
}

#[test]
fn sketches_hold_values_to_one_percent() {
    let mut sketch = (1..=1_000).map(ms).collect::<Sketch>();
    let p95 = sketch.at(Quantile::P95).unwrap();
    assert!((p95 - ms(950)).abs() <= Micros::new(9_500), "{p95}");
    assert!(!sketch.record(Micros::new(-1)));
    assert!(sketch.record(Micros::MAX));
    assert_eq!((sketch.len(), Sketch::new().at(Quantile::P50)), (1_001, None));
}

fn delay_list() -> impl Strategy<Value = Vec<Option<Micros>>> {
    let delay =
        prop_oneof![1 => Just(None), 8 => (0..500_000_i64).prop_map(|delay| Some(Micros::new(delay)))];
    prop_oneof![
        vec(delay, 0..80),
        // Constant, and far apart.
        (0..3_usize, 0..60_000_000_i64).prop_map(|(n, delay)| vec![Some(Micros::new(delay)); n]),
        Just(vec![Some(Micros::ZERO), Some(Micros::new(1 << 50))]),
    ]
}

proptest! {
    #[test]
    fn delay_metrics_equal_naive_ones(list in delay_list()) {
        let flow = flow(&list);
        let known: Vec<i64> = list.iter().flatten().map(|delay| delay.get()).collect();
        let least = known.iter().min().copied().unwrap_or(0);
        let mut naive: Vec<i64> = known.iter().map(|delay| delay - least).collect();
        naive.sort_unstable();
        let sorted = pdv_sorted(&flow, None);
        prop_assert_eq!(sorted.as_slice().iter().map(|v| v.get()).collect::<Vec<_>>(), naive.clone());
        for quantile in [Quantile::P50, Quantile::P95, Quantile::P99] {
            // The smallest value that at least a share q of the sample does not exceed.
            let reaches = |x: &&i64| {
                let below = naive.iter().filter(|v| v <= x).count() as f64;
                below / naive.len() as f64 >= quantile.share() - 1e-12
            };
            prop_assert_eq!(sorted.at(quantile).map(Micros::get), naive.iter().find(reaches).copied());
        }
        let steps: Vec<i64> = list.windows(2).filter_map(|pair| Some((pair[1]? - pair[0]?).get())).collect();
        let flat: Vec<i64> = ipdv(&flow, None).into_iter().flatten().map(Micros::get).collect();
        prop_assert_eq!(&flat, &steps);
        let naive_mean = (!steps.is_empty())
            .then(|| steps.iter().map(|step| step.abs() as f64).sum::<f64>() / steps.len() as f64 / 1e3);
        match (ipdv_mean_abs(&flow).map(|mean| mean.ms), naive_mean) {
            (Some(a), Some(b)) => prop_assert!((a - b).abs() <= 1e-9 * b.max(1.0), "{a} {b}"),
            (a, b) => prop_assert_eq!(a, b),
        }
        for depth in [0, 40_000, 60_000, 200_000] {
            let late = naive.iter().filter(|pdv| **pdv > depth).count() + list.len() - known.len();
            let share = late_loss(&flow, None, Micros::new(depth));
            prop_assert_eq!(share, Share { part: late as u64, whole: list.len() as u64 });
        }
    }

    #[test]
    fn jitter_equals_the_weighted_sum(delays in vec(0..1_000_000_i64, 2..120)) {
        // Closed form: J_n = Σ |D_k| / 16 × (15/16)^(n−k).
        let transits: Vec<Micros> = delays.iter().copied().map(Micros::new).collect();
        let n = delays.len() - 1;
        let closed = |n: usize| (1..=n).map(|k| {
            let change = (delays[k] - delays[k - 1]).abs() as f64 / 1e3;
            change / 16.0 * (15.0_f64 / 16.0).powi(i32::try_from(n - k).unwrap())
        }).sum::<f64>();
        let found = jitter_of(&transits).unwrap();
        prop_assert!((found.last_ms - closed(n)).abs() < 1e-9 * (1.0 + closed(n)));
        let most = (1..=n).map(closed).fold(0.0, f64::max);
        prop_assert!((found.max_ms - most).abs() < 1e-9 * (1.0 + most));
    }

    #[test]
    fn a_constant_offset_between_clocks_changes_nothing(list in vec(proptest::option::of(0..500_000_i64), 0..60), offset in -1_000_000_000_i64..1_000_000_000) {
        let shifted = |by: i64| flow(&list.iter().map(|delay| delay.map(|delay| Micros::new(delay + by))).collect::<Vec<_>>());
        let (here, there) = (shifted(0), shifted(offset));
        prop_assert_eq!(pdv_sorted(&here, None), pdv_sorted(&there, None));
        prop_assert_eq!(ipdv(&here, None), ipdv(&there, None));
        prop_assert_eq!(jitter_rfc3550(&here), jitter_rfc3550(&there));
        prop_assert_eq!(reordering(&here).packets.len(), reordering(&there).packets.len());
    }

    #[test]
    fn reordering_equals_its_definition(order in Just((0..40_u32).collect::<Vec<_>>()).prop_shuffle(), keep in 0..=40_usize) {
        let arrivals = arrivals(&order[..keep]);
        let found = reordering_of(&arrivals);
        let mut naive = Vec::new();
        for i in 0..keep {
            if let Some(j) = (0..i).find(|j| order[*j] > order[i]) {
                let n = (0..i).rev().take_while(|k| order[*k] > order[i]).count();
                let bytes = 100 * (i - j) as u64;
                naive.push((order[i], (i - j) as u64, n as u64, ms(20) * i64::try_from(i - j).unwrap(), bytes));
            }
        }
        let told: Vec<_> = found.packets.iter().map(|p| (p.seq, p.extent, p.n, p.late_time, p.byte_offset)).collect();
        prop_assert_eq!(told, naive);
        prop_assert_eq!(reorder::reordered_count(order[..keep].iter().copied()), found.packets.len() as u64);
    }

    #[test]
    fn bursts_and_gaps_cover_everything_once(bad in vec(prop::bool::weighted(0.1), 0..200), gmin in 1..20_usize) {
        let found = segment(&bad, &vec![ms(20); bad.len()], gmin);
        let all = bad.iter().filter(|bad| **bad).count() as u64;
        prop_assert_eq!(found.in_bursts.whole + found.in_gaps.whole, bad.len() as u64);
        prop_assert_eq!(found.in_bursts.part + found.in_gaps.part, all);
        prop_assert_eq!(found.burst_time + found.gap_time, ms(20) * i64::try_from(bad.len()).unwrap());
        // A naive second reading: a packet is in a burst if it lies between two bad ones with no gmin good ones between.
        let in_burst = |at: usize| (0..bad.len()).any(|a| (a + 1..bad.len()).any(|b| {
            a <= at && at <= b && bad[a] && bad[b] && !bad[a..=b].split(|bad| *bad).any(|good| good.len() >= gmin)
        }));
        let packets = (0..bad.len().min(60)).filter(|at| in_burst(*at)).count() as u64;
        if bad.len() <= 60 {
            prop_assert_eq!(found.in_bursts.whole, packets);
        }
    }

    #[test]
    fn the_hull_lies_under_all_points(points in vec((0..10_000_i32, -1_000..1_000_i32), 2..60)) {
        let points: Vec<(f64, f64)> = points.into_iter().map(|(x, y)| (f64::from(x), f64::from(y))).collect();
        let Some(slope) = hull_slope(points.clone()) else {
            prop_assert!(points.iter().all(|point| point.0 == points[0].0));
            return Ok(());
        };
        // Of all lines under the points, none is higher at the middle of the span.
        let (low, high) = points.iter().fold((f64::MAX, f64::MIN), |(low, high), p| (low.min(p.0), high.max(p.0)));
        let middle = f64::midpoint(low, high);
        let height = |slope: f64| points.iter().map(|p| p.1 + slope * (middle - p.0)).fold(f64::MAX, f64::min);
        for other in [slope - 0.5, slope - 1e-3, slope + 1e-3, slope + 0.5] {
            prop_assert!(height(other) <= height(slope) + 1e-6);
        }
    }

    #[test]
    fn sketches_merge_in_any_order(a in vec(0..70_000_000_i64, 0..60), b in vec(0..70_000_000_i64, 0..60), c in vec(0..70_000_000_i64, 0..60)) {
        let sketch = |values: &[i64]| values.iter().copied().map(Micros::new).collect::<Sketch>();
        let merged = |parts: &[&Sketch]| parts.iter().fold(Sketch::new(), |mut all, part| { all.merge(part); all });
        let whole = sketch(&[a.clone(), b.clone(), c.clone()].concat());
        let (a, b, c) = (sketch(&a), sketch(&b), sketch(&c));
        prop_assert_eq!(merged(&[&a, &b, &c]), whole.clone());
        prop_assert_eq!(merged(&[&c, &merged(&[&b, &a])]), whole.clone());
        prop_assert_eq!(Sketch::decode(&whole.encode()), Ok(whole));
    }

    #[test]
    fn damaged_sketches_are_refused_or_harmless(values in vec(0..1_000_000_i64, 0..30), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        use base64::Engine;
        let base64 = base64::engine::general_purpose::STANDARD;
        let sketch = values.into_iter().map(Micros::new).collect::<Sketch>();
        let mut bytes = base64.decode(sketch.encode()).unwrap();
        let index = at.index(bytes.len());
        bytes[index] ^= flip;
        let read = Sketch::decode(&base64.encode(bytes));
        prop_assert!(index >= 40 || read.is_err(), "a changed header is refused");
    }

    #[test]
    fn counts_of_parts_sum_to_the_whole(list in vec(proptest::option::of(0..30_000_i64), 0..60), cut in 0..60_u32) {
        let whole = flow(&list.iter().map(|delay| delay.map(Micros::new)).collect::<Vec<_>>());
        let at = ms(20) * i64::from(cut);
        let (before, after) = (whole.restrict(|t| t < at), whole.restrict(|t| t >= at));
        let mut sum = after.counts;
        sum.merge(&before.counts);
        // A packet overtaken by one of the other part is in order within its own.
        prop_assert!(sum.reordered <= whole.counts.reordered && whole.counts.reordered <= sum.reordered + 1);
        sum.reordered = whole.counts.reordered;
        prop_assert_eq!(sum, whole.counts);
    }

    #[test]
    fn a_mean_is_that_of_its_values(values in vec(any::<i32>(), 0..50)) {
        let micros: Vec<Micros> = values.iter().map(|v| Micros::new(i64::from(*v))).collect();
        let naive = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64 / 1e3;
        match mean(&micros) {
            Some(mean) => prop_assert!((mean.ms - naive).abs() < 1e-6),
            None => prop_assert!(values.is_empty()),
        }
    }
}
