//! STAMP with another implementation: `stamp-suite`, as sender and as reflector, over IPv4 and IPv6.
//!
//! `./dev test` installs it and names it in `GREENROOM_STAMP_SUITE`. Without it these tests fail: what was not tried does not
//! interoperate.
#![cfg(unix)]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use greenroom::net::clock::Clock;
use greenroom::net::pacing::{Driver, DriverOptions, End};
use greenroom::net::udp::{self, UdpOptions};
use greenroom::proto::machine::{Arrival, Departure, DepartureEvent, Machine, Transmit};
use greenroom::proto::plain::{PlainConfig, PlainSender};
use greenroom::proto::stamp::auth::Verified;
use greenroom::proto::stamp::{
    ErrorEstimate, MacKey, Mode, ReflectorPacket, SenderPacket, Timestamp, TimestampFormat, WallAnchor,
};
use greenroom_reports::trace::ClockInfo;
use greenroom_reports::units::Micros;
use serde_json::Value;
use support::Respond;

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// Packets per run.
const COUNT: u32 = 25;

#[test]
fn their_sender_accepts_every_reply_of_ours() {
    for ip in LOOPBACKS {
        for mode in ["stateful", "stateless"] {
            let endpoint = Respond::on(&SocketAddr::new(ip, 0).to_string(), &["--plain-stamp", mode]);
            let summary = send_to(endpoint.stamp(), &[]);
            let (sent, received) = (&summary["packets_sent"], &summary["packets_received"]);
            assert_eq!((sent, received), (&COUNT.into(), &COUNT.into()), "{ip} {mode}: {summary}");
            let seen = &summary["measurements"];
            assert_eq!(seen["unique_replies"], COUNT, "{ip} {mode}");
            for none in ["unknown_replies", "duplicate_replies", "reordered_replies"] {
                assert_eq!(seen[none], 0, "{ip} {mode}: {none}");
            }
            assert_eq!(seen["last_reflector_sequence"], COUNT - 1, "{ip} {mode}");
            // Both ends are on one clock: a one-way delay is neither negative nor longer than the round trip.
            let forward = summary["owd"]["forward_min_ms"].as_f64().expect("one-way delay");
            assert!((0.0..=summary["max_rtt_ms"].as_f64().expect("RTT")).contains(&forward), "{summary}");
        }
    }
}

#[test]
fn their_sender_understands_our_extensions() {
    let tlvs = [
        "--ssid",
        "7",
        "--cos",
        "--dscp",
        "46",
        "--timestamp-info",
        "--follow-up-telemetry",
        "--extra-padding",
        "64",
    ];
    for ip in LOOPBACKS {
        let endpoint = Respond::on(&SocketAddr::new(ip, 0).to_string(), &["--plain-stamp", "stateful"]);
        let summary = send_to(endpoint.stamp(), &tlvs);
        let checked = &summary["measurements"]["tlv_validation"];
        assert_eq!((&checked["evaluated_replies"], &checked["rejected_replies"]), (&COUNT.into(), &0.into()));
        // RFC 8972: 1 Extra Padding, 3 Timestamp Information, 4 Class of Service, 7 Follow-Up Telemetry.
        for kind in ["1", "3", "4", "7"] {
            let of_kind = &checked["by_type"][kind];
            assert_eq!(of_kind["observed"], COUNT, "{ip}, TLV {kind}: {checked}");
            for flag in ["unrecognized", "malformed", "integrity_failed"] {
                assert_eq!(of_kind["flags"][flag], 0, "{ip}, TLV {kind}: {flag}");
            }
        }
        // What we do not know comes back as unrecognized, and the reply counts all the same.
        let summary = send_to(endpoint.stamp(), &["--direct-measurement"]);
        assert_eq!(summary["packets_received"], COUNT, "{summary}");
        let flags = &summary["measurements"]["tlv_validation"]["by_type"]["5"]["flags"];
        assert_eq!((&flags["unrecognized"], &flags["malformed"]), (&COUNT.into(), &0.into()), "{summary}");
    }
}

#[tokio::test]
async fn our_sender_measures_their_reflector() {
    for ip in LOOPBACKS {
        for (stateful, extensions) in [(true, true), (true, false), (false, true)] {
            let more: &[&str] = if stateful { &["--stateful-reflector"] } else { &[] };
            let reflector = Reflector::start(ip, more);
            let case = format!("{ip}, stateful {stateful}, extensions {extensions}");
            let sender = measure(reflector.at, extensions).await;
            let log = &sender.half().streams[0];
            let lost = COUNT.div_ceil(LOSE_EVERY);
            let arrived = usize::try_from(COUNT - lost).expect("small");
            assert_eq!((log.tx.len(), log.rx.len()), (25, arrived), "{case}");
            assert_eq!(sender.ignored(), 0, "{case}");
            assert_eq!(sender.is_stateful(), stateful, "{case}");
            for (index, reply) in (0..).zip(&log.rx) {
                let stamps = reply.reply.expect("a reply");
                let probe = &log.tx[usize::try_from(stamps.of).expect("small")];
                let rtt = reply.at - probe.departed().expect("it left");
                assert!(rtt > Micros::ZERO && rtt < Micros::from_secs(1), "{case}: {rtt:?}");
                assert!(stamps.sent >= stamps.received, "{case}: T3 before T2");
                // A stateful reflector counts what it got: nothing was lost on the way back.
                assert_eq!(reply.seq, if stateful { index } else { stamps.of }, "{case}");
                assert_eq!(stamps.tos.is_some(), extensions, "{case}: Class of Service");
            }
        }
    }
}

#[test]
fn our_command_measures_their_reflector() {
    for ip in LOOPBACKS {
        let reflector = Reflector::start(ip, &["--stateful-reflector"]);
        let url = format!("stamp:{}", reflector.at);
        let output = support::greenroom(["measure", &url, "--duration", "1s", "--json", "-"]).output();
        let output = output.expect("the binary runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let details = &report["targets"][0]["details"];
        let trips = &details["round_trip"];
        assert_eq!((&trips["sent"], &trips["answered"]), (&50.into(), &50.into()), "{ip}: {trips}");
        assert_eq!(details["extensions"]["value"], true, "{ip}: {details}");
        assert_eq!(details["received_dscp"]["value"], 0, "{ip}: {details}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "one packet, by hand")]
fn authenticated_packets_verify_at_both_ends() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("key");
    let secret: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7).unwrap_or(0x5a));
    let digits: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    std::fs::write(&file, digits).expect("writable");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, permissions).expect("ours");
    let path = file.to_str().expect("UTF-8");
    let reflector =
        Reflector::start(LOOPBACKS[0], &["--auth-mode", "A", "--hmac-key-file", path, "--require-hmac"]);
    let key = MacKey::new(&secret);
    let format = TimestampFormat::Ntp;
    let anchor = WallAnchor::from_unix_micros(1_795_000_000_000_000);
    let mut packet = Vec::new();
    let request = SenderPacket {
        seq: 7,
        timestamp: Timestamp::encode(Micros::ZERO, anchor, format),
        error: ErrorEstimate::free_running(Micros::from_millis(1), format),
        ssid: 9,
    };
    request.write(Mode::Authenticated, &mut packet);
    let socket = UdpSocket::bind((LOOPBACKS[0], 0)).expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");

    // A forged one first: only the second is answered.
    let mut forged = packet.clone();
    MacKey::new(b"another key altogether, 32 octets").sign(&mut forged);
    socket.send_to(&forged, reflector.at).expect("sent");
    key.sign(&mut packet);
    socket.send_to(&packet, reflector.at).expect("sent");
    let mut reply = [0; 1_500];
    let len = socket.recv(&mut reply).expect("a reply to the one that is not forged");
    let reply = &reply[..len];
    assert_eq!(key.verify(reply), Verified::Whole, "their HMAC does not verify: {reply:02x?}");
    let (parsed, _) = ReflectorPacket::parse(Mode::Authenticated, reply).expect("a reply");
    assert_eq!((parsed.sender_seq, parsed.sender_timestamp), (7, request.timestamp));
}

/// Runs their sender against `to` and returns its summary.
fn send_to(to: SocketAddr, more: &[&str]) -> Value {
    let (ip, port, count) = (to.ip().to_string(), to.port().to_string(), COUNT.to_string());
    let output = Command::new(stamp_suite())
        .args(["--remote-addr", &ip, "--remote-port", &port, "--local-addr", &ip, "--count", &count])
        .args(["--send-delay", "10", "--output-format", "json"])
        .args(more)
        .output()
        .expect("stamp-suite runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{to} {more:?}: {err}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let summaries: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &Value| line["type"] == "summary")
        .collect();
    let [summary] = &summaries[..] else { panic!("not one summary: {text}{err}") };
    summary.clone()
}

/// Every so many packets one is lost on the way to the reflector, beginning with the first.
const LOSE_EVERY: u32 = 10;

/// A sender whose requests are lost now and then.
struct Lossy(PlainSender);

impl Machine for Lossy {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, payload: &[u8]) {
        self.0.handle_datagram(now, arrival, payload);
    }

    fn handle_departure(&mut self, departure: &Departure) {
        self.0.handle_departure(departure);
    }

    fn handle_drops(&mut self, now: Micros, total: u64) {
        self.0.handle_drops(now, total);
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        loop {
            let transmit = self.0.poll_transmit(now, payload)?;
            if transmit.key.0 % u64::from(LOSE_EVERY) != 0 {
                return Some(transmit);
            }
            self.0.handle_departure(&Departure { key: transmit.key, event: DepartureEvent::Handed(now) });
        }
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.0.next_deadline()
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

async fn measure(reflector: SocketAddr, extensions: bool) -> PlainSender {
    let clock = Clock::start();
    let socket = udp::open(&UdpOptions::new(SocketAddr::new(reflector.ip(), 0)), clock).expect("a socket");
    let stamps = socket.stamp_sources();
    let sender = PlainSender::new(PlainConfig {
        reflector,
        anchor: WallAnchor::from_unix_micros(clock.started().as_microsecond()),
        clock: ClockInfo { tx: stamps.tx, rx: stamps.rx, steps: Vec::new() },
        ssid: if extensions { 7 } else { 0 },
        extensions,
        payload: 172,
        start: clock.now() + Micros::from_millis(5),
        interval: Micros::from_millis(10),
        count: COUNT,
        tos: 0,
        straggler_wait: Micros::from_millis(500),
    });
    let mut driver = Driver::start(Lossy(sender), vec![socket], clock, &DriverOptions::precise("interop"))
        .expect("a thread");
    let outcome = driver.finished().await.expect("ends");
    assert_eq!(outcome.end, End::Finished);
    outcome.machine.0
}

/// Their reflector. Killed when dropped.
struct Reflector {
    child: Child,
    at: SocketAddr,
}

impl Reflector {
    /// Starts it on a port that is free and waits until it listens.
    #[expect(clippy::disallowed_methods, reason = "it cannot choose a free port by itself")]
    fn start(ip: IpAddr, more: &[&str]) -> Self {
        let at = UdpSocket::bind((ip, 0)).and_then(|socket| socket.local_addr()).expect("a free port");
        let mut child = Command::new(stamp_suite())
            .args(["--is-reflector", "--local-addr", &ip.to_string(), "--local-port", &at.port().to_string()])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("stamp-suite runs");
        let mut told = BufReader::new(child.stderr.take().expect("piped")).lines();
        let ready = told.by_ref().map_while(Result::ok).any(|line| line.contains("listening on"));
        let reflector = Self { child, at };
        assert!(ready, "stamp-suite {more:?} ended before it listened");
        // Its log must go somewhere, or it would wait for a reader.
        std::thread::spawn(move || told.for_each(drop));
        reflector
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `./dev test` put it.
fn stamp_suite() -> PathBuf {
    let path = std::env::var_os("GREENROOM_STAMP_SUITE").map(PathBuf::from);
    match path {
        Some(path) if path.is_file() => path,
        Some(path) => panic!("GREENROOM_STAMP_SUITE is {}, and there is no such file", path.display()),
        None => panic!(
            "GREENROOM_STAMP_SUITE names no stamp-suite. ./dev test installs one; by hand: \
             cargo install --locked stamp-suite --version 1.0.0 --root target/tools, \
             then GREENROOM_STAMP_SUITE=target/tools/bin/stamp-suite"
        ),
    }
}
