//! `greenroom devices`, as somebody uses it.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{MONITOR, SPEAKER, SoundServer};

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
    took: Duration,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// Runs the command with this server, or with none at all.
fn greenroom(server: Option<&SoundServer>, args: &[&str]) -> Ran {
    let started = now();
    let Output { status, stdout, stderr } = command(server, args).output().expect("the binary runs");
    Ran {
        code: status.code(),
        out: String::from_utf8(stdout).expect("UTF-8"),
        err: String::from_utf8(stderr).expect("UTF-8"),
        took: now() - started,
    }
}

fn command(server: Option<&SoundServer>, args: &[&str]) -> Command {
    let mut command = program(server);
    command.arg("devices").args(args);
    command
}

fn program(server: Option<&SoundServer>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greenroom"));
    command.env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command.envs(server.into_iter().flat_map(SoundServer::environment));
    command
}

#[expect(clippy::disallowed_methods, reason = "a test measures how long a command takes")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn the_list_names_what_there_is_and_nothing_else() {
    let server = SoundServer::beside();
    let ran = greenroom(Some(&server), &["list"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.err, "", "no library prints to the terminal");
    for line in ["* Test-microphone", "* Test-speaker", "    pulseaudio:microphone"] {
        assert!(ran.out.lines().any(|other| other == line), "{line:?} is not in:\n{}", ran.out);
    }
    assert!(!ran.out.contains("monitor"), "a monitor is no microphone:\n{}", ran.out);
    let json = greenroom(Some(&server), &["list", "--all", "--json"]).json();
    assert_eq!(json["sound"].as_array().map(Vec::len), Some(5), "{json}");
}

#[test]
fn a_machine_without_sound_says_so_and_prints_nothing_else() {
    let ran = greenroom(None, &["list"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.starts_with("Microphones: none\nSpeakers: none\nCameras: "), "{}", ran.out);
    let ran = greenroom(None, &["mic", "--json", "-"]);
    let report = ran.json();
    assert_eq!(report["devices"]["microphones"], serde_json::json!([]), "{report}");
    assert!(ran.took < Duration::from_secs(5), "{:?}", ran.took);
}

#[test]
fn a_server_that_is_gone_is_told_with_what_to_do() {
    let server = SoundServer::beside();
    server.crash();
    let ran = greenroom(Some(&server), &["list"]);
    assert_eq!(ran.code, Some(69), "{}", ran.out);
    assert!(ran.err.contains("PulseAudio does not answer"), "{}", ran.err);
    assert!(ran.err.contains("systemctl --user restart"), "{}", ran.err);
    let report = greenroom(Some(&server), &["mic", "--json", "-"]).json();
    assert_eq!(report["devices"]["sound"]["failure"]["code"], "sound_server_down", "{report}");
}

#[test]
fn a_device_that_does_not_exist_is_a_typed_failure() {
    let server = SoundServer::beside();
    let ran = greenroom(Some(&server), &["mic", "--device", "Rode NT1", "--json", "-"]);
    let report = ran.json();
    let failure = &report["devices"]["microphones"][0]["failure"];
    assert_eq!((&failure["code"], &failure["wanted"]), (&"not_found".into(), &"Rode NT1".into()), "{report}");
    assert!(ran.took < Duration::from_secs(5), "{:?}", ran.took);
}

#[test]
fn a_full_disk_ends_the_recording_with_73_and_says_which_file() {
    let server = SoundServer::beside();
    let ran = greenroom(Some(&server), &["mic", "--duration", "1s", "--record", "/dev/full"]);
    assert_eq!(ran.code, Some(73), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("cannot write /dev/full"), "{}", ran.err);
}

#[test]
fn what_is_recorded_is_what_was_played() {
    let server = SoundServer::beside();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("mic.wav");
    let file = path.display().to_string();
    let playing = command(Some(&server), &["speaker", "--device", SPEAKER]).spawn().expect("the binary runs");
    let ran = greenroom(Some(&server), &["mic", "--device", MONITOR, "--duration", "3s", "--record", &file]);
    let played = playing.wait_with_output().expect("it ends");
    assert!(played.status.code().is_some());
    assert!(ran.took < Duration::from_secs(8), "{:?} {}", ran.took, ran.err);
    let peak = peak(&path);
    // The chime's own peak.
    assert!((peak - 0.125).abs() < 0.002, "{peak}");
}

#[test]
fn a_server_killed_in_the_middle_of_a_test_ends_it_with_what_was_heard() {
    let server = SoundServer::beside();
    let listening = command(Some(&server), &["mic", "--device", MONITOR, "--duration", "20s", "--json", "-"])
        .env("RUST_LOG", "off")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // One is the microphone's own: it takes from the wire.
    wait_for(|| server.control(&["list", "short", "source-outputs"]).lines().count() == 2);
    let crashed = now();
    server.crash();
    let ended = listening.wait_with_output().expect("it ends");
    assert!(now() - crashed < Duration::from_secs(5), "{:?}", now() - crashed);
    let report: Value = serde_json::from_slice(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&ended.stderr)));
    let failure = &report["devices"]["microphones"][0]["failure"];
    assert_eq!(failure["code"], "sound_server_down", "{report}");
}

#[test]
fn a_loop_over_a_wire_is_an_echo_and_one_into_silence_is_open() {
    let server = SoundServer::beside();
    let ran = greenroom(Some(&server), &["loop", "--mic", MONITOR, "--json", "-"]);
    let report = ran.json();
    let verdict = &report["verdict"];
    assert_eq!((&verdict["overall"], ran.code), (&"degraded".into(), Some(1)), "{verdict}");
    // All of what the speaker is sent comes back.
    assert_eq!(verdict["causes"][0]["code"], "speaker_echo", "{verdict}");
    assert_eq!(report["devices"]["acoustic_loop"]["channels"].as_array().map(Vec::len), Some(2));
    // The microphone that hears nothing at all cannot say anything of the speaker.
    let ran = greenroom(Some(&server), &["loop", "--json", "-"]);
    let verdict = &ran.json()["verdict"];
    assert_eq!((&verdict["overall"], ran.code), (&"inconclusive".into(), Some(3)), "{verdict}");
    assert!(verdict["say"].as_str().is_some_and(|say| say.contains("digital silence")), "{verdict}");
}

#[test]
fn a_check_tests_microphone_and_speaker_beside_the_network() {
    let server = SoundServer::beside();
    let output = program(Some(&server))
        .args(["check", "--for", "audio", "--devices", "mic,speaker", "--json", "-"])
        .output()
        .expect("the binary runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let devices = &report["devices"];
    for kind in ["microphones", "speakers"] {
        assert_eq!(devices[kind][0]["state"]["state"], "measured", "{devices}");
    }
    // Nothing plays on its wire: a microphone of zeros is one that is muted, and it was asked for by name.
    assert_eq!(devices["microphones"][0]["sound"]["heard"]["value"], "muted_in_software", "{devices}");
    let verdict = &report["verdict"];
    assert_eq!(verdict["overall"], "blocked", "{verdict}");
    assert_eq!(verdict["causes"][0]["code"], "mic_muted_in_software", "{verdict}");
    assert!(report["targets"][0]["up"]["on_time"].as_u64().is_some_and(|n| n > 100), "{verdict}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_check_measures_how_fast_this_computer_encodes_unless_only_devices_were_asked_for() {
    let encodes = |devices: &[&str]| {
        let args = [&["check", "--for", "audio", "--json", "-"], devices].concat();
        let output = program(None).args(args).output().expect("the binary runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        report["host"]["machine"]["encode"].as_array().expect("a list").clone()
    };
    let times = encodes(&[]);
    let uses: Vec<_> = times.iter().map(|it| it["use"].as_str().unwrap_or_default()).collect();
    assert_eq!(uses, ["audio", "video_360p", "video_720p", "video_1080p"], "{times:?}");
    let speech = &times[0]["times_real_time"];
    assert!(speech["value"].as_f64().is_some_and(|times| times > 1.0), "{speech}");
    assert_eq!(encodes(&["--devices", "mic"]), Vec::<Value>::new());
    // An answer that is there at once waits for no encoder.
    let refused = encodes(&["127.0.0.1:1"]);
    let states: Vec<_> = refused.iter().map(|it| it["times_real_time"]["state"].as_str()).collect();
    assert_eq!(states, [Some("not_tested"); 4], "{refused:?}");
}

/// Asks again and again, each time by a process of its own, and fails after ten seconds.
fn wait_for(mut is_so: impl FnMut() -> bool) {
    let started = now();
    while !is_so() {
        assert!(now() - started < Duration::from_secs(10), "it did not happen");
    }
}

fn peak(path: &Path) -> f32 {
    let reader = hound::WavReader::open(path).expect("it was recorded");
    reader.into_samples::<f32>().map(|sample| sample.expect("whole").abs()).fold(0.0, f32::max)
}
