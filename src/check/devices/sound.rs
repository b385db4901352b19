//! Microphone and speaker beside a check.

use std::ops::ControlFlow;

use greenroom_reports::schema::{
    AcousticLoop, DeviceFailure, DeviceKind, Devices, Listed, Listing, Microphone, Speaker, Value,
};
use greenroom_reports::units::Micros;
use tokio_util::sync::CancellationToken;

use super::{Beside, QUICK, this_system};
use crate::devices::DeviceError;
use crate::devices::audio::choose::choose;
use crate::devices::audio::listen::Ear;
use crate::devices::audio::microphone::test_microphone;
use crate::devices::audio::speaker::{Sound, test_speaker};
use crate::devices::audio::{AudioDevice, AudioSystem, Block, Inventory, Opened, Role};

/// How long a check listens to the microphone.
const LISTENING: Micros = Micros::from_millis(2_500);
/// How long a speaker is tried, inaudibly.
pub(super) const SPEAKING: Micros = Micros::from_millis(500);

/// Tests microphone and speaker at the same time: the ones that programs get.
pub(super) fn test(
    beside: &Beside,
    system: &dyn AudioSystem,
    looked: &Result<Inventory, DeviceError>,
    stop: &CancellationToken,
) -> Devices {
    let inventory = match looked {
        Ok(inventory) => inventory,
        Err(error) => {
            let sound = Listing::failed(error.failure());
            return Devices { system: this_system(), sound, ..Devices::default() };
        }
    };
    let listed = &inventory.devices;
    let chosen = |kind, role| {
        let device = choose(listed, role, None).ok().filter(|_| beside.kinds.contains(&kind));
        device.cloned()
    };
    let microphone = chosen(DeviceKind::Microphone, Role::Microphone);
    let speaker = chosen(DeviceKind::Speaker, Role::Speaker);
    let (heard, played) = std::thread::scope(|scope| {
        let playing = speaker.as_ref().map(|speaker| {
            scope.spawn(move || test_speaker(system, speaker, Sound::Silence(SPEAKING), &mut |_| ()))
        });
        let listening = microphone.as_ref().map(|microphone| {
            scope.spawn(move || {
                let mut until = Until { at: system.now() + QUICK, stop };
                test_microphone(system, microphone, LISTENING, &mut [&mut until])
            })
        });
        // What was asked for and ended by a bug must not look as if nobody had asked, nor spoil what the others found.
        let heard = microphone.as_ref().zip(listening).map(|(microphone, listening)| {
            listening.join().unwrap_or_else(|_| Microphone::failed(microphone.info(), by_a_bug()))
        });
        let played = speaker.as_ref().zip(playing).map(|(speaker, playing)| {
            playing.join().unwrap_or_else(|_| Speaker::failed(speaker.info(), by_a_bug()))
        });
        (heard, played)
    });
    let others = |role, tested: Option<&AudioDevice>| {
        let tested = tested.map(|device| device.id.clone());
        let of_role = move |device: &&AudioDevice| {
            device.role == role && !device.is_monitor && Some(&device.id) != tested.as_ref()
        };
        listed.iter().filter(of_role).map(AudioDevice::info).collect::<Vec<_>>()
    };
    let reason = |kind: DeviceKind| beside.why_not_tested(kind);
    let microphones = others(Role::Microphone, microphone.as_ref())
        .into_iter()
        .map(|info| Microphone::not_tested(info, &reason(DeviceKind::Microphone)));
    let speakers = others(Role::Speaker, speaker.as_ref())
        .into_iter()
        .map(|info| Speaker::not_tested(info, &reason(DeviceKind::Speaker)));
    let state = Value::Measured(Listed { backend: inventory.backend(), left_out: inventory.left_out });
    Devices {
        system: this_system(),
        sound: Listing { state, failure: None },
        microphones: heard.into_iter().chain(microphones).collect(),
        speakers: played.into_iter().chain(speakers).collect(),
        acoustic_loop: AcousticLoop::not_tested("it makes a sound: greenroom devices loop"),
        ..Devices::default()
    }
}

fn by_a_bug() -> DeviceFailure {
    DeviceFailure::Unknown { detail: "the test ended by a bug".to_owned() }
}

/// Ends a listening when the time is up, or the run is ended.
struct Until<'a> {
    at: Micros,
    stop: &'a CancellationToken,
}

impl Ear for Until<'_> {
    fn opened(&mut self, _opened: Opened) {}

    fn hear(&mut self, block: &Block) -> ControlFlow<()> {
        if block.arrived >= self.at || self.stop.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
