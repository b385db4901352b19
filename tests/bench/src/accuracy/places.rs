//! Whose fault it is, in real time: every labelled situation made real, checked three times.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use greenroom_netlab::places::{self, Blamed, Situation, Tally, real};
use serde::{Deserialize, Serialize};

use crate::Fallible;
use crate::machine::{Conditions, Watch};
use crate::process;

/// What the section is called on the command line and in the template. `places/NAME` is one situation of it.
pub(crate) const NAME: &str = "places";
/// Checks of each situation.
const RUNS: u64 = 3;
/// How often a check is made at most, because the link did not keep to its own times.
const ATTEMPTS: u64 = 3;
/// A link that was later than this in one packet of a hundred might change what is blamed: delay is judged in tens of milliseconds.
const LATE: Duration = Duration::from_millis(5);

/// All checks of one situation.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    name: String,
    conditions: Conditions,
    /// Checks that were made again, because the link was late.
    voids: u64,
    runs: Vec<Run>,
}

/// One check.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    seed: u64,
    took_s: f64,
    blamed: Blamed,
    /// The leading cause, or the first note, by code; `None`: nothing was told.
    cause: Option<String>,
    say: String,
    /// How late the link was in one packet of a hundred.
    link_late_ms: Option<f64>,
    command: String,
}

/// Checks situations by name, all of them unless told, and keeps what was found.
pub(crate) fn measure(names: &[String]) -> Fallible<()> {
    let mut situations = places::all()?;
    if let Some(unknown) = names.iter().find(|name| situations.iter().all(|it| it.name != **name)) {
        return Err(format!("there is no situation {unknown}").into());
    }
    situations.retain(|situation| names.is_empty() || names.contains(&situation.name));
    for situation in &situations {
        let found = check_all(situation)?;
        eprint!("{}", row(&found, situation));
        fs::create_dir_all(folder())?;
        let file = folder().join(&found.name).with_extension("json");
        fs::write(file, serde_json::to_string_pretty(&found)? + "\n")?;
    }
    Ok(())
}

fn check_all(situation: &Situation) -> Fallible<Found> {
    let watch = Watch::start()?;
    let mut voids = 0;
    let runs = (0..RUNS).map(|run| check(situation, run, &mut voids)).collect::<Fallible<_>>()?;
    Ok(Found { name: situation.name.clone(), conditions: watch.end()?, voids, runs })
}

/// Checks once; again, with another seed, while the link is late. The last one counts in any case, and says how late it was.
fn check(situation: &Situation, run: u64, voids: &mut u64) -> Fallible<Run> {
    let program = process::greenroom()?;
    let mut attempt = 0;
    let (seed, seen) = loop {
        let seed = run + RUNS * attempt;
        let seen =
            real::check(situation, seed, &program).map_err(|error| format!("{}: {error}", situation.name))?;
        attempt += 1;
        if attempt == ATTEMPTS || seen.late.is_none_or(|late| late <= LATE) {
            break (seed, seen);
        }
        *voids += 1;
    };
    let verdict = &seen.report.verdict;
    Ok(Run {
        seed,
        took_s: seen.took.as_secs_f64(),
        blamed: seen.blamed(),
        cause: verdict.causes.first().map(|cause| cause.code.clone()),
        say: verdict.say.clone(),
        link_late_ms: seen.late.map(|late| late.as_secs_f64() * 1e3),
        command: seen.command,
    })
}

/// The table of all situations that were made real, with the matrix; `None` when none was.
pub(crate) fn table() -> Fallible<Option<String>> {
    let situations = places::all()?;
    let mut all = Vec::new();
    for situation in &situations {
        match fs::read_to_string(folder().join(&situation.name).with_extension("json")) {
            Ok(text) => all.push((serde_json::from_str::<Found>(&text)?, situation)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (Some(first), Some(last)) = (
        all.iter().map(|(found, _)| found.conditions.at).min(),
        all.iter().map(|(found, _)| found.conditions.at).max(),
    ) else {
        return Ok(None);
    };
    let tallies: Vec<(&Situation, Tally)> =
        all.iter().map(|(found, situation)| (*situation, tally(found))).collect();
    let runs: u64 = tallies.iter().flat_map(|(_, tally)| tally.values()).sum();
    let right: u64 = tallies.iter().map(|(situation, tally)| situation.right(tally)).sum();
    let mut text = format!(
        "{right} of {runs} checks of {} situations named a right place: {}.\n\n\
         | situation | right | blamed | what was said | took | command |\n|---|---|---|---|--:|---|\n",
        all.len(),
        percent(right, runs),
    );
    all.iter().for_each(|(found, situation)| text += &row(found, situation));
    text += "\n";
    text += &places::matrix(&tallies);
    // Writing to a string cannot fail.
    let _ = write!(text, "\n{}", conditions(&all, (first, last)));
    Ok(Some(text))
}

fn tally(found: &Found) -> Tally {
    let mut tally = Tally::new();
    for run in &found.runs {
        *tally.entry(run.blamed).or_default() += 1;
    }
    tally
}

fn row(found: &Found, situation: &Situation) -> String {
    let right: Vec<_> = situation.right_ones().map(places::name).collect();
    let each = |show: &dyn Fn(&Run) -> String| {
        let shown: Vec<String> = found.runs.iter().map(show).collect();
        if shown.iter().all(|it| *it == shown[0]) { shown[0].clone() } else { shown.join(", ") }
    };
    let blamed = |run: &Run| {
        let name = places::name(run.blamed);
        if situation.allows(run.blamed) { name.to_owned() } else { format!("**{name}**") }
    };
    let said = found.runs.iter().find(|run| situation.allows(run.blamed)).or(found.runs.first());
    format!(
        "| `{}` | {} | {} | {} | {} s | `{}` |\n",
        found.name,
        right.join(", "),
        each(&blamed),
        said.map_or("", |run| &run.say).replace('|', "\\|"),
        each(&|run| format!("{:.1}", run.took_s)),
        said.map_or("", |run| &run.command),
    )
}

/// On what, when, and how busy it was.
fn conditions(all: &[(Found, &Situation)], (first, last): (jiff::Timestamp, jiff::Timestamp)) -> String {
    let Some((found, _)) = all.first() else { return String::new() };
    let at = &found.conditions;
    let kind = if at.is_virtual { "virtual machine" } else { "machine" };
    let busiest = all.iter().map(|(found, _)| found.conditions.others_ratio).fold(0.0, f64::max);
    let late = all.iter().flat_map(|(found, _)| &found.runs).filter_map(|run| run.link_late_ms);
    let late: Vec<f64> = late.collect();
    format!(
        "Measured {} to {} on a {kind} with {} cores ({}), Linux {}. Other programs took up to {:.0} % of the processors during one situation. The \
         link was more than 0.2 ms late (p99) in {} checks, at most {:.1} ms; {} checks were made again because it was later than {} ms. \
         `tests/bench/results/places` has the conditions of each.\n",
        first.strftime("%Y-%m-%d %H:%M UTC"),
        last.strftime("%H:%M UTC"),
        at.cores,
        at.processor,
        at.kernel,
        busiest * 100.0,
        late.len(),
        late.iter().copied().fold(0.0, f64::max),
        all.iter().map(|(found, _)| found.voids).sum::<u64>(),
        LATE.as_millis(),
    )
}

#[expect(clippy::cast_precision_loss, reason = "counts of checks")]
fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 / whole.max(1) as f64 * 100.0;
    if part == whole { "100 %".to_owned() } else { format!("{share:.1} %") }
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")).join(NAME)
}
