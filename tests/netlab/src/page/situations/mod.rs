//! The check page in labeled situations, device × network × permission: what it says, held against what is true.

mod label;
mod run;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::scenario::{Problem, Scenario};

pub use label::{Found, Label, Mark, NONE};
pub use run::{Ran, run};

/// How long a check may take where its situation says nothing else: twice what it takes on a network without trouble.
const WITHIN_S: f64 = 30.0;

/// A situation with its label. `tests/browser/situations.toml` says what each key means.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Situation {
    /// Its name.
    pub name: String,
    /// The part of the set that it belongs to.
    pub part: Part,
    /// The network between page and endpoint, by its name in the file. `None`: there is no endpoint.
    pub network: Option<String>,
    /// What the microphone hears.
    #[serde(default = "speech")]
    pub microphone: String,
    /// What the camera sees.
    #[serde(default = "moving")]
    pub camera: String,
    /// Whether there are any devices.
    #[serde(default = "yes")]
    pub devices: bool,
    /// What the browser answers when the page asks for devices.
    #[serde(default)]
    pub permission: Permission,
    /// What happens while the check runs.
    #[serde(default)]
    pub meanwhile: Meanwhile,
    /// What the call is for.
    #[serde(default = "audio")]
    pub wanted: String,
    /// The devices that are asked for. `None`: all without a network, else the microphone.
    pub asks: Option<String>,
    /// What the person says about the speaker.
    #[serde(default = "heard")]
    pub answer: String,
    /// Whether the trial call is made, too.
    #[serde(default)]
    pub trial: bool,
    /// What the verdict has to be.
    pub label: Label,
}

/// Parts of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Devices and permissions, without a network.
    Devices,
    /// Networks, with devices that work.
    Network,
    /// What breaks in the middle.
    Ends,
    /// Two faults at once.
    Both,
}

/// What the browser answers when the page asks for devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Yes.
    #[default]
    Granted,
    /// No.
    Denied,
    /// The microphone yes, the camera no.
    CameraDenied,
    /// Nothing: the question was closed.
    Dismissed,
    /// The operating system says no.
    System,
    /// Yes, and no while they are looked at.
    TakenBack,
}

/// What happens while the check runs, or is wrong from the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the file says it in words")]
pub enum Meanwhile {
    #[default]
    Nothing,
    CameraUnplugged,
    MicrophoneUnplugged,
    CameraInUse,
    Hidden,
    ClockForward,
    ClockBack,
    Blackout,
    CutOff,
    WorkerMissing,
    ScriptMissing,
    Closed,
    ServerGone,
}

impl Meanwhile {
    /// Whether it is felt by whatever else goes on at the same time.
    const fn concerns_others(self) -> bool {
        matches!(self, Self::Blackout | Self::CutOff | Self::ServerGone | Self::Closed)
    }
}

fn speech() -> String {
    "speech".to_owned()
}

fn moving() -> String {
    "moving".to_owned()
}

fn audio() -> String {
    "audio".to_owned()
}

fn heard() -> String {
    "Yes".to_owned()
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    network: BTreeMap<String, toml::Table>,
    situation: Vec<Situation>,
}

/// All situations, and the networks that they name.
#[derive(Debug)]
pub struct Set {
    networks: BTreeMap<String, Scenario>,
    /// In the order of the file.
    pub situations: Vec<Situation>,
}

impl Set {
    /// The set that comes with the page.
    ///
    /// # Errors
    /// When the file is unreadable or malformed, or a situation names no network of it.
    pub fn load() -> Result<Self, Problem> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../browser/situations.toml");
        let text = std::fs::read_to_string(&path).map_err(|source| Problem::Unreadable { path, source })?;
        let file: File = toml::from_str(&text).map_err(|source| Problem::Malformed {
            name: "situations".to_owned(),
            source: Box::new(source),
        })?;
        let scenarios =
            file.network.into_iter().map(|(name, network)| Ok((name.clone(), scenario(&name, network)?)));
        let networks: BTreeMap<_, _> = scenarios.collect::<Result<_, Problem>>()?;
        let senseless = |name: &str, what: String| Problem::Senseless { name: name.to_owned(), what };
        for situation in &file.situation {
            situation.label.check().map_err(|what| senseless(&situation.name, what))?;
            if let Some(network) = situation.network.as_ref().filter(|name| !networks.contains_key(*name)) {
                return Err(senseless(&situation.name, format!("there is no network {network}")));
            }
        }
        Ok(Self { networks, situations: file.situation })
    }

    /// The network of a situation; one without trouble where the situation has none.
    fn network(&self, situation: &Situation) -> Option<&Scenario> {
        self.networks.get(situation.network.as_deref().unwrap_or("clean"))
    }
}

/// A network of the file as a scenario: what it stands for the situation says.
fn scenario(name: &str, mut network: toml::Table) -> Result<Scenario, Problem> {
    let because = toml::Table::from_iter([("because".to_owned(), "the situation says it".into())]);
    network.insert("why".to_owned(), name.into());
    network.insert("source".to_owned(), "own".into());
    network.insert("duration_ms".to_owned(), 60_000_i64.into());
    network.insert("expect".to_owned(), because.into());
    Scenario::parse(name, &network.to_string())
}

impl Situation {
    /// The devices that are asked for.
    fn asks(&self) -> &str {
        let usual = if self.network.is_some() { "microphone" } else { "camera microphone speaker" };
        self.asks.as_deref().unwrap_or(usual)
    }

    /// Whether it may go on at the same time as this one.
    fn goes_with(&self, other: &Self) -> bool {
        let alone = |one: &Self| one.meanwhile.concerns_others() || one.wanted != "audio" || one.trial;
        self.network == other.network && !alone(self) && !alone(other)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_set_is_whole() {
        let set = Set::load().expect("it makes sense");
        let names: BTreeSet<_> = set.situations.iter().map(|it| &it.name).collect();
        assert_eq!(names.len(), set.situations.len(), "no name twice");
        assert!(names.len() >= 25);
        let used: BTreeSet<_> = set.situations.iter().filter_map(|it| it.network.clone()).collect();
        assert_eq!(used, set.networks.keys().cloned().collect(), "no network for nothing");
        for part in [Part::Devices, Part::Network, Part::Ends, Part::Both] {
            assert!(set.situations.iter().any(|it| it.part == part), "{part:?}");
        }
    }
}
