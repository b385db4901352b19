//! Reports without what is personal, for those who need to see what is wrong and not whose it is.

mod addresses;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::schema::{AgentRef, DeviceInfo, Devices, Redaction, Report};

/// What stands in place of what was taken out.
const HIDDEN: &str = "(hidden)";

/// Shortest name that is looked for in sentences: a shorter one is part of other words.
const SHORTEST: usize = 4;

/// A report for support: who it was stays where the person said so (labels), where and with what does not.
///
/// Addresses are cut to /24 and /48, hardware addresses and the name of the Wi-Fi are hidden, home folders are `~`, and devices are
/// named by a hash that is the same within this report and in no other (it is salted with the report's id), so that sentences about
/// them can still be told apart. Figures, verdict, causes, host names of what was measured, and samples stay.
///
/// `None` when the rest makes no report, which should then not be given away at all.
pub fn for_support(report: &Report) -> Option<Report> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for info in device_infos(&report.devices) {
        for name in [&info.name, &info.id].into_iter().flatten() {
            names.insert(name.clone(), pseudonym(report, name));
        }
    }
    let shown = rewritten(report, &|text| hide(text, &names))?;
    Some(Report { redaction: report.redaction.or(Some(Redaction::Support)), ..shown })
}

/// A report for those who may not know who it was: for share links, and for support without personal data.
///
/// What [`for_support`] hides is taken out, and also labels other than the site, the agent, all of the network's description, what
/// kinds of endpoints tell (a STUN server tells one's own address), and the command line. Figures, verdict, causes and samples stay.
///
/// `None` when the rest makes no report, which is then not shown at all.
pub fn without_person(mut report: Report) -> Option<Report> {
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
    names.extend(
        device_infos(&report.devices).flat_map(|info| [info.name.clone(), info.id.clone()]).flatten(),
    );
    report.agent = AgentRef::default();
    report.environment.network.clear();
    if let Some(between) = report.environment.surroundings.take() {
        let proxies = between.proxies.fact().into_iter().flatten();
        names.extend(proxies.map(|setting| setting.proxy.clone()));
        names.extend(between.sign_in_page.measured().map(|page| page.because.clone()));
    }
    report.settings.asked.clear();
    report.settings.run.clear();
    report.join.clear();
    report.devices.redact();
    for target in &mut report.targets {
        target.details = None;
    }
    let names = names.into_iter().map(|name| (name, HIDDEN.to_owned())).collect();
    let shown = rewritten(&report, &|text| hide(text, &names))?;
    Some(Report { labels: site, redaction: Some(Redaction::Person), ..shown })
}

fn device_infos(devices: &Devices) -> impl Iterator<Item = &DeviceInfo> {
    (devices.microphones.iter().map(|found| &found.device))
        .chain(devices.speakers.iter().map(|found| &found.device))
        .chain(devices.cameras.iter().map(|found| &found.device))
}

/// A name for a device that says nothing of it.
fn pseudonym(report: &Report, name: &str) -> String {
    let digest = Sha256::new().chain_update(report.id.as_bytes()).chain_update(name).finalize();
    let number = digest.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("device-{number:08x}")
}

/// A text without the names given, whole addresses and home folders.
fn hide(text: &mut String, names: &BTreeMap<String, String>) {
    // Longer names first: one may be part of another.
    let mut found: Vec<_> = names.iter().filter(|(name, _)| text.contains(name.as_str())).collect();
    found.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    for (name, instead) in found {
        if name.chars().count() >= SHORTEST || text == name {
            *text = text.replace(name.as_str(), instead);
        }
    }
    if let Some(cut) = addresses::cut(text) {
        *text = cut;
    }
    for homes in ["/home/", "/Users/", "C:\\Users\\"] {
        hide_homes(text, homes);
    }
}

/// Writes `~` for every folder of a person.
fn hide_homes(text: &mut String, homes: &str) {
    let mut from = 0;
    while let Some(at) = text[from..].find(homes).map(|at| from + at) {
        let name = at + homes.len();
        let end =
            text[name..].find(['/', '\\', ' ', '"', '\'', ':']).map_or(text.len(), |length| name + length);
        text.replace_range(at..end, "~");
        from = at + 1;
    }
}

/// The report with every text in it rewritten. Packed samples hold none and are left as they are.
fn rewritten(report: &Report, rewrite: &dyn Fn(&mut String)) -> Option<Report> {
    let mut value = serde_json::to_value(report).ok()?;
    walk(&mut value, rewrite);
    serde_json::from_value(value).ok()
}

fn walk(value: &mut Value, rewrite: &dyn Fn(&mut String)) {
    const PACKED: [&str; 4] = ["trace", "further_traces", "sketches", "profile"];
    match value {
        Value::String(text) => rewrite(text),
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, rewrite)),
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                match field {
                    Value::String(name) if key == "ssid" => HIDDEN.clone_into(name),
                    field if !PACKED.contains(&key.as_str()) => walk(field, rewrite),
                    _ => {}
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::recompute;
    use crate::schema::read;

    const MEASURED: &str = include_str!("../../tests/data/loss_15.json");
    const STUN: &str = include_str!("../../tests/golden/stun.json");

    fn report(golden: &str) -> Report {
        let mut report = read(golden).unwrap();
        report.labels = [("site", "Lyon"), ("person", "Ada Lovelace"), ("ticket", "T-1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        report.agent.id = Some("laptop-ada".into());
        report.environment.network.insert("address".into(), "203.0.113.9".into());
        report.environment.network.insert("ssid".into(), "Chez Ada".into());
        report.settings.asked.insert("config".into(), "/home/ada/.config/greenroom.toml".into());
        report
    }

    #[test]
    fn support_sees_who_asks_and_neither_where_nor_with_what() {
        let mut report = report(STUN);
        let name = device_infos(&report.devices).find_map(|info| info.name.clone()).unwrap();
        report.verdict.say = format!("{name} is silent.");
        let shown = for_support(&report).unwrap();
        let text = serde_json::to_string(&shown).unwrap();
        for personal in [name.as_str(), "Chez Ada", "203.0.113.9", "192.0.2.7", "/home/ada"] {
            assert!(!text.contains(personal), "{personal}");
        }
        assert!(text.contains("192.0.2.0:3478") && text.contains("~/.config/greenroom.toml"));
        assert_eq!(shown.labels["ticket"], "T-1");
        let renamed = device_infos(&shown.devices).find_map(|info| info.name.clone()).unwrap();
        assert_eq!(shown.verdict.say, format!("{renamed} is silent."));
        assert_eq!(shown.targets[0].rtt_ms, report.targets[0].rtt_ms);
        assert_eq!(shown.redaction, Some(Redaction::Support));
    }

    #[test]
    fn figures_still_follow_from_the_samples() {
        let whole = read(MEASURED).unwrap();
        // It was made by an earlier version, which judged otherwise: what matters is that hiding changes nothing.
        let again = |report: &Report| recompute(report).unwrap();
        assert_eq!(again(&for_support(&whole).unwrap()), again(&whole));
    }

    #[test]
    fn devices_of_two_reports_have_no_name_in_common() {
        let one = report(STUN);
        let other = Report { id: uuid::Uuid::from_u128(1), ..one.clone() };
        let names = |report: &Report| -> BTreeSet<String> {
            let shown = for_support(report).unwrap();
            device_infos(&shown.devices).filter_map(|info| info.name.clone()).collect()
        };
        assert!(!names(&one).is_empty());
        assert!(names(&one).is_disjoint(&names(&other)));
    }

    #[test]
    fn for_others_who_it_was_is_gone_and_what_it_was_stays() {
        let mut report = report(MEASURED);
        report.settings.asked.insert("interface".into(), "wlan-ada".into());
        if let Some(cause) = report.verdict.causes.first_mut() {
            cause.evidence.push("microphone: Headset of Ada Lovelace".into());
        }
        let shown = without_person(report.clone()).unwrap();
        let text = serde_json::to_string(&shown).unwrap();
        for personal in ["Ada", "laptop-ada", "203.0.113.9", "T-1", "wlan"] {
            assert!(!text.contains(personal), "{personal}");
        }
        assert_eq!(shown.labels["site"], "Lyon");
        assert_eq!(shown.verdict.say, report.verdict.say);
        assert_eq!(shown.targets[0].up, report.targets[0].up);
        assert_eq!(shown.redaction, Some(Redaction::Person));
    }

    #[test]
    fn what_was_redacted_for_support_is_redacted_for_others_too() {
        let shown = without_person(for_support(&report(STUN)).unwrap()).unwrap();
        assert_eq!(shown.redaction, Some(Redaction::Person));
        assert_eq!(for_support(&shown).unwrap().redaction, Some(Redaction::Person), "what is gone is gone");
    }

    #[test]
    fn home_folders_lose_their_name() {
        for (before, expected) in [
            ("/home/ada/x.toml is no file", "~/x.toml is no file"),
            ("in /Users/ada", "in ~"),
            (r"C:\Users\ada\x.toml", r"~\x.toml"),
            ("/home/ada/a and /home/bob/b", "~/a and ~/b"),
            ("at home", "at home"),
        ] {
            let mut text = before.to_owned();
            hide(&mut text, &BTreeMap::new());
            assert_eq!(text, expected);
        }
    }
}
