//! The largest packet that gets to a host, through four real network namespaces of which one link carries less. Needs root, for the
//! namespaces.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/hops.rs"]
mod hops;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use hops::{HOST, HOST6, Lab, NO_ECHO};
use serde_json::Value;
use support::Respond;

/// The link between the routers carries this much.
const NARROW: u16 = 1_400;

fn narrow(lab: &Lab) {
    lab.sh('r', &format!("ip link set r1 mtu {NARROW}"));
    lab.sh('q', &format!("ip link set q0 mtu {NARROW}"));
}

/// Nobody is told that a packet was too big.
fn silence(lab: &Lab) {
    lab.rules('c', "icmp type destination-unreachable icmp code frag-needed drop");
    lab.sh('c', "nft 'table ip6 t { chain c { type filter hook prerouting priority 0; icmpv6 type packet-too-big drop; }; }'");
}

fn details(report: &Value) -> &Value {
    &report["targets"][0]["details"]
}

/// Path MTU, largest UDP payload, black hole and who said that it was too big.
fn found(report: &Value) -> (Option<u64>, Option<u64>, Option<bool>, Option<&str>) {
    let of = details(report);
    (
        of["path_mtu_bytes"]["value"].as_u64(),
        of["udp_payload_bytes"]["value"].as_u64(),
        of["black_hole"]["value"].as_bool(),
        of["too_big_from"].as_str(),
    )
}

#[test]
fn a_way_that_carries_all_that_the_link_does() {
    let lab = Lab::new("mta");
    for (url, payload) in [(format!("mtu:{HOST}"), 1_472), (format!("mtu:[{HOST6}]"), 1_452)] {
        let report = lab.measure(&url, "5");
        assert_eq!(found(&report), (Some(1_500), Some(payload), Some(false), None), "{:#}", details(&report));
        assert_eq!(details(&report)["by"], "echo_requests");
    }
}

#[test]
fn a_narrow_link_whose_router_says_so() {
    let lab = Lab::new("mtb");
    narrow(&lab);
    for (url, payload, router) in
        [(format!("mtu:{HOST}"), 1_372, "10.8.1.1"), (format!("mtu:[{HOST6}]"), 1_352, "fd08:1::1")]
    {
        let report = lab.measure(&url, "5");
        let expected = (Some(1_400), Some(payload), Some(false), Some(router));
        assert_eq!(found(&report), expected, "{:#}", details(&report));
    }
}

#[test]
fn a_narrow_link_of_which_nobody_is_told_is_a_black_hole() {
    let lab = Lab::new("mtc");
    narrow(&lab);
    silence(&lab);
    for (url, payload) in [(format!("mtu:{HOST}"), 1_372), (format!("mtu:[{HOST6}]"), 1_352)] {
        let report = lab.measure(&url, "5");
        assert_eq!(found(&report), (Some(1_400), Some(payload), Some(true), None), "{:#}", details(&report));
        assert_eq!(details(&report)["vanished_from_bytes"]["value"], 1_401);
    }
}

#[test]
fn without_echo_requests_a_closed_port_tells_and_so_does_the_command() {
    let lab = Lab::new("mtd");
    narrow(&lab);
    lab.sh('c', NO_ECHO);
    let report = lab.measure(&format!("mtu:{HOST}"), "5");
    let expected = (Some(1_400), Some(1_372), Some(false), Some("10.8.1.1"));
    assert_eq!(found(&report), expected, "{:#}", details(&report));
    let of = details(&report);
    assert_eq!(of["by"], "closed_port");
    assert!(of["why_not_echo"].as_str().is_some_and(|why| why.contains("ping_group_range")), "{of:#}");
}

#[test]
fn a_reflector_is_asked_at_its_port() {
    let lab = Lab::new("mte");
    narrow(&lab);
    silence(&lab);
    let respond = ["respond", "--listen", HOST, "--health", "off", "--plain-stamp", "stateless"];
    let endpoint = Respond::start(lab.within('s', &[], &respond));
    let report = lab.measure(&format!("mtu:{}", endpoint.stamp()), "5");
    assert_eq!(found(&report), (Some(1_400), Some(1_372), Some(true), None), "{:#}", details(&report));
    assert_eq!(details(&report)["by"], "reflector");
}

#[test]
fn a_host_that_answers_nothing_is_silent() {
    let lab = Lab::new("mtf");
    lab.rules('s', "ip protocol { udp, icmp } drop");
    let report = lab.measure(&format!("mtu:{HOST}"), "5");
    let target = &report["targets"][0];
    assert!(target["details"].is_null(), "{target:#}");
    assert_eq!(target["failure"]["code"], "silent", "{target:#}");
}

#[test]
fn a_check_says_what_a_black_hole_means() {
    let lab = Lab::new("mtg");
    narrow(&lab);
    silence(&lab);
    let check = ["check", "mtu:10.8.3.2", "--devices", "none", "--no-history", "--json", "-", "--quiet"];
    let done = lab.within('c', &[], &check).output().expect("runs");
    let report: Value = serde_json::from_slice(&done.stdout).expect("a report");
    let cause = &report["verdict"]["causes"][0];
    assert_eq!(
        (&cause["code"], &cause["state"]),
        (&"mtu_black_hole".into(), &"degraded".into()),
        "{cause:#}"
    );
}
