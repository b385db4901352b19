//! One test of a camera: frames for a while, every one counted and looked at.

use std::ops::ControlFlow;

use greenroom_reports::units::Micros;

use super::pace::Pace;
use super::{Camera, Frame, Opened};
use crate::devices::{DeviceError, Fault};

/// How long to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// So many frames are enough.
    pub frames: u64,
    /// So long after the first frame it ends, with fewer frames too.
    pub longest: Micros,
    /// How long the first frame may take. Cameras take up to three seconds to start.
    pub first: Micros,
    /// How long any later one may take.
    pub stall: Micros,
}

impl Default for Plan {
    /// Sixty frames, which is two seconds of a camera that does what calls ask for.
    fn default() -> Self {
        Self {
            frames: 60,
            longest: Micros::from_secs(4),
            first: Micros::from_millis(4500),
            stall: Micros::from_secs(2),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Run {
    /// How the camera was opened.
    pub opened: Opened,
    /// The frames' times and numbers.
    pub pace: Pace,
    /// From the start of the run to the first frame here. `None`: there was none.
    pub first_frame: Option<Micros>,
    /// How long it ran.
    pub took: Micros,
    /// Why it ended before its time.
    pub ended: Option<DeviceError>,
}

/// Watches a camera that was just opened. `look` sees every frame in order and may say that it is enough.
pub fn run(
    camera: &mut dyn Camera,
    plan: &Plan,
    look: &mut dyn FnMut(&Opened, &Frame) -> ControlFlow<()>,
) -> Run {
    let (opened, began) = (camera.opened(), camera.now());
    let mut pace = Pace::default();
    let ended = loop {
        let now = camera.now();
        let (wait, last) = patience(plan, &pace, began, now);
        if pace.frames() >= plan.frames || wait <= Micros::new(0) {
            break None;
        }
        match camera.next(wait) {
            Ok(frame) => {
                pace.add(&frame);
                if look(&opened, &frame).is_break() {
                    break None;
                }
            }
            // Time was up, and the camera was not given as long as it may take.
            Err(error) if last && matches!(error.fault, Fault::Stalled { .. }) => break None,
            Err(error) => break Some(error),
        }
    };
    let first_frame = pace.first().map(|first| first - began);
    Run { opened, first_frame, pace, took: camera.now() - began, ended }
}

/// How long to wait for the next frame, and whether that is less than a frame may take because the run ends.
fn patience(plan: &Plan, pace: &Pace, began: Micros, now: Micros) -> (Micros, bool) {
    match pace.first() {
        None => (began + plan.first - now, false),
        Some(first) => {
            let left = first + plan.longest - now;
            (left.min(plan.stall), left < plan.stall)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::camera::fake::{Fake, Scene};
    use crate::devices::camera::{Asked, CameraSystem};

    fn watch(scene: Scene) -> (Run, u64) {
        let mut camera = Fake::new(scene).open("fake:0", &Asked::default()).expect("a fake opens");
        let mut looked = 0;
        let run = run(camera.as_mut(), &Plan::default(), &mut |_, _| {
            looked += 1;
            ControlFlow::Continue(())
        });
        (run, looked)
    }

    #[test]
    fn a_good_camera_gives_sixty_frames_in_two_seconds() {
        let (run, looked) = watch(Scene::Normal);
        assert_eq!((run.pace.frames(), looked, run.pace.lost(), run.pace.flagged()), (60, 60, Some(0), 0));
        let fps = run.pace.fps().expect("sixty frames have a rate");
        assert!((fps - 30.0).abs() < 0.001, "{fps}");
        assert_eq!(run.first_frame, Some(Micros::from_millis(204)));
        assert_eq!(run.pace.delays().max(), Some(Micros::from_millis(4)));
        assert_eq!(run.ended, None);
    }

    #[test]
    fn frames_that_the_driver_counted_and_kept_are_lost() {
        let (run, _) = watch(Scene::Dropped { one_in: 5 });
        // Numbers 4, 9, 14, … are missing: 60 frames reach number 74, of which 14 did not come.
        assert_eq!((run.pace.frames(), run.pace.lost()), (60, Some(14)));
    }

    #[test]
    fn marked_frames_are_counted() {
        assert_eq!(watch(Scene::Flagged { one_in: 20 }).0.pace.flagged(), 3);
    }

    #[test]
    fn a_slow_camera_is_measured_and_ends_in_time() {
        let (run, _) = watch(Scene::Slow { fps: 5 });
        // At 0, 0.2, … 4.0 s after the first frame.
        assert_eq!((run.pace.frames(), run.ended), (21, None));
        assert!((run.pace.fps().expect("a rate") - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_short_pause_is_an_interval_and_a_long_one_a_stall() {
        let (run, _) = watch(Scene::Stalls { before: 20, pause: Micros::from_millis(700) });
        assert_eq!((run.pace.frames(), run.ended), (60, None));
        assert!(run.pace.intervals().max() > Some(Micros::from_millis(730)));
        let (run, _) = watch(Scene::Stalls { before: 20, pause: Micros::from_secs(60) });
        assert_eq!(run.pace.frames(), 20);
        assert_eq!(run.ended.map(|error| error.fault), Some(Fault::Stalled { after: Micros::from_secs(2) }));
    }

    #[test]
    fn a_camera_that_never_delivers_is_given_up_within_five_seconds() {
        let mut camera =
            Fake::new(Scene::NeverDelivers).open("fake:0", &Asked::default()).expect("a fake opens");
        let run = run(camera.as_mut(), &Plan::default(), &mut |_, _| panic!("there is no frame"));
        assert_eq!(run.ended.map(|error| error.code()), Some("stalled"));
        assert_eq!(run.first_frame, None);
        assert!(camera.now() <= Micros::from_secs(5));
    }

    #[test]
    fn unplugging_ends_the_run_and_keeps_what_came() {
        let (run, _) = watch(Scene::Unplugged { before: 25 });
        assert_eq!(run.pace.frames(), 25);
        let error = run.ended.expect("it went away");
        assert_eq!(error.fault, Fault::Disconnected);
        assert!(error.detail.contains("19"), "{error}");
    }

    #[test]
    fn whoever_looks_can_end_it() {
        let mut camera = Fake::new(Scene::Normal).open("fake:0", &Asked::default()).expect("a fake opens");
        let mut left = 7;
        let run = run(camera.as_mut(), &Plan::default(), &mut |_, _| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((run.pace.frames(), run.ended), (7, None));
    }

    #[test]
    fn uneven_frames_spread() {
        let (even, _) = watch(Scene::Normal);
        let (uneven, _) = watch(Scene::Uneven);
        assert!(even.pace.spread_ms() < Some(0.01), "{:?}", even.pace.spread_ms());
        // ±15 ms in five equal steps has a deviation of 10.6 ms; of the difference of two, 15.
        let spread = uneven.pace.spread_ms().expect("many intervals");
        assert!((10.0..20.0).contains(&spread), "{spread}");
    }
}
