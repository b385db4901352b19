//! Whether testing the devices disturbs what is measured of the network, and how long it takes.

use std::fs;
use std::process::{Child, Command, Stdio};

use greenroom::net::clock::Clock;
use greenroom_netlab::lab::Lab;
use greenroom_netlab::scenario::Scenario;
use greenroom_reports::schema::{self, Report};
use greenroom_reports::trace::Direction;

use crate::process::{self, Server};
use crate::record::{Goal, Section};
use crate::{Fallible, ROUNDS};

const STAMP: u16 = 7_444;
/// How long the network is measured.
const LASTING: &str = "8s";
/// What the tests may move the delay variation by, in milliseconds.
const ALLOWED: f64 = 0.2;
/// What they may take, in seconds.
const LONGEST: f64 = 4.0;
const ALONE: &str = "alone";
const BESIDE: &str = "beside device tests";
const TOOK: &str = "devices host, from start to end, beside the network";

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    for round in 0..u64::try_from(ROUNDS)? {
        let alone = measure_once(round, None)?;
        let mut times = Vec::new();
        let beside = measure_once(round, Some(&mut times))?;
        for (way, direction) in [("up", Direction::Up), ("down", Direction::Down)] {
            let what = format!("PDV {way} p95");
            let [quiet, busy] = [&alone, &beside].map(|report| pdv_p95(report, direction));
            let (quiet, busy) = quiet.zip(busy).ok_or("a measurement without delay variation")?;
            section.add(&what, ALONE, "ms", quiet);
            section.add(&what, BESIDE, "ms", busy);
            section.add(&what, "moved by", "ms", (busy - quiet).abs()).goal(Goal::AtMost(ALLOWED));
        }
        let most = times.into_iter().reduce(f64::max).ok_or("no device test came to its end")?;
        section.add(TOOK, "the slowest of the round", "s", most).goal(Goal::AtMost(LONGEST));
    }
    section.group_by_what();
    section.note(&format!(
        "Over an emulated link of 20 ms without variation of its own, audio for {LASTING}. Beside it `greenroom devices host` runs again and again, which keeps one \
         core busy with encoding. Microphones, speakers and cameras are not part of it: this machine has none.",
    ));
    Ok(())
}

/// Measures the network, with device tests beside it when their times are wanted.
fn measure_once(seed: u64, times: Option<&mut Vec<f64>>) -> Fallible<Report> {
    let lab = Lab::start(&Scenario::named("clean")?, seed)?;
    let program = process::greenroom()?;
    let there = lab.there().ipv4().to_string();
    let mut respond = lab.there().command(&program);
    let _endpoint = Server::start(respond.args(["respond", "--listen", &there, "--health", "off"]), STAMP)?;
    // A file: a pipe that nobody reads meanwhile would be full before the report is.
    let file = std::env::temp_dir().join(format!("greenroom-bench-{}.json", std::process::id()));
    let mut command = lab.here().command(&program);
    command.args(["measure", &there, "--duration", LASTING, "--quiet", "--config", "/dev/null", "--json"]);
    command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut measuring = command.spawn()?;
    if let Some(times) = times {
        test_devices_until_ended(&mut measuring, times)?;
    }
    let status = measuring.wait()?;
    if !status.success() {
        return Err(format!("greenroom measure: {status}").into());
    }
    let text = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    Ok(schema::read(&text)?)
}

/// Tests devices again and again; the seconds that each took.
fn test_devices_until_ended(measuring: &mut Child, times: &mut Vec<f64>) -> Fallible<()> {
    let program = process::greenroom()?;
    while measuring.try_wait()?.is_none() {
        let clock = Clock::start();
        let status = Command::new(&program).args(["devices", "host"]).stdout(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("greenroom devices host: {status}").into());
        }
        times.push(clock.now().as_secs());
    }
    Ok(())
}

fn pdv_p95(report: &Report, direction: Direction) -> Option<f64> {
    let target = report.targets.first()?;
    let figures = match direction {
        Direction::Up => &target.up,
        Direction::Down => &target.down,
    };
    figures.pdv_ms.measured()?.p95
}
