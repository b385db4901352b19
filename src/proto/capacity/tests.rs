//! The search against an emulated bottleneck in virtual time.

use std::collections::VecDeque;

use super::*;

/// One direction: a propagation delay, a rate, a tail-drop queue, random loss.
struct Bottleneck {
    rate: Bitrate,
    delay: Micros,
    queue: Micros,
    loss_permille: u64,
    /// In nanoseconds: rounded microseconds would slow a fast link by percents.
    free_at: i64,
    random: u64,
}

impl Bottleneck {
    fn new(rate: Bitrate, delay: Micros, queue: Micros) -> Self {
        Self { rate, delay, queue, loss_permille: 0, free_at: 0, random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// When a packet arrives; `None` when it is dropped.
    fn pass(&mut self, now: Micros, bytes: u16) -> Option<Micros> {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (self.random >> 33) % 1_000 < self.loss_permille {
            return None;
        }
        let begin = self.free_at.max(now.get() * 1_000);
        if Micros::from_nanos(begin) - now > self.queue {
            return None;
        }
        self.free_at = begin + i64::from(bytes) * 8_000_000 / i64::try_from(self.rate.bps() / 1_000).ok()?;
        Some(Micros::from_nanos(self.free_at) + self.delay)
    }
}

struct Packet {
    seq: u32,
    sent: Micros,
    arrived: Micros,
    bytes: u16,
    offered: Bitrate,
}

/// Runs a search to its end over `link`, with reports every 50 ms that take `delay` to come back.
fn run(config: SearchConfig, link: &mut Bottleneck) -> Outcome {
    let mut search = Search::new(config, Micros::ZERO);
    let mut flying: VecDeque<Packet> = VecDeque::new();
    let mut reports: VecDeque<(Micros, Feedback)> = VecDeque::new();
    // In nanoseconds, as `Load` sends exactly: rounded gaps would be percents of a fast rate.
    let (mut seq, mut next_send, mut next_report) = (0, 0, Micros::from_millis(50));
    let (mut next_seq, mut least, mut offered) = (0, Micros::MAX, config.initial);
    let mut now = Micros::ZERO;
    loop {
        if let Some(outcome) = search.outcome() {
            return outcome;
        }
        let report_in = reports.front().map_or(Micros::MAX, |(at, _)| *at);
        now = Micros::from_nanos(next_send).min(next_report).min(report_in).max(now);
        assert!(now < Micros::from_secs(20), "the search never ends");
        if report_in <= now {
            if let Some((_, feedback)) = reports.pop_front() {
                search.handle_feedback(now, &feedback);
            }
        } else if next_report <= now {
            let mut feedback = Feedback {
                at: now,
                lasted: Micros::from_millis(50),
                offered,
                received_bytes: 0,
                received_packets: 0,
                lost_packets: 0,
                delay_over_least: None,
            };
            while flying.front().is_some_and(|packet| packet.arrived <= now) {
                let Some(packet) = flying.pop_front() else { break };
                feedback.received_bytes += u64::from(packet.bytes);
                feedback.received_packets += 1;
                feedback.lost_packets += packet.seq - next_seq;
                next_seq = packet.seq + 1;
                least = least.min(packet.arrived - packet.sent);
                let over = packet.arrived - packet.sent - least;
                feedback.delay_over_least = feedback.delay_over_least.max(Some(over));
                offered = packet.offered;
                feedback.offered = offered;
            }
            reports.push_back((now + link.delay, feedback));
            next_report += Micros::from_millis(50);
        } else {
            let bytes = search.packet_bytes();
            search.spend(now, bytes);
            if let Some(arrived) = link.pass(now, bytes) {
                flying.push_back(Packet { seq, sent: now, arrived, bytes, offered: search.rate() });
            }
            seq += 1;
            let kbps = i64::try_from(search.rate().bps() / 1_000).unwrap_or(i64::MAX).max(1);
            next_send += i64::from(bytes) * 8_000_000 / kbps;
            search.handle_timeout(now);
        }
    }
}

fn wide() -> SearchConfig {
    SearchConfig { budget: DataSize::from_bytes(400_000_000), ..SearchConfig::default() }
}

#[expect(clippy::cast_precision_loss, reason = "rates far below 2^53")]
fn off(outcome: &Outcome, rate: Bitrate) -> f64 {
    outcome.capacity.bps() as f64 / rate.bps() as f64 - 1.0
}

#[test]
fn finds_the_rate_of_a_bottleneck_in_under_three_seconds() {
    let mut faults = Vec::new();
    for kbps in
        [300, 500, 1_000, 1_500, 3_000, 5_000, 8_000, 20_000, 45_000, 100_000, 200_000, 350_000, 500_000]
    {
        for one_way_ms in [1, 10, 25, 50] {
            for queue_ms in [70, 300] {
                let rate = Bitrate::from_kbps(kbps);
                let mut link =
                    Bottleneck::new(rate, Micros::from_millis(one_way_ms), Micros::from_millis(queue_ms));
                let outcome = run(wide(), &mut link);
                let allowed = if (1_000..=200_000).contains(&kbps) { 0.05 } else { 0.10 };
                let off = off(&outcome, rate);
                if off.abs() > allowed
                    || outcome.end != End::Converged
                    || outcome.finished > Micros::from_secs(3)
                {
                    faults.push(format!(
                        "{kbps} kbit/s, {one_way_ms} ms, queue {queue_ms} ms: {:.1} % off after {} ({:?})",
                        off * 100.0,
                        outcome.finished,
                        outcome.end
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn random_loss_is_not_a_bottleneck() {
    let rate = Bitrate::from_kbps(20_000);
    let mut link = Bottleneck::new(rate, Micros::from_millis(20), Micros::from_millis(300));
    link.loss_permille = 10;
    let outcome = run(wide(), &mut link);
    assert!(off(&outcome, rate).abs() < 0.05, "{outcome:?}");
}

#[test]
fn a_link_that_loses_packets_anyhow_is_not_slower_for_it() {
    let mut faults = Vec::new();
    for kbps in [1_000, 1_500, 5_000, 20_000] {
        for queue_ms in [15, 100, 300] {
            for seed in 1..=3 {
                let rate = Bitrate::from_kbps(kbps);
                let mut link = Bottleneck::new(rate, Micros::from_millis(5), Micros::from_millis(queue_ms));
                (link.loss_permille, link.random) = (30, seed);
                let outcome = run(wide(), &mut link);
                if off(&outcome, rate).abs() > 0.08 || outcome.end != End::Converged {
                    faults.push(format!("{kbps} kbit/s, queue {queue_ms} ms, seed {seed}: {outcome:?}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_link_that_drops_what_it_has_no_room_for_shows_its_rate() {
    for kbps in [1_000, 5_000, 50_000] {
        let rate = Bitrate::from_kbps(kbps);
        let mut link = Bottleneck::new(rate, Micros::from_millis(20), Micros::from_millis(2));
        let outcome = run(wide(), &mut link);
        assert!(off(&outcome, rate).abs() < 0.05 && outcome.end == End::Converged, "{kbps}: {outcome:?}");
    }
}

#[test]
fn a_ceiling_below_a_lossy_link_is_one_all_the_same() {
    let config = SearchConfig { ceiling: Bitrate::from_kbps(5_000), ..wide() };
    let mut link =
        Bottleneck::new(Bitrate::from_kbps(100_000), Micros::from_millis(5), Micros::from_millis(50));
    link.loss_permille = 30;
    let outcome = run(config, &mut link);
    assert_eq!((outcome.end, outcome.at_least), (End::Ceiling, true), "{outcome:?}");
    assert!(off(&outcome, config.ceiling).abs() < 0.05, "{outcome:?}");
}

#[test]
fn a_ceiling_is_said_to_be_one() {
    let config = SearchConfig { ceiling: Bitrate::from_kbps(10_000), ..wide() };
    let mut link =
        Bottleneck::new(Bitrate::from_kbps(1_000_000), Micros::from_millis(5), Micros::from_millis(50));
    let outcome = run(config, &mut link);
    assert_eq!((outcome.end, outcome.at_least), (End::Ceiling, true));
    assert!(off(&outcome, config.ceiling).abs() < 0.05, "{outcome:?}");
}

#[test]
fn silence_and_budget_end_it() {
    let mut search = Search::new(wide(), Micros::ZERO);
    search.handle_timeout(Micros::from_millis(999));
    assert_eq!(search.outcome(), None);
    search.handle_timeout(Micros::from_secs(1));
    let outcome = search.outcome().expect("ended");
    assert_eq!((outcome.end, outcome.capacity), (End::Silent, Bitrate::default()));

    let config = SearchConfig { budget: DataSize::from_bytes(2_000_000), ..wide() };
    let mut link =
        Bottleneck::new(Bitrate::from_kbps(500_000), Micros::from_millis(5), Micros::from_millis(50));
    let outcome = run(config, &mut link);
    assert_eq!((outcome.end, outcome.at_least), (End::Budget, true));
    assert!(outcome.capacity > Bitrate::from_kbps(4_000), "{outcome:?}");
}
