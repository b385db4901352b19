use std::net::Ipv4Addr;

use super::*;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
const TOKEN: [u8; 6] = [7; 6];
const ECHO: Kind = Kind::Echo { carrier: Carrier::Raw, identifier: 0x1234 };

fn router(ttl: u8) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, ttl).into()
}

fn tracer(kind: Kind) -> Tracer {
    Tracer::new(HOST, kind, TOKEN, Micros::from_secs(3))
}

fn answer(at: i64, from: IpAddr, said: Said, quoted: &[u8]) -> Answer<'_> {
    Answer { at: Micros::from_millis(at), from, said, quoted, extension: &[], to_echo: false }
}

/// Three hops, of which `said` is what the third says; every probe is answered after 10 ms.
fn traced(kind: Kind, ticks: i64, end: impl Fn(&Probe) -> Option<Said>) -> (Tracer, Vec<(u8, u8)>) {
    let (mut tracer, mut order) = (tracer(kind), Vec::new());
    for tick in 0..ticks {
        let Some(probe) = tracer.next(Micros::from_millis(50 * tick)) else { continue };
        order.push((probe.ttl, probe.flow));
        let (from, said) = match probe.ttl {
            3.. => (HOST, end(&probe)),
            ttl => (router(ttl), Some(Said::Expired)),
        };
        let to_echo = probe.flow == 0 && kind != Kind::Datagrams;
        if let Some(said) = said {
            tracer.take(&Answer { to_echo, ..answer(50 * tick + 10, from, said, &probe.octets) });
        }
    }
    (tracer, order)
}

#[test]
fn each_hop_is_found_then_other_flows_then_routers_rest_a_second() {
    let (tracer, order) =
        traced(ECHO, 200, |probe| Some(if probe.flow == 0 { Said::Reply } else { Said::PortUnreachable }));
    assert_eq!(&order[..6], [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1)]);
    let hops = tracer.hops();
    let asked: Vec<usize> = hops.iter().map(|(_, _, all)| all.len()).collect();
    assert!(asked[0] <= 11 && asked[1] <= 11 && asked[2] > 100, "{asked:?}");
    assert!(hops[2].1.is_destination());
    assert_eq!((hops[1].1.addresses.as_slice(), hops[1].1.others.len()), ([router(2)].as_slice(), 0));
}

#[test]
fn hosts_rest_as_well_where_only_their_errors_tell() {
    let (tracer, _) = traced(Kind::Datagrams, 200, |_| Some(Said::PortUnreachable));
    let asked: Vec<usize> = tracer.hops().iter().map(|(_, _, all)| all.len()).collect();
    assert!(asked.iter().all(|n| *n <= 11), "{asked:?}");
}

#[test]
fn who_answers_datagrams_alone_is_measured_by_them() {
    let (tracer, _) = traced(ECHO, 200, |probe| (probe.flow > 0).then_some(Said::PortUnreachable));
    assert!(tracer.is_deaf_to_echo());
    let hops = tracer.hops();
    assert_eq!((hops.len(), hops[2].1.addresses.as_slice()), (3, [HOST].as_slice()));
    let lost = hops[2].2.iter().filter(|one| !matches!(one, Exchange::Answered { .. })).count();
    assert_eq!(lost, 0, "{:?}", hops[2].2);
}

#[test]
fn other_flows_show_other_ways() {
    let mut tracer = tracer(Kind::Datagrams);
    for tick in 0..40 {
        let Some(probe) = tracer.next(Micros::from_millis(50 * tick)) else { continue };
        let from = match (probe.ttl, probe.flow) {
            (1, _) => router(1),
            (2, 0 | 2 | 5) => router(2),
            (2, _) => router(102),
            _ => HOST,
        };
        let said = if probe.ttl >= 3 { Said::PortUnreachable } else { Said::Expired };
        tracer.take(&answer(50 * tick + 10, from, said, &probe.octets));
    }
    let hops = tracer.hops();
    assert_eq!((&hops[1].1.addresses, &hops[1].1.others), (&vec![router(2)], &vec![router(102)]));
    assert!(hops[0].1.others.is_empty() && hops[2].1.others.is_empty());
}

#[test]
fn all_probes_of_a_flow_have_one_checksum() {
    let mut tracer = tracer(ECHO);
    let sums: Vec<[u8; 2]> = (0..5_u8)
        .filter_map(|tick| {
            let octets = tracer.next(Micros::from_millis(50 * i64::from(tick)))?.octets;
            Some([octets[2], octets[3]])
        })
        .collect();
    assert_eq!(sums.len(), 5);
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
}

#[test]
fn nothing_is_looked_for_far_beyond_what_answers() {
    let mut tracer = tracer(ECHO);
    let farthest = (0..100).filter_map(|turn| Some(tracer.next(Micros::from_millis(50 * turn))?.ttl)).max();
    assert_eq!(farthest, Some(BEYOND));
    assert!(tracer.hops().is_empty());
}

#[test]
fn who_quotes_too_little_counts_where_one_probe_can_be_meant() {
    let mut datagrams = tracer(Kind::Datagrams);
    datagrams.next(Micros::ZERO).expect("the first");
    datagrams.take(&answer(5, router(1), Said::Expired, &[]));
    assert_eq!(datagrams.hops()[0].1.addresses, [router(1)]);
    // Two are awaited and this router is new: nobody knows.
    datagrams.next(Micros::from_millis(50)).expect("the second");
    datagrams.next(Micros::from_millis(100)).expect("the third");
    datagrams.take(&answer(110, router(2), Said::Expired, &[]));
    assert_eq!((datagrams.unattributed(), datagrams.hops().len()), (1, 1));
    // An echo request has its number within those octets.
    let mut echo = tracer(ECHO);
    echo.next(Micros::ZERO).expect("the first");
    let second = echo.next(Micros::from_millis(50)).expect("the second");
    echo.take(&Answer { to_echo: true, ..answer(60, router(2), Said::Expired, &second.octets[..8]) });
    assert_eq!(echo.hops()[1].1.addresses, [router(2)]);
}

#[test]
fn forged_and_repeated_answers_change_nothing() {
    let mut tracer = tracer(Kind::Datagrams);
    let octets = tracer.next(Micros::ZERO).expect("the first").octets;
    for (at, other) in [(0, 0), (12, 0xff), (6, 200), (7, 1)] {
        let mut forged = octets.clone();
        forged[at] = other;
        tracer.take(&answer(1, router(9), Said::PortUnreachable, &forged));
    }
    tracer.take(&Answer { to_echo: true, ..answer(1, router(9), Said::Reply, &octets) });
    assert!(tracer.hops().is_empty());
    tracer.take(&answer(5, router(1), Said::Expired, &octets));
    tracer.take(&answer(9, router(8), Said::PortUnreachable, &octets));
    let hops = tracer.hops();
    assert_eq!((hops[0].1.addresses.len(), hops[0].1.is_destination()), (1, false));
    assert_eq!(tracer.unattributed(), 5);
}

#[test]
fn what_waits_too_long_is_lost() {
    let mut tracer = tracer(Kind::Datagrams);
    let octets = tracer.next(Micros::ZERO).expect("the first").octets;
    tracer.give_up(Micros::from_millis(2_999));
    assert!(tracer.is_waiting());
    tracer.give_up(Micros::from_secs(3));
    assert!(!tracer.is_waiting());
    tracer.take(&answer(3_100, router(1), Said::Expired, &octets));
    assert!(tracer.hops().is_empty());
}

#[test]
fn label_stacks_are_read_and_damaged_ones_are_not() {
    let extension = [0x20, 0, 0, 0, 0, 12, 1, 1, 0x00, 0x01, 0x0a, 0x01, 0x00, 0x02, 0x0b, 0xff];
    let read = labels(&extension);
    assert_eq!(read, [Label { label: 16, class: 5, ttl: 1 }, Label { label: 32, class: 5, ttl: 255 }]);
    for length in 0..extension.len() {
        assert!(labels(&extension[..length]).is_empty(), "{length}");
    }
    // Lengths of nothing and of more than there is end it.
    assert!(labels(&[0x20, 0, 0, 0, 0, 0, 2, 1]).is_empty());
    assert!(labels(&[0x20, 0, 0, 0, 0xff, 0xff, 1, 1]).is_empty());
    assert!(labels(&[0x10, 0, 0, 0, 0, 8, 1, 1, 0, 1, 10, 1]).is_empty());
}
