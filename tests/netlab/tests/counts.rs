//! In virtual time, what the metrics count equals what the links did: every scenario, many seeds.

use greenroom::proto::sender::SenderState;
use greenroom_netlab::scenario::Scenario;
use greenroom_netlab::sim::{Load, Plan, Run, simulate};
use greenroom_netlab::truth::PacketTruth;
use greenroom_reports::metrics::flow::{Counts, LossPolicy, flows};
use greenroom_reports::trace::{Direction, Media};
use greenroom_reports::units::{Bitrate, Micros};

const SEEDS: u64 = 200;

/// Counts the truth by hand, the plain way: packet by packet, not as the metrics do.
fn told<'a>(packets: impl Iterator<Item = &'a PacketTruth>) -> Counts {
    let mut counts = Counts::default();
    let mut arrivals = Vec::new();
    for packet in packets {
        counts.sent += 1;
        let Some(at) = packet.delivered() else {
            counts.lost += 1;
            continue;
        };
        if packet.host_dropped > 0 {
            counts.host_dropped += 1;
            continue;
        }
        counts.on_time += 1;
        let again =
            matches!(packet.fate, greenroom_netlab::truth::LinkFate::Delivered { again: Some(_), .. });
        counts.duplicate += u64::from(again);
        arrivals.push((at, packet.seq));
    }
    // Stable: copies that come out at the same time do so in the order in which they were offered.
    arrivals.sort_by_key(|(at, _)| *at);
    counts.reordered = arrivals
        .iter()
        .enumerate()
        .filter(|(place, (_, seq))| arrivals[..*place].iter().any(|(_, before)| before > seq))
        .count()
        .try_into()
        .expect("few");
    counts
}

fn assert_counts_equal_the_truth(scenario: &Scenario, seed: u64, run: &Run) {
    for flow in flows(&run.trace, LossPolicy::DEEP) {
        let of_flow = |packet: &&PacketTruth| packet.stream == Some(flow.stream);
        let told = told(run.truth.packets(flow.direction).iter().filter(of_flow));
        let Counts { planned, send_failed, not_sent, .. } = flow.counts;
        let expected = Counts { planned, send_failed, not_sent, ..told };
        assert_eq!(
            flow.counts, expected,
            "{} seed {seed} stream {:?} {:?}",
            scenario.name, flow.stream, flow.direction
        );
        assert_eq!(flow.unexplained, 0, "{} seed {seed}", scenario.name);
    }
}

/// Every third scenario from `first` on, so that the test runner can share the work.
fn audio_in_every_third_scenario(first: usize) {
    let plan = Plan::audio(Micros::from_secs(6));
    for scenario in Scenario::all().expect("scenarios load").iter().skip(first).step_by(3) {
        for seed in 0..SEEDS {
            let run = simulate(scenario, seed, &plan);
            assert_counts_equal_the_truth(scenario, seed, &run);
        }
    }
}

#[test]
fn audio_counts_equal_the_truth_first_third() {
    audio_in_every_third_scenario(0);
}

#[test]
fn audio_counts_equal_the_truth_second_third() {
    audio_in_every_third_scenario(1);
}

#[test]
fn audio_counts_equal_the_truth_last_third() {
    audio_in_every_third_scenario(2);
}

#[test]
fn media_counts_equal_the_truth() {
    let load = |direction, kbps, from, until| Load {
        direction,
        media: Media::Video,
        rate: Bitrate::from_kbps(kbps),
        from: Micros::from_millis(from),
        until: Micros::from_millis(until),
    };
    let plan = Plan {
        audio: Micros::from_secs(4),
        loads: vec![
            load(Direction::Up, 600, 1_000, 2_500),
            load(Direction::Down, 600, 1_000, 2_500),
            load(Direction::Up, 1_500, 2_500, 4_000),
            load(Direction::Down, 1_500, 2_500, 4_000),
        ],
    };
    for name in
        ["clean", "weak_4g", "rate_1m", "asymmetric", "reordering", "dup_and_loss", "rfc8867_long_tcp"]
    {
        let scenario = Scenario::named(name).expect("comes with the lab");
        for seed in 0..SEEDS {
            let run = simulate(&scenario, seed, &plan);
            assert_eq!(run.state, SenderState::Finished, "{name} seed {seed}");
            assert_eq!(flows(&run.trace, LossPolicy::DEEP).len(), 6, "{name} seed {seed}");
            assert_counts_equal_the_truth(&scenario, seed, &run);
        }
    }
}

#[test]
fn each_kind_of_trouble_is_there_to_be_counted() {
    let plan = Plan::audio(Micros::from_secs(6));
    let audio = |name: &str, direction| {
        let run = simulate(&Scenario::named(name).expect("comes with the lab"), 1, &plan);
        let flow = flows(&run.trace, LossPolicy::DEEP).into_iter().find(|flow| flow.direction == direction);
        flow.expect("audio goes both ways").counts
    };
    let tail = audio("tail_loss", Direction::Up);
    assert!(tail.lost > 0, "{tail:?}");
    let both = audio("dup_and_loss", Direction::Up);
    assert!(both.lost > 0 && both.duplicate > 0, "{both:?}");
    assert!(audio("reordering", Direction::Down).reordered > 0);
    assert!(audio("host_drops", Direction::Down).host_dropped > 0);
    assert!(audio("refused_sends", Direction::Up).send_failed > 0);
    assert_eq!(audio("loss_up_only", Direction::Down).lost, 0);
    assert_eq!(audio("udp_blocked", Direction::Up).sent, 0);
}
