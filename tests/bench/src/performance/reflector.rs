//! How many packets per second a reflector answers on one processor, over real sockets.
//!
//! The packets are signed beforehand by the agent's own sender, driven through the time that they would take; a thread on the
//! other processor sends them in bursts at absolute deadlines and counts what comes back.

use std::net::SocketAddr;
use std::process::Command;

use greenroom::net::clock::Clock;
use greenroom::net::udp::{self, DatagramSocket, SendBatch, UdpOptions};
use greenroom::proto::machine::{Machine, Transmit, TransmitKey};
use greenroom::proto::sender::SenderState;
use greenroom_reports::units::Micros;

use super::session::{Endpoint, SSID, block_on};
use crate::process::{ANSWERING, ASKING, Server, free_port, json, on_core, stamp_suite};
use crate::record::{Goal, Section};
use crate::{Fallible, ROUNDS};

/// Packets per second that are tried, lowest first.
const RATES: [u32; 8] = [10_000, 25_000, 50_000, 100_000, 125_000, 150_000, 200_000, 250_000];
/// How long each rate is held.
const HELD: Micros = Micros::from_secs(1);
/// Packets that leave together.
const BURST: usize = 32;
/// What may be lost.
const ALLOWED: f64 = 0.001;
/// How long to wait for the next answer before what is missing is given up.
const LINGER: Micros = Micros::from_millis(300);

const RATE: &str = "answered with less than 0.1 % loss";

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    for _ in 0..ROUNDS {
        let best = climb(section, "greenroom, authenticated", greenroom)?;
        section.add(RATE, "greenroom, authenticated", "packets/s", best).goal(Goal::AtLeast(100_000.0));
        let best = climb(section, "stamp-suite, not authenticated", stamp)?;
        section.add(RATE, "stamp-suite, not authenticated", "packets/s", best);
        irtt(section)?;
    }
    section.note(
        "The reflector has one processor, the load generator the other. Rates climb by 10,000, 25,000, 50,000, 100,000, 125,000, 150,000, 200,000 \
         and 250,000 packets/s, held for a second each, until 0.1 % or more stay unanswered. Greenroom's packets have 184 bytes, are verified \
         and signed one by one, and are logged; those for stamp-suite have 172 bytes without authentication, which it is given for \
         free. irtt only answers its own client, which is asked to send every 20 µs; what it brought back counts.",
    );
    Ok(())
}

/// Tries one rate after the other; the highest that held, 0 when none did.
fn climb(section: &mut Section, who: &str, attempt: fn(u32) -> Fallible<Answered>) -> Fallible<f64> {
    let mut best = 0.0;
    for rate in RATES {
        let answered = attempt(rate)?;
        let held = answered.lost() < ALLOWED;
        if held {
            best = f64::from(rate);
        }
        if !held || rate == RATES[RATES.len() - 1] {
            section.add("offered when it broke off", who, "packets/s", f64::from(rate));
            section.add("unanswered then", who, "%", answered.lost() * 100.0);
            break;
        }
    }
    Ok(best)
}

/// What became of a load.
struct Answered {
    sent: usize,
    answers: usize,
}

impl Answered {
    #[expect(clippy::cast_precision_loss, reason = "fewer than a million packets")]
    fn lost(&self) -> f64 {
        1.0 - self.answers as f64 / self.sent as f64
    }
}

fn greenroom(rate: u32) -> Fallible<Answered> {
    let there = on_core(ANSWERING, Endpoint::start)?;
    let load = || {
        let clock = Clock::start();
        let mut socket = udp::open(&UdpOptions::new("127.0.0.1:0".parse()?), clock)?;
        let packets = signed(&there, socket.as_mut(), rate)?;
        Ok(offer(socket.as_mut(), there.at, &packets, rate, clock))
    };
    let answered = std::thread::scope(|scope| {
        let load = spawn(scope, move || on_core(ASKING, load));
        // As the endpoint does: the log goes to the client twice a second.
        while !load.is_finished() {
            crate::process::pause(std::time::Duration::from_millis(100));
            block_on(async {
                Ok(there.driver.call(|reflector, now| reflector.drain_log(now, SSID, false)).await?)
            })?;
        }
        load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(answered)
}

pub(super) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> std::thread::ScopedJoinHandle<'scope, T> {
    scope.spawn(work)
}

/// Validates the address of `socket`, then signs a second's worth of packets.
fn signed(there: &Endpoint, socket: &mut dyn DatagramSocket, rate: u32) -> Fallible<Vec<Vec<u8>>> {
    let clock = Clock::start();
    let count = usize::try_from(rate)?;
    let mut client = there.client(clock, Micros::from_secs(i64::from(rate)));
    let (mut batch, mut payload) = (SendBatch::default(), Vec::new());
    while client.state() == SenderState::Validating {
        let now = clock.now();
        if let Some(transmit) = client.poll_transmit(now, &mut payload) {
            batch.push(Transmit { stamp: false, ..transmit }, &payload);
            socket.send(&batch, &mut |_| ());
            batch.clear();
        }
        socket.receive(&mut |now, arrival, bytes| client.handle_datagram(now, arrival, bytes))?;
    }
    if client.state() != SenderState::Running {
        return Err("the reflector did not validate the client".into());
    }
    // From here on in the time that the packets would take.
    let mut packets = Vec::with_capacity(count);
    let mut now = clock.now();
    while packets.len() < count {
        match client.poll_transmit(now, &mut payload) {
            Some(_) => packets.push(payload.clone()),
            None => now = client.next_deadline().ok_or("the sender stopped")?.max(now + Micros::new(1)),
        }
    }
    Ok(packets)
}

fn stamp(rate: u32) -> Fallible<Answered> {
    let port = free_port()?;
    let (text, to) = (port.to_string(), SocketAddr::from(([127, 0, 0, 1], port)));
    let arguments = ["-i", "--local-addr", "127.0.0.1", "--local-port", &text];
    let _server = on_core(ANSWERING, || Server::start(Command::new(stamp_suite()).args(arguments), port))?;
    on_core(ASKING, || {
        let clock = Clock::start();
        let mut socket = udp::open(&UdpOptions::new("127.0.0.1:0".parse()?), clock)?;
        // RFC 8762 section 4.2.1: number, timestamp, error estimate, zeros. The error estimate says S = 0, Multiplier = 1.
        let packet = |seq: u32| {
            let mut packet = vec![0; 172];
            packet[..4].copy_from_slice(&seq.to_be_bytes());
            packet[13] = 1;
            packet
        };
        let packets: Vec<_> = (0..rate).map(packet).collect();
        Ok(offer(socket.as_mut(), to, &packets, rate, clock))
    })
}

/// Sends packets at a rate and counts the answers.
fn offer(
    socket: &mut dyn DatagramSocket,
    to: SocketAddr,
    packets: &[Vec<u8>],
    rate: u32,
    clock: Clock,
) -> Answered {
    let mut batch = SendBatch::default();
    let (mut answers, mut sent) = (0, 0);
    let start = clock.now();
    let take = |socket: &mut dyn DatagramSocket| socket.receive(&mut |_, _, _| ()).unwrap_or(0);
    for (number, burst) in packets.chunks(BURST).enumerate() {
        let due = start + HELD * i64::try_from(number * BURST).unwrap_or(0) / i64::from(rate);
        while clock.now() < due {
            answers += take(socket);
        }
        for packet in burst {
            let transmit = Transmit { to, key: TransmitKey(0), intended: due, tos: 0, stamp: false };
            batch.push(transmit, packet);
        }
        socket.send(&batch, &mut |_| sent += 1);
        batch.clear();
    }
    let mut last = clock.now();
    while answers < sent && clock.now() - last < LINGER {
        let more = take(socket);
        if more > 0 {
            answers += more;
            last = clock.now();
        }
    }
    Answered { sent, answers }
}

fn irtt(section: &mut Section) -> Fallible<()> {
    let port = free_port()?;
    let at = format!("127.0.0.1:{port}");
    let server = ["server", "-b", &at, "-i", "0"];
    let _server = on_core(ANSWERING, || Server::start(Command::new("irtt").args(server), port))?;
    let client = ["client", "-i", "20us", "-d", "2s", "-l", "172", "--timer=busy", "-Q", "-o", "-", &at];
    let said = on_core(ASKING, || json("irtt", &client))?;
    let number = |name: &str| said["stats"][name].as_f64().ok_or_else(|| format!("irtt printed no {name}"));
    let seconds = number("duration")? / 1e9;
    section.add("answered when flooded", "irtt", "packets/s", number("packets_received")? / seconds);
    section.add("unanswered when flooded", "irtt", "%", number("packet_loss_percent")?);
    Ok(())
}
