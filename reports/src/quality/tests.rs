use proptest::prelude::*;

use super::codec::Robustness;
use super::*;

fn near(got: f64, expected: f64, within: f64, what: &str) {
    assert!((got - expected).abs() <= within, "{what}: {got} instead of {expected}");
}

fn conditions(rtt_ms: i64, lost: f64) -> Conditions {
    Conditions {
        rtt: Micros::from_millis(rtt_ms),
        buffer: Micros::from_millis(40),
        lost_or_late: Ratio::new(lost).expect("a share"),
        burst_ratio: None,
    }
}

#[test]
fn narrowband_defaults_give_the_recommendations_rating() {
    let parts = Narrowband::default().components(0.0);
    near(parts.r, 93.2062, 1e-4, "R");
    near(parts.ro, 94.7688, 1e-4, "Ro");
    near(parts.iolr, 0.4402, 1e-4, "Iolr");
    near(parts.ist, -0.0007, 1e-4, "Ist");
    near(parts.iq, 0.9741, 1e-4, "Iq");
    near(parts.iolr + parts.ist + parts.iq, 1.4136, 1e-4, "Is");
    near(parts.idle, 0.1490, 1e-4, "Idle");
    near(mos(parts.r, Model::Narrowband), 4.409, 5e-4, "MOS");
}

#[test]
fn delay_sweep() {
    let sweep = [
        (50.0, 91.76),
        (100.0, 90.66),
        (150.0, 89.54),
        (200.0, 85.80),
        (250.0, 79.18),
        (300.0, 72.67),
        (400.0, 62.25),
        (500.0, 54.80),
    ];
    for (ms, r) in sweep {
        near(Narrowband::with_delay(ms).components(0.0).r, r, 5e-3, "R at this delay");
    }
}

#[test]
fn loss_sweep() {
    let sweep = [
        (0.5, 1.0, 91.35),
        (1.0, 1.0, 89.57),
        (2.0, 1.0, 86.20),
        (3.0, 1.0, 83.06),
        (5.0, 1.0, 77.43),
        (10.0, 1.0, 66.14),
        (10.0, 2.0, 61.64),
        (10.0, 4.0, 58.79),
        (20.0, 1.0, 51.08),
    ];
    for (loss, burst_ratio, r) in sweep {
        let ie = effective_impairment(Model::Narrowband, 0.0, 25.1, loss, burst_ratio);
        near(Narrowband::default().components(ie).r, r, 5e-3, "R at this loss");
    }
}

/// A well-known shortcut, made from the same model by others.
#[test]
fn delay_agrees_with_cole_and_rosenbluth() {
    let flat = Narrowband::default().components(0.0).r;
    for ms in [50.0, 100.0, 150.0, 200.0, 250.0, 300.0_f64] {
        let shortcut = 0.024 * ms + 0.11 * (ms - 177.3).max(0.0);
        near(flat - Narrowband::with_delay(ms).components(0.0).r, shortcut, 0.6, "Id");
    }
}

#[test]
fn amr_wb_check_value() {
    let entry = Codec::AmrWb(12_650).entry().expect("published");
    near(mos(wideband_rating(0.0, entry.ie), entry.model), 4.337, 5e-4, "MOS");
}

#[test]
fn fullband_is_stretched() {
    near(fullband_rating(0.0, 0.0), 148.0, 1e-9, "R");
    let (wide, full) = (129.0 - wideband_rating(300.0, 0.0), 148.0 - fullband_rating(300.0, 0.0));
    near(full / wide, 1.48, 1e-9, "Idd");
    // EVS 24.4 kbit/s at 3 %: 7.2 + 124.8 * 3 / 14.4 = 33.2.
    near(effective_impairment(Model::Fullband, 7.2, 11.4, 3.0, 1.0), 33.2, 1e-9, "Ie,eff");
}

#[test]
fn both_clamps_hold() {
    near(mos(3.0, Model::Narrowband), 1.0, 0.0, "the cubic gives 0.989 here");
    near(mos(-400.0, Model::Narrowband), 1.0, 0.0, "the cubic gives a great number here");
    near(mos(130.0, Model::Narrowband), 4.5, 0.0, "above the scale");
    near(mos(f64::NEG_INFINITY, Model::Fullband), 1.0, 0.0, "below every scale");
}

/// A shipped library says 5.0 from 240 ms up: a clamp on the score without one on the rating.
#[test]
fn long_delay_is_never_perfect() {
    let at = |rtt_ms| rate(Codec::G711Plc, &conditions(rtt_ms, 0.0)).expect("published").mos;
    for rtt_ms in [240, 1_000, 10_000, 1_000_000] {
        assert!(at(rtt_ms) < at(100), "{rtt_ms} ms: {}", at(rtt_ms));
    }
    assert!(at(2_000) < 2.5, "{}", at(2_000));
}

#[test]
fn mouth_to_ear_is_composed() {
    let score = rate(Codec::OpusSwbVbr(34_000), &conditions(100, 0.0)).expect("published");
    assert_eq!(score.mouth_to_ear, Micros::new(50_000 + 40_000 + 20_000 + 6_500));
    assert_eq!(score.model, Model::Fullband);
    assert!(score.source.contains("academic"));
    near(score.r, fullband_rating(116.5, 14.76), 1e-9, "R");
}

#[test]
fn unpublished_is_unknown() {
    for codec in [Codec::OpusSwbVbr(64_000), Codec::OpusSwbVbr(6_000), Codec::OpusSwbCbr(24_000)] {
        assert_eq!(rate(codec, &conditions(50, 0.0)), Err(Unknown::Rate(codec)));
    }
    assert_eq!(Codec::AmrWb(12_000).entry(), Err(Unknown::Rate(Codec::AmrWb(12_000))));
    let codec = Codec::AmrWb(12_650);
    assert!(rate(codec, &conditions(50, 0.0)).is_ok());
    assert_eq!(rate(codec, &conditions(50, 0.01)), Err(Unknown::Loss(codec)));
}

#[test]
fn interpolation_says_so() {
    let entry = Codec::OpusSwbVbr(32_500).entry().expect("between 31 and 34 kbit/s");
    near(entry.ie, f64::midpoint(16.83, 14.76), 1e-9, "Ie");
    assert!(entry.source.contains("interpolated"));
    let Robustness::Fitted { random, .. } = entry.bpl else { panic!("Opus has both") };
    near(random, f64::midpoint(10.44, 10.12), 1e-9, "Bpl");
}

#[test]
fn bursts_take_the_bursty_value() {
    let codec = Codec::OpusSwbVbr(34_000);
    let at =
        |burst_ratio| rate(codec, &Conditions { burst_ratio, ..conditions(50, 0.03) }).expect("published").r;
    near(at(Some(1.2)), at(None), 1e-12, "hardly bursty");
    assert!(at(Some(2.0)) < at(None));
}

proptest! {
    #[test]
    fn more_loss_or_delay_is_never_better(
        losses in prop::array::uniform2(0.0..=1.0f64),
        delays in prop::array::uniform2(0i64..3_000),
        burst in 1.0..8.0f64,
        codec in prop::sample::select(vec![
            Codec::G711Plc,
            Codec::EvsSwb(24_400),
            Codec::OpusSwbVbr(16_000),
            Codec::OpusSwbVbr(39_000),
        ]),
    ) {
        let score = |loss: f64, rtt_ms: i64| {
            rate(codec, &Conditions { burst_ratio: Some(burst), ..conditions(rtt_ms, loss) }).expect("published").mos
        };
        let (less, more) = (losses[0].min(losses[1]), losses[0].max(losses[1]));
        let (sooner, later) = (delays[0].min(delays[1]), delays[0].max(delays[1]));
        prop_assert!(score(more, sooner) <= score(less, sooner) + 1e-12);
        prop_assert!(score(less, later) <= score(less, sooner) + 1e-12);
        prop_assert!((1.0..=4.5).contains(&score(more, later)));
    }
}
