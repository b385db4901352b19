//! Labels, and what was found held against them.

use std::fmt;

use greenroom_reports::schema::{Cause, Place, Report, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::WITHIN_S;

/// How a label says that there is no report.
pub const NONE: &str = "none";
/// What a computer that is busy with other things tells of itself: neither right nor wrong in any situation.
const OWN: [&str; 5] = ["camera_slow", "camera_uneven", "encode_slow", "send_late", SPOILED];
/// What such a computer makes of the whole measurement.
const DISTURBED: &str = "disturbed";
/// How it says that packets left late, or that times are not good for much.
const LATE: [&str; 2] = ["send_late", SPOILED];
const SPOILED: &str = "measurement_spoiled";
/// What packets that left or were read late look like.
const OF_LATENESS: [&str; 3] = ["late_loss", "pdv", "bufferbloat"];

/// What the verdict has to be.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// The verdicts between which what can be seen does not decide.
    pub overall: Vec<String>,
    /// What is to be told, the leading cause first.
    #[serde(default)]
    pub causes: Vec<String>,
    /// Whether the order of causes is told by nothing.
    #[serde(default)]
    pub order: Order,
    /// What may be told beside.
    #[serde(default)]
    pub may: Vec<String>,
    /// What is to be told and counts for nothing.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What stands on the page.
    #[serde(default)]
    pub says: Vec<String>,
    /// Whether the report is of what was done until the person left.
    #[serde(default)]
    pub partial: bool,
    /// When it has to have come to its end.
    #[serde(default = "within")]
    pub within_s: f64,
    /// How the label follows.
    pub because: String,
}

/// The order of causes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The first one leads.
    #[default]
    FirstLeads,
    /// Any of them may.
    Any,
}

const fn within() -> f64 {
    WITHIN_S
}

/// What came of a situation, in a few words.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// The verdict, or [`NONE`].
    pub overall: String,
    /// `code place` of each cause that counts, the leading one first.
    pub causes: Vec<String>,
    /// Codes of what counts for nothing.
    pub notes: Vec<String>,
    /// What it says.
    pub say: String,
    /// From the click to the end. `None`: the person did not wait for it.
    pub took_s: Option<f64>,
    partial: bool,
    /// What the browser's driver found to be wrong.
    seen_wrong: Vec<String>,
}

/// What is to be thought of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// As the label says.
    Right,
    /// Not as the label says, with all that is not.
    Wrong(Vec<String>),
    /// This computer was too busy, and the page said so: nothing can be held against it.
    Void(String),
}

impl Found {
    /// In a few words what a report says.
    pub(super) fn of(report: Option<&Report>, said: String, took_s: Option<f64>, wrong: Vec<String>) -> Self {
        let Some(report) = report else {
            let (overall, causes, notes) = (NONE.to_owned(), Vec::new(), Vec::new());
            return Self { overall, causes, notes, say: said, took_s, partial: false, seen_wrong: wrong };
        };
        let verdict = &report.verdict;
        let (notes, causes): (Vec<&Cause>, Vec<&Cause>) =
            verdict.causes.iter().partition(|cause| cause.state == State::Ready);
        Self {
            overall: word(&verdict.overall),
            causes: causes.iter().map(|cause| format!("{} {}", cause.code, place(cause.place))).collect(),
            notes: notes.iter().map(|cause| cause.code.clone()).collect(),
            say: verdict.say.clone(),
            took_s,
            partial: !report.complete,
            seen_wrong: wrong,
        }
    }

    /// Whether it says that this computer was late.
    fn said_late(&self) -> bool {
        self.notes.iter().chain(&self.causes).any(|told| LATE.contains(&code(told)))
    }

    /// The causes that are not this computer's own.
    fn told(&self) -> impl Iterator<Item = &String> {
        self.causes.iter().filter(|cause| !is_own(cause))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.overall)?;
        self.causes.iter().try_for_each(|cause| write!(f, ", {cause}"))?;
        self.took_s.map_or(Ok(()), |took| write!(f, " ({took:.1} s)"))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.overall.join(" or "))?;
        self.causes.iter().try_for_each(|cause| write!(f, ", {cause}"))
    }
}

impl Label {
    /// Whether every cause is one code or several, and a place.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_one =
            |cause: &&String| cause.split_once(' ').is_some_and(|(_, place)| PLACES.contains(&place));
        match self.causes.iter().chain(&self.may).find(|cause| !is_one(cause)) {
            Some(cause) => Err(format!("`{cause}` is not `code place`")),
            None if self.overall.is_empty() => Err("without a verdict it labels nothing".to_owned()),
            None => Ok(()),
        }
    }

    /// Holds what was found against it.
    pub fn mark(&self, found: &Found) -> Mark {
        let disturbed = || found.causes.iter().any(|cause| code(cause) == DISTURBED);
        if disturbed() && !self.causes.iter().any(|cause| code(cause) == DISTURBED) {
            return Mark::Void(found.say.clone());
        }
        let known = |cause: &&String| self.causes.iter().chain(&self.may).any(|label| is_of(cause, label));
        let late = |cause: &&String| OF_LATENESS.iter().any(|of_it| cause.starts_with(of_it));
        if let Some(cause) = found.told().find(|cause| late(cause) && !known(cause))
            && found.said_late()
        {
            return Mark::Void(format!("{cause}, while this computer was late"));
        }
        let untold = |label: &&String| !found.told().any(|cause| is_of(cause, label));
        let spoiled = found.causes.iter().any(|cause| code(cause) == SPOILED);
        if spoiled && self.causes.iter().filter(untold).any(|label| label.ends_with(" path")) {
            return Mark::Void(found.say.clone());
        }
        let mut wrong = found.seen_wrong.clone();
        if !self.overall.contains(&found.overall) {
            if let Some(own) = found.causes.first().filter(|cause| is_own(cause)) {
                return Mark::Void(format!("{own} leads"));
            }
            wrong.push(format!("the verdict is {}", found.overall));
        }
        let missing = self.causes.iter().filter(untold);
        wrong.extend(missing.map(|label| format!("not told: {label}")));
        wrong.extend(
            found.told().filter(|cause| !known(cause)).map(|cause| format!("told, and not so: {cause}")),
        );
        if let (Order::FirstLeads, Some(label), Some(leads)) =
            (self.order, self.causes.first(), found.told().next())
            && !is_of(leads, label)
        {
            wrong.push(format!("{leads} leads"));
        }
        let unsaid = self.notes.iter().filter(|note| !found.notes.contains(note));
        wrong.extend(unsaid.map(|note| format!("not noted: {note}")));
        if found.partial != self.partial {
            wrong.push(if found.partial { "it is of a part" } else { "it is of the whole" }.to_owned());
        }
        match found.took_s {
            Some(took) if took > self.within_s => {
                wrong.push(format!("it took {took:.1} s of {} s", self.within_s));
            }
            None if !self.partial => wrong.push("it came to no end".to_owned()),
            _ => {}
        }
        if wrong.is_empty() { Mark::Right } else { Mark::Wrong(wrong) }
    }
}

const PLACES: [&str; 8] =
    ["computer", "device", "local_network", "path", "relay", "service", "join", "unknown"];

/// A place as a label names it.
fn place(place: Place) -> &'static str {
    match place {
        Place::Computer => "computer",
        Place::Device => "device",
        Place::LocalNetwork => "local_network",
        Place::Path => "path",
        Place::Relay => "relay",
        Place::Service => "service",
        Place::Join => "join",
        Place::Unknown => "unknown",
    }
}

fn code(cause: &str) -> &str {
    cause.split(' ').next().unwrap_or_default()
}

fn is_own(cause: &str) -> bool {
    OWN.contains(&code(cause))
}

/// Whether a cause is one of those that a label names: `a|b place`, several of them with a bar between.
fn is_of(cause: &str, label: &str) -> bool {
    let Some((codes, place)) = label.split_once(' ') else { return false };
    cause.split_once(' ').is_some_and(|(code, at)| at == place && codes.split('|').any(|one| one == code))
}

fn word(state: &State) -> String {
    match serde_json::to_value(state) {
        Ok(Value::String(word)) => word,
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        let all = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Label {
            overall: all(&["blocked"]),
            causes: all(&["camera_black device", "loss|loss_up path"]),
            may: all(&["late_loss_up path"]),
            within_s: 30.0,
            ..Label::default()
        }
    }

    fn found(overall: &str, causes: &[&str]) -> Found {
        Found {
            overall: overall.to_owned(),
            causes: causes.iter().map(|&cause| cause.to_owned()).collect(),
            notes: Vec::new(),
            say: String::new(),
            took_s: Some(10.0),
            partial: false,
            seen_wrong: Vec::new(),
        }
    }

    #[test]
    fn what_is_told_is_right_and_nothing_else() {
        let mark = |overall: &str, causes: &[&str]| label().mark(&found(overall, causes));
        assert_eq!(mark("blocked", &["camera_black device", "loss_up path"]), Mark::Right);
        let all = ["camera_black device", "loss path", "late_loss_up path", "encode_slow computer"];
        assert_eq!(mark("blocked", &all), Mark::Right);
        for wrong in [
            &["loss_up path", "camera_black device"][..],
            &["camera_black device"],
            &["camera_black device", "loss_down path"],
            &["camera_black device", "loss_up local_network"],
            &["camera_black device", "loss_up path", "rtt_high path"],
        ] {
            assert!(matches!(mark("blocked", wrong), Mark::Wrong(_)), "{wrong:?}");
        }
        assert!(matches!(mark("degraded", &["camera_black device", "loss_up path"]), Mark::Wrong(_)));
    }

    #[test]
    fn a_busy_computer_is_no_answer() {
        let mark = |causes: &[&str]| label().mark(&found("inconclusive", causes));
        assert!(matches!(mark(&["camera_black device", "disturbed computer"]), Mark::Void(_)));
        assert!(matches!(mark(&["camera_slow device", "loss_up path"]), Mark::Void(_)));
        let late = found("blocked", &["camera_black device", "loss_up path", "pdv_down path"]);
        assert!(matches!(label().mark(&late), Mark::Wrong(_)));
        let spoiled = found("blocked", &["camera_black device", "measurement_spoiled computer"]);
        assert!(matches!(label().mark(&spoiled), Mark::Void(_)));
        let said = Found { notes: vec!["send_late".to_owned()], ..late };
        assert!(matches!(label().mark(&said), Mark::Void(_)));
        let hidden = Label {
            causes: vec!["disturbed computer".to_owned()],
            overall: vec!["inconclusive".to_owned()],
            ..label()
        };
        assert_eq!(hidden.mark(&found("inconclusive", &["disturbed computer"])), Mark::Right);
    }

    #[test]
    fn who_waits_too_long_or_for_ever_is_wrong() {
        let causes = ["camera_black device", "loss path"];
        let late = Found { took_s: Some(30.1), ..found("blocked", &causes) };
        let never = Found { took_s: None, ..found("blocked", &causes) };
        for found in [late, never] {
            assert!(matches!(label().mark(&found), Mark::Wrong(wrong) if wrong.len() == 1));
        }
    }
}
