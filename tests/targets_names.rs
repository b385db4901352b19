//! Name servers and time servers measured by the program: such that do everything wrong, and real ones.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/target.rs"]
mod target;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use simple_dns::rdata::{A, AAAA, CNAME, HTTPS, RData, SVCB};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use support::greenroom;
use target::{Measured, measure, measured};

/// What a name server does with a question, given its answer so far: `None` keeps silent.
type Answering = dyn Fn(&str, TYPE, &mut Packet<'static>) -> bool + Send + Sync;

const NAME: &str = "probe.example";

/// The octets of an answer to a question, as `answering` has it.
fn answer(question: &[u8], answering: &Answering) -> Option<Vec<u8>> {
    let asked = Packet::parse(question).ok()?;
    let first = asked.questions.first()?;
    let QTYPE::TYPE(kind) = first.qtype else { return None };
    let mut packet = Packet::new_reply(asked.id());
    packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
    packet.questions.push(first.clone().into_owned());
    answering(&first.qname.to_string(), kind, &mut packet).then(|| packet.build_bytes_vec().ok())?
}

/// A name server on the loopback over UDP, until nothing has come for a minute.
fn name_server(
    answering: impl Fn(&str, TYPE, &mut Packet<'static>) -> bool + Send + Sync + 'static,
) -> SocketAddr {
    udp_server(move |question, from, socket| {
        if let Some(octets) = answer(question, &answering) {
            let _ = socket.send_to(&octets, from);
        }
    })
}

fn udp_server(serve: impl Fn(&[u8], SocketAddr, &UdpSocket) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    serve_on(socket, serve)
}

fn serve_on(socket: UdpSocket, serve: impl Fn(&[u8], SocketAddr, &UdpSocket) + Send + 'static) -> SocketAddr {
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    let at = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut question = [0; 1_500];
        while let Ok((len, from)) = socket.recv_from(&mut question) {
            serve(&question[..len], from, &socket);
        }
    });
    at
}

fn record(name: &'static str, data: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 300, data)
}

fn ipv4(last: u32) -> RData<'static> {
    RData::A(A { address: 0xc000_0200 + last })
}

/// Knows one name, with addresses of both families behind an alias and a service binding, and nothing else.
fn honest(name: &str, kind: TYPE, packet: &mut Packet<'static>) -> bool {
    if !name.eq_ignore_ascii_case(NAME) {
        *packet.rcode_mut() = RCODE::NameError;
        return true;
    }
    match kind {
        TYPE::A => {
            packet.answers.push(record(NAME, RData::CNAME(CNAME(Name::new_unchecked("edge.example")))));
            packet.answers.push(record("edge.example", ipv4(7)));
        }
        TYPE::AAAA => {
            packet.answers.push(record(NAME, RData::AAAA(AAAA { address: 0x2001_0db8 << 96 | 7 })));
        }
        TYPE::HTTPS => {
            let mut svcb = SVCB::new(1, Name::new_unchecked(""));
            svcb.set_alpn(&["h3".try_into().expect("short")]);
            packet.answers.push(record(NAME, RData::HTTPS(HTTPS(svcb))));
        }
        _ => {}
    }
    true
}

fn ask(server: SocketAddr, more: &str) -> Measured {
    measure(&format!("dns://{server}/{NAME}{more}"))
}

fn server(found: &Measured) -> &serde_json::Value {
    &found.details()["servers"][0]
}

#[test]
fn a_name_server_is_asked_for_every_type_and_timed() {
    let found = ask(name_server(honest), "");
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let server = server(&found);
    let trips = &server["round_trip"];
    assert_eq!((&trips["sent"], &trips["answered"], &trips["lost"]), (&4.into(), &4.into(), &0.into()));
    assert_eq!(trips["stamped_by"], "kernel");
    let answers = &server["answers"];
    for (kind, record) in [("A", "192.0.2.7"), ("AAAA", "2001:db8::7"), ("HTTPS", "1 . alpn=h3")] {
        let answer = &answers[kind];
        assert_eq!(
            (&answer["outcome"], &answer["records"][0]),
            (&"records".into(), &record.into()),
            "{answers}"
        );
        assert_eq!(answer["ttl_s"]["value"], 300);
    }
    assert_eq!(answers["A"]["aliases"][0], "edge.example");
    assert_eq!(server["invents_names"]["value"], false);
    let shown = found.shown();
    for words in ["Time to answer, median", "192.0.2.7", "Makes names up"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn how_a_name_server_fails_is_told() {
    let refusing = |rcode: RCODE| {
        name_server(move |_, _, packet| {
            *packet.rcode_mut() = rcode;
            true
        })
    };
    let circle = name_server(|_, _, packet| {
        packet.answers.push(record(NAME, RData::CNAME(CNAME(Name::new_unchecked("edge.example")))));
        packet.answers.push(record("edge.example", RData::CNAME(CNAME(Name::new_unchecked(NAME)))));
        true
    });
    for (at, outcome) in [
        (refusing(RCODE::NameError), "no_such_name"),
        (refusing(RCODE::ServerFailure), "server_failure"),
        (refusing(RCODE::Refused), "refused"),
        (refusing(RCODE::NotImplemented), "other_error"),
        (name_server(|_, _, _| true), "no_records"),
        (circle, "alias_loop"),
    ] {
        let found = ask(at, "?type=A");
        assert_eq!(found.code, Some(0), "{found:?}");
        assert_eq!(server(&found)["answers"]["A"]["outcome"], outcome);
    }
}

#[test]
fn one_that_makes_names_up_is_found_out() {
    let found = ask(
        name_server(|name, kind, packet| {
            honest(name, kind, packet);
            if packet.rcode() == RCODE::NameError {
                *packet.rcode_mut() = RCODE::NoError;
                let name = Name::new_unchecked(name).into_owned();
                packet.answers.push(ResourceRecord::new(name, CLASS::IN, 5, ipv4(66)));
            }
            true
        }),
        "",
    );
    assert_eq!(server(&found)["invents_names"]["value"], true, "{found:?}");
    assert!(found.shown().contains("something answers in place of"));
}

#[test]
fn loss_is_not_hidden_by_asking_again() {
    let asked = std::sync::atomic::AtomicU32::new(0);
    let lossy = name_server(move |name, kind, packet| {
        let lost = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 4 == 1;
        !lost && honest(name, kind, packet)
    });
    let command = ["measure", &format!("dns://{lossy}/{NAME}"), "--duration", "1s", "--interval", "50ms"];
    let found = measured(greenroom(command).args(["--json", "-"]));
    let trips = &server(&found)["round_trip"];
    assert_eq!(
        (&trips["sent"], &trips["answered"], &trips["lost"]),
        (&20.into(), &15.into(), &5.into()),
        "{trips}"
    );
}

#[test]
fn what_is_too_long_for_udp_is_asked_for_over_tcp() {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = tcp.local_addr().expect("bound");
    let udp = UdpSocket::bind(at).expect("the same port");
    serve_on(udp, |question, from, socket| {
        let truncated = |_: &str, _: TYPE, packet: &mut Packet<'static>| {
            packet.set_flags(PacketFlag::TRUNCATION);
            true
        };
        if let Some(octets) = answer(question, &truncated) {
            let _ = socket.send_to(&octets, from);
        }
    });
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().map_while(Result::ok) {
            let mut len = [0; 2];
            if stream.read_exact(&mut len).is_err() {
                continue;
            }
            let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut question).expect("a question");
            let octets = answer(&question, &honest).expect("an answer");
            let len = u16::try_from(octets.len()).expect("short").to_be_bytes();
            stream.write_all(&[&len[..], &octets].concat()).expect("read");
        }
    });
    let found = ask(at, "?type=A");
    let answer = &server(&found)["answers"]["A"];
    assert_eq!(
        (&answer["truncated"], &answer["records"][0]),
        (&true.into(), &"192.0.2.7".into()),
        "{answer}"
    );
    assert!(answer["over_tcp_ms"]["value"].as_f64().is_some_and(|ms| ms > 0.0), "{answer}");
}

#[test]
fn what_answers_nothing_asked_does_not_count() {
    // A forger answers first: from another port, with the wrong number, to another question; the server last.
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = udp_server(move |question, from, socket| {
        let forged = |_: &str, _: TYPE, packet: &mut Packet<'static>| {
            packet.answers.push(record(NAME, ipv4(66)));
            true
        };
        let mut octets = answer(question, &forged).expect("an answer");
        let _ = stranger.send_to(&octets, from);
        octets[0] ^= 0xff;
        let _ = socket.send_to(&octets, from);
        let mut other = answer(question, &forged).expect("an answer");
        // The first letter of the name asked for.
        other[13] ^= 1;
        let _ = socket.send_to(&other, from);
        let _ = socket.send_to(&answer(question, &honest).expect("an answer"), from);
    });
    let found = ask(at, "?type=A");
    let server = server(&found);
    assert_eq!(server["answers"]["A"]["records"], serde_json::json!(["192.0.2.7"]), "{server}");
    assert_eq!(server["answers_from_elsewhere"], server["round_trip"]["sent"]);
    assert_eq!(server["stray_answers"].as_u64(), server["round_trip"]["sent"].as_u64().map(|sent| 2 * sent));
}

#[test]
fn a_name_server_that_does_not_answer_says_why() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port");
    let garbage = udp_server(|_, from, socket| {
        let _ = socket.send_to(b"HTTP/1.1 400 Bad Request\r\n\r\n", from);
    });
    for (at, failure) in [
        (silent.local_addr().expect("bound"), "silent"),
        (closed, "port_closed"),
        (garbage, "wrong_protocol"),
    ] {
        let found = ask(at, "");
        assert_eq!((found.failure(), found.code), (failure, Some(69)), "{found:?}");
    }
}

/// A real server, started by a test. Killed when dropped.
struct Real {
    child: std::process::Child,
    at: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Real {
    /// Starts `program` on a free port with `config`, in which PORT and FOLDER are replaced, and asks until it answers `question`.
    fn start(program: &str, args: &[&str], config: &str, question: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let at = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port");
        let file = folder.path().join("conf");
        let config = config.replace("PORT", &at.port().to_string());
        std::fs::write(&file, config.replace("FOLDER", &folder.path().display().to_string()))
            .expect("writable");
        let mut command = Command::new(program);
        command.args(args).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{program}: {error} (./dev test installs it)"));
        let real = Self { child, at, _folder: folder };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
        for _ in 0..200 {
            // Not connected: what is refused until it listens is a time-out here.
            let _ = socket.send_to(question, at);
            if socket.recv(&mut [0; 1_500]).is_ok() {
                return real;
            }
        }
        panic!("{program} does not answer on {at}");
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn unbound_is_asked_like_any_other() {
    let config = r#"
server:
  interface: 127.0.0.1@PORT
  directory: "FOLDER"
  chroot: ""
  username: ""
  pidfile: "FOLDER/pid"
  do-daemonize: no
  use-syslog: no
  local-zone: "." static
  local-data: "probe.example. 300 IN A 192.0.2.7"
  local-data: "probe.example. 300 IN AAAA 2001:db8::7"
  local-data: "probe.example. 300 IN HTTPS 1 . alpn=h2,h3"
"#;
    let question = Packet::new_query(1).build_bytes_vec().expect("a question");
    let unbound = Real::start("unbound", &["-d", "-c"], config, &with_a_name(question));
    let found = ask(unbound.at, "");
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let server = server(&found);
    for (kind, record) in [("A", "192.0.2.7"), ("AAAA", "2001:db8::7"), ("HTTPS", "1 . alpn=h2,h3")] {
        let answer = &server["answers"][kind];
        assert_eq!(
            (&answer["outcome"], &answer["records"][0]),
            (&"records".into(), &record.into()),
            "{server}"
        );
    }
    assert_eq!(
        (&server["invents_names"]["value"], &server["round_trip"]["lost"]),
        (&false.into(), &0.into())
    );
    let unknown = measure(&format!("dns://{}/other.example?type=A", unbound.at));
    assert_eq!(self::server(&unknown)["answers"]["A"]["outcome"], "no_such_name");
}

/// The same with a question for the addresses of the name.
fn with_a_name(mut question: Vec<u8>) -> Vec<u8> {
    question[5] = 1;
    question.extend(b"\x05probe\x07example\0\0\x01\0\x01");
    question
}

#[test]
fn chrony_has_the_same_clock() {
    let config =
        "port PORT\nbindaddress 127.0.0.1\nallow 127.0.0.1\nlocal stratum 5\ncmdport 0\npidfile FOLDER/pid\n";
    let mut question = vec![0; 48];
    question[0] = 0x23;
    // -x: it does not touch the clock.
    let chrony = Real::start("chronyd", &["-d", "-x", "-U", "-f"], config, &question);
    let found = measure(&format!("ntp:{}", chrony.at));
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let details = found.details();
    assert_eq!((&details["stratum"]["value"], &details["kiss_code"]), (&5.into(), &serde_json::Value::Null));
    let offset = &details["offset_ms"];
    let (low, high) = (offset["low"].as_f64().expect("low"), offset["high"].as_f64().expect("high"));
    // One computer, one clock. Stamps of two programs and the kernel are read some microseconds apart.
    assert!(low <= 0.1 && high >= -0.1, "{offset}");
}

/// Runs a script with networks and mounts of its own, in which `/etc/resolv.conf` holds this.
fn with_resolv_conf(text: &str) -> Measured {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("writable");
    let script = r#"ip link set lo up && mount --bind "$CONF" /etc/resolv.conf &&
        exec "$G" measure dns:probe.example --duration 1s --json -"#;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", script]).stdin(Stdio::null());
    command.env("G", env!("CARGO_BIN_EXE_greenroom")).env("CONF", file.path()).env("HOME", "/nonexistent");
    measured(&mut command)
}

#[test]
fn the_name_servers_of_this_computer_are_asked() {
    let silent = with_resolv_conf("nameserver 127.0.0.1\nnameserver ::1\n");
    assert_eq!((silent.failure(), silent.code), ("name_servers_silent", Some(69)), "{silent:?}");
    assert_eq!(silent.target()["failure"]["servers"], "127.0.0.1:53, [::1]:53");
    let none = with_resolv_conf("search example\n");
    assert_eq!((none.failure(), none.code), ("no_name_server", Some(69)), "{none:?}");
}

/// An answer of a time server whose clock is ahead of this computer's by `ahead_ms`, changed by `change`.
fn time_server(ahead_ms: u64, change: impl Fn(&mut Vec<u8>) + Send + 'static) -> SocketAddr {
    udp_server(move |question, from, socket| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let now = now + Duration::from_millis(ahead_ms);
        let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        let stamp = ((now.as_secs() + 2_208_988_800) << 32 | fraction).to_be_bytes();
        let mut octets = vec![0x24, 1, 6, 0xe9];
        octets.extend([0, 0, 0, 0, 0, 0, 0x10, 0]);
        octets.extend(b"GPS\0");
        octets.extend([0; 8]);
        octets.extend(&question[40..48]);
        octets.extend(stamp);
        octets.extend(stamp);
        change(&mut octets);
        let _ = socket.send_to(&octets, from);
    })
}

#[test]
fn the_offset_to_a_time_server_is_found_within_its_bounds() {
    let found = measure(&format!("ntp:{}", time_server(2_500, |_| {})));
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let details = found.details();
    let offset = &details["offset_ms"];
    let (low, high) = (offset["low"].as_f64().expect("low"), offset["high"].as_f64().expect("high"));
    // The server's two stamps are one reading: between the kernel's stamps of the question and of the answer.
    assert!(low <= 2_500.0 && 2_500.0 <= high && high - low < 100.0, "{offset}");
    assert_eq!((&details["stratum"]["value"], &details["reference"]["value"]), (&1.into(), &"GPS".into()));
    assert_eq!(details["root_dispersion_ms"]["value"], 62.5);
    assert_eq!(details["unsynchronized"]["value"], false);
    assert!(found.shown().contains("This clock is behind by"));
}

#[test]
fn a_time_server_that_does_not_want_to_be_asked_is_asked_no_more() {
    let kiss = time_server(0, |octets| {
        octets[1] = 0;
        octets[12..16].copy_from_slice(b"RATE");
    });
    let command = ["measure", &format!("ntp:{kiss}"), "--duration", "10s", "--json", "-"];
    let found = measured(&mut greenroom(command));
    let trips = &found.details()["round_trip"];
    assert_eq!((&trips["planned"], &trips["sent"]), (&5.into(), &1.into()), "{found:?}");
    assert_eq!(found.details()["kiss_code"], "RATE");
    assert_eq!(found.details()["offset_ms"]["state"], "failed");
}

#[test]
fn times_that_were_not_asked_for_are_not_taken() {
    let forged = measure(&format!("ntp:{}", time_server(0, |octets| octets[24] ^= 1)));
    assert_eq!((forged.failure(), forged.code), ("wrong_protocol", Some(69)), "{forged:?}");
    let garbage = udp_server(|_, from, socket| {
        let _ = socket.send_to(b"no", from);
    });
    assert_eq!(measure(&format!("ntp:{garbage}")).failure(), "wrong_protocol");
    let unsynchronized = measure(&format!("ntp:{}", time_server(0, |octets| octets[0] |= 0xc0)));
    let details = unsynchronized.details();
    assert_eq!(
        (&details["unsynchronized"]["value"], &details["offset_ms"]["state"]),
        (&true.into(), &"failed".into())
    );
}

#[test]
fn what_cannot_be_asked_for_is_wrong_usage() {
    for (args, says) in [
        (&["measure", "dns:192.0.2.1"][..], "no name to ask for"),
        (&["measure", "dns://192.0.2.1"], "no name to ask for"),
        (&["measure", "dns:probe.example?key=hunter2"], "--token-file"),
        (&["measure", "dns:probe.example?x=1"], "must not carry a secret"),
        (&["measure", "ntp:probe.example", "--interval", "1s"], "every 2000 ms at most"),
        (&["measure", "tcp:probe.example"], "which port?"),
        (&["measure", "tcp:probe.example:1", "--interval", "50ms"], "every 200 ms at most"),
        (&["measure", "https://probe.example/?key=hunter2"], "--token-file"),
        (&["measure", "https://bücher.example/"], "xn--"),
    ] {
        let output = greenroom(args).output().expect("the binary runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {err}");
        assert!(err.contains(says) && !err.contains("hunter2"), "{args:?}: {err}");
    }
}
