//! From a camera in the list to its part of the report.

use std::ops::ControlFlow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use greenroom_reports::schema::{self, CameraFormat, CameraStream, DeviceInfo, PictureFigures, Still, Value};

use super::frames;
pub use super::frames::failure;
use super::mode::{Interval, Intervals, Mode, Sizes};
use super::pixels::{self, Damage, Rgb};
use super::run::{self, Plan, Run};
use super::{Asked, CameraSystem, Frame, Listed, Offer, Opened, guard};
use crate::devices::{Clock, DeviceError};

/// How to test a camera.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The system's name in reports: `v4l2`, `nokhwa`.
    pub backend: &'static str,
    /// What to open it at.
    pub asked: Asked,
    /// How long to watch.
    pub plan: Plan,
    /// The clock that the system stamps frames with.
    pub clock: Clock,
}

/// A tested camera.
#[derive(Debug, Clone)]
pub struct Tested {
    /// Its part of the report, without a still: that takes the person's consent ([`still`]).
    pub camera: schema::Camera,
    /// The last whole picture.
    pub last: Option<Rgb>,
    /// Why it could not be tested, or not to the end.
    pub error: Option<DeviceError>,
}

/// Opens a camera, watches it and says what was seen. `look` sees every frame and may end the test early.
///
/// Never waits longer than opening ([`LONGEST_WAIT`](crate::devices::LONGEST_WAIT)) and the plan allow.
pub fn test(
    system: Arc<dyn CameraSystem>,
    listed: &Listed,
    settings: &Settings,
    look: &mut dyn FnMut(&Opened, &Frame) -> ControlFlow<()>,
) -> Tested {
    let info = info(listed);
    let opened = listed.offers.clone().and_then(|offers| {
        let called = format!("the camera {}", listed.name);
        Ok((offers, guard::open(system, &listed.id, &called, settings.asked, settings.clock)?))
    });
    let (offers, mut camera) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let camera = schema::Camera::failed(info, frames::failure(&error));
            return Tested { camera, last: None, error: Some(error) };
        }
    };
    let mut seen = Seen::default();
    let run = run::run(&mut camera, &settings.plan, &mut |opened, frame| {
        seen.look(opened, frame);
        look(opened, frame)
    });
    let Run { opened, ended, .. } = &run;
    let camera = schema::Camera {
        device: info,
        state: Value::Measured(CameraStream {
            backend: settings.backend.to_owned(),
            asked: asked_format(&settings.asked, &opened.mode),
            given: format(&opened.mode),
            ran_ms: run.took.as_ms(),
        }),
        failure: ended.as_ref().map(frames::failure),
        formats: Value::exact(formats(&offers)),
        frames: frames::figures(&run, seen.damaged),
        picture: seen.figures(),
        still: None,
    };
    let last = seen.last.and_then(|bytes| pixels::rgb(opened, &bytes).ok());
    Tested { camera, last, error: run.ended }
}

/// One picture for the report, once the person agreed to it. `None`: it cannot be encoded.
pub fn still(picture: &Rgb) -> Option<Still> {
    let data = STANDARD.encode(pixels::encode(picture)?);
    Some(Still { media_type: "image/jpeg".to_owned(), data })
}

/// A camera that was not tried, for `reason`.
pub fn not_tried(listed: &Listed, reason: &str) -> schema::Camera {
    let formats = match &listed.offers {
        Ok(offers) => Value::exact(formats(offers)),
        Err(error) => Value::failed(error.say()),
    };
    let failure = listed.offers.as_ref().err().map(frames::failure);
    schema::Camera { formats, failure, ..schema::Camera::not_tested(info(listed), reason) }
}

/// What was seen of the pictures.
#[derive(Default)]
struct Seen {
    damaged: u64,
    last: Option<Vec<u8>>,
}

impl Seen {
    fn look(&mut self, opened: &Opened, frame: &Frame) {
        let Some(bytes) = &frame.bytes else { return };
        match pixels::luma(opened, bytes) {
            _ if frame.flagged => self.damaged += 1,
            Ok(_luma) => self.last = Some(bytes.clone()),
            // Not this picture's fault.
            Err(Damage::Format(_)) => {}
            Err(damage) => {
                tracing::debug!(%damage, sequence = frame.sequence, "damaged frame");
                self.damaged += 1;
            }
        }
    }

    fn figures(&self) -> PictureFigures {
        PictureFigures::not_tested("pictures are not looked at yet")
    }
}

fn info(listed: &Listed) -> DeviceInfo {
    let connection =
        listed.connection.map_or_else(|| Value::not_tested("the system does not tell"), Value::exact);
    DeviceInfo {
        id: Some(listed.id.clone()),
        name: Some(listed.name.clone()),
        default: listed.default,
        connection,
    }
}

/// What was asked for. Without a format asked for, the one that was chosen.
fn asked_format(asked: &Asked, chosen: &Mode) -> CameraFormat {
    let fourcc = asked.pixels.unwrap_or(chosen.pixels).to_string();
    CameraFormat { fourcc, width: asked.width, height: asked.height, fps: Some(asked.fps) }
}

fn format(mode: &Mode) -> CameraFormat {
    CameraFormat {
        fourcc: mode.pixels.to_string(),
        width: mode.width,
        height: mode.height,
        fps: mode.interval.map(Interval::fps),
    }
}

/// Each size that is offered, at its highest rate. Of a range of sizes, the largest.
fn formats(offers: &[Offer]) -> Vec<CameraFormat> {
    let highest = |offer: &Offer| {
        let (width, height) = match offer.sizes {
            Sizes::One { width, height } => (width, height),
            Sizes::Range { width, height } => (width.max, height.max),
        };
        let interval = match &offer.intervals {
            Intervals::Unknown => None,
            Intervals::These(all) => all.iter().copied().max_by(|a, b| a.fps().total_cmp(&b.fps())),
            Intervals::Range { shortest, .. } => Some(*shortest),
        };
        format(&Mode { pixels: offer.pixels, width, height, interval })
    };
    offers.iter().map(highest).collect()
}
