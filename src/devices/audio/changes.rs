//! What changed among the sound devices: plugged in, pulled out, another default, muted.

use serde::Serialize;

use super::{AudioDevice, Role};

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Change {
    /// A device was plugged in, or switched on.
    Added(AudioDevice),
    /// A device was pulled out, or switched off.
    Removed(AudioDevice),
    /// Programs get another device from now on. `None`: none of that role is left.
    Default {
        /// Of which role.
        role: Role,
        /// Which one it is now.
        device: Option<AudioDevice>,
    },
    /// It was muted in the system's mixer.
    Muted(AudioDevice),
    /// It is not muted any more.
    Unmuted(AudioDevice),
}

/// What happened between two looks, in the order in which a person would tell it.
pub fn changes(before: &[AudioDevice], now: &[AudioDevice]) -> Vec<Change> {
    let is_same = |a: &AudioDevice, b: &AudioDevice| a.id == b.id && a.role == b.role;
    let gone = before.iter().filter(|old| !now.iter().any(|new| is_same(old, new))).cloned();
    let come = now.iter().filter(|new| !before.iter().any(|old| is_same(old, new))).cloned();
    let mut changes: Vec<Change> = gone.map(Change::Removed).chain(come.map(Change::Added)).collect();
    for role in [Role::Microphone, Role::Speaker] {
        let default = |devices: &[AudioDevice]| {
            devices.iter().find(|device| device.role == role && device.is_default).cloned()
        };
        let (old, new) = (default(before), default(now));
        if old.as_ref().map(|device| &device.id) != new.as_ref().map(|device| &device.id) {
            changes.push(Change::Default { role, device: new });
        }
    }
    for new in now {
        let old = before.iter().find(|old| is_same(old, new));
        match (old.and_then(|old| old.muted), new.muted) {
            (Some(false), Some(true)) => changes.push(Change::Muted(new.clone())),
            (Some(true), Some(false)) => changes.push(Change::Unmuted(new.clone())),
            _ => {}
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::super::AudioSystem as _;
    use super::super::fake::{FakeAudio, FakeMicrophone, FakeSpeaker, Hears};
    use super::*;

    #[test]
    fn plugging_in_and_out_is_told_with_the_default_that_follows() {
        let room = FakeMicrophone::hearing(Hears::Room { dbfs: -60.0 });
        let system = FakeAudio::new(vec![room.clone().into(), FakeSpeaker::stereo().into()]);
        let before = system.devices().expect("the server runs");
        assert!(changes(&before, &before).is_empty());

        let mut headset = room;
        headset.device.id = "fake:headset".to_owned();
        headset.device.is_default = false;
        system.plug_in(headset.clone().into());
        system.make_default("fake:headset");
        let with = system.devices().expect("the server runs");
        headset.device.is_default = true;
        let became = Change::Default { role: Role::Microphone, device: Some(headset.device.clone()) };
        assert_eq!(changes(&before, &with), [Change::Added(headset.device.clone()), became]);

        system.unplug("fake:headset");
        let without = system.devices().expect("the server runs");
        let none = Change::Default { role: Role::Microphone, device: None };
        assert_eq!(changes(&with, &without), [Change::Removed(headset.device), none]);
    }

    #[test]
    fn muting_is_told_once() {
        let system = FakeAudio::new(vec![FakeMicrophone::hearing(Hears::DigitalSilence).into()]);
        let before = system.devices().expect("the server runs");
        let mut now = before.clone();
        now[0].muted = Some(true);
        assert_eq!(changes(&before, &now), [Change::Muted(now[0].clone())]);
        assert_eq!(changes(&now, &before), [Change::Unmuted(before[0].clone())]);
        assert!(changes(&now, &now).is_empty());
    }
}
