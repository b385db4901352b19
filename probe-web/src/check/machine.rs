//! From what a page tells of the computer to its part of a report.

use greenroom_reports::schema::{EncodeHeadroom, Graphics, Machine, Processor, ScreenCapture, Use, Value};
use serde_json::{Value as Json, json};

use super::extras::{EncodeRun, ScreenRun};
use super::read::Run;

const NO_PAGE: &str = "a page in a browser cannot tell";

/// The computer.
pub(super) fn of(run: &Run) -> Machine {
    let mut machine = Machine::not_tested(NO_PAGE);
    machine.screen_capture = screen(run.screen);
    let Some(told) = &run.machine else { return machine };
    if let Some(threads) = told.cores {
        machine.processor =
            Value::Measured(Processor { model: None, cores: None, threads, virtual_machine: None });
    }
    if let Some(name) = told.graphics.clone().filter(|name| !name.is_empty()) {
        machine.graphics = Value::exact(vec![Graphics { name, driver: None }]);
    }
    machine.encode = told.encode.iter().filter_map(headroom).collect();
    machine
}

fn screen(run: Option<ScreenRun>) -> Value<ScreenCapture> {
    let found = |possible, how: &str| Value::Measured(ScreenCapture { possible, how: how.to_owned() });
    match run {
        Some(ScreenRun::Shared) => found(true, "browser"),
        Some(ScreenRun::Black) => found(false, "the picture of the screen stayed black"),
        Some(ScreenRun::System) => found(false, "the system does not let the browser see the screen"),
        Some(ScreenRun::Policy) => found(false, "the site around the page does not pass it on"),
        Some(ScreenRun::Unsupported) => found(false, "the browser cannot share the screen"),
        Some(ScreenRun::Denied) => found(false, "it is blocked for the page"),
        Some(ScreenRun::Failed) => Value::failed("the browser did not say why"),
        Some(ScreenRun::Cancelled) => Value::not_tested("the person chose no screen"),
        Some(ScreenRun::Skipped) => Value::not_tested("the person skipped it"),
        None => Value::not_tested("it was not asked for"),
    }
}

fn headroom(run: &EncodeRun) -> Option<EncodeHeadroom> {
    let use_ = match run.lines {
        360 => Use::Video360p,
        720 => Use::Video720p,
        1080 => Use::Video1080p,
        _ => return None,
    };
    let encoder = if run.hardware { "WebCodecs, hardware" } else { "WebCodecs" };
    Some(EncodeHeadroom {
        use_,
        codec: run.codec.clone(),
        encoder: encoder.to_owned(),
        times_real_time: Value::estimate(run.times_real_time, u64::from(run.frames)),
    })
}

/// What has no place of its own in a report, by name.
pub(super) fn besides(run: &Run) -> Vec<(String, Json)> {
    let mut told = Vec::new();
    if let Some(machine) = &run.machine {
        let browser = json!({
            "can": machine.can,
            "memory_gb": machine.memory_gb,
            "software_drawing": machine.software_drawing,
            "clock_step_us": machine.clock_step_us,
            "drawing": machine.drawing,
            "effects": machine.effects,
        });
        told.push(("browser".to_owned(), browser));
    }
    if let Some(screen) = run.screen {
        told.push(("screen_share".to_owned(), json!(screen)));
    }
    if let Some(preview) = run.camera.as_ref().and_then(|camera| camera.preview.as_ref()) {
        told.push(("preview".to_owned(), json!(preview)));
    }
    match run.camera.as_ref().map(|camera| &camera.sizes) {
        Some(sizes) if !sizes.is_empty() => told.push(("camera_sizes".to_owned(), json!(sizes))),
        _ => {}
    }
    told
}
