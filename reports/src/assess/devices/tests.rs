use std::collections::BTreeSet;

use super::*;
use crate::assess::{Probed, TargetMeta};
use crate::schema::{
    AcousticLoop, Camera, CameraFormat, CameraStream, ChannelFigures, Clipping, Dropouts, EncodeHeadroom,
    FrameFigures, Hum, Listed, LoopPair, Mode, Permission, PictureFigures, Seen, SoundFigures, SoundStream,
    System, Verdict,
};
use crate::verdict::Profile;

fn info() -> DeviceInfo {
    DeviceInfo { id: None, name: Some("Desk".into()), default: true, connection: Value::not_tested("untold") }
}

fn stream() -> SoundStream {
    SoundStream {
        backend: "fake".into(),
        rate_hz: 48_000,
        channels: 1,
        format: "f32".into(),
        buffer_frames: Some(1_920),
        first_ms: Some(40.0),
        ran_ms: 3_000.0,
        xruns: 0,
    }
}

fn microphone() -> Microphone {
    let of = |value| Value::estimate(value, 1);
    let sound = SoundFigures {
        heard: Value::exact(Heard::Speech),
        peak_dbfs: of(-10.0),
        rms_dbfs: of(-30.0),
        speech_level_dbfs: of(-26.0),
        speech_ratio: of(0.6),
        noise_floor_dbfs: of(-66.0),
        snr_db: of(40.0),
        dc_offset_ratio: of(0.0),
        clipping: Value::Measured(Clipping { ratio: 0.0, runs: 0, runs_per_s: 0.0 }),
        hum: Value::Measured(Hum { mains_hz: None, level_dbfs: None }),
        bandwidth_hz: of(24_000.0),
        dropouts: Value::Measured(Dropouts { gaps: 0, repeats: 0, lost_ms: 0.0, ratio: 0.0, damaged: 0 }),
        channels: Value::exact(vec![ChannelFigures {
            channel: 0,
            rms_dbfs: -30.0,
            dead: false,
            inverted: false,
        }]),
        clock_drift_ppm: Value::not_tested("too short"),
    };
    Microphone {
        state: Value::Measured(stream()),
        muted: Value::exact(false),
        volume_ratio: Value::exact(0.8),
        sound,
        ..Microphone::not_tested(info(), "")
    }
}

fn speaker() -> Speaker {
    Speaker { state: Value::Measured(stream()), ..Speaker::not_tested(info(), "untold") }
}

fn camera() -> Camera {
    let format = CameraFormat { fourcc: "YUYV".into(), width: 1_280, height: 720, fps: Some(30.0) };
    let of = |value| Value::estimate(value, 60);
    Camera {
        state: Value::Measured(CameraStream {
            backend: "fake".into(),
            asked: format.clone(),
            given: format,
            ran_ms: 2_000.0,
        }),
        frames: FrameFigures {
            rate_fps: of(30.0),
            rate_ratio: of(1.0),
            interval_spread_ratio: of(0.02),
            lost_ratio: of(0.0),
            damaged_ratio: of(0.0),
            first_ms: Value::exact(400.0),
            ..FrameFigures::not_tested("")
        },
        picture: PictureFigures { seen: Value::exact(Seen::Picture), ..PictureFigures::not_tested("") },
        ..Camera::not_tested(info(), "")
    }
}

fn listing() -> Listing {
    Listing { state: Value::Measured(Listed { backend: "fake".into(), left_out: 0 }), failure: None }
}

fn devices() -> Devices {
    Devices {
        system: System::Linux,
        sound: listing(),
        pictures: listing(),
        microphones: vec![microphone()],
        speakers: vec![speaker()],
        cameras: vec![camera()],
        acoustic_loop: AcousticLoop::not_tested("off"),
    }
}

fn none() -> Devices {
    Devices { microphones: vec![], speakers: vec![], cameras: vec![], ..devices() }
}

/// The verdict on audio and 720p over a network that was not tested.
fn verdict_of(devices: &Devices, machine: &Machine, asked_kinds: &[DeviceKind]) -> Verdict {
    let profile = Profile::default();
    let asked = BTreeSet::from([Use::Audio, Use::Video720p]);
    let question = Question { profile: &profile, asked: &asked, mode: Mode::Quick, at_cap: true };
    let equipment = Equipment { devices, machine, asked: asked_kinds };
    with_devices(super::super::assess(&[], &question), equipment, &question).verdict
}

fn verdict(devices: &Devices) -> Verdict {
    verdict_of(devices, &Machine::not_tested("off"), &[])
}

fn codes(verdict: &Verdict) -> Vec<&str> {
    verdict.causes.iter().map(|cause| cause.code.as_str()).collect()
}

#[test]
fn devices_that_work_are_ready_and_say_what_was_tested() {
    let found = verdict(&devices());
    assert_eq!((found.overall, found.certain, codes(&found).len()), (State::Ready, true, 0), "{found:?}");
    assert_eq!(
        found.say,
        "Your microphone, speaker and camera are ready for audio, 720p. The network was not tested."
    );
    assert_eq!(found.uses[&Use::Audio].reason.as_deref(), Some("the network was not tested"));
    assert_eq!(found.uses[&Use::Video1080p].state, State::NotTested, "nobody asked for it");
}

#[test]
fn good_devices_do_not_speak_for_a_network_that_was_to_be_tested() {
    let profile = Profile::default();
    let asked = BTreeSet::from([Use::Audio]);
    let question = Question { profile: &profile, asked: &asked, mode: Mode::Quick, at_cap: true };
    let here = TargetMeta {
        url: "greenroom://127.0.0.1:7443".into(),
        kind: "greenroom".into(),
        reached: None,
        identity: None,
        failure: None,
        details: None,
        in_process: true,
    };
    let network = || super::super::assess(&[Probed { meta: &here, trace: None }], &question);
    let machine = Machine::not_tested("off");
    let of = |devices: &Devices| {
        with_devices(network(), Equipment { devices, machine: &machine, asked: &[] }, &question).verdict
    };
    let (alone, good) = (network().verdict, of(&devices()));
    assert_eq!((good.overall, &good.say), (State::NotTested, &alone.say));
    let mut mute = devices();
    mute.microphones[0].sound.heard = Value::exact(Heard::MutedInHardware);
    assert_eq!(of(&mute).overall, State::Blocked, "a fault is one whatever the network");
}

#[test]
fn devices_that_nobody_looked_at_change_nothing() {
    let found = verdict(&Devices::default());
    assert_eq!((found.overall, found.say.as_str()), (State::NotTested, "The network was not tested."));
}

#[test]
fn without_devices_they_are_left_out_unless_asked_for() {
    let found = verdict(&none());
    assert_eq!(found.overall, State::NotTested);
    assert_eq!(codes(&found), ["device_not_found"], "it says so all the same");
    let note = &found.causes[0];
    assert!(note.state == State::Ready && note.uses.is_empty());
    assert_eq!(note.say, "No microphone, speaker or camera was found.");

    let found = verdict_of(&none(), &Machine::not_tested("off"), &[DeviceKind::Camera]);
    assert_eq!((found.overall, found.say.as_str()), (State::Blocked, "No camera was found."));
    assert_eq!(found.uses[&Use::Video720p].state, State::Blocked);
    assert_eq!(found.uses[&Use::Audio].state, State::NotTested);
}

#[test]
fn what_was_asked_for_and_not_tested_is_inconclusive_never_good() {
    let mut quiet = devices();
    quiet.microphones[0].sound.heard = Value::exact(Heard::NobodySpoke);
    let found = verdict(&quiet);
    assert_eq!(found.overall, State::Ready, "{found:?}");
    assert!(codes(&found).contains(&"mic_nobody_spoke"));
    assert!(!found.say.contains("microphone"), "it was not tested: {}", found.say);
    let found = verdict_of(&quiet, &Machine::not_tested("off"), &[DeviceKind::Microphone]);
    assert_eq!(found.overall, State::Inconclusive);
    assert!(found.say.contains("microphone: nobody spoke"), "{}", found.say);

    let found = verdict_of(&Devices::default(), &Machine::not_tested("off"), &[DeviceKind::Microphone]);
    assert_eq!(found.overall, State::Inconclusive);
}

#[test]
fn each_silence_has_its_cause() {
    for (heard, code, state) in [
        (Heard::NoPermission, "mic_no_permission", State::PermissionDenied),
        (Heard::MutedInSoftware, "mic_muted_in_software", State::Blocked),
        (Heard::MutedInHardware, "mic_muted_in_hardware", State::Blocked),
        (Heard::Stuck, "mic_stuck", State::Blocked),
    ] {
        let mut devices = devices();
        devices.microphones[0].sound.heard = Value::exact(heard);
        // Whatever else its samples say is of no interest then.
        devices.microphones[0].sound.snr_db = Value::estimate(0.0, 1);
        let found = verdict(&devices);
        assert_eq!((found.overall, codes(&found)), (state, vec![code]));
        assert!(found.fix.is_some() && found.place.is_some());
    }
}

/// Each figure just good, just beyond good, and (where there is one) just beyond its limit.
#[test]
fn figures_are_held_against_their_limits() {
    type Set = fn(&mut Devices, f64);
    fn of(value: f64) -> Value<Estimate> {
        Value::estimate(value, 1)
    }
    let table: [(&str, Set, f64, f64, Option<f64>); 15] = [
        ("mic_too_quiet", |d, x| d.microphones[0].sound.speech_level_dbfs = of(x), -40.0, -40.1, Some(-60.1)),
        ("mic_snr_low", |d, x| d.microphones[0].sound.snr_db = of(x), 15.0, 14.9, None),
        ("mic_noisy", |d, x| d.microphones[0].sound.noise_floor_dbfs = of(x), -45.0, -44.9, None),
        ("mic_dc_offset", |d, x| d.microphones[0].sound.dc_offset_ratio = of(x), -0.02, -0.021, None),
        (
            "mic_clipping",
            |d, x| {
                d.microphones[0].sound.clipping =
                    Value::Measured(Clipping { ratio: x, runs: 0, runs_per_s: 0.0 });
            },
            0.0005,
            0.0006,
            None,
        ),
        (
            "mic_hum",
            |d, x| {
                d.microphones[0].sound.hum = Value::Measured(Hum { mains_hz: Some(50), level_dbfs: Some(x) });
            },
            -50.0,
            -49.0,
            None,
        ),
        ("mic_narrow_band", |d, x| d.microphones[0].sound.bandwidth_hz = of(x), 6_000.0, 4_000.0, None),
        ("clock_drift", |d, x| d.speakers[0].clock_drift_ppm = of(x), -300.0, 301.0, None),
        ("camera_slow", |d, x| d.cameras[0].frames.rate_ratio = of(x), 0.9, 0.89, Some(0.29)),
        ("camera_uneven", |d, x| d.cameras[0].frames.interval_spread_ratio = of(x), 0.5, 0.51, None),
        ("camera_frames_lost", |d, x| d.cameras[0].frames.lost_ratio = of(x), 0.02, 0.03, Some(0.51)),
        ("camera_frames_damaged", |d, x| d.cameras[0].frames.damaged_ratio = of(x), 0.01, 0.02, Some(0.51)),
        (
            "camera_late",
            |d, x| d.cameras[0].frames.first_ms = Value::exact(x),
            4_000.0,
            4_001.0,
            Some(15_001.0),
        ),
        ("speaker_delay", |d, x| d.acoustic_loop = heard(Some(true), x, -20.0), 400.0, 401.0, None),
        ("speaker_echo", |d, x| d.acoustic_loop = heard(Some(true), 60.0, x), -6.0, -5.0, None),
    ];
    for (code, set, good, beyond, limit) in table {
        let state_at = |x: f64| {
            let mut devices = devices();
            set(&mut devices, x);
            let found = verdict(&devices);
            (found.overall, found.causes.first().map(|cause| cause.code.clone()))
        };
        assert_eq!(state_at(good), (State::Ready, None), "{code}");
        assert_eq!(state_at(beyond), (State::Degraded, Some(code.to_owned())));
        if let Some(limit) = limit {
            assert_eq!(state_at(limit), (State::Blocked, Some(code.to_owned())));
        }
    }
}

/// A loop in which the only channel was heard or not.
fn heard(heard: Option<bool>, delay_ms: f64, return_db: f64) -> AcousticLoop {
    let nothing = "it was not heard";
    AcousticLoop {
        state: Value::Measured(LoopPair { speaker: 0, microphone: 0 }),
        failure: None,
        channels: vec![LoopChannel {
            channel: 0,
            heard: heard.map_or_else(|| Value::failed("too faint"), Value::exact),
            heard_on: Value::not_tested(nothing),
            confidence_db: Value::exact(60.0),
            delay_ms: Value::estimate(delay_ms, 1),
            return_db: Value::estimate(return_db, 1),
            response: Value::not_tested(nothing),
            distortion_ratio: Value::not_tested(nothing),
        }],
    }
}

#[test]
fn a_speaker_is_silent_only_when_that_was_heard() {
    let with = |channels: &[Option<bool>]| {
        let mut devices = devices();
        devices.acoustic_loop = heard(None, 60.0, -20.0);
        devices.acoustic_loop.channels =
            channels.iter().flat_map(|channel| heard(*channel, 60.0, -20.0).channels).collect();
        let found = verdict(&devices);
        (found.overall, codes(&found).first().map(|code| (*code).to_owned()))
    };
    assert_eq!(with(&[Some(true), Some(true)]), (State::Ready, None));
    assert_eq!(with(&[Some(false), Some(false)]), (State::Blocked, Some("speaker_silent".into())));
    assert_eq!(with(&[Some(true), Some(false)]), (State::Degraded, Some("speaker_channel_silent".into())));
    assert_eq!(with(&[None]), (State::Ready, None), "too faint to tell blames nobody");
}

#[test]
fn doubt_that_reaches_over_the_good_value_blames_no_device() {
    let mut devices = devices();
    let drift =
        |low, high| Value::Measured(Estimate { value: 350.0, low: Some(low), high: Some(high), n: 75 });
    devices.microphones[0].sound.clock_drift_ppm = drift(150.0, 550.0);
    assert_eq!(verdict(&devices).overall, State::Ready);
    devices.microphones[0].sound.clock_drift_ppm = drift(310.0, 390.0);
    assert_eq!(verdict(&devices).overall, State::Degraded);
}

#[test]
fn failures_tell_what_to_do_on_this_system() {
    let failed = |failure: DeviceFailure, system: System| {
        let mut devices = devices();
        devices.system = system;
        devices.cameras = vec![Camera::failed(info(), failure)];
        verdict(&devices)
    };
    let group = || DeviceFailure::Permission { which: Permission::Group, detail: Some("video".into()) };
    let found = failed(group(), System::Linux);
    assert_eq!((found.overall, found.place), (State::PermissionDenied, Some(Place::Computer)));
    assert!(found.fix.as_deref().is_some_and(|fix| fix.contains("usermod -aG video")), "{found:?}");
    assert!(failed(group(), System::Windows).fix.is_some_and(|fix| !fix.contains("usermod")));
    let busy = failed(DeviceFailure::Busy { by: Some("zoom (4711)".into()) }, System::Linux);
    assert_eq!(
        (busy.overall, busy.say.as_str()),
        (State::Blocked, "The camera is in use by another program (zoom (4711)).")
    );
    let nameless = failed(DeviceFailure::Busy { by: None }, System::Linux);
    assert_eq!(nameless.say, "The camera is in use by another program.");
    let odd = failed(DeviceFailure::Unknown { detail: "EPIPE".into() }, System::Linux);
    assert_eq!(odd.overall, State::Inconclusive, "what the test could not do says little of the device");
    for (failure, code) in [
        (DeviceFailure::NotFound { wanted: Some("/dev/video9".into()) }, "device_not_found"),
        (DeviceFailure::Disconnected { after_ms: None }, "device_disconnected"),
        (DeviceFailure::Stalled { after_ms: 3_000 }, "device_stalled"),
        (DeviceFailure::Suspended { wake: None }, "device_suspended"),
        (DeviceFailure::UnsupportedFormat { detail: String::new() }, "device_unsupported_format"),
        (DeviceFailure::SoundServerDown { server: "PulseAudio".into() }, "device_sound_server_down"),
        (
            DeviceFailure::Permission { which: Permission::PrivacySetting, detail: None },
            "device_permission_privacy",
        ),
        (DeviceFailure::Permission { which: Permission::Portal, detail: None }, "device_permission_portal"),
        (
            DeviceFailure::Permission { which: Permission::Browser, detail: Some("it is blocked".into()) },
            "device_permission_browser",
        ),
        (DeviceFailure::Unheard, "device_unheard"),
        (DeviceFailure::Permission { which: Permission::Unknown, detail: None }, "device_permission"),
    ] {
        let found = failed(failure, System::Macos);
        assert_eq!(codes(&found), [code]);
        assert!(
            !found.say.contains('{') && found.fix.as_ref().is_none_or(|fix| !fix.contains('{')),
            "{found:?}"
        );
    }
}

#[test]
fn what_a_device_gave_before_it_went_away_is_no_measure_of_it() {
    let away = || Some(DeviceFailure::Disconnected { after_ms: Some(20) });
    let mut devices = devices();
    let silence =
        SoundFigures { heard: Value::exact(Heard::MutedInSoftware), ..devices.microphones[0].sound.clone() };
    devices.microphones = vec![Microphone { failure: away(), sound: silence, ..microphone() }];
    devices.cameras[0].failure = away();
    devices.cameras[0].picture.seen = Value::exact(Seen::Black);
    assert_eq!(codes(&verdict(&devices)), ["device_disconnected"; 2]);
    devices.microphones[0].failure = None;
    assert_eq!(codes(&verdict(&devices)), ["mic_muted_in_software", "device_disconnected"]);
}

#[test]
fn the_default_device_counts_and_others_do_not() {
    let mut devices = devices();
    let mut muted = microphone();
    muted.device.default = false;
    muted.sound.heard = Value::exact(Heard::MutedInHardware);
    devices.microphones.insert(0, muted);
    assert_eq!(verdict(&devices).overall, State::Ready);
    devices.microphones[1] = Microphone::not_tested(info(), "another one was asked for");
    assert_eq!(verdict(&devices).overall, State::Blocked, "the one that was tried");
}

#[test]
fn a_computer_too_slow_to_encode_is_the_computers_fault() {
    let slow = |times: f64| {
        let mut machine = Machine::not_tested("off");
        machine.encode.push(EncodeHeadroom {
            use_: Use::Video720p,
            codec: "h264".into(),
            encoder: "openh264".into(),
            times_real_time: Value::estimate(times, 3),
        });
        verdict_of(&Devices::default(), &machine, &[])
    };
    assert_eq!(slow(6.0).overall, State::NotTested, "a fast computer alone makes no call");
    let found = slow(1.2);
    assert_eq!((found.overall, found.place), (State::Degraded, Some(Place::Computer)));
    assert_eq!(slow(0.5).overall, State::Blocked);
    assert_eq!(slow(0.5).uses[&Use::Audio].state, State::NotTested);
}

#[test]
fn a_camera_of_few_lines_is_too_small_for_the_uses_that_have_more() {
    let with_lines = |lines: u32| {
        let mut devices = devices();
        let camera = &mut devices.cameras[0];
        if let Value::Measured(stream) = &mut camera.state {
            stream.given.height = lines;
        }
        camera.formats = Value::exact(vec![CameraFormat {
            fourcc: "YUYV".into(),
            width: lines * 4 / 3,
            height: lines,
            fps: Some(30.0),
        }]);
        verdict(&devices)
    };
    let small = with_lines(480);
    assert_eq!((small.overall, codes(&small)), (State::Degraded, vec!["camera_small"]), "{small:?}");
    assert_eq!(small.say, "Your camera's pictures have at most 480 lines, too few for 720p.");
    assert_eq!(small.uses[&Use::Audio].state, State::Ready);
    let enough = with_lines(720);
    assert_eq!(enough.overall, State::Ready, "nobody asked for 1080p");
}

#[test]
fn a_loop_that_was_heard_speaks_for_speaker_and_microphone() {
    let by_loop = |acoustic_loop: AcousticLoop| {
        let looped = Devices {
            microphones: vec![Microphone::not_tested(info(), "together")],
            speakers: vec![Speaker::not_tested(info(), "together")],
            acoustic_loop,
            ..devices()
        };
        let asked = [DeviceKind::Microphone, DeviceKind::Speaker];
        verdict_of(&looped, &Machine::not_tested("off"), &asked)
    };
    assert_eq!(by_loop(heard(Some(true), 100.0, -30.0)).uses[&Use::Audio].state, State::Ready);
    assert_eq!(by_loop(heard(Some(false), 0.0, 0.0)).uses[&Use::Audio].state, State::Blocked);
    let deaf = by_loop(AcousticLoop::not_tested("the microphone delivers digital silence"));
    assert_eq!(deaf.uses[&Use::Audio].state, State::Inconclusive);
    assert!(deaf.say.contains("digital silence"), "{}", deaf.say);
}

#[test]
fn a_camera_alone_is_ready_for_no_use_of_its_own() {
    let profile = Profile::default();
    let asked = BTreeSet::from([Use::Audio]);
    let question = Question { profile: &profile, asked: &asked, mode: Mode::Quick, at_cap: true };
    let (devices, machine) = (Devices { cameras: vec![camera()], ..none() }, Machine::not_tested("off"));
    let equipment = Equipment { devices: &devices, machine: &machine, asked: &[DeviceKind::Camera] };
    let found = with_devices(super::super::assess(&[], &question), equipment, &question).verdict;
    assert_eq!(found.say, "Your camera is ready. The network was not tested.");
}
