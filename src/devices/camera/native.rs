//! Cameras by way of nokhwa: macOS (AVFoundation) and Windows (Media Foundation), and Linux by choice, where its tests run.
//!
//! What nokhwa 0.10 does not give: sequence numbers, error flags, a bound on waiting (hence [`guard`](super::guard)), and on
//! Linux cameras left at a fractional rate, which it refuses to open. Times are those of arrival: its time of capture is of the
//! wall clock, and missing where the driver's lies in the future.

use std::time::Duration;

use greenroom_reports::units::Micros;
use nokhwa::utils::{
    ApiBackend, CameraFormat, CameraIndex, CameraInfo, FrameFormat, RequestedFormat, RequestedFormatType,
    Resolution,
};
use nokhwa::{NokhwaError, nokhwa_check, nokhwa_initialize, query};

use super::mode::{self, Asked, Interval, Intervals, Mode, Offer, PixelFormat, Sizes};
use super::{Camera, CameraSystem, Frame, Listed, Opened};
use crate::devices::{Clock, DeviceError, Fault, Permission};

/// Formats asked for, as nokhwa and as V4L2 name them.
const FORMATS: [(FrameFormat, PixelFormat); 6] = [
    (FrameFormat::YUYV, PixelFormat::YUYV),
    (FrameFormat::NV12, PixelFormat::NV12),
    (FrameFormat::MJPEG, PixelFormat::MJPG),
    (FrameFormat::RAWRGB, PixelFormat::RGB3),
    (FrameFormat::RAWBGR, PixelFormat::BGR3),
    (FrameFormat::GRAY, PixelFormat::GREY),
];

/// How long the person may take to answer the system's question for permission (macOS).
const ANSWER: Duration = Duration::from_millis(4500);

/// The system's cameras.
#[derive(Debug, Clone, Copy)]
pub struct Native {
    clock: Clock,
}

impl Native {
    /// Cameras whose frames are stamped on `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl CameraSystem for Native {
    fn list(&self) -> Result<Vec<Listed>, DeviceError> {
        let infos = query(ApiBackend::Auto).map_err(|error| explain(&error, "the cameras"))?;
        Ok(infos.iter().map(describe).collect())
    }

    fn open(&self, id: &str, asked: &Asked) -> Result<Box<dyn Camera>, DeviceError> {
        let called = format!("the camera {id}");
        ask_permission(&called)?;
        let infos = query(ApiBackend::Auto).map_err(|error| explain(&error, &called))?;
        let info = infos
            .iter()
            .find(|info| id_of(info) == id)
            .ok_or_else(|| DeviceError::new(Fault::NotFound, &called))?;
        let called = format!("the camera {}", info.human_name());
        let mut camera = open_any(info.index()).map_err(|error| explain(&error, &called))?;
        let offers = offers(&mut camera).map_err(|error| explain(&error, &called))?;
        let chosen = mode::choose(&offers, asked)
            .and_then(|mode| camera_format(&mode))
            .ok_or_else(|| DeviceError::new(Fault::Unsupported { asked: asked.to_string() }, &called))?;
        let formats = [chosen.format()];
        let request = RequestedFormat::with_formats(RequestedFormatType::Exact(chosen), &formats);
        let got = camera.set_camera_requset(request).map_err(|error| explain(&error, &called))?;
        camera.open_stream().map_err(|error| explain(&error, &called))?;
        Ok(Box::new(Running { camera, opened: opened(got), called, clock: self.clock }))
    }
}

struct Running {
    camera: nokhwa::Camera,
    opened: Opened,
    called: String,
    clock: Clock,
}

impl Camera for Running {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    /// Waits as long as nokhwa does, which has no bound: only to be called on a [`guard`](super::guard)'s thread.
    fn next(&mut self, _wait: Micros) -> Result<Frame, DeviceError> {
        let buffer = self.camera.frame().map_err(|error| explain(&error, &self.called))?;
        let at = self.clock.now();
        let bytes = buffer.buffer();
        let bytes = if self.opened.mode.pixels.is_jpeg() { one_jpeg(bytes) } else { bytes };
        Ok(Frame { at, captured: None, sequence: None, flagged: false, bytes: Some(bytes.to_vec()) })
    }
}

/// On Linux nokhwa hands over the whole buffer, with what earlier frames left behind the end of this one. The first end marker
/// behind the start of the scan ends it: within a scan 0xFF is always followed by 0x00 or a restart marker
/// (ITU-T T.81 section F.1.2.3).
fn one_jpeg(bytes: &[u8]) -> &[u8] {
    let marker = |from: usize, code: u8| {
        bytes[from..].windows(2).position(|pair| pair == [0xFF, code]).map(|at| from + at)
    };
    let end = marker(0, 0xDA).and_then(|scan| marker(scan, 0xD9));
    end.map_or(bytes, |end| &bytes[..end + 2])
}

fn describe(info: &CameraInfo) -> Listed {
    let called = format!("the camera {}", info.human_name());
    let offers = open_any(info.index())
        .and_then(|mut camera| offers(&mut camera))
        .map_err(|error| explain(&error, &called));
    let aliases = match info.index() {
        CameraIndex::Index(number) => vec![number.to_string(), format!("/dev/video{number}")],
        CameraIndex::String(name) => vec![name.clone()],
    };
    let default = matches!(info.index(), CameraIndex::Index(0));
    Listed { id: id_of(info), name: info.human_name(), default, connection: None, aliases, offers }
}

/// macOS and Windows keep the device's identity in `misc`; Linux has only its node.
fn id_of(info: &CameraInfo) -> String {
    match (info.misc().as_str(), info.index()) {
        ("", CameraIndex::Index(number)) => format!("/dev/video{number}"),
        ("", CameraIndex::String(name)) => name.clone(),
        (misc, _) => misc.to_owned(),
    }
}

/// Opens a camera to ask it what it offers. The mode does not matter yet, but asking for none opens some at one frame per second.
fn open_any(index: &CameraIndex) -> Result<nokhwa::Camera, NokhwaError> {
    let formats = FORMATS.map(|(format, _)| format);
    let request = RequestedFormat::with_formats(RequestedFormatType::AbsoluteHighestFrameRate, &formats);
    nokhwa::Camera::new(index.clone(), request)
}

fn offers(camera: &mut nokhwa::Camera) -> Result<Vec<Offer>, NokhwaError> {
    let formats = camera.compatible_camera_formats()?;
    Ok(formats
        .into_iter()
        .filter_map(|format| {
            let pixels = FORMATS.iter().find(|(theirs, _)| *theirs == format.format())?.1;
            Some(Offer {
                pixels,
                sizes: Sizes::One { width: format.width(), height: format.height() },
                intervals: Intervals::These(vec![Interval::per_second(format.frame_rate())]),
            })
        })
        .collect())
}

fn camera_format(mode: &Mode) -> Option<CameraFormat> {
    let format = FORMATS.iter().find(|(_, ours)| *ours == mode.pixels)?.0;
    let (numerator, denominator) = mode.interval?.parts();
    Some(CameraFormat::new(Resolution::new(mode.width, mode.height), format, denominator / numerator))
}

fn opened(format: CameraFormat) -> Opened {
    let pixels = FORMATS
        .iter()
        .find(|(theirs, _)| *theirs == format.format())
        .map_or(PixelFormat::YUYV, |(_, ours)| *ours);
    let interval = Some(Interval::per_second(format.frame_rate()));
    let mode = Mode { pixels, width: format.width(), height: format.height(), interval };
    // nokhwa does not tell the stride; 0 stands for packed rows.
    Opened { mode, stride: 0 }
}

/// Asks the person where the system wants that (macOS); elsewhere always granted.
fn ask_permission(called: &str) -> Result<(), DeviceError> {
    if nokhwa_check() {
        return Ok(());
    }
    let (answer, answered) = crossbeam_channel::bounded(1);
    nokhwa_initialize(move |granted| {
        let _ = answer.try_send(granted);
    });
    match answered.recv_timeout(ANSWER) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(DeviceError::new(Fault::Permission(Permission::Privacy), called)),
    }
}

/// nokhwa's errors are text; on Linux the system's error number stands in it.
fn explain(error: &NokhwaError, called: &str) -> DeviceError {
    let text = error.to_string();
    let number = text.split("os error ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
    let fault = match number {
        Some(2 | 6) => Fault::NotFound,
        Some(13 | 1) => Fault::Permission(Permission::Unknown),
        Some(16) => Fault::Busy { by: None },
        Some(19) => Fault::Disconnected,
        _ if text.to_ascii_lowercase().contains("lock") || text.contains("in use") => {
            Fault::Busy { by: None }
        }
        _ => Fault::Unknown,
    };
    DeviceError::new(fault, called).with_detail(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_said_within_nokhwas_text_is_understood() {
        let at_open = |said: &str| {
            explain(&NokhwaError::OpenDeviceError("0".into(), format!("V4L2 Error: {said}")), "the camera 0")
                .code()
        };
        assert_eq!(at_open("No such file or directory (os error 2)"), "not_found");
        assert_eq!(at_open("Permission denied (os error 13)"), "permission");
        assert_eq!(at_open("Device or resource busy (os error 16)"), "busy");
        let read = NokhwaError::ReadFrameError("No such device (os error 19)".into());
        assert_eq!(explain(&read, "the camera 0").code(), "disconnected");
        let rate = NokhwaError::GetPropertyError {
            property: "V4L2 FrameRate".into(),
            error: "Framerate not whole number: 25 / 2".into(),
        };
        assert_eq!(explain(&rate, "the camera 0").code(), "unknown");
    }

    #[test]
    fn what_older_frames_left_behind_is_cut_off() {
        let frame = [0xFF, 0xD8, 0xFF, 0xDA, 1, 2, 0xFF, 0x00, 3, 0xFF, 0xD9];
        let stale = [9, 9, 0xFF, 0xD9];
        assert_eq!(one_jpeg(&[frame.as_slice(), stale.as_slice()].concat()), frame);
        assert_eq!(one_jpeg(&frame[..6]), &frame[..6], "without an end it stays as it is");
    }
}
