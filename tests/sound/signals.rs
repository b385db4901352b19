//! What a microphone hears through the server is named for what it is.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use greenroom::devices::Clock;
use greenroom::devices::audio::choose::choose;
use greenroom::devices::audio::microphone::test_microphone;
use greenroom::devices::audio::native::NativeAudio;
use greenroom::devices::audio::speaker::{Sound, test_speaker};
use greenroom::devices::audio::{AudioSystem as _, Role, Want};
use greenroom_reports::schema::{DeviceFailure, Heard, Microphone, Speaker};
use greenroom_reports::units::Micros;

use crate::server::{MICROPHONE, SPEAKER, SoundServer, WIRE};

const RATE: usize = 48_000;
const LASTING: Micros = Micros::from_secs(5);

#[test]
fn recorded_speech_is_speech_and_its_level_is_right() {
    let speech = speech();
    let microphone = hearing(&level(&speech, 1.0));
    let played = rms_dbfs(&speech);
    let heard = microphone.sound.rms_dbfs.measured().expect("it was heard").value;
    assert_eq!(name(&microphone), Some(Heard::Speech), "{:?}", microphone.sound);
    // The listening begins somewhere in the speech.
    assert!((heard - played).abs() < 3.0, "played {played} dBFS, heard {heard}");
    let dropouts = microphone.sound.dropouts.measured().expect("it was heard");
    assert_eq!((dropouts.gaps, dropouts.repeats), (0, 0), "{dropouts:?}");
    let stream = microphone.state.measured().expect("it was opened");
    assert_eq!((stream.backend.as_str(), stream.rate_hz), ("pulseaudio", 48_000));
}

#[test]
fn speech_too_soft_to_be_understood_is_too_quiet() {
    let faint = mix(&level(&speech(), 0.01), &noise(-78.0));
    let microphone = hearing(&faint);
    assert_eq!(name(&microphone), Some(Heard::TooQuiet), "{:?}", microphone.sound);
}

#[test]
fn speech_too_loud_for_the_converter_clips() {
    let loud: Vec<f32> = level(&speech(), 20.0).iter().map(|x| x.clamp(-1.0, 1.0)).collect();
    let clipping = hearing(&loud).sound.clipping;
    assert!(clipping.measured().is_some_and(|clipping| clipping.runs > 100), "{clipping:?}");
}

#[test]
fn a_room_in_which_nobody_speaks_is_that() {
    let microphone = hearing(&noise(-60.0));
    assert_eq!(name(&microphone), Some(Heard::NobodySpoke), "{:?}", microphone.sound);
    let floor = microphone.sound.noise_floor_dbfs.measured().expect("it was heard").value;
    assert!((floor + 60.0).abs() < 1.0, "{floor}");
}

#[test]
fn a_switch_on_the_cable_is_muted_in_hardware() {
    let codes: Vec<f32> = noise(-95.0).iter().map(|x| (x * 32_768.0).round() / 32_768.0).collect();
    let microphone = hearing(&codes);
    assert_eq!(name(&microphone), Some(Heard::MutedInHardware), "{:?}", microphone.sound);
}

#[test]
fn a_value_that_never_changes_is_stuck() {
    assert_eq!(name(&hearing(&vec![0.01; 6 * RATE])), Some(Heard::Stuck));
}

#[test]
fn muted_in_the_mixer_is_muted_in_software() {
    let server = SoundServer::start();
    server.control(&["set-source-mute", MICROPHONE, "1"]);
    let microphone = listen(&NativeAudio::new(Clock::start()), LASTING);
    assert_eq!(name(&microphone), Some(Heard::MutedInSoftware), "{:?}", microphone.sound);
    assert_eq!(microphone.muted.fact(), Some(&true));
}

#[test]
fn hum_gaps_and_an_offset_are_found_in_speech() {
    let hum: Vec<f32> = (0..12 * RATE).map(|i| 0.01 * sine(50.0, i) + 0.004 * sine(150.0, i)).collect();
    let mut spoiled = mix(&level(&speech(), 0.5), &hum);
    for (i, sample) in spoiled.iter_mut().enumerate() {
        *sample += 0.05;
        // 10 ms of nothing every half second.
        if i % (RATE / 2) < RATE / 100 {
            *sample = 0.0;
        }
    }
    let sound = hearing(&spoiled).sound;
    let gaps = sound.dropouts.measured().expect("it was heard").gaps;
    assert!((9..=11).contains(&gaps), "{gaps} gaps in 5 s");
    let offset = sound.dc_offset_ratio.measured().expect("it was heard").value;
    assert!((offset - 0.05).abs() < 0.005, "{offset}");
    let hum = sound.hum.measured().expect("it was heard");
    assert_eq!(hum.mains_hz, Some(50), "{hum:?}");
}

#[test]
fn a_source_that_is_suspended_is_told_so_within_five_seconds() {
    let server = SoundServer::start();
    server.control(&["suspend-source", MICROPHONE, "1"]);
    server.control(&["suspend-sink", WIRE, "1"]);
    let system = NativeAudio::new(Clock::start());
    let before = system.now();
    let microphone = listen(&system, LASTING);
    let took = system.now() - before;
    let wake = Some("pactl suspend-source microphone 0".to_owned());
    assert_eq!(microphone.failure, Some(DeviceFailure::Suspended { wake }), "{microphone:?}");
    assert!(took < Micros::from_secs(5), "{took}");
}

#[test]
fn a_speaker_that_is_suspended_is_told_so_and_plays_once_it_is_woken() {
    let server = SoundServer::start();
    server.control(&["suspend-sink", SPEAKER, "1"]);
    let system = NativeAudio::new(Clock::start());
    let before = system.now();
    let failure = silent_speaker(&system).failure;
    let took = system.now() - before;
    let Some(DeviceFailure::Suspended { wake: Some(wake) }) = failure else {
        panic!("{failure:?} after {took}")
    };
    assert!(took < Micros::from_secs(5), "{took}");
    // What it says to do is what helps.
    let words: Vec<&str> = wake.split(' ').collect();
    assert_eq!(words[0], "pactl");
    server.control(&words[1..]);
    assert_eq!(silent_speaker(&system).failure, None);
}

#[test]
fn the_clock_of_a_speaker_without_hardware_is_the_computers() {
    let _server = SoundServer::start();
    let system = NativeAudio::new(Clock::start());
    let speaker = speaker_playing(&system, Sound::Chime);
    assert_eq!(speaker.failure, None);
    let drift = *speaker.clock_drift_ppm.measured().expect("it played for seconds");
    let (low, high) = (drift.low.expect("a doubt"), drift.high.expect("a doubt"));
    // Within twice its doubt: once it alone leaves out one run in twenty.
    assert!(drift.value.abs() < (high - low).min(300.0), "{drift:?}");
    assert!(drift.n > 100, "{drift:?}");
}

fn silent_speaker(system: &NativeAudio) -> Speaker {
    speaker_playing(system, Sound::Silence(Micros::from_millis(500)))
}

fn speaker_playing(system: &NativeAudio, sound: Sound) -> Speaker {
    let devices = system.devices().expect("the server answers");
    let device = choose(&devices, Role::Speaker, Some(SPEAKER)).expect("it is there");
    test_speaker(system, device, sound, &mut |_| ())
}

#[test]
fn a_microphone_pulled_out_while_it_listens_is_disconnected() {
    let server = SoundServer::start();
    let system = NativeAudio::new(Clock::start());
    let (tell, told) = mpsc::channel();
    let listening = on_a_thread(move || {
        let mut ear = Tell(Some(tell));
        let devices = system.devices().expect("the server answers");
        let device = choose(&devices, Role::Microphone, Some(MICROPHONE)).expect("it is there");
        test_microphone(&system, device, LASTING, &mut [&mut ear])
    });
    told.recv().expect("it heard something");
    server.control(&["unload-module", "module-remap-source"]);
    let microphone = listening.join().expect("no panic");
    let code = microphone.failure.as_ref().map(DeviceFailure::code);
    assert_eq!(code, Some("disconnected"), "{microphone:?}");
}

/// Tells when the first block came.
struct Tell(Option<mpsc::Sender<()>>);

impl greenroom::devices::audio::listen::Ear for Tell {
    fn opened(&mut self, _opened: greenroom::devices::audio::Opened) {}

    fn hear(&mut self, _block: &greenroom::devices::audio::Block) -> std::ops::ControlFlow<()> {
        if let Some(tell) = self.0.take() {
            tell.send(()).expect("the test waits");
        }
        std::ops::ControlFlow::Continue(())
    }
}

/// What the microphone hears while this is played on its wire, again and again.
fn hearing(mono: &[f32]) -> Microphone {
    let _server = SoundServer::start();
    let system = NativeAudio::new(Clock::start());
    let devices = system.devices().expect("the server answers");
    let wire = choose(&devices, Role::Speaker, Some(WIRE)).expect("it is there");
    let mut output = system.open_output(wire, Want::default()).expect("it can be opened");
    let again = 12 * RATE / mono.len() + 1;
    let sound: Arc<[f32]> =
        std::iter::repeat_n(mono, again).flatten().flat_map(|sample| [*sample, *sample]).collect();
    output.play(sound).expect("it takes a sound");
    // It sounds before anybody listens.
    while output.wait(Micros::from_millis(50)).expect("it plays").frames < 24_000 {}
    let microphone = listen(&system, LASTING);
    assert_eq!(microphone.failure, None);
    microphone
}

fn listen(system: &NativeAudio, lasting: Micros) -> Microphone {
    let devices = system.devices().expect("the server answers");
    let device = choose(&devices, Role::Microphone, Some(MICROPHONE)).expect("it is there");
    test_microphone(system, device, lasting, &mut [])
}

#[expect(clippy::disallowed_methods, reason = "a test listens while it breaks something")]
fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
    std::thread::spawn(work)
}

fn name(microphone: &Microphone) -> Option<Heard> {
    microphone.sound.heard.fact().copied()
}

/// A public-domain reading, at 48 kHz.
fn speech() -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/tests/data/speech/austen.wav");
    let mut reader = hound::WavReader::open(path).expect("it comes with the tests");
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.bits_per_sample), (1, 16));
    let times = RATE / usize::try_from(spec.sample_rate).expect("a rate");
    let samples: Vec<f32> =
        reader.samples::<i16>().map(|sample| f32::from(sample.expect("whole")) / 32_768.0).collect();
    // Between samples along a line: what lies above the recording's own band does not matter here.
    let mut speech = Vec::with_capacity(samples.len() * times);
    for pair in samples.windows(2) {
        for step in 0..u16::try_from(times).expect("a few") {
            let part = f32::from(step) / f32::from(u16::try_from(times).expect("a few"));
            speech.push(pair[0] * (1.0 - part) + pair[1] * part);
        }
    }
    speech
}

fn level(samples: &[f32], factor: f32) -> Vec<f32> {
    samples.iter().map(|sample| sample * factor).collect()
}

fn mix(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b.iter().cycle()).map(|(a, b)| a + b).collect()
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a test's sound")]
fn sine(hz: f64, i: usize) -> f32 {
    (std::f64::consts::TAU * hz * i as f64 / RATE as f64).sin() as f32
}

/// Six seconds of noise with this rms, from a fixed seed.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a test's sound")]
fn noise(dbfs: f64) -> Vec<f32> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let amplitude = 10.0_f64.powf(dbfs / 20.0) * 3.0_f64.sqrt();
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        amplitude * ((state >> 11) as f64 / (1_u64 << 53) as f64 * 2.0 - 1.0)
    };
    (0..6 * RATE).map(|_| next() as f32).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a test's few samples")]
fn rms_dbfs(samples: &[f32]) -> f64 {
    let power: f64 = samples.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / samples.len() as f64;
    10.0 * power.log10()
}
