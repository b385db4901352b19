//! A PulseAudio server of a test's own: a null sink as the speaker, its monitor as the microphone. No sound card, no D-Bus, no
//! settings of anybody; works as root.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What is played into this is what its monitor hears.
pub(crate) const SPEAKER: &str = "speaker";
/// Hears what [`SPEAKER`] is sent.
pub(crate) const MONITOR: &str = "speaker.monitor";
/// Like [`SPEAKER`], for feeding a microphone.
pub(crate) const WIRE: &str = "wire";
/// A microphone that hears what [`WIRE`] is sent.
pub(crate) const MICROPHONE: &str = "microphone";

/// A running server. Ends when dropped.
pub(crate) struct SoundServer {
    dir: tempfile::TempDir,
    pid: Pid,
}

impl SoundServer {
    /// Starts one and points this process to it.
    ///
    /// The environment is the process's: nextest runs each test in one of its own, and a second server in one process panics.
    pub(crate) fn start() -> Self {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        assert!(
            !TAKEN.swap(true, Ordering::SeqCst),
            "one sound server per process: run the tests with nextest"
        );
        let server = Self::beside();
        for (name, value) in server.environment() {
            // SAFETY: this is the first thing a test does, and it has one thread yet.
            unsafe { std::env::set_var(name, value) };
        }
        server
    }

    /// Starts one that only the processes see that are given [`SoundServer::environment`].
    pub(crate) fn beside() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
        for folder in ["run", "run/pulse", "home"] {
            fs::DirBuilder::new().mode(0o700).create(dir.path().join(folder)).expect("writable");
        }
        let mut command = Command::new("pulseaudio");
        command
            .env_clear()
            .envs(environment(dir.path()))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let quiet = ["--exit-idle-time=-1", "--disallow-exit", "--use-pid-file=yes", "--realtime=no"];
        command.args(["-n", "--daemonize=yes", "--high-priority=no", "--disable-shm=yes"]).args(quiet);
        command.arg(format!("--log-target=file:{}", dir.path().join("log").display()));
        let socket = socket(dir.path());
        command
            .arg("-L")
            .arg(format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket.display()));
        for sink in [SPEAKER, WIRE] {
            let form = "rate=48000 channels=2 format=float32le";
            let name = format!("sink_properties=device.description=\"Test-{sink}\"");
            command.arg("-L").arg(format!("module-null-sink sink_name={sink} {form} {name}"));
        }
        let microphone = "source_properties=device.description=\"Test-microphone\"";
        command
            .arg("-L")
            .arg(format!("module-remap-source source_name={MICROPHONE} master={WIRE}.monitor {microphone}"));
        // It returns when the server is ready, and says why when it is not.
        let started =
            command.stdin(Stdio::null()).output().expect("pulseaudio is installed: ./dev test does it");
        let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        assert!(started.status.success(), "{}{}", String::from_utf8_lossy(&started.stderr), log());
        let pid =
            fs::read_to_string(dir.path().join("run/pulse/pid")).expect("a server writes its process number");
        let pid = Pid::from_raw(pid.trim().parse().expect("a number"));
        let server = Self { dir, pid };
        server.control(&["set-default-sink", SPEAKER]);
        server.control(&["set-default-source", MICROPHONE]);
        server
    }

    /// What makes a process use this server and nothing else of the machine.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        environment(self.dir.path())
    }

    /// Runs `pactl`.
    pub(crate) fn control(&self, args: &[&str]) -> String {
        let mut command = Command::new("pactl");
        command
            .env_clear()
            .envs(self.environment())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let ran = command.args(args).output().expect("pactl is installed: ./dev test does it");
        assert!(ran.status.success(), "pactl {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Kills it, as a crash would.
    pub(crate) fn crash(&self) {
        kill(self.pid, Signal::SIGKILL).expect("it runs");
    }

    /// Stops it without ending it: it answers nothing any more.
    pub(crate) fn freeze(&self) {
        kill(self.pid, Signal::SIGSTOP).expect("it runs");
    }
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        // A test may have killed it already.
        let _ = kill(self.pid, Signal::SIGKILL);
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("run/pulse/native")
}

fn environment(dir: &Path) -> Vec<(&'static str, PathBuf)> {
    let mut server = std::ffi::OsString::from("unix:");
    server.push(socket(dir));
    vec![
        ("PULSE_SERVER", server.into()),
        ("PULSE_RUNTIME_PATH", dir.join("run/pulse")),
        ("XDG_RUNTIME_DIR", dir.join("run")),
        ("HOME", dir.join("home")),
    ]
}
