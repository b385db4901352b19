//! The devices' part of a run: tested on threads of their own beside the network, at normal priority, so that they do not disturb it.

#[cfg(feature = "camera")]
mod cameras;
mod report;
mod sound;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use greenroom_reports::schema::{DeviceKind, Devices, System};
use greenroom_reports::units::Micros;
use tokio_util::sync::CancellationToken;

use crate::devices::audio::{AudioSystem, Inventory};
use crate::devices::{DeviceError, Os};

#[cfg(feature = "camera")]
pub use cameras::Cameras;
pub use report::{Found, report_of};

/// By when a check is through with the devices: one that wakes up late is looked at for less.
pub const QUICK: Micros = Micros::from_millis(3_500);

/// Which devices a check tests beside the network.
pub struct Beside {
    /// Where the sound devices are found. `None`: this program was built without them.
    pub sound: Option<Arc<dyn AudioSystem>>,
    /// Where the cameras are found. `None`: none is looked for.
    #[cfg(feature = "camera")]
    pub cameras: Option<Cameras>,
    /// The kinds that are tested.
    pub kinds: BTreeSet<DeviceKind>,
    /// Those of them that were asked for by name: one that is missing then counts.
    pub by_name: BTreeSet<DeviceKind>,
    /// Whether a check measures, beside the devices and the network, how fast this computer encodes.
    pub encodes: bool,
    /// What there is, once somebody has looked.
    pub looked: Looked,
}

/// What there is of each kind, looked for once: by who asks first, for a sentence before the run or for the test.
#[derive(Debug, Default)]
pub struct Looked {
    sound: OnceLock<Result<Inventory, DeviceError>>,
    #[cfg(feature = "camera")]
    cameras: OnceLock<Result<crate::devices::camera::Inventory, DeviceError>>,
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl Beside {
    /// Tests no device.
    pub fn nothing() -> Self {
        Self {
            sound: None,
            #[cfg(feature = "camera")]
            cameras: None,
            kinds: BTreeSet::new(),
            by_name: BTreeSet::new(),
            encodes: false,
            looked: Looked::default(),
        }
    }

    /// The sound devices there are; `None` if this program cannot look, or neither microphone nor speaker is tested.
    pub fn sound_devices(&self) -> Option<&Result<Inventory, DeviceError>> {
        let tested = [DeviceKind::Microphone, DeviceKind::Speaker];
        let system = self.sound.as_ref().filter(|_| tested.iter().any(|kind| self.kinds.contains(kind)))?;
        Some(self.looked.sound.get_or_init(|| system.inventory()))
    }

    /// The cameras there are; `None` if this program cannot look, or no camera is tested.
    #[cfg(feature = "camera")]
    pub fn cameras_there_are(&self) -> Option<&Result<crate::devices::camera::Inventory, DeviceError>> {
        let cameras = self.cameras.as_ref().filter(|_| self.kinds.contains(&DeviceKind::Camera))?;
        let look = || crate::devices::camera::guard::list(Arc::clone(&cameras.system));
        Some(self.looked.cameras.get_or_init(look))
    }

    /// Tests the devices, all at the same time, until `stop` is cancelled. Takes up to [`QUICK`] and what a stalled driver adds to
    /// it, never more than 5 s.
    pub fn test(&self, stop: &CancellationToken) -> Devices {
        std::thread::scope(|scope| {
            #[cfg(feature = "camera")]
            let looking = self
                .cameras
                .as_ref()
                .filter(|_| self.kinds.contains(&DeviceKind::Camera))
                .map(|cameras| scope.spawn(|| cameras::test(self, cameras, stop)));
            #[cfg_attr(not(feature = "camera"), expect(unused_mut, reason = "cameras are added to it"))]
            let mut devices = self.test_sound(stop);
            #[cfg(feature = "camera")]
            match looking.map(std::thread::ScopedJoinHandle::join) {
                Some(Ok((pictures, cameras))) => (devices.pictures, devices.cameras) = (pictures, cameras),
                // What was asked for and not tested must not look as if nobody had asked.
                Some(Err(_)) => devices.pictures = Devices::not_tested("the test ended by a bug").pictures,
                None => {}
            }
            devices
        })
    }

    fn test_sound(&self, stop: &CancellationToken) -> Devices {
        match self.sound.as_deref().zip(self.sound_devices()) {
            Some((system, listed)) => sound::test(self, system, listed, stop),
            None => Devices { system: this_system(), ..Devices::default() },
        }
    }

    /// Why a device of this kind that was found is not tested.
    fn why_not_tested(&self, kind: DeviceKind) -> String {
        if self.kinds.contains(&kind) {
            format!("a check tests the {} that programs get", kind.name())
        } else {
            format!("the {} was not asked for", kind.name())
        }
    }
}

/// The system that this program was built for.
pub const fn this_system() -> System {
    match Os::HERE {
        Os::Linux => System::Linux,
        Os::MacOs => System::Macos,
        Os::Windows => System::Windows,
    }
}

#[cfg(test)]
mod tests {
    use greenroom_reports::schema::{DeviceFailure, Heard};

    use super::*;
    use crate::devices::audio::fake::{FakeAudio, FakeDevice, FakeMicrophone, FakeSpeaker, Hears, Troubles};
    use crate::devices::audio::{AudioDevice, AudioInput, AudioOutput, Want};

    fn tested(devices: Vec<FakeDevice>) -> (Devices, Micros) {
        let system = FakeAudio::new(devices);
        let kinds = BTreeSet::from([DeviceKind::Microphone, DeviceKind::Speaker]);
        let beside = Beside { sound: Some(Arc::new(system.clone())), kinds, ..Beside::nothing() };
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
            assert!(took <= QUICK + sound::SPEAKING + Micros::from_millis(100), "{took}");
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
        let beside = Beside { sound: Some(Arc::new(system)), kinds, ..Beside::nothing() };
        let failure = beside.test(&CancellationToken::new()).sound.failure;
        assert_eq!(failure.as_ref().map(DeviceFailure::code), Some("sound_server_down"));
    }

    #[test]
    fn what_there_is_is_looked_for_once_and_after_the_test_whether_it_went_away() {
        let system = FakeAudio::new(vec![FakeSpeaker::stereo().into()]);
        let kinds = BTreeSet::from([DeviceKind::Speaker]);
        let beside = Beside { sound: Some(Arc::new(system.clone())), kinds, ..Beside::nothing() };
        assert!(beside.sound_devices().is_some_and(Result::is_ok));
        assert_eq!(system.looks(), 1);
        assert_eq!(beside.test(&CancellationToken::new()).speakers.len(), 1);
        assert_eq!(system.looks(), 2);
    }

    #[test]
    fn a_test_that_ends_by_a_bug_is_a_failure_of_its_device_alone() {
        /// Its speaker's library gives up.
        struct Broken(FakeAudio);
        impl AudioSystem for Broken {
            fn inventory(&self) -> Result<Inventory, DeviceError> {
                self.0.inventory()
            }
            fn open_input(
                &self,
                device: &AudioDevice,
                want: Want,
            ) -> Result<Box<dyn AudioInput>, DeviceError> {
                self.0.open_input(device, want)
            }
            fn open_output(&self, _: &AudioDevice, _: Want) -> Result<Box<dyn AudioOutput>, DeviceError> {
                // Unwinds as a panic does, without its message.
                std::panic::resume_unwind(Box::new("a driver's library gives up"));
            }
            fn now(&self) -> Micros {
                self.0.now()
            }
        }
        let speech = Hears::Speech { dbfs: -28.0, room_dbfs: -65.0 };
        let microphone = FakeMicrophone::hearing(speech);
        let system = Broken(FakeAudio::new(vec![microphone.into(), FakeSpeaker::stereo().into()]));
        let kinds = BTreeSet::from([DeviceKind::Microphone, DeviceKind::Speaker]);
        let beside = Beside { sound: Some(Arc::new(system)), kinds, ..Beside::nothing() };
        let devices = beside.test(&CancellationToken::new());
        assert_eq!(devices.microphones[0].sound.heard.fact(), Some(&Heard::Speech));
        let bug = DeviceFailure::Unknown { detail: "the test ended by a bug".to_owned() };
        assert_eq!((devices.speakers.len(), &devices.speakers[0].failure), (1, &Some(bug)));
    }

    #[test]
    fn what_was_not_asked_for_is_not_touched() {
        let beside = Beside::nothing();
        assert!(beside.test(&CancellationToken::new()).sound.state.measured().is_none());
    }
}
