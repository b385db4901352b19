//! WebSockets and QUIC services measured by the program.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;
#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
#[path = "support/target.rs"]
mod target;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::channel;

use futures_util::{SinkExt as _, StreamExt as _};
use quinn::crypto::rustls::QuicServerConfig;
use target::{Authority, Measured, for_a_second, measured, server_config, tls_server};
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

type Socket = WebSocketStream<TlsStream<tokio::net::TcpStream>>;

fn trusting(authority: &Authority, url: &str) -> Measured {
    measured(for_a_second(url).env("SSL_CERT_FILE", authority.file()))
}

fn on_a_runtime<F: Future<Output = ()>>(serve: impl FnOnce() -> F + Send + 'static) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(serve());
    });
}

/// A WebSocket service that hands the first connection to `serve`.
fn web_socket<F: Future<Output = ()>>(
    authority: &Authority,
    serve: impl FnOnce(Socket) -> F + Send + 'static,
) -> SocketAddr {
    let config = server_config(authority.certificate(&["127.0.0.1"], |_| {}), &[b"http/1.1"]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = listener.local_addr().expect("bound");
    listener.set_nonblocking(true).expect("nonblocking");
    on_a_runtime(move || async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let (stream, _) = listener.accept().await.expect("a connection");
        let stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.expect("TLS");
        serve(tokio_tungstenite::accept_async(stream).await.expect("a WebSocket")).await;
    });
    at
}

#[test]
fn pings_over_a_web_socket_are_timed_and_it_stands_to_the_end() {
    let authority = Authority::new("Test CA");
    let at = web_socket(&authority, |mut socket| async move {
        socket.send(Message::text("hello")).await.expect("sent");
        // Reading answers the pings.
        while let Some(Ok(_)) = socket.next().await {}
    });
    let command = ["measure", &format!("wss://{at}/chat"), "--duration", "1s", "--interval", "100ms"];
    let found =
        measured(support::greenroom(command).args(["--json", "-"]).env("SSL_CERT_FILE", authority.file()));
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let details = found.details();
    let trips = &details["round_trip"];
    assert_eq!((&trips["sent"], &trips["answered"], &trips["lost"]), (&10.into(), &10.into(), &0.into()));
    assert_eq!((&details["survived"]["value"], &details["messages"]), (&true.into(), &1.into()));
    assert!(details["stood_ms"]["value"].as_f64().is_some_and(|ms| ms >= 1_000.0), "{details}");
    assert!(details["upgrade_ms"]["value"].as_f64().is_some_and(|ms| ms > 0.0), "{details}");
    assert_eq!(details["security"]["verified"]["value"], true);
    assert!(found.shown().contains("Switching to WebSocket"));
}

#[test]
fn one_that_is_closed_before_its_time_says_how() {
    let authority = Authority::new("Test CA");
    let at = web_socket(&authority, |mut socket| async move {
        let _ = socket.next().await;
        let frame = CloseFrame { code: CloseCode::Away, reason: "idle for too long".into() };
        let _ = socket.close(Some(frame)).await;
        while let Some(Ok(_)) = socket.next().await {}
    });
    let found = trusting(&authority, &format!("wss://{at}/"));
    let details = found.details();
    assert_eq!((found.code, &details["survived"]["value"]), (Some(0), &false.into()), "{found:?}");
    assert_eq!(details["closed_by"]["value"], "it closed with 1001 idle for too long");
    let at = web_socket(&authority, |socket| async move { drop(socket) });
    let found = trusting(&authority, &format!("wss://{at}/"));
    assert_eq!(found.details()["closed_by"]["value"], "the connection was broken off", "{found:?}");
}

#[test]
fn what_switches_to_no_web_socket_says_why() {
    let authority = Authority::new("Test CA");
    let config = server_config(authority.certificate(&["127.0.0.1"], |_| {}), &[]);
    let at = tls_server(config, |_| "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned());
    let found = trusting(&authority, &format!("wss://{at}/"));
    assert_eq!((found.failure(), found.code), ("wrong_protocol", Some(69)), "{found:?}");
    assert!(found.target()["failure"]["detail"].as_str().is_some_and(|detail| detail.contains("404")));
}

/// A QUIC service that takes handshakes and does nothing else.
fn quic_service(authority: &Authority, names: &[&str], alpn: &[&[u8]]) -> SocketAddr {
    let tls = server_config(authority.certificate(names, |_| {}), alpn);
    let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3");
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let (tell, told) = channel();
    on_a_runtime(move || async move {
        let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        tell.send(endpoint.local_addr().expect("bound")).expect("awaited");
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                if let Ok(connection) = incoming.await {
                    connection.closed().await;
                }
            });
        }
    });
    told.recv().expect("it listens")
}

#[test]
fn quic_handshakes_are_timed_and_the_certificate_is_told() {
    let authority = Authority::new("Test CA");
    let at = quic_service(&authority, &["127.0.0.1"], &[b"h3"]);
    let command = ["measure", &format!("quic:{at}"), "--duration", "2s", "--json", "-"];
    let found = measured(support::greenroom(command).env("SSL_CERT_FILE", authority.file()));
    assert_eq!((found.code, found.failure()), (Some(0), ""), "{found:?}");
    let details = found.details();
    let trips = &details["round_trip"];
    assert_eq!((&trips["planned"], &trips["answered"]), (&2.into(), &2.into()), "{trips}");
    let time = |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("{details}"));
    let (rtt, handshake) = (time(&details["rtt_ms"]["min"]), time(&trips["rtt_ms"]["min"]));
    assert!(0.0 < rtt && rtt <= handshake, "{details}");
    let security = &details["security"];
    assert_eq!((&security["alpn"]["value"], &security["verified"]["value"]), (&"h3".into(), &true.into()));
    assert_eq!(security["chain"][0]["issuer"], "CN=Test CA");
    assert!(found.shown().contains("as QUIC") || found.shown().contains("Handshake, median"));

    let other = quic_service(&authority, &["other.example"], &[b"h3"]);
    assert_eq!(trusting(&authority, &format!("quic:{other}")).faults(), ["wrong_name"]);
}

#[test]
fn what_does_not_speak_quic_says_why() {
    let authority = Authority::new("Test CA");
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port");
    let other = quic_service(&authority, &["127.0.0.1"], &[b"doq"]);
    for (at, failure) in
        [(silent.local_addr().expect("bound"), "silent"), (closed, "port_closed"), (other, "tls_refused")]
    {
        let found = trusting(&authority, &format!("quic:{at}"));
        assert_eq!((found.failure(), found.code), (failure, Some(69)), "{found:?}");
    }
}
