//! Searches the capacity of emulated links, each way, in real time, and prints a table of what it found, in Markdown. Needs root
//! and a quiet machine.
//!
//! `cargo run --release -p greenroom-netlab --example capacity [KBIT/S …] > docs/accuracy/capacity.md`

use std::error::Error;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use greenroom::endpoint::{self, Config};
use greenroom::net::clock::Clock;
use greenroom::net::link::Link;
use greenroom::net::pacing::{Driver, DriverOptions};
use greenroom::net::quic;
use greenroom::net::trust::Trust;
use greenroom::net::udp::{self, UdpOptions};
use greenroom::proto::capacity::End;
use greenroom::proto::control::{self, Accept, ClientInfo, Frame, Hello, Limits};
use greenroom::proto::sender::{AudioPlan, Sender, SenderConfig};
use greenroom::proto::stamp::WallAnchor;
use greenroom::targets::capacity;
use greenroom_netlab::lab::{Lab, LabError};
use greenroom_netlab::scenario::Scenario;
use greenroom_reports::metrics::capacity::{Bounds, WINDOW, capacity as reported};
use greenroom_reports::trace::{CapacityInterval, ClockInfo, Direction, StreamId};
use greenroom_reports::units::{Bitrate, DataSize, Micros};

type Failed = Box<dyn Error + Send + Sync>;

const SEED: u64 = 20_261_122;
const PORT: u16 = 7_443;
const LIMITS: Limits = Limits {
    max_bitrate_bps: Bitrate::from_kbps(1_000_000),
    max_pps: 150_000,
    max_duration_us: Micros::from_secs(60),
};
const DEADLINE: Duration = Duration::from_secs(5);

/// What was found one way.
struct Found {
    direction: Direction,
    end: End,
    took: Micros,
}

const RATES_KBPS: [u64; 9] = [300, 500, 1_000, 3_000, 10_000, 30_000, 100_000, 200_000, 500_000];
/// Runs of a link until one is not void.
const TRIES: usize = 3;
/// What waits in a link that stands still comes out at once after it: longer, and a second has a hundredth more than the link's rate.
const LONGEST_STALL: Duration = Duration::from_millis(10);

fn main() -> Result<(), Failed> {
    let mut rates: Vec<u64> = std::env::args().skip(1).filter_map(|it| it.parse().ok()).collect();
    if rates.is_empty() {
        rates = RATES_KBPS.to_vec();
    }
    println!("{HEAD}");
    let (mut met, mut all) = (0, 0);
    for kbps in rates {
        for row in rows(kbps)? {
            all += 1;
            met += usize::from(row.met);
            println!("{}", row.line);
        }
    }
    println!("\n{met} of {all} searches met the bound.");
    Ok(())
}

const HEAD: &str = "# Capacity search on emulated links

Each link has 20 ms of delay each way and a tail-drop queue of 300 ms; the rate is the same both ways. The search up runs first, then the one down, over real
sockets between two network namespaces. *Reported* is what a report would say: the best second within the bounds (RFC 9097). The bound is 5 % from 1 to 200 Mbit/s
and 10 % elsewhere, of the reported figure, within 3 s. A run whose link came out more than 0.2 ms late (p99), or more than 10 ms once, is void and made again, three times at most.

Regenerate, as root on a quiet machine: `cargo run --release -p greenroom-netlab --example capacity > docs/accuracy/capacity.md`

| emulated | direction | reported | error | ended | took | bound met |
|---|---|---|---|---|---|---|";

/// One search as a line of the table.
struct Row {
    line: String,
    met: bool,
}

/// Runs both searches on one link until the link kept its word.
fn rows(kbps: u64) -> Result<Vec<Row>, Failed> {
    let scenario = Scenario::parse(
        "capacity",
        &format!(
            "why = \"capacity\"\nsource = \"own\"\nduration_ms = 20000\n\n\
             [both]\ndelay_ms = 20\nrate_kbps = {kbps}\nqueue_ms = 300\n\n\
             [expect]\nbecause = \"only the capacity is looked at\"\n"
        ),
    )?;
    for _ in 0..TRIES {
        let lab = Lab::start(&scenario, SEED)?;
        let (found, intervals) = measure(&lab)?;
        match lab.finish() {
            Ok(truth) if truth.lateness.is_some_and(|late| late.max > LONGEST_STALL) => {
                eprintln!("{kbps} kbit/s: void, the link stood still: {:?}", truth.lateness);
            }
            Ok(_) => return Ok(found.iter().map(|found| row(kbps, found, &intervals)).collect()),
            Err(LabError::Late { p99, .. }) => eprintln!("{kbps} kbit/s: void, the link was {p99:?} late"),
            Err(error) => eprintln!("{kbps} kbit/s: void, {error}"),
        }
    }
    let line = format!("| {} | both | void: the link came out late {TRIES} times | | | | no |", mbps(kbps));
    Ok(vec![Row { line, met: false }])
}

fn row(kbps: u64, found: &Found, intervals: &[CapacityInterval]) -> Row {
    let bounds = Bounds { loss_ratio: 0.02, delay_range: Micros::from_millis(90) };
    let reported = reported(intervals, found.direction, bounds, WINDOW);
    let truth = Bitrate::from_kbps(kbps).mbps();
    let error = reported.map(|reported| reported.rate.mbps() / truth - 1.0);
    let bound = if (1_000..=200_000).contains(&kbps) { 0.05 } else { 0.10 };
    let took = found.took.as_secs();
    let met = error.is_some_and(|error| error.abs() <= bound) && took < 3.0 && found.end == End::Converged;
    let direction = match found.direction {
        Direction::Up => "up",
        Direction::Down => "down",
    };
    let figure = reported.map_or("none".to_owned(), |it| format!("{:.3} Mbit/s", it.rate.mbps()));
    let error = error.map_or("-".to_owned(), |error| format!("{:+.1} %", error * 100.0));
    let end = format!("{:?}", found.end).to_lowercase();
    let verdict = if met { "yes" } else { "no" };
    let line =
        format!("| {} | {direction} | {figure} | {error} | {end} | {took:.2} s | {verdict} |", mbps(kbps));
    Row { line, met }
}

fn mbps(kbps: u64) -> String {
    format!("{} Mbit/s", Bitrate::from_kbps(kbps).mbps())
}

/// Runs endpoint and client, each at its end, on threads of their own.
fn measure(lab: &Lab) -> Result<(Vec<Found>, Vec<CapacityInterval>), Failed> {
    let (ready, started) = mpsc::channel();
    let (done, finished) = tokio::sync::oneshot::channel::<()>();
    let at = lab.there().ipv4();
    std::thread::scope(|scope| {
        let serving = scope.spawn(move || -> Result<(), Failed> {
            lab.there().enter()?;
            runtime()?.block_on(async {
                let mut config = Config::loopback()?;
                config.listen = vec![at.into()];
                config.port = PORT;
                config.capacity.max_bitrate = LIMITS.max_bitrate_bps;
                config.capacity.max_pps = LIMITS.max_pps;
                config.capacity.per_session = LIMITS;
                config.capacity.network_share = 1;
                let running = endpoint::start(config).await?;
                ready.send(())?;
                // The client is gone either way.
                let _ = finished.await;
                running.shut_down(Duration::from_millis(100)).await;
                Ok(())
            })
        });
        let measuring = scope.spawn(move || -> Result<_, Failed> {
            lab.here().enter()?;
            started.recv_timeout(DEADLINE)?;
            let found = runtime()?.block_on(client((at, PORT).into()));
            let _ = done.send(());
            found
        });
        let found = measuring.join().map_err(|_| "the client panicked")?;
        serving.join().map_err(|_| "the endpoint panicked")??;
        found
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn client(to: SocketAddr) -> Result<(Vec<Found>, Vec<CapacityInterval>), Failed> {
    let dialer = quic::dial(None, to)?;
    let trust = Trust::measuring(None);
    let connected = quic::connect(&dialer, to, "localhost", &trust, &[control::ALPN], DEADLINE).await?;
    let (send, receive) = connected.connection.open_bi().await?;
    let mut link = Link::quic(send, receive);
    let client = ClientInfo { name: "capacity".into(), version: "0".into() };
    let hello = Hello {
        versions: vec![control::VERSION],
        token: None,
        client,
        wants: LIMITS,
        search: None,
        probes: control::ProbeCarrier::OwnPort,
    };
    link.send(&Frame::Hello(hello)).await?;
    let Some(Frame::Accept(accept)) = link.receive().await? else { return Err("not accepted".into()) };
    let driver = drive(&accept, to)?;
    let clock = driver.clock();
    while !driver.call(|sender, _| sender.is_validated()).await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let config = capacity::within(
        accept.limits,
        LIMITS.max_bitrate_bps,
        DataSize::from_bytes(400_000_000),
        Micros::from_secs(5),
    );
    let mut found = Vec::new();
    let began = clock.now();
    if let Some(outcome) = capacity::up(&driver, StreamId(8), config).await? {
        found.push(Found { direction: Direction::Up, end: outcome.end, took: outcome.finished - began });
    }
    // What the search has left in the queue is to be gone.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = clock.now();
    link.send(&capacity::request(StreamId(9), &config)).await?;
    loop {
        match link.receive().await? {
            Some(Frame::CapacityResult(result)) => {
                found.push(Found { direction: Direction::Down, end: result.end, took: clock.now() - began });
                break;
            }
            Some(Frame::Error(error)) => return Err(error.say.into()),
            Some(_) => {}
            None => return Err("the endpoint has gone".into()),
        }
    }
    let intervals = driver.call(|sender, _| sender.take_capacity_intervals()).await?;
    driver.stop().await?;
    Ok((found, intervals))
}

fn drive(accept: &Accept, to: SocketAddr) -> Result<Driver<Sender>, Failed> {
    let clock = Clock::start();
    let options = UdpOptions {
        receive_buffer: 8 << 20,
        send_buffer: 4 << 20,
        ..UdpOptions::new(([0, 0, 0, 0], 0).into())
    };
    let socket = udp::open(&options, clock)?;
    let stamps = socket.stamp_sources();
    let config = SenderConfig {
        reflector: SocketAddr::new(to.ip(), accept.stamp_port),
        ssid: accept.ssid,
        key: accept.key.clone(),
        anchor_here: WallAnchor::from_unix_micros(clock.started().as_microsecond()),
        anchor_there: accept.anchor_unix_us,
        timestamps_there: accept.timestamps,
        clock: ClockInfo { tx: stamps.tx, rx: stamps.rx, steps: Vec::new() },
        validate_until: clock.now() + Micros::from_secs(2),
        audio: AudioPlan { start_phase: Micros::ZERO, duration: Micros::from_secs(20), tos: 0 },
        straggler_wait: Micros::from_millis(300),
    };
    let sender = Sender::new(config, clock.now());
    Ok(Driver::start(sender, vec![socket], clock, &DriverOptions::precise("capacity"))?)
}
