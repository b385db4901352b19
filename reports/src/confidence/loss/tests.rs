use super::*;

fn runs(sequence: &str) -> LossRuns {
    sequence.chars().map(|c| c == 'x').collect()
}

fn clean(n: usize) -> LossRuns {
    std::iter::repeat_n(false, n).collect()
}

#[test]
fn channel_is_counted() {
    // Six steps from good (two to bad), three from bad (two to good).
    let channel = runs("..x...xx..").channel().expect("both states seen");
    assert_eq!(channel, Channel { p_gb: 2.0 / 6.0, p_bg: 2.0 / 3.0 });
    assert_eq!(channel.mean_burst(), Some(1.5));
    assert!(channel.rho().abs() < 1e-12);
    assert_eq!(clean(10).channel(), None);
    assert_eq!(runs("xxx").channel(), None);
}

/// Design effects at 1 % loss, as METRICS.md tabulates them.
#[test]
fn design_effect_matches_the_table() {
    for (burst, deff) in [(1.5, 1.97), (2.0, 2.96), (3.0, 4.94), (5.0, 8.90), (10.0, 18.8)] {
        let p_bg: f64 = 1.0 / burst;
        let channel = Channel { p_gb: p_bg * 0.01 / 0.99, p_bg };
        assert!((channel.design_effect().expect("changes state") - deff).abs() < 0.02 * deff);
        assert!((channel.loss().expect("changes state") - 0.01).abs() < 1e-12);
    }
}

#[test]
fn merging_is_counting_apart() {
    let mut whole = runs("..x..x");
    whole.cut();
    "xx...".chars().for_each(|c| whole.push(c == 'x'));
    let mut merged = runs("..x..x");
    merged.merge(&runs("xx..."));
    assert_eq!(merged, whole);
    assert_eq!((whole.n(), whole.lost(), whole.longest()), (11, 4, 2));
}

#[test]
fn nothing_is_known_without_packets() {
    assert_eq!(verdict_interval(&LossRuns::default(), 0.95), Interval::UNKNOWN);
    assert_eq!(displayed_bursty(&LossRuns::default(), 0.95), Interval::UNKNOWN);
}

#[test]
fn clean_link_is_shown_good_within_seconds() {
    let needed = (2..5_000).find(|n| verdict_interval(&clean(*n), 0.95).high <= 0.02).expect("at some n");
    println!("clean packets to show 2 %: {needed}");
    assert!((734..=900).contains(&needed), "{needed}");
}

/// One event, however long, is one event.
#[test]
fn one_burst_proves_nothing() {
    for length in [1, 3, 6] {
        let mut runs = clean(100);
        (0..length).for_each(|_| runs.push(true));
        (0..100).for_each(|_| runs.push(false));
        let interval = verdict_interval(&runs, 0.95);
        assert!(interval.low < 0.01 && interval.high > 0.02, "{length} in a row: {interval:?}");
    }
}

#[test]
fn dead_link_is_seen() {
    let dead: LossRuns = std::iter::repeat_n(true, 200).collect();
    assert!(verdict_interval(&dead, 0.95).low > 0.5, "{:?}", verdict_interval(&dead, 0.95));
    let outages: LossRuns = (0..2_000).map(|i| i / 100 % 2 == 0).collect();
    let interval = verdict_interval(&outages, 0.95);
    assert!(interval.contains(0.5) && interval.low > 0.1, "{interval:?}");
}

/// A grid over all channels, as a slow second opinion on edges that the search finds.
#[test]
fn edges_agree_with_a_grid_of_channels() {
    for sequence in
        ["..........x.........", "x.xx..x...x..xxx....", "........................................"]
    {
        let runs: LossRuns = runs(&sequence.repeat(5));
        let region = Region::new(&runs, 0.95);
        let inside = |loss: f64| {
            (0..=4_000).any(|i| {
                let p_bg = region.least_p_bg + (1.0 - region.least_p_bg) * f64::from(i) / 4_000.0;
                let p_gb = p_bg * loss / (1.0 - loss);
                p_gb <= 1.0 && region.log_likelihood(p_gb, p_bg) > region.floor
            })
        };
        let grid: Vec<f64> =
            (1..1_000).map(|i| f64::from(i) / 1_000.0).filter(|loss| inside(*loss)).collect();
        let interval = verdict_interval(&runs, 0.95);
        let (first, last) = (grid.first().expect("some"), grid.last().expect("some"));
        assert!((interval.low - first).abs() <= 0.0015, "{sequence}: {interval:?}, {first}");
        assert!((interval.high - last).abs() <= 0.0015, "{sequence}: {interval:?}, {last}");
    }
}
