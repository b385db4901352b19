//! From a camera in the list to its part of the report.

use std::ops::ControlFlow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use greenroom_reports::schema::{self, CameraFormat, CameraStream, DeviceFailure, DeviceInfo, Still, Value};
use greenroom_reports::units::Micros;

use super::mode::{Interval, Intervals, Mode, Sizes};
use super::pixels::{self, Rgb};
use super::run::{self, Plan};
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
    /// To be watched while it runs: when looking is slower than the camera, frames are counted only, so that what is seen is
    /// what is there now.
    pub live: bool,
}

/// A tested camera.
#[derive(Debug, Clone)]
pub struct Tested {
    /// Its part of the report, without a still: that takes the person's consent ([`still`]).
    pub camera: schema::Camera,
    /// The last whole picture.
    pub last: Option<Rgb>,
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
    let began = settings.clock.now();
    let ahead = if settings.live { 0 } else { guard::AHEAD };
    let opened = listed.offers.clone().and_then(|offers| {
        let called = format!("the camera {}", listed.name);
        let camera = guard::open(system, &listed.id, &called, settings.asked, settings.clock, ahead)?;
        Ok((offers, camera))
    });
    let (offers, mut camera) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let camera = schema::Camera::failed(info(listed), error.failure());
            return Tested { camera, last: None };
        }
    };
    let run = run::run(&mut camera, &settings.plan, began, look);
    let last = run.last.as_ref().and_then(|bytes| pixels::rgb(&run.opened, bytes).ok());
    let camera = schema::Camera {
        device: info(listed),
        state: Value::Measured(CameraStream {
            backend: settings.backend.to_owned(),
            asked: asked_format(&settings.asked, &run.opened.mode),
            given: format(&run.opened.mode),
            ran_ms: run.took.as_ms(),
        }),
        failure: run.ended.as_ref().map(|error| failure(error, run.took)),
        formats: Value::exact(formats(&offers)),
        frames: run.frames,
        picture: run.picture,
        still: None,
    };
    Tested { camera, last }
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
    let failure = listed.offers.as_ref().err().map(DeviceError::failure);
    schema::Camera { formats, failure, ..schema::Camera::not_tested(info(listed), reason) }
}

/// Why it ended, and when.
fn failure(error: &DeviceError, after: Micros) -> DeviceFailure {
    match error.failure() {
        DeviceFailure::Disconnected { .. } => {
            DeviceFailure::Disconnected { after_ms: u64::try_from(after.get() / 1000).ok() }
        }
        other => other,
    }
}

fn info(listed: &Listed) -> DeviceInfo {
    let connection = match listed.connection {
        Some(connection) => Value::exact(connection),
        None => Value::not_tested("the system does not tell"),
    };
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
pub fn formats(offers: &[Offer]) -> Vec<CameraFormat> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Fault;
    use crate::devices::camera::fake::{Fake, Scene};

    fn tested(fake: Fake) -> Tested {
        let listed = fake.list().expect("a fake is listed").remove(0);
        let settings = Settings {
            backend: "fake",
            asked: Asked::default(),
            plan: Plan::default(),
            clock: Clock::start(),
            live: false,
        };
        test(Arc::new(fake), &listed, &settings, &mut |_, _| ControlFlow::Continue(()))
    }

    #[test]
    fn what_was_asked_and_given_stand_side_by_side() {
        let Tested { camera, last } = tested(Fake::new(Scene::Normal));
        let stream = camera.state.measured().expect("it was opened");
        assert_eq!((stream.asked.width, stream.asked.fps), (1280, Some(30.0)));
        assert_eq!((stream.given.width, stream.given.fps), (320, Some(30.0)));
        assert_eq!(camera.frames.count.fact(), Some(&60));
        assert_eq!((camera.failure, camera.still), (None, None), "no picture without consent");
        let still = still(&last.expect("there were pictures")).expect("it can be encoded");
        let file = STANDARD.decode(still.data).expect("base64");
        assert!(file.starts_with(&[0xFF, 0xD8]) && file.ends_with(&[0xFF, 0xD9]));
    }

    #[test]
    fn a_camera_that_cannot_be_opened_says_why_and_has_no_figures() {
        let Tested { camera, last } = tested(Fake::refusing(Fault::Busy { by: None }));
        assert_eq!(camera.failure, Some(DeviceFailure::Busy { by: None }));
        assert!(camera.state.measured().is_none() && camera.frames.count.measured().is_none());
        assert_eq!(last, None);
    }

    #[test]
    fn a_camera_unplugged_between_being_listed_and_opened_is_not_found() {
        let fake = Fake::new(Scene::Normal);
        let mut listed = fake.list().expect("a fake is listed").remove(0);
        listed.id = "fake:unplugged".to_owned();
        let settings = Settings {
            backend: "fake",
            asked: Asked::default(),
            plan: Plan::default(),
            clock: Clock::start(),
            live: false,
        };
        let tested = test(Arc::new(fake), &listed, &settings, &mut |_, _| panic!("there is no frame"));
        assert!(matches!(tested.camera.failure, Some(DeviceFailure::NotFound { .. })), "{:?}", tested.camera);
    }

    #[test]
    fn a_camera_that_goes_away_keeps_what_was_seen() {
        let Tested { camera, .. } = tested(Fake::new(Scene::Unplugged { before: 30 }));
        assert!(matches!(camera.failure, Some(DeviceFailure::Disconnected { after_ms: Some(_) })));
        assert_eq!(camera.frames.count.fact(), Some(&30));
    }
}
