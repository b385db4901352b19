//! The programs at both ends.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use greenroom_reports::schema::{self, Report};
use serde::Deserialize;
use serde_json::Value;

use super::Programs;
use crate::lab::{Lab, LabError};
use crate::scenario::Problem;

/// Why a link has no comparison.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The link.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Its description.
    #[error(transparent)]
    Scenario(Problem),
    /// A program.
    #[error("{program}: {problem}")]
    Program {
        /// Which.
        program: &'static str,
        /// What it said.
        problem: String,
    },
}

pub(super) fn failed(program: &'static str) -> impl Fn(&dyn std::fmt::Display) -> PageError {
    move |problem| PageError::Program { program, problem: problem.to_string() }
}

/// A server that ends with its handle.
pub(super) struct Server {
    child: Child,
    /// Kept open, for it may have more to say.
    stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Waits until it has written a line that holds this.
    pub(super) fn start(command: &mut Command, ready: &str) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut server = Self { child, stdout: BufReader::new(stdout) };
        let mut line = String::new();
        while !line.contains(ready) {
            line.clear();
            if server.stdout.read_line(&mut line)? == 0 {
                return Err(io::Error::other("it ended before it was ready"));
            }
        }
        Ok(server)
    }
}

impl Server {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Deserialize)]
struct Told {
    early: Option<Early>,
    report: Value,
}

#[derive(Deserialize)]
struct Early {
    after_ms: f64,
    report: Value,
}

/// What the page found, and what it said first.
pub(super) fn page(
    lab: &Lab,
    wanted: &str,
    programs: &Programs,
) -> Result<(Report, Option<(Duration, Report)>), PageError> {
    let at = lab.there().ipv4();
    let folder = tempfile::tempdir().map_err(|error| failed("a folder")(&error))?;
    let mut serve = lab.there().command(&programs.greenroom);
    serve.args(["serve", "--plain-http", "--quiet", "--listen", &format!("{at}:8080"), "--endpoint"]);
    serve.arg(format!("{at}:7443")).arg("--data").arg(folder.path().join("data"));
    let base = format!("http://{at}:8080");
    let _serve = Server::start(&mut serve, "http://").map_err(|error| failed("greenroom serve")(&error))?;
    let mut browser = lab.here().command(&programs.python);
    browser.arg(&programs.script).args([base.as_str(), wanted]).stdin(Stdio::null());
    let ran = browser.output().map_err(|error| failed("the browser's driver")(&error))?;
    if !ran.status.success() {
        return Err(failed("the page")(&String::from_utf8_lossy(&ran.stderr)));
    }
    let told: Told = serde_json::from_slice(&ran.stdout).map_err(|error| failed("the page")(&error))?;
    let read = |report: &Value| {
        schema::read(&report.to_string()).map_err(|error| failed("the page's report")(&error))
    };
    let early = match &told.early {
        Some(early) => {
            Some((Duration::from_secs_f64((early.after_ms / 1_000.0).max(0.0)), read(&early.report)?))
        }
        None => None,
    };
    Ok((read(&told.report)?, early))
}

/// What the program finds, thoroughly.
pub(super) fn native(lab: &Lab, programs: &Programs) -> Result<Report, PageError> {
    let at = lab.there().ipv4().to_string();
    let mut respond = lab.there().command(&programs.greenroom);
    respond.args(["respond", "--listen", &at, "--health", "off"]);
    let _respond = Server::start(&mut respond, "Ctrl-C stops it")
        .map_err(|error| failed("greenroom respond")(&error))?;
    let mut check = lab.here().command(&programs.greenroom);
    check.args(["check", &at, "--deep", "--for", "audio", "--devices", "none", "--json", "-", "--quiet"]);
    check.args(["--no-history", "--config", "/dev/null"]).stdin(Stdio::null());
    // Its exit code is the verdict.
    let ran = check.output().map_err(|error| failed("greenroom check")(&error))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    schema::read(&String::from_utf8_lossy(&ran.stdout))
        .map_err(|error| failed("greenroom check")(&format!("{error}: {said}")))
}
