//! How late the pacing thread sends, and what it costs: `cargo run --release --example pacing [PACKETS [INTERVAL_US]]`.
//!
//! Sends 172-byte datagrams to itself over the loopback interface at a fixed interval (20 ms unless told otherwise) and
//! prints how much later than intended each was handed to the kernel, and the share of a core that the process used.

use std::net::SocketAddr;
use std::process::ExitCode;

use greenroom::net::clock::Clock;
use greenroom::net::pacing::{Driver, DriverOptions};
use greenroom::net::udp::{self, UdpOptions};
use greenroom::proto::machine::{Arrival, Departure, DepartureEvent, Machine, Transmit, TransmitKey};
use greenroom_reports::units::Micros;

struct Ticker {
    to: SocketAddr,
    start: Micros,
    interval: Micros,
    count: u64,
    sent: u64,
    left: u64,
    late: Vec<Micros>,
    /// Kernel arrival to the program having it.
    read: Vec<Micros>,
    /// Handed over to out of the queue.
    stack: Vec<Micros>,
    handed: Micros,
}

impl Ticker {
    fn due(&self, number: u64) -> Micros {
        self.start + self.interval * i64::try_from(number).unwrap_or(i64::MAX)
    }
}

impl Machine for Ticker {
    fn handle_datagram(&mut self, now: Micros, arrival: &Arrival, _: &[u8]) {
        self.read.push(now - arrival.at);
    }

    fn handle_departure(&mut self, departure: &Departure) {
        match departure.event {
            DepartureEvent::Handed(at) => {
                self.late.push(at - self.due(departure.key.0));
                self.handed = at;
            }
            DepartureEvent::Left(at) => {
                self.left += 1;
                self.stack.push(at - self.handed);
            }
            _ => {}
        }
    }

    fn handle_drops(&mut self, _: Micros, total: u64) {
        eprintln!("{total} dropped");
    }

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        let intended = self.next_deadline().filter(|due| *due <= now)?;
        payload.resize(172, 0);
        let key = TransmitKey(self.sent);
        self.sent += 1;
        Some(Transmit { to: self.to, key, intended, tos: 0, stamp: true })
    }

    fn next_deadline(&self) -> Option<Micros> {
        (self.sent < self.count).then(|| self.due(self.sent))
    }

    fn is_finished(&self) -> bool {
        self.sent == self.count && self.left == self.count
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<i64>());
    let (Ok(count), Ok(interval)) = (numbers.next().unwrap_or(Ok(500)), numbers.next().unwrap_or(Ok(20_000)))
    else {
        eprintln!("usage: pacing [PACKETS [INTERVAL_US]]");
        return ExitCode::from(64);
    };
    for (spin, options) in
        [("no spin", DriverOptions::relaxed("pacing")), ("spin", DriverOptions::precise("pacing"))]
    {
        if let Err(error) =
            measure(spin, u64::try_from(count).unwrap_or(0), Micros::new(interval), &options).await
        {
            eprintln!("{error}");
            return ExitCode::from(70);
        }
    }
    ExitCode::SUCCESS
}

async fn measure(
    name: &str,
    count: u64,
    interval: Micros,
    options: &DriverOptions,
) -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock::start();
    let socket = udp::open(&UdpOptions::new("127.0.0.1:0".parse()?), clock)?;
    let ticker = Ticker {
        to: socket.local_addr(),
        start: clock.now() + Micros::from_millis(10),
        interval,
        count,
        sent: 0,
        left: 0,
        late: Vec::new(),
        read: Vec::new(),
        stack: Vec::new(),
        handed: Micros::ZERO,
    };
    let (cpu, began) = (cpu_time(), clock.now());
    let ticker = Driver::start(ticker, vec![socket], clock, options)?.finished().await?.machine;
    let share = (cpu_time() - cpu).as_secs() / (clock.now() - began).as_secs();
    println!("{name}: {count} packets every {interval}, {:.2} % of a core", share * 100.0);
    print_percentiles("late", ticker.late);
    print_percentiles("handed to left", ticker.stack);
    print_percentiles("arrived to read", ticker.read);
    Ok(())
}

fn print_percentiles(name: &str, mut values: Vec<Micros>) {
    values.sort_unstable();
    let rank = |percent: usize| values.get((values.len() * percent).div_ceil(100).max(1) - 1);
    let shown =
        [50, 90, 99, 100].map(|percent| rank(percent).map_or("-".to_owned(), |v| v.get().to_string()));
    println!("  {name:>15} µs: p50 {} p90 {} p99 {} max {}", shown[0], shown[1], shown[2], shown[3]);
}

/// Processor time of this process so far.
fn cpu_time() -> Micros {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;

    getrusage(UsageWho::RUSAGE_SELF).map_or(Micros::ZERO, |usage| {
        Micros::new(usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
    })
}
