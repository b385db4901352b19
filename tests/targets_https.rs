//! Web services measured by the program: each step apart, redirections, a proxy, and such that do everything wrong.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/target.rs"]
mod target;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use target::{
    Authority, Measured, closed_port, for_a_second, measured, server_config, tcp_server, tls_server,
};

fn config(authority: &Authority, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    server_config(authority.certificate(&["127.0.0.1", "localhost"], |_| {}), alpn)
}

fn trusting(authority: &Authority, url: &str) -> Measured {
    measured(for_a_second(url).env("SSL_CERT_FILE", authority.file()))
}

/// A service that speaks HTTP/1.1 and answers with this.
fn service(authority: &Authority, answer: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    tls_server(config(authority, &[b"http/1.1"]), answer)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nServer: test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

#[test]
fn each_step_of_a_request_is_timed() {
    let authority = Authority::new("Test CA");
    let at = service(&authority, |request| {
        assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("host: localhost:") && !request.contains('?'), "{request}");
        ok("fine").replace("Server", "Alt-Svc: h3=\":443\"; ma=86400\r\nServer")
    });
    let found = trusting(&authority, &format!("https://localhost:{}/health", at.port()));
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let details = found.details();
    for (name, value) in [("status", 200.into()), ("version", "HTTP/1.1".into()), ("software", "test".into())]
    {
        assert_eq!(details[name]["value"], serde_json::Value::clone(&value), "{name}");
    }
    assert_eq!((&details["body_bytes"], &details["body_cut"]), (&4.into(), &false.into()));
    assert_eq!(details["offers_http3"]["value"], true);
    let time = |name: &str| details[name]["p50"].as_f64().unwrap_or_else(|| panic!("{name}: {details}"));
    let parts = time("lookup_ms") + time("handshake_ms") + time("first_byte_ms");
    assert!(parts <= time("total_ms"), "{details}");
    assert_eq!(details["security"]["verified"]["value"], true);
    assert_eq!(
        (&details["redirects"], &details["proxy"]["state"]),
        (&serde_json::json!([]), &"not_tested".into())
    );
    // Nothing listens on ::1: it is told which family did not answer.
    let tried = details["connect"]["tried"].as_array().expect("addresses");
    assert!(tried.iter().all(|tried| tried["failure"]["code"] == "port_closed"), "{details}");
    let shown = found.shown();
    for words in ["The service answers", "First octet, median", "It offers HTTP/3"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

/// A service that speaks HTTP/2 and answers every request with `body`.
fn http2_service(authority: &Authority, body: &'static [u8]) -> SocketAddr {
    let config = config(authority, &[b"h2"]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = listener.local_addr().expect("bound");
    listener.set_nonblocking(true).expect("nonblocking");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = hyper::service::service_fn(move |_| async move {
                        Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(
                            Bytes::from_static(body),
                        )))
                    });
                    // Whoever measures goes in the middle of what is too long.
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
    });
    at
}

#[test]
fn http2_is_spoken_where_it_is_agreed_on_and_a_long_body_is_cut() {
    static LONG: [u8; 1 << 20] = [b'x'; 1 << 20];
    let authority = Authority::new("Test CA");
    let found = trusting(&authority, &format!("https://{}/", http2_service(&authority, &LONG)));
    let details = found.details();
    assert_eq!(
        (&details["version"]["value"], &details["status"]["value"]),
        (&"HTTP/2".into(), &200.into()),
        "{found:?}"
    );
    let read = details["body_bytes"].as_u64().expect("octets");
    assert!(details["body_cut"] == true && (65_536..200_000).contains(&read), "{details}");
}

#[test]
fn redirections_are_told_and_followed_over_encrypted_ways_alone() {
    let authority = Authority::new("Test CA");
    let goal = service(&authority, |_| ok("here"));
    let start = service(&authority, move |request| match request.split(' ').nth(1) {
        Some("/elsewhere") => redirect(&format!("https://localhost:{}/x?token=hunter2", goal.port())),
        Some("/plain") => redirect("http://portal.hotel.example/login"),
        _ => redirect("/round"),
    });
    let found = trusting(&authority, &format!("https://{start}/elsewhere"));
    let details = found.details();
    let to = format!("https://localhost:{}/x", goal.port());
    assert_eq!(details["redirects"], serde_json::json!([{ "status": 302, "to": to }]), "{details}");
    assert_eq!(details["redirect_stopped"], serde_json::Value::Null);
    assert!(!found.report.to_string().contains("hunter2"));

    let plain = trusting(&authority, &format!("https://{start}/plain"));
    let details = plain.details();
    assert!(
        details["redirect_stopped"].as_str().is_some_and(|why| why.contains("nothing is encrypted")),
        "{details}"
    );
    let hint = details["captive_portal_hint"]["value"].as_str().unwrap_or_default();
    assert!(hint.contains("portal.hotel.example"), "{details}");
    assert!(plain.shown().contains("Perhaps a sign-in page first"));

    let round = trusting(&authority, &format!("https://{start}/"));
    assert_eq!(round.details()["redirects"].as_array().map(Vec::len), Some(6));
    assert!(round.details()["redirect_stopped"].as_str().is_some_and(|why| why.contains("on and on")));
}

#[test]
fn a_service_that_does_not_answer_says_why() {
    let authority = Authority::new("Test CA");
    let mute = tls_server(config(&authority, &[b"http/1.1"]), |_| {
        std::thread::park();
        String::new()
    });
    let garbage = service(&authority, |_| "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned());
    let silent_tcp = tcp_server(|stream| {
        let _ = BufReader::new(stream).lines().count();
    });
    let ends = service(&authority, |_| String::new());
    for (at, failure) in [
        (mute, "mute"),
        (garbage, "wrong_protocol"),
        (silent_tcp, "mute"),
        (ends, "reset"),
        (closed_port(), "port_closed"),
    ] {
        let found = trusting(&authority, &format!("https://{at}/"));
        assert_eq!((found.failure(), found.code), (failure, Some(69)), "{found:?}");
    }
}

/// A proxy that answers CONNECT with `answer`, and leads on to whom it was asked for where that is 200.
fn http_proxy(answer: &'static str) -> SocketAddr {
    tcp_server(move |client| {
        let mut head = Vec::new();
        let mut reader = BufReader::new(client.try_clone().expect("a handle"));
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let head = String::from_utf8(head).expect("text");
        let mut client = client;
        let _ = write!(client, "HTTP/1.1 {answer}\r\n\r\n");
        if !answer.starts_with("200") {
            return;
        }
        let to = head.split(' ').nth(1).expect("whom to");
        let service = TcpStream::connect(to).expect("it listens");
        let (mut from, mut back) =
            (service.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut back);
            let _ = back.shutdown(std::net::Shutdown::Write);
        });
        let mut to = service;
        let _ = std::io::copy(&mut reader, &mut to);
    })
}

#[test]
fn a_proxy_of_the_environment_is_used_and_told() {
    let authority = Authority::new("Test CA");
    let at = service(&authority, |_| ok("fine"));
    let through = |proxy: String, exceptions: &str| {
        let mut command = for_a_second(&format!("https://{at}/"));
        command.env("SSL_CERT_FILE", authority.file()).env("HTTPS_PROXY", proxy).env("NO_PROXY", exceptions);
        measured(&mut command)
    };
    let proxy = http_proxy("200 Connection established");
    let found = through(format!("http://user:hunter2@{proxy}"), "");
    assert_eq!((found.code, &found.details()["status"]["value"]), (Some(0), &200.into()), "{found:?}");
    assert_eq!(found.details()["proxy"]["value"], proxy.to_string());
    assert!(!found.report.to_string().contains("hunter2"));
    let beside = through(format!("http://{}", closed_port()), "127.0.0.1");
    assert_eq!(
        (beside.code, &beside.details()["proxy"]["state"]),
        (Some(0), &"not_tested".into()),
        "{beside:?}"
    );
    for (proxy, says) in [
        (format!("http://{}", http_proxy("403 Forbidden")), "403"),
        (format!("http://{}", http_proxy("407 Proxy Authentication Required")), "who you are"),
        (format!("http://{}", closed_port()), "nothing listens there"),
        ("socks5://127.0.0.1:1".to_owned(), "http://"),
    ] {
        let found = through(proxy, "");
        assert_eq!((found.failure(), found.code), ("proxy", Some(69)), "{found:?}");
        let detail = found.target()["failure"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(says), "{detail}");
    }
}

/// A service that speaks HTTP/3 and answers every request with "fine".
fn http3_service(authority: &Authority) -> SocketAddr {
    let crypto =
        quinn::crypto::rustls::QuicServerConfig::try_from(config(authority, &[b"h3"])).expect("TLS 1.3");
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let (told, at) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let here = (Ipv4Addr::LOCALHOST, 0).into();
            let endpoint = quinn::Endpoint::server(config, here).expect("a port");
            told.send(endpoint.local_addr().expect("bound")).expect("somebody waits");
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    let connection = h3_quinn::Connection::new(connection);
                    let mut connection =
                        h3::server::Connection::<_, Bytes>::new(connection).await.expect("HTTP/3");
                    while let Ok(Some(resolver)) = connection.accept().await {
                        let (request, mut stream) = resolver.resolve_request().await.expect("a request");
                        assert_eq!(request.uri().path(), "/health");
                        stream.send_response(hyper::Response::new(())).await.expect("sent");
                        stream.send_data(Bytes::from_static(b"fine")).await.expect("sent");
                        stream.finish().await.expect("sent");
                    }
                });
            }
        });
    });
    at.recv().expect("it listens")
}

/// A service over TCP that offers HTTP/3 at this port.
fn offering(authority: &Authority, port: u16) -> SocketAddr {
    service(authority, move |_| ok("fine").replace("Server", &format!("Alt-Svc: h3=\":{port}\"\r\nServer")))
}

#[test]
fn http3_is_asked_for_where_it_is_offered() {
    let authority = Authority::new("Test CA");
    let at = offering(&authority, http3_service(&authority).port());
    let found = trusting(&authority, &format!("https://127.0.0.1:{}/health", at.port()));
    let http3 = &found.details()["http3"];
    assert_eq!((&http3["state"], &http3["status"]), (&"measured".into(), &200.into()), "{found:?}");
    let ms = |name: &str| http3[name].as_f64().unwrap_or_else(|| panic!("{name}: {http3}"));
    assert!(
        ms("handshake_ms") > 0.0 && ms("handshake_ms") + ms("first_byte_ms") <= ms("total_ms"),
        "{http3}"
    );
    assert!(found.shown().contains("Over HTTP/3"), "{}", found.shown());
}

#[test]
fn http3_that_is_offered_and_kept_away_is_told() {
    let authority = Authority::new("Test CA");
    // Takes what comes and says nothing, as a firewall does that drops UDP.
    let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = offering(&authority, silent.local_addr().expect("bound").port());
    let found = trusting(&authority, &format!("https://127.0.0.1:{}/", at.port()));
    let why = found.details()["http3"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("UDP is blocked on the way"), "{found:?}");
    let at = service(&authority, |_| ok("fine"));
    let found = trusting(&authority, &format!("https://127.0.0.1:{}/", at.port()));
    assert_eq!(found.details()["http3"]["reason"], "the service does not offer it");
}
