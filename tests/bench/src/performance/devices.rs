//! Whether testing the devices disturbs what is measured of the network, how long it takes, and how smooth a camera's picture
//! in the terminal is.

use std::fs;
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};

use greenroom::devices::camera::fake::{Fake, Scene};
use greenroom::devices::camera::paint::{CELL, Space, Style, paint};
use greenroom::devices::camera::pixels::{self, Rgb};
use greenroom::devices::camera::run::{Plan, run};
use greenroom::devices::camera::{Asked, Camera, CameraSystem as _, Frame, Opened, PixelFormat};
use greenroom::devices::{self, DeviceError};
use greenroom::net::clock::Clock;
use greenroom_netlab::lab::Lab;
use greenroom_netlab::scenario::Scenario;
use greenroom_reports::schema::{self, Report};
use greenroom_reports::trace::Direction;
use greenroom_reports::units::Micros;

use crate::process::{self, Server};
use crate::record::{Goal, Section};
use crate::{Fallible, ROUNDS};

/// A sound server with a microphone and a speaker, as the tests start it.
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../../sound/server.rs"]
mod sound_server;

use sound_server::SoundServer;

const STAMP: u16 = 7_444;
/// How long the network is measured.
const LASTING: &str = "8s";
/// What the tests may move the delay variation by, in milliseconds.
const ALLOWED: f64 = 0.2;
/// What they may take, in seconds.
const LONGEST: f64 = 4.0;
const ALONE: &str = "alone";

/// What is tested beside the network, again and again.
#[derive(Clone, Copy)]
enum Tests<'a> {
    /// The computer: one core is busy with encoding.
    Host,
    /// Microphone, speaker and computer, the sound through a server.
    All(&'a SoundServer),
}

impl Tests<'_> {
    /// How the delay variation beside it is called.
    const fn beside(self) -> &'static str {
        match self {
            Self::Host => "beside device tests",
            Self::All(_) => "beside device tests with microphone and speaker",
        }
    }

    /// How what it moves is called.
    const fn moved(self) -> &'static str {
        match self {
            Self::Host => "moved by",
            Self::All(_) => "moved by, with microphone and speaker",
        }
    }

    /// How the time that it takes is called.
    const fn took(self) -> &'static str {
        match self {
            Self::Host => "devices host, from start to end, beside the network",
            Self::All(_) => {
                "devices: microphone, speaker and computer, from start to end, beside the network"
            }
        }
    }

    fn command(self) -> Fallible<Command> {
        let mut command = Command::new(process::greenroom()?);
        command.arg("devices");
        match self {
            Self::Host => command.arg("host"),
            Self::All(server) => command.arg("--quiet").envs(server.environment()),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command)
    }

    /// Whether it came to its end. The microphone hears nothing but zeros, so that the verdict of all of them is not good.
    fn ended_well(self, code: Option<i32>) -> bool {
        match self {
            Self::Host => code == Some(0),
            Self::All(_) => code.is_some_and(|code| code <= 3),
        }
    }
}

pub(crate) fn measure(section: &mut Section) -> Fallible<()> {
    let server = SoundServer::beside();
    for round in 0..u64::try_from(ROUNDS)? {
        let alone = measure_once(round, None)?;
        for tests in [Tests::Host, Tests::All(&server)] {
            let mut times = Vec::new();
            let beside = measure_once(round, Some((tests, &mut times)))?;
            for (way, direction) in [("up", Direction::Up), ("down", Direction::Down)] {
                let what = format!("PDV {way} p95");
                let [quiet, busy] = [&alone, &beside].map(|report| pdv_p95(report, direction));
                let (quiet, busy) = quiet.zip(busy).ok_or("a measurement without delay variation")?;
                if matches!(tests, Tests::Host) {
                    section.add(&what, ALONE, "ms", quiet);
                }
                section.add(&what, tests.beside(), "ms", busy);
                section.add(&what, tests.moved(), "ms", (busy - quiet).abs()).goal(Goal::AtMost(ALLOWED));
            }
            let most = times.into_iter().reduce(f64::max).ok_or("no device test came to its end")?;
            section.add(tests.took(), "the slowest of the round", "s", most).goal(Goal::AtMost(LONGEST));
        }
    }
    for _ in 0..ROUNDS {
        preview(section)?;
    }
    section.group_by_what();
    section.note(&format!(
        "Over an emulated link of 20 ms without variation of its own, audio for {LASTING}. Beside it `greenroom devices host` runs again and again, which keeps one \
         core busy with encoding; or `greenroom devices`, which does so while it listens to a microphone for 2.5 s and plays to a speaker, both of a PulseAudio server \
         whose null sinks keep time. Cameras are not part of it: this machine has none. The camera in the terminal is the fake one, \
         its pictures enlarged to 1280x720: each is judged as in a test, and painted for {} columns and {} rows.",
        TERMINAL.columns, TERMINAL.rows
    ));
    Ok(())
}

/// Measures the network, with device tests beside it when their times are wanted.
fn measure_once(seed: u64, beside: Option<(Tests<'_>, &mut Vec<f64>)>) -> Fallible<Report> {
    let lab = Lab::start(&Scenario::named("clean")?, seed)?;
    let program = process::greenroom()?;
    let there = lab.there().ipv4().to_string();
    let mut respond = lab.there().command(&program);
    let _endpoint = Server::start(respond.args(["respond", "--listen", &there, "--health", "off"]), STAMP)?;
    // A file: a pipe that nobody reads meanwhile would be full before the report is.
    let file = std::env::temp_dir().join(format!("greenroom-bench-{}.json", std::process::id()));
    let mut command = lab.here().command(&program);
    command.args(["measure", &there, "--duration", LASTING, "--quiet", "--config", "/dev/null", "--json"]);
    command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut measuring = command.spawn()?;
    if let Some((tests, times)) = beside {
        test_devices_until_ended(&mut measuring, tests, times)?;
    }
    let status = measuring.wait()?;
    if !status.success() {
        return Err(format!("greenroom measure: {status}").into());
    }
    let text = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    Ok(schema::read(&text)?)
}

/// Tests devices again and again; the seconds that each took.
fn test_devices_until_ended(measuring: &mut Child, tests: Tests<'_>, times: &mut Vec<f64>) -> Fallible<()> {
    while measuring.try_wait()?.is_none() {
        let clock = Clock::start();
        let status = tests.command()?.status()?;
        if !tests.ended_well(status.code()) {
            return Err(format!("{}: {status}", tests.took()).into());
        }
        times.push(clock.now().as_secs());
    }
    Ok(())
}

fn pdv_p95(report: &Report, direction: Direction) -> Option<f64> {
    let target = report.targets.first()?;
    let figures = match direction {
        Direction::Up => &target.up,
        Direction::Down => &target.down,
    };
    figures.pdv_ms.measured()?.p95
}

/// The terminal that pictures are painted for.
const TERMINAL: Space = Space { columns: 120, rows: 40, cell: CELL };
/// What a preview shows of a camera.
const SMOOTH: f64 = 30.0;
/// Frames of a preview.
const FRAMES: usize = 60;
/// Twice the fake camera's size, and twice again: 1280x720.
const ENLARGED: usize = 4;

/// How many pictures of a camera a second are judged and painted, in every way that terminals show them.
fn preview(section: &mut Section) -> Fallible<()> {
    for format in [PixelFormat::YUYV, PixelFormat::MJPG] {
        let (opened, pictures) = pictures(format)?;
        for (style, name) in
            [(Style::HalfBlocks, "half blocks"), (Style::Sixel, "sixel"), (Style::Kitty, "kitty")]
        {
            let clock = devices::Clock::start();
            let mut camera = Ready { opened, pictures: &pictures, next: 0, clock };
            let plan = Plan { frames: FRAMES, longest: Micros::from_secs(60), ..Plan::default() };
            let mut written = 0;
            let seen = run(&mut camera, &plan, clock.now(), &mut |opened, frame| {
                let picture =
                    frame.bytes.as_ref().and_then(|bytes| pixels::sampled(opened, bytes, 640, 480).ok());
                written += picture.map_or(0, |picture| paint(&picture, style, TERMINAL).len());
                ControlFlow::Continue(())
            });
            if written == 0 || seen.ended.is_some() {
                return Err("the preview showed nothing".into());
            }
            #[expect(clippy::cast_precision_loss, reason = "sixty")]
            let rate = FRAMES as f64 / clock.now().as_secs();
            section
                .add(&format!("preview of 720p {format}"), name, "pictures/s", rate)
                .goal(Goal::AtLeast(SMOOTH));
        }
    }
    Ok(())
}

/// A second of the fake camera, enlarged.
fn pictures(format: PixelFormat) -> Fallible<(Opened, Vec<Vec<u8>>)> {
    let mut camera = Fake::new(Scene::Normal).open("fake:0", &Asked::default())?;
    let from = camera.opened();
    let mut pictures = Vec::new();
    let (mut width, mut height) = (0, 0);
    for _ in 0..30 {
        let frame = camera.next(Micros::from_secs(1))?;
        let large = enlarged(&pixels::rgb(&from, &frame.bytes.unwrap_or_default())?);
        (width, height) = (large.width, large.height);
        pictures.push(match format {
            PixelFormat::MJPG => pixels::encode(&large).ok_or("a picture that cannot be encoded")?,
            // Brightness alone.
            _ => large.bytes.chunks_exact(3).flat_map(|pixel| [pixel[1], 128]).collect(),
        });
    }
    let mut opened = from;
    opened.mode.pixels = format;
    (opened.mode.width, opened.mode.height, opened.stride) = (width, height, 0);
    Ok((opened, pictures))
}

fn enlarged(picture: &Rgb) -> Rgb {
    let row =
        |row: &[u8]| -> Vec<u8> { row.chunks_exact(3).flat_map(|pixel| pixel.repeat(ENLARGED)).collect() };
    let rows = picture.bytes.chunks_exact(picture.width as usize * 3);
    let bytes = rows.flat_map(|pixels| row(pixels).repeat(ENLARGED)).collect();
    let by = u32::try_from(ENLARGED).unwrap_or(1);
    Rgb { width: picture.width * by, height: picture.height * by, bytes }
}

/// A camera whose frames are always there already.
struct Ready<'a> {
    opened: Opened,
    pictures: &'a [Vec<u8>],
    next: usize,
    clock: devices::Clock,
}

impl Camera for Ready<'_> {
    fn opened(&self) -> Opened {
        self.opened
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn next(&mut self, _wait: Micros) -> Result<Frame, DeviceError> {
        let bytes = self.pictures.get(self.next % self.pictures.len().max(1)).cloned();
        self.next += 1;
        Ok(Frame { at: self.clock.now(), captured: None, sequence: None, flagged: false, bytes })
    }
}
