//! A small disk in memory that can be filled. Needs root.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Name of the file that takes what room is left.
const BALLAST: &str = "ballast";

/// A disk in memory. Gone when dropped.
pub(crate) struct Disk(TempDir);

impl Disk {
    pub(crate) fn of(size: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=0777"), "tmpfs"], folder.path());
        Self(folder)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Mounts it in another way from now on.
    pub(crate) fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], self.path());
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.path().join(BALLAST)).expect("a file");
        for piece in [&[0; 1 << 16][..], &[0; 512]] {
            loop {
                match ballast.write_all(piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("the disk cannot be filled: {error}"),
                }
            }
        }
    }

    /// Gives the room back.
    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.path().join(BALLAST)).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: who still has a file open must not keep the folder.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Mounts at a folder.
pub(crate) fn mount(arguments: &[&str], at: &Path) {
    let done = Command::new("mount").args(arguments).arg(at).output().expect("mount runs");
    assert!(done.status.success(), "mount (as root): {}", String::from_utf8_lossy(&done.stderr));
}
