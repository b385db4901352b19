//! The test of a microphone: what it hears while somebody speaks, or which of the six silences it is.

use std::ops::ControlFlow;

use greenroom_reports::schema::{DeviceFailure, Microphone, Value};
use greenroom_reports::signals::sound::{self, Circumstances, DriftMeter, Recording};
use greenroom_reports::units::Micros;

use super::listen::{Ear, SETTLING, fact, listen};
use super::{AudioDevice, AudioSystem, Block, Opened};

/// Listens to a microphone for `lasting` and reports what it heard. `others` hear the same, live.
pub fn test_microphone(
    system: &dyn AudioSystem,
    device: &AudioDevice,
    lasting: Micros,
    others: &mut [&mut dyn Ear],
) -> Microphone {
    let mut analyst = Analyst::default();
    let mut ears: Vec<&mut dyn Ear> = vec![&mut analyst];
    ears.extend(others.iter_mut().map(|ear| &mut **ear as &mut dyn Ear));
    let listened = match listen(system, device, lasting, &mut ears) {
        Ok(listened) => listened,
        Err(error) => return Microphone::failed(device.info(), error.failure()),
    };
    let failure = listened.failure.map(|error| match error.failure() {
        DeviceFailure::Disconnected { .. } => {
            DeviceFailure::Disconnected { after_ms: u64::try_from(listened.ran.get() / 1_000).ok() }
        }
        other => other,
    });
    let told = Circumstances { permitted: None, muted: device.muted };
    let sound = match (&failure, listened.first_after) {
        (Some(failure), None) => greenroom_reports::schema::SoundFigures::not_tested(&failure.reason()),
        _ => analyst.figures(told),
    };
    let stream = device.stream(listened.opened, listened.first_after, listened.ran, listened.overruns);
    Microphone {
        state: Value::Measured(stream),
        failure,
        muted: fact(device.muted, "the system's mixer does not tell"),
        volume_ratio: fact(device.volume_ratio, "the system's mixer does not tell"),
        sound,
        device: device.info(),
    }
}

/// Hands what comes to the analysers.
#[derive(Default)]
struct Analyst {
    parts: Option<Parts>,
}

struct Parts {
    opened: Opened,
    recording: Recording,
    drift: DriftMeter,
    frames: u64,
    begins: Option<Micros>,
}

impl Ear for Analyst {
    fn opened(&mut self, opened: Opened) {
        let format = sound::Format::new(opened.format.rate_hz, opened.format.channels);
        self.parts = format.map(|format| Parts {
            opened,
            recording: Recording::new(format),
            drift: DriftMeter::new(opened.format.rate_hz),
            frames: 0,
            begins: None,
        });
    }

    fn hear(&mut self, block: &Block) -> ControlFlow<()> {
        let Some(parts) = &mut self.parts else { return ControlFlow::Continue(()) };
        let begins = *parts.begins.get_or_insert(block.arrived + SETTLING);
        if block.arrived >= begins {
            parts.recording.push(&block.samples);
            let frames = block.samples.len() / usize::from(parts.opened.format.channels.max(1));
            parts.frames += u64::try_from(frames).unwrap_or(0);
            parts.drift.push(parts.frames, block.arrived);
        }
        ControlFlow::Continue(())
    }
}

impl Analyst {
    fn figures(self, told: Circumstances) -> greenroom_reports::schema::SoundFigures {
        self.parts.map_or_else(
            || greenroom_reports::schema::SoundFigures::not_tested("no analysis is made of such a format"),
            |parts| parts.recording.analysis().figures(told, parts.drift.drift()),
        )
    }
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::{DeviceFailure, Heard};

    use super::super::fake::{FakeAudio, FakeMicrophone, Hears, Troubles};
    use super::super::{Format, Role};
    use super::*;
    use crate::devices::error::{Fault, Permission};

    const LASTING: Micros = Micros::from_secs(6);

    fn tested(microphone: FakeMicrophone) -> (Microphone, Micros) {
        let system = FakeAudio::new(vec![microphone.into()]);
        let device = system.devices().expect("the server runs").remove(0);
        assert_eq!(device.role, Role::Microphone);
        let tested = test_microphone(&system, &device, LASTING, &mut []);
        (tested, system.now())
    }

    fn heard(hears: Hears) -> Microphone {
        let (microphone, took) = tested(FakeMicrophone::hearing(hears));
        assert_eq!(microphone.failure, None);
        assert!(took >= LASTING && took < LASTING + Micros::from_millis(100), "{took}");
        microphone
    }

    #[test]
    fn speech_and_the_silences_are_told_apart() {
        let name = |hears| heard(hears).sound.heard.fact().copied();
        let speech = Hears::Speech { dbfs: -28.0, room_dbfs: -65.0 };
        assert_eq!(name(speech), Some(Heard::Speech));
        assert_eq!(name(Hears::DigitalSilence), Some(Heard::MutedInSoftware));
        assert_eq!(name(Hears::HardwareMute), Some(Heard::MutedInHardware));
        assert_eq!(name(Hears::Stuck(0.01)), Some(Heard::Stuck));
        assert_eq!(name(Hears::Room { dbfs: -60.0 }), Some(Heard::NobodySpoke));
        let faint = Hears::Speech { dbfs: -62.0, room_dbfs: -78.0 };
        assert_eq!(name(faint), Some(Heard::TooQuiet));
    }

    #[test]
    fn clipping_dropouts_and_a_fast_clock_are_found() {
        let clipping = heard(Hears::Clipping).sound.clipping;
        assert!(clipping.measured().is_some_and(|clipping| clipping.runs > 100), "{clipping:?}");

        let mut microphone = FakeMicrophone::hearing(Hears::Speech { dbfs: -25.0, room_dbfs: -60.0 });
        microphone.dropouts = Some((Micros::from_millis(500), Micros::from_millis(10)));
        let (microphone, _) = tested(microphone);
        let dropouts = *microphone.sound.dropouts.measured().expect("speech has no zeros of its own");
        // One every half second; the first and the last may fall to the ends.
        assert!((10..=12).contains(&dropouts.gaps), "{dropouts:?}");

        let fast = Troubles { drift_ppm: 800.0, ..Troubles::default() };
        let tone = FakeMicrophone::hearing(Hears::Sine { hz: 440.0, dbfs: -20.0 }).with(fast);
        let system = FakeAudio::new(vec![tone.into()]);
        let device = system.devices().expect("the server runs").remove(0);
        let microphone = test_microphone(&system, &device, Micros::from_secs(12), &mut []);
        let drift = *microphone.sound.clock_drift_ppm.measured().expect("12 s are enough");
        assert!((drift.value - 800.0).abs() < 50.0, "{drift:?}");
    }

    #[test]
    fn whatever_happens_to_a_microphone_is_a_typed_failure_in_time() {
        let after = |millis| Some(Micros::from_millis(millis));
        let group = Permission::Group { group: "audio".into(), file: "/dev/snd/controlC0".into() };
        let refuses = |fault| Troubles { refuses: Some(fault), ..Troubles::default() };
        let cases = [
            (refuses(Fault::Busy { by: None }), "busy"),
            (refuses(Fault::Permission(group)), "permission_group"),
            (refuses(Fault::NotFound), "not_found"),
            (Troubles { unplugged_after: after(2_000), ..Troubles::default() }, "disconnected"),
            (Troubles { server_dies_after: after(2_000), ..Troubles::default() }, "sound_server_down"),
            (Troubles { never_delivers: true, ..Troubles::default() }, "stalled"),
            (Troubles { sleeps: Micros::from_secs(10), ..Troubles::default() }, "stalled"),
        ];
        for (troubles, code) in cases {
            let microphone = FakeMicrophone::hearing(Hears::Room { dbfs: -60.0 }).with(troubles);
            let (microphone, took) = tested(microphone);
            assert_eq!(microphone.failure.as_ref().map(DeviceFailure::code), Some(code));
            assert!(took <= Micros::from_secs(5), "{code}: {took}");
        }
    }

    #[test]
    fn one_unplugged_between_being_listed_and_opened_is_not_found_at_once() {
        let system = FakeAudio::new(vec![FakeMicrophone::hearing(Hears::DigitalSilence).into()]);
        let device = system.devices().expect("the server runs").remove(0);
        system.unplug(&device.id);
        let microphone = test_microphone(&system, &device, LASTING, &mut []);
        assert_eq!(microphone.failure.as_ref().map(DeviceFailure::code), Some("not_found"));
        assert_eq!(system.now(), Micros::ZERO);
    }

    #[test]
    fn what_was_heard_before_it_went_away_is_kept() {
        let unplugged = Troubles { unplugged_after: Some(Micros::from_secs(3)), ..Troubles::default() };
        let speech = Hears::Speech { dbfs: -28.0, room_dbfs: -65.0 };
        let (microphone, _) = tested(FakeMicrophone::hearing(speech).with(unplugged));
        assert_eq!(microphone.failure, Some(DeviceFailure::Disconnected { after_ms: Some(3_000) }));
        assert!(microphone.sound.rms_dbfs.measured().is_some(), "{microphone:?}");
    }

    #[test]
    fn a_device_that_wakes_up_slowly_is_waited_for() {
        let asleep = Troubles { sleeps: Micros::from_millis(1_900), ..Troubles::default() };
        let speech = Hears::Speech { dbfs: -28.0, room_dbfs: -65.0 };
        let (microphone, _) = tested(FakeMicrophone::hearing(speech).with(asleep));
        assert_eq!(microphone.failure, None);
        let stream = microphone.state.measured().expect("it was opened");
        assert!(stream.first_ms.is_some_and(|first| (1_900.0..2_000.0).contains(&first)), "{stream:?}");
        assert_eq!(microphone.sound.heard.fact(), Some(&Heard::Speech));
    }

    #[test]
    fn an_interface_of_192_khz_and_32_channels_is_one_like_any_other() {
        let mut microphone = FakeMicrophone::hearing(Hears::Speech { dbfs: -28.0, room_dbfs: -65.0 });
        microphone.device.format = Some(Format { rate_hz: 192_000, channels: 32 });
        let system = FakeAudio::new(vec![microphone.into()]);
        let device = system.devices().expect("the server runs").remove(0);
        let microphone = test_microphone(&system, &device, Micros::from_secs(2), &mut []);
        assert_eq!(microphone.failure, None);
        let stream = microphone.state.measured().expect("it was opened");
        assert_eq!((stream.rate_hz, stream.channels), (192_000, 32));
        assert!(microphone.sound.rms_dbfs.measured().is_some());
    }
}
