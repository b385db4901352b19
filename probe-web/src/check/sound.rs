//! What a page tells of a microphone's sound: sums and rows, from which [`greenroom_reports::signals::sound`] names it as it does any
//! recording.

use greenroom_reports::schema::{SoundFigures, Value};
use greenroom_reports::signals::sound::{
    Active, Analysis, Broken, Circumstances, Clipped, Features, Format, MAX_CHANNELS, Window,
};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::read::{MOST, MicrophoneRun, amount, number};
use crate::problem::Problem;

/// Beyond +60 dBFS nothing counts as a sample.
const LOUDEST: f64 = 1_000.0;
/// A day at the highest rate that there is.
const LONGEST: u64 = 768_000 * 86_400;
const UNSEEN: &str = "the page keeps the sound to itself, and does not look for it there";

/// One channel. Of all but the loudest one the rows are left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelRun {
    samples: u64,
    damaged: u64,
    sum: f64,
    squares: f64,
    least: f64,
    greatest: f64,
    product: f64,
    clipped: ClippedRun,
    broken: BrokenRun,
    active: ActiveRun,
    /// Mean and variance of 20 ms each.
    frames: Vec<(f64, f64)>,
    /// Level, likeness to itself, share of the loudest eighth.
    windows: Vec<(f32, f32, f32)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClippedRun {
    runs: u64,
    samples: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BrokenRun {
    gaps: u64,
    gap_samples: u64,
    repeats: u64,
    repeated_samples: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActiveRun {
    squares: f64,
    above: [u64; 20],
}

/// Looks at them.
pub(super) fn check(channels: &[ChannelRun]) -> Result<(), Problem> {
    let long = |pointer: &str| Problem::field(pointer, "has more entries than any run");
    if channels.len() > usize::from(MAX_CHANNELS) {
        return Err(long("/microphone/channels"));
    }
    channels.iter().try_for_each(|channel| {
        let n = channel.samples;
        let counts = [channel.damaged, channel.clipped.runs, channel.clipped.samples];
        let broken = &channel.broken;
        let broken = [broken.gaps, broken.gap_samples, broken.repeats, broken.repeated_samples];
        let all = counts.into_iter().chain(broken).chain(channel.active.above);
        if n > LONGEST || all.max().is_some_and(|most| most > n) {
            return Err(Problem::field("/microphone/channels", "counts more than there is"));
        }
        number("/microphone/channels/least", channel.least, LOUDEST)?;
        number("/microphone/channels/greatest", channel.greatest, LOUDEST)?;
        number("/microphone/channels/sum", channel.sum, LOUDEST * float(n))?;
        for squares in [channel.squares, channel.active.squares] {
            amount("/microphone/channels/squares", squares, 4.0 * LOUDEST * LOUDEST * float(n))?;
        }
        number("/microphone/channels/product", channel.product, LOUDEST * LOUDEST * float(n))?;
        if channel.frames.len().max(channel.windows.len()) > MOST {
            return Err(long("/microphone/channels"));
        }
        for (mean, variance) in &channel.frames {
            number("/microphone/channels/frames", *mean, LOUDEST)?;
            amount("/microphone/channels/frames", *variance, LOUDEST * LOUDEST)?;
        }
        channel.windows.iter().try_for_each(|(level, alike, peak)| {
            [level, alike, peak]
                .into_iter()
                .try_for_each(|value| number("/microphone/channels/windows", f64::from(*value), 200.0))
        })
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples stay far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Samples of the longest channel.
pub(super) fn samples(channels: &[ChannelRun]) -> u64 {
    channels.iter().map(|channel| channel.samples).max().unwrap_or(0)
}

/// What was heard. `None` where there is nothing to tell by. Gaps and repetitions are not among it: what breaks off in a browser may be the
/// browser's own doing, on a computer that is busy, and nobody's microphone is judged by that ([`told`]).
pub(super) fn figures(channels: &[ChannelRun], rate: u32) -> Option<SoundFigures> {
    let breaks = Value::not_tested("what breaks off in a browser may be the browser's own doing");
    Some(SoundFigures { dropouts: breaks, ..all(channels, rate)? })
}

/// What broke off, under the run's settings.
pub(super) fn told(run: &MicrophoneRun) -> Option<(String, Json)> {
    let figures = all(run.channels.as_deref()?, run.rate_hz?)?;
    Some(("microphone_breaks".to_owned(), json!(figures.dropouts.measured()?)))
}

fn all(channels: &[ChannelRun], rate: u32) -> Option<SoundFigures> {
    let format = Format::new(rate, u16::try_from(channels.len()).ok()?)?;
    let features: Vec<Features> = channels.iter().map(features).collect();
    let figures = Analysis::of(format, &features, UNSEEN).figures(Circumstances::default(), None);
    Some(SoundFigures { clock_drift_ppm: Value::not_tested(UNSEEN), ..figures })
}

fn features(run: &ChannelRun) -> Features {
    let active = Active { squares: run.active.squares, samples: run.samples, above: run.active.above };
    let window =
        |(level, alike, peak): &(f32, f32, f32)| Window { level: *level, alike: *alike, peak: *peak };
    Features {
        samples: run.samples,
        damaged: run.damaged,
        sum: run.sum,
        squares: run.squares,
        least: run.least,
        greatest: run.greatest,
        product: run.product,
        frames: run.frames.clone(),
        clipped: Clipped { runs: run.clipped.runs, samples: run.clipped.samples },
        broken: Broken {
            gaps: run.broken.gaps,
            gap_samples: run.broken.gap_samples,
            repeats: run.broken.repeats,
            repeated_samples: run.broken.repeated_samples,
        },
        active,
        windows: run.windows.iter().map(window).collect(),
    }
}
