//! `verdicts`: checks every labelled network with many seeds in virtual time and tells how often the verdict was right, as the page
//! `docs/accuracy/verdicts.md`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use greenroom_netlab::scenario::{Problem, Scenario};
use greenroom_netlab::verdicts::{Tally, percentile, quick_check, tally};
use greenroom_reports::schema::Use;
use serde_json::json;

/// Checks labelled networks in virtual time and prints a Markdown table of how often the verdict was right.
#[derive(Parser)]
#[command(name = "verdicts", version)]
struct Cli {
    /// Checks of each network, with seeds from 0 on.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Uses asked for beside audio: 360p, 720p, 1080p, screen, or audio for audio alone.
    #[arg(long = "for", value_name = "USE", value_parser = parse_use, default_value = "720p")]
    use_: Use,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Writes the counts to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Networks by name; all of them unless told.
    scenarios: Vec<String>,
}

/// What the page says above its table.
const HEAD: &str = include_str!("verdicts.md");

fn parse_use(name: &str) -> Result<Use, String> {
    Use::ALL.into_iter().find(|use_| use_.short() == name).ok_or_else(|| format!("no use is called {name}"))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn std::error::Error>> {
    let scenarios = match cli.scenarios.as_slice() {
        [] => Scenario::all()?,
        names => names.iter().map(|name| Scenario::named(name)).collect::<Result<_, Problem>>()?,
    };
    let tallies = tally_all(cli, &scenarios);
    print!("{HEAD}{} seeds each.\n\n{}", cli.seeds, table(&tallies));
    if let Some(path) = &cli.json {
        let networks: Vec<_> = tallies.iter().map(|(scenario, tally)| as_json(scenario, tally)).collect();
        let document = json!({ "seeds": cli.seeds, "use": cli.use_.name(), "networks": networks });
        std::fs::write(path, serde_json::to_string_pretty(&document)?)?;
    }
    Ok(())
}

/// Counts all networks, shared among threads; in the order given.
fn tally_all<'s>(cli: &Cli, scenarios: &'s [Scenario]) -> Vec<(&'s Scenario, Tally)> {
    let plan = quick_check(&[Use::Audio, cli.use_]);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..cli.threads.max(1) {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tally = tally(scenario, &plan, 0..cli.seeds);
                    done.lock().expect("no thread panicked").push((scenario, tally));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panicked");
    done.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    done
}

fn table(tallies: &[(&Scenario, Tally)]) -> String {
    let mut out = String::from(
        "| network | wrong ready | wrong blocked | wrong degraded | inconclusive | uncertain | place right \
         | stopped early | decided p50 / p90 | verdict p50 / p90 | interval holds | states |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for (scenario, tally) in tallies {
        let percent = |count| format!("{:.1} %", 100.0 * tally.share(count));
        let of = |part, whole| match whole {
            0 => "–".to_owned(),
            whole => format!("{:.1} %", 100.0 * ratio(part, whole)),
        };
        let seconds = |ms: &[f64]| {
            let at = |p| percentile(ms, p).map_or_else(|| "–".to_owned(), |ms| format!("{:.1}", ms / 1e3));
            format!("{} / {} s", at(50), at(90))
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            scenario.name,
            percent(tally.wrong_ready),
            percent(tally.wrong_blocked),
            percent(tally.wrong_degraded),
            percent(tally.inconclusive),
            percent(tally.uncertain),
            of(tally.placed_right, tally.placed),
            percent(tally.early),
            seconds(&tally.decided_ms),
            seconds(&tally.took_ms),
            of(tally.intervals_held, tally.intervals),
            states(tally),
        );
    }
    out
}

/// `audio ready 93 %, inconclusive 7 %; 720p blocked 100 %`.
fn states(tally: &Tally) -> String {
    let uses = tally.states.iter().map(|(use_, states)| {
        let mut states: Vec<_> = states.iter().collect();
        states.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let states: Vec<_> = states
            .into_iter()
            .map(|(state, count)| format!("{} {:.1} %", name(state), 100.0 * tally.share(*count)))
            .collect();
        format!("{} {}", use_.short(), states.join(", "))
    });
    uses.collect::<Vec<_>>().join("; ")
}

fn name(state: &greenroom_reports::schema::State) -> String {
    json!(state).as_str().unwrap_or_default().replace('_', " ")
}

#[expect(clippy::cast_precision_loss, reason = "counts of runs")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn as_json(scenario: &Scenario, tally: &Tally) -> serde_json::Value {
    let times = |ms: &[f64]| json!({ "p50": percentile(ms, 50), "p90": percentile(ms, 90) });
    json!({
        "network": scenario.name,
        "counts": tally,
        "decided_ms": times(&tally.decided_ms),
        "took_ms": times(&tally.took_ms),
    })
}
