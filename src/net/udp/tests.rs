//! Tests of the sockets over the loopback interface. None of them needs a privilege.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::proto::machine::{DepartureEvent, TransmitKey};

/// Ends a test that waits for what never comes; nothing is measured against it.
const PATIENCE: Micros = Micros::from_secs(10);
/// What two conversions of wall-clock stamps may disagree by: the offset is read to within 5 µs each time.
const CONVERSION: Micros = Micros::new(20);

fn socket(local: &str, clock: Clock) -> Box<dyn DatagramSocket> {
    open(&UdpOptions::new(local.parse().unwrap()), clock).unwrap()
}

fn transmit(to: SocketAddr, key: u64) -> Transmit {
    Transmit { to, key: TransmitKey(key), intended: Micros::ZERO, tos: 0, stamp: false }
}

/// Sends one datagram and expects the kernel to take it.
fn send(socket: &mut dyn DatagramSocket, transmit: Transmit, payload: &[u8]) -> DepartureEvent {
    let mut batch = SendBatch::default();
    batch.push(transmit, payload);
    let mut events = Vec::new();
    socket.send(&batch, &mut |departure| events.push(departure));
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].key, transmit.key);
    events[0].event
}

/// Receives until `enough` have come.
fn receive(socket: &mut dyn DatagramSocket, clock: Clock, enough: usize) -> Vec<(Micros, Arrival, Vec<u8>)> {
    let mut arrivals = Vec::new();
    let until = clock.now() + PATIENCE;
    while arrivals.len() < enough {
        assert!(clock.now() < until, "{} of {enough} arrived", arrivals.len());
        socket.wait_readable(Duration::from_millis(50)).unwrap();
        socket
            .receive(&mut |now, arrival, payload| arrivals.push((now, *arrival, payload.to_vec())))
            .unwrap();
    }
    arrivals
}

/// Reads the error queue until `enough` events have come.
fn events(socket: &mut dyn DatagramSocket, clock: Clock, enough: usize) -> Vec<SocketEvent> {
    let mut events = Vec::new();
    let until = clock.now() + PATIENCE;
    while events.len() < enough {
        assert!(clock.now() < until, "{} of {enough} events", events.len());
        socket.wait_readable(Duration::from_millis(50)).unwrap();
        socket.read_errors(&mut |event| events.push(event));
    }
    events
}

/// Sends 100 stamped datagrams, every third without a stamp, and expects each stamp at its own datagram and in its order:
/// handed over, into the queue, out of the queue, arrived, read.
pub(super) fn check_stamps(sender: &mut dyn DatagramSocket, receiver: &mut dyn DatagramSocket, clock: Clock) {
    const COUNT: u64 = 100;
    let to = receiver.local_addr();
    let mut handed = BTreeMap::new();
    let mut arrived = BTreeMap::new();
    let (mut queued, mut left) = (BTreeMap::new(), BTreeMap::new());
    for key in 0..COUNT {
        let wanted = Transmit { stamp: key % 3 != 0, ..transmit(to, key) };
        let DepartureEvent::Handed(at) = send(sender, wanted, &key.to_be_bytes()) else {
            panic!("not sent");
        };
        handed.insert(key, at);
        for (now, arrival, payload) in receive(receiver, clock, 1) {
            assert!(arrival.kernel);
            assert!(arrival.at <= now + CONVERSION, "arrived {} after it was read {now}", arrival.at);
            arrived.insert(u64::from_be_bytes(payload.try_into().unwrap()), arrival.at);
        }
    }
    let stamped: Vec<u64> = (0..COUNT).filter(|key| key % 3 != 0).collect();
    for event in events(sender, clock, stamped.len() * 2) {
        let SocketEvent::Departure(Departure { key, event }) = event else { panic!("{event:?}") };
        match event {
            DepartureEvent::Queued(at) => assert_eq!(queued.insert(key.0, at), None),
            DepartureEvent::Left(at) => assert_eq!(left.insert(key.0, at), None),
            other => panic!("{other:?}"),
        }
    }
    assert!(queued.keys().eq(&stamped) && left.keys().eq(&stamped));
    assert_eq!(arrived.len(), handed.len());
    for key in stamped {
        let points = [handed[&key], queued[&key], left[&key], arrived[&key]];
        let ordered = points.windows(2).all(|pair| pair[0] <= pair[1] + CONVERSION);
        assert!(ordered, "handed, queued, left, arrived: {points:?}");
        // Each datagram was read before the next was sent: its stamps lie before the next one's departure.
        let next = handed.get(&(key + 1)).copied().unwrap_or(Micros::MAX);
        assert!(left[&key] <= next + CONVERSION, "the stamp of another datagram: {points:?}, next {next}");
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;

    const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

    #[test]
    fn the_kernel_stamps_departures_and_arrivals() {
        for local in LOOPBACKS {
            let clock = Clock::start();
            let (mut here, mut there) = (socket(local, clock), socket(local, clock));
            check_stamps(&mut *here, &mut *there, clock);
            let kernel = StampSources { tx: StampSource::Kernel, rx: StampSource::Kernel };
            assert_eq!((here.stamp_sources(), there.stamp_sources()), (kernel, kernel));
            assert_eq!(there.clock_steps(), []);
        }
    }

    #[test]
    fn tos_and_hop_limit_are_seen_as_they_arrive() {
        for local in LOOPBACKS {
            let clock = Clock::start();
            let (mut here, mut there) = (socket(local, clock), socket(local, clock));
            // Expedited forwarding with ECT(0), then nothing: it rides on the datagram, not on the socket.
            for tos in [0xBA, 0] {
                send(&mut *here, Transmit { tos, ..transmit(there.local_addr(), 1) }, b"marked");
                let arrivals = receive(&mut *there, clock, 1);
                assert_eq!((arrivals[0].1.tos, arrivals[0].1.ttl), (Some(tos), Some(64)), "{local}");
                assert_eq!(arrivals[0].1.from, here.local_addr());
            }
        }
    }

    #[test]
    fn what_a_full_receive_queue_drops_is_counted_to_the_last() {
        let clock = Clock::start();
        let mut here = socket("127.0.0.1:0", clock);
        let small = UdpOptions { receive_buffer: 16_384, ..UdpOptions::new("127.0.0.1:0".parse().unwrap()) };
        let mut there = open(&small, clock).unwrap();
        let to = there.local_addr();
        let mut sent = 0;
        for _ in 0..50 {
            let mut batch = SendBatch::default();
            (0..SendBatch::CAPACITY).for_each(|_| batch.push(transmit(to, 0), &[7; 200]));
            here.send(&batch, &mut |departure| {
                sent += u64::from(matches!(departure.event, DepartureEvent::Handed(_)));
            });
        }
        assert_eq!(sent, 3_200);
        // The loopback interface delivers before the send returns or soon after: a last datagram behind the burst tells.
        let mut received = 0;
        let until = clock.now() + PATIENCE;
        while received + there.queue_drops().unwrap() < sent {
            assert!(clock.now() < until);
            there.wait_readable(Duration::from_millis(10)).unwrap();
            there.receive(&mut |_, _, _| received += 1).unwrap();
        }
        let drops = there.queue_drops().unwrap();
        assert!(drops > 2_000, "a queue of 16 KiB cannot hold that: {drops}");
        assert_eq!(received + drops, sent);
        assert_eq!(here.queue_drops(), Some(0));
    }

    #[test]
    fn a_closed_port_is_told_and_does_not_disturb_others() {
        for local in LOOPBACKS {
            let clock = Clock::start();
            let (mut here, mut there) = (socket(local, clock), socket(local, clock));
            let closed = socket(local, clock).local_addr();
            for key in 0..20 {
                let handed = send(&mut *here, transmit(closed, key), b"anybody?");
                assert!(matches!(handed, DepartureEvent::Handed(_)), "{handed:?}");
                // The pending error of the datagram before must not cost this one.
                let handed = send(&mut *here, transmit(there.local_addr(), key), b"hello");
                assert!(matches!(handed, DepartureEvent::Handed(_)), "{handed:?}");
            }
            assert_eq!(receive(&mut *there, clock, 20).len(), 20);
            assert_eq!(here.receive(&mut |_, _, _| panic!("nobody sends here")).unwrap(), 0);
            let event = events(&mut *here, clock, 1)[0];
            let SocketEvent::Unreachable(unreachable) = event else { panic!("{event:?}") };
            assert_eq!((unreachable.to, unreachable.kind), (closed, UnreachableKind::Port));
            assert_eq!(unreachable.from, Some(closed.ip()));
        }
    }

    #[test]
    fn a_reply_leaves_from_the_address_that_was_asked() {
        let clock = Clock::start();
        let mut server = socket("0.0.0.0:0", clock);
        let port = server.local_addr().port();
        for asked in ["127.0.0.1", "127.0.0.2", "127.9.8.7"] {
            let mut client = socket("127.0.0.1:0", clock);
            let asked = SocketAddr::new(asked.parse().unwrap(), port);
            send(&mut *client, transmit(asked, 1), b"ping");
            let from = receive(&mut *server, clock, 1)[0].1.from;
            send(&mut *server, transmit(from, 1), b"pong");
            assert_eq!(receive(&mut *client, clock, 1)[0].1.from, asked);
        }
    }

    #[test]
    fn an_unknown_interface_and_the_wrong_family_are_told() {
        let clock = Clock::start();
        let mut options = UdpOptions::new("0.0.0.0:0".parse().unwrap());
        options.interface = Some(Interface::parse("nosuchinterface"));
        assert!(matches!(open(&options, clock).err(), Some(OpenError::Interface { .. })));
        options.interface = Some(Interface::parse("::1"));
        assert!(matches!(open(&options, clock).err(), Some(OpenError::Family { .. })));
        options.interface = Some(Interface::parse("127.0.0.3"));
        let bound = open(&options, clock).unwrap().local_addr();
        assert_eq!(bound.ip(), "127.0.0.3".parse::<IpAddr>().unwrap());
    }
}

#[test]
fn a_taken_port_is_told() {
    let clock = Clock::start();
    let taken = socket("127.0.0.1:0", clock);
    let again = open(&UdpOptions::new(taken.local_addr()), clock).err();
    assert!(matches!(again, Some(OpenError::Bind { local, .. }) if local == taken.local_addr()));
}

#[test]
fn a_datagram_longer_than_any_probe_is_counted_and_thrown_away() {
    for stamps in [StampMode::Kernel, StampMode::User] {
        let clock = Clock::start();
        let mut here = socket("127.0.0.1:0", clock);
        let local = "127.0.0.1:0".parse().unwrap();
        let mut there = open(&UdpOptions { stamps, ..UdpOptions::new(local) }, clock).unwrap();
        let to = there.local_addr();
        send(&mut *here, transmit(to, 1), &[1; MAX_DATAGRAM + 1]);
        send(&mut *here, transmit(to, 2), &[2; MAX_DATAGRAM]);
        let arrivals = receive(&mut *there, clock, 1);
        assert_eq!(arrivals[0].2, [2; MAX_DATAGRAM]);
        assert_eq!(there.oversized(), 1);
    }
}

#[test]
fn without_kernel_stamps_the_program_stamps_and_says_so() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let clock = Clock::start();
        let options = UdpOptions { stamps: StampMode::User, ..UdpOptions::new(local.parse().unwrap()) };
        let (mut here, mut there) = (open(&options, clock).unwrap(), open(&options, clock).unwrap());
        assert_eq!(here.stamp_sources(), StampSources::USER);
        let before = clock.now();
        let wanted = Transmit { stamp: true, tos: 0xB8, ..transmit(there.local_addr(), 1) };
        let DepartureEvent::Handed(handed) = send(&mut *here, wanted, b"hello") else { panic!("not sent") };
        let (now, arrival, payload) = receive(&mut *there, clock, 1).remove(0);
        assert_eq!(payload, b"hello");
        assert_eq!((arrival.from, arrival.kernel, arrival.tos), (here.local_addr(), false, None));
        assert_eq!(arrival.at, now);
        assert!(before <= handed && handed <= now);
        assert_eq!(there.queue_drops(), None);
        here.read_errors(&mut |event| panic!("no such thing here: {event:?}"));
    }
}
