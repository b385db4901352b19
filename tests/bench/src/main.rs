//! Measures Greenroom beside other tools and writes what it found into `docs/PERFORMANCE.md`.
//!
//! `./dev bench [NAME…]` builds and runs it. Each section is measured in one go: in every round each contender has its turn,
//! so that whatever else the machine does falls on all of them. What was measured, when and under which load is kept in
//! `tests/bench/results`; the document is rendered from there, so no figure is ever typed.

mod machine;
mod performance;
mod process;
mod record;
mod render;

use std::error::Error;
use std::process::ExitCode;

use machine::Watch;
use record::Section;

/// Whatever went wrong, in words: this program is run by hand.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Rounds in which every contender has its turn.
pub(crate) const ROUNDS: usize = 5;

/// A section and what measures it.
type Job = (&'static str, fn(&mut Section) -> Fallible<()>);

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let jobs = performance::JOBS;
    if let Some(unknown) =
        asked.iter().find(|name| *name != "render" && jobs.iter().all(|(job, _)| job != name))
    {
        let names: Vec<_> = jobs.iter().map(|(name, _)| *name).collect();
        eprintln!("there is no benchmark {unknown}; there are: render {}", names.join(" "));
        return ExitCode::from(64);
    }
    let mut failed = false;
    for (name, job) in jobs {
        let wanted = asked.is_empty() || asked.iter().any(|asked| asked == name);
        if wanted && let Err(error) = measure(name, *job) {
            eprintln!("{name}: {error}");
            failed = true;
        }
    }
    if let Err(error) = render::documents() {
        eprintln!("cannot write the documents: {error}");
        failed = true;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn measure(name: &str, job: fn(&mut Section) -> Fallible<()>) -> Fallible<()> {
    eprintln!("measuring {name}");
    let watch = Watch::start()?;
    let mut section = Section::new(name);
    job(&mut section)?;
    section.conditions = Some(watch.end()?);
    eprintln!("{}", render::table(&section));
    section.save()
}
