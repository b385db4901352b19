//! Going through situations: one link that changes, a server at its other end, and a person at the page.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use greenroom_reports::schema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Programs;
use super::super::program::{PageError, Server, failed};
use super::{Found, Mark, Meanwhile, Set, Situation};
use crate::lab::Lab;

/// Where the server is that has no endpoint.
const WITHOUT: u16 = 8_081;
const WITH: u16 = 8_080;
/// Situations that go on at once.
const AT_ONCE: usize = 2;

/// What came of one situation.
#[derive(Debug)]
pub struct Ran<'a> {
    /// Which.
    pub situation: &'a Situation,
    /// What was found.
    pub found: Found,
    /// Whether that is right.
    pub mark: Mark,
}

/// Goes through those that are wanted, in the order of the file; `told` hears of each as it is done.
///
/// # Errors
/// When the lab cannot be had, a program fails, or a report cannot be read.
pub fn run<'a>(
    set: &'a Set,
    wanted: impl Fn(&Situation) -> bool,
    seed: u64,
    programs: &Programs,
    mut told: impl FnMut(&Ran<'_>),
) -> Result<Vec<Ran<'a>>, PageError> {
    let situations: Vec<&Situation> = set.situations.iter().filter(|situation| wanted(situation)).collect();
    let Some(first) = situations.first().and_then(|situation| set.network(situation)) else {
        return Ok(Vec::new());
    };
    let lab = Lab::start(first, seed)?;
    let mut ends = Ends::start(&lab, programs)?;
    let mut all = Vec::new();
    for together in batches(&situations) {
        if let Some(network) = together.first().and_then(|situation| set.network(situation)) {
            lab.change(network, seed);
        }
        let found = ends.ask(together)?;
        for (situation, found) in together.iter().copied().zip(found) {
            let ran = Ran { situation, mark: situation.label.mark(&found), found };
            told(&ran);
            all.push(ran);
        }
        if together.iter().any(|situation| situation.meanwhile == Meanwhile::ServerGone) {
            ends.with = serve(&lab, programs, ends.folder.path(), WITH, &endpoint(&lab))?;
        }
    }
    Ok(all)
}

/// Neighbors that do not feel each other.
fn batches<'s, 'a>(situations: &'s [&'a Situation]) -> impl Iterator<Item = &'s [&'a Situation]> {
    let mut rest = situations;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let many =
            rest.iter().skip(1).take(AT_ONCE - 1).take_while(|other| first.goes_with(other)).count() + 1;
        let (batch, others) = rest.split_at(many);
        rest = others;
        Some(batch)
    })
}

/// The programs at both ends of the link.
struct Ends {
    with: Server,
    _without: Server,
    person: Person,
    folder: tempfile::TempDir,
    host: String,
}

#[derive(Deserialize)]
struct Told {
    report: Option<Value>,
    took_s: Option<f64>,
    said: String,
    wrong: Vec<String>,
}

impl Ends {
    fn start(lab: &Lab, programs: &Programs) -> Result<Self, PageError> {
        let folder = tempfile::tempdir().map_err(|error| failed("a folder")(&error))?;
        let with = serve(lab, programs, folder.path(), WITH, &endpoint(lab))?;
        let without = serve(lab, programs, folder.path(), WITHOUT, "off")?;
        let host = lab.there().ipv4().to_string();
        let bases = [WITH, WITHOUT].map(|port| format!("http://{host}:{port}"));
        let mut command = lab.here().command(&programs.python);
        command.arg(programs.script.with_file_name("situations.py"));
        command
            .env("GREENROOM_BASE", &bases[0])
            .env("GREENROOM_BASES", bases.join(","))
            .env("GREENROOM_FOLDER", folder.path())
            .env("GREENROOM_THERE", lab.there().name());
        // Sounds and pictures are the same each time, and take seconds to be made.
        let made = programs.greenroom.ancestors().nth(2).map(|target| target.join("tmp/media"));
        command.envs(made.map(|folder| ("GREENROOM_MADE", folder)));
        let person = Person::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn())
            .map_err(|error| failed("the browser's driver")(&error))?;
        Ok(Self { with, _without: without, person, folder, host })
    }

    fn ask(&mut self, together: &[&Situation]) -> Result<Vec<Found>, PageError> {
        let asked: Vec<Value> = together.iter().map(|situation| self.words(situation)).collect();
        let answer =
            self.person.ask(&json!(asked)).map_err(|error| failed("the browser's driver")(&error))?;
        let all: Vec<Told> = serde_json::from_str(&answer).map_err(|error| {
            let names: Vec<&str> = together.iter().map(|situation| situation.name.as_str()).collect();
            failed("the browser's driver")(&format!("{}: {error}", names.join(", ")))
        })?;
        all.into_iter()
            .map(|Told { report, took_s, said, wrong }| {
                let read = |report: &Value| schema::read(&report.to_string());
                let report = report.as_ref().map(read).transpose();
                let report = report.map_err(|error| failed("the page's report")(&error))?;
                Ok(Found::of(report.as_ref(), said, took_s, wrong))
            })
            .collect()
    }

    /// What the person at the page is told: everything but the label.
    fn words(&self, situation: &Situation) -> Value {
        let port = if situation.network.is_some() { WITH } else { WITHOUT };
        json!({
            "name": situation.name,
            "base": format!("http://{}:{port}", self.host),
            "server": self.with.id(),
            "microphone": situation.microphone,
            "camera": situation.camera,
            "devices": situation.devices,
            "permission": situation.permission,
            "meanwhile": situation.meanwhile,
            "wanted": situation.wanted,
            "asks": situation.asks(),
            "answer": situation.answer,
            "trial": situation.trial,
            "says": situation.label.says,
        })
    }
}

fn endpoint(lab: &Lab) -> String {
    format!("{}:{}", lab.there().ipv4(), super::super::MEDIA)
}

fn serve(
    lab: &Lab,
    programs: &Programs,
    folder: &Path,
    port: u16,
    endpoint: &str,
) -> Result<Server, PageError> {
    let at = lab.there().ipv4();
    let data = if port == WITH { "data" } else { "data-without" };
    let mut serve = lab.there().command(&programs.greenroom);
    serve.args([
        "serve",
        "--plain-http",
        "--quiet",
        "--listen",
        &format!("{at}:{port}"),
        "--endpoint",
        endpoint,
    ]);
    serve.arg("--data").arg(folder.join(data));
    Server::start(&mut serve, "http://").map_err(|error| failed("greenroom serve")(&error))
}

/// The browser's driver, which ends with its handle.
struct Person {
    child: Child,
    /// Closed, it ends, and its browsers with it.
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Person {
    fn start(spawned: std::io::Result<Child>) -> std::io::Result<Self> {
        let mut child = spawned?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (asks, answers) = pipes.ok_or_else(|| std::io::Error::other("no pipes"))?;
        Ok(Self { child, asks: Some(asks), answers: BufReader::new(answers) })
    }

    fn ask(&mut self, what: &Value) -> std::io::Result<String> {
        let asks = self.asks.as_mut().ok_or_else(|| std::io::Error::other("it was sent home"))?;
        writeln!(asks, "{what}")?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(std::io::Error::other("it ended; what it said stands above"));
        }
        Ok(line)
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        drop(self.asks.take());
        // Whatever it ends with: its answers are in.
        let _ = self.child.wait();
    }
}
