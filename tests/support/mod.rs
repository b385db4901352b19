//! `greenroom respond` as a process of its own, for whole-program tests.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The command, without anybody's settings.
pub(crate) fn greenroom<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greenroom"));
    command.args(args).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    // What is plugged into the machine that tests is of no interest here.
    command.env("GREENROOM_DEVICES", "none");
    command
}

/// A running endpoint. Killed when dropped.
pub(crate) struct Respond {
    child: Child,
    /// Kept open: a closed standard output must not end it, but that is another test.
    _stdout: BufReader<ChildStdout>,
    /// What it told before it was ready.
    pub(crate) told: String,
}

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) err: String,
}

impl Respond {
    /// Starts one on free ports of `listen` and waits until everything listens.
    pub(crate) fn on(listen: &str, more: &[&str]) -> Self {
        let base = ["respond", "--listen", listen, "--health", "127.0.0.1:0"];
        Self::start(greenroom(base.iter().chain(more)))
    }

    /// Waits until the command has told everything; panics with its errors when it ends before.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut told = String::new();
        while !told.ends_with("Ctrl-C stops it.\n") {
            if stdout.read_line(&mut told).expect("UTF-8") == 0 {
                let mut err = String::new();
                child.stderr.take().expect("piped").read_to_string(&mut err).expect("UTF-8");
                panic!("it ended before it was ready: {told}{err}");
            }
        }
        Self { child, _stdout: stdout, told }
    }

    /// The first word of what was told that begins so.
    fn word(&self, start: &str) -> &str {
        self.told
            .split_whitespace()
            .find(|word| word.starts_with(start))
            .unwrap_or_else(|| panic!("no {start} in {}", self.told))
    }

    /// The address to check, with its fingerprint.
    pub(crate) fn url(&self) -> &str {
        self.word("greenroom://")
    }

    /// Where STAMP is answered.
    pub(crate) fn stamp(&self) -> SocketAddr {
        let line = self.told.lines().find(|line| line.starts_with("Listens on")).expect("it listens");
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let ["Listens", "on", host, "UDP", _, "and", port, "TCP", _] = words[..] else { panic!("{line}") };
        format!("{host}:{port}").parse().expect("an address")
    }

    /// Where health and metrics are served.
    pub(crate) fn health(&self) -> SocketAddr {
        let url = self.word("http://").trim_start_matches("http://");
        url.split('/').next().and_then(|at| at.parse().ok()).expect("an address")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("it runs");
    }

    /// Reads one line of its standard error.
    pub(crate) fn error_line(&mut self) -> String {
        let mut line = Vec::new();
        let stderr = self.child.stderr.as_mut().expect("piped");
        let mut octet = [0];
        while stderr.read(&mut octet).expect("readable") == 1 && octet != *b"\n" {
            line.push(octet[0]);
        }
        String::from_utf8(line).expect("UTF-8")
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let mut err = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut err).expect("UTF-8");
        Ended { code: self.child.wait().expect("a child").code(), err }
    }
}

impl Drop for Respond {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
