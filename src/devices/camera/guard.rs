//! Any camera on a thread of its own: whatever a driver does there, whoever waits here waits with a bound. It also keeps the
//! times of frames true while pictures are looked at: frames are taken off the driver when they come, not when somebody has
//! time for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use greenroom_reports::units::Micros;

use super::{Asked, Camera, CameraSystem, Frame, Inventory, Opened};
use crate::devices::{Clock, DeviceError, Fault, LONGEST_WAIT};

/// Bytes of pictures that may wait to be looked at when all of them are wanted: eight raw ones of 1280x720.
pub const AHEAD: usize = 8 * 1280 * 720 * 2;

/// How often the thread looks whether it is still wanted while no frames come.
const LOOK_UP: Micros = Micros::from_millis(200);

/// How long closing may take before the driver is left alone with it.
const CLOSING: Micros = Micros::from_secs(1);

/// A camera that runs on its own thread.
pub struct Guarded {
    name: String,
    opened: Opened,
    clock: Clock,
    frames: Receiver<Result<Frame, DeviceError>>,
    shared: Arc<Shared>,
    closed: Receiver<()>,
}

#[derive(Default)]
struct Shared {
    unwanted: AtomicBool,
    /// Bytes that wait to be looked at.
    waiting: AtomicUsize,
}

/// Opens a camera on a thread of its own. `name` is for messages; `clock` must be the one that the camera stamps with.
///
/// Pictures of `ahead` bytes together may wait to be looked at, and one in any case; of frames beyond that only the times are
/// kept: [`AHEAD`] to miss none, 0 to see what is there now.
///
/// # Errors
/// What opening gives, and [`Fault::Stalled`] when it takes longer than [`LONGEST_WAIT`].
pub fn open(
    camera: Arc<dyn CameraSystem>,
    id: &str,
    name: &str,
    asked: Asked,
    clock: Clock,
    ahead: usize,
) -> Result<Guarded, DeviceError> {
    let (say_opened, opened) = crossbeam_channel::bounded(1);
    let (hand_over, frames) = crossbeam_channel::unbounded();
    let (closing, closed) = crossbeam_channel::bounded(0);
    let shared = Arc::new(Shared::default());
    let (theirs, id) = (Arc::clone(&shared), id.to_owned());
    #[expect(clippy::disallowed_methods, reason = "the one thread of an open camera")]
    std::thread::spawn(move || {
        // Dropped when the thread ends, after the camera: that is how its end is seen.
        let _closing: Sender<()> = closing;
        match camera.open(&id, &asked) {
            Ok(mut camera) => {
                if say_opened.send(Ok(camera.opened())).is_ok() {
                    pump(camera.as_mut(), &hand_over, &theirs, ahead);
                }
            }
            // Nobody is waiting any more when this cannot be sent.
            Err(error) => drop(say_opened.send(Err(error))),
        }
    });
    let opened = match opened.recv_timeout(LONGEST_WAIT.to_duration()) {
        Ok(opened) => opened?,
        Err(RecvTimeoutError::Timeout) => {
            shared.unwanted.store(true, Ordering::Relaxed);
            return Err(DeviceError::new(Fault::Stalled { after: LONGEST_WAIT }, name));
        }
        Err(RecvTimeoutError::Disconnected) => return Err(broken(name)),
    };
    Ok(Guarded { name: name.to_owned(), opened, clock, frames, shared, closed })
}

/// The cameras there are, asked for on a thread of its own: to list a camera is to open it.
///
/// # Errors
/// What listing gives, and [`Fault::Stalled`] when it takes longer than [`LONGEST_WAIT`].
pub fn list(cameras: Arc<dyn CameraSystem>) -> Result<Inventory, DeviceError> {
    const NAME: &str = "the cameras";
    let (say, listed) = crossbeam_channel::bounded(1);
    #[expect(clippy::disallowed_methods, reason = "the one thread of a listing")]
    // Nobody is waiting any more when this cannot be sent.
    std::thread::spawn(move || drop(say.send(cameras.inventory())));
    match listed.recv_timeout(LONGEST_WAIT.to_duration()) {
        Ok(listed) => listed,
        Err(RecvTimeoutError::Timeout) => Err(DeviceError::new(Fault::Stalled { after: LONGEST_WAIT }, NAME)),
        Err(RecvTimeoutError::Disconnected) => Err(broken(NAME)),
    }
}

/// Hands frames over until nobody wants them or the camera ends.
fn pump(
    camera: &mut dyn Camera,
    hand_over: &Sender<Result<Frame, DeviceError>>,
    shared: &Shared,
    ahead: usize,
) {
    while !shared.unwanted.load(Ordering::Relaxed) {
        let next = match camera.next(LOOK_UP) {
            Err(error) if matches!(error.fault, Fault::Stalled { .. }) => continue,
            Ok(frame) => Ok(within_bounds(frame, &shared.waiting, ahead)),
            Err(error) => Err(error),
        };
        let ended = next.is_err();
        if hand_over.send(next).is_err() || ended {
            return;
        }
    }
}

/// Lets go of the picture when too many wait already.
fn within_bounds(mut frame: Frame, waiting: &AtomicUsize, ahead: usize) -> Frame {
    let size = frame.bytes.as_ref().map_or(0, Vec::len);
    let already = waiting.load(Ordering::Relaxed);
    if already == 0 || already.saturating_add(size) <= ahead {
        waiting.fetch_add(size, Ordering::Relaxed);
    } else {
        frame.bytes = None;
    }
    frame
}

fn broken(name: &str) -> DeviceError {
    DeviceError::new(Fault::Unknown, name).with_detail("its driver's library broke off")
}

impl Camera for Guarded {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn next(&mut self, wait: Micros) -> Result<Frame, DeviceError> {
        match self.frames.recv_timeout(wait.to_duration()) {
            Ok(next) => {
                let size = next.as_ref().ok().and_then(|frame| frame.bytes.as_ref()).map_or(0, Vec::len);
                self.shared.waiting.fetch_sub(size, Ordering::Relaxed);
                next
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(DeviceError::new(Fault::Stalled { after: wait }, &self.name))
            }
            Err(RecvTimeoutError::Disconnected) => Err(broken(&self.name)),
        }
    }
}

impl Drop for Guarded {
    /// Waits for the camera to be closed, so that the next one can open it, but not for ever.
    fn drop(&mut self) {
        self.shared.unwanted.store(true, Ordering::Relaxed);
        // Nothing is ever sent: the wait ends with the thread, or with its time.
        let _ = self.closed.recv_timeout(CLOSING.to_duration());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::camera::fake::{Fake, Scene};

    fn guarded(fake: Fake) -> Result<Guarded, DeviceError> {
        open(Arc::new(fake), "fake:0", "the camera Fake", Asked::default(), Clock::start(), AHEAD)
    }

    #[test]
    fn frames_come_through_in_order() {
        let mut camera = guarded(Fake::new(Scene::Normal)).expect("a fake opens");
        for sequence in 0..50 {
            let frame = camera.next(Micros::from_secs(5)).expect("a fake does not stall");
            assert_eq!(frame.sequence, Some(sequence));
        }
    }

    #[test]
    fn pictures_that_nobody_looks_at_do_not_pile_up() {
        let mut camera = guarded(Fake::new(Scene::Normal)).expect("a fake opens");
        // The fake is as fast as it is asked: soon all pictures allowed are waiting.
        let allowed = AHEAD / (320 * 180 * 2);
        while camera.frames.len() < allowed + 20 {
            std::thread::yield_now();
        }
        let frames: Vec<Frame> =
            std::iter::from_fn(|| camera.next(Micros::from_secs(5)).ok()).take(allowed + 20).collect();
        assert!(frames[..allowed].iter().all(|frame| frame.bytes.is_some()));
        assert!(frames[allowed..].iter().all(|frame| frame.bytes.is_none()));
        let numbers: Vec<Option<u32>> = frames.iter().map(|frame| frame.sequence).collect();
        let all = (0..).map(Some).take(frames.len());
        assert_eq!(numbers, all.collect::<Vec<_>>(), "times and counts are kept");
    }

    #[test]
    fn who_wants_to_see_what_is_there_now_gets_one_picture_at_a_time() {
        let camera = Arc::new(Fake::new(Scene::Normal));
        let mut camera = open(camera, "fake:0", "the camera Fake", Asked::default(), Clock::start(), 0)
            .expect("a fake opens");
        while camera.frames.len() < 20 {
            std::thread::yield_now();
        }
        let frames: Vec<Frame> =
            std::iter::from_fn(|| camera.next(Micros::from_secs(5)).ok()).take(20).collect();
        assert!(frames[0].bytes.is_some() && frames[1..].iter().all(|frame| frame.bytes.is_none()));
    }

    #[test]
    fn a_camera_that_never_delivers_is_waited_for_with_a_bound() {
        let mut camera = guarded(Fake::new(Scene::NeverDelivers)).expect("a fake opens");
        let error = camera.next(Micros::from_millis(50)).expect_err("nothing comes");
        assert_eq!(error.fault, Fault::Stalled { after: Micros::from_millis(50) });
    }

    #[test]
    fn an_error_when_opening_comes_through() {
        let error = guarded(Fake::refusing(Fault::Busy { by: None })).err().expect("it is busy");
        assert_eq!(error.code(), "busy");
    }

    #[test]
    fn a_driver_that_panics_breaks_nothing_else() {
        struct Panics;
        impl CameraSystem for Panics {
            fn list(&self) -> Result<Vec<super::super::Listed>, DeviceError> {
                std::panic::resume_unwind(Box::new("it gives up here too"));
            }
            fn open(&self, _: &str, _: &Asked) -> Result<Box<dyn Camera>, DeviceError> {
                // Unwinds as a panic does, without its message.
                std::panic::resume_unwind(Box::new("a driver's library gives up"));
            }
        }
        let opened = open(Arc::new(Panics), "x", "the camera X", Asked::default(), Clock::start(), AHEAD);
        assert_eq!(opened.err().expect("it cannot open").code(), "unknown");
        assert_eq!(list(Arc::new(Panics)).expect_err("it cannot list").code(), "unknown");
    }
}
