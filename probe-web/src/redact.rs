//! A report without what is personal: for share links and for those who may not see it.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_reports::schema::{AgentRef, Report};
use serde_json::Value;

/// Shortest name that is looked for in sentences: a shorter one is part of other words.
const SHORTEST: usize = 4;

/// What stands in place of a name.
const HIDDEN: &str = "(hidden)";

/// Takes out who, from where and with which devices: labels other than the site, the agent, addresses and names of the network, what
/// kinds of endpoints tell (a STUN server tells one's own address), names of devices and every sentence's mention of them, and the
/// command line. Figures, verdict, causes and samples stay.
///
/// `None` when the rest makes no report, which is then not shown at all.
pub(crate) fn redact(mut report: Report) -> Option<Report> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut site = BTreeMap::new();
    for (label, value) in std::mem::take(&mut report.labels) {
        if label == "site" {
            site.insert(label, value);
        } else {
            names.insert(value);
        }
    }
    names.extend(report.agent.id.take());
    names.extend(device_names(&report));
    report.agent = AgentRef::default();
    report.environment.network.clear();
    report.settings.asked.clear();
    report.settings.run.clear();
    report.join.clear();
    report.devices.redact();
    for target in &mut report.targets {
        target.details = None;
    }
    names.retain(|name| name.chars().count() >= SHORTEST);
    let mut value = serde_json::to_value(&report).ok()?;
    hide(&mut value, &names);
    let mut hidden: Report = serde_json::from_value(value).ok()?;
    hidden.labels = site;
    Some(hidden)
}

fn device_names(report: &Report) -> Vec<String> {
    let devices = &report.devices;
    let infos = (devices.microphones.iter().map(|found| &found.device))
        .chain(devices.speakers.iter().map(|found| &found.device))
        .chain(devices.cameras.iter().map(|found| &found.device));
    infos.flat_map(|info| [info.name.clone(), info.id.clone()]).flatten().collect()
}

/// Replaces names wherever a text mentions them. Packed samples hold none, and are left as they are.
fn hide(value: &mut Value, names: &BTreeSet<String>) {
    match value {
        Value::String(text) => {
            for name in names.iter().filter(|name| text.contains(name.as_str())).collect::<Vec<_>>() {
                *text = text.replace(name.as_str(), HIDDEN);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, names)),
        Value::Object(fields) => {
            for (_, field) in fields.iter_mut().filter(|(key, _)| *key != "trace" && *key != "sketches") {
                hide(field, names);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn who_it_was_is_gone_and_what_it_was_stays() {
        let mut report = testing::report(1);
        report.labels = [("site", "Lyon"), ("person", "Ada Lovelace"), ("ticket", "T-1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        report.agent.id = Some("laptop-ada".into());
        report.environment.network.insert("address".into(), "203.0.113.9".into());
        report.settings.asked.insert("interface".into(), "wlan-ada".into());
        report.verdict.causes[0].evidence.push("microphone: Headset of Ada Lovelace".into());
        let shown = redact(report.clone()).unwrap();
        let text = serde_json::to_string(&shown).unwrap();
        for personal in ["Ada", "laptop-ada", "203.0.113.9", "T-1", "wlan"] {
            assert!(!text.contains(personal), "{personal}");
        }
        assert_eq!(shown.labels["site"], "Lyon");
        assert_eq!(shown.verdict.say, report.verdict.say);
        assert_eq!(shown.targets[0].up, report.targets[0].up);
    }
}
