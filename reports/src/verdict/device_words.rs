//! What the causes of devices say and what to do about them, per family of systems.

use super::words::Words;
use crate::schema::System;

/// Finds the English sentences of a device's code for a system: its own if there are any, else those for all.
pub fn english(code: &str, system: System) -> Option<Words> {
    let of = |wanted: Option<System>| TABLE.iter().find(|row| row.0 == code && row.1 == wanted);
    let &(_, _, say, fix) = of(Some(system)).or_else(|| of(None))?;
    Some(Words { say, fix: (!fix.is_empty()).then_some(fix) })
}

/// All codes that have sentences.
pub fn codes() -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter(|row| row.1.is_none()).map(|row| row.0)
}

const ALL: Option<System> = None;
const LINUX: Option<System> = Some(System::Linux);
const MACOS: Option<System> = Some(System::Macos);
const WINDOWS: Option<System> = Some(System::Windows);

/// Code, system, sentence, advice (empty: none). `{device}` is the kind, `{name}` what it is called.
const TABLE: &[(&str, Option<System>, &str, &str)] = &[
    // A device that could not be tested.
    ("device_not_found", ALL, "No {device} was found.", "Plug one in, or choose another one."),
    (
        "device_not_found",
        LINUX,
        "No {device} was found.",
        "Plug one in; in a virtual machine or container, pass it through.",
    ),
    (
        "device_busy",
        ALL,
        "The {device} is in use by another program{by}.",
        "Close that program, then try again.",
    ),
    (
        "device_permission_group",
        ALL,
        "You may not use the {device}.",
        "Ask the administrator for access to it.",
    ),
    (
        "device_permission_group",
        LINUX,
        "You may not use the {device}: you are not in the group {group}.",
        "Run `sudo usermod -aG {group} $USER`, then log out and in again.",
    ),
    (
        "device_permission_portal",
        ALL,
        "The desktop did not let this program use the {device}.",
        "Allow the {device} when the desktop asks, or in the settings under Privacy.",
    ),
    (
        "device_permission_privacy",
        ALL,
        "The system's privacy settings keep this program from the {device}.",
        "Allow the {device} in the system's privacy settings.",
    ),
    (
        "device_permission_privacy",
        MACOS,
        "macOS keeps this program from the {device}.",
        "Open System Settings, Privacy & Security, and allow the {device} for your terminal; then start it again.",
    ),
    (
        "device_permission_privacy",
        WINDOWS,
        "Windows keeps this program from the {device}.",
        "Open Settings, Privacy & security, and let desktop apps use the {device}.",
    ),
    (
        "device_permission",
        ALL,
        "You may not use the {device}.",
        "Check the privacy settings and who may use the {device}.",
    ),
    (
        "device_permission_browser",
        ALL,
        "The page may not use your {device}.",
        "Click the icon to the left of the page's address, allow the {device}, and check again.",
    ),
    (
        "device_unheard",
        ALL,
        "You did not hear the test sound.",
        "Turn the volume up, check that the {device} is on, or choose another one.",
    ),
    (
        "device_disconnected",
        ALL,
        "The {device} went away during the test.",
        "Plug it in firmly, without a hub if you can, and try again.",
    ),
    (
        "device_unsupported_format",
        ALL,
        "The {device} does not offer a format that this test can use.",
        "Set it to a usual format (48 kHz; 1280×720 at 30 frames per second), or show the details to support.",
    ),
    (
        "device_stalled",
        ALL,
        "The {device} was opened and then delivered nothing.",
        "Unplug it and plug it in again, or restart the computer.",
    ),
    (
        "device_suspended",
        ALL,
        "The {device} is suspended: the system lets no program use it.",
        "Wake the computer fully and try again, or log out and in again.",
    ),
    (
        "device_suspended",
        LINUX,
        "The {device} is suspended: the sound server lets no program use it.",
        "Close what keeps it for itself (pasuspender, JACK), or wake it: `{wake}`.",
    ),
    ("device_sound_server_down", ALL, "The system's sound service does not answer.", "Restart the computer."),
    (
        "device_sound_server_down",
        LINUX,
        "The sound server does not answer ({server}).",
        "Run `systemctl --user restart pipewire pipewire-pulse` (or `pulseaudio --start`), then try again.",
    ),
    (
        "device_sound_server_down",
        MACOS,
        "The system's sound service does not answer.",
        "Run `sudo killall coreaudiod`, then try again.",
    ),
    (
        "device_sound_server_down",
        WINDOWS,
        "The system's sound service does not answer.",
        "Restart the service Windows Audio, or the computer.",
    ),
    ("device_unknown", ALL, "The {device} could not be tested.", "Show the details to support."),
    // What a microphone's sound says.
    (
        "mic_muted_in_software",
        ALL,
        "Your microphone is muted in the system or a program: nothing but silence came.",
        "Unmute it in the sound settings.",
    ),
    (
        "mic_muted_in_hardware",
        ALL,
        "Your microphone hears nothing at all, not even the room.",
        "Turn on the switch on the microphone or its cable, or choose another microphone.",
    ),
    (
        "mic_no_permission",
        ALL,
        "This program may not hear your microphone.",
        "Allow it in the system's privacy settings.",
    ),
    (
        "mic_stuck",
        ALL,
        "Your microphone hangs: it delivers the same over and over.",
        "Unplug it and plug it in again, or restart the computer.",
    ),
    (
        "mic_nobody_spoke",
        ALL,
        "Your microphone hears the room, but nobody spoke, so speech was not judged.",
        "To test it in full, run the check again and speak.",
    ),
    (
        "mic_too_quiet",
        ALL,
        "You are too quiet: your speech arrives at {level} dBFS.",
        "Turn up the microphone in the sound settings, or move closer to it.",
    ),
    (
        "mic_noisy",
        ALL,
        "Your microphone picks up noise of {level} dBFS.",
        "Close the window, turn off fans, or use a headset.",
    ),
    (
        "mic_snr_low",
        ALL,
        "Your speech stands only {db} dB above the noise.",
        "Move closer to the microphone, or use a headset.",
    ),
    (
        "mic_dc_offset",
        ALL,
        "Your microphone's signal is off center by {percent} %.",
        "Use another input or microphone; this one may be broken.",
    ),
    (
        "mic_clipping",
        ALL,
        "Your microphone is too loud: its sound is cut off.",
        "Turn the microphone down in the sound settings.",
    ),
    (
        "mic_hum",
        ALL,
        "Your microphone hums at {mains} Hz ({level} dBFS).",
        "Try another outlet or cable, or run a laptop on its battery.",
    ),
    (
        "mic_narrow_band",
        ALL,
        "Your microphone carries nothing above {khz} kHz, so that you sound like on an old phone.",
        "A Bluetooth headset does so while its microphone is on: use its cable, or another microphone.",
    ),
    (
        "mic_dropouts",
        ALL,
        "{percent} % of the sound from your microphone is missing.",
        "Close other programs, and plug the microphone in without a hub.",
    ),
    (
        "mic_damaged",
        ALL,
        "Your microphone's driver delivers samples that are no sound.",
        "Update its driver, or choose another microphone.",
    ),
    (
        "mic_inverted",
        ALL,
        "One channel of your microphone is the other one upside down, so that both cancel out.",
        "Set the input to mono, or use another cable.",
    ),
    ("mic_dead_channel", ALL, "One channel of your microphone is silent.", ""),
    (
        "clock_drift",
        ALL,
        "The clock of your {device} is off by {ppm} ppm, so that sound clicks now and then.",
        "Use another device.",
    ),
    // What a speaker's sound says.
    ("speaker_muted", ALL, "Your speaker is muted.", "Unmute it in the sound settings."),
    ("speaker_volume_zero", ALL, "Your speaker's volume is zero.", "Turn it up in the sound settings."),
    (
        "speaker_silent",
        ALL,
        "Nothing of the test sound came out of your speaker.",
        "Turn it up, check that it is on, or choose another speaker.",
    ),
    (
        "speaker_channel_silent",
        ALL,
        "One channel of your speaker is silent.",
        "Check its cable and the balance in the sound settings.",
    ),
    (
        "speaker_delay",
        ALL,
        "Sound takes {ms} ms from your speaker to your microphone.",
        "Use a cable instead of Bluetooth.",
    ),
    (
        "speaker_echo",
        ALL,
        "Your microphone hears your speaker so loudly that others may hear themselves.",
        "Use a headset, or turn the speaker down.",
    ),
    ("speaker_distorted", ALL, "Your speaker distorts ({percent} %).", "Turn it down."),
    // What a camera's pictures say.
    (
        "camera_black",
        ALL,
        "Your camera shows nothing but black.",
        "Open its shutter or take off its cap; some laptops have a key for it.",
    ),
    (
        "camera_frozen",
        ALL,
        "Your camera's picture is frozen.",
        "Unplug it and plug it in again, or restart the program that uses it.",
    ),
    ("camera_covered", ALL, "Something covers your camera.", "Uncover the lens."),
    ("camera_dark", ALL, "Your picture is too dark.", "Turn on a light in front of you."),
    (
        "camera_overexposed",
        ALL,
        "Your picture is too bright.",
        "Do not sit in front of a window or lamp, or turn on backlight correction.",
    ),
    ("camera_blurred", ALL, "Your picture is blurred.", "Clean the lens, and turn on autofocus."),
    (
        "camera_small",
        ALL,
        "Your camera's pictures have at most {lines} lines, too few for {uses}.",
        "Use another camera for sharper pictures.",
    ),
    (
        "camera_slow",
        ALL,
        "Your camera delivers {fps} pictures a second instead of {claimed}.",
        "Turn on a light (cameras are slower in the dark), and plug it in without a hub.",
    ),
    (
        "camera_uneven",
        ALL,
        "Your camera's pictures come unevenly.",
        "Close other programs, and plug it in without a hub.",
    ),
    (
        "camera_frames_lost",
        ALL,
        "Your camera loses {percent} % of its pictures.",
        "Plug it in without a hub, and use a lower resolution.",
    ),
    (
        "camera_frames_damaged",
        ALL,
        "{percent} % of your camera's pictures are damaged.",
        "Use another cable or USB port.",
    ),
    ("camera_late", ALL, "Your camera takes {ms} ms to show its first picture.", "Plug it in without a hub."),
    // What the computer can do.
    (
        "encode_slow",
        ALL,
        "This computer encodes {use} at only {times} times the speed it needs.",
        "Close other programs, plug in the power, or use a lower video quality.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_words_for_every_system() {
        for (code, ..) in TABLE {
            for system in [System::Linux, System::Macos, System::Windows, System::Other] {
                assert!(english(code, system).is_some(), "{code}");
            }
        }
        assert!(english("loss_up", System::Linux).is_none());
    }

    #[test]
    fn sentences_end_and_codes_are_told_once() {
        for (index, (code, system, say, fix)) in TABLE.iter().enumerate() {
            assert!(say.ends_with('.') && (fix.is_empty() || fix.ends_with('.')), "{code}");
            assert!(!TABLE[..index].iter().any(|row| row.0 == *code && row.1 == *system), "{code}");
        }
    }
}
