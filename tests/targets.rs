//! What is no Greenroom endpoint, measured by the program: real servers and such that do everything wrong.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use greenroom::proto::stun::{Message, TransactionId, write_binding_request};
use serde_json::Value;
use support::{Respond, greenroom};

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// How a measurement of one second ended.
#[derive(Debug)]
struct Measured {
    code: Option<i32>,
    report: Value,
}

impl Measured {
    fn target(&self) -> &Value {
        &self.report["targets"][0]
    }

    fn details(&self) -> &Value {
        &self.target()["details"]
    }

    /// The failure's code; empty without one.
    fn failure(&self) -> &str {
        self.target()["failure"]["code"].as_str().unwrap_or_default()
    }
}

fn measure(url: &str) -> Measured {
    measured(greenroom(["measure", url, "--duration", "1s", "--json", "-"]))
}

fn measured(mut command: Command) -> Measured {
    let output = command.output().expect("the binary runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    Measured { code: output.status.code(), report }
}

/// A coturn that speaks STUN. Killed when dropped.
struct Coturn {
    child: Child,
    at: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Coturn {
    fn start(ip: IpAddr) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let port = UdpSocket::bind((ip, 0)).and_then(|socket| socket.local_addr()).expect("a port").port();
        let child = Command::new("turnserver")
            .args([
                "-n",
                "--stun-only",
                "--no-tcp",
                "--no-tls",
                "--no-dtls",
                "--no-cli",
                "--log-file",
                "stdout",
            ])
            .args(["--listening-ip", &ip.to_string(), "--listening-port", &port.to_string()])
            .args(["--pidfile", &file("pid"), "--userdb", &file("db")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver is installed (./dev test does that)");
        let coturn = Self { child, at: SocketAddr::new(ip, port), _folder: folder };
        coturn.wait();
        coturn
    }

    /// Asks until it answers: it says nowhere when it is ready.
    fn wait(&self) {
        let socket = UdpSocket::bind((self.at.ip(), 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
        let (mut request, mut answer) = (Vec::new(), [0; 1_500]);
        for attempt in 0..100 {
            write_binding_request(TransactionId([attempt; 12]), &mut request);
            // Not connected: what is refused until it listens is a time-out here.
            let _ = socket.send_to(&request, self.at);
            if socket.recv(&mut answer).is_ok() {
                return;
            }
        }
        panic!("coturn does not answer on {}", self.at);
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on IPv4 that sends what `answer` makes of each request back, from itself or from another socket, until nothing has
/// come for a minute.
fn server(answer: impl Fn(&[u8], SocketAddr, &UdpSocket) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    let at = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut request = [0; 1_500];
        while let Ok((len, from)) = socket.recv_from(&mut request) {
            answer(&request[..len], from, &socket);
        }
    });
    at
}

/// A success that says where the request came from (RFC 8489 section 14.2, IPv4), from this port.
fn success(request: &[u8], port: u16) -> Vec<u8> {
    let id = Message::parse(request).expect("a Binding request").id;
    let mut answer = vec![1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
    answer.extend(id.0);
    answer.extend([0, 0x20, 0, 8, 0, 1]);
    answer.extend((port ^ 0x2112).to_be_bytes());
    answer.extend((0x7f00_0001_u32 ^ 0x2112_a442).to_be_bytes());
    answer
}

#[test]
fn coturn_answers_every_question() {
    for ip in LOOPBACKS {
        let coturn = Coturn::start(ip);
        let found = measure(&format!("stun:{}", coturn.at));
        assert_eq!(found.code, Some(0), "{found:?}");
        let (target, details) = (found.target(), found.details());
        assert_eq!((&target["kind"], &details["of"]), (&"stun".into(), &"stun".into()));
        assert_eq!(target["state"]["address"], coturn.at.to_string());
        let trips = &details["round_trip"];
        for (name, n) in [("planned", 20), ("sent", 20), ("answered", 20), ("lost", 0), ("awaited", 0)] {
            assert_eq!(trips[name], n, "{ip} {name}: {trips}");
        }
        assert_eq!((&trips["rtt_ms"]["state"], &trips["rtt_ms"]["n"]), (&"measured".into(), &20.into()));
        let most = trips["rtt_ms"]["max"].as_f64().expect("a time");
        assert!((0.0..1_000.0).contains(&most), "{trips}");
        assert_eq!(trips["loss_ratio"]["value"], 0.0);
        assert_eq!(trips["jitter_rfc3550_ms"]["n"], 20);
        assert_eq!(
            (&trips["stamped_by"], &target["timestamps"]["here"]),
            (&"kernel".into(), &"kernel".into())
        );
        let seen: SocketAddr = details["reflexive_address"]["value"]
            .as_str()
            .and_then(|at| at.parse().ok())
            .expect("an address");
        assert_eq!(seen.ip(), ip);
        assert_eq!(details["reflexive_address_changed"]["value"], false);
        assert!(
            details["software"]["value"].as_str().is_some_and(|name| name.contains("Coturn")),
            "{details}"
        );
        assert_eq!(found.report["verdict"]["overall"], "not_tested");
        for (use_, judged) in found.report["verdict"]["uses"].as_object().expect("uses") {
            assert_eq!(judged["state"], "not_tested", "{use_}");
            assert!(
                judged["reason"].as_str().is_some_and(|why| why.contains("carries no media")),
                "{judged}"
            );
        }
    }
}

#[test]
fn a_report_on_a_stun_server_is_valid_and_can_be_shown() {
    let at = server(|request, from, socket| {
        let _ = socket.send_to(&success(request, from.port()), from);
    });
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (json, html) = (folder.path().join("r.json"), folder.path().join("r.html"));
    let run = greenroom(["measure", &format!("stun:{at}"), "--duration", "1s", "--json"])
        .arg(&json)
        .arg("--html")
        .arg(&html)
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&run.stdout);
    for words in ["Round trip, median", "Lost, there or back", "Your address as seen there"] {
        assert!(text.contains(words), "{words}: {text}");
        assert!(std::fs::read_to_string(&html).expect("written").contains(words), "{words}");
    }
    let valid = greenroom(["report", "validate"]).arg(&json).output().expect("the binary runs");
    assert_eq!(valid.status.code(), Some(0), "{}", String::from_utf8_lossy(&valid.stdout));
    let shown = greenroom(["report", "show"]).arg(&json).output().expect("the binary runs");
    assert_eq!(String::from_utf8_lossy(&shown.stdout), text);
}

#[test]
fn loss_is_not_hidden_by_asking_again() {
    let asked = std::sync::atomic::AtomicU32::new(0);
    let at = server(move |request, from, socket| {
        if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 5 != 2 {
            let _ = socket.send_to(&success(request, from.port()), from);
        }
    });
    let found = measure(&format!("stun:{at}"));
    let trips = &found.details()["round_trip"];
    assert_eq!((&trips["sent"], &trips["answered"], &trips["lost"]), (&20.into(), &16.into(), &4.into()));
    assert_eq!(trips["loss_ratio"]["value"], 0.2);
    assert_eq!(found.code, Some(0));
}

#[test]
fn a_mapping_that_changes_is_told() {
    let asked = std::sync::atomic::AtomicU16::new(0);
    let at = server(move |request, from, socket| {
        let port = 1_000 + asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) / 10;
        let _ = socket.send_to(&success(request, port), from);
    });
    let found = measure(&format!("stun:{at}"));
    assert_eq!(found.details()["reflexive_address"]["value"], "127.0.0.1:1000");
    assert_eq!(found.details()["reflexive_address_changed"]["value"], true);
}

#[test]
fn a_stamp_reflector_is_measured_like_an_endpoint() {
    for ip in LOOPBACKS {
        for mode in ["stateful", "stateless"] {
            let endpoint = Respond::on(&SocketAddr::new(ip, 0).to_string(), &["--plain-stamp", mode]);
            let found = measure(&format!("stamp:{}", endpoint.stamp()));
            assert_eq!(found.code, Some(0), "{found:?}");
            let (target, details) = (found.target(), found.details());
            assert_eq!((&target["kind"], &details["of"]), (&"stamp".into(), &"stamp".into()));
            let trips = &details["round_trip"];
            for (name, n) in [("planned", 50), ("sent", 50), ("answered", 50), ("lost", 0)] {
                assert_eq!(trips[name], n, "{ip} {mode} {name}: {trips}");
            }
            assert_eq!(details["extensions"]["value"], true);
            assert_eq!(details["received_dscp"]["value"], 0);
            assert_eq!(details["ignored_packets"], 0);
            assert_eq!(target["rtt_ms"]["n"], 50, "computed from the samples: {target}");
            let folder = tempfile::tempdir().expect("a temporary directory");
            let file = folder.path().join("r.json");
            std::fs::write(&file, found.report.to_string()).expect("writable");
            let valid = greenroom(["report", "validate"]).arg(&file).output().expect("the binary runs");
            let told = String::from_utf8_lossy(&valid.stdout);
            assert!(told.contains("valid, and its figures follow from its samples"), "{told}");
        }
    }
}

#[test]
fn what_is_no_stamp_reflector_says_why() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port");
    let garbage = server(|_, from, socket| {
        let _ = socket.send_to(b"no", from);
    });
    for (at, code) in [
        (silent.local_addr().expect("bound"), "silent"),
        (closed, "port_closed"),
        (garbage, "wrong_protocol"),
    ] {
        let found = measure(&format!("stamp:{at}"));
        assert_eq!((found.failure(), found.code), (code, Some(69)), "{found:?}");
    }
}

#[test]
fn what_does_not_answer_says_why() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port");
    let garbage = server(|_, from, socket| {
        let _ = socket.send_to(b"HTTP/1.1 400 Bad Request\r\n\r\n", from);
    });
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let strange = stranger.local_addr().expect("bound");
    let elsewhere = server(move |request, from, _| {
        let _ = stranger.send_to(&success(request, from.port()), from);
    });
    let table = [
        (silent.local_addr().expect("bound"), "silent", "endpoint_unreachable"),
        (closed, "port_closed", "endpoint_refused"),
        (garbage, "wrong_protocol", "wrong_protocol"),
        (elsewhere, "answers_from_elsewhere", "answers_from_elsewhere"),
    ];
    for (at, failure, cause) in table {
        let found = measure(&format!("stun:{at}"));
        assert_eq!((found.failure(), found.code), (failure, Some(69)), "{found:?}");
        let verdict = &found.report["verdict"];
        assert_eq!(verdict["causes"][0]["code"], cause);
        assert_eq!(verdict["say"], verdict["causes"][0]["say"], "what went wrong is what is said");
        assert!(verdict["say"].as_str().is_some_and(|say| say.contains(&at.to_string())), "{verdict}");
        assert_eq!(found.target()["state"]["state"], "failed");
    }
    let found = measure(&format!("stun:{elsewhere}"));
    assert_eq!(found.target()["failure"]["from"], strange.to_string());
    assert_eq!(measure("stun:nowhere.invalid").failure(), "unknown_host");
}

#[test]
fn without_a_network_there_is_no_route() {
    let script = r#""$G" measure stun:192.0.2.1 --duration 1s --json -"#;
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", script]).env("G", env!("CARGO_BIN_EXE_greenroom"));
    command.env("HOME", "/nonexistent").stdin(Stdio::null());
    let found = measured(command);
    assert_eq!((found.failure(), found.code), ("no_network", Some(69)), "{found:?}");
}

#[test]
fn what_cannot_be_asked_for_is_wrong_usage() {
    for (args, says) in [
        (&["measure", "gopher:probe.example"][..], "stun:HOST[:PORT]"),
        (&["measure", "stun:user@probe.example"], "must not carry a secret"),
        (&["measure", "stun:probe.example", "--traffic", "720p"], "--traffic is for Greenroom endpoints"),
        (&["measure", "stun:probe.example", "--interval", "10ms"], "every 50 ms at most"),
        (&["measure", "probe.example", "--interval", "50ms"], "no Greenroom endpoint"),
        (&["check", "stun:user@probe.example"], "must not carry a secret"),
        (&["check", "stun:probe.example", "--pick-best"], "needs two Greenroom endpoints"),
    ] {
        let output = greenroom(args).output().expect("the binary runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {err}");
        assert!(err.contains(says), "{args:?}: {err}");
        assert!(!err.contains("user@"), "{err}");
    }
}
