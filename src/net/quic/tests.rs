//! Tests of QUIC connections over the loopback interface.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::*;
use crate::address::Fingerprint;
use crate::net::trust::Anchor;

/// A server that accepts connections until it is dropped.
struct Server {
    at: SocketAddr,
    endpoint: Endpoint,
}

impl Server {
    fn start(identity: &ServerIdentity, alpn: &[&[u8]]) -> Self {
        let config = server_config(identity, alpn).unwrap();
        let endpoint = listen("127.0.0.1:0".parse().unwrap(), config).unwrap();
        let accepting = endpoint.clone();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Some(incoming) = accepting.accept().await {
                open.push(incoming.await);
            }
        });
        Self { at: endpoint.local_addr().unwrap(), endpoint }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.endpoint.close(VarInt::from_u32(0), b"");
    }
}

async fn try_connect(to: SocketAddr, trust: &Trust, alpn: &[&[u8]]) -> Result<Connected, ConnectError> {
    let client = dial(None, to).unwrap();
    connect(&client, to, "localhost", trust, alpn, CONNECT_DEADLINE).await
}

fn self_made() -> ServerIdentity {
    ServerIdentity::self_made(["localhost".to_owned()]).unwrap()
}

/// A root, and an identity for `localhost` that it vouches for.
fn vouched() -> (Trust, ServerIdentity) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let root = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let trust = Trust { anchor: Anchor::Roots(Arc::new(roots)), allow_unverified: false };
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    (trust, ServerIdentity::from_parts(vec![leaf.der().clone()], key.into()))
}

#[tokio::test]
async fn a_root_vouches() {
    let (trust, identity) = vouched();
    let server = Server::start(&identity, &[ALPN]);
    let connected = try_connect(server.at, &trust, &[ALPN]).await.unwrap();
    assert_eq!(connected.identity, Identity::Verified(identity.fingerprint()));
    assert!(connected.connection.max_datagram_size().is_some());
}

#[tokio::test]
async fn a_pin_is_as_good_and_a_wrong_one_is_refused() {
    let identity = self_made();
    let server = Server::start(&identity, &[ALPN]);
    let right = Trust::measuring(Some(identity.fingerprint()));
    let connected = try_connect(server.at, &right, &[ALPN]).await.unwrap();
    assert_eq!(connected.identity, Identity::Pinned(identity.fingerprint()));
    assert!(connected.identity.is_verified());

    let wrong = Trust::measuring(Some(Fingerprint::of(b"another")));
    let refused = try_connect(server.at, &wrong, &[ALPN]).await.unwrap_err();
    assert_eq!(refused, ConnectError::Certificate(Refusal::Pin { found: identity.fingerprint() }));
}

#[tokio::test]
async fn a_self_made_certificate_is_marked_or_refused() {
    let identity = self_made();
    let server = Server::start(&identity, &[ALPN]);
    let (strict, _) = vouched();
    let refused = try_connect(server.at, &strict, &[ALPN]).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Certificate(Refusal::Untrusted { .. })), "{refused}");

    let measuring = Trust { allow_unverified: true, ..strict };
    let connected = try_connect(server.at, &measuring, &[ALPN]).await.unwrap();
    assert!(!connected.identity.is_verified());
    assert_eq!(connected.identity.fingerprint(), identity.fingerprint());
    assert!(matches!(connected.identity, Identity::Unverified { .. }));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_verified() {
    let (trust, identity) = vouched();
    let server = Server::start(&identity, &[ALPN]);
    let client = dial(None, server.at).unwrap();
    let refused = connect(&client, server.at, "elsewhere.example", &trust, &[ALPN], CONNECT_DEADLINE).await;
    assert!(matches!(refused, Err(ConnectError::Certificate(Refusal::Untrusted { .. }))), "{refused:?}");
}

#[tokio::test]
async fn another_protocol_is_told() {
    let server = Server::start(&self_made(), &[b"h3"]);
    let refused = try_connect(server.at, &Trust::measuring(None), &[ALPN]).await.unwrap_err();
    assert_eq!(refused, ConnectError::Protocol { to: server.at });
}

#[tokio::test]
async fn a_closed_port_refuses_long_before_the_deadline() {
    let closed = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let client = dial(None, closed).unwrap();
    let trust = Trust::measuring(None);
    let hour = Duration::from_secs(3_600);
    let refused = connect(&client, closed, "localhost", &trust, &[ALPN], hour).await.unwrap_err();
    assert_eq!(refused, ConnectError::Refused { to: closed });
}

#[tokio::test]
async fn a_silent_host_is_given_up_at_the_deadline() {
    // Bound and never read: it takes everything and says nothing.
    let silent = bound();
    let to = silent.local_addr().unwrap();
    let client = dial(None, to).unwrap();
    let trust = Trust::measuring(None);
    let deadline = Duration::from_millis(200);
    let clock = crate::net::clock::Clock::start();
    let gave_up = connect(&client, to, "localhost", &trust, &[ALPN], deadline).await.unwrap_err();
    assert_eq!(gave_up, ConnectError::Silent { to, after: deadline });
    assert!(clock.now().to_duration() >= deadline);
    assert!(CONNECT_DEADLINE < Duration::from_secs(3), "nothing that answers nothing may take longer");
}

#[tokio::test]
async fn an_invalid_name_is_told() {
    let to = bound().local_addr().unwrap();
    let client = dial(None, to).unwrap();
    let trust = Trust::measuring(None);
    let refused = connect(&client, to, "not a name", &trust, &[ALPN], CONNECT_DEADLINE).await.unwrap_err();
    assert_eq!(refused, ConnectError::Name { name: "not a name".to_owned() });
}

#[expect(clippy::disallowed_methods, reason = "a peer that says nothing")]
fn bound() -> std::net::UdpSocket {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// A port that was free a moment ago; the system does not give it out again soon.
fn free_port() -> u16 {
    bound().local_addr().unwrap().port()
}
