//! The link in real time. Needs root and TUN; fails without. Runs alone: see `.config/nextest.toml`.

use std::time::Duration;

use greenroom_netlab::lab::{Lab, LabError, VOID_ABOVE, one_way};
use greenroom_netlab::link::DropReason;
use greenroom_netlab::scenario::Scenario;
use greenroom_netlab::truth::{PacketTruth, Truth};
use greenroom_reports::trace::Direction;

const SEED: u64 = 20_261_122;
const GAP: Duration = Duration::from_millis(5);
const LINGER: Duration = Duration::from_millis(400);

fn probe(packet: &PacketTruth) -> bool {
    packet.has_port(one_way::PORT)
}

/// Sends `count` packets upward through a link and tells what the kernel saw and what the link did.
fn run(scenario: &Scenario, count: u32) -> (Vec<one_way::OneWay>, Vec<u32>, Truth) {
    println!("{} seed {SEED}", scenario.name);
    let lab = Lab::start(scenario, SEED).expect("the lab needs root and TUN");
    let (packets, order) = one_way::send(&lab, count, GAP, LINGER).expect("packets can be sent");
    let truth = match lab.finish() {
        Ok(truth) => truth,
        Err(LabError::Late { p99, truth }) => {
            println!("void for timing: the link was {p99:?} late (p99); its counts hold all the same");
            *truth
        }
        Err(error) => panic!("{error}"),
    };
    (packets, order, truth)
}

/// Holds every packet that was seen against the truth, one by one.
fn assert_every_packet_is_told(packets: &[one_way::OneWay], truth: &Truth) {
    let told: Vec<_> = truth.up.iter().filter(|packet| probe(packet)).collect();
    assert_eq!(told.len(), packets.len(), "the link saw every packet that was sent");
    for (seq, (seen, told)) in packets.iter().zip(told).enumerate() {
        assert_eq!(told.seq, u32::try_from(seq).ok());
        let copies = match told.fate {
            greenroom_netlab::truth::LinkFate::Delivered { again, .. } => 1 + usize::from(again.is_some()),
            _ => 0,
        };
        assert_eq!(seen.received.len(), copies, "packet {seq}: {:?}", told.fate);
    }
}

#[test]
fn counts_of_loss_and_duplicates_are_the_kernels() {
    let scenario = Scenario::named("dup_and_loss").expect("comes with the lab");
    let (packets, _, truth) = run(&scenario, 400);
    assert_every_packet_is_told(&packets, &truth);
    let counts = truth.counts(Direction::Up, probe);
    assert!(counts.lost() > 0 && counts.duplicated > 0, "{counts:?}");
}

#[test]
fn order_of_arrival_is_the_truths() {
    let scenario = Scenario::named("reordering").expect("comes with the lab");
    let (packets, order, truth) = run(&scenario, 400);
    assert_every_packet_is_told(&packets, &truth);
    let mut next = 0;
    let mut reordered = 0;
    for seq in order {
        if seq < next {
            reordered += 1;
        } else {
            next = seq + 1;
        }
    }
    assert!(reordered > 0);
    assert_eq!(truth.counts(Direction::Up, probe).reordered, reordered);
}

#[test]
fn tail_loss_takes_the_last_packets_only() {
    let scenario = Scenario::named("tail_loss").expect("comes with the lab");
    let (packets, _, truth) = run(&scenario, 300);
    assert_every_packet_is_told(&packets, &truth);
    assert!(packets[..270].iter().all(|packet| packet.received.len() == 1));
    assert!(packets[270..].iter().all(|packet| packet.received.is_empty()));
    assert_eq!(truth.counts(Direction::Up, probe).dropped[&DropReason::Targeted], 30);
}

#[test]
fn the_delay_given_is_the_delay_seen_idle_and_busy() {
    for name in ["clean", "cpu_saturated"] {
        let scenario = Scenario::named(name).expect("comes with the lab");
        let (packets, _, truth) = run(&scenario, 400);
        assert_every_packet_is_told(&packets, &truth);
        let mut added: Vec<_> = packets
            .iter()
            .zip(truth.delays(Direction::Up, probe))
            .map(|(seen, told)| seen.received[0] - seen.sent.expect("the kernel stamps departures") - told)
            .collect();
        added.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| added[(added.len() * percent).div_ceil(100) - 1]);
        println!("{name}: unseen by the truth p50 {p50:?} p99 {p99:?}; lateness {:?}", truth.lateness);
        assert!(p50 < VOID_ABOVE, "half the packets hide at most 0.2 ms from the truth: {p50:?}");
    }
}

#[test]
fn commands_run_at_the_end_they_were_asked_for() {
    let scenario = Scenario::named("perfect").expect("comes with the lab");
    let lab = Lab::start(&scenario, SEED).expect("the lab needs root and TUN");
    for (side, own, other) in
        [(lab.here(), "10.203.0.1", "10.203.0.2"), (lab.there(), "10.203.0.2", "10.203.0.1")]
    {
        let output = side.command("ip").args(["-o", "address"]).output().expect("ip runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(own) && !said.contains(other), "{said}");
    }
}

#[test]
fn namespaces_are_gone_when_the_lab_is() {
    let scenario = Scenario::named("perfect").expect("comes with the lab");
    let lab = Lab::start(&scenario, SEED).expect("the lab needs root and TUN");
    let paths = [lab.here(), lab.there()].map(|side| format!("/run/netns/{}", side.name()));
    assert!(paths.iter().all(|path| std::path::Path::new(path).exists()));
    drop(lab);
    assert!(paths.iter().all(|path| !std::path::Path::new(path).exists()));
}
