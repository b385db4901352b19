//! The kernel's sound cards as its files tell them: which there are, who may use them, who holds them.
//!
//! ALSA's own list names each device five times, adds converters that are no devices, prints to the terminal, and is empty
//! when the files are closed to this user. `/proc/asound` has none of that.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use greenroom_reports::schema::Connection;
use nix::unistd::{AccessFlags, Gid, Group, access};

use crate::devices::audio::{AudioDevice, Role};
use crate::devices::error::{Permission, Who};

/// Where the kernel's files are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    proc: PathBuf,
    dev: PathBuf,
}

impl Files {
    /// This machine's.
    pub(super) fn system() -> Self {
        Self { proc: PathBuf::from("/proc"), dev: PathBuf::from("/dev") }
    }

    /// The devices of all cards, playing and capturing apart, by the id that `cpal` opens them with.
    pub(super) fn devices(&self) -> Vec<AudioDevice> {
        let Ok(text) = fs::read_to_string(self.proc.join("asound/pcm")) else { return Vec::new() };
        text.lines().filter_map(|line| self.devices_of(line)).flatten().collect()
    }

    /// The first of the cards' files that this user may not use, and why. `None`: all are open, or there are none.
    pub(super) fn closed_file(&self) -> Option<Permission> {
        let entries = fs::read_dir(self.dev.join("snd")).ok()?;
        let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        files.sort();
        let file = files.into_iter().find(|file| is_card_file(file) && !is_open_to_us(file))?;
        Some(why_closed(&file))
    }

    /// The numbers of the card and the device with this id.
    pub(super) fn number_of(&self, id: &str) -> Option<(u32, u32)> {
        let (card_id, device) = card_and_device(id)?;
        let text = fs::read_to_string(self.proc.join("asound/cards")).ok()?;
        let number = text.lines().find_map(|line| {
            let (number, rest) = line.trim_start().split_once(' ')?;
            let name = rest.trim_start().strip_prefix('[')?.split(']').next()?;
            (name.trim() == card_id).then(|| number.parse().ok()).flatten()
        })?;
        Some((number, device))
    }

    /// Who holds the device with this id, where the kernel tells.
    pub(super) fn holder(&self, id: &str, role: Role) -> Option<Who> {
        let (card, device) = card_and_device(id)?;
        let pid = self.states(card, device, role).iter().find_map(|status| {
            let owner = status.lines().find_map(|line| line.strip_prefix("owner_pid"))?;
            owner.trim_start_matches([' ', ':']).trim().parse::<u32>().ok()
        })?;
        // The owner is a thread; its group's leader is the process that people know.
        let status = fs::read_to_string(self.proc.join(format!("{pid}/status"))).ok();
        let field = |name: &str| {
            let line = status.as_deref()?.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches(':').trim().to_owned())
        };
        let pid = field("Tgid").and_then(|tgid| tgid.parse().ok()).unwrap_or(pid);
        let name = fs::read_to_string(self.proc.join(format!("{pid}/comm"))).ok();
        let name = name.map(|name| name.trim().to_owned()).or_else(|| field("Name"));
        Some(Who { name: name.unwrap_or_else(|| "a program".to_owned()), pid: Some(pid) })
    }

    /// Whether the computer's sleep, or its driver, has suspended a stream of this device.
    fn is_suspended(&self, card: u32, device: u32, role: Role) -> bool {
        let states = self.states(&format!("card{card}"), device, role);
        states.iter().any(|status| status.lines().any(|line| line.trim() == "state: SUSPENDED"))
    }

    /// What the kernel says of each stream of a device: `closed`, or `state: RUNNING` and who holds it.
    fn states(&self, card: &str, device: u32, role: Role) -> Vec<String> {
        let letter = if role == Role::Microphone { 'c' } else { 'p' };
        let folder = self.proc.join(format!("asound/{card}/pcm{device}{letter}"));
        let subs = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        subs.filter_map(|sub| fs::read_to_string(sub.path().join("status")).ok()).collect()
    }

    /// One line of `/proc/asound/pcm`: `01-00: USB Audio : USB Audio : playback 1 : capture 1`.
    fn devices_of(&self, line: &str) -> Option<Vec<AudioDevice>> {
        let (address, rest) = line.split_once(':')?;
        let (card, device) = address.trim().split_once('-')?;
        let (card, device): (u32, u32) = (card.parse().ok()?, device.parse().ok()?);
        let card_id = fs::read_to_string(self.proc.join(format!("asound/card{card}/id"))).ok()?;
        let card_id = card_id.trim();
        let parts: Vec<&str> = rest.split(':').map(str::trim).collect();
        let pcm_name = parts.first().copied().filter(|name| !name.is_empty()).unwrap_or("sound");
        let attached = if self.proc.join(format!("asound/card{card}/usbid")).exists() {
            Connection::Usb
        } else if card_id.starts_with("Loopback") || card_id.starts_with("Dummy") {
            Connection::Virtual
        } else {
            Connection::BuiltIn
        };
        let roles = [("capture", Role::Microphone), ("playback", Role::Speaker)];
        let devices = roles
            .iter()
            .filter(|(word, _)| parts.iter().any(|part| part.starts_with(word)))
            .map(|(_, role)| AudioDevice {
                id: format!("alsa:hw:CARD={card_id},DEV={device}"),
                name: format!("{}, {pcm_name}", self.card_name(card).unwrap_or_else(|| card_id.to_owned())),
                role: *role,
                is_default: false,
                is_monitor: false,
                attached: Some(attached),
                format: None,
                muted: None,
                volume_ratio: None,
                suspended: Some(self.is_suspended(card, device, *role)),
            })
            .collect();
        Some(devices)
    }

    /// A card's name in `/proc/asound/cards`: ` 1 [Headset        ]: USB-Audio - Jabra Evolve2`.
    fn card_name(&self, card: u32) -> Option<String> {
        let text = fs::read_to_string(self.proc.join("asound/cards")).ok()?;
        text.lines().find_map(|line| {
            let (number, rest) = line.trim_start().split_once(' ')?;
            let (_, name) = rest.split_once(" - ").filter(|_| number.parse() == Ok(card))?;
            Some(name.trim().to_owned())
        })
    }
}

/// The card and device of an id such as `alsa:hw:CARD=Headset,DEV=0`.
pub(super) fn card_and_device(id: &str) -> Option<(&str, u32)> {
    let rest = id.split_once("CARD=")?.1;
    let (card, device) = rest.split_once(",DEV=")?;
    Some((card, device.parse().ok()?))
}

fn is_card_file(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("controlC") || name.starts_with("pcmC")
}

fn is_open_to_us(file: &Path) -> bool {
    access(file, AccessFlags::R_OK | AccessFlags::W_OK).is_ok()
}

/// The group that would help, if there is one.
fn why_closed(file: &Path) -> Permission {
    let name = file.display().to_string();
    let Ok(meta) = fs::metadata(file) else { return Permission::File { file: name } };
    let group = Group::from_gid(Gid::from_raw(meta.gid())).ok().flatten();
    match group {
        // Readable and writable by the group.
        Some(group) if meta.mode() & 0o060 == 0o060 && group.name != "root" => {
            Permission::Group { group: group.name, file: name }
        }
        _ => Permission::File { file: name },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as a laptop with a headset has them (proc of Linux 6.1, shortened).
    fn laptop() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("writable");
            fs::write(path, text).expect("writable");
        };
        write(
            "proc/asound/cards",
            " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n                      HDA Intel PCH at 0xb1210000 irq 170\n 1 [Headset        ]: USB-Audio - Jabra Evolve2\n                      Jabra at usb-0000:00:14.0-2, full speed\n",
        );
        write(
            "proc/asound/pcm",
            "00-00: ALC257 Analog : ALC257 Analog : playback 1 : capture 1\n00-03: HDMI 0 : HDMI 0 : playback 1\n01-00: USB Audio : USB Audio : playback 1 : capture 1\n",
        );
        write("proc/asound/card0/id", "PCH\n");
        write("proc/asound/card1/id", "Headset\n");
        write("proc/asound/card1/usbid", "0b0e:24b8\n");
        write(
            "proc/asound/Headset/pcm0c/sub0/status",
            "state: RUNNING\nowner_pid   : 4712\ntrigger_time: 5.1\n",
        );
        write("proc/4712/status", "Name:\tZoomAudio\nTgid:\t4711\nPid:\t4712\n");
        write("proc/4711/comm", "zoom\n");
        write("dev/snd/controlC0", "");
        write("dev/snd/seq", "");
        let files = Files { proc: dir.path().join("proc"), dev: dir.path().join("dev") };
        (dir, files)
    }

    #[test]
    fn each_device_is_listed_once_per_role_under_its_stable_id() {
        let (_dir, files) = laptop();
        let listed: Vec<String> = files
            .devices()
            .iter()
            .map(|device| format!("{} {} ({})", device.role.word(), device.id, device.name))
            .collect();
        assert_eq!(
            listed,
            [
                "microphone alsa:hw:CARD=PCH,DEV=0 (HDA Intel PCH, ALC257 Analog)",
                "speaker alsa:hw:CARD=PCH,DEV=0 (HDA Intel PCH, ALC257 Analog)",
                "speaker alsa:hw:CARD=PCH,DEV=3 (HDA Intel PCH, HDMI 0)",
                "microphone alsa:hw:CARD=Headset,DEV=0 (Jabra Evolve2, USB Audio)",
                "speaker alsa:hw:CARD=Headset,DEV=0 (Jabra Evolve2, USB Audio)",
            ]
        );
        assert_eq!(files.devices()[3].attached, Some(Connection::Usb));
        assert_eq!(files.number_of(&files.devices()[2].id), Some((0, 3)));
        assert_eq!(files.number_of("alsa:hw:CARD=Gone,DEV=0"), None);
    }

    #[test]
    fn the_holder_is_the_process_and_not_its_thread() {
        let (_dir, files) = laptop();
        let who = files.holder("alsa:hw:CARD=Headset,DEV=0", Role::Microphone);
        assert_eq!(who, Some(Who { name: "zoom".into(), pid: Some(4711) }));
        assert_eq!(files.holder("alsa:hw:CARD=Headset,DEV=0", Role::Speaker), None, "nobody plays");
        assert_eq!(files.holder("pulseaudio:x", Role::Speaker), None);
    }

    #[test]
    fn a_stream_that_the_kernel_suspended_is_told() {
        let (dir, files) = laptop();
        let suspended = |files: &Files| -> Vec<Option<bool>> {
            files.devices().iter().map(|device| device.suspended).collect()
        };
        assert!(suspended(&files).iter().all(|it| *it == Some(false)));
        let folder = dir.path().join("proc/asound/card1/pcm0p/sub0");
        fs::create_dir_all(&folder).expect("writable");
        fs::write(folder.join("status"), "state: SUSPENDED\nowner_pid   : 4712\n").expect("writable");
        assert_eq!(suspended(&files)[4], Some(true), "the headset's speaker");
        assert_eq!(suspended(&files)[3], Some(false), "its microphone is a stream of its own");
    }

    #[test]
    fn a_machine_without_sound_has_no_devices_and_nothing_closed() {
        let files = Files { proc: PathBuf::from("/nonexistent"), dev: PathBuf::from("/nonexistent") };
        assert!(files.devices().is_empty());
        assert_eq!(files.closed_file(), None);
    }

    #[test]
    fn files_that_are_not_what_they_should_be_do_no_harm() {
        let (dir, files) = laptop();
        for text in [
            "",
            ":",
            "xx-yy: a : b",
            "99999999999-0: a",
            "00-00",
            "00-00:",
            "07-00: no such card : x : capture 1",
        ] {
            fs::write(dir.path().join("proc/asound/pcm"), text).expect("writable");
            assert!(files.devices().is_empty(), "{text:?}");
        }
    }
}
