//! From what a page saw and heard to the devices of a report.

use greenroom_reports::schema::{
    AcousticLoop, Camera, CameraFormat, CameraStream, Connection, DeviceFailure, DeviceInfo, Devices, Exact,
    Listed, Listing, LoopChannel, LoopPair, Microphone, Permission, SoundStream, Speaker, System, Value,
};
use greenroom_reports::signals::limits;
use greenroom_reports::signals::picture::{FrameStats, Range, Timeline, Watch};
use greenroom_reports::units::Micros;

use super::extras::EchoRun;
use super::read::{CameraRun, Failure, MicrophoneRun, Run, SpeakerOutcome};
use super::sound;

const BACKEND: &str = "browser";
const NO_RESPONSE: &str = "the page looks for the sweep's delay and level only";
const NO_PAGE: &str = "a page in a browser cannot tell";

/// The devices of a run.
pub(super) fn of(run: &Run) -> Devices {
    let listed = Listing {
        state: Value::Measured(Listed { backend: BACKEND.to_owned(), left_out: 0 }),
        failure: None,
    };
    let speaker = match run.speaker.outcome {
        SpeakerOutcome::Skipped => Speaker::not_tested(info(&run.speaker.label), "the person skipped it"),
        SpeakerOutcome::Failed => Speaker::failed(
            info(&run.speaker.label),
            DeviceFailure::Unknown { detail: "the browser could not play a sound".to_owned() },
        ),
        SpeakerOutcome::Unheard => Speaker {
            failure: Some(DeviceFailure::Unheard),
            ..Speaker::not_tested(info(&run.speaker.label), NO_PAGE)
        },
        // Whoever hears it has a speaker that works: nothing else is known of it.
        SpeakerOutcome::Heard => Speaker {
            state: Value::Measured(sound_stream(48_000, None, 0.0)),
            ..Speaker::not_tested(info(&run.speaker.label), NO_PAGE)
        },
    };
    Devices {
        system: system(&run.browser.system),
        sound: listed.clone(),
        pictures: listed,
        microphones: run.microphone.as_ref().and_then(microphone).into_iter().collect(),
        speakers: vec![speaker],
        cameras: run.camera.as_ref().and_then(camera).into_iter().collect(),
        acoustic_loop: acoustic_loop(run),
    }
}

/// What the microphone heard of the speaker. That it heard nothing says nothing where a person heard it: so it is with headphones.
fn acoustic_loop(run: &Run) -> AcousticLoop {
    let Some(echo) = run.speaker.echo else {
        return AcousticLoop::not_tested("the person was asked whether the sound was heard");
    };
    if echo.confidence_db < limits().sweep.sure_db.value {
        return AcousticLoop::not_tested("the microphone did not hear it for sure, so the person was asked");
    }
    AcousticLoop {
        state: Value::Measured(LoopPair { speaker: 0, microphone: 0 }),
        failure: None,
        channels: vec![channel(echo)],
    }
}

/// The page plays the sweep on all channels at once.
fn channel(echo: EchoRun) -> LoopChannel {
    LoopChannel {
        channel: 0,
        heard: Value::exact(true),
        heard_on: Value::exact(0),
        confidence_db: Value::exact(echo.confidence_db),
        delay_ms: Value::estimate(echo.delay_ms, 1),
        return_db: Value::estimate(echo.return_db, 1),
        response: Value::not_tested(NO_RESPONSE),
        distortion_ratio: Value::not_tested(NO_RESPONSE),
    }
}

fn system(name: &str) -> System {
    match name {
        "Linux" => System::Linux,
        "macOS" => System::Macos,
        "Windows" => System::Windows,
        _ => System::Other,
    }
}

fn info(label: &str) -> DeviceInfo {
    let name = (!label.is_empty()).then(|| label.to_owned());
    let connection: Value<Exact<Connection>> = Value::not_tested(NO_PAGE);
    DeviceInfo { id: None, name, default: true, connection }
}

fn failure(failure: Failure, after_ms: f64) -> DeviceFailure {
    let browser = |detail: &str| DeviceFailure::Permission {
        which: Permission::Browser,
        detail: Some(detail.to_owned()),
    };
    match failure {
        Failure::Denied => browser("it is blocked for the page"),
        Failure::Dismissed => browser("the question was closed without an answer"),
        Failure::Insecure => browser("the page is not on a secure address"),
        Failure::Policy => browser("the site around the page does not pass it on"),
        Failure::System => DeviceFailure::Permission { which: Permission::PrivacySetting, detail: None },
        Failure::InUse => DeviceFailure::Busy { by: None },
        Failure::NotFound | Failure::Overconstrained => DeviceFailure::NotFound { wanted: None },
        Failure::Timeout => DeviceFailure::Stalled { after_ms: whole(after_ms) },
        Failure::Ended => DeviceFailure::Disconnected { after_ms: Some(whole(after_ms)) },
        Failure::Unknown => DeviceFailure::Unknown { detail: "the browser did not say why".to_owned() },
    }
}

/// The camera; `None` where there is none, which the list then says.
fn camera(run: &CameraRun) -> Option<Camera> {
    if run.failure == Some(Failure::NotFound) {
        return None;
    }
    let failure = run.failure.map(|why| failure(why, run.ran_ms));
    let Some(given) = run.given else {
        let why = failure.unwrap_or(DeviceFailure::Unknown { detail: "it was not opened".to_owned() });
        return Some(Camera::failed(info(&run.label), why));
    };
    let format = |width, height, fps| CameraFormat { fourcc: "RGBA".to_owned(), width, height, fps };
    let mut timeline = Timeline::new(Micros::ZERO, given.fps);
    let mut watch = Watch::new(Range::Full);
    for frame in &run.frames {
        timeline.push(micros(frame.at_ms), None, None);
        let stats = FrameStats {
            mean: frame.mean,
            spread: frame.spread,
            overexposed: frame.white,
            // The page looks at some of them whole.
            sharpness: frame.sharp,
        };
        watch.push_stats(stats, frame.same);
    }
    let mut frames = timeline.figures(micros(run.ran_ms));
    // What the person thought about the question is no time of the camera's, and how evenly a page draws is the computer's.
    frames.first_ms = Value::not_tested(NO_PAGE);
    frames.interval_spread_ratio = Value::not_tested(NO_PAGE);
    match run.came.filter(|_| run.ran_ms > 0.0) {
        Some(came) => {
            let fps = f64::from(came) * 1e3 / run.ran_ms;
            frames.rate_fps = Value::estimate(fps, u64::from(came));
            frames.rate_ratio = match given.fps.filter(|claimed| *claimed > 0.0) {
                Some(claimed) => Value::estimate(fps / claimed, u64::from(came)),
                None => Value::not_tested("the camera claims no rate"),
            };
        }
        // Drawn were fewer than came wherever the computer was busy.
        None => frames.rate_ratio = Value::not_tested("the browser counts only what it drew"),
    }
    Some(Camera {
        failure,
        state: Value::Measured(CameraStream {
            backend: BACKEND.to_owned(),
            asked: format(1_280, 720, Some(30.0)),
            given: format(given.width, given.height, given.fps),
            ran_ms: run.ran_ms,
        }),
        formats: formats(run),
        frames,
        picture: watch.figures(),
        ..Camera::not_tested(info(&run.label), NO_PAGE)
    })
}

/// What the camera gave of what it was asked for, one after the other.
fn formats(run: &CameraRun) -> Value<Exact<Vec<CameraFormat>>> {
    if run.sizes.is_empty() {
        return Value::not_tested(NO_PAGE);
    }
    let mut formats: Vec<CameraFormat> = Vec::new();
    for given in run.sizes.iter().filter_map(|size| size.given) {
        let format = CameraFormat {
            fourcc: "RGBA".to_owned(),
            width: given.width,
            height: given.height,
            fps: given.fps,
        };
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    Value::exact(formats)
}

/// The microphone; `None` where there is none, which the list then says.
fn microphone(run: &MicrophoneRun) -> Option<Microphone> {
    if run.failure == Some(Failure::NotFound) {
        return None;
    }
    let failure = run.failure.map(|why| failure(why, run.ran_ms));
    let Some(channels) = run.channels.as_deref().or_else(|| failure.as_ref().map(|_| &[][..])) else {
        return Some(Microphone::not_tested(
            info(&run.label),
            "the page was older than its server: load it again",
        ));
    };
    let heard = run.rate_hz.filter(|_| sound::samples(channels) > 0);
    let Some((rate, figures)) = heard.and_then(|rate| Some((rate, sound::figures(channels, rate)?))) else {
        let why = failure.unwrap_or_else(|| match run.rate_hz {
            Some(_) => DeviceFailure::Stalled { after_ms: whole(run.ran_ms) },
            // Firefox without any output: that is no fault of the microphone.
            None => DeviceFailure::Unknown {
                detail: "the browser's own sound did not start, or broke off".to_owned(),
            },
        });
        return Some(Microphone::failed(info(&run.label), why));
    };
    Some(Microphone {
        failure,
        state: Value::Measured(SoundStream {
            channels: u16::try_from(channels.len()).unwrap_or(u16::MAX),
            ..sound_stream(rate, run.first_ms, run.ran_ms)
        }),
        sound: figures,
        ..Microphone::not_tested(info(&run.label), NO_PAGE)
    })
}

fn sound_stream(rate_hz: u32, first_ms: Option<f64>, ran_ms: f64) -> SoundStream {
    SoundStream {
        backend: BACKEND.to_owned(),
        rate_hz,
        channels: 1,
        format: "f32".to_owned(),
        buffer_frames: None,
        first_ms,
        ran_ms,
        xruns: 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates, and NaN becomes 0")]
fn micros(ms: f64) -> Micros {
    Micros::new((ms * 1e3).round() as i64)
}

fn whole(ms: f64) -> u64 {
    u64::try_from(micros(ms).get() / 1_000).unwrap_or(0)
}
