//! Cameras on Linux by the kernel's own interface, V4L2: kernel timestamps, sequence numbers, error flags, bounded waits.

mod holders;
mod node;
mod stream;

use std::fs;
use std::path::{Path, PathBuf};

use crate::devices::{Clock, DeviceError, Fault};

use super::{Asked, Camera, CameraSystem, Inventory, Listed, mode};

/// The kernel's cameras.
#[derive(Debug, Clone, Copy)]
pub struct V4l2 {
    clock: Clock,
}

impl V4l2 {
    /// Cameras whose frames are stamped on `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl CameraSystem for V4l2 {
    fn list(&self) -> Result<Vec<Listed>, DeviceError> {
        Ok(self.inventory()?.cameras)
    }

    fn inventory(&self) -> Result<Inventory, DeviceError> {
        Ok(inventory_of(&nodes(), node::describe))
    }

    fn open(&self, id: &str, asked: &Asked) -> Result<Box<dyn Camera>, DeviceError> {
        start(&path_of(id)?, asked, self.clock).map_err(|error| match error.fault {
            // It was never in use: it went between being listed and being opened.
            Fault::Disconnected => DeviceError { fault: Fault::NotFound, ..error },
            _ => error,
        })
    }
}

/// What is a camera among these nodes, as `describe` tells.
fn inventory_of(nodes: &[PathBuf], describe: impl Fn(&Path) -> Option<Listed>) -> Inventory {
    let mut cameras: Vec<Listed> = nodes.iter().filter_map(|path| describe(path)).collect();
    let left_out = u64::try_from(nodes.len() - cameras.len()).unwrap_or(u64::MAX);
    // Linux has no default camera; programs take the first that works.
    if let Some(first) = cameras.iter_mut().find(|camera| camera.offers.is_ok()) {
        first.default = true;
    }
    Inventory { cameras, left_out }
}

fn start(path: &Path, asked: &Asked, clock: Clock) -> Result<Box<dyn Camera>, DeviceError> {
    let node = node::Node::open(path)?;
    let mode = mode::choose(&node.offers(), asked)
        .ok_or_else(|| DeviceError::new(Fault::Unsupported { asked: asked.to_string() }, node.called()))?;
    Ok(Box::new(stream::Stream::start(node, mode, clock)?))
}

/// The video nodes in the order of their numbers, cameras or not.
fn nodes() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/dev") else { return Vec::new() };
    let mut nodes: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("video")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, path)| path).collect()
}

/// The name of a node that survives replugging and restarting, made by udev from maker, model and serial number; else the
/// node itself.
fn stable_id(path: &Path) -> String {
    let by_id = fs::read_dir("/dev/v4l/by-id").into_iter().flatten().flatten().map(|entry| entry.path());
    by_id
        .filter(|link| fs::canonicalize(link).is_ok_and(|target| target == path))
        .find_map(|link| Some(link.file_name()?.to_str()?.to_owned()))
        .unwrap_or_else(|| path.display().to_string())
}

/// The node that an id names.
fn path_of(id: &str) -> Result<PathBuf, DeviceError> {
    let path = if id.starts_with('/') { PathBuf::from(id) } else { Path::new("/dev/v4l/by-id").join(id) };
    fs::canonicalize(&path)
        .map_err(|error| DeviceError::new(Fault::NotFound, format!("the camera {id}")).with_detail(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_are_no_cameras_are_counted_and_the_first_that_works_is_the_default() {
        let paths: Vec<PathBuf> = (0..5).map(|number| PathBuf::from(format!("/dev/video{number}"))).collect();
        // As of a laptop: a camera that another program may not share, its metadata, a second camera, its metadata, a radio.
        let found = inventory_of(&paths, |path| {
            let offers = match path.to_str()? {
                "/dev/video0" => Err(DeviceError::new(Fault::Busy { by: None }, "the camera")),
                "/dev/video2" => Ok(Vec::new()),
                _ => return None,
            };
            Some(Listed {
                id: path.display().to_string(),
                name: String::new(),
                default: false,
                connection: None,
                aliases: Vec::new(),
                offers,
            })
        });
        assert_eq!(found.left_out, 3);
        let listed: Vec<_> =
            found.cameras.iter().map(|camera| (camera.id.as_str(), camera.default)).collect();
        assert_eq!(listed, [("/dev/video0", false), ("/dev/video2", true)]);
        assert_eq!(inventory_of(&[], |_| None), Inventory::default());
    }
}
