//! Searches the capacity of emulated links, each way, in real time, and prints what it found. Needs root.
//!
//! `cargo run --release -p greenroom-netlab --example capacity [KBIT/S …]`

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
    capacity: Bitrate,
    at_least: bool,
    end: End,
    took: Micros,
}

fn main() -> Result<(), Failed> {
    let mut rates: Vec<u64> = std::env::args().skip(1).filter_map(|it| it.parse().ok()).collect();
    if rates.is_empty() {
        rates = vec![1_000, 10_000, 50_000, 200_000];
    }
    for kbps in rates {
        let scenario = Scenario::parse(
            "capacity",
            &format!(
                "why = \"capacity\"\nsource = \"own\"\nduration_ms = 20000\n\n[both]\ndelay_ms = 20\nrate_kbps = {kbps}\nqueue_ms = 300\n\n\
                 [expect]\nbecause = \"only the capacity is looked at\"\n"
            ),
        )?;
        let lab = Lab::start(&scenario, SEED)?;
        let (found, intervals) = measure(&lab)?;
        let lateness = match lab.finish() {
            Ok(truth) => format!("{:?}", truth.lateness),
            Err(LabError::Late { p99, .. }) => format!("void: the link was {p99:?} late"),
            Err(error) => format!("void: {error}"),
        };
        for it in &found {
            let figure = reported(
                &intervals,
                it.direction,
                Bounds { loss_ratio: 0.02, delay_range: Micros::from_millis(90) },
                WINDOW,
            );
            println!(
                "{:?} {:.2} Mbit/s emulated: {:.3} Mbit/s found (at least: {}, {:?}) in {:.2} s; reported {:?}",
                it.direction,
                Bitrate::from_kbps(kbps).mbps(),
                it.capacity.mbps(),
                it.at_least,
                it.end,
                it.took.as_secs(),
                figure.map(|figure| figure.rate.mbps()),
            );
        }
        println!("  link: {lateness}");
    }
    Ok(())
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
    let hello = Hello { versions: vec![control::VERSION], token: None, client, wants: LIMITS, search: None };
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
        found.push(Found {
            direction: Direction::Up,
            capacity: outcome.capacity,
            at_least: outcome.at_least,
            end: outcome.end,
            took: outcome.finished - began,
        });
    }
    // What the search has left in the queue is to be gone.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = clock.now();
    link.send(&capacity::request(StreamId(9), &config)).await?;
    loop {
        match link.receive().await? {
            Some(Frame::CapacityResult(result)) => {
                found.push(Found {
                    direction: Direction::Down,
                    capacity: result.capacity_bps,
                    at_least: result.at_least,
                    end: result.end,
                    took: clock.now() - began,
                });
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
