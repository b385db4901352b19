//! `places`: judges every labelled situation with many seeds in virtual time and tells what was blamed, as the page
//! `docs/accuracy/places.md`.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
#[cfg(target_os = "linux")]
use greenroom_netlab::places::real::{self, RealError};
use greenroom_netlab::places::{Situation, Tally, all, matrix, name};
use greenroom_netlab::scenario::Problem;
use greenroom_netlab::verdicts::quick_check;
use greenroom_reports::schema::Use;

/// Judges labelled situations in virtual time and prints Markdown: what was blamed in each, and the confusion matrix.
#[derive(Parser)]
#[command(name = "places", version)]
struct Cli {
    /// Checks of each situation, with seeds from 0 on.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Prints the verdicts of this one seed, to look at.
    #[arg(long)]
    seed: Option<u64>,
    /// Makes each situation real this many times instead, with the `greenroom` beside this program: namespaces, servers, the program
    /// itself. Needs root.
    #[cfg(target_os = "linux")]
    #[arg(long, value_name = "TIMES")]
    real: Option<u64>,
    /// Situations by name; all of them unless told.
    situations: Vec<String>,
}

/// What the page says above its tables.
const HEAD: &str = include_str!("places.md");

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Problem(#[from] Problem),
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Real(#[from] RealError),
    #[cfg(target_os = "linux")]
    #[error("cannot find the program: {0}")]
    Program(std::io::Error),
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let mut situations = all()?;
    if !cli.situations.is_empty() {
        situations.retain(|situation| cli.situations.contains(&situation.name));
    }
    if let Some(seed) = cli.seed {
        let plan = quick_check(&[Use::Audio, Use::Video720p]);
        for situation in &situations {
            println!("{}: {:#?}", situation.name, situation.judge(seed, &plan)?);
        }
        return Ok(());
    }
    #[cfg(target_os = "linux")]
    if let Some(times) = cli.real {
        return make_real(&situations, times);
    }
    let tallies = tally_all(cli, &situations)?;
    print!("{HEAD}{} seeds each.\n\n", cli.seeds);
    let total = cli.seeds * tallies.len() as u64;
    let right: u64 = tallies.iter().map(|(situation, tally)| situation.right(tally)).sum();
    println!("In all {} of {total} checks named a right place: {}.\n", right, percent(right, total));
    print_each(&tallies);
    print!("{}", matrix(&tallies));
    Ok(())
}

/// What is blamed in each situation that was made real, to look at.
#[cfg(target_os = "linux")]
fn make_real(situations: &[Situation], times: u64) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(Failure::Program)?.with_file_name("greenroom");
    for situation in situations {
        for seed in 0..times {
            let seen = real::check(situation, seed, &program)?;
            let verdict = &seen.report.verdict;
            let blamed = seen.blamed();
            let fits = if situation.allows(blamed) { "right" } else { "WRONG" };
            let late = seen.late.map_or_else(String::new, |late| format!(", link {late:?} late"));
            let took = seen.took.as_secs_f64();
            println!(
                "{}: {fits}, {} blamed, {took:.1} s{late}: {}",
                situation.name,
                name(blamed),
                seen.command
            );
            for cause in &verdict.causes {
                println!("    {:?} {} {:?}: {}", cause.state, cause.code, cause.place, cause.say);
                cause.evidence.iter().for_each(|line| println!("        + {line}"));
                cause.ruled_out.iter().for_each(|line| println!("        - {line}"));
            }
        }
    }
    Ok(())
}

/// All situations, shared among threads; in the order given.
fn tally_all<'s>(cli: &Cli, situations: &'s [Situation]) -> Result<Vec<(&'s Situation, Tally)>, Problem> {
    let plan = quick_check(&[Use::Audio, Use::Video720p]);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..cli.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(situation) = situations.get(at) else { break };
                    let tally = situation.tally(&plan, 0..cli.seeds);
                    done.lock().expect("no thread panicked").push((at, tally));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panicked");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(at, tally)| Ok((&situations[at], tally?))).collect()
}

fn print_each(tallies: &[(&Situation, Tally)]) {
    println!("| situation | right | named right | what was blamed |\n|---|---|--:|---|");
    for (situation, tally) in tallies {
        let runs: u64 = tally.values().sum();
        let right: Vec<_> = situation.right_ones().map(name).collect();
        let mut blamed: Vec<_> = tally.iter().collect();
        blamed.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        let blamed: Vec<_> = blamed
            .iter()
            .map(|(place, times)| format!("{} {}", name(**place), percent(**times, runs)))
            .collect();
        println!(
            "| `{}` | {} | {} | {} |",
            situation.name,
            right.join(", "),
            percent(situation.right(tally), runs),
            blamed.join(", ")
        );
    }
    println!();
}

#[expect(clippy::cast_precision_loss, reason = "counts of checks")]
fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 / whole.max(1) as f64 * 100.0;
    if part == whole { "100 %".to_owned() } else { format!("{share:.1} %") }
}
