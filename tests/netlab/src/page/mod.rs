//! The check page over emulated links: Chromium at one end, `greenroom serve` at the other, and `greenroom check` over the same link. What
//! the page tells is held against what the link did.

mod program;
pub mod situations;

use std::path::{Path, PathBuf};
use std::time::Duration;

use greenroom_reports::schema::{DirectionReport, Report, Target, Value};
use greenroom_reports::trace::Direction;
use serde::{Deserialize, Serialize};

pub use program::PageError;

use crate::lab::{Lab, LabError};
use crate::link::DropReason;
use crate::scenario::{Problem, Scenario};
use crate::truth::{PacketTruth, Truth};

/// What the page and the program may be off by, of the capacity.
pub const CAPACITY_RATIO: f64 = 0.10;
/// What a browser's round trip may be off by.
pub const DELAY: Duration = Duration::from_millis(1);
/// The same, as a share of it.
pub const DELAY_RATIO: f64 = 0.01;
/// Standard deviations that two samples of one share may be apart.
const SIGMAS: f64 = 3.0;

/// A link, the same delay and loss each way.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What the call is to carry.
    pub wanted: &'static str,
    /// Kilobits per second, up and down.
    pub kbps: [u64; 2],
    /// One-way delay.
    pub delay_ms: u64,
    /// Lost at random, each way.
    pub loss_ratio: f64,
    /// What the queue in front of it holds.
    pub queue_ms: u64,
}

/// The links of the issue: narrow and wide, near and far, lossy, and with a queue of a second.
pub const SETTINGS: [Setting; 8] = [
    Setting {
        name: "narrow",
        wanted: "audio",
        kbps: [500, 1_000],
        delay_ms: 20,
        loss_ratio: 0.0,
        queue_ms: 200,
    },
    Setting {
        name: "dsl",
        wanted: "360p",
        kbps: [1_000, 5_000],
        delay_ms: 15,
        loss_ratio: 0.0,
        queue_ms: 150,
    },
    Setting {
        name: "lossy",
        wanted: "720p",
        kbps: [2_000, 3_000],
        delay_ms: 5,
        loss_ratio: 0.01,
        queue_ms: 100,
    },
    Setting {
        name: "very_lossy",
        wanted: "360p",
        kbps: [1_000, 1_500],
        delay_ms: 5,
        loss_ratio: 0.03,
        queue_ms: 100,
    },
    Setting {
        name: "cable",
        wanted: "720p",
        kbps: [5_000, 20_000],
        delay_ms: 10,
        loss_ratio: 0.0,
        queue_ms: 100,
    },
    Setting {
        name: "fast",
        wanted: "720p",
        kbps: [10_000, 50_000],
        delay_ms: 5,
        loss_ratio: 0.0,
        queue_ms: 100,
    },
    Setting {
        name: "far",
        wanted: "720p",
        kbps: [5_000, 5_000],
        delay_ms: 150,
        loss_ratio: 0.0,
        queue_ms: 300,
    },
    Setting {
        name: "bloated",
        wanted: "720p",
        kbps: [3_000, 8_000],
        delay_ms: 20,
        loss_ratio: 0.0,
        queue_ms: 1_000,
    },
];

impl Setting {
    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        SETTINGS.into_iter().find(|setting| setting.name == name)
    }

    /// The link.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn scenario(&self) -> Result<Scenario, Problem> {
        let Self { name, kbps: [up, down], delay_ms, loss_ratio, queue_ms, .. } = self;
        let text = format!(
            "why = \"{name}\"\nsource = \"own\"\nduration_ms = 120000\n[both]\ndelay_ms = {delay_ms}\n\
             loss = {{ kind = \"random\", ratio = {loss_ratio} }}\n[up]\nrate_kbps = {up}\nqueue_ms = {queue_ms}\n\
             [down]\nrate_kbps = {down}\nqueue_ms = {queue_ms}\n[expect]\nbecause = \"only figures are looked at\"\n"
        );
        Scenario::parse(name, &text)
    }
}

/// What is needed to run both ends.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `greenroom`.
    pub greenroom: PathBuf,
    /// Python with Playwright.
    pub python: PathBuf,
    /// `tests/browser/link_page.py`.
    pub script: PathBuf,
}

impl Programs {
    /// With Python from where `./dev test` has put it.
    pub fn with(greenroom: PathBuf) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let usual = root.join("target/tools/browser/bin/python");
        let python = std::env::var_os("GREENROOM_BROWSER_PYTHON").map_or(usual, PathBuf::from);
        Self { greenroom, python, script: root.join("tests/browser/link_page.py") }
    }
}

/// What was seen of one link.
#[derive(Debug)]
pub struct Seen {
    /// The page's report.
    pub page: Report,
    /// How long after the permission there was a first verdict, and what it said.
    pub early: Option<(Duration, Report)>,
    /// The program's.
    pub native: Report,
    /// What the link did while the page ran.
    pub truth: Truth,
}

/// Runs the page, and then the program, each over a link of its own with these properties.
///
/// # Errors
/// When either has no result, or the link was not what it was to be.
pub fn check(setting: &Setting, seed: u64, programs: &Programs) -> Result<Seen, PageError> {
    let scenario = setting.scenario().map_err(PageError::Scenario)?;
    let lab = Lab::start(&scenario, seed)?;
    let (page, early) = program::page(&lab, setting.wanted, programs)?;
    let truth = match lab.finish() {
        // A browser and this link share two processors: the link's own log tells each packet's delay as it was.
        Ok(truth) => truth,
        Err(LabError::Late { truth, .. }) => *truth,
        Err(error) => return Err(error.into()),
    };
    let lab = Lab::start(&scenario, seed)?;
    let native = program::native(&lab, programs)?;
    Ok(Seen { page, early, native, truth })
}

/// What was told of one link, beside what it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// Up, then down.
    pub ways: [Way; 2],
    /// Median round trip of audio alone: told, and true.
    pub rtt_ms: [f64; 2],
    /// From the permission to a first verdict.
    pub early_s: Option<f64>,
    /// How much longer answers took while each way was filled, at the 95th percentile: told by the page.
    pub saturated_ms: [Option<f64>; 2],
}

/// One way of a link.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Way {
    /// Bits per second at the IP layer.
    pub capacity_bps: u64,
    /// What the page told.
    pub page_bps: Option<f64>,
    /// Whether it said that there may be more.
    pub page_at_least: bool,
    /// What the program told.
    pub native_bps: Option<f64>,
    /// Lost of the page's audio, and how much of it there was.
    pub loss_told: (f64, u64),
    /// Lost at random of all that the page and the endpoint sent this way, and how much there was.
    pub loss_true: (f64, u64),
}

impl Comparison {
    /// Takes together what was seen; `None` where the page measured nothing.
    pub fn of(setting: &Setting, seen: &Seen) -> Option<Self> {
        let target = seen.page.targets.first()?;
        let told = *target.loaded.idle_rtt_p50_ms.measured()?;
        let way = |direction| {
            let (at, report) = of(direction, target);
            let loss = report.loss_ratio.measured()?;
            let capacity = report.capacity_bps.measured();
            let (_, native) = of(direction, seen.native.targets.first()?);
            Some(Way {
                capacity_bps: setting.kbps[at] * 1_000,
                page_bps: capacity.map(|found| found.value),
                page_at_least: capacity.is_some_and(|found| found.at_least),
                native_bps: native.capacity_bps.measured().map(|found| found.value),
                loss_told: (loss.value, loss.n),
                loss_true: random_loss(&seen.truth, direction),
            })
        };
        let saturated =
            |value: &Value<greenroom_reports::schema::Estimate>| value.measured().map(|it| it.value);
        Some(Self {
            ways: [way(Direction::Up)?, way(Direction::Down)?],
            rtt_ms: [told.value, true_rtt_ms(&seen.truth)?],
            early_s: seen.early.as_ref().map(|(after, _)| after.as_secs_f64()),
            saturated_ms: [
                saturated(&target.loaded.saturated_up_ms),
                saturated(&target.loaded.saturated_down_ms),
            ],
        })
    }

    /// What is not as it should be, in words.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let [told, real] = self.rtt_ms;
        if (told - real).abs() > DELAY.as_secs_f64() * 1_000.0 + DELAY_RATIO * real {
            wrong.push(format!("round trip {told} ms, was {real:.2}"));
        }
        for (name, way) in ["up", "down"].into_iter().zip(&self.ways) {
            #[expect(clippy::cast_precision_loss, reason = "rates stay far below 2^53 bit/s")]
            let real = way.capacity_bps as f64;
            for (who, told) in [("page", way.page_bps), ("program", way.native_bps)] {
                let off = told.map(|told| told / real - 1.0);
                if off.is_none_or(|off| off.abs() > CAPACITY_RATIO) {
                    wrong.push(format!("{who}: capacity {name} {told:?}, was {real}"));
                }
            }
            if !way.loss_fits() {
                wrong.push(format!("loss {name} {:?}, was {:?}", way.loss_told, way.loss_true));
            }
        }
        wrong
    }
}

impl Way {
    /// Whether both shares may be of one and the same probability.
    fn loss_fits(&self) -> bool {
        let ((told, n), (real, all)) = (self.loss_told, self.loss_true);
        #[expect(clippy::cast_precision_loss, reason = "counts of packets stay far below 2^53")]
        let (n, all) = (n.max(1) as f64, all.max(1) as f64);
        // One packet more or less is no more than one packet.
        (told - real).abs() <= SIGMAS * (real * (1.0 - real) * (1.0 / n + 1.0 / all)).sqrt() + 1.0 / n
    }
}

fn of(direction: Direction, target: &Target) -> (usize, &DirectionReport) {
    match direction {
        Direction::Up => (0, &target.up),
        Direction::Down => (1, &target.down),
    }
}

/// The port of the endpoint that `greenroom serve` runs.
const MEDIA: u16 = 7_443;

fn random_loss(truth: &Truth, direction: Direction) -> (f64, u64) {
    let counts = truth.counts(direction, |packet| packet.has_port(MEDIA));
    let lost = counts.dropped.get(&DropReason::RandomLoss).copied().unwrap_or(0);
    // What a full queue dropped was not lost by chance.
    let offered = counts.offered - counts.dropped.get(&DropReason::QueueFull).copied().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "counts of packets stay far below 2^53")]
    let ratio = if offered == 0 { 0.0 } else { lost as f64 / offered as f64 };
    (ratio, offered)
}

/// Octets of an audio packet in a datagram of QUIC, with or without an acknowledgment beside it.
const AUDIO: std::ops::RangeInclusive<u32> = 225..=290;
/// Audio packets from the beginning on that are alone on the link.
const ALONE: usize = 70;

/// The median delays that audio had each way while it was alone.
fn true_rtt_ms(truth: &Truth) -> Option<f64> {
    let median = |direction| {
        let audio = |packet: &&PacketTruth| packet.has_port(MEDIA) && AUDIO.contains(&packet.bytes);
        let alone = truth.packets(direction).iter().filter(audio).take(ALONE);
        let mut delays: Vec<Duration> = alone.filter_map(PacketTruth::delay).collect();
        delays.sort_unstable();
        delays.get(delays.len() / 2).map(|delay| delay.as_secs_f64() * 1_000.0)
    };
    Some(median(Direction::Up)? + median(Direction::Down)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_a_link() {
        for setting in SETTINGS {
            setting.scenario().expect("it makes sense");
            assert_eq!(Setting::named(setting.name).map(|found| found.kbps), Some(setting.kbps));
        }
    }

    #[test]
    fn shares_of_small_samples_may_differ_by_chance_and_no_more() {
        let way = |told, real| Way {
            capacity_bps: 1,
            page_bps: None,
            page_at_least: false,
            native_bps: None,
            loss_told: (told, 400),
            loss_true: (real, 2_000),
        };
        assert!(way(0.0, 0.0).loss_fits() && way(0.02, 0.01).loss_fits());
        assert!(!way(0.01, 0.0).loss_fits() && !way(0.0, 0.04).loss_fits() && !way(0.07, 0.03).loss_fits());
    }
}
