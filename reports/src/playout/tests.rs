use proptest::prelude::*;

use super::*;

/// A flow of 20 ms frames with these delays in ms; `None` is lost. The clocks differ by a constant.
fn flow(delays_ms: impl IntoIterator<Item = Option<f64>>) -> Vec<Sample> {
    let offset = Micros::from_secs(-7);
    (0..)
        .zip(delays_ms)
        .map(|(i, delay)| {
            let departed = Micros::from_millis(20 * i);
            let arrived = delay.and_then(Micros::from_ms_f64).map(|delay| departed + delay + offset);
            (departed, arrived)
        })
        .collect()
}

/// A queue that grows from 0 to 100 ms over 10 s.
fn ramp() -> Vec<Sample> {
    flow((0..500).map(|i| Some(30.0 + 0.2 * f64::from(i))))
}

fn spikes() -> Vec<Sample> {
    flow((0..1000).map(|i| Some(if i % 20 == 10 { 150.0 } else { 30.0 })))
}

fn percent_late(playout: &Playout) -> f64 {
    playout.late_ratio().expect("packets").percent()
}

const DEPTH: Micros = Micros::from_millis(60);

#[test]
fn fixed_buffer_matches_the_table() {
    let share = percent_late(&replay_fixed(&ramp(), DEPTH));
    assert!((share - 39.8).abs() < 1e-9, "queue ramp: {share} %");
    let share = percent_late(&replay_fixed(&spikes(), DEPTH));
    assert!((share - 5.0).abs() < 1e-9, "spikes: {share} %");
    let alternating = flow((0..1000).map(|i| Some(if i % 2 == 0 { 30.0 } else { 40.0 })));
    assert_eq!(replay_fixed(&alternating, DEPTH).late, 0);
    assert_eq!(replay_adaptive(&alternating, &Adaptive::default()).late, 0);
}

#[test]
fn constant_delay_is_never_late() {
    let constant = flow((0..500).map(|_| Some(80.0)));
    assert_eq!(replay_fixed(&constant, Micros::ZERO).late, 0);
    let adaptive = replay_adaptive(&constant, &Adaptive::default());
    assert_eq!(adaptive.late, 0);
    assert_eq!(adaptive.added.last(), Some(&Micros::from_millis(20)), "settles at one frame");
}

#[test]
fn adaptive_buffer_follows_a_ramp() {
    let late = percent_late(&replay_adaptive(&ramp(), &Adaptive::default()));
    assert!(late < 1.0, "{late} % late; a fixed buffer of 60 ms has 39.8 %");
}

/// A step of 100 ms: the buffer runs dry for five frames at most, then plays on.
#[test]
fn adaptive_buffer_survives_a_step() {
    let step = flow((0..500).map(|i| Some(if i < 250 { 30.0 } else { 130.0 })));
    let playout = replay_adaptive(&step, &Adaptive::default());
    assert!((1..=5).contains(&playout.late), "{}", playout.late);
    assert!(playout.late_flags[..250].iter().all(|late| !late));
}

#[test]
fn lost_is_not_late() {
    let flow = flow([Some(30.0), None, Some(200.0), Some(30.0), None]);
    let playout = replay_fixed(&flow, DEPTH);
    assert_eq!((playout.lost, playout.late), (2, 1));
    assert_eq!(playout.late_flags, [false, false, true, false, false]);
    assert_eq!(playout.lost_or_late(), Ratio::new(0.6));
    assert_eq!(playout.mean_added(), Some(DEPTH));
}

#[test]
fn nothing_arrived_has_no_delay() {
    for playout in
        [replay_fixed(&flow([None, None]), DEPTH), replay_adaptive(&flow([None, None]), &Adaptive::default())]
    {
        assert_eq!((playout.lost, playout.late, playout.n()), (2, 0, 2));
        assert_eq!(playout.mean_added(), None);
        assert_eq!(playout.added_quantile(Ratio::ZERO), None);
    }
    assert_eq!(replay_fixed(&[], DEPTH).lost_or_late(), None);
}

/// 95 % of half seconds: nearly all packets, and far more than 95 % of them.
#[test]
fn the_target_lets_nearly_all_through() {
    let mut state = 1_u64;
    let random = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(state >> 33).expect("31 bits")) / f64::from(1_u32 << 31)
    });
    // Up to 15 ms, so that none overtakes another.
    let jittery = flow(random.take(1_000).map(|share| Some(30.0 + 15.0 * share)));
    assert!(percent_late(&replay_adaptive(&jittery, &Adaptive::default())) < 0.5);
}

#[test]
fn the_buffer_waits_for_overtaken_packets_as_long_as_it_pays() {
    let overtaken = |one_in: u32, by_ms: f64| {
        flow((0..1_000_u32).map(|i| Some(if i % one_in == one_in / 2 { 30.0 + by_ms } else { 30.0 })))
    };
    let late_in_the_end = |samples: &[Sample]| {
        let flags = replay_adaptive(samples, &Adaptive::default()).late_flags;
        flags[500..].iter().filter(|late| **late).count()
    };
    assert_eq!(late_in_the_end(&overtaken(20, 45.0)), 0, "5 % are worth 100 ms");
    assert_eq!(late_in_the_end(&overtaken(20, 300.0)), 25, "and not 300 ms");
    assert_eq!(late_in_the_end(&overtaken(100, 45.0)), 5, "1 % is worth 20 ms");
}

#[test]
fn a_packet_that_others_overtook_does_not_grow_the_buffer() {
    let spike = flow((0..300).map(|i| Some(if i == 200 { 330.0 } else { 30.0 })));
    let playout = replay_adaptive(&spike, &Adaptive::default());
    assert_eq!(playout.late, 1);
    assert_eq!(playout.added[199], playout.added[201]);
}

proptest! {
    #[test]
    fn a_deeper_buffer_is_never_later(
        delays in prop::collection::vec(prop::option::weighted(0.9, 0.0..500.0f64), 0..200),
        depths in prop::array::uniform2(0i64..400),
    ) {
        let flow = flow(delays);
        let [shallow, deep] = [depths[0].min(depths[1]), depths[0].max(depths[1])]
            .map(|ms| replay_fixed(&flow, Micros::from_millis(ms)));
        prop_assert!(deep.late <= shallow.late);
        prop_assert_eq!(deep.lost, shallow.lost);
    }

    /// What arrives later cannot change what was due before.
    #[test]
    fn the_buffer_knows_no_future(
        delays in prop::collection::vec(0.0..300.0f64, 2..200),
    ) {
        let half = delays.len() / 2;
        let calm: Vec<f64> = delays.iter().enumerate().map(|(i, d)| if i < half { *d } else { 300.0 }).collect();
        let [whole, other] = [delays, calm].map(|delays| {
            let flow = flow(delays.into_iter().map(Some));
            (replay_adaptive(&flow, &Adaptive::default()), flow)
        });
        // No packet is due later than its departure plus the greatest delay, the greatest target and a frame.
        for i in (0..half).take_while(|i| whole.1[*i].0 + Micros::from_millis(820) < whole.1[half].0) {
            prop_assert_eq!(whole.0.late_flags[i], other.0.late_flags[i], "packet {}", i);
        }
    }

    #[test]
    fn clock_offset_cancels(delays in prop::collection::vec(0.0..300.0f64, 1..200), seconds in -1000i64..1000) {
        let here = flow(delays.into_iter().map(Some));
        let there: Vec<Sample> =
            here.iter().map(|(d, a)| (*d, a.map(|a| a + Micros::from_secs(seconds)))).collect();
        prop_assert_eq!(
            replay_adaptive(&here, &Adaptive::default()),
            replay_adaptive(&there, &Adaptive::default())
        );
    }
}
