//! Lists cameras, tests one, and says what came of it.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use greenroom_reports::schema::{self, Devices, Listing, State, System, Value};
use greenroom_reports::units::Micros;

use super::preview::Preview;
use super::{CameraArgs, terminal};
use crate::cli::args::Global;
use crate::cli::exit::{CliError, Exit};
use crate::cli::{block_on, output};
use crate::devices::camera::pixels::encode;
use crate::devices::camera::run::Plan;
use crate::devices::camera::test::{self, Settings, Tested};
use crate::devices::camera::{self, Asked, CameraSystem, Listed, native};
use crate::devices::{Clock, DeviceError, Fault, Os};

/// As long as nobody ends it.
const HOUR: Micros = Micros::from_secs(3600);

pub(super) fn run(args: &CameraArgs, global: &Global) -> Result<Exit, CliError> {
    let asked: Asked = args.mode.parse().map_err(CliError::Usage)?;
    args.output.check_writable()?;
    let clock = Clock::start();
    let (system, backend) = system(args.backend.as_deref(), clock)?;
    let cameras = system.list();
    let mut report = Report::new(backend, cameras.as_ref());
    let cameras = cameras.unwrap_or_default();
    if args.list {
        report.untested(&cameras, "it was only listed");
        return report.write(args, global).map(|()| Exit::Ready);
    }
    match choose(&cameras, args.device.as_deref()) {
        Ok(chosen) => {
            let plan = if args.preview {
                Plan { frames: u64::MAX, longest: HOUR, ..Plan::default() }
            } else {
                Plan::default()
            };
            let settings = Settings { backend, asked, plan, clock };
            let tested = watch(&system, chosen, &settings, args.preview)?;
            report.tested(&cameras, chosen, tested, args)?;
        }
        Err(error) => {
            report.untested(&cameras, "another one was asked for");
            report.missing(error);
        }
    }
    report.write(args, global)?;
    Ok(report.exit())
}

fn system(wanted: Option<&str>, clock: Clock) -> Result<(Arc<dyn CameraSystem>, &'static str), CliError> {
    let (system, name) = camera::system(clock);
    match wanted {
        None => Ok((system, name)),
        Some(wanted) if wanted == name => Ok((system, name)),
        Some("nokhwa") => Ok((Arc::new(native::Native::new(clock)), "nokhwa")),
        Some(other) => Err(CliError::Usage(format!(
            "there is no camera backend `{other}` here; choose {name} or nokhwa"
        ))),
    }
}

/// The camera that was asked for; without a wish the first that works, else the first.
fn choose<'a>(cameras: &'a [Listed], wanted: Option<&str>) -> Result<&'a Listed, DeviceError> {
    match wanted {
        Some(wanted) => cameras
            .iter()
            .find(|camera| camera.answers_to(wanted))
            .ok_or_else(|| DeviceError::new(Fault::NotFound, format!("the camera {wanted}"))),
        None => cameras
            .iter()
            .find(|camera| camera.offers.is_ok())
            .or(cameras.first())
            .ok_or_else(|| DeviceError::new(Fault::NotFound, "a camera")),
    }
}

/// Tests a camera, its picture in the terminal if asked for; Ctrl-C ends it with what was seen until then.
fn watch(
    system: &Arc<dyn CameraSystem>,
    listed: &Listed,
    settings: &Settings,
    preview: bool,
) -> Result<Tested, CliError> {
    let (system, listed, settings) = (Arc::clone(system), listed.clone(), *settings);
    let enough = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&enough);
    block_on(async move {
        let interrupts = tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                enough.store(true, Ordering::Relaxed);
            }
        });
        let tested = tokio::task::spawn_blocking(move || {
            let mut preview = preview.then(|| Preview::start(terminal::style(), terminal::space()));
            test::test(system, &listed, &settings, &mut |opened, frame| {
                if let Some(preview) = &mut preview {
                    preview.show(opened, frame);
                }
                if ended.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        })
        .await;
        interrupts.abort();
        tested
    })?
    .map_err(|error| CliError::Internal(error.to_string()))
}

/// What is told in the end.
struct Report {
    devices: Devices,
    error: Option<DeviceError>,
}

impl Report {
    fn new(backend: &str, cameras: Result<&Vec<Listed>, &DeviceError>) -> Self {
        let pictures = match cameras {
            Ok(_) => Listing {
                state: Value::Measured(schema::Listed { backend: backend.to_owned(), left_out: 0 }),
                failure: None,
            },
            Err(error) => Listing::failed(test::failure(error)),
        };
        let system = match Os::HERE {
            Os::Linux => System::Linux,
            Os::MacOs => System::Macos,
            Os::Windows => System::Windows,
        };
        let devices = Devices { system, pictures, ..Devices::not_tested("only a camera was asked for") };
        Self { devices, error: cameras.err().cloned() }
    }

    fn untested(&mut self, cameras: &[Listed], reason: &str) {
        self.devices.cameras = cameras.iter().map(|listed| test::not_tried(listed, reason)).collect();
    }

    fn missing(&mut self, error: DeviceError) {
        self.devices.pictures.failure.get_or_insert_with(|| test::failure(&error));
        self.error.get_or_insert(error);
    }

    /// The tested camera first, the others after it.
    fn tested(
        &mut self,
        cameras: &[Listed],
        chosen: &Listed,
        tested: Tested,
        args: &CameraArgs,
    ) -> Result<(), CliError> {
        let others = cameras.iter().filter(|listed| *listed != chosen);
        let others = others.map(|listed| test::not_tried(listed, "another one was tested"));
        let Tested { mut camera, last, error } = tested;
        self.error = error;
        if let Some(file) = &args.still {
            keep(file, last.as_ref().and_then(encode))?;
        }
        if args.with_still {
            camera.still = last.as_ref().and_then(test::still);
        }
        self.devices.cameras = std::iter::once(camera).chain(others).collect();
        Ok(())
    }

    fn write(&self, args: &CameraArgs, global: &Global) -> Result<(), CliError> {
        let json = serde_json::to_string_pretty(&self.devices)
            .map_err(|error| CliError::Internal(error.to_string()))?;
        match args.output.json.as_deref() {
            Some(file) if file == Path::new("-") => output::to_stdout(&json),
            Some(file) => std::fs::write(file, json).map_err(|error| CliError::output(file, error)),
            None => output::to_stdout(&self.text(global)),
        }
    }

    fn text(&self, global: &Global) -> String {
        let mut text = String::new();
        for camera in &self.devices.cameras {
            describe(&mut text, camera);
            if global.quiet {
                break;
            }
        }
        if let Some(error) = &self.error {
            let say = error.say();
            writeln!(text, "{}{}.\n  {}", say[..1].to_uppercase(), &say[1..], error.fix(Os::HERE))
                .expect("a string takes what it is given");
        }
        text
    }

    fn exit(&self) -> Exit {
        let Some(error) = &self.error else { return Exit::Ready };
        match test::failure(error).state() {
            State::Blocked | State::PermissionDenied => Exit::Blocked,
            _ => Exit::Inconclusive,
        }
    }
}

fn keep(file: &Path, still: Option<Vec<u8>>) -> Result<(), CliError> {
    let still =
        still.ok_or_else(|| CliError::Unavailable("the camera gave no picture to keep".to_owned()))?;
    std::fs::write(file, still).map_err(|error| CliError::output(file, error))
}

/// A camera in a few lines.
fn describe(text: &mut String, camera: &schema::Camera) {
    let name = camera.device.name.as_deref().unwrap_or("camera");
    let id = camera.device.id.as_deref().unwrap_or_default();
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes what it is given");
    line(format!("{name}  {id}"));
    if let Some(stream) = camera.state.measured() {
        let given = &stream.given;
        line(format!("  opened at {}x{} {} ", given.width, given.height, given.fourcc));
    }
    let frames = &camera.frames;
    if let (Some(count), Some(rate)) = (frames.count.fact(), frames.rate_fps.measured()) {
        line(format!("  {count} frames, {:.1} per second", rate.value));
    }
    if let Some(formats) = camera.formats.fact() {
        let sizes: Vec<String> = formats
            .iter()
            .map(|format| {
                format!(
                    "{}x{} {} {:.0}",
                    format.width,
                    format.height,
                    format.fourcc,
                    format.fps.unwrap_or(0.0)
                )
            })
            .collect();
        line(format!("  offers {}", sizes.join(", ")));
    }
}
