//! Cameras: what there is, opened at what calls ask for, and looked at frame by frame.
//!
//! | module | what |
//! |---|---|
//! | [`mode`] | what a camera offers and which of it to open (pure) |
//! | [`pixels`] | from a camera's bytes to brightness and colour (pure) |
//! | [`paint`] | a picture in the terminal: half-blocks, sixel, kitty (pure) |
//! | [`run`] | frames for a while, every one counted and looked at by [`greenroom_reports::signals::picture`] |
//! | [`test`] | one camera, from the list to its part of the report |
//! | [`guard`] | any camera on a thread of its own, so that no driver can hang the test |
//! | `v4l2` | Linux: kernel timestamps, sequence numbers, error flags |
//! | `native` | macOS and Windows by way of nokhwa; on Linux by choice |
//! | [`fake`] | cameras with every fault there is, in virtual time |

pub mod fake;
pub mod guard;
pub mod mode;
pub mod native;
pub mod paint;
pub mod pixels;
pub mod run;
pub mod test;
#[cfg(target_os = "linux")]
pub mod v4l2;

use std::sync::Arc;

use greenroom_reports::schema::Connection;
use greenroom_reports::units::Micros;

use super::{Clock, DeviceError};
pub use mode::{Asked, Interval, Intervals, Mode, Offer, PixelFormat, Sizes, Steps};

/// A way to cameras: the system's, or a fake.
pub trait CameraSystem: Send + Sync {
    /// The cameras that there are, those that cannot be used included.
    ///
    /// # Errors
    /// When the system cannot be asked at all. No camera is an empty list.
    fn list(&self) -> Result<Vec<Listed>, DeviceError>;

    /// The same, and how many entries of the system's own list are not among them because they are no cameras: nodes of other
    /// uses, such as those for a camera's settings. 0 where the system lists cameras alone.
    ///
    /// # Errors
    /// As [`CameraSystem::list`].
    fn inventory(&self) -> Result<Inventory, DeviceError> {
        Ok(Inventory { cameras: self.list()?, left_out: 0 })
    }

    /// Opens a camera at its mode nearest to what was asked ([`mode::choose`]) and starts it.
    ///
    /// `id` is what [`Listed::id`] says.
    ///
    /// # Errors
    /// [`Fault`](super::Fault)s `NotFound`, `Busy`, `Permission`, `Unsupported`, or `Unknown`.
    fn open(&self, id: &str, asked: &Asked) -> Result<Box<dyn Camera>, DeviceError>;
}

/// An open camera. It stays on the thread that opened it: some systems insist on that.
pub trait Camera {
    /// How it was opened: what the driver made of what was asked.
    fn opened(&self) -> Opened;

    /// The time on the clock of [`Frame::at`].
    fn now(&self) -> Micros;

    /// The next frame, waited for no longer than `wait`.
    ///
    /// # Errors
    /// [`Fault`](super::Fault)s `Stalled` when none came in time, `Disconnected`, or `Unknown`.
    fn next(&mut self, wait: Micros) -> Result<Frame, DeviceError>;
}

/// The system's cameras by the way that suits this machine: V4L2 on Linux, nokhwa elsewhere.
pub fn system(clock: Clock) -> (Arc<dyn CameraSystem>, &'static str) {
    #[cfg(target_os = "linux")]
    return (Arc::new(v4l2::V4l2::new(clock)), "v4l2");
    #[cfg(not(target_os = "linux"))]
    return (Arc::new(native::Native::new(clock)), "nokhwa");
}

/// The cameras there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Those that can be used and those that cannot.
    pub cameras: Vec<Listed>,
    /// Entries of the system's own list that are no cameras.
    pub left_out: u64,
}

/// A camera in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Names it also after replugging and restarting, as far as the system has such a name.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Whether it is the one that is used when nobody chooses.
    pub default: bool,
    /// How it is connected, where the system tells.
    pub connection: Option<Connection>,
    /// Other names by which it may be asked for: `/dev/video0`.
    pub aliases: Vec<String>,
    /// What it offers, or why it cannot be asked.
    pub offers: Result<Vec<Offer>, DeviceError>,
}

impl Listed {
    /// Whether a person who wrote `wanted` means this one: its id, an alias or its name, letters large or small.
    pub fn answers_to(&self, wanted: &str) -> bool {
        let same = |name: &String| name.eq_ignore_ascii_case(wanted);
        same(&self.id) || self.aliases.iter().any(same) || same(&self.name)
    }
}

/// How a camera was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The mode that the driver settled on.
    pub mode: Mode,
    /// Bytes from one row of the first plane to the next; 0 for JPEG.
    pub stride: u32,
}

/// One frame as the driver handed it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it reached this program.
    pub at: Micros,
    /// When the driver says it was captured, on the same clock. `None`: the driver does not say.
    pub captured: Option<Micros>,
    /// The driver's count. `None`: it does not count.
    pub sequence: Option<u32>,
    /// The driver says that its content is damaged.
    pub flagged: bool,
    /// What the picture is made of. `None`: the frame was counted and its content let go, because whoever looks at
    /// pictures was behind.
    pub bytes: Option<Vec<u8>>,
}
