//! What each tool says of a round trip that is nothing but loopback: its floor.

use std::process::Command;

use greenroom_reports::metrics::flow::round_trips;
use greenroom_reports::metrics::percentile::Quantile;
use greenroom_reports::units::Micros;

use super::session::{self, block_on};
use crate::process::{Server, free_port, json, output, stamp_suite};
use crate::record::{Goal, Section, percentile};
use crate::{Fallible, ROUNDS};

const P50: &str = "round trip at 20 ms, p50";
const P95: &str = "round trip at 20 ms, p95";

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    let ports = [free_port()?, free_port()?, free_port()?];
    let irtt_at = format!("127.0.0.1:{}", ports[0]);
    let _irtt = Server::start(Command::new("irtt").args(["server", "-b", &irtt_at]), ports[0])?;
    let _sockperf = Server::start(&mut sockperf("server", ports[1]), ports[1])?;
    let stamp_port = ports[2].to_string();
    let reflector = ["-i", "--local-addr", "127.0.0.1", "--local-port", &stamp_port];
    let _stamp = Server::start(Command::new(stamp_suite()).args(reflector), ports[2])?;
    for _ in 0..ROUNDS {
        greenroom(section)?;
        let said =
            json("irtt", &["client", "-i", "20ms", "-d", "4s", "-l", "184", "-Q", "-o", "-", &irtt_at])?;
        let median = said["stats"]["rtt"]["median"].as_f64().ok_or("irtt printed no round trip")?;
        section.add(P50, "irtt", "µs", median / 1_000.0);
        let remote = [
            "--remote-addr",
            "127.0.0.1",
            "--remote-port",
            &stamp_port,
            "--send-delay",
            "20ms",
            "--count",
            "200",
        ];
        let said = output(&stamp_suite(), &remote)?;
        section.add(P50, "stamp-suite", "µs", after(&said, "Median RTT:")? * 1_000.0);
        section.add(P95, "stamp-suite", "µs", after(&said, "P95 RTT:")? * 1_000.0);
        let port = ports[1].to_string();
        let paced = ["ping-pong", "-i", "127.0.0.1", "-p", &port, "-t", "4", "-m", "184", "--mps", "50"];
        let said = output("sockperf", &paced)?;
        // It prints half of the round trip.
        section.add(P50, "sockperf, 50 per second", "µs", after(&said, "percentile 50.000 =")? * 2.0);
        let said =
            output("sockperf", &["ping-pong", "-i", "127.0.0.1", "-p", &port, "-t", "2", "-m", "184"])?;
        section.add(
            "round trip back to back, p50",
            "sockperf",
            "µs",
            after(&said, "percentile 50.000 =")? * 2.0,
        );
    }
    section.note(
        "Every tool sends 184 bytes over loopback. Greenroom's round trip is taken between kernel stamps, less the time that the reflector \
         held the packet; what its programs see of the same packets stands beside it. The others see what their programs see, less the hold in \
         the case of irtt.",
    );
    Ok(())
}

fn greenroom(section: &mut Section) -> Fallible<()> {
    let trace = block_on(session::measure(Micros::from_secs(4)))?;
    let network = round_trips(&trace).rtt();
    for (quantile, what) in [(Quantile::P50, P50), (Quantile::P95, P95)] {
        let value = network.at(quantile).ok_or("nothing came back")?;
        let row = section.add(what, "greenroom, kernel to kernel", "µs", value.as_ms() * 1_000.0);
        if what == P50 {
            row.goal(Goal::AtMost(5.0));
        }
    }
    let audio = trace.here.streams.first().ok_or("no audio")?;
    let mut seen: Vec<Micros> = audio
        .rx
        .iter()
        .filter_map(|arrival| {
            let sent = audio.tx.get(usize::try_from(arrival.reply.as_ref()?.of).ok()?)?;
            Some(arrival.user? - sent.user?)
        })
        .collect();
    for (percent, what) in [(50, P50), (95, P95)] {
        let value = percentile(&mut seen, percent).ok_or("nothing came back")?;
        section.add(what, "greenroom, program to program", "µs", value);
    }
    Ok(())
}

fn sockperf(job: &str, port: u16) -> Command {
    let mut command = Command::new("sockperf");
    command.args([job, "-i", "127.0.0.1", "-p", &port.to_string()]);
    command
}

/// The number after a label.
fn after(text: &str, label: &str) -> Fallible<f64> {
    let rest = text.split_once(label).ok_or_else(|| format!("no `{label}` was printed"))?.1;
    Ok(rest.split_whitespace().next().unwrap_or_default().parse()?)
}
