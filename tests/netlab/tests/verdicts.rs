//! In virtual time, whole quick checks on labelled networks: a sample of what the program `verdicts` counts at length.

use greenroom_netlab::scenario::Scenario;
use greenroom_netlab::sim::{Ending, check};
use greenroom_netlab::verdicts::{percentile, quick_check, tally};
use greenroom_reports::schema::{FaultDirection, Place, State, Use};

fn named(name: &str) -> Scenario {
    Scenario::named(name).expect("comes with the lab")
}

#[test]
fn the_same_seed_gives_the_same_check() {
    let plan = quick_check(&[Use::Audio, Use::Video720p]);
    let (scenario, once) = (named("weak_4g"), |seed| check(&named("weak_4g"), seed, &plan));
    assert_eq!(once(3).verdict, once(3).verdict);
    assert_eq!(once(3).truth, check(&scenario, 3, &plan).truth);
    assert_ne!(once(3).truth, once(4).truth);
}

#[test]
fn a_clean_link_is_ready_within_its_time() {
    let plan = quick_check(&[Use::Audio, Use::Video720p]);
    let tally = tally(&named("clean"), &plan, 0..8);
    assert_eq!((tally.runs, tally.right, tally.inconclusive), (8, 8, 0), "{tally:?}");
    assert!(percentile(&tally.took_ms, 100).is_some_and(|ms| ms <= 6_000.0), "{:?}", tally.took_ms);
}

#[test]
fn losses_in_bursts_are_listened_to_for_longer() {
    let plan = quick_check(&[Use::Audio, Use::Video720p]);
    let tally = tally(&named("weak_4g"), &plan, 0..8);
    assert!(tally.inconclusive <= 1, "{tally:?}");
    assert!(percentile(&tally.took_ms, 50).is_some_and(|ms| ms > 6_000.0), "{:?}", tally.took_ms);
}

/// Never ready above 5 %: not once.
#[test]
fn heavy_loss_is_never_ready_and_seen_soon() {
    let plan = quick_check(&[Use::Audio, Use::Video720p]);
    for name in ["loss_15", "rfc8868_loss_10", "rfc8868_loss_20", "very_bad"] {
        let tally = tally(&named(name), &plan, 0..8);
        assert_eq!((tally.wrong_ready, tally.wrong_blocked), (0, 0), "{name}: {tally:?}");
        assert_eq!(tally.inconclusive, 0, "{name}: {tally:?}");
        if name == "loss_15" {
            let p90 = percentile(&tally.took_ms, 90);
            assert!(p90.is_some_and(|ms| ms <= 3_000.0), "{:?}", tally.took_ms);
        }
    }
}

#[test]
fn a_rate_that_is_too_low_blocks_the_use_that_needs_it_and_stops_early() {
    let plan = quick_check(&[Use::Video720p]);
    for seed in 0..8 {
        let checked = check(&named("rate_1m"), seed, &plan);
        let verdict = &checked.verdict;
        assert_eq!((verdict.overall, verdict.place), (State::Blocked, Some(Place::Path)), "seed {seed}");
        assert_eq!(checked.ending, Ending::Decided, "seed {seed}");
    }
}

#[test]
fn without_udp_there_is_no_trace_and_a_reason() {
    let plan = quick_check(&[Use::Audio]);
    let checked = check(&named("udp_blocked"), 1, &plan);
    assert_eq!((checked.ending, checked.trace.is_none()), (Ending::Failed, true));
    assert_eq!(checked.verdict.causes.first().map(|cause| cause.code.as_str()), Some("udp_blocked"));
}

/// A queue that the use's own rate fills makes packets late: it is the rate that is told, and no advice about Wi-Fi.
#[test]
fn a_rate_that_is_too_low_is_what_is_told() {
    let plan = quick_check(&[Use::Audio, Use::Video720p]);
    // Audio and its answers share the link with video: together they offer 1.59 Mbit/s.
    let share_of_video = 1.5 / 1.59;
    for (direction, rate_kbps, queue_ms) in [
        ("both", 1_000, 300),
        ("up", 1_000, 1_000),
        ("down", 1_100, 300),
        ("both", 1_200, 1_000),
        ("down", 1_300, 1_000),
        ("up", 1_400, 300),
        ("both", 1_500, 1_000),
        ("up", 1_500, 300),
    ] {
        let text = format!(
            "why = \"narrow\"\nsource = \"test\"\nduration_ms = 6000\n[both]\ndelay_ms = 20\n\
             [{direction}]\nrate_kbps = {rate_kbps}\nqueue_ms = {queue_ms}\n\
             [expect]\nbecause = \"the sums below\"\n"
        )
        .replace("[both]\ndelay_ms = 20\n[both]", "[both]\ndelay_ms = 20");
        let scenario = Scenario::parse("narrow", &text).expect("a scenario");
        for seed in 0..4 {
            let verdict = check(&scenario, seed, &plan).verdict;
            let told = format!("{rate_kbps} kbit/s {direction}, seed {seed}: {:#?}", verdict.causes);
            let lead = &verdict.causes[0];
            let way = serde_json::to_value(lead.direction).expect("a word");
            assert!(lead.code.starts_with("rate") && (way == direction || direction == "both"), "{told}");
            assert!(verdict.causes.iter().all(|cause| !cause.code.starts_with("late_loss")), "{told}");
            let carried = lead.measured.expect("a rate") / 1e6;
            let truth = f64::from(rate_kbps) / 1e3 * share_of_video;
            // Downward the endpoint's log takes its part as well.
            let least = if lead.direction == Some(FaultDirection::Up) { 0.9 } else { 0.75 };
            assert!((least * truth..=1.1 * truth).contains(&carried), "{truth} Mbit/s\n{told}");
            let fix = lead.fix.as_deref().unwrap_or_default();
            assert!(!fix.contains("Wi-Fi"), "{told}");
        }
    }
}
