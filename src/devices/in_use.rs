//! Whether a microphone or a camera of this computer is in use now: then somebody is perhaps in a call.

use std::fs;
use std::path::Path;

/// What is in use. `None`: this system, or this user's rights, do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InUse {
    /// Whether a sound card captures.
    pub microphone: Option<bool>,
    /// Whether a program has a camera open.
    pub camera: Option<bool>,
}

impl InUse {
    /// Looks now. Nothing is opened.
    pub fn now() -> Self {
        Self::below(Path::new("/proc"), Path::new("/dev"))
    }

    /// Whether something is known to be in use.
    pub fn is_call(&self) -> bool {
        self.microphone == Some(true) || self.camera == Some(true)
    }

    fn below(proc: &Path, dev: &Path) -> Self {
        Self { microphone: microphone(&proc.join("asound")), camera: camera(proc, dev) }
    }
}

/// Whether any capturing stream of any card is not closed (`/proc/asound/card0/pcm0c/sub0/status`). Sound servers close what nobody
/// listens to.
fn microphone(asound: &Path) -> Option<bool> {
    let cards = fs::read_dir(asound).ok()?;
    let mut is_used = false;
    for card in cards.flatten().filter(|card| card.file_name().to_string_lossy().starts_with("card")) {
        for stream in fs::read_dir(card.path()).into_iter().flatten().flatten() {
            let name = stream.file_name().to_string_lossy().into_owned();
            if !(name.starts_with("pcm") && name.ends_with('c')) {
                continue;
            }
            for sub in fs::read_dir(stream.path()).into_iter().flatten().flatten() {
                let status = fs::read_to_string(sub.path().join("status"));
                is_used |= status.is_ok_and(|status| !status.trim().is_empty() && status.trim() != "closed");
            }
        }
    }
    Some(is_used)
}

/// Whether a program has `/dev/video…` open. Linux shows the open files of a process to its own user and to root alone: that none is seen
/// means that none is open only where all can be looked at.
fn camera(proc: &Path, dev: &Path) -> Option<bool> {
    let is_camera = |path: &Path| {
        path.parent() == Some(dev)
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("video"))
    };
    let mut devices = fs::read_dir(dev).ok()?.flatten();
    if !devices.any(|entry| is_camera(&entry.path())) {
        // None is there, or none is shown to this process.
        return None;
    }
    let mut all_seen = true;
    for process in fs::read_dir(proc).ok()?.flatten() {
        if !process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            all_seen = false;
            continue;
        };
        if files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| is_camera(&to))) {
            return Some(true);
        }
    }
    all_seen.then_some(false)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    #[test]
    fn a_card_that_captures_is_a_microphone_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let (proc, dev) = (folder.path().join("proc"), folder.path().join("dev"));
        assert_eq!(InUse::below(&proc, &dev), InUse::default(), "nothing is known");
        write(&proc.join("asound/card0/pcm0c/sub0/status"), "closed\n");
        write(&proc.join("asound/card0/pcm0p/sub0/status"), "state: RUNNING\n");
        assert_eq!(InUse::below(&proc, &dev).microphone, Some(false), "playing is no call");
        write(&proc.join("asound/card1/pcm0c/sub0/status"), "state: RUNNING\nowner_pid   : 77\n");
        let found = InUse::below(&proc, &dev);
        assert!(found.microphone == Some(true) && found.is_call());
    }

    #[test]
    fn a_camera_that_somebody_has_open_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let (proc, dev) = (folder.path().join("proc"), folder.path().join("dev"));
        write(&dev.join("video0"), "");
        fs::create_dir_all(proc.join("77/fd")).unwrap();
        assert_eq!(InUse::below(&proc, &dev).camera, Some(false));
        // A process whose files are not shown.
        fs::create_dir_all(proc.join("88")).unwrap();
        assert_eq!(InUse::below(&proc, &dev).camera, None);
        std::os::unix::fs::symlink(dev.join("video0"), proc.join("77/fd/9")).unwrap();
        assert_eq!(InUse::below(&proc, &dev).camera, Some(true));
    }
}
