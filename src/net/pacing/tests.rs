//! Tests of the pacing thread with toy machines. Nothing here depends on how fast the machine is.

use std::collections::BTreeMap;

use super::*;
use crate::net::udp::{self, StampMode, UdpOptions};
use crate::proto::machine::{Arrival, Departure, DepartureEvent, Transmit, TransmitKey};

/// Sends `count` numbered datagrams at an interval and takes the echoes.
#[derive(Debug, Default)]
struct Pinger {
    to: Option<SocketAddr>,
    count: u64,
    interval: Micros,
    start: Micros,
    sent: u64,
    sent_at: Vec<Micros>,
    handed: BTreeMap<u64, Micros>,
    left: BTreeMap<u64, Micros>,
    failed: Vec<Option<i32>>,
    echoes: Vec<u64>,
}

impl Machine for Pinger {
    fn handle_datagram(&mut self, _: Micros, _: &Arrival, payload: &[u8]) {
        self.echoes.push(u64::from_be_bytes(payload.try_into().unwrap()));
    }

    fn handle_departure(&mut self, departure: &Departure) {
        match departure.event {
            DepartureEvent::Handed(at) => assert_eq!(self.handed.insert(departure.key.0, at), None),
            DepartureEvent::Left(at) => assert_eq!(self.left.insert(departure.key.0, at), None),
            DepartureEvent::Failed(number) => self.failed.push(number),
            DepartureEvent::Queued(_) => {}
        }
    }

    fn handle_drops(&mut self, _: Micros, total: u64) {
        panic!("{total} drops in an idle test");
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        let intended = self.next_deadline().filter(|due| *due <= now)?;
        let key = TransmitKey(self.sent);
        payload.extend_from_slice(&self.sent.to_be_bytes());
        self.sent += 1;
        self.sent_at.push(now);
        Some(Transmit { to: self.to?, key, intended, tos: 0, stamp: true })
    }

    fn next_deadline(&self) -> Option<Micros> {
        let due = self.start + self.interval * i64::try_from(self.sent).unwrap();
        (self.to.is_some() && self.sent < self.count).then_some(due)
    }

    fn is_finished(&self) -> bool {
        let over = self.echoes.len() + self.failed.len();
        self.to.is_some() && over == usize::try_from(self.count).unwrap()
    }
}

/// Sends back what it gets.
#[derive(Debug, Default)]
struct Echo {
    waiting: Vec<(SocketAddr, Vec<u8>)>,
    answered: u64,
}

impl Machine for Echo {
    fn handle_datagram(&mut self, _: Micros, arrival: &Arrival, payload: &[u8]) {
        self.waiting.push((arrival.from, payload.to_vec()));
    }

    fn handle_departure(&mut self, _: &Departure) {}

    fn handle_drops(&mut self, _: Micros, _: u64) {}

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        let (to, bytes) = self.waiting.pop()?;
        payload.extend_from_slice(&bytes);
        self.answered += 1;
        Some(Transmit { to, key: TransmitKey(self.answered), intended: now, tos: 0, stamp: false })
    }

    fn next_deadline(&self) -> Option<Micros> {
        None
    }

    fn is_finished(&self) -> bool {
        false
    }
}

fn sockets(locals: &[&str], clock: Clock, stamps: StampMode) -> Vec<Box<dyn DatagramSocket>> {
    let open = |local: &&str| {
        let options = UdpOptions { stamps, ..UdpOptions::new(local.parse().unwrap()) };
        udp::open(&options, clock).unwrap()
    };
    locals.iter().map(open).collect()
}

fn echo(locals: &[&str], clock: Clock) -> Driver<Echo> {
    let sockets = sockets(locals, clock, StampMode::Kernel);
    Driver::start(Echo::default(), sockets, clock, &DriverOptions::relaxed("echo")).unwrap()
}

#[tokio::test]
async fn every_datagram_is_sent_in_its_turn_and_answered() {
    for stamps in [StampMode::Kernel, StampMode::User] {
        let clock = Clock::start();
        let there = echo(&["127.0.0.1:0"], clock);
        let to = Some(there.status().sockets[0].local);
        let start = clock.now() + Micros::from_millis(5);
        let interval = Micros::from_millis(2);
        let pinger = Pinger { to, count: 50, interval, start, ..Pinger::default() };
        let here = sockets(&["127.0.0.1:0"], clock, stamps);
        let mut here = Driver::start(pinger, here, clock, &DriverOptions::precise("ping")).unwrap();
        let outcome = here.finished().await.unwrap();
        assert_eq!(outcome.end, End::Finished);
        let pinger = outcome.machine;
        let mut echoes = pinger.echoes.clone();
        echoes.sort_unstable();
        assert!(echoes.iter().copied().eq(0..50));
        for (seq, at) in (0..).zip(&pinger.sent_at) {
            assert!(*at >= start + interval * seq, "never before its time");
        }
        assert_eq!(pinger.handed.len(), 50);
        if stamps == StampMode::Kernel && cfg!(target_os = "linux") {
            assert_eq!(pinger.left.len(), 50);
            assert_eq!((outcome.status.stamps_asked, outcome.status.stamps_seen), (50, 50));
        }
        assert_eq!(here.finished().await.unwrap_err(), Ended, "an outcome is taken once");
        let answered = there.call(|echo, _| echo.answered).await.unwrap();
        assert_eq!(answered, 50);
        assert_eq!(there.stop().await.unwrap().end, End::Stopped);
    }
}

#[tokio::test]
async fn a_command_wakes_a_machine_that_waits_for_nothing() {
    let clock = Clock::start();
    let there = echo(&["127.0.0.1:0", "[::1]:0"], clock);
    let here = sockets(&["127.0.0.1:0", "[::1]:0"], clock, StampMode::Kernel);
    let idle = Pinger { count: 3, ..Pinger::default() };
    let mut here = Driver::start(idle, here, clock, &DriverOptions::precise("ping")).unwrap();
    // One machine over two families: the second socket carries IPv6.
    let to = there.status().sockets[1].local;
    here.post(move |pinger, now| (pinger.to, pinger.start) = (Some(to), now)).unwrap();
    let outcome = here.finished().await.unwrap();
    assert_eq!(outcome.machine.echoes.len(), 3);
    assert_eq!(here.call(|_, _| ()).await, Err(Ended));
}

#[tokio::test]
async fn a_family_without_a_socket_fails_by_datagram() {
    let clock = Clock::start();
    let to = Some("[::1]:9".parse().unwrap());
    let pinger = Pinger { to, count: 2, start: clock.now(), ..Pinger::default() };
    let here = sockets(&["127.0.0.1:0"], clock, StampMode::Kernel);
    let mut here = Driver::start(pinger, here, clock, &DriverOptions::precise("ping")).unwrap();
    let outcome = here.finished().await.unwrap();
    assert_eq!(outcome.machine.failed.len(), 2);
    assert_eq!(outcome.machine.handed.len(), 0);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_closed_port_stands_in_the_status() {
    use crate::net::udp::UnreachableKind;

    let clock = Clock::start();
    let closed = sockets(&["127.0.0.1:0"], clock, StampMode::Kernel)[0].local_addr();
    let pinger = Pinger { to: Some(closed), count: 100, start: clock.now(), ..Pinger::default() };
    let here = sockets(&["127.0.0.1:0"], clock, StampMode::Kernel);
    let here = Driver::start(pinger, here, clock, &DriverOptions::precise("ping")).unwrap();
    let seen = loop {
        // A round trip through the thread: by then it has looked at its sockets again.
        here.call(|_, _| ()).await.unwrap();
        let status = here.status();
        if status.unreachable_count > 0 {
            break status;
        }
    };
    assert!(seen.unreachable.iter().all(|error| error.kind == UnreachableKind::Port && error.to == closed));
    assert!(seen.unreachable.len() <= DriverStatus::KEPT_ERRORS);
}

#[tokio::test]
async fn a_machine_that_panics_is_told_and_takes_nothing_with_it() {
    let clock = Clock::start();
    let mut there = echo(&["127.0.0.1:0"], clock);
    there.post(|_, _| panic!("on purpose")).unwrap();
    assert_eq!(there.finished().await.unwrap_err(), Ended);
    assert_eq!(there.call(|_, _| ()).await, Err(Ended));
}

#[test]
fn a_machine_without_a_socket_is_refused() {
    let clock = Clock::start();
    let started = Driver::start(Echo::default(), Vec::new(), clock, &DriverOptions::relaxed("echo"));
    assert!(matches!(started.err(), Some(StartError::NoSocket)));
}
