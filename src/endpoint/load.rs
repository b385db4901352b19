//! Bulk transfers of a page: those of [`super::bulk`] over streams of its WebTransport session, told as they come.
//!
//! A browser says little of what its streams do: when octets that it took left, or what has come and waits behind what was lost. So both ways
//! are answered with a [`LoadTold`] of 32 octets every 50 ms: of an upload what the endpoint received, of a download what the browser has
//! acknowledged, which it does packet by packet. The data of a download are a stream of their own, behind which the answer does not wait.
//! Both end at their time, whatever is still on the way: streams are reset.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use greenroom_reports::units::{DataSize, Micros};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use web_transport_quinn::{RecvStream, SendStream, Session};

use super::bulk::{BulkRequest, PATTERN, PIECE, REQUEST, Throttle};
use super::{LoadTold, Stats};
use crate::net::clock::Clock;
use crate::net::congestion::{self, Bulk};
use crate::proto::capacity::{INTERVAL, LONGEST};
use crate::proto::control::Limits;

/// Transfers of one page that are begun at once. Of two the same way the second waits, for each may take the whole rate.
const MAX_STREAMS: usize = 2;
/// Behind the control stream, whose log would wait for it otherwise.
const BEHIND: i32 = -1;
/// How long what is told last may take to go.
const GOODBYE: Duration = Duration::from_secs(1);
/// What a stream is reset with. It means nothing.
const OVER: u32 = 0;
/// What a unidirectional stream of a session begins with (draft-ietf-webtrans-http3 section 4.2): its kind, and the number of the stream that
/// asked for the session, which is the connection's first: no other is looked at.
const STREAM_HEADER: [u8; 3] = [0x40, 0x54, 0];

/// Serves transfers until the session ends. Dropping it ends them.
pub(super) async fn serve(session: &Session, limits: Limits, stats: &Arc<Stats>) {
    let mut running = JoinSet::new();
    let ways = Arc::new(Ways::default());
    loop {
        tokio::select! {
            opened = session.accept_bi(), if running.len() < MAX_STREAMS => match opened {
                Ok((send, receive)) => {
                    let ways = Arc::clone(&ways);
                    let transfer = Transfer { session: session.clone(), send, receive, limits, ways };
                    let stats = Arc::clone(stats);
                    running.spawn(async move { stats.bulk_bytes.add(transfer.run().await) });
                }
                Err(_) => return,
            },
            Some(_) = running.join_next() => {}
        }
    }
}

/// Held by the transfer that goes this way.
#[derive(Default)]
struct Ways {
    up: Mutex<()>,
    down: Mutex<()>,
}

/// One transfer. A page that breaks it off has its reasons.
struct Transfer {
    session: Session,
    send: SendStream,
    receive: RecvStream,
    limits: Limits,
    ways: Arc<Ways>,
}

impl Transfer {
    /// Octets that were moved.
    async fn run(mut self) -> u64 {
        let mut wire = [0; BulkRequest::LEN];
        let asked = tokio::time::timeout(REQUEST, self.receive.read_exact(&mut wire)).await;
        if !matches!(asked, Ok(Ok(()))) {
            return 0;
        }
        let most = self.limits.max_duration_us.min(LONGEST);
        let ways = Arc::clone(&self.ways);
        match BulkRequest::from_bytes(wire) {
            Some(BulkRequest::Upload) => {
                let _turn = ways.up.lock().await;
                self.sink(most).await
            }
            Some(BulkRequest::Download { bytes, duration }) => {
                let _turn = ways.down.lock().await;
                self.source(bytes, duration.min(most)).await
            }
            None => 0,
        }
    }

    async fn sink(&mut self, lasting: Micros) -> u64 {
        let Self { session, send, receive, limits, .. } = self;
        let (moved, mut counted) = (AtomicU64::new(0), Counted::start(session, received));
        let taking = take(receive, Throttle::new(limits.max_bitrate_bps), &moved);
        within(lasting, taking, counted.telling(session, send, &moved)).await;
        // It fails once the stream has ended by itself.
        let _ = receive.stop(OVER);
        counted.last(session, send, &moved).await.stream.bytes()
    }

    async fn source(&mut self, bytes: DataSize, lasting: Micros) -> u64 {
        let Self { session, send, limits, .. } = self;
        let (moved, mut counted) = (AtomicU64::new(0), Counted::start(session, congestion::acknowledged));
        let _bulk = Bulk::begin(session);
        let mut data = None;
        let giving = give(session, &mut data, bytes.bytes(), Throttle::new(limits.max_bitrate_bps), &moved);
        within(lasting, giving, counted.telling(session, send, &moved)).await;
        // What is still buffered here would take its time. It fails once all of it has come.
        let _ = data.map(|mut stream| stream.reset(OVER.into()));
        let last = counted.last(session, send, &moved).await;
        last.stream.bytes().min(last.carried.bytes())
    }
}

/// Until the octets have moved, nobody reads what is told, or the time is over.
async fn within(lasting: Micros, moving: impl Future<Output = ()>, telling: impl Future<Output = ()>) {
    tokio::select! {
        () = tokio::time::sleep(lasting.to_duration()) => {}
        () = moving => {}
        () = telling => {}
    }
}

/// Reads what comes, no faster than it may.
async fn take(stream: &mut RecvStream, mut throttle: Throttle, moved: &AtomicU64) {
    while let Ok(Some(chunk)) = stream.read_chunk(PIECE, true).await {
        moved.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        tokio::time::sleep(throttle.ahead(chunk.bytes.len())).await;
    }
}

/// Writes so many octets into a stream of its own, and waits until all have come or the page wants no more.
async fn give(
    session: &Session,
    data: &mut Option<quinn::SendStream>,
    octets: u64,
    mut throttle: Throttle,
    moved: &AtomicU64,
) {
    let Ok(stream) = open(session).await else { return };
    let stream = data.insert(stream);
    let mut left = octets;
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        if stream.write_chunk(Bytes::from_static(&PATTERN[..piece])).await.is_err() {
            return;
        }
        left -= piece as u64;
        moved.store(octets - left, Ordering::Relaxed);
        tokio::time::sleep(throttle.ahead(piece)).await;
    }
    // It fails once the stream is gone.
    let _ = stream.finish();
    let _ = stream.stopped().await;
}

/// Opens a stream for data.
///
/// It is opened here and not by the session, which puts the header of each before all else, and what follows with it: the control stream
/// and the answer would wait until all of it has gone.
async fn open(session: &Session) -> Result<quinn::SendStream, quinn::WriteError> {
    let mut stream = quinn::Connection::open_uni(session).await?;
    // It fails once the stream is gone.
    let _ = stream.set_priority(BEHIND);
    stream.write_all(&STREAM_HEADER).await?;
    Ok(stream)
}

/// What the whole connection has carried one way since a transfer began.
struct Counted {
    clock: Clock,
    /// Octets of UDP payload, and packets.
    count: fn(&quinn::Connection) -> (u64, u64),
    last: (u64, u64),
    carried: (u64, u64),
    /// Octets of IP and UDP before each.
    headers: u64,
    /// Whether something is being told: what was cut off in the middle is nothing to go on from.
    is_telling: bool,
}

impl Counted {
    fn start(session: &Session, count: fn(&quinn::Connection) -> (u64, u64)) -> Self {
        let headers = if session.remote_address().ip().to_canonical().is_ipv4() { 28 } else { 48 };
        Self {
            clock: Clock::start(),
            count,
            last: count(session),
            carried: (0, 0),
            headers,
            is_telling: false,
        }
    }

    /// Tells it every 50 ms, until nobody reads that.
    async fn telling(&mut self, session: &Session, send: &mut SendStream, stream: &AtomicU64) {
        let mut tick = tokio::time::interval(INTERVAL.to_duration());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let told = self.told(session, stream).to_bytes();
            self.is_telling = true;
            if send.write_all(&told).await.is_err() {
                return;
            }
            self.is_telling = false;
        }
    }

    /// Tells it for the last time.
    async fn last(&mut self, session: &Session, send: &mut SendStream, stream: &AtomicU64) -> LoadTold {
        let last = self.told(session, stream);
        if !self.is_telling {
            // Without a reader it is of no use.
            let _ = tokio::time::timeout(GOODBYE, send.write_all(&last.to_bytes())).await;
        }
        let _ = send.finish();
        last
    }

    fn told(&mut self, session: &Session, stream: &AtomicU64) -> LoadTold {
        let now = (self.count)(session);
        // Counts of another path begin anew.
        let added = |now: u64, last: u64| now.checked_sub(last).unwrap_or(now);
        self.carried.0 += added(now.0, self.last.0);
        self.carried.1 += added(now.1, self.last.1);
        self.last = now;
        let (octets, packets) = self.carried;
        LoadTold {
            at: self.clock.now(),
            stream: DataSize::from_bytes(stream.load(Ordering::Relaxed)),
            carried: DataSize::from_bytes(octets + packets * self.headers),
            packets,
        }
    }
}

fn received(connection: &quinn::Connection) -> (u64, u64) {
    let udp = connection.stats().udp_rx;
    (udp.bytes, udp.datagrams)
}
