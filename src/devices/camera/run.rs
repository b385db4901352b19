//! Frames of an open camera for a while, every one counted and looked at.

use std::ops::ControlFlow;

use greenroom_reports::schema::{FrameFigures, PictureFigures};
use greenroom_reports::signals::picture::{Range, Timeline, Watch};
use greenroom_reports::units::Micros;

use super::pixels::{self, Damage};
use super::{Camera, Frame, Interval, Opened};
use crate::devices::{DeviceError, Fault};

/// How long to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// So many frames are enough.
    pub frames: usize,
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
    /// When the frames came.
    pub frames: FrameFigures,
    /// What is on them.
    pub picture: PictureFigures,
    /// How long it ran.
    pub took: Micros,
    /// The last whole frame.
    pub last: Option<Vec<u8>>,
    /// Why it ended before its time.
    pub ended: Option<DeviceError>,
}

/// Watches a camera that was just opened, the opening begun at `began`. `look` sees every frame in order and may say that it
/// is enough.
pub fn run(
    camera: &mut dyn Camera,
    plan: &Plan,
    began: Micros,
    look: &mut dyn FnMut(&Opened, &Frame) -> ControlFlow<()>,
) -> Run {
    let opened = camera.opened();
    let mut seen = Seen::new(opened, began);
    let mut end = None;
    let ended = loop {
        if seen.timeline.frames() >= plan.frames {
            break None;
        }
        let (wait, ends) = patience(plan, end, began, camera.now());
        match camera.next(wait) {
            // Frames that came in time are looked at also when that takes longer than the run.
            Ok(frame) if end.is_some_and(|end| frame.at > end) => break None,
            Ok(frame) => {
                end.get_or_insert(frame.at + plan.longest);
                seen.take_in(&frame);
                if look(&opened, &frame).is_break() {
                    break None;
                }
            }
            // Time was up before the camera had been given as long as a frame may take.
            Err(error) if ends && matches!(error.fault, Fault::Stalled { .. }) => break None,
            Err(error) => break Some(error),
        }
    };
    let now = camera.now();
    // The wait for a frame that was not awaited to its end is no figure of the camera's.
    let until = if ended.is_some() { now } else { seen.timeline.last().unwrap_or(now) };
    Run {
        opened,
        frames: seen.timeline.figures(until),
        picture: seen.watch.figures(),
        took: now - began,
        last: seen.last,
        ended,
    }
}

/// How long to wait for the next frame, and whether that is less than a frame may take because the run ends at `end`.
fn patience(plan: &Plan, end: Option<Micros>, began: Micros, now: Micros) -> (Micros, bool) {
    match end {
        // A camera that took long to open still has a moment for its first frame.
        None => ((began + plan.first - now).max(plan.first / 8), false),
        Some(end) => {
            let left = (end - now).max(Micros::ZERO);
            (left.min(plan.stall), left < plan.stall)
        }
    }
}

/// What was seen so far.
struct Seen {
    opened: Opened,
    timeline: Timeline,
    watch: Watch,
    last: Option<Vec<u8>>,
}

impl Seen {
    fn new(opened: Opened, began: Micros) -> Self {
        // JPEG is of full range, what cameras send raw is not.
        let range = if opened.mode.pixels.is_jpeg() { Range::Full } else { Range::Video };
        let timeline = Timeline::new(began, opened.mode.interval.map(Interval::fps));
        Self { opened, timeline, watch: Watch::new(range), last: None }
    }

    fn take_in(&mut self, frame: &Frame) {
        let number = frame.sequence;
        let damaged = match &frame.bytes {
            _ if frame.flagged => Some(true),
            Some(bytes) => self.is_damaged(bytes, number),
            None => None,
        };
        if damaged == Some(false) {
            self.last.clone_from(&frame.bytes);
        }
        // The driver's time is nearer to the truth than that of a program that had to wait for a processor.
        self.timeline.push(frame.captured.unwrap_or(frame.at), frame.sequence, damaged);
    }

    /// Looks at a picture and says whether there is something wrong with it. `None`: it cannot be read here.
    fn is_damaged(&mut self, bytes: &[u8], number: Option<u32>) -> Option<bool> {
        let watch = &mut self.watch;
        match pixels::brightness(&self.opened, bytes, |luma| watch.push(luma)) {
            Ok(_) => Some(false),
            Err(Damage::Format(_)) => None,
            Err(damage) => {
                tracing::debug!(number, %damage, "damaged frame");
                Some(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::{Estimate, Seen as Look, Value};

    use super::*;
    use crate::devices::camera::fake::{Fake, Scene};
    use crate::devices::camera::{Asked, CameraSystem};

    fn watch(scene: Scene) -> Run {
        let mut camera = Fake::new(scene).open("fake:0", &Asked::default()).expect("a fake opens");
        run(camera.as_mut(), &Plan::default(), Micros::ZERO, &mut |_, _| ControlFlow::Continue(()))
    }

    fn value(of: &Value<Estimate>) -> f64 {
        of.measured().unwrap_or_else(|| panic!("{of:?}")).value
    }

    fn count(run: &Run) -> u64 {
        *run.frames.count.fact().expect("frames are counted")
    }

    #[test]
    fn a_good_camera_gives_sixty_frames_in_two_seconds() {
        let run = watch(Scene::Normal);
        let frames = &run.frames;
        assert_eq!((count(&run), value(&frames.lost_ratio), value(&frames.damaged_ratio)), (60, 0.0, 0.0));
        assert!((value(&frames.rate_fps) - 30.0).abs() < 0.001, "{frames:?}");
        assert!((value(&frames.rate_ratio) - 1.0).abs() < 0.0001);
        assert_eq!(frames.first_ms.fact(), Some(&200.0));
        assert_eq!(frames.stalls.fact(), Some(&0));
        assert_eq!(run.picture.seen.fact(), Some(&Look::Picture), "{:?}", run.picture);
        assert_eq!(run.ended, None);
        assert!(run.took < Micros::from_millis(2300), "{}", run.took);
    }

    #[test]
    fn what_the_camera_shows_is_named() {
        let cases = [
            (Scene::Black, Look::Black),
            (Scene::Covered, Look::Covered),
            (Scene::Dark, Look::Dark),
            (Scene::Overexposed, Look::Overexposed),
            (Scene::Frozen, Look::Frozen),
            (Scene::Blurred, Look::Blurred),
            (Scene::DamagedJpeg { one_in: 10 }, Look::Picture),
        ];
        for (scene, look) in cases {
            let run = watch(scene);
            assert_eq!(run.picture.seen.fact(), Some(&look), "{scene:?}: {:?}", run.picture);
            assert_eq!(count(&run), 60);
        }
    }

    #[test]
    fn other_noise_changes_nothing() {
        for seed in 2..12 {
            for (scene, look) in [
                (Scene::Normal, Look::Picture),
                (Scene::Blurred, Look::Blurred),
                (Scene::Covered, Look::Covered),
            ] {
                let fake = Fake::new(scene).with_seed(seed);
                let mut camera = fake.open("fake:0", &Asked::default()).expect("a fake opens");
                let run = run(camera.as_mut(), &Plan::default(), Micros::ZERO, &mut |_, _| {
                    ControlFlow::Continue(())
                });
                assert_eq!(run.picture.seen.fact(), Some(&look), "{scene:?}, seed {seed}: {:?}", run.picture);
            }
        }
    }

    #[test]
    fn frames_that_the_driver_counted_and_kept_are_lost() {
        let run = watch(Scene::Dropped { one_in: 5 });
        // Numbers 4, 9, 14, … are missing: 60 frames reach number 73, of which 14 did not come.
        assert_eq!(count(&run), 60);
        assert!((value(&run.frames.lost_ratio) - 14.0 / 74.0).abs() < 1e-6, "{:?}", run.frames);
        assert!((value(&run.frames.rate_fps) - 30.0 * 59.0 / 73.0).abs() < 0.01);
    }

    #[test]
    fn damaged_frames_are_counted_whoever_finds_them() {
        for scene in
            [Scene::Flagged { one_in: 20 }, Scene::DamagedJpeg { one_in: 20 }, Scene::CutShort { one_in: 20 }]
        {
            let damaged = value(&watch(scene).frames.damaged_ratio);
            assert!((damaged - 3.0 / 60.0).abs() < 1e-6, "{scene:?}: {damaged}");
        }
    }

    #[test]
    fn a_slow_camera_is_measured_and_ends_in_time() {
        let run = watch(Scene::Slow { fps: 5 });
        // At 0, 0.2, … 3.8 s after the first; the one at 4.0 s may be too late by its delivery.
        assert!((20..=21).contains(&count(&run)), "{}", count(&run));
        assert_eq!(run.ended, None);
        assert!((value(&run.frames.rate_fps) - 5.0).abs() < 1e-6);
        assert!((value(&run.frames.rate_ratio) - 1.0 / 6.0).abs() < 1e-4, "it claims 30");
    }

    /// A camera behind a [guard](crate::devices::camera::guard) whose pictures take longer to look at than it takes to send them.
    #[test]
    fn looking_slowly_changes_nothing() {
        struct Behind {
            fake: Box<dyn Camera>,
            late: Micros,
        }
        impl Camera for Behind {
            fn opened(&self) -> Opened {
                self.fake.opened()
            }
            fn now(&self) -> Micros {
                self.fake.now() + self.late
            }
            fn next(&mut self, wait: Micros) -> Result<Frame, DeviceError> {
                // Every frame takes as long again to look at; what came meanwhile is there at once.
                self.late += Micros::from_millis(100);
                self.fake.next(wait + self.late)
            }
        }
        let plan = Plan { frames: usize::MAX, longest: Micros::from_secs(2), ..Plan::default() };
        let watch = |camera: &mut dyn Camera| {
            run(camera, &plan, Micros::ZERO, &mut |_, _| ControlFlow::Continue(())).frames
        };
        let fake = || Fake::new(Scene::Normal).open("fake:0", &Asked::default()).expect("a fake opens");
        let prompt = watch(fake().as_mut());
        assert_eq!(prompt.count.fact(), Some(&61), "two seconds, both ends included");
        assert_eq!(watch(&mut Behind { fake: fake(), late: Micros::ZERO }), prompt);
    }

    #[test]
    fn a_short_pause_is_a_wait_and_a_long_one_a_stall() {
        let run = watch(Scene::Stalls { before: 20, pause: Micros::from_millis(700) });
        assert_eq!((count(&run), &run.ended), (60, &None));
        assert_eq!(run.frames.stalls.fact(), Some(&1));
        let longest = *run.frames.longest_wait_ms.fact().expect("sixty frames");
        assert!((longest - 733.333).abs() < 0.01, "{longest}");
        let run = watch(Scene::Stalls { before: 20, pause: Micros::from_secs(60) });
        assert_eq!(count(&run), 20);
        assert_eq!(run.ended.map(|error| error.fault), Some(Fault::Stalled { after: Micros::from_secs(2) }));
    }

    #[test]
    fn a_camera_that_never_delivers_is_given_up_within_five_seconds() {
        let mut camera =
            Fake::new(Scene::NeverDelivers).open("fake:0", &Asked::default()).expect("a fake opens");
        let run =
            run(camera.as_mut(), &Plan::default(), Micros::ZERO, &mut |_, _| panic!("there is no frame"));
        assert_eq!(run.ended.map(|error| error.code()), Some("stalled"));
        assert!(run.frames.first_ms.measured().is_none() && run.picture.seen.measured().is_none());
        assert!(camera.now() <= Micros::from_secs(5));
    }

    #[test]
    fn unplugging_ends_the_run_and_keeps_what_came() {
        let run = watch(Scene::Unplugged { before: 25 });
        assert_eq!(count(&run), 25);
        assert!(run.last.is_some());
        let error = run.ended.expect("it went away");
        assert_eq!(error.fault, Fault::Disconnected);
        assert!(error.detail.contains("19"), "{error}");
    }

    #[test]
    fn whoever_looks_can_end_it() {
        let mut camera = Fake::new(Scene::Normal).open("fake:0", &Asked::default()).expect("a fake opens");
        let mut left = 7;
        let run = run(camera.as_mut(), &Plan::default(), Micros::ZERO, &mut |_, _| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((count(&run), run.ended), (7, None));
    }

    #[test]
    fn uneven_frames_spread() {
        assert!(value(&watch(Scene::Normal).frames.interval_spread_ratio) < 0.001);
        // ±15 ms in five equal steps has a deviation of 10.6 ms; of the difference of two, 15 of 33.3.
        let spread = value(&watch(Scene::Uneven).frames.interval_spread_ratio);
        assert!((0.30..0.60).contains(&spread), "{spread}");
    }
}
