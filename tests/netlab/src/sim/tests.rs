use std::collections::BTreeMap;

use greenroom::proto::machine::{Transmit, TransmitKey};

use super::*;

/// Sends a numbered packet every 20 ms and notes what comes back.
#[derive(Default)]
struct Pinger {
    count: u32,
    sent: u32,
    start: Option<Micros>,
    handed: BTreeMap<u64, Micros>,
    refused: u64,
    drops: u64,
    /// Number, kernel's point, program's point.
    replies: Vec<(u32, Micros, Micros)>,
}

/// Sends everything back.
#[derive(Default)]
struct Echo {
    seen: Vec<u32>,
    waiting: Vec<(SocketAddr, Vec<u8>)>,
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().expect("numbered"))
}

impl Machine for Pinger {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        self.replies.push((number(payload), arrival.at, now));
    }

    fn handle_departure(&mut self, departure: &Departure) {
        match departure.event {
            DepartureEvent::Handed(at) => drop(self.handed.insert(departure.key.0, at)),
            DepartureEvent::Failed(_) => self.refused += 1,
            DepartureEvent::Queued(_) | DepartureEvent::Left(_) => {}
        }
    }

    fn handle_drops(&mut self, _now: Micros, total: u64) {
        self.drops = total;
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        let start = *self.start.get_or_insert(now);
        let intended = start + Micros::from_millis(20) * i64::from(self.sent);
        if self.sent == self.count || now < intended {
            return None;
        }
        payload.clear();
        payload.extend(self.sent.to_be_bytes());
        payload.resize(172, 0);
        self.sent += 1;
        let key = TransmitKey(u64::from(self.sent - 1));
        Some(Transmit { to: address(2), key, intended, tos: 0, stamp: true })
    }

    fn next_deadline(&self) -> Option<Micros> {
        let start = self.start.unwrap_or(Micros::ZERO);
        (self.sent < self.count).then(|| start + Micros::from_millis(20) * i64::from(self.sent))
    }

    fn is_finished(&self) -> bool {
        false
    }
}

impl Machine for Echo {
    fn handle_datagram(&mut self, _now: Micros, arrival: &Arrival, payload: &[u8]) {
        self.seen.push(number(payload));
        self.waiting.push((arrival.from, payload.to_vec()));
    }

    fn handle_departure(&mut self, _departure: &Departure) {}

    fn handle_drops(&mut self, _now: Micros, _total: u64) {}

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        let (to, echoed) = self.waiting.pop()?;
        payload.clear();
        payload.extend(echoed);
        Some(Transmit { to, key: TransmitKey(0), intended: now, tos: 0, stamp: false })
    }

    fn next_deadline(&self) -> Option<Micros> {
        None
    }

    fn is_finished(&self) -> bool {
        false
    }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 203, 0, host], 7444))
}

fn play(name: &str, seed: u64, count: u32) -> (Pinger, Echo, Truth) {
    let scenario = Scenario::named(name).expect("comes with the lab");
    let mut pinger = Pinger { count, ..Pinger::default() };
    let mut echo = Echo::default();
    let here = End { machine: &mut pinger, address: address(1) };
    let there = End { machine: &mut echo, address: address(2) };
    let truth = Sim::new(&scenario, seed, here, there).run(Duration::from_secs(60), |_, _| None).0;
    (pinger, echo, truth)
}

#[test]
fn a_clean_round_trip_takes_twice_the_delay() {
    let (pinger, _, truth) = play("clean", 1, 100);
    assert_eq!(pinger.replies.len(), 100);
    for (seq, arrived, had) in &pinger.replies {
        assert_eq!(*arrived - pinger.handed[&u64::from(*seq)], Micros::from_millis(20));
        assert_eq!(arrived, had);
    }
    assert!(truth.delays(Direction::Up, |_| true).iter().all(|delay| *delay == Duration::from_millis(10)));
}

#[test]
fn machines_see_what_the_truth_says_for_many_seeds() {
    for seed in 0..200 {
        let (pinger, echo, truth) = play("dup_and_loss", seed, 200);
        let (up, down) = (truth.counts(Direction::Up, |_| true), truth.counts(Direction::Down, |_| true));
        let seen =
            |counts: &crate::truth::TruthCounts| usize::try_from(counts.delivered + counts.duplicated).ok();
        assert_eq!(up.offered, 200, "seed {seed}");
        assert_eq!(Some(echo.seen.len()), seen(&up), "seed {seed}");
        assert_eq!(down.offered, up.delivered + up.duplicated, "seed {seed}");
        assert_eq!(Some(pinger.replies.len()), seen(&down), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(play("weak_4g", 9, 200).2, play("weak_4g", 9, 200).2);
    assert_ne!(play("weak_4g", 9, 200).2, play("weak_4g", 10, 200).2);
}

#[test]
fn a_slow_program_gets_datagrams_late_but_stamped_in_time() {
    let (pinger, _, _) = play("cpu_saturated", 3, 300);
    let late = pinger.replies.iter().filter(|(_, arrived, had)| had > arrived).count();
    assert!(late > 150, "{late} of {}", pinger.replies.len());
    assert!(pinger.replies.iter().all(|(_, arrived, had)| had >= arrived));
}

#[test]
fn a_full_receive_queue_drops_and_tells_how_many() {
    let mut some = 0;
    for seed in 0..50 {
        let (pinger, _, truth) = play("host_drops", seed, 300);
        let dropped: u64 = truth.down.iter().map(|packet| u64::from(packet.host_dropped)).sum();
        let delivered = truth.counts(Direction::Down, |_| true).delivered;
        assert_eq!(pinger.replies.len() as u64 + dropped, delivered, "seed {seed}");
        assert_eq!(pinger.drops, dropped, "seed {seed}");
        some += dropped;
    }
    assert!(some > 0, "the scenario is about drops");
}

#[test]
fn refused_sends_never_reach_the_link() {
    let (pinger, _, truth) = play("refused_sends", 5, 400);
    assert!(pinger.refused > 0);
    assert_eq!(truth.up.len() as u64 + pinger.refused, 400);
}

#[test]
fn clocks_start_apart_and_drift_apart() {
    let scenario = Scenario::named("clock_skew").expect("comes with the lab");
    let computer = host::Computer::new(&scenario.hosts.there, 1, 3);
    assert_eq!(computer.local(Duration::ZERO), Micros::from_secs(3600));
    assert_eq!(computer.local(Duration::from_secs(100)), Micros::from_secs(3700) + Micros::from_millis(8));
    for micros in [3_600_000_000, 3_600_000_001, 3_700_008_000, 3_612_345_678] {
        let at = computer.true_time(Micros::new(micros));
        assert_eq!(computer.local(at), Micros::new(micros));
    }
}
