//! The TOML form of a scenario: what may be written, checked, and turned into what links and hosts use.

use std::path::PathBuf;
use std::time::Duration;

use greenroom_reports::schema::{FaultDirection, Place, State};
use greenroom_reports::units::{Bitrate, DataSize, Micros};
use serde::Deserialize;

use super::{Host, Hosts, Scenario};
use crate::link::{
    Bottleneck, Conditions, CrossTraffic, Duplicate, Jitter, Loss, QueueLimit, Reorder, Schedule, Selector,
    TargetedDrop,
};
use crate::packet::Protocol;

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or not a scenario.
    #[error("scenario {name}: {source}")]
    Malformed {
        /// Which.
        name: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A number in it makes no sense.
    #[error("scenario {name}: {what}")]
    Senseless {
        /// Which.
        name: String,
        /// What and why.
        what: String,
    },
}

/// The verdict that is fair on a scenario: per use the states that are acceptable.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// How the states follow from the network's numbers and profile `default/1`.
    pub because: String,
    #[serde(default)]
    pub(super) audio: Vec<State>,
    #[serde(default)]
    pub(super) video_360p: Vec<State>,
    #[serde(default)]
    pub(super) video_720p: Vec<State>,
    #[serde(default)]
    pub(super) video_1080p: Vec<State>,
    #[serde(default)]
    pub(super) screen: Vec<State>,
    #[serde(default)]
    pub(super) places: Vec<Place>,
    #[serde(default)]
    pub(super) directions: Vec<FaultDirection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    why: String,
    source: String,
    duration_ms: f64,
    #[serde(default)]
    both: ConditionsFile,
    #[serde(default)]
    up: ConditionsFile,
    #[serde(default)]
    down: ConditionsFile,
    #[serde(default)]
    changes: Vec<ChangeFile>,
    #[serde(default)]
    drops: Vec<DropFile>,
    #[serde(default)]
    hosts: HostsFile,
    expect: Expectation,
}

/// What is absent stays as it was.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionsFile {
    delay_ms: Option<f64>,
    jitter: Option<JitterFile>,
    loss: Option<LossFile>,
    duplicate: Option<DuplicateFile>,
    reorder: Option<ReorderFile>,
    rate_kbps: Option<u64>,
    queue_ms: Option<f64>,
    queue_bytes: Option<u64>,
    cross: Option<CrossFile>,
    mtu_bytes: Option<u32>,
    clear_tos: Option<u8>,
    block: Option<Vec<SelectorFile>>,
    cut: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum JitterFile {
    None {},
    Uniform {
        max_ms: f64,
        #[serde(default)]
        reorders: bool,
    },
    Normal {
        sigma_ms: f64,
        limit_sigmas: f64,
        #[serde(default)]
        reorders: bool,
    },
    Pareto {
        scale_ms: f64,
        shape: f64,
        cap_ms: f64,
        #[serde(default)]
        reorders: bool,
    },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum LossFile {
    None {},
    Random { ratio: f64 },
    Bursts { ratio: f64, mean_packets: f64 },
    GilbertElliott { to_bad: f64, to_good: f64, good_loss: f64, bad_loss: f64 },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct DuplicateFile {
    ratio: f64,
    gap_ms: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReorderFile {
    ratio: f64,
    extra_ms: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum CrossFile {
    None {},
    Constant { rate_kbps: u64 },
    OnOff { rate_kbps: u64, on_ms: f64, off_ms: f64 },
    Aimd { flows: u32, rtt_ms: f64 },
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectorFile {
    protocol: Option<Protocol>,
    port: Option<u16>,
    min_bytes: Option<u32>,
    max_bytes: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    Up,
    Down,
    Both,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeFile {
    at_ms: f64,
    direction: Which,
    set: ConditionsFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DropFile {
    direction: Which,
    #[serde(default)]
    select: SelectorFile,
    from: u64,
    count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostsFile {
    #[serde(default)]
    busy_loops: u32,
    #[serde(default)]
    here: HostFile,
    #[serde(default)]
    there: HostFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostFile {
    wake: Option<JitterFile>,
    receive_queue: Option<usize>,
    refused_ratio: Option<f64>,
    clock_ahead_ms: Option<f64>,
    skew_ppm: Option<f64>,
}

/// What makes no sense, before the scenario's name is put to it.
type Checked<T> = Result<T, String>;

pub(super) fn parse(name: &str, text: &str) -> Result<Scenario, Problem> {
    let file: ScenarioFile = toml::from_str(text)
        .map_err(|source| Problem::Malformed { name: name.to_owned(), source: Box::new(source) })?;
    build(name, file).map_err(|what| Problem::Senseless { name: name.to_owned(), what })
}

fn build(name: &str, file: ScenarioFile) -> Checked<Scenario> {
    Ok(Scenario {
        name: name.to_owned(),
        duration: millis("duration_ms", file.duration_ms)?,
        up: schedule(&file, Which::Up)?,
        down: schedule(&file, Which::Down)?,
        hosts: Hosts {
            busy_loops: file.hosts.busy_loops,
            here: host(&file.hosts.here)?,
            there: host(&file.hosts.there)?,
        },
        why: file.why,
        source: file.source,
        expect: file.expect,
    })
}

fn schedule(file: &ScenarioFile, direction: Which) -> Checked<Schedule> {
    let own = if direction == Which::Up { &file.up } else { &file.down };
    let concerns = |which: Which| which == direction || which == Which::Both;
    let mut conditions = Conditions::default();
    apply(&mut conditions, &file.both)?;
    apply(&mut conditions, own)?;
    let mut schedule = Schedule::constant(conditions.clone());
    let mut last = Duration::ZERO;
    for change in file.changes.iter().filter(|change| concerns(change.direction)) {
        let at = millis("changes.at_ms", change.at_ms)?;
        if at <= last {
            return Err("changes of one direction come in order of time, after 0".into());
        }
        apply(&mut conditions, &change.set)?;
        schedule = schedule.then(at, conditions.clone());
        last = at;
    }
    schedule.drops = file.drops.iter().filter(|drop| concerns(drop.direction)).map(targeted).collect();
    Ok(schedule)
}

fn apply(conditions: &mut Conditions, file: &ConditionsFile) -> Checked<()> {
    if let Some(delay) = file.delay_ms {
        conditions.delay = millis("delay_ms", delay)?;
    }
    if let Some(it) = file.jitter {
        conditions.jitter = jitter(it)?;
    }
    if let Some(it) = file.loss {
        conditions.loss = loss(it)?;
    }
    if let Some(it) = file.duplicate {
        let (ratio, gap) = (share("duplicate.ratio", it.ratio)?, millis("duplicate.gap_ms", it.gap_ms)?);
        conditions.duplicate = Some(Duplicate { ratio, gap });
    }
    if let Some(it) = file.reorder {
        let (ratio, extra) = (share("reorder.ratio", it.ratio)?, millis("reorder.extra_ms", it.extra_ms)?);
        conditions.reorder = Some(Reorder { ratio, extra });
    }
    apply_bottleneck(conditions, file)?;
    if let Some(it) = file.cross {
        conditions.cross = cross(it)?;
    }
    conditions.mtu_bytes = file.mtu_bytes.or(conditions.mtu_bytes);
    conditions.clear_tos = file.clear_tos.unwrap_or(conditions.clear_tos);
    if let Some(block) = &file.block {
        conditions.block = block.iter().map(selector).collect();
    }
    conditions.cut = file.cut.unwrap_or(conditions.cut);
    Ok(())
}

/// A bottleneck's default queue is 300 ms, as in RFC 8867.
fn apply_bottleneck(conditions: &mut Conditions, file: &ConditionsFile) -> Checked<()> {
    let queue = match (file.queue_ms, file.queue_bytes) {
        (Some(_), Some(_)) => return Err("queue_ms and queue_bytes exclude each other".into()),
        (Some(ms), None) => Some(QueueLimit::Time(millis("queue_ms", ms)?)),
        (None, Some(bytes)) => Some(QueueLimit::Size(DataSize::from_bytes(bytes))),
        (None, None) => None,
    };
    let before = conditions.bottleneck;
    let rate = file.rate_kbps.map(Bitrate::from_kbps).or(before.map(|bottleneck| bottleneck.rate));
    conditions.bottleneck = match (rate, queue) {
        (Some(rate), _) if rate.bps() == 0 => {
            return Err("rate_kbps is above 0; to stop a link, cut it".into());
        }
        (Some(rate), queue) => {
            let queue = queue.or(before.map(|bottleneck| bottleneck.queue));
            Some(Bottleneck { rate, queue: queue.unwrap_or(QueueLimit::Time(Duration::from_millis(300))) })
        }
        (None, Some(_)) => return Err("a queue needs rate_kbps".into()),
        (None, None) => None,
    };
    Ok(())
}

fn jitter(file: JitterFile) -> Checked<Jitter> {
    Ok(match file {
        JitterFile::None {} => Jitter::None,
        JitterFile::Uniform { max_ms, reorders } => {
            Jitter::Uniform { max: millis("jitter.max_ms", max_ms)?, reorders }
        }
        JitterFile::Normal { sigma_ms, limit_sigmas, reorders } => Jitter::Normal {
            sigma: millis("jitter.sigma_ms", sigma_ms)?,
            limit_sigmas: at_least("jitter.limit_sigmas", limit_sigmas, 0.5)?,
            reorders,
        },
        JitterFile::Pareto { scale_ms, shape, cap_ms, reorders } => Jitter::Pareto {
            scale: millis("jitter.scale_ms", scale_ms)?,
            shape: at_least("jitter.shape", shape, 0.1)?,
            cap: millis("jitter.cap_ms", cap_ms)?,
            reorders,
        },
    })
}

fn loss(file: LossFile) -> Checked<Loss> {
    Ok(match file {
        LossFile::None {} => Loss::None,
        LossFile::Random { ratio } => Loss::Random { ratio: share("loss.ratio", ratio)? },
        LossFile::Bursts { ratio, mean_packets } => {
            if share("loss.ratio", ratio)? > 0.5 {
                return Err("loss.ratio of bursts is at most 0.5; beyond, use gilbert_elliott".into());
            }
            Loss::bursts(ratio, at_least("loss.mean_packets", mean_packets, 1.0)?)
        }
        LossFile::GilbertElliott { to_bad, to_good, good_loss, bad_loss } => Loss::GilbertElliott {
            to_bad: share("loss.to_bad", to_bad)?,
            to_good: share("loss.to_good", to_good)?,
            good_loss: share("loss.good_loss", good_loss)?,
            bad_loss: share("loss.bad_loss", bad_loss)?,
        },
    })
}

fn cross(file: CrossFile) -> Checked<CrossTraffic> {
    Ok(match file {
        CrossFile::None {} => CrossTraffic::None,
        CrossFile::Constant { rate_kbps } => CrossTraffic::Constant { rate: Bitrate::from_kbps(rate_kbps) },
        CrossFile::OnOff { rate_kbps, on_ms, off_ms } => CrossTraffic::OnOff {
            rate: Bitrate::from_kbps(rate_kbps),
            on: millis("cross.on_ms", at_least("cross.on_ms", on_ms, 1.0)?)?,
            off: millis("cross.off_ms", off_ms)?,
        },
        CrossFile::Aimd { flows, rtt_ms } => {
            CrossTraffic::Aimd { flows, rtt: millis("cross.rtt_ms", at_least("cross.rtt_ms", rtt_ms, 1.0)?)? }
        }
    })
}

fn selector(file: &SelectorFile) -> Selector {
    Selector {
        protocol: file.protocol,
        port: file.port,
        min_bytes: file.min_bytes,
        max_bytes: file.max_bytes,
    }
}

fn targeted(file: &DropFile) -> TargetedDrop {
    TargetedDrop { select: selector(&file.select), from: file.from, count: file.count }
}

fn host(file: &HostFile) -> Checked<Host> {
    let fault_free = Host::default();
    Ok(Host {
        wake: file.wake.map_or(Ok(Jitter::None), jitter)?,
        receive_queue: file.receive_queue.unwrap_or(fault_free.receive_queue),
        refused_ratio: share("refused_ratio", file.refused_ratio.unwrap_or(0.0))?,
        clock_ahead: millis("clock_ahead_ms", file.clock_ahead_ms.unwrap_or(0.0))?,
        skew_ppm: file.skew_ppm.unwrap_or(0.0),
    })
}

fn millis(key: &str, ms: f64) -> Checked<Duration> {
    let micros = Micros::from_ms_f64(ms).filter(|_| ms >= 0.0);
    micros.map(Micros::to_duration).ok_or_else(|| format!("{key} = {ms} is not a time"))
}

fn share(key: &str, ratio: f64) -> Checked<f64> {
    if (0.0..=1.0).contains(&ratio) {
        Ok(ratio)
    } else {
        Err(format!("{key} = {ratio} is not within 0 to 1"))
    }
}

fn at_least(key: &str, value: f64, least: f64) -> Checked<f64> {
    if value.is_finite() && value >= least {
        Ok(value)
    } else {
        Err(format!("{key} = {value} is below {least}"))
    }
}
