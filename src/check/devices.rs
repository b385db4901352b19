//! The devices' part of a run: tested on threads of their own beside the network, at normal priority, so that they do not disturb it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use greenroom_reports::assess::{Equipment, Frame, Question, assemble, assess, uses_of, with_devices};
use greenroom_reports::schema::{
    AcousticLoop, AgentRef, DeviceKind, Devices, Environment, Judged, Kind, Listed, Listing, Microphone,
    Mode, Report, Settings, Speaker, System, Use, Value,
};
use greenroom_reports::units::Micros;
use greenroom_reports::verdict::Profile;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::report::tool;
use crate::devices::audio::choose::choose;
use crate::devices::audio::listen::Ear;
use crate::devices::audio::microphone::test_microphone;
use crate::devices::audio::speaker::{Sound, test_speaker};
use crate::devices::audio::{AudioDevice, AudioSystem, Block, Opened, Role};
use crate::devices::host::Watched;
use crate::devices::{DeviceError, Os};
use crate::net::clock::Clock;
use crate::system;

/// How long a check listens to the microphone.
pub const LISTENING: Micros = Micros::from_millis(2_500);
/// By when a check is through with the devices: a microphone that wakes up late is listened to for less.
pub const QUICK: Micros = Micros::from_millis(3_500);
/// How long a speaker is tried, inaudibly.
const SPEAKING: Micros = Micros::from_millis(500);

/// Which devices a check tests beside the network.
#[derive(Clone)]
pub struct Beside {
    /// Where the sound devices are found. `None`: this program was built without them.
    pub sound: Option<Arc<dyn AudioSystem>>,
    /// The kinds that are tested.
    pub kinds: BTreeSet<DeviceKind>,
    /// Those of them that were asked for by name: one that is missing then counts.
    pub by_name: BTreeSet<DeviceKind>,
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl Beside {
    /// Tests no device.
    pub fn nothing() -> Self {
        Self { sound: None, kinds: BTreeSet::new(), by_name: BTreeSet::new() }
    }

    /// Tests the devices, until `stop` is cancelled. Takes up to [`QUICK`] and what a stalled driver adds to it, never more than 5 s.
    pub(super) fn test(&self, stop: &CancellationToken) -> Devices {
        let wants_sound =
            [DeviceKind::Microphone, DeviceKind::Speaker].iter().any(|kind| self.kinds.contains(kind));
        let Some(system) = self.sound.as_ref().filter(|_| wants_sound) else {
            return Devices { system: this_system(), ..Devices::default() };
        };
        match system.devices() {
            Ok(listed) => self.test_sound(system, &listed, stop),
            Err(error) => unreachable_sound(&error),
        }
    }

    /// Microphone and speaker at the same time.
    #[expect(clippy::disallowed_methods, reason = "the devices' threads of a run")]
    fn test_sound(
        &self,
        system: &Arc<dyn AudioSystem>,
        listed: &[AudioDevice],
        stop: &CancellationToken,
    ) -> Devices {
        let chosen = |kind, role| {
            self.kinds.contains(&kind).then(|| choose(listed, role, None).ok().cloned()).flatten()
        };
        let microphone = chosen(DeviceKind::Microphone, Role::Microphone);
        let speaker = chosen(DeviceKind::Speaker, Role::Speaker);
        let playing = speaker.clone().map(|speaker| {
            let system = Arc::clone(system);
            std::thread::spawn(move || {
                test_speaker(system.as_ref(), &speaker, Sound::Silence(SPEAKING), &mut |_| ())
            })
        });
        let heard = microphone.as_ref().map(|microphone| {
            let mut until = Until { at: system.now() + QUICK, stop };
            test_microphone(system.as_ref(), microphone, LISTENING, &mut [&mut until])
        });
        let played = playing.and_then(|playing| playing.join().ok());
        let others = |role, tested: &Option<AudioDevice>| {
            let tested = tested.as_ref().map(|device| device.id.clone());
            let of_role = move |device: &&AudioDevice| {
                device.role == role && !device.is_monitor && Some(&device.id) != tested.as_ref()
            };
            listed.iter().filter(of_role).map(AudioDevice::info).collect::<Vec<_>>()
        };
        let reason = |kind: DeviceKind| match self.kinds.contains(&kind) {
            true => format!("a check tests the {} that programs get", kind.name()),
            false => format!("the {} was not asked for", kind.name()),
        };
        let microphones = others(Role::Microphone, &microphone)
            .into_iter()
            .map(|info| Microphone::not_tested(info, &reason(DeviceKind::Microphone)));
        let speakers = others(Role::Speaker, &speaker)
            .into_iter()
            .map(|info| Speaker::not_tested(info, &reason(DeviceKind::Speaker)));
        let backend = listed.first().map_or_else(|| "none".to_owned(), AudioDevice::backend);
        let state = Value::Measured(Listed { backend, left_out: 0 });
        Devices {
            system: this_system(),
            sound: Listing { state, failure: None },
            microphones: heard.into_iter().chain(microphones).collect(),
            speakers: played.into_iter().chain(speakers).collect(),
            acoustic_loop: AcousticLoop::not_tested("it makes a sound: greenroom devices loop"),
            ..Devices::default()
        }
    }
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

fn unreachable_sound(error: &DeviceError) -> Devices {
    Devices { system: this_system(), sound: Listing::failed(error.failure()), ..Devices::default() }
}

/// The system that this program was built for.
pub fn this_system() -> System {
    match Os::HERE {
        Os::Linux => System::Linux,
        Os::MacOs => System::Macos,
        Os::Windows => System::Windows,
    }
}

/// What a test of devices by themselves found, without any network.
#[derive(Debug, Clone)]
pub struct Found {
    /// Microphones, speakers, cameras.
    pub devices: Devices,
    /// What the computer is and was busy with; `None` if it was not looked at.
    pub machine: Option<Watched>,
}

/// Judges devices by themselves, without any network.
///
/// `clock` was started when the test was. `by_name` are the kinds that were tested because somebody named them: one that is
/// missing counts. `complete`: nobody ended the test early.
pub fn report_of(clock: Clock, found: Found, by_name: &[DeviceKind], complete: bool) -> Report {
    let profile = Profile::default();
    let kinds = if by_name.is_empty() { &DeviceKind::ALL[..] } else { by_name };
    let uses: BTreeSet<Use> = kinds.iter().flat_map(|kind| uses_of(*kind)).copied().collect();
    let mode = Mode::Quick;
    let question = Question { profile: &profile, asked: &uses, mode, at_cap: complete };
    let mut assessment = assess(&[], &question);
    let Found { devices, machine } = found;
    if let Some(load) = machine.as_ref().and_then(|seen| seen.load) {
        assessment.host.cpu_busy_ratio = Value::estimate(load.busy_ratio, 1);
        assessment.host.cpu_steal_ratio = Value::estimate(load.steal_ratio, 1);
    }
    let machine = machine.map_or_else(|| assessment.host.machine.clone(), |seen| seen.machine);
    let equipment = Equipment { devices: &devices, machine: &machine, asked: by_name };
    let assessment = with_devices(assessment, equipment, &question);
    let names: Vec<&str> = by_name.iter().map(|kind| kind.name()).collect();
    let frame = Frame {
        id: clock.new_id(),
        kind: Kind::Devices,
        parent: None,
        complete,
        started: clock.started(),
        duration_ms: clock.now().as_ms(),
        bytes_used: 0,
        labels: BTreeMap::new(),
        agent: AgentRef::default(),
        tool: tool(),
        environment: Environment {
            os: Some(system::os_name()),
            arch: Some(std::env::consts::ARCH.to_owned()),
            network: BTreeMap::new(),
        },
        settings: Settings {
            asked: BTreeMap::from([("devices".to_owned(), json!(names))]),
            run: BTreeMap::new(),
            judged: Judged {
                uses: uses.iter().copied().collect(),
                devices: by_name.to_vec(),
                mode,
                at_cap: complete,
            },
        },
        profile: profile.clone(),
        devices,
        trace: None,
    };
    assemble(frame, assessment)
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::{DeviceFailure, Heard};

    use super::*;
    use crate::devices::audio::fake::{FakeAudio, FakeDevice, FakeMicrophone, FakeSpeaker, Hears, Troubles};

    fn tested(devices: Vec<FakeDevice>) -> (Devices, Micros) {
        let system = FakeAudio::new(devices);
        let kinds = BTreeSet::from([DeviceKind::Microphone, DeviceKind::Speaker]);
        let beside = Beside { sound: Some(Arc::new(system.clone())), kinds, by_name: BTreeSet::new() };
        (beside.test(&CancellationToken::new()), system.now())
    }

    #[test]
    fn a_check_hears_the_microphone_and_tries_the_speaker_in_time() {
        let speech = Hears::Speech { dbfs: -28.0, room_dbfs: -65.0 };
        let asleep = Troubles { sleeps: Micros::from_secs(1), ..Troubles::default() };
        for troubles in [Troubles::default(), asleep] {
            let microphone = FakeMicrophone::hearing(speech.clone()).with(troubles);
            let (devices, took) = tested(vec![microphone.into(), FakeSpeaker::stereo().into()]);
            // In the fake both pass in one time, so that this is their sum; on a real machine they run side by side.
            assert!(took <= QUICK + SPEAKING + Micros::from_millis(100), "{took}");
            assert_eq!((devices.microphones.len(), devices.speakers.len()), (1, 1));
            assert_eq!(devices.microphones[0].sound.heard.fact(), Some(&Heard::Speech));
            assert_eq!(devices.speakers[0].failure, None);
        }
    }

    #[test]
    fn no_device_is_an_empty_list_and_a_dead_server_is_a_failure() {
        let (devices, _) = tested(Vec::new());
        assert!(devices.microphones.is_empty() && devices.speakers.is_empty());
        assert!(devices.sound.state.measured().is_some());

        let system = FakeAudio::new(Vec::new());
        system.set_server_down(true);
        let kinds = BTreeSet::from([DeviceKind::Microphone]);
        let beside = Beside { sound: Some(Arc::new(system)), kinds, by_name: BTreeSet::new() };
        let failure = beside.test(&CancellationToken::new()).sound.failure;
        assert_eq!(failure.as_ref().map(DeviceFailure::code), Some("sound_server_down"));
    }

    #[test]
    fn what_was_not_asked_for_is_not_touched() {
        let beside = Beside::nothing();
        assert!(beside.test(&CancellationToken::new()).sound.state.measured().is_none());
    }
}
