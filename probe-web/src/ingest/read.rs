//! From JSON to a record that may be kept: every limit is looked at, and what is refused is named by its field.

use greenroom_reports::assess::short_code;
use greenroom_reports::redact::without_person;
use greenroom_reports::schema::{Counts, ReadError, Redaction, Report, SCHEMA, upgrade};
use jiff::Timestamp;
use serde::Deserialize;
use serde_path_to_error::{Path, Segment};

use crate::problem::{FieldError, Problem};
use crate::rollup::{self, Contribution};
use crate::store::{Agreement, Record, Summary, Tenant};

/// Most characters of a label's value, and of an endpoint's URL.
const MAX_TEXT: usize = 256;
/// Most characters of a sentence.
const MAX_SENTENCE: usize = 2_000;
const MAX_LABELS: usize = 16;
const MAX_TARGETS: usize = 16;
const MAX_CAUSES: usize = 64;
/// Most histograms. A report has three.
const MAX_SKETCHES: usize = 16;
/// Most samples of a histogram, and most packets: a day of 1,000 a second. Sums of a billion reports stay far from what a store's
/// integers hold.
const MAX_SAMPLES: u64 = 100_000_000;
/// Longest run: a day.
const MAX_DURATION_MS: f64 = 86_400_000.0;

/// Reads a report from JSON text, of this version of the schema or the one before.
///
/// # Errors
/// 422, naming the field where there is one.
pub fn report(json: &[u8]) -> Result<Report, Problem> {
    /// The part that says what the rest is.
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    // Keeping in mind where it is costs the parser half as much again: only what is wrong is read a second time.
    if let Ok(found) = serde_json::from_slice::<Report>(json)
        && found.schema == SCHEMA
    {
        return Ok(found);
    }
    let Ok(head) = serde_json::from_slice::<Head>(json) else { return Err(not_a_report(json)) };
    if head.schema != SCHEMA {
        let value = serde_json::from_slice(json).map_err(|error| not_json(&error))?;
        return upgrade(value).map_err(|error| match error {
            ReadError::Invalid(source) => Problem::field("/", source.to_string()),
            other => Problem::field("/schema", other.to_string()),
        });
    }
    let mut parser = serde_json::Deserializer::from_slice(json);
    let found: Report = serde_path_to_error::deserialize(&mut parser)
        .map_err(|error| Problem::field(pointer(error.path()), error.inner().to_string()))?;
    parser.end().map_err(|error| not_json(&error))?;
    Ok(found)
}

/// Why JSON text has no head: it is no JSON, or no report.
fn not_a_report(json: &[u8]) -> Problem {
    match serde_json::from_slice::<serde::de::IgnoredAny>(json) {
        Err(error) => not_json(&error),
        Ok(_) => Problem::field("/schema", format!("is missing; a report has {SCHEMA:?} there")),
    }
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::bad_request(format!("the body is not JSON: {error}"))
}

/// A JSON pointer (RFC 6901).
pub(crate) fn pointer(path: &Path) -> String {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// Makes a record of a report, if it is within every limit.
///
/// # Errors
/// 422, naming each field that is not.
pub fn record(tenant: Tenant, report: &Report, raw: Vec<u8>, received: Timestamp) -> Result<Record, Problem> {
    let faults = faults(report);
    if let Some(first) = faults.first() {
        let detail = format!("{} {}", first.pointer, first.detail);
        return Err(Problem::invalid(detail, faults));
    }
    let label = |name: &str| report.labels.get(name).filter(|value| !value.is_empty()).cloned();
    let site = label("site");
    let adds = Contribution::of(report, site.as_deref()).map_err(|(name, error)| {
        Problem::field(format!("/sketches/{}", name.replace('~', "~0").replace('/', "~1")), error.to_string())
    })?;
    if let Some((name, _)) = adds.sketches.iter().find(|(_, sketch)| sketch.len() > MAX_SAMPLES) {
        return Err(Problem::field(format!("/sketches/{name}"), "has more samples than any run takes"));
    }
    let verdict = &report.verdict;
    let summary = Summary {
        id: report.id,
        code: report.code.clone(),
        kind: report.kind,
        source: report.tool.source,
        started: whole_ms(report.started),
        received: whole_ms(received),
        duration_ms: report.duration_ms,
        overall: verdict.overall,
        certain: verdict.certain,
        place: verdict.place,
        direction: verdict.direction,
        cause: verdict.causes.first().map(|cause| cause.code.clone()),
        say: said(report),
        site,
        person: label("person"),
        ticket: label("ticket"),
        agent: report.agent.id.clone(),
        endpoint: rollup::endpoint(report),
        agreement: if report.trace.is_some() { Agreement::Pending } else { Agreement::NoSamples },
        differs: Vec::new(),
        counted: rollup::counted(report.started, received),
        link: None,
    };
    let figures = summary.agent.as_ref().map(|_| crate::incidents::figures(report));
    let provider = label("provider").or_else(|| label("isp"));
    Ok(Record { tenant, summary, adds, raw, run: None, figures, provider })
}

/// Reads a report that is kept once more: what it adds to the roll-ups, and the header that follows from it.
///
/// Where somebody was erased from it, site, endpoint and ticket are those that its header has: what is left of it names none or others.
///
/// # Errors
/// When it cannot be read, or is not let in any more.
pub fn again(tenant: Tenant, kept: &Summary, json: &[u8]) -> Result<(Contribution, Summary), Problem> {
    let report = report(json)?;
    let mut made = record(tenant, &report, Vec::new(), kept.received)?;
    // Versions before kept the sentence as it was.
    if kept.say == report.verdict.say {
        made.summary.say.clone_from(&kept.say);
    }
    if report.redaction == Some(Redaction::Person) {
        made.adds.site = kept.site.clone().unwrap_or_default();
        made.adds.endpoint = kept.endpoint.clone().unwrap_or_default();
        made.summary.site.clone_from(&kept.site);
        made.summary.endpoint.clone_from(&kept.endpoint);
        made.summary.ticket.clone_from(&kept.ticket);
    }
    Ok((made.adds, made.summary))
}

/// The verdict in a sentence, as it stands in lists and outlives the report: where it names a device or somebody, without that.
fn said(report: &Report) -> String {
    let say = &report.verdict.say;
    let devices = &report.devices;
    let infos = (devices.microphones.iter().map(|found| &found.device))
        .chain(devices.speakers.iter().map(|found| &found.device))
        .chain(devices.cameras.iter().map(|found| &found.device));
    let labels = report.labels.iter().filter(|(name, _)| *name != "site").map(|(_, value)| value);
    let mut names =
        labels.chain(&report.agent.id).chain(infos.flat_map(|info| info.name.iter().chain(&info.id)));
    // A shorter one is part of other words, and is not taken out of sentences.
    if !names.any(|name| name.chars().count() >= 4 && say.contains(name.as_str())) {
        return say.clone();
    }
    without_person(report.clone()).map(|shown| shown.verdict.say).unwrap_or_default()
}

/// Times are kept to the millisecond.
fn whole_ms(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// Every field that is beyond a limit.
fn faults(report: &Report) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut fault = |pointer: &str, detail: &str| {
        faults.push(FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() });
    };
    if report.id.get_version_num() != 7 {
        fault("/id", "must be a UUIDv7 (RFC 9562), minted where the run was made");
    } else if report.code != short_code(report.id) {
        fault("/code", "is not the one that the id has");
    }
    if !(0.0..=MAX_DURATION_MS).contains(&report.duration_ms) {
        fault("/duration_ms", "must be from 0 to a day");
    }
    if report.labels.len() > MAX_LABELS {
        fault("/labels", "has more than 16 entries");
    }
    for (name, value) in &report.labels {
        if !is_plain(name, 64) || !is_plain(value, MAX_TEXT) {
            let name = name.chars().take(64).collect::<String>().replace('~', "~0").replace('/', "~1");
            fault(
                &format!("/labels/{name}"),
                "must be at most 256 characters, none of them control characters",
            );
        }
    }
    if report.agent.id.as_ref().is_some_and(|id| !is_plain(id, MAX_TEXT)) {
        fault("/agent/id", "must be at most 256 characters, none of them control characters");
    }
    if report.verdict.say.chars().count() > MAX_SENTENCE {
        fault("/verdict/say", "is longer than 2,000 characters");
    }
    if report.verdict.causes.len() > MAX_CAUSES {
        fault("/verdict/causes", "has more than 64 entries");
    }
    if report.verdict.causes.first().is_some_and(|cause| !is_plain(&cause.code, 64)) {
        fault("/verdict/causes/0/code", "must be at most 64 characters, none of them control characters");
    }
    if report.targets.len() > MAX_TARGETS {
        fault("/targets", "has more than 16 entries");
    }
    for (index, target) in report.targets.iter().enumerate().take(MAX_TARGETS) {
        if !is_plain(&target.url, MAX_TEXT) {
            fault(
                &format!("/targets/{index}/url"),
                "must be at most 256 characters, none of them control characters",
            );
        }
        for (way, counts) in [("up", &target.up.counts), ("down", &target.down.counts)] {
            if largest(counts) > MAX_SAMPLES {
                fault(&format!("/targets/{index}/{way}"), "has more packets than any run sends");
            }
        }
    }
    if report.sketches.len() > MAX_SKETCHES {
        fault("/sketches", "has more than 16 entries");
    }
    for name in report.sketches.keys() {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(known) {
            fault("/sketches", "has a name that is not made of a to z, 0 to 9 and _");
        }
    }
    faults
}

/// Text of some characters at most, none of them control characters.
pub(crate) fn is_plain(text: &str, most: usize) -> bool {
    text.chars().count() <= most && !text.chars().any(char::is_control)
}

fn largest(counts: &Counts) -> u64 {
    [counts.planned, counts.sent, counts.lost].into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::Value;

    use super::*;
    use crate::testing::{self, GOLDEN};

    fn refused(report: &Report) -> Problem {
        record(Tenant::FIRST, report, Vec::new(), testing::start()).unwrap_err()
    }

    #[test]
    fn a_good_report_is_read_and_summed_up() {
        let found = report(GOLDEN.as_bytes()).unwrap();
        // The golden file is for renderers: its histogram and samples stand for any.
        let other = testing::report(5);
        let mut found = Report { id: other.id, code: other.code, sketches: other.sketches, ..found };
        found.labels.insert("person".into(), "Ada".into());
        found.labels.insert("ticket".into(), "T-1".into());
        let kept = record(Tenant(3), &found, vec![1], found.started).unwrap();
        assert_eq!(kept.tenant, Tenant(3));
        assert_eq!(kept.summary.person.as_deref(), Some("Ada"));
        assert_eq!(kept.summary.ticket.as_deref(), Some("T-1"));
        assert_eq!(kept.summary.cause.as_deref(), Some("loss_up"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |from: &str, to: &str| {
            assert!(GOLDEN.contains(from), "{from}");
            let problem = report(GOLDEN.replacen(from, to, 1).as_bytes()).unwrap_err();
            (
                problem.status().as_u16(),
                problem.errors().iter().map(|e| e.pointer.clone()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(wrong("\"certain\": ", "\"certain\": 7, \"x\": "), (422, vec!["/verdict/certain".into()]));
        assert_eq!(wrong("\"complete\": true", "\"complete\": 1"), (422, vec!["/complete".into()]));
        assert_eq!(wrong("greenroom.report/1", "greenroom.report/9"), (422, vec!["/schema".into()]));
        assert_eq!(wrong("\"schema\"", "\"scheme\""), (422, vec!["/schema".into()]));
        assert_eq!(report(b"[1, 2").unwrap_err().status(), 400);
        assert_eq!(report(&[GOLDEN.as_bytes(), b"{}"].concat()).unwrap_err().status(), 400);
        assert_eq!(report(b"{}").unwrap_err().errors()[0].pointer, "/schema");
    }

    #[test]
    fn every_limit_is_held() {
        let good = testing::report(1);
        let check = |change: &dyn Fn(&mut Report), pointer: &str| {
            let mut changed = good.clone();
            change(&mut changed);
            let problem = refused(&changed);
            assert_eq!(problem.errors()[0].pointer, pointer, "{problem:?}");
        };
        check(&|r| r.id = uuid::Uuid::from_u128(4), "/id");
        check(&|r| r.code = "AAAA-AAAA".into(), "/code");
        check(&|r| r.duration_ms = -1.0, "/duration_ms");
        check(&|r| r.duration_ms = f64::NAN, "/duration_ms");
        check(&|r| drop(r.labels.insert("site".into(), "x".repeat(257))), "/labels/site");
        check(&|r| drop(r.labels.insert("a/b".into(), "\0".into())), "/labels/a~1b");
        check(&|r| r.labels.extend((0..17).map(|n| (n.to_string(), String::new()))), "/labels");
        check(&|r| r.verdict.say = "x".repeat(2_001), "/verdict/say");
        check(&|r| r.targets = vec![r.targets[0].clone(); 17], "/targets");
        check(&|r| r.targets[0].url = "x\n".into(), "/targets/0/url");
        check(&|r| r.targets[0].up.counts.lost = u64::MAX, "/targets/0/up");
        check(&|r| drop(r.sketches.insert("A".into(), String::new())), "/sketches");
        check(&|r| r.sketches = (0..17).map(|n| (format!("s{n}"), String::new())).collect(), "/sketches");
    }

    #[test]
    fn a_histogram_of_another_layout_is_refused_before_it_is_decoded() {
        use base64::Engine as _;
        // The header of one with five digits up to 2^63: its counters would take 48 MB.
        let mut bomb = Vec::new();
        bomb.extend_from_slice(&0x1c84_9313_u32.to_be_bytes());
        bomb.extend_from_slice(&[0; 8]);
        bomb.extend_from_slice(&5_u32.to_be_bytes());
        bomb.extend_from_slice(&1_u64.to_be_bytes());
        bomb.extend_from_slice(&(1_u64 << 62).to_be_bytes());
        bomb.extend_from_slice(&1.0_f64.to_be_bytes());
        let mut report = testing::report(1);
        report.sketches.insert("rtt".into(), base64::engine::general_purpose::STANDARD.encode(bomb));
        let problem = refused(&report);
        assert_eq!(problem.errors()[0].pointer, "/sketches/rtt");
        assert!(problem.detail().contains("precision"), "{problem:?}");
    }

    #[test]
    fn a_sentence_that_names_somebody_is_kept_without_the_name() {
        let mut report = testing::report(1);
        let plain = record(Tenant::FIRST, &report, Vec::new(), testing::start()).unwrap().summary.say;
        assert_eq!(plain, report.verdict.say);
        report.labels.insert("person".into(), "Ada Lovelace".into());
        report.verdict.say = "The headset of Ada Lovelace is silent.".into();
        let mut kept = record(Tenant::FIRST, &report, Vec::new(), testing::start()).unwrap().summary;
        assert_eq!(kept.say, "The headset of (hidden) is silent.");
        // As an earlier version kept it.
        kept.say.clone_from(&report.verdict.say);
        let json = serde_json::to_vec(&report).unwrap();
        assert_eq!(again(Tenant::FIRST, &kept, &json).unwrap().1.say, kept.say);
    }

    #[test]
    fn a_report_without_samples_says_so() {
        let mut without = testing::report(1);
        without.trace = None;
        without.targets[0].state = Value::not_tested("no");
        let kept = record(Tenant::FIRST, &without, Vec::new(), testing::start()).unwrap();
        assert_eq!(kept.summary.agreement, Agreement::NoSamples);
    }
}
