//! How long it takes to start, and how large it is.

use std::process::{Command, Stdio};

use greenroom::net::clock::Clock;
use greenroom_reports::units::Micros;

use crate::process;
use crate::record::{Goal, Section, percentile};
use crate::{Fallible, ROUNDS};

const TIMES: usize = 20;

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    let greenroom = process::greenroom()?;
    let ours = greenroom.to_string_lossy().into_owned();
    let programs = [
        ("greenroom --version", ours.as_str(), "--version"),
        ("irtt version", "irtt", "version"),
        ("iperf3 --version", "iperf3", "--version"),
        ("true, which does nothing", "true", "--version"),
    ];
    for _ in 0..ROUNDS {
        for (who, program, argument) in programs {
            let value = started(program, argument)?;
            let row = section.add("from start to end, p50 of 20", who, "ms", value / 1_000.0);
            if program == ours {
                row.goal(Goal::AtMost(10.0));
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let megabytes = std::fs::metadata(&greenroom)?.len() as f64 / 1e6;
    section.add("size of the program", "greenroom", "MB", megabytes);
    Ok(())
}

fn started(program: &str, argument: &str) -> Fallible<f64> {
    let clock = Clock::start();
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let before = clock.now();
        let status = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let status = status.map_err(|error| format!("cannot start {program}: {error}"))?;
        let after: Micros = clock.now();
        if !status.success() {
            return Err(format!("{program} {argument}: {status}").into());
        }
        took.push(after - before);
    }
    percentile(&mut took, 50).ok_or_else(|| "nothing was started".into())
}
