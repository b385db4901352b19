//! How much memory measuring takes, and whether it grows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use greenroom_netlab::scenario::Scenario;
use greenroom_netlab::sim::{Plan, simulate};
use greenroom_reports::assess::{Probed, Question, TargetMeta, assess};
use greenroom_reports::metrics::sketch::Sketch;
use greenroom_reports::schema::Mode;
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::Profile;

use crate::Fallible;
use crate::process::{self, Server, free_port, pause};
use crate::record::{Goal, Section};

/// The argument by which this program runs the simulated day, in a process of its own.
pub(crate) const DAY: &str = "simulated-day";

const MEASURED: &str = "most memory while measuring for a minute, 50 packets/s";
const ANSWERED: &str = "most memory while answering it";
const SIMULATED: &str = "memory of a simulated day of measurements";
/// What an agent may take, in megabytes.
const ALLOWED: f64 = 15.0;
/// What a day may add to the memory after its first hour, in megabytes.
const GROWTH: f64 = 0.5;
const HOURS: usize = 24;
const ROUNDS: usize = 3;

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    for _ in 0..ROUNDS {
        let [here, there] = greenroom()?;
        section.add(MEASURED, "greenroom measure", "MB", here).goal(Goal::AtMost(ALLOWED));
        section.add(ANSWERED, "greenroom respond", "MB", there);
        let [here, there] = irtt()?;
        section.add(MEASURED, "irtt client", "MB", here);
        section.add(ANSWERED, "irtt server", "MB", there);
        let hours = simulated()?;
        let (first, last) = hours.first().zip(hours.last()).ok_or("the simulated day told nothing")?;
        section.add(SIMULATED, "after the first hour", "MB", *first);
        section.add(SIMULATED, "after 24 hours", "MB", *last).goal(Goal::AtMost(ALLOWED));
        section
            .add(SIMULATED, "growth from the first hour to the last", "MB", last - first)
            .goal(Goal::AtMost(GROWTH));
    }
    section.group_by_what();
    section.note(
        "Memory is what is resident (VmHWM, VmRSS), over loopback. The simulated day is 1,440 measurements of a minute each, one after the \
         other in virtual time in a process of its own: sender, endpoint, an emulated link with the truth about each packet, the assessment of \
         each measurement, and its histograms merged into those of the day. It holds more than an agent would.",
    );
    Ok(())
}

fn greenroom() -> Fallible<[f64; 2]> {
    let program = process::greenroom()?;
    // STAMP takes the port after the one named.
    let port = free_port()?;
    let listen = format!("127.0.0.1:{port}");
    let respond = ["respond", "--listen", &listen, "--health", "off"];
    let server = Server::start(Command::new(&program).args(respond), port)?;
    let measure =
        ["measure", &listen, "--duration", "60s", "--json", "/dev/null", "--quiet", "--config", "/dev/null"];
    Ok([peak_of(Command::new(&program).args(measure))?, peak(server.pid())?])
}

fn irtt() -> Fallible<[f64; 2]> {
    let port = free_port()?;
    let at = format!("127.0.0.1:{port}");
    let server = Server::start(Command::new("irtt").args(["server", "-b", &at]), port)?;
    let client = ["client", "-i", "20ms", "-d", "60s", "-l", "184", "-Q", "-o", "-", &at];
    Ok([peak_of(Command::new("irtt").args(client))?, peak(server.pid())?])
}

/// Runs a program to its end; the most memory that it was seen with.
fn peak_of(command: &mut Command) -> Fallible<f64> {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = quiet.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let mut most = 0.0;
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(most) } else { Err(format!("{command:?}: {status}").into()) };
        }
        // It may end between the two looks.
        most = peak(child.id()).unwrap_or(most);
        pause(Duration::from_millis(50));
    }
}

/// The most memory that a process has had.
fn peak(pid: u32) -> Fallible<f64> {
    megabytes(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM:")
}

pub(super) fn megabytes(status: &str, field: &str) -> Fallible<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.ok_or_else(|| format!("no {field} in a process's status"))?.parse::<f64>()? * 1_024.0 / 1e6)
}

/// The memory after each hour of a simulated day, in megabytes.
fn simulated() -> Fallible<Vec<f64>> {
    let this = std::env::current_exe()?;
    let said = process::output_of(Command::new(this).arg(DAY))?;
    Ok(said.lines().map(str::parse).collect::<Result<_, _>>()?)
}

/// Lives the day and prints its memory after each hour.
pub(crate) fn live_a_day() -> Fallible<()> {
    let scenario = Scenario::named("weak_4g")?;
    let plan = Plan::audio(Micros::from_secs(60));
    let profile = Profile::named("default")?;
    let asked = BTreeSet::new();
    let question = Question { profile: &profile, asked: &asked, mode: Mode::Quick, at_cap: true };
    let meta = TargetMeta {
        url: "greenroom://netlab".to_owned(),
        kind: "greenroom".to_owned(),
        reached: None,
        identity: None,
        failure: None,
        details: None,
        in_process: false,
    };
    let mut day: BTreeMap<String, Sketch> = BTreeMap::new();
    for hour in 0..HOURS {
        for minute in 0..60 {
            let run = simulate(&scenario, u64::try_from(hour * 60 + minute)?, &plan);
            let assessment = assess(&[Probed { meta: &meta, trace: Some(&run.trace) }], &question);
            for (name, text) in assessment.sketches {
                day.entry(name).or_default().merge(&Sketch::decode(&text)?);
            }
        }
        let status = fs::read_to_string("/proc/self/status")?;
        println!("{}", megabytes(&status, "VmRSS:")?);
    }
    let most = day.values().map(Sketch::len).max();
    if most.is_none_or(|most| most < 4_000_000) {
        return Err(format!("a day at 50 packets/s has 4.32 million packets, not {most:?}").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_megabytes() {
        let status = "Name:\tit\nVmHWM:\t   10000 kB\nVmRSS:\t    5000 kB\n";
        assert_eq!(megabytes(status, "VmHWM:").expect("is there"), 10.24);
        assert_eq!(megabytes(status, "VmRSS:").expect("is there"), 5.12);
        assert!(megabytes(status, "VmSwap:").is_err());
    }
}
