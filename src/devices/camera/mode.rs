//! What a camera offers, what is asked of it, and which of its modes comes nearest.

use std::fmt;
use std::str::FromStr;

use greenroom_reports::units::Micros;

/// A four-character code of how pixels lie in memory, as V4L2 writes it: `YUYV`, `MJPG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PixelFormat(pub [u8; 4]);

impl PixelFormat {
    /// Packed 4:2:2, luma first.
    pub const YUYV: Self = Self(*b"YUYV");
    /// Packed 4:2:2, chroma first.
    pub const UYVY: Self = Self(*b"UYVY");
    /// Planar luma, then interleaved chroma, 4:2:0.
    pub const NV12: Self = Self(*b"NV12");
    /// Three planes, 4:2:0.
    pub const YU12: Self = Self(*b"YU12");
    /// One JPEG picture per frame.
    pub const MJPG: Self = Self(*b"MJPG");
    /// JPEG pictures as some drivers name them.
    pub const JPEG: Self = Self(*b"JPEG");
    /// Luma only.
    pub const GREY: Self = Self(*b"GREY");
    /// Red, green, blue, 8 bits each.
    pub const RGB3: Self = Self(*b"RGB3");
    /// Blue, green, red, 8 bits each.
    pub const BGR3: Self = Self(*b"BGR3");

    /// What can be looked at, best first: what needs no decoding comes before JPEG, colour before grey.
    pub const READABLE: [Self; 9] = [
        Self::YUYV,
        Self::NV12,
        Self::UYVY,
        Self::YU12,
        Self::MJPG,
        Self::JPEG,
        Self::RGB3,
        Self::BGR3,
        Self::GREY,
    ];

    /// Whether each frame is a JPEG picture of its own length.
    pub fn is_jpeg(self) -> bool {
        self == Self::MJPG || self == Self::JPEG
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| {
            write!(f, "{}", if byte.is_ascii_graphic() { char::from(byte) } else { ' ' })
        })
    }
}

/// The time from one frame to the next as cameras state it: a fraction of a second, such as 1/30 or 1001/30000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interval {
    numerator: u32,
    denominator: u32,
}

impl Interval {
    /// A fraction of a second. `None` when it is zero or not a number: some drivers state 0/0 for "unknown".
    pub const fn new(numerator: u32, denominator: u32) -> Option<Self> {
        if numerator == 0 || denominator == 0 { None } else { Some(Self { numerator, denominator }) }
    }

    /// The interval of a whole number of frames per second; at least one.
    pub const fn per_second(frames: u32) -> Self {
        Self { numerator: 1, denominator: if frames == 0 { 1 } else { frames } }
    }

    /// Numerator and denominator as stated.
    pub const fn parts(self) -> (u32, u32) {
        (self.numerator, self.denominator)
    }

    /// Frames per second.
    pub fn fps(self) -> f64 {
        f64::from(self.denominator) / f64::from(self.numerator)
    }

    /// The interval, to the microsecond.
    pub fn duration(self) -> Micros {
        Micros::new(i64::from(self.numerator) * 1_000_000 / i64::from(self.denominator))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fps = self.fps();
        if (fps - fps.round()).abs() < 1e-9 { write!(f, "{fps:.0} fps") } else { write!(f, "{fps:.2} fps") }
    }
}

/// How a camera is opened: picture, size and rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// How the pixels lie in memory.
    pub pixels: PixelFormat,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Time between frames. `None`: the camera does not say.
    pub interval: Option<Interval>,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {}", self.width, self.height, self.pixels)?;
        self.interval.map_or(Ok(()), |interval| write!(f, " at {interval}"))
    }
}

/// One line of what a camera offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// How the pixels lie in memory.
    pub pixels: PixelFormat,
    /// The sizes.
    pub sizes: Sizes,
    /// The rates at these sizes.
    pub intervals: Intervals,
}

/// Picture sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// Exactly this one.
    One {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// Every size in a range, in steps, across and down independently.
    Range {
        /// Pixels across.
        width: Steps,
        /// Pixels down.
        height: Steps,
    },
}

/// `min`, `min + step`, … up to `max` inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Least.
    pub min: u32,
    /// Greatest.
    pub max: u32,
    /// Distance; 0 counts as 1.
    pub step: u32,
}

impl Steps {
    /// The value nearest to `wanted`; of two equally near the lesser.
    pub fn nearest(self, wanted: u32) -> u32 {
        let (min, max, step) = (self.min, self.max.max(self.min), self.step.max(1));
        let last = min + (max - min) / step * step;
        let below = min + (wanted.clamp(min, last) - min) / step * step;
        let above = (below + step).min(last);
        if wanted.abs_diff(above) < wanted.abs_diff(below) { above } else { below }
    }
}

impl Sizes {
    /// The size nearest to `width` by `height`.
    pub fn nearest(self, width: u32, height: u32) -> (u32, u32) {
        match self {
            Self::One { width, height } => (width, height),
            Self::Range { width: across, height: down } => (across.nearest(width), down.nearest(height)),
        }
    }
}

/// Frame intervals at a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intervals {
    /// The camera does not say.
    Unknown,
    /// Exactly these.
    These(Vec<Interval>),
    /// Everything between the two.
    Range {
        /// The highest rate.
        shortest: Interval,
        /// The lowest rate.
        longest: Interval,
    },
}

impl Intervals {
    /// The interval whose rate is nearest to `fps`.
    pub fn nearest(&self, fps: f64) -> Option<Interval> {
        match self {
            Self::Unknown => None,
            Self::These(all) => {
                all.iter().copied().min_by(|a, b| (a.fps() - fps).abs().total_cmp(&(b.fps() - fps).abs()))
            }
            Self::Range { shortest, .. } if fps >= shortest.fps() => Some(*shortest),
            Self::Range { longest, .. } if fps <= longest.fps() => Some(*longest),
            Self::Range { .. } => thousandths(fps),
        }
    }
}

/// A rate as a fraction with thousandths of a frame: 29.97 is 1000/29970.
fn thousandths(fps: f64) -> Option<Interval> {
    let scaled = (fps * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to 1..=1e9")]
    let denominator = (scaled.is_finite() && (1.0..=1e9).contains(&scaled)).then_some(scaled as u32)?;
    Interval::new(1000, denominator)
}

/// What to ask of a camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Frames per second.
    pub fps: f64,
    /// How the pixels are to lie in memory. `None`: whatever suits.
    pub pixels: Option<PixelFormat>,
}

impl Default for Asked {
    /// What calls ask for: 1280x720 at 30 frames per second.
    fn default() -> Self {
        Self { width: 1280, height: 720, fps: 30.0, pixels: None }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}@{}", self.width, self.height, self.fps)?;
        self.pixels.map_or(Ok(()), |pixels| write!(f, ":{pixels}"))
    }
}

impl FromStr for Asked {
    type Err = String;

    /// Reads `1280x720`, `1280x720@30`, `640x480@7.5:MJPG`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is not a camera mode such as 1280x720@30 or 640x480@15:MJPG");
        let (rest, pixels) = match text.split_once(':') {
            Some((rest, code)) => {
                (rest, Some(code.as_bytes().try_into().map(PixelFormat).map_err(|_| wrong())?))
            }
            None => (text, None),
        };
        let (size, fps) = match rest.split_once('@') {
            Some((size, fps)) => (size, fps.parse().map_err(|_| wrong())?),
            None => (rest, 30.0),
        };
        let (width, height) = size.split_once('x').ok_or_else(wrong)?;
        let asked = Self {
            width: width.parse().map_err(|_| wrong())?,
            height: height.parse().map_err(|_| wrong())?,
            fps,
            pixels,
        };
        let sensible = (1..=16_384).contains(&asked.width)
            && (1..=16_384).contains(&asked.height)
            && (0.01..=1000.0).contains(&asked.fps);
        if sensible { Ok(asked) } else { Err(wrong()) }
    }
}

/// The offered mode that comes nearest to what was asked, among those whose pictures can be read. `None`: nothing fits.
///
/// Like what browsers do for calls, a rate that moves comes before a size: 640x360 at 30 frames is a better call than
/// 1280x720 at 5. So modes slower than 4/5 of the rate asked for lose to modes that are not; then the nearest size wins,
/// then the nearest rate, then the format that needs no decoding.
pub fn choose(offers: &[Offer], asked: &Asked) -> Option<Mode> {
    offers
        .iter()
        .filter_map(|offer| {
            let preference = PixelFormat::READABLE.iter().position(|&readable| readable == offer.pixels)?;
            if asked.pixels.is_some_and(|pixels| pixels != offer.pixels) {
                return None;
            }
            let (width, height) = offer.sizes.nearest(asked.width, asked.height);
            let interval = offer.intervals.nearest(asked.fps);
            let mode = Mode { pixels: offer.pixels, width, height, interval };
            // An unknown rate is taken for the one asked for: the test measures it.
            let fps = interval.map_or(asked.fps, Interval::fps);
            let slow = fps < 0.8 * asked.fps;
            let distance = asked.width.abs_diff(width) + asked.height.abs_diff(height);
            Some((mode, slow, distance, (fps - asked.fps).abs(), preference))
        })
        .min_by(|a, b| (a.1, a.2).cmp(&(b.1, b.2)).then(a.3.total_cmp(&b.3)).then(a.4.cmp(&b.4)))
        .map(|(mode, ..)| mode)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer(pixels: PixelFormat, width: u32, height: u32, rates: &[(u32, u32)]) -> Offer {
        let intervals = rates
            .iter()
            .filter_map(|&(numerator, denominator)| Interval::new(numerator, denominator))
            .collect();
        Offer { pixels, sizes: Sizes::One { width, height }, intervals: Intervals::These(intervals) }
    }

    #[test]
    fn a_webcam_is_opened_as_calls_open_it() {
        // What a common USB 2 webcam lists: raw pictures are slow at 720p, JPEG is not.
        let offers = [
            offer(PixelFormat::YUYV, 640, 480, &[(1, 30), (1, 15)]),
            offer(PixelFormat::YUYV, 1280, 720, &[(1, 10), (1, 5)]),
            offer(PixelFormat::MJPG, 1280, 720, &[(1, 60), (1, 30)]),
            offer(PixelFormat::MJPG, 1920, 1080, &[(1, 30)]),
        ];
        let mode = choose(&offers, &Asked::default()).expect("something fits");
        assert_eq!(mode.to_string(), "1280x720 MJPG at 30 fps");
        let asked: Asked = "1280x720@30:YUYV".parse().expect("a mode");
        assert_eq!(choose(&offers, &asked).expect("something fits").to_string(), "640x480 YUYV at 30 fps");
        let asked: Asked = "640x480@7.5:YUYV".parse().expect("a mode");
        assert_eq!(choose(&offers, &asked).expect("something fits").to_string(), "640x480 YUYV at 15 fps");
    }

    #[test]
    fn fractional_rates_are_kept() {
        let offers = [offer(PixelFormat::YUYV, 640, 480, &[(2, 15), (2, 25), (1001, 30000)])];
        let at = |fps| {
            choose(&offers, &Asked { fps, ..Asked::default() })
                .and_then(|mode| mode.interval)
                .map(Interval::parts)
        };
        assert_eq!(at(7.5), Some((2, 15)));
        assert_eq!(at(12.0), Some((2, 25)));
        assert_eq!(at(30.0), Some((1001, 30000)));
        assert_eq!(
            Interval::new(1001, 30000).map(|interval| interval.to_string()).as_deref(),
            Some("29.97 fps")
        );
        assert_eq!(Interval::new(0, 0), None);
    }

    #[test]
    fn a_range_of_sizes_and_rates_is_met_exactly() {
        let sizes = Sizes::Range {
            width: Steps { min: 48, max: 4096, step: 8 },
            height: Steps { min: 32, max: 2160, step: 8 },
        };
        let intervals =
            Intervals::Range { shortest: Interval::per_second(60), longest: Interval::per_second(1) };
        let offers = [Offer { pixels: PixelFormat::NV12, sizes, intervals }];
        let mode = choose(&offers, &Asked::default()).expect("something fits");
        assert_eq!(mode.to_string(), "1280x720 NV12 at 30 fps");
        let fast = choose(&offers, &Asked { fps: 90.0, ..Asked::default() }).expect("something fits");
        assert_eq!(fast.interval, Some(Interval::per_second(60)));
    }

    #[test]
    fn what_cannot_be_read_is_not_opened() {
        assert_eq!(choose(&[offer(PixelFormat(*b"H264"), 1280, 720, &[(1, 30)])], &Asked::default()), None);
        assert_eq!(choose(&[], &Asked::default()), None);
    }

    #[test]
    fn modes_are_read_and_refused() {
        let asked: Asked = "640x360@12.5:MJPG".parse().expect("a mode");
        assert_eq!(asked, Asked { width: 640, height: 360, fps: 12.5, pixels: Some(PixelFormat::MJPG) });
        assert_eq!("320x180".parse::<Asked>().map(|asked| asked.fps), Ok(30.0));
        for wrong in [
            "",
            "x",
            "0x0",
            "640x360@",
            "640x360@0",
            "640x360@nan",
            "640x360@30:MJPEG",
            "99999x1",
            "640x-360",
        ] {
            assert!(wrong.parse::<Asked>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn the_nearest_step_is_the_nearest_of_all_steps(min in 0..200_u32, span in 0..400_u32, step in 1..40_u32, wanted in 0..800_u32) {
            let steps = Steps { min, max: min + span, step };
            let all: Vec<u32> = (min..=min + span).step_by(step as usize).collect();
            let least = all.iter().map(|value| wanted.abs_diff(*value)).min();
            let nearest = steps.nearest(wanted);
            prop_assert!(all.contains(&nearest), "{nearest} is no step of {steps:?}");
            prop_assert_eq!(Some(wanted.abs_diff(nearest)), least);
        }
    }
}
