//! `greenroom agent` against `greenroom serve`, as processes of their own: enrollment, runs, a server that goes away and comes back, and an
//! agent that is killed at any moment.
#![cfg(all(unix, feature = "web"))]
#![expect(clippy::disallowed_methods, reason = "a test asks for pages over sockets of its own, and waits")]

#[allow(dead_code, reason = "shared by several tests, each of which uses its part")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::greenroom;

/// Longest that anything is waited for: a machine may be busy, and an agent's backoff goes up to half a minute here.
const PATIENCE: Duration = Duration::from_secs(150);

/// A server with its data. Killed when dropped.
struct Serve {
    child: Child,
    at: SocketAddr,
}

impl Serve {
    fn on(data: &Path, listen: &str) -> Self {
        let mut child = greenroom(["serve", "--endpoint", "off", "--listen", listen, "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut told = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        while !told.contains("Data ") {
            assert_ne!(stdout.read_line(&mut told).expect("UTF-8"), 0, "it ended early: {told}");
        }
        let url = told.split_whitespace().find_map(|word| word.strip_prefix("http://")).expect("an address");
        Self { child, at: url.parse().expect("an address") }
    }

    fn ask(&self, method: &str, path: &str, cookie: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.at).expect("it listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\nOrigin: http://{at}\r\nCookie: {cookie}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}",
            at = self.at,
            length = body.len()
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    fn json(&self, path: &str, cookie: &str) -> Value {
        let answer = self.ask("GET", path, cookie, "");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        // Chunked or not: what is JSON begins and ends with brackets.
        let from = body.find(['{', '[']).unwrap_or_else(|| panic!("no JSON: {answer}"));
        let to = body.rfind(['}', ']']).expect("an end");
        serde_json::from_str(&body[from..=to]).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running agent. Killed when dropped.
struct Agent(Child);

impl Agent {
    fn start(state: &Path) -> Self {
        Self(
            greenroom(["agent", "run", "--state"])
                .arg(state)
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary runs"),
        )
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.0.id()).expect("a process id")), signal).expect("it runs");
        self.0.wait().expect("a child").code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server with an admin, a target that answers, and a computer that is enrolled.
struct Fleet {
    folder: tempfile::TempDir,
    server: Option<Serve>,
    at: SocketAddr,
    cookie: String,
    agent: String,
}

impl Fleet {
    fn new(every_s: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let server = Serve::on(&data, "127.0.0.1:0");
        let link = fs::read_to_string(data.join("admin-link")).expect("the link is there");
        let path =
            link.trim().strip_prefix(&format!("http://{}", server.at)).expect("to this server").to_owned();
        let answer = server.ask("POST", &path, "", "name=ada&password=correct+horse+battery");
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a session");
        let cookie = cookie.split(';').next().expect("a value").to_owned();
        let target = format!("tcp:{}", somebody_who_listens());
        let mut fleet = Self { folder, at: server.at, server: Some(server), cookie, agent: String::new() };
        fleet.form("/schedules/targets", &[("targets", &target), ("check_in", "5")]);
        let every = every_s.to_string();
        fleet.form(
            "/schedules",
            &[
                ("id", "calls"),
                ("targets", &target),
                ("uses", "audio"),
                ("every", &every),
                ("in_call", "yes"),
                ("metered", "yes"),
            ],
        );
        fleet.enroll();
        fleet
    }

    fn server(&self) -> &Serve {
        self.server.as_ref().expect("it runs")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    fn form(&self, path: &str, pairs: &[(&str, &str)]) -> String {
        let text = |text: &str| text.replace('%', "%25").replace(':', "%3A").replace(' ', "+");
        let body: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
        let answer = self.server().ask("POST", path, &self.cookie, &body.join("&"));
        assert!(answer.starts_with("HTTP/1.1 303") || answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }

    fn enroll(&mut self) {
        let form = [("name", "test"), ("site", "Lyon"), ("days", "1"), ("most", "1"), ("approve", "no")];
        let page = self.form("/agents/tokens", &form);
        let token =
            page.split("<code class=\"secret\">").nth(1).expect("shown").split('<').next().expect("a token");
        let mut enrolling =
            greenroom(["agent", "enroll", "--token-file", "-", "--name", "laptop-7", "--server"])
                .arg(format!("http://{}", self.at))
                .arg("--state")
                .arg(self.state())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the binary runs");
        writeln!(enrolling.stdin.take().expect("piped"), "{token}").expect("it reads");
        let output = enrolling.wait_with_output().expect("it ends");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{out}{err}");
        assert!(!format!("{out}{err}").contains(token), "a token is never shown");
        let enrolled: Value =
            serde_json::from_str(&fs::read_to_string(self.state().join("enrolled.json")).expect("kept"))
                .expect("JSON");
        self.agent = enrolled["agent"].as_str().expect("an id").to_owned();
        let mode = fs::metadata(self.state().join("key")).expect("kept").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// Reports of the agent that the server has: boot, number and id of each.
    fn reports(&self) -> Vec<(String, u64, String)> {
        let list =
            self.server().json(&format!("/api/v1/reports?limit=500&agent={}", self.agent), &self.cookie);
        let list = list["reports"].as_array().expect("a list").clone();
        let one = |summary: &Value| {
            let id = summary["id"].as_str().expect("an id").to_owned();
            let report = self.server().json(&format!("/api/v1/reports/{id}"), &self.cookie);
            assert_eq!(report["kind"], "agent");
            assert_eq!(report["labels"]["site"], "Lyon");
            let boot = report["agent"]["boot"].as_str().expect("a boot").to_owned();
            (boot, report["agent"]["seq"].as_u64().expect("a number"), id)
        };
        list.iter().map(one).collect()
    }

    /// How many reports the sums count.
    fn counted(&self) -> u64 {
        let now = jiff::Timestamp::now();
        let from = now.checked_sub(jiff::SignedDuration::from_hours(2)).expect("a time");
        let to = now.checked_add(jiff::SignedDuration::from_hours(1)).expect("a time");
        let path = format!("/api/v1/fleet?from={from:.0}&to={to:.0}&step=5m");
        self.server().json(&path, &self.cookie)["all"]["reports"].as_u64().expect("a count")
    }

    fn status(&self) -> Value {
        fs::read_to_string(self.state().join("status.json"))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    fn waiting(&self) -> u64 {
        self.status()["waiting"].as_u64().unwrap_or(0)
    }

    fn start_server(&mut self) {
        self.server = Some(Serve::on(&self.folder.path().join("data"), &self.at.to_string()));
    }

    /// No gap and none twice: of every start, the numbers from 1 on.
    fn assert_complete(&self) {
        let reports = self.reports();
        let ids: BTreeSet<&String> = reports.iter().map(|(_, _, id)| id).collect();
        assert_eq!(ids.len(), reports.len(), "none is there twice");
        let mut boots: BTreeMap<&String, Vec<u64>> = BTreeMap::new();
        for (boot, seq, _) in &reports {
            boots.entry(boot).or_default().push(*seq);
        }
        for (boot, mut seqs) in boots {
            seqs.sort_unstable();
            let expected: Vec<u64> = (1..=seqs.len() as u64).collect();
            assert_eq!(seqs, expected, "{boot} has no gap");
        }
        assert_eq!(self.counted(), reports.len() as u64, "the sums count each once");
        // The server says the same of itself.
        let page = self.server().ask("GET", &format!("/agents/{}", self.agent), &self.cookie, "");
        let missing: Vec<&str> =
            page.split("data-name=\"Missing\">").skip(1).filter_map(|rest| rest.split('<').next()).collect();
        assert!(!missing.is_empty() && missing.iter().all(|n| *n == "0"), "{missing:?}");
    }
}

/// A target that takes connections, for as long as the test runs.
fn somebody_who_listens() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = listener.local_addr().expect("an address");
    std::thread::spawn(move || listener.incoming().for_each(drop));
    at
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_server_that_was_away_gets_all_of_it_once() {
    let mut fleet = Fleet::new(10);
    let mut agent = Agent::start(&fleet.state());
    wait_for("two reports", || fleet.reports().len() >= 2);
    fleet.server.take().expect("it runs").kill();
    wait_for("reports that wait", || fleet.waiting() >= 2);
    // The agent is killed, too, and starts again without a server: it goes on by the configuration that it has.
    agent.signal(Signal::SIGKILL);
    let waited = fleet.waiting();
    agent = Agent::start(&fleet.state());
    wait_for("one more", || fleet.waiting() > waited);
    fleet.start_server();
    wait_for("all of them", || fleet.waiting() == 0 && fleet.status()["last_error"].is_null());
    // A run that somebody asks for, besides.
    let before = fleet.reports().len();
    fleet.form(&format!("/agents/{}", fleet.agent), &[("act", "run"), ("schedule", "calls")]);
    wait_for("the run that was asked for", || {
        fleet.reports().iter().any(|(_, _, id)| {
            let report = fleet.server().json(&format!("/api/v1/reports/{id}"), &fleet.cookie);
            report["settings"]["run"]["agent"]["run_now"].is_string()
        })
    });
    assert!(fleet.reports().len() > before);
    assert_eq!(agent.signal(Signal::SIGTERM), Some(0));
    let told = greenroom(["agent", "status", "--state"]).arg(fleet.state()).output().expect("it ends");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("not running") && told.contains("calls"), "{told}");
    let doctor = greenroom(["agent", "doctor", "--state"]).arg(fleet.state()).output().expect("it ends");
    assert_eq!(doctor.status.code(), Some(0), "{}", String::from_utf8_lossy(&doctor.stdout));
    wait_for_the_rest(&fleet);
    fleet.assert_complete();
}

#[test]
fn an_agent_that_is_killed_at_any_moment_loses_nothing_and_repeats_nothing() {
    let fleet = Fleet::new(10);
    let mut seed = 20_261_129_u64;
    eprintln!("seed {seed}");
    for _ in 0..8 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let alive = Duration::from_millis(1_000 + (seed >> 33) % 11_000);
        let mut agent = Agent::start(&fleet.state());
        std::thread::sleep(alive);
        agent.signal(Signal::SIGKILL);
    }
    wait_for_the_rest(&fleet);
    fleet.assert_complete();
}

/// A clock that is a day ahead, then hours behind, then right: runs go on as before, and none is lost or there twice.
#[cfg(target_os = "linux")]
#[test]
fn the_clock_of_an_agent_may_step() {
    let library = fs::read_dir("/usr/lib").expect("a folder").flatten();
    let library = library
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"))
        .find(|library| library.exists())
        .expect("libfaketime is needed: ./dev test installs it");
    let fleet = Fleet::new(10);
    let clock = fleet.folder.path().join("clock");
    let step = |to: &str| fs::write(&clock, to).expect("writable");
    step("+0");
    let mut agent = Agent(
        greenroom(["agent", "run", "--state"])
            .arg(fleet.state())
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs"),
    );
    for to in ["+0", "+1d", "-3h", "+0"] {
        step(to);
        let before = fleet.reports().len();
        wait_for(&format!("two more by a clock of {to}"), || fleet.reports().len() >= before + 2);
    }
    assert_eq!(agent.signal(Signal::SIGTERM), Some(0));
    let reports = fleet.reports();
    let ids: BTreeSet<&String> = reports.iter().map(|(_, _, id)| id).collect();
    assert_eq!(ids.len(), reports.len(), "none is there twice");
    let mut numbers: Vec<u64> = reports.iter().map(|(_, number, _)| *number).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=reports.len() as u64), "no gap: {numbers:?}");
}

/// Lets an agent send what is still on the disk, and make a run of its own.
fn wait_for_the_rest(fleet: &Fleet) {
    let mut agent = Agent::start(&fleet.state());
    let pid = u64::from(agent.0.id());
    wait_for("what is left on the disk", || {
        let status = fleet.status();
        let ran = status["last_sent"].is_string();
        status["pid"].as_u64() == Some(pid) && ran && status["waiting"] == 0 && status["standing"] == "active"
    });
    assert_eq!(agent.signal(Signal::SIGTERM), Some(0));
}

#[test]
fn what_is_wrong_is_said_and_no_secret_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |args: &[&str]| {
        let output =
            greenroom(args).arg("--state").arg(folder.path().join("agent")).output().expect("it ends");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = said(&["agent", "run"]);
    assert!(code == Some(66) && text.contains("agent enroll"), "{code:?} {text}");
    assert_eq!(said(&["agent", "status"]).0, Some(66));
    assert_eq!(said(&["agent", "doctor"]).0, Some(1));
    let (code, text) = said(&["agent", "enroll", "--server", "https://127.0.0.1:1"]);
    assert!(code == Some(64) && text.contains("--token-file"), "{code:?} {text}");
    assert_eq!(said(&["agent", "enroll", "--server", "http://192.0.2.1", "--token-file", "x"]).0, Some(64));
    let file = folder.path().join("token");
    fs::write(&file, "ge_hunter2").expect("writable");
    let (code, text) = said(&[
        "agent",
        "enroll",
        "--server",
        "http://127.0.0.1:1",
        "--token-file",
        file.to_str().expect("text"),
    ]);
    assert!(code == Some(69) && !text.contains("hunter2"), "{code:?} {text}");
}

#[test]
fn the_unit_is_one_that_systemd_takes_and_gives_few_rights() {
    let folder = tempfile::tempdir().expect("a folder");
    let installed =
        greenroom(["agent", "install", "--unit-dir"]).arg(folder.path()).output().expect("it ends");
    assert_eq!(installed.status.code(), Some(0));
    let unit = folder.path().join("greenroom-agent.service");
    let analyze = |args: &[&str]| {
        let output = std::process::Command::new("systemd-analyze").args(args).arg(&unit).output();
        let output = output.expect("systemd-analyze is there: ./dev test installs it");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (good, words) = analyze(&["verify"]);
    // Other units of this computer are none of ours.
    assert!(good && !words.lines().any(|line| line.contains("greenroom-agent")), "{words}");
    // 10 is a service with all rights.
    let (good, words) = analyze(&["security", "--offline=true", "--threshold=25"]);
    assert!(good, "{words}");
}
