//! Labelled networks in real time: what a quick check says of each, and whether each packet ended as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use greenroom::net::clock::Clock;
use greenroom_netlab::lab::{Lab, LabError};
use greenroom_netlab::scenario::{Expectation, Scenario};
use greenroom_netlab::truth::{LinkFate, PacketTruth, Truth};
use greenroom_reports::metrics::flow::{Fate, Flow, LossPolicy, flows};
use greenroom_reports::schema::{self, Report, State, Use};
use greenroom_reports::trace::encoding;
use serde::{Deserialize, Serialize};

use crate::Fallible;
use crate::machine::{Conditions, Watch};
use crate::process::{self, Server};

/// What the section is called on the command line and in the template. `networks/NAME` is one network of it.
pub(crate) const NAME: &str = "networks";
/// Checks of each network.
const RUNS: u64 = 3;
/// How often a check is made again whose link did not keep to its own times.
const ATTEMPTS: u64 = 3;
const STAMP: u16 = 7_444;
/// What the checks ask for, as `greenroom check` does by itself.
const ASKED: [Use; 2] = [Use::Audio, Use::Video720p];

/// All checks of one network.
#[derive(Debug, Serialize, Deserialize)]
struct Network {
    name: String,
    conditions: Conditions,
    /// Runs that were void and made again.
    voids: u64,
    runs: Vec<Run>,
}

/// One check.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    seed: u64,
    took_s: f64,
    /// States of the uses asked for.
    states: BTreeMap<Use, State>,
    /// Whether the label allows them all.
    judgement: Judgement,
    /// The leading cause by code, and whether the label allows its place and direction; none is known of networks without one.
    cause: Option<String>,
    place_right: Option<bool>,
    packets: Packets,
}

/// A verdict against the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Judgement {
    Right,
    /// The network has no label for what was asked.
    NoLabel,
    /// No use is told wrongly, and at least one not at all.
    Inconclusive,
    Wrong,
}

/// What was told of packets, and what became of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Packets {
    /// Packets whose end is told.
    told: u64,
    /// Those of them that ended otherwise: lost and told to have arrived, or the other way.
    otherwise: u64,
    /// Told to be dropped by a computer after the link had delivered them.
    host_dropped: u64,
    /// Packets whose end is not told, because the check had ended.
    awaited: u64,
    /// Lost, told and true.
    lost: [u64; 2],
    /// Second copies, told and true.
    duplicate: [u64; 2],
    /// Reordered, told and true.
    reordered: [u64; 2],
}

/// Checks networks by name, all of them unless told, and keeps what was found.
pub(crate) fn measure(names: &[String]) -> Fallible<()> {
    let scenarios = match names {
        [] => Scenario::all()?,
        names => names.iter().map(|name| Scenario::named(name)).collect::<Result<_, _>>()?,
    };
    for scenario in scenarios {
        let network = check_all(&scenario)?;
        eprint!("{}", row(&network, &scenario));
        fs::create_dir_all(folder())?;
        let file = folder().join(&network.name).with_extension("json");
        fs::write(file, serde_json::to_string_pretty(&network)? + "\n")?;
    }
    Ok(())
}

fn check_all(scenario: &Scenario) -> Fallible<Network> {
    let watch = Watch::start()?;
    let mut voids = 0;
    let runs = (0..RUNS).map(|run| check_valid(scenario, run, &mut voids)).collect::<Fallible<_>>()?;
    Ok(Network { name: scenario.name.clone(), conditions: watch.end()?, voids, runs })
}

/// Checks once; again, with another seed, when the run is void.
fn check_valid(scenario: &Scenario, run: u64, voids: &mut u64) -> Fallible<Run> {
    for attempt in 0..ATTEMPTS {
        let seed = run + RUNS * attempt;
        let lab = Lab::start(scenario, seed)?;
        let (report, took_s) = check(&lab)?;
        match lab.finish() {
            Ok(truth) => return judge(scenario, seed, took_s, &report, &truth),
            Err(error @ (LabError::Late { .. } | LabError::Overrun { .. })) => {
                eprintln!("{}: {error}", scenario.name);
                *voids += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(format!("{}: every run was void", scenario.name).into())
}

fn check(lab: &Lab) -> Fallible<(Report, f64)> {
    let program = process::greenroom()?;
    let at = lab.there().ipv4().to_string();
    let mut respond = lab.there().command(&program);
    let _endpoint = Server::start(respond.args(["respond", "--listen", &at, "--health", "off"]), STAMP)?;
    let mut check = lab.here().command(&program);
    check.args(["check", &at, "--quick", "--json", "-", "--quiet", "--no-history", "--config", "/dev/null"]);
    let clock = Clock::start();
    // Its exit code is the verdict.
    let ended = check.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    let took = clock.now().as_secs();
    Ok((schema::read(&String::from_utf8(ended.stdout)?)?, took))
}

fn judge(scenario: &Scenario, seed: u64, took_s: f64, report: &Report, truth: &Truth) -> Fallible<Run> {
    let trace = report.trace.as_ref().map(encoding::decode).transpose()?;
    let flows = trace.map(|trace| flows(&trace, LossPolicy::Quick)).unwrap_or_default();
    let mut packets = Packets::default();
    // On another way than UDP the link's log names no packet: what is sent again on the way is nobody's count.
    for flow in flows.iter().filter(|_| over_udp(report)) {
        packets.add(flow, truth.packets(flow.direction));
    }
    let verdict = &report.verdict;
    let states: BTreeMap<Use, State> =
        ASKED.iter().filter_map(|use_| Some((*use_, verdict.uses.get(use_)?.state))).collect();
    Ok(Run {
        seed,
        took_s,
        judgement: judgement(&scenario.expect, report),
        states,
        cause: verdict.causes.first().map(|cause| cause.code.clone()),
        place_right: place_right(&scenario.expect, report),
        packets,
    })
}

fn over_udp(report: &Report) -> bool {
    report
        .targets
        .iter()
        .all(|target| target.state.measured().is_some_and(|reached| reached.transport == "udp"))
}

fn judgement(expected: &Expectation, report: &Report) -> Judgement {
    let labelled: Vec<Use> = ASKED.into_iter().filter(|use_| !expected.states(*use_).is_empty()).collect();
    let mut judgement = if labelled.is_empty() { Judgement::NoLabel } else { Judgement::Right };
    let blocked = report.verdict.overall == State::Blocked && report.verdict.certain;
    for use_ in labelled {
        let Some(found) = report.verdict.uses.get(&use_) else { return Judgement::Wrong };
        // A check that stops because another use is blocked says of this one that it is degraded at least.
        let at_least = found.state == State::Degraded && !found.certain && blocked;
        match found.state {
            State::Inconclusive => judgement = Judgement::Inconclusive,
            state if expected.states(use_).contains(&state) || at_least => {}
            _ => return Judgement::Wrong,
        }
    }
    judgement
}

/// Whether the leading cause is where the label allows it; `None` without a cause or a label.
fn place_right(expected: &Expectation, report: &Report) -> Option<bool> {
    let place = report.verdict.place.filter(|_| !expected.places().is_empty())?;
    let directions: BTreeSet<_> = expected.directions().iter().map(|direction| *direction as u8).collect();
    let both = schema::FaultDirection::Both as u8;
    let direction = report.verdict.direction.is_none_or(|found| {
        directions.is_empty() || directions.contains(&(found as u8)) || directions.contains(&both)
    });
    Some(expected.places().contains(&place) && direction)
}

impl Packets {
    /// Holds each packet of a flow against what the link did to it.
    fn add(&mut self, flow: &Flow, link: &[PacketTruth]) {
        let of_flow = |packet: &&PacketTruth| packet.stream == Some(flow.stream);
        let fates: BTreeMap<u32, &PacketTruth> =
            link.iter().filter(of_flow).filter_map(|packet| Some((packet.seq?, packet))).collect();
        let mut arrived = Vec::new();
        for packet in &flow.packets {
            let told_lost = match packet.fate {
                Fate::Lost => true,
                Fate::OnTime | Fate::Late => false,
                Fate::HostDropped => {
                    self.host_dropped += 1;
                    continue;
                }
                Fate::Awaited => {
                    self.awaited += 1;
                    continue;
                }
                Fate::Corrupt | Fate::SendFailed | Fate::NotSent => continue,
            };
            let truth = fates.get(&packet.seq);
            let really = truth.and_then(|truth| truth.delivered());
            self.told += 1;
            self.otherwise += u64::from(told_lost != really.is_none());
            self.lost[0] += u64::from(told_lost);
            self.lost[1] += u64::from(really.is_none());
            self.duplicate[0] += u64::from(packet.extra_copies);
            let again = truth.map(|truth| matches!(truth.fate, LinkFate::Delivered { again: Some(_), .. }));
            self.duplicate[1] += u64::from(again == Some(true));
            arrived.extend(really.map(|at| (at, packet.seq)));
        }
        arrived.sort_by_key(|(at, _)| *at);
        self.reordered[0] += flow.counts.reordered;
        // RFC 4737: a packet is reordered when one with a greater number came out before it.
        let mut greatest = 0;
        for (_, seq) in arrived {
            self.reordered[1] += u64::from(seq < greatest);
            greatest = greatest.max(seq);
        }
    }

    fn are_equal(&self) -> bool {
        self.otherwise == 0
            && [self.lost, self.duplicate, self.reordered].iter().all(|[told, real]| told == real)
    }
}

/// The table of all networks that were checked, in order of name; `None` when none was.
pub(crate) fn table() -> Fallible<Option<String>> {
    let mut table = String::from(
        "| network | fair for audio; 720p | told for audio; 720p | against the label | took | packets told otherwise | lost, told / true | \
         twice, told / true | reordered, told / true | not told |\n|---|---|---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut networks = Vec::new();
    for scenario in Scenario::all()? {
        let file = folder().join(&scenario.name).with_extension("json");
        match fs::read_to_string(file) {
            Ok(text) => networks.push((serde_json::from_str::<Network>(&text)?, scenario)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    for (network, scenario) in &networks {
        table += &row(network, scenario);
    }
    let (Some(first), Some(last)) = (
        networks.iter().map(|(network, _)| network.conditions.at).min(),
        networks.iter().map(|(network, _)| network.conditions.at).max(),
    ) else {
        return Ok(None);
    };
    let runs: Vec<&Run> = networks.iter().flat_map(|(network, _)| &network.runs).collect();
    let count = |keep: &dyn Fn(&Run) -> bool| runs.iter().filter(|run| keep(run)).count();
    let judged = |wanted| count(&move |run: &Run| run.judgement == wanted);
    let told: u64 = runs.iter().map(|run| run.packets.told).sum();
    let otherwise: u64 = runs.iter().map(|run| run.packets.otherwise).sum();
    // Writing to a string cannot fail.
    let _ = write!(
        table,
        "\n{} checks of {} networks: {} right, {} wrong, {} inconclusive, {} without a label for what was asked. Where a label names a place, \
         {} of {} leading causes are in an allowed place and direction. In {} of {} checks every count equals the truth; of {told} packets {otherwise} \
         ended otherwise than told. {} runs were void and made again.\n\nMeasured {} to {}; see `tests/bench/results/networks` for the conditions of \
         each.\n",
        runs.len(),
        networks.len(),
        judged(Judgement::Right),
        judged(Judgement::Wrong),
        judged(Judgement::Inconclusive),
        judged(Judgement::NoLabel),
        count(&|run| run.place_right == Some(true)),
        count(&|run| run.place_right.is_some()),
        count(&|run| run.packets.are_equal()),
        runs.len(),
        networks.iter().map(|(network, _)| network.voids).sum::<u64>(),
        first.strftime("%Y-%m-%d %H:%M UTC"),
        last.strftime("%H:%M UTC"),
    );
    Ok(Some(table))
}

fn row(network: &Network, scenario: &Scenario) -> String {
    let fair = ASKED.map(|use_| {
        let states = scenario.expect.states(use_);
        if states.is_empty() {
            "any".to_owned()
        } else {
            states.iter().map(name).collect::<Vec<_>>().join(" or ")
        }
    });
    let each = |show: &dyn Fn(&Run) -> String| {
        let shown: Vec<String> = network.runs.iter().map(show).collect();
        if shown.iter().all(|it| *it == shown[0]) { shown[0].clone() } else { shown.join(", ") }
    };
    let told = |run: &Run| ASKED.map(|use_| run.states.get(&use_).map_or("–".to_owned(), name)).join("; ");
    let pair = |[told, real]: [u64; 2]| format!("{told} / {real}");
    format!(
        "| {} | {} | {} | {} | {} s | {} | {} | {} | {} | {} |\n",
        network.name,
        fair.join("; "),
        each(&told),
        each(&|run| name(&run.judgement)),
        each(&|run| format!("{:.1}", run.took_s)),
        each(&|run| run.packets.otherwise.to_string()),
        each(&|run| pair(run.packets.lost)),
        each(&|run| pair(run.packets.duplicate)),
        each(&|run| pair(run.packets.reordered)),
        each(&|run| (run.packets.awaited + run.packets.host_dropped).to_string()),
    )
}

/// How a state stands in JSON, as words.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|it| Some(it.as_str()?.replace('_', " "))).unwrap_or_default()
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")).join(NAME)
}
