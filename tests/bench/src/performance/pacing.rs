//! How late a packet leaves that was to leave every 20 ms, and what that costs.

use std::net::SocketAddr;
use std::process::Command;

use greenroom::net::clock::Clock;
use greenroom::net::pacing::{Driver, DriverOptions};
use greenroom::net::udp::{self, UdpOptions};
use greenroom::proto::machine::{Arrival, Departure, DepartureEvent, Machine, Transmit, TransmitKey};
use greenroom_reports::units::Micros;

use super::session::block_on;
use crate::machine::own_time;
use crate::process::{Server, free_port, json};
use crate::record::{Goal, Section, percentile};
use crate::{Fallible, ROUNDS};

const INTERVAL: Micros = Micros::from_millis(20);
const COUNT: u64 = 300;

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    let port = free_port()?;
    let server = format!("127.0.0.1:{port}");
    let _server = Server::start(Command::new("irtt").args(["server", "-b", &server]), port)?;
    for _ in 0..ROUNDS {
        greenroom(section, "greenroom", &DriverOptions::precise("pacing"))?;
        greenroom(section, "greenroom, no spin", &DriverOptions::relaxed("pacing"))?;
        irtt(section, "irtt, hybrid timer", &server, "--timer=hybrid:0.9")?;
        irtt(section, "irtt, its default", &server, "--timer=comp")?;
    }
    section.note(
        "Late is the time from when a packet was to leave until it was handed to the kernel; for irtt, its own `timer_error`, of which it \
         prints the mean and the greatest. Each round sends 300 packets of 172 bytes. The share of a core is that of the whole process; for \
         irtt with its start.",
    );
    Ok(())
}

fn greenroom(section: &mut Section, who: &str, options: &DriverOptions) -> Fallible<()> {
    let clock = Clock::start();
    let socket = udp::open(&UdpOptions::new("127.0.0.1:0".parse()?), clock)?;
    let ticker = Ticker {
        to: socket.local_addr(),
        start: clock.now() + Micros::from_millis(10),
        sent: 0,
        late: Vec::new(),
    };
    let (spent, began) = (own_time(false)?, clock.now());
    let mut late = block_on(async {
        Ok(Driver::start(ticker, vec![socket], clock, options)?.finished().await?.machine.late)
    })?;
    let share = (own_time(false)? - spent).as_secs_f64() / (clock.now() - began).as_secs();
    for (percent, what) in [(50, "late, p50"), (90, "late, p90"), (99, "late, p99"), (100, "late, greatest")]
    {
        let value = percentile(&mut late, percent).ok_or("nothing was sent")?;
        let row = section.add(what, who, "µs", value);
        if percent == 50 {
            row.goal(Goal::AtMost(60.0));
        }
    }
    let mean = late.iter().map(|late| late.as_ms()).sum::<f64>() * 1_000.0 / late.len() as f64;
    section.add("late, mean", who, "µs", mean);
    section.add("share of a core", who, "%", share * 100.0).goal(Goal::AtMost(2.0));
    Ok(())
}

fn irtt(section: &mut Section, who: &str, server: &str, timer: &str) -> Fallible<()> {
    let (clock, spent) = (Clock::start(), own_time(true)?);
    let duration = format!("{}ms", INTERVAL.get() / 1_000 * i64::try_from(COUNT)?);
    let arguments = ["client", "-i", "20ms", "-d", &duration, "-l", "172", timer, "-Q", "-o", "-", server];
    let said = json("irtt", &arguments)?;
    let share = (own_time(true)? - spent).as_secs_f64() / clock.now().as_secs();
    let nanos =
        |field: &str| said["stats"]["timer_error"][field].as_f64().ok_or("irtt printed no timer error");
    section.add("late, greatest", who, "µs", nanos("max")? / 1_000.0);
    section.add("late, mean", who, "µs", nanos("mean")? / 1_000.0);
    section.add("share of a core", who, "%", share * 100.0);
    Ok(())
}

/// Sends to itself at an interval.
struct Ticker {
    to: SocketAddr,
    start: Micros,
    sent: u64,
    late: Vec<Micros>,
}

impl Ticker {
    fn due(&self, number: u64) -> Micros {
        self.start + INTERVAL * i64::try_from(number).unwrap_or(i64::MAX)
    }
}

impl Machine for Ticker {
    fn handle_datagram(&mut self, _: Micros, _: &Arrival, _: &[u8]) {}

    fn handle_departure(&mut self, departure: &Departure) {
        if let DepartureEvent::Handed(at) = departure.event {
            self.late.push(at - self.due(departure.key.0));
        }
    }

    fn handle_drops(&mut self, _: Micros, _: u64) {}

    fn poll_transmit(&mut self, now: Micros, payload: &mut Vec<u8>) -> Option<Transmit> {
        let intended = self.next_deadline().filter(|due| *due <= now)?;
        payload.resize(172, 0);
        let key = TransmitKey(self.sent);
        self.sent += 1;
        Some(Transmit { to: self.to, key, intended, tos: 0, stamp: true })
    }

    fn next_deadline(&self) -> Option<Micros> {
        (self.sent < COUNT).then(|| self.due(self.sent))
    }

    fn is_finished(&self) -> bool {
        self.sent == COUNT
    }
}
