use std::net::Ipv4Addr;

use greenroom_reports::units::{Bitrate, DataSize};

use super::*;
use crate::packet::{FlowKey, Protocol};

const PACKETS: u32 = 100_000;

fn packet(bytes: u32) -> PacketInfo {
    let flow = FlowKey {
        protocol: Protocol::Udp,
        from: Ipv4Addr::new(10, 203, 0, 1).into(),
        from_port: 5000,
        to: Ipv4Addr::new(10, 203, 0, 2).into(),
        to_port: 7444,
    };
    PacketInfo { flow, tos: 0xb9, bytes, seq: None }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Offers `count` packets of 200 bytes, one every `gap`, to a link under constant conditions.
fn run(conditions: Conditions, seed: u64, count: u32, gap: Duration) -> Vec<(Duration, Outcome)> {
    let mut link = Link::new(Schedule::constant(conditions), seed, 0);
    (0..count).map(|n| (gap * n, link.offer(gap * n, &packet(200)))).collect()
}

fn delays(outcomes: &[(Duration, Outcome)]) -> Vec<f64> {
    let delay = |(offered, outcome): &(Duration, Outcome)| match outcome {
        Outcome::Delivered { at, .. } => Some((*at - *offered).as_secs_f64() * 1e3),
        Outcome::Dropped(_) => None,
    };
    outcomes.iter().filter_map(delay).collect()
}

fn lost(outcomes: &[(Duration, Outcome)]) -> Vec<bool> {
    outcomes.iter().map(|(_, outcome)| matches!(outcome, Outcome::Dropped(_))).collect()
}

fn share(flags: &[bool]) -> f64 {
    let hits = u32::try_from(flags.iter().filter(|flag| **flag).count()).expect("few");
    f64::from(hits) / f64::from(u32::try_from(flags.len()).expect("few"))
}

fn quantile(mut values: Vec<f64>, permille: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * permille).div_ceil(1000) - 1]
}

#[test]
fn a_perfect_wire_delivers_at_once_and_unchanged() {
    for (offered, outcome) in run(Conditions::default(), 1, 100, ms(20)) {
        assert_eq!(outcome, Outcome::Delivered { at: offered, again: None, tos: 0xb9, held_back: false });
    }
}

#[test]
fn the_same_seed_gives_the_same_link_and_another_seed_another() {
    let conditions = || Conditions {
        jitter: Jitter::Uniform { max: ms(30), reorders: true },
        loss: Loss::Random { ratio: 0.1 },
        duplicate: Some(Duplicate { ratio: 0.1, gap: ms(1) }),
        ..Conditions::default()
    };
    assert_eq!(run(conditions(), 7, 1000, ms(20)), run(conditions(), 7, 1000, ms(20)));
    assert_ne!(run(conditions(), 7, 1000, ms(20)), run(conditions(), 8, 1000, ms(20)));
}

#[test]
fn one_mechanism_does_not_disturb_anothers_draws() {
    let with =
        |duplicate| Conditions { loss: Loss::Random { ratio: 0.1 }, duplicate, ..Conditions::default() };
    let alone = lost(&run(with(None), 7, 1000, ms(20)));
    let beside = lost(&run(with(Some(Duplicate { ratio: 0.5, gap: ms(1) })), 7, 1000, ms(20)));
    assert_eq!(alone, beside);
}

#[test]
fn random_loss_has_its_ratio_and_no_memory() {
    let lost = lost(&run(
        Conditions { loss: Loss::Random { ratio: 0.1 }, ..Conditions::default() },
        3,
        PACKETS,
        ms(1),
    ));
    // Four standard errors: sqrt(0.1 × 0.9 / 100000) = 0.00095.
    assert!((share(&lost) - 0.1).abs() < 0.0038, "{}", share(&lost));
    let after_loss: Vec<_> = lost.windows(2).filter(|pair| pair[0]).map(|pair| pair[1]).collect();
    assert!((share(&after_loss) - 0.1).abs() < 0.012, "{}", share(&after_loss));
}

#[test]
fn bursts_have_their_ratio_and_mean_length() {
    let loss = Loss::bursts(0.02, 8.0);
    assert!((loss.ratio() - 0.02).abs() < 1e-12);
    let lost = lost(&run(Conditions { loss, ..Conditions::default() }, 3, PACKETS * 10, ms(1)));
    let starts = 1 + lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    let total = lost.iter().filter(|lost| **lost).count();
    let mean = f64::from(u32::try_from(total).expect("few")) / f64::from(u32::try_from(starts).expect("few"));
    // About 2500 bursts, geometric: standard error of the mean 7.5 / 50 = 0.15; of the ratio 0.0002 × sqrt(15).
    assert!((mean - 8.0).abs() < 0.6, "mean burst {mean}");
    assert!((share(&lost) - 0.02).abs() < 0.0025, "ratio {}", share(&lost));
}

#[test]
fn gilbert_elliott_says_which_state_lost_a_packet() {
    let loss = Loss::GilbertElliott { to_bad: 0.1, to_good: 0.3, good_loss: 0.05, bad_loss: 0.5 };
    let outcomes = run(Conditions { loss, ..Conditions::default() }, 5, PACKETS, ms(1));
    let by =
        |reason| share(&outcomes.iter().map(|(_, it)| *it == Outcome::Dropped(reason)).collect::<Vec<_>>());
    // Bad for a quarter of the time: 0.25 × 0.5 and 0.75 × 0.05.
    assert!((by(DropReason::BurstLoss) - 0.125).abs() < 0.008, "{}", by(DropReason::BurstLoss));
    assert!((by(DropReason::RandomLoss) - 0.0375).abs() < 0.004, "{}", by(DropReason::RandomLoss));
    assert!((loss.ratio() - 0.1625).abs() < 1e-12);
}

#[test]
fn uniform_jitter_has_its_range_and_quantiles() {
    let jitter = Jitter::Uniform { max: ms(40), reorders: true };
    let delays =
        delays(&run(Conditions { delay: ms(10), jitter, ..Conditions::default() }, 3, PACKETS, ms(20)));
    assert!(delays.iter().all(|delay| (10.0..=50.0).contains(delay)));
    assert!((quantile(delays.clone(), 500) - 30.0).abs() < 0.3);
    assert!((quantile(delays, 950) - 48.0).abs() < 0.2);
}

#[test]
fn bounded_normal_jitter_stays_within_its_limit_and_keeps_the_order() {
    let jitter = Jitter::Normal { sigma: ms(5), limit_sigmas: 3.0, reorders: false };
    let outcomes = run(Conditions { delay: ms(50), jitter, ..Conditions::default() }, 3, PACKETS, ms(2));
    assert!(delays(&outcomes).iter().all(|delay| (35.0..=65.0).contains(delay)));
    let arrivals: Vec<_> = outcomes
        .iter()
        .map(|(_, outcome)| match outcome {
            Outcome::Delivered { at, .. } => *at,
            Outcome::Dropped(reason) => panic!("{reason:?}"),
        })
        .collect();
    assert!(arrivals.is_sorted());
}

#[test]
fn free_normal_jitter_has_its_quantiles() {
    let jitter = Jitter::Normal { sigma: ms(5), limit_sigmas: 3.0, reorders: true };
    let delays =
        delays(&run(Conditions { delay: ms(50), jitter, ..Conditions::default() }, 3, PACKETS, ms(20)));
    // Truncation at 3 sigma moves the 97.5 % quantile from 1.960 to 1.941 sigma.
    assert!((quantile(delays.clone(), 500) - 50.0).abs() < 0.08);
    assert!((quantile(delays, 975) - (50.0 + 5.0 * 1.941)).abs() < 0.25);
}

#[test]
fn heavy_tail_follows_its_formula_up_to_the_cap() {
    let jitter = Jitter::Pareto { scale: ms(3), shape: 1.5, cap: ms(400), reorders: true };
    let delays = delays(&run(Conditions { jitter, ..Conditions::default() }, 3, PACKETS, ms(20)));
    // 3 × ((1 - q)^(-1/1.5) - 1).
    assert!((quantile(delays.clone(), 500) - 1.762).abs() < 0.06);
    assert!((quantile(delays.clone(), 950) - 19.10).abs() < 0.8);
    assert!((quantile(delays.clone(), 990) - 61.63).abs() < 4.5);
    let most = delays.iter().copied().fold(0.0, f64::max);
    assert!(most <= 400.0 && most > 390.0, "P(over 390 ms) is 0.07 %, so 100000 draws reach the cap: {most}");
}

#[test]
fn packets_held_back_are_overtaken() {
    let reorder = Some(Reorder { ratio: 0.1, extra: ms(45) });
    let outcomes = run(Conditions { delay: ms(10), reorder, ..Conditions::default() }, 3, PACKETS, ms(20));
    let held: Vec<_> = outcomes
        .iter()
        .map(|(_, outcome)| matches!(outcome, Outcome::Delivered { held_back: true, .. }))
        .collect();
    assert!((share(&held) - 0.1).abs() < 0.0038);
    for ((_, _), delay) in outcomes
        .iter()
        .zip(delays(&outcomes))
        .filter(|((_, outcome), _)| matches!(outcome, Outcome::Delivered { held_back: false, .. }))
    {
        assert!((delay - 10.0).abs() < 1e-9, "the others keep their delay: {delay}");
    }
}

#[test]
fn duplicates_come_after_the_first_copy() {
    let duplicate = Some(Duplicate { ratio: 0.2, gap: ms(3) });
    let outcomes = run(Conditions { delay: ms(10), duplicate, ..Conditions::default() }, 3, PACKETS, ms(20));
    let twice: Vec<_> = outcomes
        .iter()
        .map(|(offered, outcome)| match outcome {
            Outcome::Delivered { again: Some(again), .. } => {
                assert_eq!(*again, *offered + ms(13));
                true
            }
            _ => false,
        })
        .collect();
    assert!((share(&twice) - 0.2).abs() < 0.005);
}

fn limited(kbps: u64, queue: QueueLimit) -> Conditions {
    let bottleneck = Some(Bottleneck { rate: Bitrate::from_kbps(kbps), queue });
    Conditions { bottleneck, ..Conditions::default() }
}

#[test]
fn a_bottleneck_sends_one_packet_after_the_other_and_drops_what_does_not_fit() {
    // 1 Mbit/s: 1000 bytes take 8 ms. Room for 3000 bytes.
    let queue = QueueLimit::Size(DataSize::from_bytes(3000));
    let mut link = Link::new(Schedule::constant(limited(1000, queue)), 1, 0);
    let mut offer = |at| match link.offer(at, &packet(1000)) {
        Outcome::Delivered { at, .. } => Ok(at),
        Outcome::Dropped(reason) => Err(reason),
    };
    assert_eq!([0, 0, 0].map(|at| offer(ms(at))), [Ok(ms(8)), Ok(ms(16)), Ok(ms(24))]);
    assert_eq!(offer(ms(0)), Err(DropReason::QueueFull));
    assert_eq!(offer(ms(7)), Err(DropReason::QueueFull), "2125 bytes still wait");
    assert_eq!(offer(ms(8)), Ok(ms(32)));
    assert_eq!(offer(ms(100)), Ok(ms(108)), "idle again");
}

#[test]
fn a_queue_in_time_holds_what_passes_in_that_time() {
    // 300 ms at 1 Mbit/s are 37500 bytes: 37 packets of 1000.
    let outcomes: Vec<_> = {
        let mut link = Link::new(Schedule::constant(limited(1000, QueueLimit::Time(ms(300)))), 1, 0);
        (0..50).map(|_| link.offer(Duration::ZERO, &packet(1000))).collect()
    };
    let through = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Delivered { .. })).count();
    assert_eq!(through, 37);
}

#[test]
fn a_rate_that_changes_holds_for_what_already_waits() {
    // Two packets of 1000 bytes at 1 Mbit/s; at 12 ms, half of the second is through, the rest goes at 500 kbit/s.
    let queue = QueueLimit::Time(ms(300));
    let schedule = Schedule::constant(limited(1000, queue)).then(ms(12), limited(500, queue));
    let mut link = Link::new(schedule, 1, 0);
    let through = [0, 0, 12].map(|at| match link.offer(ms(at), &packet(1000)) {
        Outcome::Delivered { at, .. } => at,
        Outcome::Dropped(reason) => panic!("{reason:?}"),
    });
    assert_eq!(through, [ms(8), ms(20), ms(36)]);
}

#[test]
fn overload_loses_what_is_too_much() {
    // 200 bytes every ms are 1.6 Mbit/s on 1 Mbit/s: 37.5 % have to go.
    let outcomes = run(limited(1000, QueueLimit::Time(ms(50))), 1, PACKETS, ms(1));
    assert!((share(&lost(&outcomes)) - 0.375).abs() < 0.001, "{}", share(&lost(&outcomes)));
    let longest = delays(&outcomes).into_iter().fold(0.0, f64::max);
    assert!((48.0..=50.0 + 1e-6).contains(&longest), "{longest}");
}

#[test]
fn constant_cross_traffic_fills_the_queue_at_the_difference_of_rates() {
    // 2.4 Mbit/s on 2: 200 ms more in each second, until 1500 ms are full.
    let conditions = Conditions {
        cross: CrossTraffic::Constant { rate: Bitrate::from_kbps(2400) },
        ..limited(2000, QueueLimit::Time(ms(1500)))
    };
    let mut link = Link::new(Schedule::constant(conditions), 1, 0);
    let mut waits = Vec::new();
    for second in 1..=5 {
        match link.offer(ms(1000 * second), &packet(1)) {
            Outcome::Delivered { at, .. } => waits.push((at - ms(1000 * second)).as_secs_f64() * 1e3),
            Outcome::Dropped(reason) => panic!("{reason:?}"),
        }
    }
    for (wait, expected) in waits.iter().zip([200.0, 400.0, 600.0, 800.0, 1000.0]) {
        assert!((wait - expected).abs() < 0.1, "{waits:?}");
    }
    assert_eq!(link.offer(ms(20_000), &packet(200)), Outcome::Dropped(DropReason::QueueFull));
}

#[test]
fn downloads_keep_a_bloated_queue_swinging() {
    // 2 Mbit/s, 300 ms: the window swings between half and all of 25 + 75 kB. With the queue always settled, 100 to 300 ms
    // would wait; as it takes some round trips to drain and the window grows meanwhile, the low point lies above 100.
    let conditions = Conditions {
        cross: CrossTraffic::Aimd { flows: 1, rtt: ms(100) },
        ..limited(2000, QueueLimit::Time(ms(300)))
    };
    let delays = delays(&run(conditions, 1, 6000, ms(20)));
    let settled = delays[1000..].to_vec();
    let (low, high) = (quantile(settled.clone(), 10), quantile(settled, 990));
    assert!((100.0..=150.0).contains(&low), "low {low}");
    assert!((280.0..=300.5).contains(&high), "high {high}");
}

#[test]
fn cut_blocked_too_big_and_named_packets_do_not_pass() {
    let udp = Selector { protocol: Some(Protocol::Udp), port: Some(7444), ..Selector::default() };
    let base = Conditions { mtu_bytes: Some(1000), ..Conditions::default() };
    let mut schedule = Schedule::constant(base.clone())
        .then(ms(100), Conditions { cut: true, ..base.clone() })
        .then(ms(200), Conditions { block: vec![udp], ..base });
    schedule.drops =
        vec![TargetedDrop { select: Selector { max_bytes: Some(300), ..udp }, from: 2, count: 2 }];
    let mut link = Link::new(schedule, 1, 0);
    let mut dropped = |at, bytes| match link.offer(ms(at), &packet(bytes)) {
        Outcome::Delivered { .. } => None,
        Outcome::Dropped(reason) => Some(reason),
    };
    assert_eq!(dropped(0, 1000), None);
    assert_eq!(dropped(0, 1001), Some(DropReason::TooBig));
    assert_eq!(
        [1, 2, 3, 4, 5].map(|at| dropped(at, 200)),
        [None, None, Some(DropReason::Targeted), Some(DropReason::Targeted), None]
    );
    assert_eq!(dropped(100, 1000), Some(DropReason::Cut));
    assert_eq!(dropped(199, 1000), Some(DropReason::Cut));
    assert_eq!(dropped(200, 1000), Some(DropReason::Blocked));
}

#[test]
fn marks_are_cleared_bit_by_bit() {
    for (clear, left) in [(0x00, 0xb9), (0x03, 0xb8), (0xfc, 0x01), (0xff, 0x00)] {
        let conditions = Conditions { clear_tos: clear, ..Conditions::default() };
        for (_, outcome) in run(conditions, 1, 1, ms(1)) {
            assert!(matches!(outcome, Outcome::Delivered { tos, .. } if tos == left), "{outcome:?}");
        }
    }
}
