//! The hops on the way, through four real network namespaces: computer, two routers and host. Needs root, for the namespaces.
#![cfg(target_os = "linux")]

#[path = "support/hops.rs"]
mod hops;

use hops::{HOPS, HOPS6, HOST, HOST6, Lab, NO_ECHO};
use serde_json::Value;

#[test]
fn every_hop_shows_without_raw_sockets() {
    let lab = Lab::new("pha");
    let report = lab.measure(&format!("path:{HOST}"), "4");
    let path = &report["targets"][0]["details"];
    assert_eq!(addresses(path), HOPS, "{path:#}");
    assert_eq!(
        (&path["destination_reached"], &path["probes"]),
        (&true.into(), &"echo_requests".into()),
        "{path:#}"
    );
    assert!(path["loss_begins_at_ttl"]["value"].is_null(), "{path:#}");
}

#[test]
fn every_hop_shows_over_ipv6() {
    let lab = Lab::new("phb");
    let report = lab.measure(&format!("path:[{HOST6}]"), "4");
    let path = &report["targets"][0]["details"];
    assert_eq!(addresses(path), HOPS6, "{path:#}");
    assert_eq!(
        (&path["destination_reached"], &path["probes"]),
        (&true.into(), &"echo_requests".into()),
        "{path:#}"
    );
}

#[test]
fn every_hop_shows_by_raw_sockets() {
    let lab = Lab::new("phr");
    lab.sh('c', NO_ECHO);
    for (url, hops) in [(format!("path:{HOST}"), HOPS), (format!("path:[{HOST6}]"), HOPS6)] {
        let report = lab.measured(&[], &url, "4");
        let path = &report["targets"][0]["details"];
        assert_eq!(addresses(path), hops, "{path:#}");
        assert_eq!(path["probes"], "echo_requests", "{path:#}");
    }
}

#[test]
fn without_echo_requests_datagrams_show_the_hops_and_the_command_is_told() {
    let lab = Lab::new("phu");
    lab.sh('c', NO_ECHO);
    for (url, hops) in [(format!("path:{HOST}"), HOPS), (format!("path:[{HOST6}]"), HOPS6)] {
        let report = lab.measure(&url, "4");
        let path = &report["targets"][0]["details"];
        assert_eq!(addresses(path), hops, "{path:#}");
        assert_eq!(
            (&path["destination_reached"], &path["probes"]),
            (&true.into(), &"datagrams".into()),
            "{path:#}"
        );
        assert!(
            path["why_not_echo"].as_str().is_some_and(|why| why.contains("ping_group_range")),
            "{path:#}"
        );
    }
}

#[test]
fn a_host_that_answers_no_echo_requests_is_found_by_datagrams() {
    let lab = Lab::new("phn");
    lab.rules('s', "icmp type echo-request drop");
    let report = lab.measure(&format!("path:{HOST}"), "6");
    let path = &report["targets"][0]["details"];
    assert_eq!(addresses(path), HOPS, "{path:#}");
    assert_eq!(
        (&path["destination_reached"], &path["probes"]),
        (&true.into(), &"datagrams".into()),
        "{path:#}"
    );
    assert!(path["loss_begins_at_ttl"]["value"].is_null(), "{path:#}");
}

#[test]
fn loss_that_stays_is_placed() {
    let lab = Lab::new("phc");
    // Every third request is lost before the second router: of those that end there and of those that go on.
    for ttl in [1, 2] {
        lab.rules(
            'q',
            &format!("iifname \"q0\" icmp type echo-request ip ttl {ttl} numgen inc mod 3 1 drop"),
        );
    }
    let report = lab.measure(&format!("path:{HOST}"), "14");
    let path = &report["targets"][0]["details"];
    assert_eq!(path["loss_begins_at_ttl"]["value"], 2, "{path:#}");
    assert!(path["hops"][2]["round_trip"]["lost"].as_u64() > Some(10), "{path:#}");
}

#[test]
fn a_router_that_limits_its_answers_is_not_blamed() {
    let lab = Lab::new("phd");
    lab.rules('r', "iifname \"r0\" icmp type echo-request ip ttl 1 numgen inc mod 4 != 0 drop");
    let report = lab.measure(&format!("path:{HOST}"), "14");
    let path = &report["targets"][0]["details"];
    assert_eq!(path["hops"][0]["rate_limited"], true, "{path:#}");
    assert_eq!(path["hops"][2]["round_trip"]["lost"], 0, "{path:#}");
    assert!(path["loss_begins_at_ttl"]["value"].is_null(), "{path:#}");
}

#[test]
fn a_silent_router_is_a_gap() {
    let lab = Lab::new("phe");
    lab.rules('q', "iifname \"q0\" ip ttl 1 drop");
    let report = lab.measure(&format!("path:{HOST}"), "4");
    let path = &report["targets"][0]["details"];
    assert_eq!(path["hops"][1]["addresses"].as_array().map(Vec::len), Some(0), "{path:#}");
    assert_eq!(path["destination_reached"], true, "{path:#}");
}

#[test]
fn another_way_of_other_flows_shows() {
    let lab = Lab::new("phm");
    // A second router beside the second one, which takes the datagrams.
    lab.link('r', 'p', 4);
    lab.link('p', 's', 5);
    lab.sh('p', "ip route add default via 10.8.4.1; ip route add 10.8.3.2 via 10.8.5.2; echo 1 > /proc/sys/net/ipv4/ip_forward");
    lab.sh('r', "ip rule add ipproto udp lookup 100; ip route add default via 10.8.4.2 table 100");
    lab.sh('s', "for all in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $all; done");
    let report = lab.measure(&format!("path:{HOST}"), "4");
    let path = &report["targets"][0]["details"];
    assert_eq!(addresses(path), HOPS, "{path:#}");
    assert_eq!(path["hops"][1]["other_flows"], serde_json::json!(["10.8.4.2"]), "{path:#}");
    assert_eq!(path["hops"][0]["other_flows"], serde_json::json!([]), "{path:#}");
}

#[test]
fn a_silent_host_is_told() {
    let lab = Lab::new("phf");
    lab.rules('s', "ip protocol { udp, icmp } drop");
    let report = lab.measure(&format!("path:{HOST}"), "4");
    let path = &report["targets"][0]["details"];
    assert_eq!(addresses(path), HOPS[..2], "{path:#}");
    assert_eq!(path["destination_reached"], false, "{path:#}");
    assert!(path["loss_begins_at_ttl"]["value"].is_null(), "{path:#}");
}

#[test]
fn when_nobody_on_the_way_answers_it_is_said() {
    let lab = Lab::new("phg");
    lab.rules('r', "iifname \"r0\" drop");
    let report = lab.measure(&format!("path:{HOST}"), "2");
    let target = &report["targets"][0];
    assert!(target["details"].is_null(), "{target:#}");
    assert_eq!(target["failure"]["code"], "silent", "{target:#}");
}

fn addresses(path: &Value) -> Vec<&str> {
    let hops = path["hops"].as_array().expect("hops");
    hops.iter().map(|hop| hop["addresses"][0].as_str().expect("an address")).collect()
}
