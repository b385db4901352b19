//! Lists cameras, tests one, and says what came of it.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use greenroom_reports::schema::{
    self, CameraFormat, DeviceFailure, DeviceInfo, DeviceKind, Devices, Listing, Value,
};
use greenroom_reports::units::Micros;

use super::preview::Preview;
use super::{CameraArgs, terminal};
use crate::check::devices::{Found, report_of};
use crate::cli::args::Global;
use crate::cli::devices::report::{run_and_report, unlooked};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output;
use crate::devices::camera::pixels::{Rgb, encode};
use crate::devices::camera::run::Plan;
use crate::devices::camera::test::{self, Settings, Tested};
use crate::devices::camera::{
    self, Asked, CameraSystem, Inventory, Listed, Offer, PixelFormat, guard, native,
};
use crate::devices::{Clock, Os};

/// As long as nobody ends it.
const HOUR: Micros = Micros::from_secs(3600);

pub(super) fn run(args: &CameraArgs, global: &Global) -> Result<Exit, CliError> {
    let asked: Asked = args.mode.parse().map_err(CliError::Usage)?;
    if args.preview && (args.output.takes_stdout() || !std::io::stdout().is_terminal()) {
        return Err(CliError::Usage("--preview needs a terminal on standard output".to_owned()));
    }
    if let Some(file) = &args.still {
        output::check_writable(file)?;
    }
    let clock = Clock::start();
    let (system, backend) = system(args.backend.as_deref(), clock)?;
    let plan = match args.duration.or(args.preview.then_some(HOUR)) {
        Some(longest) => Plan { frames: usize::MAX, longest, ..Plan::default() },
        None => Plan::default(),
    };
    let last = Arc::new(Mutex::new(None));
    let job = Job {
        wanted: args.device.clone(),
        preview: args.preview,
        with_still: args.with_still,
        settings: Settings { backend, asked, plan, clock, live: args.preview },
        last: Arc::clone(&last),
    };
    if args.list {
        return list(&job, system, args);
    }
    let exit = run_and_report(&[DeviceKind::Camera], &args.output, global, move |stop| {
        Ok(job.run(&system, &|| stop.load(Ordering::Relaxed)))
    })?;
    if let Some(file) = &args.still {
        let last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let still = last.as_ref().and_then(encode);
        let still =
            still.ok_or_else(|| CliError::Unavailable("the camera gave no picture to keep".to_owned()))?;
        output::write_file(file, &still).map_err(|error| CliError::output(file, error))?;
    }
    Ok(exit)
}

/// The cameras that there are, none of them tested.
fn list(job: &Job, system: Arc<dyn CameraSystem>, args: &CameraArgs) -> Result<Exit, CliError> {
    args.output.check_writable()?;
    let from = crate::net::clock::Clock::start();
    let listed = guard::list(system);
    let (devices, text) = match &listed {
        Ok(found) => (job.found(found, None, "it was only listed"), text_of(&found.cameras)),
        Err(error) => return Err(CliError::Unavailable(format!("{error}. {}", error.fix(Os::HERE)))),
    };
    let found = Found { devices, machine: None };
    args.output.write_with(&report_of(from, found, &[], true), || text)?;
    Ok(Exit::Ready)
}

fn system(wanted: Option<&str>, clock: Clock) -> Result<(Arc<dyn CameraSystem>, &'static str), CliError> {
    let (system, name) = camera::system(clock);
    match wanted {
        None => Ok((system, name)),
        Some(wanted) if wanted == name => Ok((system, name)),
        // No camera at all: how its pictures look in a terminal, for who works on that.
        #[cfg(debug_assertions)]
        Some("fake") => Ok((Arc::new(super::live::Live::new(clock)), "fake")),
        Some("nokhwa") => Ok((Arc::new(native::Native::new(clock)), "nokhwa")),
        Some(other) => Err(CliError::Usage(format!(
            "there is no camera backend `{other}` here; choose {name} or nokhwa"
        ))),
    }
}

/// What was asked for.
struct Job {
    wanted: Option<String>,
    preview: bool,
    with_still: bool,
    settings: Settings,
    /// Where the last picture goes.
    last: Arc<Mutex<Option<Rgb>>>,
}

impl Job {
    /// Tests the camera that is meant.
    fn run(&self, system: &Arc<dyn CameraSystem>, stopped: &dyn Fn() -> bool) -> Devices {
        let found = match guard::list(Arc::clone(system)) {
            Ok(found) => found,
            Err(error) => return Devices { pictures: Listing::failed(error.failure()), ..unlooked() },
        };
        let Some(chosen) = choose(&found.cameras, self.wanted.as_deref()) else {
            let missing = self.wanted.as_deref().map(|wanted| (missing(wanted), None));
            return self.found(&found, missing, "another one was asked for");
        };
        let Tested { mut camera, last } = self.watch(system, chosen, stopped);
        if self.with_still {
            camera.still = last.as_ref().and_then(test::still);
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        self.found(&found, Some((camera, Some(chosen))), "another one was tested")
    }

    fn watch(&self, system: &Arc<dyn CameraSystem>, chosen: &Listed, stopped: &dyn Fn() -> bool) -> Tested {
        let mut preview = self.preview.then(|| Preview::start(terminal::style(), terminal::space()));
        test::test(Arc::clone(system), chosen, &self.settings, &mut |opened, frame| {
            if let Some(preview) = &mut preview {
                preview.show(opened, frame);
            }
            if stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// The section for cameras that were looked for and found: first the one that was tested, then the others.
    fn found(
        &self,
        listed: &Inventory,
        tested: Option<(schema::Camera, Option<&Listed>)>,
        others: &str,
    ) -> Devices {
        let (first, chosen) = tested.map_or((None, None), |(camera, chosen)| (Some(camera), chosen));
        let rest = listed.cameras.iter().filter(|listed| Some(*listed) != chosen);
        let backend = self.settings.backend.to_owned();
        let state = Value::Measured(schema::Listed { backend, left_out: listed.left_out });
        Devices {
            pictures: Listing { state, failure: None },
            cameras: first.into_iter().chain(rest.map(|listed| test::not_tried(listed, others))).collect(),
            ..unlooked()
        }
    }
}

/// The camera that is meant; without a wish the first that works, else the first.
fn choose<'a>(cameras: &'a [Listed], wanted: Option<&str>) -> Option<&'a Listed> {
    match wanted {
        Some(wanted) => cameras.iter().find(|camera| camera.answers_to(wanted)),
        None => cameras.iter().find(|camera| camera.offers.is_ok()).or(cameras.first()),
    }
}

/// A camera that was asked for and is not there.
fn missing(wanted: &str) -> schema::Camera {
    let connection = Value::not_tested("there is no such camera");
    let device = DeviceInfo { id: None, name: Some(wanted.to_owned()), default: false, connection };
    schema::Camera::failed(device, DeviceFailure::NotFound { wanted: Some(wanted.to_owned()) })
}

/// Cameras for people: name, what it offers or why it cannot be asked, id.
fn text_of(cameras: &[Listed]) -> String {
    if cameras.is_empty() {
        return "Cameras: none\n".to_owned();
    }
    let mut text = "Cameras:\n".to_owned();
    for camera in cameras {
        let mark = if camera.default { '*' } else { ' ' };
        let offers = match &camera.offers {
            Ok(offers) => offered(offers),
            Err(error) => error.say(),
        };
        let _ = writeln!(text, "{mark} {}\n    {offers}\n    {}", camera.name, camera.id);
    }
    text + "* is what is tested unless you choose\n"
}

/// The largest picture of each format that can be used here, with its highest rate.
fn offered(offers: &[Offer]) -> String {
    let readable: Vec<Offer> =
        offers.iter().filter(|offer| PixelFormat::READABLE.contains(&offer.pixels)).cloned().collect();
    let formats = test::formats(&readable);
    let mut largest: Vec<&CameraFormat> = Vec::new();
    for format in &formats {
        match largest.iter_mut().find(|other| other.fourcc == format.fourcc) {
            Some(other) if other.width * other.height < format.width * format.height => *other = format,
            Some(_) => {}
            None => largest.push(format),
        }
    }
    let words = largest.iter().map(|format| {
        let rate = format.fps.map(|fps| format!(" at {fps:.0} fps")).unwrap_or_default();
        format!("{} up to {}x{}{rate}", format.fourcc.trim(), format.width, format.height)
    });
    if largest.is_empty() {
        "offers no picture that can be used here".to_owned()
    } else {
        words.collect::<Vec<_>>().join(", ")
    }
}
