//! The sweep through the server: where it was found, and how exactly.

use std::sync::Arc;

use greenroom::devices::Clock;
use greenroom::devices::audio::acoustic::test_loop;
use greenroom::devices::audio::choose::choose;
use greenroom::devices::audio::native::NativeAudio;
use greenroom::devices::audio::{AudioSystem as _, Role, Want};
use greenroom_reports::schema::LoopPair;
use greenroom_reports::signals::sound::sweep::Sweep;
use greenroom_reports::units::Micros;

use crate::server::{MICROPHONE, MONITOR, SPEAKER, SoundServer};

const PLACES: LoopPair = LoopPair { speaker: 0, microphone: 0 };

#[test]
fn each_channel_comes_back_on_its_own_at_full_level() {
    let _server = SoundServer::start();
    let system = NativeAudio::new(Clock::start());
    let devices = system.devices().expect("the server answers");
    let speaker = choose(&devices, Role::Speaker, Some(SPEAKER)).expect("it is there");
    let microphone = choose(&devices, Role::Microphone, Some(MONITOR)).expect("it is there");
    let mut told = Vec::new();
    let tested = test_loop(&system, speaker, microphone, PLACES, &mut |channel| told.push(channel)).heard;
    assert_eq!(tested.failure, None);
    assert_eq!(told, [0, 1]);
    assert_eq!(tested.channels.len(), 2, "{tested:?}");
    let mut delays = Vec::new();
    for (number, channel) in tested.channels.iter().enumerate() {
        assert_eq!(channel.heard.fact(), Some(&true), "{channel:?}");
        assert_eq!(channel.heard_on.fact().map(|on| usize::from(*on)), Some(number));
        let level = channel.return_db.measured().expect("it was heard").value;
        assert!(level.abs() < 0.1, "{level} dB");
        delays.push(channel.delay_ms.measured().expect("it was heard").value);
    }
    // Both channels went the same way.
    assert!((delays[0] - delays[1]).abs() < 0.1, "{delays:?}");
    // A null sink takes and gives back what it is handed at once: what is measured is the doubt of the clock.
    assert!((-2.0..20.0).contains(&delays[0]), "{delays:?}");
}

#[test]
fn a_known_delay_is_measured_to_a_tenth_of_a_millisecond() {
    // 37.5 ms at 48 kHz.
    const LATER: usize = 1_800;
    let _server = SoundServer::start();
    let system = NativeAudio::new(Clock::start());
    let devices = system.devices().expect("the server answers");
    let speaker = choose(&devices, Role::Speaker, Some(SPEAKER)).expect("it is there");
    let microphone = choose(&devices, Role::Microphone, Some(MONITOR)).expect("it is there");
    let mut input = system.open_input(microphone, Want::default()).expect("it can be opened");
    let mut heard = input.next(Micros::from_secs(5)).expect("it captures").samples;
    let mut output = system.open_output(speaker, Want::default()).expect("it can be opened");
    let sweep = Sweep::new(48_000, 1.0).expect("a usual rate");
    let at = |i: usize| sweep.samples().get(i).copied().unwrap_or(0.0);
    let sound: Arc<[f32]> =
        (0..48_000 + LATER).flat_map(|i| [at(i), i.checked_sub(LATER).map_or(0.0, at)]).collect();
    let until = system.now() + output.opened().format.time_of(sound.len()) + Micros::from_millis(400);
    output.play(sound).expect("it takes a sound");
    while system.now() < until {
        heard.extend(input.next(Micros::from_secs(5)).expect("it captures").samples);
    }
    let channel = |channel: usize| heard.iter().skip(channel).step_by(2).copied().collect::<Vec<f32>>();
    let left = sweep.find(&channel(0)).expect("it is long enough");
    let right = sweep.find(&channel(1)).expect("it is long enough");
    let apart = right.delay_ms() - left.delay_ms();
    assert!((apart - 37.5).abs() < 0.1, "{apart} ms");
}

#[test]
fn a_speaker_on_another_wire_is_not_heard() {
    let _server = SoundServer::start();
    let system = NativeAudio::new(Clock::start());
    let devices = system.devices().expect("the server answers");
    let speaker = choose(&devices, Role::Speaker, Some(SPEAKER)).expect("it is there");
    let microphone = choose(&devices, Role::Microphone, Some(MICROPHONE)).expect("it is there");
    let tested = test_loop(&system, speaker, microphone, PLACES, &mut |_| ()).heard;
    assert_eq!(tested.failure, None);
    // Nobody plays on its wire, so it delivers digital silence: nothing can be said of the speaker.
    assert!(tested.state.measured().is_none(), "{tested:?}");
}
