//! The check page in labeled situations: how often its verdict is right.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use greenroom_netlab::page::Programs;
use greenroom_netlab::page::situations::{Found, Mark, Ran, Set, Situation, run};
use serde::{Deserialize, Serialize};

use crate::Fallible;
use crate::machine::{Conditions, Watch};
use crate::process;

/// What the set is called on the command line and in the template. `situations/NAME` is one of them.
pub(crate) const NAME: &str = "situations";
/// Checks of each situation.
const RUNS: u64 = 3;

/// All checks of one situation.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    name: String,
    conditions: Conditions,
    runs: Vec<Run>,
}

/// One check.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    seed: u64,
    found: Found,
    mark: Mark,
}

/// Goes through situations by name, all of them unless told, and keeps what was found.
pub(crate) fn measure(names: &[String]) -> Fallible<()> {
    let set = Set::load()?;
    if let Some(unknown) = names.iter().find(|name| set.situations.iter().all(|it| it.name != **name)) {
        return Err(format!("there is no situation {unknown}").into());
    }
    let programs = Programs::with(process::greenroom()?);
    let wanted = |situation: &Situation| names.is_empty() || names.contains(&situation.name);
    let watch = Watch::start()?;
    let mut rounds = Vec::new();
    for seed in 0..RUNS {
        let tell = |ran: &Ran<'_>| {
            eprintln!("{}, seed {seed}: {:?}; {}", ran.situation.name, ran.mark, ran.found);
        };
        rounds.push(run(&set, wanted, seed, &programs, tell)?);
    }
    let conditions = watch.end()?;
    fs::create_dir_all(folder())?;
    for situation in set.situations.iter().filter(|situation| wanted(situation)) {
        let of_it = (0..).zip(&rounds).flat_map(|(seed, round)| {
            let ran = round.iter().filter(|ran| ran.situation.name == situation.name);
            ran.map(move |ran| Run { seed, found: ran.found.clone(), mark: ran.mark.clone() })
        });
        let kept =
            Kept { name: situation.name.clone(), conditions: conditions.clone(), runs: of_it.collect() };
        let file = folder().join(&kept.name).with_extension("json");
        fs::write(file, serde_json::to_string_pretty(&kept)? + "\n")?;
    }
    Ok(())
}

/// The table of all situations that were gone through; `None` when none was.
pub(crate) fn table() -> Fallible<Option<String>> {
    let set = Set::load()?;
    let mut all = Vec::new();
    for situation in &set.situations {
        match fs::read_to_string(folder().join(&situation.name).with_extension("json")) {
            Ok(text) => all.push((serde_json::from_str::<Kept>(&text)?, situation)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    let at = || all.iter().map(|(kept, _)| &kept.conditions);
    let (Some(first), Some(last)) = (at().map(|it| it.at).min(), at().map(|it| it.at).max()) else {
        return Ok(None);
    };
    let count = |is: fn(&Mark) -> bool| {
        all.iter().flat_map(|(kept, _)| &kept.runs).filter(|run| is(&run.mark)).count()
    };
    let void = count(|mark| matches!(mark, Mark::Void(_)));
    let mut text = format!(
        "{} of {} checks of {} situations were right; {void} more are void.\n\n\
         | situation | why | right is | found | right |\n|---|---|---|---|--:|\n",
        count(|mark| *mark == Mark::Right),
        count(|_| true) - void,
        all.len(),
    );
    all.iter().for_each(|(kept, situation)| text += &row(kept, situation));
    let others = at().map(|it| it.others_ratio).fold(0.0, f64::max);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\nMeasured {} to {}; other programs took up to {:.0} % of the processors meanwhile. `tests/bench/results/{NAME}` has each check.",
        first.strftime("%Y-%m-%d %H:%M UTC"),
        last.strftime("%Y-%m-%d %H:%M UTC"),
        others * 100.0,
    );
    Ok(Some(text))
}

/// What was found, the same together.
fn row(kept: &Kept, situation: &Situation) -> String {
    let mut found: Vec<String> = Vec::new();
    for run in &kept.runs {
        let causes: Vec<&str> =
            std::iter::once(&run.found.overall).chain(&run.found.causes).map(String::as_str).collect();
        let shown = match &run.mark {
            Mark::Right => causes.join(", "),
            Mark::Wrong(_) => format!("**{}**", causes.join(", ")),
            Mark::Void(_) => "void".to_owned(),
        };
        if !found.contains(&shown) {
            found.push(shown);
        }
    }
    let right = kept.runs.iter().filter(|run| run.mark == Mark::Right).count();
    let counted = kept.runs.iter().filter(|run| !matches!(run.mark, Mark::Void(_))).count();
    let label = situation.label.to_string().replace('|', " or ");
    format!(
        "| `{}` | {} | {label} | {} | {right} of {counted} |\n",
        kept.name,
        situation.label.because,
        found.join("; ")
    )
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")).join(NAME)
}
