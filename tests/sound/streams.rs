//! What is played is what is heard: to the sample, through `cpal` and the server.

use std::f64::consts::TAU;
use std::sync::Arc;

use greenroom::devices::audio::choose::choose;
use greenroom::devices::audio::native::NativeAudio;
use greenroom::devices::audio::{AudioSystem, Role, Want};
use greenroom::devices::{Clock, Fault};
use greenroom_reports::units::Micros;

use crate::server::{MONITOR, SPEAKER, SoundServer};

const RATE: f64 = 48_000.0;
/// AES17: not a divisor of any rate.
const TONE_HZ: f64 = 997.0;
const AMPLITUDE: f64 = 0.25;

// Twenty runs, each opening both devices anew: four times five, so that two processors share them.
#[test]
fn a_tone_comes_back_as_it_was_played_runs_1_to_5() {
    five_runs();
}

#[test]
fn a_tone_comes_back_as_it_was_played_runs_6_to_10() {
    five_runs();
}

#[test]
fn a_tone_comes_back_as_it_was_played_runs_11_to_15() {
    five_runs();
}

#[test]
fn a_tone_comes_back_as_it_was_played_runs_16_to_20() {
    five_runs();
}

fn five_runs() {
    let _server = SoundServer::start();
    let system = NativeAudio::new(Clock::start());
    for run in 0..5 {
        let heard = play_and_hear(&system, &tone(24_000));
        let begins = heard.iter().position(|sample| sample.abs() > 1e-3).expect("the tone was heard");
        // Its ends are left out: it starts and stops at full strength.
        let middle = &heard[begins + 1_000..begins + 23_000];
        let (frequency, level_db) = frequency_and_level(middle);
        assert!((frequency / TONE_HZ - 1.0).abs() < 5e-6, "run {run}: {frequency} Hz");
        let expected = 20.0 * (AMPLITUDE / 2.0_f64.sqrt()).log10();
        assert!((level_db - expected).abs() < 0.1, "run {run}: {level_db} dBFS, played {expected}");
        assert_eq!(dropouts(middle), 0, "run {run}: samples that do not follow");
    }
}

#[test]
fn what_is_listed_is_there_once_and_says_what_it_is() {
    let server = SoundServer::start();
    let system = NativeAudio::new(Clock::start());
    let devices = system.devices().expect("the server answers");
    let ids: Vec<&str> = devices.iter().map(|device| device.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "pulseaudio:microphone",
            "pulseaudio:speaker.monitor",
            "pulseaudio:wire.monitor",
            "pulseaudio:speaker",
            "pulseaudio:wire"
        ]
    );
    assert!(devices[0].is_default && devices[3].is_default, "{devices:?}");
    assert_eq!((devices[0].muted, devices[0].name.as_str()), (Some(false), "Test-microphone"));
    server.control(&["set-source-mute", "microphone", "1"]);
    server.control(&["set-sink-volume", "speaker", "50%"]);
    let devices = system.devices().expect("the server answers");
    assert_eq!(devices[0].muted, Some(true));
    let volume = devices[3].volume_ratio.expect("a server knows the volume");
    assert!((volume - 0.5).abs() < 1e-4, "{volume}");
}

#[test]
fn a_server_killed_while_capturing_is_told_at_once() {
    let server = SoundServer::start();
    let system = NativeAudio::new(Clock::start());
    let devices = system.devices().expect("the server answers");
    let microphone = choose(&devices, Role::Microphone, Some(MONITOR)).expect("it is there");
    let mut input = system.open_input(microphone, Want::default()).expect("it can be opened");
    input.next(Micros::from_secs(5)).expect("it captures");
    server.crash();
    let before = system.now();
    let error = loop {
        match input.next(Micros::from_secs(1)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error.fault, Fault::ServerDown { .. }), "{error}");
    assert!(system.now() - before < Micros::from_secs(5), "{}", system.now() - before);
    let error = system.devices().expect_err("there is no server any more");
    assert!(matches!(error.fault, Fault::ServerDown { .. }), "{error}");
}

#[test]
fn a_server_that_hangs_is_told_within_five_seconds() {
    let server = SoundServer::start();
    let system = NativeAudio::new(Clock::start());
    let devices = system.devices().expect("the server answers");
    let speaker = choose(&devices, Role::Speaker, None).expect("it is there").clone();
    let mut output = system.open_output(&speaker, Want::default()).expect("it can be opened");
    output.play(tone(480_000)).expect("it takes a sound");
    server.freeze();
    let before = system.now();
    let error = loop {
        match output.wait(Micros::from_secs(5)) {
            Ok(played) => assert!(!played.over, "{played:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error.fault, Fault::ServerDown { .. }), "{error}");
    assert!(system.now() - before < Micros::from_secs(5), "{}", system.now() - before);
    let before = system.now();
    let opened = system.open_input(&devices[0], Want::default()).map(|_| ());
    assert!(opened.is_err_and(|error| matches!(error.fault, Fault::ServerDown { .. })));
    assert!(system.now() - before <= Micros::from_secs(5), "{}", system.now() - before);
}

/// Plays a stereo sound and returns what the monitor's left channel heard meanwhile.
fn play_and_hear(system: &NativeAudio, sound: &Arc<[f32]>) -> Vec<f32> {
    let devices = system.devices().expect("the server answers");
    let microphone = choose(&devices, Role::Microphone, Some(MONITOR)).expect("it is there");
    let speaker = choose(&devices, Role::Speaker, Some(SPEAKER)).expect("it is there");
    let mut input = system.open_input(microphone, Want::default()).expect("it can be opened");
    let mut output = system.open_output(speaker, Want::default()).expect("it can be opened");
    let mut heard = input.next(Micros::from_secs(5)).expect("it captures").samples;
    output.play(Arc::clone(sound)).expect("it takes a sound");
    let until = system.now() + output.opened().format.time_of(sound.len()) + Micros::from_millis(300);
    while system.now() < until {
        heard.extend(input.next(Micros::from_secs(5)).expect("it captures").samples);
    }
    let played = output.wait(Micros::from_secs(5)).expect("it plays");
    assert!(played.over, "{played:?}");
    heard.iter().step_by(2).copied().collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a test's tone")]
fn tone(frames: usize) -> Arc<[f32]> {
    (0..frames)
        .flat_map(|i| {
            let sample = (AMPLITUDE * (TAU * TONE_HZ * i as f64 / RATE).sin()) as f32;
            [sample, sample]
        })
        .collect()
}

/// Frequency by the advance of the phase between two halves, each correlated with the nominal tone; level by the rms.
#[expect(clippy::cast_precision_loss, reason = "a test's few samples")]
fn frequency_and_level(samples: &[f32]) -> (f64, f64) {
    let half = samples.len() / 2;
    let phase = |from: usize| {
        let (mut re, mut im) = (0.0, 0.0);
        for (i, sample) in samples[from..from + half].iter().enumerate() {
            let window = 1.0 - (TAU * (i as f64 + 0.5) / half as f64).cos();
            let angle = TAU * TONE_HZ * (from + i) as f64 / RATE;
            re += window * f64::from(*sample) * angle.cos();
            im -= window * f64::from(*sample) * angle.sin();
        }
        im.atan2(re)
    };
    let mut advance = phase(half) - phase(0);
    advance -= TAU * (advance / TAU).round();
    let frequency = TONE_HZ + advance / TAU * RATE / half as f64;
    let power: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
    (frequency, 10.0 * power.log10())
}

/// Samples that do not follow from the two before, as those of a pure tone do: x[n] = 2 cos(w) x[n-1] - x[n-2].
fn dropouts(samples: &[f32]) -> usize {
    let turn = 2.0 * (TAU * TONE_HZ / RATE).cos();
    let follows = |w: &[f32]| {
        let expected = turn * f64::from(w[1]) - f64::from(w[0]);
        (f64::from(w[2]) - expected).abs() < 1e-4
    };
    samples.windows(3).filter(|w| !follows(w)).count()
}
