//! By what sounds are named: data with its sources, in `reports/profiles/signals-1.toml`.

use std::sync::OnceLock;

use serde::Deserialize;

const SHIPPED: &str = include_str!("../../../profiles/signals-1.toml");

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    sound: SoundLimits,
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

/// The limits that ship with this crate: version 1.
pub fn limits() -> &'static SoundLimits {
    static READ: OnceLock<SoundLimits> = OnceLock::new();
    READ.get_or_init(|| {
        let file: File = toml::from_str(SHIPPED).expect("the shipped limits are valid, a test reads them");
        debug_assert_eq!(file.version, 1, "another version is another meaning");
        file.sound
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_a_number_and_names_its_source() {
        let file: File = toml::from_str(SHIPPED).expect("valid");
        assert_eq!(file.version, 1);
        let table: toml::Table = toml::from_str(SHIPPED).expect("valid");
        let sound = table["sound"].as_table().expect("a table");
        assert_eq!(sound.len(), 13);
        for (name, limit) in sound {
            assert!(limit["value"].as_float().is_some_and(f64::is_finite), "{name}");
            assert!(limit["source"].as_str().is_some_and(|source| source.len() > 20), "{name}");
        }
        assert_eq!(limits(), &file.sound);
    }

    #[test]
    fn what_cannot_be_is_not_read() {
        for wrong in ["version = 1", "version = 1\n[sound]\ntoo_quiet_dbfs = -45.0", "version = \"x\""] {
            assert!(toml::from_str::<File>(wrong).is_err(), "{wrong}");
        }
    }
}
