//! Frames from a video node.

use std::io;
use std::mem::ManuallyDrop;

use greenroom_reports::units::Micros;
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use v4l::buffer::{Flags, Metadata, Type};
use v4l::format::Format;
use v4l::fraction::Fraction;
use v4l::io::mmap;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;

use super::node::Node;
use crate::devices::camera::{Camera, Frame, Interval, Mode, Opened, PixelFormat};
use crate::devices::{Clock, DeviceError, Fault};

/// Buffers asked for. One is being read while the driver fills the others: at 30 frames per second it may run ahead by an
/// eighth of a second.
const BUFFERS: u32 = 5;

/// A node that delivers.
pub(super) struct Stream {
    /// Let go of by hand: see `Drop`.
    buffers: ManuallyDrop<mmap::Stream<'static>>,
    node: Node,
    opened: Opened,
    clock: Clock,
}

impl Stream {
    /// Sets the mode, asks the driver for buffers and starts the camera.
    pub(super) fn start(node: Node, mode: Mode, clock: Clock) -> Result<Self, DeviceError> {
        let opened = set(&node, mode).map_err(|error| node.error(&error))?;
        let buffers = mmap::Stream::with_buffers(&node.device, Type::VideoCapture, BUFFERS)
            .map_err(|error| node.error(&error))?;
        let mut stream = Self { buffers: ManuallyDrop::new(buffers), node, opened, clock };
        stream.queue_and_start().map_err(|error| stream.node.error(&error))?;
        Ok(stream)
    }

    /// Hands every buffer but the first to the driver: the library's `next` hands over the buffer it gave out last, to begin
    /// with the first, and then takes a filled one.
    fn queue_and_start(&mut self) -> io::Result<()> {
        // How many the driver granted is known to the library alone; past the last one it says EINVAL.
        CaptureStream::queue(&mut *self.buffers, 1)?;
        (2..32).try_for_each(|index| CaptureStream::queue(&mut *self.buffers, index)).or_else(|error| {
            if error.raw_os_error() == Some(Errno::EINVAL as i32) { Ok(()) } else { Err(error) }
        })?;
        self.buffers.start()
    }
}

/// Sets format and rate, and says what the driver made of them. The rate is set also when it is the driver's own: a camera
/// remembers the rate that the program before left it at.
fn set(node: &Node, mode: Mode) -> io::Result<Opened> {
    let wanted = Format::new(mode.width, mode.height, v4l::FourCC { repr: mode.pixels.0 });
    let got = node.device.set_format(&wanted)?;
    let rate = match mode.interval {
        Some(interval) => {
            let (numerator, denominator) = interval.parts();
            node.device.set_params(&Parameters::new(Fraction::new(numerator, denominator)))
        }
        None => node.device.params(),
    };
    // A driver without rates has no parameters at all.
    let interval =
        rate.ok().and_then(|rate| Interval::new(rate.interval.numerator, rate.interval.denominator));
    let pixels = PixelFormat(got.fourcc.repr);
    let stride = if pixels.is_jpeg() { 0 } else { got.stride };
    Ok(Opened { mode: Mode { pixels, width: got.width, height: got.height, interval }, stride })
}

impl Camera for Stream {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn next(&mut self, wait: Micros) -> Result<Frame, DeviceError> {
        // Waited for here: the library's `next` loses track of its buffers when it times out.
        let timeout = i32::try_from(wait.get() / 1000).unwrap_or(i32::MAX);
        let ready = self.node.device.handle().poll(libc::POLLIN, timeout);
        if !ready.as_ref().is_ok_and(|&ready| ready > 0) {
            return Err(self.idle(ready.err(), wait));
        }
        let (bytes, about) = match CaptureStream::next(&mut *self.buffers) {
            Ok(next) => next,
            Err(error) => return Err(self.node.error(&error)),
        };
        let at = self.clock.now();
        let filled = usize::try_from(about.bytesused).unwrap_or(usize::MAX).min(bytes.len());
        Ok(Frame {
            at,
            captured: captured(about, at),
            sequence: Some(about.sequence),
            flagged: about.flags.contains(Flags::ERROR),
            bytes: Some(bytes[..filled].to_vec()),
        })
    }
}

impl Stream {
    fn idle(&self, error: Option<io::Error>, wait: Micros) -> DeviceError {
        match error {
            Some(error) if error.kind() != io::ErrorKind::Interrupted => self.node.error(&error),
            _ => DeviceError::new(Fault::Stalled { after: wait }, self.node.called()),
        }
    }
}

/// The driver's time of a frame, moved from the kernel's monotonic clock to ours. `None`: on another clock, or farther from
/// now than a frame can be. It may lie a little ahead: some drivers state the end of a frame that they hand over before it.
fn captured(about: &Metadata, at: Micros) -> Option<Micros> {
    if !about.flags.contains(Flags::TIMESTAMP_MONOTONIC) {
        return None;
    }
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    let now = Micros::from_secs(now.tv_sec()) + Micros::from_nanos(now.tv_nsec());
    let age = now - (Micros::from_secs(about.timestamp.sec) + Micros::new(about.timestamp.usec));
    (Micros::from_secs(-1)..Micros::from_secs(60)).contains(&age).then(|| at - age)
}

impl Drop for Stream {
    /// The library panics when its buffers go and the driver then refuses to stop. So it is stopped here first, and when that
    /// is refused for another reason than that the camera is gone, the buffers stay with the process.
    fn drop(&mut self) {
        let gone = |error: &io::Error| error.raw_os_error() == Some(Errno::ENODEV as i32);
        match self.buffers.stop() {
            Err(error) if !gone(&error) => {
                tracing::warn!(camera = %self.node.path.display(), %error, "cannot be stopped; its buffers are kept");
            }
            // SAFETY: dropped here and nowhere else, and not used again.
            _ => unsafe { ManuallyDrop::drop(&mut self.buffers) },
        }
    }
}
