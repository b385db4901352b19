//! Reports from a template: a real agent's, cut where runs differ. Nothing is serialized anew but what changes.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use greenroom_reports::assess::short_code;
use greenroom_reports::fleet::{OwnCost, RunFacts, Skipped};
use greenroom_reports::metrics::sketch::Sketch;
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::words;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Builder;

use super::model::{Dice, Fault, Figures, Fleet, Member};

/// A check of this program over the loopback interface, without its samples, with marks where runs differ.
const TEMPLATE: &str = include_str!("template.json");

/// Packets each way of the two streams of a quick check.
const AUDIO: u64 = 228;
const VIDEO: u64 = 529;

/// Round trips of a report's line of them.
const POINTS: usize = 46;

/// Delays are drawn once for each level, which are two hundredths apart, and a few times.
const STEP: f64 = 1.02;
const VARIANTS: u64 = 4;

/// A run whose report is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Who ran it.
    pub member: Member,
    /// The schedule's place in the configuration.
    pub schedule: usize,
    /// Its place in it.
    pub slot: i64,
    /// When it was due, and began.
    pub at: Timestamp,
    /// The number of the report.
    pub seq: u64,
    /// Runs before it that a call kept from being made.
    pub in_calls: u64,
}

/// Writes reports.
#[derive(Debug)]
pub struct Writer {
    pieces: Vec<Piece>,
    levels: HashMap<(Shape, i32, u64), Arc<Level>>,
}

#[derive(Debug)]
enum Piece {
    Text(&'static str),
    Mark(&'static str),
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shape {
    /// Round trips about a median.
    RoundTrip,
    /// Delays from nothing up, of which one in twenty is longer.
    Variation,
}

/// Delays that were drawn.
#[derive(Debug)]
struct Level {
    /// As a report holds them.
    sketch: String,
    /// In milliseconds: least, 50th, 95th and 99th percentile, most.
    ms: [f64; 5],
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// Cuts the template.
    pub fn new() -> Self {
        let mut pieces = Vec::new();
        let mut rest = TEMPLATE.trim_end();
        while let Some((before, after)) = rest.split_once("\"{{") {
            let Some((mark, behind)) = after.split_once("}}\"") else { break };
            pieces.extend([Piece::Text(before), Piece::Mark(mark)]);
            rest = behind;
        }
        pieces.push(Piece::Text(rest));
        Self { pieces, levels: HashMap::new() }
    }

    /// Writes a run's report as JSON; its bytes follow from the fleet's seed and the run alone.
    pub fn write(&mut self, fleet: &Fleet, run: &Run) -> Vec<u8> {
        let figures = fleet.figures(&run.member, run.slot, run.at);
        let mut dice = Dice::new(fleet.spec().seed, [6, u64::from(run.member.index), run.seq]);
        let levels = Levels {
            rtt: self.level(Shape::RoundTrip, figures.rtt_ms, &mut dice),
            up: self.level(Shape::Variation, figures.pdv_ms, &mut dice),
            down: self.level(Shape::Variation, figures.pdv_ms * 0.8, &mut dice),
        };
        let mut filled = Filled::new(fleet, run, figures, levels, &mut dice);
        let mut json = Vec::with_capacity(TEMPLATE.len() + 2_048);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => json.extend_from_slice(text.as_bytes()),
                Piece::Mark(mark) => filled.put(&mut json, mark),
            }
        }
        json
    }

    fn level(&mut self, shape: Shape, ms: f64, dice: &mut Dice) -> Arc<Level> {
        let number = (ms.clamp(0.1, 30_000.0).ln() / STEP.ln()).round();
        #[expect(clippy::cast_possible_truncation, reason = "some hundreds either way")]
        let number = number as i32;
        let variant = dice.bits() % VARIANTS;
        let made = self.levels.entry((shape, number, variant));
        Arc::clone(made.or_insert_with(|| Arc::new(Level::draw(shape, STEP.powi(number), variant))))
    }
}

impl Level {
    fn draw(shape: Shape, ms: f64, variant: u64) -> Self {
        let mut dice = Dice::new(variant, [7, ms.to_bits(), 0]);
        let mut sketch = Sketch::new();
        let mut all: Vec<f64> = (0..AUDIO)
            .map(|_| match shape {
                Shape::RoundTrip => ms * (1.0 + 0.01 * dice.bell().abs() + 0.2 * dice.share().powi(20)),
                Shape::Variation => ms * (dice.share().powi(2) * 0.9 + 0.6 * dice.share().powi(12)),
            })
            .collect();
        for one in &all {
            if let Some(delay) = Micros::from_ms_f64(*one) {
                sketch.record(delay);
            }
        }
        all.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an index of some hundred"
            )]
            let place = (share * 227.0) as usize;
            all.get(place).copied().unwrap_or(ms)
        };
        Self { sketch: sketch.encode(), ms: [at(0.0), at(0.5), at(0.95), at(0.99), at(1.0)] }
    }
}

struct Levels {
    rtt: Arc<Level>,
    up: Arc<Level>,
    down: Arc<Level>,
}

/// What stands where the marks are.
struct Filled<'a> {
    fleet: &'a Fleet,
    run: &'a Run,
    figures: Figures,
    levels: Levels,
    id: uuid::Uuid,
    started: Timestamp,
    /// Packets lost: of sound up and down, of video up and down.
    lost: [u64; 4],
    verdict: Value,
    dice: Dice,
}

impl<'a> Filled<'a> {
    fn new(fleet: &'a Fleet, run: &'a Run, figures: Figures, levels: Levels, dice: &mut Dice) -> Self {
        let ahead = SignedDuration::from_millis(fleet.clock_ahead_ms(&run.member, run.at));
        let started = run.at.checked_add(ahead).unwrap_or(run.at);
        let (high, low) = (dice.bits().to_be_bytes(), dice.bits().to_be_bytes());
        let random = std::array::from_fn(|at| if at < 8 { high[at] } else { low[at - 8] });
        let ms = u64::try_from(started.as_millisecond()).unwrap_or(0);
        let lost = [
            (figures.loss_up, AUDIO),
            (figures.loss_down, AUDIO),
            (figures.loss_up, VIDEO),
            (figures.loss_down, VIDEO),
        ];
        let lost = lost.map(|(share, of)| lost_of(share, of, dice));
        let pdv_ms = levels.up.ms[2].max(levels.down.ms[2]);
        Self {
            fleet,
            run,
            figures,
            levels,
            id: Builder::from_unix_timestamp_millis(ms, &random).into_uuid(),
            started,
            lost,
            verdict: verdict(&figures, lost, pdv_ms),
            dice: dice.clone(),
        }
    }

    fn put(&mut self, json: &mut Vec<u8>, mark: &str) {
        let run = self.run;
        match mark {
            "id" => text(json, &self.id.to_string()),
            "code" => text(json, &short_code(self.id)),
            "started" => text(json, &self.started.to_string()),
            "agent" => text(json, &run.member.id.to_string()),
            "boot" => text(json, &run.member.boot.to_string()),
            "version" => text(json, env!("CARGO_PKG_VERSION")),
            "url" => text(json, self.fleet.endpoint(&run.member)),
            "address" => text(json, "192.0.2.10:7443"),
            "seq" => number(json, run.seq),
            "duration" => real(json, 5_000.0 + 200.0 * self.dice.share()),
            "setup" => real(json, 2.0 * self.figures.rtt_ms),
            "playout" => real(json, 20.0 + self.levels.up.ms[2]),
            "mos" => real(json, (4.34 - 8.0 * self.figures.loss_down).max(1.0)),
            "labels" => value(json, &self.labels()),
            "facts" => value(json, &self.facts()),
            "verdict" => value(json, &self.verdict),
            "series" => self.series(json),
            "sketches" => self.sketches(json),
            other => self.figure(json, other),
        }
    }

    fn labels(&self) -> Value {
        let member = &self.run.member;
        json!({
            "site": self.fleet.site_name(member.site),
            "isp": self.fleet.isp_name(member.isp),
            "access": if member.wifi { "wifi" } else { "cable" },
        })
    }

    fn facts(&self) -> Value {
        let facts = RunFacts {
            schedule: self.fleet.schedule_name(self.run.schedule).to_owned(),
            config: self.fleet.config().version,
            due: Some(self.run.at),
            late_ms: Some(3),
            run_now: None,
            skipped: Skipped { call: self.run.in_calls, ..Skipped::default() },
            clock_behind_ms: Some(-self.run.member.clock_ms),
            own: OwnCost { cpu_ratio: Some(0.001), rss_bytes: Some(9_400_000), ..OwnCost::default() },
        };
        serde_json::to_value(facts).unwrap_or_default()
    }

    fn series(&mut self, json: &mut Vec<u8>) {
        let [least, median, p95, ..] = self.levels.rtt.ms;
        json.push(b'[');
        for at in 0..POINTS {
            if at > 0 {
                json.push(b',');
            }
            let share = self.dice.share();
            real(json, if share > 0.95 { p95 } else { least + (median - least) * 2.0 * share });
        }
        json.push(b']');
    }

    fn sketches(&self, json: &mut Vec<u8>) {
        let Levels { rtt, up, down } = &self.levels;
        let (rtt, up, down) = (&rtt.sketch, &up.sketch, &down.sketch);
        // Base64 has nothing to escape. Writing to a Vec cannot fail.
        let _ = write!(json, "{{\"pdv_down\":\"{down}\",\"pdv_up\":\"{up}\",\"rtt\":\"{rtt}\"}}");
    }

    /// `rtt_p95_low`, `video_up_loss_high` and so on.
    fn figure(&self, json: &mut Vec<u8>, mark: &str) {
        let delays =
            [("rtt_", &self.levels.rtt), ("pdv_up_", &self.levels.up), ("pdv_down_", &self.levels.down)];
        for (name, level) in delays {
            if let Some(which) = mark.strip_prefix(name) {
                return delay(json, level, which);
            }
        }
        let [up, down, video_up, video_down] = self.lost;
        let flows = [
            ("video_up_", VIDEO, video_up),
            ("video_down_", VIDEO, video_down),
            ("up_", AUDIO, up),
            ("down_", AUDIO, down),
        ];
        for (name, sent, lost) in flows {
            if let Some(which) = mark.strip_prefix(name) {
                return flow(json, sent, lost, which);
            }
        }
        json.extend_from_slice(b"null");
    }
}

fn delay(json: &mut Vec<u8>, level: &Level, which: &str) {
    let [min, p50, p95, p99, max] = level.ms;
    match which {
        "n" => number(json, AUDIO),
        "min" => real(json, min),
        "p50" => real(json, p50),
        "p95" => real(json, p95),
        "p99" => real(json, p99),
        "max" => real(json, max),
        "p50_low" => real(json, p50 * 0.99),
        "p50_high" => real(json, p50 * 1.01),
        "p95_low" => real(json, p95 * 0.97),
        _ => real(json, p95.mul_add(0.5, max * 0.5)),
    }
}

fn flow(json: &mut Vec<u8>, sent: u64, lost: u64, which: &str) {
    #[expect(clippy::cast_precision_loss, reason = "counts of some hundred")]
    let (n, share) = (sent as f64, lost as f64 / sent as f64);
    // Wilson's interval, 95 %.
    let (z2, middle) = (3.841_459, share + 3.841_459 / (2.0 * n));
    let half = (z2 * (share * (1.0 - share) / n + z2 / (4.0 * n * n))).sqrt();
    match which {
        "sent" => number(json, sent),
        "ok" => number(json, sent - lost),
        "lost" => number(json, lost),
        "loss" => real(json, share),
        "loss_low" => real(json, ((middle - half) / (1.0 + z2 / n)).max(0.0)),
        _ => real(json, (middle + half) / (1.0 + z2 / n)),
    }
}

fn text(json: &mut Vec<u8>, text: &str) {
    value(json, &Value::from(text));
}

fn value(json: &mut Vec<u8>, value: &Value) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(json, value);
}

fn number(json: &mut Vec<u8>, number: u64) {
    let _ = write!(json, "{number}");
}

fn real(json: &mut Vec<u8>, number: f64) {
    let _ = write!(json, "{:.4}", number.max(0.0));
}

/// How many of so many are lost, about.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of some hundred"
)]
fn lost_of(share: f64, of: u64, dice: &mut Dice) -> u64 {
    if share <= 0.0 {
        return 0;
    }
    let mean = share * of as f64;
    let drawn = (mean + mean.sqrt() * dice.bell() * 0.8).round().max(0.0);
    (drawn as u64).min(of)
}

/// The verdict that follows from the figures, as the default profile has it, about.
fn verdict(figures: &Figures, lost: [u64; 4], pdv_ms: f64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "counts of some hundred")]
    let share = |at: usize, of: u64| lost.get(at).copied().unwrap_or(0) as f64 / of as f64;
    let (up, down) = (share(2, VIDEO), share(3, VIDEO));
    let place = match figures.fault {
        Fault::Local => "local_network",
        Fault::Service => "service",
        Fault::None | Fault::Path => "path",
    };
    let percent = |share: f64| json!({ "percent": (share * 100.0).round() });
    let ms = |ms: f64| json!({ "ms": ms.round() });
    let found = [
        (down, 0.02, 0.06, "loss_down", "down", percent(down)),
        (up, 0.02, 0.06, "loss_up", "up", percent(up)),
        (pdv_ms, 90.0, 200.0, "pdv_up", "up", ms(pdv_ms)),
        (figures.rtt_ms, 320.0, 700.0, "rtt_high", "both", ms(figures.rtt_ms)),
    ];
    let worst = found.into_iter().find(|(value, good, ..)| value > good);
    let (state, cause) = match worst {
        None => ("ready", None),
        Some((value, good, limit, code, way, params)) => {
            let state = if value > limit { "blocked" } else { "degraded" };
            (state, Some((code, way, params, value, good, limit)))
        }
    };
    let asked = json!({ "state": state, "certain": true, "asked": true, "reason": null });
    let left =
        json!({ "state": "not_tested", "certain": false, "asked": false, "reason": "it was not asked for" });
    let uses = json!({ "audio": asked, "video_360p": left, "video_720p": asked, "video_1080p": left, "screen": left });
    let Some((code, way, params, value, good, limit)) = cause else {
        return json!({ "overall": "ready", "certain": true, "place": null, "direction": null,
            "say": "Your connection is ready for audio, 720p.", "fix": null, "uses": uses, "causes": [] });
    };
    let english = words::english(code);
    let numbers = params.as_object().map(|map| map.clone().into_iter().collect()).unwrap_or_default();
    let say = words::fill(english.say, &numbers);
    let direction = if way == "both" { Value::Null } else { Value::from(way) };
    json!({
        "overall": state, "certain": true, "place": place, "direction": direction, "say": say, "fix": english.fix, "uses": uses,
        "causes": [{
            "code": code, "params": params, "state": state, "place": place, "direction": direction, "uses": ["audio", "video_720p"],
            "metric": null, "measured": value, "good": good, "limit": limit, "margin": value / limit, "say": say, "fix": english.fix,
            "evidence": ["this report was made up by greenroom simulate"], "ruled_out": [],
        }],
    })
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::{Report, State, read};

    use super::super::model::{FleetSpec, What};
    use super::*;

    fn fleet() -> Fleet {
        let from: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let until = from.checked_add(SignedDuration::from_hours(24 * 28)).unwrap();
        Fleet::new(FleetSpec { seed: 7, agents: 300, every_s: 300, hourly: true, from, until })
    }

    fn run(fleet: &Fleet, index: u32, at: Timestamp) -> Run {
        Run { member: fleet.member(index), schedule: 0, slot: 5, at, seq: 3, in_calls: 1 }
    }

    fn report(json: &[u8]) -> Report {
        read(std::str::from_utf8(json).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_a_report_and_the_same_each_time() {
        let fleet = fleet();
        let mut writer = Writer::new();
        let run = run(&fleet, 4, fleet.spec().from);
        let json = writer.write(&fleet, &run);
        assert_eq!(json, Writer::new().write(&fleet, &run));
        assert!(!json.windows(2).any(|two| two == b"{{"), "a mark was left");
        let found = report(&json);
        assert_eq!(found.code, short_code(found.id));
        assert_eq!(found.agent.id, Some(run.member.id.to_string()));
        let rtt = Sketch::decode(&found.sketches["rtt"]).unwrap();
        assert_eq!(rtt.len(), AUDIO);
        let target = &found.targets[0];
        assert_eq!(target.up.counts.sent, target.up.counts.on_time + target.up.counts.lost);
    }

    #[test]
    fn an_outage_is_a_verdict() {
        let fleet = fleet();
        let outage = fleet.incidents().iter().find(|one| one.what == What::IspLoss).unwrap();
        let mut writer = Writer::new();
        for index in 0..300 {
            let run = run(&fleet, index, outage.from);
            let found = report(&writer.write(&fleet, &run));
            if fleet.isp_name(run.member.isp) == outage.who {
                assert_eq!(found.verdict.overall, State::Blocked);
                assert_eq!(found.verdict.causes[0].code, "loss_down");
            }
        }
    }
}
