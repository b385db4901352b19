//! Measures Greenroom beside other tools and writes what it found into `docs/PERFORMANCE.md` and `docs/accuracy`.
//!
//! `./dev bench [NAME…]` builds and runs it. Each section is measured in one go: in every round each contender has its turn,
//! so that whatever else the machine does falls on all of them. What was measured, when and under which load is kept in
//! `tests/bench/results`; the document is rendered from there, so no figure is ever typed.

mod accuracy;
mod machine;
mod performance;
mod process;
mod record;
mod render;

use std::error::Error;
use std::process::ExitCode;

use accuracy::{networks, pages, places, situations};
use machine::Watch;
use performance::memory;
use record::Section;

/// Whatever went wrong, in words: this program is run by hand.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Writes the documents anew without measuring.
const RENDER: &str = "render";
/// Rounds in which every contender has its turn.
pub(crate) const ROUNDS: usize = 5;

/// A section and what measures it.
type Job = (&'static str, fn(&mut Section) -> Fallible<()>);

/// Of many that can be measured by themselves: their name, and what measures some by name, or all.
type Set = (&'static str, fn(&[String]) -> Fallible<()>);

const SETS: [Set; 4] = [
    (networks::NAME, networks::measure),
    (pages::NAME, pages::measure),
    (places::NAME, places::measure),
    (situations::NAME, situations::measure),
];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if asked == [memory::DAY] {
        return exit_code(&[memory::live_a_day()]);
    }
    let jobs = [performance::JOBS, accuracy::JOBS].concat();
    let is_known = |asked: &str| {
        asked == RENDER
            || SETS.iter().any(|(set, _)| *set == asked || part_of(set, asked).is_some())
            || jobs.iter().any(|(name, _)| *name == asked)
    };
    if let Some(unknown) = asked.iter().find(|asked| !is_known(asked)) {
        let names: Vec<_> = jobs.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "there is no benchmark {unknown}; there are: {} networks networks/NAME page page/NAME places places/NAME situations situations/NAME {RENDER}",
            names.join(" ")
        );
        return ExitCode::from(64);
    }
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let mut outcomes: Vec<_> =
        jobs.iter().filter(|(name, _)| wanted(name)).map(|(name, job)| measure(name, *job)).collect();
    for (set, measure) in SETS {
        let some: Vec<String> = asked.iter().filter_map(|asked| part_of(set, asked)).collect();
        if wanted(set) {
            outcomes.push(measure(&[]));
        } else if !some.is_empty() {
            outcomes.push(measure(&some));
        }
    }
    outcomes.push(render::documents().map_err(|error| format!("cannot write the documents: {error}").into()));
    exit_code(&outcomes)
}

/// What is asked for of a set.
fn part_of(set: &str, asked: &str) -> Option<String> {
    asked.strip_prefix(set)?.strip_prefix('/').map(str::to_owned)
}

/// Says what went wrong.
fn exit_code(outcomes: &[Fallible<()>]) -> ExitCode {
    outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).for_each(|error| eprintln!("{error}"));
    if outcomes.iter().all(Result::is_ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(name: &str, job: fn(&mut Section) -> Fallible<()>) -> Fallible<()> {
    eprintln!("measuring {name}");
    let watch = Watch::start()?;
    let mut section = Section::new(name);
    job(&mut section).map_err(|error| format!("{name}: {error}"))?;
    section.conditions = Some(watch.end()?);
    eprintln!("{}", render::table(&section));
    section.save()
}
