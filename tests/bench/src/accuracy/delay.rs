//! Round trip and delay variation against the truth: idle, and with more busy loops than processors.

use greenroom_netlab::lab::{Lab, LabError};
use greenroom_netlab::scenario::Scenario;
use greenroom_netlab::truth::Truth;

use super::figures::Figures;
use super::tools::{SECONDS, TOOLS, Told, Tool};
use crate::record::{Goal, Section};
use crate::{Fallible, ROUNDS};

/// Busy loops beside the measurement.
const LOADS: [(&str, u32); 2] = [("idle", 0), ("busy", 3)];
/// How often a run is made again whose link did not keep to its own times.
const ATTEMPTS: usize = 8;
/// What a figure may be off, in milliseconds.
const ALLOWED: f64 = 0.3;

/// Every packet is delayed by the same time.
pub(super) fn constant(section: &mut Section) -> Fallible<()> {
    measure(section, "constant", "delay_ms = 20")
}

/// Any additional delay up to 10 ms is as likely as any other.
pub(super) fn uniform(section: &mut Section) -> Fallible<()> {
    measure(section, "uniform", "delay_ms = 20\njitter = { kind = 'uniform', max_ms = 10 }")
}

/// A bell curve with a standard deviation of 3 ms.
pub(super) fn normal(section: &mut Section) -> Fallible<()> {
    measure(section, "normal", "delay_ms = 20\njitter = { kind = 'normal', sigma_ms = 3, limit_sigmas = 3 }")
}

/// Most packets are on time and a few are very late.
pub(super) fn heavy_tail(section: &mut Section) -> Fallible<()> {
    let jitter = "{ kind = 'pareto', scale_ms = 3, shape = 1.5, cap_ms = 400 }";
    measure(section, "heavy tail", &format!("delay_ms = 20\njitter = {jitter}"))
}

fn measure(section: &mut Section, name: &str, both: &str) -> Fallible<()> {
    let mut voids = 0;
    for round in 0..ROUNDS {
        for (load, busy_loops) in LOADS {
            let mut scenario = scenario(name, both)?;
            scenario.hosts.busy_loops = busy_loops;
            for tool in &TOOLS {
                let (told, truth) = run(tool, &scenario, u64::try_from(round)?, &mut voids)?;
                add(section, tool, load, &told, &truth);
            }
        }
    }
    section.group_by_what();
    section.note(&format!(
        "Link: {}. Each run sends for {SECONDS} s, a packet every 20 ms. Busy: three endless loops run on the {} processors. A figure is off by \
         its distance from what the link really did to the same packets, whichever way.",
        both.replace('\n', ", ").replace('\'', ""),
        std::thread::available_parallelism()?,
    ));
    section.note(&format!(
        "{voids} runs were void, because the link itself was more than 0.2 ms late (p99), and were made again."
    ));
    Ok(())
}

fn scenario(name: &str, both: &str) -> Fallible<Scenario> {
    let text = format!(
        "why = 'accuracy'\nsource = 'own'\nduration_ms = 6000\n[both]\n{both}\n[expect]\nbecause = 'not judged'\n"
    );
    Ok(Scenario::parse(name, &text)?)
}

/// Lets a tool measure a link; again, with another seed, when the run is void.
fn run(tool: &Tool, scenario: &Scenario, round: u64, voids: &mut u64) -> Fallible<(Told, Figures)> {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        let lab = Lab::start(scenario, round * 100 + u64::try_from(attempt)?)?;
        let told = (tool.measure)(&lab)?;
        match lab.finish() {
            Ok(truth) => return Ok((told, true_figures(tool, &truth)?)),
            Err(error @ (LabError::Late { .. } | LabError::Overrun { .. })) => {
                eprintln!("{}: {error}", scenario.name);
                *voids += 1;
                last = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.map_or_else(|| "nothing was tried".into(), Into::into))
}

fn true_figures(tool: &Tool, truth: &Truth) -> Fallible<Figures> {
    (tool.truth)(truth).map_err(|error| format!("{} of {}: {error}", tool.name, truth.scenario).into())
}

fn add(section: &mut Section, tool: &Tool, load: &str, told: &Told, truth: &Figures) {
    let who = format!("{}, {load}", tool.name);
    let ours = tool.name == TOOLS[0].name;
    let mut off = |what: &str, seen: f64, really: f64| {
        let row = section.add(&format!("{what}: off by"), &who, "ms", (seen - really).abs());
        if ours {
            row.goal(Goal::AtMost(ALLOWED));
        }
    };
    for (at, name) in [(0, "p50"), (1, "p95")] {
        off(&format!("round trip {name}"), told.figures.rtt[at], truth.rtt[at]);
    }
    for (way, direction) in ["up", "down"].into_iter().enumerate() {
        for (at, name) in [(0, "p50"), (1, "p95")] {
            off(&format!("PDV {direction} {name}"), told.figures.pdv[way][at], truth.pdv[way][at]);
        }
        off(&format!("mean IPDV {direction}"), told.figures.ipdv[way], truth.ipdv[way]);
    }
    for (at, name) in [(0, "p50"), (1, "p95")] {
        if let Some(host) = told.host_delay {
            section.add(&format!("from kernel to program {name}, told apart"), &who, "ms", host[at]);
        }
    }
    for (way, direction) in ["up", "down"].into_iter().enumerate() {
        section.add(&format!("the link's own mean IPDV {direction}"), &who, "ms", truth.ipdv[way]);
    }
}
