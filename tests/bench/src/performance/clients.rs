//! Many clients at once against one `greenroom serve`, as browsers come: WebRTC data channels, and WebTransport, each at the rate of audio.
//!
//! The clients are this program, on a processor of its own; the server has the other one.

mod web_rtc;
mod web_transport;

use std::any::Any;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use greenroom::net::clock::Clock;
use greenroom::proto::control::{Accept, ClientInfo, Decoder, Frame, Hello, Limits, ProbeCarrier, VERSION};
use greenroom::proto::machine::{Arrival, Departure, DepartureEvent, Machine as _};
use greenroom::proto::sender::{AudioPlan, Sender, SenderConfig};
use greenroom::proto::stamp::WallAnchor;
use greenroom_reports::trace::{ClockInfo, StampSource};
use greenroom_reports::units::{Bitrate, Micros};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::ingest::http::Connection;
use crate::machine::own_time;
use crate::process::{ANSWERING, ASKING, free_port, free_tcp_port, greenroom, on_core, pause};
use crate::record::{Goal, Section};
use crate::{Fallible, ROUNDS};

/// Longer than any round: a client sends from the moment that it is let in until all are told to stop.
const AUDIO: Micros = Micros::from_secs(110);
/// What is left out at the beginning.
const SETTLING: Duration = Duration::from_secs(3);
/// What counts for processor time.
const WINDOW: Duration = Duration::from_secs(10);
/// How long it may take until all are let in.
const PATIENCE: Duration = Duration::from_secs(80);
/// Clients that are let in at the same time: browsers do not come in the same millisecond.
const TOGETHER: usize = 16;

const LOST: &str = "lost on the way through the server";
const LATE_HERE: &str = "not sent by the clients, since too late";
const OWN: &str = "dropped by the clients' own sockets";
const TRIP: &str = "server: round trip, median";
const CPU: &str = "server: processor time per client";
const MEMORY: &str = "server: memory per client";
const GENERATOR: &str = "clients: processor time per client";

/// What the clients come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    WebRtc,
    WebTransport,
}

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    for _ in 0..ROUNDS {
        for (by, clients, who) in
            [(By::WebRtc, 200, "200 by WebRTC"), (By::WebTransport, 500, "500 by WebTransport")]
        {
            let found = attempt(by, clients)?;
            section.add(LOST, who, "%", found.lost_percent).goal(Goal::AtMost(0.1));
            section.add(LATE_HERE, who, "%", found.late_percent);
            section.add(OWN, who, "packets", found.dropped_here);
            section.add(TRIP, who, "ms", found.rtt_ms);
            section.add(CPU, who, "% of a core", found.cpu_percent);
            section.add(MEMORY, who, "kB", found.memory_kb);
            section.add(GENERATOR, who, "% of a core", found.own_percent);
        }
    }
    section.group_by_what();
    section.note(
        "One `greenroom serve` on one processor, all clients on the other: 50 packets/s each way for each client, of 212 bytes at the IP layer, \
         signed, verified and logged, from the moment that each is let in until 13 s after the last, and the server's log of them over each client's control channel. Lost is what was sent and not \
         answered, less what the receive queues of the clients' own sockets dropped, which the kernel counts apart. Processor time is that of 10 s \
         within; memory is what is resident then, over what the server had before the first client.",
    );
    if cfg!(debug_assertions) {
        section.note("Measured with the development build (optimized by one level, its own code with checks): a release takes less.");
    }
    Ok(())
}

/// What came of it.
struct Found {
    lost_percent: f64,
    late_percent: f64,
    dropped_here: f64,
    rtt_ms: f64,
    cpu_percent: f64,
    memory_kb: f64,
    own_percent: f64,
}

/// What one client has seen.
#[derive(Debug, Default)]
struct Seen {
    planned: u64,
    sent: u64,
    answered: u64,
    rtts: Vec<Micros>,
}

/// A client that was not let in yet.
struct Coming {
    _turn: OwnedSemaphorePermit,
    arrived: mpsc::Sender<()>,
}

impl Coming {
    async fn arrive(self) {
        // Who counts them has gone only when another client failed.
        let _ = self.arrived.send(()).await;
    }
}

/// A client at its end: what it has seen, and what holds its socket open.
type Done = (Seen, Box<dyn Any + Send>);

/// What all clients share.
#[derive(Clone)]
struct Crowd {
    clock: Clock,
    /// Whether it is over.
    end: watch::Receiver<bool>,
    /// The page's server.
    http: SocketAddr,
    /// The endpoint of media, and the hash of its certificate.
    media: SocketAddr,
    certificate: Arc<[u8]>,
}

fn attempt(by: By, clients: usize) -> Fallible<Found> {
    let tokens: Vec<String> = (0..clients).map(|number| format!("bench-token-{number:04}")).collect();
    let serve = on_core(ANSWERING, || Serve::start(&tokens))?;
    on_core(ASKING, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(crowd(by, tokens, &serve))
    })
}

async fn crowd(by: By, tokens: Vec<String>, serve: &Serve) -> Fallible<Found> {
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let number = tokens.len() as f64;
    let empty_kb = serve.resident_kb()?;
    let dropped_before = dropped_elsewhere(serve.media)?;
    let (stop, end) = watch::channel(false);
    let shared = Crowd {
        clock: Clock::start(),
        end,
        http: serve.http,
        media: serve.media,
        certificate: serve.certificate()?.into(),
    };
    let gate = Arc::new(Semaphore::new(TOGETHER));
    let (arrived, mut arrivals) = mpsc::channel(tokens.len());
    let mut working = JoinSet::new();
    for (place, token) in tokens.into_iter().enumerate() {
        let (shared, gate, arrived) = (shared.clone(), Arc::clone(&gate), arrived.clone());
        working.spawn(async move {
            let phase = Micros::new(i64::try_from(place % 200).unwrap_or(0) * 100);
            let coming = Coming { _turn: gate.acquire_owned().await?, arrived };
            match by {
                By::WebRtc => web_rtc::run(&shared, &token, phase, coming).await,
                By::WebTransport => web_transport::run(&shared, &token, phase, coming).await,
            }
        });
    }
    drop(arrived);
    let wanted = working.len();
    let all = async {
        for there in 0..wanted {
            if arrivals.recv().await.is_none() {
                return there;
            }
        }
        wanted
    };
    let there =
        tokio::time::timeout(PATIENCE, all).await.map_err(|_| "not all clients were let in in time")?;
    if there < wanted {
        // The first that failed says why.
        while let Some(one) = working.join_next().await {
            one??;
        }
        return Err("not all clients were let in".into());
    }
    tokio::time::sleep(SETTLING).await;
    let (there_s, here_s, clock) = (serve.spent_s()?, own_time(false)?, Clock::start());
    tokio::time::sleep(WINDOW).await;
    let took = clock.now().as_secs();
    let (there_s, here_s) = (serve.spent_s()? - there_s, (own_time(false)? - here_s).as_secs_f64());
    let full_kb = serve.resident_kb()?;
    stop.send(true)?;
    let mut all = Seen::default();
    // Their sockets stay open until the kernel has been asked what it dropped.
    let mut held = Vec::new();
    while let Some(one) = working.join_next().await {
        let (seen, socket) = one??;
        if seen.sent == 0 {
            return Err("a client that was let in could send nothing".into());
        }
        all.planned += seen.planned;
        all.sent += seen.sent;
        all.answered += seen.answered;
        all.rtts.extend(seen.rtts);
        held.push(socket);
    }
    let dropped_here = dropped_elsewhere(serve.media)?.saturating_sub(dropped_before);
    drop(held);
    if all.sent < all.planned / 2 {
        return Err(format!("the clients sent {} of {} packets", all.sent, all.planned).into());
    }
    let lost = all.sent.saturating_sub(all.answered).saturating_sub(dropped_here);
    all.rtts.sort_unstable();
    let rtt = all.rtts.get(all.rtts.len() / 2).copied().unwrap_or(Micros::ZERO);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(Found {
        lost_percent: lost as f64 / all.sent as f64 * 100.0,
        late_percent: all.planned.saturating_sub(all.sent) as f64 / all.planned as f64 * 100.0,
        dropped_here: dropped_here as f64,
        rtt_ms: rtt.as_ms(),
        cpu_percent: there_s / took / number * 100.0,
        memory_kb: (full_kb - empty_kb) / number,
        own_percent: here_s / took / number * 100.0,
    })
}

/// What a client says first, as an octet string for the control channel.
fn hello(token: &str) -> Fallible<Vec<u8>> {
    let hello = Hello {
        versions: vec![VERSION],
        token: greenroom::address::Token::new(token),
        client: ClientInfo { name: "bench".into(), version: "0".into() },
        wants: Limits {
            max_bitrate_bps: Bitrate::from_kbps(200),
            max_pps: 100,
            max_duration_us: Micros::from_secs(120),
        },
        search: None,
        probes: ProbeCarrier::QuicDatagrams,
    };
    let mut octets = Vec::new();
    Frame::Hello(hello).write(&mut octets)?;
    Ok(octets)
}

/// The endpoint's first word, once it is there.
fn accepted(decoder: &mut Decoder) -> Fallible<Option<Box<Accept>>> {
    let Some(raw) = decoder.next_frame()? else { return Ok(None) };
    match Frame::parse(raw)? {
        Frame::Accept(accept) => Ok(Some(accept)),
        other => Err(format!("not let in: {other:?}").into()),
    }
}

/// The audio of one client: the same machine as an agent's, over whatever carries datagrams.
struct Audio {
    sender: Sender,
    payload: Vec<u8>,
    clock: Clock,
    from: SocketAddr,
    ends: bool,
}

impl Audio {
    fn begin(shared: &Crowd, accept: &Accept, phase: Micros) -> Self {
        let clock = shared.clock;
        let user = StampSource::User;
        let config = SenderConfig {
            reflector: shared.media,
            ssid: accept.ssid,
            key: accept.key.clone(),
            anchor_here: WallAnchor::from_unix_micros(clock.started().as_microsecond()),
            anchor_there: accept.anchor_unix_us,
            timestamps_there: accept.timestamps,
            clock: ClockInfo { tx: user, rx: user, steps: Vec::new() },
            validate_until: clock.now() + Micros::from_secs(5),
            audio: AudioPlan { start_phase: phase, duration: AUDIO, tos: 0 },
            straggler_wait: Micros::from_millis(500),
        };
        let sender = Sender::new(config, clock.now());
        Self { sender, payload: Vec::new(), clock, from: shared.media, ends: false }
    }

    /// The next packet that is due.
    fn due(&mut self) -> Option<&[u8]> {
        let now = self.clock.now();
        let transmit = self.sender.poll_transmit(now, &mut self.payload)?;
        self.sender.handle_departure(&Departure { key: transmit.key, event: DepartureEvent::Handed(now) });
        Some(&self.payload)
    }

    /// When there is something to do next.
    fn next(&self) -> Micros {
        let look = self.clock.now() + Micros::from_millis(20);
        self.sender.next_deadline().map_or(look, |next| next.min(look))
    }

    fn take(&mut self, octets: &[u8]) {
        let now = self.clock.now();
        let arrival = Arrival { from: self.from, at: now, kernel: false, tos: None, ttl: None };
        self.sender.handle_datagram(now, &arrival, octets);
    }

    /// Whether all is sent and what is still on its way was awaited; asked often, and told to end by the crowd.
    fn is_over(&mut self, shared: &Crowd) -> bool {
        if *shared.end.borrow() && !self.ends {
            self.sender.finish(self.clock.now());
            self.ends = true;
        }
        self.sender.is_finished()
    }

    fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        for stream in &self.sender.half().streams {
            let sent = |of: u32| stream.tx.get(usize::try_from(of).ok()?)?.user;
            seen.planned += stream.tx.len() as u64;
            seen.sent += stream.tx.iter().filter(|packet| packet.user.is_some()).count() as u64;
            seen.answered += stream.rx.len() as u64;
            let trips = stream.rx.iter().filter_map(|answer| Some(answer.at - sent(answer.reply?.of)?));
            // One in ten says enough of the median.
            seen.rtts.extend(trips.step_by(10));
        }
        seen
    }
}

/// A running server. Killed when dropped.
struct Serve {
    child: Child,
    http: SocketAddr,
    media: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Serve {
    fn start(tokens: &[String]) -> Fallible<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("tokens");
        fs::write(&file, tokens.join("\n"))?;
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        // WebRTC takes the second port after the one named.
        let (http, media) = (at(free_tcp_port()?), at(free_port()?));
        let child = Command::new(greenroom()?)
            .args(["-q", "serve", "--listen", &http.to_string(), "--endpoint", &media.to_string()])
            .args(["--endpoint-sessions", &tokens.len().to_string(), "--address-rate", "100000"])
            .arg("--endpoint-token-file")
            .arg(&file)
            .arg("--data")
            .arg(folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut serve = Self { child, http, media, _folder: folder };
        let clock = Clock::start();
        while clock.now() < Micros::from_secs(30) {
            if serve.get("/healthz").is_ok() {
                return Ok(serve);
            }
            if let Some(status) = serve.child.try_wait()? {
                return Err(format!("greenroom serve ended at once: {status}").into());
            }
            pause(Duration::from_millis(5));
        }
        Err("greenroom serve does not answer".into())
    }

    fn get(&self, path: &str) -> Fallible<String> {
        match Connection::open(self.http.port())?.get(path, "")? {
            (200, body) => Ok(body),
            (status, body) => Err(format!("{path}: {status} {body}").into()),
        }
    }

    /// The hash of the certificate that it shows to browsers.
    fn certificate(&self) -> Fallible<Vec<u8>> {
        let session: serde_json::Value = serde_json::from_str(&self.get("/api/v1/session")?)?;
        let hash = session["media"]["certificate_sha256"].as_str().ok_or("no certificate")?;
        let pairs = (0..hash.len()).step_by(2).map(|at| hash.get(at..at + 2).unwrap_or_default());
        Ok(pairs.map(|pair| u8::from_str_radix(pair, 16)).collect::<Result<_, _>>()?)
    }

    fn spent_s(&self) -> Fallible<f64> {
        Ok(crate::process::spent_ms(self.child.id())? / 1_000.0)
    }

    fn resident_kb(&self) -> Fallible<f64> {
        Ok(crate::process::memory_kb(self.child.id(), "VmRSS:")? * 1.024)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the receive queues of all sockets but the endpoint's have dropped, as the kernel counts it.
fn dropped_elsewhere(endpoint: SocketAddr) -> Fallible<u64> {
    let own: Vec<String> = (0..3).map(|after| format!(":{:04X}", endpoint.port() + after)).collect();
    let mut dropped = 0;
    for table in ["udp", "udp6"] {
        let table = Path::new("/proc/net").join(table);
        for line in fs::read_to_string(table)?.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(drops)) = (fields.get(1), fields.last()) else { continue };
            if !own.iter().any(|port| local.ends_with(port.as_str())) {
                dropped += drops.parse::<u64>()?;
            }
        }
    }
    Ok(dropped)
}
