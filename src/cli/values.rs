//! Values as people write them: uses, sizes, durations, rates, streams.

use std::collections::BTreeSet;

use greenroom_reports::schema::{DeviceKind, UnknownUse, Use};
use greenroom_reports::trace::{Direction, Media};
use greenroom_reports::units::{Bitrate, DataSize, Micros};

use crate::plan;

/// One item of `--traffic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrafficItem {
    /// The audio stream, which is always there.
    Audio,
    /// A one-way stream.
    Media {
        /// Of what.
        media: Media,
        /// How much of it, at the IP layer.
        rate: Bitrate,
    },
}

/// Which ways the media of `measure` go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Ways {
    /// From this computer to the endpoint
    Up,
    /// From the endpoint to this computer
    Down,
    /// Both at once
    #[default]
    Both,
}

impl Ways {
    /// The directions themselves.
    pub fn directions(self) -> &'static [Direction] {
        match self {
            Self::Up => &[Direction::Up],
            Self::Down => &[Direction::Down],
            Self::Both => &Direction::BOTH,
        }
    }
}

/// Reads a use: `audio`, `360p`, `720p`, `1080p`, `screen`.
///
/// # Errors
///
/// The text names the uses there are.
pub fn use_(text: &str) -> Result<Use, String> {
    text.trim().to_ascii_lowercase().parse().map_err(|error: UnknownUse| error.to_string())
}

/// Reads uses, separated by commas.
///
/// # Errors
///
/// The text names the uses there are.
pub fn uses(items: &[String]) -> Result<BTreeSet<Use>, String> {
    items.iter().map(|item| use_(item)).collect()
}

/// Reads the kinds of devices: `mic`, `speaker`, `camera`; `none` is none of them.
///
/// # Errors
///
/// The text names the kinds there are.
pub fn devices(items: &[String]) -> Result<BTreeSet<DeviceKind>, String> {
    if items.iter().any(|item| item.trim() == "none") {
        return match items.len() {
            1 => Ok(BTreeSet::new()),
            _ => Err("none stands alone".to_owned()),
        };
    }
    items
        .iter()
        .map(|item| match item.trim().to_ascii_lowercase().as_str() {
            "mic" | "microphone" => Ok(DeviceKind::Microphone),
            "speaker" => Ok(DeviceKind::Speaker),
            "camera" => Ok(DeviceKind::Camera),
            other => Err(format!("`{other}`: choose from mic, speaker, camera, none")),
        })
        .collect()
}

/// Reads an item of `--traffic`: a use, or `video@RATE`.
///
/// # Errors
///
/// The text names what there is.
pub fn traffic_item(text: &str) -> Result<TrafficItem, String> {
    if let Some((name, rate)) = text.split_once('@') {
        let media = match name {
            "video" => Media::Video,
            "screen" => Media::Screen,
            _ => return Err("only video and screen take a rate: video@2Mbit".to_owned()),
        };
        return Ok(TrafficItem::Media { media, rate: bitrate(rate)? });
    }
    match use_(text) {
        Ok(Use::Audio) => Ok(TrafficItem::Audio),
        Ok(Use::Screen) => Ok(TrafficItem::Media { media: Media::Screen, rate: plan::rung(Use::Screen) }),
        Ok(video) => Ok(TrafficItem::Media { media: Media::Video, rate: plan::rung(video) }),
        Err(_) => Err("choose from audio, 360p, 720p, 1080p, screen, video@RATE, screen@RATE".to_owned()),
    }
}

/// Reads a size: `10MB`, `1.5 MiB`, `500 kB`, or bytes.
///
/// # Errors
///
/// The text says how to write one.
pub fn size(text: &str) -> Result<DataSize, String> {
    let units = [("", 1), ("B", 1), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];
    let binary = [("KIB", 1 << 10), ("MIB", 1 << 20), ("GIB", 1 << 30)];
    let units: Vec<_> = units.into_iter().chain(binary).collect();
    scaled(text, &units)
        .map(DataSize::from_bytes)
        .ok_or_else(|| "write a size as 10MB, 500kB or a number of bytes".to_owned())
}

/// Reads a rate: `2Mbit`, `600 kbit/s`, `1.5M`, or bits per second.
///
/// # Errors
///
/// The text says how to write one.
pub fn bitrate(text: &str) -> Result<Bitrate, String> {
    let text = text.trim().trim_end_matches("/s").trim_end_matches("ps");
    let units = [
        ("", 1),
        ("BIT", 1),
        ("K", 1_000),
        ("KBIT", 1_000),
        ("KB", 1_000),
        ("M", 1_000_000),
        ("MBIT", 1_000_000),
        ("MB", 1_000_000),
        ("G", 1_000_000_000),
        ("GBIT", 1_000_000_000),
        ("GB", 1_000_000_000),
    ];
    // "Mbps" is bits; without the "ps" a B would be a byte.
    if text.ends_with('B') {
        return Err("write a rate in bits per second: 2Mbit or 600kbit".to_owned());
    }
    scaled(text, &units)
        .map(Bitrate::from_bps)
        .ok_or_else(|| "write a rate as 2Mbit, 600kbit or a number of bits per second".to_owned())
}

/// Reads a duration: `10s`, `500ms`, `2m`, or seconds.
///
/// # Errors
///
/// The text says how to write one.
pub fn duration(text: &str) -> Result<Micros, String> {
    let units = [("", 1_000_000), ("S", 1_000_000), ("MS", 1_000), ("M", 60_000_000), ("MIN", 60_000_000)];
    scaled(text, &units)
        .and_then(|micros| i64::try_from(micros).ok())
        .map(Micros::new)
        .ok_or_else(|| "write a duration as 10s, 500ms or 2m".to_owned())
}

/// A decimal number times its unit, exactly; units are compared in capitals.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_uppercase();
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction_value: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let places = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_mul(factor)?.checked_add(fraction_value.checked_mul(factor)? / places)
}

/// Reads `NAME=VALUE`, as `ticket=T-1`.
///
/// # Errors
///
/// When it is none, or holds what no report may.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, as ticket=T-1")?;
    label_of(name.trim(), value.trim())
}

/// A label, if a report may have it.
///
/// # Errors
///
/// When it may not.
pub(super) fn label_of(name: &str, value: &str) -> Result<(String, String), String> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(known) {
        return Err(format!("`{}` is no name for a label: a to z, 0 to 9 and _", name.escape_debug()));
    }
    if value.is_empty() || value.chars().count() > 256 || value.chars().any(char::is_control) {
        return Err(format!("{name}: a label has 1 to 256 characters, none of them control characters"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10MB", 10_000_000),
            ("1.5 MiB", 1_572_864),
            ("500kB", 500_000),
            ("42", 42),
            ("0.5GB", 500_000_000),
        ] {
            assert_eq!(size(text), Ok(DataSize::from_bytes(bytes)), "{text}");
        }
        for text in ["", "MB", "-1", "1e3", "10 parsec", ".5MB", "1.2.3MB", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, bps) in [
            ("2Mbit", 2_000_000),
            ("1.5M", 1_500_000),
            ("600 kbit/s", 600_000),
            ("2Mbps", 2_000_000),
            ("64000", 64_000),
        ] {
            assert_eq!(bitrate(text), Ok(Bitrate::from_bps(bps)), "{text}");
        }
        for text in ["2MB", "2MB/s", "fast", ""] {
            assert!(bitrate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("3", 3_000), ("1.5s", 1_500)] {
            assert_eq!(duration(text), Ok(Micros::from_millis(ms)), "{text}");
        }
        assert!(duration("soon").is_err());
    }

    #[test]
    fn uses_and_traffic() {
        assert_eq!(use_("720P"), Ok(Use::Video720p));
        assert!(use_("4k").is_err());
        assert_eq!(traffic_item("audio"), Ok(TrafficItem::Audio));
        let item = TrafficItem::Media { media: Media::Video, rate: Bitrate::from_kbps(2_000) };
        assert_eq!(traffic_item("video@2Mbit"), Ok(item));
        assert!(traffic_item("audio@1M").is_err());
    }
}
