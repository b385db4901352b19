//! Histograms that merge exactly: `hdr:us:1:60000000:2`.
//!
//! Percentiles in a report are exact; these serve merging across reports. Averaging percentiles would be wrong.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

use super::percentile::Quantile;
use crate::units::Micros;

/// Value, unit, range and significant digits of every sketch.
pub const LAYOUT: &str = "hdr:us:1:60000000:2";

const LOW: u64 = 1;
const HIGH: u64 = 60_000_000;
const DIGITS: u8 = 2;

/// First bytes of an HdrHistogram V2 encoding, uncompressed.
const COOKIE: u32 = 0x1c84_9313;

/// Length of its header.
const HEADER: usize = 40;

/// Counters of this layout are fewer than 2^13, each at most nine bytes long.
const MAX_BYTES: usize = HEADER + 9 * (1 << 13);

/// Samples that a sketch may hold: a million agents at 50 packets/s for half a year.
const MOST: u64 = 1 << 50;

/// Why text is not a sketch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SketchError {
    /// The text is not base64.
    #[error("the histogram is damaged: not base64 ({0})")]
    Base64(String),
    /// It is another kind of histogram, or has another range or precision.
    #[error("the histogram is refused: its {0} is not that of {LAYOUT}")]
    Layout(&'static str),
    /// Its counters are damaged.
    #[error("the histogram is damaged: {0}")]
    Damaged(String),
}

/// A mergeable distribution of durations from 0 to 60 s, each known to 1 %.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch(Histogram<u64>);

impl Default for Sketch {
    fn default() -> Self {
        Self::new()
    }
}

impl Sketch {
    /// Starts with nothing in it.
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(LOW, HIGH, DIGITS).expect("the layout is a valid one"))
    }

    /// Adds a duration; one beyond 60 s counts as 60 s. False, and nothing is added, for a negative one.
    pub fn record(&mut self, value: Micros) -> bool {
        u64::try_from(value.get()).is_ok_and(|value| {
            self.0.saturating_record(value);
            true
        })
    }

    /// Adds all of another: exact, in any order.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("two sketches have one layout");
    }

    /// Takes all of another out again. False, and nothing is taken out, where not all of it is in this one.
    pub fn subtract(&mut self, other: &Self) -> bool {
        let mut rest = self.0.clone();
        let taken = rest.subtract(&other.0).is_ok();
        if taken {
            self.0 = rest;
        }
        taken
    }

    /// How many durations are in it.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value at a quantile, to 1 % (the upper end of its bucket). `None` when nothing is in it.
    pub fn at(&self, quantile: Quantile) -> Option<Micros> {
        if self.is_empty() {
            return None;
        }
        i64::try_from(self.0.value_at_quantile(quantile.share())).ok().map(Micros::new)
    }

    /// How many durations are at most this long, to 1 %: of those that share a bucket with it, all are counted.
    pub fn count_up_to(&self, most: Micros) -> u64 {
        u64::try_from(most.get()).map_or(0, |most| self.0.count_between(0, most))
    }

    /// Writes HdrHistogram V2, uncompressed, in base64.
    pub fn encode(&self) -> String {
        STANDARD.encode(self.to_bytes())
    }

    /// Writes HdrHistogram V2, uncompressed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.0, &mut bytes).expect("writing to a Vec cannot fail");
        bytes
    }

    /// Reads what anybody may have written.
    ///
    /// # Errors
    /// When it is not base64, not of this layout (looked at before anything is allocated for it), or damaged.
    pub fn decode(text: &str) -> Result<Self, SketchError> {
        if text.len() > MAX_BYTES.div_ceil(3) * 4 {
            return Err(SketchError::Layout("length"));
        }
        let bytes = STANDARD.decode(text).map_err(|error| SketchError::Base64(error.to_string()))?;
        Self::from_bytes(&bytes)
    }

    /// Reads what [`Self::to_bytes`] or anybody else wrote.
    ///
    /// # Errors
    /// When it is not of this layout (looked at before anything is allocated for it), or damaged.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, SketchError> {
        if bytes.len() > MAX_BYTES {
            return Err(SketchError::Layout("length"));
        }
        check_counters(check_header(bytes)?)?;
        let read = Deserializer::new().deserialize::<u64, _>(&mut bytes);
        let histogram = read.map_err(|error| SketchError::Damaged(error.to_string()))?;
        Ok(Self(histogram))
    }
}

impl FromIterator<Micros> for Sketch {
    fn from_iter<I: IntoIterator<Item = Micros>>(values: I) -> Self {
        let mut sketch = Self::new();
        for value in values {
            sketch.record(value);
        }
        sketch
    }
}

/// Refuses every header but the one that this layout has: cookie, payload length, normalizing offset, significant digits,
/// least and greatest value, conversion ratio, all big-endian.
///
/// Hands out what follows: the counters.
fn check_header(bytes: &[u8]) -> Result<&[u8], SketchError> {
    let (header, payload) = bytes.split_at_checked(HEADER).ok_or(SketchError::Layout("length"))?;
    let length = u32::try_from(payload.len()).map_err(|_| SketchError::Layout("length"))?;
    let fields: [(&'static str, &[u8]); 7] = [
        ("kind", &COOKIE.to_be_bytes()),
        ("length", &length.to_be_bytes()),
        ("offset", &0_u32.to_be_bytes()),
        ("precision", &u32::from(DIGITS).to_be_bytes()),
        ("least value", &LOW.to_be_bytes()),
        ("greatest value", &HIGH.to_be_bytes()),
        ("ratio", &1.0_f64.to_be_bytes()),
    ];
    let mut rest = header;
    for (name, expected) in fields {
        rest = rest.strip_prefix(expected).ok_or(SketchError::Layout(name))?;
    }
    Ok(payload)
}

/// Refuses counters that together are more than any fleet sends: the library adds them up without looking.
///
/// Each is an integer in up to nine bytes, seven bits a byte and eight in the ninth, least significant first, zigzag coded;
/// a negative one stands for so many empty counters.
fn check_counters(payload: &[u8]) -> Result<(), SketchError> {
    let (mut value, mut bytes, mut sum) = (0_u64, 0_u32, 0_u64);
    for byte in payload {
        let last = bytes == 8 || byte & 0x80 == 0;
        let bits = if bytes == 8 { *byte } else { byte & 0x7f };
        value |= u64::from(bits) << (7 * bytes);
        bytes += 1;
        if last {
            if value & 1 == 0 {
                sum = sum.saturating_add(value >> 1);
            }
            (value, bytes) = (0, 0);
        }
    }
    if sum > MOST { Err(SketchError::Layout("number of samples")) } else { Ok(()) }
}
