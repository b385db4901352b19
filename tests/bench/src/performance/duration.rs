//! How long a quick check takes, from the start of the program to its end: on a clean link, with nobody there, and where
//! much is lost.

use std::process::Stdio;

use greenroom::net::clock::Clock;
use greenroom_netlab::lab::Lab;
use greenroom_netlab::scenario::Scenario;
use greenroom_reports::schema::{self, Report, State};
use greenroom_reports::units::Micros;

use crate::process::{self, Server};
use crate::record::{Goal, Section, percentile};
use crate::{Fallible, ROUNDS};

const STAMP: u16 = 7_444;
/// Nobody has this address at the other end of the link, and nobody says so.
const NOBODY: &str = "10.203.0.9";
/// Checks of the link that loses much.
const LOSSY: u64 = 20;
const TOOK: &str = "quick check, from start to end";

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    for round in 0..u64::try_from(ROUNDS)? {
        let (took, report) = check("clean", round, None)?;
        if report.verdict.overall != State::Ready {
            return Err(format!("a clean link is {:?}", report.verdict.overall).into());
        }
        section.add(TOOK, "clean link", "s", took.as_secs()).goal(Goal::AtMost(6.0));
        let (took, report) = check("clean", round, Some(NOBODY))?;
        if report.verdict.overall == State::Ready {
            return Err("an address that nobody has is ready".into());
        }
        section.add(TOOK, "nobody answers", "s", took.as_secs()).goal(Goal::AtMost(3.0));
    }
    let mut all = Vec::new();
    let mut right = 0;
    for seed in 0..LOSSY {
        let (took, report) = check("loss_15", seed, None)?;
        right += u64::from(matches!(report.verdict.overall, State::Blocked | State::Degraded));
        section.add(TOOK, "15 % loss, 20 runs", "s", took.as_secs());
        all.push(took);
    }
    let p90 = percentile(&mut all, 90).ok_or("nothing was checked")? / 1e6;
    section.add(TOOK, "15 % loss, p90 of the 20", "s", p90).goal(Goal::AtMost(3.0));
    section.note(&format!(
        "Over the emulated link, audio and 720p asked for. The whole counts: the program starts, reaches the endpoint, measures, \
         waits for stragglers and for the endpoint's log, judges and prints. Of the {LOSSY} checks with 15 % loss {right} ended blocked or degraded.",
    ));
    Ok(())
}

/// One check over an emulated link; at an address of the endpoint's side instead of the endpoint's where one is given.
fn check(scenario: &str, seed: u64, at: Option<&str>) -> Fallible<(Micros, Report)> {
    let lab = Lab::start(&Scenario::named(scenario)?, seed)?;
    let program = process::greenroom()?;
    let there = lab.there().ipv4().to_string();
    let mut respond = lab.there().command(&program);
    let _endpoint = Server::start(respond.args(["respond", "--listen", &there, "--health", "off"]), STAMP)?;
    let mut check = lab.here().command(&program);
    check.args(["check", at.unwrap_or(&there), "--quick", "--json", "-", "--quiet", "--no-history"]);
    check.args(["--config", "/dev/null"]).stdin(Stdio::null()).stderr(Stdio::null());
    let clock = Clock::start();
    // Its exit code is the verdict.
    let ended = check.output()?;
    let took = clock.now();
    Ok((took, schema::read(&String::from_utf8(ended.stdout)?)?))
}
