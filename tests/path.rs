//! The hops on the way, through four real network namespaces: computer, two routers and host. Needs root, for the namespaces.
#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

const HOST: &str = "10.8.3.2";
const HOPS: [&str; 3] = ["10.8.1.1", "10.8.2.2", HOST];
/// Echo requests are for root's raw sockets alone.
const NO_ECHO: &str = "echo 1 0 > /proc/sys/net/ipv4/ping_group_range";
const HOPS6: [&str; 3] = ["fd08:1::1", "fd08:2::2", "fd08:3::2"];

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
    let report = lab.measure(&format!("path:[{}]", HOPS6[2]), "4");
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
    for (url, hops) in [(format!("path:{HOST}"), HOPS), (format!("path:[{}]", HOPS6[2]), HOPS6)] {
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
    for (url, hops) in [(format!("path:{HOST}"), HOPS), (format!("path:[{}]", HOPS6[2]), HOPS6)] {
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
fn delay_is_placed_where_it_is_added() {
    let lab = Lab::new("phl");
    lab.sh('r', "tc qdisc add dev r1 root netem delay 200ms");
    let report = lab.measure(&format!("path:{HOST}"), "4");
    let path = &report["targets"][0]["details"];
    assert_eq!(path["delay_begins_at_ttl"]["value"], 2, "{path:#}");
    assert!(path["delay_added_ms"]["value"].as_f64() > Some(150.0), "{path:#}");
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

/// Four namespaces in a row. Gone when dropped.
struct Lab {
    base: String,
}

impl Lab {
    fn new(base: &str) -> Self {
        let lab = Self { base: format!("{base}{}", std::process::id()) };
        for end in ['c', 'r', 'q', 'p', 's'] {
            lab.ip(&["netns", "add", &lab.name(end)]);
            lab.sh(end, "ip link set lo up; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
        }
        lab.sh('c', "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range");
        for (one, other, net) in [('c', 'r', 1), ('r', 'q', 2), ('q', 's', 3)] {
            lab.link(one, other, net);
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

    /// A link of two, with a net of this number.
    fn link(&self, one: char, other: char, net: u8) {
        // Towards the host a link is called by its net's number, from the other end 0 where that is the usual one.
        let usual = net <= 3;
        let near = if usual { format!("{one}1") } else { format!("{one}{net}") };
        let far = if usual { format!("{other}0") } else { format!("{other}{net}") };
        let (from, to) = (self.name(one), self.name(other));
        // One line tells ip which end belongs where.
        self.ip(&["link", "add", &near, "netns", &from, "type", "veth", "peer", "name", &far, "netns", &to]);
        // The computer is 2 on its net, as is whoever stands farther on the others.
        let (mine, theirs) = if one == 'c' { (2, 1) } else { (1, 2) };
        for (end, link, last) in [(one, &near, mine), (other, &far, theirs)] {
            self.sh(end, &format!("ip addr add 10.8.{net}.{last}/24 dev {link}"));
            self.sh(end, &format!("ip addr add fd08:{net}::{last}/64 dev {link} nodad"));
            self.sh(end, &format!("ip link set {link} up"));
        }
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
            "table ip t {{\n chain c {{\n type filter hook prerouting priority 0;\n }}\n}}\nadd rule ip t c {rule}\n"
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
        self.measured(&["setpriv", "--bounding-set", "-net_raw,-net_admin"], url, seconds)
    }

    fn measured(&self, through: &[&str], url: &str, seconds: &str) -> Value {
        let done = Command::new("ip")
            .args(["netns", "exec", &self.name('c')])
            .args(through)
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
        for end in ['c', 'r', 'q', 'p', 's'] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(end)]).output();
        }
    }
}
