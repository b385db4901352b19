//! TURN servers, measured by the program: coturn as it is, and servers that do everything wrong.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use greenroom::proto::stun::{TransactionId, write_binding_request};
use serde_json::Value;
use support::greenroom;

const PASSWORD: &str = "correct-horse-hunter2";

/// A coturn that relays for `alice`. Killed when dropped.
struct Coturn {
    child: Child,
    at: SocketAddr,
    folder: tempfile::TempDir,
}

impl Coturn {
    fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = free.local_addr().expect("bound");
        drop(free);
        let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let child = Command::new("turnserver")
            .args(["-n", "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout"])
            .args(["--lt-cred-mech", "--realm", "greenroom.test", "--user", &format!("alice:{PASSWORD}")])
            .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1"])
            .args(["--listening-port", &at.port().to_string()])
            .args(["--pidfile", &file("pid"), "--userdb", &file("db")])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver is installed (./dev test does that)");
        let coturn = Self { child, at, folder };
        coturn.wait();
        coturn
    }

    /// Asks until it answers: it says nowhere when it is ready.
    fn wait(&self) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
        let (mut request, mut answer) = (Vec::new(), [0; 1_500]);
        for attempt in 0..200 {
            write_binding_request(TransactionId([attempt; 12]), &mut request);
            // Not connected: what is refused until it listens is a time-out here.
            let _ = socket.send_to(&request, self.at);
            if socket.recv(&mut answer).is_ok() {
                return;
            }
        }
        panic!("coturn does not answer on {}", self.at);
    }

    /// Measures it for a second as this user.
    fn measure(&self, query: &str, password: Option<&str>) -> Measured {
        let url = format!("turn:{}{query}", self.at);
        let mut command = greenroom(["measure", &url, "--duration", "1s", "--json", "-", "-vv"]);
        if let Some(password) = password {
            let file = self.folder.path().join("user");
            std::fs::write(&file, format!("alice\n{password}\n")).expect("written");
            command.arg("--turn-user-file").arg(file);
        }
        measured(command)
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Measured {
    code: Option<i32>,
    report: Value,
    all: String,
}

impl Measured {
    fn ways(&self) -> &[Value] {
        self.report["targets"][0]["details"]["transports"].as_array().map_or(&[], Vec::as_slice)
    }

    fn failure(&self) -> String {
        self.report["targets"][0]["failure"].to_string()
    }
}

fn measured(mut command: Command) -> Measured {
    let output = command.output().expect("the binary runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let all = format!("{out}{err}");
    let report = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {all}"));
    Measured { code: output.status.code(), report, all }
}

#[test]
fn audio_goes_through_coturn_over_udp_and_tcp() {
    let found = Coturn::start(&["--allow-loopback-peers"]).measure("", Some(PASSWORD));
    assert_eq!(found.code, Some(0), "{}", found.all);
    let names: Vec<_> =
        found.ways().iter().map(|way| way["transport"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["udp", "tcp"], "{}", found.all);
    for way in found.ways() {
        assert_eq!(way["failure"], Value::Null, "{way}");
        for flow in ["relayed", "relayed_back"] {
            assert_eq!(way[flow]["planned"], 50, "{way}");
            assert!(way[flow]["answered"].as_u64().is_some_and(|n| n > 0), "{way}");
        }
    }
    assert!(!found.all.contains(PASSWORD));
    assert!(!found.all.contains("alice"));
}

#[test]
fn a_user_with_one_allocation_is_its_own_peer() {
    let coturn = Coturn::start(&["--allow-loopback-peers", "--user-quota=1"]);
    let found = coturn.measure("?transport=udp", Some(PASSWORD));
    let way = found.ways().first().unwrap_or_else(|| panic!("{}", found.all));
    assert_eq!(way["relayed_by"]["value"], "self", "{way}");
    assert_eq!(way["relayed_back"], Value::Null, "{way}");
}

#[test]
fn what_coturn_refuses_is_told_with_what_to_do() {
    let coturn = Coturn::start(&[]);
    let wrong = coturn.measure("", Some("another-hunter2"));
    assert_eq!(wrong.code, Some(69), "{}", wrong.all);
    assert!(wrong.failure().contains("does not take this user name"), "{}", wrong.all);
    assert!(!wrong.all.contains("another-hunter2"));
    let nobody = coturn.measure("", None);
    assert_eq!(nobody.code, Some(69), "{}", nobody.all);
    assert!(nobody.failure().contains("--turn-user-file"), "{}", nobody.all);
    // Loopback peers are denied unless it is told otherwise.
    let denied = coturn.measure("?transport=udp", Some(PASSWORD));
    let way = denied.ways().first().unwrap_or_else(|| panic!("{}", denied.all));
    assert!(way["failure"].to_string().contains("403"), "{way}");
}

#[test]
fn garbage_is_named() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    let at = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut request = [0; 1_500];
        while let Ok((_, from)) = socket.recv_from(&mut request) {
            let _ = socket.send_to(b"no STUN at all", from);
        }
    });
    let url = format!("turn:{at}?transport=udp");
    let found = measured(greenroom(["measure", &url, "--duration", "1s", "--json", "-"]));
    assert!(found.failure().contains("wrong_protocol"), "{}", found.all);
}
