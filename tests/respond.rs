//! `greenroom respond` as whoever runs an endpoint meets it.
#![cfg(unix)]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use greenroom::address::{EndpointUrl, Host};
use greenroom::net::link::Link;
use greenroom::net::trust::Trust;
use greenroom::net::{clock::Clock, quic};
use greenroom::proto::control::{self, ClientInfo, Finish, Frame, Hello, Limits};
use greenroom_reports::units::{Bitrate, Micros};
use nix::sys::signal::Signal;
use support::{Respond, greenroom};

/// How long open sessions may take to end, as the help says.
const GRACE: Micros = Micros::from_secs(5);

#[test]
fn it_says_where_to_whom_and_how_and_drains() {
    let endpoint = Respond::on("127.0.0.1:0", &[]);
    for words in [
        "greenroom check greenroom://127.0.0.1:",
        "#sha256=",
        "this computer alone. To let others in: greenroom respond --listen 0.0.0.0",
        "everybody who reaches it; 64 sessions, 200.0 Mbit/s and 100000 packets/s",
        "--token-file",
        "made for this start",
        "Stamps by",
    ] {
        assert!(endpoint.told.contains(words), "`{words}` is not in {}", endpoint.told);
    }
    assert!(http_get(endpoint.health(), "/healthz").starts_with("HTTP/1.1 200"));
    let metrics = http_get(endpoint.health(), "/metrics");
    assert!(metrics.contains("greenroom_sessions_open 0\n"), "{metrics}");
    endpoint.signal(Signal::SIGTERM);
    let ended = endpoint.ended();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn what_it_prints_can_be_measured_against() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let endpoint = Respond::on(listen, &[]);
        let args = ["measure", endpoint.url(), "--duration", "1s", "--json", "-", "--quiet"];
        let output = greenroom(args).output().expect("the binary runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{listen}: {err}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let target = &report["targets"][0];
        assert_eq!(
            (&target["state"]["state"], &target["identity"]),
            (&"measured".into(), &"verified".into())
        );
        for direction in ["up", "down"] {
            let counts = &target[direction];
            assert_eq!((&counts["planned"], &counts["lost"]), (&50.into(), &0.into()), "{counts}");
        }
    }
}

#[tokio::test]
async fn open_sessions_may_end_and_a_second_signal_does_not_wait_for_them() {
    for second in [None, Some(Signal::SIGINT)] {
        let mut endpoint = Respond::on("127.0.0.1:0", &[]);
        let (mut link, _quic) = session(endpoint.url()).await;
        let clock = Clock::start();
        endpoint.signal(Signal::SIGTERM);
        assert_eq!(endpoint.error_line(), "Stopping: 1 session may end within 5 s. Once more stops at once.");
        match second {
            Some(signal) => endpoint.signal(signal),
            None => link.send(&Frame::Finish(Finish {})).await.expect("still served"),
        }
        let ended = tokio::task::spawn_blocking(|| endpoint.ended()).await.expect("no panic");
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        assert!(clock.now() < GRACE, "{second:?}: ended after {:?}", clock.now());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "somebody else holds the port")]
fn a_taken_port_is_69_and_names_the_flag() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = tcp.local_addr().expect("bound").to_string();
    fails(69, &["respond", "--listen", &taken, "--health", "off"], &[&taken, "TCP", "--listen"]);
    fails(69, &["respond", "--listen", "127.0.0.1:0", "--health", &taken], &[&taken, "--health"]);
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let taken = udp.local_addr().expect("bound");
    fails(69, &["respond", "--listen", &taken.to_string(), "--health", "off"], &["UDP", "--listen"]);
    let below = SocketAddr::new(taken.ip(), taken.port() - 1);
    fails(69, &["respond", "--listen", &below.to_string(), "--health", "off"], &["--listen"]);
    fails(69, &["respond", "--listen", "192.0.2.1:0", "--health", "off"], &["192.0.2.1", "--listen"]);
}

#[test]
fn a_token_file_closes_it_and_stays_secret() {
    let files = Files::new();
    let tokens = files.write("tokens", "# ours\nhunter2\nswordfish\n", 0o644);
    let mut endpoint = Respond::on("127.0.0.1:0", &["--token-file", &tokens]);
    assert!(endpoint.told.contains("whoever has one of the tokens"), "{}", endpoint.told);
    let warning = endpoint.error_line();
    assert!(warning.contains("chmod 600"), "{warning}");
    for secret in ["hunter2", "swordfish"] {
        assert!(!endpoint.told.contains(secret) && !warning.contains(secret));
    }
    for (token, code) in [(None, 69), (Some("wrong"), 69), (Some("hunter2"), 0)] {
        let mut command = greenroom(["measure", endpoint.url(), "--duration", "1s", "--quiet"]);
        command.envs(token.map(|token| ("GREENROOM_TOKEN", token)));
        let output = command.output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{token:?}: {said}");
    }
    endpoint.signal(Signal::SIGINT);
    assert_eq!(endpoint.ended().code, Some(0));

    let private = files.write("private", "hunter2\n", 0o600);
    let endpoint = Respond::on("127.0.0.1:0", &["--token-file", &private]);
    assert!(endpoint.told.contains("whoever has the token"), "{}", endpoint.told);
    endpoint.signal(Signal::SIGTERM);
    assert_eq!(endpoint.ended().err, "");
}

#[test]
fn files_that_are_no_use_are_66() {
    let files = Files::new();
    let missing = files.path("missing");
    let empty = files.write("empty", "\n# nobody yet\n", 0o600);
    let made = rcgen::generate_simple_self_signed(vec!["probe.example".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(vec!["probe.example".to_owned()]).expect("a certificate");
    let cert = files.write("cert.pem", &made.cert.pem(), 0o644);
    let key = files.write("key.pem", &made.signing_key.serialize_pem(), 0o600);
    let foreign = files.write("foreign.pem", &other.signing_key.serialize_pem(), 0o600);
    let respond = ["respond", "--listen", "127.0.0.1:0", "--health", "off"];
    let cases: &[(&[&str], &[&str])] = &[
        (&["--token-file", &missing], &["missing"]),
        (&["--token-file", &empty], &["empty", "holds no token"]),
        (&["--cert", &missing, "--key", &key], &["missing"]),
        (&["--cert", &key, "--key", &key], &["key.pem", "no certificate in PEM"]),
        (&["--cert", &cert, "--key", &cert], &["cert.pem", "no private key in PEM"]),
        (&["--cert", &cert, "--key", &foreign], &["cert.pem", "cannot be used together"]),
    ];
    for (args, words) in cases {
        fails(66, &[&respond[..], args].concat(), words);
    }
    let endpoint = Respond::on("127.0.0.1:0", &["--cert", &cert, "--key", &key]);
    let pin = greenroom::address::Fingerprint::of(made.cert.der()).to_string();
    assert!(endpoint.url().ends_with(&pin), "{}", endpoint.told);
    assert!(endpoint.told.contains("Certificate yours"), "{}", endpoint.told);
}

#[test]
fn wrong_usage_is_64() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["--listen", "everywhere"], &["everywhere", "0.0.0.0"]),
        (&["--listen", "127.0.0.1:65535"], &["below 65535"]),
        (&["--listen", "127.0.0.1:1", "--listen", "[::1]:2"], &["same port", "1 and 2"]),
        (&["--health", "9443"], &["127.0.0.1:9443", "off"]),
        (&["--cert", "cert.pem"], &["--key"]),
        (&["--max-sessions", "0"], &["--max-sessions"]),
        (&["--max-pps", "0"], &["--max-pps"]),
        (&["--max-bitrate", "fast"], &["2Mbit"]),
        (&["--plain-stamp", "yes"], &["stateless", "stateful"]),
        (&["--external-ip", "nat.example"], &["--external-ip"]),
    ];
    for (args, words) in cases {
        fails(64, &[&["respond"], *args].concat(), words);
    }
}

#[test]
fn a_script_gets_the_address_alone() {
    let mut command = greenroom(["respond", "-q", "--listen", "127.0.0.1:0", "--health", "off"]);
    command.args(["--external-ip", "198.51.100.7"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("the binary runs");
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut first).expect("UTF-8");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("it runs");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("UTF-8");
    let url: EndpointUrl = first.trim().parse().expect("an address");
    assert_eq!(url.host, Host::Address([198, 51, 100, 7].into()));
    assert!(url.pin.is_some() && rest.is_empty(), "{first}{rest}");
    assert!(child.wait().expect("a child").success());
}

/// Asserts an error with this code: nothing on standard output, and these words on standard error.
fn fails(code: i32, args: &[&str], words: &[&str]) {
    let output = greenroom(args).output().expect("the binary runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    assert!(output.stdout.is_empty(), "{args:?}");
    for word in words {
        assert!(err.contains(word), "{args:?}: `{word}` is not in: {err}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a client of the endpoint")]
fn http_get(at: SocketAddr, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(at).expect("listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Opens a session and leaves it open.
async fn session(url: &str) -> (Link, (quinn::Endpoint, quinn::Connection)) {
    let url: EndpointUrl = url.parse().expect("an address");
    let Host::Address(ip) = url.host else { panic!("{url} is a name") };
    let to = SocketAddr::new(ip, url.port);
    let endpoint = quic::dial(None, to).expect("a socket");
    let deadline = Duration::from_secs(5);
    let connected =
        quic::connect(&endpoint, to, "localhost", &Trust::measuring(url.pin), &[control::ALPN], deadline)
            .await
            .expect("connects");
    let (send, receive) = connected.connection.open_bi().await.expect("a stream");
    let mut link = Link::quic(send, receive);
    let hello = Hello {
        versions: vec![control::VERSION],
        token: None,
        client: ClientInfo { name: "test".into(), version: "0".into() },
        wants: Limits {
            max_bitrate_bps: Bitrate::from_kbps(1_000),
            max_pps: 100,
            max_duration_us: Micros::from_secs(60),
        },
        search: None,
        probes: greenroom::proto::control::ProbeCarrier::OwnPort,
    };
    link.send(&Frame::Hello(hello)).await.expect("sent");
    match link.receive().await.expect("an answer") {
        Some(Frame::Accept(_)) => (link, (endpoint, connected.connection)),
        other => panic!("not accepted: {other:?}"),
    }
}

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, content: &str, mode: u32) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("writable");
        fs::set_permissions(Path::new(&path), fs::Permissions::from_mode(mode)).expect("ours");
        path
    }
}
