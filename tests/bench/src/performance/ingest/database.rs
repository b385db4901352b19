//! A PostgreSQL server as one would run it, in a folder that goes with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use greenroom::net::clock::Clock;
use greenroom_reports::units::Micros;
use tempfile::TempDir;

use crate::Fallible;
use crate::process::{output_of, pause};

/// Who runs it: it does not start as root.
const USER: &str = "nobody";

/// How long it may take to listen.
const PATIENCE: Micros = Micros::from_secs(30);

/// A running server.
pub(in crate::performance) struct Database {
    child: Child,
    programs: PathBuf,
    folder: TempDir,
    made: AtomicU32,
}

impl Database {
    pub(in crate::performance) fn start() -> Fallible<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("greenroom-bench-pg-").tempdir()?;
        output_of(Command::new("chown").arg(USER).arg(folder.path()))?;
        let data = folder.path().join("data");
        output_of(
            command(&programs, folder.path(), "initdb")
                .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--pgdata"])
                .arg(&data),
        )?;
        let child = command(&programs, folder.path(), "postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB"])
            .args(["-c", "wal_compression=lz4"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let database = Self { child, programs, folder, made: AtomicU32::new(0) };
        let clock = Clock::start();
        let status = data.join("postmaster.pid");
        while clock.now() < PATIENCE {
            let told = std::fs::read_to_string(&status).unwrap_or_default();
            if told.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(database);
            }
            pause(Duration::from_millis(20));
        }
        Err("postgres does not take connections".into())
    }

    /// The address of a database with nothing in it.
    pub(in crate::performance) fn empty(&self) -> Fallible<String> {
        let name = format!("bench_{}", self.made.fetch_add(1, Ordering::Relaxed));
        let folder = self.folder.path();
        output_of(
            command(&self.programs, folder, "createdb").args(["-U", "postgres", "-h"]).arg(folder).arg(&name),
        )?;
        Ok(format!("postgres:///{name}?user=postgres&host={}", folder.display()))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SIGQUIT: nothing is written, and no process of it stays behind.
        let _ = Command::new("kill").arg("-QUIT").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn command(programs: &Path, folder: &Path, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", "nogroup", "--clear-groups"]).arg(programs.join(program));
    command.current_dir(folder);
    command
}

/// Where the newest server's programs are: Debian keeps them apart by version.
fn programs() -> Fallible<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir("/usr/lib/postgresql")? {
        let entry = entry?;
        let version = entry.file_name().to_str().and_then(|name| name.parse().ok());
        found.extend(version.map(|version| (version, entry.path().join("bin"))));
    }
    let newest = found.into_iter().filter(|(_, programs)| programs.join("initdb").exists()).max();
    newest.map(|(_, programs)| programs).ok_or_else(|| "PostgreSQL is needed: ./dev test installs it".into())
}
