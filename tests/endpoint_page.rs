//! The media endpoint as a page uses it: a WebTransport session, with bulk beside it.

use std::time::Duration;

use greenroom::endpoint::{self, BulkRequest, Config, LoadPacket, LoadTold, Running};
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

/// What came of a download until its request's stream ended: octets of the pieces that are whole, how many these are, and whether all were.
async fn downloaded(page: &Page, request: BulkRequest) -> (usize, usize, bool) {
    let (_send, mut receive) = page.ask(request).await;
    let mut head = [0; LoadPacket::LEN];
    receive.read_exact(&mut head).await.expect("an answer");
    let [a, b, c, d] = head;
    let (ip, stream) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    assert!(ip >= 1_200 + 28 && (50..80).contains(&(ip - stream)), "{ip} {stream}");
    let ended = async { all(&mut receive).await };
    tokio::pin!(ended);
    let (mut octets, mut pieces, mut whole) = (0, 0, true);
    loop {
        tokio::select! {
            biased;
            piece = page.session.accept_uni() => {
                let (came, is_whole) = all(&mut piece.expect("a piece")).await;
                (octets, pieces, whole) = (octets + came.len(), pieces + 1, whole && is_whole);
            }
            (more, _) = &mut ended => {
                assert_eq!(more.len(), 0);
                return (octets, pieces, whole);
            }
        }
    }
}

#[tokio::test]
async fn a_page_that_asks_is_granted_more_and_downloads_what_it_asked_for() {
    let running = start().await;
    let page = Page::open(&running, wish(50_000)).await;
    assert_eq!(page.granted.max_bitrate_bps, Bitrate::from_kbps(50_000));
    let came = tokio::time::timeout(PATIENCE, downloaded(&page, download(1_500_000, 5_000))).await;
    let (octets, pieces, whole) = came.expect("it ends");
    assert_eq!((octets, whole), (1_500_000, true));
    // None has much more than one of 32 parts of what is on the way, or 5 ms.
    assert!(pieces >= 10, "{pieces}");
}

#[tokio::test]
async fn a_download_is_reset_at_its_time_whatever_is_still_to_be_sent() {
    let running = start().await;
    let page = Page::open(&running, None).await;
    assert_eq!(page.granted, WANTS, "who does not ask has what it wants");
    let came = tokio::time::timeout(PATIENCE, downloaded(&page, download(u64::MAX, 500))).await;
    let (octets, ..) = came.expect("it ends");
    // Half a second of 2 Mbit/s, what may be ahead of it, and a piece.
    assert!(octets <= 125_000 + 12_500 + 2 * 65_536, "{octets}");
    // The session lives on.
    let came = tokio::time::timeout(PATIENCE, downloaded(&page, download(1_000, 500))).await;
    // Pieces of the one before may come with it.
    assert!(came.expect("it ends").0 >= 1_000);
}

#[tokio::test]
async fn an_upload_is_told_while_it_runs_and_broken_off_without_harm() {
    let running = start().await;
    let page = Page::open(&running, wish(50_000)).await;
    let (mut send, mut receive) = page.ask(BulkRequest::Upload).await;
    send.write_all(&vec![7; 400_000]).await.expect("sent");
    let mut told = Vec::new();
    // Until all of it is told, while the stream is open.
    let last = loop {
        let mut wire = [0; LoadTold::LEN];
        let read = receive.read_exact(&mut wire);
        tokio::time::timeout(PATIENCE, read).await.expect("it tells").expect("open");
        let value =
            |at: usize| u64::from_be_bytes(wire[at * 8..at * 8 + 8].try_into().expect("eight octets"));
        told.push([value(0), value(1), value(2), value(3)]);
        if value(1) == 400_000 {
            break [value(0), value(1), value(2), value(3)];
        }
    };
    assert!(told.is_sorted_by(|a, b| (0..4).all(|k| a[k] <= b[k])), "counts grow: {told:?}");
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
    assert_eq!((came.len(), whole), (LoadPacket::LEN, true));
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
    assert_eq!((came.len(), whole), (LoadPacket::LEN, true));
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
    let (octets, _, whole) = came.expect("it ends");
    assert_eq!((octets, whole), (1_000, true));
}
