//! Words for the report's names, the same in every renderer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{number, surroundings};
use crate::schema::{
    Cause, FaultDirection, Identity, Mode, Place, Redaction, Report, State, Target, Timestamps, Use,
    UseVerdict, Value,
};
use crate::trace::StampSource;

/// A state's word.
pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Degraded => "degraded",
        State::Blocked => "blocked",
        State::PermissionDenied => "permission denied",
        State::Inconclusive => "inconclusive",
        State::NotTested => "not tested",
    }
}

/// A verdict's word: what the intervals did not decide is likely, not certain.
pub fn verdict(found: State, certain: bool) -> String {
    let leaning = matches!(found, State::Ready | State::Degraded | State::Blocked) && !certain;
    format!("{}{}", if leaning { "likely " } else { "" }, state(found))
}

/// Why a verdict is only likely; `None` when it is certain, or none at all.
pub(super) fn doubt(report: &Report) -> Option<String> {
    let found = &report.verdict;
    let leaning = matches!(found.overall, State::Ready | State::Degraded | State::Blocked) && !found.certain;
    let length = duration(report.duration_ms);
    leaning.then(|| {
        let longer = match report.settings.judged.mode {
            Mode::Quick => " A deep check takes longer and tells more surely.",
            Mode::Deep => "",
        };
        format!("Not certain: {length} gave too few packets.{longer}")
    })
}

/// That the run ended early, if it had begun; one that never began has its cause to say so.
pub(super) fn cut_short(report: &Report) -> Option<&'static str> {
    let begun = report.targets.iter().any(|target| target.state.measured().is_some());
    (!report.complete && begun)
        .then_some("The check ended early. The figures cover what was measured until then.")
}

/// The uses that were neither asked for nor looked at, as one line: `Not asked for: 360p, screen`.
pub(super) fn not_asked(uses: &BTreeMap<Use, UseVerdict>) -> Option<String> {
    let names: Vec<&str> =
        uses.iter().filter(|(_, found)| unasked(found)).map(|(use_, _)| use_.short()).collect();
    (!names.is_empty()).then(|| format!("Not asked for: {}", names.join(", ")))
}

/// Whether a use was neither asked for nor looked at.
pub(super) fn unasked(found: &UseVerdict) -> bool {
    !found.asked && found.state == State::NotTested
}

/// Whether a cause is a note: worth knowing, and nobody's verdict.
pub(super) fn is_note(cause: &Cause) -> bool {
    cause.state == State::Ready
}

/// What broke off a measurement that had begun.
pub(super) fn broken_off(target: &Target) -> Option<String> {
    let failure = target.failure.as_ref().filter(|_| target.state.measured().is_some())?;
    let say = crate::verdict::words::short(failure.code());
    Some(format!("Broken off: {say}. The figures cover what was measured until then."))
}

/// A state's mark: told apart by shape, never by color alone.
pub fn mark(state: State) -> &'static str {
    match state {
        State::Ready => "✓",
        State::Degraded => "▲",
        State::Blocked => "✗",
        State::PermissionDenied => "⊘",
        State::Inconclusive => "?",
        State::NotTested => "–",
    }
}

/// A use's name.
pub(super) fn use_name(use_: Use) -> &'static str {
    match use_ {
        Use::Audio => "Audio",
        Use::Video360p => "Video 360p",
        Use::Video720p => "Video 720p",
        Use::Video1080p => "Video 1080p",
        Use::Screen => "Screen share",
    }
}

/// Where a fault is, as the start of a phrase.
pub(super) fn place(place: Place) -> &'static str {
    match place {
        Place::Computer => "This computer",
        Place::Device => "Microphone, speaker or camera",
        Place::LocalNetwork => "Local network",
        Place::Path => "Network path",
        Place::Relay => "Relay or firewall",
        Place::Service => "The service",
        Place::Join => "The way into the call",
        Place::Unknown => "Place unknown",
    }
}

/// Which way a fault is seen.
pub(super) fn direction(direction: FaultDirection) -> &'static str {
    match direction {
        FaultDirection::Up => "sending",
        FaultDirection::Down => "receiving",
        FaultDirection::Both => "both ways",
    }
}

/// Place and direction of a fault: `Network path, sending`.
pub fn fault(where_: Place, way: Option<FaultDirection>) -> String {
    match way {
        Some(way) => format!("{}, {}", place(where_), direction(way)),
        None => place(where_).to_owned(),
    }
}

/// Whether an endpoint proved who it is.
pub(super) fn identity(identity: Identity) -> &'static str {
    match identity {
        Identity::Verified => "identity verified",
        Identity::Unverified => "identity unverified",
    }
}

/// Who took an end's time stamps.
pub(super) fn stamps(source: StampSource) -> &'static str {
    match source {
        StampSource::Hardware => "network card",
        StampSource::Kernel => "kernel",
        StampSource::User => "program",
        StampSource::Unknown => "unknown",
    }
}

/// A figure's name in plain words, from its path in the report (`up.loss_ratio`); the path itself when it has none.
pub(super) fn metric(path: &str) -> Cow<'_, str> {
    const NAMES: [(&str, &str); 37] = [
        ("burst_loss_200ms_ratio", "lost within 200 ms"),
        ("host_loss_ratio", "dropped by a computer"),
        ("late_loss_ratio", "lost or too late to play"),
        ("late_loss", "lost or too late to play"),
        ("loss_ratio", "lost"),
        ("pdv_ms", "delay variation"),
        ("pdv_p95_ms", "delay variation"),
        ("rtt_increase_ms", "delay added under load"),
        ("idle_rtt_p50_ms", "round trip"),
        ("rtt_ms", "round trip"),
        ("rtt_p50_ms", "round trip"),
        ("host_delay_ms", "delay inside this computer"),
        ("received_bps", "received"),
        ("in_time_bps", "got through"),
        ("capacity_bps", "capacity"),
        ("cpu_busy_ratio", "processor busy"),
        ("duplicate_ratio", "duplicated"),
        ("speech_level_dbfs", "speech level"),
        ("noise_floor_dbfs", "noise"),
        ("snr_db", "above the noise"),
        ("dc_offset_ratio", "off center"),
        ("runs_per_s", "cut-off peaks a second"),
        ("clipping", "cut off"),
        ("hum", "hum"),
        ("bandwidth_hz", "upper end of the sound"),
        ("dropouts", "missing"),
        ("clock_drift_ppm", "clock drift"),
        ("delay_ms", "delay"),
        ("return_db", "coming back"),
        ("distortion_ratio", "distortion"),
        ("rate_ratio", "of the claimed rate"),
        ("interval_spread_ratio", "unevenness"),
        ("lost_ratio", "pictures lost"),
        ("damaged_ratio", "pictures damaged"),
        ("first_ms", "to the first picture"),
        ("formats", "lines at most"),
        ("encode", "times real time"),
    ];
    let known = NAMES.iter().find(|(name, _)| path.split(['.', '[', ']', '/']).any(|part| part == *name));
    known.map_or_else(|| clean(path), |(_, words)| Cow::Borrowed(*words))
}

/// Units of devices, by the end of a figure's name.
const UNITS: [(&str, &str); 4] = [("_dbfs", "dBFS"), ("_db", "dB"), ("_hz", "Hz"), ("_ppm", "ppm")];

/// Figures of which more is better, beside rates.
const MORE_IS_BETTER: [&str; 6] =
    ["speech_level_dbfs", "snr_db", "bandwidth_hz", "rate_ratio", ".formats", "machine.encode"];

/// A figure in the unit that its path's name carries.
pub(super) fn metric_value(path: &str, value: f64) -> String {
    let has = |suffix: &str| path.split(['.', '[', ']', '/']).any(|part| part.ends_with(suffix));
    let share_of_a_device = path.starts_with("devices.") && path.ends_with(".ratio");
    if has("_ratio") || has("late_loss") || share_of_a_device {
        number::percent(value)
    } else if has("_ms") {
        number::ms(value)
    } else if has("_bps") {
        number::rate(value)
    } else if let Some((_, unit)) = UNITS.iter().find(|(suffix, _)| has(suffix)) {
        format!("{}{}{unit}", number::plain(value, 0), number::GLUE)
    } else if has("formats") {
        number::plain(value, 0)
    } else {
        number::plain(value, 2)
    }
}

/// What a run was made with and when, in one line's worth of parts.
pub(super) fn provenance(report: &Report) -> Vec<String> {
    let glued = |text: String| text.replace(' ', &number::GLUE.to_string());
    let redacted = report.redaction.map(|redaction| {
        glued(match redaction {
            Redaction::Support => "whole addresses and device names hidden".to_owned(),
            Redaction::Person => "personal data hidden".to_owned(),
        })
    });
    let facts = [
        clean(&report.code).into_owned(),
        glued(report.started.strftime("%b %-d, %Y %H:%M UTC").to_string()),
        glued(format!("took {}", duration(report.duration_ms))),
        glued(format!("used {}", number::size(report.bytes_used))),
        glued(format!("profile {}/{}", clean(&report.profile.name), report.profile.version)),
        glued(format!("{} {}", clean(&report.tool.name), clean(&report.tool.version))),
    ];
    facts.into_iter().chain(redacted).collect()
}

/// A run's length: `5.3 s`.
fn duration(ms: f64) -> String {
    if ms < 1_000.0 { number::ms(ms) } else { format!("{}{}s", number::plain(ms / 1_000.0, 1), number::GLUE) }
}

/// Replaces characters that a terminal or a browser would obey instead of showing (control characters, and those that
/// turn the direction of text around), so that a label cannot forge what stands beside it.
pub fn clean(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if obeyed(c) => '\u{fffd}',
        c => c,
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// What to say beside a use's state.
pub(super) fn use_notes(use_: Use, found: &UseVerdict, causes: &[Cause]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(reason) = &found.reason {
        notes.push(prose(reason));
    }
    if matches!(found.state, State::Degraded | State::Blocked) {
        let worst = causes.iter().find(|cause| cause.uses.contains(&use_));
        notes.extend(worst.and_then(measured));
    }
    if !found.asked {
        notes.push("not asked for".into());
    }
    notes
}

/// How an endpoint was reached and measured, or why not.
pub(super) fn target_facts(target: &Target) -> Vec<String> {
    let reached = match &target.state {
        Value::Measured(reached) => reached,
        Value::Failed { reason } => return vec![format!("failed: {}", prose(reason))],
        Value::NotTested { reason } => return vec![format!("not tested: {}", prose(reason))],
    };
    let mut facts = vec![format!("over {}", clean(&reached.transport))];
    facts.extend(reached.address.as_ref().map(|address| clean(address).into_owned()));
    facts.extend(reached.setup_ms.map(|ms| format!("ready after {}", number::ms(ms))));
    facts.extend(target.identity.map(|known| identity(known).to_owned()));
    let Timestamps { here, there } = target.timestamps;
    // A server that only answers takes no times.
    if target.details.is_some() && there == StampSource::Unknown {
        facts.push(format!("time stamps: {} here", stamps(here)));
    } else {
        facts.push(format!("time stamps: {} here, {} there", stamps(here), stamps(there)));
    }
    facts
}

/// That a figure cannot be used.
pub(super) fn unusable(path: &str) -> String {
    format!("{} is not usable: the measurement's own error is too large", metric(path))
}

/// Where the run was made, and its labels.
pub(super) fn facts(report: &Report) -> Vec<(String, String)> {
    let environment = &report.environment;
    let own = [("system", &environment.os), ("processor", &environment.arch)];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), prose(value.as_ref()?))));
    let network = environment.network.iter().map(|(name, value)| (clean(name).into_owned(), json(value)));
    let labels = report.labels.iter().map(|(name, value)| (clean(name).into_owned(), prose(value)));
    let between = environment.surroundings.iter().flat_map(surroundings::facts);
    own.chain(network).chain(between).chain(labels).collect()
}

/// Free text made safe to show, with each number glued to its unit.
pub(super) fn prose(text: &str) -> String {
    const UNITS: [&str; 17] = [
        "%", "ms", "s", "min", "kbit/s", "Mbit/s", "Gbit/s", "B", "kB", "MB", "GB", "Hz", "kHz", "dB", "dBm",
        "dBFS", "ppm",
    ];
    let text = clean(text);
    let mut words = text.split(' ').peekable();
    let mut out = String::with_capacity(text.len());
    while let Some(word) = words.next() {
        out.push_str(word);
        let Some(next) = words.peek() else { break };
        let unit = next.trim_end_matches([',', '.', ';', ':', ')']);
        let is_quantity = word.ends_with(|c: char| c.is_ascii_digit()) && UNITS.contains(&unit);
        out.push(if is_quantity { number::GLUE } else { ' ' });
    }
    out
}

/// What a cause's figure says: `3.4 % lost`; `None` when it has none.
pub(super) fn measured(cause: &Cause) -> Option<String> {
    let (path, value) = (cause.metric.as_deref()?, cause.measured?);
    Some(format!("{} {}", metric_value(path, value), metric(path)))
}

/// The bounds that a cause's figure was held against: `good up to 2.0 %, limit 10 %`.
pub(super) fn bounds(cause: &Cause) -> Option<String> {
    let path = cause.metric.as_deref()?;
    // A rate is good from its bound upward, most else up to it.
    let from = path.contains("_bps") || MORE_IS_BETTER.iter().any(|name| path.ends_with(name));
    let good_word = if from { "good from" } else { "good up to" };
    let good = cause.good.map(|good| format!("{good_word} {}", metric_value(path, good)));
    let limit = cause.limit.map(|limit| format!("limit {}", metric_value(path, limit)));
    let parts: Vec<String> = good.into_iter().chain(limit).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// A free-form value in words: `name: USB microphone, level_dbfs: -32`.
pub(super) fn json(value: &serde_json::Value) -> String {
    use serde_json::Value as Json;
    match value {
        Json::Null => "nothing".to_owned(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => clean(text).into_owned(),
        Json::Array(items) if items.is_empty() => "none".to_owned(),
        Json::Array(items) => items.iter().map(json).collect::<Vec<_>>().join(", "),
        Json::Object(fields) => {
            let pair = |(name, value): (&String, &Json)| format!("{}: {}", clean(name), json(value));
            fields.iter().map(pair).collect::<Vec<_>>().join(", ")
        }
    }
}
