//! What a NAT does, by coturn with two addresses behind a router that masquerades (nftables), and by servers that do everything wrong. Needs
//! root, for the namespaces.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/hops.rs"]
mod hops;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/target.rs"]
mod target;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};

use hops::{HOST, Lab};
use serde_json::{Value, json};
use target::measure;

/// The server's other address.
const OTHER: &str = "10.8.3.3";

/// coturn on two addresses of the host. Killed when dropped.
struct Coturn {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Coturn {
    fn start(lab: &Lab, options: &[&str]) -> Self {
        lab.sh('s', &format!("ip addr add {OTHER}/24 dev s0 2>/dev/null || true"));
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &lab.name('s'), "turnserver", "-n", "--no-cli", "--log-file", "stdout"])
            .args(["--listening-ip", HOST, "--listening-ip", OTHER, "--relay-ip", HOST])
            .args(["--no-tls", "--no-dtls", "--no-auth", "--pidfile", &file("pid"), "--userdb", &file("db")])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("turnserver is installed (./dev test does that)");
        let coturn = Self { child, _folder: folder };
        // It says nowhere when it is ready.
        for _ in 0..100 {
            let asked =
                lab.within('c', &[], &["measure", &format!("stun:{OTHER}"), "--duration", "1"]).output();
            if asked.expect("runs").status.code() == Some(0) {
                return coturn;
            }
        }
        panic!("coturn does not answer");
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first router masquerades what leaves for the next.
fn masquerade(lab: &Lab, how: &str) {
    lab.sh(
        'r',
        &format!(
            "nft 'table ip n {{ chain p {{ type nat hook postrouting priority 100; oif \"r1\" masquerade {how}; }}; }}'"
        ),
    );
}

fn details(report: &Value) -> &Value {
    &report["targets"][0]["details"]
}

fn told<'a>(report: &'a Value, names: &[&str]) -> Vec<&'a Value> {
    names.iter().map(|name| &details(report)[*name]["value"]).collect()
}

const NAMES: [&str; 5] = ["nat", "mapping", "filtering", "hairpinning", "port_preserved"];

#[test]
fn without_a_nat_there_is_none() {
    let lab = Lab::new("nta");
    let _coturn = Coturn::start(&lab, &[]);
    let report = lab.measure(&format!("nat:{HOST}"), "5");
    let (filtering, none) = (json!("endpoint_independent"), Value::Null);
    assert_eq!(
        told(&report, &NAMES),
        [&json!(false), &none, &filtering, &none, &none],
        "{:#}",
        details(&report)
    );
    assert_eq!(details(&report)["other_address"]["value"], format!("{OTHER}:3479"));
}

#[test]
fn a_plain_masquerade_keeps_ports_and_filters_all() {
    let lab = Lab::new("ntb");
    let _coturn = Coturn::start(&lab, &[]);
    masquerade(&lab, "");
    let report = lab.measure(&format!("nat:{HOST}"), "5");
    let (yes, no) = (json!(true), json!(false));
    let (eim, apdf) = (json!("endpoint_independent"), json!("address_and_port_dependent"));
    assert_eq!(told(&report, &NAMES), [&yes, &eim, &apdf, &no, &yes], "{:#}", details(&report));
    let lifetime = &details(&report)["binding_lifetime_s"];
    assert!(lifetime["reason"].as_str().is_some_and(|why| why.contains("--duration")), "{lifetime}");
}

#[test]
fn a_random_masquerade_is_symmetric_which_a_check_notes() {
    let lab = Lab::new("ntc");
    let _coturn = Coturn::start(&lab, &[]);
    masquerade(&lab, "random,fully-random");
    let url = format!("nat:{HOST}");
    let report = lab.measure(&url, "5");
    let (apd, no) = (json!("address_and_port_dependent"), json!(false));
    assert_eq!(told(&report, &NAMES), [&json!(true), &apd, &apd, &no, &no], "{:#}", details(&report));
    let check = ["check", &url, "--devices", "none", "--no-history", "--json", "-", "--quiet"];
    let done = lab.within('c', &[], &check).output().expect("runs");
    let report: Value = serde_json::from_slice(&done.stdout).expect("a report");
    let cause = &report["verdict"]["causes"][0];
    let expected = ["nat_symmetric", "ready", "local_network"];
    assert_eq!([&cause["code"], &cause["state"], &cause["place"]], expected, "{cause:#}");
}

#[test]
fn a_mapping_is_found_to_last_as_long_as_it_does() {
    let lab = Lab::new("ntd");
    let _coturn = Coturn::start(&lab, &[]);
    masquerade(&lab, "");
    // One that was answered counts as replied, and as a stream only with more packets than a question and its answer.
    for kind in ["", "_stream"] {
        lab.sh('r', &format!("echo 8 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout{kind}"));
    }
    let report = lab.measure(&format!("nat:{HOST}"), "20");
    let life = &details(&report)["binding_lifetime_s"];
    assert_eq!((&life["at_least"], &life["less_than"]), (&json!(5), &json!(10)), "{life:#}");
}

#[test]
fn two_servers_of_one_address_compare_mappings_alone() {
    let lab = Lab::new("nte");
    let _coturn = Coturn::start(&lab, &["--no-rfc5780"]);
    masquerade(&lab, "random,fully-random");
    let one = lab.measure(&format!("nat:{HOST}"), "5");
    let reason = |name: &str| details(&one)[name]["reason"].as_str().unwrap_or_default().to_owned();
    for name in ["mapping", "filtering"] {
        assert!(reason(name).contains("no other address"), "{:#}", details(&one));
    }
    let two = lab.measure(&format!("nat:{HOST},{OTHER}"), "5");
    assert_eq!(details(&two)["mapping"]["value"], "dependent", "{:#}", details(&two));
    assert!(details(&two)["filtering"]["value"].is_null());
}

/// A server that sends back what `says` makes of each request, from where it listens or, if that is wanted, from elsewhere.
fn server(elsewhere: bool, says: fn(&[u8], SocketAddr) -> Vec<u8>) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut octets = [0; 1_500];
        while let Ok((len, from)) = socket.recv_from(&mut octets) {
            let own = if elsewhere { &other } else { &socket };
            let _ = own.send_to(&says(&octets[..len], from), from);
        }
    });
    at
}

/// A Binding success with XOR-less MAPPED-ADDRESS alone.
fn success(request: &[u8], from: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(from) = from else { panic!("IPv4") };
    let mut octets = vec![1, 1, 0, 12];
    octets.extend(&request[4..20]);
    octets.extend([0, 1, 0, 8, 0, 1]);
    octets.extend(from.port().to_be_bytes());
    octets.extend(from.ip().octets());
    octets
}

#[test]
fn servers_that_are_wrong_are_told_by_what_is_wrong_with_them() {
    let plain = measure(&format!("nat:{}", server(false, success)));
    assert_eq!(plain.code, Some(0), "{plain:?}");
    assert!(
        plain.details()["filtering"]["reason"].as_str().is_some_and(|why| why.contains("no other address"))
    );
    assert!(plain.shown().contains("A NAT in between"));
    let elsewhere = measure(&format!("nat:{}", server(true, success)));
    assert_eq!((elsewhere.code, elsewhere.failure()), (Some(69), "answers_from_elsewhere"), "{elsewhere:?}");
    let garbage = measure(&format!("nat:{}", server(false, |_, _| b"hello".to_vec())));
    assert_eq!((garbage.code, garbage.failure()), (Some(69), "wrong_protocol"), "{garbage:?}");
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let silence = measure(&format!("nat:{}", silent.local_addr().expect("bound")));
    assert_eq!((silence.code, silence.failure()), (Some(69), "silent"), "{silence:?}");
}
