//! Whose fault it is, against labels: situations in virtual time, each a network with the place of its trouble and what else was asked.

mod beside;
mod matrix;
#[cfg(target_os = "linux")]
pub mod real;
mod router;
mod way;

use std::path::Path;

use greenroom::plan::Plan;
use greenroom_reports::assess::{Probed, Question, TargetMeta, assess};
use greenroom_reports::schema::{LinkKind, Place, Verdict};
use serde::Deserialize;

use crate::scenario::{Problem, Scenario};
use crate::sim::{Ending, check};
pub use beside::Beside;
pub use matrix::{Tally, matrix, name};
pub use router::Trouble;

/// A situation with its label.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Situation {
    /// Its name.
    pub name: String,
    /// The network between the computer and the endpoint: a scenario's name.
    pub network: String,
    /// That to a second endpoint, measured after the first.
    pub second: Option<String>,
    /// Where the network's trouble lies.
    pub trouble: Trouble,
    /// The one port that a firewall lets through in real time; in virtual time the network says what it blocks.
    pub only_port: Option<u16>,
    /// What the computer is connected by.
    #[serde(default = "cable")]
    pub link: LinkKind,
    /// What else was asked.
    #[serde(default)]
    pub beside: Vec<Beside>,
    /// The right places.
    #[serde(default)]
    pub place: Vec<Place>,
    /// Whether it is right to blame nothing.
    #[serde(default)]
    pub nothing: bool,
}

const fn cable() -> LinkKind {
    LinkKind::Wired
}

/// What is blamed: a place, or nothing.
pub type Blamed = Option<Place>;

/// What a verdict blames: the place of its leading cause, or of the first thing worth knowing where nothing is wrong.
pub fn blamed(verdict: &Verdict) -> Blamed {
    verdict.place.or_else(|| verdict.causes.first().map(|note| note.place))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    situation: Vec<Situation>,
}

/// All situations that come with the lab.
///
/// # Errors
///
/// When the file is unreadable or malformed.
pub fn all() -> Result<Vec<Situation>, Problem> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("situations.toml");
    let text = std::fs::read_to_string(&path).map_err(|source| Problem::Unreadable { path, source })?;
    let file: File = toml::from_str(&text)
        .map_err(|source| Problem::Malformed { name: "situations".to_owned(), source: Box::new(source) })?;
    Ok(file.situation)
}

impl Situation {
    /// The verdict of one check in it. The same seed gives the same verdict.
    ///
    /// # Errors
    ///
    /// When a network's file is unreadable or malformed.
    pub fn judge(&self, seed: u64, plan: &Plan) -> Result<Verdict, Problem> {
        let mut probed: Vec<(TargetMeta, Option<greenroom_reports::trace::Trace>)> = Vec::new();
        let mut at_cap = true;
        for (number, network) in [Some(&self.network), self.second.as_ref()].into_iter().flatten().enumerate()
        {
            let scenario = Scenario::named(network)?;
            let checked = check(&scenario, seed, plan);
            at_cap &= checked.ending != Ending::Failed;
            let router = self.trouble.router(&scenario, seed, self.link, &checked);
            let url = format!("greenroom://netlab{number}.example");
            probed.push((TargetMeta { url, ..checked.meta }, checked.trace));
            probed.extend(router.map(|router| (router, None)));
        }
        probed.extend(self.beside.iter().enumerate().map(|(place, beside)| {
            let seed = seed.wrapping_mul(31).wrapping_add(u64::try_from(place).unwrap_or_default());
            (beside.told(seed), None)
        }));
        let question = Question { profile: &plan.profile, asked: &plan.uses, mode: plan.mode, at_cap };
        let probed: Vec<Probed<'_>> =
            probed.iter().map(|(meta, trace)| Probed { meta, trace: trace.as_ref() }).collect();
        Ok(assess(&probed, &question).verdict)
    }

    /// What is blamed in checks with these seeds, and how often.
    ///
    /// # Errors
    ///
    /// As [`Situation::judge`].
    pub fn tally(&self, plan: &Plan, seeds: impl IntoIterator<Item = u64>) -> Result<Tally, Problem> {
        let mut tally = Tally::new();
        for seed in seeds {
            *tally.entry(blamed(&self.judge(seed, plan)?)).or_default() += 1;
        }
        Ok(tally)
    }

    /// Whether that is right to blame.
    pub fn allows(&self, blamed: Blamed) -> bool {
        blamed.map_or(self.nothing, |place| self.place.contains(&place))
    }

    /// What is right to blame, the first choice first.
    pub fn right_ones(&self) -> impl Iterator<Item = Blamed> {
        self.place.iter().copied().map(Some).chain(self.nothing.then_some(None))
    }

    /// How many of a tally name a right place.
    pub fn right(&self, tally: &Tally) -> u64 {
        tally.iter().filter(|(blamed, _)| self.allows(**blamed)).map(|(_, times)| times).sum()
    }
}
