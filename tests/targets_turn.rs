//! TURN servers, measured by the program: coturn as it is, and servers that do everything wrong.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

#[path = "support/coturn.rs"]
mod coturn;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/target.rs"]
mod target;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use coturn::{Coturn, PASSWORD, USER};
use greenroom::address::Credentials;
use greenroom::proto::stun::long_term::Writer;
use greenroom::proto::stun::{Message, TransactionId};
use greenroom::proto::turn::{Answer, Ask, Client, channel_data};
use serde_json::Value;
use support::greenroom;
use target::{Authority, Measured, closed_port, for_a_second, measured, tcp_server};

/// The command that measures this for a second as this user, and tells all that goes on.
fn command(url: &str, coturn: &Coturn, password: Option<&str>) -> Command {
    let mut command = for_a_second(url);
    command.arg("-vv");
    if let Some(password) = password {
        command.arg("--turn-user-file").arg(coturn.user_file(password));
    }
    command
}

fn measure(query: &str, coturn: &Coturn, password: Option<&str>) -> Measured {
    let found = measured(&mut command(&format!("turn:{}{query}", coturn.at), coturn, password));
    keeps_secrets(&found);
    found
}

/// Neither who somebody is nor what proves it stands anywhere.
fn keeps_secrets(found: &Measured) {
    let all = format!("{}{}{}", found.report, found.err, found.shown());
    for secret in [USER, PASSWORD, "hunter2"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

fn ways(found: &Measured) -> &[Value] {
    found.details()["transports"].as_array().map_or(&[], Vec::as_slice)
}

fn way<'a>(found: &'a Measured, transport: &str) -> &'a Value {
    let way = ways(found).iter().find(|way| way["transport"] == transport);
    way.unwrap_or_else(|| panic!("no {transport}: {found:?}"))
}

fn works(way: &Value) {
    assert_eq!(way["failure"], Value::Null, "{way}");
    assert!(way["allocate_ms"]["value"].as_f64().is_some_and(|ms| ms > 0.0), "{way}");
    assert_eq!(way["relayed"]["planned"], 50, "{way}");
    assert!(way["relayed"]["answered"].as_u64().is_some_and(|n| n > 0), "{way}");
}

#[test]
fn audio_goes_through_coturn_over_udp_tcp_and_tls_side_by_side() {
    let authority = Authority::new("Relays");
    let own = authority.certificate(&["127.0.0.1"], |_| {});
    let coturn = Coturn::start(Some(&own), &["--allow-loopback-peers"]);
    let mut command = command(&format!("turn:{}", coturn.at), &coturn, Some(PASSWORD));
    let found = measured(command.env("SSL_CERT_FILE", authority.file()));
    assert_eq!(found.code, Some(0), "{found:?}");
    keeps_secrets(&found);
    let names: Vec<_> = ways(&found).iter().map(|way| &way["transport"]).collect();
    assert_eq!(names, ["udp", "tcp", "tls"], "{found:?}");
    for way in ways(&found) {
        works(way);
        assert_eq!(way["relayed_by"]["value"], "pair", "{way}");
        assert!(way["relayed_back"]["answered"].as_u64().is_some_and(|n| n > 0), "{way}");
        for figure in ["rtt_ms", "loss_ratio", "pdv_ms", "ipdv_mean_abs_ms", "jitter_rfc3550_ms"] {
            assert_eq!(way["relayed"][figure]["state"], "measured", "{figure}: {way}");
        }
    }
    assert_eq!(way(&found, "udp")["setup_ms"]["state"], "not_tested");
    assert_eq!(way(&found, "tls")["security"]["verified"]["value"], true);
    // One table, a column a way.
    let port = coturn.at.port();
    let head = found.shown().lines().find(|line| line.contains(&format!("UDP {port}"))).map(str::to_owned);
    let head = head.unwrap_or_else(|| panic!("no table: {}", found.shown()));
    assert!(head.contains(&format!("TCP {port}")) && head.contains(&format!("TLS {port}")), "{head}");
}

#[test]
fn a_user_with_one_allocation_is_its_own_peer_one_way_after_the_other() {
    let coturn = Coturn::start(None, &["--allow-loopback-peers", "--user-quota=1"]);
    let found = measure("", &coturn, Some(PASSWORD));
    for transport in ["udp", "tcp"] {
        let way = way(&found, transport);
        works(way);
        assert_eq!(way["relayed_by"]["value"], "self", "{way}");
        assert_eq!(way["relayed_back"], Value::Null, "{way}");
    }
    // Nothing of TLS is offered, which is said and no more.
    let tls = way(&found, "tls");
    assert_ne!(tls["failure"], Value::Null, "{tls}");
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
}

#[test]
fn what_coturn_refuses_is_told_with_what_to_do() {
    let coturn = Coturn::start(None, &[]);
    let wrong = measure("", &coturn, Some("another-hunter2"));
    assert_eq!((wrong.code, wrong.failure()), (Some(69), "relay_user_refused"), "{wrong:?}");
    let nobody = measure("", &coturn, None);
    assert_eq!((nobody.code, nobody.failure()), (Some(69), "relay_user_required"), "{nobody:?}");
    assert!(nobody.report["verdict"]["fix"].as_str().is_some_and(|fix| fix.contains("--turn-user-file")));
    // Loopback peers are denied unless it is told otherwise.
    let denied = measure("?transport=udp", &coturn, Some(PASSWORD));
    let way = way(&denied, "udp");
    assert!(way["failure"].to_string().contains("403"), "{way}");
    assert_eq!(way["allocate_ms"]["state"], "measured", "{way}");
}

#[test]
fn a_quota_that_somebody_else_uses_up_is_named() {
    let coturn = Coturn::start(None, &["--user-quota=1"]);
    let _held = hold(coturn.at);
    let found = measure("?transport=udp", &coturn, Some(PASSWORD));
    assert_eq!((found.code, found.failure()), (Some(69), "relay_refused"), "{found:?}");
    let failure = &found.target()["failure"];
    assert!(failure["detail"].as_str().is_some_and(|detail| detail.contains("486")), "{failure}");
}

/// Takes an address and keeps it.
fn hold(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.connect(server).expect("a route");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    let mut client = Client::new(Credentials::new(USER, PASSWORD));
    let mut octets = [0; 1_500];
    for round in 1..4 {
        let id = TransactionId([round; 12]);
        socket.send(&client.request(Ask::Allocate, id)).expect("sent");
        let len = socket.recv(&mut octets).expect("an answer");
        let message = Message::parse(&octets[..len]).expect("STUN");
        match client.answer(Ask::Allocate, id, &message) {
            Some(Answer::AskAgain) => {}
            Some(Answer::Done(_)) => return socket,
            other => panic!("{other:?}"),
        }
    }
    panic!("no address");
}

#[test]
fn a_certificate_that_ended_is_a_finding_and_blocks_a_call() {
    let authority = Authority::new("Relays");
    let expired =
        authority.certificate(&["127.0.0.1"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let coturn = Coturn::start(Some(&expired), &["--allow-loopback-peers"]);
    let url = format!("turns:{}", coturn.at);
    let found = measured(command(&url, &coturn, Some(PASSWORD)).env("SSL_CERT_FILE", authority.file()));
    let tls = way(&found, "tls");
    works(tls);
    assert_eq!(tls["security"]["faults"][0]["code"], "expired", "{tls}");
    let checked = check(&[&url], &coturn, PASSWORD, Some(&authority));
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(causes(&checked).contains(&"certificate_expired"), "{checked:?}");
    // Where UDP works, the call does not depend on it.
    let beside = check(&[&format!("turn:{}", coturn.at)], &coturn, PASSWORD, Some(&authority));
    let states: Vec<&Value> = beside.report["verdict"]["causes"].as_array().map_or(Vec::new(), |causes| {
        causes
            .iter()
            .filter(|cause| cause["code"] == "certificate_expired")
            .map(|cause| &cause["state"])
            .collect()
    });
    assert_eq!(states, ["ready"], "{beside:?}");
}

/// Checks these with a quick check of audio.
fn check(targets: &[&str], coturn: &Coturn, password: &str, trusted: Option<&Authority>) -> Measured {
    let mut command = greenroom(["check", "--for", "audio", "--json", "-", "-vv", "--no-history"]);
    command.args(targets).arg("--turn-user-file").arg(coturn.user_file(password));
    if let Some(authority) = trusted {
        command.env("SSL_CERT_FILE", authority.file());
    }
    let found = measured(&mut command);
    keeps_secrets(&found);
    found
}

fn causes(found: &Measured) -> Vec<&str> {
    let causes = found.report["verdict"]["causes"].as_array().map_or(&[][..], Vec::as_slice);
    causes.iter().filter_map(|cause| cause["code"].as_str()).collect()
}

#[test]
fn a_check_needs_the_relay_that_it_names() {
    let coturn = Coturn::start(None, &["--allow-loopback-peers"]);
    let url = format!("turn:{}", coturn.at);
    let fine = check(&[&url], &coturn, PASSWORD, None);
    works_for_three_seconds(way(&fine, "udp"));
    assert!(!causes(&fine).iter().any(|code| code.starts_with("relay_")), "{fine:?}");
    let wrong = check(&[&url], &coturn, "another-hunter2", None);
    assert_eq!(wrong.code, Some(69), "{wrong:?}");
    assert!(causes(&wrong).contains(&"relay_user_refused"), "{wrong:?}");
}

fn works_for_three_seconds(way: &Value) {
    assert_eq!((&way["failure"], &way["relayed"]["planned"]), (&Value::Null, &150.into()), "{way}");
}

/// A relay without any user that answers over UDP what was asked, and does with channel data what it is told.
fn open_relay(forwards: bool) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut octets = [0; 2_048];
        while let Ok((len, from)) = socket.recv_from(&mut octets) {
            let octets = &octets[..len];
            let answer = match Message::parse(octets) {
                Ok(message) => success(&message, from),
                // From each client to itself: nobody looks at whose address it is.
                Err(_) if forwards && channel_data(octets).is_some() => octets.to_vec(),
                Err(_) => continue,
            };
            let _ = socket.send_to(&answer, from);
        }
    });
    at
}

fn success(request: &Message<'_>, from: SocketAddr) -> Vec<u8> {
    let mut writer = Writer::request(request.method, request.id);
    if request.method == 0x003 {
        // XOR-RELAYED-ADDRESS, XOR-MAPPED-ADDRESS, LIFETIME.
        writer.add_xored_address(0x0016, from);
        writer.add_xored_address(0x0020, from);
        writer.add(0x000D, &600_u32.to_be_bytes());
    }
    let mut octets = writer.finish();
    // Of the class "success"; FINGERPRINT no longer fits, which no client has to look at.
    octets[0] |= 0x01;
    octets
}

#[test]
fn a_relay_that_forwards_nothing_is_told_from_one_that_does() {
    let dead = open_relay(false);
    let found = measured(&mut for_a_second(&format!("turn:{dead}?transport=udp")));
    let udp = way(&found, "udp");
    assert_eq!(udp["failure"]["code"], "relay_forwards_nothing", "{udp}");
    assert_eq!((&udp["relayed"]["sent"], &udp["relayed"]["lost"]), (&50.into(), &50.into()), "{udp}");
    let coturn = Coturn::start(None, &[]);
    let checked = check(&[&format!("turn:{dead}?transport=udp")], &coturn, PASSWORD, None);
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(causes(&checked).contains(&"relay_forwards_nothing"), "{checked:?}");
    // An echo is taken for nobody's audio.
    let echo = measured(&mut for_a_second(&format!("turn:{}?transport=udp", open_relay(true))));
    assert_eq!(way(&echo, "udp")["relayed"]["answered"], 0, "{echo:?}");
}

#[test]
fn garbage_is_named() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut request = [0; 1_500];
        while let Ok((_, from)) = socket.recv_from(&mut request) {
            let _ = socket.send_to(b"no STUN at all", from);
        }
    });
    let tcp = tcp_server(|mut stream| {
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        until_it_ends(stream);
    });
    let mail = tcp_server(|mut stream| {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        until_it_ends(stream);
    });
    let over = [(at, "udp"), (tcp, "tcp"), (mail, "tcp")];
    for url in over.map(|(at, transport)| format!("turn:{at}?transport={transport}")) {
        let found = measured(&mut for_a_second(&url));
        assert_eq!((found.failure(), found.code), ("wrong_protocol", Some(69)), "{url}: {found:?}");
    }
    let tls = measured(&mut for_a_second(&format!("turns:{tcp}")));
    assert_eq!(tls.failure(), "wrong_protocol", "{tls:?}");
}

/// Holds a connection until the other end lets go of it.
fn until_it_ends(mut stream: TcpStream) {
    while matches!(stream.read(&mut [0; 256]), Ok(1..)) {}
}

#[test]
fn connections_that_lead_nowhere_are_told_apart() {
    let mute = tcp_server(until_it_ends);
    // Half a message, and then nothing more.
    let half = tcp_server(|mut stream| {
        let _ = stream.write_all(&[0x01, 0x13, 0x00, 0x20, 0x21, 0x12]);
        until_it_ends(stream);
    });
    let ends = tcp_server(|mut stream| {
        let _ = stream.read(&mut [0; 256]);
        let _ = stream.write_all(&[0x01, 0x13, 0x00, 0x20]);
    });
    let table = [(mute, "mute"), (half, "mute"), (ends, "reset"), (closed_port(), "port_closed")];
    for (at, code) in table {
        let found = measured(&mut for_a_second(&format!("turn:{at}?transport=tcp")));
        assert_eq!((found.failure(), found.code), (code, Some(69)), "{at}: {found:?}");
    }
    let tls = measured(&mut for_a_second(&format!("turns:{mute}")));
    assert_eq!((tls.failure(), tls.code), ("mute", Some(69)), "{tls:?}");
}

#[test]
fn who_somebody_is_stands_in_no_url_and_in_no_message() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("written");
        file.to_string_lossy().into_owned()
    };
    let (one_line, missing) = (file("one", "alice hunter2"), folder.path().join("none"));
    let missing = missing.to_string_lossy().into_owned();
    let right = file("right", "alice\nhunter2\n");
    let table: [&[&str]; 5] = [
        &["turn:alice:hunter2@127.0.0.1"],
        &["turn:127.0.0.1?user=hunter2"],
        &["turn:127.0.0.1", "--turn-user-file", &one_line],
        &["turn:127.0.0.1", "--turn-user-file", &missing],
        &["stun:127.0.0.1", "--turn-user-file", &right],
    ];
    for verb in ["measure", "check"] {
        for args in table {
            let output = greenroom([verb]).args(args).output().expect("the binary runs");
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(64 | 66)), "{args:?}: {output:?}");
            assert!(output.stdout.is_empty() && !err.contains("hunter2") && !err.contains("alice "), "{err}");
        }
    }
    let mut lone = for_a_second("turn:127.0.0.1");
    let output = lone.env("GREENROOM_TURN_PASSWORD", "hunter2").output().expect("the binary runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(64) && err.contains("GREENROOM_TURN_USERNAME"), "{err}");
    assert!(!err.contains("hunter2"), "{err}");
}
