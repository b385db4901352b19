//! The fake camera in real time, for who works on pictures in the terminal and has no camera. Development builds alone have it:
//! `cargo run -- devices camera --backend fake --preview`.

use greenroom_reports::units::Micros;

use crate::devices::camera::fake::{Fake, Scene};
use crate::devices::camera::{Asked, Camera, CameraSystem, Frame, Listed, Opened};
use crate::devices::{Clock, DeviceError};

/// The way to it.
pub(super) struct Live {
    fake: Fake,
    clock: Clock,
}

impl Live {
    /// A room with a person moving in it, its frames stamped on `clock`.
    pub(super) fn new(clock: Clock) -> Self {
        Self { fake: Fake::new(Scene::Normal), clock }
    }
}

impl CameraSystem for Live {
    fn list(&self) -> Result<Vec<Listed>, DeviceError> {
        self.fake.list()
    }

    fn open(&self, id: &str, asked: &Asked) -> Result<Box<dyn Camera>, DeviceError> {
        let camera = self.fake.open(id, asked)?;
        let behind = self.clock.now() - camera.now();
        Ok(Box::new(LiveCamera { camera, clock: self.clock, behind }))
    }
}

struct LiveCamera {
    camera: Box<dyn Camera>,
    clock: Clock,
    /// From the fake's time to the clock's.
    behind: Micros,
}

impl Camera for LiveCamera {
    fn opened(&self) -> Opened {
        self.camera.opened()
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn next(&mut self, wait: Micros) -> Result<Frame, DeviceError> {
        let frame = self.camera.next(wait)?;
        let at = frame.at + self.behind;
        #[expect(clippy::disallowed_methods, reason = "a picture comes when it is due")]
        std::thread::sleep((at - self.clock.now()).to_duration());
        Ok(Frame { at, captured: frame.captured.map(|captured| captured + self.behind), ..frame })
    }
}
