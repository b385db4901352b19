//! TCP and TLS services measured by the program: certificates of every kind, and servers that do everything wrong.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/target.rs"]
mod target;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::process::{Command, Stdio};

use support::greenroom;
use target::{
    Authority, Measured, closed_port, for_a_second, measure, measured, self_signed, server_config,
    tcp_server, tcp_server_on, tls_server,
};

/// Measures where this authority is the only one trusted.
fn trusting(authority: &Authority, url: &str) -> Measured {
    measured(for_a_second(url).env("SSL_CERT_FILE", authority.file()))
}

#[test]
fn connections_are_timed_by_the_kernel() {
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let at = tcp_server_on(ip, drop);
        let found = measure(&format!("tcp:{at}"));
        assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
        let connect = &found.details()["connect"];
        let trips = &connect["round_trip"];
        assert_eq!(
            (&trips["planned"], &trips["answered"], &trips["lost"]),
            (&4.into(), &4.into(), &0.into())
        );
        assert_eq!(trips["stamped_by"], "kernel");
        assert!(trips["rtt_ms"]["max"].as_f64().is_some_and(|ms| ms > 0.0 && ms < 1_000.0), "{trips}");
        assert_eq!(connect["stood_late"]["value"], 0);
        assert!(found.shown().contains("Connecting, median"));
    }
}

#[test]
fn a_connection_that_fails_says_how() {
    let closed = closed_port();
    let found = measure(&format!("tcp:{closed}"));
    assert_eq!((found.failure(), found.code), ("port_closed", Some(69)), "{found:?}");
    // A queue for one connection that nobody takes, filled: what comes after is dropped without a word.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    full.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    full.listen(0).expect("listens");
    let at = full.local_addr().ok().and_then(|at| at.as_socket()).expect("bound");
    let _fill: Vec<_> = (0..2)
        .map(|_| {
            let stream =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
            stream.set_nonblocking(true).expect("nonblocking");
            let _ = stream.connect(&at.into());
            stream
        })
        .collect();
    let found = measure(&format!("tcp:{at}"));
    assert_eq!((found.failure(), found.code), ("silent", Some(69)), "{found:?}");
    assert_eq!(measure("tcp:nowhere.invalid:1").failure(), "unknown_host");
}

#[test]
fn without_a_network_there_is_no_route() {
    let script = r#""$G" measure tls:192.0.2.1 --duration 1s --json -"#;
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", script]).env("G", env!("CARGO_BIN_EXE_greenroom"));
    command.env("HOME", "/nonexistent").stdin(Stdio::null());
    let found = measured(&mut command);
    assert_eq!((found.failure(), found.code), ("no_network", Some(69)), "{found:?}");
}

#[test]
fn what_is_agreed_on_and_the_certificate_are_told() {
    let authority = Authority::new("Test CA");
    let own = authority.certificate(&["127.0.0.1", "service.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    });
    let at = tls_server(server_config(own, &[b"h2", b"http/1.1"]), |_| String::new());
    let found = trusting(&authority, &format!("tls:{at}"));
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let (details, security) = (found.details(), &found.details()["security"]);
    assert_eq!(
        (&security["version"]["value"], &security["alpn"]["value"]),
        (&"TLS 1.3".into(), &"h2".into())
    );
    assert_eq!(
        (&security["verified"]["value"], &found.target()["identity"]),
        (&true.into(), &"verified".into())
    );
    assert!(found.faults().is_empty());
    let certificate = &security["chain"][0];
    assert_eq!(
        (&certificate["issuer"], &certificate["subject"], &certificate["names"], &certificate["key"]),
        (&"CN=Test CA".into(), &"CN=service.example".into(), &2.into(), &"EC P-256".into())
    );
    assert!(security["days_left"]["value"].as_i64().is_some_and(|days| days > 10_000), "{security}");
    // Trusted here, and by nobody else: a company's own, or somebody who listens in.
    assert_eq!(
        (&security["interception"]["hint"], &security["interception"]["issuer"]),
        (&"private_issuer".into(), &"CN=Test CA".into())
    );
    assert_eq!(details["connect"]["round_trip"]["answered"], 1);
    assert!(details["handshake_ms"]["p50"].as_f64().is_some_and(|ms| ms > 0.0), "{details}");
    let shown = found.shown();
    for words in ["TLS handshake, median", "Opened on the way", "Who vouches for it"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn a_certificate_that_does_not_hold_is_a_finding() {
    let authority = Authority::new("Test CA");
    let expired = authority.certificate(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let early =
        authority.certificate(&["127.0.0.1"], |params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    let other = authority.certificate(&["other.example"], |_| {});
    let stranger = Authority::new("Another CA").certificate(&["127.0.0.1"], |_| {});
    for (own, faults) in [
        (expired, &["expired"][..]),
        (early, &["not_yet_valid"]),
        (other, &["wrong_name"]),
        (stranger, &["unknown_issuer"]),
        (self_signed(&["127.0.0.1"]), &["self_signed"]),
    ] {
        let at = tls_server(server_config(own, &[]), |_| String::new());
        let found = trusting(&authority, &format!("tls:{at}"));
        assert_eq!((found.faults(), found.code), (faults.to_vec(), Some(0)), "{found:?}");
        assert_eq!(found.details()["security"]["verified"]["value"], false);
        assert_eq!(found.target()["identity"], "unverified");
        assert!(found.shown().contains("Certificate trusted here"));
    }
}

#[test]
fn an_issuer_that_was_not_expected_is_told() {
    let authority = Authority::new("Zscaler Root CA");
    let at = tls_server(server_config(authority.certificate(&["127.0.0.1"], |_| {}), &[]), |_| String::new());
    for (expected, as_expected) in [("zscaler", true), ("Public%20CA", false)] {
        let found = trusting(&authority, &format!("tls:{at}#issuer={expected}"));
        let security = &found.details()["security"];
        assert_eq!(security["as_expected"]["value"], as_expected, "{security}");
        assert_eq!(security["interception"]["product"], "Zscaler");
        assert_eq!(found.target()["identity"] == "verified", as_expected);
    }
}

#[test]
fn a_server_without_the_protocols_offered_is_measured_without_them() {
    let authority = Authority::new("Test CA");
    let own = authority.certificate(&["127.0.0.1"], |_| {});
    let at = tls_server(server_config(own, &[b"imap"]), |_| String::new());
    let command = ["measure", &format!("tls:{at}"), "--duration", "2s", "--json", "-"];
    let found = measured(greenroom(command).env("SSL_CERT_FILE", authority.file()));
    assert_eq!((found.code, &found.details()["handshakes_failed"]), (Some(0), &1.into()), "{found:?}");
    assert_eq!(found.details()["security"]["alpn"]["state"], "failed");
}

#[test]
fn what_does_not_shake_hands_says_why() {
    let mute = tcp_server(|mut stream| {
        // Until the other end has had enough.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let garbage = tcp_server(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let reset = tcp_server(|stream| {
        // Closed with something unread, or lingering not at all: a reset.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    });
    let closed = closed_port();
    for (at, failure, cause) in [
        (mute, "mute", "connection_mute"),
        (garbage, "wrong_protocol", "wrong_protocol"),
        (reset, "reset", "connection_reset"),
        (closed, "port_closed", "endpoint_refused"),
    ] {
        let found = measure(&format!("tls:{at}"));
        assert_eq!((found.failure(), found.code), (failure, Some(69)), "{found:?}");
        let verdict = &found.report["verdict"];
        assert_eq!(verdict["causes"][0]["code"], cause);
        assert!(verdict["say"].as_str().is_some_and(|say| say.contains(&at.to_string())), "{verdict}");
    }
}

#[test]
fn a_listener_that_takes_nothing_is_connected_to_all_the_same() {
    // The kernel makes the connection; nobody ever takes it from its queue.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = listener.local_addr().expect("bound");
    let found = measure(&format!("tcp:{at}"));
    assert_eq!((found.code, &found.details()["connect"]["round_trip"]["answered"]), (Some(0), &4.into()));
}
