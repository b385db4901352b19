//! The hops on the way, through four real network namespaces: computer, two routers and host. Needs root, for the namespaces.
#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

const HOST: &str = "10.8.3.2";
const HOPS: [&str; 3] = ["10.8.1.1", "10.8.2.2", HOST];
const HOPS6: [&str; 3] = ["fd08:1::1", "fd08:2::2", "fd08:3::2"];

#[test]
fn every_hop_shows_without_any_privilege() {
    let lab = Lab::new("pha");
    let report = lab.measure(&format!("path:{HOST}"), "4");
    let path = &report["targets"][0]["details"];
    assert_eq!(addresses(path), HOPS, "{path:#}");
    assert_eq!(path["destination_reached"], true, "{path:#}");
    assert!(path["loss_begins_at_ttl"]["value"].is_null(), "{path:#}");
}

#[test]
fn every_hop_shows_over_ipv6() {
    let lab = Lab::new("phb");
    let report = lab.measure(&format!("path:[{}]", HOPS6[2]), "4");
    let path = &report["targets"][0]["details"];
    assert_eq!(addresses(path), HOPS6, "{path:#}");
    assert_eq!(path["destination_reached"], true, "{path:#}");
}

#[test]
fn loss_that_stays_is_placed() {
    let lab = Lab::new("phc");
    // Every third probe is lost before the second router.
    lab.rules('q', "iifname \"q0\" ip protocol udp numgen inc mod 3 0 drop");
    let report = lab.measure(&format!("path:{HOST}"), "10");
    let path = &report["targets"][0]["details"];
    assert_eq!(path["loss_begins_at_ttl"]["value"], 2, "{path:#}");
    assert!(path["hops"][2]["round_trip"]["lost"].as_u64() > Some(10), "{path:#}");
}

#[test]
fn a_router_that_limits_its_answers_is_not_blamed() {
    let lab = Lab::new("phd");
    lab.rules('r', "iifname \"r0\" ip ttl 1 numgen inc mod 2 0 drop");
    let report = lab.measure(&format!("path:{HOST}"), "10");
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
fn a_silent_host_is_told() {
    let lab = Lab::new("phf");
    lab.rules('s', "ip protocol udp drop");
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

/// Four namespaces in a row. Gone when dropped.
struct Lab {
    base: String,
}

impl Lab {
    fn new(base: &str) -> Self {
        let lab = Self { base: format!("{base}{}", std::process::id()) };
        for end in ['c', 'r', 'q', 's'] {
            lab.ip(&["netns", "add", &lab.name(end)]);
            lab.sh(end, "ip link set lo up; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
            // The kernel limits its errors by itself, and the tests say when: not to be mistaken for loss.
            let limits =
                "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit";
            lab.sh(end, limits);
        }
        for (one, other, net) in [('c', 'r', 1), ('r', 'q', 2), ('q', 's', 3)] {
            // Towards the host a link is called 1, from the other end 0.
            let (near, far) = (format!("{one}1"), format!("{other}0"));
            let (from, to) = (lab.name(one), lab.name(other));
            lab.ip(&[
                "link", "add", &near, "netns", &from, "type", "veth", "peer", "name", &far, "netns", &to,
            ]);
            // The computer is 2 on its net, as is whoever stands farther on the others.
            let (mine, theirs) = if one == 'c' { (2, 1) } else { (1, 2) };
            for (end, link, last) in [(one, &near, mine), (other, &far, theirs)] {
                lab.sh(end, &format!("ip addr add 10.8.{net}.{last}/24 dev {link}"));
                lab.sh(end, &format!("ip addr add fd08:{net}::{last}/64 dev {link} nodad"));
                lab.sh(end, &format!("ip link set {link} up"));
            }
        }
        for (end, v4, v6) in [
            ('c', "10.8.1.1", "fd08:1::1"),
            ('r', "10.8.2.2", "fd08:2::2"),
            ('q', "10.8.2.1", "fd08:2::1"),
            ('s', "10.8.3.1", "fd08:3::1"),
        ] {
            lab.sh(end, &format!("ip route add default via {v4}; ip -6 route add default via {v6}"));
        }
        for end in ['r', 'q'] {
            lab.sh(end, "echo 1 > /proc/sys/net/ipv4/ip_forward");
            lab.sh(end, "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        }
        lab
    }

    fn name(&self, end: char) -> String {
        format!("{}{end}", self.base)
    }

    fn ip(&self, words: &[&str]) {
        let done = Command::new("ip").args(words).output().expect("iproute2");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "ip {words:?} (namespaces need root): {said}");
    }

    fn sh(&self, end: char, line: &str) {
        self.ip(&["netns", "exec", &self.name(end), "sh", "-ec", line]);
    }

    /// What happens to packets as they come in.
    fn rules(&self, end: char, rule: &str) {
        let rules = format!(
            "table ip t {{\n chain c {{\n type filter hook prerouting priority 0;\n {rule}\n }}\n}}\n"
        );
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.name(end), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nftables");
        nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("taken");
        assert!(nft.wait().expect("ends").success());
    }

    /// Measures from the computer, without the right to raw sockets.
    fn measure(&self, url: &str, seconds: &str) -> Value {
        let done = Command::new("ip")
            .args(["netns", "exec", &self.name('c'), "setpriv", "--bounding-set", "-net_raw,-net_admin"])
            .arg(env!("CARGO_BIN_EXE_greenroom"))
            .args(["measure", url, "--duration", seconds, "--json", "-", "--quiet"])
            .env("HOME", "/nonexistent")
            .env("GREENROOM_DEVICES", "none")
            .output()
            .expect("runs");
        serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|error| panic!("no report ({error}): {}", String::from_utf8_lossy(&done.stderr)))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for end in ['c', 'r', 'q', 's'] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(end)]).output();
        }
    }
}
