//! Bulk over QUIC through the endpoint, beside quinn with nothing around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use greenroom::endpoint::{self, BulkRequest, Config};
use greenroom::net::clock::Clock;
use greenroom::net::link::Link;
use greenroom::net::quic;
use greenroom::net::trust::Trust;
use greenroom::proto::control::{self, ClientInfo, Frame, Hello, Limits};
use greenroom_reports::units::{Bitrate, DataSize, Micros};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, ServerConfig};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::record::{Goal, Section};
use crate::{Fallible, ROUNDS};

const DURATION: Micros = Micros::from_secs(3);
const PIECE: usize = 64 * 1_024;
const CONNECT: Duration = Duration::from_secs(5);
static DATA: [u8; PIECE] = [0x5a; PIECE];

const RATE: &str = "received over one QUIC stream";
const SHARE: &str = "share of bare quinn's rate";

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    for _ in 0..ROUNDS {
        let ours = apart(greenroom())?;
        section.add(RATE, "greenroom endpoint", "Gbit/s", ours);
        let bare = apart(bare())?;
        section.add(RATE, "bare quinn", "Gbit/s", bare);
        section.add(SHARE, "greenroom endpoint", "%", ours / bare * 100.0).goal(Goal::AtLeast(90.0));
    }
    section.note(
        "Both ends run in one program on all processors. Bare quinn has its own default transport settings, writes 64 KiB at once and reads \
         them; the endpoint's limits are lifted.",
    );
    Ok(())
}

/// Runs on a runtime of its own that ends with it.
fn apart(work: impl Future<Output = Fallible<f64>>) -> Fallible<f64> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}

async fn greenroom() -> Fallible<f64> {
    let mut config = Config::loopback()?;
    let lifted = Limits {
        max_bitrate_bps: Bitrate::from_kbps(1_000_000_000),
        max_pps: 10_000,
        max_duration_us: Micros::from_secs(60),
    };
    config.capacity.max_bitrate = lifted.max_bitrate_bps;
    config.capacity.per_session = lifted;
    config.capacity.network_share = 1;
    let running = endpoint::start(config).await?;
    let to = running.listeners()[0].control;
    let dialer = quic::dial(None, to)?;
    let trust = Trust::measuring(None);
    let connected = quic::connect(&dialer, to, "localhost", &trust, &[control::ALPN], CONNECT).await?;
    let connection = connected.connection;
    let (send, receive) = connection.open_bi().await?;
    let mut link = Link::quic(send, receive);
    let client = ClientInfo { name: "bench".into(), version: "0".into() };
    let hello = Hello {
        versions: vec![control::VERSION],
        token: None,
        client,
        wants: lifted,
        search: None,
        probes: greenroom::proto::control::ProbeCarrier::OwnPort,
    };
    link.send(&Frame::Hello(hello)).await?;
    match link.receive().await? {
        Some(Frame::Accept(_)) => {}
        other => return Err(format!("the endpoint does not accept: {other:?}").into()),
    }
    let (mut send, receive) = connection.open_bi().await?;
    let request = BulkRequest::Download { bytes: DataSize::from_bytes(u64::MAX), duration: DURATION };
    send.write_all(&request.to_bytes()).await?;
    let rate = drain(receive).await?;
    quic::close(&connection);
    Ok(rate)
}

async fn bare() -> Fallible<f64> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let certificate = CertificateDer::from(made.cert);
    let server = ServerConfig::with_single_cert(vec![certificate.clone()], key.into())?;
    let listener = Endpoint::server(server, SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let to = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        let Some(incoming) = listener.accept().await else { return };
        if let Ok(connection) = incoming.await {
            source(&connection).await;
            connection.closed().await;
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let mut dialer = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    dialer.set_default_client_config(ClientConfig::with_root_certificates(Arc::new(roots))?);
    let connection = dialer.connect(to, "localhost")?.await?;
    let (mut send, receive) = connection.open_bi().await?;
    send.write_all(&[1]).await?;
    let rate = drain(receive).await?;
    quic::close(&connection);
    serving.await?;
    Ok(rate)
}

/// Sends for as long as the endpoint would.
async fn source(connection: &Connection) {
    let Ok((mut send, _receive)) = connection.accept_bi().await else { return };
    let clock = Clock::start();
    while clock.now() < DURATION && send.write_chunk(Bytes::from_static(&DATA)).await.is_ok() {}
    // A client that is gone has what it wanted.
    let _ = send.finish();
}

/// Reads to the end; gigabits per second from the first piece on.
async fn drain(mut receive: RecvStream) -> Fallible<f64> {
    let clock = Clock::start();
    let (mut bytes, mut first) = (0_u64, None);
    while let Some(chunk) = receive.read_chunk(PIECE, true).await? {
        bytes += chunk.bytes.len() as u64;
        first.get_or_insert_with(|| clock.now());
    }
    let took = clock.now() - first.ok_or("nothing came")?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = bytes as f64 * 8.0 / took.as_secs() / 1e9;
    Ok(rate)
}
