//! The camera beside a check.

use std::ops::ControlFlow;
use std::sync::Arc;

use greenroom_reports::schema::{Camera, DeviceKind, Listed, Listing, Value};
use greenroom_reports::units::Micros;
use tokio_util::sync::CancellationToken;

use super::{Beside, QUICK};
use crate::devices::Clock;
use crate::devices::camera::run::Plan;
use crate::devices::camera::test::{Settings, not_tried, test as test_camera};
use crate::devices::camera::{self, Asked, CameraSystem};

/// Where cameras are found.
#[derive(Clone)]
pub struct Cameras {
    /// The way to them.
    pub system: Arc<dyn CameraSystem>,
    /// Its name in reports: `v4l2`, `nokhwa`.
    pub backend: &'static str,
    /// The clock that it stamps frames with.
    pub clock: Clock,
}

impl Cameras {
    /// This machine's.
    pub fn here() -> Self {
        let clock = Clock::start();
        let (system, backend) = camera::system(clock);
        Self { system, backend, clock }
    }
}

/// Tests the camera that programs get, or else the first one that works. Nothing of its pictures is kept.
pub(super) fn test(beside: &Beside, cameras: &Cameras, stop: &CancellationToken) -> (Listing, Vec<Camera>) {
    let inventory = match beside.cameras_there_are() {
        Some(Ok(inventory)) => inventory,
        Some(Err(error)) => return (Listing::failed(error.failure()), Vec::new()),
        None => return (Listing::not_tested("no camera was asked for"), Vec::new()),
    };
    let listed = &inventory.cameras;
    let left_out = inventory.left_out;
    let state = Value::Measured(Listed { backend: cameras.backend.to_owned(), left_out });
    let works = |camera: &&camera::Listed| camera.offers.is_ok();
    let chosen = listed
        .iter()
        .filter(works)
        .find(|camera| camera.default)
        .or_else(|| listed.iter().find(works))
        .or(listed.first());
    let plan = Plan { longest: Micros::from_secs(2), first: QUICK, ..Plan::default() };
    let settings = Settings {
        backend: cameras.backend,
        asked: Asked::default(),
        plan,
        clock: cameras.clock,
        live: false,
    };
    let until = cameras.clock.now() + QUICK;
    let tested = chosen.map(|chosen| {
        let system = Arc::clone(&cameras.system);
        let tested = test_camera(system, chosen, &settings, &mut |_, frame| {
            if frame.at >= until || stop.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        tested.camera
    });
    let others = listed.iter().filter(|camera| chosen.is_none_or(|chosen| chosen.id != camera.id));
    let others = others.map(|camera| not_tried(camera, &beside.why_not_tested(DeviceKind::Camera)));
    (Listing { state, failure: None }, tested.into_iter().chain(others).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use greenroom_reports::schema::{DeviceFailure, Devices, Seen};

    use super::*;
    use crate::devices::camera::fake::{Fake, Scene};

    fn tested(scene: Scene, kinds: &[DeviceKind]) -> Devices {
        let cameras = Cameras { system: Arc::new(Fake::new(scene)), backend: "fake", clock: Clock::start() };
        let kinds = BTreeSet::from_iter(kinds.iter().copied());
        let beside = Beside { cameras: Some(cameras), kinds, ..Beside::nothing() };
        beside.test(&CancellationToken::new())
    }

    #[test]
    fn a_check_looks_at_the_camera_in_time() {
        let devices = tested(Scene::Normal, &[DeviceKind::Camera]);
        let camera = &devices.cameras[0];
        assert_eq!(camera.failure, None);
        assert_eq!(camera.picture.seen.fact(), Some(&Seen::Picture), "{camera:?}");
        let ran = camera.state.measured().expect("it was opened").ran_ms;
        assert!(ran <= QUICK.as_ms(), "{ran} ms");
    }

    #[test]
    fn a_camera_that_never_delivers_is_told_in_time() {
        let devices = tested(Scene::NeverDelivers, &[DeviceKind::Camera]);
        let failure = devices.cameras[0].failure.as_ref();
        assert_eq!(failure.map(DeviceFailure::code), Some("stalled"));
    }

    #[test]
    fn a_camera_that_was_not_asked_for_stays_off() {
        let devices = tested(Scene::Normal, &[DeviceKind::Speaker]);
        assert!(devices.cameras.is_empty() && devices.pictures.state.measured().is_none());
    }
}
