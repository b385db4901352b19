//! A session over loopback without the control protocol: the agent's and the endpoint's own state machines on their pacing
//! threads, with real sockets between them.

use std::net::SocketAddr;

use greenroom::net::clock::Clock;
use greenroom::net::pacing::{Driver, DriverOptions};
use greenroom::net::udp::{self, UdpOptions};
use greenroom::proto::reflector::{OpenStamp, Reflector, ReflectorConfig, SessionConfig};
use greenroom::proto::sender::{AudioPlan, Sender, SenderConfig};
use greenroom::proto::stamp::{SessionKey, TimestampFormat, WallAnchor};
use greenroom_reports::trace::{ClockInfo, StampSource, Trace};
use greenroom_reports::units::{Bitrate, Micros};

use crate::Fallible;

/// The session's name in packets.
pub(crate) const SSID: u16 = 7;
/// What the endpoint gives its STAMP socket.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A reflector that listens on loopback with one session open.
pub(crate) struct Endpoint {
    /// Its thread.
    pub(crate) driver: Driver<Reflector>,
    /// Where it listens.
    pub(crate) at: SocketAddr,
    anchor: WallAnchor,
}

impl Endpoint {
    /// Starts it on the processors of the calling thread.
    pub(crate) fn start() -> Fallible<Self> {
        let clock = Clock::start();
        let options = UdpOptions {
            receive_buffer: RECEIVE_BUFFER,
            send_buffer: RECEIVE_BUFFER / 2,
            ..UdpOptions::new("127.0.0.1:0".parse()?)
        };
        let socket = udp::open(&options, clock)?;
        let at = socket.local_addr();
        let stamps = socket.stamp_sources();
        let anchor = WallAnchor::from_unix_micros(clock.started().as_microsecond());
        let mut reflector = Reflector::new(ReflectorConfig {
            anchor,
            timestamps: TimestampFormat::Ntp,
            clock: ClockInfo { tx: stamps.tx, rx: stamps.rx, steps: Vec::new() },
            secret: [1; 32],
            open: OpenStamp::Off,
            log_cap: 16_000,
        });
        let session = SessionConfig {
            ssid: SSID,
            key: SessionKey::new([2; 32]),
            expires: Micros::MAX,
            max_pps: 10_000_000,
            max_bitrate: Bitrate::from_kbps(1_000),
        };
        reflector.open_session(Micros::ZERO, &session)?;
        let driver = Driver::start(reflector, vec![socket], clock, &DriverOptions::relaxed("stamp"))?;
        Ok(Self { driver, at, anchor })
    }

    /// The machine of a client that sends audio for so long.
    pub(crate) fn client(&self, clock: Clock, duration: Micros) -> Sender {
        let config = SenderConfig {
            reflector: self.at,
            ssid: SSID,
            key: SessionKey::new([2; 32]),
            anchor_here: WallAnchor::from_unix_micros(clock.started().as_microsecond()),
            anchor_there: self.anchor,
            timestamps_there: TimestampFormat::Ntp,
            clock: ClockInfo { tx: StampSource::Kernel, rx: StampSource::Kernel, steps: Vec::new() },
            validate_until: clock.now() + Micros::from_secs(2),
            audio: AudioPlan { start_phase: Micros::ZERO, duration, tos: 0 },
            straggler_wait: Micros::from_millis(100),
        };
        Sender::new(config, clock.now())
    }
}

/// Measures over loopback with audio for `duration`; both halves of the trace.
pub(crate) async fn measure(duration: Micros) -> Fallible<Trace> {
    let there = Endpoint::start()?;
    let clock = Clock::start();
    let socket = udp::open(&UdpOptions::new("127.0.0.1:0".parse()?), clock)?;
    let client = there.client(clock, duration);
    let mut here = Driver::start(client, vec![socket], clock, &DriverOptions::precise("agent"))?;
    let outcome = here.finished().await?;
    let log = there.driver.call(|reflector, now| reflector.drain_log(now, SSID, true)).await?;
    Ok(Trace { here: outcome.machine.half().clone(), there: log, ..Trace::default() })
}

/// Runs something async on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = Fallible<T>>) -> Fallible<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
