//! The program at both ends.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::beside::Stage;
use super::world::World;
use super::{Disturbance, RealError};
use crate::lab::Namespace;
use crate::lab::system;

/// What ends the words of an endpoint that is ready.
const READY: &str = "Ctrl-C stops it.\n";
/// A check that runs longer is ended.
const LONGEST: Duration = Duration::from_secs(60);
/// From disturbance to disturbance.
const DISTURBED_EVERY: Duration = Duration::from_millis(400);
/// How long a check that gets no processor gets none.
const HALT: Duration = Duration::from_millis(120);
/// How often it is looked whether a check has ended.
const LOOK: Duration = Duration::from_millis(10);
/// Makes every receive buffer one of a few packets, whatever the program asks for.
const SHIM: &str = r#"#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
typedef int (*call)(int, int, int, const void *, socklen_t);
int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
  call real = (call)dlsym(RTLD_NEXT, "setsockopt");
  int few = 8192;
  if (level == SOL_SOCKET && name == SO_RCVBUF) return real(fd, level, name, &few, sizeof few);
  return real(fd, level, name, value, size);
}
"#;

/// A running `greenroom respond`. Killed when dropped.
pub(super) struct Endpoint {
    child: Child,
    /// Kept open, for it may have more to say.
    _stdout: BufReader<ChildStdout>,
}

impl Endpoint {
    /// Starts one and waits until everything listens.
    pub(super) fn start(at: &Namespace, program: &Path, listen: &str) -> Result<Self, RealError> {
        let failed = |source| RealError::Step { step: format!("run {} respond", program.display()), source };
        let mut command = at.command(program);
        alone(&mut command).args(["respond", "--listen", listen, "--health", "off"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed(io::Error::other("no output")))?;
        let mut stdout = BufReader::new(stdout);
        let mut told = String::new();
        while !told.ends_with(READY) {
            if stdout.read_line(&mut told).map_err(failed)? == 0 {
                // It has ended by itself.
                let _ = child.wait();
                return Err(failed(io::Error::other(format!("it ended before it was ready: {told}"))));
            }
        }
        Ok(Self { child, _stdout: stdout })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A check that is to be run at the computer.
pub(super) struct Run<'a> {
    pub(super) program: &'a Path,
    pub(super) targets: &'a [String],
    pub(super) stage: &'a Stage,
    pub(super) folder: &'a Path,
}

impl Run<'_> {
    /// As it would be typed.
    pub(super) fn told(&self) -> String {
        format!("greenroom check {}", self.targets.join(" "))
    }

    /// Runs it, and returns its report as text with how long it took.
    pub(super) fn to_its_end(&self, world: &World) -> Result<(String, Duration), RealError> {
        let failed = |source| RealError::Step { step: format!("run {}", self.told()), source };
        let [report, errors] = ["report.json", "errors"].map(|name| self.folder.join(name));
        let mut command = world.computer().command(self.program);
        alone(&mut command).arg("check").args(self.targets);
        command.args([
            "--quick",
            "--devices",
            "none",
            "--no-history",
            "--quiet",
            "--config",
            "/dev/null",
            "--json",
        ]);
        command.arg(&report).stdout(Stdio::null()).stderr(File::create(&errors).map_err(failed)?);
        command.envs(self.stage.environment.iter().map(|(name, value)| (name, value)));
        own_mounts(&mut command, &self.stage.name_servers);
        let begun = system::now();
        let mut child = command.spawn().map_err(failed)?;
        let ended = attend(&mut child, &self.stage.disturbances, world);
        if !matches!(ended, Ok(true)) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let took = system::now().saturating_sub(begun);
        let mut said = String::new();
        File::open(&errors).and_then(|mut file| file.read_to_string(&mut said)).map_err(failed)?;
        if !ended? {
            said += "it did not end by itself";
        }
        let text = std::fs::read_to_string(&report);
        let text = text.map_err(|_| RealError::NoReport { command: self.told(), said })?;
        Ok((text, took))
    }
}

/// Waits for the end of a check, and disturbs it meanwhile. `false`: it goes on for too long.
fn attend(child: &mut Child, disturbances: &[Disturbance], world: &World) -> Result<bool, RealError> {
    let failed = |source| RealError::Step { step: "wait for a check".to_owned(), source };
    let begun = system::now();
    let mut next = begun + DISTURBED_EVERY;
    while child.try_wait().map_err(failed)?.is_none() {
        let now = system::now();
        if now > begun + LONGEST {
            return Ok(false);
        }
        if now >= next {
            for disturbance in disturbances {
                disturb(*disturbance, child, world).map_err(failed)?;
            }
            next = now + DISTURBED_EVERY;
        }
        system::sleep_until(now + LOOK);
    }
    Ok(true)
}

fn disturb(what: Disturbance, child: &Child, world: &World) -> io::Result<()> {
    match what {
        Disturbance::ForgetMappings => {
            let mut conntrack = world.router().command("conntrack");
            let done = conntrack.arg("-F").stdout(Stdio::null()).stderr(Stdio::null()).status();
            match done {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(io::Error::other(format!("conntrack -F: {status}"))),
                Err(error) => Err(io::Error::new(error.kind(), format!("conntrack -F: {error}"))),
            }
        }
        Disturbance::Halt => {
            let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
            kill(pid, Signal::SIGSTOP)?;
            system::sleep_until(system::now() + HALT);
            Ok(kill(pid, Signal::SIGCONT)?)
        }
    }
}

/// Without anybody's settings.
fn alone(command: &mut Command) -> &mut Command {
    command.env_clear().env("HOME", "/nonexistent").env("GREENROOM_DEVICES", "none").stdin(Stdio::null())
}

/// Gives a command its own `/etc/resolv.conf`, and the `/sys` of its network namespace.
fn own_mounts(command: &mut Command, name_servers: &Path) {
    let name_servers = name_servers.to_owned();
    let mounts = move || {
        let nothing: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), nothing)?;
        mount(Some(name_servers.as_path()), "/etc/resolv.conf", nothing, MsFlags::MS_BIND, nothing)?;
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls with strings made before; nothing is allocated for paths this short.
    unsafe { command.pre_exec(mounts) };
}

/// Compiles what makes receive buffers small, to be loaded before the program's own libraries.
pub(super) fn small_buffers(folder: &Path) -> Result<PathBuf, RealError> {
    let failed =
        |source| RealError::Step { step: "compile the small receive buffers (cc)".to_owned(), source };
    let [source, library] = ["buffers.c", "buffers.so"].map(|name| folder.join(name));
    std::fs::write(&source, SHIM).map_err(failed)?;
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
    let done = cc.output().map_err(failed)?;
    if done.status.success() {
        return Ok(library);
    }
    Err(failed(io::Error::other(String::from_utf8_lossy(&done.stderr).into_owned())))
}
