//! Who has a device open, where the system lets this user see it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::devices::Who;

/// The program other than this one that has the device at `path` open. `None`: nobody, or nobody that may be seen.
///
/// Linux shows the open files of a process to its own user and to root.
pub(super) fn of(path: &Path) -> Option<Who> {
    let device = fs::metadata(path).ok()?.rdev();
    let mine = std::process::id();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids: Vec<u32> = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let pid = pids.into_iter().filter(|&pid| pid != mine).find(|&pid| holds(pid, device))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
    Some(Who { name, pid: Some(pid) })
}

fn holds(pid: u32, device: u64) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|entry| fs::metadata(entry.path()).ok()).any(|file| file.rdev() == device)
}
