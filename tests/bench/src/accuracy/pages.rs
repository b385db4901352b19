//! The check page in Chromium over emulated links: what it tells, beside what the link did and what the program tells of it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use greenroom_netlab::page::{self, CAPACITY_RATIO, Comparison, Programs, SETTINGS, Setting, Way};
use serde::{Deserialize, Serialize};

use crate::Fallible;
use crate::machine::{Conditions, Watch};
use crate::process;

/// What the set is called on the command line and in the template. `page/NAME` is one link of it.
pub(crate) const NAME: &str = "page";
/// Runs of each link.
const RUNS: u64 = 3;

/// All runs over one link.
#[derive(Debug, Serialize, Deserialize)]
struct Link {
    name: String,
    conditions: Conditions,
    runs: Vec<Comparison>,
}

/// Runs links by name, all of them unless told, and keeps what was found.
pub(crate) fn measure(names: &[String]) -> Fallible<()> {
    let named = |name: &String| Setting::named(name).ok_or_else(|| format!("there is no link {name}"));
    let settings = match names {
        [] => SETTINGS.to_vec(),
        names => names.iter().map(named).collect::<Result<_, _>>()?,
    };
    let programs = Programs::with(process::greenroom()?);
    for setting in settings {
        let watch = Watch::start()?;
        let runs = (0..RUNS).map(|seed| run(&setting, seed, &programs)).collect::<Fallible<_>>()?;
        let link = Link { name: setting.name.to_owned(), conditions: watch.end()?, runs };
        eprint!("{}", rows(&link, &setting));
        fs::create_dir_all(folder())?;
        let file = folder().join(&link.name).with_extension("json");
        fs::write(file, serde_json::to_string_pretty(&link)? + "\n")?;
    }
    Ok(())
}

fn run(setting: &Setting, seed: u64, programs: &Programs) -> Fallible<Comparison> {
    let seen = page::check(setting, seed, programs)?;
    let found = Comparison::of(setting, &seen)
        .ok_or_else(|| format!("{}: the page measured nothing: {}", setting.name, seen.page.verdict.say))?;
    for wrong in found.wrong() {
        eprintln!("{}, seed {seed}: {wrong}", setting.name);
    }
    Ok(found)
}

/// The table of all links that were measured; `None` when none was.
pub(crate) fn table() -> Fallible<Option<String>> {
    let mut text = String::from(
        "| link | round trip, told / true (ms) | | lost, told / true (%) | capacity, page (Mbit/s) | program | longer when full (ms) | first verdict (s) | as it should be |\n\
         |---|--:|---|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut links = Vec::new();
    for setting in SETTINGS {
        match fs::read_to_string(folder().join(setting.name).with_extension("json")) {
            Ok(text) => links.push((serde_json::from_str::<Link>(&text)?, setting)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    for (link, setting) in &links {
        text += &rows(link, setting);
    }
    let ways = || links.iter().flat_map(|(link, _)| &link.runs).flat_map(|run| &run.ways);
    let within = |told: fn(&Way) -> Option<f64>| {
        ways()
            .filter_map(|way| Some((told(way)? / real(way) - 1.0).abs()))
            .filter(|off| *off <= CAPACITY_RATIO)
            .count()
    };
    let (Some(first), Some(last)) = (
        links.iter().map(|(link, _)| link.conditions.at).min(),
        links.iter().map(|(link, _)| link.conditions.at).max(),
    ) else {
        return Ok(None);
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\nOf {} capacities {} by the page and {} by the program are within {:.0} %. Measured {} to {}; `tests/bench/results/page` has the \
         conditions of each.",
        ways().count(),
        within(|way| way.page_bps),
        within(|way| way.native_bps),
        CAPACITY_RATIO * 100.0,
        first.strftime("%Y-%m-%d %H:%M UTC"),
        last.strftime("%H:%M UTC"),
    );
    Ok(Some(text))
}

/// One line each way, the values of all runs beside each other.
fn rows(link: &Link, setting: &Setting) -> String {
    let each = |show: &dyn Fn(&Comparison) -> String| {
        let shown: Vec<String> = link.runs.iter().map(show).collect();
        if shown.iter().all(|it| *it == shown[0]) { shown[0].clone() } else { shown.join(", ") }
    };
    let mbps = |told: Option<f64>| told.map_or("–".to_owned(), |bps| format!("{:.2}", bps / 1e6));
    let mut text = String::new();
    for (at, name) in ["up", "down"].into_iter().enumerate() {
        let head = match at {
            0 => format!(
                "{}: {} ms each way, {} % lost, queue {} ms, for {} | {}",
                link.name,
                setting.delay_ms,
                setting.loss_ratio * 100.0,
                setting.queue_ms,
                setting.wanted,
                each(&|run| format!("{:.1} / {:.1}", run.rtt_ms[0], run.rtt_ms[1])),
            ),
            _ => " | ".to_owned(),
        };
        let tail = match at {
            0 => (
                each(&|run| run.early_s.map_or("–".to_owned(), |s| format!("{s:.1}"))),
                format!(
                    "{} of {}",
                    link.runs.iter().filter(|run| run.wrong().is_empty()).count(),
                    link.runs.len()
                ),
            ),
            _ => (String::new(), String::new()),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {head} | {name}, {} Mbit/s | {} | {} | {} | {} | {} | {} |",
            real(&link.runs[0].ways[at]) / 1e6,
            each(&|run| {
                let way = &run.ways[at];
                format!("{:.1} / {:.1}", way.loss_told.0 * 100.0, way.loss_true.0 * 100.0)
            }),
            each(&|run| {
                let way = &run.ways[at];
                format!("{}{}", if way.page_at_least { "≥ " } else { "" }, mbps(way.page_bps))
            }),
            each(&|run| mbps(run.ways[at].native_bps)),
            each(&|run| run.saturated_ms[at].map_or("–".to_owned(), |ms| format!("{ms:.0}"))),
            tail.0,
            tail.1,
        );
    }
    text
}

fn real(way: &Way) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "rates stay far below 2^53 bit/s")]
    let real = way.capacity_bps as f64;
    real
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")).join(NAME)
}
