//! The media endpoint as a page uses it: a WebTransport session, with bulk beside it.

use std::time::Duration;

use greenroom::endpoint::{self, BulkRequest, Config, LoadTold, Running};
use greenroom::net::link::Link;
use greenroom::proto::control::{self, ClientInfo, Frame, Hello, Limits, ProbeCarrier, SearchWish};
use greenroom_reports::units::{Bitrate, DataSize, Micros};
use web_transport_quinn::{ClientBuilder, RecvStream, SendStream, Session};

const WANTS: Limits = Limits {
    max_bitrate_bps: Bitrate::from_kbps(2_000),
    max_pps: 500,
    max_duration_us: Micros::from_secs(30),
};
const PATIENCE: Duration = Duration::from_secs(20);

/// A page's session, and its control stream.
struct Page {
    session: Session,
    _link: Link,
    granted: Limits,
}

impl Page {
    async fn open(running: &Running, search: Option<SearchWish>) -> Self {
        // Another test of this program may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ClientBuilder::new().dangerous().with_no_certificate_verification().expect("a client");
        let at = running.listeners()[0].control;
        let url: url::Url = format!("https://{at}{}", endpoint::BROWSER_PATH).parse().expect("a URL");
        let session = client.connect(url).await.expect("a session");
        let (send, receive) = session.open_bi().await.expect("a stream");
        let mut link = Link::web_transport(send, receive);
        let hello = Hello {
            versions: vec![control::VERSION],
            token: None,
            client: ClientInfo { name: "test".into(), version: "1".into() },
            wants: WANTS,
            search,
            probes: ProbeCarrier::QuicDatagrams,
        };
        link.send(&Frame::Hello(hello)).await.expect("sent");
        let Some(Frame::Accept(accept)) = link.receive().await.expect("an answer") else {
            panic!("not accepted");
        };
        Self { session, _link: link, granted: accept.limits }
    }

    async fn ask(&self, request: BulkRequest) -> (SendStream, RecvStream) {
        let (mut send, receive) = self.session.open_bi().await.expect("a stream");
        send.write_all(&request.to_bytes()).await.expect("sent");
        (send, receive)
    }
}

async fn start() -> Running {
    endpoint::start(Config::loopback().expect("a certificate")).await.expect("it starts")
}

fn wish(kbps: u64) -> Option<SearchWish> {
    Some(SearchWish { max_bitrate_bps: Bitrate::from_kbps(kbps), max_pps: 20_000 })
}

fn download(bytes: u64, ms: i64) -> BulkRequest {
    BulkRequest::Download { bytes: DataSize::from_bytes(bytes), duration: Micros::from_millis(ms) }
}

/// What came until the end, and whether that was the stream's own.
async fn all(receive: &mut RecvStream) -> (Vec<u8>, bool) {
    let mut came = Vec::new();
    loop {
        match receive.read_chunk(1 << 16, true).await {
            Ok(Some(chunk)) => came.extend_from_slice(&chunk.bytes),
            Ok(None) => return (came, true),
            Err(_) => return (came, false),
        }
    }
}

/// Microseconds, octets of the stream, octets at the IP layer, packets.
type Told = [u64; 4];

/// What a transfer is answered with.
fn told(answer: &[u8]) -> Vec<Told> {
    let (counts, rest) = answer.as_chunks::<{ LoadTold::LEN }>();
    assert!(rest.is_empty(), "told in whole");
    let value = |count: &[u8; LoadTold::LEN], at: usize| {
        u64::from_be_bytes(count[at * 8..at * 8 + 8].try_into().expect("eight octets"))
    };
    counts.iter().map(|count| std::array::from_fn(|at| value(count, at))).collect()
}

/// What came of a download: octets, whether that was all, and what was told until the request's stream ended.
async fn downloaded(page: &Page, request: BulkRequest) -> (usize, bool, Vec<Told>) {
    let (_send, mut answer) = page.ask(request).await;
    let data = async { all(&mut page.session.accept_uni().await.expect("a stream")).await };
    let ((came, whole), (answer, ended)) = tokio::join!(data, all(&mut answer));
    assert!(ended, "told to its end");
    let told = told(&answer);
    assert!(told.is_sorted_by(|a, b| (0..4).all(|k| a[k] <= b[k])), "counts grow: {told:?}");
    (came.len(), whole, told)
}

#[tokio::test]
async fn a_page_that_asks_is_granted_more_and_downloads_what_it_asked_for() {
    let running = start().await;
    let page = Page::open(&running, wish(50_000)).await;
    assert_eq!(page.granted.max_bitrate_bps, Bitrate::from_kbps(50_000));
    let came = tokio::time::timeout(PATIENCE, downloaded(&page, download(1_500_000, 5_000))).await;
    let (octets, whole, told) = came.expect("it ends");
    assert_eq!((octets, whole), (1_500_000, true));
    // All of it was acknowledged by then, in packets of their usual size and with the headers of each.
    let [at, stream, carried, packets] = told[told.len() - 1];
    assert_eq!(stream, 1_500_000);
    assert!((1_530_000..1_800_000).contains(&carried), "{carried}");
    assert!((carried / 1_500..=carried / 1_000).contains(&packets), "{packets}");
    assert!(told.len() >= 3 && at < 20_000_000, "{told:?}");
}

#[tokio::test]
async fn a_download_is_reset_at_its_time_whatever_is_still_to_be_sent() {
    let running = start().await;
    let page = Page::open(&running, None).await;
    assert_eq!(page.granted, WANTS, "who does not ask has what it wants");
    let came = tokio::time::timeout(PATIENCE, downloaded(&page, download(u64::MAX, 500))).await;
    let (octets, ..) = came.expect("it ends");
    // Half a second of 2 Mbit/s, what may be ahead of it, and what is written at once.
    assert!(octets <= 125_000 + 12_500 + 2 * 65_536, "{octets}");
    // The session lives on.
    let came = tokio::time::timeout(PATIENCE, downloaded(&page, download(1_000, 500))).await;
    let (octets, whole, _) = came.expect("it ends");
    assert_eq!((octets, whole), (1_000, true));
}

#[tokio::test]
async fn an_upload_is_told_while_it_runs_and_broken_off_without_harm() {
    let running = start().await;
    let page = Page::open(&running, wish(50_000)).await;
    let (mut send, mut receive) = page.ask(BulkRequest::Upload).await;
    send.write_all(&vec![7; 400_000]).await.expect("sent");
    let mut counts = Vec::new();
    // Until all of it is told, while the stream is open.
    let last = loop {
        let mut wire = [0; LoadTold::LEN];
        let read = receive.read_exact(&mut wire);
        tokio::time::timeout(PATIENCE, read).await.expect("it tells").expect("open");
        let count = told(&wire)[0];
        counts.push(count);
        if count[1] == 400_000 {
            break count;
        }
    };
    assert!(counts.is_sorted_by(|a, b| (0..4).all(|k| a[k] <= b[k])), "counts grow: {counts:?}");
    let [at, stream, received, packets] = last;
    assert!(received > stream && packets > stream / 1_500 && at < 20_000_000, "{last:?}");
    send.reset(0).expect("open");
    let (_, whole) = tokio::time::timeout(PATIENCE, all(&mut receive)).await.expect("it ends");
    assert!(whole, "told to its end");
}

#[tokio::test]
async fn two_transfers_run_at_once_and_a_third_waits() {
    let running = start().await;
    let page = Page::open(&running, None).await;
    let (_send, mut first) = page.ask(download(u64::MAX, 1_000)).await;
    let _second = page.ask(BulkRequest::Upload).await;
    let (_send, mut receive) = page.ask(download(1_000, 5_000)).await;
    // The first takes its whole second.
    let third = tokio::time::timeout(Duration::from_millis(300), receive.read_chunk(1, true)).await;
    assert!(third.is_err(), "the third began while two ran");
    tokio::time::timeout(PATIENCE, all(&mut first)).await.expect("it ends");
    let (came, whole) = tokio::time::timeout(PATIENCE, all(&mut receive)).await.expect("it has its turn");
    assert!(whole && !told(&came).is_empty());
}

#[tokio::test]
async fn of_two_transfers_the_same_way_the_second_waits() {
    let running = start().await;
    let page = Page::open(&running, None).await;
    let (_send, mut first) = page.ask(download(u64::MAX, 1_000)).await;
    first.read_chunk(1, true).await.expect("open").expect("it has begun");
    let (_send, mut second) = page.ask(download(1_000, 5_000)).await;
    // Else both together would have twice the rate that was granted.
    let early = tokio::time::timeout(Duration::from_millis(300), second.read_chunk(1, true)).await;
    assert!(early.is_err(), "the second began while the first ran");
    tokio::time::timeout(PATIENCE, all(&mut first)).await.expect("it ends");
    let (came, whole) = tokio::time::timeout(PATIENCE, all(&mut second)).await.expect("it has its turn");
    assert!(whole && !told(&came).is_empty());
}

#[tokio::test]
async fn what_is_no_request_ends_its_stream_alone() {
    let running = start().await;
    let page = Page::open(&running, None).await;
    let (mut send, mut receive) = page.session.open_bi().await.expect("a stream");
    send.write_all(&[9; BulkRequest::LEN]).await.expect("sent");
    let (came, _) = tokio::time::timeout(PATIENCE, all(&mut receive)).await.expect("it ends");
    assert!(came.is_empty());
    let came = tokio::time::timeout(PATIENCE, downloaded(&page, download(1_000, 5_000))).await;
    let (octets, whole, _) = came.expect("it ends");
    assert_eq!((octets, whole), (1_000, true));
}
