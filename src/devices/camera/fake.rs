//! Cameras that do not exist, with every fault that real ones have. Time is virtual: waiting costs nothing, and the same seed
//! gives the same frames.

use greenroom_reports::schema::Connection;
use greenroom_reports::units::Micros;

use super::pixels::encode_grey;
use super::{
    Asked, Camera, CameraSystem, Frame, Interval, Intervals, Listed, Mode, Offer, Opened, PixelFormat, Sizes,
};
use crate::devices::{DeviceError, Fault};

const WIDTH: u32 = 320;
const HEIGHT: u32 = 180;
const NAME: &str = "the camera Fake";

/// From capture to this program.
const DELIVERY: Micros = Micros::from_millis(4);

/// What the fake camera sees and does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scene {
    /// A room with a person moving in it, and the noise of a sensor.
    Normal,
    /// No light reaches the sensor, or its shutter is closed: every pixel the same.
    Black,
    /// A thumb or a lens cap: dark, nearly even, noisy.
    Covered,
    /// A room at night.
    Dark,
    /// Against a window: most of it white.
    Overexposed,
    /// The same picture again and again.
    Frozen,
    /// Out of focus.
    Blurred,
    /// Every `one_in`-th frame is counted and not delivered.
    Dropped {
        /// How often.
        one_in: u32,
    },
    /// JPEG frames, every `one_in`-th of them cut in the middle.
    DamagedJpeg {
        /// How often.
        one_in: u32,
    },
    /// Every `one_in`-th frame is marked as damaged by the driver.
    Flagged {
        /// How often.
        one_in: u32,
    },
    /// Every `one_in`-th frame is cut short.
    CutShort {
        /// How often.
        one_in: u32,
    },
    /// Opened at 30 frames per second, delivers fewer.
    Slow {
        /// Frames per second in truth.
        fps: u32,
    },
    /// Frames up to 15 ms early or late.
    Uneven,
    /// Nothing for a while, then on.
    Stalls {
        /// Before this frame.
        before: u32,
        /// For so long.
        pause: Micros,
    },
    /// Unplugged before this frame.
    Unplugged {
        /// The frame that does not come any more.
        before: u32,
    },
    /// Opens, and gives nothing at all.
    NeverDelivers,
}

/// A way to one fake camera.
#[derive(Debug, Clone)]
pub struct Fake {
    scene: Scene,
    refuses: Option<Fault>,
    seed: u64,
}

impl Fake {
    /// A camera that sees and does `scene`.
    pub fn new(scene: Scene) -> Self {
        Self { scene, refuses: None, seed: 1 }
    }

    /// A camera that is listed and cannot be opened.
    pub fn refusing(fault: Fault) -> Self {
        Self { refuses: Some(fault), ..Self::new(Scene::Normal) }
    }

    /// With other noise.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    fn pixels(&self) -> PixelFormat {
        if matches!(self.scene, Scene::DamagedJpeg { .. }) { PixelFormat::MJPG } else { PixelFormat::YUYV }
    }
}

impl CameraSystem for Fake {
    fn list(&self) -> Result<Vec<Listed>, DeviceError> {
        let offer = Offer {
            pixels: self.pixels(),
            sizes: Sizes::One { width: WIDTH, height: HEIGHT },
            intervals: Intervals::These(vec![Interval::per_second(30)]),
        };
        Ok(vec![Listed {
            id: "fake:0".to_owned(),
            name: "Fake".to_owned(),
            default: true,
            connection: Some(Connection::Virtual),
            aliases: Vec::new(),
            offers: Ok(vec![offer]),
        }])
    }

    fn open(&self, id: &str, _asked: &Asked) -> Result<Box<dyn Camera>, DeviceError> {
        if id != "fake:0" {
            return Err(DeviceError::new(Fault::NotFound, format!("the camera {id}")));
        }
        if let Some(fault) = &self.refuses {
            return Err(DeviceError::new(fault.clone(), NAME));
        }
        let mode = Mode {
            pixels: self.pixels(),
            width: WIDTH,
            height: HEIGHT,
            interval: Some(Interval::per_second(30)),
        };
        let stride = if mode.pixels.is_jpeg() { 0 } else { WIDTH * 2 };
        Ok(Box::new(Running {
            scene: self.scene,
            opened: Opened { mode, stride },
            now: Micros::new(0),
            next: 0,
            noise: Noise(self.seed.max(1)),
            frozen: None,
        }))
    }
}

struct Running {
    scene: Scene,
    opened: Opened,
    now: Micros,
    next: u32,
    noise: Noise,
    frozen: Option<Vec<u8>>,
}

impl Camera for Running {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn now(&self) -> Micros {
        self.now
    }

    fn next(&mut self, wait: Micros) -> Result<Frame, DeviceError> {
        let deadline = self.now + wait;
        self.skip_dropped();
        if matches!(self.scene, Scene::Unplugged { before } if before == self.next) {
            return Err(
                DeviceError::new(Fault::Disconnected, NAME).with_detail("No such device (os error 19)")
            );
        }
        let captured = self.due();
        let at = captured + DELIVERY;
        if self.scene == Scene::NeverDelivers || at > deadline {
            self.now = deadline;
            return Err(DeviceError::new(Fault::Stalled { after: wait }, NAME));
        }
        let number = self.next;
        self.next += 1;
        self.now = self.now.max(at);
        let flagged = matches!(self.scene, Scene::Flagged { one_in } if every(one_in, number));
        let bytes = Some(self.content(number));
        Ok(Frame { at: self.now, captured: Some(captured), sequence: Some(number), flagged, bytes })
    }
}

impl Running {
    fn skip_dropped(&mut self) {
        if matches!(self.scene, Scene::Dropped { one_in } if every(one_in, self.next)) {
            self.next += 1;
        }
    }

    /// When the next frame is captured. The first takes a fifth of a second, as cameras do.
    fn due(&mut self) -> Micros {
        let period = match self.scene {
            Scene::Slow { fps } => Micros::from_secs(1) / i64::from(fps.max(1)),
            _ => Micros::new(33_333),
        };
        let regular = Micros::from_millis(200) + period * i64::from(self.next);
        match self.scene {
            Scene::Stalls { before, pause } if self.next >= before => regular + pause,
            Scene::Uneven => regular + Micros::from_millis(15) * i64::from(self.noise.within(2)) / 2,
            _ => regular,
        }
    }

    fn content(&mut self, number: u32) -> Vec<u8> {
        let mut bytes = match (self.scene, &self.frozen) {
            (Scene::Frozen, Some(picture)) => picture.clone(),
            _ => self.picture(number),
        };
        if self.scene == Scene::Frozen {
            self.frozen = Some(bytes.clone());
        }
        match self.scene {
            Scene::DamagedJpeg { one_in } | Scene::CutShort { one_in } if every(one_in, number) => {
                bytes.truncate(bytes.len() / 2);
            }
            _ => {}
        }
        bytes
    }

    fn picture(&mut self, number: u32) -> Vec<u8> {
        let mut luma = Vec::with_capacity((WIDTH * HEIGHT) as usize);
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let (level, noise) = light(self.scene, x, y, number);
                luma.push(clamp(level + self.noise.within(noise)));
            }
        }
        if !self.opened.mode.pixels.is_jpeg() {
            return yuyv(&luma);
        }
        encode_grey(WIDTH, HEIGHT, &luma).expect("a small picture of its own size can be encoded")
    }
}

/// How bright a pixel is in a scene, and how much noise there is: limited range, as webcams send it.
fn light(scene: Scene, x: u32, y: u32, number: u32) -> (i32, i32) {
    let room = room(x, y, number);
    match scene {
        Scene::Black => (16, 0),
        Scene::Covered => (24 + i32::try_from(x).unwrap_or(0) / 64, 2),
        Scene::Dark => (16 + (room - 16) / 8, 2),
        Scene::Overexposed => (room * 4, 2),
        Scene::Blurred => (smooth(x, y, number), 1),
        _ => (room, 2),
    }
}

/// A wall with a window, a bookshelf with hard edges, and a disk that moves.
fn room(x: u32, y: u32, number: u32) -> i32 {
    let shelf = if x < 100 && (x / 6 + y / 10).is_multiple_of(2) { 70 } else { 120 };
    let window = if (220..300).contains(&x) && (20..80).contains(&y) { 90 } else { 0 };
    if inside_disk(x, y, number) { 160 } else { shelf + window - i32::try_from(y).unwrap_or(0) / 4 }
}

/// The same light without an edge anywhere.
fn smooth(x: u32, y: u32, number: u32) -> i32 {
    let (x, y) = (f64::from(x) / f64::from(WIDTH), f64::from(y) / f64::from(HEIGHT));
    let moving = (f64::from(number) / 15.0).sin() * 10.0;
    #[expect(clippy::cast_possible_truncation, reason = "between 50 and 180")]
    let level = (110.0 + 40.0 * (x * std::f64::consts::PI).sin() - 30.0 * y + moving) as i32;
    level
}

fn inside_disk(x: u32, y: u32, number: u32) -> bool {
    let center = 110 + (number * 2) % 100;
    let (dx, dy) = (x.abs_diff(center), y.abs_diff(100));
    dx * dx + dy * dy < 40 * 40
}

/// Whether a number is among every `one_in`-th: the last of each group, so that the first frame always comes.
fn every(one_in: u32, number: u32) -> bool {
    one_in > 0 && number % one_in == one_in - 1
}

fn clamp(value: i32) -> u8 {
    u8::try_from(value.clamp(0, 255)).expect("clamped to a byte")
}

fn yuyv(luma: &[u8]) -> Vec<u8> {
    luma.iter().flat_map(|&y| [y, 128]).collect()
}

/// xorshift64* (Vigna 2016): the same seed, the same noise.
struct Noise(u64);

impl Noise {
    /// A whole number from −`bound` to `bound`.
    fn within(&mut self, bound: i32) -> i32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        let choices = i64::from(bound) * 2 + 1;
        let number = i64::try_from(drawn).unwrap_or(0) % choices - i64::from(bound);
        i32::try_from(number).expect("no farther from 0 than the bound")
    }
}
