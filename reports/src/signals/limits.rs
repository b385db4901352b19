//! By what sounds and pictures are named: data with its sources, in `reports/profiles/signals-1.toml`.

use std::sync::OnceLock;

use serde::Deserialize;

const SHIPPED: &str = include_str!("../../profiles/signals-1.toml");

/// The limits that ship with this crate: version 1.
pub fn limits() -> &'static Limits {
    static READ: OnceLock<Limits> = OnceLock::new();
    READ.get_or_init(|| {
        let limits: Limits =
            toml::from_str(SHIPPED).expect("the shipped limits are valid, a test reads them");
        debug_assert_eq!(limits.version, 1, "another version is another meaning");
        limits
    })
}

/// The file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    version: u32,
    /// By what sounds are named.
    pub sound: SoundLimits,
    /// By what a peak counts as cut off.
    pub clipping: ClippingLimits,
    /// By what sound is found to end at a frequency.
    pub bandwidth: BandwidthLimits,
    /// By what a harmonic of the mains stands out.
    pub hum: HumLimits,
    /// By what sound has broken off, or come again.
    pub dropouts: DropoutLimits,
    /// By what a sweep was heard.
    pub sweep: SweepLimits,
    /// By what a picture is named. Shares of white unless said otherwise.
    pub picture: PictureLimits,
    /// By what frames are late or lost.
    pub frames: FrameLimits,
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sourced {
    /// In the unit of its name.
    pub value: f64,
    /// Where it comes from.
    pub source: String,
}

/// By what sounds are named.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoundLimits {
    /// Speech below this active level (ITU-T P.56) is too quiet.
    pub too_quiet_dbfs: Sourced,
    /// Quieter than any room: nothing is connected, or switched on.
    pub dead_dbfs: Sourced,
    /// What stays this near to zero, and to itself, is nothing but zeros. Of full scale.
    pub zeros_within: Sourced,
    /// Share of the samples that repeat what came before, from which on the device hangs.
    pub stuck_ratio: Sourced,
    /// A channel this far below the loudest one is dead.
    pub dead_channel_below_db: Sourced,
    /// Channels less alike than this are one another upside down.
    pub inverted_correlation: Sourced,
    /// How far what somebody says stands above the floor, at least.
    pub active_above_floor_db: Sourced,
    /// Frames of 20 ms that do so before somebody spoke.
    pub least_active_frames: Sourced,
    /// Standard deviation of their levels: what stands out evenly is a fan, a tone, a vacuum cleaner.
    pub least_spread_db: Sourced,
    /// How alike two pitch periods of a voice are, at least.
    pub voice_alike: Sourced,
    /// The largest share of a window's energy that an eighth of it holds, of a voice. A keystroke is over before its window is.
    pub voice_even_ratio: Sourced,
    /// Windows that follow one another in which a voice lasts, at least. A syllable does; a key, pressed and let go, does not.
    pub voice_windows_in_a_row: Sourced,
    /// Windows with a voice before somebody spoke.
    pub least_voiced_windows: Sourced,
}

/// By what a peak counts as cut off.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClippingLimits {
    /// Equal samples in a row that make a flattened peak, at least.
    pub run_samples: Sourced,
    /// How near to the largest sample the top begins.
    pub top_ratio: Sourced,
    /// A signal whose largest sample is below this, of full scale, is not looked at.
    pub least_peak_ratio: Sourced,
}

/// By what sound is found to end at a frequency.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandwidthLimits {
    /// How far everything beyond the edge lies below what is just within it.
    pub edge_db: Sourced,
    /// The lowest edge looked for.
    pub least_edge_hz: Sourced,
    /// How far blocks stand above the floor in which it is looked for.
    pub loud_above_floor_db: Sourced,
    /// Quieter blocks than this hold no sound.
    pub heard_dbfs: Sourced,
}

/// By what a harmonic of the mains stands out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HumLimits {
    /// Above the median of what is around it.
    pub above_around_db: Sourced,
    /// The same where there are less than three blocks.
    pub above_around_few_blocks_db: Sourced,
}

/// By what sound has broken off, or come again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropoutLimits {
    /// The shortest run of zeros that is a gap.
    pub gap_least_ms: Sourced,
    /// The same at low rates.
    pub gap_least_samples: Sourced,
    /// Power of the last 2 ms over that of the last 10 ms from which on what ends there was cut off, not faded out.
    pub gap_cut_ratio: Sourced,
    /// The shortest block that comes again.
    pub repeat_shortest_ms: Sourced,
    /// The longest one.
    pub repeat_longest_ms: Sourced,
    /// How much of the block must come again.
    pub repeat_whole_ratio: Sourced,
}

/// By what a sweep was heard.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepLimits {
    /// From here on the peak is the sweep, whatever the room and the noise.
    pub sure_db: Sourced,
    /// Below this there is nothing but noise.
    pub nothing_db: Sourced,
    /// A band this far below the mean no longer counts as played.
    pub played_within_db: Sourced,
    /// What noise may make of the distortion before it is not told.
    pub noise_distortion_ratio: Sourced,
}

/// By what a picture is named. Shares of white unless said otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureLimits {
    /// Mean brightness that black stays below.
    pub black_mean_ratio: Sourced,
    /// Spread that black stays below.
    pub black_spread_ratio: Sourced,
    /// Mean brightness that a covered lens stays below.
    pub covered_mean_ratio: Sourced,
    /// Spread that it stays below.
    pub covered_spread_ratio: Sourced,
    /// The same, of the mean.
    pub covered_structure_ratio: Sourced,
    /// Mean brightness below which a picture is dark.
    pub dark_mean_ratio: Sourced,
    /// From here on there is no detail.
    pub white_ratio: Sourced,
    /// Share of pixels without detail above which a picture is overexposed.
    pub overexposed_ratio: Sourced,
    /// Identical frames in a row from which on the picture is frozen.
    pub frozen_frames: Sourced,
    /// Less fine detail than this is blurred, as [`FrameStats::sharpness`](super::picture::FrameStats::sharpness) has it.
    pub blurred_sharpness: Sourced,
    /// Spread below which a picture has too little in it to be called blurred.
    pub blurred_spread_ratio: Sourced,
}

/// By what frames are late or lost.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameLimits {
    /// A wait of more than so many frame intervals is a stall.
    pub stall_intervals: Sourced,
    /// A larger jump of the camera's numbers is a new count, not loss.
    pub most_lost: Sourced,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_a_number_and_names_its_source() {
        let table: toml::Table = toml::from_str(SHIPPED).expect("valid");
        let groups: Vec<_> =
            table.iter().filter_map(|(name, group)| Some((name, group.as_table()?))).collect();
        let counts: Vec<_> = groups.iter().map(|(name, group)| (name.as_str(), group.len())).collect();
        let expected = [
            ("bandwidth", 4),
            ("clipping", 3),
            ("dropouts", 6),
            ("frames", 2),
            ("hum", 2),
            ("picture", 11),
            ("sound", 13),
            ("sweep", 4),
        ];
        assert_eq!(counts, expected);
        for (group, limits) in groups {
            for (name, limit) in limits {
                assert!(limit["value"].as_float().is_some_and(f64::is_finite), "{group}.{name}");
                assert!(limit["source"].as_str().is_some_and(|source| source.len() > 20), "{group}.{name}");
            }
        }
        assert_eq!(limits().version, 1);
    }

    #[test]
    fn what_cannot_be_is_not_read() {
        let missing = SHIPPED.replace("least_peak_ratio", "leest_peak_ratio");
        for wrong in ["version = 1", "version = 1\n[sound]\ntoo_quiet_dbfs = -45.0", &missing] {
            assert!(toml::from_str::<Limits>(wrong).is_err(), "{wrong}");
        }
    }
}
