//! From an analysis to a report's figures.

use super::silence::{self, Circumstances};
use super::{Analysis, ChannelAnalysis, Drift};
use crate::schema::{ChannelFigures, Clipping, Dropouts, Estimate, Heard, Hum, SoundFigures, Value, tidy};
use crate::signals::limits;
use crate::units::Ratio;

impl Analysis {
    /// The figures of a report: those of the loudest channel, and each channel's level.
    pub fn figures(&self, told: Circumstances, drift: Option<Drift>) -> SoundFigures {
        let (Some(heard), Some(channel)) = (silence::name(self, told), self.loudest()) else {
            return SoundFigures { heard: no_samples(told), ..SoundFigures::not_tested("no samples came") };
        };
        let n = channel.samples;
        let of = |value: f64| Value::estimate(tidy(value), n);
        let speech = |value: Option<f64>| match value {
            Some(value) => of(value),
            None => Value::not_tested("nobody spoke"),
        };
        let spoken = channel.speech.filter(|_| matches!(heard, Heard::Speech | Heard::TooQuiet));
        let snr = spoken.and_then(|speech| Some(speech.level_dbfs - channel.floor_dbfs?));
        SoundFigures {
            heard: Value::exact(heard),
            peak_dbfs: of(channel.peak_dbfs),
            rms_dbfs: of(channel.rms_dbfs),
            speech_level_dbfs: speech(spoken.map(|speech| speech.level_dbfs)),
            speech_ratio: speech(spoken.map(|speech| speech.ratio)),
            noise_floor_dbfs: match channel.floor_dbfs {
                Some(floor) => of(floor),
                None => Value::not_tested("there was nothing but zeros"),
            },
            snr_db: speech(snr),
            dc_offset_ratio: of(channel.dc),
            clipping: self.clipping(channel),
            hum: hum(channel),
            bandwidth_hz: match channel.bandwidth_hz {
                Ok(edge) => of(edge),
                Err(why) => Value::not_tested(why),
            },
            dropouts: match heard {
                Heard::NoPermission | Heard::MutedInSoftware | Heard::MutedInHardware => {
                    Value::not_tested("there was no sound that could break off")
                }
                _ => self.dropouts(channel),
            },
            channels: Value::exact(self.channel_figures()),
            clock_drift_ppm: drift_figure(drift),
        }
    }

    fn clipping(&self, channel: &ChannelAnalysis) -> Value<Clipping> {
        let seconds = number(channel.samples) / f64::from(self.format.rate());
        let ratio = Ratio::of(channel.clipped.samples, channel.samples);
        match ratio.filter(|_| seconds > 0.0) {
            Some(ratio) => Value::Measured(Clipping {
                ratio: tidy(ratio.get()),
                runs: channel.clipped.runs,
                runs_per_s: tidy(number(channel.clipped.runs) / seconds),
            }),
            None => Value::not_tested("no samples came"),
        }
    }

    fn dropouts(&self, channel: &ChannelAnalysis) -> Value<Dropouts> {
        let lost = channel.broken.gap_samples.saturating_add(channel.broken.repeated_samples);
        let lost = lost.min(channel.samples);
        Value::Measured(Dropouts {
            gaps: channel.broken.gaps,
            repeats: channel.broken.repeats,
            lost_ms: tidy(number(lost) / f64::from(self.format.rate()) * 1e3),
            ratio: tidy(Ratio::of(lost, channel.samples).map_or(0.0, Ratio::get)),
            damaged: self.channels.iter().fold(0, |sum, c| c.damaged.saturating_add(sum)),
        })
    }

    fn channel_figures(&self) -> Vec<ChannelFigures> {
        let loudest = self.loudest().map_or(super::SILENCE_DBFS, |channel| channel.rms_dbfs);
        let limits = &limits().sound;
        let below = loudest - limits.dead_channel_below_db.value;
        let dead = |c: &ChannelAnalysis| loudest > limits.dead_dbfs.value && c.rms_dbfs < below;
        let inverted = limits.inverted_correlation.value;
        let numbered = self.channels.iter().zip(0_u16..);
        let figures = numbered.map(|(c, channel)| ChannelFigures {
            channel,
            rms_dbfs: tidy(c.rms_dbfs),
            dead: dead(c),
            inverted: !dead(c) && c.like_previous.is_some_and(|alike| alike < inverted),
        });
        figures.collect()
    }
}

/// A drift as a report's figure, of a microphone as of a speaker; `None` is one that ran too short.
pub fn drift_figure(drift: Option<Drift>) -> Value<Estimate> {
    match drift {
        Some(drift) => Value::Measured(Estimate {
            value: tidy(drift.ppm),
            low: Some(tidy(drift.low)),
            high: Some(tidy(drift.high)),
            n: u64::try_from(drift.n).unwrap_or(u64::MAX),
        }),
        None => Value::not_tested("it ran too short to tell"),
    }
}

/// That nothing came says something only where the system says why.
fn no_samples(told: Circumstances) -> Value<crate::schema::Exact<Heard>> {
    match told.permitted {
        Some(false) => Value::exact(Heard::NoPermission),
        _ => Value::not_tested("no samples came"),
    }
}

fn hum(channel: &ChannelAnalysis) -> Value<Hum> {
    match channel.hum {
        Err(reason) => Value::not_tested(reason),
        Ok(found) => Value::Measured(Hum {
            mains_hz: found.map(|hum| hum.mains_hz),
            level_dbfs: found.map(|hum| tidy(hum.level_dbfs)),
        }),
    }
}

/// Exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of samples stay far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}
