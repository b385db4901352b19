//! A run of frames, and why it failed, as the report has them.

use greenroom_reports::metrics::percentile::Quantile;
use greenroom_reports::schema::{self, DeviceFailure, Distribution, FrameFigures, Value};
use greenroom_reports::units::{Micros, Ratio};

use super::mode::Interval;
use super::pace::Pace;
use super::run::Run;
use crate::devices::{DeviceError, Fault, Permission};

/// When the frames came. `damaged` of them were no whole pictures.
pub(super) fn figures(run: &Run, damaged: u64) -> FrameFigures {
    let pace = &run.pace;
    let Some(first) = run.first_frame else {
        return FrameFigures { count: Value::exact(0), ..FrameFigures::not_tested("no frame came") };
    };
    let n = pace.frames();
    let intervals = pace.intervals();
    let claimed = run.opened.mode.interval;
    let few = "too few frames";
    let estimate = |value: Option<f64>, reason: &str| {
        value.map_or_else(|| Value::not_tested(reason), |value| Value::estimate(value, n.saturating_sub(1)))
    };
    let period = claimed.map(Interval::duration);
    FrameFigures {
        count: Value::exact(n),
        rate_fps: estimate(pace.fps(), few),
        rate_ratio: match claimed {
            Some(claimed) => estimate(pace.fps().map(|fps| fps / claimed.fps()), few),
            None => Value::not_tested("the camera claims no rate"),
        },
        interval_ms: distribution(pace),
        interval_spread_ratio: estimate(
            pace.spread_ms().zip(pace.fps()).map(|(ms, fps)| ms * fps / 1e3),
            few,
        ),
        lost_ratio: match pace.lost() {
            Some(lost) => share(lost, n + lost),
            None => Value::not_tested("the camera does not number its frames"),
        },
        damaged_ratio: share(damaged, n),
        first_ms: Value::exact(first.as_ms()),
        stalls: match period {
            Some(period) => {
                let long = intervals.as_slice().iter().filter(|&&interval| interval > period * 3).count();
                Value::exact(long as u64)
            }
            None => Value::not_tested("the camera claims no rate"),
        },
        longest_wait_ms: intervals
            .max()
            .map_or_else(|| Value::not_tested(few), |max| Value::exact(max.as_ms())),
    }
}

fn share(part: u64, whole: u64) -> Value<schema::Estimate> {
    Ratio::of(part, whole)
        .map_or_else(|| Value::not_tested("no frame came"), |share| Value::estimate(share.get(), whole))
}

fn distribution(pace: &Pace) -> Value<Distribution> {
    let sorted = pace.intervals();
    let (Some(min), Some(p50), Some(max)) = (sorted.min(), sorted.at(Quantile::P50), sorted.max()) else {
        return Value::not_tested("too few frames");
    };
    Value::Measured(Distribution {
        n: sorted.len() as u64,
        min: min.as_ms(),
        p50: p50.as_ms(),
        p95: None,
        p99: None,
        max: max.as_ms(),
        p50_bounds: None,
        p95_bounds: None,
    })
}

/// A device's error as the report has it.
pub fn failure(error: &DeviceError) -> DeviceFailure {
    let millis = |time: Micros| u64::try_from(time.get() / 1000).unwrap_or(0);
    match &error.fault {
        Fault::NotFound => DeviceFailure::NotFound { wanted: Some(error.device.clone()) },
        Fault::Busy { by } => DeviceFailure::Busy { by: by.as_ref().map(ToString::to_string) },
        Fault::Permission(permission) => {
            let (which, detail) = match permission {
                Permission::Group { group, .. } => (schema::Permission::Group, Some(group.clone())),
                Permission::File { file } => (schema::Permission::Unknown, Some(file.clone())),
                Permission::Portal => (schema::Permission::Portal, None),
                Permission::Privacy => (schema::Permission::PrivacySetting, None),
                _ => (schema::Permission::Unknown, None),
            };
            DeviceFailure::Permission { which, detail }
        }
        Fault::Disconnected => DeviceFailure::Disconnected { after_ms: None },
        Fault::Unsupported { asked } => DeviceFailure::UnsupportedFormat { detail: asked.clone() },
        Fault::Stalled { after } => DeviceFailure::Stalled { after_ms: millis(*after) },
        Fault::ServerDown { server } => DeviceFailure::SoundServerDown { server: server.clone() },
        _ => DeviceFailure::Unknown { detail: error.say() },
    }
}
