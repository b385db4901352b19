//! One video node: what it is, what it offers, who may open it.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use greenroom_reports::schema::Connection;
use nix::errno::Errno;
use nix::unistd::{Group, getegid, geteuid, getgroups};
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::{FourCC, v4l_sys};

use super::holders;
use crate::devices::camera::{Interval, Intervals, Listed, Offer, PixelFormat, Sizes, Steps};
use crate::devices::{DeviceError, Fault, Permission};

/// An open node that captures video.
pub(super) struct Node {
    pub(super) device: v4l::Device,
    pub(super) path: PathBuf,
    name: String,
}

impl Node {
    /// Opens a node and makes sure that it is a camera.
    pub(super) fn open(path: &Path) -> Result<Self, DeviceError> {
        let (device, name) = open_any(path)?.ok_or_else(|| {
            DeviceError::new(
                Fault::Unsupported { asked: "capture".to_owned() },
                format!("the camera {}", path.display()),
            )
        })?;
        Ok(Self { device, path: path.to_owned(), name })
    }

    /// What messages call it.
    pub(super) fn called(&self) -> String {
        format!("the camera {}", self.name)
    }

    /// Every format, size and rate that it lists.
    pub(super) fn offers(&self) -> Vec<Offer> {
        let formats = self.device.enum_formats().unwrap_or_default();
        formats.into_iter().flat_map(|format| self.offers_in(format.fourcc)).collect()
    }

    /// The fault behind what the system says about this node.
    pub(super) fn error(&self, error: &io::Error) -> DeviceError {
        explain(error, &self.path, self.called())
    }

    fn offers_in(&self, fourcc: FourCC) -> Vec<Offer> {
        let sizes = self.device.enum_framesizes(fourcc).unwrap_or_default();
        sizes
            .into_iter()
            .map(|size| {
                let sizes = match size.size {
                    FrameSizeEnum::Discrete(size) => Sizes::One { width: size.width, height: size.height },
                    FrameSizeEnum::Stepwise(range) => Sizes::Range {
                        width: Steps { min: range.min_width, max: range.max_width, step: range.step_width },
                        height: Steps {
                            min: range.min_height,
                            max: range.max_height,
                            step: range.step_height,
                        },
                    },
                };
                // Rates belong to one size; in a range of sizes those at the one that calls ask for stand for all.
                let (width, height) = sizes.nearest(1280, 720);
                Offer {
                    pixels: PixelFormat(fourcc.repr),
                    sizes,
                    intervals: self.intervals(fourcc, width, height),
                }
            })
            .collect()
    }

    fn intervals(&self, fourcc: FourCC, width: u32, height: u32) -> Intervals {
        let listed = self.device.enum_frameintervals(fourcc, width, height).unwrap_or_default();
        let mut these = Vec::new();
        for entry in listed {
            match entry.interval {
                FrameIntervalEnum::Discrete(one) => {
                    these.extend(Interval::new(one.numerator, one.denominator));
                }
                FrameIntervalEnum::Stepwise(range) => {
                    let ends =
                        [range.min, range.max].map(|end| Interval::new(end.numerator, end.denominator));
                    if let [Some(shortest), Some(longest)] = ends {
                        return Intervals::Range { shortest, longest };
                    }
                }
            }
        }
        if these.is_empty() { Intervals::Unknown } else { Intervals::These(these) }
    }
}

/// Lists a node. `None`: it is no camera (metadata, output, radio, …).
pub(super) fn describe(path: &Path) -> Option<Listed> {
    let alias = path.display().to_string();
    let listed = |name: String, offers| Listed {
        id: super::stable_id(path),
        name,
        default: false,
        connection: connection(path),
        aliases: aliases(&alias),
        offers,
    };
    match open_any(path) {
        Ok(Some((device, name))) => {
            let node = Node { device, path: path.to_owned(), name: name.clone() };
            Some(listed(name, Ok(node.offers())))
        }
        Ok(None) => None,
        // It cannot be asked what it is. The second and later nodes of one device are its metadata.
        Err(error) => (number(path, "index").unwrap_or(0) == 0).then(|| listed(sysfs_name(path), Err(error))),
    }
}

/// `/dev/video0` is also asked for as `video0` and `0`.
fn aliases(path: &str) -> Vec<String> {
    let node = path.trim_start_matches("/dev/");
    vec![path.to_owned(), node.to_owned(), node.trim_start_matches("video").to_owned()]
}

/// Opens a node and asks for its name. `None`: it does not capture video.
fn open_any(path: &Path) -> Result<Option<(v4l::Device, String)>, DeviceError> {
    let called = || format!("the camera {}", sysfs_name(path));
    let file = fs::metadata(path).map_err(|error| explain(&error, path, called()))?;
    if !file.file_type().is_char_device() {
        return Err(DeviceError::new(Fault::NotFound, called())
            .with_detail(format!("{} is no device", path.display())));
    }
    let device = v4l::Device::with_path(path).map_err(|error| explain(&error, path, called()))?;
    let capabilities = match query_capabilities(&device) {
        Ok(capabilities) => capabilities,
        // A character device of another kind.
        Err(error) if error.raw_os_error() == Some(Errno::ENOTTY as i32) => return Ok(None),
        Err(error) => return Err(explain(&error, path, called())),
    };
    // `capabilities` speaks of the whole device, `device_caps` of this node.
    let caps = if capabilities.capabilities & v4l_sys::V4L2_CAP_DEVICE_CAPS == 0 {
        capabilities.capabilities
    } else {
        capabilities.device_caps
    };
    let wanted = v4l_sys::V4L2_CAP_VIDEO_CAPTURE | v4l_sys::V4L2_CAP_STREAMING;
    if caps & wanted != wanted {
        return Ok(None);
    }
    let card = String::from_utf8_lossy(&capabilities.card);
    Ok(Some((device, card.trim_end_matches('\0').trim().to_owned())))
}

/// VIDIOC_QUERYCAP. Asked here and not through `Device::query_caps`, which gives up on a name that is not UTF-8: names are
/// cut at 31 bytes, in the middle of a letter too.
fn query_capabilities(device: &v4l::Device) -> io::Result<v4l_sys::v4l2_capability> {
    // SAFETY: a plain C structure of integers and byte arrays, for which zero is a value.
    let mut capabilities: v4l_sys::v4l2_capability = unsafe { mem::zeroed() };
    // SAFETY: the request fills exactly one such structure, which lives across the call; the descriptor is open.
    unsafe {
        v4l::v4l2::ioctl(
            device.handle().fd(),
            v4l::v4l2::vidioc::VIDIOC_QUERYCAP,
            (&raw mut capabilities).cast::<c_void>(),
        )?;
    }
    Ok(capabilities)
}

/// From what the system says to what the person can act on.
fn explain(error: &io::Error, path: &Path, called: String) -> DeviceError {
    let errno = error.raw_os_error().map(Errno::from_raw);
    let fault = match errno {
        Some(Errno::ENOENT | Errno::ENXIO | Errno::ENOTDIR) => Fault::NotFound,
        Some(Errno::ENODEV) => Fault::Disconnected,
        Some(Errno::EBUSY) => Fault::Busy { by: holders::of(path) },
        Some(Errno::EACCES | Errno::EPERM) => Fault::Permission(missing_permission(path)),
        Some(Errno::EINVAL) => Fault::Unsupported { asked: "this".to_owned() },
        _ => Fault::Unknown,
    };
    DeviceError::new(fault, called).with_detail(error)
}

/// Which permission is missing: the node's group, where being in it would help.
fn missing_permission(path: &Path) -> Permission {
    let file = path.display().to_string();
    let Ok(metadata) = fs::metadata(path) else { return Permission::File { file } };
    let for_the_group = metadata.permissions().mode() & 0o060 == 0o060;
    let member = getegid().as_raw() == metadata.gid()
        || getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == metadata.gid()));
    let group = Group::from_gid(metadata.gid().into()).ok().flatten();
    match group {
        Some(group) if for_the_group && !member && !geteuid().is_root() => {
            Permission::Group { group: group.name, file }
        }
        _ => Permission::File { file },
    }
}

/// The kernel's name for a node, readable without opening it; else its path.
fn sysfs_name(path: &Path) -> String {
    read_sysfs(path, "name").unwrap_or_else(|| path.display().to_string())
}

/// How it is connected, by the bus that its device hangs on.
fn connection(path: &Path) -> Option<Connection> {
    let device = fs::canonicalize(Path::new("/sys/class/video4linux").join(path.file_name()?)).ok()?;
    let device = device.to_str()?;
    if device.contains("/usb") {
        Some(Connection::Usb)
    } else {
        device.contains("/devices/virtual/").then_some(Connection::Virtual)
    }
}

fn number(path: &Path, what: &str) -> Option<u32> {
    read_sysfs(path, what)?.parse().ok()
}

fn read_sysfs(path: &Path, what: &str) -> Option<String> {
    let node = Path::new("/sys/class/video4linux").join(path.file_name()?).join(what);
    Some(fs::read_to_string(node).ok()?.trim().to_owned())
}
