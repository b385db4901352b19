//! UDP as fast as it goes: what a capacity measurement can reach before the computer is the bottleneck.

use std::io::ErrorKind;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use greenroom::net::bulk::BulkSocket;
use greenroom::net::clock::Clock;
use greenroom::net::udp::UdpOptions;
use greenroom_reports::units::Micros;

use crate::process::{ANSWERING, ASKING, Server, free_port, json, on_core};
use crate::record::{Goal, Section};
use crate::{Fallible, ROUNDS};

/// Bytes per datagram.
const SEGMENT: usize = 1_200;
const DURATION: Micros = Micros::from_secs(3);

const RATE: &str = "received, UDP in datagrams of 1,200 bytes";
const TIMES: &str = "times iperf3's rate";
const LOSS: &str = "dropped on the way";

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    let port = free_port()?;
    let text = port.to_string();
    let server = ["-s", "-p", &text];
    let _server = on_core(ANSWERING, || Server::start_tcp(Command::new("iperf3").args(server), port))?;
    for _ in 0..ROUNDS {
        greenroom(section)?;
        iperf3(section, &text)?;
        let rates = section.last(RATE, "greenroom").zip(section.last(RATE, "iperf3 -u -b 0"));
        let (ours, theirs) = rates.ok_or("both were measured")?;
        section.add(TIMES, "greenroom", "×", ours / theirs).goal(Goal::AtLeast(5.0));
    }
    section.note(
        "Sender and receiver have a processor each, for both tools; payload that arrived, over 3 seconds.",
    );
    Ok(())
}

fn greenroom(section: &mut Section) -> Fallible<()> {
    let options = UdpOptions {
        receive_buffer: 4 << 20,
        send_buffer: 4 << 20,
        ..UdpOptions::new("127.0.0.1:0".parse()?)
    };
    let (mut there, here) = (BulkSocket::open(&options)?, BulkSocket::open(&options)?);
    let to = there.local_addr();
    let done = AtomicBool::new(false);
    let (sent, received) = std::thread::scope(|scope| {
        let done = &done;
        let receiving = super::reflector::spawn(scope, move || {
            on_core(ANSWERING, || {
                let (mut bytes, mut first, mut last) = (0_u64, None, Micros::ZERO);
                let clock = Clock::start();
                loop {
                    let before = bytes;
                    there.receive(|_, datagram| bytes += datagram.len() as u64)?;
                    if bytes > before {
                        last = clock.now();
                        first.get_or_insert(last);
                    } else if done.load(Ordering::Relaxed) {
                        return Ok((bytes, last - first.ok_or("nothing arrived")?));
                    } else {
                        std::hint::spin_loop();
                    }
                }
            })
        });
        let sent = on_core(ASKING, || {
            let payload = vec![0x5a; here.burst(SEGMENT) * SEGMENT];
            let clock = Clock::start();
            let mut sent = 0_u64;
            while clock.now() < DURATION {
                match here.send(to, &payload, SEGMENT) {
                    Ok(()) => sent += payload.len() as u64,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(sent)
        });
        done.store(true, Ordering::Relaxed);
        let received = receiving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (sent, received)
    });
    let (sent, (received, took)) = (sent?, received?);
    section.add(RATE, "greenroom", "Gbit/s", gigabits(received, took)).goal(Goal::AtLeast(10.0));
    section.add(LOSS, "greenroom", "%", share(sent.saturating_sub(received), sent));
    Ok(())
}

fn iperf3(section: &mut Section, port: &str) -> Fallible<()> {
    let client = ["-c", "127.0.0.1", "-p", port, "-u", "-b", "0", "-l", "1200", "-t", "3", "-J"];
    let said = on_core(ASKING, || json("iperf3", &client))?;
    let sum = &said["end"]["sum"];
    let (rate, lost) = (sum["bits_per_second"].as_f64(), sum["lost_percent"].as_f64());
    let (rate, lost) = rate.zip(lost).ok_or("iperf3 printed no sum")?;
    // Its sum is what was sent; what was lost of it did not arrive.
    section.add(RATE, "iperf3 -u -b 0", "Gbit/s", rate * (1.0 - lost / 100.0) / 1e9);
    section.add(LOSS, "iperf3 -u -b 0", "%", lost);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn gigabits(bytes: u64, took: Micros) -> f64 {
    bytes as f64 * 8.0 / took.as_secs() / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64 * 100.0
}
